"""Screening of a model folder that was sent in: by our own reader, headers only, before any library sees it.

Data is let in, programs are not: weights as safetensors, settings as JSON, vocabularies and texts, under plain names.
Everything else is refused with one of ERROR_CLASSES, in bounded time and memory.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from exabench.models.screening._headers import TENSORS, Read, Weights, weights_of
from exabench.models.screening._refusals import ERROR_CLASSES, SubmissionRefused
from exabench.models.screening._settings import WORDS, check_config, check_modules, check_settings, parsed, shards_of

__all__ = [
    "ERROR_CLASSES",
    "Screened",
    "SizeLimits",
    "SubmissionRefused",
    "check_libraries",
    "screened",
    "screened_repo",
]

SAFE_VERSIONS = {
    "transformers": ((5, 3), "before it a config.json ran code (CVE-2026-4372, CVE-2026-5241)"),
    "torch": ((2, 6), "before it weights_only loaded code (CVE-2025-32434)"),
    "jinja2": ((3, 1, 6), "before it templates left their sandbox (CVE-2024-56326, CVE-2025-27516)"),
}
FILES = 2_000  # in one folder
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,95}|\.gitattributes", re.ASCII)
_FOLDER = re.compile(r"\d{1,2}_[A-Za-z]{1,40}")  # where sentence-transformers keeps a module's settings
_MOST = {  # bytes of a file, by how its name ends
    **{".safetensors": 1 << 50, ".json": 64 << 20, ".txt": 16 << 20, ".model": 32 << 20, ".jinja": WORDS},
    **{".md": 4 << 20, ".toml": 1 << 20, ".csv": 16 << 20, ".svg": 4 << 20},
}
_READ = (".safetensors", ".json", ".txt", ".model", ".jinja")  # what a model is loaded from
_PLAIN = ("LICENSE", "LICENCE", "NOTICE", "COPYING", ".gitattributes")
_WEIGHTS = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".h5", ".onnx", ".gguf", ".msgpack", ".npz")
_SETTINGS = 4 << 20  # bytes of a JSON file that is read here: all but tokenizer.json, vocab.json and indices
_UNREAD = ("tokenizer.json", "vocab.json")
_MAGIC = re.compile(
    rb"PK[\x03\x05\x07]|\x80[\x02-\x05]|\x7fELF|\x1f\x8b|\x89HDF|GGUF|\x93NUMPY|#!|c[\w.]+\n[\w.]+\n[(\])}q]|\(dp0|BZh|\xfd7z"
)


@dataclass(frozen=True)
class SizeLimits:
    """How much is taken: bytes of all weights together, rows of a vocabulary."""

    weights: int = 64 << 30
    vocabulary: int = 2_000_000


@dataclass(frozen=True)
class Screened:
    """A folder that may be loaded: files and their bytes, config.json, weights; no model is loaded from `ignored`."""

    files: Mapping[str, int]
    config: Mapping[str, Any]
    weights: tuple[Weights, ...]
    ignored: tuple[str, ...] = field(default=())

    @property
    def size(self) -> int:
        """Bytes of all weights."""
        return sum(one.size for one in self.weights)

    @property
    def parameters(self) -> int:
        """Numbers in all weights."""
        return sum(one.parameters for one in self.weights)

    @property
    def vocabulary(self) -> int:
        """Rows of the largest embedding of tokens; 0 where none goes by a known name."""
        return max(one.vocabulary for one in self.weights)


def screened(folder: str | Path, limits: SizeLimits | None = None) -> Screened:
    """A folder on this disk, of which every file is looked at. Raises SubmissionRefused."""
    folder = Path(folder)
    with _complaints():
        found = dict(_walked(folder))
    for name in found:
        why = _unfit(name)
        if why is not None:
            raise SubmissionRefused("unsafe-files", why, file=name)

    def read(name: str, start: int, end: int) -> bytes:
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
        with _complaints(name), open(os.open(folder / name, flags), "rb") as stream:
            stream.seek(start)
            return stream.read(end - start)

    return _screened(found, read, limits or SizeLimits())


def screened_repo(files: Mapping[str, int], read: Read, limits: SizeLimits | None = None) -> Screened:
    """A repository before it is fetched, from its listing (name: bytes) and parts of its files. Raises
    SubmissionRefused.

    What no model is loaded from is `ignored`, to be left where it is; names that can only be meant ill are refused.
    """
    for name in files:
        if name.startswith("/") or {"..", "."} & set(name.split("/")) or not name.isprintable() or "\\" in name:
            raise SubmissionRefused("unsafe-files", "is no name for a file", file=name)
    taken = {name: size for name, size in files.items() if name.endswith(_READ) and _unfit(name) is None}
    if not any(name.endswith(".safetensors") for name in taken):
        held = next((name for name in sorted(files) if name.endswith(_WEIGHTS)), None)
        if held is not None:
            raise SubmissionRefused(
                "unsafe-files", "loading such weights may run code; convert them to safetensors", file=held
            )
    ignored = tuple(sorted(set(files) - set(taken)))
    return replace(_screened(taken, read, limits or SizeLimits()), ignored=ignored)


def check_libraries() -> None:
    """The libraries that would read a stranger's model have the holes closed that are known.

    Raises SubmissionRefused.
    """
    for name, (wanted, why) in SAFE_VERSIONS.items():
        try:
            found = version(name)
        except PackageNotFoundError:
            continue
        numbers = tuple(int(part) for part in re.findall(r"\d+", found.partition("+")[0])[:3])
        if numbers < wanted:
            least = ".".join(map(str, wanted))
            raise SubmissionRefused("no-sandbox", f"{name} {found} is installed, and {least} is needed: {why}")


@contextlib.contextmanager
def _complaints(name: str | None = None) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise SubmissionRefused("missing-files", f"cannot be read ({error.strerror})", file=name) from error


def _screened(files: Mapping[str, int], read: Read, limits: SizeLimits) -> Screened:
    _check_names(files)
    if "config.json" not in files:
        raise SubmissionRefused("missing-files", "config.json is missing: this is no model folder")
    shards = sorted(name for name in files if name.endswith(".safetensors"))
    if not shards:
        raise SubmissionRefused("missing-files", "there are no weights in safetensors")
    total = sum(files[name] for name in shards)
    if total > limits.weights:
        raise SubmissionRefused("too-large", f"its weights have {total} bytes, and {limits.weights} are taken")
    for name, size in files.items():
        if name not in shards:
            _check_start(name, size, read)
    config = _check_settings(files, read)
    weights = []
    tensors = 0
    for name in shards:
        weights.append(weights_of(name, files[name], read))
        tensors += len(weights[-1].tensors)
        if tensors > TENSORS:
            raise SubmissionRefused("too-large", f"it holds more than {TENSORS} tensors", file=name)
    screened = Screened(files, config, tuple(weights))
    if screened.vocabulary > limits.vocabulary:
        raise SubmissionRefused(
            "too-large", f"its vocabulary has {screened.vocabulary} rows, and {limits.vocabulary} are taken"
        )
    return screened


def _check_names(files: Mapping[str, int]) -> None:
    if len(files) > FILES:
        raise SubmissionRefused("too-large", f"it holds {len(files)} files, and {FILES} are taken")
    seen: dict[str, str] = {}
    for name, size in files.items():
        twin = seen.setdefault(name.casefold(), name)
        if twin != name:
            raise SubmissionRefused("unsafe-files", f"differs from {twin} in upper and lower case alone", file=name)
        most = _MOST.get(Path(name).suffix, 1 << 20)
        if size > most:
            raise SubmissionRefused("too-large", f"has {size} bytes, and {most} are taken", file=name)


def _unfit(name: str) -> str | None:
    """Why a file of that name is not let in, or None."""
    *folders, last = name.split("/")
    if len(folders) > 1 or not all(_FOLDER.fullmatch(part) for part in folders):
        return "lies in a folder that no model is loaded from"
    if not _NAME.fullmatch(last) or ".." in last:
        return "is no plain name (ASCII letters, digits and ._-, at most 96)"
    if last in _PLAIN or Path(last).suffix in _MOST:
        return None
    return f"may hold code, and is never opened; of a model {', '.join(_MOST)} are taken"


def _check_start(name: str, size: int, read: Read) -> None:
    """A text is text and a vocabulary a vocabulary, whatever the name says."""
    start = read(name, 0, 4096)
    kind = Path(name).suffix or "text"
    found = _MAGIC.match(start)
    if found:
        raise SubmissionRefused("unsafe-files", f"begins with {found[0][:8]!r}: it is no {kind}", file=name)
    if kind == ".model":
        fit = start[:1] == b"\n"  # the first field of a SentencePiece model
    elif kind == ".json":
        fit = start.lstrip()[:1] in (b"{", b"[") and b"\0" not in start
    else:
        fit = b"\0" not in start
    if size and not fit:
        raise SubmissionRefused("unsafe-files", f"is no {kind} by its first bytes", file=name)


def _check_settings(files: Mapping[str, int], read: Read) -> Mapping[str, Any]:
    """Every JSON file but vocabularies; returns config.json."""
    config: Mapping[str, Any] = {}
    for name in sorted(files):
        last = name.rpartition("/")[2]
        if not name.endswith(".json") or last in _UNREAD:
            continue
        if files[name] > _SETTINGS:
            raise SubmissionRefused(
                "too-large", f"has {files[name]} bytes, and {_SETTINGS} are read of settings", file=name
            )
        value = parsed(read(name, 0, files[name]), name)
        if last.endswith(".index.json"):
            shards_of(value, name, files)
            continue
        check_settings(value, name)
        if name == "config.json":
            check_config(value, name)
            config = value
        elif name == "modules.json":
            check_modules(value, name)
    return config


def _walked(folder: Path) -> Iterator[tuple[str, int]]:
    """Every file below a folder with its size, two floors deep; links, devices and pipes are refused."""
    todo = [""]
    count = 0
    while todo:
        under = todo.pop()
        entries = itertools.islice(os.scandir(folder / under), FILES + 1)  # there may be millions
        for entry in sorted(entries, key=lambda entry: entry.name):
            name = f"{under}/{entry.name}" if under else entry.name
            count += 1
            if count > FILES:
                raise SubmissionRefused("too-large", f"it holds more than {FILES} files")
            about = entry.stat(follow_symlinks=False)
            if stat.S_ISDIR(about.st_mode):
                if under:
                    raise SubmissionRefused("unsafe-files", "lies in a folder that no model is loaded from", file=name)
                todo.append(name)
            elif not stat.S_ISREG(about.st_mode) or about.st_nlink > 1:
                raise SubmissionRefused(
                    "unsafe-files", "is a link, a device or a pipe, and no file of its own", file=name
                )
            else:
                yield name, about.st_size
