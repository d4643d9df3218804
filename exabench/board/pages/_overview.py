"""The overviews of a board's rankings and their heat maps, with the data of both for the browser."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from markupsafe import Markup

from exabench.bench.contamination import exposed
from exabench.board.pages._format import training_shortly
from exabench.board.pages._page import WRITTEN, Page, heat_page, overview_data, ranking_page, scores_data, script, stamp
from exabench.board.pages.downloads import row_record, short
from exabench.board.pages.figures import ListScores, panels
from exabench.board.ranking import Board, Ranking, group_by, members
from exabench.core.licences import is_open_for_software
from exabench.core.nouns import FIRST_STAGE, Submission, Task
from exabench.measure.metric_values import mean

DRAWN = 40  # lines of a candidate list in the overview's figure; its table holds all
SHOWN = 20_000  # cells of tasks that an overview shows before it is asked for them
_STEPS = (0.005, 0.02, 0.05, 0.1)  # from which a difference has the next colour, as in overview.js and heat.html


@dataclass(frozen=True, slots=True)
class Column:
    """One column of the overview: `kind` is "" for text, "number" (more first) or "up" (less first)."""

    key: str
    label: str
    kind: str = ""
    about: str = ""
    shown: bool = True


COLUMNS = (
    Column("group", "Group", "up", "rank group: the data cannot tell its members from the best of the group"),
    Column("name", "Submission"),
    Column(
        "mean", "Mean nDCG@10", "number", "mean of the headline metric over the tasks x 100, with its 95 % interval"
    ),
    Column("gain", "Over first stage", "number"),
    Column("stage", "First stage"),
    Column("depth", "Depth", "number"),
    Column("zero", "Zero-shot", "", "does the training data meet no task? unknown where it is not declared"),
    Column("state", "State"),
    Column("owner", "Owner", "", "who sent it, and how many submissions of theirs are in this table"),
    Column("flops", "TFLOPs per query", "up"),
    Column("parameters", "Parameters, millions", "up"),
    Column("latency", "Seconds per query", "up"),
    Column("licence", "Licence"),
    Column("training", "Training data"),
    Column("date", "Date"),
    Column("kind", "Kind", shown=False),
    Column("family", "Family", shown=False),
)


def pages(board: Board) -> Iterator[Page]:
    """For each ranking an overview, its heat map, and the two script files that hold the columns of both."""
    for ranking in board.rankings:
        yield Page(heat_page(board, ranking), partial(heat, board, ranking), "heat.html")
        yield Page(ranking_page(board, ranking), partial(overview, board, ranking), "overview.html")
        yield Page(overview_data(ranking), partial(columns_script, board, ranking))
        yield Page(scores_data(ranking), partial(scores_script, board, ranking))


def overview(board: Board, ranking: Ranking) -> dict[str, Any]:
    """An overview: the board seen through the tasks of one ranking."""
    owners = {row.submission.slug: row.submission.owner for row in ranking.rows}
    lines = [(row, exposure(board, ranking.tasks, row.submission)) for row in ranking.rows[:WRITTEN]]
    return {
        "ranking": ranking,
        "columns": [column for column in COLUMNS if column.shown],
        "lines": lines,
        "count": len(ranking.rows),
        "owners": Counter(owners.values()),
        "tasks": ranking.tasks,
        "shown_tasks": ranking.tasks if _shows_tasks(ranking) else (),
        "submissions": sum(one.kind != "baseline" and not one.withdrawn for one in board.submissions.values()),
        "withdrawn": sorted(board.withdrawn, key=lambda one: one.name),
        "scores": _figure(ranking),
        "stamp": stamp(summary for row in ranking.rows for summary in row.results),
    }


def exposure(board: Board, tasks: Sequence[Task], submission: Submission) -> str:
    """Does the training data meet a task? For each y(es), n(o) or u(nknown); a first stage was trained on nothing."""
    if submission.slug == FIRST_STAGE:
        return "n" * len(tasks)
    training = board.trainings.get(submission.slug)
    return "".join(exposed(submission, t, training)[0] for t in tasks)


def columns_script(board: Board, ranking: Ranking) -> bytes:
    """The columns of an overview, which every reader of it loads: a value for each line."""
    columns: dict[str, list[Any]] = {}
    for row in ranking.rows:
        sent = row.submission
        record = row_record(row)
        for key in ("submission", "flops_paper", "wanted"):  # no table in the browser shows them
            del record[key]
        record |= {
            "name": row.name,
            "slug": sent.slug,
            "owner": sent.owner,
            "open": int(is_open_for_software(sent.licence)),
            "training_data": training_shortly(sent),
            "exposure": exposure(board, ranking.tasks, sent),
            "family": sent.family,
            "why": row.spent.why,
        }
        for key, value in record.items():
            columns.setdefault(key, []).append(short(value) if isinstance(value, float) else value)
    return script(
        "overview",
        {
            "build": board.build_digest[:12],
            "columns": [[c.key, c.label, c.kind, c.about, int(c.shown)] for c in COLUMNS],
            "tasks": [[t.name, int(not t.members)] for t in ranking.tasks],
            "showTasks": int(_shows_tasks(ranking)),
            "firstStage": FIRST_STAGE,
            "lines": columns,
        },
    )


def scores_script(board: Board, ranking: Ranking) -> bytes:
    """The columns of an overview's tasks, loaded when a reader asks for one."""
    values = [[short(row.values.get(t.name)) for row in ranking.rows] for t in ranking.tasks]
    return script("scores", {"build": board.build_digest[:12], "values": values})


def _shows_tasks(ranking: Ranking) -> bool:
    """Are there few enough cells to show a column for each task at once?"""
    return len(ranking.rows) * len(ranking.tasks) <= SHOWN


def _figure(ranking: Ranking) -> Markup:
    """Score by first stage and depth: a panel for each task, in it the lines over each candidate list."""
    by_list = group_by(ranking.rows, lambda row: row.candidates)
    drawn = []
    for t in ranking.tasks:
        lists = []
        for _, rows in sorted(by_list.items()):
            finished = [row for row in rows if t.name in row.values]
            if not finished:  # lists without a result on this task have no column
                continue
            best = finished[0]
            first_stages = [row.values[t.name] for row in finished if row.is_first_stage]
            others = [row.values[t.name] for row in finished if not row.is_first_stage]
            ceiling = mean(summary.ceiling for summary in best.results if summary.task in members(t))
            first_stage = first_stages[0] if first_stages else None
            lists.append(ListScores(best.stage, f"top {best.depth}", first_stage, ceiling, tuple(others[:DRAWN])))
        if lists:
            drawn.append((t.name, lists))
    about = "For each task and candidate list: the first stage, those who reranked it, and the ceiling."
    about = f"{about} The vertical axis is the headline metric x 100. The scores are in the table above."
    return panels("scores", drawn, "Score by first stage and depth", about)


def heat(board: Board, ranking: Ranking) -> dict[str, Any]:
    """The first lines against their first stage; the browser turns to the others and to other baselines."""
    first_stages = {row.candidates: row.values for row in ranking.rows if row.is_first_stage}
    rows = [row for row in ranking.rows if not row.is_first_stage]
    lines = []
    for row in rows[:WRITTEN]:
        before = first_stages.get(row.candidates, {})
        cells = []
        for t, met in zip(ranking.tasks, exposure(board, ranking.tasks, row.submission), strict=True):
            cell: tuple[float | None, str] = (None, "")
            if t.name in row.values and t.name in before:
                cell = (row.values[t.name] - before[t.name], met)
            cells.append(cell)
        lines.append((row, cells))
    return {
        "ranking": ranking,
        "heat": True,
        "lines": lines,
        "shade": shade,
        "count": len(rows),
        "tasks": ranking.tasks,
        "stamp": stamp(summary for row in ranking.rows for summary in row.results),
    }


def shade(difference: float | None) -> str:
    """The class of a cell's colour; a hatched one where there is no difference."""
    if difference is None:
        return "gap"
    step = sum(abs(difference) >= limit for limit in _STEPS)
    direction = "up" if difference > 0 else "down"
    return f"{direction}{step}" if step else "level"
