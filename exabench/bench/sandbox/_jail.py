"""The jail: a bubblewrap command that shows a program this Python, exabench and one model folder, and nothing else.

No network, no capability, no home, no board, no collection; what is shown is read-only, but for a /tmp that is bounded
and goes with the jail. Run it as an ordinary user where you can: as root it holds as well, but has less to spare.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from exabench.core.files import PACKAGE
from exabench.models.screening import SubmissionRefused

MODEL = "/model"
"""Where the model folder lies inside."""

_PACKAGE = PACKAGE.resolve()
_HIDDEN = ("mini",)  # of the package: a collection, and so its judgements
_NOBODY = "65534"
# Root's own processes may write some of these although they have no capability left.
_READ_ONLY = ("sys", "fs", "irq", "bus", "acpi", "driver", "pressure", "scsi", "tty")
_EMPTY = ("kcore", "keys", "key-users", "kmsg", "mtrr", "sysrq-trigger", "timer_list", "slabinfo", "kallsyms")
_PASSED = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "CUDA_VISIBLE_DEVICES")
_ADVICE = "install bubblewrap 0.8 or newer (apt-get install bubblewrap), allow user namespaces to it (sysctl user.*)"


@dataclass(frozen=True)
class JailLimits:
    """What a stranger's model is given.

    Bytes: `weights` on disk, `memory` of all its processes together, `files` in /tmp, `answer` for one answer.
    Seconds: `load` until it is ready, `query` for each query, `seconds` in all. `processes` at a time.
    """

    weights: int = 64 << 30
    memory: int = 16 << 30
    files: int = 1 << 30
    answer: int = 4 << 20
    load: float = 300.0
    query: float = 120.0
    seconds: float = 6 * 3600.0
    processes: int = 64


def jail_command(
    program: Sequence[str],
    model: str | Path | None = None,
    limits: JailLimits | None = None,
    *,
    seccomp: int | None = None,
    info: int | None = None,
) -> list[str]:
    """The command that runs `program` in the jail, with a folder at MODEL.

    Descriptors: `seccomp` to read its filter from, `info` to say there which process is its first.
    """
    limits = limits or JailLimits()
    command = [
        shutil.which("bwrap") or "bwrap",
        "--unshare-all",
        "--unshare-user",
        "--disable-userns",
        "--die-with-parent",
        "--new-session",
    ]
    command += ["--clearenv", "--cap-drop", "ALL", "--uid", _NOBODY, "--gid", _NOBODY, "--hostname", "jail"]
    command += ["--size", str(limits.files), "--tmpfs", "/tmp"]  # first: this very installation may lie in /tmp
    command += [*_system(), *_python(), "--proc", "/proc", *_covered(), "--dev", "/dev"]
    command += ["--size", str(limits.files), "--tmpfs", "/dev/shm"]
    for device in _gpus():
        command += ["--dev-bind", device, device]
    if model is not None:
        command += ["--ro-bind", str(Path(model).resolve()), MODEL]
    for name, value in _environment().items():
        command += ["--setenv", name, value]
    if seccomp is not None:
        command += ["--seccomp", str(seccomp)]
    if info is not None:
        command += ["--info-fd", str(info)]
    return [*command, "--chdir", "/tmp", "--remount-ro", "/dev", "--remount-ro", "/", "--", *_limited(limits), *program]


def check_jail() -> None:
    """A program can be jailed on this machine. Raises SubmissionRefused (no-sandbox) with what to do."""
    if shutil.which("bwrap") is None:
        raise SubmissionRefused("no-sandbox", f"bwrap is missing: {_ADVICE}")
    done = subprocess.run(jail_command([sys.executable, "-I", "-S", "-c", ""]), capture_output=True, text=True, env={})
    if done.returncode:
        said = (done.stderr.strip().splitlines() or ["no word why"])[-1]
        raise SubmissionRefused("no-sandbox", f"bubblewrap does not start ({said}): {_ADVICE}")


def _system() -> Iterator[str]:
    yield from ("--ro-bind", "/usr", "/usr")
    for name in ("/bin", "/sbin", "/lib", "/lib32", "/lib64"):
        if os.path.islink(name):
            yield from ("--symlink", os.readlink(name), name)
        elif os.path.isdir(name):
            yield from ("--ro-bind", name, name)
    for name in ("/etc/ld.so.cache", "/etc/alternatives"):
        yield from ("--ro-bind-try", name, name)


def _python() -> Iterator[str]:
    """The installation, the environment and the package, where they lie."""
    for place in dict.fromkeys((sys.base_prefix, sys.prefix, str(_PACKAGE))):
        if not Path(place).is_relative_to("/usr"):
            yield from ("--ro-bind", place, place)
    for name in _HIDDEN:
        yield from ("--tmpfs", str(_PACKAGE / name), "--remount-ro", str(_PACKAGE / name))


def _covered() -> Iterator[str]:
    for name in _READ_ONLY:
        if (place := Path("/proc", name)).is_dir():
            yield from ("--ro-bind", str(place), str(place))
    for name in _EMPTY:
        if (place := Path("/proc", name)).exists():
            yield from ("--ro-bind", "/dev/null", str(place))


def _gpus() -> list[str]:
    return sorted(str(device) for device in Path("/dev").glob("nvidia*") if not device.is_dir())


def _environment() -> dict[str, str]:
    environment = {
        "HOME": "/tmp",
        "USER": "nobody",
        "PATH": "/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "EXABENCH_CACHE": "/tmp/cache",
    }
    for name in _PASSED:
        if name in os.environ:
            environment[name] = os.environ[name]
    return environment


def _limited(limits: JailLimits) -> list[str]:
    """prlimit's own limits are the kernel's: what the watch (exabench.bench.sandbox._process) may see too late."""
    cores = os.cpu_count() or 1
    command = [
        "/usr/bin/prlimit",
        f"--nproc={limits.processes + 16 * cores}",
        f"--fsize={limits.files}",
        f"--cpu={int(limits.seconds * cores) + 1}",
        "--nofile=1024",
        "--core=0",
    ]
    if not _gpus():  # a driver maps far more than it takes
        command.append(f"--data={2 * limits.memory}")
    return [*command, "--"]
