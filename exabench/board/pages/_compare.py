"""Two lines against each other, and many: the pages that compare, and the data files from which a browser does it.

Per-query values are exact, because a rounded one moves a p-value.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from exabench.board.pages._page import Page, queries_data, script
from exabench.board.pages.downloads import short
from exabench.board.ranking import Board, ResultSummary, group_by
from exabench.core.files import digest_of
from exabench.core.nouns import FIRST_STAGE

_DIGITS = 16  # of a digest: told apart, not proven


def pages(board: Board) -> Iterator[Page]:
    """Both pages, the lines of the board, the groups of its rankings and tasks, and the queries of every list."""
    yield Page("compare.html", dict, "compare.html")
    yield Page("significance.html", dict, "significance.html")
    yield Page("data/lines.js", partial(lines_script, board))
    for ranking in board.rankings:
        means = []
        for row in ranking.rows:
            if row.group is not None:
                means.append((row.submission.slug, row.candidates, short(row.mean), row.group))
        yield _groups(f"view.{ranking.slug}", means)
    for name, entries in board.entries.items():
        values = []
        for entry in entries:
            one = entry.result
            if entry.group is not None:
                values.append((one.submission, one.candidates, short(one.value), entry.group))
        yield _groups(f"task.{name}", values)
    # The first result over a list stands for all of them.
    first: dict[str, ResultSummary] = {}
    for summary in board.shown_results:
        first.setdefault(queries_data(summary), summary)
    for path, summary in sorted(first.items()):
        queries = {"of": [summary.task, summary.candidates], "ids": summary.queries}
        yield Page(path, partial(script, "queries", queries))


def lines_script(board: Board) -> bytes:
    """Every line of the board: a submission over a candidate list, and the tasks that it was measured on.

    Lines name their tasks by a place in `sets`, for there are few different ones.
    """
    sets: dict[tuple[str, ...], int] = {}
    lines = []
    by_line = group_by(board.shown_results, lambda one: (one.submission, one.candidates))
    for (slug, candidates), summaries in by_line.items():
        tasks = tuple(summary.task for summary in summaries)
        place = sets.setdefault(tasks, len(sets))
        submission = board.submissions[slug]
        name = submission.name
        if slug == FIRST_STAGE:
            name = f"{name} (first stage)"
        elif submission.withdrawn:
            name = f"{name} (withdrawn)"
        lines.append([slug, name, candidates, place])
    rankings = []
    for ranking in board.rankings:
        over = [t.name for t in ranking.tasks]
        rankings.append({"key": f"view.{ranking.slug}", "title": ranking.title, "tasks": over})
    return script(
        "lines",
        {
            "tasks": [{"name": t.name, "members": t.members} for t in board.tasks],
            "singles": [t.name for t in board.single_tasks],
            "rankings": rankings,
            "sets": list(sets),
            "lines": lines,
        },
    )


def _groups(key: str, rows: Sequence[tuple[str, str, float | None, int]]) -> Page:
    """The lines of a ranking or a task that have a group, best first: slug, candidates, value, rank group."""
    return Page(f"data/groups/{key}.js", partial(script, "groups", {"key": key, "rows": rows}))


def vector_script(summary: ResultSummary) -> bytes:
    """The headline values of a result, query by query, with what they must share with those they are compared to."""
    result = summary.result
    told: dict[str, Any] = {"of": [summary.submission, summary.task, summary.candidates], "metric": summary.headline}
    # The browser compares two results only where all of these are the same.
    shared = {
        "candidates": result.candidates.digest,
        "qrels": result.qrels_digest,
        "convention": result.measurement.convention.digest,
        "queries": digest_of(summary.queries),
    }
    for name, digest in shared.items():
        told[name] = digest.removeprefix("sha256:")[:_DIGITS]
    told["missing"] = summary.missing
    told["values"] = summary.values.tolist()
    return script("vector", told)
