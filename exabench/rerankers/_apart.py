"""Query and passage read apart, as one input of a model while it learns: the ids of both, told apart by their types."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from exabench.files import json_text, write
from exabench.rerankers._heads import Pooled
from exabench.rerankers._templates import Item

if TYPE_CHECKING:
    from torch import Tensor

    from exabench.rerankers._templates import Template

QUERY, PASSAGE = 0, 1
_MODES = {"first": "cls_token", "mean": "mean_tokens", "max": "max_tokens", "last": "lasttoken"}
_PART = "sentence_transformers.models."


@dataclass(frozen=True)
class Sides:
    """The templates of queries and of passages as one: an item is what either makes, the query's first."""

    query: Template
    passage: Template

    def dressed(self, texts: Sequence[str]) -> tuple[str, ...]:
        """The two texts as they are to be tokenised."""
        return self.query.dressed(texts)[QUERY], self.passage.dressed(texts)[PASSAGE]

    def build(self, fields: Sequence[np.ndarray], limit: int) -> Item:
        """Both inputs, each of at most `limit` tokens, behind one another; types say which is which."""
        asked, read = self.query.build(fields, limit), self.passage.build(fields, limit)
        types = np.repeat(np.array([QUERY, PASSAGE], np.int8), [len(asked.ids), len(read.ids)])
        return Item(np.concatenate([asked.ids, read.ids]), types, read.cut_passage, asked.cut_query)


@dataclass(frozen=True)
class Compared(Pooled):
    """An encoder that gives a number for each item of Sides: the product of its two vectors."""

    @property
    def rows(self) -> int:
        """One number."""
        return 1

    def logits(self, ids: Tensor, mask: Tensor, types: Tensor | None) -> Tensor:
        """The products `[n, 1]`."""
        kinds: Any = types  # every item of Sides has them
        query, passage = (self._side(ids, mask & (kinds == side)) for side in (QUERY, PASSAGE))
        return (query * passage).sum(1, keepdim=True)

    def _side(self, ids: Tensor, mask: Tensor) -> Tensor:
        """The vectors `[n, width]` of the texts that `mask` shows, each brought to the front of its row."""
        lengths = mask.sum(1, keepdim=True)
        front = (~mask).long().argsort(dim=1, stable=True)[:, : int(lengths.max())]
        there = torch.arange(front.shape[1], device=ids.device) < lengths
        return super().logits(ids.gather(1, front).masked_fill(~there, self.pad), there, None)


def write_modules(folder: Path, head: Compared, sides: Sides) -> None:
    """What sentence-transformers reads beside the weights: the parts of the model, its pooling, limit and prompts."""
    parts = [("Transformer", ""), ("Pooling", "1_Pooling"), *([("Normalize", "2_Normalize")] if head.normal else [])]
    modules = [{"idx": n, "name": str(n), "path": path, "type": _PART + part} for n, (part, path) in enumerate(parts)]
    width = {"word_embedding_dimension": head.model.config.hidden_size}
    modes = {f"pooling_mode_{mode}": pooling == head.pooling for pooling, mode in _MODES.items()}
    prompts = {"query": sides.query.text.split("{")[0], "document": sides.passage.text.split("{")[0]}
    how = {"prompts": prompts, "similarity_fn_name": "cosine" if head.normal else "dot"}
    write(folder / "modules.json", json_text(modules))
    write(folder / "1_Pooling" / "config.json", json_text({**width, **modes}))
    write(folder / "sentence_bert_config.json", json_text({"max_seq_length": head.limit, "do_lower_case": False}))
    write(folder / "config_sentence_transformers.json", json_text(how))
