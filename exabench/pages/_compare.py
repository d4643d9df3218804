"""Two lines against each other, and many: the pages that compare, and the data files from which a browser does it.

Values stay exact, because a rounded one moves a p-value: `data/queries/<slug>/<task>.<candidates>.js` names every
value that occurs once and says for each query, in the order of `data/queries/<task>.<candidates>.js`, which it has.
For most collections that is also smaller than values of four digits.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from exabench.files import digest_of
from exabench.nouns import FIRST_STAGE
from exabench.pages._format import clean, hundredths
from exabench.pages._page import Page
from exabench.pages._views import View
from exabench.statistics import RESAMPLES, SEED

if TYPE_CHECKING:
    from exabench.board import Ranking, Score

WRITTEN = 20  # lines of each ranking in the page itself
MOST = 50  # lines in a matrix
FEWEST = 5  # tasks for mean ranks
_Key = TypeVar("_Key")
_DIGITS = 16  # of a digest: told apart, not proven


def pages(view: View) -> Iterator[Page]:
    """Both pages, the lines of the board, the groups of its rankings and tasks, and every result's values."""
    everything = (view.everything,)
    yield Page("compare.html", partial(_compare, view), "compare.html", everything)
    yield Page("significance.html", partial(_significance, view), "significance.html", everything)
    yield Page("data/lines.js", partial(lines_data, view), of=everything)
    for ranking in view.board.rankings:
        yield Page(f"data/groups/view.{ranking.slug}.js", partial(ranking_groups, ranking), of=everything)
    for name in view.board.entries:
        yield Page(f"data/groups/task.{name}.js", partial(task_groups, view, name), of=everything)
    first = {(result.task, result.candidates): result for result in reversed(view.results)}
    for (task, name), result in sorted(first.items()):
        yield Page(f"data/queries/{task}.{name}.js", partial(queries_data, view, result), of=(result.digest,))


def vector_page(view: View, one: Score) -> Page:
    """The file of a result's values."""
    path = f"data/queries/{one.submission}/{one.task}.{one.candidates}.js"
    return Page(path, partial(vector_data, view, one))


def _compare(view: View) -> dict[str, Any]:
    return {"lines": len(view.results), "flips": RESAMPLES, "seed": SEED, "stamp": ("", view.version)}


def _significance(view: View) -> dict[str, Any]:
    tables = [(ranking, ranking.rows[:WRITTEN]) for ranking in view.board.rankings if ranking.rows]
    numbers = {"most": MOST, "fewest": FEWEST, "flips": RESAMPLES, "seed": SEED}
    return {**numbers, "tables": tables, "stamp": ("", view.version)}


def lines_data(view: View) -> bytes:
    """Every line of the board: submission, candidates and tasks, as places in lists of each."""
    board, singles = view.board, [t.name for t in view.single_tasks]
    place = {name: i for i, name in enumerate(singles)}
    tasks: dict[tuple[str, str], list[int]] = {}
    for result in view.results:
        tasks.setdefault((result.submission, result.candidates), []).append(place[result.task])
    slugs = _places(slug for slug, _ in tasks)
    lists = _places(sorted(candidates for _, candidates in tasks))
    sets = _places(sorted(tuple(sorted(found)) for found in tasks.values()))
    return _script(
        "lines",
        {
            "tasks": [{"name": t.name, "members": list(t.members)} for t in board.tasks],
            "singles": singles,
            "rankings": [
                {"key": f"view.{r.slug}", "title": clean(r.title), "tasks": [t.name for t in r.tasks]}
                for r in board.rankings
            ],
            "submissions": [[slug, clean(_called(view, slug))] for slug in slugs],
            "candidates": list(lists),
            "sets": list(sets),
            "lines": [[slugs[slug], lists[name], sets[tuple(sorted(found))]] for (slug, name), found in tasks.items()],
        },
    )


def _places(values: Iterable[_Key]) -> dict[_Key, int]:
    """Each value once, in the order given, with its place."""
    return {value: i for i, value in enumerate(dict.fromkeys(values))}


def _called(view: View, slug: str) -> str:
    one = view.board.submissions[slug]
    return f"{one.name}{' (first stage)' if slug == FIRST_STAGE else ''}{' (withdrawn)' if one.withdrawn else ''}"


def ranking_groups(ranking: Ranking) -> bytes:
    """The lines of a ranking that have a mean, best first: slug, candidates, mean and interval x 10^4, rank group."""
    rows = (
        [row.submission.slug, row.candidates, *_whole((row.mean, *row.interval)), row.group]
        for row in ranking.rows
        if row.mean is not None and row.interval is not None
    )
    return _groups(f"view.{ranking.slug}", rows)


def task_groups(view: View, name: str) -> bytes:
    """The same of one task."""
    found = ((entry.result, entry.group) for entry in view.board.entries[name] if entry.group is not None)
    rows = ([r.submission, r.candidates, *_whole((r.value, *r.interval)), group] for r, group in found)
    return _groups(f"task.{name}", rows)


def _groups(key: str, rows: Iterable[Sequence[Any]]) -> bytes:
    return _script("groups", {"key": key, "rows": list(rows)})


def _whole(values: Iterable[float]) -> list[int]:
    return [hundredths(value) for value in values]


def queries_data(view: View, one: Score) -> bytes:
    """The queries of a candidate list, sorted: the order of every vector over it."""
    return _script("queries", {"of": [one.task, one.candidates], "ids": [clean(q) for q in view.board.queries(one)]})


def vector_data(view: View, one: Score) -> bytes:
    """The headline values of a result, query by query, with what they must share with those they are compared to."""
    distinct, places = np.unique(view.board.values(one), return_inverse=True)
    return _script(
        "vector",
        {
            "of": [one.submission, one.task, one.candidates],
            "metric": one.headline,
            "candidates": _short(one.candidates_digest),
            "qrels": _short(one.qrels_digest),
            "convention": _short(one.convention_digest),
            "queries": _short(digest_of(json.dumps(view.board.queries(one)))),
            "missing": one.missing,
            "values": distinct.tolist(),
            "at": places.tolist(),
        },
    )


def _short(digest: str) -> str:
    return digest.removeprefix("sha256:")[:_DIGITS]


def _script(function: str, value: Mapping[str, Any]) -> bytes:
    """A script that hands `value` to the page: ASCII alone, so that nothing in it ends a line or a string."""
    return f"exabench.{function}({json.dumps(value, separators=(',', ':'), allow_nan=False)});\n".encode()
