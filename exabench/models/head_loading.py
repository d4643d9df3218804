"""Models of rerankers: a folder of the right kind as a head on its devices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypedDict, Unpack

import torch
import transformers
from safetensors import safe_open

from exabench.core.errors import BadInput, UnknownName
from exabench.core.files import read_json
from exabench.core.nouns import ModelFolder, Progress
from exabench.hub.client import model_folder
from exabench.models.flops import Shape, shape_of
from exabench.models.heads import Classifier, Decoder, Head, Pooled, Seq2Seq
from exabench.models.loading import (
    INT8,
    PRECISIONS,
    check_vocabulary,
    loading,
    positions_of,
    quantise,
    tokenizer_of,
    weights_of,
)

KINDS: dict[str, tuple[Any, type[Head], str, str]] = {
    # kind: the transformers class, the head, the family of flops.shape_of, and an example to name
    "seq2seq": (transformers.AutoModelForSeq2SeqLM, Seq2Seq, "encoder-decoder", "a T5"),
    "classifier": (
        transformers.AutoModelForSequenceClassification,
        Classifier,
        "encoder",
        "a BERT with a classification head",
    ),
    "decoder": (transformers.AutoModelForCausalLM, Decoder, "decoder", "a Llama"),
    "encoder": (transformers.T5EncoderModel, Pooled, "encoder", "the encoder of a T5"),
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

    def only(self, rows: tuple[int, ...]) -> Loaded:
        """The same, computing only these rows of the vocabulary; they are the columns of the logits then."""
        return replace(self, head=replace(self.head, chosen=rows))


class Options(TypedDict, total=False):
    """The options of every reranker on the engine, besides its model: where it is read, how it is held, how it scores.

    `revision` is as in hub.model_folder, one worker runs on each of `devices`; `fields` of a passage, `max_length` in
    tokens (0: 512 or what the model holds), `batch_tokens` for each forward, `scores`: folder of the score store,
    `progress`: told of pairs as they are scored.
    """

    revision: str
    precision: str
    devices: Sequence[str]
    lock: str | Path | None
    fields: Sequence[str]
    max_length: int
    batch_tokens: int
    scores: str | None
    progress: Progress


def load(model: str, kind: str, **options: Unpack[Options]) -> Loaded:
    """The model of a folder, a package or the Hub (see hub.model_folder) as a head of `kind`, on the first device.

    `kind` is seq2seq, classifier, decoder, or encoder (a T5 encoder with one dense layer); `precision`
    float32, bfloat16, float16, or int8 (linear layers of a model on the CPU). Without devices: every GPU, else (and
    in int8) the CPU. Of the options those of scoring are not looked at. Raises BadInput, in one line, for a folder
    without tokenizer, another architecture, weights that are missing or damaged, or more than two labels.
    """
    precision = options.get("precision", "float32")
    if precision not in (*PRECISIONS, INT8):
        raise UnknownName("precision", precision, (*PRECISIONS, INT8))
    devices = tuple(options.get("devices", ()))
    if not devices and precision != INT8:
        devices = tuple(f"cuda:{i}" for i in range(torch.cuda.device_count()))
    devices = devices or ("cpu",)
    folder = model_folder(model, options.get("revision", ""), options.get("lock"))
    config = read_json(folder.path / "config.json")
    model_class, head_class, family, what = KINDS[kind]
    checked_shape(config, folder, (family,), what)
    with loading(folder, what):
        tokenizer = tokenizer_of(folder)
        loaded = weights_of(model_class, folder, what, PRECISIONS.get(precision, torch.float32))
        check_vocabulary(tokenizer, loaded, folder)
        if kind == "classifier" and loaded.config.num_labels > 2:
            raise BadInput(f"has {loaded.config.num_labels} labels; a reranker has one or two", file=folder.path)
        parameters = sum(tensor.numel() for tensor in loaded.parameters())
        loaded = quantise(loaded, devices[0]) if precision == INT8 else loaded.to(devices[0])

        positions = positions_of(loaded)
        limit = ANY_LENGTH
        if positions is not None:
            limit = int(min(positions, tokenizer.model_max_length))
        head = head_class(loaded, limit, pad_of(tokenizer, loaded))
        if isinstance(head, Pooled):
            head = replace(head, pooling="cls", dense=_dense(folder).to(devices[0]))
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


def _dense(folder: ModelFolder) -> torch.nn.Linear:
    """The last layer of RankT5's encoder: `dense.weight` `[1, width]` and, where there is one, `dense.bias` `[1]`."""
    tensors = {"bias": torch.zeros(1)}
    for file in sorted(folder.path.glob("*.safetensors")):
        with safe_open(file, "pt") as weights:
            for name in {"dense.weight", "dense.bias"} & set(weights.keys()):
                tensors[name.removeprefix("dense.")] = weights.get_tensor(name).float()
    if "weight" not in tensors:
        raise BadInput("holds no dense.weight, the layer that scores: it was not trained to rank", file=folder.path)
    layer = torch.nn.Linear(tensors["weight"].shape[1], 1, device="meta")  # nothing is drawn at random
    layer.load_state_dict(tensors, assign=True)
    return layer.requires_grad_(False)
