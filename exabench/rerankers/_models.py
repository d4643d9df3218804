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
from exabench.flops import Shape, shape_of
from exabench.hub import model_folder
from exabench.models import (
    INT8,
    PRECISIONS,
    check_vocabulary,
    loading,
    positions_of,
    quantised,
    tokenizer_of,
    weights_of,
)
from exabench.nouns import ModelFolder
from exabench.rerankers._heads import Classifier, Decoder, Head, Pooled, Seq2Seq

__all__ = ["Head", "Loaded", "load"]

KINDS = {  # kind: the transformers class, the family of flops.shape_of, and an example to name
    "seq2seq": (transformers.AutoModelForSeq2SeqLM, "encoder-decoder", "a T5"),
    "classifier": (transformers.AutoModelForSequenceClassification, "encoder", "a BERT with a classification head"),
    "decoder": (transformers.AutoModelForCausalLM, "decoder", "a Llama"),
    "encoder": (transformers.T5EncoderModel, "encoder", "the encoder of a T5"),
}
ANY_LENGTH = 1 << 20  # relative positions: a T5 reads what memory holds


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

    `kind` is seq2seq, classifier, decoder, or encoder (a T5 encoder with one dense layer); `precision`
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
    family, wanted, what = KINDS[kind]
    checked_shape(config, folder, (wanted,), what)
    with loading(folder, what):
        tokenizer = tokenizer_of(folder)
        loaded = weights_of(family, folder, what, PRECISIONS.get(precision, torch.float32))
        check_vocabulary(tokenizer, loaded, folder)
        if kind == "classifier" and loaded.config.num_labels > 2:
            raise BadInput(f"has {loaded.config.num_labels} labels; a reranker has one or two", file=folder.path)
        parameters = sum(tensor.numel() for tensor in loaded.parameters())
        loaded = quantised(loaded, devices[0]) if precision == INT8 else loaded.to(devices[0])
        head = _head(kind, loaded, tokenizer, folder)
    return Loaded(folder, tokenizer, head, config, parameters, precision, devices)


def checked_shape(config: Any, folder: ModelFolder, families: Sequence[str], example: str) -> Shape:
    """The shape that a config.json describes. Raises BadInput for a model of none of the `families`."""
    file = folder.path / "config.json"
    if not isinstance(config, Mapping):
        raise BadInput("is not the description of a model", file=file)
    name = config.get("model_type")
    try:
        shape = shape_of(config)
    except BadInput as error:
        raise BadInput(f"architecture {name!r} is not supported ({error})", file=file) from error
    if shape.family not in families:
        wanted = f"this reranker needs {example} ({families[0]})"
        raise BadInput(f"is of type {name} ({shape.family}), but {wanted}", file=file)
    return shape


def pad_of(tokenizer: Any, model: Any) -> int:
    """The id that fills up shorter inputs; 0 where neither tokenizer nor model names one."""
    for id in (tokenizer.pad_token_id, model.config.pad_token_id):
        if isinstance(id, int):
            return id
    return 0


def _head(kind: str, model: Any, tokenizer: Any, folder: ModelFolder) -> Head:
    pad = pad_of(tokenizer, model)
    limit = _limit(model, tokenizer)
    if kind == "encoder":
        device = next(model.parameters()).device
        weight, bias = _dense(folder)
        return Pooled(model, limit, pad, pooling="cls", dense=(weight.to(device), bias.to(device)))
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
