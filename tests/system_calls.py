"""A forked child whose changes of files this process sees one by one, and may let pass, fail or end with a kill.

The kernel asks before each (seccomp's user notification), whoever calls: Python, SQLite, Arrow or a library in Rust, in
any thread or process of the child. Linux on x86_64 or aarch64, 5.9 or later.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import platform
import select
import signal
import socket
import struct
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

# Numbers on x86_64 and aarch64 (None: no such call there), and which arguments are (folder and) path, or an open file.
_CALLS: dict[str, tuple[int | None, int | None, str]] = {
    "write": (1, 64, "file 0"),
    "pwrite64": (18, 68, "file 0"),
    "writev": (20, 66, "file 0"),
    "pwritev": (296, 70, "file 0"),
    "pwritev2": (328, 287, "file 0"),
    "sendfile": (40, 71, "file 0"),
    "copy_file_range": (326, 285, "file 2"),
    "fallocate": (285, 47, "file 0"),
    "ftruncate": (77, 46, "file 0"),
    "fsync": (74, 82, "file 0"),
    "fdatasync": (75, 83, "file 0"),
    "truncate": (76, 45, "path 0"),
    "open": (2, None, "path 0"),
    "openat": (257, 56, "path 0 1"),
    "creat": (85, None, "path 0"),
    "mkdir": (83, None, "path 0"),
    "mkdirat": (258, 34, "path 0 1"),
    "rmdir": (84, None, "path 0"),
    "unlink": (87, None, "path 0"),
    "unlinkat": (263, 35, "path 0 1"),
    "rename": (82, None, "path 1"),
    "renameat": (264, 38, "path 2 3"),
    "renameat2": (316, 276, "path 2 3"),
    "link": (86, None, "path 1"),
    "linkat": (265, 37, "path 2 3"),
    "symlink": (88, None, "path 1"),
    "symlinkat": (266, 36, "path 1 2"),
    "sync": (162, 81, "all"),
    "sendto": (44, 206, "all"),
}
_MACHINES = {"x86_64": (0, 317), "aarch64": (1, 277)}  # the column above, and the number of seccomp itself
_MAKES_A_FILE = 0o100 | 0o20000000  # O_CREAT, O_TMPFILE
_HERE = -100  # AT_FDCWD

# Of linux/seccomp.h, linux/filter.h and linux/prctl.h.
_SET_FILTER, _NEW_LISTENER, _NO_NEW_PRIVILEGES = 1, 8, 38
_ASK, _ALLOW = 0x7FC00000, 0x7FFF0000
_LOAD, _IF_EQUAL, _IF_BITS, _RETURN = 0x20, 0x15, 0x45, 0x06
_RECEIVE, _ANSWER, _GO_ON = 0xC0502100, 0xC0182101, 1

WRITES = ("write", "pwrite64", "writev", "pwritev", "pwritev2", "sendfile", "copy_file_range", "fallocate")
SYNCS = ("fsync", "fdatasync", "sync")
NEW_NAMES = ("open", "openat", "creat", "mkdir", "mkdirat", "link", "linkat", "symlink", "symlinkat")
RENAMES = ("rename", "renameat", "renameat2")

KILL = -1
"""What a decision says instead of an error number: the child and all its processes end before the call."""


EVERYWHERE = "(everywhere)"


class Change(NamedTuple):
    """A call that changes the folder that is watched: its name, and the file or folder that it is about.

    Of a sync of all disks, and of what is sent to a server, that is EVERYWHERE.
    """

    name: str
    path: str


Decision = Callable[[Change], int]
"""0 lets a call pass; else it fails with this error number, or KILL."""


@dataclass
class Outcome:
    """How a child ended: its exit code (negative: by a signal), what it printed, and what it changed."""

    code: int
    said: str
    changes: list[Change]


def can_watch() -> bool:
    """Is this a machine whose kernel asks?"""
    try:
        return watched(lambda: os.mkdir("x"), Path("/nowhere"), lambda change: 0, Path(os.devnull)).code in (0, 1)
    except OSError:
        return False


def _filter() -> ctypes.Array[ctypes.c_char]:
    """The program that asks about the calls above; a file that is opened as it is makes nothing."""
    column, _ = _MACHINES[platform.machine()]
    lines = [(_LOAD, 0, 0, 0)]  # the number of the call
    for name, about in _CALLS.items():
        number = about[column]
        if number is None:
            continue
        if name in ("open", "openat"):
            flags = 16 + 8 * (1 if name == "open" else 2)  # the lower half of that argument
            lines += [(_IF_EQUAL, 0, 4, number), (_LOAD, 0, 0, flags), (_IF_BITS, 0, 1, _MAKES_A_FILE)]
            lines += [(_RETURN, 0, 0, _ASK), (_RETURN, 0, 0, _ALLOW)]
        else:
            lines += [(_IF_EQUAL, 0, 1, number), (_RETURN, 0, 0, _ASK)]
    lines.append((_RETURN, 0, 0, _ALLOW))
    code = b"".join(struct.pack("HBBI", *line) for line in lines)
    return ctypes.create_string_buffer(code, len(code))


def _listen() -> int:
    """From now on the kernel asks about this process's calls; returns the file that it asks at."""
    libc = ctypes.CDLL(None, use_errno=True)
    code = _filter()
    program = struct.pack("HxxxxxxP", len(code) // 8, ctypes.addressof(code))
    if libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")
    _, seccomp = _MACHINES[platform.machine()]
    listener = libc.syscall(seccomp, _SET_FILTER, _NEW_LISTENER, ctypes.create_string_buffer(program, len(program)))
    if listener < 0:
        raise OSError(ctypes.get_errno(), "seccomp")
    return int(listener)


def watched(act: Callable[[], Any], folder: Path, decide: Decision, said: Path, *, seconds: float = 120) -> Outcome:
    """Fork, `act`, and ask `decide` before each change below `folder`; what it prints goes to the file `said`.

    An `act` that returns a number ends with it. Raises OSError where the kernel cannot ask, and AssertionError for a
    child that takes longer than so many `seconds`.
    """
    if platform.machine() not in _MACHINES:
        raise OSError("unknown machine")
    ours, theirs = socket.socketpair()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.setsid()
            print_to(said)
            socket.send_fds(theirs, [b"x"], [_listen()])
            code = act() or 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    theirs.close()
    try:
        _, files, _, _ = socket.recv_fds(ours, 1, 1)
        if not files:
            raise OSError("the kernel does not ask")
        os.set_inheritable(files[0], False)
        changes = _answer_all(files[0], child, str(folder), decide, time.monotonic() + seconds)
        os.close(files[0])
    finally:
        ours.close()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)  # and whatever it began
        status = os.waitpid(child, 0)[1]
    text = said.read_text(errors="replace") if said.is_file() else ""
    return Outcome(os.waitstatus_to_exitcode(status), text, changes)


def print_to(said: Path) -> None:
    """Whatever this process prints goes to that file, line by line; there is nothing to be read."""
    output = open(said, "w", buffering=1, encoding="utf-8")  # noqa: SIM115 - it stays open
    with open(os.devnull, "rb") as nothing:
        for number, file in enumerate((nothing, output, output)):
            os.dup2(file.fileno(), number)
    sys.stdout = sys.stderr = output


def _answer_all(listener: int, child: int, folder: str, decide: Decision, end: float) -> list[Change]:
    """Answer the kernel until the child has ended; returns what it changed below the folder."""
    changes = []
    ended = os.pidfd_open(child)
    poll = select.poll()
    poll.register(listener, select.POLLIN)
    poll.register(ended, select.POLLIN)
    asked = bytearray(80)
    try:
        while True:
            ready = dict(poll.poll(1000))
            assert time.monotonic() < end, f"the child hangs; it changed {len(changes)} times"
            if not ready.get(listener, 0) & select.POLLIN:
                if ready:  # it has ended, or all that could ask have
                    return changes
                continue
            asked[:] = bytes(80)
            try:
                fcntl.ioctl(listener, _RECEIVE, asked, True)
            except OSError:  # whoever asked is gone
                continue
            id, thread, _, call, _, _ = struct.unpack_from("QIIiIQ", asked)
            arguments = struct.unpack_from("6Q", asked, 32)
            error = 0
            change = _change(thread, call, arguments)
            if change and change.path.startswith((folder, EVERYWHERE)):
                changes.append(change)
                error = decide(change)
                if error == KILL:
                    return changes
            go_on = _GO_ON if error == 0 else 0
            if change and change.name == "sync":
                go_on = (
                    0  # it is said to be done: a sync of all disks takes long, and no test sees that it was left out
                )
            try:
                fcntl.ioctl(listener, _ANSWER, struct.pack("QqiI", id, 0, -error, go_on))
            except OSError:
                continue
    finally:
        os.close(ended)


_NAMES: dict[int, str] = {}


def _change(thread: int, call: int, arguments: tuple[int, ...]) -> Change | None:
    """The call, and its file or folder; None for what makes no file, and for who is gone."""
    if not _NAMES:
        column, _ = _MACHINES[platform.machine()]
        _NAMES.update({number[column]: name for name, number in _CALLS.items() if number[column] is not None})
    name = _NAMES[call]
    kind, *places = _CALLS[name][2].split()
    numbers = [arguments[int(place)] for place in places]
    try:
        if kind == "all":
            return Change(name, EVERYWHERE)
        if kind == "file":
            return Change(name, os.readlink(f"/proc/{thread}/fd/{numbers[0] & 0xFFFFFFFF}"))
        path = _text_at(thread, numbers[-1])
        if path.startswith("/"):
            return Change(name, os.path.normpath(path))
        folder = ctypes.c_int(numbers[0] & 0xFFFFFFFF).value if len(numbers) == 2 else _HERE
        base = os.readlink(f"/proc/{thread}/cwd" if folder == _HERE else f"/proc/{thread}/fd/{folder}")
        return Change(name, os.path.normpath(f"{base}/{path}"))
    except OSError:
        return None


def _text_at(thread: int, address: int) -> str:
    """The text at an address of that process."""
    with open(f"/proc/{thread}/mem", "rb", buffering=0) as memory:
        found = b""
        while b"\0" not in found:
            memory.seek(address + len(found))
            found += memory.read(4096 - (address + len(found)) % 4096)  # no further than the page: the next may be none
    return os.fsdecode(found.partition(b"\0")[0])
