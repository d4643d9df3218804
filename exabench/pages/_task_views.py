"""The pages of tasks and of reported numbers, worked out as plain values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup

from exabench.catalogue import task
from exabench.nouns import FIRST_STAGE, Candidates, Task
from exabench.pages import figures
from exabench.pages._columns import Table
from exabench.pages._format import first_stage
from exabench.pages._overlaps import overlaps
from exabench.pages._page import Page
from exabench.pages._paths import reported_page as place_of_table
from exabench.pages._paths import task_page as place_of_task
from exabench.pages._views import View, stamp

if TYPE_CHECKING:
    from exabench.board import Entry, Reported, Score

HARDEST = 10
LISTED = 100  # entries in a page's table; the data files hold all
BOUND = "exabench--oracle"
REPORTED = ("system", "dataset", "first_stage", "topk", "metric", "value", "source")
ABOUT_REPORTED = {
    "anserini_first_stage": "First-stage runs of Anserini, from its reproduction pages.",
    "audit_discrepancies": "Printed numbers that do not follow from their own cells, formulas or data.",
    "beir_paper_bm25_ce": "The BEIR paper: BM25 and a cross-encoder.",
    "lightning_ir_model_zoo": "Rerankers of Lightning IR's model zoo.",
    "other_published": "Numbers that other projects print.",
    "pyserini_beir_first_stage": "First-stage runs of Pyserini on BEIR.",
    "pyserini_msmarco_v1_passage": "First-stage and reranked runs of Pyserini on MS MARCO and TREC Deep Learning.",
    "qrels_stats": "Counts of the judgement files that the tasks are scored with.",
    "rank_llm_2cr": "Listwise rerankers of RankLLM.",
    "twolar_table2_models": "TWOLAR, Table 2: what each method costs in model calls.",
    "twolar_table2_trec_dl": "TWOLAR, Table 2: TREC Deep Learning 2019 and 2020.",
    "twolar_table3_beir_top100": "TWOLAR, Table 3: BEIR, top 100 reranked.",
    "twolar_table4_beir_top1000": "TWOLAR, Table 4: BEIR, top 1000 reranked.",
    "twolar_table5_ablation": "TWOLAR, Table 5: ablations.",
}


def pages(view: View) -> Iterator[Page]:
    """A page for each task, and for each table of numbers reported elsewhere."""
    board = view.board
    for one in {t.name: t for t in (*board.tasks, *view.single_tasks)}.values():
        template = "composite.html" if one.members else "task.html"
        yield Page(place_of_task(one.name), partial(task_page, view, one), template, (view.everything,))
    listed = (view.version, view.reported)
    yield Page("reported/index.html", partial(reported_index, view), "reported_index.html", listed)
    for table in board.reported:
        yield Page(place_of_table(table.name), partial(reported_page, view, table), "reported.html", listed)


@dataclass(frozen=True)
class Frozen:
    """A candidate list with its ceilings: recall at its depth, and the headline of its best order."""

    candidates: Candidates
    ceiling: float | None


@dataclass(frozen=True)
class Hard:
    """A query that no system ranks well: the best value of all, which result has it, and what was possible."""

    query: str
    best: float
    system: str
    result: Score
    ceiling: float | None


def task_page(view: View, one: Task) -> dict[str, Any]:
    """The page of a task: of one with judgements of its own, or of a mean over several."""
    return _composite(view, one) if one.members else _single(view, one)


def _single(view: View, one: Task) -> dict[str, Any]:
    entries = view.board.entries.get(one.name, ())
    ranked = [entry for entry in entries if entry.group is not None]
    return {
        "task": one,
        "frozen": _frozen(view, one),
        "ranked": ranked[:LISTED],
        "competing": len(ranked),
        "bounds": [entry for entry in entries if entry.group is None and entry.alike],
        "others": [entry for entry in entries if not entry.alike][:LISTED],
        "read_from": sorted({entry.result.qrels_source for entry in entries}),
        "hardest": _hardest(view, entries),
        "overlaps": overlaps(view, one)[:LISTED],
        "judgements": sorted({entry.result.qrels_digest for entry in entries}),
        "scores": _scores(one, ranked) if ranked else None,
        "part_of": [t for t in view.board.tasks if one.name in t.members],
        "stamp": stamp(entry.result for entry in entries),
    }


def _frozen(view: View, one: Task) -> list[Frozen]:
    ceilings = {r.candidates: r.ceiling for r in view.results if r.task == one.name}
    return [Frozen(c, ceilings.get(c.name)) for c in view.board.candidates if c.task == one.name]


def _hardest(view: View, entries: tuple[Entry, ...]) -> list[Hard]:
    best = _best(view, [entry for entry in entries if entry.group is not None])
    ceilings = {q: value for q, (value, _) in _best(view, [e for e in entries if e.submission.slug == BOUND]).items()}
    lowest = sorted(best.items(), key=lambda item: (item[1][0], -ceilings.get(item[0], 0.0), item[0]))[:HARDEST]
    return [
        Hard(query, value, entry.submission.name, entry.result, ceilings.get(query)) for query, (value, entry) in lowest
    ]


def _best(view: View, entries: Sequence[Entry]) -> dict[str, tuple[float, Entry]]:
    """For each query the best value of all, and the first entry that has it."""
    sharing: dict[tuple[str, ...], list[Entry]] = {}
    for entry in entries:
        sharing.setdefault(view.board.queries(entry.result), []).append(entry)
    best: dict[str, tuple[float, Entry]] = {}
    for queries, group in sharing.items():
        values = np.stack([view.board.values(entry.result) for entry in group])
        for column, (query, place) in enumerate(zip(queries, values.argmax(axis=0).tolist(), strict=True)):
            value = float(values[place, column])
            if query not in best or value > best[query][0]:
                best[query] = value, group[place]
    return best


def _scores(one: Task, ranked: list[Entry]) -> Markup:
    groups = []
    for name in sorted({entry.result.candidates for entry in ranked}):
        here = [entry.result for entry in ranked if entry.result.candidates == name]
        values = tuple(r.value for r in here if r.submission != FIRST_STAGE)
        bounds = here[0].first_stage, here[0].ceiling
        groups.append(figures.Group(first_stage(name), f"top {here[0].depth}", *bounds, values))
    about = "For each candidate list: the first stage's score, the scores of all who reranked it, and the ceiling."
    about = f"{about} The numbers are in the table below."
    title = f"{one.title}: score by first stage"
    return figures.panels("scores", [(f"{one.headline} x 100", groups)], title, about)


def _composite(view: View, one: Task) -> dict[str, Any]:
    lines = [line for line in Table(view, view.board.rankings[-1]).lines if one.name in line.row.values]
    lines.sort(key=lambda line: (-line.row.values[one.name], line.name, line.row.candidates))
    shown: list[Score] = [result for result in view.results if result.task in one.members]
    return {
        "task": one,
        "members": [(task(name), len(view.board.entries.get(name, ()))) for name in one.members],
        "lines": lines[:LISTED],
        "finished": len(lines),
        "stamp": stamp(shown),
    }


def reported_index(view: View) -> dict[str, Any]:
    """The list of reported tables, with the audit of printed means first."""
    tables = [(table, ABOUT_REPORTED.get(table.name, "")) for table in view.board.reported]
    return {"audit": view.board.audit, "tables": tables, "stamp": ("", view.version)}


def reported_page(view: View, table: Reported) -> dict[str, Any]:
    """One reported table as it is; columns whose every cell is a number are set as such."""
    sources = sorted({row[table.columns.index("source")] for row in table.rows}) if _has_sources(table) else []
    return {
        "table": table,
        "about": ABOUT_REPORTED.get(table.name, ""),
        "numeric": _numeric(table),
        "sources": len(sources),
        "measured": table.columns == REPORTED,
        "stamp": ("", view.version),
    }


def _has_sources(table: Reported) -> bool:
    return "source" in table.columns and all(len(row) == len(table.columns) for row in table.rows)


def _numeric(table: Reported) -> Mapping[int, bool]:
    columns = range(max([len(table.columns), *map(len, table.rows)]))
    return {i: all(_is_number(row[i]) for row in table.rows if i < len(row)) for i in columns}


def _is_number(text: str) -> bool:
    return text in ("", "-") or text.replace(".", "", 1).removeprefix("-").isdigit()
