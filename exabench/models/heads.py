"""Heads: a loaded model as the engine sees it, token ids in and a few numbers for each item out."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from exabench.models.batches import pad_rows
from exabench.models.templates import PASSAGE, QUERY, ModelInput

POOLINGS = ("cls", "mean", "max", "lasttoken")
"""The ways in which Pooled makes one vector of a text's states, by the names of sentence-transformers."""


def inputs_of(items: Sequence[ModelInput], pad: int, device: str) -> tuple[Tensor, Tensor, Tensor | None]:
    """Items as one batch on a device: ids int64, mask bool (both `[n, longest]`) and, where they have them, types."""
    ids = torch.from_numpy(pad_rows([item.ids for item in items], pad))
    lengths = torch.tensor([len(item.ids) for item in items])
    mask = torch.arange(ids.shape[1])[None, :] < lengths[:, None]
    types: Tensor | None = None
    rows = [item.types for item in items if item.types is not None]
    if rows:
        types = _to_device(torch.from_numpy(pad_rows(rows, 0)), device)
    return _to_device(ids, device), _to_device(mask, device), types


def _to_device(tensor: Tensor, device: str) -> Tensor:
    """The tensor on a device; pinned first where that is a GPU, so that the copy overlaps with what is computed."""
    if device.startswith("cuda"):
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor


@dataclass(frozen=True)
class Head(ABC):
    """A transformers model on one device. A mask is always given, and padding (the id `pad`) stands at the end.

    `limit` is the most tokens that one item may have; `chosen` are the vocabulary rows that are computed (empty: all),
    which are the columns of the logits then. `kind` is how transformers loads such a model (see head_loading.KINDS).
    """

    kind: ClassVar[str]
    model: Any
    limit: int
    pad: int
    chosen: tuple[int, ...] = ()

    @abstractmethod
    def logits(self, ids: Tensor, mask: Tensor, types: Tensor | None) -> Tensor:
        """float32 `[n, columns]` of `ids` int64 and `mask` bool, both `[n, length]`, and token types where known."""

    @property
    def rows(self) -> int:
        """Rows of the vocabulary (or labels) computed for each item."""
        return len(self.chosen) or int(self._weight.shape[0])

    @property
    def _weight(self) -> Tensor:
        """The needed rows of the output embedding, in float32: scores that differ by little must stay different."""
        weight = self.model.get_output_embeddings().weight
        if self.chosen:
            weight = weight[list(self.chosen)]
        return weight.float()

    def on(self, device: str) -> Any:
        """This head, or a replica of it, on another device."""
        here = next(self.model.parameters()).device
        there = torch.device(device)
        if there.type == here.type and (there.index or 0) == (here.index or 0):
            return self
        return replace(self, model=_replica(self.model, there))


@dataclass(frozen=True)
class Seq2Seq(Head):
    """A T5: one encoder pass and one decoder step give the logits of the first token it would write."""

    kind = "seq2seq"

    def logits(self, ids: Tensor, mask: Tensor, types: Tensor | None) -> Tensor:
        """The first token's logits."""
        states = self.model.get_encoder()(input_ids=ids, attention_mask=mask).last_hidden_state
        start = ids.new_full((len(ids), 1), self.model.config.decoder_start_token_id or 0)
        step = self.model.get_decoder()(
            input_ids=start, encoder_hidden_states=states, encoder_attention_mask=mask, use_cache=False
        )
        state = step.last_hidden_state[:, 0].float()
        # T5 v1.0 shares its embedding with its output and scales for it; v1.1, flan and mT5 have their own output
        config = self.model.config
        tied = {"t5": "scale_decoder_outputs", "umt5": "tie_word_embeddings"}.get(config.model_type, "")
        if getattr(config, tied, False):
            state = state * config.d_model**-0.5
        return _linear(state, self._weight)

    def written(self, ids: Tensor, most: int) -> Tensor:
        """The token ids `[1, <= most + 1]` that the model writes greedily after one input `[1, length]`."""
        return self.model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids, dtype=torch.bool),
            max_new_tokens=most,
            do_sample=False,
            num_beams=1,
            pad_token_id=self.pad,
        )

    def target_logits(self, ids: Tensor, mask: Tensor, targets: Tensor) -> Tensor:
        """Logits `[n, t, vocabulary]` of each target token after those before it (`targets` int64 `[n, t]`)."""
        before = targets.new_full(targets.shape, self.model.config.decoder_start_token_id or 0)
        before[:, 1:] = targets[:, :-1].clamp(min=0)  # behind a target's end nothing is learnt, so any id will do
        return self.model(input_ids=ids, attention_mask=mask, decoder_input_ids=before, use_cache=False).logits


@dataclass(frozen=True)
class Decoder(Head):
    """A causal language model: the logits of the token that follows the last real one.

    Padding stands at the end, where a causal model never looks back from, so positions are those of the item alone.
    """

    kind = "decoder"

    def logits(self, ids: Tensor, mask: Tensor, types: Tensor | None) -> Tensor:
        """The next token's logits, scaled and capped as the model itself does it (Granite, Gemma 2)."""
        states = self.model.base_model(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state
        last = states[torch.arange(len(ids), device=ids.device), mask.sum(1) - 1]
        config = self.model.config
        logits = _linear(last.float(), self._weight) / (getattr(config, "logits_scaling", None) or 1.0)
        cap = getattr(config, "final_logit_softcapping", None)
        if cap:
            logits = cap * torch.tanh(logits / cap)
        return logits

    def target_logits(self, ids: Tensor, mask: Tensor, targets: Tensor) -> Tensor:
        """Logits `[n, t, vocabulary]` of each target token after the item and the targets before it."""
        lengths = mask.sum(1)
        # each target token stands right behind the last real one
        places = lengths[:, None] + torch.arange(targets.shape[1], device=ids.device)
        whole = nn.functional.pad(ids, (0, targets.shape[1]), value=self.pad)
        whole = whole.scatter(1, places, targets.clamp(min=0))
        seen = torch.arange(whole.shape[1], device=ids.device) < (lengths + (targets >= 0).sum(1))[:, None]
        logits = self.model(input_ids=whole, attention_mask=seen, use_cache=False).logits
        return logits[torch.arange(len(ids), device=ids.device)[:, None], places - 1]


@dataclass(frozen=True)
class Classifier(Head):
    """A model with a classification head of one or two labels."""

    kind = "classifier"

    @property
    def rows(self) -> int:
        """The number of labels."""
        return int(self.model.config.num_labels)

    def logits(self, ids: Tensor, mask: Tensor, types: Tensor | None) -> Tensor:
        """The labels' logits."""
        return _run(self.model, ids, mask, types).logits.float()


@dataclass(frozen=True)
class Pooled(Head):
    """An encoder whose states are pooled into one vector (`cls`, `mean`, `max` or `lasttoken`).

    The vector is the output, at length 1 where `normal`; or, with `dense` (a linear layer from the width to 1, in
    float32), the one number that it makes of the vector (RankT5's encoder).
    """

    kind = "encoder"
    pooling: str = "mean"
    normal: bool = False
    dense: Any = None

    @property
    def rows(self) -> int:
        """One with `dense`; without it nothing is multiplied after the last layer."""
        return 1 if self.dense else 0

    def on(self, device: str) -> Any:
        return replace(super().on(device), dense=copy.deepcopy(self.dense).to(device) if self.dense else None)

    def logits(self, ids: Tensor, mask: Tensor, types: Tensor | None) -> Tensor:
        """The vectors `[n, width]`, or the numbers `[n, 1]`."""
        states = _run(self.model, ids, mask, types).last_hidden_state.float()
        real = mask[..., None]
        if self.pooling == "cls":
            vectors = states[:, 0]
        elif self.pooling == "lasttoken":
            vectors = states[torch.arange(len(states), device=states.device), mask.sum(1) - 1]
        elif self.pooling == "max":
            vectors = states.masked_fill(~real, -torch.inf).amax(1)
        else:
            vectors = (states * real).sum(1) / real.sum(1)
        if self.dense:
            return _linear(vectors, self.dense.weight, self.dense.bias)
        if self.normal:
            vectors = nn.functional.normalize(vectors, dim=-1)
        return vectors


@dataclass(frozen=True)
class Compared(Pooled):
    """A dual encoder that learns: a number for each item of templates.Sides, the product of its two vectors.

    The trainer batches items, so the two texts of a pair go through it as one item and are taken apart here, by types.
    """

    kind = "bi_encoder"

    def logits(self, ids: Tensor, mask: Tensor, types: Tensor | None) -> Tensor:
        """The products `[n, 1]`."""
        vectors = []
        for side in (QUERY, PASSAGE):
            part = mask & (types == side)
            # the side's tokens, brought to the front of each row and padded there
            lengths = part.sum(1, keepdim=True)
            front = (~part).long().argsort(dim=1, stable=True)[:, : int(lengths.max())]
            real = torch.arange(front.shape[1], device=ids.device) < lengths
            vectors.append(super().logits(ids.gather(1, front).masked_fill(~real, self.pad), real, None))
        return (vectors[0] * vectors[1]).sum(1, keepdim=True)


def _linear(states: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """The product in the precision that it is given in, autocast or not."""
    with torch.autocast(states.device.type, enabled=False):
        return nn.functional.linear(states, weight, bias)


def _run(model: Any, ids: Tensor, mask: Tensor, types: Tensor | None) -> Any:
    """The output of an encoder; only a model that tells token types apart is given them."""
    if types is None or (getattr(model.config, "type_vocab_size", 0) or 0) < 2:
        return model(input_ids=ids, attention_mask=mask)
    return model(input_ids=ids, attention_mask=mask, token_type_ids=types)


def _replica(model: Any, device: torch.device) -> Any:
    """A deep copy whose tensors are copied once, straight to `device`; those that were shared still are."""
    memo = {}
    for tensor in chain(model.parameters(), model.buffers()):
        moved = tensor.detach().to(device)
        if isinstance(tensor, nn.Parameter):
            moved = nn.Parameter(moved, requires_grad=False)
        memo[id(tensor)] = moved
    return copy.deepcopy(model, memo).to(device)
