"""manifest.json: a Release as JSON, exactly; anything else is refused with the file and the key.

Its `digest` is that of all its other keys. A version is three numbers, major.minor.patch.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from exabench.core import records
from exabench.core.errors import BadInput, printable
from exabench.core.files import digest_of, from_json, json_text, read_json, write
from exabench.core.rows import Release
from exabench.data.releases._tables import check_names, file_name
from exabench.hub.commits import MANIFEST, is_inside

FORMAT = 1
_SHA256 = re.compile(r"[0-9a-f]{64}")
_NUMBER = r"(0|[1-9][0-9]{0,8})"
_VERSION = re.compile(rf"{_NUMBER}\.{_NUMBER}\.{_NUMBER}")


def save(release: Release, folder: str | Path) -> Path:
    """Write a Release as `folder`/manifest.json. Raises BadInput where `read` would not give the same one back."""
    file = Path(folder) / MANIFEST
    body = {**release.as_json(), "format": FORMAT}
    try:
        text = json_text({**body, "digest": digest_of(body)})
        again = _release(from_json(text), file)
    except (TypeError, ValueError) as error:  # NaN, half a surrogate pair, a value that JSON does not know
        raise BadInput(f"the release cannot be written as JSON ({error})", file=file) from error
    if again.content != release.content:
        raise BadInput("the release changes when written as JSON; use plain JSON values in its tables", file=file)
    write(file, text)
    return file


def read(folder: str | Path) -> Release:
    """The Release that `folder`/manifest.json describes. Raises BadInput with the file and what is odd in it."""
    file = place_of(Path(folder), MANIFEST)
    if not file.is_file():
        raise BadInput(f"is not a release: {MANIFEST} is missing", file=folder)
    return _release(read_json(file), file)


def place_of(folder: Path, path: str) -> Path:
    """Where a file of a release lies. Raises BadInput for a link, but for those of the Hub's cache into its blobs."""
    try:
        base = folder.resolve()
        wanted = base / path
        real = wanted.resolve()
    except (OSError, RuntimeError, ValueError) as error:  # a loop of links, a NUL
        raise BadInput(f"cannot be read ({error})", file=folder / path) from error
    cached = base.parent.name == "snapshots" and real.is_relative_to(base.parents[1] / "blobs")
    if real != wanted and not cached:
        raise BadInput("is a link or behind a link; a release contains regular files only", file=folder / path)
    return wanted


def _release(value: Any, file: Path) -> Release:
    """The Release of a parsed manifest. Raises BadInput with `file`."""
    found = value.get("format") if isinstance(value, dict) else None
    if type(found) is not int or found != FORMAT:
        raise BadInput(
            f"is not a manifest of format {FORMAT} but of {printable(repr(found))}; a newer exabench may read it",
            file=file,
        )
    release = records.read(Release, value, file=file, what="the manifest")
    paths = set()
    for listed in release.all_files:
        is_plain = listed.path.isprintable() and "\\" not in listed.path and listed.path != MANIFEST
        if not is_plain or not is_inside(listed.path):
            raise BadInput(f"{printable(listed.path)!r} is not a plain path inside a release", file=file)
        if not _SHA256.fullmatch(listed.sha256) or listed.bytes < 0 or listed.rows < 0:
            raise BadInput(f"{listed.path} needs a sha256 of 64 hex digits, and counts from 0", file=file)
        if listed.path in paths:
            raise BadInput(f"lists {listed.path} twice", file=file)
        paths.add(listed.path)
    tables = {}
    for name, table in release.tables.items():
        check_names(name, table.splits, file)
        for split, files in table.splits.items():
            if not files:
                raise BadInput(f"split {split} of table {name} must list its files", file=file)
            for part, listed in enumerate(files):
                wanted = file_name(name, split, part, len(files))
                if listed.path != wanted:
                    raise BadInput(
                        f"split {split} of table {name} lists {printable(listed.path)!r} in place of {wanted}",
                        file=file,
                    )
        # Keys of JSON objects are sorted in a manifest, and columns have an order.
        tables[name] = replace(table, fields=table.columns if table.fields else {})
    numbers(release.version, file)
    # The digest is taken from the Release as well as from the file: a key that no release has is seen here, too.
    digest = digest_of({**release.as_json(), "format": FORMAT})
    sealed = dict(value)
    seal = sealed.pop("digest", None)
    if seal != digest or digest_of(sealed) != digest:
        raise BadInput("was edited: its digest does not match its content; fetch or build the release again", file=file)
    return replace(release, tables=tables)


def raise_version(version: str, wanted: str) -> str:
    """`wanted`, which may be higher than the computed `version` and never lower. Raises BadInput."""
    if numbers(wanted) < numbers(version):
        raise BadInput(f"version {wanted} is below {version}, which the changes require; a version may only be raised")
    return wanted


def numbers(version: str, file: Path | None = None) -> tuple[int, ...]:
    """major.minor.patch as numbers. Raises BadInput for anything else, a leading zero or a suffix included."""
    match = _VERSION.fullmatch(version)
    if match is None:
        raise BadInput(
            f"version {printable(version)!r} is not major.minor.patch (three plain numbers, such as 1.0.0)", file=file
        )
    return tuple(map(int, match.groups()))
