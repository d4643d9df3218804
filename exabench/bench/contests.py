"""Contests: which results over one candidate list are ranked and tested together."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np

from exabench.bench.ledger import Ledger
from exabench.core.nouns import FIRST_STAGE, Candidates, Result, Submission
from exabench.measure.statistics import family_p
from exabench.parts.rerankers import RERANKERS


def is_bound(submission: Submission) -> bool:
    """Is a submission a baseline that needs no model? The first stage is none: rerankers are measured against it."""
    return submission.kind == "baseline" and submission.slug != FIRST_STAGE


def system_of(submission: Submission) -> str:
    """The name of the system that a submission is, or is a sample of."""
    return submission.system or submission.name


def system_type(submission: Submission) -> str:
    """The type of system that a submission says it is; else that of its reranker; else its kind, such as "run"."""
    return submission.type or _type_of_part(submission.reranker) or submission.kind


@cache
def _type_of_part(reranker: str) -> str:
    return RERANKERS.constant(reranker, "TYPE") if reranker in RERANKERS else ""


def system_problem(submission: Submission, others: Iterable[Submission]) -> str:
    """Why a submission cannot be on a board next to `others`, or nothing.

    A system is one submission, or samples of one type that are numbered apart; what was withdrawn is not part of it.
    """
    if submission.withdrawn:
        return ""
    name = system_of(submission)
    for other in others:
        if system_of(other) != name or other.slug == submission.slug or other.withdrawn:
            continue
        if not submission.system:
            return f"{name} is the system of the sample {other.name}; choose another name"
        if not other.system:
            return f"system {name} is already a submission without samples; give this system another name"
        if other.sample == submission.sample:
            return f"sample {submission.sample} of {name} is {other.name}; give this one another number"
        types = (system_type(submission), system_type(other))
        if types[0] != types[1]:
            return f"samples of {name} must have one type: this one is {types[0]}, and {other.name} is {types[1]}"
    return ""


def is_alike(result: Result, listed: Candidates | None) -> bool:
    """Was a result measured as its frozen list says? One without a frozen list of that name is accepted as it is."""
    if listed is None:
        return True
    own = (result.candidates.digest, result.measurement.convention.digest, result.qrels_digest)
    return own == (listed.digest, listed.convention_digest, listed.qrels_digest)


def missing_queries(result: Result) -> int:
    """Queries of the candidates that the run does not answer, and judged queries that the candidates lack."""
    measured = result.measurement
    unanswered = result.candidates.queries - measured.queries + measured.missing_queries
    coverage = result.candidates.coverage
    lacked = coverage.missing if coverage else 0
    return max(0, unanswered) + lacked


@dataclass(frozen=True)
class TaskContest:
    """The systems that rerank one list of one task, by name: values of a metric, float64 (queries,).

    Those of a system with several samples are their means.
    """

    systems: Mapping[str, np.ndarray]

    @classmethod
    def read(cls, ledger: Ledger, task: str, candidates: str, metric: str) -> TaskContest:
        """The contest of a board's list, without bounds, withdrawn and incomplete results and those measured otherwise.

        Raises BadInput for a file that is not a result.
        """
        filed, _ = ledger.readable_submissions()
        lists = {one.name: one for one in ledger.candidates(task)}
        samples: dict[str, list[np.ndarray]] = {}
        for result in ledger.results_on(task, candidates):
            sent = filed.get(result.submission)
            if sent is None or sent.withdrawn or is_bound(sent) or missing_queries(result):
                continue
            if is_alike(result, lists.get(candidates)) and metric in result.measurement.per_query:
                by_query = result.measurement.per_query[metric]
                values = np.array([by_query[query_id] for query_id in sorted(by_query)])
                samples.setdefault(system_of(sent), []).append(values)
        return cls({name: np.mean(values, axis=0) for name, values in samples.items()})

    def corrected(
        self, a: tuple[str, np.ndarray], b: tuple[str, np.ndarray], of_systems: Collection[str], test: str = "t"
    ) -> float:
        """The p of A against B, as (name, values), corrected over the better one's tests against all below it.

        They stand for the systems that they are `of`, so that one sample of a system is tested as the system would be,
        and one that does not compete as if it did.
        """
        systems = {name: values for name, values in self.systems.items() if name not in of_systems}
        systems.update((a, b))
        # The order of a ranking: best mean first, and by name where means are equal.
        order = sorted(systems, key=lambda name: (-systems[name].mean(), name))
        better, worse = sorted((a[0], b[0]), key=order.index)
        below = order[order.index(better) + 1 :]
        p_values = family_p([systems[better]], [[systems[name]] for name in below], test)
        return p_values[below.index(worse)]
