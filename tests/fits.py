"""Small trainings: releases with rows of each family, a recipe over them, and runs that stop when they are told to."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from models import (
    classifier_folder,
    decoder_folder,
    encoder_folder,
    late_folder,
    modular_folder,
    rankt5_folder,
    t5_folder,
    t5_tokenizer,
)

from exabench.core.files import toml_text
from exabench.core.nouns import silent
from exabench.core.rows import FAMILIES, Release, Row, Table
from exabench.data.releases import save, write_table
from exabench.parts.assembly import reranker
from exabench.parts.losses import LOSSES
from exabench.training.distributed import Ranks
from exabench.training.evaluation import make_evaluation
from exabench.training.gradients import Gradient
from exabench.training.groups import EncodedGroup, GroupLoader, groups_of
from exabench.training.loop import Fit
from exabench.training.order import Order
from exabench.training.recipe import Steps, train_recipe
from exabench.training.start_model import load_start, prepare

torch.set_num_threads(1)  # the models are so small that a second one mostly waits, and it would move the last bits
WORDS = "sky blue light wave sun star red dust cloud night moon rain snow wind storm sea".split()
BLANK: Mapping[str, Any] = {"string": "toy", "bool": False, "int64": 0}


def _text(rng: random.Random, words: int) -> str:
    return " ".join(rng.choices(WORDS, k=words))


def _row(family: str, **values: Any) -> Row:
    """A row whose other fields hold nothing in particular."""
    return {name: values.get(name, BLANK.get(kind, [])) for name, kind in FAMILIES[family].items()}


def _query(number: int) -> dict[str, Any]:
    return {"id": f"row-{number}", "query_id": f"q{number}", "query": WORDS[number % len(WORDS)]}


def _passages(rng: random.Random, count: int, prefix: str = "p") -> tuple[list[str], list[str], list[str]]:
    ids = [f"{prefix}{i}" for i in range(count)]
    return ids, [""] * count, [_text(rng, rng.randint(2, 14)) for _ in ids]


def listwise(count: int = 8, *, sizes: Sequence[int] = (3, 4, 2), seed: int = 0) -> list[Row]:
    """Rows whose lists have these sizes in turn."""
    rng, rows = random.Random(seed), []
    for number in range(count):
        ids, titles, passages = _passages(rng, sizes[number % len(sizes)])
        given = {"passage_ids": ids, "titles": titles, "passages": passages}
        rows.append(_row("listwise", **_query(100 * seed + number), **given))
    return rows


def scored(count: int = 8, *, sizes: Sequence[int] = (3, 4, 2), seed: int = 0) -> list[Row]:
    """The same with scores that fall by a half."""
    rows = listwise(count, sizes=sizes, seed=seed)
    falling = ([2.0 - i / 2 for i in range(len(row["passage_ids"]))] for row in rows)
    return [_row("scored", **{**row, "scores": scores}) for row, scores in zip(rows, falling, strict=True)]


def contrastive(count: int = 8, *, negatives: int = 2, seed: int = 0) -> list[Row]:
    """A positive, and so many negatives."""
    rng, rows = random.Random(seed), []
    for number in range(count):
        ids, titles, passages = _passages(rng, negatives, "n")
        given = {"positive_id": "good", "positive_title": "", "positive": f"{WORDS[number % 16]} {_text(rng, 4)}"}
        given |= {"negative_ids": ids, "negative_titles": titles, "negatives": passages}
        rows.append(_row("contrastive", **_query(100 * seed + number), **given))
    return rows


def explanations(count: int = 8, *, seed: int = 0) -> list[Row]:
    """Pairs that are relevant in turn, and why."""
    rng, rows = random.Random(seed), []
    for number in range(count):
        good = number % 2 == 0
        why = f"It {'is' if good else 'is not'} about {WORDS[number % 16]}."
        given = {"passage_id": f"p{number}", "title": "", "passage": _text(rng, rng.randint(3, 9)), "relevant": good}
        given |= {"explanation": why, "target": f"{'true' if good else 'false'}. Explanation: {why}"}
        rows.append(_row("explanations", **_query(100 * seed + number), **given))
    return rows


ROWS = {"listwise": listwise, "scored": scored, "contrastive": contrastive, "explanations": explanations}


def write_release(folder: Path, tables: Mapping[str, tuple[str, Mapping[str, Sequence[Row]]]]) -> Path:
    """A release of tables, each with its family and the rows of its splits."""
    found = {}
    for name, (family, splits) in tables.items():
        files = write_table(folder, name, family, splits)
        count = sum(file.rows for parts in files.values() for file in parts)
        found[name] = Table(
            family=family,
            licence="mit",
            recipe={"dataset": "toy", "table": name, "licence": "mit", "builder": "toy"},
            fingerprint="sha256:" + "0" * 64,
            counts={"input": count, "good": count, "quarantined": 0, "skipped": 0, "reasons": {}},
            teacher={"model": "nobody", "revision": "0"},
            prompt="",
            tokens={"replies": 0, "prompt_tokens": 0, "output_tokens": 0},
            replayable=False,
            report={},
            splits=files,
            fields=dict(FAMILIES[family]),
        )
    save(Release("toy", "1.0.0", found, ()), folder)
    return folder


def recipe(file: Path, data: Sequence[Mapping[str, Any]], **changes: Any) -> Path:
    """A training recipe, good but for the changes; a table among them is laid over the one that is there."""
    values: dict[str, Any] = {
        **{"title": "Toy", "reranker": "cross_encoder", "model": "acme/none", "licence": "mit", "note": "", "seed": 3},
        **{"options": {"max_length": 32}, "loss": {"part": "ranknet"}, "data": list(data)},
        "steps": {"epochs": 2, "groups": 3, "rate": 1e-3, "schedule": "linear", "batch_tokens": 160},
    }
    for key, value in changes.items():
        merged = key != "loss" and isinstance(value, Mapping) and isinstance(values.get(key), Mapping)
        values[key] = {**values[key], **value} if merged else value
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(f"{key} = {toml_text(value)}\n" for key, value in values.items()), encoding="utf-8")
    return file


FILLED_UP = {"strategy": "min", "length": 8}
"""Queries of a late-interaction model have at least so many tokens."""

KINDS = {
    "bert": ("cross_encoder", classifier_folder),
    "t5": ("monot5", lambda folder: t5_folder(folder, t5_tokenizer())),
    "rankt5": ("rankt5", lambda folder: rankt5_folder(folder, t5_tokenizer())),
    "bi_encoder": ("bi_encoder", encoder_folder),
    "late_interaction": ("late_interaction", lambda folder: late_folder(folder, expansion=FILLED_UP)),
    "decoder": ("yes_no", decoder_folder),
    "head on a decoder": ("cross_encoder", lambda folder: classifier_folder(folder, "qwen3")),
    "modules": ("cross_encoder", modular_folder),
}


def learner_of(folder: Path, part: str, **options: Any) -> Any:
    """A fresh learner of the model in a folder, in training mode."""
    given = {"devices": ("cpu",), "max_length": 48, **options}
    made = reranker(part, model=str(folder), **given).learner()
    made.module.train()
    return made


def gradient_of(learner: Any, loss: str, *, ranks: Any = None, options: Mapping[str, Any] | None = None, **steps: Any):
    """The engine of a step."""
    prepare(learner.module, Steps(**steps))
    return Gradient(learner, LOSSES[loss](**(options or {})), Steps(**steps), ranks or Ranks(), seed=5)


def encoded(learner: Any, groups: Sequence[Any], *, written: bool = False) -> list[EncodedGroup]:
    """Groups as the model reads them."""
    loader = GroupLoader(learner, None, None, written=written, loaders=0)
    return [loader.encode(group) for group in groups]


def gradients(learner: Any) -> dict[str, np.ndarray]:
    """The gradient of every weight by name, 0 where there is none."""
    rows = learner.module.named_parameters()
    return {name: (torch.zeros_like(p) if p.grad is None else p.grad).detach().numpy().copy() for name, p in rows}


def apart(one: Mapping[str, np.ndarray], other: Mapping[str, np.ndarray]) -> float:
    """How far two gradients are from each other, against the length of the first."""
    gap = sum(float(((one[name] - other[name]).astype(np.float64) ** 2).sum()) for name in one)
    return float(np.sqrt(gap / sum(float((row.astype(np.float64) ** 2).sum()) for row in one.values())))


class Watched(Gradient):
    """A Gradient that keeps the ids of the groups of each step."""

    def __call__(self, step: int, groups: Sequence[EncodedGroup]) -> float:
        self.seen.append(tuple(group.id for group in groups))
        return super().__call__(step, groups)


@dataclass
class Parts:
    """What `train` puts together, for a test to change one of them."""

    plan: Any
    learner: Any
    loss: Any
    groups: Any
    held: Any
    to: Path
    dev: Any = None

    def run(self, progress: Any = silent) -> Any:
        """Fit; `seen` is then the ids of each step's groups."""
        order = Order(len(self.groups), self.plan.seed, self.plan.steps.groups)
        written = self.loss.needs == "targets"
        loading = GroupLoader(self.learner, self.groups, order, written=written, loaders=self.plan.steps.loaders)
        gradient = Watched(self.learner, self.loss, self.plan.steps, Ranks(), self.plan.seed)
        self.seen = gradient.seen = list[tuple[str, ...]]()
        dev = self.dev or make_evaluation(self.plan, self.held, loading, gradient, None)
        self.fit = Fit(self.plan, self.learner, gradient, self.to, Ranks())
        return self.fit.run(loading, dev, progress)


def parts(file: Path, to: Path, **changes: Any) -> Parts:
    """The parts of a recipe's fit in the folder `to`."""
    plan = train_recipe(file)
    to.mkdir(parents=True, exist_ok=True)
    options = dict(plan.loss)
    loss = LOSSES[options.pop("part")](**options)
    groups, held, _ = groups_of(plan, loss.needs)
    learner, _ = load_start(plan, to, to / "lock.json", ("cpu",))
    return replace(Parts(plan, learner, loss, groups, held, to), **changes)


class Stopped(Exception):
    """Somebody pressed control-C."""


def stops_at(step: int):
    """A Progress that ends the run behind a step."""

    def progress(done: int, total: int, text: str = "") -> None:
        if done == step and "skipped" not in text:
            raise Stopped

    return progress


def outcome(to: Path) -> tuple[bytes, bytes]:
    """The final weights and the curve."""
    return (to / "model" / "model.safetensors").read_bytes(), (to / "curves.csv").read_bytes()
