"""The loop: of each step its groups, a gradient, an optimiser step, a point of the curve; now and then dev and disk."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from exabench.core.errors import BadInput
from exabench.core.nouns import Progress
from exabench.models.learner import Learner
from exabench.models.loading import refuse_out_of_memory
from exabench.training.checkpoints import (
    load_newest,
    optimiser_state,
    read_checkpoint,
    restore_optimiser,
    save_checkpoint,
)
from exabench.training.curves import Curves, Point
from exabench.training.distributed import Ranks
from exabench.training.evaluation import Evaluation
from exabench.training.gradients import Gradient
from exabench.training.groups import EncodedGroup, GroupLoader
from exabench.training.negatives import as_state, from_state, mine
from exabench.training.recipe import Plan, Steps
from exabench.training.start_model import LOCK, load_start
from exabench.training.tracking import Tracker

CHECKPOINTS = 10  # of a run without dev evaluations; with them, each evaluation saves one
NAMED_IDS = 32  # most groups that the message on a diverged step names: a whole batch of the default size
WEIGHTS = "model"  # file names of a checkpoint, without suffix
MOMENTS = "optimiser"


@dataclass
class Journal:
    """Dev values by step, the best of them, and how often a run did no better since."""

    dev: dict[str, float] = field(default_factory=dict)
    best: int | None = None
    stale: int = 0

    def record(self, step: int, value: float) -> None:
        """Add an evaluation; step 0 is the model that a run began with, and is kept where no step does better."""
        self.dev[str(step)] = value
        if self.best is None or value > self.dev[str(self.best)]:
            self.best = step
            self.stale = 0
        else:
            self.stale += 1

    @property
    def values(self) -> dict[int, float]:
        """The dev values in the order of their steps."""
        return dict(sorted((int(step), value) for step, value in self.dev.items()))


@dataclass(frozen=True)
class FitResult:
    """A finished fit: optimiser steps done, the best of them by dev (else the last), its weights, and the journal.

    The best is 0 where no step did better than the model that the run began with, which are the weights then.
    `skipped` names the checkpoints that were not whole when it was resumed.
    """

    steps: int
    best: int
    weights: Mapping[str, Tensor]
    journal: Journal
    skipped: tuple[str, ...]


class Fit:
    """One run in its own folder. Killed anywhere, it continues from its newest whole checkpoint to the same bits."""

    def __init__(
        self,
        plan: Plan,
        learner: Learner,
        gradient: Gradient,
        folder: Path,
        ranks: Ranks,
        tracker: Tracker | None = None,
    ) -> None:
        self._plan = plan
        self._tracker = tracker
        self._module = learner.module
        self._gradient = gradient
        self._ranks = ranks
        self._run_folder = folder
        self._folder = folder / "checkpoints"
        self._curves = Curves(folder / "curves.csv")
        self._parameters = {}
        for name, parameter in learner.module.named_parameters():
            if parameter.requires_grad:  # of a LoRA adapter alone there are moments
                self._parameters[name] = parameter
        self._optimiser = optimiser_of(plan.steps, self._parameters)
        self._saved = 0  # the step of the newest whole checkpoint
        self._chosen: dict[int, list[int]] = {}  # places of the negatives that were mined last, by group
        self.journal = Journal()

    def run(self, loader: GroupLoader, dev: Evaluation | None, progress: Progress) -> FitResult:
        """Every step that is not done yet, then the weights to keep.

        Raises BadInput where loss, gradient, weights or dev are not finite numbers; nothing of that step is saved.
        """
        steps = self._plan.steps
        total = steps.steps or loader.order.steps(steps.epochs)
        skipped = self._resume()
        begin = self._saved
        for line in skipped:
            progress(begin, total, f"skipped: {line}")
        if dev and begin == 0:
            self._evaluate(dev, 0)  # how good the model was before; it draws nothing at random, so it moves no step
        done = begin
        end = begin if self._out_of_patience else total  # a run that had stopped early does not continue when run again
        self._module.train()
        for done, groups in enumerate(self._groups(loader, begin, end, progress), begin + 1):
            point = self._step(done, groups, total, loader)
            last = done == total
            evaluates = dev is not None and (last or done % self._plan.dev.every == 0)
            saves = evaluates or last or (dev is None and done % max(1, total // CHECKPOINTS) == 0)
            if saves:
                # Before they are evaluated or saved: a finite gradient times a large rate may have made them infinite.
                bad = sum(not torch.isfinite(weight).all() for weight in self._parameters.values())
                if self._ranks.reduce(bad):
                    raise self._divergence(done, "weights that are not finite numbers", loader.ids(done - 1))
            if dev and evaluates:
                point = replace(point, dev=self._evaluate(dev, done))
            if self._ranks.first:
                self._curves.add(point)  # before the checkpoint: resuming cuts later lines off, and misses none
            if self._tracker is not None:
                failed = self._tracker.add(point)
                if failed:
                    progress(done, total, failed)
            if saves:
                self._save(done)
            progress(done, total, f"loss {point.loss:.4f}")
            if self._out_of_patience:
                break

        best = done
        if self.journal.best is not None:
            best = self.journal.best
        weights: Mapping[str, Tensor]
        if best == 0:  # no checkpoint holds it: it is read again from where it came
            start, _ = load_start(self._plan, self._run_folder, self._run_folder / LOCK, ("cpu",))
            weights = start.module.learnt()
        elif best != done:
            weights = read_checkpoint(self._folder / f"step-{best:06d}").tensors[WEIGHTS]
        else:
            weights = self._ranks.gather(self._module.learnt())
        return FitResult(done, best, weights, self.journal, skipped)

    def _groups(self, loader: GroupLoader, begin: int, end: int, progress: Progress) -> Iterator[list[EncodedGroup]]:
        """The groups of each step, with negatives that are mined again where the plan says so."""
        every = self._plan.negatives.every or max(1, end)
        while begin < end:
            until = min(end, begin - begin % every + every)
            if begin and begin % every == 0:  # else the choice is the table's, or that of a checkpoint
                with refuse_out_of_memory("mining negatives", "lower options.max_length or remove negatives.every"):
                    self._chosen = mine(self._plan, loader, begin, until, progress)
            yield from replace(loader, chosen=self._chosen).steps(begin, until, self._ranks)
            begin = until

    def _step(self, step: int, groups: list[EncodedGroup], total: int, loader: GroupLoader) -> Point:
        """Step number `step` (from 1)."""
        loss = self._gradient(step, groups)
        norm = self._ranks.clip(self._parameters.values(), self._plan.steps.clip or math.inf)  # 0 clips nothing
        if not (math.isfinite(loss) and math.isfinite(norm)):
            raise self._divergence(step, f"loss {loss}, gradient norm {norm}", loader.ids(step - 1))
        rate = rate_at(self._plan.steps, step - 1, total)
        for group in self._optimiser.param_groups:
            group["lr"] = rate
        with refuse_out_of_memory(
            "the optimiser's moments", "use steps.optimiser adafactor, or more ranks with steps.sharded"
        ):
            self._optimiser.step()
        order = loader.order
        # The last step of an epoch may be smaller than the others, so groups are not counted by multiplying.
        epochs, place = divmod(step - 1, order.steps_per_epoch)
        seen = epochs * order.count + min(order.count, (place + 1) * order.batch)
        return Point(step, seen / order.count, seen, loss, rate, norm)

    def _divergence(self, step: int, what: str, ids: Sequence[str] = ()) -> BadInput:
        if ids:
            more = " ..." if len(ids) > NAMED_IDS else ""
            what += f", on groups {', '.join(ids[:NAMED_IDS])}{more}"
        good = "there is no checkpoint yet"
        if self._saved:
            good = f"the last good checkpoint is {self._folder / f'step-{self._saved:06d}'}"
        return BadInput(f"step {step}: {what}; {good}; lower steps.rate, or look at these rows")

    @property
    def _out_of_patience(self) -> bool:
        return 0 < self._plan.dev.patience <= self.journal.stale

    def _evaluate(self, dev: Evaluation, step: int) -> float:
        """The dev value, measured by the first rank (by all, where each holds a part) and told to the others."""
        value = 0.0
        with refuse_out_of_memory(f"{dev.metric} during training", "lower options.max_length or remove dev.every"):
            if self._ranks.first or self._ranks.sharded:
                value = dev.value()
        if not self._ranks.first:
            value = 0.0  # so that the sum is the first rank's
        value = self._ranks.reduce(value)
        if not math.isfinite(value):
            raise self._divergence(step, f"{dev.metric} is {value}")
        self.journal.record(step, value)
        return value

    def _save(self, step: int) -> None:
        weights = self._ranks.gather(self._module.learnt())
        moments, numbers = optimiser_state(self._optimiser, self._parameters)
        moments = self._ranks.gather(moments)
        if self._ranks.first:
            self._curves.sync()  # a checkpoint must not outlive the lines of its steps
            state = {"optimiser": numbers, "journal": vars(self.journal), "budget": self._gradient.batches.budget}
            if self._chosen:
                state["negatives"] = as_state(self._chosen)  # the weights that chose them are gone by then
            save_checkpoint(
                self._folder,
                step,
                {WEIGHTS: weights, MOMENTS: moments},
                state,
                fingerprint=self._plan.recipe.fingerprint,
                protect=self.journal.best or 0,  # its weights are what the run ends with; step 0 has no checkpoint
            )
        self._ranks.wait_for_all()
        self._saved = step

    def _resume(self) -> tuple[str, ...]:
        """Put back the state of the newest whole checkpoint; gives a line for each later one that is not whole."""
        newest = load_newest(self._folder, self._plan.recipe.fingerprint)
        if newest is not None:
            held = self._module.learnt()
            weights = newest.tensors[WEIGHTS]
            if weights.keys() != held.keys():
                what = "has weights under other names: another version wrote it; remove checkpoints/ and start again"
                raise BadInput(what, file=self._folder)
            parts = {name: self._ranks.local_part(weight, held[name]) for name, weight in weights.items()}
            self._module.load_state_dict(parts, strict=False)  # what does not learn is not among them
            restore_optimiser(
                self._optimiser,
                self._parameters,
                newest.tensors[MOMENTS],
                newest.state["optimiser"],
                self._ranks.local_part,
            )
            self.journal = Journal(**newest.state["journal"])
            self._gradient.batches.budget = newest.state["budget"]  # dropout depends on how a step is cut
            self._chosen = from_state(newest.state.get("negatives", {}))
            self._saved = newest.step
        if self._ranks.first:
            self._curves.resume(self._saved)
        return newest.skipped if newest else ()


def optimiser_of(steps: Steps, parameters: Mapping[str, Tensor]) -> Any:
    """AdamW (Loshchilov and Hutter 2019) or Adafactor with the rate it is given (as for monoT5), by name.

    Biases and norms are what has one dimension; they decay unless `decay_all` is false.
    """
    decaying = []
    others = []
    for parameter in parameters.values():
        if steps.decay_all or parameter.ndim > 1:
            decaying.append(parameter)
        else:
            others.append(parameter)
    groups = [{"params": decaying, "weight_decay": steps.decay}]
    if others:
        groups.append({"params": others, "weight_decay": 0.0})
    if steps.optimiser == "adamw":
        return torch.optim.AdamW(groups, lr=steps.rate, betas=steps.betas, eps=steps.epsilon)
    from transformers.optimization import Adafactor

    return Adafactor(groups, lr=steps.rate, scale_parameter=False, relative_step=False)


def rate_at(steps: Steps, step: int, total: int) -> float:
    """The learning rate of optimiser step `step` (from 0) of `total`: a linear warm-up, then the schedule, to 0."""
    warmup = steps.warmup
    if 0 < warmup < 1:
        warmup = math.ceil(warmup * total)  # as the transformers library rounds a share
    if step < warmup:
        done_before = step if steps.warmup_from_zero else step + 1
        return steps.rate * done_before / warmup
    done = (step - warmup) / max(1, total - warmup)
    if steps.schedule == "linear":
        return steps.rate * (1 - done)
    if steps.schedule == "cosine":
        return steps.rate * 0.5 * (1 + math.cos(math.pi * done))
    return steps.rate
