"""Templates of cards: where they lie, and how they are filled in."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2
from jinja2.sandbox import ImmutableSandboxedEnvironment

from exabench.core.errors import BadInput, plural
from exabench.core.files import PACKAGE, read_text, toml_text
from exabench.core.rows import DataFile, Release, Table
from exabench.hub.cards.markdown import Markdown, code, figures, plain

REASONS = 20
"""Reasons why inputs did not become rows that are listed, the most frequent first; the others are summed up."""
_SPLITS = ("train", "validation", "test")


def folder() -> Path:
    """Where the templates lie: inside an installed package, beside it in a checkout."""
    inside = PACKAGE / "dataset_cards"
    return inside if inside.is_dir() else PACKAGE.parent / "dataset_cards"


def template_for(name: str) -> str:
    """The template of the dataset of that name (an owner before a slash aside), else default.md."""
    own = f"{name.rpartition('/')[2]}.md"
    known = {file.name for file in folder().glob("[!_]*.md")}
    return read_text(folder() / (own if own in known else "default.md"))


def values_of(release: Release) -> dict[str, Any]:
    """What a template may name: the `release`, its `tables` by name, and the paths of their stored `replies`."""
    tables = {name: release.tables[name] for name in sorted(release.tables)}
    there = {file.path for file in release.files}
    replies = [path for name in tables if (path := f"replies/{name}.parquet") in there]
    return {"release": release, "tables": tables, "replies": replies}


def filled(template: str, values: Mapping[str, Any]) -> str:
    """Prose filled in: what it shows is escaped, so that no value is markup. Raises BadInput."""
    jinja = ImmutableSandboxedEnvironment(
        undefined=jinja2.StrictUndefined,
        loader=jinja2.FileSystemLoader(folder()),
        finalize=lambda value: value if isinstance(value, Markdown | jinja2.Undefined) else plain(value),
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    jinja.filters |= {"code": code, "figures": figures, "toml": _toml, "literal": _literal}
    jinja.filters |= {"splits": splits_of, "left_out": _left_out}
    return _rendered(jinja, template, values)


def splits_of(table: Table) -> dict[str, tuple[DataFile, ...]]:
    """The files by split: train, validation, test, then the others by name."""
    known = [name for name in _SPLITS if name in table.splits]
    others = sorted(table.splits.keys() - set(known))
    return {name: table.splits[name] for name in [*known, *others]}


def _left_out(table: Table) -> list[tuple[str, int]]:
    """Why inputs did not become rows, and how many, the most frequent reason first."""
    reasons = sorted(table.counts.get("reasons", {}).items(), key=lambda item: (-item[1], item[0]))
    shown = reasons[:REASONS]
    rest = reasons[REASONS:]
    if rest:
        shown.append((plural(len(rest), "other reason"), sum(count for _, count in rest)))
    return shown


def filled_value(value: Any, values: Mapping[str, Any]) -> Any:
    """A value of the template's front matter, its texts filled in; YAML is written later, so nothing is escaped."""
    if isinstance(value, list):
        return [filled_value(item, values) for item in value]
    bare = ImmutableSandboxedEnvironment(undefined=jinja2.StrictUndefined)
    return _rendered(bare, value, values) if isinstance(value, str) else value


def _rendered(jinja: jinja2.Environment, template: str, values: Mapping[str, Any]) -> str:
    try:
        return jinja.from_string(template).render(values)
    except jinja2.TemplateError as error:
        raise BadInput(f"the card's template cannot be filled in ({error.message})") from error
    except (TypeError, ValueError, ArithmeticError, AttributeError, LookupError) as error:
        raise BadInput(f"the card's template cannot be filled in ({error})") from error


def _toml(values: Mapping[str, Any]) -> Markdown:
    """A recipe as TOML, a line for each key, so that no line of it can end the block of code it stands in."""
    names = {key: key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else toml_text(key) for key in sorted(values)}
    return Markdown("\n".join(f"{name} = {toml_text(values[key])}" for key, name in names.items()))


def _literal(text: str) -> Markdown:
    """A text as Python writes it, for the examples."""
    return Markdown(json.dumps(text))
