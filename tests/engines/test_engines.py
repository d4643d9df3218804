"""Listwise ranking of `mini` by real engines: vLLM in this process, `vllm serve`, `transformers serve`; their ends."""

from __future__ import annotations

import json
import signal
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from exabench.core.errors import BadInput, OutsideFailed
from exabench.core.nouns import Passage, Prompt, Query, Reply
from exabench.measure.runs import read_run, run_of, write_run
from exabench.parts.rerankers import RERANKERS
from exabench.parts.retrievers import RETRIEVERS
from exabench.parts.teachers import TEACHERS
from exabench.parts.teachers.openai import HOPELESS
from exabench.tasks.catalogue import task
from exabench.tasks.collections import open_collection

Jobs = list[tuple[Query, list[Passage]]]

PROMPTS = [Prompt(f"p{i}", (("user", f"the heart of {'a bat ' * i}"),), max_tokens=24) for i in range(12)]
LONG = Prompt("long", (("user", "heart " * 9000),), max_tokens=8)


@pytest.fixture(scope="module")
def jobs() -> Jobs:
    """Queries of `mini` with BM25's best 25: two windows each."""
    collection = open_collection(task("mini"))
    passages = {passage.id: passage for passage in collection.passages()}
    queries = list(collection.queries())
    run = RETRIEVERS["bm25"](passages.values()).search(queries, 25)
    return [(query, [passages[id] for id in run.ranking(query.id)]) for query in queries]


@pytest.fixture(scope="module")
def vllm(model: Path) -> Any:
    started = time.monotonic()
    made = TEACHERS["vllm"](str(model), max_model_len=8192, dtype="float32", enforce_eager=True)
    print(f"vllm.LLM: ready after {time.monotonic() - started:.0f} s")
    return made


def alike(replies: Iterable[Reply]) -> dict[str, Reply]:
    """Replies by id, without half a character at the end of a text: vLLM leaves it out."""
    return {reply.id: replace(reply, text=reply.text.rstrip("\ufffd")) for reply in replies}


def ranked(teacher: Any, jobs: Jobs, file: Path) -> Counter[str]:
    """Ranks the jobs, checks the run by way of its file, and returns what was counted."""
    started = time.monotonic()
    outcomes = list(RERANKERS["listwise"](teacher, words=40).score_many(jobs))
    scores = {
        query.id: dict(zip([passage.id for passage in passages], scores, strict=True))
        for (query, passages), (scores, _) in zip(jobs, outcomes, strict=True)
    }
    write_run(run_of("listwise", scores), file)
    run = read_run(file)
    for query, passages in jobs:
        assert sorted(run.ranking(query.id)) == sorted(passage.id for passage in passages)
        assert len(set(run[query.id].values())) == len(passages)
    counts: Counter[str] = Counter()
    for _, usage in outcomes:
        counts.update(usage.repairs)
        counts.update(prompts=usage.prompts, read=usage.input_tokens, written=usage.output_tokens)
        assert (usage.flops_paper is None, usage.flops_exact is None) == (teacher.config is None,) * 2
    print(f"{len(jobs)} queries in {time.monotonic() - started:.1f} s: {dict(counts)}")
    assert counts["prompts"] == 2 * sum(len(passages) > 20 for _, passages in jobs) + sum(
        1 < len(passages) <= 20 for _, passages in jobs
    )
    assert counts["malformed"] > 0 and counts["missing"] > 0, "a random model orders nothing"
    assert counts["read"] > 100 * counts["prompts"] and counts["written"] > 0
    return counts


def test_vllm_ranks_mini_in_windows(vllm: Any, jobs: Jobs, tmp_path: Path) -> None:
    counts = ranked(vllm, jobs, tmp_path / "run.trec")
    assert counts == ranked(vllm, jobs, tmp_path / "again.trec")
    assert (tmp_path / "run.trec").read_bytes() == (tmp_path / "again.trec").read_bytes()


def test_vllm_writes_what_its_own_chat_and_transformers_write(vllm: Any, model: Path) -> None:
    from vllm import SamplingParams

    replies = {reply.id: reply for reply in vllm.complete(PROMPTS)}
    turns = [[{"role": role, "content": text} for role, text in prompt.turns] for prompt in PROMPTS]
    sampling = SamplingParams(max_tokens=24, temperature=0.0)
    for prompt, chat in zip(PROMPTS, vllm._engine.chat(turns, sampling, use_tqdm=False), strict=True):
        assert replies[prompt.id].text == chat.outputs[0].text
        assert replies[prompt.id].prompt_tokens == len(chat.prompt_token_ids)
    assert alike(replies.values()) == alike(TEACHERS["transformers"](str(model)).complete(PROMPTS))


def test_vllm_samples_by_the_prompt_and_its_number(vllm: Any) -> None:
    asked = [Prompt(f"s{i}", PROMPTS[3].turns, 24, temperature=1.0, sample=i % 4) for i in range(8)]
    texts = [reply.text for reply in vllm.complete(asked)]
    assert texts[:4] == texts[4:] and len(set(texts)) == 4
    assert [reply.text for reply in vllm.complete(asked[::-1])] == texts[::-1]


def test_vllm_answers_the_others_before_it_refuses_a_prompt_that_is_too_long(vllm: Any) -> None:
    replies = vllm.complete([PROMPTS[0], LONG, PROMPTS[1]])
    assert [next(replies).id, next(replies).id] == ["p0", "p1"]
    with pytest.raises(BadInput, match=r"^prompt 'long' cannot be sent: \d+ tokens and 8 for the answer .* 8192"):
        next(replies)


LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
CHOICES = [
    Prompt.of_choices(f"c{i}", (("user", f"the heart of {'a bat ' * i}"), ("assistant", "[")), LETTERS)
    for i in range(6)
]


def test_vllm_says_how_likely_the_next_tokens_are_as_transformers_does(vllm: Any, model: Path) -> None:
    expected = {reply.id: reply for reply in TEACHERS["transformers"](str(model)).complete(CHOICES)}
    for prompt, reply in zip(CHOICES, vllm.complete(CHOICES), strict=True):
        log_probs, missing = reply.likelihoods(prompt.choices)
        assert log_probs == pytest.approx(expected[prompt.id].likelihoods(prompt.choices).log_probs, abs=1e-4)
        assert missing == 0 and reply.prompt_tokens == expected[prompt.id].prompt_tokens


def test_vllm_says_how_likely_its_answers_are_as_transformers_does(vllm: Any, model: Path) -> None:
    prompts = [replace(prompt, likelihood=True) for prompt in PROMPTS]
    ours = TEACHERS["transformers"](str(model))
    theirs = {reply.id: reply for reply in vllm.complete(prompts)}
    for reply in ours.complete(prompts):
        assert reply.log_prob is not None and theirs[reply.id].log_prob is not None
        if theirs[reply.id].text == reply.text:
            assert theirs[reply.id].log_prob == pytest.approx(reply.log_prob, abs=1e-3)
    assert next(iter(vllm.complete(PROMPTS[:1]))).log_prob is None


def test_vllm_ranks_windows_by_one_token_each(vllm: Any, model: Path, jobs: Jobs) -> None:
    local = RERANKERS["listwise"](TEACHERS["transformers"](str(model)), style="first", words=40)
    made = RERANKERS["listwise"](vllm, style="first", words=40)
    orders = [scores for scores, _ in made.score_many(jobs)]
    alike = sum(mine == theirs for mine, (theirs, _) in zip(orders, local.score_many(jobs), strict=True))
    assert alike >= 0.9 * len(jobs), "letters whose log-probabilities differ in the last bits only may change places"


def served(server: Any, model: str, **options: Any) -> Any:
    return TEACHERS["openai"](model, base_url=server.url, **options)


def test_a_vllm_server_ranks_mini_in_windows(vllm_server: Any, jobs: Jobs, tmp_path: Path) -> None:
    ranked(served(vllm_server, "tiny"), jobs, tmp_path / "run.trec")


def test_a_vllm_server_writes_what_transformers_writes(vllm_server: Any, model: Path) -> None:
    local = TEACHERS["transformers"](str(model)).complete(PROMPTS)
    assert alike(served(vllm_server, "tiny").complete(PROMPTS)) == alike(local)


def test_a_vllm_server_refuses_a_prompt_that_is_too_long_and_answers_the_others(vllm_server: Any) -> None:
    replies = served(vllm_server, "tiny").complete([PROMPTS[0], LONG, PROMPTS[1]])
    assert {next(replies).id, next(replies).id} == {"p0", "p1"}
    with pytest.raises(BadInput, match=r"^prompt 'long' cannot be sent: .* 400 .*context length") as told:
        next(replies)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("api", ["chat", "completions"])
def test_a_vllm_server_says_how_likely_the_next_tokens_are(vllm_server: Any, model: Path, api: str) -> None:
    body = {"continue_final_message": True, "add_generation_prompt": False}
    options = {"body": body} if api == "chat" else {"api": "completions"}
    replies = {reply.id: reply for reply in served(vllm_server, "tiny", **options).complete(CHOICES)}
    local = {reply.id: reply for reply in TEACHERS["transformers"](str(model)).complete(CHOICES)}
    for prompt in CHOICES:
        reply = replies[prompt.id]
        listed = json.loads(reply.text)
        assert reply.output_tokens == 1 and len(listed) > 10, "some of the 20 read alike"
        expected = dict(zip(LETTERS, local[prompt.id].likelihoods(LETTERS).log_probs, strict=True))
        if api == "chat":  # /completions reads the turns as one plain text
            for letter in listed.keys() & expected.keys():
                assert listed[letter] == pytest.approx(expected[letter], abs=1e-3)


@pytest.mark.parametrize("api", ["chat", "completions"])
def test_a_vllm_server_says_how_likely_its_answers_are(vllm_server: Any, model: Path, api: str) -> None:
    prompts = [replace(prompt, likelihood=True) for prompt in PROMPTS[:4]]
    local = {reply.id: reply for reply in TEACHERS["transformers"](str(model)).complete(prompts)}
    for reply in served(vllm_server, "tiny", api=api).complete(prompts):
        assert reply.log_prob is not None and reply.log_prob < 0
        if api == "chat" and reply.text == local[reply.id].text:  # /completions reads the turns as one plain text
            assert reply.log_prob == pytest.approx(local[reply.id].log_prob, abs=1e-3)


def test_a_model_that_the_server_does_not_have_is_one_line(vllm_server: Any) -> None:
    with pytest.raises(BadInput, match="refuses: .*404.*check base_url, model and key"):
        next(served(vllm_server, "huge").complete(PROMPTS))


def test_transformers_serve_ranks_mini_in_windows(
    transformers_server: Any, model: Path, jobs: Jobs, tmp_path: Path
) -> None:
    ranked(served(transformers_server, str(model), concurrency=2), jobs[:6], tmp_path / "run.trec")


@pytest.mark.parametrize("end", [signal.SIGSTOP, signal.SIGKILL])
def test_a_server_that_stops_in_the_middle_ends_the_ranking_in_time(vllm_server: Any, end: signal.Signals) -> None:
    """The last tests of this file: after them the server is gone."""
    teacher = served(vllm_server, "tiny", concurrency=4, timeout=5, retries=1)
    prompts = [Prompt(f"k{i}", (("user", "the heart " * (i % 50)),), max_tokens=64) for i in range(2000)]
    replies = teacher.complete(prompts)
    answered = [next(replies) for _ in range(8)]
    vllm_server.signal(end)
    started = time.monotonic()
    with pytest.raises(OutsideFailed, match=r"^http://127.0.0.1:\d+/v1 gave no answer to prompt 'k\d+'") as told:
        answered += replies
    seconds = time.monotonic() - started
    if end is signal.SIGSTOP:
        vllm_server.signal(signal.SIGCONT)
    print(f"{end.name}: over after {seconds:.1f} s with {len(answered)} answers: {told.value}")
    # HOPELESS prompts, four at a time, each tried twice for five seconds; and some more on a busy machine.
    assert seconds < HOPELESS / 4 * 2 * 5 + 20 and "\n" not in str(told.value)
    assert len({reply.id for reply in answered}) == len(answered) < len(prompts)
