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
from collections.abc import Callable, Sequence
from pathlib import Path

from exabench.bench.sandbox._jail import LIMITS, JailLimits, jail_command
from exabench.bench.sandbox._seccomp import seccomp_filter
from exabench.core.errors import printable
from exabench.models.screening import SubmissionRefused

TICK = 0.05  # seconds between two looks at memory and processes
_CHUNK = 1 << 16  # bytes: what a pipe holds
_TAIL = 4_000  # bytes that are kept of the end of stderr
_EXIT_CODES = {128 + 24: "time-limit", 128 + 25: "crashed"}  # SIGXCPU; SIGXFSZ


class Jailed:
    """A running program. An answer too late or too long, or its end, kills it and every process that it began.

    It dies with the thread that began it, so that nothing outlives the caller.
    """

    def __init__(self, program: Sequence[str], model: Path | None = None, limits: JailLimits = LIMITS) -> None:
        self._limits = limits
        self._refused: SubmissionRefused | None = None
        self._received = bytearray()
        self._unsent = bytearray()
        self._stderr = bytearray()
        self._started = time.monotonic()
        self._stopped = threading.Event()
        seccomp = seccomp_filter()
        read, write = os.pipe()
        with open(os.memfd_create("seccomp"), "w+b") as file, open(read, "rb") as reader, open(write, "wb") as info:
            file.write(seccomp)
            file.seek(0)
            descriptor = file.fileno() if seccomp else None
            self._process = subprocess.Popen(
                jail_command(program, model, limits, seccomp=descriptor, info=info.fileno()),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                env={},  # the jail's first process is bubblewrap itself, and its environment can be read there
                pass_fds=[file.fileno(), info.fileno()],
            )
            info.close()  # else the pipe would not end with bubblewrap's own end of it
            first = re.search(rb'"child-pid": (\d+)', reader.read())
        self._first: int | None = None  # a descriptor of the jail's first process; None where bubblewrap failed
        if first:
            with contextlib.suppress(ProcessLookupError):
                self._first = os.pidfd_open(int(first[1]))
        assert self._process.stdin and self._process.stdout and self._process.stderr
        self._pipes = (self._process.stdin, self._process.stdout, self._process.stderr)
        for stream in self._pipes:
            os.set_blocking(stream.fileno(), False)
        self._in = self._process.stdin.fileno()
        self._out = self._process.stdout.fileno()
        self._err = self._process.stderr.fileno()
        self._readable = [self._out, self._err]
        self._watch = threading.Thread(target=self._watch_limits, daemon=True)
        self._watch.start()

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
            line, newline, rest = self._received.partition(b"\n")
            if newline:
                self._received = rest
                return bytes(line)
            if len(self._received) > self._limits.answer:
                raise self.stop(SubmissionRefused("crashed", f"an answer has more than {self._limits.answer} bytes"))
            given = seconds()
            if time.monotonic() - asked > given:
                raise self.stop(SubmissionRefused("time-limit", f"the model gave no answer in {given:g} seconds"))
            if len(self._unsent) < _CHUNK:
                self._unsent += feed()
            self._move_bytes()

    def stop(self, refused: SubmissionRefused) -> SubmissionRefused:
        """Kill it with all its processes; `refused`, or the refusal before it, is what every later call raises."""
        self._refused = self._refused or refused
        self.close()
        return self._refused

    def close(self) -> None:
        """Kill it with all its processes, and wait until the jail is gone."""
        self._refused = self._refused or SubmissionRefused("crashed", "the jail was closed")
        self._stopped.set()
        self._watch.join()
        self._kill()
        self._process.wait()
        if self._first is not None:
            os.close(self._first)
            self._first = None
        for stream in self._pipes:
            stream.close()

    def _move_bytes(self) -> None:
        """Wait for a pipe, TICK at most, and move the bytes that can be moved."""
        poll = select.poll()
        for pipe in self._readable:
            poll.register(pipe, select.POLLIN)
        if self._unsent:
            poll.register(self._in, select.POLLOUT)
        for pipe, _ in poll.poll(1000 * TICK):
            try:
                if pipe == self._in:
                    sent = os.write(pipe, self._unsent[:_CHUNK])
                    del self._unsent[:sent]
                    continue
                data = os.read(pipe, _CHUNK)
            except BlockingIOError:
                continue
            except BrokenPipeError:  # it reads no more, but its last lines are still read
                self._unsent.clear()
                continue
            if not data:
                self._readable.remove(pipe)
                if pipe == self._out:
                    self._refuse_ended()
            elif pipe == self._out:
                self._received += data
            else:
                self._stderr = (self._stderr + data)[-_TAIL:]

    def _refuse_ended(self) -> None:
        """Raise SubmissionRefused: its output has ended, with this exit code and this last line on stderr."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(1.0)
        code = self._process.returncode
        why = f"the model's process ended ({code})"
        lines = self._stderr.decode("utf-8", "replace").strip().splitlines()
        if lines:
            why += f": {printable(lines[-1], 200)}"
        raise self.stop(SubmissionRefused(_EXIT_CODES.get(code, "crashed"), why))

    def _watch_limits(self) -> None:
        """Until it is stopped: kill it when it has too many processes, too much memory or too much time."""
        limits = self._limits
        while not self._stopped.wait(TICK):
            processes = _descendants(self._process.pid)
            if time.monotonic() - self._started > limits.seconds:
                refused = SubmissionRefused("time-limit", f"the model took more than {limits.seconds:g} seconds")
            elif len(processes) > limits.processes:
                refused = SubmissionRefused("crashed", f"the model started more than {limits.processes} processes")
            elif sum(map(_memory, processes)) > limits.memory:
                refused = SubmissionRefused("out-of-memory", f"the model took more than {limits.memory} bytes")
            else:
                continue
            self._refused = refused
            self._kill()
            return

    def _kill(self) -> None:
        """The first process of a namespace takes all others with it, whatever they did to bubblewrap."""
        if self._first is not None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._first, signal.SIGKILL)
        self._process.kill()


def _descendants(pid: int) -> list[int]:
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
