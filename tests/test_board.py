"""The board joins and ranks results; it invents no number."""

from __future__ import annotations

import copy
import dataclasses
import json

import numpy as np
import pytest
from toys import add_values as add

from exabench.bench.ledger import Ledger, read_result
from exabench.board.pages import render
from exabench.board.ranking import Board, CostSummary
from exabench.core.errors import BadInput
from exabench.core.files import digest_of, json_text
from exabench.core.nouns import Cost, Timing, Usage
from exabench.models.costs import cost_of
from exabench.tasks.catalogue import task

RNG = np.random.default_rng(3)


def cost(flops: float | None, p50: float | None = None, hardware: str = "here", parameters: int = 60) -> Cost:
    usage = Usage(20, 900, 20, None if flops is None else flops / 2, flops)
    timing = None if p50 is None else Timing(p50, 2 * p50, 10, None, hardware)
    return cost_of({"q": usage}, {"q": 0.5}, precision="float32", parameters=parameters, timing=timing)


def spent(board, name: str) -> CostSummary:
    return next(row.spent for row in Board.read(board).rows if row.submission.name == name)


def settings(board, *tasks: str) -> None:
    (board / "board.toml").unlink()
    Ledger(board).create("T", list(tasks))


def around(mean: float, size: int = 24) -> np.ndarray:
    return np.clip(RNG.normal(mean, 0.03, size), 0, 1)


def test_rows_are_ranked_by_mean_and_bounds_stay_out(board):
    add(board, "acme/best", {"mini": around(0.95)})
    add(board, "acme/worst", {"mini": around(0.05)})
    add(board, "acme/idle", {})  # without results there is no row
    read = Board.read(board)
    rows = read.rows
    names = [row.submission.name for row in rows]
    assert (names[0], names[-1]) == ("acme/best", "acme/worst") and "acme--idle" in read.submissions
    assert sorted(names) == ["acme/best", "acme/good", "acme/worst", "exabench/unchanged"]
    assert [row.mean for row in rows] == sorted((row.mean for row in rows), reverse=True)
    assert [row.group for row in rows][0] == 1 < rows[-1].group
    assert [row.submission.name for row in rows if row.is_first_stage] == ["exabench/unchanged"]


@pytest.mark.parametrize("what", ["convention", "judgements", "candidates"])
def test_what_was_measured_otherwise_than_its_list_says_is_listed_and_not_ranked(board, tmp_path, what):
    before = Board.read(board)
    add(board, "acme/odd", {"mini": around(0.99)})
    file = board / "results" / "acme--odd" / "mini.bm25-20.json"
    odd = read_result(file)
    if what == "convention":
        convention = dataclasses.replace(odd.measurement.convention, gain="exponential")
        odd = dataclasses.replace(odd, measurement=dataclasses.replace(odd.measurement, convention=convention))
    elif what == "judgements":
        odd = dataclasses.replace(odd, qrels_digest="sha256:" + "0" * 64)
    else:
        odd = dataclasses.replace(odd, candidates=dataclasses.replace(odd.candidates, digest="sha256:" + "0" * 64))
    Ledger(board).add_result(odd)
    read = Board.read(board)
    assert [(row.submission.slug, row.group) for row in read.rows] == [
        (row.submission.slug, row.group) for row in before.rows
    ]
    [entry] = [entry for entry in read.entries["mini"] if not entry.alike]
    assert (entry.submission.slug, entry.group) == ("acme--odd", None)
    render(read, tmp_path / "site")
    page = (tmp_path / "site" / "tasks" / "mini.html").read_text()
    assert page.index("Not ranked: measured with other") < page.index("acme/odd") and page.count("acme/odd") == 1
    assert "is in no ranking" in (tmp_path / "site" / "results" / "acme--odd" / "mini.bm25-20.html").read_text()


def test_a_row_without_all_tasks_has_no_mean(board):
    settings(board, "mini", "scifact")
    add(board, "acme/all", {"mini": around(0.2), "scifact": around(0.4, 300)})
    rows = Board.read(board).rows
    assert (rows[0].submission.name, rows[0].group) == ("acme/all", 1)
    assert rows[0].mean == pytest.approx((rows[0].values["mini"] + rows[0].values["scifact"]) / 2)
    assert rows[0].interval[0] < rows[0].mean < rows[0].interval[1]
    assert all((row.mean, row.interval, row.group, row.finished) == (None, None, None, 1) for row in rows[1:])


def test_cqadupstack_counts_as_one_and_every_forum_weighs_the_same(board):
    settings(board, "mini", "cqadupstack")
    forums = {name: around(0.1 + 0.05 * i, 20 * (i + 1)) for i, name in enumerate(task("cqadupstack").members)}
    add(board, "acme/forums", {"mini": around(0.5), **forums})
    row = Board.read(board).rows[0]
    assert row.submission.name == "acme/forums"
    assert row.values["cqadupstack"] == pytest.approx(np.mean([values.mean() for values in forums.values()]))
    assert row.mean == pytest.approx((row.values["mini"] + row.values["cqadupstack"]) / 2)
    assert row.interval[0] < row.mean < row.interval[1]
    assert row.wanted == 2


def test_a_view_has_means_and_groups_over_its_own_tasks(board):
    (board / "board.toml").write_text('title = "T"\ntasks = ["mini", "scifact"]\n[views]\n"Small & quick" = ["mini"]\n')
    add(board, "acme/best", {"mini": around(0.9)})
    view, whole = Board.read(board).rankings
    assert (view.title, view.slug, [t.name for t in view.tasks]) == ("Small & quick", "small-quick", ["mini"])
    assert (view.rows[0].submission.name, view.rows[0].mean) == ("acme/best", view.rows[0].values["mini"])
    assert whole.rows == Board.read(board).rows
    assert [row.mean for row in whole.rows] == [None] * 3


def test_a_contest_ranks_the_systems_over_one_list_alone_and_that_with_the_most_systems_comes_first(board):
    add(board, "acme/above", {"mini": around(0.95)}, candidates="splade-100")
    add(board, "exabench/unchanged", {"mini": around(0.90)}, candidates="splade-100", kind="baseline")
    add(board, "acme/one", {"mini": around(0.93)})
    [ranking] = Board.read(board).rankings
    most, other = ranking.contests
    assert (most.candidates, other.candidates) == ("bm25-20", "splade-100")
    assert [row.submission.name for row in most.rows] == ["acme/one", "exabench/unchanged", "acme/good"]
    assert [row.group for row in most.rows][0] == [row.group for row in other.rows][0] == 1
    # Other first stages stand there for reference.
    assert [(row.name, row.group) for row in most.shown[3:]] == [("first stage: splade", None)]
    assert {row.candidates for row in ranking.rows} == {"bm25-20", "splade-100"}  # which pipeline is best


def test_a_list_that_nobody_reranked_on_all_tasks_is_a_contest_only_where_all_lists_are_so(board):
    settings(board, "mini", "scifact")
    add(board, "acme/part", {"mini": around(0.9)}, candidates="splade-100")
    assert [one.candidates for one in Board.read(board).rankings[0].contests] == ["bm25-20", "splade-100"]
    add(board, "acme/all", {"mini": around(0.2), "scifact": around(0.4, 300)})
    [ranking] = Board.read(board).rankings
    assert [one.candidates for one in ranking.contests] == ["bm25-20"]
    assert "acme/part" in [row.submission.name for row in ranking.rows]


def test_samples_of_one_system_are_one_row_with_their_mean_and_range(board):
    drawn = [around(mean) for mean in (0.80, 0.84, 0.82)]
    for number, values in enumerate(drawn, 1):
        add(board, f"acme/gpt.{number}", {"mini": values}, system="acme/gpt", sample=number, type="listwise LLM")
    add(board, "acme/other", {"mini": around(0.5)})
    row, *others = Board.read(board).rankings[0].contests[0].rows
    assert (row.name, row.kind, len(row.samples), len(others)) == ("acme/gpt", "listwise LLM", 3, 3)
    means = [float(values.mean()) for values in drawn]
    assert [sample.mean for sample in row.samples] == pytest.approx(means)
    assert row.mean == pytest.approx(np.mean(means)) and row.range == pytest.approx((min(means), max(means)))
    assert row.per_query["mini"] == pytest.approx(np.mean(drawn, axis=0))
    assert row.interval[0] < row.mean < row.interval[1] and (row.group, row.submission.name) == (1, "acme/gpt.1")

    # A task that one sample has not finished, the system has not finished either.
    add(board, "acme/gpt.4", {}, system="acme/gpt", sample=4)
    settings(board, "mini", "scifact")
    add(board, "acme/gpt.1", {"scifact": around(0.5, 300)}, system="acme/gpt", sample=1)
    row = next(row for row in Board.read(board).rows if row.name == "acme/gpt")
    assert (row.mean, row.range, row.finished, list(row.values)) == (None, None, 1, ["mini"])


def test_the_type_of_a_system_is_what_it_says_else_that_of_its_reranker_else_its_kind(board):
    add(board, "acme/model", {"mini": around(0.8)}, {"mini": cost(1e12)})
    add(board, "acme/told", {"mini": around(0.8)}, {"mini": cost(1e12)}, type="other")
    kinds = {row.submission.name: row.kind for row in Board.read(board).rows}
    assert kinds == {
        "acme/model": "cross-encoder", "acme/told": "other", "acme/good": "run", "exabench/unchanged": "first stage",
    }  # fmt: skip


def test_a_forum_that_is_missing_leaves_cqadupstack_open(board):
    settings(board, "cqadupstack")
    add(board, "acme/eleven", {name: around(0.5) for name in task("cqadupstack").members[1:]})
    assert all(row.mean is None and "cqadupstack" not in row.values for row in Board.read(board).rows)


def test_reported_numbers_are_carried_as_they_are(board):
    (board / "reported").mkdir()
    (board / "reported" / "table.csv").write_text('system,value\n"a, b",0.5\n\n"multi\nline",0.6\n')
    (board / "reported" / "audit_discrepancies.csv").write_text("source,printed\nx,1\n")
    read = Board.read(board)
    assert read.reported[1].rows == (("a, b", "0.5"), ("multi\nline", "0.6"))
    assert read.audit.columns == ("source", "printed")


def test_a_result_that_was_edited_or_lacks_a_value_of_its_headline_metric_stops_the_board_in_one_line(board):
    file = board / "results" / "acme--good" / "mini.bm25-20.json"
    told = json.loads(file.read_text())
    file.write_text(json_text(told | {"created": "2026-01-01"}))
    with pytest.raises(BadInput, match="was edited"):
        Board.read(board)
    for part in ("ceiling", "first_stage", "metrics", "intervals", "per_query"):
        values = copy.deepcopy(told)
        del values["digest"]
        values.get(part, values["measurement"].get(part)).pop("nDCG@10")
        file.write_text(json_text(values | {"digest": digest_of(values)}))
        with pytest.raises(BadInput, match=r"mini\.bm25-20\.json: .* lacks a value of nDCG@10"):
            Board.read(board)


def test_every_task_weighs_the_same_in_what_a_line_took(board):
    settings(board, "mini", "cqadupstack")
    forums = task("cqadupstack").members
    values = {"mini": around(0.5), **{name: around(0.5) for name in forums}}
    costs = {"mini": cost(9e12, 3.0), **{name: cost(i * 1e12, float(i)) for i, name in enumerate(forums)}}
    add(board, "acme/model", values, costs)
    found = spent(board, "acme/model")
    assert found.flops_exact == pytest.approx((9e12 + 5.5e12) / 2)
    assert found.p50 == pytest.approx((3.0 + 5.5) / 2)


@pytest.mark.parametrize(
    ("costs", "why"),
    [
        ({"mini": cost(1e12), "scifact": None}, "has no cost data"),
        ({"mini": cost(1e12), "scifact": cost(None)}, "behind its server is not known"),
    ],
)
def test_what_is_unknown_on_one_task_is_unknown_and_says_why(board, costs, why):
    settings(board, "mini", "scifact")
    add(board, "acme/model", {"mini": around(0.5), "scifact": around(0.5)}, costs)
    found = spent(board, "acme/model")
    assert found.flops_exact is None and why in found.why


def test_a_line_with_missing_tasks_and_seconds_of_two_machines_have_no_mean_cost(board):
    settings(board, "mini", "scifact")
    add(board, "acme/part", {"mini": around(0.5)}, {"mini": cost(1e12, 0.2)})
    found = spent(board, "acme/part")
    assert (found.flops_exact, found.p50, found.parameters) == (None, None, 60) and "tasks are missing" in found.why
    costs = {"mini": cost(1e12, 0.2, "here"), "scifact": cost(1e12, 0.2, "there")}
    add(board, "acme/two", {"mini": around(0.5), "scifact": around(0.5)}, costs)
    found = spent(board, "acme/two")
    assert (found.p50, found.hardware, found.flops_exact) == (None, "", 1e12)


def test_a_model_says_what_it_took_a_first_stage_takes_nothing_and_a_run_that_was_sent_in_was_not_seen(board):
    add(board, "acme/model", {"mini": around(0.8)}, {"mini": cost(4e12, 0.25)})
    assert spent(board, "acme/model") == CostSummary(4e12, 2e12, 60, 0.25, "here", 10)
    assert any(entry.submission.name == "acme/model" and entry.group for entry in Board.read(board).entries["mini"])
    first = spent(board, "exabench/unchanged")
    assert (first.flops_exact, first.flops_paper, first.parameters, first.p50) == (0.0, 0.0, None, None)
    sent = spent(board, "acme/good")
    assert sent.flops_exact is None and "its cost is not known" in sent.why
