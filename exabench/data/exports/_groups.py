"""Rows of every family in one form: a query, its passages, and a label of each."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from exabench.core.errors import BadInput
from exabench.core.files import TemporaryRows
from exabench.core.nouns import Passage, Query
from exabench.core.rows import Row, labels_of_order

ALL = ("contrastive", "explanations", "listwise", "scored")
ORDERED = ("listwise", "scored")
"""The families whose passages are in an order, best first; their labels are numbers on a scale, not 1 and 0."""


@dataclass(frozen=True)
class QueryGroup:
    """A query with `passages`, best first, and their `labels`; the first `positives` of them count as relevant.

    Of an order only the best passage counts. `id` is that of the row, or of the first row, that it was made of.
    """

    id: str
    query: Query
    passages: tuple[Passage, ...]
    labels: tuple[float, ...]
    positives: int


def fields_of(row: Row, *names: str) -> list[object]:
    """The values of these fields. Raises BadInput for one that is missing: a manifest may list other fields."""
    missing = [name for name in names if name not in row]
    if missing:
        raise BadInput(f"lacks the field {missing[0]}", id=row.get("id"))
    return [row[name] for name in names]


def group_of(family: str, row: Row) -> QueryGroup:
    """One row as a group. Raises BadInput for a row without passages, or whose lists are not equally long."""
    fields_of(row, "id", "query_id", "query", *_FIELDS[family])
    labels: Sequence[float]
    if family == "explanations":
        passages = [Passage(row["passage_id"], row["passage"], row["title"])]
        positives = int(row["relevant"])
        labels = [positives]
    elif family == "contrastive":
        passages = [Passage(row["positive_id"], row["positive"], row["positive_title"])]
        passages += _passages(row, row["negative_ids"], row["negatives"], row["negative_titles"])
        labels = [1] + [0] * len(row["negatives"])
        positives = 1
    else:
        passages = _passages(row, row["passage_ids"], row["passages"], row["titles"])
        labels = _labels_of_order(family, row)
        positives = 1
    if not passages or len(labels) != len(passages):
        raise BadInput(f"has {len(passages)} passages and {len(labels)} labels", id=row["id"])
    return QueryGroup(row["id"], Query(row["query_id"], row["query"]), tuple(passages), tuple(labels), positives)


def groups(family: str, rows: Iterable[Row]) -> Iterator[QueryGroup]:
    """Groups to learn from: every row is one, but the pairs of `explanations` are put together by their query.

    Of these, a group may have no relevant passage or no other. Raises BadInput as `group_of`, and for a pair with two
    labels.
    """
    if family != "explanations":
        for row in rows:
            yield group_of(family, row)
        return
    # The texts wait on the disk: a query's pairs may lie anywhere in the table.
    texts = TemporaryRows()
    places: dict[tuple[str, str], list[int]] = {}
    for row in rows:
        pair = group_of(family, row)
        places.setdefault((pair.query.id, pair.query.text), []).append(len(texts))
        [passage] = pair.passages
        texts.extend([json.dumps([pair.id, passage.id, passage.text, passage.title, pair.positives]).encode()])
    for query, numbers in places.items():
        pairs = [json.loads(texts[number]) for number in numbers]
        first_id = pairs[0][0]
        passages: dict[int, dict[str, Passage]] = {1: {}, 0: {}}  # by label; a pair that is there twice counts once
        for row_id, passage_id, text, title, label in pairs:
            if passage_id in passages[1 - label]:
                raise BadInput(f"passage {passage_id!r} has another label in another row of its query", id=row_id)
            passages[label][passage_id] = Passage(passage_id, text, title)
        relevant = tuple(passages[1].values())
        others = tuple(passages[0].values())
        labels = (1,) * len(relevant) + (0,) * len(others)
        yield QueryGroup(first_id, Query(*query), relevant + others, labels, len(relevant))


class LearningGroups:
    """The groups with a relevant passage and another one, which trainers on groups need; `left_out` counts the rest."""

    def __init__(self, family: str, rows: Iterable[Row]) -> None:
        self._family = family
        self._rows = rows
        self.left_out = 0

    def __iter__(self) -> Iterator[QueryGroup]:
        """One by one. Raises BadInput at the end where there was none."""
        found = 0
        for group in groups(self._family, self._rows):
            if 0 < group.positives < len(group.passages):
                found += 1
                yield group
            else:
                self.left_out += 1
        if not found:
            raise BadInput(
                "no query of this split has both a relevant passage and another one, which this format needs"
            )


_FIELDS = {
    "contrastive": ("positive_id", "positive", "positive_title", "negative_ids", "negatives", "negative_titles"),
    "explanations": ("passage_id", "passage", "title", "relevant"),
    "listwise": ("passage_ids", "passages", "titles"),
    "scored": ("passage_ids", "passages", "titles", "scores"),
}


def _passages(row: Row, ids: list[str], texts: list[str], titles: list[str]) -> list[Passage]:
    if not len(ids) == len(texts) == len(titles):
        raise BadInput("has lists of ids, titles and texts that are not equally long", id=row["id"])
    return [Passage(*fields) for fields in zip(ids, texts, titles, strict=True)]


def _labels_of_order(family: str, row: Row) -> list[float]:
    if family == "scored":
        return list(row["scores"])
    if "labels" in row:
        return list(row["labels"])
    return labels_of_order(len(row["passages"]))  # releases from before 0.2 have none
