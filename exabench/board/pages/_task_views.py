"""The pages of tasks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np

from exabench.board.pages._format import score
from exabench.board.pages._page import WRITTEN, Page, Values, stamp, submission_page, task_page
from exabench.board.pages._training_views import overlaps
from exabench.board.pages.figures import ListScores, ScorePoint, scores
from exabench.board.ranking import Board, Entry, group_by
from exabench.core.nouns import FIRST_STAGE, Task
from exabench.tasks.catalogue import task

DRAWN = 12  # systems of a candidate list in the figure
HARDEST = 10
BOUND = "exabench--oracle"


def pages(board: Board) -> Iterator[Page]:
    """A page for each task."""
    for one in board.tasks:
        if one.members:
            yield Page(task_page(one.name), partial(composite_task, board, one), "composite.html")
    for one in board.single_tasks:
        yield Page(task_page(one.name), partial(single_task, board, one), "task.html")


def single_task(board: Board, one: Task) -> Values:
    """The page of a task that has judgements."""
    entries = board.entries[one.name]
    contests = board.contests[one.name]
    # Next to those that are ranked the page lists bounds, runs that leave queries out, and what is not alike.
    bounds = []
    alone = []  # first stages that no one reranked
    incomplete = []
    others = []
    ranked = []
    oracle = []
    ceilings: dict[str, float] = {}
    for entry in entries:
        ceilings.setdefault(entry.result.candidates, entry.result.ceiling)
        if entry.submission.slug == BOUND:
            oracle.append(entry)
        if not entry.alike:
            others.append(entry)
        elif entry.is_bound:
            bounds.append(entry)
        elif entry.group is None and entry.submission.slug == FIRST_STAGE and not entry.result.missing:
            alone.append(entry)
        elif entry.group is None:
            incomplete.append(entry)
        else:
            ranked.append(entry)

    # The hardest queries are those that no system ranks well; of these, what a reranker could have got comes first.
    possible = _best_by_query(oracle)
    hardest = []
    for query, (value, entry) in _best_by_query(ranked).items():
        ceiling, _ = possible.get(query, (None, None))
        hardest.append((query, value, entry, ceiling))
    hardest.sort(key=lambda line: (line[1], -(line[3] or 0.0), line[0]))

    # The figure: who reranked each candidate list, best first.
    lists = []
    tables = []
    for contest in contests:
        complete = [row for row in contest.rows if row.mean is not None]
        if complete:
            tables.append((contest, complete))
        points = []
        for row in complete[:DRAWN]:
            if row.mean is not None and row.interval is not None:
                page = f"../{submission_page(row.submission.slug)}"
                points.append(ScorePoint(row.name, page, row.mean, row.interval, row.is_first_stage))
        if points:
            lists.append(ListScores(contest.candidates, f"ceiling {score(ceilings[contest.candidates])}", points))
    figure = None
    if lists:
        about = f"{one.headline} x 100 to the right, with 95% intervals, of the best {DRAWN} over each candidate list."
        about = f"{about} Hollow points are first stages. The numbers are in the tables below."
        figure = scores("scores", lists, f"{one.title}: score by first stage and depth", about)
    results = [entry.result for entry in entries]
    return {
        "task": one,
        "ceilings": ceilings,
        "contests": contests,
        "tables": tables,
        "alone": alone,
        "figure": figure,
        "written": WRITTEN,
        "bounds": bounds,
        "incomplete": incomplete[:WRITTEN],
        "others": others[:WRITTEN],
        "read_from": sorted({one.result.qrels_source for one in results}),
        "judgements": sorted({one.result.qrels_digest for one in results}),
        "hardest": hardest[:HARDEST],
        "overlaps": overlaps(board, one)[:WRITTEN],
        "knows_cut": any(result.cut_share is not None for result in results),
        "knows_cost": any(result.result.cost for result in results),
        "stamp": stamp(results),
    }


def _best_by_query(entries: Sequence[Entry]) -> dict[str, tuple[float, Entry]]:
    """For each query the best value of all, and the first entry that has it."""
    best: dict[str, tuple[float, Entry]] = {}
    for queries, group in group_by(entries, lambda entry: entry.result.queries).items():
        values = np.stack([entry.result.values for entry in group])
        for query, value, place in zip(queries, values.max(axis=0), values.argmax(axis=0), strict=True):
            if query not in best or value > best[query][0]:
                best[query] = (float(value), group[place])
    return best


def composite_task(board: Board, one: Task) -> Values:
    """The page of a task that is a mean over several."""
    rows = [row for row in board.rows if one.name in row.values]
    rows.sort(key=lambda row: (-row.values[one.name], row.name, row.candidates))
    return {
        "task": one,
        "members": [task(name) for name in one.members],
        "lines": rows[:WRITTEN],
        "finished": len(rows),
        "stamp": stamp([summary for summary in board.shown_results if summary.task in one.members]),
    }
