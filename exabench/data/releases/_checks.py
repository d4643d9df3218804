"""Does a release hold what its manifest says? And its rows, handed out only when it does."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from exabench.core.errors import BadInput, UnknownName, plural, printable
from exabench.core.files import file_digest
from exabench.core.rows import FAMILIES, DataFile, Release, Row, Table
from exabench.data.releases._manifest import place_of, read
from exabench.data.releases._tables import ROWS_PER_GROUP, fields_of


def verify(folder: str | Path) -> list[str]:
    """What is wrong with a release on disk, a line each; nothing where every file is the one of the manifest.

    Sizes, sha256, row counts and schemas must fit, the manifest its own digest, and below data/ there is no file that
    the manifest does not list.
    """
    folder = Path(folder)
    try:
        release = read(folder)
    except BadInput as error:
        return [str(error)]
    problems = {file.path: _problem(folder, file) for file in release.all_files}
    for table in release.tables.values():
        for file in table.files:
            problems[file.path] = problems[file.path] or _misfit(folder, table, file)
    found = [f"{path}: {problem}" for path, problem in problems.items() if problem]
    return found + [f"{printable(path)}: is not in the manifest" for path in _unlisted(folder, release)]


def rows(folder: str | Path, table: str, split: str) -> Iterator[Row]:
    """The rows of a split in their order, one row group in memory at a time.

    Every file is checked before this returns: a byte that changed is refused before any row is handed out.
    Raises BadInput with the file, UnknownName for a table or a split that is not there.
    """
    chosen = chosen_table(read(folder), table, split, folder)
    checked = batches(Path(folder), chosen, split)
    return (row for batch in checked for row in batch.to_pylist())


def chosen_table(release: Release, table: str, split: str, folder: str | Path) -> Table:
    """A table that has the split. Raises UnknownName."""
    if table not in release.tables:
        raise UnknownName("table", table, release.tables, file=folder)
    if split not in release.tables[table].splits:
        raise UnknownName(f"split of {table}", split, release.tables[table].splits, file=folder)
    return release.tables[table]


def checked_files(folder: Path, table: Table, split: str) -> list[Path]:
    """The files of a split, all of them as the manifest says. Raises BadInput with the first that is not."""
    places = []
    for file in table.splits[split]:
        if problem := _problem(folder, file) or _misfit(folder, table, file):
            raise BadInput(f"{file.path} {problem}; fetch or build the release again", file=folder)
        places.append(place_of(folder, file.path))
    return places


def batches(folder: Path, table: Table, split: str, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
    """A split as arrow batches, all columns or some; its files are checked before this returns."""
    files = checked_files(folder, table, split)
    return (
        batch
        for file in files
        for batch in pq.ParquetFile(file).iter_batches(ROWS_PER_GROUP, columns=columns, use_threads=False)
    )


def _problem(folder: Path, file: DataFile) -> str:
    """What is wrong with the bytes of a file, or nothing."""
    try:
        place = place_of(folder, file.path)
    except BadInput:
        return "is a link or lies behind one; a release holds plain files"
    try:
        size = place.stat().st_size
        if not place.is_file():
            return "is missing"
        if size != file.bytes:
            return f"holds {size} bytes where the manifest says {file.bytes}"
        digest = file_digest(place).removeprefix("sha256:")
    except FileNotFoundError:
        return "is missing"
    except (OSError, BadInput) as error:
        return f"cannot be read ({error})"
    if digest != file.sha256:
        return f"is not the manifest's file: sha256 {digest[:12]}..., not {file.sha256[:12]}..."
    return ""


def _misfit(folder: Path, table: Table, file: DataFile) -> str:
    """Where a file's footer and the manifest disagree, or nothing."""
    try:
        with pq.ParquetFile(place_of(folder, file.path)) as parquet:
            count, found = parquet.metadata.num_rows, fields_of(parquet.schema_arrow)
        wanted = table.columns
    except (OSError, pa.ArrowException) as error:
        return f"is not a Parquet file ({str(error).splitlines()[0]})"
    except BadInput as error:
        return str(error)
    if count != file.rows:
        return f"holds {plural(count, 'row')} where the manifest says {file.rows}"
    same_order = list(found) == list(wanted) or table.family not in FAMILIES
    if found != wanted or not same_order:
        odd = sorted(name for name in found.keys() | wanted.keys() if found.get(name) != wanted.get(name))
        return f"has other fields than the manifest: {printable(', '.join(odd)) or 'another order'}"
    return ""


def _unlisted(folder: Path, release: Release) -> list[str]:
    listed = {file.path for file in release.all_files}
    there: set[str] = set()
    for parent, folders, files in os.walk(folder / "data"):
        links = [name for name in folders if (Path(parent) / name).is_symlink()]
        there.update((Path(parent) / name).relative_to(folder).as_posix() for name in files + links)
    return sorted(there - listed)
