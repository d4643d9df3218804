"""A dual encoder while it learns: query and passage as one input, told apart by their token types.

The trainer batches inputs and scores, so the two texts of a pair go through it together and apart again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from exabench.core.files import json_text, write
from exabench.models.heads import Pooled
from exabench.models.templates import ModelInput, ends_of

if TYPE_CHECKING:
    from torch import Tensor

QUERY, PASSAGE = 0, 1
_OLD_NAMES = {"cls": "cls_token", "mean": "mean_tokens", "max": "max_tokens", "lasttoken": "lasttoken"}
_PART = "sentence_transformers.models."


class Sides:
    """How a dual encoder reads a query and a passage: each behind its prompt, between the tokenizer's special tokens.

    An item holds the ids of both, the query's first.
    """

    def __init__(self, prompts: Mapping[str, str], tokenizer: Any) -> None:
        self.prompts = prompts
        self._ends = ends_of(tokenizer)

    def dressed(self, texts: Sequence[str]) -> tuple[str, ...]:
        """The two texts as they are to be tokenised."""
        return self.prompts["query"] + texts[QUERY], self.prompts["passage"] + texts[PASSAGE]

    def build(self, fields: Sequence[np.ndarray], limit: int) -> ModelInput:
        """Both inputs behind one another, each cut at its end to `limit` tokens; types say which is which."""
        start, end = self._ends
        room = limit - len(start) - len(end)
        rows = [np.concatenate([start, ids[:room], end]) for ids in fields]
        types = np.repeat(np.array([QUERY, PASSAGE], np.int8), [len(row) for row in rows])
        cut_query, cut_passage = (len(ids) > room for ids in fields)
        return ModelInput(np.concatenate(rows), types, cut_passage, cut_query)


@dataclass(frozen=True)
class Compared(Pooled):
    """An encoder that gives a number for each item of Sides: the product of its two vectors."""

    @property
    def rows(self) -> int:
        """One number."""
        return 1

    def logits(self, ids: Tensor, mask: Tensor, types: Tensor | None) -> Tensor:
        """The products `[n, 1]`."""
        sides: Any = types  # every item of Sides has them
        query = self._side(ids, mask & (sides == QUERY))
        passage = self._side(ids, mask & (sides == PASSAGE))
        return (query * passage).sum(1, keepdim=True)

    def _side(self, ids: Tensor, mask: Tensor) -> Tensor:
        """The vectors `[n, width]` of the texts that `mask` shows, each brought to the front of its row."""
        lengths = mask.sum(1, keepdim=True)
        front = (~mask).long().argsort(dim=1, stable=True)[:, : int(lengths.max())]
        there = torch.arange(front.shape[1], device=ids.device) < lengths
        return super().logits(ids.gather(1, front).masked_fill(~there, self.pad), there, None)


def write_modules(folder: Path, head: Compared, sides: Sides) -> None:
    """Write what sentence-transformers reads beside the weights: modules, pooling, longest input, prompts."""
    parts = [("Transformer", ""), ("Pooling", "1_Pooling")]
    if head.normal:
        parts.append(("Normalize", "2_Normalize"))
    modules = [{"idx": n, "name": str(n), "path": path, "type": _PART + part} for n, (part, path) in enumerate(parts)]
    pooling: dict[str, Any] = {"word_embedding_dimension": head.model.config.hidden_size}
    for mode, old_name in _OLD_NAMES.items():
        pooling[f"pooling_mode_{old_name}"] = mode == head.pooling
    settings = {
        "prompts": {"query": sides.prompts["query"], "document": sides.prompts["passage"]},
        "similarity_fn_name": "cosine" if head.normal else "dot",
    }
    write(folder / "modules.json", json_text(modules))
    write(folder / "1_Pooling" / "config.json", json_text(pooling))
    write(folder / "sentence_bert_config.json", json_text({"max_seq_length": head.limit, "do_lower_case": False}))
    write(folder / "config_sentence_transformers.json", json_text(settings))
