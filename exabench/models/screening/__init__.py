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
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from exabench.models.screening._headers import TENSORS, Read, weights_of
from exabench.models.screening._refusals import ERROR_CLASSES, SubmissionRefused
from exabench.models.screening._settings import WORDS, check_config, check_index, check_modules, check_settings, parsed

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
_ELSEWHERE = "lies in a folder that no model is loaded from"
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
    """A folder that may be loaded: its files and their bytes, how many numbers its weights hold, and the rows of its
    largest embedding of tokens (0 where none goes by a known name)."""

    files: Mapping[str, int]
    parameters: int
    vocabulary: int


def screened(folder: str | Path, limits: SizeLimits | None = None) -> Screened:
    """A folder on this disk, of which every file is looked at. Raises SubmissionRefused.

    Links, devices and pipes are refused, and so are folders in folders.
    """
    folder = Path(folder)
    files: dict[str, int] = {}
    with _complaints():
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
                if stat.S_ISDIR(about.st_mode) and not under:
                    todo.append(name)
                elif stat.S_ISDIR(about.st_mode):
                    raise SubmissionRefused("unsafe-files", _ELSEWHERE, file=name)
                elif not stat.S_ISREG(about.st_mode) or about.st_nlink > 1:
                    link = "is a link, a device or a pipe, and no file of its own"
                    raise SubmissionRefused("unsafe-files", link, file=name)
                else:
                    files[name] = about.st_size
    for name in files:
        why = _unfit(name)
        if why is not None:
            raise SubmissionRefused("unsafe-files", why, file=name)

    def read(name: str, start: int, end: int) -> bytes:
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
        with _complaints(name), open(os.open(folder / name, flags), "rb") as stream:
            stream.seek(start)
            return stream.read(end - start)

    return _screen(files, read, limits or SizeLimits())


def screened_repo(files: Mapping[str, int], read: Read, limits: SizeLimits | None = None) -> Screened:
    """A repository before it is fetched, from its listing (name: bytes) and parts of its files. Raises
    SubmissionRefused.

    The `files` of the answer are those that a model is loaded from, the others are to be left where they are; names
    that can only be meant ill are refused.
    """
    for name in files:
        if name.startswith("/") or {"..", "."} & set(name.split("/")) or not name.isprintable() or "\\" in name:
            raise SubmissionRefused("unsafe-files", "is no name for a file", file=name)
    read_here = {name: size for name, size in files.items() if name.endswith(_READ) and _unfit(name) is None}
    if not any(name.endswith(".safetensors") for name in read_here):
        for name in sorted(files):
            if name.endswith(_WEIGHTS):
                what = "loading such weights may run code; convert them to safetensors"
                raise SubmissionRefused("unsafe-files", what, file=name)
    return _screen(read_here, read, limits or SizeLimits())


def check_libraries() -> None:
    """Raises SubmissionRefused where a library that would read a model is one with a known hole."""
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


def _unfit(name: str) -> str | None:
    """The reason why a file of that name is not let in, or None."""
    *folders, last = name.split("/")
    if len(folders) > 1 or not all(_FOLDER.fullmatch(part) for part in folders):
        return _ELSEWHERE
    if not _NAME.fullmatch(last) or ".." in last:
        return "is no plain name (ASCII letters, digits and ._-, at most 96)"
    if last in _PLAIN or Path(last).suffix in _MOST:
        return None
    return f"may hold code, and is never opened; of a model {', '.join(_MOST)} are taken"


def _screen(files: Mapping[str, int], read: Read, limits: SizeLimits) -> Screened:
    # names and sizes, before anything is read
    if len(files) > FILES:
        raise SubmissionRefused("too-large", f"it holds {len(files)} files, and {FILES} are taken")
    names: dict[str, str] = {}
    for name, size in files.items():
        twin = names.setdefault(name.casefold(), name)
        if twin != name:
            raise SubmissionRefused("unsafe-files", f"differs from {twin} in upper and lower case alone", file=name)
        most = _MOST.get(Path(name).suffix, 1 << 20)
        if size > most:
            raise SubmissionRefused("too-large", f"has {size} bytes, and {most} are taken", file=name)
    if "config.json" not in files:
        raise SubmissionRefused("missing-files", "config.json is missing: this is no model folder")
    shards = sorted(name for name in files if name.endswith(".safetensors"))
    if not shards:
        raise SubmissionRefused("missing-files", "there are no weights in safetensors")
    total = sum(files[name] for name in shards)
    if total > limits.weights:
        raise SubmissionRefused("too-large", f"its weights have {total} bytes, and {limits.weights} are taken")

    # a text is text and a vocabulary a vocabulary, whatever the name says
    for name in sorted(set(files) - set(shards)):
        start = read(name, 0, 4096)
        kind = Path(name).suffix or "text"
        magic = _MAGIC.match(start)
        if magic:
            raise SubmissionRefused("unsafe-files", f"begins with {magic[0][:8]!r}: it is no {kind}", file=name)
        if kind == ".model":
            fit = start[:1] == b"\n"  # the first field of a SentencePiece model
        elif kind == ".json":
            fit = start.lstrip()[:1] in (b"{", b"[") and b"\0" not in start
        else:
            fit = b"\0" not in start
        if files[name] and not fit:
            raise SubmissionRefused("unsafe-files", f"is no {kind} by its first bytes", file=name)

    # every JSON file but vocabularies
    for name in sorted(files):
        last = name.rpartition("/")[2]
        if not name.endswith(".json") or last in _UNREAD:
            continue
        if files[name] > _SETTINGS:
            what = f"has {files[name]} bytes, and {_SETTINGS} are read of settings"
            raise SubmissionRefused("too-large", what, file=name)
        value = parsed(read(name, 0, files[name]), name)
        if last.endswith(".index.json"):
            check_index(value, name, files)
        else:
            check_settings(value, name)
        if name == "config.json":
            check_config(value, name)
        elif name == "modules.json":
            check_modules(value, name)

    # weights, by their headers
    tensors = 0
    parameters = 0
    vocabulary = 0
    for name in shards:
        weights = weights_of(name, files[name], read)
        tensors += weights.tensors
        parameters += weights.parameters
        vocabulary = max(vocabulary, weights.vocabulary)
        if tensors > TENSORS:
            raise SubmissionRefused("too-large", f"it holds more than {TENSORS} tensors", file=name)
    if vocabulary > limits.vocabulary:
        what = f"its vocabulary has {vocabulary} rows, and {limits.vocabulary} are taken"
        raise SubmissionRefused("too-large", what)
    return Screened(files, parameters, vocabulary)
