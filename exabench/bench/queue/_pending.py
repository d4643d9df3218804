"""A submission that waits, and its answer: scores, or why it is refused, as one class of a small set and one line."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from exabench.bench.measurement import today
from exabench.core.errors import BadInput, ExabenchError, MissingExtra, OutsideFailed, plural, printable
from exabench.core.nouns import Result
from exabench.core.records import as_builtins
from exabench.models.screening import ERROR_CLASSES

LARGEST = 64 << 20  # bytes of a file that is submitted

_LONGEST = 400  # characters of a message: one line on a page
# Absolute and relative paths, but no address: its slashes follow a colon or a slash.
_PATH = re.compile(r"(?<![\w:/.])(?:\.{0,2}/|~/)[^\s'\",;:()]*")
_CLASSED = re.compile(rf"(?:^|: )({'|'.join(ERROR_CLASSES)}): ")
_OF_THE_RUNNER = ("no-sandbox", "missing-package", "unreachable")  # nothing that a sender could mend


@dataclass(frozen=True)
class Pending:
    """A submission that waits: `number` of its pull request (0: a folder here), and its `revision`."""

    number: int
    slug: str
    kind: str
    owner: str
    date: str
    revision: str
    url: str


@dataclass(frozen=True)
class Answer:
    """The answer to a submission: `reason`, one of ERROR_CLASSES, and `message`, a line; both empty if it was scored.

    `scores` has one row for each result: task, candidates, metric, value, low, high, first_stage, state.
    """

    slug: str
    date: str
    reason: str = ""
    message: str = ""
    scores: tuple[Mapping[str, Any], ...] = ()

    @property
    def waits(self) -> bool:
        """Is it this machine that cannot score it? Then it is not an answer to give: the submission keeps its place."""
        return self.reason in _OF_THE_RUNNER

    def as_json(self) -> dict[str, Any]:
        """The content of answer.json."""
        return {**as_builtins(self), "class": self.reason}

    def text(self) -> str:
        """The answer as a comment: plain Markdown."""
        if self.reason:
            return (
                f"exabench could not score this submission: **{self.reason}**, {ERROR_CLASSES[self.reason]}.\n\n"
                f"`{self.message}`\n\nFix it and submit it again; `exabench bench submit` checks it first."
            )
        lines = [
            f"exabench scored this submission: {plural(len(self.scores), 'result')}.",
            "",
            "| task | candidates | metric | value | 95% interval | first stage | |",
            "|---|---|---|---|---|---|---|",
        ]
        for row in self.scores:
            lines.append(
                f"| {row['task']} | {row['candidates']} | {row['metric']} | {row['value']:.4f} "
                f"| [{row['low']:.4f}, {row['high']:.4f}] | {row['first_stage']:.4f} | {row['state']} |"
            )
        return "\n".join(lines)


def acceptance(slug: str, results: Iterable[Result]) -> Answer:
    """The answer to a submission that is on the board."""
    rows = []
    for result in results:
        metric = result.measurement.headline
        low, high = result.interval
        rows.append(
            {
                "task": result.task,
                "candidates": result.candidates.name,
                "metric": metric,
                "state": result.state,
                "value": result[metric],
                "low": low,
                "high": high,
                "first_stage": result.first_stage[metric],
            }
        )
    return Answer(slug, today(), scores=tuple(rows))


def refusal(slug: str, error: Exception) -> Answer:
    """The answer to a submission that cannot be scored: nothing of the runner's paths, and no traceback."""
    if not isinstance(error, ExabenchError):
        reason = "out-of-memory" if isinstance(error, MemoryError) else "crashed"
        return Answer(slug, today(), reason, f"the runner failed with {type(error).__name__}")
    text = str(error)
    named = _CLASSED.search(text)  # SubmissionRefused writes it so; an error of another process is its text alone
    if named:
        reason = named[1]
        text = text[: named.start(1)] + text[named.end() :]
    elif isinstance(error, BadInput):
        reason = "invalid-submission"
    elif isinstance(error, MissingExtra):
        reason = "missing-package"
    elif isinstance(error, OutsideFailed):
        reason = "unreachable"
    else:
        reason = "crashed"
    return Answer(slug, today(), reason, public_line(text))


def public_line(text: str) -> str:
    """A message that anybody may read: one line, every path but for its last name left out, no Markdown in it."""
    line = " ".join(text.split())
    short = _PATH.sub(lambda match: match[0].rstrip("/").rpartition("/")[2] or "...", line)
    return printable(re.sub(r"[`<>|@#\[\]]", "'", short), _LONGEST)
