"""Judgements of a board: what differs from those that its lock file holds, and taking corrected ones over."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from exabench.bench.excerpts import build_excerpts, read_excerpts, write_excerpts
from exabench.bench.ledger import Ledger
from exabench.core.errors import BadInput
from exabench.core.licences import is_open_for_texts
from exabench.core.nouns import Candidates, Qrels, Task
from exabench.measure.metric_values import mean, measure
from exabench.tasks.catalogue import single_task
from exabench.tasks.collections import Collection, open_collection, read_checked_qrels
from exabench.tasks.locks import LockedJudgements, lock_judgements, locked_judgements, summarise


@dataclass(frozen=True)
class GradeChange:
    """A grade that was seen in a frozen list and is another one now; None: not judged."""

    query: str
    passage: str
    before: int | None
    after: int | None


@dataclass(frozen=True)
class ListChange:
    """A frozen list and its recall on the judgements before and now."""

    candidates: str
    before: float
    after: float


@dataclass(frozen=True)
class JudgementChanges:
    """What differs between the judgements that a board locked and the current ones.

    A board keeps no judgements, only their digest. Which queries were added and removed is read off a result, and is
    None where there is none; `grades` are those of the passages in the frozen lists: no other grades were kept.
    """

    task: str
    source: str
    locked: LockedJudgements | None
    found: LockedJudgements
    added: tuple[str, ...] | None
    removed: tuple[str, ...] | None
    grades: tuple[GradeChange, ...]
    lists: tuple[ListChange, ...]

    @property
    def differ(self) -> bool:
        """Are these other judgements than those that are locked?"""
        return self.locked is not None and self.locked.digest != self.found.digest

    def as_json(self) -> dict[str, Any]:
        """Everything, as JSON holds it."""
        locked = None
        if self.locked is not None:
            locked = _counts(self.locked)
        return {
            **asdict(replace(self, locked=None)),
            "locked": locked,
            "found": _counts(self.found),
            "differ": self.differ,
        }


def compare_judgements(board: str | Path, task: str | Task, data: str | Path | None = None) -> JudgementChanges:
    """Say what differs between the judgements that a board locked for a task and the current ones; writes nothing.

    Raises BadInput where the table or a description pins the judgements, and these are others.
    """
    changes, _, _ = _compare(Ledger(Path(board)), task, data)
    return changes


def accept_judgements(
    board: str | Path, task: str | Task, reason: str, data: str | Path | None = None
) -> JudgementChanges:
    """Accept the current judgements: into the lock file, the descriptions of the lists and the excerpts of pages.

    `exabench bench run` then computes the results again, and gives the `reason` in the change log. Raises BadInput for
    no reason, and as `compare_judgements` does.
    """
    if not reason.strip():
        raise BadInput("give the reason with --reason: the change log shows it to readers of the board")
    ledger = Ledger(Path(board))
    changes, found, collection = _compare(ledger, task, data)
    qrels = collection.qrels(found.split)
    if changes.locked is not None and not changes.differ:
        return changes
    recall = {change.candidates: change.after for change in changes.lists}
    for candidates in ledger.candidates(found.name):
        renewed = replace(candidates, qrels_digest=changes.found.digest, recall=recall[candidates.name])
        run = ledger.candidates_run(candidates)
        shown = ledger.shown_file(candidates.task, candidates.name)
        if shown.is_file():
            texts = read_excerpts(shown)["texts"]  # as it was frozen: with or without them
            write_excerpts(build_excerpts(found, renewed, run, collection, qrels, texts=texts), shown)
        ledger.replace_description(renewed)
    reason = reason.strip()
    if changes.locked is not None and changes.locked.reason and changes.added is None:
        # Nothing was measured with the judgements that go: their reason was told to no one, and is one of this change.
        reason = f"{changes.locked.reason}; {reason}"
    # The lock comes last: a call that is killed before it is made again.
    lock_judgements(ledger.lock, found.name, qrels, reason)
    return changes


def _compare(ledger: Ledger, name: str | Task, data: str | Path | None) -> tuple[JudgementChanges, Task, Collection]:
    ledger.check_exists()
    task = single_task(name, data=data, board=ledger.folder)
    lists = ledger.candidates(task.name)
    # Excerpts are written again with the judgements, so the texts must be there where pages show some.
    needs = "texts" if is_open_for_texts(task.licence) else "judgements"
    collection = open_collection(task, data, ledger.lock, needs=needs)
    read_checked_qrels(task, collection)  # checked against the table or the description, and not against the lock
    qrels = collection.qrels(task.split)
    locked = locked_judgements(ledger.lock, task.name)
    added, removed = _queries(ledger, task.name, locked, qrels)
    changed: dict[tuple[str, str], GradeChange] = {}
    recalls = []
    for candidates in lists:
        for query_id, passages in _shown_grades(ledger, candidates).items():
            row = qrels.get(query_id, {})
            for passage_id, before in passages.items():
                after = row.get(passage_id)
                if before != after:
                    changed[query_id, passage_id] = GradeChange(query_id, passage_id, before, after)
        metric = f"R@{candidates.depth}"
        threshold = task.convention.relevance_threshold
        _, values = measure(qrels, ledger.candidates_run(candidates), [metric], threshold=threshold)
        recalls.append(ListChange(candidates.name, candidates.recall, mean(values[metric])))
    changes = JudgementChanges(
        task=task.name,
        source=collection.source,
        locked=locked,
        found=summarise(qrels),
        added=added,
        removed=removed,
        grades=tuple(changed[key] for key in sorted(changed)),
        lists=tuple(recalls),
    )
    return changes, task, collection


def _queries(
    ledger: Ledger, task: str, locked: LockedJudgements | None, qrels: Qrels
) -> tuple[tuple[str, ...] | None, tuple[str, ...] | None]:
    """The queries that came and went since a result was measured; None where no result has the locked judgements."""
    if locked is None:
        return None, None
    for result in ledger.results():
        if result.task == task and result.qrels_digest == locked.digest:
            # Every metric of a result has a value for each judged query.
            before = set(next(iter(result.measurement.per_query.values())))
            return tuple(sorted(qrels.keys() - before)), tuple(sorted(before - qrels.keys()))
    return None, None


def _shown_grades(ledger: Ledger, candidates: Candidates) -> Mapping[str, Mapping[str, int | None]]:
    """The grades that the board keeps of a list's passages, by query."""
    file = ledger.shown_file(candidates.task, candidates.name)
    if not file.is_file():
        return {}
    grades = {}
    for query in read_excerpts(file)["queries"]:
        grades[query["id"]] = dict(zip(query["passages"], query["grades"], strict=True))
    return grades


def _counts(judgements: LockedJudgements) -> dict[str, Any]:
    return {"queries": judgements.queries, "judgements": judgements.judgements, "digest": judgements.digest}
