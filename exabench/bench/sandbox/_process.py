"""A program in the jail: lines in, lines out, under limits of time, memory, processes and bytes."""

from __future__ import annotations

import contextlib
import os
import re
import select
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from exabench.bench.sandbox._jail import JailLimits, jail_command
from exabench.bench.sandbox._seccomp import seccomp_filter
from exabench.core.errors import printable
from exabench.models.screening import SubmissionRefused

TICK = 0.05  # seconds between two looks at memory and processes
_CHUNK = 1 << 16
_TAIL = 4_000  # bytes of what it says on stderr that are kept
_SIGNALS = {128 + 24: "time-limit", 128 + 25: "crashed"}  # SIGXCPU; SIGXFSZ


class Jailed:
    """A running program. Every way out of here (an answer too late or too long, its end) kills it and all its kin.

    It dies with the thread that began it, so that nothing outlives whoever asked.
    """

    def __init__(
        self, program: Sequence[str], model: str | Path | None = None, limits: JailLimits | None = None
    ) -> None:
        self.limits = limits or JailLimits()
        self._refused: SubmissionRefused | None = None
        self._line = bytearray()
        self._unsent = bytearray()
        self._said = bytearray()
        self._started = time.monotonic()
        self._stopped = threading.Event()
        with _filter() as seccomp, _pipe() as (info_read, info):
            self._process = subprocess.Popen(
                jail_command(program, model, self.limits, seccomp=seccomp, info=info),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                env={},  # the jail's first process is bubblewrap itself, and what it was given can be read there
                pass_fds=[descriptor for descriptor in (seccomp, info) if descriptor is not None],
            )
            os.close(info)
            self._first = _first_process(info_read)
        assert self._process.stdin and self._process.stdout and self._process.stderr
        self._in = self._process.stdin.fileno()
        self._out = self._process.stdout.fileno()
        self._err = self._process.stderr.fileno()
        for pipe in (self._in, self._out, self._err):
            os.set_blocking(pipe, False)
        self._readable = [self._out, self._err]
        self._watch = threading.Thread(target=self._watched, daemon=True)
        self._watch.start()

    @property
    def said(self) -> str:
        """The end of what the program said on stderr."""
        return self._said.decode("utf-8", "replace")

    def send(self, data: bytes) -> None:
        """Have this sent, when next an answer is waited for."""
        self._unsent += data

    def exchange(self, seconds: Callable[[], float], feed: Callable[[], bytes] = lambda: b"") -> bytes:
        """Its next line, within `seconds` (asked again and again); meanwhile it is sent what `feed` gives.

        Raises SubmissionRefused where none comes, and again at every later call: nothing that comes late is ever read.
        """
        asked = time.monotonic()
        while True:
            if self._refused:
                raise self.stop(self._refused)
            line, newline, rest = self._line.partition(b"\n")
            if newline:
                self._line = rest
                return bytes(line)
            if len(self._line) > self.limits.answer:
                raise self.stop(SubmissionRefused("crashed", f"an answer has more than {self.limits.answer} bytes"))
            given = seconds()
            if time.monotonic() - asked > given:
                raise self.stop(SubmissionRefused("time-limit", f"the model gave no answer in {given:g} seconds"))
            if len(self._unsent) < _CHUNK:
                self._unsent += feed()
            self._turn()

    def stop(self, refused: SubmissionRefused) -> SubmissionRefused:
        """Kill it and all its kin; `refused`, or what was found before that, is what every later call raises."""
        self._refused = self._refused or refused
        self.close()
        return self._refused

    def close(self) -> None:
        """Kill it and all its kin, and wait until the jail is gone."""
        self._refused = self._refused or SubmissionRefused("crashed", "the jail was closed")
        self._stopped.set()
        self._watch.join()
        self._kill()
        self._process.wait()
        if self._first is not None:
            os.close(self._first)
            self._first = None
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            assert pipe is not None
            pipe.close()

    # -- pipes -------------------------------------------------------------------------------------------------------

    def _turn(self) -> None:
        """Wait for a pipe, a moment at most, and move what can be moved."""
        poll = select.poll()
        for pipe in self._readable:
            poll.register(pipe, select.POLLIN)
        if self._unsent:
            poll.register(self._in, select.POLLOUT)
        for pipe, _ in poll.poll(1000 * TICK):
            if pipe == self._in:
                self._write()
                continue
            data = self._read(pipe)
            if data is None:
                self._readable.remove(pipe)
                if pipe == self._out:
                    self._ended()
            elif pipe == self._out:
                self._line += data
            else:
                self._said = (self._said + data)[-_TAIL:]

    def _write(self) -> None:
        try:
            del self._unsent[: os.write(self._in, self._unsent[:_CHUNK])]
        except BlockingIOError:
            pass
        except BrokenPipeError:  # it reads no more; what it still has to say is read to its end
            self._unsent.clear()

    @staticmethod
    def _read(pipe: int) -> bytes | None:
        """What is there to read; None at the end."""
        try:
            return os.read(pipe, _CHUNK) or None
        except BlockingIOError:
            return b""

    def _ended(self) -> None:
        """Its output has ended: say why."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(1.0)
        code = self._process.returncode
        why = f"the model's process ended ({code})"
        lines = self.said.strip().splitlines()
        if lines:
            why += f": {printable(lines[-1], 200)}"
        raise self.stop(SubmissionRefused(_SIGNALS.get(code, "crashed"), why))

    # -- the watch ---------------------------------------------------------------------------------------------------

    def _watched(self) -> None:
        """Until it is stopped: kill it when it has too many processes, too much memory or too much time."""
        limits = self.limits
        while not self._stopped.wait(TICK):
            kin = descendants(self._process.pid)
            if time.monotonic() - self._started > limits.seconds:
                self._refused = SubmissionRefused("time-limit", f"the model took more than {limits.seconds:g} seconds")
            elif len(kin) > limits.processes:
                self._refused = SubmissionRefused(
                    "crashed", f"the model started more than {limits.processes} processes"
                )
            elif sum(map(_memory, kin)) > limits.memory:
                self._refused = SubmissionRefused("out-of-memory", f"the model took more than {limits.memory} bytes")
            else:
                continue
            self._kill()
            return

    def _kill(self) -> None:
        """The first process of a namespace takes all others with it, whatever they did to bubblewrap."""
        if self._first is not None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._first, signal.SIGKILL)
        self._process.kill()


def descendants(pid: int) -> list[int]:
    """The processes that a process began, and theirs; those whose parent died belong to the jail's first process."""
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError):
                stat = Path("/proc", name, "stat").read_bytes()
                parent = int(stat[stat.rindex(b")") + 1 :].split()[1])
                children.setdefault(parent, []).append(int(name))
    found = [pid]
    for parent in found:  # grows as it is walked
        found += children.get(parent, [])
    return found[1:]


def _memory(pid: int) -> int:
    """Bytes that a process holds and no file backs."""
    total = 0
    with contextlib.suppress(OSError):
        for line in Path("/proc", str(pid), "status").read_bytes().splitlines():
            if line.startswith((b"RssAnon:", b"RssShmem:")):
                total += int(line.split()[1]) << 10
    return total


@contextlib.contextmanager
def _pipe() -> Iterator[tuple[int, int]]:
    """A pipe; its end for writing is to be closed by whoever gives it away."""
    read, write = os.pipe()
    try:
        yield read, write
    finally:
        os.close(read)


def _first_process(info: int) -> int | None:
    """The jail's first process, held by a descriptor, as bubblewrap tells it; None where it did not get that far."""
    text = b""
    while piece := os.read(info, 4096):
        text += piece
    found = re.search(rb'"child-pid": (\d+)', text)
    if found is None:
        return None
    try:
        return os.pidfd_open(int(found[1]))
    except ProcessLookupError:
        return None


@contextlib.contextmanager
def _filter() -> Iterator[int | None]:
    """A descriptor from which the filter of system calls can be read once; None where there is no filter."""
    program = seccomp_filter()
    if not program:
        yield None
        return
    with _pipe() as (read, write):
        os.write(write, program)
        os.close(write)
        yield read
