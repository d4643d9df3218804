"""Rejections: when so many answers are rejected that a build is given up, or makes no release."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from exabench.core.errors import CheckFailed, plural, printable

MOST_REJECTED = 0.5
"""The share of items that may be rejected, where a recipe does not say."""

SHOWN = 3
"""Reasons that a message lists, the most frequent first."""


class FirstAnswers:
    """The first answers of a build, by item; where all of `give_up_after` are rejected no more is asked (0: never).

    A wrong prompt or model is found before the other answers are paid for.
    """

    def __init__(self, give_up_after: int) -> None:
        self._give_up_after = give_up_after
        self._reasons = Counter[str]()
        self.over = not give_up_after

    def add(self, reason: str) -> None:
        """Count an item that was answered, with the reason that it is rejected for, empty for a good one.

        Raises CheckFailed where it is the last that is waited for and none was good.
        """
        if self.over:
            return
        if not reason:
            self.over = True
            return
        self._reasons[reason] += 1
        if self._reasons.total() >= self._give_up_after:
            raise CheckFailed(
                f"the first {plural(self._reasons.total(), 'answer was', 'answers were all')} rejected "
                f"({listed(self._reasons)}): check the prompt and the teacher, or build with --go-on "
                "(no answer is paid for twice)"
            )


def check_counts(name: str, counts: Mapping[str, int], reasons: Mapping[str, int], most_rejected: float) -> None:
    """Raise CheckFailed for a table without rows, or with a larger share of rejected items than `most_rejected`.

    `counts` are those of a Table (core.rows), `reasons` says what was left out for what.
    """
    items = plural(counts["input"], "item")
    left_out = ""
    if reasons:
        left_out = f" ({listed(reasons)})"
    if not counts["good"]:
        raise CheckFailed(f"table {name} has no rows: of {items} none was good{left_out}")
    share = counts["quarantined"] / counts["input"]
    if share > most_rejected:
        raise CheckFailed(
            f"table {name}: {counts['quarantined']} of {items} were rejected{left_out}, a larger share than "
            f"{most_rejected:g}; see quarantine.jsonl, or allow it in the recipe: quality.most_rejected = "
            f"{min(1.0, share + 0.05):.2f}"
        )


def most_rejected(recipe: Mapping[str, Any]) -> float:
    """The largest share of rejected items that the recipe of a table allows."""
    quality = recipe.get("quality", {})
    if isinstance(quality, Mapping) and isinstance(quality.get("most_rejected"), float | int):
        return float(quality["most_rejected"])
    return MOST_REJECTED


def listed(reasons: Mapping[str, int]) -> str:
    """The most frequent reasons, each with its number."""
    shown = [f"{times} {printable(reason)}" for reason, times in Counter(reasons).most_common(SHOWN)]
    if len(reasons) > SHOWN:
        shown.append(f"and {plural(len(reasons) - SHOWN, 'other reason')}")
    return ", ".join(shown)
