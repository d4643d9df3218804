"""The lock file of a board: the judgements that its first writer met, for tasks whose table says nothing of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from exabench.core.errors import BadInput
from exabench.core.files import json_text, read_json, write
from exabench.core.nouns import Qrels
from exabench.core.records import Record, as_builtins, read
from exabench.measure.qrels import count, qrels_digest


class LockedJudgements(Record, frozen=True):
    """The counts and the digest of a task's judgements; `queries` is 0 in a lock file of version 0.1."""

    queries: int
    judgements: int
    digest: str


def described(qrels: Qrels) -> LockedJudgements:
    """The counts and the digest of judgements."""
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


def lock_judgements(lock: str | Path, task: str, qrels: Qrels) -> None:
    """Write the counts and the digest of a task's judgements to the lock file, in place of what it says of them."""
    entries = _entries(lock)
    for key in [key for key in entries.get("qrels", {}) if key.rpartition("/")[0] == task]:
        del entries["qrels"][key]
    entries.setdefault("judgements", {})[task] = as_builtins(described(qrels))
    write(lock, json_text(entries))


def _entries(lock: str | Path | None) -> dict[str, Any]:
    if lock is None or not Path(lock).is_file():
        return {}
    entries = read_json(lock)
    if not isinstance(entries, dict) or not all(isinstance(part, dict) for part in entries.values()):
        raise BadInput("does not hold the tables of a lock file; take it away", file=lock)
    return entries
