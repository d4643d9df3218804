"""The embedded collection is complete, consistent, neither trivial nor hopeless, and free."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter

import pytest

from exabench.bench.candidates import make_candidates
from exabench.bench.measurement import measurement
from exabench.core.files import PACKAGE
from exabench.measure.qrels import count, qrels_digest
from exabench.tasks.catalogue import task
from exabench.tasks.collections import open_collection, read_checked_qrels

MINI = task("mini")
FOLDER = PACKAGE / "mini"
PLACE = open_collection(MINI)


def both() -> dict[str, dict[str, int]]:
    return PLACE.qrels("test") | PLACE.qrels("train")


def test_it_has_240_passages_and_48_queries_half_of_them_for_training_all_with_text():
    queries = {query.id: query.text for query in PLACE.queries()}
    passages = {passage.id: passage for passage in PLACE.passages()}
    assert (len(passages), len(queries)) == (240, 48)
    assert all(text.strip() for text in queries.values())
    assert all(passage.text.strip() and passage.title.strip() for passage in passages.values())
    assert len(PLACE.qrels("test")) == len(PLACE.qrels("train")) == 24
    assert set(both()) == set(queries)  # so no query is in both splits
    assert {passage for row in both().values() for passage in row} <= set(passages)
    grades = Counter(grade for row in both().values() for grade in row.values())
    assert set(grades) == {0, 1, 2, 3}
    assert all(max(row.values()) > 0 for row in both().values())


def test_it_is_what_the_table_says_and_given_to_the_public_domain():
    qrels = read_checked_qrels(MINI, PLACE)
    assert (len(qrels), count(qrels), qrels_digest(qrels)) == (MINI.queries, MINI.judgements, MINI.qrels_digest)
    assert len(list(PLACE.passages())) == MINI.documents
    assert MINI.licence == "CC0-1.0"
    assert "CC0" in (FOLDER / "LICENSE").read_text(encoding="utf-8")


def test_every_positive_judgement_is_explained_once():
    rows = [json.loads(line) for line in (FOLDER / "explanations.jsonl").read_text(encoding="utf-8").splitlines()]
    explained = {(row["query_id"], row["passage_id"]): row["grade"] for row in rows}
    positives = {(q, p): grade for q, row in both().items() for p, grade in row.items() if grade > 0}
    assert len(explained) == len(rows)
    assert explained == positives
    assert all(len(row["explanation"]) > 20 for row in rows)


@pytest.mark.parametrize("split", ["test", "train"])
def test_bm25_finds_much_but_not_all(split):
    qrels = PLACE.qrels(split)
    entry = dataclasses.replace(MINI, split=split, judgements=count(qrels), qrels_digest=None)
    _, run = make_candidates(entry, "bm25", 100)
    assert 0.55 < measurement(run, qrels, MINI.convention, ["nDCG@10"])["nDCG@10"] < 0.85
