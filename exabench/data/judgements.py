"""The judgements of a split whose texts can be read, for the builders and sources that take labels from people."""

from __future__ import annotations

from exabench.core.errors import BadInput
from exabench.tasks.collections import Collection


def judgements_with_texts(collection: Collection, split: str, threshold: int) -> dict[str, dict[str, int]]:
    """The grades of `split` as `{query id: {passage id: grade}}`, without queries and passages of no text.

    A collection may be the pool of some first stages, and so lack judged passages. Raises BadInput where no grade
    reaches `threshold`.
    """
    qrels = collection.qrels(split)
    judged = {query.id: qrels[query.id] for query in collection.queries() if query.id in qrels}
    wanted = set().union(*judged.values())
    readable = {passage.id for passage in collection.passages() if passage.id in wanted}
    found: dict[str, dict[str, int]] = {}
    relevant = 0
    for query_id, grades in judged.items():
        found[query_id] = {id: grade for id, grade in grades.items() if id in readable}
        relevant += sum(grade >= threshold for grade in found[query_id].values())
    if not relevant:
        raise BadInput(
            f"split {split} of {collection.source} holds no text that was judged relevant "
            f"(a grade of {threshold} or more); give another split or threshold"
        )
    return found
