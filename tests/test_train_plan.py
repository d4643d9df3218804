"""The plan of a training: every key is known, of its type and in its range, or one line says which is not."""

from __future__ import annotations

import pytest
from fits import recipe

from exabench.errors import BadInput, UnknownName
from exabench.training.plan import Dev, Steps, train_recipe

DATA = [{"release": "acme/lists", "table": "one"}]


def made(folder, data=DATA, **changes):
    return recipe(folder / "recipe.toml", data, **changes)


def test_a_recipe_becomes_a_plan_with_defaults_where_it_says_nothing(tmp_path):
    plan = train_recipe(made(tmp_path))
    assert (plan.reranker, plan.model, plan.loss, plan.seed) == ("cross_encoder", "acme/none", {"part": "ranknet"}, 3)
    assert (plan.data[0].release, plan.data[0].split, plan.data[0].held_out) == ("acme/lists", "train", "validation")
    assert (plan.steps.groups, plan.steps.clip, plan.dev) == (3, Steps().clip, Dev())


def test_an_override_reaches_into_a_table_and_changes_the_fingerprint(tmp_path):
    file = made(tmp_path)
    plain, changed = train_recipe(file), train_recipe(file, ["steps.rate=1e-5", "seed=9", "dev.every=4"])
    assert (changed.steps.rate, changed.seed, changed.dev.every) == (1e-5, 9, 4)
    assert (changed.steps.groups, changed.steps.epochs) == (plain.steps.groups, plain.steps.epochs)
    assert changed.recipe.fingerprint != plain.recipe.fingerprint == train_recipe(file).recipe.fingerprint


@pytest.mark.parametrize(
    ("changes", "kind", "said"),
    [
        ({"optmiser": "adamw"}, UnknownName, "unknown key 'optmiser'"),
        ({"seed": "three"}, BadInput, "seed must be int, not str"),
        ({"steps": {"rat": 1e-3}}, UnknownName, "unknown key of steps 'rat'; did you mean rate"),
        ({"steps": {"rate": "fast"}}, BadInput, "steps.rate must be float, not str"),
        ({"steps": {"groups": 2.5}}, BadInput, "steps.groups must be int, not float"),
        ({"steps": {"compile": 1}}, BadInput, "steps.compile must be bool, not int"),
        ({"steps": {"groups": True}}, BadInput, "steps.groups must be int, not bool"),
        ({"steps": {"rate": 0.0}}, BadInput, "rate must be above 0"),
        ({"steps": {"rate": -1.0}}, BadInput, "rate must be above 0"),
        ({"steps": {"groups": 0}}, BadInput, "groups must be above 0"),
        ({"steps": {"epochs": 0.0}}, BadInput, "steps.epochs must be above 0"),
        ({"steps": {"steps": -1}}, BadInput, "steps.epochs must be above 0"),
        ({"steps": {"warmup": -1}}, BadInput, "steps.warmup must be at least 0"),
        ({"steps": {"clip": -1.0}}, BadInput, "steps.clip must be at least 0"),
        ({"steps": {"batch_tokens": -1}}, BadInput, "steps.batch_tokens must be at least 0"),
        ({"steps": {"loaders": -1}}, BadInput, "steps.loaders must be at least 0"),
        ({"steps": {"optimiser": "sgd"}}, UnknownName, "unknown steps.optimiser 'sgd'; choose from: adafactor, adamw"),
        ({"steps": {"schedule": "lineer"}}, UnknownName, "did you mean linear"),
        ({"steps": {"gradients": "cache"}}, UnknownName, "did you mean cached"),
        ({"steps": {"autocast": "int8"}}, UnknownName, "steps.autocast"),
        ({"dev": {"evry": 3}}, UnknownName, "did you mean every"),
        ({"steps": {"attention": "some/kernel"}}, UnknownName, "some/kernel"),  # it would be fetched, and run
        ({"check": [{"tsak": "mini"}]}, UnknownName, "did you mean task"),
        ({"check": [{"metric": "nDCG@10"}]}, BadInput, "check.task is missing"),
        ({"loss": {"temperature": 2}}, BadInput, "loss must name a part"),
        ({"model": ""}, BadInput, "model is missing"),
    ],
)
def test_a_key_that_is_unknown_mistyped_or_out_of_range_is_one_line(tmp_path, changes, kind, said):
    with pytest.raises(kind, match=said) as error:
        train_recipe(made(tmp_path, **changes))
    assert str(error.value).startswith(str(tmp_path)) and "\n" not in str(error.value)
    assert error.value.exit_code == 2


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ([], "data is missing"),
        ([{"release": "acme/lists"}], "data.table is missing"),
        ([{"release": "acme/lists", "table": "one", "limit": "all"}], "data.limit must be int, not str"),
        (
            [{"release": "acme/lists", "table": "one", "passage": 3}],
            "unknown key of data 'passage'; did you mean passages",
        ),
        (["acme/lists"], "data must be a table"),
    ],
)
def test_data_that_is_no_list_of_tables_is_one_line(tmp_path, data, said):
    with pytest.raises(BadInput, match=said):
        train_recipe(made(tmp_path, data))


@pytest.mark.parametrize("pair", ["steps.rat=1", "stpes.rate=1", "stpes=1", "seed=x", "steps.rate=x", "rate"])
def test_an_override_that_fits_nowhere_is_one_line(tmp_path, pair):
    with pytest.raises(BadInput) as error:
        train_recipe(made(tmp_path), [pair])
    assert "\n" not in str(error.value)


def test_a_recipe_that_is_not_there_is_named():
    with pytest.raises(UnknownName, match="unknown train recipe 'monot5-bse'; did you mean monot5-base"):
        train_recipe("monot5-bse")
