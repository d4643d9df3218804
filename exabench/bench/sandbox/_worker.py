"""Inside the jail: one reranker, which reads what to score on stdin and answers on stdout, one line of JSON each.

It is given texts and positions, never an id and never a judgement. `python -I -m exabench.bench.sandbox._worker`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

from exabench.bench.sandbox._jail import MODEL
from exabench.bench.sandbox._program import begin_answers, end_refused
from exabench.core.errors import BadInput, ExabenchError
from exabench.core.nouns import Passage, Query


def main() -> None:
    """Load the part that the first line names, describe it, then score until stdin ends."""
    answer = begin_answers()
    part = None
    reason = "invalid-submission"  # of a BadInput, until the part is loaded
    try:
        from exabench.parts.assembly import check_part, reranker
        from exabench.parts.rerankers import RERANKERS, score_jobs

        setup = json.loads(sys.stdin.readline())
        options = {**setup["options"], "model": MODEL}
        check_part(RERANKERS, setup["part"], options)
        reason = "load-failed"
        part = reranker(setup["part"], **options)
        about = {name: getattr(part, name, None) for name in ("identity", "precision", "parameters")}
        answer({**about, "identity": dict(about["identity"] or {})})
        for line in sys.stdin:
            request = json.loads(line)
            if request != "many":
                answer({"scores": list(part.score(*_job(request)))})
                continue
            for scores, usage in score_jobs(part, _jobs()):
                answer({"scores": list(scores), "usage": usage and asdict(usage)})
            answer({"pairs_per_second": getattr(part, "pairs_per_second", None)})
    except Exception as error:
        from exabench.models.loading import out_of_memory

        text = str(error)
        if part is None and isinstance(error, BadInput):
            if reason == "load-failed" and "fails the probe" in text:
                reason = "bad-scores"
        elif out_of_memory(error) or "has no memory for" in text:
            reason = "out-of-memory"
        elif isinstance(error, ExabenchError) and "not finite" in text:
            reason = "bad-scores"
        else:
            reason = "crashed"
        end_refused(answer, reason, error)


def _jobs() -> Iterator[tuple[Query, list[Passage]]]:
    """The jobs up to the line that says `end`."""
    for line in sys.stdin:
        request = json.loads(line)
        if request == "end":
            return
        yield _job(request)


def _job(request: Mapping[str, Any]) -> tuple[Query, list[Passage]]:
    passages = [Passage(str(place), text, title) for place, (text, title) in enumerate(request["passages"])]
    return Query(str(request["place"]), request["query"]), passages


if __name__ == "__main__":
    main()
