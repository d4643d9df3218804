"""The jail: a bubblewrap command that shows a program this Python, exabench and one model folder, and nothing else.

`JailedProcess` runs it, lines in, lines out, under limits of time, memory, processes and bytes.

No network, no capability, no home, no board, no collection; what is shown is read-only, but for a /tmp that is bounded
and goes with the jail. Root begins it as an unprivileged user; every other user as himself, in a user namespace.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from exabench.bench.sandbox._cgroup import into_group, make_group, ran_out_of_memory, remove_group
from exabench.bench.sandbox._seccomp import seccomp_filter
from exabench.bench.sandbox._unprivileged import (
    AS_ANOTHER,
    UNPRIVILEGED,
    is_readable,
    readable_copy,
    unprivileged_namespace,
)
from exabench.bench.sandbox._usage import JailUsage, jail_usage, open_root
from exabench.core.errors import REASON, printable
from exabench.core.files import PACKAGE
from exabench.models.screening import SubmissionRefused

MODEL = "/model"  # where the model folder lies inside
PYTHON = os.path.basename(sys.executable)  # found by PATH: a program's command line tells no path of this machine

_PACKAGE = PACKAGE.resolve()
_COLLECTION = str(_PACKAGE / "mini")  # it comes with the package, and its judgements with it
# Root's own processes may write some of these although they have no capability left.
_READ_ONLY = "sys fs irq bus acpi driver pressure scsi tty".split()
_EMPTY = "kcore keys key-users kmsg mtrr sysrq-trigger timer_list slabinfo kallsyms".split()
_ENVIRONMENT = {
    "HOME": "/tmp",
    "USER": "nobody",
    "PATH": f"{os.path.dirname(sys.executable)}:/usr/bin:/bin",
    "LANG": "C.UTF-8",
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "EXABENCH_CACHE": "/tmp/cache",
}
_PASSED = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "CUDA_VISIBLE_DEVICES")
_ADVICE = "install bubblewrap 0.8 or newer (apt-get install bubblewrap), allow user namespaces to it (sysctl user.*)"

TICK = 0.05  # seconds between two looks at memory and processes
_BUBBLEWRAP = 2  # its own process, and the first of the jail
_CHUNK = 1 << 16  # bytes: what a pipe holds
_TAIL = 4_000  # bytes that are kept of the end of stderr
_EXIT_CODES = {128 + 24: "time-limit", 128 + 25: "crashed"}  # SIGXCPU; SIGXFSZ


@dataclass(frozen=True)
class JailLimits:
    """What a model in the jail may use.

    Bytes: `weights` on disk, `memory` of all its processes and files together, `files` in /tmp, `answer` for one
    answer. Seconds: `load` until it is ready, `query` for each query, `seconds` in total. `processes` at a time.
    `gpu`: whether GPUs are shown to it. `as_root`: begun by root, it runs as root, too.
    """

    weights: int = 64 << 30
    memory: int = 16 << 30
    files: int = 1 << 30
    answer: int = 4 << 20
    load: float = 300.0
    query: float = 120.0
    seconds: float = 6 * 3600.0
    processes: int = 64
    gpu: bool = False
    as_root: bool = False

    @property
    def threads(self) -> int:
        """How many threads all its processes together may have: libraries begin some for each core."""
        return self.processes + 16 * (os.cpu_count() or 1)


LIMITS = JailLimits()


def _is_dropped(limits: JailLimits) -> bool:
    return os.geteuid() == 0 and not limits.as_root


def _options(model: Path | None, limits: JailLimits, seccomp: int | None, info: int) -> list[str]:
    """The options of bubblewrap for a jail with a folder at MODEL.

    Descriptors: `seccomp` to read the filter from, `info` to say there which process is the first.
    """
    options = "--unshare-ipc --unshare-pid --unshare-net --unshare-uts --unshare-cgroup-try".split()
    options += "--die-with-parent --new-session --clearenv --hostname jail --cap-drop ALL".split()
    if _is_dropped(limits):
        options += (
            "--cap-add CAP_SETUID --cap-add CAP_SETGID --cap-add CAP_SETPCAP".split()
        )  # until it has dropped them
    else:
        options += f"--unshare-user --disable-userns --uid {UNPRIVILEGED} --gid {UNPRIVILEGED}".split()
    size = str(limits.files)
    options += ["--perms", "1777", "--size", size, "--tmpfs", "/tmp"]  # first: this very installation may be in /tmp

    # The system, the Python installation, the environment and the package, each where it lies.
    shown = ["/usr"]
    for name in "/bin /sbin /lib /lib32 /lib64".split():
        if os.path.islink(name):
            options += ["--symlink", os.readlink(name), name]
        elif os.path.isdir(name):
            shown.append(name)
    for name in (sys.base_prefix, sys.prefix, str(_PACKAGE)):
        if name not in shown and not Path(name).is_relative_to("/usr"):
            shown.append(name)
    for name in ("/etc/ld.so.cache", "/etc/alternatives"):
        if os.path.exists(name):
            shown.append(name)
    for name in shown:
        for above in [*Path(name).parents][-2::-1]:  # bubblewrap itself would make them for root's eyes only
            options += ["--perms", "0755", "--dir", str(above)]
        options += ["--ro-bind", name, name]
    options += ["--tmpfs", _COLLECTION, "--remount-ro", _COLLECTION]

    # After /proc is there, the parts of it that tell or change something of this machine are covered.
    options += ["--proc", "/proc"]
    for name in _READ_ONLY:
        folder = f"/proc/{name}"
        if os.path.isdir(folder):
            options += ["--ro-bind", folder, folder]
    for name in _EMPTY:
        file = f"/proc/{name}"
        if os.path.exists(file):
            options += ["--ro-bind", "/dev/null", file]

    options += ["--dev", "/dev", "--perms", "1777", "--size", size, "--tmpfs", "/dev/shm"]
    if limits.gpu:
        for device in sorted(Path("/dev").glob("nvidia*")):
            if not device.is_dir():
                options += ["--dev-bind", str(device), str(device)]
    if model is not None:
        options += ["--ro-bind", str(model.resolve()), MODEL]

    for name, value in _ENVIRONMENT.items():
        options += ["--setenv", name, value]
    for name in _PASSED:
        if name in os.environ:
            options += ["--setenv", name, os.environ[name]]
    if seccomp is not None:
        options += ["--seccomp", str(seccomp)]
    options += ["--info-fd", str(info)]
    # Last: whatever was mounted before must not be written to.
    return options + "--chdir /tmp --remount-ro /dev --remount-ro /".split()


def _limited(program: Sequence[str], limits: JailLimits) -> list[str]:
    """The command that runs the program inside: unprivileged where root begins it, and under the kernel's own limits.

    They hold at once, where `JailedProcess` may see too late.
    """
    command = []
    if _is_dropped(limits):
        command += (
            f"/usr/bin/setpriv --reuid={UNPRIVILEGED} --regid={UNPRIVILEGED} --clear-groups --bounding-set=-all".split()
        )
    cores = os.cpu_count() or 1
    command += ["/usr/bin/prlimit", f"--nproc={limits.threads}", f"--fsize={limits.files}"]
    command += [f"--cpu={int(limits.seconds * cores) + 1}", "--nofile=1024", "--core=0"]
    if not limits.gpu:  # a driver maps far more than it takes
        command.append(f"--data={2 * limits.memory}")
    return [*command, "--", *program]


def check_jail(limits: JailLimits = LIMITS) -> None:
    """A program can be jailed on this machine. Raises SubmissionRefused (no-sandbox) with what to do."""
    if shutil.which("bwrap") is None:
        raise SubmissionRefused("no-sandbox", f"bwrap is missing: {_ADVICE}")
    if limits.gpu and not list(Path("/dev").glob("nvidia[0-9]*")):
        raise SubmissionRefused("no-sandbox", "this machine has no GPU to show (/dev/nvidia0): run without --gpu")
    with contextlib.closing(JailedProcess([PYTHON, "-I", "-S", "-c", "print()"], None, limits)) as jailed:
        try:
            jailed.exchange(lambda: limits.load)
        except SubmissionRefused as refused:
            advice = _ADVICE
            if _is_dropped(limits):
                advice += f"; {AS_ANOTHER}"
            raise SubmissionRefused("no-sandbox", f"nothing starts in the jail ({refused}): {advice}") from refused


def _in_memory(name: str, data: bytes) -> int:
    """A descriptor to read these bytes from."""
    descriptor = os.memfd_create(name)
    os.write(descriptor, data)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


class JailedProcess:
    """A running program. An answer too late or too long, or its end, kills it and every process that it began.

    It dies with the thread that began it, so that nothing outlives the caller.
    """

    def __init__(self, program: Sequence[str], model: Path | None, limits: JailLimits) -> None:
        self._limits = limits
        self._refused: SubmissionRefused | None = None
        self._received = bytearray()
        self._unsent = bytearray()
        self._stderr = bytearray()
        self._started = time.monotonic()
        self._stopped = threading.Event()
        self._ended = contextlib.ExitStack()  # what is let go when the jail is gone
        try:
            self._number = self._begin(program, model)
        except BaseException:
            self._ended.close()
            raise
        self._first: int | None = None  # a descriptor of the jail's first process; None where bubblewrap failed
        if self._number:
            with contextlib.suppress(ProcessLookupError):
                self._first = os.pidfd_open(self._number)
        streams = (self._process.stdin, self._process.stdout, self._process.stderr)
        pipes = [stream.fileno() for stream in streams if stream]
        for pipe in pipes:
            os.set_blocking(pipe, False)
        self._in, self._out, self._err = pipes
        self._readable = [self._out, self._err]
        self._watch = threading.Thread(target=self._watch_limits, daemon=True)
        self._watch.start()

    def _begin(self, program: Sequence[str], model: Path | None) -> int:
        """Begin it; the number of the jail's first process, 0 where bubblewrap failed."""
        limits = self._limits
        with contextlib.ExitStack() as open_now:
            entering: list[str] = []
            if _is_dropped(limits):
                entering = open_now.enter_context(unprivileged_namespace())
                if model is not None and not is_readable(model):
                    model = self._ended.enter_context(readable_copy(model))
            passed = []
            seccomp = None
            if allowed := seccomp_filter():
                seccomp = _in_memory("seccomp", allowed)
                open_now.callback(os.close, seccomp)
                passed.append(seccomp)
            read, write = os.pipe()
            reader = open_now.enter_context(open(read, "rb"))
            info = open_now.enter_context(open(write, "wb"))
            # Whoever is in the jail can read the command line, and it would tell where things lie.
            options = [os.fsencode(option) + b"\0" for option in _options(model, limits, seccomp, info.fileno())]
            said = _in_memory("options", b"".join(options))
            open_now.callback(os.close, said)
            command = [*entering, shutil.which("bwrap") or "bwrap", "--args", str(said), "--"]
            command += _limited(program, limits)
            self._group = make_group(limits.memory, limits.threads + _BUBBLEWRAP)
            if self._group:
                self._ended.callback(remove_group, self._group)
                command = into_group(self._group, command)
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                env={},  # the jail's first process is bubblewrap itself, and its environment can be read there
                pass_fds=[*passed, said, info.fileno()],
            )
            info.close()  # else the pipe would not end with bubblewrap's own end of it
            told = re.search(rb'"child-pid": (\d+)', reader.read())
            if told is None:
                return 0
            return int(told[1])

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
            if len(self._unsent) < _CHUNK:  # more would only pile up here, while the model is busy
                self._unsent += feed()
            self._move_bytes()

    def stop(self, refused: SubmissionRefused) -> SubmissionRefused:
        """Kill it with all its processes; `refused`, or the refusal before it, is what every later call raises."""
        self._refused = self._refused or refused
        self.close()
        return self._refused

    def close(self) -> None:
        """Kill it with all its processes, and wait until the jail is gone."""
        self._refused = self._refused or SubmissionRefused("crashed", "the sandbox was closed")
        self._stopped.set()
        self._watch.join()
        with self._process:  # its end closes the pipes and waits
            self._kill()
        if self._first is not None:
            os.close(self._first)
            self._first = None
        self._ended.close()

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
        if self._group and ran_out_of_memory(self._group):
            raise self.stop(self._out_of_memory())
        code = self._process.returncode
        why = f"the model's process ended ({code})"
        lines = self._stderr.decode("utf-8", "replace").strip().splitlines()
        if lines:
            why += f": {printable(lines[-1], REASON)}"
        raise self.stop(SubmissionRefused(_EXIT_CODES.get(code, "crashed"), why))

    def _watch_limits(self) -> None:
        """Until it is stopped: kill it when it has too many processes or threads, too much memory or too much time."""
        used = JailUsage()
        root = None
        refused = None
        with contextlib.ExitStack() as ended:
            while refused is None and not self._stopped.wait(TICK):
                if root is not None:
                    used = jail_usage(root)
                elif self._first is not None:
                    try:
                        root = open_root(self._number)
                    except PermissionError:
                        refused = SubmissionRefused("crashed", "the model's process hides what it uses")
                    if root is not None:
                        ended.callback(os.close, root)
                refused = refused or self._broken_limit(used)
        if refused:
            self._refused = refused
            self._kill()

    def _broken_limit(self, used: JailUsage) -> SubmissionRefused | None:
        limits = self._limits
        if time.monotonic() - self._started > limits.seconds:
            return SubmissionRefused("time-limit", f"the model took more than {limits.seconds:g} seconds")
        if used.processes > limits.processes:
            return SubmissionRefused("crashed", f"the model started more than {limits.processes} processes")
        if used.threads > limits.threads + _BUBBLEWRAP:
            return SubmissionRefused("crashed", f"the model started more than {limits.threads} threads")
        if used.memory > limits.memory:
            return self._out_of_memory()
        return None

    def _out_of_memory(self) -> SubmissionRefused:
        return SubmissionRefused("out-of-memory", f"the model took more than {self._limits.memory} bytes")

    def _kill(self) -> None:
        """The first process of a namespace takes all others with it, whatever they did to bubblewrap."""
        if self._first is not None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._first, signal.SIGKILL)
        self._process.kill()
