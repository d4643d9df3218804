"""The pages of datasets with their first rows, and of the models that learnt from them, from their reports."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from exabench.bench.ledger import Ledger
from exabench.board.pages._format import count
from exabench.board.pages._page import WRITTEN, Page, dataset_page, model_file, model_page, rows_page
from exabench.board.ranking import Board, ResultSummary
from exabench.core.errors import BadInput
from exabench.core.files import dotted, file_digest
from exabench.core.nouns import Submission, Task
from exabench.core.rows import Release
from exabench.core.rows import Row as DataRow
from exabench.data.releases import MANIFEST, rows
from exabench.hub.cards import model_settings

REPORTS = ("curves.csv", "recipe.toml", "training.json")  # of a training; its card is for elsewhere
FIRST = 100  # rows of a table that are shown
_REPLY = ("key", "text", "model", "revision", "engine", "finish")


def pages(board: Board) -> Iterator[Page]:
    """The lists of datasets and of trained models, where there are any; each one's page; rows; the models' reports."""
    if board.datasets:
        yield Page("datasets/index.html", dict, "datasets.html")
    for release in board.datasets:
        yield Page(dataset_page(release.name), partial(dataset, board, release), "dataset.html")
        folder = Ledger(board.folder).datasets / release.name
        for name, path in _row_pages(board, release).items():
            yield Page(path, partial(first_rows, release, folder, name), "rows.html")
    if board.trainings:
        yield Page("models/index.html", lambda: {"models": list_trained_models(board)}, "models.html")
    for slug, report in sorted(board.trainings.items()):
        yield Page(model_page(slug), partial(model, board, slug), "model.html")
        for name in REPORTS:
            yield Page(model_file(slug, name), partial(bytes, report.files[name]))


@dataclass(frozen=True)
class TrainingTable:
    """A table that a model learnt from, as its report tells, and the board's own release of that dataset or None."""

    told: Mapping[str, Any]
    release: Release | None

    @property
    def same(self) -> bool:
        """Is the board's release the one that was learnt from, or has it another content by now?"""
        return self.release is not None and self.release.content == self.told["content"]

    @property
    def teacher(self) -> str:
        """The language model behind the rows, and its revision."""
        known = self.told["teacher"]
        if not known.get("model"):
            return "people; no language model was asked"
        return f"{known['model']} at {known['revision']}" if known.get("revision") else str(known["model"])


@dataclass(frozen=True)
class TrainedModel:
    """A trained model: its submission, what is told of its training, and what came of it on this board."""

    submission: Submission
    training: Mapping[str, Any]
    learnt: Sequence[TrainingTable]
    results: Sequence[ResultSummary]


def list_trained_models(board: Board) -> list[TrainedModel]:
    """Every trained model of the board."""
    models = []
    for slug, report in sorted(board.trainings.items()):
        tables = list_training_tables(board, slug)
        models.append(TrainedModel(board.submissions[slug], report.values, tables, board.by_submission[slug]))
    return models


def list_training_tables(board: Board, slug: str) -> list[TrainingTable]:
    """The tables that a submission's model learnt from; none where no report of a training came with it."""
    if slug not in board.trainings:
        return []
    return [TrainingTable(told, board.release(told["name"])) for told in board.trainings[slug].values["data"]]


def model(board: Board, slug: str) -> dict[str, Any]:
    """The report of one training."""
    one = next(model for model in list_trained_models(board) if model.submission.slug == slug)
    dev = one.training["dev"]["values"]
    return {
        "model": one,
        "results": [(summary, board.test(summary)) for summary in one.results],
        "t": one.training,
        "settings": model_settings(one.training["recipe"]),
        "options": list(dotted(one.training["options"])),
        "kept": dict(dev).get(one.training["best"]),
        "dev": sorted(dev),
        "published": [check for check in one.training["checks"] if check["published"]],
        "tasks": {t.name for t in (*board.tasks, *board.single_tasks)},
    }


def dataset(board: Board, release: Release) -> dict[str, Any]:
    """One dataset, the models that learnt from it, and what came of them."""
    models = []
    summaries: dict[str, Sequence[ResultSummary]] = {}  # by slug: a model that learnt from two tables counts once
    for one in list_trained_models(board):
        for table in one.learnt:
            if table.release is release:
                models.append((one, table))
                summaries[one.submission.slug] = one.results
    results = [summary for listed in summaries.values() for summary in listed]
    results.sort(key=lambda r: (-r.value, r.submission, r.task, r.candidates))
    return {
        "release": release,
        "row_pages": _row_pages(board, release),
        "models": models,
        "results": results[:WRITTEN],
        "measured": len(results),
    }


def _row_pages(board: Board, release: Release) -> Mapping[str, str]:
    """The rows page of each table of a release; none where its files are not in the board's folder."""
    if not (Ledger(board.folder).datasets / release.name / MANIFEST).is_file():
        return {}
    return {name: rows_page(release.name, name) for name in sorted(release.tables)}


def first_rows(release: Release, folder: Path, name: str) -> dict[str, Any]:
    """The first rows of a table: where each comes from, down to what the teacher replied.

    Raises BadInput where a file is not the one that the manifest names.
    """
    table = release.tables[name]
    listed = ((split, row) for split in table.splits for row in rows(folder, name, split))
    first = list(islice(listed, FIRST))
    wanted = {key for _, row in first for key in row["replies"]}
    replies, why = _read_replies(release, folder, name, wanted)
    return {
        "release": release,
        "name": name,
        "table": table,
        "rows": first,
        "replies": replies,
        "total": sum(file.rows for files in table.splits.values() for file in files),
        "why": why,
        "stamp": ("", ""),
    }


def _read_replies(release: Release, folder: Path, name: str, wanted: Collection[str]) -> tuple[dict[str, DataRow], str]:
    """The wanted replies that the release carries, and in words why it carries none."""
    path = f"replies/{name}.parquet"
    digests = {file.path: f"sha256:{file.sha256}" for file in release.files}
    if not wanted:
        return {}, "No teacher was asked for these rows."
    if path not in digests:
        return {}, "The release does not carry the replies of its teacher: their digests are shown alone."
    if file_digest(folder / path) != digests[path]:
        raise BadInput("is not the manifest's file; fetch or build the release again", file=folder / path)
    replies: dict[str, DataRow] = {}
    try:
        with pq.ParquetFile(folder / path) as parquet:
            for batch in parquet.iter_batches(1_000, columns=_REPLY, use_threads=False):
                for row in batch.to_pylist():
                    if row["key"] in wanted:
                        replies[row["key"]] = row
    except (OSError, ValueError, KeyError, pa.ArrowException) as error:
        raise BadInput("is no Parquet file of replies", file=folder / path) from error
    return replies, ""


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


def overlaps(board: Board, one: Task) -> list[Overlap]:
    """Every table of the board's datasets, then what models learnt from elsewhere; those that share most first.

    A report may hold anything: what is not as exabench writes it counts for nothing.
    """
    reports: dict[tuple[str, str, str], tuple[Any, Any]] = {}
    for release in board.datasets:
        for name, table in release.tables.items():
            place = (release.name, name, dataset_page(release.name))
            reports[place] = (table.report.get("leaks"), table.report.get("rows"))
    for slug in sorted(board.trainings):
        for learnt in list_training_tables(board, slug):
            if not learnt.same:
                reports[learnt.told["name"], learnt.told["table"], model_page(slug)] = (learnt.told["leaks"], None)

    listed = []
    for place, (leaks, total) in reports.items():
        overlapping: int | None = None
        shared = []
        by_task = leaks.get("benchmarks") if isinstance(leaks, Mapping) else None
        if isinstance(by_task, Mapping):
            overlapping = 0
            counts = by_task.get(one.name)
            if not isinstance(counts, Mapping):
                counts = {}
            for key, value in sorted(counts.items()):
                if type(value) is not int:
                    continue
                if key == "rows":
                    overlapping = value
                else:
                    shared.append(f"{key} {count(value)}")
        listed.append(Overlap(*place, overlapping, total if isinstance(total, int) else None, ", ".join(shared)))
    listed.sort(key=lambda o: (-1 if o.rows is None else -o.rows - 1, o.name, o.table, o.page))
    return listed
