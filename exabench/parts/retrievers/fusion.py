"""Fusion of other runs: by ranks (reciprocal rank fusion with k 60, or two relatives), or by weighted scores."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from exabench.core.errors import BadInput, plural
from exabench.core.files import digest_of, read_bytes, relative_path
from exabench.core.nouns import Passage, Query, Run
from exabench.measure.qrels import qrels_digest
from exabench.measure.rank_fusion import fuse
from exabench.measure.runs import rank_scores, read_run, run_digest, run_of, top
from exabench.tasks.held_out import HeldOut, held_out

WEIGHTED = ("wsum", "wmnz")
"""The methods of ranx that give each run a weight."""

TUNED = ("rrf", *WEIGHTED)
"""Those with something to tune: k, or the weights."""

NORM = "min-max"  # of each query's scores, so that a passage which a run lacks counts as its last one
METRIC = "ndcg@10"  # as ranx spells it


class Fusion:
    """`runs` are files. `method` is "rrf" with its `k`, "isr" or "log_isr": each uses only ranks; or a weighted one.

    isr and log_isr (inverse square rank) are those of Mourao, Martins and Magalhaes 2015. "wsum" is the sum of the
    runs' scores, min-max normalised for each query, by `weights`; "wmnz" (Wu and Crestani 2002) the plain sum times the
    weights of the runs that hold the passage. All but rrf are computed by ranx.

    With `tune_on`, `<task>/<split>`, ranx chooses k (10, 20, ..., 100) or the weights (tenths with the sum 1) that give
    the best nDCG@10 on these queries, without those that are searched for. `tune_runs` are the files of the same
    systems, in the same order, that answer them; without these, `runs` do.

    The parameters hold each file's path from the working folder on, its digest, and what was tuned.
    """

    whole = False

    def __init__(
        self,
        passages: Iterable[Passage] = (),
        fields: tuple[str, ...] = (),
        *,
        runs: Sequence[str] = (),
        method: Literal["rrf", "isr", "log_isr", "wsum", "wmnz"] = "rrf",
        k: int = 60,
        weights: Sequence[float] = (),
        tune_on: str = "",
        tune_runs: Sequence[str] = (),
        data: str | Path | None = None,
    ) -> None:
        if len(runs) < 2:
            raise BadInput('fusion needs at least two runs, as in --set \'runs=["a.trec", "b.trec"]\'')
        _check_options(len(runs), method, weights, tune_on, tune_runs)
        self._method = method
        self._k = k
        self._weights = list(weights)
        self._runs, digests = _read_runs(runs)
        self._tuning_runs = self._runs
        self._held_out: HeldOut | None = None
        self.parameters: dict[str, Any] = {"method": method}
        if method == "rrf":
            self.parameters["k"] = k
        if method in WEIGHTED:
            self.parameters |= {"norm": NORM, "weights": self._weights}
        self.parameters["runs"] = digests
        if tune_on:
            self._held_out = held_out(tune_on, data)
            digest = qrels_digest(self._held_out.qrels)
            tuned: dict[str, Any] = {"on": tune_on, "metric": METRIC, "qrels_digest": digest}
            if tune_runs:
                self._tuning_runs, tuned["runs"] = _read_runs(tune_runs)
            self.parameters["tuned"] = tuned

    def search(self, queries: Sequence[Query], depth: int) -> Run:
        """The fused ranking of every query that at least one run answers; of a single one its own.

        Queries that are searched for are not tuned on. Raises BadInput where no other is left.
        """
        if self._held_out is not None:
            self._tune(self._held_out.apart_from(queries))
        scores = {}
        for query in queries:
            rankings = []
            given = []
            weights = []
            for place, run in enumerate(self._runs):
                if run.rows(query.id) is None:
                    continue
                ranking = run.ranking(query.id)
                rankings.append(ranking)
                if self._method in WEIGHTED:
                    # ranx wants a weight for each of its runs: of those that answer this query.
                    given.append(run[query.id])
                    weights.append(self._weights[place])
                else:  # ranx sorts by scores, so it gets falling ones that agree with the ranks
                    given.append(rank_scores(ranking))
            if len(rankings) == 1:
                scores[query.id] = rank_scores(rankings[0])
            elif rankings and self._method == "rrf":
                scores[query.id] = fuse(rankings, self._k)
            elif rankings and self._method in WEIGHTED:
                scores[query.id] = _fused(given, self._method, NORM, {"weights": weights})
            elif rankings:
                scores[query.id] = _fused(given, self._method, None, {})
        return top(run_of("fusion", scores), depth)

    def _tune(self, queries: HeldOut) -> None:
        """Choose k or the weights on the held-out queries that every run answers. Raises BadInput where there is none.

        What was chosen, and on how many queries, is then among the parameters.
        """
        import ranx

        # ranx takes no grade below 0, which is a judged passage that is not relevant.
        judged = {}
        for query_id in queries.queries:
            if all(run.rows(query_id) for run in self._tuning_runs):
                judged[query_id] = {id: max(0, grade) for id, grade in queries.qrels[query_id].items()}
        if not judged:
            raise BadInput(f"the runs answer no query of {queries.name} together; name those that do in tune_runs")
        given = []
        for number, run in enumerate(self._tuning_runs):
            scores = {}
            for query_id in judged:
                scores[query_id] = run[query_id]
                if self._method == "rrf":  # the order as it is ranked here, also of equal scores
                    scores[query_id] = rank_scores(run.ranking(query_id))
            given.append(ranx.Run(scores, name=str(number)))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # numba on integer casts inside ranx
            found = ranx.optimize_fusion(
                ranx.Qrels(judged), given, norm=NORM, method=self._method, metric=METRIC, show_progress=False
            )
        if self._method == "rrf":
            self._k = self.parameters["k"] = int(found["k"])
        else:
            # ranx tries steps of 0.1, and what it adds up has rounding errors.
            self._weights = self.parameters["weights"] = [round(float(weight), 3) for weight in found["weights"]]
        self.parameters["tuned"]["queries"] = len(judged)


def _check_options(runs: int, method: str, weights: Sequence[float], tune_on: str, tune_runs: Sequence[str]) -> None:
    """Raise BadInput for weights, or queries to tune on, that do not go with the method or the number of runs."""
    if tune_on and method not in TUNED:
        raise BadInput(f"method {method} has nothing to tune; choose from: {', '.join(TUNED)}")
    if weights and (tune_on or method not in WEIGHTED):
        why = "tune_on" if tune_on else f"method {method}"
        raise BadInput(f"weights do not go with {why}; remove one of them")
    if method in WEIGHTED and not weights and not tune_on:
        raise BadInput(f"method {method} needs weights, one for each run, or tune_on, as in tune_on=scifact/train")
    if weights and (len(weights) != runs or min(weights) < 0 or not sum(weights)):
        raise BadInput(f"weights must be {plural(runs, 'number')}, one for each run, none below 0 and not all 0")
    if tune_runs and not tune_on:
        raise BadInput("tune_runs go with tune_on, the queries that they answer; give both or neither")
    if tune_runs and len(tune_runs) != runs:
        raise BadInput(f"tune_runs must be {plural(runs, 'file')} of the same systems as runs, in the same order")


def _read_runs(files: Sequence[str]) -> tuple[list[Run], dict[str, str]]:
    """The runs in these files, and each file's digest by its path. Raises BadInput for a run that is there twice."""
    found = []
    digests: dict[str, str] = {}
    content: dict[str, str] = {}
    for file in files:
        run = read_run(file)
        path = relative_path(file)
        # Fused with itself a run would count twice, whatever its copies are called and however they are packed.
        first = content.setdefault(run_digest(run, "fused"), path)
        if path in digests or first != path:
            raise BadInput(f"is the same run as {first}; fuse each run once", file=file)
        digests[path] = digest_of(read_bytes(file))
        found.append(run)
    return found, digests


def _fused(
    rankings: Sequence[Mapping[str, float]], method: str, norm: str | None, params: Mapping[str, Any]
) -> dict[str, float]:
    """The fused scores of one query, by ranx."""
    import ranx

    runs = []
    for number, ranking in enumerate(rankings):
        runs.append(ranx.Run({"query": dict(ranking)}, name=str(number)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # numba on integer casts inside ranx
        fused = ranx.fuse(runs, norm=norm, method=method, params=dict(params))
    scores: dict[str, float] = fused.to_dict()["query"]
    return scores
