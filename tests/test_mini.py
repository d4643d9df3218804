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


def test_it_has_240_passages_and_48_queries_half_of_them_for_training():
    assert len({passage.id for passage in PLACE.passages()}) == 240
    assert len({query.id for query in PLACE.queries()}) == 48
    assert len(PLACE.qrels("test")) == len(PLACE.qrels("train")) == 24
    assert not set(PLACE.qrels("test")) & set(PLACE.qrels("train"))


def test_it_is_what_the_table_says():
    qrels = read_checked_qrels(MINI, PLACE)
    assert (len(qrels), count(qrels), qrels_digest(qrels)) == (MINI.queries, MINI.judgements, MINI.qrels_digest)
    assert len(list(PLACE.passages())) == MINI.documents


def test_every_id_joins():
    queries, passages = {query.id for query in PLACE.queries()}, {passage.id for passage in PLACE.passages()}
    assert set(both()) == queries
    assert {passage for row in both().values() for passage in row} <= passages


def test_grades_run_from_0_to_3_and_every_query_has_a_positive():
    grades = Counter(grade for row in both().values() for grade in row.values())
    assert set(grades) == {0, 1, 2, 3}
    assert all(max(row.values()) > 0 for row in both().values())


def test_every_positive_judgement_is_explained_once():
    rows = [json.loads(line) for line in (FOLDER / "explanations.jsonl").read_text(encoding="utf-8").splitlines()]
    explained = {(row["query_id"], row["passage_id"]): row["grade"] for row in rows}
    positives = {(q, p): grade for q, row in both().items() for p, grade in row.items() if grade > 0}
    assert len(explained) == len(rows)
    assert explained == positives
    assert all(len(row["explanation"]) > 20 for row in rows)


def test_every_query_and_passage_has_text():
    assert all(query.text.strip() for query in PLACE.queries())
    assert all(passage.text.strip() and passage.title.strip() for passage in PLACE.passages())


@pytest.mark.parametrize("split", ["test", "train"])
def test_bm25_finds_much_but_not_all(split):
    qrels = PLACE.qrels(split)
    entry = dataclasses.replace(MINI, split=split, judgements=count(qrels), qrels_digest=None)
    _, run = make_candidates(entry, "bm25", 100)
    assert 0.55 < measurement(run, qrels, MINI.convention, ["nDCG@10"])["nDCG@10"] < 0.85


def test_it_is_given_to_the_public_domain():
    assert MINI.licence == "CC0-1.0"
    assert "CC0" in (FOLDER / "LICENSE").read_text(encoding="utf-8")
