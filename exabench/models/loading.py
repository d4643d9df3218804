"""Models from disk: loaded whole and in safetensors, or refused in one line that says what is wrong with the folder.

Never code from a model's repository, never a pickle, and never a weight that the folder does not hold: transformers
would start what is missing at random, and what comes out would look like scores, vectors or answers.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
import transformers

from exabench.core.errors import REASON, BadInput, MissingExtra, UnknownName, printable
from exabench.core.nouns import ModelFolder
from exabench.core.packages import pip_line
from exabench.models.adapters import (
    INSIDE,
    has_adapter,
    labels_of,
    merge_adapter,
    read_adapter,
    without_adapter,
)
from exabench.models.int8_linear import can_quantise, to_int8
from exabench.models.values import PRECISIONS

DTYPES: dict[str, torch.dtype] = {name: getattr(torch, name) for name in PRECISIONS}
"""What torch calls the PRECISIONS."""

_PROBE = "the sky is blue"
_NO_LIMIT = 10**9
_UNLIMITED_READS = 512  # tokens read of a text where neither the tokenizer nor the model names a limit
TOKENIZERS = (
    "tokenizer.json spiece.model spm.model sentencepiece.bpe.model tokenizer.model vocab.txt vocab.json".split()
)


def device_of(name: str) -> torch.device:
    """The device of that name; none means a GPU where there is one. Raises BadInput for one that is not there."""
    try:
        device = torch.device(name or ("cuda" if torch.cuda.is_available() else "cpu"))
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise BadInput(f"device {name!r} cannot be used here ({_reason(error)})") from error
    return device


def dtype_of(precision: str) -> torch.dtype:
    """The dtype of that name. Raises UnknownName."""
    if precision not in DTYPES:
        raise UnknownName("precision", precision, PRECISIONS)
    return DTYPES[precision]


@contextlib.contextmanager
def loading(folder: ModelFolder, what: str) -> Iterator[None]:
    """Load `what` ("a T5") silently; whatever a library says of a folder it cannot load becomes one BadInput.

    A folder without tokenizer is refused first: transformers would make an empty one up.
    """
    if not any((folder.path / name).is_file() for name in TOKENIZERS):
        raise BadInput(f"has no tokenizer (none of {', '.join(TOKENIZERS)})", file=folder.path)
    try:
        with silence(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except (BadInput, MissingExtra):
        raise
    except Exception as error:  # a broken folder makes libraries raise almost anything
        raise BadInput(f"cannot be loaded as {what} ({_reason(error)})", file=folder.path) from error


@contextlib.contextmanager
def silence() -> Iterator[None]:
    """Have transformers log nothing and draw no progress bars; what it did before it does again afterwards."""
    log = transformers.utils.logging
    level = log.get_verbosity()
    bars = log.is_progress_bar_enabled()
    log.set_verbosity(log.CRITICAL)
    log.disable_progress_bar()
    try:
        yield
    finally:
        log.set_verbosity(level)
        if bars:
            log.enable_progress_bar()


def out_of_memory(error: BaseException) -> bool:
    """Did a device, or the machine, run out of memory? The allocator of a CPU says so in a plain RuntimeError."""
    text = str(error).lower()
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or ("memory" in text and "alloc" in text)


@contextlib.contextmanager
def refuse_out_of_memory(what: str, otherwise: str) -> Iterator[None]:
    """Raises BadInput where memory runs out in the block: there is none for `what`; do what `otherwise` says."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        raise BadInput(f"there is not enough memory for {what}; {otherwise}") from error


def tokenizer_of(folder: ModelFolder) -> Any:
    """The folder's tokenizer. A SentencePiece model without tokenizer.json must be read as sentencepiece reads it.

    Raises BadInput where it is not, or its limit is not a number of tokens, and MissingExtra where a package that reads
    it is not installed.
    """
    pieces = _sentencepiece_model(folder.path)
    if pieces is not None:
        try:
            import google.protobuf  # noqa: F401  # transformers reads the model by it, and without it says "tiktoken"
            from sentencepiece import SentencePieceProcessor
        except ImportError as error:
            needed = f"reading {pieces.name} without a tokenizer.json needs a package"
            raise MissingExtra(f"{folder.path}: {needed}: {pip_line('protobuf')}") from error
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder.path, local_files_only=True, trust_remote_code=False)
    if pieces is not None:
        own = SentencePieceProcessor(str(pieces))
        wanted = []
        for id in own.encode(_PROBE):
            wanted.append(tokenizer.unk_token if own.is_unknown(id) else own.id_to_piece(id))
        # Some versions of transformers guess the kind of a tokenizer wrongly; what is read tells, whatever the version.
        read = tokenizer.convert_ids_to_tokens(tokenizer(_PROBE, add_special_tokens=False)["input_ids"])
        if read != wanted:
            what = f"{pieces.name} is read here as {' '.join(read)[:40]!r}, not as {' '.join(wanted)[:40]!r}"
            raise BadInput(f"{what}, which sentencepiece makes of it: add the model's tokenizer.json", file=folder.path)
    limit = tokenizer.model_max_length
    if type(limit) not in (int, float) or not limit >= 1:  # not NaN either
        wrong = f"model_max_length is {printable(repr(limit))}, not a number of tokens"
        raise BadInput(wrong, file=folder.path / "tokenizer_config.json")
    return tokenizer


def _sentencepiece_model(folder: Path) -> Path | None:
    """The SentencePiece model that a folder's tokenizer is made of, None where it has a tokenizer.json or another."""
    if (folder / "tokenizer.json").is_file():
        return None
    for name in TOKENIZERS:
        file = folder / name
        if name.endswith(".model") and file.is_file():
            with open(file, "rb") as stream:
                if stream.read(1) == b"\n":  # the first field of such a model; some tokenizer.model are of tiktoken
                    return file
    return None


def weights_of(
    kind: Any,
    folder: ModelFolder,
    what: str,
    precision: torch.dtype,
    *,
    new_head: bool = False,
    **config: Any,
) -> Any:
    """The folder's model as the transformers class `kind`, in evaluation mode and with every weight it needs.

    An adapter in the folder is merged into it, with the head for classification that it may bring. With `new_head` a
    head that the folder lacks is drawn at random; `config` overrides what config.json says. Raises BadInput that names
    the first weight that is missing, MissingExtra.
    """
    if kind is transformers.AutoModelForSequenceClassification and has_adapter(folder.path):
        _, added = read_adapter(folder.path)
        labels = labels_of(added)
        if labels is not None:
            config["num_labels"] = labels

    def read(path: str) -> tuple[Any, Mapping[str, Any]]:
        model, report = kind.from_pretrained(
            path,
            dtype=precision,
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=False,
            output_loading_info=True,
            **config,
        )
        return model, report

    def is_new(model: Any, name: str) -> bool:
        # the head, and a pooler that may belong to it
        return new_head and (not name.startswith(f"{model.base_model_prefix}.") or "pooler" in name)

    return read_whole(folder.path, read, what, is_new)


def read_whole(
    folder: Path,
    read: Callable[[str], tuple[Any, Mapping[str, Any]]],
    what: str,
    unread: Callable[[Any, str], bool] = lambda model, name: False,
) -> Any:
    """The model that `read` makes of a folder, with the folder's adapter merged, in evaluation mode.

    `read` gives a model and the report of `from_pretrained` for a path. Raises BadInput where weights are missing, but
    for those that `unread(model, name)` lets go, and MissingExtra.
    """
    added: Mapping[str, Any] = {}
    if has_adapter(folder):
        settings, added = read_adapter(folder)
        # With peft installed transformers would load it unasked, without peft leave it out: neither may decide.
        with without_adapter(folder) as base:
            model, report = read(str(base))
    else:
        model, report = read(str(folder))
    missing = []
    for name in sorted(report["missing_keys"]):
        if not unread(model, name) and f"{INSIDE}{name}" not in added:
            missing.append(name)
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise BadInput(f"has no weights for {missing[0]}{more}: it is not {what}, or is incomplete", file=folder)
    if added:
        model = merge_adapter(model, folder, added, settings)
    if getattr(model.config, "auto_map", None):  # code that was not needed; what is trained of it is saved without
        del model.config.auto_map
    return model.eval().requires_grad_(False)


def quantise(model: Any, device: str) -> Any:
    """The model with the linear layers of its body in int8 (see int8_linear); the head that scores stays in float32.

    Raises BadInput where the device, or this machine's PyTorch, has no such layers.
    """
    if device != "cpu":
        raise BadInput(f"precision int8 runs on the CPU, not on {device}; use bfloat16 there")
    if not can_quantise():
        raise BadInput("precision int8 needs a PyTorch with FBGEMM (x86 processors); use bfloat16")
    output = model.get_output_embeddings()
    to_int8(model.base_model)
    if output is not None:
        model.set_output_embeddings(output)  # a few rows of it are read, in float32
    return model


def check_vocabulary(tokenizer: Any, model: Any, folder: ModelFolder) -> None:
    """Raises BadInput where the tokenizer has words that the model has not."""
    held = model.get_input_embeddings().weight.shape[0]
    if len(tokenizer) > held:
        raise BadInput(f"its tokenizer has {len(tokenizer)} tokens, but the model only {held}", file=folder.path)


def positions_of(model: Any) -> int | None:
    """How many tokens the model has positions for; None where they are relative and have no end (T5)."""
    positions = getattr(model.config, "max_position_embeddings", None)
    if not positions:
        return None
    table = getattr(getattr(model.base_model, "embeddings", None), "position_embeddings", None)
    first = getattr(table, "padding_idx", None)  # RoBERTa and its kin count their positions from there
    if first is not None:
        positions -= first + 1
    return int(positions)


def token_limit(tokenizer: Any, model: Any, folder: ModelFolder, wanted: int) -> int:
    """How many tokens of a text are read: `wanted`, or where that is 0 what tokenizer and model allow.

    Raises BadInput where more are wanted than the model has positions for, or the tokenizer has words it has not.
    """
    check_vocabulary(tokenizer, model, folder)
    positions = positions_of(model) or _NO_LIMIT
    if wanted < 0 or wanted > positions:
        raise BadInput(f"max_length {wanted} is not between 1 and {positions}, the model's number of positions")
    most = int(min(tokenizer.model_max_length, positions))
    return wanted or (most if most < 10**6 else _UNLIMITED_READS)


def _reason(error: Exception) -> str:
    lines = str(error).strip().split("\n")
    return f"{type(error).__name__}: {printable(lines[0], REASON) or 'no reason given'}"
