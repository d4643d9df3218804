"""Every part of every shelf can be made through the public entry, through a recipe and through a submission."""

from __future__ import annotations

import importlib
import inspect
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from models import classifier_folder, decoder_folder, encoder_folder, rankt5_folder, t5_folder, t5_tokenizer
from tiny_llama import tiny_llama
from toys import toml, write_submission

import exabench
from exabench.core import options
from exabench.core.errors import BadInput, MissingExtra
from exabench.core.nouns import Passage, Query

QUERY = Query("q", "why is the sky blue")
PASSAGES = [Passage("a", "Air scatters blue light."), Passage("b", "Grass is green."), Passage("c", "The sea is deep.")]
SHELVES = {
    "builders": "data",
    "losses": "parts",
    "pairs": "data",
    "queries": "data",
    "rerankers": "parts",
    "retrievers": "parts",
    "strategies": "models",
    "teachers": "parts",
}


def shelf(name: str) -> Mapping[str, Any]:
    return getattr(importlib.import_module(f"exabench.{SHELVES[name]}.{name}"), name.upper())


# -- what the parts are made from ------------------------------------------------------------------------------


class _Lengths(BaseHTTPRequestHandler):
    """A reranking server: the score of a text is its length."""

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        scores = [{"index": i, "relevance_score": float(len(text))} for i, text in enumerate(asked["documents"])]
        body = json.dumps({"results": scores}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    serving = ThreadingHTTPServer(("127.0.0.1", 0), _Lengths)
    threading.Thread(target=serving.serve_forever, daemon=True).start()
    yield f"http://localhost:{serving.server_address[1]}/v1"
    serving.shutdown()


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A tiny random model of each kind."""
    root = tmp_path_factory.mktemp("models")
    return {
        "t5": str(t5_folder(root / "t5", t5_tokenizer())),
        "rankt5": str(rankt5_folder(root / "rankt5", t5_tokenizer())),
        "classifier": str(classifier_folder(root / "classifier")),
        "encoder": str(encoder_folder(root / "encoder")),
        "decoder": str(decoder_folder(root / "decoder")),
        "llama": str(tiny_llama(root / "llama")),
    }


def teacher_table(folders: Mapping[str, str]) -> dict[str, Any]:
    return {"part": "transformers", "model": folders["llama"], "device": "cpu"}


RERANKERS: dict[str, Callable[[Mapping[str, str], str], dict[str, Any]]] = {
    "bi_encoder": lambda folders, server: {"model": folders["encoder"]},
    "constant": lambda folders, server: {},
    "cross_encoder": lambda folders, server: {"model": folders["classifier"], "max_length": 64},
    "endpoint": lambda folders, server: {"model": "served", "endpoint": server},
    "exaranker": lambda folders, server: {"model": folders["t5"]},
    "listwise": lambda folders, server: {"teacher": teacher_table(folders), "window": 4, "step": 2, "words": 20},
    "monot5": lambda folders, server: {"model": folders["t5"], "strategy": "difference"},
    "oracle": lambda folders, server: {},
    "pairwise": lambda folders, server: {"teacher": teacher_table(folders), "method": "sliding", "k": 1, "words": 20},
    "random": lambda folders, server: {"seed": 3},
    "rankt5": lambda folders, server: {"model": folders["rankt5"]},
    "reversed": lambda folders, server: {},
    "unchanged": lambda folders, server: {},
    "yes_no": lambda folders, server: {"model": folders["decoder"]},
}
BASELINES = {"constant", "oracle", "random", "reversed", "unchanged"}

RETRIEVERS: dict[str, Callable[[Mapping[str, str]], dict[str, Any]]] = {
    "bm25": lambda folders: {"k1": 1.2, "lucene": []},
    "dense": lambda folders: {"model": folders["encoder"]},
    "fusion": lambda folders: {"runs": [folders["run"], folders["run"]]},
    "pyserini": lambda folders: {"k1": 1.2},
    "run_file": lambda folders: {"file": folders["run"]},
    "splade": lambda folders: {"model": folders["masked"]},
    "two_stage": lambda folders: {
        "first_stage": {"part": "bm25", "k1": 1.2},
        "reranker": {"part": "cross_encoder", "model": folders["classifier"]},
    },
}


@pytest.fixture(scope="module")
def stage_folders(folders: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What first stages are made from: the models, a masked language model, and a run."""
    root = tmp_path_factory.mktemp("stages")
    _, run = exabench.make_candidates("mini", "bm25", 20)
    exabench.write_run(run, root / "run.trec")
    return {**folders, "masked": str(masked_folder(root / "masked")), "run": str(root / "run.trec")}


def masked_folder(folder: Path) -> Path:
    import torch
    from models import bert_tokenizer
    from transformers import BertConfig, BertForMaskedLM

    torch.manual_seed(0)
    tokenizer = bert_tokenizer()
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    BertForMaskedLM(BertConfig(vocab_size=len(tokenizer), **sizes)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


# -- nothing is left out, and every option is documented ---------------------------------------------------------


def test_every_reranker_and_first_stage_is_made_below() -> None:
    assert set(shelf("rerankers")) == set(RERANKERS)
    assert set(shelf("retrievers")) == set(RETRIEVERS)


def every_part() -> list[tuple[str, str]]:
    return [(name, part) for name in SHELVES for part in shelf(name)]


@pytest.mark.parametrize(("name", "part"), every_part(), ids=str)
def test_every_option_has_a_type_and_a_meaning(name: str, part: str) -> None:
    try:
        made = shelf(name)[part]
    except MissingExtra:
        pytest.skip("its packages are not installed here")
    if not inspect.isclass(made):
        return  # a function of scores has no options
    for option in options.table(made).values():
        assert option.type
        assert option.meaning, f"{name}/{part}: its docstring says nothing of `{option.name}`"


@pytest.mark.parametrize(("name", "part"), every_part(), ids=str)
def test_a_wrong_option_is_one_line_with_the_valid_ones(name: str, part: str) -> None:
    try:
        made = shelf(name)[part]
    except MissingExtra:
        pytest.skip("its packages are not installed here")
    if not inspect.isclass(made):
        return
    known = options.table(made)
    with pytest.raises(BadInput, match="has no option 'no_such'; its options: ") as raised:
        options.check(f"{part}", made, {"no_such": 1})
    assert all(option in str(raised.value) for option in known) and "\n" not in str(raised.value)
    for option in known.values():
        if option.type in ("text", "a whole number", "a number", "true or false"):
            with pytest.raises(BadInput, match=f"{option.name} must be {option.type}, not"):
                options.check(part, made, {option.name: ["a", "list"]})


# -- rerankers -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", RERANKERS)
def test_a_reranker_is_made_by_its_name(name: str, folders: dict[str, str], server: str) -> None:
    scores = exabench.reranker(name, **RERANKERS[name](folders, server)).score(QUERY, PASSAGES)
    assert len(scores) == len(PASSAGES)


@pytest.mark.parametrize("name", sorted(set(RERANKERS) - {"oracle"}))  # the oracle reads judgements: no data to sell
def test_a_reranker_is_made_by_a_recipe(name: str, folders: dict[str, str], server: str, tmp_path: Path) -> None:
    page = {
        "builder": "scored",
        "dataset": "exabench-mini",
        "table": "scored",
        "licence": "cc0-1.0",
        "seed": 5,
        "options": {
            "task": "mini",
            "queries": {"part": "cropped", "count": 2, "fewest_words": 5},
            "retrievers": {"bm25": {"part": "bm25"}},
            "reranker": {"part": name, **RERANKERS[name](folders, server)},
            "documents": 3,
            "depth": 5,
        },
    }
    (tmp_path / "recipe.toml").write_text(toml(page))
    release = exabench.build(tmp_path / "recipe.toml", tmp_path / "work")
    assert release.tables["scored"].counts["good"] == 2


@pytest.mark.parametrize("name", sorted(set(RERANKERS) - BASELINES))
def test_a_reranker_is_made_by_a_submission(name: str, folders: dict[str, str], server: str, tmp_path: Path) -> None:
    board = tmp_path / "board"
    freeze(board)
    told = RERANKERS[name](folders, server)
    changes: dict[str, Any] = {"name": f"acme/{name}", "kind": "model", "reranker": name}
    changes["model"] = told.pop("model", folders["llama"])
    if name == "endpoint":
        changes.update(kind="api", endpoint=told.pop("endpoint"))
    if "teacher" in told:
        told["teacher"].pop("model")
    if told:
        changes["options"] = told
    slugs = [f"acme--{name}"]
    exabench.submit(write_submission(tmp_path / "sent", **changes), [], board)
    [result] = exabench.run_board(board, slugs=slugs)
    assert json.loads(result.read_text())["measurement"]["queries"] == 24


def freeze(board: Path) -> None:
    """A board with one short candidate list over the embedded collection."""
    from exabench.bench.ledger import Ledger

    ledger = Ledger(board)
    ledger.create("Every part", ["mini"])
    ledger.add_candidates(*exabench.make_candidates("mini", "bm25", 3))


# -- first stages --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", RETRIEVERS)
def test_a_first_stage_is_made_by_its_name(name: str, stage_folders: dict[str, str]) -> None:
    made, run = exabench.make_candidates("mini", name, 5, options=RETRIEVERS[name](stage_folders))
    assert made.retriever == name and len(run) == 24


@pytest.mark.parametrize("name", sorted(set(RETRIEVERS) - {"fusion", "run_file"}))  # runs hold their own queries
def test_a_first_stage_is_made_by_a_recipe(name: str, stage_folders: dict[str, str], tmp_path: Path) -> None:
    page = {
        "builder": "scored",
        "dataset": "exabench-mini",
        "table": "scored",
        "licence": "cc0-1.0",
        "seed": 5,
        "options": {
            "task": "mini",
            "queries": {"part": "cropped", "count": 2, "fewest_words": 5},
            "retrievers": {"one": {"part": name, **RETRIEVERS[name](stage_folders)}},
            "documents": 3,
            "depth": 5,
        },
    }
    (tmp_path / "recipe.toml").write_text(toml(page))
    release = exabench.build(tmp_path / "recipe.toml", tmp_path / "work")
    assert release.tables["scored"].counts["good"] == 2


# -- teachers ------------------------------------------------------------------------------------------------------


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
            assert name == "vllm" and "exabench[vllm]" in str(missing)
