"""Choosing where a task is read, and refusing judgements that are not the table's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from exabench.core.errors import BadInput, MissingExtra, OutsideFailed
from exabench.core.files import json_text, read_json, write
from exabench.core.nouns import Convention, Qrels, Task
from exabench.measure.qrels import count, qrels_digest, read_qrels
from exabench.tasks.catalogue import single_task
from exabench.tasks.collections._collection import COLLECTIONS, ORDER, Collection


def open_collection(task: Task, data: str | Path | None = None, lock: str | Path | None = None) -> Collection:
    """The first place of ORDER that can serve the task; a local folder is taken without asking the network.

    Raises BadInput where no place is known, OutsideFailed where every known one failed, with all reasons.
    """
    failures: list[str] = []
    for name in ORDER:
        try:
            place: Collection = COLLECTIONS[name](task, data, lock)
            if not place.there():
                continue
            if name != "beir_folder":
                next(iter(place.queries()))
            return place
        except (OutsideFailed, MissingExtra) as error:
            failures.append(str(error))
    if failures:
        raise OutsideFailed(f"task {task.name} cannot be read: {' | '.join(failures)}; or give --data DIR")
    licence = f" It needs {task.needs_licence}." if task.needs_licence else ""
    raise BadInput(
        f"task {task.name} is not in a folder given by --data or EXABENCH_DATA, and no public source is known."
        f"{licence} Put it at DIR/{task.name}/ in BEIR layout"
    )


def judgements_of(
    task: str | None, qrels: str | Path | Qrels | None, data: str | Path | None, threshold: int, lock: str | Path | None
) -> tuple[Qrels, Convention, str]:
    """Judgements, convention and name of a task of the table, or of any qrels (`threshold` is for these alone)."""
    if task is not None and qrels is None:
        found = single_task(task)
        return checked_qrels(found, open_collection(found, data, lock), lock), found.convention, found.name
    if task is not None or qrels is None:
        raise BadInput("give either a task or qrels")
    convention = Convention(relevance_threshold=threshold)
    if isinstance(qrels, str | Path):
        return read_qrels(qrels), convention, Path(qrels).name
    return qrels, convention, "qrels"


def checked_qrels(task: Task, collection: Collection, lock: str | Path | None = None) -> dict[str, dict[str, int]]:
    """The judgements of the task's split, held against the table's counts and digest.

    Where the table has no digest, the first one seen is written to the lock file and held against from then on.
    Raises BadInput for any difference: silently other judgements make silently other numbers.
    """
    qrels = collection.qrels(task.split)
    _check(task, collection.source, "queries", len(qrels), [task.queries])
    allowed = [task.judgements, *(int(number) for number in task.also_judgements)]
    _check(task, collection.source, "judgements", count(qrels), allowed)
    digest = qrels_digest(qrels)
    expected = task.qrels_digest or _locked(task, qrels, digest, lock)
    _check(task, collection.source, "judgements of digest", digest, [expected])
    return qrels


def _check(task: Task, source: str, what: str, found: object, allowed: list[Any]) -> None:
    known = [value for value in allowed if value is not None]
    if known and found not in known:
        raise BadInput(
            f"task {task.name} from {source} has {found} {what} where the table says {' or '.join(map(str, known))}; "
            "these are not the judgements that published numbers were made with"
        )


def _locked(task: Task, qrels: Qrels, digest: str, lock: str | Path | None) -> str:
    if lock is None:
        return digest
    entries: dict[str, Any] = read_json(lock) if Path(lock).is_file() else {}
    known = entries.setdefault("qrels", {})
    key = f"{task.name}/{count(qrels)}"  # other honest copies have other counts
    if key not in known:
        known[key] = digest
        write(lock, json_text(entries))
    return str(known[key])
