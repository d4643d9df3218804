"""One side of a bi-encoder: a sentence-transformers folder, or a plain transformers one, as texts -> vectors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

from exabench.errors import BadInput, UnknownName
from exabench.files import read_json
from exabench.models import dtype_of, loading, weights_of
from exabench.nouns import ModelFolder
from exabench.retrievers._encoders import in_batches, token_limit, tokenised

POOLINGS = ("cls", "mean", "lasttoken")
SIMILARITIES = ("dot", "cosine")
# What a folder may be made of. The class names in its modules.json are imported, so only these are.
_MODULES = ("Transformer", "Pooling", "Normalize", "Dense")
_PROMPT_NAMES = {"query": ("query",), "passage": ("passage", "document", "corpus")}


class BiEncoder:
    """A model folder as a function from texts to float32 vectors `[n, dimension]`.

    `pooling` is the folder's own where it is "" (mean where the folder names none). Never runs code of the folder and
    reads its weights from safetensors alone. Raises BadInput for a folder that is no such model.
    """

    def __init__(
        self,
        folder: ModelFolder,
        device: torch.device,
        *,
        pooling: str = "",
        max_length: int = 0,
        precision: str = "float32",
        unit: bool = False,
    ) -> None:
        if pooling and pooling not in POOLINGS:
            raise UnknownName("pooling", pooling, POOLINGS)
        self.folder, self._device, self._unit = folder, device, unit
        with loading(folder, "a bi-encoder"):
            dtype = dtype_of(precision)
            self._model = _loaded(folder, pooling, {"use_safetensors": True, "dtype": dtype}, device)
            self._tokenizer, encoder = self._model.tokenizer, self._model.transformers_model
            # Once more for its refusals: sentence-transformers says nothing of weights that a folder lacks.
            weights_of(type(encoder), folder, "a bi-encoder", dtype, unread="pooler")  # never read here
            self.max_length = token_limit(self._tokenizer, encoder, folder, max_length)
        poolings = [str(module.pooling_mode) for module in self._model if isinstance(module, Pooling)]
        self.about = {
            "model": folder.name,
            "revision": folder.revision,
            "pooling": " + ".join(poolings) or "none",
            "max_length": self.max_length,
            "precision": precision,
        }

    def encode(self, texts: Sequence[str], prompt: str = "") -> np.ndarray:
        """The vectors of texts behind a prompt, in the order given; unit vectors where the encoder was made so."""
        rows = tokenised(self._tokenizer, [prompt + text for text in texts], self.max_length)
        extra = self._prompt_length(prompt)
        encoded: list[np.ndarray] = []
        places: list[np.ndarray] = []
        with torch.inference_mode():
            for some, features in in_batches(self._tokenizer, rows, self._device):
                vectors = self._model({**features, **extra})["sentence_embedding"].float()
                vectors = vectors[:, : self._model.truncate_dim]
                encoded.append((torch.nn.functional.normalize(vectors) if self._unit else vectors).cpu().numpy())
                places.append(some)
        return np.concatenate(encoded)[np.argsort(np.concatenate(places))]

    def _prompt_length(self, prompt: str) -> dict[str, int]:
        """The tokens to leave out of pooling, for models (INSTRUCTOR) whose pooling leaves the prompt out."""
        if not prompt or all(getattr(module, "include_prompt", True) for module in self._model):
            return {}
        return {"prompt_length": self._model.preprocess([""], prompt=prompt)["prompt_length"]}


def prompt_of(folder: ModelFolder, side: str) -> str:
    """The prompt that the folder itself gives for "query" or "passage"; "" where it gives none."""
    settings = _settings(folder)
    prompts = settings.get("prompts") or {}
    for name in (*_PROMPT_NAMES[side], settings.get("default_prompt_name")):
        if isinstance(prompts.get(name), str):
            return prompts[name]
    return ""


def similarity_of(folder: ModelFolder) -> str:
    """The similarity that the folder names; cosine where it normalises, else dot. Raises BadInput for another."""
    named = _settings(folder).get("similarity_fn_name")
    if named is not None and named not in SIMILARITIES:
        raise BadInput(f"is made for similarity {named!r}; only dot and cosine can be searched here", file=folder.path)
    return named or ("cosine" if any(kind == "Normalize" for kind, _ in _modules(folder)) else "dot")


def _settings(folder: ModelFolder) -> Mapping[str, Any]:
    file = folder.path / "config_sentence_transformers.json"
    found = read_json(file) if file.is_file() else {}
    if not isinstance(found, dict) or found.get("model_type", "SentenceTransformer") != "SentenceTransformer":
        raise BadInput("is not the settings of a bi-encoder (model_type SentenceTransformer)", file=file)
    return found


def _modules(folder: ModelFolder) -> list[tuple[str, str]]:
    """Class name and sub-folder of each module in modules.json. Raises BadInput for any but the four known kinds."""
    file = folder.path / "modules.json"
    listed = read_json(file) if file.is_file() else []
    try:
        found = [(str(module["type"]), str(module["path"])) for module in listed]
    except (TypeError, KeyError) as error:
        raise BadInput("is not a list of modules, each with type and path", file=file) from error
    for kind, path in found:
        if not kind.startswith("sentence_transformers.") or kind.split(".")[-1] not in _MODULES:
            raise BadInput(f"names a module {kind!r} where only {', '.join(_MODULES)} are loaded", file=file)
        if kind.endswith(".Dense") and not (folder.path / path / "model.safetensors").is_file():
            raise BadInput(f"module {path!r} holds no model.safetensors (pickles are never loaded)", file=file)
    return [(kind.split(".")[-1], path) for kind, path in found]


def _loaded(folder: ModelFolder, pooling: str, options: Mapping[str, Any], device: torch.device) -> SentenceTransformer:
    path = str(folder.path)
    if not _modules(folder):
        encoder = Transformer(path, model_kwargs={**options, "local_files_only": True})
        parts = [encoder, Pooling(encoder.get_embedding_dimension(), pooling or "mean")]
        return SentenceTransformer(modules=parts, device=str(device), local_files_only=True).eval()
    model = SentenceTransformer(path, device=str(device), local_files_only=True, model_kwargs=dict(options)).eval()
    places = [i for i, module in enumerate(model) if isinstance(module, Pooling)]
    if pooling and not places:
        raise BadInput("has no pooling that could be changed", file=folder.path)
    for i in places if pooling else ():
        model[i] = Pooling(model[i].embedding_dimension, pooling, model[i].include_prompt)
    return model
