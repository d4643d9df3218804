"""Models from disk: loaded whole and in safetensors, or refused in one line that says what is wrong with the folder.

Never code from a model's repository, never a pickle, and never a weight that the folder does not hold: transformers
would start what is missing at random, and what comes out would look like scores, vectors or answers.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
import transformers

from exabench.core.errors import REASON, BadInput, UnknownName, printable
from exabench.core.nouns import ModelFolder
from exabench.models.int8_linear import can_quantise, to_int8
from exabench.models.values import PRECISIONS

DTYPES: dict[str, torch.dtype] = {name: getattr(torch, name) for name in PRECISIONS}
"""What torch calls the PRECISIONS."""

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
    except BadInput:
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
    """The folder's tokenizer."""
    return transformers.AutoTokenizer.from_pretrained(folder.path, local_files_only=True, trust_remote_code=False)


def weights_of(kind: Any, folder: ModelFolder, what: str, precision: torch.dtype) -> Any:
    """The folder's model as the transformers class `kind`, in evaluation mode and with every weight it needs.

    Raises BadInput that names the first weight that is missing.
    """
    model, report = kind.from_pretrained(
        folder.path,
        dtype=precision,
        use_safetensors=True,
        local_files_only=True,
        trust_remote_code=False,
        output_loading_info=True,
    )
    refuse_missing(report, folder.path, what)
    return model.eval().requires_grad_(False)


def refuse_missing(report: Mapping[str, Any], folder: str | Path, what: str, *, unread: str = "\0") -> None:
    """Raise BadInput where `from_pretrained` reports weights that the folder lacks, but for names with `unread`."""
    missing = sorted(key for key in report["missing_keys"] if unread not in key)
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise BadInput(f"has no weights for {missing[0]}{more}: it is not {what}, or is incomplete", file=folder)


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
