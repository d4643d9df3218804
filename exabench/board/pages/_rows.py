"""The rows pages of a dataset: where each row comes from, down to what the teacher replied."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from exabench.bench.ledger import Ledger
from exabench.board.pages._page import Page
from exabench.board.pages._paths import rows_page
from exabench.board.pages._views import View
from exabench.core.errors import BadInput
from exabench.core.files import file_digest
from exabench.core.rows import Release, Row
from exabench.data.releases import MANIFEST
from exabench.data.releases import rows as rows_of

FIRST = 100  # rows of a table that are shown
_REPLY = ("key", "text", "model", "revision", "engine", "finish")


def pages(view: View) -> Iterator[Page]:
    """A page for each table of the datasets that lie in the board's folder."""
    for release in view.board.datasets:
        folder = Ledger(view.board.folder).datasets / release.name
        for name, path in row_pages(view, release).items():
            yield Page(path, partial(_rows, release, folder, name), "rows.html")


def row_pages(view: View, release: Release) -> Mapping[str, str]:
    """The rows page of each table of a release; none where its files are not in the board's folder."""
    if not (Ledger(view.board.folder).datasets / release.name / MANIFEST).is_file():
        return {}
    return {name: rows_page(release.name, name) for name in sorted(release.tables)}


def _rows(release: Release, folder: Path, name: str) -> dict[str, Any]:
    """The first rows of a table. Raises BadInput where a file is not the one that the manifest names."""
    table = release.tables[name]
    listed = ((split, row) for split in table.splits for row in rows_of(folder, name, split))
    first = list(islice(listed, FIRST))
    wanted = {key for _, row in first for key in row["replies"]}
    replies, why = _replies(release, folder, name, wanted)
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


def _replies(release: Release, folder: Path, name: str, wanted: Collection[str]) -> tuple[dict[str, Row], str]:
    """The wanted replies that the release carries, and in words why it carries none."""
    path = f"replies/{name}.parquet"
    listed = next((file for file in release.files if file.path == path), None)
    if not wanted:
        return {}, "No teacher was asked for these rows."
    if listed is None:
        return {}, "The release does not carry the replies of its teacher: their digests are shown alone."
    if file_digest(folder / path) != f"sha256:{listed.sha256}":
        raise BadInput("is not the manifest's file; fetch or build the release again", file=folder / path)
    found: dict[str, Row] = {}
    try:
        with pq.ParquetFile(folder / path) as parquet:
            for batch in parquet.iter_batches(1_000, columns=_REPLY, use_threads=False):
                for row in batch.to_pylist():
                    if row["key"] in wanted:
                        found[row["key"]] = row
    except (OSError, ValueError, KeyError, pa.ArrowException) as error:
        raise BadInput("is no Parquet file of replies", file=folder / path) from error
    return found, ""
