"""Withdrawing rows: a release without some rows of a table, which says which ones and why."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterator
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from exabench.core.errors import BadInput, UnknownName, plural
from exabench.core.files import file_digest, read_text, replacing, replacing_folder, write
from exabench.core.nouns import Progress, silent
from exabench.core.rows import DataFile, Release, Row, Table
from exabench.data.card import release_card
from exabench.data.quality import Leaks, Report, passages_of
from exabench.data.releases import read, rows, save, verify, write_table
from exabench.tasks.collections import benchmarks

_AT_ONCE = 10_000  # replies, of a few kilobytes each


def withdraw(
    folder: str | Path,
    table: str,
    to: str | Path,
    *,
    rows: Collection[str] = (),
    passages: Collection[str] = (),
    reason: str,
    data: str | Path | None = None,
    progress: Progress = silent,
) -> tuple[Release, int]:
    """Write the release in `folder` to the new folder `to` without some rows of `table`; it, and how many those are.

    `rows` are ids of rows; of `passages`, given by their ids, every row that has one is withdrawn. Replies that only
    those rows are made of go with them, and the figures of the table are counted again (leaks of the benchmarks in
    `data`). Earlier versions of a repository still hold them. Raises BadInput for a release that is damaged, for an id
    that no row has and where no reason is given, UnknownName, CannotWrite.
    """
    old = Path(folder)
    release = read(old)
    problems = verify(old)
    if problems:
        raise BadInput(f"is not what its manifest says: {problems[0]}", file=folder)
    if table not in release.tables:
        raise UnknownName("table", table, release.tables, file=folder)
    if not reason.strip():
        raise BadInput("give a reason, which the card and the change log will show")
    if Path(to).exists() or Path(to).is_symlink():
        raise BadInput("exists already; give a new folder", file=to)
    before = release.tables[table]
    gone = _Gone(set(rows), set(passages))
    kept_keys = set[str]()
    report = Report()
    leaks = Leaks()
    for benchmark in benchmarks(data):
        leaks.add(*benchmark)

    progress(0, 2, "rows")
    for row in _all_rows(old, table, before):
        if not gone.has(row):
            kept_keys.update(row["replies"])
            report.add(row, leaks.marks(row))
    gone.check_found(table)
    progress(1, 2, "the release")
    with replacing_folder(Path(to)) as new:
        shutil.copytree(old, new, dirs_exist_ok=True)
        of_splits = {}
        for split in before.splits:
            of_splits[split] = _kept_rows(old, table, split, gone)
        splits = write_table(new, table, before.family, of_splits)
        files = _without_replies(new, release, table, gone.keys - kept_keys)
        count = len(gone.ids)
        counts = dict(before.counts)
        counts["good"] -= count
        counts["skipped"] += count
        counts["reasons"] = {**before.counts.get("reasons", {}), f"withdrawn: {reason}": count}
        after = replace(
            before,
            splits=splits,
            counts=counts,
            replayable=False,  # the recipe would make the rows again
            report={**before.report, **report.figures()},
            withdrawn={**before.withdrawn, **dict.fromkeys(sorted(gone.ids), reason)},
        )
        made = replace(release, tables={**release.tables, table: after}, files=files)
        card = new / "README.md"
        existing = read_text(card) if card.is_file() else ""
        write(card, release_card(new, made, existing=existing))
        save(made, new)
    progress(2, 2, "done")
    return made, count


class _Gone:
    """The rows to withdraw: by their ids, or by a passage that they have; `keys` are those of their replies."""

    def __init__(self, rows: set[str], passages: set[str]) -> None:
        if not rows and not passages:
            raise BadInput("names no row; give ids of rows, or --passage")
        self._rows = rows
        self._passages = passages
        self._unseen = rows | passages
        self.ids = set[str]()
        self.keys = set[str]()

    def has(self, row: Row) -> bool:
        """Is a row one of them?"""
        found = {row["id"]} & self._rows
        found.update({passage.id for passage in passages_of(row)} & self._passages)
        if found:
            self._unseen -= found
            self.ids.add(row["id"])
            self.keys.update(row["replies"])
        return bool(found)

    def check_found(self, table: str) -> None:
        """Raise BadInput for an id that no row has."""
        if self._unseen:
            more = ""
            if len(self._unseen) > 1:
                more = f", nor of {plural(len(self._unseen) - 1, 'other id')}"
            raise BadInput(f"table {table} has no row of this id{more}; nothing was withdrawn", id=min(self._unseen))


def _all_rows(folder: Path, name: str, table: Table) -> Iterator[Row]:
    for split in table.splits:
        yield from rows(folder, name, split)


def _kept_rows(folder: Path, name: str, split: str, gone: _Gone) -> Iterator[Row]:
    for row in rows(folder, name, split):
        if row["id"] not in gone.ids:
            yield row


def _without_replies(new: Path, release: Release, table: str, keys: Collection[str]) -> tuple[DataFile, ...]:
    """The release's other files, where that of the table's replies has lost those of these keys."""
    path = f"replies/{table}.parquet"
    files = []
    for file in release.files:
        if file.path == path and keys:
            _remove_rows(new / path, pa.array(sorted(keys)))
            size = (new / path).stat().st_size
            file = DataFile(path, file_digest(new / path).removeprefix("sha256:"), size)
        files.append(file)
    return tuple(files)


def _remove_rows(file: Path, keys: pa.Array) -> None:
    """Write a Parquet file again without the rows of these keys, some rows at a time: replies can be gigabytes."""
    with (
        pq.ParquetFile(file) as old,
        replacing(file) as new,
        pq.ParquetWriter(new, old.schema_arrow, compression="zstd") as writer,
    ):
        for batch in old.iter_batches(_AT_ONCE, use_threads=False):
            writer.write_batch(batch.filter(pc.invert(pc.is_in(batch["key"], keys))))
