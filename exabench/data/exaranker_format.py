"""The file that ExaRanker's authors train on (unicamp-dl/ExaRanker, ds/): its columns, and the texts in them."""

from __future__ import annotations

import re

COLUMNS = ("label", "input", "output")
"""The columns of the TSV; the label is 1 or 0."""

BEGINS = 'Is the question: "'
BETWEEN = '" answered by the document: "'
ENDS = '"? Give an explanation.'
TARGETS = {"1": "true. Explanation:", "0": "false. Explanation:"}
"""The beginning of a target, by the label of a pair."""


def input_text(query: str, passage: str) -> str:
    """The input of an ExaRanker."""
    return f"{BEGINS}{query}{BETWEEN}{passage}{ENDS}"


def target_text(relevant: bool, explanation: str, line_breaks: str = "") -> str:
    """The output that it learns: the label first, then the explanation in one line."""
    in_one_line = re.sub(r"[\r\n]+", line_breaks, explanation.strip())
    return f"{TARGETS[str(int(relevant))]} {in_one_line}"
