"""How likely an answer is, by each teacher that can say it; InPars keeps the likeliest queries."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
from endpoint import Endpoint, Handler, serving
from models import t5_folder, t5_tokenizer
from tiny_llama import tiny_llama
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoTokenizer

import exabench
from exabench.cli import main
from exabench.core.errors import BadInput
from exabench.core.nouns import Prompt, Reply
from exabench.parts.replies import CachedTeacher, Replies, call_key

TURNS = (("user", "why is the sky blue"),)


def asked(id: str = "a", text: str = "why is the sky blue", **told: Any) -> Prompt:
    return Prompt(id, (("user", text),), **{"max_tokens": 6, "likelihood": True, **told})


def test_a_causal_model_gives_the_mean_log_probability_of_the_tokens_that_it_wrote(tmp_path: Path) -> None:
    folder = tiny_llama(tmp_path / "llama")
    teacher = exabench.teacher("transformers", model=str(folder), device="cpu")
    prompts = [asked("a"), asked("b", "what makes bread rise and how long does it take"), asked("c", temperature=0.7)]
    replies = {reply.id: reply for reply in teacher.complete(prompts)}
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    for prompt in prompts[:2]:  # greedy: what transformers writes by itself, its probabilities computed by hand
        text = prompt.turns[0][1]
        special = True
        if tokenizer.chat_template:
            told = [{"role": "user", "content": text}]
            text, special = tokenizer.apply_chat_template(told, tokenize=False, add_generation_prompt=True), False
        ids = tokenizer(text, add_special_tokens=special, return_tensors="pt").input_ids
        with torch.inference_mode():
            whole = model.generate(ids, max_new_tokens=6, do_sample=False)
            log_probs = model(whole).logits.float().log_softmax(-1)
        own = [float(log_probs[0, place - 1, whole[0, place]]) for place in range(ids.shape[1], whole.shape[1])]
        assert replies[prompt.id].log_prob == pytest.approx(sum(own) / len(own), abs=1e-5)
    sampled = replies["c"].log_prob
    assert sampled is not None and sampled < 0


def test_an_encoder_decoder_gives_it_too_and_nothing_is_computed_where_it_is_not_asked_for(tmp_path: Path) -> None:
    folder = t5_folder(tmp_path / "t5", t5_tokenizer())
    teacher = exabench.teacher("transformers", model=str(folder), device="cpu")
    [reply] = teacher.complete([asked()])
    [without] = teacher.complete([asked(likelihood=False)])
    assert without.log_prob is None and without.text == reply.text
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSeq2SeqLM.from_pretrained(folder).eval()
    ids = tokenizer(TURNS[0][1], return_tensors="pt").input_ids
    with torch.inference_mode():
        written = model.generate(ids, max_new_tokens=6, do_sample=False)
        log_probs = model(ids, decoder_input_ids=written[:, :-1]).logits.float().log_softmax(-1)
    own = [float(log_probs[0, place, written[0, place + 1]]) for place in range(written.shape[1] - 1)]
    assert reply.log_prob == pytest.approx(sum(own) / len(own), abs=1e-5)


def server_of(bodies: list[Any], logprobs: Any) -> Any:
    def act(here: Endpoint, handler: Handler, body: Any) -> None:
        bodies.append(body)
        choice = {"index": 0, "finish_reason": "stop", "logprobs": logprobs}
        choice["message"] = {"role": "assistant", "content": "why is it so"}
        choice["text"] = "why is it so"
        if "messages" in body:
            del choice["text"]
        handler.send(200, {"choices": [choice], "usage": {"prompt_tokens": 3, "completion_tokens": 2}})

    return act


@pytest.mark.parametrize(
    ("api", "logprobs", "field"),
    [
        ("chat", {"content": [{"token": "why", "logprob": -0.5}, {"token": "is", "logprob": -1.5}]}, True),
        ("completions", {"tokens": ["why", "is"], "token_logprobs": [-0.5, -1.5]}, 1),
    ],
)
def test_a_server_is_asked_for_it_and_its_tokens_are_averaged(api: str, logprobs: Any, field: Any) -> None:
    bodies: list[Any] = []
    with serving(server_of(bodies, logprobs)) as server:
        teacher = exabench.teacher("openai", model="m", base_url=server.url, api=api)
        [reply] = teacher.complete([asked()])
        [without] = teacher.complete([asked("b", likelihood=False)])
    assert reply.log_prob == -1.0 and without.log_prob is None
    assert bodies[0]["logprobs"] == field and "logprobs" not in bodies[1]


@pytest.mark.parametrize("logprobs", [None, {}, {"content": []}, {"content": [{"logprob": None}]}, "odd"])
def test_a_server_that_gives_none_is_told_and_nothing_is_kept(logprobs: Any, tmp_path: Path) -> None:
    with serving(server_of([], logprobs)) as server:
        store = Replies(tmp_path / "replies.db")
        teacher = CachedTeacher(exabench.teacher("openai", model="m", base_url=server.url), store)
        with pytest.raises(BadInput, match="does not say how likely its answers are"):
            list(teacher.complete([asked()]))
    assert len(store) == 0


class Writer:
    """A toy teacher whose answers are the likelier the shorter their prompts' ids are."""

    identity = {"engine": "toy", "model": "writer", "revision": ""}
    config = None

    def complete(self, prompts: Any) -> Any:
        for prompt in prompts:
            yield Reply(prompt.id, f"why is {prompt.id} so", "stop", 1, 1, -float(len(prompt.id)))


def test_it_is_kept_with_the_reply_and_travels_with_a_release(tmp_path: Path) -> None:
    store = Replies(tmp_path / "one.db")
    teacher = CachedTeacher(Writer(), store)
    prompts = [asked("a"), asked("bb", "another question")]
    assert {reply.id: reply.log_prob for reply in teacher.complete(prompts)} == {"a": -1.0, "bb": -2.0}
    again = CachedTeacher(Writer(), Replies(tmp_path / "one.db"))
    assert {reply.id: reply.log_prob for reply in again.complete(prompts)} == {
        "a": -1.0,
        "bb": -2.0,
    } and again.asked == 0
    keys = [teacher.key(prompt) for prompt in prompts]
    assert store.export(keys, tmp_path / "replies.parquet") == 2
    other = Replies(tmp_path / "other.db")
    assert other.take_in(tmp_path / "replies.parquet") == 2
    assert {reply.log_prob for reply in other.look_up(keys).values()} == {-1.0, -2.0}
    plain = Prompt("c", TURNS, likelihood=False)
    list(CachedTeacher(Writer(), store).complete([plain]))
    store.export([call_key(Writer.identity, plain)], tmp_path / "plain.parquet")
    assert "log_prob" not in pq.read_schema(tmp_path / "plain.parquet").names, "nobody asked for it"


def test_a_store_of_before_is_read_and_takes_new_replies(tmp_path: Path) -> None:
    file = tmp_path / "old.db"
    store = Replies(file)
    teacher = CachedTeacher(Writer(), store)
    prompt = asked("a", likelihood=False)
    list(teacher.complete([prompt]))
    store.close()
    with sqlite3.connect(file) as base:  # as version 0.1 made it
        base.execute("UPDATE replies SET log_prob = NULL")
    base.close()
    with sqlite3.connect(file) as base:
        base.execute("ALTER TABLE replies DROP COLUMN log_prob")
    base.close()
    reopened = Replies(file)
    list(CachedTeacher(Writer(), reopened).complete([asked("b")]))
    assert len(reopened) == 2


# -- InPars ----------------------------------------------------------------------------------------------------


def test_the_likeliest_queries_are_kept_and_the_others_are_in_the_quarantine(tmp_path: Path) -> None:
    recorded = tmp_path / "recorded.jsonl"
    passages = [json.loads(line)["_id"] for line in (Path(exabench.__file__).parent / "mini/corpus.jsonl").open()]
    likelihood = {id: -1.0 - place / 100 for place, id in enumerate(sorted(passages))}
    with recorded.open("w") as file:
        for id, log_prob in likelihood.items():
            line = {"id": f"q-{id}-0", "text": f"what is said of {id} there", "log_prob": log_prob}
            file.write(json.dumps(line) + "\n")
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(
        'builder = "scored"\ndataset = "d"\ntable = "t"\nlicence = "cc0-1.0"\nquality.most_rejected = 1.0\n[options]\n'
        'task = "mini"\nretrievers = { bm25 = { part = "bm25" } }\nleast = 2\ndocuments = 5\n'
        '[options.queries]\npart = "llm_queries"\nprompt = "inpars"\ncount = 40\nseed = 1\nkeep_likeliest = 10\n'
        f'teacher = {{ part = "replay", file = "{recorded}" }}\n'
    )
    told = ["--to", str(tmp_path / "work"), "--replies", str(tmp_path / "replies.db")]
    assert main(["data", "build", str(recipe), *told]) == 0
    lines = map(json.loads, (tmp_path / "work" / "quarantine.jsonl").read_text().splitlines())
    gone = {line["id"].removeprefix("q-").removesuffix("-0"): line["reason"] for line in lines}
    assert set(gone.values()) == {"query: mean log-probability not among the best 10"} and len(gone) == 30
    rows = list(exabench.load(tmp_path / "work" / "release", "t"))
    kept = {row["query_id"].removeprefix("q-").removesuffix("-0") for row in rows}
    assert len(kept) == 10 and min(likelihood[id] for id in kept) > max(likelihood[id] for id in gone)
    assert "log_prob" in pq.read_schema(tmp_path / "work" / "release" / "replies" / "t.parquet").names
