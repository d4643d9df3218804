"""The judgements of a split, for the builders and sources that take labels from people or keep to the split's texts."""

from __future__ import annotations

from exabench.core.errors import BadInput
from exabench.tasks.collections import Collection, passages_of


def judgements_with_texts(collection: Collection, split: str, threshold: int) -> dict[tuple[str, str], int]:
    """The grades of `split` by (query id, passage id), without those of queries and passages that have no text.

    A collection may be the pool of some first stages, and so lack judged passages. Raises BadInput where no grade
    reaches `threshold`.
    """
    qrels = collection.qrels(split)
    wanted = set().union(*qrels.values())
    readable = {passage.id for passage in passages_of(collection, wanted)}
    grades = {}
    for query in collection.queries():
        for passage_id, grade in qrels.get(query.id, {}).items():
            if passage_id in readable:
                grades[query.id, passage_id] = grade
    if not grades or max(grades.values()) < threshold:
        raise BadInput(
            f"split {split} of {collection.source} contains no text that was judged relevant "
            f"(a grade of {threshold} or more); give another split or threshold"
        )
    return grades


def judged_passages(collection: Collection, split: str) -> set[str]:
    """The ids of the passages that `split` judges, whatever their grades. Raises BadInput as the collection does."""
    return set().union(*collection.qrels(split).values())
