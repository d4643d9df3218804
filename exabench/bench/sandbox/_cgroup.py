"""A control group for a jail, where this process may make one: the kernel itself then counts all of its memory.

Only version 2, where systemd or a container's runtime has handed over a group with the controllers of memory and of
processes. The files are those of the kernel's own documentation (admin-guide/cgroup-v2).
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from pathlib import Path

_ROOT = Path("/sys/fs/cgroup")


def make_group(memory: int, tasks: int) -> Path | None:
    """A new group of at most `memory` bytes and `tasks` threads; None where this process may make none.

    It is a sibling of this process's own group, or of one above: a group that holds processes can have no parts.
    """
    own = ""
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        if line.startswith("0::/"):
            own = line.removeprefix("0::/")
    here = _ROOT / own
    for above in (here, *here.parents):
        with contextlib.suppress(OSError):
            controllers = (above / "cgroup.subtree_control").read_text().split()
            if {"memory", "pids"} <= set(controllers) and os.access(above / "cgroup.procs", os.W_OK):
                group = Path(tempfile.mkdtemp(prefix="exabench-", dir=above))
                _limit(group, memory, tasks)
                return group
    return None


def _limit(group: Path, memory: int, tasks: int) -> None:
    (group / "memory.max").write_text(str(memory))
    (group / "memory.oom.group").write_text("1")
    (group / "pids.max").write_text(str(tasks))
    with contextlib.suppress(OSError):  # a kernel that does not count swap
        (group / "memory.swap.max").write_text("0")


def into_group(group: Path, command: list[str]) -> list[str]:
    """The command that runs another one in the group."""
    return ["/bin/sh", "-c", 'echo 0 > "$0"; exec "$@"', str(group / "cgroup.procs"), *command]


def ran_out_of_memory(group: Path) -> bool:
    """The kernel has killed a process of the group, for lack of memory."""
    events = (group / "memory.events").read_text().splitlines()
    return any(line.startswith("oom_kill ") and line != "oom_kill 0" for line in events)


def remove_group(group: Path) -> None:
    """Remove the group as soon as the last of its processes is gone; after a second it is left behind."""
    for _ in range(100):
        try:
            group.rmdir()
            return
        except OSError:
            time.sleep(0.01)
