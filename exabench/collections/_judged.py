"""What is judged in the collections at hand: queries, passages, and the grades of every split."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from exabench.catalogue import tasks
from exabench.collections import COLLECTIONS, Collection
from exabench.collections._choose import checked_qrels
from exabench.nouns import Passage, Qrels, Query, Task
from exabench.qrels import read_qrels


def at_hand(data: str | Path | None) -> dict[str, Collection]:
    """The tasks that lie in a folder here, by name: what can be read without asking the network."""
    folder = COLLECTIONS["beir_folder"]
    places = {task.name: folder(task, data) for task in tasks().values() if not task.members}
    return {
        name: place
        for name, place in places.items()
        if place.there() and (place.folder / "qrels" / f"{tasks()[name].split}.tsv").is_file()
    }


def benchmarks(data: str | Path | None) -> Iterator[tuple[Task, list[Query], Iterator[Passage]]]:
    """The benchmarks at hand with the judged queries and passages of their split: what training data must not know.

    A judged passage whose text is not there (a pool holds some of them) has an empty one.
    """
    for name, place in at_hand(data).items():
        if not tasks()[name].benchmark:
            continue
        qrels = place.qrels(tasks()[name].split)
        queries = [query for query in place.queries() if query.id in qrels]
        yield tasks()[name], queries, _judged_passages(place, {id for row in qrels.values() for id in row})


def _judged_passages(place: Collection, wanted: set[str]) -> Iterator[Passage]:
    for passage in place.passages():
        if passage.id in wanted:
            wanted.remove(passage.id)
            yield passage
    yield from (Passage(id, "") for id in sorted(wanted))


def all_judgements(task: Task, place: Collection) -> Qrels:
    """The grades of the task's split, held against the table, and of every other split that lies in its folder."""
    found = {query_id: dict(row) for query_id, row in checked_qrels(task, place).items()}
    folder = getattr(place, "folder", None)
    for file in sorted((folder / "qrels").glob("*.tsv")) if folder else ():
        if file.stem != task.split:
            for query_id, row in read_qrels(file).items():
                found.setdefault(query_id, {}).update(
                    {id: grade for id, grade in row.items() if id not in found[query_id]}
                )
    return found
