"""Lucene indexes that pyserini's authors publish: their names, and how one is downloaded and unpacked."""

from __future__ import annotations

import ast
import hashlib
import json
import os
import re
import tarfile
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from exabench.core.errors import REASON, OutsideFailed, UnknownName, printable
from exabench.core.files import cache_folder, only_writer, read_text, replacing_folder
from exabench.core.nouns import Progress

_PIECE = 1 << 20  # bytes read at a time: one step of progress
_SECONDS = 60  # without a byte, after which a server counts as gone


@dataclass(frozen=True)
class PrebuiltIndex:
    """An index as it is published: a packed folder of `size` bytes at `url`."""

    name: str
    url: str
    md5: str
    size: int
    documents: int


def find_prebuilt(name: str, package: Path, jar: Path, others: Iterable[str] = ()) -> PrebuiltIndex:
    """The prebuilt index of that name; `package` is the folder of pyserini, `jar` Anserini's.

    The network is not used. Raises UnknownName with the nearest names, `others` among them.
    """
    in_jar = {}
    with zipfile.ZipFile(jar) as packed:
        for page in packed.namelist():
            if re.fullmatch(r"prebuilt-indexes/[^/]+\.json", page):
                for entry in json.loads(packed.read(page)):
                    in_jar[entry["name"]] = entry
    indexes: dict[str, Mapping[str, Any]] = {}
    # pyserini's tables are read and not imported: that takes seconds, and starts Java.
    for table in ast.parse(read_text(package / "prebuilt_index_info.py")).body:
        if not isinstance(table, ast.Assign) or not isinstance(table.value, ast.Dict):
            continue
        if not ast.unparse(table.targets[0]).startswith("TF_INDEX_INFO"):
            continue  # vectors and learned weights, which BM25 does not search
        for key, value in zip(table.value.keys, table.value.values, strict=True):
            if key is None:  # a table inside a table: it has been read
                continue
            known_as = str(ast.literal_eval(key))
            if isinstance(value, ast.Dict):
                indexes[known_as] = ast.literal_eval(value)
            else:  # the name of an entry of the jar, or of one above
                words = [str(node.value) for node in ast.walk(value) if isinstance(node, ast.Constant)]
                indexes[known_as] = in_jar.get(words[-1]) or indexes[words[-1]]
    if name not in indexes:
        raise UnknownName("index", name, [*others, *indexes])
    entry = indexes[name]
    size = entry.get("compressed_size") or entry["size compressed (bytes)"]
    return PrebuiltIndex(name, entry["urls"][0], entry["md5"], int(size), int(entry["documents"]))


def fetch_prebuilt(index: PrebuiltIndex, cache: str | Path, progress: Progress) -> Path:
    """The folder of an index: pyserini's own copy where it has one, else below `cache`, downloaded at first use.

    Raises OutsideFailed where it cannot be downloaded or is not what was published, CannotWrite.
    """
    packed = index.url.split("/")[-1].split("?")[0]
    name = f"{packed.partition('.tar.gz')[0]}.{index.md5}"  # as pyserini names the folder
    # Where pyserini keeps its own downloads: an index may be tens of gigabytes, and is not fetched twice.
    home = os.environ.get("PYSERINI_CACHE") or Path.home() / ".cache" / "pyserini"
    theirs = Path(home, "indexes", name)
    if theirs.is_dir():
        return theirs
    folder = Path(cache or cache_folder("lucene")) / name
    if folder.is_dir():
        return folder
    with only_writer(folder):
        if folder.is_dir():  # another process finished it after the look above
            return folder
        with replacing_folder(folder) as unfinished:
            archive = unfinished / "index.tar.gz"
            _download(index, archive, progress)
            _unpack(index, archive, unfinished)
            archive.unlink()
    return folder


def _download(index: PrebuiltIndex, to: Path, progress: Progress) -> None:
    """Write the packed index to a file. Raises OutsideFailed."""
    what = f"prebuilt index {index.name}"
    digest = hashlib.md5(usedforsecurity=False)
    received = 0
    try:
        with urllib.request.urlopen(index.url, timeout=_SECONDS) as answer, open(to, "wb") as file:
            while piece := answer.read(_PIECE):
                received += len(piece)
                if received > index.size:  # whatever else comes, it is not what was published
                    break
                digest.update(piece)
                file.write(piece)
                progress(received >> 20, index.size >> 20, f"MB of {index.name}")
    except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
        reason = printable(str(getattr(error, "reason", "") or error), REASON)
        raise OutsideFailed(f"{what} cannot be downloaded ({reason}); check the network and try again") from error
    if received != index.size or digest.hexdigest() != index.md5:
        raise OutsideFailed(f"{what} does not match the published checksum (md5 {index.md5}); try again")


def _unpack(index: PrebuiltIndex, archive: Path, folder: Path) -> None:
    """Put the files of a packed folder into `folder`. Raises OutsideFailed for an archive that is none."""
    try:
        with tarfile.open(archive) as packed:
            for member in packed:
                if member.isfile():  # Lucene's folders hold files alone
                    content: IO[bytes] | None = packed.extractfile(member)
                    assert content is not None
                    # The last part of the name alone: a member can lie nowhere but in this folder.
                    with open(folder / Path(member.name).name, "wb") as file:
                        while piece := content.read(_PIECE):
                            file.write(piece)
    except tarfile.TarError as error:
        raise OutsideFailed(f"prebuilt index {index.name} is not an archive ({error})") from error
