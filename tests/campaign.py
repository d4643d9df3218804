"""One fault in one command, then the command again: what is lost, paid twice, or cannot go on?"""

from __future__ import annotations

import errno
import os
import random
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from system_calls import KILL, NEW_NAMES, RENAMES, SYNCS, WRITES, Change, Outcome, print_to, watched
from writing_commands import Command, Inputs

MAY_BE_FULL = (*WRITES, *NEW_NAMES, *RENAMES, *SYNCS)
_SAYS_FULL = re.compile(r"the disk is full: free some space and run again|is the disk full")
_WHOLE = re.compile(r"already exists|exists already|exists; name a new folder|is not empty, and a folder")


@dataclass
class Tally:
    """How many faults of each kind a command met, and what came of them; `notes` describe each that went wrong."""

    command: str
    kills: int = 0
    full_disks: int = 0
    real_kills: int = 0
    real_disks: int = 0
    caches: int = 0
    lost: int = 0
    doubled: int = 0
    stuck: int = 0
    untold: int = 0
    most_in_flight: int = 0
    notes: list[str] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        """Was nothing lost, paid twice or stuck, and every full disk told?"""
        return not self.notes

    def line(self) -> str:
        """The counts as a row of a table."""
        values = (self.kills, self.full_disks, self.real_kills, self.real_disks, self.caches)
        values += (self.lost, self.doubled, self.stuck, self.untold)
        return f"{self.command:32}" + "".join(f"{value:7}" for value in values)


HEADER = f"{'command':32}" + "".join(
    f"{name:>7}" for name in "kills full KILLs disks caches lost double stuck untold".split()
)


class Campaign:
    """The faults of one command."""

    def __init__(self, inputs: Inputs, command: Command) -> None:
        self.inputs = inputs
        self.command = command
        self.tally = Tally(command.name)
        inputs.reset(command)
        began = time.monotonic()
        first = self._run(lambda change: 0)
        self.seconds = time.monotonic() - began
        assert first.code == 0, first.said
        self.changes = first.changes
        self.whole = inputs.outcome()
        self.paid = set(inputs.paid)

    def _run(self, decide: Callable[[Change], int]) -> Outcome:
        return watched(self.inputs.act(self.command), self.inputs.scene, decide, self.inputs.said)

    def kill(self, number: int) -> None:
        """End all its processes before the `number`-th change (from 1)."""
        self.inputs.reset(self.command)
        seen = 0

        def decide(change: Change) -> int:
            nonlocal seen
            seen += 1
            return KILL if seen == number else 0

        self._run(decide)
        self.tally.kills += 1
        change = self.changes[number - 1] if number <= len(self.changes) else None
        self._go_on(f"killed at {number}, {change}")

    def kill_for_real(self, rng: random.Random) -> None:
        """SIGKILL at any moment of its time, with nobody watching."""
        self.inputs.reset(self.command)
        after = rng.uniform(0, self.seconds)
        child = os.fork()
        if child == 0:
            os.setsid()
            code = 1
            try:
                print_to(self.inputs.said)
                code = self.inputs.act(self.command)()
            finally:
                os._exit(code)
        time.sleep(after)
        try:
            os.killpg(child, signal.SIGKILL)
        except ProcessLookupError:
            os.kill(child, signal.SIGKILL)  # it has not come to setsid yet
        os.waitpid(child, 0)
        self.tally.real_kills += 1
        self._go_on(f"SIGKILL after {after:.3f} s")

    def full_disk(self, number: int) -> bool:
        """From the `number`-th call on that needs space there is none; False if it has fewer such calls."""
        self.inputs.reset(self.command)
        seen = 0
        failed: list[Change] = []

        def decide(change: Change) -> int:
            nonlocal seen
            if not _may_be_full(change):
                return 0
            seen += 1
            # A name or a sync that fails once for want of space; then there is none for anything that is written.
            if seen == number or (seen > number and change.name in (*WRITES, *NEW_NAMES)):
                failed.append(change)
                return errno.ENOSPC
            return 0

        first = self._run(decide)
        if not failed:
            return False
        self.tally.full_disks += 1
        self._check_told(first, failed, f"full at {number}, {failed[0]}")
        self._go_on(f"full at {number}, {failed[0]}")
        return True

    def _check_told(self, first: Outcome, failed: list[Change], when: str) -> None:
        """One line that names what failed, and exit code 2; or all is well."""
        if first.code == 0 and self._same(self.inputs.outcome()):
            return
        lines = [line for line in first.said.splitlines() if line.startswith("exabench: ")]
        told = len(lines) == 1 and first.code == 2 and "Traceback" not in first.said
        if not told or not any(self._names(lines[0], one.path) for one in failed) or not _SAYS_FULL.search(lines[0]):
            self.tally.untold += 1
            self.tally.notes.append(f"{when}: rc {first.code}: {first.said[-700:]}")

    def _names(self, line: str, path: str) -> bool:
        """Does the line name that file, the one that it was to become, or a folder that is written as a whole?"""
        named = line.removeprefix("exabench: ").partition(": ")[0]
        scene = str(self.inputs.scene)
        named = os.path.normpath(os.path.join(scene, "work", named))
        if path.startswith(f"{scene}/tmp"):
            return path.startswith(named) or named.startswith(f"{scene}/tmp")
        file = re.sub(r"/\.([^/]*?)\.[0-9a-f]{16}\.unfinished$", r"/\1", path)  # in the folder where it is written
        final = re.sub(r"/\.([^/]*?)\.(unfinished|staging)(?=/|$)", r"/\1", file)
        final = re.sub(r"(\.db|\.sqlite)-(wal|shm|journal)$", r"\1", final)
        board = re.sub(r"/\.([^/]*?)\.taken(?=/)", r"/\1", final)  # for which a queue took it
        if named.startswith((f"{path}/", f"{final}/")):  # a folder for it, or the one that its name is written into
            return True
        if file != path and named.startswith(file):  # a name that was too long for two suffixes is cut
            return True
        inside = any(f"{one}/".startswith(f"{named}/") for one in (path, file, final, board))
        return inside and named not in (scene, f"{scene}/work")

    def small_disk(self, size: int) -> bool:
        """On a real disk with so many bytes to spare; True if that was enough, and False where none can be mounted."""
        self.inputs.reset(self.command, keep=True)
        used = self._used()
        with _disk(self.inputs.scene, used + size) as resize:
            self.inputs.fill(self.command)
            first = self._run(lambda change: 0)
            if first.code == 0:
                return True
            self.tally.real_disks += 1
            lines = [line for line in first.said.splitlines() if line.startswith("exabench: ")]
            if len(lines) != 1 or first.code != 2 or "Traceback" in first.said or "full" not in lines[0]:
                self.tally.untold += 1
                self.tally.notes.append(f"disk of {size} bytes more: rc {first.code}: {first.said[-700:]}")
            resize(1 << 30)
            self._go_on(f"disk of {size} bytes more")
        return False

    def _used(self) -> int:
        files = (self.inputs.starts / self.command.start).rglob("*")
        return 65536 + sum(4096 + (file.stat().st_size + 4095) // 4096 * 4096 for file in files)

    def bad_cache(self, kind: str, number: int = 1) -> None:
        """With a cache folder that is "full" (from a call on) or "read-only", the command ends as ever."""
        self.inputs.reset(self.command)
        cache = str(self.inputs.scene / "cache")
        seen = 0

        def decide(change: Change) -> int:
            nonlocal seen
            if not change.path.startswith(cache):
                return 0
            if kind == "read-only":
                return errno.EROFS
            seen += _may_be_full(change)
            return errno.ENOSPC if _may_be_full(change) and seen >= number else 0

        done = self._run(decide)
        self.tally.caches += 1
        self._check_ended(done, f"cache {kind} at {number}")

    def damaged_cache(self, rng: random.Random) -> None:
        """With every file of its cache damaged, the command ends as ever."""
        self.inputs.reset(self.command)
        self._run(lambda change: 0)
        self.inputs.reset(self.command, keep_cache=True)
        for file in sorted((self.inputs.scene / "cache").rglob("*")):
            if not file.is_file() or file.suffix == ".arrow":  # the rows of datasets, which has no digest of them
                continue
            data = bytearray(file.read_bytes())
            for _ in range(1 + len(data) // 200):
                if data:
                    data[rng.randrange(len(data))] ^= 255
            file.write_bytes(data[: rng.randint(0, len(data))])
        done = self._run(lambda change: 0)
        self.tally.caches += 1
        self._check_ended(done, "cache damaged")

    def _check_ended(self, done: Outcome, when: str) -> None:
        if done.code != 0:
            self.tally.stuck += 1
            self.tally.notes.append(f"{when}: rc {done.code}: {done.said[-700:]}")
        elif not self._same(self.inputs.outcome()):
            self.tally.lost += 1
            self.tally.notes.append(f"{when}: {self._differences()}")

    def _go_on(self, when: str) -> None:
        """The same command again: it ends as an undisturbed one does, and pays no prompt twice but those in flight."""
        stored = self.inputs.stored_prompts()
        again = self._run(lambda change: 0)
        found = self.inputs.outcome()
        done_before = again.code == 2 and bool(_WHOLE.search(again.said)) and self._same(found)
        if again.code != 0 and not done_before:
            self.tally.stuck += 1
            self.tally.notes.append(f"{when}: again rc {again.code}: {again.said[-700:]}")
        elif not self._same(found):
            self.tally.lost += 1
            self.tally.notes.append(f"{when}: {self._differences()}")
        twice = {turns for turns, times in self.inputs.paid.items() if times > 1}
        if stored & twice or set(self.inputs.paid) != self.paid:
            self.tally.doubled += 1
            self.tally.notes.append(f"{when}: {len(stored & twice)} stored prompts were paid again")
        self.tally.most_in_flight = max(self.tally.most_in_flight, len(twice))

    def _same(self, found: dict[str, Any]) -> bool:
        return found == self.whole

    def _differences(self) -> str:
        found = self.inputs.outcome()
        names = sorted(found.keys() | self.whole.keys())
        told = []
        for name in names:
            if found.get(name) != self.whole.get(name):
                told.append(f"{name}: {_apart(found.get(name), self.whole.get(name))}")
        return "; ".join(told)[:1500]


def _apart(found: Any, whole: Any) -> str:
    """The first place where two contents differ."""
    if isinstance(found, dict) and isinstance(whole, dict):
        for key in found.keys() | whole.keys():
            if found.get(key) != whole.get(key):
                return f"{key}: {_apart(found.get(key), whole.get(key))}"
    one, other = str(found), str(whole)
    place = max(0, len(os.path.commonprefix([one, other])) - 40)
    return f"{one[place : place + 120]} is not {other[place : place + 120]}"


def _may_be_full(change: Change) -> bool:
    """Can this call fail for want of space? Not one that makes what is there."""
    if change.name in NEW_NAMES:
        return not os.path.lexists(change.path)
    return change.name in MAY_BE_FULL


@contextmanager
def _disk(place: Path, size: int) -> Iterator[Callable[[int], None]]:
    """A small disk at that folder, and what changes its size."""

    def resize(size: int) -> None:
        subprocess.run(["mount", "-o", f"remount,size={size}", str(place)], check=True)

    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place)], check=True)
    try:
        yield resize
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def can_mount(place: Path) -> bool:
    """May this process mount a disk?"""
    place.mkdir(exist_ok=True)
    try:
        with _disk(place, 1 << 20):
            return True
    except (subprocess.CalledProcessError, FileNotFoundError):
        return False
