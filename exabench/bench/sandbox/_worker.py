"""Inside the jail: one reranker, told what to score on stdin and answering on stdout, one line of JSON each.

It is given texts and positions, never an id and never a judgement. `python -I -m exabench.bench.sandbox._worker`.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from typing import IO, Any

from exabench.bench.sandbox._jail import MODEL
from exabench.core.errors import BadInput, ExabenchError
from exabench.core.nouns import Passage, Query, Usage

Answer = Callable[[Mapping[str, Any]], None]


def main() -> None:
    """Read what to be, say what was made of it, then score until stdin ends."""
    answer = _answers_on(os.fdopen(os.dup(1), "w", encoding="utf-8"))
    os.dup2(2, 1)  # whatever a library prints is no answer
    try:
        setup = json.loads(sys.stdin.readline())
        part = _part(setup["part"], setup["options"])
        about = {name: getattr(part, name, None) for name in ("identity", "precision", "parameters")}
        answer({**about, "identity": dict(about["identity"] or {})})
        for line in sys.stdin:
            request = json.loads(line)
            if request == "many":
                for scores, usage in _many(part, _jobs(sys.stdin)):
                    answer({"scores": list(scores), "usage": usage and asdict(usage)})
                answer({"pairs_per_second": getattr(part, "pairs_per_second", None)})
            else:
                answer({"scores": list(part.score(*_job(request)))})
    except Exception as error:
        answer({"refused": _class_of(error), "message": " ".join(str(error).split())[:300] or type(error).__name__})
        sys.exit(1)


def _answers_on(stream: IO[str]) -> Answer:
    def answer(value: Mapping[str, Any]) -> None:
        stream.write(json.dumps(value) + "\n")
        stream.flush()

    return answer


def _part(name: str, options: Mapping[str, Any]) -> Any:
    from exabench.parts.assembly import check_part, reranker
    from exabench.parts.rerankers import RERANKERS

    options = {**options, "model": MODEL}
    try:
        check_part(RERANKERS, name, options)
    except BadInput as error:
        raise _Refused("invalid-submission", error) from error
    try:
        return reranker(name, **options)
    except BadInput as error:
        raise _Refused("bad-scores" if "fails the probe" in str(error) else "load-failed", error) from error


def _many(part: Any, jobs: Iterator[tuple[Query, list[Passage]]]) -> Iterator[tuple[list[float], Usage | None]]:
    if hasattr(part, "score_many"):
        yield from part.score_many(jobs)
    else:
        yield from ((part.score(*job), None) for job in jobs)


def _jobs(lines: IO[str]) -> Iterator[tuple[Query, list[Passage]]]:
    """The jobs up to the line that says `end`."""
    for line in lines:
        request = json.loads(line)
        if request == "end":
            return
        yield _job(request)


def _job(request: Mapping[str, Any]) -> tuple[Query, list[Passage]]:
    passages = [Passage(str(place), text, title) for place, (text, title) in enumerate(request["passages"])]
    return Query(str(request["place"]), request["query"]), passages


class _Refused(Exception):
    """An error whose class is known already."""

    def __init__(self, reason: str, error: Exception) -> None:
        super().__init__(str(error))
        self.reason = reason


def _class_of(error: Exception) -> str:
    from exabench.models.loading import out_of_memory

    if isinstance(error, _Refused):
        return error.reason
    if out_of_memory(error) or "has no memory for" in str(error):
        return "out-of-memory"
    finite = isinstance(error, ExabenchError) and "not finite" in str(error)
    return "bad-scores" if finite else "crashed"


if __name__ == "__main__":
    main()
