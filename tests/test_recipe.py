"""Recipes are data: known keys of known types, and the same values have the same fingerprint."""

from __future__ import annotations

import pytest

from exabench.core.errors import BadInput, UnknownName
from exabench.core.recipe import merge, override, read_recipe, recipes

KEYS = {"title": str, "depth": int, "tasks": list, "fast": bool}
PAGE = 'title = "T"\ndepth = 10\ntasks = ["mini"]\n'
VARIANTS = '[variants.small]\ndepth = 3\n[variants."large-1.5"]\ntasks = ["a"]\nfast = true\n'


@pytest.fixture
def page(tmp_path):
    file = tmp_path / "page.toml"
    file.write_text(PAGE)
    return file


@pytest.fixture
def family(tmp_path):
    file = tmp_path / "family.toml"
    file.write_text(PAGE + VARIANTS)
    return file


def test_a_recipe_is_read_from_its_page_and_what_is_set_wins(page):
    recipe = read_recipe("board", page, KEYS)
    assert (recipe.name, dict(recipe.values)) == ("page", {"title": "T", "depth": 10, "tasks": ["mini"]})
    recipe = read_recipe("board", page, KEYS, ["depth=20", "title=plain words", 'tasks=["a", "b"]', "fast=true"])
    assert recipe.values == {"title": "plain words", "depth": 20, "tasks": ["a", "b"], "fast": True}


def test_the_fingerprint_depends_on_values_alone(page, tmp_path):
    other = tmp_path / "other.toml"
    other.write_text('# a comment\ntasks = ["mini"]\ndepth = 0xA\ntitle = "T"\n')
    same, changed = read_recipe("board", other, KEYS), read_recipe("board", page, KEYS, ["depth=11"])
    assert read_recipe("board", page, KEYS).fingerprint == same.fingerprint
    assert changed.fingerprint != same.fingerprint


def test_the_licence_may_be_spelt_as_on_the_hub_but_not_both_ways_at_once(tmp_path):
    file = tmp_path / "page.toml"
    file.write_text('license = "mit"\n')
    keys = {"licence": str}
    assert read_recipe("data", file, keys).values == {"licence": "mit"}
    assert read_recipe("data", file, keys, ["license=cc0-1.0"]).values == {"licence": "cc0-1.0"}
    file.write_text('license = "mit"\nlicence = "cc0-1.0"\n')
    with pytest.raises(BadInput, match="page.toml: licence and license disagree"):
        read_recipe("data", file, keys)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("depht=3", "unknown key 'depht'; did you mean depth"),
        ("depth=deep", "depth must be int, not str"),
    ],
)
def test_a_wrong_setting_is_refused(page, given, message):
    with pytest.raises(BadInput, match=message):
        read_recipe("board", page, KEYS, [given])


@pytest.mark.parametrize(
    ("pairs", "result"),
    [
        (["key=[1, 2.5]"], {"key": [1, 2.5]}),
        (["key=x y"], {"key": "x y"}),  # what is not TOML is a text
        (["key=a=b"], {"key": "a=b"}),
        (["key=" + "9" * 5000], {"key": "9" * 5000}),
        (["a.b=1", "a.c.d=x"], {"a": {"b": 1, "c": {"d": "x"}}}),
        (["a={b=1, c=2}", "a.b=3"], {"a": {"b": 3, "c": 2}}),
        (["a.b=3", "a={c=2}"], {"a": {"c": 2}}),  # a key without a dot replaces the whole table
        ([" a . b = 1"], {"a": {"b": 1}}),
        (["a=[{b=1}, {c=2}]", "a.b=3"], {"a": [{"b": 3}, {"c": 2, "b": 3}]}),  # of a list of tables, in each
    ],
)
def test_a_value_is_toml_where_it_can_be_and_a_dot_reaches_into_a_table(pairs, result):
    assert override({}, pairs) == result


@pytest.mark.parametrize(
    ("pair", "message"),
    [
        *[(pair, "must read key=value") for pair in ("depth", "=3", " =3", "", ".=1", "a.=1", ".a=1")],
        *[(pair, "is not a table, so a dot cannot select a key in it") for pair in ("model.name=x", "a.b.c=1")],
    ],
)
def test_what_is_no_setting_is_refused_in_one_line(pair, message):
    base = {"model": "m", "a": {"b": [1]}}
    with pytest.raises(BadInput, match=message) as error:
        override(base, [pair])
    assert "\n" not in str(error.value) and base == {"model": "m", "a": {"b": [1]}}


def test_what_is_laid_over_changes_no_table_below_it():
    base = {"a": {"b": 1, "c": {"d": 2}}}
    assert merge(base, {"a": {"c": {"e": 3}}, "f": 4}) == {"a": {"b": 1, "c": {"d": 2, "e": 3}}, "f": 4}
    assert override(base, ["a.c.d=9"]) == {"a": {"b": 1, "c": {"d": 9}}}
    assert base == {"a": {"b": 1, "c": {"d": 2}}}


def test_a_variant_is_the_recipe_above_it_with_its_own_values(family, page):
    small = read_recipe("board", f"{family}#small", KEYS)
    large = read_recipe("board", f"{family}#large-1.5", KEYS, ["title=L"])
    assert (small.name, small.values) == ("small", {"title": "T", "depth": 3, "tasks": ["mini"]})
    assert (large.name, large.values) == ("large-1.5", {"title": "L", "depth": 10, "tasks": ["a"], "fast": True})
    assert small.fingerprint == read_recipe("board", page, KEYS, ["depth=3"]).fingerprint


def test_a_recipe_or_a_variant_that_is_not_there_is_refused_with_the_choices(family):
    with pytest.raises(BadInput, match=r"several recipes; name one, as in family.toml#large-1.5"):
        read_recipe("board", family, KEYS)
    with pytest.raises(UnknownName, match="unknown variant 'smal'; did you mean small"):
        read_recipe("board", f"{family}#smal", KEYS)
    with pytest.raises(UnknownName, match="unknown board recipe 'no-such'"):
        read_recipe("board", "no-such", KEYS)
    assert recipes("no such kind") == {}


@pytest.mark.parametrize("text", ["variants = 3", "variants = {}", "[variants]\nsmall = 3"])
def test_variants_are_tables(tmp_path, text):
    (tmp_path / "odd.toml").write_text(text)
    with pytest.raises(BadInput, match="variants must be tables"):
        read_recipe("board", tmp_path / "odd.toml", KEYS)


@pytest.mark.parametrize("value", ["nan", "-inf", "2026-01-31", "12:00:00", "[1, {a = inf}]"])
def test_a_value_that_json_cannot_hold_is_refused_in_a_file_and_in_a_setting(page, tmp_path, value):
    said = "a recipe consists of texts, finite numbers, true, false, lists and tables"
    with pytest.raises(BadInput, match=said):
        read_recipe("data", page, overrides=[f"options.when={value}"])
    (tmp_path / "odd.toml").write_text(f"seed = {value}\n")
    with pytest.raises(BadInput, match=f"odd.toml: {said}"):
        read_recipe("data", tmp_path / "odd.toml")
