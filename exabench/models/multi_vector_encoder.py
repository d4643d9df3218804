"""Late-interaction models (ColBERT): a vector for each token of a text, and MaxSim between those of two texts.

A score is the sum, over the vectors of a query, of the largest product with a vector of the passage. A first stage and
a reranker made of the same folder use this one class, so they rank alike, and as sentence-transformers does.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from sentence_transformers.base.modules import Dense, Normalize
from sentence_transformers.multi_vector_encoder import MultiVectorEncoder
from sentence_transformers.multi_vector_encoder.modules import MultiVectorMask

from exabench.core.errors import BadInput
from exabench.core.nouns import ModelFolder, Progress, silent
from exabench.models.batch_store import BatchStore
from exabench.models.batches import budget_of, padded_batches, tokenise
from exabench.models.devices import DevicePool, on_device
from exabench.models.dual_encoder import WholeTransformer
from exabench.models.loading import dtype_of, loading, quantise, token_limit
from exabench.models.modules import load_module
from exabench.models.multi_vector_settings import MultiVectorSettings, multi_vector_settings
from exabench.models.screening import modules_in
from exabench.models.text_vectors import Batch, encoded_batches, prompts_of
from exabench.models.values import INT8

NO_MATCH = -1e9
"""The score of a passage without any vector, as sentence-transformers gives it: below all others."""

VECTORS_AT_ONCE = 16_384
"""Vectors of passages that are compared at a time; those of one passage always are."""

_WHAT = "a late-interaction model"
_TASKS = {"query": "query", "passage": "document"}
"""The sides, and what modules of sentence-transformers call them."""


@dataclass(frozen=True)
class Filling:
    """How a query is filled up: with `token`, to `length` tokens, which all queries have where that `is_width`.

    What is filled in is compared as other tokens are; the encoder may attend to it or not.
    """

    length: int
    token: int
    is_attended: bool
    is_width: bool

    def fill_up(self, batch: Batch) -> Batch:
        """A batch of queries, padded at the end, with every query filled up."""
        some, features = batch
        missing = max(0, self.length - features["input_ids"].shape[1])
        filled = {}
        for name, values in features.items():
            filled[name] = torch.nn.functional.pad(values, (0, missing))
        # Padding behind that length belongs to a longer query of the batch, and stays padding.
        attended = filled["attention_mask"]
        added = (attended == 0) & (torch.arange(attended.shape[1]) < self.length)
        filled["input_ids"] = filled["input_ids"].masked_fill(added, self.token)
        filled["query_expansion_positions"] = added  # the name that MultiVectorMask looks for
        if self.is_attended:
            filled["attention_mask"] = attended.masked_fill(added, 1)
        return some, filled


class TokenVectors:
    """A model folder as a function from texts to the float32 vectors `[vectors, width]` of each, one side at a time.

    Modules, prompts and lengths are the folder's own unless they are given: `max_length` is that of passages,
    `query_length` that of queries, to which shorter ones are filled with mask tokens where the folder says so. Reads
    weights only from safetensors, each once, and runs no code of the folder. Raises BadInput for a folder that is no
    such model or lacks weights.
    """

    def __init__(
        self,
        folder: ModelFolder,
        devices: Sequence[str],
        *,
        query_prompt: str | None = None,
        passage_prompt: str | None = None,
        query_length: int = 0,
        max_length: int = 0,
        precision: str = "float32",
        batch_tokens: int = 0,
    ) -> None:
        self.folder = folder
        self._batch_tokens = batch_tokens or budget_of(devices[0])
        settings = multi_vector_settings(folder.path)
        if settings is None:
            raise BadInput(
                "is not a late-interaction model of sentence-transformers (MultiVectorEncoder), PyLate or ColBERT",
                file=folder.path,
            )
        self.similarity = settings.similarity
        self.prompts = prompts_of({"prompts": settings.prompts}, query_prompt, passage_prompt)
        dtype = torch.float32  # int8 is made of it, after it is loaded
        if precision != INT8:
            dtype = dtype_of(precision)
        with loading(folder, _WHAT):
            modules = _load_modules(folder.path, settings, dtype)
            transformer = modules[0]
            self.modules = MultiVectorEncoder(modules=modules, device=devices[0], local_files_only=True)
            # The markers are one token each, as they were in training, wherever the vocabulary has them.
            self.modules._register_prefix_tokens(dict(settings.markers))
            self.modules.eval().requires_grad_(False)
            self.width = int(self.modules.get_embedding_dimension())
            self.tokenizer = transformer.tokenizer
            self.filling = _filling_of(transformer, query_length, folder.path)

            # Lengths. A query that is filled up has one at least; where each is as wide as the others, one at most too.
            wanted = {"query": query_length or transformer.query_length or 0}
            wanted["passage"] = max_length or transformer.document_length or 0
            self.shortest = {"query": 0, "passage": 0}
            if self.filling is not None:
                least = self.filling.length
                self.shortest["query"] = least
                if self.filling.is_width:
                    wanted["query"] = least
                elif wanted["query"]:
                    wanted["query"] = max(wanted["query"], least)
            self.limits = {}
            for side, limit in wanted.items():
                self.limits[side] = token_limit(self.tokenizer, transformer.model, folder, limit)
            self.parameters = sum(tensor.numel() for tensor in self.modules.parameters())
            if precision == INT8:
                transformer.model = quantise(transformer.model, devices[0])
        self._devices = DevicePool(devices, functools.partial(on_device, self.modules))

    def tokenise(self, texts: Sequence[str], side: str, more: int = 0) -> list[np.ndarray]:
        """The token ids int32 of each text behind its side's prompt, cut at the end to its limit + `more`.

        Those that a query is filled up with are not among them.
        """
        return tokenise(self.tokenizer, [self.prompts[side] + text for text in texts], self.limits[side] + more)

    def encode(self, texts: Sequence[str], side: str) -> list[np.ndarray]:
        """The vectors `[vectors, width]` of each text, in the order given."""
        return self.encode_tokens(self.tokenise(texts, side), side)

    def encode_tokens(
        self,
        rows: Sequence[np.ndarray],
        side: str,
        progress: Progress = silent,
        store: BatchStore | None = None,
    ) -> list[np.ndarray]:
        """The vectors of tokenised texts; the same rows in the same order give the same bits.

        Batches that are in `store` are not computed, and those that are computed are kept there.
        """
        batches = padded_batches(self.tokenizer, rows, self._batch_tokens)
        if side == "query" and self.filling is not None:
            batches = map(self.filling.fill_up, batches)

        def encode(modules: Any, features: Mapping[str, Any]) -> torch.Tensor:
            encoded = modules(dict(features), task=_TASKS[side])
            compared = encoded["attention_mask"].bool()
            vectors = encoded["token_embeddings"][compared].float()
            # One array, as the store keeps one for each batch: how many vectors each text has, then all of them.
            return torch.cat([compared.sum(1).float(), vectors.reshape(-1)])

        vectors = [np.zeros((0, self.width), np.float32)] * len(rows)
        for some, encoded in encoded_batches(self._devices, batches, encode, store, len(rows), progress):
            counts = encoded[: len(some)].astype(np.int64)
            together = encoded[len(some) :].reshape(-1, self.width)
            for place, own in zip(some, np.split(together, np.cumsum(counts)[:-1]), strict=True):
                vectors[place] = own
        return vectors

    def similarities(self, query: np.ndarray, passages: Sequence[np.ndarray]) -> np.ndarray:
        """float64 `[n]`: MaxSim of a query's vectors and those of each passage, summed in double precision.

        Memory holds VECTORS_AT_ONCE of them in double precision.
        """
        of_query = torch.from_numpy(query.reshape(-1, self.width).astype(np.float64))
        counts = np.array([vectors.size // self.width for vectors in passages])
        at_once = max(1, VECTORS_AT_ONCE // max(1, int(counts.max())))
        scores = np.empty(len(passages))
        for start in range(0, len(passages), at_once):
            some = slice(start, start + at_once)
            block = np.concatenate([vectors.reshape(-1, self.width) for vectors in passages[some]])
            of_passages = torch.from_numpy(block.astype(np.float64))
            found = self.compare(of_query, of_passages, np.array([len(of_query)]), counts[some])
            scores[some] = found[0].numpy()
        return scores

    def compare(
        self, queries: torch.Tensor, passages: torch.Tensor, query_counts: np.ndarray, passage_counts: np.ndarray
    ) -> torch.Tensor:
        """`[queries, passages]`: MaxSim of each query and each passage, in the precision and on the device of theirs.

        The vectors of all queries `[vectors, width]`, and of all passages, stand one behind the other; the counts say
        how many each has.
        """
        # A maximum over each passage's rows needs no padding, which passages of all lengths would have much of.
        lengths = torch.from_numpy(passage_counts).to(passages.device)
        products = passages @ queries.T
        best = torch.segment_reduce(products, "max", lengths=lengths, axis=0)
        of_queries = torch.from_numpy(query_counts).to(passages.device)
        scores = torch.segment_reduce(best.T.contiguous(), "sum", lengths=of_queries, axis=0)
        scores = scores.masked_fill(lengths == 0, NO_MATCH)
        if self.similarity == "meanmaxsim":
            scores = scores / of_queries.clamp(min=1)[:, None]
        return scores


def _load_modules(place: Path, settings: MultiVectorSettings, dtype: torch.dtype) -> list[Any]:
    """The modules of a folder, in evaluation mode; those that its form leaves out are added."""
    listed = modules_in(place)
    if listed and listed[0] != ("Transformer", ""):
        raise BadInput("its first module is not a Transformer in the folder itself", file=place / "modules.json")
    if not listed and not settings.has_projection:
        raise BadInput("has no modules.json", file=place)
    weights = {"use_safetensors": True, "dtype": dtype}
    transformer = WholeTransformer.load(
        str(place), local_files_only=True, model_kwargs=weights, init_defaults=dict(settings.transformer)
    )
    # Such settings change what a tokenizer makes of a text, which is read here by itself.
    if transformer.processing_kwargs or "message" in transformer.modality_config:
        raise BadInput("reads texts through a chat template or processing_kwargs, which is not supported", file=place)
    modules = [transformer]
    for kind, inside in listed[1:]:
        module = load_module(place, kind, inside)
        if kind == "Dense" and module.module_input_name == "sentence_embedding":  # older files name no input
            module.module_input_name = "token_embeddings"
            module.module_output_name = "token_embeddings"
        modules.append(module)
    if settings.has_projection:
        matrix = _projection(place)
        outputs, inputs = matrix.shape
        told = {"bias": False, "activation_function": None, "module_input_name": "token_embeddings"}
        modules.append(Dense(inputs, outputs, init_weight=matrix, **told))
    if settings.skipped is not None:
        modules.append(MultiVectorMask(skiplist_words=settings.skipped))
        modules.append(Normalize(module_input_name="token_embeddings"))
    return modules


def _projection(place: Path) -> torch.Tensor:
    """The last matrix of an original ColBERT, `[width, hidden size]`, float32. Raises BadInput."""
    for file in sorted(place.glob("*.safetensors")):
        with safe_open(file, "pt") as weights:
            if "linear.weight" in weights.keys():  # noqa: SIM118 - it is no mapping
                matrix: torch.Tensor = weights.get_tensor("linear.weight").float()
                return matrix
    raise BadInput("has no linear.weight, the last matrix: the folder is not a whole ColBERT", file=place)


def _filling_of(transformer: Any, query_length: int, place: Path) -> Filling | None:
    """How queries are filled up, None where they are not; `query_length` is a width that was asked for, or 0."""
    own = transformer.query_expansion
    if own is None:
        return None
    tokenizer = transformer.tokenizer
    if tokenizer.padding_side != "right":
        raise BadInput("fills queries up in front of their text, which is not supported", file=place)
    is_width = own["strategy"] == "fixed"
    length = own["length"]
    if query_length and is_width:
        length = query_length
    # A decoder has no mask token: its last one takes the place.
    token = tokenizer.mask_token_id
    if own["token"] is not None:
        token = tokenizer.convert_tokens_to_ids(own["token"])
    elif token is None:
        token = tokenizer.eos_token_id
    return Filling(int(length), int(token), is_attended=own["attend"], is_width=is_width)
