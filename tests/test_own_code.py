"""Models whose folder brings code of its own: read where transformers has their classes itself, else refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from hub_client import point_at
from hub_double import HubDouble
from models import classifier_folder
from toys import contents, write_submission

import exabench
from exabench.bench.ledger import Ledger
from exabench.bench.sandbox import fetch_screened
from exabench.core.errors import BadInput
from exabench.core.nouns import Passage, Query
from exabench.models.screening import SubmissionRefused, screen_folder
from exabench.parts.recognition import recognise

QUERY = Query("q", "Why is the sky blue?")
PASSAGES = [Passage("a", "Light of short waves is scattered."), Passage("b", "No!"), Passage("c", "Rayleigh " * 9)]
EUROBERT = {  # as EuroBERT/EuroBERT-210m names them
    "AutoConfig": "configuration_eurobert.EuroBertConfig",
    "AutoModel": "modeling_eurobert.EuroBertModel",
    "AutoModelForPreTraining": "modeling_eurobert.EuroBertPreTrainedModel",
    "AutoModelForMaskedLM": "modeling_eurobert.EuroBertForMaskedLM",
    "AutoModelForSequenceClassification": "modeling_eurobert.EuroBertForSequenceClassification",
}


def told(folder: Path, **changes: Any) -> Path:
    """The folder after changes of its config.json."""
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))
    return folder


def with_code(folder: Path, code: str = "") -> Path:
    """A EuroBERT as the Hub holds it, with this code of its own."""
    classifier_folder(folder, "eurobert")
    if code:
        for name in ("configuration_eurobert", "modeling_eurobert"):
            (folder / f"{name}.py").write_text(code)
    return told(folder, auto_map=EUROBERT)


def forward(folder: Path) -> list[float]:
    """The logit of each pair by transformers' own class."""
    model = transformers.EuroBertForSequenceClassification.from_pretrained(folder, dtype=torch.float32).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    logits = []
    for passage in PASSAGES:
        inputs = tokenizer(QUERY.text, passage.flat(), return_tensors="pt")
        inputs.pop("token_type_ids", None)
        with torch.inference_mode():
            logits.append(float(model(**inputs).logits[0, 0]))
    return logits


def test_where_transformers_has_the_classes_its_own_ones_score_and_no_code_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = tmp_path / "ran"
    folder = with_code(tmp_path / "m", f"open({str(ran)!r}, 'w')\n")
    assert recognise(str(folder)).reranker == "cross_encoder"
    made: Any = exabench.reranker("auto", model=str(folder))
    assert made.score(QUERY, PASSAGES) == pytest.approx(forward(folder), abs=1e-5)
    assert exabench.evaluate(str(folder), "mini", depth=3)["mini"]["nDCG@10"] > 0

    monkeypatch.setenv("EXABENCH_CACHE", str(tmp_path / "cache"))
    board = tmp_path / "board"
    Ledger(board).create("Code", ["mini"])
    Ledger(board).add_candidates(*exabench.make_candidates("mini", "bm25", 3))
    with HubDouble() as hub:
        point_at(hub.url, tmp_path / "home", monkeypatch)
        commit = hub.commit("models/acme/euro", contents(folder))
        found = fetch_screened("acme/euro", commit)  # what the jail is shown
        assert (found.path / "config.json").is_file() and not list(found.path.rglob("*.py"))
        about = {"name": "acme/euro", "kind": "model", "reranker": "cross_encoder", "model": "acme/euro"}
        exabench.submit(write_submission(tmp_path / "sent", **about, revision=commit), [], board)
        [result] = exabench.run_board(board, slugs=["acme--euro"])
        assert not any(".py" in request for request in hub.requests if "/resolve/" in request)
    measured = json.loads(result.read_text())["measurement"]["metrics"]["nDCG@10"]
    assert measured == pytest.approx(exabench.evaluate(str(folder), "mini", depth=3)["mini"]["nDCG@10"])
    assert not ran.exists()


@pytest.mark.parametrize(
    ("kind", "changes", "why"),
    [
        (  # jina-bert says bert
            "bert",
            {"architectures": ["JinaBertForMaskedLM"], "auto_map": {"AutoModel": "m.JinaBertModel"}},
            "JinaBertForMaskedLM is not a class that transformers has for bert",
        ),
        (  # the classes of jina-reranker-v2 are called as those of transformers, but for the one of its settings
            "roberta",
            {"auto_map": {"AutoConfig": "c.RobertaFlashConfig", "AutoModel": "m.RobertaModel"}},
            "RobertaFlashConfig is not a class that transformers has for roberta",
        ),
        ("bert", {"model_type": "new", "auto_map": {"AutoModel": "m.NewModel"}}, "model_type 'new' is not one"),
        (
            "eurobert",
            {"auto_map": {**EUROBERT, "AutoModelForCausalLM": "m.EuroBertForCausalLM"}},
            "EuroBertForCausalLM is not a class that transformers has for eurobert",
        ),
        (
            "eurobert",
            {"architectures": ["EuroBertForCausalLM"], "auto_map": EUROBERT},
            "EuroBertForCausalLM is not a class that transformers has for eurobert",
        ),
        ("bert", {"auto_map": EUROBERT}, "EuroBertConfig is not a class that transformers has for bert"),
        ("eurobert", {"auto_map": {"AutoTokenizer": ["t.EvilTokenizer", None]}}, "EvilTokenizer is not a class"),
        ("bert", {"auto_map": ["m.BertModel"]}, "it is not a table of classes"),
        ("bert", {"auto_map": {"AutoModel": {"a": 1}}}, "is not a class that transformers has for bert"),
    ],
)
def test_look_alikes_are_refused_with_what_to_do(kind: str, changes: dict[str, Any], why: str, tmp_path: Path) -> None:
    folder = told(classifier_folder(tmp_path / "m", kind), **changes)
    (folder / "m.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    with pytest.raises(BadInput) as caught:
        exabench.reranker("auto", model=str(folder))
    said = str(caught.value)
    assert "needs its own code (auto_map), which is never run" in said and why in said and "use endpoint" in said
    assert "\n" not in said
    (folder / "m.py").unlink()  # which alone would be refused
    with pytest.raises(SubmissionRefused) as refused:
        screen_folder(folder)
    assert refused.value.reason == "unsafe-files" and why in str(refused.value)
    assert not (tmp_path / "ran").exists()


def test_code_of_another_repository_and_a_tokenizer_of_transformers_are_as_little_needed(tmp_path: Path) -> None:
    elsewhere = {name: f"EuroBERT/EuroBERT-210m--{path}" for name, path in EUROBERT.items()}
    folder = classifier_folder(tmp_path / "m", "eurobert")
    plain: Any = exabench.reranker("auto", model=str(folder))
    wanted = plain.score(QUERY, PASSAGES)
    told(folder, auto_map={**elsewhere, "AutoTokenizer": [None, "t.PreTrainedTokenizerFast"]})
    screen_folder(folder)
    made: Any = exabench.reranker("auto", model=str(folder))
    assert made.score(QUERY, PASSAGES) == wanted
