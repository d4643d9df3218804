"""Rerankers' models: a folder of the right kind, loaded whole (exabench/models.py), as a head on its devices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypedDict

import torch
import transformers
from safetensors import safe_open

from exabench.errors import BadInput, UnknownName
from exabench.files import read_json
from exabench.flops import shape_of
from exabench.hub import model_folder
from exabench.models import PRECISIONS, check_vocabulary, loading, positions_of, tokenizer_of, weights_of
from exabench.nouns import ModelFolder
from exabench.rerankers._heads import Classifier, Decoder, Head, Pooled, Seq2Seq

__all__ = ["Head", "Loaded", "load"]

INT8 = "int8"  # loaded in float32, then quantised
KINDS = {  # kind: the transformers class, the family of flops.shape_of, and an example to name
    "seq2seq": (transformers.AutoModelForSeq2SeqLM, "encoder-decoder", "a T5"),
    "classifier": (transformers.AutoModelForSequenceClassification, "encoder", "a BERT with a classification head"),
    "decoder": (transformers.AutoModelForCausalLM, "decoder", "a Llama"),
    "bi_encoder": (transformers.AutoModel, "encoder", "a BERT"),
    "encoder": (transformers.T5EncoderModel, "encoder", "the encoder of a T5"),
}
ANY_LENGTH = 1 << 20  # relative positions: a T5 reads what memory holds
_POOLING = {  # sentence-transformers' names, until its version 5 and since
    **{"cls_token": "first", "mean_tokens": "mean", "max_tokens": "max", "lasttoken": "last"},
    **{"cls": "first", "mean": "mean", "max": "max"},
}


@dataclass(frozen=True)
class Loaded:
    """A model in memory: where it came from, its tokenizer, its head, config.json, and how many weights it has."""

    folder: ModelFolder
    tokenizer: Any
    head: Head
    config: Mapping[str, Any]
    parameters: int
    precision: str
    devices: tuple[str, ...]
    rows: tuple[int, ...] = ()

    def only(self, rows: tuple[int, ...]) -> Loaded:
        """The same, computing only these rows of the vocabulary (kept in `rows`: they are part of what it is)."""
        return replace(self, head=self.head.only(rows), rows=rows)


class Origin(TypedDict, total=False):
    """Where a model is read and how it is held: `revision` as in hub.model_folder, one worker on each of `devices`."""

    revision: str
    precision: str
    devices: Sequence[str]
    lock: str | Path | None


def load(
    model: str,
    kind: str,
    *,
    revision: str = "",
    precision: str = "float32",
    devices: Sequence[str] = (),
    lock: str | Path | None = None,
) -> Loaded:
    """The model of a folder, a package or the Hub (see hub.model_folder) as a head of `kind`, on the first device.

    `kind` is seq2seq, classifier, decoder, bi_encoder, or encoder (a T5 encoder with one dense layer); `precision`
    float32, bfloat16, float16, or int8 (linear layers of a model on the CPU). Without devices: every GPU, else (and
    in int8) the CPU. Raises BadInput, in one line, for a folder without tokenizer, another architecture, weights that
    are missing or damaged, or more than two labels.
    """
    if precision not in (*PRECISIONS, INT8):
        raise UnknownName("precision", precision, (*PRECISIONS, INT8))
    gpus = () if precision == INT8 else tuple(f"cuda:{i}" for i in range(torch.cuda.device_count()))
    devices = tuple(devices) or gpus or ("cpu",)
    folder = model_folder(model, revision, lock)
    config = read_json(folder.path / "config.json")
    family, what, unread = _checked_kind(config, kind, folder)
    with loading(folder, what):
        tokenizer = tokenizer_of(folder)
        loaded = weights_of(family, folder, what, PRECISIONS.get(precision, torch.float32), unread=unread)
        check_vocabulary(tokenizer, loaded, folder)
        if kind == "classifier" and loaded.config.num_labels > 2:
            raise BadInput(f"has {loaded.config.num_labels} labels; a reranker has one or two", file=folder.path)
        parameters = sum(tensor.numel() for tensor in loaded.parameters())
        loaded = _quantised(loaded, devices[0]) if precision == INT8 else loaded.to(devices[0])
        head = _head(kind, loaded, tokenizer, folder)
    return Loaded(folder, tokenizer, head, config, parameters, precision, devices)


def _checked_kind(config: Mapping[str, Any], kind: str, folder: ModelFolder) -> tuple[Any, str, str]:
    """The transformers class of `kind`, what to call it, and which weights it never reads. Raises BadInput."""
    family, wanted, example = KINDS[kind]
    file = folder.path / "config.json"
    if not isinstance(config, Mapping):
        raise BadInput("is not the description of a model", file=file)
    name = config.get("model_type")
    try:
        found = shape_of(config).family
    except BadInput as error:
        raise BadInput(f"architecture {name!r} is not supported ({error})", file=file) from error
    if found != wanted:
        raise BadInput(f"is of type {name} ({found}), but this reranker needs {example} ({wanted})", file=file)
    return family, example, "pooler." if kind == "bi_encoder" else "\0"


def _quantised(model: Any, device: str) -> Any:
    """Linear layers in int8, weights scaled by channel and activations by batch; on the CPU only."""
    if device != "cpu":
        raise BadInput(f"precision int8 runs on the CPU, not on {device}; take bfloat16 there")
    try:
        from torch.ao.quantization import per_channel_dynamic_qconfig, quantize_dynamic
    except ImportError as error:
        raise BadInput("precision int8 needs a torch that still has quantize_dynamic (2.13 has)") from error
    made = quantize_dynamic(model, {torch.nn.Linear: per_channel_dynamic_qconfig})
    if (output := model.get_output_embeddings()) is not None:
        made.set_output_embeddings(output)  # a few rows of it are read, in float32
    return made


def _head(kind: str, model: Any, tokenizer: Any, folder: ModelFolder) -> Head:
    pads = (tokenizer.pad_token_id, model.config.pad_token_id, 0)
    pad = int(next(id for id in pads if isinstance(id, int)))
    limit = _limit(model, tokenizer)
    if kind == "encoder":
        device = next(model.parameters()).device
        weight, bias = _dense(folder)
        return Pooled(model, limit, pad, pooling="first", dense=(weight.to(device), bias.to(device)))
    if kind == "bi_encoder":
        longest, pooling, normal = _sentence_modules(folder)
        return Pooled(model, min(limit, longest or limit), pad, pooling=pooling, normal=normal)
    heads: dict[str, type[Seq2Seq | Decoder | Classifier]]
    heads = {"seq2seq": Seq2Seq, "decoder": Decoder, "classifier": Classifier}
    return heads[kind](model, limit, pad)


def _limit(model: Any, tokenizer: Any) -> int:
    """What the positions allow, and the tokenizer where it says less; a T5 has no end."""
    positions = positions_of(model)
    return ANY_LENGTH if positions is None else int(min(positions, tokenizer.model_max_length))


def _dense(folder: ModelFolder) -> tuple[torch.Tensor, torch.Tensor]:
    """The last layer of RankT5's encoder: `dense.weight` `[1, width]` and, where there is one, `dense.bias` `[1]`."""
    found: dict[str, torch.Tensor] = {}
    for file in sorted(folder.path.glob("*.safetensors")):
        with safe_open(file, "pt") as weights:
            names = [name for name in weights.keys() if name in ("dense.weight", "dense.bias")]  # noqa: SIM118
            found |= {name: weights.get_tensor(name).float() for name in names}
    if "dense.weight" not in found:
        raise BadInput("holds no dense.weight, the layer that scores: it was not trained to rank", file=folder.path)
    return found["dense.weight"], found.get("dense.bias", torch.zeros(1))


def _sentence_modules(folder: ModelFolder) -> tuple[int | None, str, bool]:
    """The most tokens, the pooling, and whether vectors are brought to length 1, as sentence-transformers reads it."""
    modules = read_json(folder.path / "modules.json") if (folder.path / "modules.json").is_file() else []
    kinds = [str(module.get("type", "")).rsplit(".", 1)[-1] for module in modules]
    strange = [kind for kind in kinds if kind not in ("Transformer", "Pooling", "Normalize")]
    if strange:
        raise BadInput(f"module {strange[0]} is not supported", file=folder.path / "modules.json")
    limits = folder.path / "sentence_bert_config.json"
    longest = read_json(limits).get("max_seq_length") if limits.is_file() else None
    return longest, _pooling_mode(folder), "Normalize" in kinds


def _pooling_mode(folder: ModelFolder) -> str:
    file = folder.path / "1_Pooling" / "config.json"
    if not file.is_file():
        return "mean"
    asked = read_json(file)
    on = [name.removeprefix("pooling_mode_") for name in asked if name.startswith("pooling_mode_") and asked[name]]
    mode = asked.get("pooling_mode", on[0] if len(on) == 1 else on)
    if not isinstance(mode, str) or mode not in _POOLING:
        raise BadInput(f"pooling {mode!r} is not supported; it may be {', '.join(_POOLING)}", file=file)
    return _POOLING[mode]
