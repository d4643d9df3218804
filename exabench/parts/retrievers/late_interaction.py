"""Late interaction (ColBERT) over a small collection: every passage is compared by MaxSim, token by token, exactly."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch

from exabench.core.errors import BadInput, UnknownName, plural
from exabench.core.nouns import Passage, Progress, Query, Run, silent
from exabench.hub.client import model_folder
from exabench.measure.runs import run_of, top
from exabench.models.batches import CPU_SHARD_TOKENS, budget_of
from exabench.models.devices import devices_of
from exabench.models.multi_vector_encoder import VECTORS_AT_ONCE, TokenVectors
from exabench.models.values import VECTORS
from exabench.parts.retrievers._vectors import SHARD, BestRows, Shard, Vectors, refuse_not_finite

ARRAYS = ("vectors", "counts")
QUERIES_AT_ONCE = 32
"""Queries compared together: with VECTORS_AT_ONCE vectors of passages, about 100 MB of products."""


class LateInteractionRetriever:
    """A vector for each token of each passage, and MaxSim over all of them (no approximate index).

    A model is read as the reranker `late_interaction` reads it. `query_length`: tokens of a query at most, and the
    width to which queries are filled up if the folder fills them up; 0: the folder's. `max_length`: tokens of a passage
    at most; 0: the folder's. `vectors` is the dtype kept on disk below `cache`. A search reads all vectors, so a
    collection whose vectors would take more than `gigabytes` is refused. A score is summed in double precision and
    rounded once: neither the order of queries nor that of passages changes it.
    """

    whole = True

    def __init__(
        self,
        passages: Iterable[Passage],
        fields: tuple[str, ...] = ("title", "text"),
        *,
        model: str,
        revision: str = "",
        query_prompt: str | None = None,
        passage_prompt: str | None = None,
        query_length: int = 0,
        max_length: int = 0,
        precision: str = "float32",
        devices: Sequence[str] = (),
        vectors: str = "float32",
        gigabytes: float = 8.0,
        cache: str | None = None,
        lock: str | Path | None = None,
        shard: int = SHARD,
        progress: Progress = silent,
    ) -> None:
        if not model:
            raise BadInput("late_interaction needs a model, as in --set model=lightonai/GTE-ModernColBERT-v1")
        if vectors not in VECTORS:
            raise UnknownName("vectors", vectors, VECTORS)
        if not gigabytes > 0:  # not NaN either
            raise BadInput(f"gigabytes must be a number above 0, not {gigabytes}")
        devices = devices_of(devices, precision)
        self._device = torch.device(devices[0])
        self._encoder = TokenVectors(
            model_folder(model, revision, lock),
            devices,
            query_prompt=query_prompt,
            passage_prompt=passage_prompt,
            query_length=query_length,
            max_length=max_length,
            precision=precision,
            batch_tokens=budget_of(devices[0], CPU_SHARD_TOKENS),
        )
        encoder = self._encoder
        about = {
            "model": encoder.folder.name,
            "revision": encoder.folder.revision,
            "max_length": encoder.limits["passage"],
            "precision": precision,
            "passage_prompt": encoder.prompts["passage"],
            "similarity": encoder.similarity,
            "vectors": vectors,
            "text": " + ".join(fields),
        }
        self.parameters = {
            **about,
            "query_prompt": encoder.prompts["query"],
            "query_length": encoder.limits["query"],
        }
        self._kept_as = np.dtype(vectors)
        self._gigabytes = gigabytes
        self._expected = operator.length_hint(passages)  # 0: no one knows
        self._read = 0  # passages that were encoded now, and their tokens
        self._tokens = 0
        self._index = Vectors(cache, about, ARRAYS, shard)
        self._index.fill(passages, fields, self._encode_shard, progress)

    def search(self, queries: Sequence[Query], depth: int) -> Run:
        """The best `depth` passages of every query; memory does not grow with the collection."""
        ordered = sorted(queries, key=lambda query: query.text)  # so that the order of queries leaves no trace
        vectors = self._encoder.encode([query.text for query in ordered], "query")
        for query, own in zip(ordered, vectors, strict=True):
            refuse_not_finite(own.reshape(1, -1), [query.id], "query")
        scores = {}
        for start in range(0, len(ordered), QUERIES_AT_ONCE):
            some = slice(start, start + QUERIES_AT_ONCE)
            best = self._best_rows(vectors[some], depth)
            by_id = self._index.scores_by_id(best, partial(self._rescore, vectors[some]))
            for query, row in zip(ordered[some], by_id, strict=True):
                scores[query.id] = row
        return top(run_of("late_interaction", scores), depth)

    def _best_rows(self, queries: Sequence[np.ndarray], depth: int) -> list[BestRows]:
        """The best rows of each query with all ties, by scores in single precision: the final ones come later."""
        counts = np.array([len(vectors) for vectors in queries])
        of_queries = np.concatenate(queries)
        together = torch.from_numpy(of_queries).to(self._device)
        longest_of_queries = float(np.linalg.norm(of_queries, axis=1).max(initial=0.0))
        longest = 0.0  # of the passages' vectors so far
        width = self._encoder.width
        best = [BestRows(depth) for _ in queries]
        for shard in self._index.shards:
            of_shard = self._index.read(shard, "counts")
            ends = np.cumsum(of_shard)
            first = 0
            while first < shard.rows:
                # As many passages as have VECTORS_AT_ONCE vectors, and one at least.
                start = ends[first] - of_shard[first]
                last = max(first + 1, int(np.searchsorted(ends, start + VECTORS_AT_ONCE, side="right")))
                block = np.array(self._index.read(shard, "vectors")[start : ends[last - 1]], np.float32)
                longest = max(longest, float(np.linalg.norm(block, axis=1).max(initial=0.0)))
                of_passages = torch.from_numpy(block).to(self._device)
                scores = self._encoder.compare(together, of_passages, counts, np.array(of_shard[first:last]))
                rows = np.arange(first, last) + shard.first
                # A product of `width` terms is off by at most width * 2^-24 of the product of the lengths, and the sum
                # of a query's products by as much again for each of them. Two scores are compared.
                margins = 2.5 * (width + counts) * 2.0**-24 * counts * longest_of_queries * longest
                for one, found, margin in zip(best, scores.cpu().numpy(), margins, strict=True):
                    one.offer(rows, found, margin)
                first = last
        return best

    def _encode_shard(self, ids: Sequence[str], texts: Sequence[str]) -> dict[str, np.ndarray]:
        encoder = self._encoder
        # Tokens are counted before any is encoded, which takes a thousand times as long.
        rows = encoder.tokenise(texts, "passage")
        self._read += len(rows)
        self._tokens += sum(map(len, rows))
        self._refuse_large()
        with np.errstate(over="ignore"):  # what float16 cannot hold becomes infinite, and is refused
            vectors = [found.astype(self._kept_as) for found in encoder.encode_tokens(rows, "passage")]
        for id, found in zip(ids, vectors, strict=True):
            refuse_not_finite(found.reshape(1, -1), [id], "passage")
        counts = np.array([len(found) for found in vectors], np.int64)
        return {"vectors": np.concatenate(vectors), "counts": counts}

    def _refuse_large(self) -> None:
        """Raise BadInput where the vectors of the whole collection, by those passages that were read, take too much."""
        passages = max(self._expected, self._read)
        tokens = self._tokens / self._read
        each = self._encoder.width * self._kept_as.itemsize
        needed = passages * tokens * each / 1e9
        if needed > self._gigabytes:
            what = f"the vectors of {plural(passages, 'passage')} would take about {needed:,.1f} GB"
            why = f"{tokens:.0f} vectors of {each} bytes each, and a search reads all of them"
            ways = ["rerank another first stage's list with the reranker late_interaction"]
            if self._kept_as.itemsize > 2:
                ways.append("halve them with --set vectors=float16")
            ways.append(f"allow more than {self._gigabytes:g} with --set gigabytes={np.ceil(needed):.0f}")
            raise BadInput(f"{what} ({why}): {', or '.join(ways)}")

    def _rescore(
        self, queries: Sequence[np.ndarray], shard: Shard, numbers: np.ndarray, rows: np.ndarray
    ) -> np.ndarray:
        """The final scores of pairs of a query and a row, computed again: summed in double."""
        # Only the rows that were found are read from disk.
        vectors = self._index.read(shard, "vectors")
        ends = np.cumsum(self._index.read(shard, "counts"))
        starts = np.concatenate([[0], ends[:-1]])
        scores = np.empty(len(rows), np.float32)
        # By query: each is compared with all of its rows at once.
        order = np.argsort(numbers, kind="stable")
        bounds = np.searchsorted(numbers[order], np.arange(len(queries) + 1))
        for number, (first, end) in enumerate(pairwise(bounds)):
            own = order[first:end]
            if len(own):
                passages = [np.array(vectors[starts[row] : ends[row]], np.float32) for row in rows[own]]
                scores[own] = self._encoder.similarities(queries[number], passages)
        return scores
