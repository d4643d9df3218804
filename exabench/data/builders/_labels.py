"""A judge's answer as a label: relevant, not relevant, or neither of the two."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from exabench.core.nouns import Reply

_NO = re.compile(r"[\W_]*(?:(?:not|non)[\s-]?relevant|irrelevant)(?![^\W_])", re.IGNORECASE)
_YES = re.compile(
    r"[\W_]*relevant(?![^\W_])(?!\W*(?:or|not|non)\b)", re.IGNORECASE
)  # "relevant or not relevant" echoes


def label(answer: str) -> bool | None:
    """True for an answer that begins with "relevant", False for "not relevant" or "irrelevant", None for all else."""
    if _NO.match(answer):
        return False
    if _YES.match(answer):
        return True
    return None


def labels(passage_ids: Mapping[str, str], replies: Iterable[Reply]) -> dict[str, bool | None]:
    """The labels of passages, given as `{prompt id: passage id}`; None also for one without a reply."""
    found: dict[str, bool | None] = dict.fromkeys(passage_ids.values())
    for reply in replies:
        if reply.id in passage_ids:
            found[passage_ids[reply.id]] = label(reply.text)
    return found
