"""Fusion of other runs by ranks: reciprocal rank fusion (k 60), or one of ranx's methods."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from typing import Any, Literal

from exabench.core.errors import BadInput
from exabench.core.files import digest_of, read_bytes, relative_path
from exabench.core.nouns import Passage, Query, Run
from exabench.measure.rank_fusion import fuse
from exabench.measure.runs import rank_scores, read_run, run_digest, run_of, top


class Fusion:
    """`runs` are files. `method` is "rrf" with its `k`, "isr" or "log_isr": each uses only ranks.

    The last two (inverse square rank) are those of Mourao, Martins and Magalhaes 2015, computed by ranx.

    The parameters hold each file's path from the working folder on, and its digest.
    """

    whole = False

    def __init__(
        self,
        passages: Iterable[Passage] = (),
        fields: tuple[str, ...] = (),
        *,
        runs: Sequence[str] = (),
        method: Literal["rrf", "isr", "log_isr"] = "rrf",
        k: int = 60,
    ) -> None:
        if len(runs) < 2:
            raise BadInput('fusion needs at least two runs, as in --set \'runs=["a.trec", "b.trec"]\'')
        self._runs = []
        self._method = method
        self._k = k
        digests: dict[str, str] = {}
        content: dict[str, str] = {}
        for file in runs:
            run = read_run(file)
            path = relative_path(file)
            # Fused with itself a run would count twice, whatever its copies are called and however they are packed.
            first = content.setdefault(run_digest(run, "fused"), path)
            if path in digests or first != path:
                raise BadInput(f"is the same run as {first}; fuse each run once", file=file)
            digests[path] = digest_of(read_bytes(file))
            self._runs.append(run)
        self.parameters: dict[str, Any] = {"method": method}
        if method == "rrf":
            self.parameters["k"] = k
        self.parameters["runs"] = digests

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
                import ranx

                # ranx sorts by scores, so it gets falling ones that agree with the ranks.
                runs = [ranx.Run({"query": rank_scores(ids)}, name=str(number)) for number, ids in enumerate(rankings)]
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # numba on integer casts inside ranx
                    scores[query.id] = ranx.fuse(runs, norm=None, method=self._method).to_dict()["query"]
        return top(run_of("fusion", scores), depth)
