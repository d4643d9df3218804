"""Models in the jail: an honest one scores as it does outside, bit for bit; a hostile one is refused with its class."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import hostile
import pytest
import torch
from hub_client import point_at
from hub_double import HubDouble
from models import (
    MINILM,
    classifier_folder,
    colbert_folder,
    decoder_folder,
    late_folder,
    logit_score_folder,
    modular_folder,
    pylate_folder,
    t5_folder,
    t5_tokenizer,
)
from safetensors.torch import load_file, save_file
from test_adapters import adapted, alone
from toys import contents

from exabench.bench.candidates import RerankEvaluator, make_candidates
from exabench.bench.sandbox import JailLimits, SandboxedReranker
from exabench.core.nouns import Passage, Query
from exabench.measure.runs import run_digest
from exabench.models.screening import SubmissionRefused
from exabench.parts.assembly import reranker
from exabench.tasks.catalogue import single_task

JOBS = [
    (
        Query(f"q{i}", f"why is the sky blue {i}"),
        [Passage(f"d{j}", "short waves " * (1 + (i * j) % 40), "light") for j in range(20)],
    )
    for i in range(12)
]


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return classifier_folder(tmp_path_factory.mktemp("bert"))


def test_scores_and_their_cost_are_those_of_the_part_bit_for_bit(bert):
    outside = reranker("cross_encoder", model=str(bert), scores=None, max_length=48)
    assert sum(usage.cut_passages for _, usage in outside.score_many(JOBS)) > 0
    with closing(SandboxedReranker("cross_encoder", str(bert), {"max_length": 48})) as inside:
        assert list(inside.score_many(JOBS)) == list(outside.score_many(JOBS))
        assert inside.score(*JOBS[3]) == outside.score(*JOBS[3])
        assert inside.score(JOBS[0][0], []) == []
        assert list(inside.score_many([])) == []
        about = (inside.identity, inside.precision, inside.parameters, inside.reads)
        assert inside.pairs_per_second is None or inside.pairs_per_second > 0
    assert about == (outside.identity, outside.precision, outside.parameters, outside.reads)


def test_no_command_line_of_a_worker_tells_where_its_model_or_this_python_lies(bert):
    with closing(SandboxedReranker("cross_encoder", str(bert))):
        commands = [file.read_bytes() for file in Path("/proc").glob("[0-9]*/cmdline") if file.exists()]
    told = [command.decode() for command in commands if b"sandbox._worker" in command]
    assert len(told) >= 3, "bubblewrap's two processes and the worker"
    assert not any(str(place) in command for command in told for place in (bert, sys.prefix, sys.base_prefix))


@pytest.mark.parametrize("kind", ["modules", "a head on a decoder", "an encoder of unknown cost", "an adapter"])
def test_cross_encoders_of_every_kind_score_inside_as_outside(kind, tmp_path):
    if kind == "modules":
        folder = modular_folder(tmp_path / "m")
    elif kind == "a head on a decoder":
        folder = classifier_folder(tmp_path / "m", "qwen3")
    elif kind == "an encoder of unknown cost":
        folder = classifier_folder(tmp_path / "m", "ernie", labels=2)
    else:
        folder = adapted(classifier_folder(tmp_path / "base"), tmp_path / "m", "SEQ_CLS", target_modules=["query"])
    outside = reranker("cross_encoder", model=str(folder), scores=None)
    with closing(SandboxedReranker("cross_encoder", str(folder))) as inside:
        assert list(inside.score_many(JOBS[:3])) == list(outside.score_many(JOBS[:3]))
        assert inside.identity == outside.identity


@pytest.mark.parametrize("make", [late_folder, pylate_folder, colbert_folder])
def test_late_interaction_scores_inside_as_outside(make, tmp_path):
    folder = make(tmp_path / "m")
    outside = reranker("late_interaction", model=str(folder), scores=None)
    with closing(SandboxedReranker("late_interaction", str(folder))) as inside:
        assert list(inside.score_many(JOBS[:3])) == list(outside.score_many(JOBS[:3]))
        assert inside.identity == outside.identity


def test_a_pretrained_model_measures_over_mini_as_it_does_outside():
    candidates, run = make_candidates("mini", "bm25", 100)
    evaluator = RerankEvaluator(single_task("mini"), candidates, run, None, None)
    outside, found = evaluator.evaluate(reranker("bi_encoder", model=MINILM), "x", "model")
    started = time.perf_counter()
    with closing(SandboxedReranker("bi_encoder", MINILM)) as part:
        print(f"ready after {time.perf_counter() - started:.1f} s")
        inside, jailed = evaluator.evaluate(part, "x", "model")
        timed = evaluator.time_latency(inside, part)
    assert run_digest(jailed) == run_digest(found)
    assert inside.model == outside.model and inside.cost == outside.cost
    assert inside.measurement == outside.measurement
    assert timed.cost.timing.p50 > 0


def _nan(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    save_file({name: torch.full_like(one, float("nan")) for name, one in weights.items()}, folder / "model.safetensors")


def _no_head(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    save_file({name: one for name, one in weights.items() if "classifier" not in name}, folder / "model.safetensors")


def _bomb(folder: Path) -> None:
    loops = "{% for i in range(99999) %}{% for j in range(99999) %}{% for k in range(99999) %}"
    (folder / "chat_template.jinja").write_text(loops + "{% endfor %}" * 3)


SPOILT: dict[str, tuple[str, Callable[[Path], None], str, dict[str, Any]]] = {
    "weights that are not numbers": ("cross_encoder", _nan, "bad-scores", {}),
    "a head that is missing": ("cross_encoder", _no_head, "load-failed", {}),
    "a tokenizer that is none": ("cross_encoder", hostile.put("tokenizer.json", '{"model": 7}'), "load-failed", {}),
    "a width of 4 million": ("cross_encoder", hostile.said("config.json", hidden_size=4 << 20), "load-failed", {}),
    "an unknown part": ("no_such_part", lambda folder: None, "invalid-submission", {}),
    "a template without end": ("yes_no", _bomb, "time-limit", {"load": 40.0}),
}


@pytest.mark.parametrize("name", SPOILT)
def test_a_hostile_model_is_refused_with_its_class(name, tmp_path):
    part, spoil, reason, limits = SPOILT[name]
    folder = decoder_folder(tmp_path / "m") if part == "yes_no" else classifier_folder(tmp_path / "m")
    spoil(folder)
    with pytest.raises(SubmissionRefused) as caught:
        SandboxedReranker(
            part, str(folder), {"chat": True} if part == "yes_no" else {}, JailLimits(memory=3 << 30, **limits)
        )
    assert caught.value.reason == reason, caught.value
    assert "\n" not in str(caught.value) and str(tmp_path) not in str(caught.value)


def test_what_screening_refuses_is_never_started(tmp_path):
    folder = hostile.spoilt("auto_map in config.json", tmp_path / "model")
    started = time.monotonic()
    with pytest.raises(SubmissionRefused) as caught:
        SandboxedReranker("cross_encoder", str(folder))
    assert caught.value.reason == "unsafe-files" and time.monotonic() - started < 3


def test_an_honest_decoder_with_its_own_template_scores(tmp_path):
    folder = decoder_folder(tmp_path / "m")
    outside = reranker("yes_no", model=str(folder), scores=None, chat=True)
    with closing(SandboxedReranker("yes_no", str(folder), {"chat": True})) as inside:
        assert list(inside.score_many(JOBS[:3])) == list(outside.score_many(JOBS[:3]))


@pytest.mark.parametrize("kind", ["t5", "decoder"])
def test_a_query_likelihood_is_the_same_inside(kind, tmp_path):
    options = {}
    if kind == "t5":
        folder = t5_folder(tmp_path / "m", t5_tokenizer())
    else:
        folder = decoder_folder(tmp_path / "m", "qwen3")
        options = {"chat": True, "reduction": "mean"}
    outside = reranker("query_likelihood", model=str(folder), scores=None, **options)
    with closing(SandboxedReranker("query_likelihood", str(folder), options)) as inside:
        assert list(inside.score_many(JOBS[:3])) == list(outside.score_many(JOBS[:3]))
        assert inside.identity == outside.identity


def test_a_causal_reranker_of_sentence_transformers_scores_as_its_folder_says(tmp_path):
    turns = "{% for m in messages %}<|im_start|>{{ m.role }}: {{ m.content }}<|im_end|>\n{% endfor %}"
    folder = logit_score_folder(tmp_path / "m", turns, tokens=(7, 9))
    outside = reranker("yes_no", model=str(folder), scores=None)
    with closing(SandboxedReranker("yes_no", str(folder))) as inside:
        assert inside.identity["answers"] == [7, 9]
        assert list(inside.score_many(JOBS[:3])) == list(outside.score_many(JOBS[:3]))


def test_the_family_of_a_hub_id_is_known_in_the_jail_which_sees_no_id(tmp_path, monkeypatch):
    id = "Qwen/Qwen3-Reranker-0.6B"
    with HubDouble() as hub:
        point_at(hub.url, tmp_path / "home", monkeypatch)
        commit = hub.commit(f"models/{id}", contents(decoder_folder(tmp_path / "m", "qwen3")))
        outside = reranker("yes_no", model=id, revision=commit, scores=None)
        with closing(SandboxedReranker("yes_no", id, {"revision": commit})) as inside:
            assert inside.identity == outside.identity and "<Instruct>" in inside.identity["template"]
            assert list(inside.score_many(JOBS[:3])) == list(outside.score_many(JOBS[:3]))


def test_an_adapter_of_the_hub_and_the_base_model_that_it_pins_are_one_model_in_the_jail(tmp_path, monkeypatch):
    base = classifier_folder(tmp_path / "base")
    whole = adapted(base, tmp_path / "whole", "SEQ_CLS", target_modules=["query"])
    with HubDouble() as hub:
        point_at(hub.url, tmp_path / "home", monkeypatch)
        at = hub.commit("models/acme/base", contents(base))
        pinned = alone(whole, tmp_path / "pinned", base_model_name_or_path="acme/base", revision=at)
        commit = hub.commit("models/acme/lora", contents(pinned))
        outside = reranker("cross_encoder", model="acme/lora", revision=commit, scores=None)
        with closing(SandboxedReranker("cross_encoder", "acme/lora", {"revision": commit})) as inside:
            assert inside.identity == outside.identity and inside.identity["revision"] == commit
            assert list(inside.score_many(JOBS[:3])) == list(outside.score_many(JOBS[:3]))
