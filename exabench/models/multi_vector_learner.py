"""A late-interaction model while it learns: a vector for each token of a text, and MaxSim as it will rank.

Khattab and Zaharia 2020, ColBERT (arXiv 2004.12832). Comparison, filling up of queries and cuts are those of
multi_vector_encoder; saved is the form of sentence-transformers, which the same module reads again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from exabench.core.errors import BadInput
from exabench.core.files import json_text, write
from exabench.core.nouns import Passage, Query
from exabench.models.flops import Shape
from exabench.models.heads import Head, Loaded, pad_of
from exabench.models.learner import Learner
from exabench.models.modules import BEHIND, OF_MODEL, OF_TRANSFORMER, with_weights, write_modules
from exabench.models.multi_vector_encoder import TokenVectors
from exabench.models.templates import DualTemplate, ModelInput

LEARNABLE = ("Dense", "MultiVectorMask", "Normalize")
"""Modules behind the transformer through which each text has its own gradient."""

IN_QUERY, IN_PASSAGE, FILLED = range(3)
"""The types of an item's tokens: of a query's text, of a passage, and what a query is filled up with."""


@dataclass(frozen=True)
class MultiVectorHead(Head):
    """The vectors of each text's tokens. `modules` follow the model; `attends`: does it read what is filled in?

    `settings` is the content of the two files by which sentence-transformers reads such a folder.
    """

    kind = "late_interaction"
    modules: Any = None
    attends: bool = False
    settings: Mapping[str, Mapping[str, Any]] | None = None

    @property
    def layers(self) -> Mapping[str, nn.Module]:
        """The modules."""
        return {BEHIND: self.modules}

    def logits(self, ids: Tensor, mask: Tensor, types: Tensor | None) -> Tensor:
        """`[n, tokens, width + 1]`: a vector for each token, and last in its row a 1 where it is compared, else a 0."""
        assert types is not None
        filled = mask & (types == FILLED)
        attended = mask
        if not self.attends:  # as in ColBERT: what is filled in reads the text, and is read by nothing
            attended = mask & ~filled
        states = self.model(input_ids=ids, attention_mask=attended).last_hidden_state
        is_passage = types[:, 0] == IN_PASSAGE
        # The modules compute in float32, as they rank.
        with torch.autocast(states.device.type, enabled=False):
            found = states.new_empty((*ids.shape, self.width + 1), dtype=torch.float32)
            for task, rows in (("query", ~is_passage), ("document", is_passage)):
                # The names that modules of sentence-transformers look for.
                features = {"token_embeddings": states[rows].float(), "attention_mask": attended[rows]}
                features |= {"input_ids": ids[rows], "query_expansion_positions": filled[rows]}
                for module in self.modules:
                    # A mask leaves out tokens of one side alone.
                    told = {"task": task} if "task" in getattr(module, "forward_kwargs", ()) else {}
                    features = module(features, **told)
                compared = features["attention_mask"].float()[..., None]
                found[rows] = torch.cat([features["token_embeddings"], compared], dim=-1)
        return found

    @property
    def width(self) -> int:
        """The numbers of a vector."""
        width = self.model.config.get_text_config().hidden_size
        for module in self.modules:
            if type(module).__name__ == "Dense":
                width = module.out_features
        return int(width)

    def save(self, folder: Path, weights: Mapping[str, Tensor]) -> None:
        """Write model, modules and settings with these `weights`, as sentence-transformers lays them out."""
        assert self.settings is not None
        self.save_model(folder, weights)
        write_modules(folder, with_weights(self.modules, weights))
        for name, values in self.settings.items():
            write(folder / name, json_text(values))


class MultiVectorLearner(Learner):
    """A late-interaction model while it learns: its items are texts, the query's and then the passages'.

    The outputs for them are padded to the tokens of the longest.
    """

    def __init__(self, loaded: Loaded, template: DualTemplate, encoder: TokenVectors, fields: tuple[str, ...]) -> None:
        super().__init__(loaded, template, None, (), max_length=encoder.limits["passage"], fields=fields)
        self._encoder = encoder

    def items(self, query: Query, passages: Sequence[Passage]) -> list[ModelInput]:
        """The query's input, filled up where the model does so, then one for each passage."""
        texts = [passage.flat(self._fields) for passage in passages]
        own, *others = self._template.inputs(query.text, texts, self._max_length, self._encoder.limits["query"])
        items = [self._filled_up(own)]
        for item in others:
            items.append(replace(item, types=np.full(len(item.ids), IN_PASSAGE, np.int8)))
        return items

    def _filled_up(self, query: ModelInput) -> ModelInput:
        types = np.full(len(query.ids), IN_QUERY, np.int8)
        filling = self._encoder.filling
        # A query that is longer already is filled up with nothing.
        if filling is None or len(query.ids) >= filling.length:
            return replace(query, types=types)
        missing = filling.length - len(query.ids)
        ids = np.concatenate([query.ids, np.full(missing, filling.token, np.int32)])
        return replace(query, ids=ids, types=np.concatenate([types, np.full(missing, FILLED, np.int8)]))

    def joined(self, outputs: Sequence[Tensor]) -> Tensor:
        """The outputs as one tensor, shorter texts filled up with vectors that are not compared."""
        # Each batch was padded to its own longest text.
        longest = max(output.shape[1] for output in outputs)
        rows = []
        for output in outputs:
            rows.append(nn.functional.pad(output, (0, 0, 0, longest - output.shape[1])))
        return torch.cat(rows)

    def scores(self, outputs: Tensor, sizes: Sequence[int]) -> Tensor:
        """MaxSim of each query and its passages."""
        scores = []
        for texts in outputs.split([1 + size for size in sizes]):
            scores.append(self._compare(texts[:1], texts[1:])[0])
        return torch.cat(scores)

    def scores_of_all(self, outputs: Tensor, sizes: Sequence[int]) -> Tensor:
        """`[groups, passages]`: MaxSim of each query and the passages of all groups."""
        groups = outputs.split([1 + size for size in sizes])
        queries = torch.cat([texts[:1] for texts in groups])
        return self._compare(queries, torch.cat([texts[1:] for texts in groups]))

    def _compare(self, queries: Tensor, passages: Tensor) -> Tensor:
        of_queries, query_counts = _compared(queries)
        of_passages, passage_counts = _compared(passages)
        return self._encoder.compare(of_queries, of_passages, query_counts, passage_counts)


def _compared(texts: Tensor) -> tuple[Tensor, np.ndarray]:
    """The vectors of some texts that are compared, one behind the other, and how many each text has."""
    is_compared = texts[..., -1].detach() > 0
    return texts[..., :-1][is_compared], is_compared.sum(1).cpu().numpy()


def multi_vector_learner(
    encoder: TokenVectors, shape: Shape | None, precision: str, devices: tuple[str, ...], fields: tuple[str, ...]
) -> MultiVectorLearner:
    """The encoder's model, to be fitted. Raises BadInput for a folder with modules that are not LEARNABLE."""
    transformer, *others = encoder.modules
    for module in others:
        if type(module).__name__ not in LEARNABLE:
            wrong = f"only models of a Transformer and {', '.join(LEARNABLE)} can be trained"
            raise BadInput(f"{wrong}, not {type(module).__name__}", file=encoder.folder.path / "modules.json")
    model = transformer.model
    if hasattr(model, "pooler"):
        model.pooler = None  # it has no part in any vector
    filling = encoder.filling
    # What was asked for in place of the folder's own stays with the weights that learnt with it.
    lengths: dict[str, Any] = {"document_length": encoder.limits["passage"], "query_length": encoder.limits["query"]}
    if filling is not None:
        token = encoder.tokenizer.convert_ids_to_tokens(filling.token)
        lengths["query_expansion"] = {**transformer.query_expansion, "length": filling.length, "token": token}
        if filling.is_width:  # which is then the longest query, too
            del lengths["query_length"]
    of_model = {
        "model_type": "MultiVectorEncoder",
        "prompts": {"query": encoder.prompts["query"], "document": encoder.prompts["passage"]},
        "default_prompt_name": None,
        "similarity_fn_name": encoder.similarity,
    }
    head = MultiVectorHead(
        model,
        max(encoder.limits.values()),
        pad_of(encoder.tokenizer, model),
        modules=nn.ModuleList(others),
        attends=filling is not None and filling.is_attended,
        settings={OF_MODEL: of_model, OF_TRANSFORMER: {**transformer.get_config_dict(), **lengths}},
    )
    loaded = Loaded(encoder.folder, encoder.tokenizer, head, shape, encoder.parameters, precision, devices)
    template = DualTemplate(encoder.prompts, encoder.tokenizer)
    return MultiVectorLearner(loaded, template, encoder, fields)
