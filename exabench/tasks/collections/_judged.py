"""What is judged in the collections at hand: queries, passages, and the grades of every split."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from exabench.core.nouns import Passage, Qrels, Query, Task
from exabench.measure.qrels import read_qrels
from exabench.tasks.catalogue import tasks
from exabench.tasks.collections._collection import COLLECTIONS, Collection
from exabench.tasks.collections._open import checked_qrels


def at_hand(data: str | Path | None) -> dict[str, Collection]:
    """The tasks that lie in a folder here, by name: what can be read without asking the network."""
    found: dict[str, Collection] = {}
    for task in tasks().values():
        if task.members:
            continue
        place = COLLECTIONS["beir_folder"](task, data)
        if place.there() and (place.folder / "qrels" / f"{task.split}.tsv").is_file():
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
