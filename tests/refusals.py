"""Run commands that should be refused, each in a process that has loaded nothing heavy, and say what each one did.

Standard input is a JSON list of command lines (as lists of words), standard output a list of Refusals as JSON. Run in
the folder that the commands are typed in; `FOLDERS` on the command line are watched for what is written.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import socket
import sys
import time
import traceback
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

HEAVY = ("datasets", "ray", "sentence_transformers", "torch", "transformers", "vllm")


@dataclass
class Refusal:
    """What a command did: its exit code, what it printed, its CPU seconds, and what it should not have done."""

    code: int = -1
    out: str = ""
    err: str = ""
    seconds: float = 0.0
    loaded: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    written: list[str] = field(default_factory=list)


def contents(folders: Sequence[Path]) -> dict[str, bytes | None]:
    """Every file with its bytes, and every folder."""
    found: dict[str, bytes | None] = {}
    for folder in folders:
        for path in folder.rglob("*"):
            found[str(path)] = path.read_bytes() if path.is_file() else None
    return found


def run(command: Sequence[str]) -> Refusal:
    """Run a command in this process, which is a fork of its own."""
    from exabench.cli import main

    refusal = Refusal()

    def ask(*address: object, **_: object) -> None:
        refusal.asked.append(str(address[:2]))
        raise OSError("there is no network here")

    socket.getaddrinfo = ask  # type: ignore[assignment]
    out, err = io.StringIO(), io.StringIO()
    started = time.process_time()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            refusal.code = main(list(command))
        except BaseException:
            traceback.print_exc()
    refusal.seconds = time.process_time() - started
    refusal.out = out.getvalue()
    refusal.err = err.getvalue()
    refusal.loaded = [name for name in HEAVY if name in sys.modules]
    return refusal


def in_fork(command: Sequence[str]) -> Refusal:
    """What the command does in a copy of this process."""
    told, telling = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(told)
        with os.fdopen(telling, "w") as pipe:
            json.dump(asdict(run(command)), pipe)
        os._exit(0)
    os.close(telling)
    with os.fdopen(told) as pipe:
        said = pipe.read()
    os.waitpid(child, 0)
    return Refusal(**json.loads(said))


def main() -> None:
    """Run the commands of standard input."""
    import exabench.bench.submitting  # noqa: F401 - what most commands load is loaded once, and is light

    assert not [name for name in HEAVY if name in sys.modules]
    folders = [Path(folder) for folder in sys.argv[1:]]
    refusals = []
    before = contents(folders)
    for command in json.load(sys.stdin):
        refusal = in_fork(command)
        after = contents(folders)
        refusal.written = sorted(
            path for path in before.keys() | after.keys() if before.get(path, "") != after.get(path, "")
        )
        before = after
        refusals.append(asdict(refusal))
    json.dump(refusals, sys.stdout)


if __name__ == "__main__":
    main()
