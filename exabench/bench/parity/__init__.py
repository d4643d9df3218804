"""Parity: does what serves a model rank as the model does, and if not, what does it do otherwise?

Frozen pairs go through the reference, the model as `evaluate` reads it in float32, and through what serves it. Where
the scores differ, hypotheses change one thing of the reference each: the one whose scores are the served ones is the
cause. It is found on some pairs and confirmed on others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from exabench.bench.chosen_reranker import ChosenReranker
from exabench.bench.parity._hypotheses import CAUSES, LENGTH, SIGMOID, SQUASHED, Known, Variation
from exabench.bench.parity._pairs import FrozenPair, FrozenPairs, frozen_pairs
from exabench.bench.parity._readings import (
    EQUAL,
    RISING,
    ScoreReading,
    best_reading,
    on_a_line,
    through,
    unsquashed,
)
from exabench.core.errors import BadInput
from exabench.core.nouns import Passage, Progress, Query, Run, Task, silent
from exabench.measure.metric_values import measure
from exabench.measure.rank_agreement import TOP, churn, kendall_tau
from exabench.measure.runs import run_of
from exabench.measure.statistics import PairedTest, paired_test
from exabench.parts.assembly import check_part, reranker
from exabench.parts.recognition import MODEL_PARTS
from exabench.parts.rerankers import RERANKERS, Reranker, score_jobs

EXPLAINED = 0.02
"""How far from the served scores those of a hypothesis may be, in their standard deviations; exact ones are EQUAL."""
_MUCH_NEARER = 5  # times than the reference is
_FIRST = 8  # pairs that a hypothesis is tried on before the others: most are wrong by far
_FAR = 4  # times what is allowed, on those
_LEAST_TAU = 0.9  # below, rounding is no explanation
_LEAST_TYPICAL = 0.05  # the median difference over the largest: rounding moves every score
_MOST_STRUCTURE = 0.5  # correlation of the differences with scores or lengths
_LEAST_QUERIES = 24  # for an interval that says something

BATCH = "batch dependence"
QUANTISED = "quantisation"
UNKNOWN = "unknown cause"


class Tried(NamedTuple):
    """A hypothesis, and how far from the served scores it comes: in their standard deviations, on the first pairs."""

    cause: str
    detail: str
    difference: float


@dataclass(frozen=True)
class Parity:
    """What serves a model, against the model: means over queries, and the cause of what differs.

    `tau` is Kendall's, `churn` the share of the best ten passages that the other one has not among its best ten, `ndcg`
    the served nDCG@10 less the reference's, None for fewer than 24 judged queries. `difference` is the largest one of
    scores read as `reading`, in standard deviations of the served scores. `confirmed` is the number of other pairs that
    the cause was confirmed on; 0 where there is no cause to confirm.
    """

    model: str
    served: str
    reranker: str
    task: str
    digest: str
    queries: int
    pairs: int
    tau: float
    churn: float
    ndcg: PairedTest | None
    reading: str
    difference: float
    equal: bool
    cause: str = ""
    detail: str = ""
    confirmed: int = 0
    tolerance: float = EQUAL
    tried: tuple[Tried, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Every field, as JSON holds it."""
        told = asdict(self)
        told["ndcg"] = self.ndcg and self.ndcg.as_json()
        told["tried"] = [one._asdict() for one in self.tried]
        return told


def parity(
    model: str,
    *,
    endpoint: str = "",
    server: Mapping[str, Any] | None = None,
    backend: str = "",
    precision: str = "",
    task: str | Task = "mini",
    part: str = "",
    data: str | Path | None = None,
    progress: Progress = silent,
    note: Callable[[str], object] = lambda line: None,
    **options: Any,
) -> Parity:
    """Compare what serves a model with the model: a rerank server at `endpoint`, or another `backend` or `precision`.

    `model` is what `evaluate` takes; `part` and `options` say how the reference reads it. `server` has the options of
    the reranker `endpoint` (`form`, `api_key_env`, `model` for its name there, ...). `note` is called with the part
    that was chosen. Raises BadInput, OutsideFailed.
    """
    if bool(endpoint) == bool(backend or precision):
        raise BadInput("give what serves the model: an endpoint, or a backend or precision to compare with")
    if server and not endpoint:
        raise BadInput("options of a server need an endpoint")
    if model in RERANKERS and model not in MODEL_PARTS:
        raise BadInput(f"{model} loads no model here; give a Hub id, a folder or pypi:<package>")
    given = {"precision": "float32", **options}
    chosen = ChosenReranker(model, given, part)
    asked = {"model": chosen.label, **(server or {}), "endpoint": endpoint}
    if endpoint:
        check_part(RERANKERS, "endpoint", asked)
    note(chosen.find())
    assert chosen.found is not None, "a model is given by name"
    name = chosen.found.reranker
    own = dict(chosen.found.options)
    if endpoint:
        served: Mapping[str, Any] = asked
        serves = endpoint
    else:
        changed = {key: value for key, value in (("backend", backend), ("precision", precision)) if value}
        served = {**own, **changed}
        serves = " ".join(changed.values())
        check_part(RERANKERS, name, served)

    # Mistakes are known by now: only here are texts read, and models loaded.
    frozen = frozen_pairs(task, data)
    reference = reranker(name, progress=progress, **own)
    serving = reranker("endpoint" if endpoint else name, progress=progress, **served)
    identity: Mapping[str, Any] = getattr(reference, "identity", {})
    # Everything that the reference decided by itself is said, so that a variation changes one thing alone.
    known = Known(name, {**own, "max_length": identity["max_length"]}, identity)
    by_reference = unsquashed(_scores(reference, frozen.pairs), str(identity["strategy"]))
    del reference  # a variation is loaded next, and memory may hold one
    by_server = _scores(serving, frozen.pairs)
    trial = _Trial(known, frozen, serving, by_reference, by_server, progress)
    verdict = trial.quantised_here(precision) if not endpoint else trial.verdict()
    return Parity(
        model=chosen.label,
        served=serves,
        reranker=name,
        task=frozen.task.name,
        digest=frozen.digest,
        queries=len(frozen.qrels),
        pairs=len(frozen.pairs),
        reading=verdict.reading.name,
        difference=verdict.reading.most,
        equal=verdict.equal,
        cause=verdict.cause,
        detail=verdict.detail,
        confirmed=verdict.confirmed,
        tolerance=verdict.tolerance,
        tried=tuple(trial.tried),
        **_agreement(frozen, verdict.by_reference, by_server),
    )


# -- scores and rankings -----------------------------------------------------------------------------------------------


def _scores(scoring: Reranker, pairs: Sequence[FrozenPair]) -> np.ndarray:
    """The score float64 `[n]` of each pair; those of one query in a row are one list."""
    jobs: list[tuple[Query, list[Passage]]] = []
    for pair in pairs:
        if not jobs or jobs[-1][0] != pair.query:
            jobs.append((pair.query, []))
        jobs[-1][1].append(pair.passage)
    scores: list[float] = []
    for of_query, _ in score_jobs(scoring, iter(jobs)):
        scores += of_query
    return np.array(scores, np.float64)


def _scores_alone(scoring: Reranker, pairs: Sequence[FrozenPair]) -> np.ndarray:
    """The score float64 `[n]` of each pair, asked for alone."""
    scores = [scoring.score(pair.query, [pair.passage])[0] for pair in pairs]
    return np.array(scores, np.float64)


def _run(name: str, frozen: FrozenPairs, scores: np.ndarray) -> Run:
    by_query: dict[str, dict[str, float]] = {}
    for pair, score in zip(frozen.pairs, scores.tolist(), strict=True):
        by_query.setdefault(pair.query.id, {})[pair.passage.id] = score
    return run_of(name, by_query)


def _agreement(frozen: FrozenPairs, by_reference: np.ndarray, by_server: np.ndarray) -> dict[str, Any]:
    """tau, churn and ndcg of a report."""
    reference = _run("reference", frozen, by_reference)
    served = _run("served", frozen, by_server)
    taus = []
    churns = []
    for query_id in frozen.qrels:  # as users see it: a list at a time
        places = [place for place, pair in enumerate(frozen.pairs) if pair.query.id == query_id]
        taus.append(kendall_tau(by_reference[places], by_server[places]))
        churns.append(churn(reference.ranking(query_id), served.ranking(query_id)))
    ndcg = None
    if len(frozen.qrels) >= _LEAST_QUERIES:
        metric = f"nDCG@{TOP}"
        _, before = measure(frozen.qrels, reference, [metric])
        _, after = measure(frozen.qrels, served, [metric])
        ndcg = paired_test([after[metric]], [before[metric]])
    return {"tau": float(np.mean(taus)), "churn": float(np.mean(churns)), "ndcg": ndcg}


# -- the cause ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Verdict:
    """What was found: the reading of the reference's scores, and the cause where they are not the served ones."""

    reading: ScoreReading
    by_reference: np.ndarray
    equal: bool = False
    cause: str = ""
    detail: str = ""
    confirmed: int = 0
    tolerance: float = EQUAL


class _Trial:
    """The scores `[n]` of the frozen pairs by both sides, and the hypotheses that were `tried` on them."""

    def __init__(
        self,
        known: Known,
        frozen: FrozenPairs,
        serving: Reranker,
        by_reference: np.ndarray,
        by_server: np.ndarray,
        progress: Progress,
    ) -> None:
        self._known = known
        self._frozen = frozen
        self._serving = serving
        self._by_reference = by_reference
        self._by_server = by_server
        self._progress = progress
        self.tried: list[Tried] = []

    def verdict(self) -> _Verdict:
        """What the server does. The cheap explanations first: no hypothesis is loaded where one of them is exact."""
        found = self._on_a_scale() or self._squashed() or self._on_a_line()
        if found is None:
            found = self._in_company() or self._explained() or self._rounded()
        if found is not None:
            return found
        reading = best_reading(self._by_reference, self._by_server)
        return _Verdict(reading, self._by_reference, cause=UNKNOWN, detail="none of the hypotheses explains the scores")

    def quantised_here(self, precision: str) -> _Verdict:
        """What another backend or precision of our own does: nothing else is changed."""
        reading = best_reading(self._by_reference, self._by_server)
        found = _Verdict(reading, self._by_reference, equal=reading.most <= EQUAL)
        if found.equal:
            return found
        if precision and precision != "float32":
            return replace(found, cause=QUANTISED, detail=f"{precision} in place of float32, and nothing else")
        return self.verdict()

    def _on_a_scale(self) -> _Verdict | None:
        """Are the scores the model's own on a usual scale?"""
        for name, curve in RISING.items():
            reading = through(curve, name, self._by_reference, self._by_server)
            if reading.most > EQUAL:
                continue
            # Near 1 single precision runs out, and a sigmoid is no longer a scale that keeps the order.
            tied = self._tied()
            if name != "raw" and tied:
                detail = f"{tied} passages tie that the model tells apart; ask for raw scores"
                return _Verdict(reading, self._by_reference, cause=SIGMOID, detail=detail)
            return _Verdict(reading, self._by_reference, equal=True)
        return None

    def _tied(self) -> int:
        """How many passages tie, in single precision, with another one of their query that the model tells apart."""
        tied = 0
        served = self._by_server.astype(np.float32)
        own = self._by_reference.astype(np.float32)
        for query_id in self._frozen.qrels:
            places = [place for place, pair in enumerate(self._frozen.pairs) if pair.query.id == query_id]
            # Passages that the model scores alike are no news.
            tied += len(np.unique(own[places])) - len(np.unique(served[places]))
        return max(0, tied)

    def _squashed(self) -> _Verdict | None:
        """Is it a mistake with the scores alone?"""
        for cause, mistakes in SQUASHED.items():
            for mistake in mistakes:
                if mistake.needs_two and not self._known.has_two:
                    continue
                reading = through(mistake.curve, cause, self._by_reference, self._by_server)
                self.tried.append(Tried(cause, mistake.detail, reading.usual_most))
                if reading.most <= EQUAL:
                    size = len(self._by_server)
                    return _Verdict(reading, self._by_reference, False, cause, mistake.detail, size)
        return None

    def _on_a_line(self) -> _Verdict | None:
        """Are they the model's own but for a factor and a term?"""
        reading = on_a_line(self._by_reference, self._by_server)
        if reading.most > EQUAL:
            return None
        return _Verdict(reading, self._by_reference, equal=True)

    def _explained(self) -> _Verdict | None:
        """Is one thing of the input or of the model another one?"""
        near: list[tuple[float, str, Variation]] = []
        tried = self._frozen.tried
        for cause, variation in self._variations():
            judged = self._places(variation, tried)
            own = best_reading(self._by_reference[judged], self._by_server[judged]).usual_most
            if own <= EQUAL:  # nothing to explain there: only long passages differ
                continue
            allowed = min(EXPLAINED, own / _MUCH_NEARER)
            first = judged[:: max(1, len(judged) // _FIRST)]
            found = self._try(variation, first)
            if found is not None and not _hopeless(found, allowed):
                found = self._try(variation, judged)
            if found is None:
                continue
            self.tried.append(Tried(cause, variation.detail, found.usual_most))
            self._progress(len(self.tried), 0, "hypotheses tried")
            if found.usual_most <= EQUAL:
                confirmed = self._confirm(cause, variation)
                if confirmed is not None:
                    return confirmed
            elif found.usual_most <= allowed:
                near.append((found.usual_most, cause, variation))
        for _, cause, variation in sorted(near, key=lambda one: one[0]):
            confirmed = self._confirm(cause, variation)
            if confirmed is not None:
                return confirmed
        return None

    def _variations(self) -> Iterator[tuple[str, Variation]]:
        for cause, hypothesis in CAUSES.items():
            for variation in hypothesis(self._known):
                yield cause, variation

    def _places(self, variation: Variation, places: Sequence[int]) -> list[int]:
        """Those pairs by which a variation is judged."""
        return [place for place in places if variation.cuts or not self._frozen.pairs[place].long]

    def _vary(self, variation: Variation, places: Sequence[int]) -> np.ndarray | None:
        """The scores of a variation on some pairs, None where this model cannot be read so."""
        pairs = [variation.change(self._frozen.pairs[place]) for place in places]
        try:
            varied: Any = reranker(self._known.part, **{**self._known.options, **variation.options})
            if varied.identity == self._known.identity and variation.options:
                return None
            return unsquashed(_scores(varied, pairs), str(varied.identity["strategy"]))
        except BadInput:  # a template that its tokenizer merges, an answer of two tokens, a limit below the template
            return None

    def _try(self, variation: Variation, places: Sequence[int]) -> ScoreReading | None:
        scores = self._vary(variation, places)
        if scores is None:
            return None
        return best_reading(scores, self._by_server[places])

    def _confirm(self, cause: str, variation: Variation) -> _Verdict | None:
        """The verdict where a variation explains the other pairs, too."""
        found = self._try(variation, self._places(variation, self._frozen.others))
        if found is None or found.usual_most > EXPLAINED:
            return None
        tolerance = EQUAL if found.usual_most <= EQUAL else EXPLAINED
        reading = best_reading(self._by_reference, self._by_server)
        size = len(found.differences)
        verdict = _Verdict(reading, self._by_reference, False, cause, variation.detail, size, tolerance)
        length = variation.options.get("max_length", 0)
        if cause == LENGTH and length > self._known.max_length:
            return self._longer(verdict, variation)
        if cause == LENGTH:
            detail = f"{variation.detail}, where the reference reads {self._known.max_length}"
            return replace(verdict, detail=detail)
        return verdict

    def _longer(self, verdict: _Verdict, variation: Variation) -> _Verdict | None:
        """A server that reads more than the reference does is right, where the model can read it."""
        scores = self._vary(variation, range(len(self._frozen.pairs)))
        if scores is None:
            return None
        reading = best_reading(scores, self._by_server)
        if reading.most > EQUAL:
            return verdict
        detail = f"it reads {variation.detail}, more than the reference ({self._known.max_length})"
        return _Verdict(reading, scores, equal=True, detail=detail, confirmed=len(scores))

    def _in_company(self) -> _Verdict | None:
        """Does a score depend on the passages that are asked for with it?"""
        for places in (self._frozen.tried, self._frozen.others):
            alone = _scores_alone(self._serving, [self._frozen.pairs[place] for place in places])
            together = self._by_server[places]
            moved = through(lambda scores: scores, BATCH, alone, together).usual_most
            own = best_reading(self._by_reference[places], together).usual_most
            if places is self._frozen.tried:
                self.tried.append(Tried(BATCH, "a score by itself is another one than in company", moved))
            # What moves a little in every batch does not explain a large difference.
            if moved <= EQUAL or moved < own / 2:
                return None
        detail = f"a score by itself differs from the one in company by up to {moved:.2g} standard deviations"
        reading = best_reading(self._by_reference, self._by_server)
        return _Verdict(reading, self._by_reference, cause=BATCH, detail=detail, confirmed=len(self._frozen.others))

    def _rounded(self) -> _Verdict | None:
        """Are the differences small, of all pairs, and of no pattern?"""
        reading = best_reading(self._by_reference, self._by_server)
        apart = np.abs(reading.differences)
        # A cut moves the scores of some pairs and leaves the others; another input moves what is long or relevant more.
        tau = _agreement(self._frozen, self._by_reference, self._by_server)["tau"]
        typical = float(np.median(apart) / apart.max())
        lengths = [len(pair.passage.text) for pair in self._frozen.pairs]
        patterns = []
        for pattern in (self._by_reference, np.array(lengths, np.float64)):
            for differences in (reading.differences, apart):
                patterns.append(_correlation(differences, pattern))
        structure = max(patterns)
        self.tried.append(Tried(QUANTISED, f"tau {tau:.3f}, median over largest {typical:.2f}", reading.usual_most))
        if tau < _LEAST_TAU or typical < _LEAST_TYPICAL or structure > _MOST_STRUCTURE:
            return None
        detail = f"small differences without a pattern: a median of {np.median(apart):.2g} standard deviations"
        return _Verdict(reading, self._by_reference, cause=QUANTISED, detail=detail, confirmed=len(apart))


def _hopeless(reading: ScoreReading, allowed: float) -> bool:
    """Are the first pairs so far from what is allowed that all of them together cannot be near?

    Three pairs must be: two of forty may be far off without that a hypothesis is wrong.
    """
    *_, third, _, _ = sorted(np.abs(reading.differences).tolist())
    return bool(third > _FAR * allowed)


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    if not a.std() or not b.std():
        return 0.0
    return abs(float(np.corrcoef(a, b)[0, 1]))
