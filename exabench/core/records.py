"""Typed records: the tables of a TOML or JSON file as msgspec structs, checked in one place."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin, get_type_hints

import msgspec

from exabench.core.errors import REASON, BadInput, nearest, printable
from exabench.core.files import lines
from exabench.core.options import type_in_words

T = TypeVar("T")
Line = TypeVar("Line", bound=msgspec.Struct)
AtLeastOne = Annotated[int, msgspec.Meta(ge=1)]
"""The type of a number that counts something which must be there."""


class Record(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of a file: its fields are the keys that the table may hold, with their types and defaults."""


def read(kind: type[T], value: Any, *, file: str | Path | None = None, what: str = "") -> T:
    """`value`, as TOML or JSON gave it, as a record of `kind` (a Record, a dataclass or any type msgspec knows).

    `what` names the table in the message ("submission"). Raises BadInput that says which key is wrong, how, and for
    an unknown key which ones there are.
    """
    try:
        return msgspec.convert(value, kind, strict=True)
    except msgspec.ValidationError as error:
        raise BadInput(_message(str(error), kind, what), file=file) from None


def read_lines(kind: type[Line], file: str | Path) -> Iterator[tuple[int, Line]]:
    """The lines of a JSONL file as records of `kind`, with their numbers from 1; empty lines are skipped.

    A msgspec.Struct that does not forbid other keys takes what it names from a line. Raises BadInput with the line.
    """
    decoder = msgspec.json.Decoder(kind)  # one for all lines: the type is looked at when a decoder is made
    for number, line in lines(file):
        if not line.strip():
            continue
        try:
            record = _decode(decoder, line)
        except msgspec.ValidationError as error:
            keys = ", ".join(kind.__struct_encode_fields__)
            raise BadInput(f"{_message(str(error), kind, '')}; a line has {keys}", file=file, line=number) from None
        except (msgspec.DecodeError, RecursionError) as error:
            raise BadInput("is not JSON", file=file, line=number) from error
        yield number, record


def _decode(decoder: msgspec.json.Decoder[Line], line: str) -> Line:
    """A line as a record. NaN is not JSON, but Python writes it: in a field that no one reads it does no harm."""
    try:
        return decoder.decode(line)
    except msgspec.ValidationError:
        raise
    except msgspec.DecodeError:
        if "NaN" not in line and "Infinity" not in line:
            raise
    # Slower, so only of such a line. None is what a field that is read refuses, unless it may be empty.
    try:
        value = json.loads(line, parse_constant=lambda constant: None)
    except ValueError as error:
        raise msgspec.DecodeError(str(error)) from None
    return msgspec.convert(value, decoder.type, strict=True)


def as_builtins(record: Any) -> Any:
    """A record as dicts, lists and plain values, ready for JSON."""
    return msgspec.to_builtins(record)


def _message(problem: str, kind: Any, what: str) -> str:
    """msgspec's message ("Expected `int`, got `str` - at `$.depth`") as a line of ours."""
    problem, _, place = problem.partition(" - at ")
    key = place.strip("`").removeprefix("$").removeprefix(".")
    # msgspec has no codes for its errors: its sentences are all that tells them apart.
    unknown = re.fullmatch(r"Object contains unknown field `(.*)`", problem)
    missing = re.fullmatch(r"Object missing required field `(.*)`", problem)
    table = f"{what} " if what else ""
    inside = f" in {key}" if key else ""
    expected = _type_at(kind, key)
    if unknown:
        message = f"{table}has an unknown key {printable(unknown[1])!r}{inside}"
        names = sorted(_names(expected))
        if names:
            message += f"; {nearest(unknown[1], names)}"
        return message
    if missing:
        return f"{table}lacks the key {missing[1]!r}{inside}"
    if problem.startswith("Invalid enum value") and get_origin(expected) is Literal:
        problem += f"; choose from: {', '.join(str(choice) for choice in get_args(expected) if choice)}"
    elif problem.startswith("Invalid enum value"):  # a word, where one word or a number is wanted
        problem += f"; write {type_in_words(expected).removesuffix(' or none')}"
    problem = printable(problem, REASON)  # the value that is wrong may be part of it
    if not key:
        return f"{table}is wrong: {problem}"
    return f"{table}{key}: {problem[:1].lower()}{problem[1:]}"


def _type_at(kind: Any, key: str) -> Any:
    """The type that a record of `kind` has at `key` ("steps.rate", "data[0]"), or None where that cannot be told."""
    for part in re.findall(r"\w+|\[", key):
        if part == "[":
            kind = next(iter(get_args(kind)), None)
        elif not part.isdigit():
            hints = get_type_hints(kind) if isinstance(kind, type) else {}
            attributes = dict(zip(_names(kind), getattr(kind, "__struct_fields__", ()), strict=False))
            kind = hints.get(attributes.get(part, part))
    return kind


def _names(kind: Any) -> tuple[str, ...]:
    """The keys of a record as a file has them."""
    return getattr(kind, "__struct_encode_fields__", ()) or tuple(getattr(kind, "__dataclass_fields__", ()))
