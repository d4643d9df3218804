"""The lock file of a board: the judgements that its first writer met, for tasks whose table says nothing of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from exabench.core.errors import BadInput
from exabench.core.files import json_text, read_json, write
from exabench.core.nouns import Qrels, Task
from exabench.core.records import Record, as_builtins, read
from exabench.measure.qrels import count, qrels_digest


class LockedJudgements(Record, frozen=True, omit_defaults=True):
    """The counts and the digest of a task's judgements; `queries` is 0 in a lock file of version 0.1.

    `passages` is 0 where no one counted them; `reason` says why these judgements took the place of others.
    """

    queries: int
    judgements: int
    digest: str
    passages: int = 0
    reason: str = ""


def summarise(qrels: Qrels) -> LockedJudgements:
    """The counts and the digest of judgements, as a lock file would hold them."""
    return LockedJudgements(queries=len(qrels), judgements=count(qrels), digest=qrels_digest(qrels))


def locked_judgements(lock: str | Path | None, task: str) -> LockedJudgements | None:
    """What the lock file says of a task's judgements; None where it says nothing. Raises BadInput."""
    entries = _entries(lock)
    known = entries.get("judgements", {}).get(task)
    if known is not None:
        return read(LockedJudgements, known, file=lock, what=f"judgements of {task}:")
    for key, digest in entries.get("qrels", {}).items():  # version 0.1 wrote the digest alone
        name, _, judgements = key.rpartition("/")
        if name == task:
            return LockedJudgements(queries=0, judgements=int(judgements), digest=digest)
    return None


def lock_judgements(lock: str | Path, task: str, qrels: Qrels, reason: str = "", passages: int = 0) -> None:
    """Write the counts and the digest of a task's judgements to the lock file, in place of what it says of them."""
    before = locked_judgements(lock, task)
    if before is not None:  # other judgements are over the same passages
        passages = passages or before.passages
    entries = _entries(lock)
    # An entry of version 0.1 would continue saying what no longer holds.
    outdated = [key for key in entries.get("qrels", {}) if key.rpartition("/")[0] == task]
    for key in outdated:
        del entries["qrels"][key]
    found = summarise(qrels)
    entry = LockedJudgements(
        queries=found.queries, judgements=found.judgements, digest=found.digest, passages=passages, reason=reason
    )
    entries.setdefault("judgements", {})[task] = as_builtins(entry)
    write(lock, json_text(entries))


def with_counts(task: Task, lock: str | Path | None) -> Task:
    """The task with the counts that its description lacks and the lock file has."""
    locked = locked_judgements(lock, task.name)
    if locked is None:
        return task
    return replace(
        task,
        queries=task.queries or locked.queries or None,  # 0: no one counted them
        judgements=task.judgements or locked.judgements,
        documents=task.documents or locked.passages or None,
    )


def _entries(lock: str | Path | None) -> dict[str, Any]:
    if lock is None or not Path(lock).is_file():
        return {}
    entries = read_json(lock)
    problem = BadInput("does not have the tables of a lock file; delete it", file=lock)
    if not isinstance(entries, dict):
        raise problem
    # Its other keys are not looked at: the lock file of a training also holds its recipe.
    for key in ("judgements", "qrels"):
        if not isinstance(entries.get(key, {}), dict):
            raise problem
    return entries
