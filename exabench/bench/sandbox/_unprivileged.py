"""What root does so that its jail runs as an unprivileged user: a namespace with this user, and a folder to read."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from exabench.core.files import writing
from exabench.models.screening import SubmissionRefused

UNPRIVILEGED = 65534  # the kernel's own id for users that a namespace does not map
_COPY = "exabench-copy-"
AS_ANOTHER = "run it as an ordinary user, or give --as-root, which lets the model run as root"


@contextlib.contextmanager
def unprivileged_namespace() -> Iterator[list[str]]:
    """What a command begins with to run in a new user namespace with two users of this machine: root and UNPRIVILEGED.

    Until the block ends it can be entered. Raises SubmissionRefused (no-sandbox) where root may not make one.
    """
    try:
        held = subprocess.Popen(["unshare", "--user", "cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    except OSError as error:
        raise _refusal(error) from error
    with held:
        assert held.stdin and held.stdout
        try:
            held.stdin.write(b"\n")
            held.stdin.flush()
            held.stdout.readline()  # it runs in its namespace now
            for kind in ("uid_map", "gid_map"):
                Path(f"/proc/{held.pid}/{kind}").write_text(f"0 0 1\n{UNPRIVILEGED} {UNPRIVILEGED} 1\n")
        except OSError as error:
            raise _refusal(error) from error
        yield ["/usr/bin/nsenter", f"--user=/proc/{held.pid}/ns/user", "--preserve-credentials"]


def _refusal(error: OSError) -> SubmissionRefused:
    reason = f"root cannot begin it as another user here ({error.strerror}): {AS_ANOTHER}"
    return SubmissionRefused("no-sandbox", reason)


def is_readable(folder: Path) -> bool:
    """Every user may read all of it."""
    for place, _, names in os.walk(folder):
        if os.stat(place).st_mode & 0o005 != 0o005:
            return False
        for name in names:
            if not os.lstat(os.path.join(place, name)).st_mode & 0o004:
                return False
    return True


@contextlib.contextmanager
def readable_copy(folder: Path) -> Iterator[Path]:
    """A copy of it that every user may read, for as long as the block takes. Links stay links. Raises CannotWrite.

    Copies of processes that were killed are removed first.
    """
    for left in Path(tempfile.gettempdir()).glob(f"{_COPY}*"):
        process = left.name.removeprefix(_COPY).partition("-")[0]
        if not os.path.exists(f"/proc/{process}"):
            shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=f"{_COPY}{os.getpid()}-", ignore_cleanup_errors=True) as place:
        to = Path(place, "model")
        with writing(to):
            shutil.copytree(folder, to, symlinks=True)
            for under, _, names in os.walk(to):
                os.chmod(under, 0o755)
                for name in names:
                    file = os.path.join(under, name)
                    if not os.path.islink(file):
                        os.chmod(file, 0o644)
        yield to
