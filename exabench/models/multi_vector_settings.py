"""Late-interaction models as they are saved: by sentence-transformers, by PyLate, and as the original ColBERT.

What the settings of a folder say, in the terms of sentence-transformers' MultiVectorEncoder, which reads all three;
weights are not read. https://sbert.net/docs/multi_vector_encoder/usage/usage.html
"""

from __future__ import annotations

import string
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from exabench.hub.client import COLBERT_SETTINGS
from exabench.models.modules import OF_MODEL, OF_TRANSFORMER, settings_in
from exabench.models.screening import COLBERT

_MADE_AS = "MultiVectorEncoder"
_PYLATE = "ColBERT"
_OF_PYLATE = ("query_prefix", "document_prefix")
"""Keys that only PyLate writes; its older versions name no class."""

_LENGTHS = ("query_length", "document_length")
_MARKERS = {"query": "[unused0]", "document": "[unused1]"}
_QUERY_LENGTH = 32
SIMILARITIES = ("maxsim", "meanmaxsim")


@dataclass(frozen=True)
class MultiVectorSettings:
    """How a folder of a late-interaction model is read; `why` is what in it says that it is one.

    `prompts` are those of "query" and "document"; `markers` the starts of them that may each be one token.
    `transformer` are settings of the Transformer, which those in its file override. `skipped` are the words of passages
    that are left out of a comparison, None where a module of the folder lists them. `has_projection`: is the last
    matrix among the encoder's weights, as in an original ColBERT?
    """

    why: str
    prompts: Mapping[str, str] = field(default_factory=dict)
    markers: Mapping[str, str] = field(default_factory=dict)
    transformer: Mapping[str, Any] = field(default_factory=dict)
    skipped: list[str] | None = None
    similarity: str = "maxsim"
    has_projection: bool = False

    @property
    def passage_length(self) -> int:
        """The tokens that are read of a passage; 0 where that is not said."""
        length = self.transformer.get("document_length")
        return length if isinstance(length, int) else 0


def multi_vector_settings(folder: Path) -> MultiVectorSettings | None:
    """The settings of a late-interaction model; None for a folder that does not say it is one. Raises BadInput."""
    of_model = settings_in(folder / OF_MODEL)
    made_as = of_model.get("model_type")
    if made_as == _MADE_AS:
        similarity = str(of_model.get("similarity_fn_name"))
        of_transformer = settings_in(folder / OF_TRANSFORMER)
        lengths = {key: of_transformer[key] for key in _LENGTHS if key in of_transformer}
        return MultiVectorSettings(
            why=f"{OF_MODEL} says {_MADE_AS}",
            prompts=_table(of_model.get("prompts")),
            transformer=lengths,
            # A model that was made of one with single vectors may still name their similarity.
            similarity=similarity if similarity in SIMILARITIES else "maxsim",
        )
    if made_as == _PYLATE:
        return _of_pylate(of_model, f"{OF_MODEL} says {_PYLATE}, as PyLate writes it")
    for key in _OF_PYLATE:
        if key in of_model:
            return _of_pylate(of_model, f"{OF_MODEL} says {key}, as PyLate writes it")
    # Converted by PyLate or sentence-transformers it may keep its architecture, and has modules instead.
    architectures = settings_in(folder / "config.json").get("architectures")
    if isinstance(architectures, list) and COLBERT in architectures and not (folder / "modules.json").is_file():
        return _of_colbert(folder)
    return None


def _of_pylate(of_model: Mapping[str, Any], why: str) -> MultiVectorSettings:
    prompts = dict(_table(of_model.get("prompts")))
    # A mark stands before the prompt, and older versions wrote it there as well.
    markers = {}
    for side in ("query", "document"):
        if f"{side}_prefix" in of_model:
            markers[side] = str(of_model[f"{side}_prefix"] or "")
            prompts[side] = markers[side] + prompts.get(side, "").removeprefix(markers[side])
    transformer = {}
    for key in _LENGTHS:
        if of_model.get(key) is not None:
            transformer[key] = of_model[key]
    if "query_expansion" in of_model:
        transformer["query_expansion"] = of_model["query_expansion"]
    elif of_model.get("do_query_expansion") is False:
        transformer["query_expansion"] = None
    else:  # a query is filled up to its length, which is then no limit of its own
        transformer["query_expansion"] = _filled_to(
            transformer.pop("query_length", _QUERY_LENGTH), of_model.get("attend_to_expansion_tokens")
        )
    skipped = of_model.get("skiplist_words")
    if skipped is None:  # PyLate leaves out punctuation unless it is told otherwise
        skipped = list(string.punctuation)
    return MultiVectorSettings(
        why=why, prompts=prompts, markers=markers, transformer=transformer, skipped=list(map(str, skipped))
    )


def _of_colbert(folder: Path) -> MultiVectorSettings:
    file = folder / COLBERT_SETTINGS
    saved = settings_in(file) if file.is_file() else {}
    markers = {
        "query": f"{saved.get('query_token_id') or _MARKERS['query']} ",
        "document": f"{saved.get('doc_token_id') or _MARKERS['document']} ",
    }
    # Each query of ColBERT is filled up: its settings say only to which length.
    length = saved.get("query_maxlen") or _QUERY_LENGTH
    transformer = {"query_expansion": _filled_to(length, saved.get("attend_to_mask_tokens"))}
    if saved.get("doc_maxlen") is not None:
        transformer["document_length"] = saved["doc_maxlen"]
    skipped: list[str] = []
    if saved.get("mask_punctuation", True):
        skipped = list(string.punctuation)
    return MultiVectorSettings(
        why=f"config.json says {COLBERT}",
        prompts=markers,
        markers=markers,
        transformer=transformer,
        skipped=skipped,
        has_projection=True,
    )


def _filled_to(length: Any, attended: Any) -> dict[str, Any]:
    """Queries of exactly this many tokens: those of a shorter one are followed by mask tokens, which are compared."""
    return {"strategy": "fixed", "attend": bool(attended), "length": length}


def _table(value: Any) -> Mapping[str, str]:
    """The texts in a table of prompts; none where it is no table."""
    if not isinstance(value, Mapping):
        return {}
    return {str(name): text for name, text in value.items() if isinstance(text, str)}
