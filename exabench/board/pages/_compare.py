"""Two lines against each other, and many: the pages that compare, and the data files from which a browser does it.

Per-query values are exact, because a rounded one moves a p-value.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

from exabench.board.pages._page import Page, script
from exabench.board.pages._paths import queries_data
from exabench.board.pages._views import View
from exabench.board.pages.downloads import short
from exabench.core.files import digest_of
from exabench.core.nouns import FIRST_STAGE

if TYPE_CHECKING:
    from exabench.board.ranking import Ranking, Score

WRITTEN = 20  # lines of each ranking in the page itself
MOST = 50  # lines in a matrix
_DIGITS = 16  # of a digest: told apart, not proven


def pages(view: View) -> Iterator[Page]:
    """Both pages, the lines of the board, the groups of its rankings and tasks, and the queries of every list."""
    yield Page("compare.html", partial(_compare, view), "compare.html")
    yield Page("significance.html", partial(_significance, view), "significance.html")
    yield Page("data/lines.js", partial(lines_script, view))
    for ranking in view.board.rankings:
        yield Page(f"data/groups/view.{ranking.slug}.js", partial(ranking_groups, ranking))
    for name in view.board.entries:
        yield Page(f"data/groups/task.{name}.js", partial(task_groups, view, name))
    first = {queries_data(score): score for score in reversed(view.results)}
    for path, score in sorted(first.items()):
        yield Page(path, partial(script, "queries", {"of": [score.task, score.candidates], "ids": score.queries}))


def _compare(view: View) -> dict[str, Any]:
    return {"lines": len(view.results)}


def _significance(view: View) -> dict[str, Any]:
    tables = [(ranking, ranking.rows[:WRITTEN]) for ranking in view.board.rankings if ranking.rows]
    return {"most": MOST, "tables": tables}


def lines_script(view: View) -> bytes:
    """Every line of the board: a submission over a candidate list, and the tasks that it was measured on.

    Lines name their tasks by a place in `sets`, for there are few different ones.
    """
    tasks: dict[tuple[str, str], list[str]] = {}
    for score in view.results:
        tasks.setdefault((score.submission, score.candidates), []).append(score.task)
    sets: dict[tuple[str, ...], int] = {}
    lines = []
    for (slug, candidates), names in tasks.items():
        lines.append([slug, _name(view, slug), candidates, sets.setdefault(tuple(names), len(sets))])
    return script(
        "lines",
        {
            "tasks": [{"name": t.name, "members": t.members} for t in view.board.tasks],
            "singles": [t.name for t in view.single_tasks],
            "rankings": [
                {"key": f"view.{r.slug}", "title": r.title, "tasks": [t.name for t in r.tasks]}
                for r in view.board.rankings
            ],
            "sets": list(sets),
            "lines": lines,
        },
    )


def _name(view: View, slug: str) -> str:
    one = view.board.submissions[slug]
    if slug == FIRST_STAGE:
        return f"{one.name} (first stage)"
    return f"{one.name} (withdrawn)" if one.withdrawn else one.name


def ranking_groups(ranking: Ranking) -> bytes:
    """The lines of a ranking that have a mean, best first: slug, candidates, mean, rank group."""
    rows = [
        [row.submission.slug, row.candidates, short(row.mean), row.group]
        for row in ranking.rows
        if row.mean is not None
    ]
    return script("groups", {"key": f"view.{ranking.slug}", "rows": rows})


def task_groups(view: View, name: str) -> bytes:
    """The same of one task."""
    rows = [
        [entry.submission.slug, entry.result.candidates, short(entry.result.value), entry.group]
        for entry in view.board.entries[name]
        if entry.group is not None
    ]
    return script("groups", {"key": f"task.{name}", "rows": rows})


def vector_script(score: Score) -> bytes:
    """The headline values of a result, query by query, with what they must share with those they are compared to."""
    result = score.result
    return script(
        "vector",
        {
            "of": [score.submission, score.task, score.candidates],
            "metric": score.headline,
            "candidates": _short(result.candidates.digest),
            "qrels": _short(result.qrels_digest),
            "convention": _short(result.measurement.convention.digest),
            "queries": _short(digest_of(list(score.queries))),
            "missing": score.missing,
            "values": score.values.tolist(),
        },
    )


def _short(digest: str) -> str:
    return digest.removeprefix("sha256:")[:_DIGITS]
