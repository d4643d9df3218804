"""The report of a training, as it lies beside a submission: read, checked against its shape, and never trusted."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from msgspec import Meta

from exabench.core.errors import BadInput, printable
from exabench.core.files import from_json
from exabench.core.records import Record, read

TRAINING_FILES = ("training.json", "README.md", "recipe.toml", "curves.csv")

DRAWING = "curves.svg"
"""A figure that version 0.1 drew beside these. It may still lie on a board, and is never read."""


@dataclass(frozen=True)
class Training:
    """The report of a training: training.json as values, and the bytes of each of TRAINING_FILES."""

    values: Mapping[str, Any]
    files: Mapping[str, bytes]


_LARGEST_FILE = 2**24  # bytes
_DEEPEST = 20  # tables and lists in each other; pages walk them
_FARTHEST = 10**15  # a number beyond it means nothing, and its digits would fill a page
_Count = Annotated[int, Meta(ge=-_FARTHEST, le=_FARTHEST)]
_Number = Annotated[float, Meta(ge=-_FARTHEST, le=_FARTHEST)]
_Table = dict[str, Any]
_CURVES = re.compile(r"step,epoch,groups,loss,rate,gradient_norm,dev\n(?:[0-9.,e+-]+\n)+")


class _Base(Record, frozen=True):
    model: str
    revision: str
    licence: str


class _Data(Record, frozen=True):
    name: str
    version: str
    content: str
    table: str
    family: str
    licence: str
    repository: str
    rows: _Count
    teacher: _Table
    leaks: _Table


class _Dev(Record, frozen=True):
    metric: str
    source: str
    values: list[tuple[_Count, _Number]]


class _Against(Record, frozen=True):
    value: _Number
    difference: _Number
    interval: tuple[_Number, _Number]
    p: _Number
    p_holm: _Number


class _Published(Record, frozen=True):
    value: _Number
    source: str


class _Check(Record, frozen=True):
    task: str
    candidates: str
    depth: _Count
    metric: str
    queries: _Count
    value: _Number
    interval: tuple[_Number, _Number]
    first_stage: _Against
    start: _Against | None
    published: _Published | None


class _Report(Record, frozen=True):
    format: Literal[1]
    name: str
    title: str
    note: str
    kind: str
    reranker: str
    licence: str
    fingerprint: str
    order: str
    hardware: str
    seed: _Count
    steps: _Count
    groups: _Count
    best: _Count
    epochs: _Number
    options: _Table
    recipe: _Table
    versions: _Table
    base: _Base
    data: list[_Data]
    dev: _Dev
    checks: list[_Check]


def read_training(folder: str | Path) -> Training:
    """The report of a training that lies in `folder`. Raises BadInput where a file is not what `exabench train` writes.

    Nothing in it can act: every file is shown as text.
    """
    files = {}
    texts = {}
    for name in TRAINING_FILES:
        file = Path(folder, name)
        try:
            if file.is_symlink() or not file.is_file():  # a link could lead anywhere
                raise BadInput("must be a plain file: the report of a training is there whole or not at all", file=file)
            if file.stat().st_size > _LARGEST_FILE:
                raise BadInput(f"is larger than the {_LARGEST_FILE:,} bytes that a report may have", file=file)
            files[name] = file.read_bytes()
            texts[name] = files[name].decode()
        except OSError as error:
            raise BadInput(f"cannot be read ({error.strerror})", file=file) from error
        except UnicodeDecodeError as error:
            raise BadInput("is not UTF-8 text", file=file) from error

    file = Path(folder, "training.json")
    try:
        values = from_json(texts["training.json"])
        file = Path(folder, "recipe.toml")
        recipe = tomllib.loads(texts["recipe.toml"])
    except (ValueError, RecursionError) as error:
        raise BadInput(f"cannot be read ({printable(str(error), 200)})", file=file) from error

    file = Path(folder, "training.json")
    if isinstance(values, dict):
        values.pop("sealed", None)  # version 0.1 wrote digests of all files there
    if not _is_shallow(values, _DEEPEST):
        raise BadInput(f"is nested deeper than {_DEEPEST} levels, so `exabench train` did not write it", file=file)
    read(_Report, values, file=file, what="the report")
    if recipe != values["recipe"]:
        raise BadInput("is not the recipe that training.json holds", file=Path(folder, "recipe.toml"))
    if not _CURVES.fullmatch(texts["curves.csv"]):
        raise BadInput("is not a table of the steps of a training", file=Path(folder, "curves.csv"))
    return Training(values, files)


def _is_shallow(value: Any, levels: int) -> bool:
    """Do tables and lists lie in each other so many levels deep at most?"""
    inner = value.values() if isinstance(value, dict) else value
    if not isinstance(value, dict | list):
        return True
    return levels > 0 and all(_is_shallow(item, levels - 1) for item in inner)
