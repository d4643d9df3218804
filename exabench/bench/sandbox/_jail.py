"""The jail: a bubblewrap command that shows a program this Python, exabench and one model folder, and nothing else.

`JailedProcess` runs it, lines in, lines out, under limits of time, memory, processes and bytes.

No network, no capability, no home, no board, no collection; what is shown is read-only, but for a /tmp that is bounded
and goes with the jail. Run it as an ordinary user where you can: as root it holds as well, but has less to spare.
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

from exabench.bench.sandbox._seccomp import seccomp_filter
from exabench.core.errors import REASON, printable
from exabench.core.files import PACKAGE
from exabench.models.screening import SubmissionRefused

MODEL = "/model"  # where the model folder lies inside

_PACKAGE = PACKAGE.resolve()
_COLLECTION = str(_PACKAGE / "mini")  # it comes with the package, and its judgements with it
_NOBODY = "65534"  # the kernel's own id for users that a namespace does not map
# Root's own processes may write some of these although they have no capability left.
_READ_ONLY = "sys fs irq bus acpi driver pressure scsi tty".split()
_EMPTY = "kcore keys key-users kmsg mtrr sysrq-trigger timer_list slabinfo kallsyms".split()
_ENVIRONMENT = {
    "HOME": "/tmp",
    "USER": "nobody",
    "PATH": "/usr/bin:/bin",
    "LANG": "C.UTF-8",
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "EXABENCH_CACHE": "/tmp/cache",
}
_PASSED = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "CUDA_VISIBLE_DEVICES")
_ADVICE = "install bubblewrap 0.8 or newer (apt-get install bubblewrap), allow user namespaces to it (sysctl user.*)"

TICK = 0.05  # seconds between two looks at memory and processes: one look reads all of /proc
_CHUNK = 1 << 16  # bytes: what a pipe holds
_TAIL = 4_000  # bytes that are kept of the end of stderr
_EXIT_CODES = {128 + 24: "time-limit", 128 + 25: "crashed"}  # SIGXCPU; SIGXFSZ


@dataclass(frozen=True)
class JailLimits:
    """The resources that a model in the jail may use.

    Bytes: `weights` on disk, `memory` of all its processes together, `files` in /tmp, `answer` for one answer.
    Seconds: `load` until it is ready, `query` for each query, `seconds` in total. `processes` at a time.
    """

    weights: int = 64 << 30
    memory: int = 16 << 30
    files: int = 1 << 30
    answer: int = 4 << 20
    load: float = 300.0
    query: float = 120.0
    seconds: float = 6 * 3600.0
    processes: int = 64


LIMITS = JailLimits()


def jail_command(
    program: Sequence[str],
    model: Path | None = None,
    limits: JailLimits = LIMITS,
    *,
    seccomp: int | None = None,
    info: int | None = None,
) -> list[str]:
    """The command that runs `program` in the jail, with a folder at MODEL.

    Descriptors: `seccomp` to read its filter from, `info` to say there which process is its first.
    """
    command = [shutil.which("bwrap") or "bwrap"]
    command += "--unshare-all --unshare-user --disable-userns --die-with-parent --new-session".split()
    command += ["--clearenv", "--cap-drop", "ALL", "--uid", _NOBODY, "--gid", _NOBODY, "--hostname", "jail"]
    command += ["--size", str(limits.files), "--tmpfs", "/tmp"]  # first: this very installation may be in /tmp

    # The system, the Python installation, the environment and the package, each where it lies.
    shown = ["/usr"]
    for name in "/bin /sbin /lib /lib32 /lib64".split():
        if os.path.islink(name):
            command += ["--symlink", os.readlink(name), name]
        elif os.path.isdir(name):
            shown.append(name)
    for name in (sys.base_prefix, sys.prefix, str(_PACKAGE)):
        if name not in shown and not Path(name).is_relative_to("/usr"):
            shown.append(name)
    for name in shown:
        command += ["--ro-bind", name, name]
    for name in ("/etc/ld.so.cache", "/etc/alternatives"):
        command += ["--ro-bind-try", name, name]
    command += ["--tmpfs", _COLLECTION, "--remount-ro", _COLLECTION]

    # After /proc is there, the parts of it that tell or change something of this machine are covered.
    command += ["--proc", "/proc"]
    for name in _READ_ONLY:
        folder = f"/proc/{name}"
        if os.path.isdir(folder):
            command += ["--ro-bind", folder, folder]
    for name in _EMPTY:
        file = f"/proc/{name}"
        if os.path.exists(file):
            command += ["--ro-bind", "/dev/null", file]

    command += ["--dev", "/dev", "--size", str(limits.files), "--tmpfs", "/dev/shm"]
    gpus = [str(device) for device in sorted(Path("/dev").glob("nvidia*")) if not device.is_dir()]
    for name in gpus:
        command += ["--dev-bind", name, name]
    if model is not None:
        command += ["--ro-bind", str(model.resolve()), MODEL]

    for name, value in _ENVIRONMENT.items():
        command += ["--setenv", name, value]
    for name in _PASSED:
        if name in os.environ:
            command += ["--setenv", name, os.environ[name]]
    if seccomp is not None:
        command += ["--seccomp", str(seccomp)]
    if info is not None:
        command += ["--info-fd", str(info)]
    # Last: whatever was mounted before must not be written to.
    command += "--chdir /tmp --remount-ro /dev --remount-ro / --".split()

    # prlimit's own limits are the kernel's: what `JailedProcess` may see too late.
    cores = os.cpu_count() or 1
    command += ["/usr/bin/prlimit", f"--nproc={limits.processes + 16 * cores}", f"--fsize={limits.files}"]
    command += [f"--cpu={int(limits.seconds * cores) + 1}", "--nofile=1024", "--core=0"]
    if not gpus:  # a driver maps far more than it takes
        command.append(f"--data={2 * limits.memory}")
    return [*command, "--", *program]


def check_jail() -> None:
    """A program can be jailed on this machine. Raises SubmissionRefused (no-sandbox) with what to do."""
    if shutil.which("bwrap") is None:
        raise SubmissionRefused("no-sandbox", f"bwrap is missing: {_ADVICE}")
    done = subprocess.run(jail_command([sys.executable, "-I", "-S", "-c", ""]), capture_output=True, text=True, env={})
    if done.returncode:
        said = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise SubmissionRefused("no-sandbox", f"bubblewrap does not start ({said}): {_ADVICE}")


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
        streams = (self._process.stdin, self._process.stdout, self._process.stderr)
        pipes = [stream.fileno() for stream in streams if stream]
        for pipe in pipes:
            os.set_blocking(pipe, False)
        self._in, self._out, self._err = pipes
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
            why += f": {printable(lines[-1], REASON)}"
        raise self.stop(SubmissionRefused(_EXIT_CODES.get(code, "crashed"), why))

    def _watch_limits(self) -> None:
        """Until it is stopped: kill it when it has too many processes, too much memory or too much time."""
        limits = self._limits
        while not self._stopped.wait(TICK):
            processes, memory = _count_descendants(self._process.pid)
            if time.monotonic() - self._started > limits.seconds:
                refused = SubmissionRefused("time-limit", f"the model took more than {limits.seconds:g} seconds")
            elif processes > limits.processes:
                refused = SubmissionRefused("crashed", f"the model started more than {limits.processes} processes")
            elif memory > limits.memory:
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


def _count_descendants(pid: int) -> tuple[int, int]:
    """How many processes a process began, and they in turn, and the bytes that they hold and that no file backs.

    Those whose parent died belong to the jail's first process.
    """
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError):  # it has ended
                stat = Path("/proc", name, "stat").read_bytes()
                parent = int(stat[stat.rindex(b")") + 1 :].split()[1])
                children.setdefault(parent, []).append(int(name))
    found = [pid]
    memory = 0
    for process in found:  # grows as it is walked
        found += children.get(process, [])
    for process in found[1:]:
        with contextlib.suppress(OSError):
            for line in Path("/proc", str(process), "status").read_bytes().splitlines():
                if line.startswith((b"RssAnon:", b"RssShmem:")):
                    memory += int(line.split()[1]) << 10
    return len(found) - 1, memory
