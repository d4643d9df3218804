"""Reading and writing files: whole or not at all, digests, and one writer to a folder."""

from __future__ import annotations

import codecs
import contextlib
import datetime
import errno
import fcntl
import functools
import glob
import gzip
import hashlib
import io
import json
import math
import os
import re
import shutil
import socket
import stat
import sys
import tempfile
import time
import tomllib
from array import array
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TextIO

from exabench.core.errors import BadInput, CannotWrite
from exabench.core.unpacking import BROKEN, TooLarge, packing_of, unpack

PACKAGE = Path(__file__).parents[1]
"""The installed package: what comes with it is read from here."""


@dataclass(frozen=True)
class Bound:
    """The most bytes, unpacked, and the most lines of a file that is read as a whole.

    2 GB are six times a run of MS MARCO's 6,980 x 1,000 lines. 50 million lines are seven times that run's: a line of
    an empty word costs more memory than its byte.
    """

    bytes: int = 1 << 31
    lines: int = 50_000_000


USUAL_BOUND = Bound()
"""Of runs, judgements and all else that is read whole."""
JSON_BOUND = Bound(1 << 26)
"""Of JSON that is one value, which takes many times its bytes in memory: a result of 10,000 queries has 5 MB."""
TOML_BOUND = Bound(1 << 16)
"""Of TOML, which people write, and which takes time that grows with the square of its size."""

LONGEST_LINE = 1 << 26
"""Bytes of a line of a file that is read line by line: 64 MB, more than any book."""

DISK_IS_FULL = "the disk is full: free some space and run again"

_MOST_VALUES = 10_000_000  # of a file of JSON: an empty list has two bytes there, and 64 in memory
_UNFINISHED = ".unfinished"


def read_bytes(path: str | Path, bound: Bound = USUAL_BOUND) -> bytes:
    """The content of a file, or of standard input for "-"; a packed one, known by its first bytes, is unpacked.

    gzip, bzip2, xz, Zstandard, LZ4 and zip archives of one file. Raises BadInput, also for more than `bound`, before it
    fills the memory.
    """
    with _content(path, bound) as (content, packing):
        if packing:
            return read_within_bounds(content, bound)
        # Of that size: without one, a buffered file is read piece by piece and put together, eight times as slowly.
        size = content.seek(0, os.SEEK_END)
        content.seek(0)
        data = content.read(size)
        if len(data) > bound.lines and data.count(b"\n") > bound.lines:  # no file has more lines than bytes
            raise TooLarge("has more lines")
        return data


def read_within_bounds(stream: IO[bytes], bound: Bound = USUAL_BOUND) -> bytes:
    """All that a stream holds. Raises TooLarge as soon as it is more than `bound`."""
    whole = io.BytesIO()
    count = 0
    while piece := stream.read(1 << 20):
        count += piece.count(b"\n")
        whole.write(piece)
        if count > bound.lines:
            raise TooLarge("has more lines")
        if whole.tell() > bound.bytes:
            raise TooLarge("has more bytes")
    return whole.getvalue()  # CPython hands out the buffer itself: nothing is copied


@contextlib.contextmanager
def _content(path: str | Path, bound: Bound | None) -> Iterator[tuple[IO[bytes], str]]:
    """A file's content, unpacked, and the name of its packing; what goes wrong in reading it is one BadInput line.

    Without a bound the file is read line by line, whatever its size.
    """
    largest = bound.bytes if bound else math.inf
    packing = ""
    with contextlib.ExitStack() as opened:
        opened.enter_context(_reading(path))
        try:
            if str(path) == "-":
                raw: IO[bytes] = io.BytesIO(_standard_input(sys.stdin))
            else:
                raw = opened.enter_context(_open(path))
            size = raw.seek(0, os.SEEK_END)
            if size > largest:
                raise TooLarge(f"has {size:,} bytes")
            raw.seek(0)
            packing = packing_of(raw.read(16))
            raw.seek(0)
            yield unpack(raw, size, largest), packing
        except TooLarge as error:
            allowed = bound or USUAL_BOUND
            most = f"{allowed.bytes:,} bytes"
            if allowed.lines < allowed.bytes:
                most += f" and {allowed.lines:,} lines"
            raise BadInput(f"{error}; files of up to {most} are read", file=path) from error
        except BROKEN as error:
            if not packing:
                raise
            raise BadInput(f"is not a complete {packing} file ({error})", file=path) from error


def _open(path: str | Path) -> io.BufferedReader:
    """A file to read. Raises BadInput for a pipe or a device, which may give nothing, or bytes without end."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a pipe would wait for who writes into it
    raw = open(descriptor, "rb")  # noqa: SIM115 - handed out
    kind = os.fstat(descriptor).st_mode
    if stat.S_ISREG(kind):
        return raw
    raw.close()
    if stat.S_ISDIR(kind):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    raise BadInput("is a pipe or a device, not a file; pipe it into the command and name it -", file=path)


def check_file(path: str | Path) -> None:
    """Raise BadInput for a pipe, a device or what cannot be read: before a library opens `path` by itself."""
    with _reading(path):
        _open(path).close()


@contextlib.contextmanager
def _reading(path: str | Path) -> Iterator[None]:
    """Turn the system's complaint about reading `path` into one BadInput line."""
    try:
        yield
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise BadInput(f"cannot be read ({getattr(error, 'strerror', None) or error})", file=path) from error


def check_standard_input(*inputs: Any) -> None:
    """Raise BadInput where "-" stands for more than one of the `inputs` of a call: it can be read only once."""
    if sum(isinstance(one, str | Path) and str(one) == "-" for one in inputs) > 1:
        raise BadInput("- is standard input and can be used for one file only; give the others by path")


@functools.lru_cache(maxsize=1)
def _standard_input(stream: TextIO) -> bytes:
    """All that standard input holds. It can be read only once, so it is kept for whoever reads it again."""
    return read_within_bounds(stream.buffer)


def read_text(path: str | Path, bound: Bound = USUAL_BOUND) -> str:
    """The text of a UTF-8 file, packed or plain, without a byte-order mark. Raises BadInput with the line."""
    return text_of(read_bytes(path, bound), path)


def text_of(data: bytes, path: str | Path) -> str:
    """The UTF-8 text of what was read from `path`, without a byte-order mark. Raises BadInput with the line."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        refuse_utf_16(data, path)
        line = data.count(b"\n", 0, error.start) + 1
        raise BadInput("is not UTF-8 text", file=path, line=line) from error


def refuse_utf_16(data: bytes, path: str | Path) -> None:
    """Raises BadInput for what PowerShell's > writes: each of its lines would be wrong in another way."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise BadInput("is UTF-16 text: save it as UTF-8", file=path)


def lines(path: str | Path) -> Iterator[tuple[int, str]]:
    """The lines of a UTF-8 file, packed or plain, with their numbers from 1; one at a time, whatever the file's size.

    Raises BadInput with the line, also for one of more than LONGEST_LINE bytes.
    """
    number = 0
    encoding = "utf-8-sig"  # a byte-order mark stands before the first line alone
    with _content(path, None) as (content, _):
        while line := content.readline(LONGEST_LINE + 1):
            number += 1
            if len(line) > LONGEST_LINE:
                raise BadInput(f"is longer than {LONGEST_LINE:,} bytes", file=path, line=number)
            try:
                text = line.decode(encoding)
            except UnicodeDecodeError as error:
                raise BadInput("is not UTF-8 text", file=path, line=number) from error
            yield number, text.rstrip("\r\n")
            encoding = "utf-8"


def read_json(path: str | Path) -> Any:
    """A JSON file as Python values; NaN and infinity are refused. Raises BadInput."""
    try:
        text = read_text(path, JSON_BOUND)
        if text.count(",") > _MOST_VALUES:
            raise BadInput(f"has more than {_MOST_VALUES:,} values", file=path)
        return from_json(text)
    except json.JSONDecodeError as error:
        raise BadInput(f"is not JSON ({error.msg})", file=path, line=error.lineno) from error
    except (ValueError, RecursionError) as error:
        raise BadInput(f"is not JSON ({error})", file=path) from error


_MAY_OVERFLOW = re.compile(r"[eE]\+?\d{3}|\d{200}")


def from_json(text: str) -> Any:
    """JSON text as Python values. Raises ValueError also for NaN, infinity and halves of surrogate pairs."""
    careful = _finite if _MAY_OVERFLOW.search(text) else None  # a call of ours for each number is half the time
    value = json.loads(text, parse_constant=_finite, parse_float=careful)
    if "\\ud" in text or "\\uD" in text:
        json.dumps(value, ensure_ascii=False).encode()  # a half cannot be encoded, so it could never be written
    return value


def _finite(text: str) -> float:
    """A number that JSON can hold: not NaN or Infinity, and not 1e999, which Python reads as infinity."""
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is not a JSON number")
    return value


_MOST_PARTS = 50  # of a dotted key; the longest of exabench have five
_LONG_KEY = re.compile(
    # Begins only where a part can, and gives no character back, so that it takes time that grows with the text alone.
    rf"""(?<![\w"'.-])(?:(?:[A-Za-z0-9_-]++|"[^"\n]*+"|'[^'\n]*+')[ \t]*+\.[ \t]*+){{{_MOST_PARTS}}}"""
)


def from_toml(text: str) -> dict[str, Any]:
    """TOML text as a dict. Raises ValueError, also for a dotted key without end, or RecursionError."""
    if _LONG_KEY.search(text):  # the time that a dotted key takes to read grows with the square of its parts
        raise ValueError(f"a dotted key has more than {_MOST_PARTS} parts")
    return tomllib.loads(text)


def read_toml(path: str | Path) -> dict[str, Any]:
    """A TOML file as a dict. Raises BadInput."""
    try:
        return from_toml(read_text(path, TOML_BOUND))
    except (ValueError, RecursionError) as error:  # ValueError: also an integer of thousands of digits
        raise BadInput(f"is not TOML ({error})", file=path) from error


def relative_path(path: str | Path) -> str:
    """A path as a description records it: from the working folder on, for descriptions are published."""
    return Path(os.path.relpath(path)).as_posix()


def file_below(folder: str | Path | None, name: str | Path) -> Path:
    """The file of that name below `folder`, if it is there, else the path as it is."""
    below = Path(folder or "") / name
    return below if below.is_file() else Path(name)


def cache_folder(name: str) -> Path:
    """Where what can be made again is kept between runs: EXABENCH_CACHE, else the user's cache folder."""
    users = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("EXABENCH_CACHE") or Path(users) / "exabench") / name


# DEL and C1 controls, and what turns text around, hides in it or ends a line: JSON and TOML may hold it as it is.
_UNSEEN = re.compile(r"[\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff]")


def escape_unseen(text: str) -> str:
    """JSON or TOML with the characters that no one sees as escapes in its texts, which stay the same."""
    return _UNSEEN.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def json_text(value: object) -> str:
    """The one way exabench writes JSON for people: sorted keys, two spaces, a final newline; a path as its text."""
    text = json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False, default=os.fspath)
    return escape_unseen(text) + "\n"


def toml_text(value: object) -> str:
    """A text, number, truth value, list or table as TOML writes it (a table in one line)."""
    if isinstance(value, Mapping):
        pairs = [f"{toml_text(str(key))} = {toml_text(item)}" for key, item in value.items()]
        return "{ " + ", ".join(pairs) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(toml_text, value)) + "]"
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)  # inf, -inf and nan are numbers of TOML
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    # A basic string of TOML escapes what JSON does, and also DEL.
    return escape_unseen(json.dumps(value, ensure_ascii=False, allow_nan=False))


def toml_key(name: str) -> str:
    """A name as TOML writes it: bare where it can be, else quoted."""
    if re.fullmatch(r"[A-Za-z0-9_-]+", name):
        return name
    return toml_text(name)


def toml_lines(values: Iterable[tuple[str, object]]) -> str:
    """Names and values as TOML, a line for each: values are escaped, so that none goes over the end of its line."""
    return "".join(f"{toml_key(name)} = {toml_text(value)}\n" for name, value in values)


def flatten(table: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """Tables in tables as (dotted name, value), by name: `{"a": {"b": 1}}` is ("a.b", 1)."""
    for key, value in sorted(table.items()):
        if isinstance(value, Mapping):
            yield from flatten(value, f"{before}{key}.")
        else:
            yield f"{before}{key}", value


def flatten_to_text(table: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Tables in tables as lines of (dotted name, value), by name: texts as they are, all else as TOML writes it."""
    for name, value in flatten(table):
        if not isinstance(value, str):
            value = toml_text(value)
        yield name, value


def canonical_json(value: object) -> str:
    """The one JSON text of a value: sorted keys, no spaces, so that equal values are equal bytes."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def digest_of(value: bytes | str | object) -> str:
    """`sha256:...` of bytes, of text, or of anything JSON can hold (sorted keys, no spaces)."""
    if not isinstance(value, bytes | str):
        value = canonical_json(value)
    if isinstance(value, str):
        value = value.encode()
    return "sha256:" + hashlib.sha256(value).hexdigest()


def file_digest(path: str | Path) -> str:
    """`sha256:...` of a file's bytes, read piece by piece. Raises BadInput."""
    with _reading(path), _open(path) as stream:
        return "sha256:" + hashlib.file_digest(stream, "sha256").hexdigest()


def gzip_bytes(data: bytes) -> bytes:
    """`data` as gzip, the same bytes on every call: no name and no time in the header."""
    # Level 6, as the gzip command takes it: digests of packed files must stay what they were.
    return gzip.compress(data, compresslevel=6, mtime=0)


def write(path: str | Path, data: bytes | str) -> bool:
    """Put `data` at `path` whole or not at all (temp file, fsync, rename); False if it was there already.

    Raises CannotWrite on a full or read-only disk; what was at `path` before is then still there.
    """
    path = Path(path)
    if isinstance(data, str):
        data = data.encode()
    with writing(path):
        # The size first: most files that differ need not be read.
        if path.is_file() and path.stat().st_size == len(data) and path.read_bytes() == data:
            return False
    with replacing(path) as file:
        file.write(data)
    return True


@contextlib.contextmanager
def replacing(path: str | Path) -> Iterator[IO[bytes]]:
    """A file to write that is at `path` when the block ends well, and nowhere when it does not.

    Temp file, fsync, rename: what was at `path` before stays until the new file is whole. Temp files that killed
    writers left of it are removed. Raises CannotWrite.
    """
    path = Path(path)
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_dead_temporaries(path)
        with _temporary_file(path) as file:
            temporary = Path(file.name)
            try:
                yield file
                file.flush()
                os.fsync(file.fileno())
                os.replace(temporary, path)
            except BaseException:
                with contextlib.suppress(OSError):
                    temporary.unlink()
                raise


def _temporary_file(path: Path) -> IO[bytes]:
    """A new file next to `path`, with a lock that says that it is being written."""
    while True:
        # 64 letters of the name: a file name has room for 255 bytes, and more is added here.
        temporary = path.parent / f".{path.name[:64]}.{os.urandom(8).hex()}{_UNFINISHED}"
        file = open(temporary, "xb")  # noqa: SIM115 - its caller closes it
        fcntl.flock(file, fcntl.LOCK_EX)
        if temporary.exists():  # nobody took it for a dead one before it had its lock
            return file
        file.close()


def _remove_dead_temporaries(path: Path) -> None:
    """Remove the temporary files of `path` that no living process has locked."""
    drawn = "[0-9a-f]" * 16
    for temporary in path.parent.glob(f".{glob.escape(path.name[:64])}.{drawn}{_UNFINISHED}"):
        with contextlib.suppress(OSError), open(temporary, "rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            temporary.unlink()


@contextlib.contextmanager
def replacing_folder(path: str | Path) -> Iterator[Path]:
    """A fresh folder to fill that is at `path` when the block ends well, and nowhere when it does not.

    What was at `path` stays until the new folder is whole and on the disk. What a killed writer left is cleared
    first; where it was killed between the two renames, the folder from before comes back. One writer at a time: a
    caller that may meet another holds `only_writer`. Raises CannotWrite.
    """
    path = Path(path)
    unfinished = path.with_name(f".{path.name}{_UNFINISHED}")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        clear_leftovers(path)
        unfinished.mkdir()
        try:
            yield unfinished
            for folder, _, names in os.walk(unfinished):
                for name in names:
                    _sync(Path(folder, name))
                _sync(folder)  # its entries: a name is lost in a power cut where only the file is on the disk
            if path.exists():  # a folder cannot replace a full one in one step
                os.rename(path, _set_aside_path(path))
            os.rename(unfinished, path)
            _sync(path.parent)
        finally:
            clear_leftovers(path)


def _set_aside_path(path: Path) -> Path:
    """Where a folder waits while another takes its place."""
    return path.with_name(f".{path.name}.replaced")


def was_interrupted(path: Path) -> bool:
    """Was a writer killed after the old folder had left `path`: before the new one came, or before the old one went?"""
    return _set_aside_path(path).exists()


def clear_leftovers(path: Path) -> None:
    """Leave one folder at `path`: the new one, or the one from before where no new one took its place."""
    if was_interrupted(path) and not path.exists():
        os.rename(_set_aside_path(path), path)
    _remove(_set_aside_path(path))
    _remove(path.with_name(f".{path.name}{_UNFINISHED}"))


def _remove(path: Path) -> None:
    """Remove a file or a folder, or nothing."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def is_unfinished(path: Path) -> bool:
    """Is this a file or folder that a writer has not finished, or was killed before it had?"""
    return path.name.startswith(".") and path.name.endswith(_UNFINISHED)


def _sync(path: str | Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def check_can_hold(path: str | Path) -> None:
    """Raise CannotWrite where a file is in the place of a folder above `path`: told before the work, not after."""
    for folder in Path(path).parents:
        if folder.is_dir():
            return
        if folder.exists():
            raise CannotWrite(f"{path}: cannot be written ({folder} is a file, not a folder)")


@contextlib.contextmanager
def writing(path: str | Path) -> Iterator[None]:
    """Turn the system's complaint about writing at `path` into one CannotWrite line."""
    try:
        yield
    except Exception as error:
        # Libraries in Rust (safetensors, tokenizers) have errors of their own, whose text ends in "(os error 28)".
        if not isinstance(error, OSError) and "(os error " not in str(error):
            raise
        # A folder that is filled under another name is told by its own.
        told = re.sub(rf"(^|/)\.([^/]+){re.escape(_UNFINISHED)}(?=/)", r"\1\2", str(path))
        raise CannotWrite(f"{told}: cannot be written ({system_reason(error)})") from error


def system_reason(error: Exception) -> str:
    """What the system said, and what to do about a full disk."""
    if getattr(error, "errno", 0) in (errno.ENOSPC, errno.EDQUOT) or "No space left" in str(error):
        return DISK_IS_FULL
    return getattr(error, "strerror", None) or str(error)


_WORKERS_END = 3.0
"""Seconds in which the workers of a process that was killed have ended: they look every second (core/parallel)."""


@contextlib.contextmanager
def only_writer(folder: str | Path, *, sweep: bool = True) -> Iterator[None]:
    """Lock `folder` for this process; the kernel releases it however the process ends.

    Files and folders that a killed writer was in the middle of are removed, unless there is nothing to `sweep`. The
    lock file goes at the end, and so do the folders above `folder` in which nothing was written after all.
    Raises CannotWrite naming the holder's process and host when somebody else is writing there.
    """
    folder = Path(folder)
    if not folder.name:  # "." has one lock with the name that the folder has from outside
        folder = folder.resolve()
    lock = folder.parent / f".{folder.name}.lock"
    made = [parent for parent in lock.parents if not parent.exists()]
    last_try = time.monotonic() + _WORKERS_END
    # A lock of the kernel, not a file that exists or not: after kill -9 no one has to clear it away.
    with contextlib.ExitStack() as held:
        while True:
            with writing(lock):
                lock.parent.mkdir(parents=True, exist_ok=True)
                # Without a buffer, which would be written again, and on a full disk fail again, when it is closed.
                file = held.enter_context(open(lock, "a+b", buffering=0))
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                file.seek(0)  # "a+" opens it at its end
                holder = file.read().decode(errors="replace").strip() or "another process"
                if _was_killed(holder) and time.monotonic() < last_try:
                    time.sleep(0.1)  # its workers hold the lock too, until they see that it is gone
                    continue
                raise CannotWrite(f"{folder}: {holder} is writing here; wait until it finishes") from error
            # A holder that ended meanwhile took its file away: a lock on that one keeps no one out.
            if lock.exists() and os.path.samestat(os.fstat(file.fileno()), os.stat(lock)):
                break
        held.callback(_remove_lock, lock, made)
        with writing(lock):
            file.truncate(0)
            file.write(_holder(os.getpid()).encode())
        if sweep:  # whoever holds the folder knows that no one else is in the middle of these
            with writing(folder):
                for left in list(folder.rglob(f".*{_UNFINISHED}")):  # all found before any is removed
                    _remove(left)
        yield


def _holder(process: int) -> str:
    """What a lock file says of the process that holds it."""
    return f"process {process} on {socket.gethostname()}"


def _was_killed(holder: str) -> bool:
    """Is the process of this machine that a lock file names gone?"""
    process = re.search(r"\d{1,7}", holder)  # the largest number of a process has seven digits
    if process is None or holder != _holder(int(process[0])):
        return False
    try:
        os.kill(int(process[0]), 0)  # sends nothing
    except OSError as error:  # also that of a process of another account
        return isinstance(error, ProcessLookupError)
    return False


def _remove_lock(lock: Path, made: Iterable[Path]) -> None:
    """Remove the file of a lock, while it is held, and those of the folders `made` for it that are still empty."""
    with contextlib.suppress(OSError):
        lock.unlink()
        for folder in made:
            folder.rmdir()


class TemporaryRows:
    """Rows of bytes that wait in a temporary file, not in memory, and are read by number: 8 bytes of RAM for each."""

    def __init__(self) -> None:
        with writing(tempfile.gettempdir()):
            self._file = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the object
        self._ends = array("q", [0])  # where each row ends, after the 0 at which the first begins

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, number: int) -> bytes:
        start = self._ends[number]
        return os.pread(self._file.fileno(), self._ends[number + 1] - start, start)

    def extend(self, rows: Iterable[bytes]) -> None:
        """Append rows."""
        for row in rows:
            with writing(tempfile.gettempdir()):
                self._file.write(row)
            self._ends.append(self._ends[-1] + len(row))
        with writing(tempfile.gettempdir()):
            self._file.flush()
