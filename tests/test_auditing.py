"""What an audit says of a release: counts, doubles, leaks, and the teacher held against people's grades."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st
from toys import row

from exabench.core.errors import BadInput
from exabench.core.rows import FAMILIES, Release, Row, Table
from exabench.data.auditing import audit, cohens_kappa
from exabench.data.releases import save, write_table
from exabench.measure.metric_values import mean, measure
from exabench.measure.qrels import read_qrels
from exabench.measure.runs import read_run
from exabench.tasks.catalogue import task
from exabench.tasks.collections import open_collection

MINI = "folder mini in BEIR layout"


def release(
    folder: Path, family: str, splits: Mapping[str, Iterable[Row]], counts: Mapping[str, Any] = {}, **report: Any
) -> Path:
    """A release with one table, `set`, and counts that add up unless others are given."""
    files = write_table(folder, "set", family, splits)
    good = sum(file.rows for split in files.values() for file in split)
    counts = counts or {"input": good + 3, "good": good, "quarantined": 2, "skipped": 1, "reasons": {"x": 1, "y": 2}}
    table = Table(
        family, "mit", {"builder": "toy"}, "sha256:0", counts, {"model": "toy"}, "", {}, False, report, files,
        FAMILIES[family],
    )  # fmt: skip
    save(Release("toys", "1.0.0", {"set": table}), folder)
    return folder


def audited(folder: Path, family: str, *rows: Row) -> Any:
    """What an audit says of a table with these rows."""
    found = audit(release(folder, family, {"train": rows}))
    assert found.problems == []
    return found.tables["set"]


@pytest.fixture
def mini() -> tuple[dict[str, str], dict[str, str], dict[str, dict[str, int]]]:
    place = open_collection(task("mini"))
    queries = {query.id: query.text for query in place.queries()}
    return queries, {passage.id: passage.text for passage in place.passages()}, place.qrels("test")


def explained(mini, label) -> list[Row]:
    queries, texts, qrels = mini
    rows = []
    for q, judged in qrels.items():
        for p, grade in judged.items():
            given = {"query_id": q, "query": queries[q], "passage_id": p, "passage": texts[p], "source": MINI}
            rows.append(row("explanations", id=f"{q}-{p}", relevant=label(grade), explanation="It says so.", **given))
    return rows


def test_kappa_has_its_textbook_values_and_is_undefined_for_one_label_throughout():
    assert cohens_kappa({(1, 1): 20, (1, 0): 5, (0, 1): 10, (0, 0): 15}) == pytest.approx(0.4, abs=1e-12)
    assert cohens_kappa({(1, 0): 5, (0, 1): 5}) == -1
    assert cohens_kappa({(True, True): 9}) is None and cohens_kappa({}) is None
    assert cohens_kappa({(True, False): 9}) == 0


@settings(max_examples=30)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=50))
def test_kappa_is_scikit_learns(pairs):
    metrics = pytest.importorskip("sklearn.metrics")
    found = cohens_kappa(Counter(pairs))
    if len({label for pair in pairs for label in pair}) == 1:
        assert found is None
    else:
        assert found == pytest.approx(metrics.cohen_kappa_score(*zip(*pairs, strict=True)), abs=1e-12)


def test_a_teacher_agrees_with_people_where_labels_are_theirs_and_never_where_they_are_the_contrary(tmp_path, mini):
    rows = explained(mini, lambda grade: grade >= 1)
    found = audited(tmp_path / "same", "explanations", *rows)["against people"]["mini"]["labels"]
    assert found == {"judged pairs": len(rows), "agreement": 1.0, "kappa": 1.0}
    rows = explained(mini, lambda grade: grade < 1)
    found = audited(tmp_path / "other", "explanations", *rows)["against people"]["mini"]["labels"]
    assert found["agreement"] == 0 and found["kappa"] <= 0


def test_another_query_under_a_judged_id_and_another_collection_are_held_against_nobody(tmp_path, mini):
    rows = explained(mini, lambda grade: True)
    other_text = [{**each, "query": f"{each['query']} indeed"} for each in rows]
    other_place = [{**each, "source": "medquad"} for each in rows]
    not_here = [{**each, "source": "folder scifact in BEIR layout"} for each in rows]
    for number, some in enumerate((other_text, other_place, not_here)):
        assert "against people" not in audited(tmp_path / str(number), "explanations", *some)


def test_positives_and_negatives_are_labels_too(tmp_path, mini):
    queries, texts, qrels = mini
    query_id = next(q for q, judged in qrels.items() if len(judged) > 1)
    first, second = list(qrels[query_id])[:2]
    given = {"positive_id": first, "positive": texts[first], "source": MINI, "query_source": "given"}
    given |= {"negative_ids": [second, "unjudged"], "negatives": ["a", "b"], "negative_titles": ["", ""]}
    given |= {"query_id": query_id, "query": queries[query_id], "negative_sources": ["bm25", "bm25"]}
    found = audited(tmp_path, "contrastive", row("contrastive", id="1", **given))["against people"]["mini"]["labels"]
    right = [qrels[query_id][first] >= 1, qrels[query_id][second] < 1]
    assert (found["judged pairs"], found["agreement"]) == (2, sum(right) / 2)


def test_orders_are_worth_what_people_say_for_each_first_stage_and_together(tmp_path, mini):
    """A query asked of two first stages counts as two lists; a scored row holds the order of none."""
    queries, texts, qrels = mini
    query_id = next(q for q, judged in qrels.items() if any(grade > 0 for grade in judged.values()))
    best = max(qrels[query_id], key=lambda id: qrels[query_id][id])
    others = [id for id in texts if id not in qrels[query_id]][:10]
    made = []
    for stage, ids in (("good", [best, *others]), ("bad", [*others, best])):
        given = {"passage_ids": ids, "titles": [""] * 11, "passages": [texts[id] for id in ids], "source": MINI}
        given |= {"query_id": query_id, "query": queries[query_id], "query_source": "given", "id": stage}
        made.append(row("listwise", first_stage=stage, first_stage_ranks=list(range(11, 0, -1)), **given))
    found = audited(tmp_path / "lists", "listwise", *made)["against people"]["mini"]
    ideal = sorted(qrels[query_id].values(), reverse=True)[:10]
    value = ideal[0] / sum(max(grade, 0) / math.log2(rank + 1) for rank, grade in enumerate(ideal, 1))
    assert found["orders by first stage"] == {
        "bad": {"lists": 1, "teacher nDCG@10": 0, "first stage nDCG@10": pytest.approx(value)},
        "good": {"lists": 1, "teacher nDCG@10": pytest.approx(value), "first stage nDCG@10": 0},
    }
    half = pytest.approx(value / 2)
    assert found["orders"] == {"judged pairs": 2, "lists": 2, "teacher nDCG@10": half, "first stage nDCG@10": half}
    scored = row("scored", scores=[float(-i) for i in range(11)], first_stages=["bm25"] * 11, **given)
    found = audited(tmp_path / "scored", "scored", scored)["against people"]["mini"]
    assert found == {"orders": {"judged pairs": 1, "lists": 1, "teacher nDCG@10": 0.0}}


@pytest.mark.real_data
def test_recorded_orders_are_worth_what_their_runs_score(tmp_path, real_data):
    folder, data = (real_data / "trec-dl-2020").resolve(), tmp_path / "data"
    data.mkdir()
    (data / "trec-dl-2020").symlink_to(folder)  # this collection alone: others only take time
    first = read_run(folder / "runs" / "bm25.trec")
    teacher = read_run(folder / "rerank_runs" / "bm25+rankgpt-gpt-3.5-turbo.1.trec")
    place = open_collection(task("trec-dl-2020"), data)
    texts, rows = {passage.id: passage.text for passage in place.passages()}, []
    for query in place.queries():
        if query.id in first:
            ids, ranks = teacher.ranking(query.id), {id: i for i, id in enumerate(first.ranking(query.id), 1)}
            given = {"passages": [texts[id] for id in ids], "first_stage_ranks": [ranks[id] for id in ids]}
            given |= {"passage_ids": ids, "titles": [""] * len(ids), "source": place.source, "query_source": "given"}
            given |= {"id": query.id, "query_id": query.id, "query": query.text, "first_stage": "bm25"}
            rows.append(row("listwise", **given))
    found = audit(release(tmp_path / "set", "listwise", {"train": rows[:40], "validation": rows[40:]}), data=data)
    # MS MARCO's own texts: tags are named, and the wrongly decoded characters of a fifth of them are ordinary.
    [tags] = found.problems
    assert tags.startswith("set: 5 rows have an HTML tag, first ") and len(rows) == 54
    qrels = read_qrels(folder / "qrels" / "test.tsv")
    orders = {"judged pairs": sum(id in qrels[q] for q in teacher for id in teacher.ranking(q)), "lists": len(qrels)}
    for what, run in (("teacher", teacher), ("first stage", first)):
        [values] = measure(qrels, run, ["nDCG@10"], threshold=2)[1].values()
        orders[f"{what} nDCG@10"] = pytest.approx(mean(values), abs=1e-9)
    people = found.tables["set"]["against people"]
    assert list(people) == ["trec-dl-2020"] and people["trec-dl-2020"]["orders"] == orders
    assert found.tables["set"]["leaks"]["benchmarks"]["trec-dl-2020"]["query id"] == 54


def test_doubles_within_and_across_splits_are_counted(tmp_path):
    same = {"query": "what is x", "passage": "x is a letter"}
    train = [row("explanations", id="a", **same), row("explanations", id="b", **same)]
    train.append(row("explanations", id="c", passage="y is another"))
    validation = [row("explanations", id="d", **same)]
    found = audit(release(tmp_path, "explanations", {"train": train, "validation": validation}))
    assert found.tables["set"]["duplicates"] == {"exact": 1, "exact, of another split": 1}
    assert found.problems == ["set: 1 row doubles a row of another split"]


@pytest.mark.parametrize(
    ("input", "good", "reasons", "complaint"),
    [(9, 1, 2, "input 9 is not good"), (3, 1, 1, "reasons for 1 row"), (4, 2, 2, "1 row is there, and 2")],
)
def test_counts_that_do_not_add_up_are_problems(tmp_path, input, good, reasons, complaint):
    counts = {"input": input, "good": good, "quarantined": 1, "skipped": 1, "reasons": {"x": reasons}}
    rows = {"train": [row("explanations", id="a", passage="a text")]}
    [problem] = audit(release(tmp_path, "explanations", rows, counts)).problems
    assert complaint in problem


def test_an_audit_can_be_read_and_is_the_same_every_time(tmp_path, mini):
    rows = explained(mini, lambda grade: grade >= 1)
    folder = release(tmp_path / "set", "explanations", {"train": rows}, overlap={"bm25": {"dense": 0.25}})
    found = audit(folder)
    assert json.loads(json.dumps(found.as_json(), allow_nan=False)) == found.as_json() == audit(folder).as_json()
    told = found.lines()
    assert told[0] == "toys 1.0.0" and told[-1].startswith("no inconsistency found")
    assert "  source overlap, overlap, bm25: dense 0.2500" in told
    assert any(line.startswith("  against people, mini, labels: judged pairs") for line in told)
    assert all("\n" not in line and "{" not in line for line in told)
    with pytest.raises(BadInput, match="is not a release"):
        audit(tmp_path)
