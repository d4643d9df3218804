"""Dual encoders: query and passage encoded apart, as sentence-transformers encodes them, and compared.

A first stage and a reranker made of the same folder use this one class, so they rank alike.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
from transformers import AutoConfig

from exabench.core.errors import BadInput, UnknownName, printable
from exabench.core.files import read_json
from exabench.core.nouns import ModelFolder, Progress, silent
from exabench.models.batch_store import BatchStore
from exabench.models.batches import budget_of, padded_batches, tokenise
from exabench.models.devices import DevicePool, on_device
from exabench.models.loading import dtype_of, loading, quantise, read_whole, token_limit
from exabench.models.modules import load_module
from exabench.models.screening import modules_in
from exabench.models.text_vectors import encoded_batches, prompts_of
from exabench.models.values import INT8, POOLINGS, SIMILARITIES

_WHAT = "a dual encoder"


class DualEncoder:
    """A model folder as a function from texts to float32 vectors `[n, width]`, one side ("query", "passage") at a time.

    Modules, prompts, similarity and the longest input are the folder's own unless they are given. A folder without
    modules.json is a plain encoder: mean pooling and dot products. Reads weights only from safetensors, each once,
    and runs no code of the folder. Raises BadInput for a folder that is no such model or lacks weights.
    """

    def __init__(
        self,
        folder: ModelFolder,
        devices: Sequence[str],
        *,
        pooling: str = "",
        similarity: str = "",
        query_prompt: str | None = None,
        passage_prompt: str | None = None,
        max_length: int = 0,
        precision: str = "float32",
        batch_tokens: int = 0,
    ) -> None:
        if pooling and pooling not in POOLINGS:
            raise UnknownName("pooling", pooling, POOLINGS)
        place = folder.path
        device = devices[0]
        self.folder = folder
        self._batch_tokens = batch_tokens or budget_of(device)
        listed = modules_in(place)

        # Similarity and prompts. Where a folder names no similarity, sentence-transformers compares by the cosine; a
        # plain encoder, which it did not write, gets the dot product.
        file = place / "config_sentence_transformers.json"
        settings = read_json(file) if file.is_file() else {}
        if not isinstance(settings, dict) or settings.get("model_type", "SentenceTransformer") != "SentenceTransformer":
            raise BadInput("is not the settings of a dual encoder (model_type SentenceTransformer)", file=file)
        own = settings.get("similarity_fn_name")
        if own is None:
            own = "cosine" if listed else "dot"
        if similarity and similarity not in SIMILARITIES:
            raise UnknownName("similarity", similarity, SIMILARITIES)
        if not similarity and own not in SIMILARITIES:
            raise BadInput(
                f"is made for similarity {printable(repr(own))}; known are {', '.join(SIMILARITIES)}", file=place
            )
        self.similarity = similarity or own
        self.unit = self.similarity == "cosine"  # do vectors have length 1?
        self.prompts = prompts_of(settings, query_prompt, passage_prompt)

        # Modules, in evaluation mode on the device.
        modules_file = place / "modules.json"
        path = str(place)
        dtype = torch.float32  # int8 is made of it, after it is loaded
        if precision != INT8:
            dtype = dtype_of(precision)
        weights = {"use_safetensors": True, "dtype": dtype}
        with loading(folder, _WHAT):
            if listed and listed[0] != ("Transformer", ""):
                raise BadInput("its first module is not a Transformer in the folder itself", file=modules_file)
            transformer = WholeTransformer.load(path, local_files_only=True, model_kwargs=weights)
            modules = [transformer]
            for kind, inside in listed[1:]:
                module = load_module(place, kind, inside)
                if kind == "Pooling" and pooling:
                    module = Pooling(module.embedding_dimension, pooling, module.include_prompt)
                modules.append(module)
            if not listed:
                modules.append(Pooling(transformer.get_embedding_dimension(), pooling or "mean"))
            elif "Pooling" not in dict(listed):
                raise BadInput("has no pooling, so it does not give one vector per text", file=modules_file)
            self.pooling = " + ".join(str(module.pooling_mode) for module in modules if isinstance(module, Pooling))
            self.modules = SentenceTransformer(modules=modules, device=device, local_files_only=True)
            self.modules.eval().requires_grad_(False)
            self.tokenizer = transformer.tokenizer
            self.max_length = token_limit(self.tokenizer, transformer.model, folder, max_length)
            self.limits = dict.fromkeys(self.prompts, self.max_length)
            self.shortest = dict.fromkeys(self.prompts, 0)
            self.parameters = sum(tensor.numel() for tensor in self.modules.parameters())
            if precision == INT8:
                transformer.model = quantise(transformer.model, device)
        self._devices = DevicePool(devices, functools.partial(on_device, self.modules))

    def encode(self, texts: Sequence[str], side: str) -> np.ndarray:
        """The vectors of texts, in the order given, at length 1 where the similarity is the cosine."""
        return self.encode_tokens(self.tokenise(texts, side), side)

    def tokenise(self, texts: Sequence[str], side: str, more: int = 0) -> list[np.ndarray]:
        """The token ids int32 of each text behind its side's prompt, cut at the end to `max_length` + `more`."""
        return tokenise(self.tokenizer, [self.prompts[side] + text for text in texts], self.max_length + more)

    def encode_tokens(
        self,
        rows: Sequence[np.ndarray],
        side: str,
        progress: Progress = silent,
        store: BatchStore | None = None,
    ) -> np.ndarray:
        """The vectors of tokenised texts; the same rows in the same order give the same bits.

        Batches that are in `store` are not computed, and those that are computed are kept there.
        """
        # some models (INSTRUCTOR) leave the tokens of the prompt out of pooling
        prompt = self.prompts[side]
        prompt_length = {}
        if prompt and not all(getattr(module, "include_prompt", True) for module in self.modules):
            prompt_length["prompt_length"] = self.modules.preprocess([""], prompt=prompt)["prompt_length"]

        def encode(modules: Any, features: Mapping[str, Any]) -> torch.Tensor:
            encoded = modules({**features, **prompt_length})["sentence_embedding"].float()
            if self.unit:
                encoded = torch.nn.functional.normalize(encoded)
            return encoded

        vectors = []
        places = []
        batches = padded_batches(self.tokenizer, rows, self._batch_tokens)
        for some, encoded in encoded_batches(self._devices, batches, encode, store, len(rows), progress):
            vectors.append(encoded.reshape(len(some), -1))
            places.append(some)
        return np.concatenate(vectors)[np.argsort(np.concatenate(places))]

    def similarities(self, query: np.ndarray, passages: Sequence[np.ndarray]) -> np.ndarray:
        """float64 `[n]`: the similarity of a query's vector and that of each passage (of at least one)."""
        together = np.stack(passages)
        return similarity_of_pairs(self.similarity, query.reshape(1, -1).repeat(len(together), 0), together)


def similarity_of_pairs(similarity: str, queries: np.ndarray, passages: np.ndarray) -> np.ndarray:
    """float64 `[n]`: the similarity of each query vector `[n, width]` and its passage's, summed in double precision.

    Vectors compared by cosine have length 1 already. A distance is negative, so that higher is better.
    """
    if similarity in ("cosine", "dot"):
        return np.einsum("ij,ij->i", queries, passages, dtype=np.float64)
    apart = queries.astype(np.float64) - passages
    if similarity == "euclidean":
        return -np.sqrt(np.square(apart).sum(1))
    return -np.abs(apart).sum(1)


class WholeTransformer(Transformer):  # type: ignore[misc]  # sentence-transformers is not typed for mypy here
    """A Transformer that refuses a folder without all of its weights, which are then random in the one above, and
    merges an adapter as every other model does here."""

    def _load_config(self, path: str, backend: str, options: dict[str, Any]) -> tuple[Any, bool]:
        return AutoConfig.from_pretrained(path, **{**options, "trust_remote_code": False}), False

    def _load_model(self, path: str, *given: Any, **options: Any) -> Any:
        def read(base: str) -> tuple[Any, Any]:
            found: tuple[Any, Any] = super(WholeTransformer, self)._load_model(
                base, *given, output_loading_info=True, **options
            )
            return found

        # no pooling reads the pooler's output
        return read_whole(Path(path), read, _WHAT, lambda model, name: "pooler" in name)
