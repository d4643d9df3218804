"""The header of a safetensors file, by our own reader: in bounded time and memory, whatever its bytes say.

Format: https://huggingface.co/docs/safetensors (8 bytes of length, little-endian; JSON; tensors without holes).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from exabench.models.screening._refusals import SubmissionRefused
from exabench.models.screening._settings import parsed

HEADER = 4 << 20  # bytes; about 40,000 tensors, where a shard of the largest published models has some hundred
TENSORS = 100_000  # in all files of a folder together
_SIZES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}
_EMBEDDINGS = ("word_embeddings.weight", "embed_tokens.weight", "tok_embeddings.weight", "shared.weight")

Read = Callable[[str, int, int], bytes]
"""`read(file, start, end)`: those bytes of a file of the folder, fewer where it ends before."""


class Weights(NamedTuple):
    """One safetensors file: how many tensors and numbers it holds, and the rows of its largest embedding of tokens."""

    tensors: int
    parameters: int
    vocabulary: int


def weights_of(file: str, size: int, read: Read) -> Weights:
    """What the header of a file of `size` bytes declares. Raises SubmissionRefused (unsafe-files, too-large, ...)."""
    # the header's bytes, before they are read as JSON
    start = read(file, 0, 8)
    length = int.from_bytes(start, "little")
    if len(start) < 8 or length > size - 8:
        raise _wrong(file, "its header is longer than the file")
    if length > HEADER:
        raise _wrong(file, f"its header has {length} bytes, and {HEADER} are read")
    data = read(file, 8, 8 + length)
    if len(data) < length or not data.startswith(b"{"):
        raise _wrong(file, "its header is no JSON object")
    if data.count(b"[") + data.count(b"{") > 4 * TENSORS:
        raise _wrong(file, f"its header names more than {TENSORS} tensors")
    header = parsed(data, file)
    metadata = header.pop("__metadata__", None) or {}
    if not isinstance(metadata, dict) or not all(isinstance(text, str) for text in metadata.values()):
        raise _wrong(file, "its metadata are no texts")

    # each tensor: its three declarations agree with one another
    places: list[tuple[int, int, str]] = []
    parameters = 0
    vocabulary = 0
    for name, tensor in header.items():
        if len(name) > 512 or not name.isprintable():
            raise _wrong(file, "a tensor's name is too long, or cannot be printed")
        called = f"tensor {name[:80]!r}"
        if not isinstance(tensor, dict) or set(tensor) != {"dtype", "shape", "data_offsets"}:
            raise _wrong(file, f"{called} is not dtype, shape and data_offsets")
        dtype = tensor["dtype"]
        shape = tensor["shape"]
        offsets = tensor["data_offsets"]
        if not isinstance(dtype, str) or dtype not in _SIZES:
            what = f"{called} has dtype {str(dtype)[:20]!r}, not {', '.join(_SIZES)}"
            raise SubmissionRefused("unsupported-model", what)
        if not _are_counts(shape, 8) or not _are_counts(offsets, 2) or len(offsets) != 2:
            raise _wrong(file, f"{called} has a shape or offsets that are no counts")
        if math.prod(shape) * _SIZES[dtype] != offsets[1] - offsets[0]:
            raise _wrong(file, f"{called} has another size than its shape")
        places.append((offsets[0], offsets[1], name))
        parameters += math.prod(shape)
        if name.endswith(_EMBEDDINGS) and shape:
            vocabulary = max(vocabulary, shape[0])

    # the tensors fill the file without holes
    end = 0
    for first, last, name in sorted(places):
        if first != end:
            raise _wrong(file, f"tensor {name[:80]!r} begins at {first}, not at {end}: they overlap, or leave a hole")
        end = last
    if 8 + length + end != size:
        raise _wrong(file, f"it declares {8 + length + end} bytes and has {size}")
    if read(file, max(0, size - 22), size)[:4] == b"PK\x05\x06":
        raise _wrong(file, "it is a zip archive as well")
    return Weights(len(header), parameters, vocabulary)


def _wrong(file: str, what: str) -> SubmissionRefused:
    return SubmissionRefused("unsafe-files", f"is not safetensors as it should be: {what}", file=file)


def _are_counts(value: Any, most: int) -> bool:
    return isinstance(value, list) and len(value) <= most and all(type(n) is int and 0 <= n < 1 << 60 for n in value)
