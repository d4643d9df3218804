"""The plan of a training: every key is known, of its type and in its range, or one line says which is not."""

from __future__ import annotations

import pytest
from fits import recipe

from exabench.core.errors import BadInput
from exabench.training.recipe import DevPlan, Steps, train_recipe

DATA = [{"release": "acme/lists", "table": "one"}]


def made(folder, **changes):
    return recipe(folder / "recipe.toml", changes.pop("data", DATA), **changes)


def test_a_recipe_becomes_a_plan_with_defaults_where_it_says_nothing(tmp_path):
    plan = train_recipe(made(tmp_path))
    assert (plan.reranker, plan.model, plan.loss, plan.seed) == ("cross_encoder", "acme/none", {"part": "ranknet"}, 3)
    assert (plan.data[0].release, plan.data[0].split, plan.data[0].held_out) == ("acme/lists", "train", "validation")
    assert (plan.steps.groups, plan.steps.clip, plan.dev) == (3, Steps().clip, DevPlan())


def test_metrics_are_taken_in_any_spelling_and_dev_may_be_the_loss(tmp_path):
    check = {"task": "mini", "metric": "recip_rank"}
    assert train_recipe(made(tmp_path, dev={"metric": "ndcg_cut_10"}, check=[check])).dev.metric == "ndcg_cut_10"
    assert train_recipe(made(tmp_path, dev={"metric": "loss"})).dev.metric == "loss"


def test_an_override_reaches_into_a_table_and_changes_the_fingerprint(tmp_path):
    file = made(tmp_path)
    plain, changed = train_recipe(file), train_recipe(file, ["steps.rate=1e-5", "seed=9", "dev.every=4"])
    assert (changed.steps.rate, changed.seed, changed.dev.every) == (1e-5, 9, 4)
    assert (changed.steps.groups, changed.steps.epochs) == (plain.steps.groups, plain.steps.epochs)
    assert changed.recipe.fingerprint != plain.recipe.fingerprint == train_recipe(file).recipe.fingerprint


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"optmiser": "adamw"}, "has an unknown key 'optmiser'; did you mean options"),
        ({"seed": "three"}, "seed: expected `int`, got `str`"),
        ({"steps": {"rat": 1e-3}}, "has an unknown key 'rat' in steps; did you mean rate"),
        ({"steps": {"rate": "fast"}}, "steps.rate: expected `float`, got `str`"),
        ({"steps": {"rate": 0.0}}, "steps.rate: expected `float` > 0.0"),
        ({"steps": {"groups": 0}}, "steps.groups: expected `int` >= 1"),
        ({"steps": {"optimiser": "sgd"}}, "steps.optimiser: invalid enum value 'sgd'; choose from: adamw, adafactor"),
        ({"steps": {"sharded": True, "optimiser": "adafactor"}}, "steps.sharded takes adamw, not adafactor"),
        ({"steps": {"attention": "some/kernel"}}, "steps.attention: .*some/kernel"),  # it would be fetched, and run
        ({"steps": {"epochs": 0.0}}, "steps.epochs: expected `float` > 0.0"),
        ({"steps": {"steps": -1}}, "steps.steps: expected `int` >= 0"),
        ({"steps": {"warmup": -1}}, "steps.warmup: expected `int` >= 0"),
        ({"steps": {"warmup": 1.5}}, "steps.warmup: expected `float` < 1.0"),
        ({"steps": {"betas": [0.9, 1.0]}}, "steps.betas.*: expected `float` < 1.0"),
        ({"steps": {"epsilon": 0.0}}, "steps.epsilon: expected `float` > 0.0"),
        ({"steps": {"epsilon": 1e-6, "optimiser": "adafactor"}}, "steps.epsilon are adamw's, and .* adafactor; remove"),
        ({"steps": {"clip": -1.0}}, "steps.clip: expected `float` >= 0.0"),
        ({"steps": {"schedule": "lineer"}}, "choose from: constant, linear, cosine"),
        ({"steps": {"gradients": "cache"}}, "choose from: auto, plain, cached"),
        ({"steps": {"autocast": "int8"}}, "steps.autocast: .*; choose from: bfloat16"),
        ({"check": [{"tsak": "mini"}]}, r"unknown key 'tsak' in check\[0\]; did you mean task"),
        ({"check": [{"metric": "nDCG@10"}]}, r"lacks the key 'task' in check\[0\]"),
        (
            {"check": [{"task": "mini", "metric": "ndgc@10"}]},
            r"recipe.toml: unknown metric 'ndgc@10'; did you mean nDCG",
        ),
        ({"dev": {"metric": "P"}}, "recipe.toml: P needs a cutoff"),
        ({"loss": {"temperature": 2}}, "loss must name a part"),
        ({"data": []}, "data: expected `array` of length >= 1"),
    ],
)
def test_a_key_that_is_unknown_mistyped_or_out_of_range_is_one_line(tmp_path, changes, said):
    with pytest.raises(BadInput, match=said) as error:
        train_recipe(made(tmp_path, **changes))
    assert str(error.value).startswith(str(tmp_path)) and "\n" not in str(error.value)
    assert error.value.exit_code == 2


def test_an_override_that_fits_nowhere_is_one_line(tmp_path):
    for pair in ("steps.rat=1", "stpes.rate=1", "stpes=1", "seed=x", "steps.rate=x", "rate"):
        with pytest.raises(BadInput) as error:
            train_recipe(made(tmp_path), [pair])
        assert "\n" not in str(error.value)
