"""Training by several processes, for test_ranks.py: everything is imported once, and forked for every rank.

`python two_ranks.py JOBS.json` runs each job and prints what became of its ranks as JSON. The store that ranks meet at
is the launcher's, as torchrun has it; but nobody ends the others when one has ended, so each must do so by itself.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import datasets  # noqa: F401  (here, so that no rank imports it)
import torch
import torch.distributed as dist
import torch.distributed.tensor  # noqa: F401
import transformers.models.bert.modeling_bert
import transformers.models.t5.modeling_t5  # noqa: F401

from exabench.core.errors import ExabenchError
from exabench.core.files import only_writer
from exabench.models import learner
from exabench.training import train


@dataclass
class Job:
    """One start of `count` ranks on a recipe; `fault` comes over rank `at[0]`, behind step `at[1]`."""

    recipe: str
    to: str
    count: int = 2
    overrides: list[str] = field(default_factory=list)
    fault: str = ""
    at: tuple[int, int] = (1, 2)
    timeout: float = 60


def main(file: str) -> None:
    """Every job, one after the other."""
    jobs = json.loads(Path(file).read_text(encoding="utf-8"))
    print(json.dumps({name: run(Job(**job)) for name, job in jobs.items()}))


def run(job: Job) -> dict[str, Any]:
    """By rank: exit codes (minus the signal of one that was killed), seconds that it lived, what it said at last.

    Ranks that are still there after a minute are killed, and named in `ended`.
    """
    store = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    begin, folder = time.monotonic(), Path(job.to)
    folder.parent.mkdir(parents=True, exist_ok=True)
    logs = [folder.with_name(f"{folder.name}.{rank}.log") for rank in range(job.count)]
    codes, seconds, ended = [0] * job.count, [0.0] * job.count, []
    with only_writer(folder) if job.fault == "held" else contextlib.nullcontext():
        running = {_forked(job, rank, store.port, logs[rank]): rank for rank in range(job.count)}
        while running:
            done, status = os.waitpid(-1, os.WNOHANG)
            if done:
                rank = running.pop(done)
                codes[rank], seconds[rank] = os.waitstatus_to_exitcode(status), time.monotonic() - begin
            alone = job.fault == "stop" and set(running.values()) == {job.at[0]}  # all others have left
            if alone or time.monotonic() - begin > 60:
                ended = sorted(running.values())
                for process in running:
                    os.kill(process, signal.SIGKILL)
            time.sleep(0.01)
    return {"codes": codes, "seconds": seconds, "ended": ended, "said": [log.read_text() for log in logs]}


def _forked(job: Job, rank: int, port: int, log: Path) -> int:
    """The process of one rank, in the environment that torchrun would give it."""
    if process := os.fork():
        return process
    code: Any = 70
    try:
        os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644), 2)
        if job.count > 1:
            told = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": job.count, "LOCAL_WORLD_SIZE": job.count}
            told |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "TORCHELASTIC_USE_AGENT_STORE": True}
            told |= {"EXABENCH_RANK_TIMEOUT": job.timeout}
            os.environ.update({name: str(value) for name, value in told.items()})
        code = fit(job, rank)
    except SystemExit as left:
        code = left.code
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def fit(job: Job, rank: int) -> int:
    """What the command does, with the fault."""
    here = rank == job.at[0]
    if here and job.fault in IN_FORWARD:
        learner.Scorer.forward = IN_FORWARD[job.fault](learner.Scorer.forward)

    def progress(step: int, total: int, text: str) -> None:
        if here and step == job.at[1] and job.fault in BEHIND_STEP:
            BEHIND_STEP[job.fault]()

    try:
        train(job.recipe, job.to, overrides=job.overrides, progress=progress)
    except ExabenchError as error:
        print(f"exabench: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def _bug() -> None:
    raise KeyError("a bug")


def _full_disk() -> None:
    """No file grows over 4 KB from here on."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))


def _no_room(forward: Any) -> Any:
    """No memory for more than 50 tokens at once."""

    def short(self: Any, ids: Any, *rest: Any) -> Any:
        if ids.numel() > 50:
            raise torch.OutOfMemoryError("injected")
        return forward(self, ids, *rest)

    return short


def _not_a_number(forward: Any) -> Any:
    return lambda self, *given: forward(self, *given) * float("nan")


BEHIND_STEP: dict[str, Callable[[], None]] = {
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "stop": lambda: os.kill(os.getpid(), signal.SIGSTOP),
    "bug": _bug,
    "full disk": _full_disk,
}
IN_FORWARD = {"memory": _no_room, "nan": _not_a_number}

if __name__ == "__main__":
    main(sys.argv[1])
