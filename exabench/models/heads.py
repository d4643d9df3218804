"""Heads: a loaded model as the engine sees it, token ids in and a few numbers for each item out; and its loading."""

from __future__ import annotations

import copy
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypedDict, Unpack

import numpy as np
import torch
import transformers
from safetensors import safe_open
from tokenizers import normalizers
from tokenizers.normalizers import Lowercase
from torch import Tensor, nn

from exabench.core.errors import BadInput, UnknownName, printable
from exabench.core.files import json_text, read_json, write
from exabench.core.nouns import ModelFolder, Progress
from exabench.hub.client import model_folder
from exabench.models.backends import ConvertedModel, check_backend, convert
from exabench.models.batches import pad_rows
from exabench.models.bidirectional import LlamaBidirectionalConfig, register
from exabench.models.devices import devices_of, on_device
from exabench.models.flops import Shape, shape_of
from exabench.models.loading import (
    DTYPES,
    check_vocabulary,
    loading,
    positions_of,
    quantise,
    tokenizer_of,
    weights_of,
)
from exabench.models.modules import (
    BEHIND,
    PairSettings,
    is_modular,
    load_modules,
    pair_settings,
    save_modules,
    scores_of,
    with_weights,
)
from exabench.models.templates import ModelInput
from exabench.models.values import INT8, PRECISIONS, TORCH

IGNORED = -100
"""The target id of a place behind the last target, as transformers has it."""

LOGITS_AT_ONCE = 1 << 26
"""Logits of target tokens that are in memory together: 256 MiB in float32, and as much for their softmax."""

POOLINGS = ("cls", "mean", "max", "lasttoken")
"""The ways to make one vector of a text's states, by the names of sentence-transformers."""
_POOLINGS_OF_NEMO = {"avg": "mean", "cls": "cls", "last": "lasttoken"}


def pooled(states: Tensor, mask: Tensor, pooling: str) -> Tensor:
    """One vector `[n, width]` of the states `[n, tokens, width]` of each text, made as one of POOLINGS says."""
    real = mask[..., None]
    if pooling == "cls":
        return states[:, 0]
    if pooling == "lasttoken":
        return states[torch.arange(len(states), device=states.device), mask.sum(1) - 1]
    if pooling == "max":
        return states.masked_fill(~real, -torch.inf).amax(1)
    return (states * real).sum(1) / real.sum(1)


def inputs_of(items: Sequence[ModelInput], pad: int, device: str) -> tuple[Tensor, Tensor, Tensor | None]:
    """Items as one batch on a device: ids int64, mask bool (both `[n, longest]`) and, where they have them, types."""
    ids = torch.from_numpy(pad_rows([item.ids for item in items], pad))
    lengths = torch.tensor([len(item.ids) for item in items])
    mask = torch.arange(ids.shape[1])[None, :] < lengths[:, None]
    types = None
    rows = [item.types for item in items if item.types is not None]  # of all items, or of none
    if rows:
        types = torch.from_numpy(pad_rows(rows, 0))
        types = _to_device(types, device)
    return _to_device(ids, device), _to_device(mask, device), types


def targets_of(rows: Sequence[np.ndarray], device: str) -> Tensor:
    """Targets as one int64 batch `[n, longest]` on a device; where one is shorter stands IGNORED."""
    return torch.from_numpy(pad_rows(rows, IGNORED)).to(device)


def _to_device(tensor: Tensor, device: str) -> Tensor:
    """The tensor on a device; pinned first where that is a GPU, so that the copy overlaps with what is computed."""
    if device.startswith("cuda"):
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor


@dataclass(frozen=True)
class Head(ABC):
    """A transformers model on one device. A mask is always given, and padding (the id `pad`) is at the end.

    `limit` is the most tokens that one item may have; `chosen` are the vocabulary rows that are computed (empty: all),
    which are the columns of the logits then. `kind` is how transformers loads such a model (see KINDS).
    """

    kind = ""
    writes = 1
    """Tokens that it writes of which the logits are read; 0 of one that only reads."""
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
        return len(self.chosen) or len(self._weight)

    @property
    def _weight(self) -> Tensor:
        """The needed rows of the output embedding, in float32: scores that differ by little must stay different."""
        # It changes with every step, or a gradient goes through it, which what is kept of inference does not take.
        if self.model.get_output_embeddings().weight.requires_grad or torch.is_grad_enabled():
            return self._read_weight()
        return self._fixed_weight

    @cached_property
    def _fixed_weight(self) -> Tensor:
        """The rows of a model that does not learn: picked and cast once, not again for every batch."""
        return self._read_weight()

    def _read_weight(self) -> Tensor:
        weight = self.model.get_output_embeddings().weight
        if self.chosen:
            weight = weight[list(self.chosen)]
        return weight.float()

    @property
    def layers(self) -> Mapping[str, nn.Module]:
        """The layers that score behind the model and that it does not know, by name."""
        return {}

    def on(self, device: str) -> Any:
        """This head, or a replica of it, on another device."""
        if isinstance(self.model, ConvertedModel):  # which runs on the CPU alone
            return self
        model = on_device(self.model, device)
        if model is self.model:
            return self
        return replace(self, model=model)

    def save(self, folder: Path, weights: Mapping[str, Tensor]) -> None:
        """Write model and layers with these `weights`: those of the model begin with `model.`, those of a layer with
        its name."""
        # a layer of its own stands next to the layers of the model
        flat = {name.removeprefix("model."): tensor for name, tensor in weights.items()}
        self.model.save_pretrained(folder, state_dict=flat)
        output = self.model.get_output_embeddings()
        if output is not None and output.weight is not self.model.get_input_embeddings().weight:
            # transformers 5 writes of every T5 that the two are tied, and version 4 then reads one for both.
            file = folder / "config.json"
            write(file, json_text({**read_json(file), "tie_word_embeddings": False}))

    def save_model(self, folder: Path, weights: Mapping[str, Tensor]) -> None:
        """Write the model with those of these `weights` that are its own, without the layers next to it."""
        own = {name.removeprefix("model."): tensor for name, tensor in weights.items() if name.startswith("model.")}
        self.model.save_pretrained(folder, state_dict=own)


@dataclass(frozen=True)
class Writer(Head):
    """A head that writes: a text as `targets`, int64 `[n, t]`, whose ids follow each other and then the IGNORED."""

    def target_logits(self, ids: Tensor, mask: Tensor, targets: Tensor) -> Tensor:
        """Logits `[n, t, vocabulary]` of each target token after the item and the targets before it."""
        whole = replace(self, chosen=())  # a text is made of every row, whichever rows the score is made of
        return whole._logits_of(self._target_states(ids, mask, targets))

    def target_log_probabilities(self, ids: Tensor, mask: Tensor, targets: Tensor) -> Tensor:
        """Log-probabilities float32 `[n, t]` of the target tokens, 0 where there is none; of a head with every row.

        The logits of no more than LOGITS_AT_ONCE are in memory, whatever the size of vocabulary and batch.
        """
        real = targets >= 0
        found = torch.zeros(targets.shape, device=ids.device)
        if not real.any():  # texts without any token
            return found
        tokens = max(1, LOGITS_AT_ONCE // self.rows)
        states = self._target_states(ids, mask, targets)[real].split(tokens)
        losses = []
        for some, written in zip(states, targets[real].split(tokens), strict=True):
            losses.append(nn.functional.cross_entropy(self._logits_of(some), written, reduction="none"))
        found[real] = -torch.cat(losses)
        return found

    @abstractmethod
    def _logits_of(self, states: Tensor) -> Tensor:
        """float32 `[..., columns]`: what the model makes of its last layer's states `[..., width]`."""

    @abstractmethod
    def _target_states(self, ids: Tensor, mask: Tensor, targets: Tensor) -> Tensor:
        """The states `[n, t, width]` of which the logits of the target tokens are made."""


@dataclass(frozen=True)
class Seq2Seq(Writer):
    """A T5: one encoder pass and one decoder step give the logits of the first token it would write."""

    kind = "seq2seq"

    def logits(self, ids: Tensor, mask: Tensor, types: Tensor | None) -> Tensor:
        """The first token's logits."""
        start = ids.new_zeros((len(ids), 1))  # any token: no state is made of the last one
        return self._logits_of(self._target_states(ids, mask, start)[:, 0])

    def write(self, ids: Tensor, most: int) -> Tensor:
        """The token ids `[1, <= most + 1]` that the model writes greedily after one input `[1, length]`."""
        return self.model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids, dtype=torch.bool),
            max_new_tokens=most,
            do_sample=False,
            num_beams=1,
            pad_token_id=self.pad,
        )

    def _logits_of(self, states: Tensor) -> Tensor:
        states = states.float()
        # T5 v1.0 shares its embedding with its output and scales for it; v1.1, flan and mT5 have their own output
        config = self.model.config
        tied = {"t5": "scale_decoder_outputs", "umt5": "tie_word_embeddings"}.get(config.model_type, "")
        if getattr(config, tied, False):
            states = states * config.d_model**-0.5
        return _linear(states, self._weight)

    def _target_states(self, ids: Tensor, mask: Tensor, targets: Tensor) -> Tensor:
        states = self.model.get_encoder()(input_ids=ids, attention_mask=mask).last_hidden_state
        before = targets.new_full(targets.shape, self.model.config.decoder_start_token_id or 0)
        before[:, 1:] = targets[:, :-1].clamp(min=0)  # behind a target's end nothing is looked at, so any id will do
        steps = self.model.get_decoder()(
            input_ids=before, encoder_hidden_states=states, encoder_attention_mask=mask, use_cache=False
        )
        return steps.last_hidden_state


@dataclass(frozen=True)
class Decoder(Writer):
    """A causal language model: the logits of the token that follows the last real one.

    Padding is at the end, where a causal model never looks back from, so positions are those of the unpadded item.
    """

    kind = "decoder"

    def logits(self, ids: Tensor, mask: Tensor, types: Tensor | None) -> Tensor:
        """The next token's logits."""
        states = self._states(ids, mask)
        return self._logits_of(states[torch.arange(len(ids), device=ids.device), mask.sum(1) - 1])

    def check(self, folder: ModelFolder) -> None:
        """Raises BadInput where the model's own logits are others, because its family changes them in another way."""
        ids = torch.arange(1, 9, device=self.model.device)[None]
        mask = torch.ones_like(ids, dtype=torch.bool)
        with torch.inference_mode():
            own = self.model(input_ids=ids, attention_mask=mask, use_cache=False).logits[:, -1].float()
            apart = (self.logits(ids, mask, None) - own).abs().max()
        # what rounding moves, as a share of the largest: 1e-4 in float32, 5e-2 in two bytes
        most = 1e-4 if self.model.dtype == torch.float32 else 5e-2
        if not apart <= most * own.abs().max():
            kind = self.model.config.model_type
            raise BadInput(
                f"a {kind} makes its logits in a way that is not known here; use another model", file=folder.path
            )

    def _states(self, ids: Tensor, mask: Tensor) -> Tensor:
        return self.model.base_model(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state

    def _logits_of(self, states: Tensor) -> Tensor:
        """Scaled and capped as the model itself does it (Granite, Gemma 2)."""
        config = self.model.config
        scaling = getattr(config, "logits_scaling", None) or 1.0
        logits = _linear(states.float(), self._weight) / scaling
        cap = getattr(config, "final_logit_softcapping", None)
        if cap:
            logits = cap * torch.tanh(logits / cap)
        return logits

    def _target_states(self, ids: Tensor, mask: Tensor, targets: Tensor) -> Tensor:
        lengths = mask.sum(1)
        read = targets[:, :-1]  # behind the last target nothing is asked for
        # each target token stands right behind the last real one
        places = lengths[:, None] + torch.arange(targets.shape[1], device=ids.device)
        whole = nn.functional.pad(ids, (0, read.shape[1]), value=self.pad)
        whole = whole.scatter(1, places[:, :-1], read.clamp(min=0))
        seen = torch.arange(whole.shape[1], device=ids.device) < (lengths + (read >= 0).sum(1))[:, None]
        return self._states(whole, seen)[torch.arange(len(ids), device=ids.device)[:, None], places - 1]


@dataclass(frozen=True)
class Classifier(Head):
    """A model with a classification head of one or two labels; `settings` say how it reads a pair.

    An encoder's head reads what the encoder is made for. A decoder's, a layer called `score`, reads the last token
    that is not padding, as transformers does it; here it may be any token where the config does not name the padding.
    """

    kind = "classifier"
    writes = 0
    settings: PairSettings = PairSettings()

    @property
    def rows(self) -> int:
        """The number of labels."""
        return int(self.model.config.num_labels)

    def logits(self, ids: Tensor, mask: Tensor, types: Tensor | None) -> Tensor:
        """The labels' logits."""
        features = {"input_ids": ids, "attention_mask": mask, **_types_of(self.model, types)}
        score = getattr(self.model, "score", None)
        if not isinstance(score, nn.Linear):
            return self.model(**features).logits.float()
        states = self.model.base_model(**features, use_cache=False).last_hidden_state
        real = mask
        padding = self.model.config.get_text_config().pad_token_id
        if padding is not None:
            real = mask & (ids != padding)
        last = (torch.arange(ids.shape[1], device=ids.device) * real).argmax(1)
        state = states[torch.arange(len(ids), device=ids.device), last]
        bias = None
        if score.bias is not None:
            bias = score.bias.float()
        return _linear(state.float(), score.weight.float(), bias)

    def save(self, folder: Path, weights: Mapping[str, Tensor]) -> None:
        """The same, and how it reads pairs where that is not what every such model does."""
        if self.rows == 1:  # else CrossEncoder puts a sigmoid over its scores
            self.model.config.sentence_transformers = {"activation_fn": "torch.nn.modules.linear.Identity"}
        super().save(folder, weights)
        if self.settings != PairSettings():
            save_modules(folder, (), self.settings, self.limit)


@dataclass(frozen=True)
class Encoder(Head):
    """RankT5's encoder: `dense`, a linear layer in float32, makes one number of the first token's state."""

    kind = "encoder"
    writes = 0
    dense: Any = None

    @property
    def rows(self) -> int:
        """One number."""
        return 1

    @property
    def layers(self) -> Mapping[str, nn.Module]:
        """The linear layer."""
        return {"dense": self.dense}

    def on(self, device: str) -> Any:
        """This head, or a replica of it, on another device."""
        return replace(super().on(device), dense=copy.deepcopy(self.dense).to(device))

    def logits(self, ids: Tensor, mask: Tensor, types: Tensor | None) -> Tensor:
        """The numbers `[n, 1]`."""
        states = self.model(input_ids=ids, attention_mask=mask).last_hidden_state
        return _linear(states[:, 0].float(), self.dense.weight, self.dense.bias)


@dataclass(frozen=True)
class Modular(Classifier):
    """A cross-encoder of sentence-transformers (5.4 and newer): an encoder, and `modules` that score its states.

    The modules are those of modules.json behind the Transformer; they compute in float32 and give `labels` scores.
    """

    kind = "modular"
    modules: Any = None
    labels: int = 1

    @property
    def rows(self) -> int:
        """The number of scores that the last module gives."""
        return self.labels

    @property
    def layers(self) -> Mapping[str, nn.Module]:
        """The modules."""
        return {BEHIND: self.modules}

    def on(self, device: str) -> Any:
        """This head, or a replica of it, on another device."""
        there = super().on(device)
        if there is self:
            return self
        return replace(there, modules=copy.deepcopy(self.modules).to(device))

    def logits(self, ids: Tensor, mask: Tensor, types: Tensor | None) -> Tensor:
        """The scores `[n, rows]`."""
        states = self.model(input_ids=ids, attention_mask=mask, **_types_of(self.model, types)).last_hidden_state
        with torch.autocast(states.device.type, enabled=False):
            return scores_of(self.modules, states.float(), mask)

    def save(self, folder: Path, weights: Mapping[str, Tensor]) -> None:
        """Write model and modules with these `weights`, as sentence-transformers lays them out."""
        self.save_model(folder, weights)
        save_modules(folder, with_weights(self.modules, weights), self.settings, self.limit)


@dataclass(frozen=True)
class TwoWay(Classifier):
    """A decoder without its causal mask (models/bidirectional.py): its layer `score` reads all states made one."""

    def logits(self, ids: Tensor, mask: Tensor, types: Tensor | None) -> Tensor:
        """The labels' logits."""
        config = self.model.config
        states = self.model.base_model(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state
        state = pooled(states.float(), mask, _POOLINGS_OF_NEMO[config.pooling])
        return _linear(state, self.model.score.weight.float()) / config.temperature


@dataclass(frozen=True)
class DualHead(Head):
    """A dual encoder that learns: the vector of each text, query or passage.

    It is made of the text's states as `pooling` (one of POOLINGS) says, at length 1 where `normal`.
    """

    kind = "bi_encoder"
    pooling: str = "mean"
    normal: bool = False

    def logits(self, ids: Tensor, mask: Tensor, types: Tensor | None) -> Tensor:
        """The vectors `[n, width]`."""
        states = self.model(input_ids=ids, attention_mask=mask).last_hidden_state
        vectors = pooled(states.float(), mask, self.pooling)
        if self.normal:
            vectors = nn.functional.normalize(vectors, dim=-1)
        return vectors


def _types_of(model: Any, types: Tensor | None) -> dict[str, Tensor]:
    """The token types as a model takes them: RoBERTa has a row for one type alone, and ModernBERT takes none."""
    if types is None or not _reads_types(model):
        return {}
    return {"token_type_ids": types}


def _reads_types(model: Any) -> bool:
    return (getattr(model.config, "type_vocab_size", 0) or 0) >= 2


def _linear(states: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """The product in the precision that it is given in, autocast or not."""
    with torch.autocast(states.device.type, enabled=False):
        return nn.functional.linear(states, weight, bias)


# -- loading -------------------------------------------------------------------------------------------------

UNKNOWN = "unknown"
"""What stands for the family of a model whose FLOPs are not counted."""

KINDS: dict[str, tuple[Any, type[Head], Sequence[str], str]] = {
    # kind: the transformers class, the head, the families of flops.shape_of, and an example to name
    "seq2seq": (transformers.AutoModelForSeq2SeqLM, Seq2Seq, ("encoder-decoder",), "a T5"),
    "classifier": (
        transformers.AutoModelForSequenceClassification,
        Classifier,
        ("encoder", "decoder", UNKNOWN),
        "a BERT with a classification head",
    ),
    "modular": (
        transformers.AutoModel,
        Modular,
        ("encoder", "decoder", UNKNOWN),
        "a cross-encoder made of modules",
    ),
    "two-way": (
        transformers.AutoModelForSequenceClassification,
        TwoWay,
        ("encoder",),
        "a Llama that reads both ways",
    ),
    "decoder": (transformers.AutoModelForCausalLM, Decoder, ("decoder", UNKNOWN), "a Llama"),
    "encoder": (transformers.T5EncoderModel, Encoder, ("encoder",), "the encoder of a T5"),
}
_CONVERTED = {"classifier": "logits", "modular": "last_hidden_state"}
"""The kinds of which a back-end other than torch computes the model, and the model's output that is read."""
ANY_LENGTH = 1 << 20  # relative positions: a T5 reads what memory holds


@dataclass(frozen=True)
class Loaded:
    """A model in memory: where it came from, its tokenizer, its head, its sizes, and how many weights it has.

    `shape` is None where the FLOPs of such a model are not counted.
    """

    folder: ModelFolder
    tokenizer: Any
    head: Head
    shape: Shape | None
    parameters: int
    precision: str
    devices: tuple[str, ...]
    backend: str = TORCH

    def only(self, rows: tuple[int, ...]) -> Loaded:
        """The same, computing only these rows of the vocabulary; they are the columns of the logits then."""
        return replace(self, head=replace(self.head, chosen=rows))


class Options(TypedDict, total=False):
    """The options of every reranker on the engine, apart from its model: how it is read, kept and scored with.

    `revision` is as in hub.model_folder, one worker runs on each of `devices`; `backend` is who computes the model
    (one of values.MODEL_BACKENDS); `fields` of a passage, `max_length` in tokens (0: 512 or what the model holds),
    `batch_tokens` for each forward, `scores`: folder of the score store, `progress`: called with pairs as they are
    scored. `cut` says where an input that is too long loses tokens ("passage", "longest", "end": values.CUTS);
    `query_length` and `passage_length` cut these two before they are put together (0: not).
    """

    cut: str
    query_length: int
    passage_length: int
    revision: str
    precision: str
    devices: Sequence[str]
    backend: str
    lock: str | Path | None
    fields: Sequence[str]
    max_length: int
    batch_tokens: int
    scores: str | None
    progress: Progress


def load(model: str, kind: str, **options: Unpack[Options]) -> Loaded:
    """The model of a folder, a package or the Hub (see hub.model_folder) as a head of `kind`, on the first device.

    `kind` is seq2seq, classifier (which may be made of modules), decoder, or encoder (a T5 encoder with one dense
    layer); `precision` float32, bfloat16, float16, or int8 (linear layers of a model on the CPU). Without devices:
    every GPU, else (and in int8, and by another backend than torch) the CPU. Of the options those of scoring are not
    looked at. Raises BadInput, in one line, for a folder without tokenizer, another architecture, weights that are
    missing or damaged, more than two labels, or what the backend does not compute.
    """
    precision = options.get("precision", "float32")
    known = (*PRECISIONS, INT8)
    if precision not in known:
        raise UnknownName("precision", precision, known)
    backend = options.get("backend") or TORCH
    asked = options.get("devices", ())
    if backend != TORCH:
        asked = asked or ("cpu",)
    check_backend(backend, precision, asked)
    devices = devices_of(asked, precision)
    folder = model_folder(model, options.get("revision", ""), options.get("lock"))
    if kind == "classifier":
        kind = _kind_of_classifier(folder.path)
    model_class, head_class, families, what = KINDS[kind]
    shape = read_shape(folder, families, what)
    if backend != TORCH and kind not in _CONVERTED:
        raise _not_converted(backend, what, folder)
    if backend != TORCH and shape is not None and shape.family == "decoder":
        raise _not_converted(backend, "a decoder", folder)
    dtype = DTYPES.get(precision, torch.float32)
    if backend != TORCH:  # it is given float32, and computes in `precision`
        dtype = torch.float32
    with loading(folder, what):
        tokenizer = tokenizer_of(folder)
        loaded = weights_of(model_class, folder, what, dtype)
        check_vocabulary(tokenizer, loaded, folder)
        if kind == "classifier" and loaded.config.num_labels > 2:
            raise BadInput(f"has {loaded.config.num_labels} labels; a reranker has one or two", file=folder.path)
        head = head_class(loaded, _limit_of(tokenizer, loaded), pad_of(tokenizer, loaded))
        if isinstance(head, Encoder):
            head = replace(head, dense=_dense_layer(folder).to(devices[0]))
        elif isinstance(head, Classifier):
            head = _reading_pairs(head, folder, tokenizer)
        elif isinstance(head, Decoder) and shape is None:
            head.check(folder)
        parameters = sum(tensor.numel() for tensor in loaded.parameters())
        if isinstance(head, Modular):
            parameters += sum(tensor.numel() for tensor in head.modules.parameters())
            head.modules.to(devices[0])
        if backend != TORCH:
            if isinstance(getattr(loaded, "score", None), nn.Linear):
                raise _not_converted(backend, "a decoder", folder)
            output = _CONVERTED[kind]
            types = _reads_types(loaded)
            placed = convert(loaded, backend, output=output, types=types, precision=precision, workers=len(devices))
        elif precision == INT8:
            placed = quantise(loaded, devices[0])
        else:
            placed = loaded.to(devices[0])
        head = replace(head, model=placed)
    return Loaded(folder, tokenizer, head, shape, parameters, precision, devices, backend)


def _not_converted(backend: str, what: str, folder: ModelFolder) -> BadInput:
    wrong = f"backend {backend} computes the encoders that cross_encoder reads, not {what}"
    return BadInput(f"{wrong}; use backend {TORCH}", file=folder.path)


def _kind_of_classifier(folder: Path) -> str:
    """Which of KINDS a folder with a cross-encoder is."""
    if is_modular(folder):
        return "modular"
    config = read_json(folder / "config.json")
    if isinstance(config, Mapping) and config.get("model_type") == LlamaBidirectionalConfig.model_type:
        register()
        if config.get("pooling", "avg") not in _POOLINGS_OF_NEMO:
            wanted = ", ".join(_POOLINGS_OF_NEMO)
            wrong = f"pooling is {printable(repr(config['pooling']))}; it is one of {wanted}"
            raise BadInput(printable(wrong), file=folder / "config.json")
        return "two-way"
    return "classifier"


def _limit_of(tokenizer: Any, model: Any) -> int:
    """The most tokens of one input."""
    positions = positions_of(model)
    if positions is None:
        return ANY_LENGTH
    return int(min(positions, tokenizer.model_max_length))


def _reading_pairs(head: Classifier, folder: ModelFolder, tokenizer: Any) -> Classifier:
    """The head with the settings by which its folder reads pairs, and the modules that make its scores.

    Raises BadInput for settings that are not read here, and for modules that make no scores, or more than two.
    """
    settings = pair_settings(folder.path)
    # Without modules.json, which says how pairs are read, a chat template that has a turn for a document does.
    chat = str(tokenizer.chat_template or "")
    if not (folder.path / "modules.json").is_file() and re.search(r"""['"]document['"]""", chat):
        settings = replace(settings, chat=True)
    if settings.lower:
        own = tokenizer.backend_tokenizer.normalizer
        steps = [Lowercase()] if own is None else [Lowercase(), own]
        tokenizer.backend_tokenizer.normalizer = normalizers.Sequence(steps)
    head = replace(head, settings=settings, limit=min(head.limit, settings.most or head.limit))
    if not isinstance(head, Modular):
        return head
    modules = load_modules(folder.path)
    state = torch.zeros(1, 1, head.model.config.get_text_config().hidden_size)
    labels = scores_of(modules, state, torch.ones(1, 1)).shape[-1]  # which fails here where sizes do not fit
    if labels > 2:
        raise BadInput(f"has {labels} scores for a pair; a reranker has one or two", file=folder.path)
    return replace(head, modules=modules, labels=labels)


def _dense_layer(folder: ModelFolder) -> Any:
    """RankT5's last layer: `dense.weight` `[1, width]` and, where there is one, `dense.bias` `[1]`."""
    tensors = {"bias": torch.zeros(1)}
    for file in sorted(folder.path.glob("*.safetensors")):
        with safe_open(file, "pt") as weights:
            for name in {"dense.weight", "dense.bias"} & set(weights.keys()):
                tensors[name.removeprefix("dense.")] = weights.get_tensor(name).float()
    if "weight" not in tensors:
        raise BadInput("has no dense.weight, the layer that scores: it was not trained to rank", file=folder.path)
    dense = nn.Linear(tensors["weight"].shape[1], 1, device="meta")  # nothing is drawn at random
    dense.load_state_dict(tensors, assign=True)
    return dense.requires_grad_(False)


def read_shape(folder: ModelFolder, families: Sequence[str], example: str) -> Shape | None:
    """The shape that the folder's config.json describes, None where the FLOPs of such a model are not counted.

    Raises BadInput for a model of none of the `families`; where an encoder is none of them, also for a classifier, and
    for one that needs its encoder and is not known here.
    """
    file = folder.path / "config.json"
    config = read_json(file)
    if not isinstance(config, Mapping):
        raise BadInput("is not the description of a model", file=file)
    name = config.get("model_type")
    wanted = f"this reranker needs {example} ({families[0]})"
    writes = "encoder" not in families
    shape = None
    try:
        shape = shape_of(config)
    except BadInput as error:
        is_half = writes and config.get("is_encoder_decoder")  # read by its decoder alone it would be another model
        if not isinstance(error, UnknownName) or UNKNOWN not in families or is_half:
            raise BadInput(f"architecture {printable(repr(name))} is not supported ({error})", file=file) from error
    if shape is not None and shape.family not in families:
        raise BadInput(f"is of type {name} ({shape.family}), but {wanted}", file=file)
    # A classifier may hold all weights of a language model, where output and input share theirs.
    if writes and "ForSequenceClassification" in str(config.get("architectures")):
        raise BadInput(f"is a classifier of type {name}, but {wanted}; use cross_encoder", file=file)
    return shape


def pad_of(tokenizer: Any, model: Any) -> int:
    """The id that fills up shorter inputs; 0 where neither tokenizer nor model names one."""
    for id in (tokenizer.pad_token_id, getattr(model.config.get_text_config(), "pad_token_id", None)):
        if isinstance(id, int):
            return id
    return 0
