"""Facts of a task for people: where it is read, how many queries, judgements and passages, and how it is measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from exabench.core.nouns import Task
from exabench.tasks.catalogue import names_of, suites, task as task_of
from exabench.tasks.collections import COLLECTIONS, count_passages
from exabench.tasks.locks import summarise, with_counts


def facts_of(task: str | Task, *, data: str | Path | None = None, board: str | Path | None = None) -> dict[str, Any]:
    """All that is known of a task without asking the network: a folder here is read and counted.

    Raises UnknownName, and BadInput for a folder that cannot be read.
    """
    found = task_of(task, data=data, board=board)
    lock = None if board is None else Path(board) / "lock.json"
    found = with_counts(found, lock)
    # What the table or the lock file says, unless a folder here says more: that is what would be read.
    queries = found.queries
    judgements = found.judgements
    passages = found.documents
    digest = found.qrels_digest
    source = _public_source(found)
    local = COLLECTIONS["beir_folder"](found, data, lock)
    if not found.members and local.holds(found.split):
        counted = summarise(local.qrels(found.split))
        queries = counted.queries
        judgements = counted.judgements
        digest = counted.digest
        source = str(local.folder)
        if local.is_available():  # a folder may hold judgements alone
            passages = count_passages(local)
    convention = found.convention
    return {
        "name": found.name,
        "title": found.title,
        "language": found.language,
        "split": found.split,
        "queries": queries,
        "judgements": judgements,
        "passages": passages,
        "judgements digest": digest,
        "read from": source,
        "licence": found.licence or "not recorded",
        "needs": found.needs_licence or "",
        "headline": found.headline,
        "relevant from grade": convention.relevance_threshold,
        "self-matches": convention.self_match,
        "excluded ids": convention.excluded_ids,
        "text fields": ", ".join(convention.text_fields),
        "members": ", ".join(found.members),
        "suites": ", ".join(name for name, members in suites().items() if found.name in members),
        "other names": ", ".join(names_of(found)[1:]),
    }


def _public_source(task: Task) -> str:
    places = []
    if task.ir_datasets:
        places.append(f"ir_datasets {task.ir_datasets}")
    if task.hub:
        places.append(f"Hub dataset {task.hub['repo']}@{task.hub.get('revision', 'main')}")
    return ", else ".join(places) or "only a folder given by --data"
