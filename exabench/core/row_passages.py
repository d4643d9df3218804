"""The rows of every family as people read them: the passages, and what a row says of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

ROW_IS = {
    "contrastive": "a query, a relevant passage and others",
    "explanations": "a query and a passage, with a label and why",
    "listwise": "a query and passages in a teacher’s order, best first",
    "scored": "a query and passages with a teacher’s scores, best first",
}
"""What a row of each family is, in words."""


@dataclass(frozen=True)
class RowPassage:
    """A passage of a row: `note` is what the row says of it, `good` whether it says that it is relevant."""

    id: str
    title: str
    text: str
    note: str
    good: bool = False


def passages_of_row(row: Mapping[str, Any]) -> list[RowPassage]:
    """The passages of a row of any family, in its order; none of a row of an unknown one."""
    found = []
    if "passage_id" in row:  # explanations
        relevant = row["relevant"]
        note = "relevant" if relevant else "not relevant"
        found.append(RowPassage(row["passage_id"], row["title"], row["passage"], note, relevant))
    if "positive_id" in row:  # contrastive
        found.append(RowPassage(row["positive_id"], row["positive_title"], row["positive"], "relevant", True))
        for place, passage_id in enumerate(row["negative_ids"]):
            note = f"negative, from {row['negative_sources'][place]}"
            found.append(RowPassage(passage_id, row["negative_titles"][place], row["negatives"][place], note))
    for place, passage_id in enumerate(row.get("passage_ids", ())):  # listwise and scored
        note = ""
        if row.get("first_stage_ranks"):
            note = f"rank {row['first_stage_ranks'][place]} in {row['first_stage']}"
        if "scores" in row:
            note = f"score {row['scores'][place]:.4g}"
        found.append(RowPassage(passage_id, row["titles"][place], row["passages"][place], note))
    return found
