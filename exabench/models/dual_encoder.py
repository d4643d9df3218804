"""Dual encoders: query and passage encoded apart, as sentence-transformers encodes them, and compared.

A first stage and a reranker made of the same folder use this one class, so they rank alike.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Dense, Normalize, Pooling, Transformer

from exabench.core.errors import BadInput, UnknownName
from exabench.core.files import read_json
from exabench.core.nouns import ModelFolder
from exabench.models.batches import budget_of, padded_batches, tokenised
from exabench.models.loading import INT8, dtype_of, loading, quantised, refuse_missing, token_limit
from exabench.models.sentence_modules import modules_in

POOLINGS = ("cls", "mean", "lasttoken")
"""Poolings that can be asked for; a folder may say others."""

SIMILARITIES = ("cosine", "dot", "euclidean", "manhattan")
PROMPT_NAMES = {"query": ("query",), "passage": ("document", "passage", "corpus")}
"""Sides of a dual encoder, and the names of their prompts in a folder, the first that is there counts."""

_WHAT = "a dual encoder"
_CLASSES = {"Pooling": Pooling, "Normalize": Normalize, "Dense": Dense}


class DualEncoder:
    """A model folder as a function from texts to float32 vectors `[n, width]`, one side ("query", "passage") at a time.

    Modules, prompts, similarity and the longest input are the folder's own unless they are given. A folder without
    modules.json is a plain encoder: mean pooling and dot products. Reads weights from safetensors alone, each once,
    and runs no code of the folder. Raises BadInput for a folder that is no such model or lacks weights.
    """

    def __init__(
        self,
        folder: ModelFolder,
        device: torch.device,
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
        settings = _settings(folder)
        self.folder = folder
        self.precision = precision
        self.similarity = similarity or _own_similarity(folder, settings)
        if self.similarity not in SIMILARITIES:
            raise UnknownName("similarity", self.similarity, SIMILARITIES)
        self.prompts = {
            "query": _own_prompt(settings, "query") if query_prompt is None else query_prompt,
            "passage": _own_prompt(settings, "passage") if passage_prompt is None else passage_prompt,
        }
        self._device = device
        self._batch_tokens = batch_tokens or budget_of(str(device))
        with loading(folder, _WHAT):
            self.modules = _load(folder, pooling, precision, device)
            self.tokenizer = self.modules[0].tokenizer
            self.max_length = token_limit(self.tokenizer, self.modules[0].model, folder, max_length)
            self.parameters = sum(tensor.numel() for tensor in self.modules.parameters())
            if precision == INT8:
                self.modules[0].model = quantised(self.modules[0].model, str(device))

    @property
    def pooling(self) -> str:
        """The pooling modes of the folder's modules, in order."""
        modes = [str(module.pooling_mode) for module in self.modules if isinstance(module, Pooling)]
        return " + ".join(modes) or "none"

    @property
    def unit(self) -> bool:
        """Do vectors have length 1?"""
        return self.similarity == "cosine"

    def tokenise(self, texts: Sequence[str], side: str) -> list[np.ndarray]:
        """The token ids of each text behind its side's prompt, int32, cut at the end to `max_length`."""
        return tokenised(self.tokenizer, [self.prompts[side] + text for text in texts], self.max_length)

    def is_cut(self, texts: Sequence[str], side: str) -> np.ndarray:
        """bool `[n]`: has the text more tokens than are read?"""
        rows = tokenised(self.tokenizer, [self.prompts[side] + text for text in texts], self.max_length + 1)
        return np.array([len(row) > self.max_length for row in rows], bool)

    def encode(self, texts: Sequence[str], side: str) -> np.ndarray:
        """The vectors of texts, in the order given, at length 1 where the similarity is the cosine."""
        return self.encode_tokens(self.tokenise(texts, side), side)

    def encode_tokens(self, rows: Sequence[np.ndarray], side: str) -> np.ndarray:
        """The vectors of tokenised texts; the same rows in the same order give the same bits."""
        prompt_length = self._prompt_length(self.prompts[side])
        vectors: list[np.ndarray] = []
        places: list[np.ndarray] = []
        with torch.inference_mode():
            for some, features in padded_batches(self.tokenizer, rows, self._batch_tokens, self._device):
                found = self.modules({**features, **prompt_length})["sentence_embedding"].float()
                if self.unit:
                    found = torch.nn.functional.normalize(found)
                vectors.append(found.cpu().numpy())
                places.append(some)
        return np.concatenate(vectors)[np.argsort(np.concatenate(places))]

    def _prompt_length(self, prompt: str) -> dict[str, int]:
        """The tokens to leave out of pooling, for models (INSTRUCTOR) whose pooling leaves the prompt out."""
        if not prompt or all(getattr(module, "include_prompt", True) for module in self.modules):
            return {}
        return {"prompt_length": self.modules.preprocess([""], prompt=prompt)["prompt_length"]}


def similarity_of_pairs(similarity: str, queries: np.ndarray, passages: np.ndarray) -> np.ndarray:
    """float64 `[n]`: each query vector `[n, width]` beside its passage's, summed in double precision.

    Vectors compared by cosine have length 1 already. A distance is negative, so that higher is better.
    """
    if similarity == "euclidean":
        return -np.sqrt(np.square(queries.astype(np.float64) - passages).sum(1))
    if similarity == "manhattan":
        return -np.abs(queries.astype(np.float64) - passages).sum(1)
    return np.einsum("ij,ij->i", queries, passages, dtype=np.float64)


class _WholeTransformer(Transformer):  # type: ignore[misc]  # sentence-transformers is not typed for mypy here
    """A Transformer that refuses a folder without all of its weights, which are then random in the one above."""

    def _load_model(self, path: str, *given: Any, **options: Any) -> Any:
        model, report = super()._load_model(path, *given, output_loading_info=True, **options)
        refuse_missing(report, path, _WHAT, unread="pooler")  # no pooling reads the pooler's output
        return model


def _load(folder: ModelFolder, pooling: str, precision: str, device: torch.device) -> SentenceTransformer:
    """The modules of a folder in evaluation mode on a device."""
    path = str(folder.path)
    dtype = torch.float32 if precision == INT8 else dtype_of(precision)
    told = {"use_safetensors": True, "dtype": dtype}
    listed = modules_in(folder.path)
    if listed and listed[0] != ("Transformer", ""):
        raise BadInput("its first module is no Transformer in the folder itself", file=folder.path / "modules.json")
    modules: list[Any] = [_WholeTransformer.load(path, local_files_only=True, model_kwargs=told)]
    for kind, inside in listed[1:]:
        if kind == "Dense" and not (folder.path / inside / "model.safetensors").is_file():
            raise BadInput(f"module {inside!r} holds no model.safetensors (pickles are never loaded)", file=folder.path)
        modules.append(_CLASSES[kind].load(path, subfolder=inside, local_files_only=True))
    if listed and not any(module.kind == "Pooling" for module in listed):
        raise BadInput("has no pooling, so a text is no single vector", file=folder.path / "modules.json")
    if not listed:
        modules.append(Pooling(modules[0].get_embedding_dimension(), pooling or "mean"))
    elif pooling:
        for place, module in enumerate(modules):
            if isinstance(module, Pooling):
                modules[place] = Pooling(module.embedding_dimension, pooling, module.include_prompt)
    return SentenceTransformer(modules=modules, device=str(device), local_files_only=True).eval().requires_grad_(False)


def _settings(folder: ModelFolder) -> Mapping[str, Any]:
    file = folder.path / "config_sentence_transformers.json"
    settings = read_json(file) if file.is_file() else {}
    if not isinstance(settings, dict) or settings.get("model_type", "SentenceTransformer") != "SentenceTransformer":
        raise BadInput("is not the settings of a dual encoder (model_type SentenceTransformer)", file=file)
    return settings


def _own_similarity(folder: ModelFolder, settings: Mapping[str, Any]) -> str:
    """The similarity that the folder names; where it names none, the cosine as sentence-transformers has it.

    A plain encoder, which sentence-transformers did not write, gets the dot product. Raises BadInput.
    """
    named = settings.get("similarity_fn_name")
    if named is None:
        return "cosine" if modules_in(folder.path) else "dot"
    if named not in SIMILARITIES:
        raise BadInput(f"is made for similarity {named!r}; known are {', '.join(SIMILARITIES)}", file=folder.path)
    return str(named)


def _own_prompt(settings: Mapping[str, Any], side: str) -> str:
    """The prompt that the folder gives for a side; empty where it gives none."""
    prompts = settings.get("prompts") or {}
    for name in PROMPT_NAMES[side]:
        if isinstance(prompts.get(name), str):
            return str(prompts[name])
    return ""
