"""manifest.json: a Release as JSON, exactly; what does not read as one is refused with the file and the key.

`digest` in it is of all else that it says.
"""

from __future__ import annotations

import re
from dataclasses import asdict, replace
from pathlib import Path, PurePosixPath
from typing import Any

from exabench.core import records
from exabench.core.errors import BadInput
from exabench.core.files import digest_of, from_json, json_text, read_json, write
from exabench.core.rows import DataFile, Release, Table
from exabench.data.releases._tables import check_names, file_name
from exabench.data.releases._versions import numbers

MANIFEST = "manifest.json"
FORMAT = 1
_SEAL = "digest"
_SHA256 = re.compile(r"[0-9a-f]{64}")


def save(release: Release, folder: str | Path) -> Path:
    """Write a Release as `folder`/manifest.json. Raises BadInput where `read` would not give the same one back."""
    file = Path(folder) / MANIFEST
    body = {**asdict(release), "format": FORMAT}
    try:
        text = json_text(body | {_SEAL: digest_of(body)})
        again = _release(from_json(text), file)
    except (TypeError, ValueError) as error:  # NaN, half a surrogate pair, a value that JSON does not know
        raise BadInput(f"the release cannot be written as JSON ({error})", file=file) from error
    if again.content != release.content:
        raise BadInput("the release changes on its way through JSON; give its tables plain JSON values", file=file)
    write(file, text)
    return file


def read(folder: str | Path) -> Release:
    """The Release that `folder`/manifest.json describes. Raises BadInput with the file and what is odd in it."""
    file = place_of(Path(folder), MANIFEST)
    if not file.is_file():
        raise BadInput(f"is no release: {MANIFEST} is missing", file=folder)
    return _release(read_json(file), file)


def place_of(folder: Path, path: str) -> Path:
    """Where a file of a release lies. Raises BadInput for a link, but for those of the Hub's cache into its blobs."""
    try:
        base = folder.resolve()
        wanted, real = base / path, (base / path).resolve()
    except (OSError, RuntimeError, ValueError) as error:  # a loop of links, a NUL
        raise BadInput(f"cannot be read ({error})", file=folder / path) from error
    cached = base.parent.name == "snapshots" and real.is_relative_to(base.parents[1] / "blobs")
    if real != wanted and not cached:
        raise BadInput("is a link or lies behind one; a release holds plain files", file=folder / path)
    return wanted


def _release(value: Any, file: Path) -> Release:
    found = value.get("format") if isinstance(value, dict) else None
    if type(found) is not int or found != FORMAT:
        raise BadInput(
            f"is not a manifest of format {FORMAT} but of {found!r}; a newer exabench may read it", file=file
        )
    sealed = {key: item for key, item in value.items() if key != _SEAL}
    body = {key: item for key, item in sealed.items() if key != "format"}
    release = records.read(Release, body, file=file, what="the manifest")
    paths = set()
    for data_file in release.all_files:
        _check_file(data_file, file)
        if data_file.path in paths:
            raise BadInput(f"lists {data_file.path} twice", file=file)
        paths.add(data_file.path)
    tables = {}
    for name, table in release.tables.items():
        _check_splits(name, table, file)
        # Keys of JSON objects are sorted here, and columns have an order.
        tables[name] = replace(table, fields=table.columns if table.fields else {})
    try:
        numbers(release.version)
    except BadInput as error:
        raise BadInput(str(error), file=file) from error
    # A key that no release has is seen here, too.
    if value.get(_SEAL) != digest_of(sealed) or digest_of(sealed) != digest_of({**asdict(release), "format": FORMAT}):
        raise BadInput("was edited: its digest does not fit its content; fetch or build the release again", file=file)
    return replace(release, tables=tables)


def _check_splits(name: str, table: Table, file: Path) -> None:
    check_names(name, table.splits, file)
    for split, files in table.splits.items():
        if not files:
            raise BadInput(f"split {split} of table {name} must list its files", file=file)
        for part, data_file in enumerate(files):
            wanted = file_name(name, split, part, len(files))
            if data_file.path != wanted:
                raise BadInput(
                    f"split {split} of table {name} lists {data_file.path!r} in place of {wanted}", file=file
                )


def _check_file(data_file: DataFile, file: Path) -> None:
    path = PurePosixPath(data_file.path)
    is_plain = data_file.path.isprintable() and "\\" not in data_file.path and str(path) == data_file.path
    if not is_plain or path.is_absolute() or ".." in path.parts or data_file.path in (".", MANIFEST):
        raise BadInput(f"{data_file.path!r} is no plain path inside a release", file=file)
    if not _SHA256.fullmatch(data_file.sha256) or data_file.bytes < 0 or data_file.rows < 0:
        raise BadInput(f"{data_file.path} needs a sha256 of 64 hex digits, and counts from 0", file=file)
