"""Fusion of other runs by ranx: reciprocal rank fusion (k 60) unless another of its methods is named."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from typing import Any

import ranx

from exabench.errors import BadInput, UnknownName
from exabench.files import digest_of, read_bytes
from exabench.nouns import Passage, Query, Run
from exabench.runs import rank_scores, read_run, run_of, select_queries, top

METHODS = ("rrf", "isr", "log_isr")  # those that look at ranks alone and need no training


class Fusion:
    """`runs` are TREC files; every method sees ranks only (scores n, n - 1, ...), so unlike scales do not matter."""

    whole = False

    def __init__(
        self,
        passages: Iterable[Passage] = (),
        fields: tuple[str, ...] = (),
        *,
        runs: Sequence[str] = (),
        method: str = "rrf",
        k: int = 60,
    ) -> None:
        if len(runs) < 2:
            raise BadInput('fusion needs at least two runs, as in --set \'runs=["a.trec", "b.trec"]\'')
        if method not in METHODS:
            raise UnknownName("fusion method", method, METHODS)
        self._runs = [read_run(file) for file in runs]
        self._method, self._options = method, {"k": k} if method == "rrf" else {}
        digests = {run.name: digest_of(read_bytes(file)) for run, file in zip(self._runs, runs, strict=True)}
        self.parameters: dict[str, Any] = {"method": method, **self._options, "runs": digests}

    def search(self, queries: Sequence[Query], depth: int) -> Run:
        """The fused ranking of every query that at least one run answers."""
        answered: dict[tuple[Run, ...], set[str]] = {}
        for query in queries:  # ranx fuses runs that answer the same queries: take each such set by itself
            runs = tuple(run for run in self._runs if run.rows(query.id))
            answered.setdefault(runs, set()).add(query.id)
        scores: dict[str, dict[str, float]] = {}
        for runs, query_ids in answered.items():
            scores |= self._fused([select_queries(run, query_ids) for run in runs])
        return top(run_of("fusion", scores), depth)

    def _fused(self, runs: list[Run]) -> dict[str, dict[str, float]]:
        """Runs over the same queries as one; a single one keeps its order."""
        if len(runs) < 2:
            return _falling(runs[0]) if runs else {}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # numba on integer casts inside ranx
            parts = [ranx.Run(_falling(run), name=run.name) for run in runs]
            fused = ranx.fuse(parts, norm=None, method=self._method, params=self._options)
        return {query_id: dict(row) for query_id, row in fused.to_dict().items()}


def _falling(run: Run) -> dict[str, dict[str, float]]:
    """Scores n, n - 1, ..., 1: then ranx's own sort agrees with the ranking rule."""
    return {query_id: rank_scores(run.ranking(query_id)) for query_id in run}
