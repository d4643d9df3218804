"""Answers of a program in the jail: typed, bounded, and checked before a value is used."""

from __future__ import annotations

import json
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta

from exabench.core.errors import printable
from exabench.core.nouns import Usage
from exabench.core.records import Record
from exabench.models.screening import ERROR_CLASSES, SubmissionRefused

_Count = Annotated[int, Meta(ge=0, lt=1 << 53)]
_Flops = Annotated[float, Meta(ge=0, lt=1e30)]
_Score = Annotated[float, Meta(gt=-3e38, lt=3e38)]  # what single precision holds; NaN is not between the two
_Plain = str | int | float | bool | list[str | int] | None
_IDENTITY = 1 << 16  # bytes


class About(Record, frozen=True):
    """A reranker's answer to the setup: what makes its scores what they are, its number format, its weights."""

    identity: dict[str, _Plain]
    precision: Annotated[str, Meta(pattern=r"\A[a-z0-9]{0,20}\Z")] | None
    parameters: _Count | None


class _Usage(Record, frozen=True):
    """The fields of nouns.Usage, with bounds."""

    prompts: _Count
    input_tokens: _Count
    output_tokens: _Count
    flops_paper: _Flops | None
    flops_exact: _Flops | None
    cut_passages: _Count
    cut_queries: _Count
    repairs: Annotated[dict[str, _Count], Meta(max_length=20)]


class Scores(Record, frozen=True):
    """The answer to one query."""

    scores: list[_Score]

    def for_passages(self, count: int) -> list[float]:
        """One score for each passage. Raises SubmissionRefused."""
        if len(self.scores) != count:
            raise SubmissionRefused("bad-scores", f"{len(self.scores)} scores for {count} passages")
        return self.scores


class CountedScores(Scores, frozen=True):
    """The answer to one of many queries; `usage` is None where the part does not count it."""

    usage: _Usage | None

    def used(self) -> Usage | None:
        """What the query took."""
        return None if self.usage is None else Usage(**msgspec.to_builtins(self.usage))


class Speed(Record, frozen=True):
    """The answer after the last of many queries."""

    pairs_per_second: Annotated[float, Meta(ge=0, lt=1e12)] | None


_T = TypeVar("_T", bound=Record)


def read_answer(line: bytes, kind: type[_T]) -> _T:
    """One line as the answer that was asked for. Raises SubmissionRefused, also where the answer is a refusal."""
    try:
        value: Any = json.loads(line)
        if b"\\u" in line:
            json.dumps(value, ensure_ascii=False).encode()  # half of a surrogate pair could never be written again
    except (ValueError, RecursionError) as error:
        raise SubmissionRefused("crashed", "an answer is not JSON") from error
    if isinstance(value, dict) and set(value) == {"refused", "message"}:
        reason = value["refused"]
        known = isinstance(reason, str) and reason in ERROR_CLASSES
        raise SubmissionRefused(reason if known else "crashed", printable(str(value["message"]), 300))
    try:
        answer = msgspec.convert(value, kind, strict=True)
    except msgspec.ValidationError as error:
        reason = "bad-scores" if "$.scores" in str(error) else "crashed"
        raise SubmissionRefused(reason, f"an answer is not {kind.__name__}: {error}") from error
    if isinstance(answer, About) and len(line) > _IDENTITY:
        raise SubmissionRefused("crashed", f"the model says more than {_IDENTITY} bytes of itself")
    return answer
