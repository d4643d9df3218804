"""Reranking: a candidate list in the order of a reranker's scores."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from exabench.core.errors import BadInput
from exabench.core.nouns import Passage, Progress, Query, Run, Usage, silent
from exabench.measure.interpolation import mix
from exabench.measure.runs import run_of
from exabench.parts.own_rerankers import refuse_failures, scores_of
from exabench.parts.rerankers import Job, Reranker, score_jobs

MOST_UNREAD = 0.5
"""The share of a language model's answers above which a ranking is refused: its order would not be the model's."""


class PairProgress:
    """Progress in pairs over a whole candidate list.

    Some rerankers report the window of pairs that they score together, others nothing: what they say is added to the
    pairs of the queries that are done.
    """

    def __init__(self, progress: Progress = silent) -> None:
        self._progress = progress
        self._what = "pairs"
        self._total = 0
        self._finished = 0
        self._reported = 0

    def begin(self, total: int, what: str) -> None:
        """A list of `total` pairs begins; `what` names it."""
        self._what = what
        self._total = total
        self._finished = 0
        self._reported = 0

    def finish(self, pairs: int) -> None:
        """The pairs of one more query are done."""
        self._finished += pairs
        self._report(self._finished)

    def __call__(self, done: int, total: int, what: str) -> None:
        """The Progress of a reranker: pairs that are done of its window. Without a list the window is all there is."""
        if not self._total:
            self._progress(done, total, what)
            return
        self._report(min(self._total, self._finished + done))

    def _report(self, done: int) -> None:
        if self._total and done > self._reported:  # queries of a window are finished after its pairs
            self._reported = done
            self._progress(done, self._total, self._what)


def rerank(
    reranker: Reranker,
    candidates: Run,
    queries: Mapping[str, Query],
    passages: Mapping[str, Passage],
    name: str,
    pairs: PairProgress | None = None,
    interpolate: float | None = None,
) -> tuple[Run, dict[str, Usage]]:
    """The candidates in the order of a reranker's scores, and what each query took, where the reranker counts it.

    `interpolate` is the weight of the reranker where its scores are mixed with those of the candidates
    (`measure.interpolation.mix`). `pairs` has begun the list. Raises BadInput for an answer that is not one finite
    number for each passage, where the reranker raises anything, and where more than MOST_UNREAD of a language model's
    answers could not be read.
    """
    pairs = pairs or PairProgress()
    jobs = (job_of(query_id, candidates, queries, passages) for query_id in candidates.query_ids)
    outcomes = iter(score_jobs(reranker, jobs))
    scores = {}
    usages = {}
    query_id = ""
    for query_id in candidates.query_ids:
        with refuse_failures(name, query_id):
            values, usage = next(outcomes, (None, None))  # too few outcomes: None is refused as an answer
        ids = candidates.ranking(query_id)
        scores[query_id] = dict(zip(ids, scores_of(values, name, query_id, ids), strict=True))
        if usage is not None:
            usages[query_id] = usage
        pairs.finish(len(ids))
    # To its end: a reranker that answers from another process says there that it has answered everything.
    with refuse_failures(name, query_id):
        for _ in outcomes:
            raise BadInput(f"reranker {name} answered more queries than it was given")
    share = unread_share(usages.values())
    if share > MOST_UNREAD:
        raise BadInput(
            f"{name}: {share:.0%} of the model's answers could not be read, so that its ranking would not be the "
            "model's; look at its replies: is the prompt one for this model, and has it tokens enough to answer?"
        )
    run = run_of(name, scores)
    if interpolate is not None:
        run = mix(run, candidates, interpolate)
    return run, usages


def unread_share(usages: Iterable[Usage]) -> float:
    """The share of a language model's answers that could not be read, from 0 to 1.

    Answers in another form than was asked for are often read all the same: where passages that were left out are
    counted, too, the share is not above theirs among all passages.
    """
    prompts = malformed = passages = missing = 0
    counts_missing = False
    for usage in usages:
        prompts += usage.prompts
        passages += usage.passages or 0
        malformed += usage.repairs.get("malformed", 0)
        missing += usage.repairs.get("missing", 0)
        counts_missing = counts_missing or "missing" in usage.repairs
    if not prompts:
        return 0.0
    share = malformed / prompts  # malformed: another form than was asked for, read or not
    if counts_missing and passages:
        share = min(share, missing / passages)
    return share


def job_of(query_id: str, candidates: Run, queries: Mapping[str, Query], passages: Mapping[str, Passage]) -> Job:
    """A query and its candidates, best first.

    One whose text is not given has an empty text: parts that read only ids are given no texts.
    """
    query = queries.get(query_id) or Query(query_id, "")
    return query, [passages.get(id) or Passage(id, "") for id in candidates.ranking(query_id)]
