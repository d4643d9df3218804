"""The YAML at the top of a card: the keys that the Hub reads are computed, all others are kept as they were written."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import yaml  # type: ignore[import-untyped]

from exabench.core.errors import BadInput
from exabench.core.files import escape_unseen
from exabench.core.licences import is_known_to_the_hub

_LARGEST = 1 << 18  # characters: a tenth of a megabyte is read in a second, and results of models take some kilobytes
_BLOCK = re.compile(r"\A\ufeff?\s*---[ \t]*\r?\n(.*?)^---[ \t]*(?:\r?\n|\Z)", re.DOTALL | re.MULTILINE)
# A key begins a line; remarks, list items and nested keys do not.
_KEY_LINE = re.compile(r"^(?=[^\s#-])", re.MULTILINE)
_REMARKS = re.compile(r"(?:^[ \t]*(?:#[^\n]*)?\n)*\Z", re.MULTILINE)


def split(text: str) -> tuple[str, str]:
    """The YAML block of a card, empty where there is none, and what follows it."""
    match = _BLOCK.match(text)
    if match is None:
        return "", text
    return match[1], text[match.end() :]


def parse(block: str, file: str = "README.md") -> dict[str, Any]:
    """The values of a YAML block. Raises BadInput where it is not a mapping, or larger than any."""
    if len(block) > _LARGEST:
        raise BadInput(f"its front matter has more than {_LARGEST:,} characters", file=file)
    try:
        values = yaml.safe_load(block)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise BadInput(f"its front matter is not YAML ({' '.join(str(error).split())}); fix it", file=file) from error
    if values is not None and not isinstance(values, dict):
        raise BadInput("its front matter must be key: value lines", file=file)
    return values or {}


class _Dumper(yaml.SafeDumper):  # type: ignore[misc]
    """Quotes every text that is not plainly a word (1e5 is a number to the Hub), and never writes an alias."""

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def represent_str(self, data: str) -> yaml.Node:
        is_odd = not data[:1].isalpha() or not data.isprintable()
        return self.represent_scalar("tag:yaml.org,2002:str", data, style='"' if is_odd else None)


_Dumper.add_representer(str, _Dumper.represent_str)


def refresh(existing: str, fresh: Mapping[str, Any], computed: Collection[str]) -> str:
    """The block of an existing card, with the keys that are `computed` taken from `fresh`.

    Of the other keys the block's own stay as they are written, byte for byte, and `fresh` adds what it lacks. A remark
    stays with the key that it stands before. Raises BadInput where one kind refers to the other.
    """
    kept = {key: value for key, value in parse(existing).items() if key not in computed}
    block, *pieces = _KEY_LINE.split(existing)
    names = set()
    for piece in pieces:
        value = parse(piece)
        if len(value) != 1 or piece.startswith("{"):
            raise BadInput("its front matter must be key: value lines", file="README.md")
        [name] = value
        if name in names:
            raise BadInput("its front matter has a key twice", file="README.md")
        names.add(name)
        remarks = _REMARKS.search(piece)
        if name not in computed:
            block += piece
        elif remarks:  # of the key that follows
            block += remarks[0]
    added = {key: value for key, value in fresh.items() if key not in kept}
    if added:  # YAML has no text for nothing
        # One meaning for a reader of YAML 1.1 (Python) and of 1.2 (the Hub), and one line for each text.
        text = yaml.dump(added, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=float("inf"))
        block += escape_unseen(text)
    # A key of ours may have held an anchor that another key refers to.
    if kept and not kept.items() <= parse(block).items():
        raise BadInput("its front matter uses YAML aliases; write each value out", file="README.md")
    return block


def licence_keys(names: Iterable[str]) -> dict[str, Any]:
    """Licences as the Hub reads them: `license`, and `license_name` for those that it does not know."""
    known = set()
    others = []
    for name in sorted({name.strip() for name in names}):
        if is_known_to_the_hub(name):
            known.add(name.lower())
        else:
            known.add("other")
            others.append(re.sub(r"[^a-z0-9.]+", "-", name.lower()).strip("-") or "other")
    keys = {"license": one_or_list(sorted(known))}
    if others:
        keys["license_name"] = "-and-".join(others)
    return keys


def one_or_list(values: list[Any]) -> Any:
    """A single value by itself, several as a list: the Hub accepts both, and people write the first."""
    return values[0] if len(values) == 1 else values


def licence_in(card: str) -> str:
    """The licence that a card's front matter names, in its own words; empty where it names none that can be read."""
    try:
        values = parse(split(card)[0])
    except BadInput:
        return ""
    licence = values.get("license")
    # The Hub's word for a licence that it does not know; its name is next to it.
    if licence == "other":
        licence = values.get("license_name") or licence
    return licence if isinstance(licence, str) else ""
