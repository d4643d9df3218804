"""Fusion of other runs by ranks: reciprocal rank fusion (k 60), or one of ranx's methods."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence

from exabench.core.errors import BadInput, UnknownName
from exabench.core.files import digest_of, read_bytes
from exabench.core.nouns import Passage, Query, Run
from exabench.measure.rank_fusion import fuse
from exabench.measure.runs import rank_scores, read_run, run_of, top

METHODS = ("rrf", "isr", "log_isr")


class Fusion:
    """`runs` are TREC files. `method` is "rrf" with its `k`, "isr" or "log_isr": each looks at ranks alone.

    Inverse square rank, Mourao, Martins and Magalhaes 2015: the sum of 1 / rank^2 over the runs that hold a passage,
    times their number, or times the logarithm of their number (the same values as ranx's).
    """

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
        self._method = method
        self._k = k
        digests = {run.name: digest_of(read_bytes(file)) for run, file in zip(self._runs, runs, strict=True)}
        has_k = {"k": k} if method == "rrf" else {}
        self.parameters = {"method": method, **has_k, "runs": digests}

    def search(self, queries: Sequence[Query], depth: int) -> Run:
        """The fused ranking of every query that at least one run answers; of a single one its own."""
        scores = {}
        for query in queries:
            rankings = [run.ranking(query.id) for run in self._runs if run.rows(query.id)]
            if len(rankings) == 1:
                scores[query.id] = rank_scores(rankings[0])
            elif rankings and self._method == "rrf":
                scores[query.id] = fuse(rankings, self._k)
            elif rankings:
                scores[query.id] = fuse_by_squares(rankings, math.log if self._method == "log_isr" else float)
        return top(run_of("fusion", scores), depth)


def fuse_by_squares(rankings: Sequence[Sequence[str]], weight: Callable[[int], float]) -> dict[str, float]:
    """The score of every id: the sum of 1 / rank^2, ranks from 1, times the `weight` of how many rankings hold it."""
    sums: defaultdict[str, float] = defaultdict(float)
    counts: Counter[str] = Counter()
    for ids in rankings:
        counts.update(ids)
        for rank, id in enumerate(ids, 1):
            sums[id] += 1 / rank**2
    return {id: total * weight(counts[id]) for id, total in sums.items()}
