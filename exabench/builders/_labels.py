"""A judge's answer as a label: relevant, not relevant, or neither of the two."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from exabench.nouns import Reply

_NO = re.compile(r"[\W_]*(?:(?:not|non)[\s-]?relevant|irrelevant)(?![^\W_])", re.IGNORECASE)
_YES = re.compile(
    r"[\W_]*relevant(?![^\W_])(?!\W*(?:or|not|non)\b)", re.IGNORECASE
)  # "relevant or not relevant" echoes


@dataclass(frozen=True)
class Labels:
    """What a judge said about some passages, by id: those relevant, those not, and those of no readable answer."""

    relevant: frozenset[str] = field(default_factory=frozenset)
    irrelevant: frozenset[str] = field(default_factory=frozenset)
    unread: frozenset[str] = field(default_factory=frozenset)


def label(answer: str) -> bool | None:
    """True for an answer that begins with "relevant", False for "not relevant" or "irrelevant", None for all else."""
    if _NO.match(answer):
        return False
    return True if _YES.match(answer) else None


def labels(passage_ids: Mapping[str, str], replies: Iterable[Reply]) -> Labels:
    """The labels of passages, given as `{prompt id: passage id}`; one without a reply counts as unread."""
    said = {passage_ids[reply.id]: label(reply.text) for reply in replies if reply.id in passage_ids}
    by_label: dict[bool | None, set[str]] = {True: set(), False: set(), None: set()}
    for passage_id in passage_ids.values():
        by_label[said.get(passage_id)].add(passage_id)
    return Labels(*(frozenset(by_label[value]) for value in (True, False, None)))
