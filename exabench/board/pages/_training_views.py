"""The pages of datasets with their first rows, and of the models that learnt from them, from their reports."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from exabench.board.pages._format import count
from exabench.board.pages._page import WRITTEN, Page, Values, dataset_page, model_file, model_page, rows_page
from exabench.board.ranking import Board
from exabench.core.errors import BadInput
from exabench.core.files import file_digest, flatten_to_text
from exabench.core.nouns import Task
from exabench.core.rows import Release
from exabench.data.releases import MANIFEST, rows
from exabench.hub.cards import model_settings

REPORTS = ("curves.csv", "recipe.toml", "training.json")  # of a training; its card is for elsewhere
FIRST = 100  # rows of a table that are shown
_REPLY = "key text model revision engine finish".split()


def pages(board: Board) -> Iterator[Page]:
    """The lists of datasets and of trained models, where there are any; each one's page; rows; the models' reports."""
    if board.datasets:
        yield Page("datasets/index.html", dict, "datasets.html")
    for release in board.datasets:
        yield Page(dataset_page(release.name), partial(dataset, board, release), "dataset.html")
        folder = board.ledger.datasets / release.name
        for name, path in _row_pages(board, release).items():
            yield Page(path, partial(first_rows, release, folder, name), "rows.html")
    if board.trainings:
        yield Page("models/index.html", dict, "models.html")
    for slug, report in board.trainings.items():
        yield Page(model_page(slug), partial(model, board, slug), "model.html")
        for name in REPORTS:
            yield Page(model_file(slug, name), partial(bytes, report.files[name]))


def model(board: Board, slug: str) -> Values:
    """The report of one training."""
    training = board.trainings[slug].values
    return {
        "submission": board.submissions[slug],
        "settings": model_settings(training["recipe"]),
        "options": list(flatten_to_text(training["options"])),
        "kept": dict(training["dev"]["values"]).get(training["best"]),
    }


def dataset(board: Board, release: Release) -> Values:
    """One dataset, the models that learnt from it, and what came of them."""
    models = []
    results = []
    for slug in board.trainings:
        tables = [table for table in board.training_tables(slug) if table.release is release]
        models += [(slug, table) for table in tables]
        if tables:  # a model that learnt from two tables counts once
            results += board.by_submission[slug]
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
    if not (board.ledger.datasets / release.name / MANIFEST).is_file():
        return {}
    return {name: rows_page(release.name, name) for name in sorted(release.tables)}


def first_rows(release: Release, folder: Path, name: str) -> Values:
    """The first rows of a table: where each comes from, down to what the teacher replied.

    Raises BadInput where a file is not the one that the manifest names.
    """
    table = release.tables[name]
    listed = ((split, row) for split in table.splits for row in rows(folder, name, split))
    first = list(islice(listed, FIRST))
    wanted = {key for _, row in first for key in row["replies"]}
    file = folder / f"replies/{name}.parquet"
    digests = {folder / listed.path: f"sha256:{listed.sha256}" for listed in release.files}
    replies = {}
    why = ""
    if not wanted:
        why = "No teacher was asked for these rows."
    elif file not in digests:
        why = "The release does not carry the replies of its teacher: their digests are shown alone."
    elif file_digest(file) != digests[file]:
        raise BadInput("is not the manifest's file; fetch or build the release again", file=file)
    else:
        try:
            with pq.ParquetFile(file) as parquet:
                for batch in parquet.iter_batches(1_000, columns=_REPLY, use_threads=False):
                    for row in batch.to_pylist():
                        if row["key"] in wanted:
                            replies[row["key"]] = row
        except (OSError, ValueError, KeyError, pa.ArrowException) as error:
            raise BadInput("is no Parquet file of replies", file=file) from error
    return {
        "release": release,
        "name": name,
        "rows": first,
        "replies": replies,
        "total": sum(file.rows for files in table.splits.values() for file in files),
        "why": why,
        "stamp": ("", ""),
    }


class Overlap(NamedTuple):
    """A table of a dataset against a task: rows that share something, of how many, and how many share what.

    `rows` is None where overlap was not measured, 0 where the report names no overlap with this task. `page` is the
    dataset's, or that of the model which was trained on a release that the board does not hold.
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
    reports = {}
    for release in board.datasets:
        for name, table in release.tables.items():
            place = (release.name, name, dataset_page(release.name))
            reports[place] = (table.report.get("leaks"), table.report.get("rows"))
    for slug in board.trainings:
        for learnt in board.training_tables(slug):
            if not learnt.same:
                reports[learnt.told["name"], learnt.told["table"], model_page(slug)] = (learnt.told["leaks"], None)

    listed = []
    for place, (leaks, total) in reports.items():
        overlapping = None
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
    # A table that was not checked sorts with those that share nothing.
    listed.sort(key=lambda o: (-1 if o.rows is None else -o.rows - 1, o.name, o.table, o.page))
    return listed
