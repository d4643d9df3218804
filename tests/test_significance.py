"""One account of significance: groups and p-values of the committed board, by scipy from its files alone."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
from benchmarks.board import Crowd
from test_compare_pages import handed_over

from exabench.bench.comparison import compare_submissions
from exabench.board.pages import FILTERS, render
from exabench.board.ranking import Board
from exabench.cli import main

BOARD = Path(__file__).parent.parent / "leaderboard"
Systems = Mapping[str, list[np.ndarray]]


def systems_of(tasks: list[str], candidates: str) -> Systems:
    """The per-query values of each system that finished these tasks over one list, read from the files as they lie."""
    samples: dict[str, list[list[np.ndarray]]] = {}
    for file in sorted((BOARD / "submissions").glob("*.toml")):
        told = tomllib.loads(file.read_text())
        is_bound = told["kind"] == "baseline" and file.stem != "exabench--unchanged"
        results = [BOARD / "results" / file.stem / f"{task}.{candidates}.json" for task in tasks]
        if is_bound or told.get("withdrawn") or not all(result.is_file() for result in results):
            continue
        values = []
        for result in results:
            measured = json.loads(result.read_text())["measurement"]
            by_query = measured["per_query"][measured["headline"]]
            values.append(np.array([by_query[query] for query in sorted(by_query)]))
        samples.setdefault(told.get("system") or told["name"], []).append(values)
    found = {}
    for name, several in samples.items():
        found[name] = [np.mean(of_task, axis=0) for of_task in zip(*several, strict=True)]
    return found


def p_of(a: list[np.ndarray], b: list[np.ndarray]) -> float:
    """Student's paired t-test; over several tasks that of the mean of means, with Welch and Satterthwaite's freedom."""
    differences = [one - other for one, other in zip(a, b, strict=True)]
    if max(np.abs(np.concatenate(differences))) < 1e-12:
        return 1.0
    if len(differences) == 1:
        return float(scipy.stats.ttest_rel(a[0], b[0]).pvalue)
    shares = [values.var(ddof=1) / len(values) / len(differences) ** 2 for values in differences]
    sizes = [len(values) - 1 for values in differences]
    freedom = sum(shares) ** 2 / sum(share**2 / size for share, size in zip(shares, sizes, strict=True))
    mean = np.mean([values.mean() for values in differences])
    return float(2 * scipy.stats.t.sf(abs(mean) / sum(shares) ** 0.5, freedom))


def corrected(p_values: list[float]) -> list[float]:
    """Holm 1979."""
    found = [0.0] * len(p_values)
    largest = 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[place]))
        found[place] = largest
    return found


def account(systems: Systems) -> tuple[dict[str, int], dict[tuple[str, str], float]]:
    """The group of each system, and the corrected p of each (better, worse) pair."""
    order = sorted(systems, key=lambda name: (-np.mean([values.mean() for values in systems[name]]), name))
    p_values = {}
    for place, better in enumerate(order):
        below = order[place + 1 :]
        for worse, p in zip(below, corrected([p_of(systems[better], systems[one]) for one in below]), strict=True):
            p_values[better, worse] = p
    groups: dict[str, int] = {}
    leader = ""
    for name in order:
        if not leader or p_values[leader, name] < 0.05:
            leader = name
        groups[name] = groups.get(leader, len(set(groups.values())) + 1)
    return groups, p_values


def test_the_committed_boards_groups_and_p_values_are_those_of_scipy() -> None:
    board = Board.read(BOARD)
    told = [([t.name for t in ranking.tasks], ranking.contests) for ranking in board.rankings]
    told += [([name], contests) for name, contests in board.contests.items()]
    checked = 0
    for tasks, contests in told:
        for contest in contests:
            ranked = {}
            for row in contest.rows:
                if row.mean is not None:
                    ranked["exabench/unchanged" if row.is_first_stage else row.name] = row
            if any(t not in board.contests for t in tasks):  # a mean of means, which has no file
                continue
            groups, p_values = account(systems_of(tasks, contest.candidates))
            assert {name: row.group for name, row in ranked.items()} == groups
            for (better, worse), p in p_values.items():
                plain = p_of(*(systems_of(tasks, contest.candidates)[name] for name in (better, worse)))
                assert (plain < ranked[better].limit) == (p < 0.05)
                if "exabench/unchanged" in (better, worse):
                    other = worse if better == "exabench/unchanged" else better
                    assert ranked[other].p == pytest.approx(p, rel=1e-6)
            checked += len(groups)
    assert checked > 5


def test_bench_compare_says_of_two_submissions_what_their_contest_says() -> None:
    board = Board.read(BOARD)
    checked = 0
    for task, contests in board.contests.items():
        for contest in contests:
            _, p_values = account(systems_of([task], contest.candidates))
            alone = {row.submission.name for row in contest.rows if row.mean is not None and not row.samples}
            for better, worse in list(combinations(sorted(alone), 2))[:3]:
                [one] = compare_submissions(better, worse, BOARD, task=task, candidates=contest.candidates)
                p = p_values.get((better, worse), p_values.get((worse, better)))
                assert one.corrected == pytest.approx(p, rel=1e-6)
                assert (one.verdict == "not significantly different") == (p >= 0.05)
                checked += 1
    assert checked > 1


def test_no_page_calls_members_of_a_group_different_from_its_first_nor_its_first_from_the_next_alike(
    board: Path,
) -> None:
    """On a crowded contest, by what the browser is given: groups, limits, and values that it tests."""
    crowd = Crowd(board)
    for number in range(30):
        crowd.add(number)
    render(Board.read(board), board / "site")
    rows = handed_over((board / "site/data/groups/task.mini.bm25-20.js").read_bytes(), "groups")["rows"]
    values = {}
    for (slug,), candidates, *_ in rows:
        told = (board / f"site/data/queries/{slug}/mini.{candidates}.js").read_bytes()
        values[slug] = np.array(handed_over(told, "vector")["values"])
    assert len(rows) == 32 and 1 < rows[-1][4] < 32
    leader = rows[0]
    for row in rows[1:]:
        differs = p_of([values[leader[0][0]]], [values[row[0][0]]]) < leader[5]
        assert differs == (row[4] != leader[4])
        if differs:
            leader = row


@pytest.mark.parametrize(
    ("more", "said"),
    [(None, "–"), (0.2, "1"), (37.2, "37"), (137, "140"), (996, "1,000"), (10_001, "more than 10,000")],
)
def test_a_number_of_queries_has_two_digits_and_an_end(more: float | None, said: str) -> None:
    assert FILTERS["more_queries"](more) == said


def test_the_table_for_a_paper_has_the_same_p(capsys: pytest.CaptureFixture[str]) -> None:
    names = ("sentence-transformers/all-MiniLM-L6-v2", "exabench/unchanged")
    [one, *_] = compare_submissions(*names, BOARD, candidates="bm25-100")
    assert main(["bench", "compare", *names, "--candidates", "bm25-100", "--board", str(BOARD), "--latex"]) == 0
    shown = "$< 0.0001$" if one.corrected < 0.0001 else f"{one.corrected:.4f}"
    assert shown in capsys.readouterr().out
