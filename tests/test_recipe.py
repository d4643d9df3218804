"""Recipes are data: known keys of known types, and the same values have the same fingerprint."""

from __future__ import annotations

import pytest

from exabench.errors import BadInput, UnknownName
from exabench.recipe import read_recipe, recipe_names, settings

KEYS = {"title": str, "depth": int, "tasks": list, "fast": bool}


@pytest.fixture
def page(tmp_path):
    file = tmp_path / "page.toml"
    file.write_text('title = "T"\ndepth = 10\ntasks = ["mini"]\n')
    return file


def test_a_recipe_is_read_from_its_page(page):
    recipe = read_recipe("board", page, KEYS)
    assert (recipe.name, dict(recipe.values)) == ("page", {"title": "T", "depth": 10, "tasks": ["mini"]})


def test_what_is_set_wins_over_the_page(page):
    recipe = read_recipe("board", page, KEYS, ["depth=20", "title=plain words", 'tasks=["a", "b"]', "fast=true"])
    assert recipe.values == {"title": "plain words", "depth": 20, "tasks": ["a", "b"], "fast": True}


def test_the_fingerprint_depends_on_values_alone(page, tmp_path):
    other = tmp_path / "other.toml"
    other.write_text('# a comment\ntasks = ["mini"]\ndepth = 0xA\ntitle = "T"\n')
    same, changed = read_recipe("board", other, KEYS), read_recipe("board", page, KEYS, ["depth=11"])
    assert read_recipe("board", page, KEYS).fingerprint == same.fingerprint
    assert changed.fingerprint != same.fingerprint


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("depht=3", "unknown key 'depht'; did you mean depth"),
        ("depth=deep", "depth must be int, not str"),
        ("title=3", "title must be str, not int"),
    ],
)
def test_a_wrong_setting_is_refused(page, given, message):
    with pytest.raises(BadInput, match=message):
        read_recipe("board", page, KEYS, [given])


@pytest.mark.parametrize("pair", ["depth", "=3", " =3", ""])
def test_a_setting_reads_key_equals_value(pair):
    with pytest.raises(BadInput, match="must read key=value"):
        settings([pair])


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1),
        ("1.5", 1.5),
        ("x y", "x y"),
        ("a=b", "a=b"),
        ("", ""),
        ("[1, 2]", [1, 2]),
        ("[", "["),
        ("9" * 5000, "9" * 5000),
    ],
)
def test_a_value_is_toml_where_it_can_be(text, value):
    assert settings([f"key={text}"]) == {"key": value}


def test_an_unknown_recipe_is_refused_with_the_choices():
    with pytest.raises(UnknownName, match="unknown board recipe 'no-such'"):
        read_recipe("board", "no-such", KEYS)
    assert recipe_names("no such kind") == []
