"""The plan of a training run: a recipe's keys and tables, checked whole before anything is loaded."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_type_hints

from exabench.errors import BadInput, UnknownName
from exabench.recipe import Recipe, overridden, read_recipe

KEYS: Mapping[str, type] = {
    **{"title": str, "reranker": str, "model": str, "revision": str, "precision": str, "licence": str, "note": str},
    **{"seed": int, "options": dict, "loss": dict, "data": list, "steps": dict, "dev": dict, "check": list},
}


@dataclass(frozen=True)
class Data:
    """One table of a release that is learnt from.

    `only`: rows with one of these values in a column; `limit`: the first so many of them; `passages`: so many of each
    list, its first ones, or with `draw` others in each epoch; `explanations`: whether a target goes on behind its
    label; `split` and `held_out`: the rows that are fitted, and those that are not.
    """

    release: str
    table: str
    split: str = "train"
    held_out: str = "validation"
    version: str = ""
    only: Mapping[str, Any] = field(default_factory=dict)
    limit: int = 0
    passages: int = 0
    draw: bool = False
    explanations: bool = True


@dataclass(frozen=True)
class Steps:
    """How it is fitted: `groups` to an optimiser step, for `epochs` (or exactly `steps`), under what schedule.

    `gradients`: "plain" keeps the graph of whole groups, "cached" scores first without one and goes back in
    micro-batches (the same gradient), "auto" caches where one group is longer than what may be kept: `batch_tokens`, or
    what suits the device (0). `loaders` are threads that tokenise ahead; `autocast` a lower precision for the forward
    pass; `attention` an implementation of transformers. `sharded`: each rank holds a slice of the model.
    """

    epochs: float = 1.0
    steps: int = 0
    groups: int = 32
    optimiser: str = "adamw"
    rate: float = 2e-5
    schedule: str = "constant"
    warmup: int = 0
    decay: float = 0.01
    clip: float = 1.0
    gradients: str = "auto"
    batch_tokens: int = 0
    loaders: int = 1
    autocast: str = ""
    compile: bool = False
    checkpointing: bool = False
    attention: str = ""
    dropout: bool = True
    sharded: bool = False


@dataclass(frozen=True)
class Dev:
    """Evaluation in the loop, every so many steps; it stops after `patience` of them without gain (0: never).

    On the held-out rows of the releases; where those have none, on the last `groups` of the fitted ones, which are
    then fitted no more; or on `task`'s `split` over the best `depth` of `retriever`, never on what a board tests on.
    """

    every: int = 0
    metric: str = ""
    patience: int = 0
    groups: int = 0
    task: str = ""
    split: str = "dev"
    retriever: str = "bm25"
    depth: int = 100
    queries: int = 200


@dataclass(frozen=True)
class Check:
    """A published number that the recipe is to reproduce, and what its own model is to be measured on."""

    task: str
    candidates: str = "bm25"
    depth: int = 100
    metric: str = "nDCG@10"
    value: float | None = None
    system: str = ""
    source: str = ""


@dataclass(frozen=True)
class Plan:
    """A training recipe, every key in its place."""

    recipe: Recipe
    reranker: str
    model: str
    data: tuple[Data, ...]
    loss: Mapping[str, Any]
    title: str = ""
    revision: str = ""
    precision: str = "float32"
    licence: str = "unknown"
    note: str = ""
    seed: int = 0
    options: Mapping[str, Any] = field(default_factory=dict)
    steps: Steps = field(default_factory=Steps)
    dev: Dev = field(default_factory=Dev)
    checks: tuple[Check, ...] = ()


CHOICES: Mapping[str, tuple[str, ...]] = {
    "optimiser": ("adamw", "adafactor"),
    "schedule": ("constant", "linear", "cosine"),
    "gradients": ("auto", "plain", "cached"),
    "autocast": ("", "bfloat16"),
    "attention": ("", "eager", "sdpa", "flash_attention_2", "flash_attention_3", "flex_attention"),
}


def train_recipe(name: str | Path | Recipe, overrides: Iterable[str] = ()) -> Plan:
    """The plan of recipe `name` (of recipes/train, or a path), with `key=value` overrides.

    An override reaches into a table by a dot, as in `steps.rate=1e-5`. Raises UnknownName for a key that no plan has,
    BadInput for a value of another type or out of range.
    """
    if isinstance(name, Recipe):
        recipe = overridden(name, KEYS, overrides)
    else:
        recipe = read_recipe("train", name, KEYS, overrides)
    values, file = dict(recipe.values), recipe.file
    for key in ("reranker", "model", "data", "loss"):
        if not values.get(key):
            raise BadInput(f"{key} is missing", file=file)
    steps, dev = _table(Steps, values.pop("steps", {}), "steps", file), _table(Dev, values.pop("dev", {}), "dev", file)
    data = tuple(_table(Data, table, "data", file) for table in values.pop("data"))
    checks = tuple(_table(Check, table, "check", file) for table in values.pop("check", ()))
    if not isinstance(values["loss"].get("part"), str):
        raise BadInput('loss must name a part, as in { part = "ranknet" }', file=file)
    _check_steps(steps, file)
    for one in data:
        _at_least(0, {"data.limit": one.limit, "data.passages": one.passages}, file)
    _at_least(0, {"dev.every": dev.every, "dev.patience": dev.patience, "dev.groups": dev.groups}, file)
    _at_least(1, {"dev.depth": dev.depth, "dev.queries": dev.queries}, file)
    if steps.sharded and steps.optimiser != "adamw":
        raise BadInput(f"steps.sharded takes adamw, not {steps.optimiser}, whose moments cannot be cut up", file=file)
    return Plan(recipe, data=data, steps=steps, dev=dev, checks=checks, **values)


def _table(kind: Any, table: Any, what: str, file: Path) -> Any:
    """A table of the recipe as the dataclass `kind`. Raises UnknownName, BadInput."""
    if not isinstance(table, Mapping):
        raise BadInput(f"{what} must be a table", file=file)
    hints = get_type_hints(kind)
    for key, value in table.items():
        if key not in hints:
            raise UnknownName(f"key of {what}", key, hints, file=file)
        wanted = get_args(hints[key]) if isinstance(hints[key], UnionType) else (hints[key],)
        if not any(_is(value, one) for one in wanted):
            raise BadInput(
                f"{what}.{key} must be {getattr(wanted[0], '__name__', 'a table').lower()}, not {type(value).__name__}",
                file=file,
            )
        if key in CHOICES and value not in CHOICES[key]:
            raise UnknownName(f"{what}.{key}", value, [name for name in CHOICES[key] if name], file=file)
    for one in fields(kind):
        if one.default is MISSING and one.default_factory is MISSING and not table.get(one.name):
            raise BadInput(f"{what}.{one.name} is missing", file=file)
    return kind(**table)


def _is(value: object, kind: type) -> bool:
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if kind == Mapping[str, Any]:
        return isinstance(value, dict) and all(isinstance(item, list) for item in value.values())
    return type(value) is kind


def _check_steps(steps: Steps, file: Path) -> None:
    for name, value in {"rate": steps.rate, "groups": steps.groups, "epochs": steps.steps or steps.epochs}.items():
        if not 0 < value < math.inf:
            raise BadInput(f"steps.{name} must be above 0, not {value}", file=file)
    if steps.rate > 1:
        raise BadInput(f"steps.rate is {steps.rate}; it must be at most 1", file=file)
    least = {name: getattr(steps, name) for name in ("steps", "warmup", "decay", "clip", "batch_tokens", "loaders")}
    _at_least(0, {f"steps.{name}": value for name, value in least.items()}, file)


def _at_least(least: int, values: Mapping[str, float], file: Path) -> None:
    for name, value in values.items():
        if not least <= value < math.inf:
            raise BadInput(f"{name} must be at least {least}, not {value}", file=file)
