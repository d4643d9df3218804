"""Every family and every kind of cross-encoder, submitted to a board: its scores in the jail are those outside."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import test_own_code as own_code
from models import classifier_folder, family_folder, logit_score_folder, modular_folder, rankt5_folder, t5_tokenizer
from toys import write_submission

import exabench
from exabench.bench.ledger import Ledger
from exabench.core.errors import ExabenchError
from exabench.measure.runs import read_run
from exabench.models.families import families
from exabench.parts.recognition import choose_reranker
from exabench.tasks.catalogue import single_task
from exabench.tasks.collections import open_collection

DEPTH = 3
TURNS = "{% for m in messages %}<|im_start|>{{ m.role }}: {{ m.content }}<|im_end|>\n{% endfor %}"


def every_model(place: Path) -> dict[str, tuple[Path, dict[str, Any]]]:
    """A folder of each family, and of each kind of model that says itself what it is, with its options."""
    models: dict[str, tuple[Path, dict[str, Any]]] = {}
    for name in families():
        models[name] = family_folder(place / name, name), {"family": name}
    alone = {
        "plain": classifier_folder(place / "plain", "xlm-roberta-xl"),
        "two-labels": classifier_folder(place / "two-labels", "modernbert", labels=2),
        "modular": modular_folder(place / "modular"),
        "with-code-of-its-own": own_code.with_code(place / "with-code-of-its-own"),
        "logit-score": logit_score_folder(place / "logit-score", TURNS, tokens=(7, 9)),
        "head-on-a-decoder": classifier_folder(place / "head-on-a-decoder", "qwen3"),
        "encoder-of-a-t5": rankt5_folder(place / "encoder-of-a-t5", t5_tokenizer()),
    }
    return models | {name: (folder, {}) for name, folder in alone.items()}


def test_every_family_and_kind_scores_in_the_jail_as_it_does_outside(tmp_path: Path) -> None:
    board = tmp_path / "board"
    ledger = Ledger(board)
    ledger.create("Families", ["mini"])
    ledger.add_candidates(*exabench.make_candidates("mini", "bm25", DEPTH))
    [candidates] = ledger.candidates()
    models = every_model(tmp_path / "models")
    for name, (folder, options) in models.items():
        found = choose_reranker("auto", {"model": str(folder), **options})
        asked = {key: value for key, value in found.options.items() if key != "model"}
        sent = {"name": f"acme/{name}", "kind": "model", "reranker": found.reranker, "model": str(folder)}
        exabench.submit(write_submission(tmp_path / "sent" / name, **sent, options=asked), [], board)
    failures: dict[str, ExabenchError] = {}
    exabench.run_board(board, slugs=[f"acme--{name}" for name in models], trusted=False, workers=2, failures=failures)
    assert failures == {}

    collection = open_collection(single_task("mini"), None)
    corpus = {passage.id: passage for passage in collection.passages()}
    queries = {query.id: query for query in collection.queries()}
    for name, (folder, options) in models.items():
        run = read_run(ledger.run_file(f"acme--{name}", "mini", candidates.name))
        outside: Any = exabench.reranker("auto", model=str(folder), **options)
        assert len(run.query_ids) == 24
        for query_id in run.query_ids:
            ids = run.ranking(query_id)
            scores = outside.score(queries[query_id], [corpus[id] for id in ids])
            # A sum over the tokens of a query has its rounding in proportion.
            assert list(run[query_id].values()) == pytest.approx(scores, rel=1e-6, abs=1e-5), name
