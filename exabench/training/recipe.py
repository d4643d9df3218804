"""The recipe of a training: its keys and tables with their types, checked whole before anything is loaded."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

from msgspec import Meta, field
from msgspec.structs import asdict

from exabench.core.errors import BadInput
from exabench.core.recipe import Recipe, read_recipe
from exabench.core.records import AtLeastOne, Record, read
from exabench.measure.metric_values import MetricName

Count = Annotated[int, Meta(ge=0)]
Name = Annotated[str, Meta(min_length=1)]


class Data(Record, frozen=True):
    """A table of a release to train on.

    `only`: rows with one of these values in a column; `limit`: no more than the first of them (0: all). `passages`: how
    many of each list, the first ones, or with `draw` others in each epoch (0: all). `explanations`: a target holds the
    explanation behind its label. `split` is fitted, `held_out` is the split for dev.
    """

    release: Name
    table: Name
    split: str = "train"
    held_out: str = "validation"
    version: str = ""
    only: dict[str, list[Any]] = {}
    limit: Count = 0
    passages: Count = 0
    draw: bool = False
    explanations: bool = True


class Steps(Record, frozen=True):
    """How the model is fitted: `groups` to an optimiser step, for `epochs` (or exactly `steps`), rate and schedule.

    `gradients`: "plain" keeps the graph of whole groups, "cached" scores first without one and goes back in
    micro-batches (the same gradient), "auto" caches where one group is longer than what may be kept: `batch_tokens`, or
    what suits the device (0). `loaders` are threads that tokenise ahead; `autocast` is a lower precision for the
    forward pass; `attention` an implementation of transformers. `sharded`: each rank holds a slice of the model.
    `in_batch`: the passages of a step's other groups (on the same rank) are negatives, too; only for a dual encoder.
    """

    epochs: Annotated[float, Meta(gt=0)] = 1.0
    steps: Count = 0
    groups: AtLeastOne = 32
    optimiser: Literal["adamw", "adafactor"] = "adamw"
    rate: Annotated[float, Meta(gt=0, le=1)] = 2e-5
    schedule: Literal["constant", "linear", "cosine"] = "constant"
    warmup: Count = 0
    decay: Annotated[float, Meta(ge=0)] = 0.01
    clip: Annotated[float, Meta(ge=0)] = 1.0
    gradients: Literal["auto", "plain", "cached"] = "auto"
    batch_tokens: Count = 0
    loaders: Count = 1
    autocast: Literal["", "bfloat16"] = ""
    compile: bool = False
    checkpointing: bool = False
    # Closed, because transformers takes any other name for a repository with code to fetch and run.
    attention: Literal["", "eager", "sdpa", "flash_attention_2", "flash_attention_3", "flex_attention"] = ""
    dropout: bool = True
    sharded: bool = False
    in_batch: bool = False


class DevPlan(Record, frozen=True):
    """Evaluation in the loop, before the first step and `every` so many; the best of them is kept, the start included.

    Training stops after `patience` of them without gain (0: never).
    It is on the held-out rows of the releases; where there are none, on the last `groups` of the fitted ones, which are
    then held out; or on `task`'s `split` over the best `depth` of `retriever`, never on what a board tests on, nor on a
    query that is fitted.
    """

    every: Count = 0
    metric: str = ""
    patience: Count = 0
    groups: Count = 0
    task: str = ""
    split: str = "dev"
    retriever: str = "bm25"
    depth: AtLeastOne = 100
    queries: AtLeastOne = 200


class Check(Record, frozen=True):
    """A task on which the finished model is measured, and the published number that the recipe reproduces, if any."""

    task: Name
    candidates: str = "bm25"
    depth: AtLeastOne = 100
    metric: str = "nDCG@10"
    value: float | None = None
    system: str = ""
    source: str = ""


class Settings(Record, frozen=True):
    """The keys of a training recipe."""

    reranker: Name
    model: Name
    data: Annotated[list[Data], Meta(min_length=1)]
    loss: dict[str, Any]
    title: str = ""
    revision: str = ""
    precision: str = "float32"
    licence: str = "unknown"
    note: str = ""
    seed: int = 0
    options: dict[str, Any] = {}
    # The weight by which the model's scores are mixed with the first stage's, or "fit": chosen on the queries of dev.
    interpolate: Annotated[float, Meta(gt=0, le=1)] | Literal["fit"] | None = None
    steps: Steps = Steps()
    dev: DevPlan = DevPlan()
    checks: list[Check] = field(name="check", default_factory=list)


class Plan(Settings, frozen=True, kw_only=True):
    """A training recipe with every key checked, and the recipe that it was read from."""

    recipe: Recipe


def train_recipe(name: str | Path | Recipe, overrides: Iterable[str] = ()) -> Plan:
    """The training recipe `name` (of recipes/train, or a path), with `key=value` overrides.

    A dot in a key reaches into a table, as in `steps.rate=1e-5`. Raises UnknownName for a recipe that is not known,
    BadInput for an unknown key and for a value of another type or out of range.
    """
    pairs = [*overrides]
    recipe = read_recipe("train", name, overrides=pairs)
    try:
        return _plan_of(recipe, recipe.file)
    except BadInput:
        if not pairs:
            raise
    _plan_of(read_recipe("train", name), recipe.file)  # raises where the file alone is wrong
    return _plan_of(recipe, "--set")


def _plan_of(recipe: Recipe, place: str | Path) -> Plan:
    """The plan of a recipe. Raises BadInput that names the `place` where its values were written."""
    settings = read(Settings, recipe.values, file=place)
    if not isinstance(settings.loss.get("part"), str):
        raise BadInput('loss must name a part, as in { part = "ranknet" }', file=place)
    if settings.steps.sharded and settings.steps.optimiser != "adamw":
        raise BadInput(
            f"steps.sharded takes adamw, not {settings.steps.optimiser}, whose moments cannot be sharded",
            file=place,
        )
    if settings.interpolate == "fit" and not settings.dev.task:
        raise BadInput(
            'interpolate = "fit" needs dev.task, and dev.split, to name the queries that the weight is chosen on',
            file=place,
        )
    metrics = [settings.dev.metric]
    for check in settings.checks:
        metrics.append(check.metric)
    # Told before a training, not after it.
    for metric in metrics:
        if metric not in ("", "loss"):  # of dev: its default, and the loss on held-out rows
            try:
                MetricName.parse(metric)
            except BadInput as error:
                raise BadInput(str(error), file=place) from None
    return Plan(recipe=recipe, **asdict(settings))
