"""Learning: a reranker's model made trainable, with exactly the template and strategy by which it will score.

What is fitted is what will rank: the same tokens, the same cut, the same logits, the same strategy. Only dropout is on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from exabench.core.errors import BadInput
from exabench.core.files import json_text, write
from exabench.core.nouns import Passage, Query
from exabench.models.heads import Classifier, Loaded, inputs_of, targets_of
from exabench.models.loading import silence
from exabench.models.logit_score import copy_settings
from exabench.models.lora import LowRank
from exabench.models.strategies import Strategy
from exabench.models.templates import DualTemplate, ModelInput, Template, ids_of
from exabench.models.tokens import bare_ids

# a pooling as the settings of older releases of sentence-transformers name it, which every release reads
_OLD_NAMES = {"cls": "cls_token", "mean": "mean_tokens", "max": "max_tokens", "lasttoken": "lasttoken"}


class Scorer(nn.Module):  # type: ignore[misc]  # torch is not typed for mypy here
    """A head and its strategy as one module, which DDP, FSDP and torch.compile can wrap.

    A dual encoder has no strategy: its output is a vector.
    """

    def __init__(self, head: Any, strategy: Strategy | None, answers: tuple[int, ...]) -> None:
        super().__init__()
        for name, layer in head.layers.items():
            self.add_module(name, layer)
        self.model = head.model
        self._head = head
        self._strategy = strategy
        self._answers = answers

    def learnt(self) -> dict[str, Tensor]:
        """The state of the module by name, as it is (not copied); where only some of it learns, only that."""
        state = self.state_dict(keep_vars=True)
        if all(parameter.requires_grad for parameter in self.parameters()):
            return dict(state)
        return {name: tensor for name, tensor in state.items() if tensor.requires_grad}

    def forward(self, ids: Tensor, mask: Tensor, types: Tensor | None, targets: Tensor | None = None) -> Tensor:
        """Scores `[n]`, or a dual encoder's vectors `[n, width]`; with `targets` int64 `[n, t]` the logits of writing
        them, `[n, t, vocabulary]`."""
        if targets is not None:
            return self._head.target_logits(ids, mask, targets)
        logits = self._head.logits(ids, mask, types)
        if self._strategy is None:
            return logits
        return self._strategy(logits, self._answers)


class Learner:
    """A reranker's model while it learns, on one device. `kind` is how transformers loads what `save` writes:
    classifier, seq2seq, decoder, encoder, bi_encoder, late_interaction.

    A query and its passages become `items`, the inputs of `module`; `scores` makes the passages' scores of its outputs.
    """

    def __init__(
        self,
        loaded: Loaded,
        template: Template | DualTemplate,
        strategy: Strategy | None,
        answers: tuple[int, ...],
        *,
        max_length: int,
        fields: tuple[str, ...],
    ) -> None:
        self.name = loaded.folder.name
        self.kind = loaded.head.kind
        self.device = loaded.devices[0]
        self._tokenizer = loaded.tokenizer
        self._max_length = max_length
        self._head: Any = loaded.head
        self._template: Any = template
        self._fields = fields
        self.module = Scorer(loaded.head, strategy, answers)
        self.module.requires_grad_(True)
        self.settings_of: Path | None = None  # the folder whose settings of a LogitScore fit what is learnt
        self._adapter: LowRank | None = None

    def add_adapter(self, *, rank: int, alpha: float, dropout: float, targets: Sequence[str] | str) -> None:
        """From now on learn low-rank changes of the model's linear layers (see LowRank), and the layers that score.

        Raises BadInput for targets that the model does not have, MissingExtra.
        """
        model = self._head.model
        whole = []
        if isinstance(self._head, Classifier):
            # A head that is drawn anew has nothing yet that a low-rank change could keep.
            for name, layer in model.named_children():
                if name != model.base_model_prefix and any(True for _ in layer.parameters()):
                    whole.append(name)
        self.module.requires_grad_(False)
        self._adapter = LowRank(model, rank=rank, alpha=alpha, dropout=dropout, targets=targets, whole=whole)
        for layer in self._head.layers.values():
            layer.requires_grad_(True)

    @property
    def blank(self) -> ModelInput:
        """An input of two tokens, one of each type, for a rank that has no item left."""
        return ModelInput(np.array([self._head.pad] * 2, np.int32), np.array([0, 1], np.int8), False, False)

    def items(self, query: Query, passages: Sequence[Passage]) -> list[ModelInput]:
        """One input of the model for each passage, as scoring would make it."""
        pairs = [self._template.wrap((query.text, passage.flat(self._fields))) for passage in passages]
        # Each text is tokenised once: all pairs share the query, and a passage may come twice.
        texts = list(dict.fromkeys(chain.from_iterable(pairs)))
        ids_of_texts = dict(zip(texts, bare_ids(self._tokenizer, texts), strict=True))
        items = []
        for pair in pairs:
            fields = [ids_of_texts[text] for text in pair]
            items.append(self._template.build(fields, self._max_length))
        return items

    def scores(self, outputs: Tensor, sizes: Sequence[int]) -> Tensor:
        """The scores `[passages]` of groups with these numbers of passages, of the outputs for all of their items."""
        return outputs

    def joined(self, outputs: Sequence[Tensor]) -> Tensor:
        """The outputs for batches of items as one tensor, a row for each item."""
        return torch.cat(list(outputs))

    def target_ids(self, texts: Sequence[str]) -> list[np.ndarray]:
        """The ids int64 `[<= 512]` of each text that the model learns to write, the end token included.

        Raises BadInput where the model is not a language model.
        """
        if self.kind not in ("seq2seq", "decoder"):
            raise BadInput(f"model {self.name} does not generate text: loss lm needs a T5 or a causal language model")
        rows = []
        for text in texts:
            ids = ids_of(self._tokenizer, text)[:511]
            ids.append(self._tokenizer.eos_token_id)
            rows.append(np.array(ids, np.int64))
        return rows

    def inputs(self, items: Sequence[ModelInput]) -> tuple[Tensor, Tensor, Tensor | None]:
        """Items as one padded batch on the device."""
        return inputs_of(items, self._head.pad, self.device)

    def targets(self, rows: Sequence[np.ndarray]) -> Tensor:
        """Targets as one int64 batch `[n, longest]` on the device; a shorter one ends in ids below 0."""
        return targets_of(rows, self.device)

    def save(self, folder: Path, weights: Mapping[str, Tensor]) -> None:
        """The module's `weights` by name, config.json and tokenizer, as transformers lays them out.

        Of an adapter these are its own weights, which are merged into the model's.
        """
        if self._adapter is not None:
            self.module.load_state_dict(weights, strict=False)
            weights = self._adapter.merged(self.module.state_dict(), "model.")
        with silence():
            self._head.save(folder, weights)
        self._tokenizer.save_pretrained(folder)
        if self.settings_of is not None:
            copy_settings(self.settings_of, folder)

    def save_adapter(self, folder: Path, weights: Mapping[str, Tensor], base: str, revision: str) -> None:
        """An adapter's `weights`, its settings, and the tokenizer; `base` at `revision` is what it changes."""
        assert self._adapter is not None
        own = {name.removeprefix("model."): tensor for name, tensor in weights.items()}
        self._adapter.save(folder, own, kind=self.kind, base=base, revision=revision)
        self._tokenizer.save_pretrained(folder)


class DualLearner(Learner):
    """A dual encoder while it learns: its items are texts, the query's and then the passages', each encoded alone."""

    def items(self, query: Query, passages: Sequence[Passage]) -> list[ModelInput]:
        """The query's input, then one for each passage."""
        texts = [passage.flat(self._fields) for passage in passages]
        return self._template.inputs(query.text, texts, self._max_length)

    def scores(self, outputs: Tensor, sizes: Sequence[int]) -> Tensor:
        """The products of each query's vector and its passages'."""
        products = []
        for vectors in outputs.split([1 + size for size in sizes]):
            products.append(vectors[1:] @ vectors[0])
        return torch.cat(products)

    def scores_of_all(self, outputs: Tensor, sizes: Sequence[int]) -> Tensor:
        """`[groups, passages]`: the products of each query's vector and the vectors of the passages of all groups."""
        groups = outputs.split([1 + size for size in sizes])
        queries = torch.stack([vectors[0] for vectors in groups])
        passages = torch.cat([vectors[1:] for vectors in groups])
        return queries @ passages.T

    def save(self, folder: Path, weights: Mapping[str, Tensor]) -> None:
        """The same, and what else sentence-transformers reads: modules, pooling, longest input, prompts."""
        super().save(folder, weights)
        head = self._head
        parts = {"Transformer": "", "Pooling": "1_Pooling"}
        if head.normal:
            parts["Normalize"] = "2_Normalize"
        modules = []
        for place, (part, path) in enumerate(parts.items()):
            kind = f"sentence_transformers.models.{part}"
            modules.append({"idx": place, "name": str(place), "path": path, "type": kind})
        pooling = {"word_embedding_dimension": head.model.config.hidden_size}
        for mode, old_name in _OLD_NAMES.items():
            pooling[f"pooling_mode_{old_name}"] = mode == head.pooling
        prompts = self._template.prompts
        settings = {
            "prompts": {"query": prompts["query"], "document": prompts["passage"]},
            "similarity_fn_name": "cosine" if head.normal else "dot",
        }
        write(folder / "modules.json", json_text(modules))
        write(folder / "1_Pooling" / "config.json", json_text(pooling))
        write(folder / "sentence_bert_config.json", json_text({"max_seq_length": head.limit, "do_lower_case": False}))
        write(folder / "config_sentence_transformers.json", json_text(settings))
