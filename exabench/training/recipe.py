"""The recipe of a training: its keys and tables with their types, checked whole before anything is loaded."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

from msgspec import Meta, field
from msgspec.structs import asdict, replace

from exabench.core.errors import BadInput, printable
from exabench.core.recipe import Recipe, read_recipe
from exabench.core.records import AtLeastOne, Record, read
from exabench.hub.client import is_repo
from exabench.measure.metric_values import MetricName
from exabench.parts.rerankers import RERANKERS

Count = Annotated[int, Meta(ge=0)]
Beta = Annotated[float, Meta(ge=0, lt=1)]
Name = Annotated[str, Meta(min_length=1)]

LOW_PRECISIONS = ("bfloat16", "float16")


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

    `warmup` is a number of steps, or below 1 a share of all; its first step has a share of the rate, or with
    `warmup_from_zero` none, as the schedules of transformers have it. `clip` is the largest norm of a step's gradient
    (0: none); with `clip_each` the sum so far is clipped after each group, as in the code of RankGPT and TWOLAR, which
    go back through one query at a time. `decay` is of the weights; with `decay_all` false not of
    biases and norms, which BERT and the transformers library leave out. `betas` and `epsilon` are AdamW's.
    `gradients`: "plain" keeps the graph of whole groups, "cached" scores first without one and goes back in
    micro-batches (the same gradient), "auto" caches where one group is longer than what may be kept: `batch_tokens`, or
    what suits the device (0). `loaders` are threads that tokenise ahead; `autocast` is a lower precision for the
    forward pass; `attention` an implementation of transformers. `sharded`: each rank holds a slice of the model.
    `in_batch`: the passages of a step's other groups (on the same rank) are negatives, too; only where texts are
    encoded apart.
    """

    epochs: Annotated[float, Meta(gt=0)] = 1.0
    steps: Count = 0
    groups: AtLeastOne = 32
    optimiser: Literal["adamw", "adafactor"] = "adamw"
    rate: Annotated[float, Meta(gt=0, le=1)] = 2e-5
    schedule: Literal["constant", "linear", "cosine"] = "constant"
    warmup: Count | Annotated[float, Meta(ge=0, lt=1)] = 0
    warmup_from_zero: bool = False
    decay: Annotated[float, Meta(ge=0)] = 0.01
    decay_all: bool = True
    betas: tuple[Beta, Beta] = (0.9, 0.999)
    epsilon: Annotated[float, Meta(gt=0, lt=1)] = 1e-8
    clip: Annotated[float, Meta(ge=0)] = 1.0
    clip_each: bool = False
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


class Lora(Record, frozen=True):
    """Train a LoRA adapter (models/lora.py) of this `rank` in place of the model's weights (0: none).

    Layers that score learn whole. `targets`: the ends of the names of the linear layers that get one; none: those that
    peft takes for the architecture. `save`: "merged" into the model's weights, or only the "adapter", which names its
    base model on the Hub.
    """

    rank: Count = 0
    alpha: Annotated[float, Meta(gt=0)] = 32.0
    dropout: Annotated[float, Meta(ge=0, lt=1)] = 0.0
    targets: list[Name] | Literal["all-linear"] = []
    save: Literal["merged", "adapter"] = "merged"


class Negatives(Record, frozen=True):
    """Mine negatives again `every` so many steps (0: never), by the model as it stands.

    Of all negatives of a row, which are more than its table's `passages` lets through, the hardest are learnt; with
    `depth` they are drawn from the best so many. Until the first time it is as the table says.
    """

    every: Count = 0
    depth: Count = 0


class DevPlan(Record, frozen=True):
    """Evaluation in the loop, before the first step and `every` so many; the best of them is kept, the start included.

    With `every` 0 nothing is evaluated, and nothing held out. Training stops after `patience` of them without gain (0:
    never). It is on the held-out rows of the releases; where there are none, on the last `groups` of the fitted ones,
    which are then held out; or on `task`'s `split` over the best `depth` of `retriever`, never on what a board tests
    on, nor on a query that is fitted.
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
    """The keys of a training recipe.

    `start_label` is the relevant label of a model with three or more: a training starts from its row of the last layer.
    """

    reranker: Name
    model: Name
    data: Annotated[list[Data], Meta(min_length=1)]
    loss: dict[str, Any]
    title: str = ""
    revision: str = ""
    start_label: Name = "entailment"
    precision: str = "float32"
    licence: str = "unknown"
    note: str = ""
    seed: int = 0
    options: dict[str, Any] = {}
    # The weight by which the model's scores are mixed with the first stage's, or "fit": chosen on the queries of dev.
    interpolate: Annotated[float, Meta(gt=0, le=1)] | Literal["fit"] | None = None
    steps: Steps = Steps()
    lora: Lora = Lora()
    negatives: Negatives = Negatives()
    dev: DevPlan = DevPlan()
    checks: list[Check] = field(name="check", default_factory=list)


class Plan(Settings, frozen=True, kw_only=True):
    """A training recipe with every key checked, and the recipe that it was read from."""

    recipe: Recipe


def train_recipe(name: str | Path | Recipe, overrides: Iterable[str] = ()) -> Plan:
    """The training recipe `name` (of recipes/train, or a path), with `key=value` overrides.

    A dot in a key reaches into a table, as in `steps.rate=1e-5`. Raises UnknownName for a recipe or a reranker that is
    not known, BadInput for an unknown key, a value of another type or out of range, and a reranker that cannot be
    trained.
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
    learns = RERANKERS.constant(settings.reranker, "LEARNS")
    if not learns:
        trainable = ", ".join(name for name in RERANKERS if RERANKERS.constant(name, "LEARNS"))
        raise BadInput(f"reranker {settings.reranker} cannot be trained; use one of {trainable}", file=place)
    if settings.steps.in_batch and learns != "texts":  # others would read each query with every passage of a step
        raise BadInput("steps.in_batch is only for rerankers bi_encoder and late_interaction; remove it", file=place)
    if settings.steps.clip_each and (settings.steps.in_batch or settings.steps.sharded or not settings.steps.clip):
        wrong = "steps.clip_each clips the gradient after one group at a time"
        raise BadInput(f"{wrong}: it needs steps.clip, and goes with neither in_batch nor sharded", file=place)
    if settings.steps.warmup_from_zero and not settings.steps.warmup:
        raise BadInput("steps.warmup_from_zero needs steps.warmup", file=place)
    if settings.steps.sharded and settings.steps.optimiser != "adamw":
        raise BadInput(
            f"steps.sharded takes adamw, not {settings.steps.optimiser}, whose moments cannot be sharded",
            file=place,
        )
    of_adamw = {name: getattr(settings.steps, name) for name in ("betas", "epsilon")}
    if settings.steps.optimiser != "adamw" and replace(Steps(), **of_adamw) != Steps():
        wrong = f"steps.betas and steps.epsilon are adamw's, and the optimiser is {settings.steps.optimiser}"
        raise BadInput(f"{wrong}; remove them", file=place)
    if settings.lora != Lora():
        _check_lora(settings, place)
    elif settings.precision in LOW_PRECISIONS:
        wrong = f"weights and moments of precision {settings.precision} round most updates away"
        advice = 'write precision = "float32" and steps.autocast = "bfloat16"'
        raise BadInput(f"{wrong}: {advice}", file=place)
    if settings.negatives.depth and not settings.negatives.every:
        raise BadInput("negatives.depth needs negatives.every, the number of steps between two times", file=place)
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


def _check_lora(settings: Settings, place: str | Path) -> None:
    """Raises BadInput for an adapter that could not be trained or read so, before anything is loaded."""
    lora = settings.lora
    if not lora.rank:
        raise BadInput("lora needs rank, as in { rank = 16 }", file=place)
    if settings.steps.sharded:
        raise BadInput("steps.sharded splits a model that learns whole; remove it, or the table lora", file=place)
    is_on_hub = is_repo(settings.model) and not Path(settings.model).is_dir()
    if lora.save == "adapter" and not is_on_hub:
        wrong = f"an adapter names its base model by Hub id and commit, and {printable(settings.model)!r} is not one"
        raise BadInput(f'{wrong}; write lora.save = "merged"', file=place)
    if lora.save == "adapter" and RERANKERS.constant(settings.reranker, "LEARNS") == "texts":
        raise BadInput(
            f'a {settings.reranker} is not read from an adapter without its base model; write lora.save = "merged"',
            file=place,
        )
