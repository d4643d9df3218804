"""Recipes: TOML pages that say which parts and which numbers make something. Data, never a language."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from exabench.errors import BadInput, UnknownName
from exabench.files import digest_of, read_toml

FOLDER = Path(__file__).parent / "recipes"


@dataclass(frozen=True)
class Recipe:
    """One recipe: its name, its values after `--set`, and where it was read."""

    name: str
    values: Mapping[str, Any]
    file: Path

    @property
    def fingerprint(self) -> str:
        """sha256 of the resolved values: the same recipe always has the same one."""
        return digest_of(dict(self.values))


def recipe_names(kind: str) -> list[str]:
    """The recipes of one kind that come with exabench."""
    return sorted(path.stem for path in (FOLDER / kind).glob("*.toml"))


def read_recipe(kind: str, name: str | Path, keys: Mapping[str, type], overrides: Iterable[str] = ()) -> Recipe:
    """Read recipe `name` of `kind` (a name in recipes/, or a path) and apply `key=value` overrides.

    `keys` names every key that this kind of recipe may hold, with its type. Raises UnknownName for a recipe
    or a key that is not known, BadInput for a value of another type.
    """
    file = Path(name)
    if file.suffix != ".toml":
        file = FOLDER / kind / f"{name}.toml"
        if str(name) not in recipe_names(kind):
            raise UnknownName(f"{kind} recipe", str(name), recipe_names(kind))
    values = read_toml(file) | settings(overrides)
    for key, value in values.items():
        if key not in keys:
            raise UnknownName("key", key, keys, file=file)
        if not isinstance(value, keys[key]):
            raise BadInput(f"{key} must be {keys[key].__name__}, not {type(value).__name__}", file=file)
    return Recipe(file.stem, values, file)


def settings(pairs: Iterable[str]) -> dict[str, Any]:
    """`key=value` texts as a dict; a value is read as TOML where it is TOML, else taken as text."""
    result: dict[str, Any] = {}
    for pair in pairs:
        key, sign, text = pair.partition("=")
        if not sign or not key.strip():
            raise BadInput(f"--set {pair!r} must read key=value")
        try:
            result[key.strip()] = tomllib.loads(f"value = {text}")["value"]
        except (ValueError, RecursionError):
            result[key.strip()] = text
    return result
