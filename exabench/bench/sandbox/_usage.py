"""What a jail uses, as its own /proc and its own file systems tell it: however much else runs on this machine."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

_WRITABLE = ("tmp", "dev/shm")  # where a jailed program may write: a tmpfs each
# What no file backs: pages in memory, shared ones and swapped ones, and the tables that find them.
_MEMORY = (b"RssAnon:", b"RssShmem:", b"VmSwap:", b"VmPTE:")
_INODE = 2 << 10  # bytes: the most that the kernel keeps of a file in a tmpfs, with a long name or the path of a link


@dataclass(frozen=True)
class JailUsage:
    """How many processes and threads there are, and the bytes of memory that they and their files take."""

    processes: int = 0
    threads: int = 0
    memory: int = 0


def open_root(first: int) -> int | None:
    """A descriptor of a jail's root folder; None before its `first` process, bubblewrap's, has begun a program there.

    Raises PermissionError for a program that this process may not look at.
    """
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has ended
                stat = Path("/proc", name, "stat").read_bytes()
                parent = int(stat[stat.rindex(b")") + 1 :].split()[1])
                if parent == first:
                    return os.open(f"/proc/{name}/root", os.O_PATH | os.O_DIRECTORY)
    return None


def jail_usage(root: int) -> JailUsage:
    """What is used in the jail with this root folder (a descriptor)."""
    place = Path(f"/proc/self/fd/{root}")
    processes = 0
    threads = 0
    memory = 0
    with contextlib.suppress(OSError):  # all have ended
        for name in os.listdir(place / "proc"):
            if name.isdigit():
                processes += 1
                with contextlib.suppress(OSError):
                    for line in (place / "proc" / name / "status").read_bytes().splitlines():
                        if line.startswith(_MEMORY):
                            memory += int(line.split()[1]) << 10
                        elif line.startswith(b"Threads:"):
                            threads += int(line.split()[1])
        for folder in _WRITABLE:
            used = os.statvfs(place / folder)
            memory += (used.f_blocks - used.f_bfree) * used.f_frsize
            memory += (used.f_files - used.f_ffree) * _INODE
    return JailUsage(processes, threads, memory)
