"""The pages of numbers reported elsewhere: systems by datasets, with the sources they were copied from."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from functools import partial

from exabench.bench.ledger import REPORTED_COLUMNS
from exabench.board.pages._page import Page, Values, reported_page
from exabench.board.ranking import Board, Reported, group_by

_HEADLINE = "nDCG@10"
_MEAN = "avg "  # how the tables mark the mean of a metric over several datasets
_GITHUB = "https://github.com"


@dataclass(frozen=True)
class Grid:
    """The values of one metric, a row for each system over a first stage and a depth, a column for each dataset.

    `settings` names the columns before the values: what differs between the rows. `shared` says what does not. Values
    are as printed, times 100 where `points`; an empty cell is a number that the source does not print.
    """

    metric: str
    points: bool
    shared: str
    settings: Sequence[str]
    datasets: Sequence[str]
    rows: Sequence[Sequence[str]]


def pages(board: Board) -> Iterator[Page]:
    """The list of the tables, and a page for each."""
    yield Page("reported/index.html", dict, "reported_index.html")
    for table in board.reported:
        yield Page(reported_page(table.name), partial(reported_table, table), "reported.html")


def reported_table(table: Reported) -> Values:
    """One table: as grids where its head is the one for numbers, else as it is."""
    is_regular = all(len(row) == len(table.columns) for row in table.rows)
    if table.columns == REPORTED_COLUMNS and is_regular:
        rows = [dict(zip(table.columns, row, strict=True)) for row in table.rows]
        addresses = {}
        for numbers in rows:
            addresses[numbers["source"]] = address_of(numbers["source"])
        return {"table": table, "grids": grids(rows), "sources": list(addresses.items())}

    # Columns whose every cell is a number, or empty, are set as such. A row may be longer than the head: such columns
    # have no name, but a page shows them.
    numeric = dict.fromkeys(range(len(table.columns)), True)
    for row in table.rows:
        for place, text in enumerate(row):
            is_number = text in ("", "-") or _number(text) is not None
            numeric[place] = numeric.get(place, True) and is_number
    return {"table": table, "grids": [], "sources": [], "numeric": numeric}


def grids(rows: Sequence[Mapping[str, str]]) -> list[Grid]:
    """The grids of the rows of a file, nDCG@10 first, then in the order of the file.

    A grid can be wide: the data sets that most systems have are its first columns. Means are the last.
    """
    by_metric = group_by(rows, lambda row: row["metric"].removeprefix(_MEAN))
    found = [_grid(metric, listed) for metric, listed in by_metric.items()]
    return sorted(found, key=lambda grid: grid.metric != _HEADLINE)  # sorting is stable


def _grid(metric: str, rows: Sequence[Mapping[str, str]]) -> Grid:
    means = {}
    single = {}
    for row in rows:
        if row["metric"].startswith(_MEAN):
            means[row["dataset"]] = f"{row['dataset']} mean"
        else:
            single[row["dataset"]] = row["dataset"]
    filled = Counter(row["dataset"] for row in rows)
    datasets = dict(sorted(single.items(), key=lambda named: -filled[named[0]])) | means  # sorting is stable

    # A first stage that is measured itself has its own name in both columns.
    itself = all(row["system"] == row["first_stage"] for row in rows)
    settings = {}
    shared = []
    for key, name in (("first_stage", "First stage"), ("topk", "Top k")):
        values = {row[key] for row in rows}
        if len(values) > 1 and not (key == "first_stage" and itself):
            settings[key] = name
        elif len(values) == 1 and values != {""}:
            value = values.pop()
            shared.append(f"top {value}" if key == "topk" else f"first stage: {value}")

    numbers = [_number(row["value"]) for row in rows]
    points = all(number is not None and abs(number) <= 1 for number in numbers)
    lines = []
    by_setting = group_by(rows, lambda row: (row["system"], row["first_stage"], row["topk"]))
    for (system, first_stage, depth), cells in by_setting.items():
        told = {"first_stage": first_stage, "topk": depth}
        line = [system, *(told[key] for key in settings)]
        for dataset in datasets:
            printed = [_shown(row["value"], points) for row in cells if row["dataset"] == dataset]
            line.append("; ".join(printed))
        lines.append(line)
    return Grid(metric, points, ", ".join(shared), list(settings.values()), list(datasets.values()), lines)


def _number(text: str) -> Decimal | None:
    try:
        number = Decimal(text)
    except InvalidOperation:
        return None
    return number if number.is_finite() else None


def _shown(text: str, points: bool) -> str:
    """A value with every digit that was printed: 0.595 reads 59.5 and 0.5947 reads 59.47."""
    return f"{Decimal(text).scaleb(2):f}" if points else text


def address_of(source: str) -> str:
    """Where a source can be read, or nothing: a file at a commit, a pull request or an issue on GitHub, a paper."""
    if match := re.match(r"([\w.-]+/[\w.-]+)@([0-9a-f]{7,40}):([\w./-]+)", source):
        return f"{_GITHUB}/{match[1]}/blob/{match[2]}/{match[3]}"
    if match := re.match(r"([\w.-]+/[\w.-]+)@([0-9a-f]{7,40})$", source):
        return f"{_GITHUB}/{match[1]}/tree/{match[2]}"
    if match := re.match(r"([\w.-]+/[\w.-]+) (PR|issue) #(\d+)", source):
        return f"{_GITHUB}/{match[1]}/issues/{match[3]}"  # GitHub leads from there to a pull request
    if match := re.search(r"arXiv (\d{4}\.\d{4,5})", source):
        return f"https://arxiv.org/abs/{match[1]}"
    return ""
