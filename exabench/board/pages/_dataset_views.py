"""The pages of published datasets: a table of all, each one's page, and their first rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from exabench.bench.excerpts import shorten
from exabench.bench.submissions import NAME
from exabench.board.pages._format import three_digits
from exabench.board.pages._page import WRITTEN, Page, Values, dataset_page, rows_page
from exabench.board.ranking import Board, TrainingTable
from exabench.core.errors import BadInput
from exabench.core.files import file_digest
from exabench.core.licences import is_open_for_texts
from exabench.core.nouns import Task
from exabench.core.row_passages import ROW_IS, RowPassage, passages_of_row
from exabench.core.rows import MEANINGS, Release, Table
from exabench.data.releases import MANIFEST, rows
from exabench.data.table_sources import reported_languages, source_tasks, table_languages

FIRST = 25  # rows of a table that are shown
LOOK = 3  # of these on the dataset's own page
SHOWN = 3  # passages of a row that are open; the others are one click away
_CUT = 300  # characters of a passage, as on pages of results
_REPLY = "key text model revision engine finish".split()


def pages(board: Board) -> Iterator[Page]:
    """The table of the datasets, where there are any; each one's page, and the first rows of its tables."""
    if board.datasets:
        yield Page("datasets/index.html", partial(datasets, board), "datasets.html")
    for release in board.datasets:
        yield Page(dataset_page(release.name), partial(dataset, board, release), "dataset.html")
        folder = board.ledger.datasets / release.name
        for name, path in _row_pages(board, release).items():
            yield Page(path, partial(first_rows, release, folder, name), "rows.html")


@dataclass(frozen=True)
class TableLine:
    """One table of a dataset as a reader chooses by: what is in it, and what models gained that learnt from it.

    `sources` are the tasks whose texts it was built from. `gains` holds for each model its slug, the task, and the
    difference to its own start there (a fraction), as its training measured it.
    """

    release: Release
    name: str
    table: Table
    languages: str
    sources: Sequence[Task]
    megabytes: str
    gains: Sequence[tuple[str, str, float]]


def datasets(board: Board) -> Values:
    """The table of every table of every dataset."""
    lines = []
    for release in board.datasets:
        for name, table in sorted(release.tables.items()):
            size = sum(file.bytes for file in table.files)
            sources = source_tasks(table, board.folder)
            lines.append(
                TableLine(
                    release=release,
                    name=name,
                    table=table,
                    languages=", ".join(table_languages(table, sources)),
                    sources=sources,
                    megabytes=three_digits(size, 1e6),
                    gains=_gains(board, release, name),
                )
            )
    return {"lines": lines, "row_is": ROW_IS}


def _gains(board: Board, release: Release, name: str) -> list[tuple[str, str, float]]:
    gains = []
    for slug in board.trainings:
        learnt = [one.told["table"] for one in board.training_tables(slug) if one.release is release]
        if name not in learnt:
            continue
        for check in board.trainings[slug].values["checks"]:
            if check["start"]:
                gains.append((slug, check["task"], check["start"]["difference"]))
    return gains


def figures_of(table: Table) -> list[tuple[str, str]]:
    """What the rows of a table are like, as (what, words); what a report does not say, or says oddly, is left out."""
    report = table.report
    lines = []
    for key, name in (
        ("query words", "Words per query"),
        ("passage words", "Words per passage"),
        ("explanation words", "Words per explanation"),
        ("list", "Passages per list"),
        ("negatives", "Negatives per row"),
    ):
        sizes = report.get(key)
        if isinstance(sizes, Mapping) and {"p5", "p50", "p95"} <= sizes.keys():
            lines.append((name, f"median {sizes['p50']}, 5th to 95th percentile {sizes['p5']} to {sizes['p95']}"))
    if languages := reported_languages(report):
        lines.append(("Languages", ", ".join(languages)))
    for key, name in (("labels", "Labels"), ("query sources", "Queries"), ("lists", "Teacher’s lists")):
        shares = report.get(key)
        if isinstance(shares, Mapping) and all(isinstance(share, float | int) for share in shares.values()):
            lines.append((name, ", ".join(f"{100 * share:.0f}% {value}" for value, share in shares.items())))
    for key in ("first stages", "passages by first stages", "negative sources"):
        if isinstance(report.get(key), Mapping):
            lines.append(("Candidates from", ", ".join(map(str, report[key]))))
    return lines


def dataset(board: Board, release: Release) -> Values:
    """One dataset, the models that learnt from it, and what came of them."""
    models = []
    learnt: list[TrainingTable] = []
    results = []
    for slug in board.trainings:
        before = len(learnt)
        for table in board.training_tables(slug):
            if table.release is release:
                models.append((slug, table))
                learnt.append(table)
        if len(learnt) > before:  # a model that learnt from two tables counts once
            results += board.by_submission[slug]
    results.sort(key=lambda r: (-r.value, r.submission, r.task, r.candidates))
    figures = {}
    gains = {}
    sources = {}
    fields = {}
    first_splits = {}
    looks = {}
    row_pages = _row_pages(board, release)
    size = 0
    for name, table_of_release in release.tables.items():
        figures[name] = figures_of(table_of_release)
        gains[name] = _gains(board, release, name)
        sources[name] = source_tasks(table_of_release, board.folder)
        fields[table_of_release.family] = table_of_release.columns
        first_splits[name] = "train" if "train" in table_of_release.splits else min(table_of_release.splits, default="")
        if name in row_pages:
            looks[name] = _shown_rows(release, board.ledger.datasets / release.name, name, LOOK)
        for file in table_of_release.files:
            size += file.bytes
    return {
        "release": release,
        "row_is": ROW_IS,
        "figures": figures,
        "gains": gains,
        "sources": sources,
        "size": three_digits(size, 1e6),
        "fields": fields,
        "meanings": MEANINGS,
        "first_splits": first_splits,
        "looks": looks,
        "row_pages": row_pages,
        "repository": _repository(learnt),
        "models": models,
        "results": results[:WRITTEN],
        "measured": len(results),
    }


def _repository(tables: Sequence[TrainingTable]) -> str:
    """The Hub repository of a release, as a training read this very content from it; empty where none did."""
    for learnt in tables:
        repository = str(learnt.told["repository"])
        if learnt.same and NAME.fullmatch(repository):
            return repository
    return ""


def _row_pages(board: Board, release: Release) -> Mapping[str, str]:
    """The rows page of each table of a release; none where its files are not in the board's folder."""
    if not (board.ledger.datasets / release.name / MANIFEST).is_file():
        return {}
    return {name: rows_page(release.name, name) for name in sorted(release.tables)}


@dataclass(frozen=True)
class ShownRows:
    """The first rows of a table, each as (split, row, passages); ids stand for texts where `texts` is false."""

    rows: Sequence[tuple[str, Mapping[str, Any], Sequence[RowPassage]]]
    texts: bool
    open: int = SHOWN


def _shown_rows(release: Release, folder: Path, name: str, count: int) -> ShownRows:
    """The first `count` rows, those of train first. Raises BadInput as `rows` does."""
    table = release.tables[name]
    has_texts = is_open_for_texts(table.licence)
    shown: list[tuple[str, Mapping[str, Any], Sequence[RowPassage]]] = []
    for split in sorted(table.splits, key=lambda split: (split != "train", split)):
        if len(shown) == count:  # a split that shows no row is not read
            break
        for row in islice(rows(folder, name, split), count - len(shown)):
            passages = []
            for passage in passages_of_row(row):
                title = passage.title if has_texts else ""
                text = shorten(passage.text, _CUT) if has_texts else ""
                passages.append(replace(passage, title=title, text=text))
            shown.append((split, row, passages))
    return ShownRows(shown, has_texts)


def first_rows(release: Release, folder: Path, name: str) -> Values:
    """The first rows of a table: their texts where the licence lets everybody pass them on, and the teacher's replies.

    Raises BadInput where a file is not the one that the manifest names.
    """
    table = release.tables[name]
    shown = _shown_rows(release, folder, name, FIRST)
    wanted = set[str]()
    for _, row, _ in shown.rows:
        wanted.update(row["replies"])
    file = folder / f"replies/{name}.parquet"
    digests = {folder / listed.path: f"sha256:{listed.sha256}" for listed in release.files}
    replies = {}
    why = ""
    if not wanted:
        why = "These rows come without replies of a language model."
    elif file not in digests:
        why = "The release does not include the teacher’s replies; only their digests are shown."
    elif file_digest(file) != digests[file]:
        raise BadInput("does not match the manifest; fetch or build the release again", file=file)
    elif shown.texts:
        replies = _read_replies(file, wanted)
    return {
        "release": release,
        "name": name,
        "rows": shown.rows,
        "open": shown.open,
        "texts": shown.texts,
        "replies": replies,
        "total": table.rows,
        "why": why,
        "stamp": ("", ""),
    }


def _read_replies(file: Path, wanted: set[str]) -> dict[str, Mapping[str, Any]]:
    replies = {}
    try:
        with pq.ParquetFile(file) as parquet:
            for batch in parquet.iter_batches(1_000, columns=_REPLY, use_threads=False):
                for row in batch.to_pylist():
                    if row["key"] in wanted:
                        replies[row["key"]] = row
    except (OSError, ValueError, KeyError, pa.ArrowException) as error:
        raise BadInput("is not a Parquet file of replies", file=file) from error
    return replies
