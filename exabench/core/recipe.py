"""Recipes: TOML files with the parts and numbers that make something. Data, never a language.

A file holds one recipe, named after the file; or, with a table `[variants]`, a family of recipes that differ in a few
values. `[variants.NAME]` then holds what recipe NAME has instead of the values above it, and the file's own name names
no recipe.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from exabench.core.api_keys import check_keys
from exabench.core.errors import BadInput, UnknownName, printable
from exabench.core.files import PACKAGE, canonical_json, digest_of, from_toml, read_toml
from exabench.core.licences import as_licence

FOLDER = PACKAGE / "recipes"


@dataclass(frozen=True)
class Recipe:
    """One recipe: its name, its values after `--set`, and where it was read."""

    name: str
    values: Mapping[str, Any]
    file: Path

    @property
    def fingerprint(self) -> str:
        """sha256 of the resolved values: the same recipe always has the same one."""
        return digest_of(self.values)


def recipes(kind: str) -> dict[str, Recipe]:
    """The recipes of one kind that come with exabench, by name and in the order of their names."""
    return dict(_shipped(kind))


@cache
def _shipped(kind: str) -> dict[str, Recipe]:
    """These recipes, read once: a study of many cells asks for each of its recipes once a cell."""
    found = {}
    for file in (FOLDER / kind).glob("*.toml"):
        found.update(_recipes_of(file))
    return dict(sorted(found.items()))


def read_recipe(
    kind: str, name: str | Path | Recipe, keys: Mapping[str, type] | None = None, overrides: Iterable[str] = ()
) -> Recipe:
    """Read recipe `name` of `kind` and apply `key=value` overrides.

    `name`: one of `recipes(kind)`, or the path of a file; for a file of variants "FILE.toml#VARIANT". A Recipe stands
    for itself. `keys` names every key that this kind of recipe may hold, with its type; without it the caller checks
    them. Raises UnknownName for a recipe, a variant or a key that is not known, BadInput for a value of another type.
    """
    text = str(name)
    path, _, variant = text.partition("#")
    if isinstance(name, Recipe):
        recipe = name
    elif path.endswith(".toml"):
        file = Path(path)
        known = _recipes_of(file)
        if variant and variant not in known:
            raise UnknownName("variant", variant, known, file=file)
        if not variant and len(known) > 1:
            raise BadInput(f"contains several recipes; name one, as in {file.name}#{min(known)}", file=file)
        recipe = known[variant or min(known)]
    else:
        known = recipes(kind)
        if text not in known:
            raise UnknownName(f"{kind} recipe", text, known)
        recipe = known[text]

    check_keys(recipe.values, recipe.file)
    written = as_licence(recipe.values, recipe.file)
    # The Hub's spelling is taken on the command line as it is in a file.
    spelt = [re.sub(r"^\s*license\s*=", "licence=", pair) for pair in overrides]
    recipe = replace(recipe, values=override(written, spelt))
    try:
        canonical_json(recipe.values)
    except (TypeError, ValueError, RecursionError) as error:
        what = "a recipe consists of texts, finite numbers, true, false, lists and tables"
        raise BadInput(f"{what} ({printable(str(error))})", file=recipe.file) from error
    overridden = {re.split(r"[.=]", pair, maxsplit=1)[0].strip() for pair in spelt}
    if keys is None:
        return recipe
    for key, value in recipe.values.items():
        place: str | Path = recipe.file
        if key in overridden:  # no line of the file could be mended
            place = "--set"
        if key not in keys:
            raise UnknownName("key", key, keys, file=place)
        if not isinstance(value, keys[key]):
            raise BadInput(f"{key} must be {keys[key].__name__}, not {type(value).__name__}", file=place)
    return recipe


def override(base: Mapping[str, Any], pairs: Iterable[str], option: str = "--set") -> dict[str, Any]:
    """`base` with `key=value` texts laid over it, one after the other; `base` itself is left as it is.

    A value is read as TOML where it is TOML, else taken as text. A dot reaches into a table and changes one value of
    it: `steps.rate=1e-5`; of a list of tables it reaches into each: `data.passages=8`. A key without a dot replaces the
    whole value, of a table, too. Raises BadInput, which names the `option` that gave the texts, where one is not a
    `key=value`, or a dot would reach into what is not a table.
    """
    result = dict(base)
    for pair in pairs:
        path, sign, text = pair.partition("=")
        keys = [key.strip() for key in path.split(".")]
        if not sign or not all(keys):
            raise BadInput(f"{option} {printable(pair)!r} must read key=value")
        try:
            value = from_toml(f"value = {text}")["value"]
        except (ValueError, RecursionError):  # no TOML; a number of thousands of digits; brackets without end
            value = text
        try:
            result = _with_value(result, keys, value)
        except _NoTable as error:
            raise BadInput(
                f"{option} {printable(pair)!r}: {'.'.join(keys[: -error.left])} is not a table, so a dot cannot "
                "select a key in it"
            ) from None
    return result


class _NoTable(Exception):
    """A dot would reach into what is not a table; `left` is the number of keys from there on."""

    def __init__(self, left: int) -> None:
        super().__init__()
        self.left = left


def _with_value(table: Any, keys: list[str], value: Any) -> Any:
    """A copy of `table` with `value` at a path of keys. Raises _NoTable."""
    if isinstance(table, list) and table:
        return [_with_value(one, keys, value) for one in table]
    if not isinstance(table, Mapping):
        raise _NoTable(len(keys))
    result = dict(table)
    first, *rest = keys
    if rest:
        value = _with_value(table.get(first, {}), rest, value)
    result[first] = value
    return result


def merge(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with `changes` laid over it: tables are merged, key by key and deeply, all other values replaced."""
    result = dict(base)
    for key, value in changes.items():
        before = result.get(key)
        if isinstance(before, Mapping) and isinstance(value, Mapping):
            result[key] = merge(before, value)
        else:
            result[key] = value
    return result


def _recipes_of(file: Path) -> dict[str, Recipe]:
    """The recipes of a file by name: itself, or its variants. Raises BadInput."""
    base = read_toml(file)
    variants = base.pop("variants", None)
    if variants is None:
        return {file.stem: Recipe(file.stem, base, file)}
    if not isinstance(variants, Mapping) or not variants or not all(isinstance(v, Mapping) for v in variants.values()):
        raise BadInput("variants must be tables, as in [variants.NAME]", file=file)
    return {name: Recipe(name, merge(base, changes), file) for name, changes in variants.items()}
