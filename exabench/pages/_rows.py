"""The rows pages of a dataset: where each row comes from, down to what the teacher replied."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from exabench.errors import BadInput
from exabench.files import file_digest
from exabench.ledger import Ledger
from exabench.pages._page import Page
from exabench.pages._paths import dataset_page
from exabench.pages._views import View
from exabench.releases import MANIFEST
from exabench.releases import rows as rows_of
from exabench.rows import Release, Row

FIRST = 100  # rows of a table that are shown
LONGEST = 4_000  # signs of a reply, and a tenth of that of a query
_PASSAGES = ("passage_id", "positive_id", "passage_ids", "negative_ids")
_TOLD = ("model", "revision", "engine", "finish")


@dataclass(frozen=True)
class Answer:
    """A teacher's reply by its key; without a text where the release does not carry it."""

    key: str
    text: str | None = None
    told: Mapping[str, str] | None = None


@dataclass(frozen=True)
class Source:
    """A row with where it comes from: its place on the page, its passages by role, and the replies behind it."""

    row: Row
    split: str
    anchor: str
    query: str
    passages: Mapping[str, Sequence[str]]
    prompts: Sequence[tuple[str, str]]
    answers: Sequence[Answer]


def rows_page(release: str, table: str) -> str:
    """The page of a table's first rows."""
    folder = dataset_page(release).removesuffix(".html")
    return f"{folder}/rows-{table}.html"


def pages(view: View) -> Iterator[Page]:
    """A page for each table of the datasets that lie in the board's folder."""
    for release, folder in _at_hand(view):
        for name in sorted(release.tables):
            make = partial(rows, release, folder, name)
            yield Page(rows_page(release.name, name), make, "rows.html", (release.content,))


def with_rows(view: View) -> Mapping[str, Mapping[str, str]]:
    """The rows pages of the board by dataset and table."""
    return {r.name: {name: rows_page(r.name, name) for name in r.tables} for r, _ in _at_hand(view)}


def rows(release: Release, folder: Path, name: str) -> dict[str, Any]:
    """The first rows of a table. Raises BadInput where a file is not the one that the manifest names."""
    table = release.tables[name]
    listed = ((split, row) for split in table.splits for row in rows_of(folder, name, split))
    first = list(islice(listed, FIRST))
    wanted = set(chain.from_iterable(row["replies"] for _, row in first))
    replies, why = _replies(release, folder, name, wanted)
    return {
        "release": release,
        "name": name,
        "table": table,
        "sources": [_source(split, row, replies) for split, row in first],
        "total": sum(file.rows for files in table.splits.values() for file in files),
        "why": why,
        "stamp": ("", ""),
    }


def _at_hand(view: View) -> Iterator[tuple[Release, Path]]:
    datasets = Ledger(view.board.folder).datasets
    for release in view.board.datasets:
        if (datasets / release.name / MANIFEST).is_file():
            yield release, datasets / release.name


def _source(split: str, row: Row, replies: Mapping[str, Answer]) -> Source:
    passages = {key: row[key] if isinstance(row[key], list) else [row[key]] for key in _PASSAGES if key in row}
    query = row["query"]
    return Source(
        row=row,
        split=split,
        anchor=f"{split}-{re.sub(r'[^!-~]', '_', row['id'])}",
        query=query if len(query) <= LONGEST // 10 else query[: LONGEST // 10] + "\N{HORIZONTAL ELLIPSIS}",
        passages={key: ids for key, ids in passages.items() if ids},
        prompts=[(name, digest) for name, _, digest in (part.partition("@") for part in row["prompt"].split())],
        answers=[replies.get(key, Answer(key)) for key in row["replies"]],
    )


def _replies(release: Release, folder: Path, name: str, wanted: Collection[str]) -> tuple[dict[str, Answer], str]:
    """The wanted replies that the release carries, and in words why it carries none."""
    path = f"replies/{name}.parquet"
    listed = next((file for file in release.files if file.path == path), None)
    if not wanted:
        return {}, "No teacher was asked for these rows."
    if listed is None:
        return {}, "The release does not carry the replies of its teacher: their digests are shown alone."
    if file_digest(folder / path) != f"sha256:{listed.sha256}":
        raise BadInput("is not the manifest's file; fetch or build the release again", file=folder / path)
    found: dict[str, Answer] = {}
    try:
        with pq.ParquetFile(folder / path) as parquet:
            for batch in parquet.iter_batches(1_000, columns=["key", "text", *_TOLD], use_threads=False):
                for row in batch.to_pylist():
                    if row["key"] in wanted:
                        found[row["key"]] = Answer(row["key"], row["text"], {key: row[key] or "" for key in _TOLD})
    except (OSError, ValueError, KeyError, pa.ArrowException) as error:
        raise BadInput("is no Parquet file of replies", file=folder / path) from error
    return found, ""
