"""Learning: a reranker's model made trainable, with the very template and strategy by which it will score.

What is fitted is what will rank: the same tokens, the same cut, the same logits, the same strategy. Only dropout is on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from exabench.core.errors import BadInput
from exabench.core.nouns import Passage, Query
from exabench.models.batches import padded
from exabench.models.dual_learner import Compared, Sides, write_modules
from exabench.models.heads import Decoder, Pooled, Seq2Seq, inputs_of
from exabench.models.loading import silence
from exabench.models.templates import ModelInput, ids_of
from exabench.models.tokens import bare_ids

if TYPE_CHECKING:
    from exabench.models.head_loading import Loaded
    from exabench.models.heads import Head
    from exabench.models.strategies import Strategy
    from exabench.models.templates import Template

IGNORED = -100
"""The target id of a place where nothing is learnt, as transformers has it."""


class Scorer(nn.Module):  # type: ignore[misc]  # torch is not typed for mypy here
    """A head and its strategy as one module, which DDP, FSDP and torch.compile can wrap."""

    def __init__(self, head: Head, strategy: Strategy, answers: tuple[int, ...]) -> None:
        super().__init__()
        made: Any = head
        self.model: nn.Module = made.model
        if isinstance(head, Pooled) and head.dense is not None:  # one more layer, which the model does not know
            self.dense_weight, self.dense_bias = (nn.Parameter(tensor) for tensor in head.dense)
        self._plain = made
        self._strategy = strategy
        self._answers = answers

    @property
    def _head(self) -> Any:
        """The head with the layer as it stands: sharding puts other parameters in its place."""
        if not hasattr(self, "dense_weight"):
            return self._plain
        return replace(self._plain, dense=(self.dense_weight, self.dense_bias))

    def forward(self, ids: Tensor, mask: Tensor, types: Tensor | None, targets: Tensor | None = None) -> Tensor:
        """Scores `[n]`; or with `targets` int64 `[n, t]` the logits `[n, t, vocabulary]` of writing them."""
        if targets is not None:
            return self._head.written_logits(ids, mask, targets)
        return self._strategy(self._head.logits(ids, mask, types), self._answers)


class Learner:
    """A reranker's model while it learns, on one device."""

    def __init__(
        self,
        loaded: Loaded,
        template: Template | Sides,
        strategy: Strategy,
        answers: tuple[int, ...],
        *,
        max_length: int,
        fields: tuple[str, ...],
    ) -> None:
        self.name = loaded.folder.name
        self.tokenizer = loaded.tokenizer
        self.device = loaded.devices[0]
        self.pad = loaded.head.pad
        self.max_length = max_length
        self._head = loaded.head
        self._template = template
        self._fields = fields
        self.module = Scorer(loaded.head, strategy, answers)
        self.module.requires_grad_(True)

    @property
    def kind(self) -> str:
        """How transformers loads what `save` writes: "classifier", "seq2seq", "decoder", "encoder", "bi_encoder"."""
        kinds = ((Seq2Seq, "seq2seq"), (Decoder, "decoder"), (Compared, "bi_encoder"), (Pooled, "encoder"))
        for kind, name in kinds:
            if isinstance(self._head, kind):
                return name
        return "classifier"

    @property
    def blank(self) -> ModelInput:
        """An input of two tokens, one of each type, for a rank that has no item left."""
        return ModelInput(np.array([self.pad] * 2, np.int32), np.array([0, 1], np.int8), False, False)

    def items(self, query: Query, passages: Sequence[Passage]) -> list[ModelInput]:
        """One input of the model for each passage, as scoring would make it."""
        texts = [self._template.dressed((query.text, passage.flat(self._fields))) for passage in passages]
        every = list(dict.fromkeys(text for pair in texts for text in pair))
        ids = dict(zip(every, bare_ids(self.tokenizer, every), strict=True))
        return [self._template.build([ids[text] for text in pair], self.max_length) for pair in texts]

    def written(self, texts: Sequence[str], most: int = 512) -> list[np.ndarray]:
        """The ids int64 `[<= most]` of each text that is to be written, its end among them.

        Raises BadInput where the model is no language model.
        """
        if not isinstance(self._head, Seq2Seq | Decoder):
            raise BadInput(f"model {self.name} writes no text: loss lm needs a T5 or a causal language model")
        end = [self.tokenizer.eos_token_id]
        rows = [ids_of(self.tokenizer, text)[: most - 1] + end for text in texts]
        return [np.array(row, np.int64) for row in rows]

    def inputs(self, items: Sequence[ModelInput]) -> tuple[Tensor, Tensor, Tensor | None]:
        """Items as one padded batch on the device."""
        return inputs_of(items, self.pad, self.device)

    def targets(self, rows: Sequence[np.ndarray]) -> Tensor:
        """Targets as one int64 batch `[n, longest]` on the device; where one is shorter stands IGNORED."""
        return torch.from_numpy(padded(rows, IGNORED)).to(self.device)

    def save(self, folder: Path, weights: Mapping[str, Tensor]) -> None:
        """The module's `weights` by name, config.json and tokenizer, as transformers lays them out."""
        own = {name.removeprefix("model."): tensor for name, tensor in weights.items() if name.startswith("model.")}
        model: Any = self.module.model
        if self.kind == "classifier" and self._head.rows == 1:  # else CrossEncoder puts a sigmoid over its scores
            model.config.sentence_transformers = {"activation_fn": "torch.nn.modules.linear.Identity"}
        with silence():
            model.save_pretrained(folder, state_dict=own)
        self.tokenizer.save_pretrained(folder)
        if isinstance(self._head, Compared) and isinstance(self._template, Sides):
            write_modules(folder, self._head, self._template)
        if "dense_weight" in weights:
            file = folder / "model.safetensors"
            dense = {f"dense.{part}": weights[f"dense_{part}"].detach().cpu() for part in ("weight", "bias")}
            save_file({**load_file(file), **dense}, file, metadata={"format": "pt"})
