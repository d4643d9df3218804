"""The report of a training, as it lies beside a submission: read, held against its shape, and never trusted.

On a board training.json carries `sealed`, the digests of all its files, against which they are then held; of itself
that of everything else in it. What is sent in need not carry it.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from exabench.errors import BadInput, printable
from exabench.files import digest_of, from_json, json_text

TRAINING_FILES = ("training.json", "README.md", "recipe.toml", "curves.csv")

DRAWING = "curves.svg"
"""A figure that version 0.1 drew beside these. It may still lie on a board, named by a seal, and is never read."""


@dataclass(frozen=True)
class Training:
    """The report of a training: training.json as values, and the bytes that a board keeps of each of TRAINING_FILES."""

    values: Mapping[str, Any]
    files: Mapping[str, bytes]


_SEAL = "sealed"
_FORMAT, _LARGEST, _DEEPEST, _FARTHEST = 1, 2**24, 16, 1e15  # bytes of a file, tables in tables, size of a number
_AGAINST = {"value": float, "difference": float, "interval": (float, float), "p": float, "p_holm": float}
_SHAPE: Mapping[str, Any] = {  # [one] is a list of such, a key with ? may be null, dict is a table of anything
    **dict.fromkeys(("name", "title", "note", "kind", "reranker", "licence", "fingerprint", "order", "hardware"), str),
    **dict.fromkeys(("format", "seed", "steps", "groups", "best"), int),
    **{"epochs": float, "options": dict, "recipe": dict, "versions": dict},
    "base": dict.fromkeys(("model", "revision", "licence"), str),
    "data": [
        {
            **dict.fromkeys(("name", "version", "content", "table", "family", "licence", "repository"), str),
            **{"rows": int, "teacher": dict, "leaks": dict},
        }
    ],
    "dev": {"metric": str, "source": str, "values": [(int, float)]},
    "checks": [
        {
            **{"task": str, "candidates": str, "depth": int, "metric": str, "queries": int, "value": float},
            **{"interval": (float, float), "first_stage": _AGAINST, "start?": _AGAINST},
            "published?": {"value": float, "source": str},
        }
    ],
}
_CALLED = {str: "text", int: "whole number", float: "number", dict: "table"}
_CURVES = re.compile(r"step,epoch,groups,loss,rate,gradient_norm,dev\n(?:[0-9.,e+-]+\n)+")


def read_training(folder: str | Path) -> Training:
    """The report of a training that lies in `folder`. Raises BadInput where a file is not what `exabench train` writes.

    It raises that for a sealed one of which a file was edited, too. Nothing in it can act: every file is shown as
    text.
    """
    folder = Path(folder)
    files = {name: _plain_bytes(folder / name) for name in TRAINING_FILES}
    texts = {name: _text(folder / name, data) for name, data in files.items()}
    file = folder / TRAINING_FILES[0]
    try:
        values = from_json(texts[file.name])
    except (ValueError, RecursionError) as error:
        raise BadInput(f"cannot be read ({printable(str(error), 200)})", file=file) from error
    seal = values.pop(_SEAL, None) if isinstance(values, dict) else None
    digests = {name: digest_of(data) for name, data in files.items() if name != file.name}
    if seal is not None:
        _check_sealed(seal, digests, folder)
    _check_shape(values, texts, folder)
    digests[file.name] = digest_of(values)
    if isinstance(seal, dict) and isinstance(seal.get(DRAWING), str):
        digests[DRAWING] = seal[DRAWING]  # so that a report that version 0.1 filed keeps its bytes
    if seal not in (None, digests):
        raise BadInput("was edited: its digest does not fit its content; submit the model again", file=file)
    return Training(values, files | {file.name: json_text({**values, _SEAL: digests}).encode()})


def _check_sealed(seal: object, digests: Mapping[str, str], folder: Path) -> None:
    """What lies beside training.json is what it names, whatever else is wrong. Raises BadInput."""
    known = seal if isinstance(seal, dict) else {}
    for name, digest in digests.items():
        if known.get(name) != digest:
            raise BadInput(
                f"was edited: its digest in {TRAINING_FILES[0]} does not fit; submit the model again",
                file=folder / name,
            )


def _check_shape(values: Any, texts: Mapping[str, str], folder: Path) -> None:
    """Every file is what `exabench train` writes. Raises BadInput."""
    file = folder / TRAINING_FILES[0]
    try:
        recipe = tomllib.loads(texts["recipe.toml"])
    except (ValueError, RecursionError) as error:
        raise BadInput(f"cannot be read ({printable(str(error), 200)})", file=folder / "recipe.toml") from error
    problems = list(_misfits(values, _SHAPE, "it"))
    if not problems and values["format"] != _FORMAT:
        problems.append(f"format must be {_FORMAT}")
    if not problems and recipe != values["recipe"]:
        problems.append("recipe.toml beside it holds another recipe")
    if problems:
        what = "; ".join(problems[:5])
        raise BadInput(f"is not what `exabench train` writes ({what}); train again, or leave it out", file=file)
    if not _CURVES.fullmatch(texts["curves.csv"]):
        raise BadInput("is not a table of the steps of a training", file=folder / "curves.csv")


def _plain_bytes(file: Path) -> bytes:
    """A file's bytes as they are; a link could lead anywhere, and what is large is no report."""
    try:
        if file.is_symlink() or not file.is_file():
            raise BadInput("must be a plain file: the report of a training is there whole or not at all", file=file)
        if file.stat().st_size > _LARGEST:
            raise BadInput(f"is larger than the {_LARGEST:,} bytes that a report may have", file=file)
        return file.read_bytes()
    except OSError as error:
        raise BadInput(f"cannot be read ({error.strerror})", file=file) from error


def _text(file: Path, data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise BadInput("is not UTF-8 text", file=file) from error


def _misfits(value: Any, shape: Any, at: str) -> Iterator[str]:
    """Where a JSON value is not of a shape."""
    if isinstance(shape, Mapping):
        wanted = {key.removesuffix("?"): inner for key, inner in shape.items()}
        if not isinstance(value, dict) or value.keys() != wanted.keys():
            yield f"{at} must hold {', '.join(sorted(wanted))}"
            return
        for key, inner in wanted.items():
            if value[key] is not None or f"{key}?" not in shape:
                yield from _misfits(value[key], inner, f"{at}.{key}")
    elif isinstance(shape, list | tuple):
        if not isinstance(value, list) or (isinstance(shape, tuple) and len(value) != len(shape)):
            yield f"{at} must be a list" + (f" of {len(shape)}" if isinstance(shape, tuple) else "")
            return
        shapes = shape if isinstance(shape, tuple) else shape * len(value)
        for i, (item, inner) in enumerate(zip(value, shapes, strict=True)):
            yield from _misfits(item, inner, f"{at}[{i}]")
    elif not _is(value, shape):
        yield f"{at} must be a {_CALLED[shape]}"


def _is(value: Any, kind: type) -> bool:
    if kind in (int, float):
        number = isinstance(value, int if kind is int else int | float) and not isinstance(value, bool)
        return number and abs(value) <= _FARTHEST
    return isinstance(value, kind) and (kind is not dict or _is_shallow(value, _DEEPEST))


def _is_shallow(value: Any, levels: int) -> bool:
    """Do tables and lists lie in each other so many levels deep at most?"""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return levels > 0 and all(_is_shallow(item, levels - 1) for item in inner)
