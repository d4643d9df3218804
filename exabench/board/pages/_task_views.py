"""The pages of tasks and of reported numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup

from exabench.board.pages._format import first_stage
from exabench.board.pages._page import Page
from exabench.board.pages._paths import reported_page, task_page
from exabench.board.pages._training_views import overlaps
from exabench.board.pages._views import WRITTEN, View, stamp
from exabench.board.pages.figures import ListScores, panels
from exabench.core.nouns import FIRST_STAGE, Task
from exabench.tasks.catalogue import task

if TYPE_CHECKING:
    from exabench.board.ranking import Entry, Reported, Score

HARDEST = 10
BOUND = "exabench--oracle"
REPORTED = ("system", "dataset", "first_stage", "topk", "metric", "value", "source")


def pages(view: View) -> Iterator[Page]:
    """A page for each task, and for each table of numbers reported elsewhere."""
    board = view.board
    for one in {t.name: t for t in (*board.tasks, *view.single_tasks)}.values():
        if one.members:
            yield Page(task_page(one.name), partial(_composite, view, one), "composite.html")
        else:
            yield Page(task_page(one.name), partial(_single, view, one), "task.html")
    yield Page("reported/index.html", dict, "reported_index.html")
    for table in board.reported:
        yield Page(reported_page(table.name), partial(_reported, table), "reported.html")


def _single(view: View, one: Task) -> dict[str, Any]:
    """The page of a task with judgements of its own."""
    entries = view.board.entries.get(one.name, ())
    ranked = [entry for entry in entries if entry.group is not None]
    ceilings = {entry.result.candidates: entry.result.ceiling for entry in reversed(entries)}
    lists = [candidates for candidates in view.board.candidates if candidates.task == one.name]
    return {
        "task": one,
        "frozen": [(candidates, ceilings.get(candidates.name)) for candidates in lists],
        "ranked": ranked[:WRITTEN],
        "competing": len(ranked),
        "bounds": [entry for entry in entries if entry.group is None and entry.alike],
        "others": [entry for entry in entries if not entry.alike][:WRITTEN],
        "read_from": sorted({entry.result.result.qrels_source for entry in entries}),
        "hardest": _hardest(entries),
        "overlaps": overlaps(view, one)[:WRITTEN],
        "judgements": sorted({entry.result.result.qrels_digest for entry in entries}),
        "scores": _figure(one, ranked) if ranked else None,
        "part_of": [t for t in view.board.tasks if one.name in t.members],
        "stamp": stamp(entry.result for entry in entries),
    }


def _hardest(entries: Sequence[Entry]) -> list[tuple[str, float, Entry, float | None]]:
    """The queries that no system ranks well: the best value of all, whose it is, and what was possible."""
    best = _best([entry for entry in entries if entry.group is not None])
    bounds = _best([entry for entry in entries if entry.submission.slug == BOUND])
    ceilings = {query: value for query, (value, _) in bounds.items()}
    lowest = sorted(best, key=lambda query: (best[query][0], -ceilings.get(query, 0.0), query))
    return [(query, *best[query], ceilings.get(query)) for query in lowest[:HARDEST]]


def _best(entries: Sequence[Entry]) -> dict[str, tuple[float, Entry]]:
    """For each query the best value of all, and the first entry that has it."""
    over_same: dict[tuple[str, ...], list[Entry]] = {}
    for entry in entries:
        over_same.setdefault(entry.result.queries, []).append(entry)
    best: dict[str, tuple[float, Entry]] = {}
    for queries, group in over_same.items():
        values = np.stack([entry.result.values for entry in group])
        for query, value, place in zip(queries, values.max(axis=0), values.argmax(axis=0), strict=True):
            if query not in best or value > best[query][0]:
                best[query] = (float(value), group[place])
    return best


def _figure(one: Task, ranked: Sequence[Entry]) -> Markup:
    by_list: dict[str, list[Score]] = {}
    for entry in ranked:
        by_list.setdefault(entry.result.candidates, []).append(entry.result)
    lists = []
    for name, scores in sorted(by_list.items()):
        values = tuple(score.value for score in scores if score.submission != FIRST_STAGE)
        best = scores[0]
        lists.append(ListScores(first_stage(name), f"top {best.depth}", best.first_stage, best.ceiling, values))
    about = "For each candidate list: the first stage's score, the scores of all who reranked it, and the ceiling."
    about = f"{about} The numbers are in the table below."
    return panels("scores", [(f"{one.headline} x 100", lists)], f"{one.title}: score by first stage", about)


def _composite(view: View, one: Task) -> dict[str, Any]:
    """The page of a task that is a mean over several."""
    lines = [line for line in view.lines(view.board.rankings[-1]) if one.name in line.row.values]
    lines.sort(key=lambda line: (-line.row.values[one.name], line.name, line.row.candidates))
    return {
        "task": one,
        "members": [(task(name), len(view.board.entries.get(name, ()))) for name in one.members],
        "lines": lines[:WRITTEN],
        "finished": len(lines),
        "stamp": stamp(result for result in view.results if result.task in one.members),
    }


def _reported(table: Reported) -> dict[str, Any]:
    """One reported table as it is; columns whose every cell is a number are set as such."""
    sources = set()
    if "source" in table.columns and all(len(row) == len(table.columns) for row in table.rows):
        sources = {row[table.columns.index("source")] for row in table.rows}
    return {
        "table": table,
        "numeric": _numeric(table),
        "sources": len(sources),
        "measured": table.columns == REPORTED,
    }


def _numeric(table: Reported) -> Mapping[int, bool]:
    """For each column, is every cell of it a number or empty?"""
    numeric = dict.fromkeys(range(len(table.columns)), True)
    for row in table.rows:
        for place, text in enumerate(row):
            is_number = text in ("", "-") or text.replace(".", "", 1).removeprefix("-").isdigit()
            numeric[place] = numeric.get(place, True) and is_number
    return numeric
