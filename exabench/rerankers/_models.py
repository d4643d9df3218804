"""Models from disk: loaded whole and in safetensors, or refused in one line that says what is wrong with the folder.

Never code from a model's repository, never a pickle, and never a weight that the folder does not hold: transformers
would start a missing classification head at random, and the scores would look like scores.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors import safe_open

from exabench.errors import BadInput, UnknownName
from exabench.files import read_json
from exabench.flops import shape_of
from exabench.hub import model_folder
from exabench.nouns import ModelFolder
from exabench.rerankers._heads import Classifier, Decoder, Head, Pooled, Seq2Seq

__all__ = ["Head", "Loaded", "load"]

PRECISIONS = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
    "int8": torch.float32,  # loaded so, then quantised
}
KINDS = {  # kind: the transformers class, the family of flops.shape_of, and an example to name
    "seq2seq": (transformers.AutoModelForSeq2SeqLM, "encoder-decoder", "a T5"),
    "classifier": (transformers.AutoModelForSequenceClassification, "encoder", "a BERT with a classification head"),
    "decoder": (transformers.AutoModelForCausalLM, "decoder", "a Llama"),
    "bi_encoder": (transformers.AutoModel, "encoder", "a BERT"),
    "encoder": (transformers.T5EncoderModel, "encoder", "the encoder of a T5"),
}
TOKENIZERS = ("tokenizer.json", "spiece.model", "spm.model", "sentencepiece.bpe.model", "tokenizer.model", "vocab.txt")
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
    rows: tuple[int, ...] = ()

    def only(self, rows: tuple[int, ...]) -> Loaded:
        """The same, computing only these rows of the vocabulary (kept in `rows`: they are part of what it is)."""
        return replace(self, head=self.head.only(rows), rows=rows)


def devices(asked: Sequence[str], precision: str) -> tuple[str, ...]:
    """Where to work: as asked, else on every GPU, else (and in int8) on the CPU."""
    gpus = () if precision == "int8" else tuple(f"cuda:{i}" for i in range(torch.cuda.device_count()))
    return tuple(asked) or gpus or ("cpu",)


def load(
    model: str,
    kind: str,
    *,
    revision: str = "",
    precision: str = "float32",
    device: str = "",
    rows: tuple[int, ...] = (),
    lock: str | Path | None = None,
) -> Loaded:
    """The model of a folder, a package or the Hub (see hub.model_folder) as a head of `kind`, on `device`.

    `kind` is seq2seq, classifier, decoder, bi_encoder, or encoder (a T5 encoder with one dense layer); `precision`
    float32, bfloat16, float16, or int8 (linear layers of a model on the CPU). Without a device: the first GPU, else
    the CPU. Raises BadInput, in one line, for a folder without tokenizer, another architecture, weights that are
    missing or damaged, or more than two labels.
    """
    if precision not in PRECISIONS:
        raise UnknownName("precision", precision, PRECISIONS)
    device = device or devices((), precision)[0]
    folder = model_folder(model, revision, lock)
    config = read_json(folder.path / "config.json")
    _check(config, kind, folder)
    with _quietly(), _in_one_line(folder):
        tokenizer = _tokenizer(folder)
        loaded = _weights(folder, kind, precision)
        parameters = sum(tensor.numel() for tensor in loaded.parameters())
        _check_loaded(loaded, kind, tokenizer, folder)
        loaded = _quantised(loaded, device) if precision == "int8" else loaded.to(device)
        head = _head(kind, loaded, tokenizer, folder)
    made = Loaded(folder, tokenizer, head, config, parameters, precision)
    return made.only(rows) if rows else made


# -- refusals --------------------------------------------------------------------------------------------------


def _check(config: Mapping[str, Any], kind: str, folder: ModelFolder) -> None:
    _, family, example = KINDS[kind]
    file = folder.path / "config.json"
    if not isinstance(config, Mapping):
        raise BadInput("is not the description of a model", file=file)
    name = config.get("model_type")
    try:
        found = shape_of(config).family
    except BadInput as error:
        raise BadInput(f"architecture {name!r} is not supported ({error})", file=file) from error
    if found != family:
        raise BadInput(f"is of type {name} ({found}), but this reranker needs {example} ({family})", file=file)
    if not any((folder.path / tokenizer).is_file() for tokenizer in (*TOKENIZERS, "vocab.json")):
        raise BadInput(f"holds no tokenizer (none of {', '.join(TOKENIZERS)})", file=folder.path)


def _check_loaded(model: Any, kind: str, tokenizer: Any, folder: ModelFolder) -> None:
    held = model.get_input_embeddings().weight.shape[0]
    if len(tokenizer) > held:
        raise BadInput(f"its tokenizer has {len(tokenizer)} tokens, but the model only {held}", file=folder.path)
    if kind == "classifier" and model.config.num_labels > 2:
        raise BadInput(f"has {model.config.num_labels} labels; a reranker has one or two", file=folder.path)


@contextmanager
def _in_one_line(folder: ModelFolder) -> Iterator[None]:
    """Whatever transformers says about a folder that it cannot read, as one BadInput."""
    try:
        yield
    except BadInput:
        raise
    except Exception as error:
        reason = (str(error).strip() or "no reason given").split("\n")[0][:200]
        raise BadInput(f"cannot be loaded ({type(error).__name__}: {reason})", file=folder.path) from error


@contextmanager
def _quietly() -> Iterator[None]:
    """Without transformers' warnings and progress bars: what matters of them is an error here."""
    log = transformers.utils.logging
    level, bars = log.get_verbosity(), log.is_progress_bar_enabled()
    log.set_verbosity(log.CRITICAL)
    log.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.set_verbosity(level)
        if bars:
            log.enable_progress_bar()


# -- pieces ----------------------------------------------------------------------------------------------------


def _tokenizer(folder: ModelFolder) -> Any:
    return transformers.AutoTokenizer.from_pretrained(folder.path, local_files_only=True, trust_remote_code=False)


def _weights(folder: ModelFolder, kind: str, precision: str) -> Any:
    """The model with all its weights, those that nothing here reads (a pooler) aside."""
    told = {} if kind == "encoder" else {"trust_remote_code": False}
    model, report = KINDS[kind][0].from_pretrained(
        folder.path,
        dtype=PRECISIONS[precision],
        use_safetensors=True,
        local_files_only=True,
        output_loading_info=True,
        **told,
    )
    unread = "pooler." if kind == "bi_encoder" else "\0"
    missing = sorted(key for key in report["missing_keys"] if unread not in key)
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise BadInput(f"holds no weights for {missing[0]}{more}: it was not trained as a {kind}", file=folder.path)
    return model.eval().requires_grad_(False)


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
    limit = _limit(kind, model, tokenizer)
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


def _limit(kind: str, model: Any, tokenizer: Any) -> int:
    """What the positions allow, and the tokenizer where it says less; a T5 has no end."""
    positions = getattr(model.config, "max_position_embeddings", None)
    if not positions:
        return ANY_LENGTH
    table = getattr(getattr(model.base_model, "embeddings", None), "position_embeddings", None)
    first = getattr(table, "padding_idx", None)  # RoBERTa counts its positions from there
    return int(min(positions - (0 if first is None else first + 1), tokenizer.model_max_length))


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
