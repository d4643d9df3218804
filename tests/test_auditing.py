"""What an audit says of a release: counts, doubles, leaks, and the teacher held against people's grades."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies as st

from exabench.core.errors import BadInput
from exabench.core.rows import FAMILIES, Release, Row, Table, check_row
from exabench.data.auditing import audit, cohens_kappa
from exabench.data.releases import save, write_table
from exabench.measure.metric_values import mean, measure
from exabench.measure.qrels import read_qrels
from exabench.measure.runs import read_run
from exabench.tasks.catalogue import task
from exabench.tasks.collections import open_collection

EMPTY = {"string": "", "bool": False, "int64": 0, "double": 0.0}
MINI = "folder mini in BEIR layout"


def row(family: str, **given: Any) -> Row:
    """A row of a family: what is given, and nothing in every other field."""
    fields = {name: EMPTY.get(kind, []) for name, kind in FAMILIES[family].items()}
    return check_row(family, {**fields, **given})


def release(
    folder: Path,
    family: str,
    splits: Mapping[str, Iterable[Row]],
    counts: Mapping[str, Any] | None = None,
    **report: Any,
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


def listwise(
    name: str, queries: Mapping[str, str], texts: Mapping[str, str], first: Any, teacher: Any, stage: str = "bm25"
) -> list[Row]:
    """A row for each query of the first stage's run, in the teacher's order."""
    made = []
    for query_id in first:
        ranks = {id: rank for rank, id in enumerate(first.ranking(query_id), 1)}
        ids = teacher.ranking(query_id)
        made.append(
            row(
                "listwise",
                id=f"{stage}:{query_id}",
                query_id=query_id,
                query=queries[query_id],
                query_source="given",
                first_stage=stage,
                passage_ids=ids,
                titles=[""] * len(ids),
                passages=[texts[id] for id in ids],
                first_stage_ranks=[ranks[id] for id in ids],
                source=name,
                missing=int(query_id == min(first)),
            )  # fmt: skip
        )
    return made


@pytest.fixture
def mini() -> tuple[dict[str, str], dict[str, str], dict[str, dict[str, int]]]:
    place = open_collection(task("mini"))
    queries = {query.id: query.text for query in place.queries()}
    return queries, {passage.id: passage.text for passage in place.passages()}, place.qrels("test")


def explained(mini, label) -> list[Row]:
    queries, texts, qrels = mini
    return [
        row(
            "explanations",
            id=f"{q}-{p}",
            query_id=q,
            query=queries[q],
            passage_id=p,
            passage=texts[p],
            source=MINI,
            relevant=label(grade),
            explanation="It says so.",
        )  # fmt: skip
        for q, judged in qrels.items()
        for p, grade in judged.items()
    ]


# -- kappa ---------------------------------------------------------------------------------------------------------


def test_kappa_has_its_textbook_values():
    assert cohens_kappa({(1, 1): 20, (1, 0): 5, (0, 1): 10, (0, 0): 15}) == pytest.approx(0.4, abs=1e-12)
    assert cohens_kappa({(1, 1): 45, (1, 0): 15, (0, 1): 25, (0, 0): 15}) == pytest.approx(0.1304, abs=1e-4)
    assert cohens_kappa({(1, 1): 3, (0, 0): 4}) == 1
    assert cohens_kappa({(1, 0): 5, (0, 1): 5}) == -1
    assert cohens_kappa({(1, 1): 1, (1, 0): 1, (0, 1): 1, (0, 0): 1}) == 0


def test_kappa_of_one_label_throughout_and_of_nothing_is_undefined():
    assert cohens_kappa({(True, True): 9}) is None and cohens_kappa({}) is None
    assert cohens_kappa({(True, False): 9}) == 0


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=50))
def test_kappa_is_scikit_learns(pairs):
    metrics = pytest.importorskip("sklearn.metrics")
    found = cohens_kappa(Counter(pairs))
    if len({label for pair in pairs for label in pair}) == 1:
        assert found is None
    else:
        assert found == pytest.approx(metrics.cohen_kappa_score(*zip(*pairs, strict=True)), abs=1e-12)


# -- the teacher against people ------------------------------------------------------------------------------------


def test_a_teacher_who_says_what_people_said_agrees_with_them(tmp_path, mini):
    rows = explained(mini, lambda grade: grade >= 1)
    found = audit(release(tmp_path, "explanations", {"train": rows}))
    assert found.problems == ()
    labels = found.tables["set"]["against people"]["mini"]["labels"]
    assert labels == {
        "judged pairs": len(rows),
        "agreement": 1.0,
        "kappa": 1.0 if len({r["relevant"] for r in rows}) > 1 else None,
    }


def test_a_teacher_who_says_the_contrary_never_agrees(tmp_path, mini):
    rows = explained(mini, lambda grade: grade < 1)
    labels = audit(release(tmp_path, "explanations", {"train": rows})).tables["set"]["against people"]["mini"]["labels"]
    assert labels["agreement"] == 0 and labels["kappa"] <= 0


def test_another_query_under_a_judged_id_and_another_collection_are_held_against_nobody(tmp_path, mini):
    rows = explained(mini, lambda grade: True)
    other_text = [{**each, "query": f"{each['query']} indeed"} for each in rows]
    other_place = [{**each, "source": "medquad"} for each in rows]
    for number, some in enumerate((other_text, other_place)):
        found = audit(release(tmp_path / str(number), "explanations", {"train": some}))
        assert "against people" not in found.tables["set"]


def test_positives_and_negatives_are_labels_too(tmp_path, mini):
    queries, texts, qrels = mini
    query_id = next(q for q, judged in qrels.items() if len(judged) > 1)
    first, second = list(qrels[query_id])[:2]
    given = {
        "positive_id": first,
        "positive": texts[first],
        "negative_ids": [second, "unjudged"],
        "negatives": ["a", "b"],
    }
    given |= {"negative_titles": ["", ""], "negative_sources": ["bm25", "bm25"], "source": MINI}
    only = row("contrastive", id="1", query_id=query_id, query=queries[query_id], query_source="given", **given)
    found = audit(release(tmp_path, "contrastive", {"train": [only]})).tables["set"]["against people"]["mini"]["labels"]
    human = [qrels[query_id][first] >= 1, qrels[query_id][second] >= 1]
    assert found["judged pairs"] == 2
    assert found["agreement"] == [human[0] is True, human[1] is False].count(True) / 2


def test_a_query_asked_of_two_first_stages_counts_as_two_lists(tmp_path, mini):
    queries, texts, qrels = mini
    query_id = next(q for q, judged in qrels.items() if any(grade > 0 for grade in judged.values()))
    best = max(qrels[query_id], key=lambda id: qrels[query_id][id])
    others = [id for id in texts if id not in qrels[query_id]][:10]
    made = []
    for stage, ids in (("good", [best, *others]), ("bad", [*others, best])):
        given = {"passage_ids": ids, "titles": [""] * 11, "passages": [texts[id] for id in ids], "source": MINI}
        given |= {"first_stage_ranks": list(range(11, 0, -1)), "first_stage": stage, "query_source": "given"}
        made.append(row("listwise", id=stage, query_id=query_id, query=queries[query_id], **given))
    found = audit(release(tmp_path, "listwise", {"train": made})).tables["set"]["against people"]["mini"]
    by_stage = found["orders by first stage"]
    good, bad = by_stage["good"], by_stage["bad"]
    assert bad["teacher nDCG@10"] == 0 < good["teacher nDCG@10"] == bad["first stage nDCG@10"]
    assert good["first stage nDCG@10"] == 0
    assert found["orders"]["lists"] == 2 and found["orders"]["teacher nDCG@10"] == good["teacher nDCG@10"] / 2


RUNS = ["bm25+rankgpt-gpt-3.5-turbo.1", "splade-pp-ed+rankvicuna-7b.1"]


@pytest.mark.real_data
@pytest.mark.parametrize("name", RUNS)
def test_recorded_orders_are_worth_what_their_runs_score(tmp_path, real_data, name):
    folder, data = (real_data / "trec-dl-2020").resolve(), tmp_path / "data"
    data.mkdir()
    (data / "trec-dl-2020").symlink_to(folder)  # this collection alone: others only take time
    stage = name.partition("+")[0]
    first, teacher = read_run(folder / "runs" / f"{stage}.trec"), read_run(folder / "rerank_runs" / f"{name}.trec")
    place = open_collection(task("trec-dl-2020"), real_data)
    queries = {query.id: query.text for query in place.queries()}
    texts = {passage.id: passage.text for passage in place.passages()}
    rows = listwise(place.source, queries, texts, first, teacher, stage)
    found = audit(release(tmp_path / "set", "listwise", {"train": rows[:40], "validation": rows[40:]}), data=data)
    assert found.problems == ()
    qrels = read_qrels(folder / "qrels" / "test.tsv")
    people = found.tables["set"]["against people"]
    assert list(people) == ["trec-dl-2020"]
    orders = people["trec-dl-2020"]["orders"]
    assert orders["lists"] == len(qrels) == 54
    for what, run in (("teacher", teacher), ("first stage", first)):
        expected = mean(measure(qrels, run, ["nDCG@10"], threshold=2)[1]["nDCG@10"])
        assert abs(orders[f"{what} nDCG@10"] - expected) <= 1e-9
    assert orders["judged pairs"] == sum(id in qrels[q] for q in teacher for id in teacher.ranking(q))
    assert found.tables["set"]["repairs"]["missing"] == 1
    assert found.tables["set"]["leaks"]["benchmarks"]["trec-dl-2020"]["query id"] == 54


# -- the rest of an audit ------------------------------------------------------------------------------------------


def test_doubles_within_and_across_splits_are_counted(tmp_path):
    same = {"query": "what is x", "passage": "x is a letter"}
    train = [row("explanations", id="a", **same), row("explanations", id="b", **same), row("explanations", id="c")]
    found = audit(
        release(tmp_path, "explanations", {"train": train, "validation": [row("explanations", id="d", **same)]})
    )
    assert found.tables["set"]["duplicates"] == {"exact": 1, "exact, of another split": 1}
    assert found.problems == ("set: 1 row doubles a row of another split",)


def test_leaks_are_found_in_every_collection_at_hand(tmp_path, mini):
    judged = mini[0][next(iter(mini[2]))]
    made = [row("explanations", id="a", query=judged.upper()), row("explanations", id="b", query="harmless")]
    leaks = audit(release(tmp_path, "explanations", {"train": made})).tables["set"]["leaks"]
    assert leaks == {"rows": 1, "rate": 0.5, "benchmarks": {"mini": {"rows": 1, "query text": 1}}}


@pytest.mark.parametrize(
    ("counts", "complaint"),
    [
        ({"input": 9, "good": 1, "quarantined": 1, "skipped": 1, "reasons": {"x": 2}}, "input 9 is not good"),
        ({"input": 3, "good": 1, "quarantined": 1, "skipped": 1, "reasons": {"x": 1}}, "reasons for 1 row"),
        ({"input": 4, "good": 2, "quarantined": 1, "skipped": 1, "reasons": {"x": 2}}, "1 row is there, and 2"),
        ({}, ""),
    ],
)
def test_counts_that_do_not_add_up_are_problems(tmp_path, counts, complaint):
    found = audit(release(tmp_path, "explanations", {"train": [row("explanations", id="a")]}, counts))
    assert len(found.problems) == bool(complaint)
    assert all(complaint in problem for problem in found.problems)


def test_an_audit_can_be_read_and_is_the_same_every_time(tmp_path, mini):
    folder = release(
        tmp_path,
        "explanations",
        {"train": explained(mini, lambda grade: grade >= 1)},
        overlap={"bm25": {"dense": 0.25}},
    )
    found = audit(folder)
    assert json.loads(json.dumps(found.as_json(), allow_nan=False)) == found.as_json() == audit(folder).as_json()
    told = found.lines()
    assert told[0] == "toys 1.0.0" and told[-1] == "problem: none"
    assert "  source overlap, overlap, bm25: dense 0.2500" in told
    assert any(line.startswith("  against people, mini, labels: judged pairs") for line in told)
    assert all("\n" not in line and "{" not in line for line in told)


def test_a_folder_that_is_no_release_is_refused(tmp_path):
    with pytest.raises(BadInput):
        audit(tmp_path)
