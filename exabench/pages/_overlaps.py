"""What training data at hand share with a task, as those who built or used them recorded it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from exabench.nouns import Task
from exabench.pages._format import count
from exabench.pages._model_views import learnt
from exabench.pages._paths import dataset_page, model_page
from exabench.pages._views import View


@dataclass(frozen=True)
class Overlap:
    """A table of a dataset against a task: rows that share something, of how many, and how many share what.

    `rows` is None where nobody looked, 0 where the report names no overlap with this task. `page` is the dataset's,
    or that of the model which was trained on a release that the board does not hold.
    """

    name: str
    table: str
    page: str
    rows: int | None
    total: int | None
    shared: str


def overlaps(view: View, one: Task) -> list[Overlap]:
    """Every table of the board's datasets, then what models learnt from elsewhere; those that share most first."""
    found = {(o.name, o.table, o.page): o for o in _overlaps(view, one)}
    return sorted(found.values(), key=lambda o: (-1 if o.rows is None else -o.rows - 1, o.name, o.table, o.page))


def _overlaps(view: View, one: Task) -> Iterator[Overlap]:
    for release in view.board.datasets:
        for name, table in release.tables.items():
            yield _overlap(
                (release.name, name, dataset_page(release.name)), table.report.get("leaks"), table.report, one
            )
    for slug in sorted(view.board.trainings):
        for each in learnt(view, slug):
            if not each.same:
                yield _overlap((each.told["name"], each.told["table"], model_page(slug)), each.told["leaks"], {}, one)


def _overlap(place: tuple[str, str, str], leaks: Any, report: Mapping[str, Any], one: Task) -> Overlap:
    """What a report says; a stranger's may say anything, and what is not as exabench writes it counts for nothing."""
    total = report.get("rows") if isinstance(report.get("rows"), int) else None
    by_task = leaks.get("benchmarks") if isinstance(leaks, Mapping) else None
    if not isinstance(by_task, Mapping):
        return Overlap(*place, None, total, "")
    told = by_task.get(one.name, {})
    numbers = (
        {str(key): value for key, value in told.items() if type(value) is int} if isinstance(told, Mapping) else {}
    )
    shared = ", ".join(f"{key} {count(value)}" for key, value in sorted(numbers.items()) if key != "rows")
    return Overlap(*place, numbers.get("rows", 0), total, shared)
