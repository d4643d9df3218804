"""Sparse vectors of any masked-LM encoder (SPLADE++ ED and SD, SPLADE-v3), in an inverted index on disk."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.sparse import csr_matrix, vstack
from transformers import AutoModelForMaskedLM

from exabench.core.errors import BadInput
from exabench.core.files import read_json
from exabench.core.nouns import ModelFolder, Passage, Progress, Query, Run, silent
from exabench.hub.client import model_folder
from exabench.measure.runs import run_of, top
from exabench.models.batches import CPU_SHARD_TOKENS, budget_of, padded_batches, tokenise
from exabench.models.devices import DevicePool, devices_of, on_device
from exabench.models.loading import dtype_of, loading, token_limit, tokenizer_of, weights_of
from exabench.parts.retrievers._vectors import SHARD, BestRows, Vectors, refuse_not_finite

ARRAYS = ("starts", "rows", "weights")
_QUERIES = 512
_WHAT = "a masked language model"


class Splade:
    """A weight for every word of the vocabulary: max over the tokens of log(1 + relu(logit)); Formal et al. 2021.

    Padding is left out of the maximum; [CLS] and [SEP] take part, as in the authors' code. `model` and `query_model`
    are as in `dense`; `terms` keeps only the heaviest words of a passage (0: all). Scores are exact inner products;
    a passage that shares no word with the query is never returned.
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
        max_length: int = 256,  # of SPLADE's training
        terms: int = 0,
        precision: str = "float32",
        devices: Sequence[str] = (),
        cache: str | None = None,
        lock: str | Path | None = None,
        shard: int = SHARD,
        progress: Progress = silent,
    ) -> None:
        if not model:
            raise BadInput("splade needs a model, as in --set model=naver/splade-v3")
        if terms < 0:
            raise BadInput(f"terms must be 0 (all) or how many to keep of a passage, not {terms}")
        devices = devices_of(devices)
        folder = model_folder(model, revision, lock)
        self._passages = SparseEncoder(folder, devices, max_length, precision)
        self._queries = self._passages
        about = {
            "model": folder.name,
            "revision": folder.revision,
            "pooling": "max of log(1 + relu)",
            "similarity": "dot",
            "max_length": self._passages.max_length,
            "precision": precision,
            "terms": terms,
            "text": " + ".join(fields),
        }
        self.parameters = dict(about)
        if query_model:
            query_folder = model_folder(query_model, query_revision, lock)
            self._queries = SparseEncoder(query_folder, devices, max_length, precision)
            self.parameters |= {"query_model": query_folder.name, "query_revision": query_folder.revision}
        self._terms = terms
        self._index = Vectors(cache, about, ARRAYS, shard)
        self._index.fill(passages, fields, self._encode_shard, progress)

    def search(self, queries: Sequence[Query], depth: int) -> Run:
        """The best `depth` passages of every query among those that share a word with it."""
        ordered = sorted(queries, key=lambda query: query.text)  # so that the order of queries leaves no trace
        scores = {}
        for start in range(0, len(ordered), _QUERIES):
            some = ordered[start : start + _QUERIES]
            vectors = self._queries.encode([query.text for query in some], [query.id for query in some], "query")
            best = [BestRows(depth) for _ in some]
            for shard in self._index.shards:
                starts, rows, weights = (self._index.read(shard, name) for name in ARRAYS)
                words = len(starts) - 1
                if words != vectors.shape[1]:
                    wrong = f"queries have {vectors.shape[1]} words and passages {words}"
                    raise BadInput(f"{wrong}; the two models do not match")
                # The columns of words x passages, read as the rows of its transpose: one list of postings a word.
                postings = csr_matrix((weights, rows, starts), (words, shard.rows))
                products = vectors @ postings
                found = products.indices + np.int64(shard.first)  # 32 bits count the passages of a shard, not all
                for one, (first, end) in zip(best, pairwise(products.indptr), strict=True):
                    one.offer(found[first:end], products.data[first:end])
            for query, row in zip(some, self._index.scores_by_id(best), strict=True):
                scores[query.id] = row
        return top(run_of("splade", scores), depth)

    def _encode_shard(self, ids: Sequence[str], texts: Sequence[str]) -> dict[str, np.ndarray]:
        postings = self._passages.encode(texts, ids, "passage", self._terms).tocsc()
        return {"starts": postings.indptr, "rows": postings.indices, "weights": postings.data}


class SparseEncoder:
    """A masked language model as a function from texts to sparse float32 rows `[n, vocabulary]`.

    Raises BadInput for a folder without such a head, or one whose own settings ask for another formula.
    """

    def __init__(self, folder: ModelFolder, devices: Sequence[str], max_length: int, precision: str) -> None:
        # A sentence-transformers folder says how its logits are pooled; only one formula is computed here.
        for file in folder.path.glob("*/config.json"):
            settings = read_json(file)
            if not isinstance(settings, dict) or "pooling_strategy" not in settings:
                continue  # the settings of another module
            pooling = settings["pooling_strategy"]
            activation = settings.get("activation_function", "relu")
            if pooling != "max" or activation != "relu":
                wrong = f"asks for {pooling} pooling of {activation}"
                raise BadInput(f"{wrong}; only max of log(1 + relu) is computed", file=file)
        self._budget = budget_of(devices[0], CPU_SHARD_TOKENS)
        with loading(folder, _WHAT):
            self._tokenizer = tokenizer_of(folder)
            model = weights_of(AutoModelForMaskedLM, folder, _WHAT, dtype_of(precision))
            self.max_length = token_limit(self._tokenizer, model, folder, max_length)
        self._devices = DevicePool(devices, partial(on_device, model.to(devices[0])))

    def encode(self, texts: Sequence[str], ids: Sequence[str], what: str, terms: int = 0) -> csr_matrix:
        """The rows of texts, in the order given; the heaviest `terms` words of each (0: all), the first among equals.

        Raises BadInput with the id of a text whose weights are not finite.
        """
        tokens = tokenise(self._tokenizer, texts, self.max_length)

        def weigh(batch: tuple[np.ndarray, dict[str, Any]]) -> tuple[np.ndarray, np.ndarray]:
            some, features = batch
            with self._devices.free() as (device, model), torch.inference_mode():
                on_device = {name: value.to(device) for name, value in features.items()}
                logits = model(**on_device).logits
                logits[on_device["attention_mask"] == 0] = 0  # padding then adds nothing: relu cuts at 0
                # relu and log(1 + x) never fall, so they may wait for the maximum.
                return some, logits.amax(dim=1).relu().float().log1p().cpu().numpy()

        parts = []
        places = []
        for some, weights in self._devices.map(weigh, padded_batches(self._tokenizer, tokens, self._budget)):
            refuse_not_finite(weights, [ids[i] for i in some], what)
            rows = csr_matrix(weights)
            if terms:
                for start, end in pairwise(rows.indptr):
                    row = rows.data[start:end]  # a view: writing to it changes the matrix
                    order = np.argsort(-row, kind="stable")
                    row[order[terms:]] = 0
                rows.eliminate_zeros()
            parts.append(rows)
            places.append(some)
        rows = vstack(parts, format="csr")
        order = np.argsort(np.concatenate(places))
        return rows[order]
