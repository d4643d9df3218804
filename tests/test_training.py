"""A training: stopped anywhere it ends with the same bytes; what goes wrong stops it in one line and spoils nothing."""

from __future__ import annotations

import math
import shutil
import threading
from pathlib import Path

import fits
import numpy as np
import pytest
import torch
import transformers
from faults import full_disk_at_each_call, killed_at_each_call
from hub_client import point_at
from hub_double import HubDouble
from models import CLASSIFIERS, classifier_folder, encoder_folder, rankt5_folder, t5_folder, t5_tokenizer
from safetensors.torch import load_file, save_file
from sentence_transformers import CrossEncoder
from transformers import (
    get_cosine_schedule_with_warmup as cosine_of_transformers,
    get_linear_schedule_with_warmup as linear_of_transformers,
)

from exabench.core.errors import BadInput, CannotWrite
from exabench.core.files import json_text, only_writer, read_json
from exabench.core.nouns import Passage, Query, silent
from exabench.parts.assembly import reranker
from exabench.parts.losses import LOSSES
from exabench.tasks.catalogue import single_task
from exabench.tasks.collections import open_collection
from exabench.training import train
from exabench.training.curves import Curves
from exabench.training.distributed import Ranks
from exabench.training.evaluation import gains_of, ndcg, scores_of
from exabench.training.groups import GroupLoader
from exabench.training.loop import optimiser_of, rate_at
from exabench.training.order import Order
from exabench.training.recipe import Steps, train_recipe


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Two T5s and a release of every family, with a recipe for RankNet over its lists: eight steps, dropout on."""
    folder = tmp_path_factory.mktemp("training")
    rankt5_folder(folder / "rankt5", t5_tokenizer())
    t5_folder(folder / "t5", t5_tokenizer())
    tables = {
        "lists": ("listwise", {"train": fits.listwise(12), "validation": fits.listwise(3, seed=1)}),
        "pairs": ("contrastive", {"train": fits.contrastive(6)}),
        "texts": ("explanations", {"train": fits.explanations(8)}),
        "soft": ("scored", {"train": fits.scored(6)}),
    }
    fits.write_release(folder / "release", tables)
    made(folder, folder / "recipe.toml")
    return folder


def made(place, file, table="lists", **changes):
    """The recipe of the fixture, changed."""
    part = "monot5" if table == "texts" else "rankt5"  # the encoder alone, which is quicker
    model = place / ("t5" if table == "texts" else "rankt5")
    options = {"model": str(model), "reranker": part, "dev": {"every": 2}, **changes}
    return fits.recipe(file, [{"release": str(place / "release"), "table": table}], **options)


@pytest.fixture(scope="module")
def whole(place):
    """How the run ends that nothing interrupts."""
    done = train(place / "recipe.toml", place / "whole")
    assert done.steps == 8 and not done.skipped
    return fits.outcome(place / "whole")


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


def stopped(file, to, step):
    with pytest.raises(fits.Stopped):
        train(file, to, progress=fits.stops_at(step))


def test_a_run_that_is_killed_ends_with_the_same_bytes(place, whole, tmp_path):
    """Dropout is on, so a mask that is drawn anew would be seen."""
    still = made(place, tmp_path / "still.toml", dev={}, steps={"steps": 1, "dropout": False})
    fits.parts(still, tmp_path / "still").run()
    first = [next(iter(Curves(folder / "curves.csv"))).loss for folder in (tmp_path / "still", place / "whole")]
    assert first[0] != first[1]
    run = tmp_path / "run"
    kills = killed_at_each_call(lambda: train(place / "recipe.toml", run), numbers=(14, 20, 16))
    assert list(kills) == [14, 20, 16] and not (run / "model").exists()
    assert train(place / "recipe.toml", run).steps == 8
    assert fits.outcome(run) == whole


def test_any_number_of_loaders_and_any_stop_give_the_same_bytes(place, whole, tmp_path):
    for loaders, step in ((0, 3), (4, 6)):
        file, to = made(place, tmp_path / f"{loaders}.toml", steps={"loaders": loaders}), tmp_path / str(loaders)
        stopped(file, to, step)
        train(file, to)
        assert fits.outcome(to) == whole


def test_a_finished_run_is_not_run_again_and_holds_one_recipes_run(place, whole, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(place / "whole", run)
    told = []
    done = train(place / "recipe.toml", run, progress=lambda *args: told.append(args))
    assert (done.steps, told) == (8, [])
    assert fits.outcome(run) == whole
    pickled = run / "checkpoints" / "step-000008" / "optimiser.pt"
    pickled.write_bytes(b"\x80\x04.")
    with pytest.raises(BadInput, match="neither safetensors nor JSON"):
        train(place / "recipe.toml", run)
    pickled.unlink()
    other = made(place, tmp_path / "other.toml", seed=4)
    locked = (run / "recipe.lock.json").read_bytes()
    with pytest.raises(BadInput, match="another recipe"):
        train(other, run)
    assert (run / "recipe.lock.json").read_bytes() == locked
    (run / "recipe.lock.json").unlink()  # and its checkpoints know it too
    with pytest.raises(BadInput, match="is of another recipe"):
        train(other, run)
    with only_writer(run), pytest.raises(CannotWrite, match="is writing here; wait until it finishes"):
        train(place / "recipe.toml", run)


def test_texts_and_a_run_without_dev_are_taken_up_too(place, tmp_path):
    steps = {"optimiser": "adafactor", "loaders": 2, "steps": 4}
    changes = {"loss": {"part": "lm", "label_weight": 2.0}, "dev": {}, "steps": steps}
    file = made(place, tmp_path / "recipe.toml", "texts", **changes)
    train(file, tmp_path / "one")
    stopped(file, tmp_path / "two", 2)
    train(file, tmp_path / "two")
    assert fits.outcome(tmp_path / "one") == fits.outcome(tmp_path / "two")


def test_a_torn_newest_checkpoint_is_named_and_passed_over_and_a_cut_line_of_the_curves_is_mended(
    place, whole, tmp_path
):
    stopped(place / "recipe.toml", tmp_path / "run", 7)
    torn = tmp_path / "run" / "checkpoints" / "step-000006" / "optimiser.safetensors"
    curves = tmp_path / "run" / "curves.csv"
    for file in (torn, curves):
        file.write_bytes(file.read_bytes()[:-9])
    told = []
    done = train(place / "recipe.toml", tmp_path / "run", progress=lambda *args: told.append(args))
    assert len(done.skipped) == 1 and str(torn) in done.skipped[0]
    assert told[0][0] == 4 and str(torn) in told[0][2] and told[1][0] == 5
    assert fits.outcome(tmp_path / "run") == whole


def test_a_full_disk_stops_the_run_and_with_room_again_it_ends_with_the_same_bytes(place, whole, tmp_path):
    calls = {"numbers": (4, 20), "calls": ("fsync", "rename", "replace")}
    stops = list(full_disk_at_each_call(lambda: train(place / "recipe.toml", tmp_path / "run"), **calls))
    assert stops == [4, 20]
    train(place / "recipe.toml", tmp_path / "run")
    assert fits.outcome(tmp_path / "run") == whole


@pytest.mark.slow
def test_a_kill_at_every_call_of_every_checkpoint_and_of_the_model(place, tmp_path):
    file, run = made(place, tmp_path / "recipe.toml", steps={"steps": 4}), tmp_path / "run"
    train(file, tmp_path / "whole")
    number = 0
    for number in killed_at_each_call(lambda: train(file, run)):
        train(file, run)
        assert fits.outcome(run) == fits.outcome(tmp_path / "whole"), number
        shutil.rmtree(run)
    assert number > 30


class Spoilt:
    """RankNet, but at one of its calls the loss, or only its gradient, is not a number."""

    needs = "order"

    def __init__(self, at: int, *, gradient: bool = False) -> None:
        self.calls, self.at, self.gradient, self.good = 0, at, gradient, LOSSES["ranknet"]()

    def __call__(self, scores, labels, mask):
        self.calls += 1
        value = self.good(scores, labels, mask)
        if self.calls != self.at:
            return value
        return value + (scores.sum() - scores.detach().sum()) * math.inf if self.gradient else value * math.nan


@pytest.mark.parametrize(("gradient", "dev"), [(False, {}), (True, {"every": 2})])
def test_a_loss_or_gradient_that_is_no_number_stops_before_the_weights_are_touched(place, tmp_path, gradient, dev):
    file = made(place, tmp_path / "recipe.toml", dev=dev, steps={"gradients": "cached"})
    run = fits.parts(file, tmp_path / "run", loss=Spoilt(6, gradient=gradient))
    with pytest.raises(BadInput) as error:
        run.run()
    said = str(error.value)
    last = "step-000004" if dev else "step-000005"
    assert said.startswith("step 6: loss ") and "\n" not in said
    assert f"on groups {', '.join(run.seen[5])};" in said
    assert f"the last good checkpoint is {tmp_path / 'run' / 'checkpoints' / last}" in said
    assert names_in(tmp_path / "run" / "checkpoints")[-1] == last
    assert [point.step for point in Curves(tmp_path / "run" / "curves.csv")] == [1, 2, 3, 4, 5]
    assert all(torch.isfinite(weight).all() for weight in run.learner.module.parameters())
    again = fits.parts(file, tmp_path / "run")  # the same groups without the fault: it goes on, and ends
    assert again.run().steps == 8 and again.seen[0] == run.seen[4 if dev else 5]


def test_weights_that_became_infinite_are_neither_saved_nor_evaluated(place, tmp_path):
    """The gradient was finite; the step with it was too large."""
    changes = {"dev": {"every": 1}, "steps": {"rate": 1.0, "decay": 1e39}}
    run = fits.parts(made(place, tmp_path / "recipe.toml", **changes), tmp_path / "run")
    with pytest.raises(
        BadInput, match="^step 1: weights that are not finite numbers, on groups .*no checkpoint yet; lower steps.rate"
    ):
        run.run()
    assert not (tmp_path / "run" / "checkpoints").exists() and run.fit.journal.dev.keys() == {"0"}


def test_memory_that_runs_out_in_the_first_step_gives_the_run_that_began_small_and_is_remembered(place, tmp_path):
    def fitted(name, tokens, *, full=False, progress=silent):
        """The weights of a run with dropout, whose device may hold 40 tokens at once."""
        file = made(place, tmp_path / f"{tokens}.toml", dev={}, steps={"steps": 3, "batch_tokens": tokens})
        run = fits.parts(file, tmp_path / name)

        def check(module, args):
            if full and args[0].numel() > 40:
                raise torch.OutOfMemoryError("no room")

        run.learner.module.register_forward_pre_hook(check)
        return {name: tensor.clone() for name, tensor in run.run(progress).weights.items()}

    small, halved = fitted("small", 32), fitted("large", 64, full=True)
    assert all(torch.equal(small[name], halved[name]) for name in small)
    assert (tmp_path / "small" / "curves.csv").read_bytes() == (tmp_path / "large" / "curves.csv").read_bytes()
    with pytest.raises(fits.Stopped):
        fitted("stopped", 64, full=True, progress=fits.stops_at(2))
    resumed = fitted("stopped", 64)  # there is memory again, but masks belong to the smaller micro-batches
    assert all(torch.equal(small[name], resumed[name]) for name in small)


def test_each_step_gets_the_groups_of_the_order_and_never_one_that_is_held_out(place, whole, tmp_path):
    run = fits.parts(made(place, tmp_path / "recipe.toml", steps={"loaders": 4}), tmp_path / "run")
    run.run()
    order = Order(12, 3, 3)
    assert run.seen == [tuple(f"row-{n}" for n in order.groups(step)) for step in range(8)]
    assert not {id for ids in run.seen for id in ids} & {run.held[n].id for n in range(len(run.held))}
    assert read_json(place / "whole" / "model" / "training.json")["order"] == order.digest(8)


def test_a_loader_that_fails_is_heard_and_leaves_no_thread(place, tmp_path):
    run = fits.parts(place / "recipe.toml", tmp_path / "run")

    class Broken:
        def read(self, number, epoch, chosen=None):
            raise BadInput("this row cannot be read", id=str(number))

    loading = GroupLoader(run.learner, Broken(), Order(9, 0, 3), written=False, loaders=3)
    with pytest.raises(BadInput, match="this row cannot be read"):
        list(loading.steps(0, 3, Ranks()))
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("loader")]


def test_rates_are_those_worked_out_by_hand():
    def rates(**options):
        steps = Steps(rate=8.0, **options)
        return [rate_at(steps, step, 8) for step in range(8)]

    assert rates() == [8.0] * 8
    assert rates(warmup=4) == rates(warmup=0.5) == rates(warmup=0.45) == [2, 4, 6, 8, 8, 8, 8, 8]
    assert rates(warmup=4, warmup_from_zero=True) == [0, 2, 4, 6, 8, 8, 8, 8]
    for warmup, kind, get in ((3, "linear", linear_of_transformers), (2, "cosine", cosine_of_transformers)):
        theirs = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))], lr=8.0)
        schedule = get(theirs, warmup, 8)
        expected = []
        for _ in range(8):
            expected += schedule.get_last_lr()
            theirs.step()
            schedule.step()
        assert rates(warmup=warmup, warmup_from_zero=True, schedule=kind) == pytest.approx(expected)
    assert rates(schedule="linear") == [8, 7, 6, 5, 4, 3, 2, 1]
    assert rates(schedule="linear", warmup=4) == [2, 4, 6, 8, 8, 6, 4, 2]
    cosine = [8, 8 * (1 + math.sqrt(0.5)) / 2, 4, 8 * (1 - math.sqrt(0.5)) / 2]
    assert rates(schedule="cosine", warmup=4)[4:] == pytest.approx(cosine)


def test_an_optimiser_has_the_settings_of_its_recipe_and_leaves_out_biases_and_norms_where_it_says_so(tmp_path):
    module = fits.learner_of(classifier_folder(tmp_path / "bert"), "cross_encoder").module
    given = dict(module.named_parameters())
    flat = {id(parameter) for name, parameter in given.items() if "LayerNorm" in name or name.endswith("bias")}
    made = optimiser_of(Steps(decay=0.3, decay_all=False, betas=(0.8, 0.9), epsilon=1e-6), given)
    decays = {id(one): group["weight_decay"] for group in made.param_groups for one in group["params"]}
    assert decays == {id(one): 0.0 if id(one) in flat else 0.3 for one in given.values()}
    assert {(group["betas"], group["eps"]) for group in made.param_groups} == {((0.8, 0.9), 1e-6)}
    for optimiser in ("adamw", "adafactor"):
        made = optimiser_of(Steps(decay=0.3, optimiser=optimiser), given)
        assert [(len(group["params"]), group["weight_decay"]) for group in made.param_groups] == [(len(given), 0.3)]


def test_the_curve_says_what_each_step_did(place, whole):
    points = list(Curves(place / "whole" / "curves.csv"))
    assert [point.rate for point in points] == [rate_at(Steps(rate=1e-3, schedule="linear"), n, 8) for n in range(8)]
    assert [point.groups for point in points] == list(range(3, 25, 3))
    assert [point.epoch for point in points] == [n / 4 for n in range(1, 9)]
    assert [point.step for point in points if point.dev is not None] == [2, 4, 6, 8]


def test_gradients_are_clipped_to_their_norm_and_the_curve_holds_the_norm_before(place, tmp_path):
    for clip in (0.5, 1000.0, 0.0):
        file = made(place, tmp_path / f"{clip}.toml", dev={}, steps={"steps": 1, "clip": clip})
        run = fits.parts(file, tmp_path / str(clip))
        run.run()
        norm = math.sqrt(sum(float((p.grad**2).sum()) for p in run.learner.module.parameters() if p.grad is not None))
        (point,) = Curves(tmp_path / str(clip) / "curves.csv")
        assert point.gradient_norm > 0.5
        assert norm == pytest.approx(min(point.gradient_norm, clip or math.inf), rel=1e-4)


def test_clipped_after_each_group_a_step_is_that_of_a_loop_over_single_queries(place, tmp_path):
    """As RankGPT's and TWOLAR's code: one query back at a time, and the sum so far is clipped after each."""
    told = {"steps": 1, "groups": 4, "clip": 0.05, "clip_each": True, "dropout": False}
    for gradients in ("plain", "cached"):
        steps = {**told, "gradients": gradients}
        run = fits.parts(made(place, tmp_path / "r.toml", dev={}, steps=steps), tmp_path / gradients)
        loading = GroupLoader(run.learner, run.groups, Order(len(run.groups), run.plan.seed, 4), False, 0)
        gradient = fits.Gradient(run.learner, run.loss, run.plan.steps, Ranks(), run.plan.seed)
        [groups] = loading.steps(0, 1, Ranks())
        value = gradient(1, groups)
        found = fits.gradients(run.learner)
        run.learner.module.zero_grad()
        losses = []
        for group in groups:
            outputs = run.learner.module(*run.learner.inputs(group.items))
            scores = run.learner.scores(outputs, [len(group.labels)])
            mask = torch.ones(1, len(group.labels), dtype=torch.bool)
            loss = run.loss(scores[None], torch.tensor(group.labels)[None], mask).sum() / len(groups)
            loss.backward()
            losses.append(float(loss.detach()))
            torch.nn.utils.clip_grad_norm_(run.learner.module.parameters(), 0.05)
        assert value == pytest.approx(sum(losses), rel=1e-5)
        assert fits.apart(fits.gradients(run.learner), found) < 1e-5


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        ({"clip_each": True, "clip": 0.0}, "steps.clip_each clips the gradient after one group at a time"),
        ({"clip_each": True, "sharded": True}, "goes with neither in_batch nor sharded"),
        ({"warmup_from_zero": True}, "steps.warmup_from_zero needs steps.warmup"),
    ],
)
def test_clipping_and_warm_up_that_mean_nothing_are_refused(place, tmp_path, steps, said):
    with pytest.raises(BadInput, match=said):
        train_recipe(made(place, tmp_path / "r.toml", steps=steps))


def test_an_epoch_may_be_cut_and_steps_win_over_epochs(place, tmp_path):
    for number, (steps, count) in enumerate([({"epochs": 0.5}, 2), ({"epochs": 3, "steps": 1}, 1)]):
        file = made(place, tmp_path / f"{number}.toml", dev={}, steps=steps)
        assert fits.parts(file, tmp_path / str(number)).run().steps == count


class Scripted:
    """A dev whose values are known beforehand."""

    metric = "scripted"

    def __init__(self, *values: float) -> None:
        self.values = iter(values)

    def value(self) -> float:
        return next(self.values)


def test_without_gain_it_stops_and_the_best_step_is_kept_and_not_the_last(place, tmp_path):
    file = made(place, tmp_path / "recipe.toml", dev={"every": 1, "patience": 2})
    run = fits.parts(file, tmp_path / "run", dev=Scripted(0.0, 0.1, 0.5, 0.7, 0.7, 0.6))
    done = run.run()
    assert (done.steps, done.journal.best, done.journal.stale) == (5, 3, 2)
    assert done.journal.dev == {"0": 0.0, "1": 0.1, "2": 0.5, "3": 0.7, "4": 0.7, "5": 0.6}
    straight = fits.parts(made(place, tmp_path / "s.toml", dev={"every": 1}), tmp_path / "s", dev=Scripted(*[0.0] * 9))
    with pytest.raises(fits.Stopped):
        straight.run(fits.stops_at(3))
    third = straight.learner.module.state_dict()
    assert all(torch.equal(done.weights[name], third[name]) for name in third)
    again = fits.parts(file, tmp_path / "run", dev=Scripted())  # it has nothing to do, and says the same
    ended = again.run()
    assert (ended.steps, ended.journal, again.seen) == (5, done.journal, [])
    assert all(torch.equal(done.weights[name], ended.weights[name]) for name in third)


def test_where_no_step_is_better_the_start_is_kept_whole_or_resumed(place, tmp_path):
    """A tie is no gain. The head that the start lacked is the one that the run drew."""
    model = encoder_folder(tmp_path / "bert", "bert")
    changes = {"reranker": "cross_encoder", "model": str(model), "steps": {"steps": 3}, "dev": {"every": 1}}
    file = made(place, tmp_path / "r.toml", **changes)
    run = fits.parts(file, tmp_path / "r", dev=Scripted(0.9, 0.5, 0.9, 0.8))
    before = {name: tensor.clone() for name, tensor in run.learner.module.state_dict().items()}
    done = run.run()
    assert (done.steps, done.best, done.journal.stale) == (3, 0, 3)
    again = fits.parts(file, tmp_path / "r", dev=Scripted()).run()
    for end in (done, again):
        assert end.best == 0 and end.weights.keys() == before.keys()
        assert all(torch.equal(end.weights[name], before[name]) for name in before)
    patient = made(place, tmp_path / "p.toml", **{**changes, "dev": {"every": 1, "patience": 2}})
    assert fits.parts(patient, tmp_path / "p", dev=Scripted(0.9, 0.5, 0.8)).run().steps == 2


def test_the_best_step_is_kept_however_long_it_is_ago(place, tmp_path):
    file = made(place, tmp_path / "r.toml", dev={"every": 1}, steps={"steps": 5})
    done = fits.parts(file, tmp_path / "r", dev=Scripted(0.0, 0.9, *[0.5] * 4)).run()
    assert (done.steps, done.journal.best) == (5, 1)
    assert names_in(tmp_path / "r" / "checkpoints") == ["step-000001", "step-000004", "step-000005"]


def test_no_memory_for_the_moments_or_for_dev_or_no_number_is_one_line_that_says_what_to_do(
    place, tmp_path, monkeypatch
):
    class Full:
        metric = "dev"

        def value(self) -> float:
            raise torch.OutOfMemoryError("no room")

    run = fits.parts(place / "recipe.toml", tmp_path / "number", dev=Scripted(0.1, math.nan))
    with pytest.raises(BadInput, match="step 2: scripted is nan; there is no checkpoint yet"):
        run.run()
    run = fits.parts(place / "recipe.toml", tmp_path / "dev", dev=Full())
    with pytest.raises(BadInput, match="memory for dev during training; lower options.max_length"):
        run.run()
    run = fits.parts(place / "recipe.toml", tmp_path / "moments")
    monkeypatch.setattr(torch.optim.AdamW, "step", lambda *_: Full().value())
    with pytest.raises(BadInput, match="memory for the optimiser's moments; use steps.optimiser adafactor"):
        run.run()


def test_ndcg_of_held_out_groups_by_hand():
    assert gains_of((4.0, 2.0, 2.0, 1.0)).tolist() == [1, 1 / 2, 1 / 2, 1 / 4]
    assert gains_of((0.0, 1.0, 1.0)).tolist() == [0, 1, 1]
    discounts = 1 / np.log2([2, 3, 4])
    gains = np.array([1.0, 0.5, 1 / 3])
    assert ndcg(np.array([3.0, 2.0, 1.0]), gains, 10) == pytest.approx(1)
    worst = float((gains[::-1] * discounts).sum() / (gains * discounts).sum())
    assert ndcg(np.array([1.0, 2.0, 3.0]), gains, None) == pytest.approx(worst)
    assert ndcg(np.zeros(3), gains, 10) == pytest.approx(worst)  # equal scores in their worst order
    assert ndcg(np.array([1.0, 2.0, 3.0]), np.array([1.0, 0, 0]), 2) == 0
    assert ndcg(np.array([1.0, 2.0]), np.zeros(2), 10) == 0


def test_single_passages_are_held_out_by_their_loss(place, tmp_path):
    changes = {"loss": {"part": "lm"}, "dev": {"every": 3, "groups": 2}}
    run = fits.parts(made(place, tmp_path / "r.toml", "texts", **changes), tmp_path / "r")
    done = run.run()
    assert len(run.held) == 2 and max(done.journal.dev.values()) < 0
    assert not {id for ids in run.seen for id in ids} & {"row-6", "row-7"}


def test_dev_on_a_task_never_reads_what_boards_test_on_and_needs_rows_without_one(place, tmp_path):
    with pytest.raises(BadInput, match="no rows are held out; give dev.groups or dev.task"):
        fits.parts(made(place, tmp_path / "q.toml", "soft", loss={"part": "kl"}), tmp_path / "q").run()
    with pytest.raises(BadInput, match="split test of mini is what boards test on"):
        fits.parts(
            made(place, tmp_path / "r.toml", dev={"every": 2, "task": "mini", "split": "test"}), tmp_path / "r"
        ).run()
    dev = {"every": 4, "task": "mini", "split": "train", "depth": 5, "queries": 6}
    run = fits.parts(made(place, tmp_path / "s.toml", dev=dev), tmp_path / "s")
    done = run.run()
    assert done.journal.dev.keys() == {"0", "4", "8"} and all(0 < value < 1 for value in done.journal.dev.values())


def test_dev_leaves_out_the_queries_that_are_fitted(place, tmp_path):
    collection = open_collection(single_task("mini"), None, None)
    judged = collection.qrels("train")
    texts = [query.text for query in collection.queries() if query.id in judged]
    rows = [{**row, "query": f" {text} "} for row, text in zip(fits.listwise(24), texts, strict=True)]
    dev = {"every": 1, "task": "mini", "split": "train", "depth": 5}
    for count, left in ((20, 4), (24, 0)):
        release = fits.write_release(tmp_path / f"{count}", {"lists": ("listwise", {"train": rows[:count]})})
        data = [{"release": str(release), "table": "lists"}]
        model = {"reranker": "rankt5", "model": str(place / "rankt5")}
        file = fits.recipe(tmp_path / f"{count}.toml", data, dev=dev, steps={"steps": 1}, **model)
        if left:
            trained = train(file, tmp_path / f"run-{count}")
            metric = read_json(trained.folder / "training.json")["dev"]["metric"]
            assert metric == "nDCG@10 on mini (4 queries of train, best 5 of bm25)"
        else:
            with pytest.raises(BadInput, match="split train of mini has only queries that are trained on"):
                train(file, tmp_path / f"run-{count}")


@pytest.mark.parametrize("kind", CLASSIFIERS)
def test_a_head_that_is_missing_is_drawn_from_the_seed_and_the_body_is_kept(place, tmp_path, kind):
    model = encoder_folder(tmp_path / kind, kind)
    heads = []
    for run, seed in (("a", 1), ("b", 1), ("c", 2))[: 3 if kind == "bert" else 1]:
        torch.manual_seed(ord(run))
        options = {"reranker": "cross_encoder", "model": str(model), "seed": seed}
        fits.parts(made(place, tmp_path / f"{run}.toml", **options), tmp_path / run)
        heads.append(load_file(tmp_path / run / "start" / "model.safetensors"))
    if kind == "bert":
        assert all(torch.equal(heads[0][name], heads[1][name]) for name in heads[0])
        assert not all(torch.equal(heads[0][name], heads[2][name]) for name in heads[0])
    body = load_file(model / "model.safetensors")
    prefix = {"deberta-v2": "deberta", "modernbert": "model"}.get(kind, kind)
    shared = [name for name in body if f"{prefix}.{name}" in heads[0]]
    assert len(shared) > len(body) / 2
    assert all(torch.equal(body[name], heads[0][f"{prefix}.{name}"]) for name in shared)


@pytest.mark.parametrize("kind", ["bert", "modernbert"])
def test_a_body_with_a_hole_is_no_model_to_start_from(place, tmp_path, kind):
    model = encoder_folder(tmp_path / kind, kind)
    held = load_file(model / "model.safetensors")
    held.pop(next(name for name in sorted(held) if "layer" in name and name.endswith("weight")))
    save_file(held, model / "model.safetensors", {"format": "pt"})
    file = made(place, tmp_path / "r.toml", reranker="cross_encoder", model=str(model))
    with pytest.raises(BadInput, match="has no weights for"):
        fits.parts(file, tmp_path / "r")
    assert not (tmp_path / "r" / "start").exists()


@pytest.mark.parametrize("kind", sorted(fits.KINDS))
def test_every_kind_of_model_comes_back_from_its_folder_as_it_was_fitted(place, tmp_path, kind):
    part, make = fits.KINDS[kind]
    changes = {"reranker": part, "model": str(make(tmp_path / "m")), "dev": {}, "options": {"max_length": 64}}
    run = fits.parts(made(place, tmp_path / "r.toml", steps={"steps": 1}, **changes), tmp_path / "r")
    done = run.run()
    query, passages = Query("q", "blue sky"), [Passage("a", "light waves"), Passage("b", "sun and moon " * 9)]
    [scores] = scores_of(run.learner, [run.learner.items(query, passages)], [len(passages)])
    now = scores.tolist()
    assert run.learner.module.training  # as it was before
    run.learner.save(tmp_path / "saved", done.weights)
    read = reranker(part, model=str(tmp_path / "saved"), devices=("cpu",), max_length=64).score(query, passages)
    assert read == pytest.approx(now, abs=1e-5)
    if kind in ("bert", "modules"):  # whoever has sentence-transformers reads it alike
        pairs = [(query.text, passage.flat()) for passage in passages]
        theirs = CrossEncoder(str(tmp_path / "saved"), device="cpu", max_length=64)
        found = theirs.predict(pairs, activation_fn=torch.nn.Identity())
        assert [float(score) for score in found] == pytest.approx(now, abs=1e-5)
    before = reranker(part, model=str(tmp_path / "m"), devices=("cpu",), max_length=64).score(query, passages)
    assert max(abs(one - other) for one, other in zip(before, now, strict=True)) > 1e-3


def test_in_batch_negatives_need_a_dual_encoder_and_passages_without_a_teachers_score(place, tmp_path):
    with pytest.raises(BadInput, match="steps.in_batch is only for rerankers bi_encoder and late_interaction"):
        train(made(place, tmp_path / "cross.toml", steps={"in_batch": True}), tmp_path / "cross")
    model = encoder_folder(tmp_path / "bert", "bert")
    changes = {"reranker": "bi_encoder", "model": str(model), "steps": {"in_batch": True}, "loss": {"part": "kl"}}
    with pytest.raises(BadInput, match="other groups' passages have no teacher score"):
        train(made(place, tmp_path / "soft.toml", "soft", **changes), tmp_path / "soft")
    assert not (tmp_path / "cross").exists()
    changes = {**changes, "loss": {"part": "contrastive", "temperature": 0.1}, "dev": {}}
    changes["steps"] = {"in_batch": True, "steps": 2, "groups": 4}
    done = train(made(place, tmp_path / "pairs.toml", "pairs", **changes), tmp_path / "pairs")
    assert done.steps == 2 and (done.folder / "modules.json").is_file()


def test_a_language_model_loss_needs_a_model_that_writes(place, tmp_path):
    model = classifier_folder(tmp_path / "bert")
    changes = {"reranker": "cross_encoder", "model": str(model), "loss": {"part": "lm"}, "dev": {}}
    with pytest.raises(BadInput, match="does not generate text: loss lm needs a T5 or a causal language model"):
        train(made(place, tmp_path / "recipe.toml", "texts", **changes), tmp_path / "run")


def test_a_model_that_is_only_a_pickle_or_not_described_is_refused_unopened(place, tmp_path):
    model = Path(shutil.copytree(place / "rankt5", tmp_path / "model"))
    (model / "model.safetensors").unlink()
    (model / "pytorch_model.bin").write_bytes(b"\x80\x04cos\nsystem\n(S'touch /tmp/opened'\ntR.")
    with pytest.raises(BadInput, match="has no safetensors weights") as error:
        train(made(place, tmp_path / "recipe.toml", model=str(model)), tmp_path / "run")
    assert "\n" not in str(error.value)
    shutil.copy(place / "rankt5" / "model.safetensors", model)
    (model / "pytorch_model.bin").unlink()
    (model / "config.json").write_text("[]")
    file = made(place, tmp_path / "other.toml", reranker="cross_encoder", model=str(model))
    with pytest.raises(BadInput, match="config.json: is not the description of a model"):
        train(file, tmp_path / "other")


def test_seconds_that_ranks_wait_are_a_number(place, tmp_path, monkeypatch):
    for seconds in ("soon", "0"):
        monkeypatch.setenv("EXABENCH_RANK_TIMEOUT", seconds)
        with pytest.raises(BadInput, match=f"must be a number of seconds above 0, not '{seconds}'"):
            train(place / "recipe.toml", tmp_path / "run")


def test_a_model_that_changed_is_not_taken_for_the_one_that_was_pinned(place, whole, tmp_path):
    revision = read_json(place / "whole" / "model" / "training.json")["base"]["revision"]
    model = Path(shutil.copytree(place / "rankt5", tmp_path / "model"))
    file = made(place, tmp_path / "recipe.toml", model=str(model), revision=revision, steps={"steps": 1})
    train(file, tmp_path / "run")
    (model / "config.json").write_text((model / "config.json").read_text() + " ")
    with pytest.raises(BadInput, match="is not at revision"):
        train(file, tmp_path / "other")


def test_a_revision_that_no_longer_resolves_is_one_line(place, tmp_path, monkeypatch):
    with HubDouble() as hub:
        point_at(hub.url, tmp_path / "home", monkeypatch)
        hub.commit("models/acme/t5", {file.name: file.read_bytes() for file in (place / "t5").iterdir()})
        options = {"model": "acme/t5", "reranker": "monot5", "dev": {}, "steps": {"steps": 1}}
        for revision in ("v9", "0" * 40):
            file = made(place, tmp_path / f"{revision}.toml", revision=revision, **options)
            with pytest.raises(BadInput, match="acme/t5") as error:
                train(file, tmp_path / revision)
            assert error.value.exit_code == 2 and "\n" not in str(error.value)
        train(made(place, tmp_path / "good.toml", **options), tmp_path / "good")
        commit = hub.repo("models/acme/t5").refs["main"]
    assert read_json(tmp_path / "good" / "recipe.lock.json")["hub"] == {"model acme/t5@main": commit}
    assert train_recipe(tmp_path / "good.toml").model == "acme/t5" and fits.outcome(tmp_path / "good")


@pytest.mark.parametrize(("kind", "tied"), [("t5", True), ("t5", False), ("mt5", False)])
def test_embeddings_that_were_tied_are_saved_tied_and_others_are_not(place, tmp_path, kind, tied):
    """Version 4 of transformers reads no output embedding of its own where the settings say that it is tied."""
    base = t5_folder(tmp_path / "base", t5_tokenizer(), kind=kind, tied=tied, gated=not tied)
    file = made(place, tmp_path / "recipe.toml", model=str(base), reranker="monot5", steps={"steps": 1})
    done = train(file, tmp_path / "run")
    weights = load_file(done.folder / "model.safetensors")
    assert ("lm_head.weight" in weights) == (not tied)
    assert weights.keys() == load_file(base / "model.safetensors").keys()
    assert read_json(done.folder / "config.json")["tie_word_embeddings"] == tied
    again = fits.learner_of(done.folder, "monot5").module.model
    assert (again.get_output_embeddings().weight is again.get_input_embeddings().weight) == tied


def test_a_training_starts_from_the_row_of_one_label_of_three(place, tmp_path):
    base = classifier_folder(tmp_path / "base", "roberta", labels=3)
    config = read_json(base / "config.json")
    names = ["contradiction", "neutral", "entailment"]
    config |= {"id2label": dict(enumerate(names)), "label2id": {name: number for number, name in enumerate(names)}}
    (base / "config.json").write_text(json_text(config))
    check = [{"task": "mini", "depth": 3}]
    options = {"model": str(base), "reranker": "cross_encoder", "steps": {"steps": 1}, "check": check}

    def started(name, **changes):
        file = made(place, tmp_path / f"{name}.toml", **{**options, **changes})
        return train(file, tmp_path / name)

    done = started("run")
    query, passages = Query("q", "why is the sky blue"), [Passage("a", "light"), Passage("b", "no star")]
    own = transformers.AutoModelForSequenceClassification.from_pretrained(base).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(base)
    for label in ("entailment", "neutral"):
        to = tmp_path / label
        started(label, start_label=label, check=[])
        scores = reranker("cross_encoder", model=str(to / "start"), max_length=32).score(query, passages)
        for passage, score in zip(passages, scores, strict=True):
            with torch.inference_mode():
                pair = tokenizer(query.text, passage.text, return_token_type_ids=False, return_tensors="pt")
                logits = own(**pair).logits[0]
            assert score == pytest.approx(float(logits[names.index(label)]), abs=1e-5)
    assert done.checks[0].start is not None and done.checks[0].start.value > 0
    with pytest.raises(BadInput, match="has no label relevant; choose the relevant one by start_label: contra"):
        started("refused", start_label="relevant")
