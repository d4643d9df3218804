"""Collections: where a task's queries, passages and judgements are read.

A collection is one file that holds one class of the file's name, built from `(task, data, lock)`; `is_available()` says
at no cost whether it could serve the task. To add a source, add its file and its name to ORDER.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from exabench.core.errors import BadInput, MissingExtra, OutsideFailed
from exabench.core.files import json_text, read_json, write
from exabench.core.nouns import Convention, Passage, Qrels, Query, Task
from exabench.core.shelf import Shelf
from exabench.measure.qrels import count, qrels_digest, read_qrels
from exabench.tasks.catalogue import single_task, tasks
from exabench.tasks.collections._collection import Collection as Collection
from exabench.tasks.collections._collection import FromCollection as FromCollection
from exabench.tasks.collections._texts import Passages as Passages
from exabench.tasks.collections._texts import SelectedTexts as SelectedTexts
from exabench.tasks.collections._texts import TextLine as TextLine
from exabench.tasks.collections._texts import queries_of as queries_of
from exabench.tasks.collections._texts import texts_of as texts_of
from exabench.tasks.collections._texts import triples_of as triples_of

COLLECTIONS = Shelf("collection", "exabench.tasks.collections", __file__)

ORDER = ("beir_folder", "medquad", "ir_datasets", "hub")
"""The places in which a task is looked for, one after the other."""


def open_collection(task: Task, data: str | Path | None = None, lock: str | Path | None = None) -> Collection:
    """The first place of ORDER that can serve the task; a local folder is taken without asking the network.

    Raises BadInput where no place is known, OutsideFailed where every known one failed, with all reasons.
    """
    failures = []
    for name in ORDER:
        try:
            place = COLLECTIONS[name](task, data, lock)
            if not place.is_available():
                continue
            if name != "beir_folder":
                next(iter(place.queries()))  # a place that fails does so at its first query, and not later
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
    judgements = count(qrels)
    _check(task, collection.source, "queries", len(qrels), [task.queries])
    _check(task, collection.source, "judgements", judgements, [task.judgements, *map(int, task.also_judgements)])
    digest = qrels_digest(qrels)
    expected = task.qrels_digest
    if not expected and lock is not None:
        entries = read_json(lock) if Path(lock).is_file() else {}
        known = entries.setdefault("qrels", {})
        key = f"{task.name}/{judgements}"  # other honest copies have other counts
        if key not in known:
            known[key] = digest
            write(lock, json_text(entries))
        expected = known[key]
    _check(task, collection.source, "judgements of digest", digest, [expected])
    return qrels


def _check(task: Task, source: str, what: str, found: object, allowed: list[Any]) -> None:
    known = [value for value in allowed if value is not None]
    if known and found not in known:
        raise BadInput(
            f"task {task.name} from {source} has {found} {what} where the table says {' or '.join(map(str, known))}; "
            "these are not the judgements that published numbers were made with"
        )


def at_hand(data: str | Path | None) -> dict[str, Collection]:
    """The tasks that lie in a folder here, by name: what can be read without asking the network."""
    found = {}
    for task in tasks().values():
        if task.members:
            continue
        place = COLLECTIONS["beir_folder"](task, data)
        if place.is_available() and (place.folder / "qrels" / f"{task.split}.tsv").is_file():
            found[task.name] = place
    return found


def benchmarks(data: str | Path | None) -> Iterator[tuple[Task, list[Query], Iterator[Passage]]]:
    """The benchmarks at hand with the judged queries and passages of their split: what training data must not know.

    A judged passage whose text is not there (a pool holds some of them) has an empty one.
    """
    for name, place in at_hand(data).items():
        task = tasks()[name]
        if not task.benchmark:
            continue
        qrels = place.qrels(task.split)
        queries = [query for query in place.queries() if query.id in qrels]
        yield task, queries, _judged_passages(place, set().union(*qrels.values()))


def _judged_passages(place: Collection, wanted: set[str]) -> Iterator[Passage]:
    for passage in place.passages():
        if passage.id in wanted:
            wanted.remove(passage.id)
            yield passage
    for id in sorted(wanted):
        yield Passage(id, "")


def all_judgements(task: Task, place: Collection) -> Qrels:
    """The grades of the task's split, held against the table, and of every other split that lies in its folder."""
    found = {query_id: dict(row) for query_id, row in checked_qrels(task, place).items()}
    folder = getattr(place, "folder", None)
    if folder is None:
        return found
    for file in sorted((folder / "qrels").glob("*.tsv")):
        if file.stem == task.split:
            continue
        for query_id, row in read_qrels(file).items():
            found[query_id] = {**row, **found.get(query_id, {})}
    return found
