"""Two lines against each other, and many: the pages that compare, and the data files from which a browser does it.

Per-query values are exact, because a rounded one moves a p-value.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial

from exabench.board.pages._page import Page, queries_data, script
from exabench.board.pages.downloads import short
from exabench.board.ranking import Board, ResultSummary, group_by
from exabench.core.files import digest_of
from exabench.core.nouns import FIRST_STAGE

WRITTEN = 20  # lines of each ranking in the page itself
MOST = 50  # lines in a matrix
_DIGITS = 16  # of a digest: told apart, not proven


def pages(board: Board) -> Iterator[Page]:
    """Both pages, the lines of the board, the groups of its rankings and tasks, and the queries of every list."""
    yield Page("compare.html", dict, "compare.html")
    yield Page("significance.html", lambda: {"most": MOST, "written": WRITTEN}, "significance.html")
    yield Page("data/lines.js", partial(lines_script, board))
    for ranking in board.rankings:
        means = [(row.submission.slug, row.candidates, row.mean, row.group) for row in ranking.rows]
        yield _groups(f"view.{ranking.slug}", means)
    for name, entries in board.entries.items():
        values = [(one.result.submission, one.result.candidates, one.result.value, one.group) for one in entries]
        yield _groups(f"task.{name}", values)
    # Reversed, so that the first result over a list stands for all of them.
    first = {queries_data(summary): summary for summary in reversed(board.shown_results)}
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
        names = tuple(summary.task for summary in summaries)
        submission = board.submissions[slug]
        name = submission.name
        if slug == FIRST_STAGE:
            name = f"{name} (first stage)"
        elif submission.withdrawn:
            name = f"{name} (withdrawn)"
        lines.append([slug, name, candidates, sets.setdefault(names, len(sets))])
    rankings = []
    for ranking in board.rankings:
        tasks = [t.name for t in ranking.tasks]
        rankings.append({"key": f"view.{ranking.slug}", "title": ranking.title, "tasks": tasks})
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


def _groups(key: str, lines: Iterable[tuple[str, str, float | None, int | None]]) -> Page:
    """The lines of a ranking or a task that have a group, best first: slug, candidates, value, rank group."""
    rows = [[slug, candidates, short(value), group] for slug, candidates, value, group in lines if group is not None]
    return Page(f"data/groups/{key}.js", partial(script, "groups", {"key": key, "rows": rows}))


def vector_script(summary: ResultSummary) -> bytes:
    """The headline values of a result, query by query, with what they must share with those they are compared to."""
    result = summary.result
    # The browser compares two results only where all of these are the same.
    shared = {
        "candidates": result.candidates.digest,
        "qrels": result.qrels_digest,
        "convention": result.measurement.convention.digest,
        "queries": digest_of(summary.queries),
    }
    return script(
        "vector",
        {
            "of": [summary.submission, summary.task, summary.candidates],
            "metric": summary.headline,
            **{name: digest.removeprefix("sha256:")[:_DIGITS] for name, digest in shared.items()},
            "missing": summary.missing,
            "values": summary.values.tolist(),
        },
    )
