"""The jail: a bubblewrap command that shows a program this Python, exabench and one model folder, and nothing else.

No network, no capability, no home, no board, no collection; what is shown is read-only, but for a /tmp that is bounded
and goes with the jail. Run it as an ordinary user where you can: as root it holds as well, but has less to spare.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from exabench.core.files import PACKAGE
from exabench.models.screening import SubmissionRefused

MODEL = "/model"
"""Where the model folder lies inside."""

_PACKAGE = PACKAGE.resolve()
_COLLECTION = str(_PACKAGE / "mini")  # it comes with the package, and its judgements with it
_NOBODY = "65534"
# Root's own processes may write some of these although they have no capability left.
_READ_ONLY = ("sys", "fs", "irq", "bus", "acpi", "driver", "pressure", "scsi", "tty")
_EMPTY = ("kcore", "keys", "key-users", "kmsg", "mtrr", "sysrq-trigger", "timer_list", "slabinfo", "kallsyms")
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
    command += ["--unshare-all", "--unshare-user", "--disable-userns", "--die-with-parent", "--new-session"]
    command += ["--clearenv", "--cap-drop", "ALL", "--uid", _NOBODY, "--gid", _NOBODY, "--hostname", "jail"]
    command += ["--size", str(limits.files), "--tmpfs", "/tmp"]  # first: this very installation may lie in /tmp

    # The system, the Python installation, the environment and the package, each where it lies.
    shown = ["/usr"]
    for name in ("/bin", "/sbin", "/lib", "/lib32", "/lib64"):
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
    command += ["--chdir", "/tmp", "--remount-ro", "/dev", "--remount-ro", "/", "--"]

    # prlimit's own limits are the kernel's: what the watch (exabench.bench.sandbox._process) may see too late.
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
        said = (done.stderr.strip().splitlines() or ["no word why"])[-1]
        raise SubmissionRefused("no-sandbox", f"bubblewrap does not start ({said}): {_ADVICE}")
