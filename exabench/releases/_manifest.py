"""manifest.json: a Release as JSON, exactly; what does not read as one is refused with the file and the key.

`digest` in it is of all else that it says. One of an older exabench carries none: it is read, and `verify` names it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from pathlib import Path, PurePosixPath
from typing import Any

from exabench.errors import BadInput
from exabench.files import digest_of, from_json, json_text, read_json, write
from exabench.releases._tables import check_names, file_name
from exabench.releases._versions import numbers
from exabench.rows import FAMILIES, DataFile, Release, Table

MANIFEST = "manifest.json"
FORMAT = 1
_SEAL = "digest"
_SHA256 = re.compile(r"[0-9a-f]{64}")
_JSON_TYPES = {"str": str, "bool": bool, "int": int, "Mapping": dict, "tuple": list}


def save(release: Release, folder: str | Path) -> Path:
    """Write a Release as `folder`/manifest.json. Raises BadInput where `read` would not give the same one back."""
    file = Path(folder) / MANIFEST
    try:
        text = manifest_text(release)
        kept = _release(from_json(text), file).content == release.content
    except (TypeError, ValueError) as error:  # NaN, half a surrogate pair, a value that JSON does not know
        raise BadInput(f"the release cannot be written as JSON ({error})", file=file) from error
    if not kept:
        raise BadInput("the release changes on its way through JSON; give its tables plain JSON values", file=file)
    write(file, text)
    return file


def manifest_text(release: Release) -> str:
    """What manifest.json holds, byte for byte. Raises ValueError or TypeError for a value that JSON does not know."""
    body = {**asdict(release), "format": FORMAT}
    return json_text(body | {_SEAL: digest_of(body)})


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
    if not isinstance(value, dict) or value.get("format") != FORMAT or value["format"] is True:
        found = value.get("format") if isinstance(value, dict) else None
        raise BadInput(
            f"is not a manifest of format {FORMAT} but of {found!r}; a newer exabench may read it", file=file
        )
    said = {key: item for key, item in value.items() if key != _SEAL}
    release = _described({key: item for key, item in said.items() if key != "format"}, file)
    if value.get(_SEAL, digest_of(said)) != digest_of(said):
        raise BadInput("was edited: its digest does not fit its content; fetch or build the release again", file=file)
    return release


def _described(value: dict[str, Any], file: Path) -> Release:
    value = _checked(Release, value, "the manifest", file)
    tables = {name: _table(name, item, file) for name, item in value["tables"].items()}
    files = tuple(_data_file(item, "files", file) for item in value["files"])
    release = Release(**{**value, "tables": tables, "files": files})
    try:
        numbers(release.version)
    except BadInput as error:
        raise BadInput(str(error), file=file) from error
    twice = [path for path, times in Counter(each.path for each in release.all_files).items() if times > 1]
    if twice:
        raise BadInput(f"lists {twice[0]} twice", file=file)
    return release


def _table(name: str, value: Any, file: Path) -> Table:
    value = _checked(Table, value, f"table {name}", file)
    check_names(name, value["splits"], file)
    splits = {split: _split(name, split, items, file) for split, items in value["splits"].items()}
    order = [*FAMILIES.get(value["family"], ())]  # JSON objects are sorted here; the columns have an order
    known = {field: value["fields"][field] for field in order if field in value["fields"]}
    return replace(Table(**value), splits=splits, fields=known | value["fields"])


def _split(table: str, split: str, items: Any, file: Path) -> tuple[DataFile, ...]:
    if type(items) is not list or not items:
        raise BadInput(f"split {split} of table {table} must list its files", file=file)
    files = tuple(_data_file(item, f"split {split} of table {table}", file) for item in items)
    for part, found in enumerate(files):
        if found.path != (wanted := file_name(table, split, part, len(files))):
            raise BadInput(f"split {split} of table {table} lists {found.path!r} in place of {wanted}", file=file)
    return files


def _data_file(value: Any, where: str, file: Path) -> DataFile:
    found = DataFile(**_checked(DataFile, value, f"a file of {where}", file))
    path = PurePosixPath(found.path)
    plain = found.path.isprintable() and "\\" not in found.path and str(path) == found.path
    if not plain or path.is_absolute() or ".." in path.parts or found.path in (".", MANIFEST):
        raise BadInput(f"{where}: {found.path!r} is no plain path inside a release", file=file)
    if not _SHA256.fullmatch(found.sha256) or found.bytes < 0 or found.rows < 0:
        raise BadInput(f"{where}: {found.path} needs a sha256 of 64 hex digits, and counts from 0", file=file)
    return found


def _checked(kind: type, value: Any, where: str, file: Path) -> dict[str, Any]:
    """`value` as the arguments of a dataclass: exactly its keys, each of the JSON type that its annotation names."""
    known: Mapping[str, Any] = {field.name: field.type for field in fields(kind)}
    if type(value) is not dict:
        raise BadInput(f"{where} must be a JSON object", file=file)
    if odd := sorted(value.keys() ^ known.keys()):
        raise BadInput(f"{where} has exactly the keys of a release; not so: {', '.join(map(repr, odd[:5]))}", file=file)
    for name, annotation in known.items():
        outer, _, inner = annotation.partition("[")
        if type(value[name]) is not _JSON_TYPES[outer]:
            raise BadInput(f"{name} of {where} must be {annotation}", file=file)
        item = _JSON_TYPES.get(inner.removeprefix("str, ").removesuffix("]"))
        if outer == "Mapping" and item and any(type(each) is not item for each in value[name].values()):
            raise BadInput(f"{name} of {where} must be {annotation}", file=file)
    return value
