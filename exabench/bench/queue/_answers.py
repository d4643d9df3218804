"""Answers: the scores of a submission, or why it is refused: one class of a small fixed set, and one line."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from exabench.core.errors import BadInput, ExabenchError, MissingExtra, OutsideFailed, plural, printable
from exabench.core.nouns import Result
from exabench.models.screening import ERROR_CLASSES

_PATH = re.compile(r"(?<![\w:/.])(?:\.{0,2}/|~/)[^\s'\",;:()]*")
_LONGEST = 400
_OF_THE_RUNNER = (
    "no-sandbox",
    "missing-package",
    "unreachable",
)  # classes for which nobody who sent something can do anything
_CLASSED = re.compile(rf"(?:^|: )({'|'.join(ERROR_CLASSES)}): ")
_REASONS: Mapping[type[ExabenchError], str] = {
    BadInput: "invalid-submission",
    MissingExtra: "missing-package",
    OutsideFailed: "unreachable",
}


@dataclass(frozen=True)
class Answer:
    """What came of a submission: `reason` is one of ERROR_CLASSES and `message` a line; of a scored one both are empty.

    `scores` has one row for each result: task, candidates, metric, value, low, high, first_stage, state.
    """

    slug: str
    date: str
    reason: str = ""
    message: str = ""
    scores: tuple[Mapping[str, Any], ...] = ()

    @property
    def waits(self) -> bool:
        """Is it this machine that cannot score it? Then it is no answer to give: the submission keeps its place."""
        return self.reason in _OF_THE_RUNNER

    def as_json(self) -> dict[str, Any]:
        """What answer.json holds."""
        return asdict(self) | {"class": self.reason, "scores": [dict(row) for row in self.scores]}

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Answer:
        """An answer from its JSON."""
        kept = {key: values[key] for key in ("slug", "date", "reason", "message")}
        return cls(**kept, scores=tuple(values["scores"]))

    def text(self) -> str:
        """The answer as a comment: plain Markdown."""
        if self.reason:
            return (
                f"exabench could not score this submission: **{self.reason}**, {ERROR_CLASSES[self.reason]}.\n\n"
                f"`{self.message}`\n\nSend it again when it is mended; `exabench bench submit` checks it beforehand."
            )
        head = "| task | candidates | metric | value | 95 % interval | first stage | |\n|---|---|---|---|---|---|---|"
        rows = [
            f"| {row['task']} | {row['candidates']} | {row['metric']} | {row['value']:.4f} "
            f"| [{row['low']:.4f}, {row['high']:.4f}] | {row['first_stage']:.4f} | {row['state']} |"
            for row in self.scores
        ]
        count = plural(len(rows), "result")
        return "\n".join([f"exabench scored this submission: {count}.", "", head, *rows])


def scored(slug: str, results: Sequence[Result], date: str) -> Answer:
    """The answer to a submission that is on the board."""
    rows = []
    for result in results:
        metric, (low, high) = result.measurement.headline, result.interval
        about = {"task": result.task, "candidates": result.candidates.name, "metric": metric, "state": result.state}
        numbers = {"value": result[metric], "low": low, "high": high, "first_stage": result.first_stage[metric]}
        rows.append({**about, **numbers})
    return Answer(slug, date, scores=tuple(rows))


def refusal(slug: str, error: Exception, date: str) -> Answer:
    """The answer to a submission that cannot be scored: nothing of the runner's paths, and no traceback."""
    if not isinstance(error, ExabenchError):
        reason = "out-of-memory" if isinstance(error, MemoryError) else "crashed"
        return Answer(slug, date, reason, f"the runner met {type(error).__name__}")
    text = str(error)
    if found := _CLASSED.search(text):  # as Refused writes it; from a worker elsewhere nothing but the text comes
        return Answer(slug, date, found[1], public_line(text[: found.start(1)] + text[found.end() :]))
    reason = next((reason for kind, reason in _REASONS.items() if isinstance(error, kind)), "crashed")
    return Answer(slug, date, reason, public_line(text))


def public_line(text: str) -> str:
    """A message as a stranger may read it: one line, every path but for its last name left out, no Markdown in it."""
    line = " ".join(text.split())
    short = _PATH.sub(lambda match: match[0].rstrip("/").rpartition("/")[2] or "...", line)
    return printable(re.sub(r"[`<>|@#\[\]]", "'", short), _LONGEST)
