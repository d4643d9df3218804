"""The rows of a release: every file is checked against the manifest before a row is given."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from exabench.core.errors import REASON, BadInput, UnknownName, plural, printable
from exabench.core.files import cache_folder, digest_of, file_digest
from exabench.core.rows import FAMILIES, DataFile, Release, Row, Table
from exabench.data.releases._manifest import numbers, place_of, read
from exabench.data.releases._tables import ROWS_PER_GROUP, fields_of
from exabench.hub.client import is_repo, pin_commit, snapshot
from exabench.hub.commits import MANIFEST

if TYPE_CHECKING:
    import datasets


def verify(folder: str | Path) -> list[str]:
    """The problems of a release on disk, a line each; none where every file is the one of the manifest.

    Sizes, sha256, row counts and schemas must fit, the manifest its own digest, and below data/ there is no file that
    the manifest does not list.
    """
    folder = Path(folder)
    try:
        release = read(folder)
    except BadInput as error:
        return [str(error)]
    tables = {}
    for table in release.tables.values():
        for file in table.files:
            tables[file.path] = table
    problems = []
    unlisted = set()
    for place in (folder / "data").rglob("*"):
        # A link to a folder counts as a file: what it leads to is not a part of the release.
        if place.is_symlink() or not place.is_dir():
            unlisted.add(place.relative_to(folder).as_posix())
    for file in release.all_files:
        unlisted.discard(file.path)
        problem = _problem(folder, file, tables.get(file.path))
        if problem:
            problems.append(f"{file.path}: {problem}")
    for path in sorted(unlisted):
        problems.append(f"{printable(path)}: is not in the manifest")
    return problems


def rows(folder: str | Path, table: str, split: str) -> Iterator[Row]:
    """The rows of a split in their order, one row group in memory at a time.

    Every file is checked before this returns: a byte that changed is refused before the first row.
    Raises BadInput with the file, UnknownName for a table or a split that is not there.
    """
    chosen = _table_with_split(read(folder), table, split, folder)
    checked_batches = batches(Path(folder), chosen, split)
    return chain.from_iterable(map(pa.RecordBatch.to_pylist, checked_batches))


def row_ids(folder: str | Path, table: Table) -> set[str]:
    """The ids of the rows of all splits; the files are checked before they are read."""
    ids = set[str]()
    for split in table.splits:
        for batch in batches(Path(folder), table, split, ["id"]):
            ids.update(batch.column("id").to_pylist())
    return ids


def load(
    place: str | Path,
    table: str,
    split: str = "train",
    *,
    version: str = "",
    revision: str = "",
    lock: str | Path | None = None,
) -> datasets.Dataset:
    """A split of a table, from a release folder or a dataset on the Hub, as a Dataset with the attribute `.release`.

        rows = load("exabench/exaranker-open", "llama-2-7b-15k", version="1.0.0")
        rows[0]["explanation"], rows.release.version

    A Hub id is read at the tag of `version`, or at `revision` (a commit or a branch), else at its head; in each
    case at the commit behind it, which the file `lock` remembers if it is given. A folder has no revisions. A file
    that differs from the manifest in one byte is refused. `.release` stays with this Dataset, not with those made from
    it by map or filter. Raises BadInput, UnknownName for a table or split, OutsideFailed where the Hub cannot be read.
    """
    import datasets

    if version and revision:
        raise BadInput("give version or revision, not both")
    if version:
        numbers(version)
    folder = Path(place)
    repo = str(place)
    if folder.is_dir():
        if revision:
            raise BadInput(f"a folder has no revision {printable(revision)!r}; remove it", file=place)
    elif is_repo(repo):
        # First the manifest alone: it says which files hold the split.
        commit = pin_commit(repo, f"v{version}" if version else revision, lock)
        folder = snapshot(repo, commit, [MANIFEST], kind="dataset")
        remote = _table_with_split(read(folder), table, split, folder)
        folder = snapshot(repo, commit, [file.path for file in remote.splits[split]], kind="dataset")
    else:
        raise BadInput(f"{printable(repo)!r} is neither a release folder nor a Hub id (owner/name)")
    release = read(folder)
    if version and release.version != version:
        raise BadInput(f"{place} has version {release.version}, not {version}")
    chosen = _table_with_split(release, table, split, folder)
    files = _checked_files(folder, chosen, split)
    # The rows are kept in arrow under the digest of their files, so rows of a file that changed are never used.
    content = digest_of([file.sha256 for file in chosen.splits[split]])
    cache = cache_folder("loaded") / content.removeprefix("sha256:")
    unusable = (OSError, ValueError, KeyError, TypeError, datasets.exceptions.DatasetsError)
    try:
        with _no_bars():
            dataset = datasets.Dataset.from_parquet(files, split=split, cache_dir=str(cache))
    except unusable:  # the cache is full, read-only or damaged: the rows are held in memory
        rows = pa.concat_tables(pq.read_table(file) for file in files)
        dataset = datasets.Dataset(rows, split=datasets.NamedSplit(split))
    dataset.release = release
    return dataset


@contextlib.contextmanager
def _no_bars() -> Iterator[None]:
    """Have datasets draw no progress bars; where it drew some before, it does again afterwards."""
    from datasets.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    if are_progress_bars_disabled():
        yield
        return
    disable_progress_bars()
    try:
        yield
    finally:
        enable_progress_bars()


def _table_with_split(release: Release, table: str, split: str, folder: str | Path) -> Table:
    """A table that has the split. Raises UnknownName."""
    if table not in release.tables:
        raise UnknownName("table", table, release.tables, file=folder)
    splits = release.tables[table].splits
    if split not in splits:
        raise UnknownName(f"split of {table}", split, splits, file=folder)
    return release.tables[table]


def batches(folder: Path, table: Table, split: str, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
    """A split as arrow batches, all columns or some; its files are checked before this returns."""
    files = _checked_files(folder, table, split)
    return (batch for file in files for batch in _batches_of_file(file, ROWS_PER_GROUP, columns))


def _batches_of_file(file: str | Path, size: int, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
    """A Parquet file as arrow batches of `size` rows. Raises BadInput, also in the middle of a damaged one."""
    try:
        with pq.ParquetFile(file) as parquet:
            yield from parquet.iter_batches(size, columns=columns, use_threads=False)
    except (OSError, pa.ArrowException) as error:
        raise BadInput(f"is not a whole Parquet file ({printable(str(error), REASON)})", file=file) from error


def _checked_files(folder: Path, table: Table, split: str) -> list[str]:
    """The files of a split. Raises BadInput with the first that is not as the manifest says."""
    places = []
    for file in table.splits[split]:
        problem = _problem(folder, file, table)
        if problem:
            raise BadInput(f"{file.path} {problem}; fetch or build the release again", file=folder)
        places.append(str(place_of(folder, file.path)))
    return places


def _problem(folder: Path, file: DataFile, table: Table | None) -> str:
    """The first thing that is wrong with a file, or nothing: its bytes, and the rows and fields of one of a table."""
    try:
        place = place_of(folder, file.path)
    except BadInput:
        return "is a link or behind a link; a release contains regular files only"
    try:
        size = place.stat().st_size
        if not place.is_file():
            return "is missing"
        if size != file.bytes:
            return f"has {size} bytes where the manifest says {file.bytes}"
        digest = file_digest(place).removeprefix("sha256:")
    except FileNotFoundError:
        return "is missing"
    except (OSError, BadInput) as error:
        return f"cannot be read ({error})"
    if digest != file.sha256:
        return f"does not match the manifest: sha256 {digest[:12]}..., not {file.sha256[:12]}..."
    if table is None:
        return ""
    try:
        with pq.ParquetFile(place) as parquet:
            count = parquet.metadata.num_rows
            fields = fields_of(parquet.schema_arrow)
        wanted = table.columns
    except (OSError, pa.ArrowException) as error:
        return f"is not a Parquet file ({str(error).splitlines()[0]})"
    except BadInput as error:
        return str(error)
    if count != file.rows:
        return f"has {plural(count, 'row')} where the manifest says {file.rows}"
    # Only a family says in which order its columns come.
    if fields != wanted or (table.family in FAMILIES and list(fields) != list(wanted)):
        odd = sorted(name for name in fields.keys() | wanted.keys() if fields.get(name) != wanted.get(name))
        return f"has fields that differ from the manifest: {printable(', '.join(odd), REASON) or 'another order'}"
    return ""
