"""The fields of a submission: one table, which the check of a file and the page on submitting both read."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass

KINDS = ("run", "model", "api", "baseline")
_PART = r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9])?"
NAME = re.compile(rf"{_PART}/{_PART}")
_LINK = r"https://[A-Za-z0-9.-]+(:\d+)?(/[A-Za-z0-9._~:/?#@!$&'()*+,;=%-]*)?"
LINK = re.compile(_LINK)
COMMIT = re.compile(r"[0-9a-f]{40}")
_LICENCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+-]{0,63}")
_CONTACT = re.compile(r"[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+|@[A-Za-z0-9-]+|" + _LINK)
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_PART_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
_REVISION = re.compile(r"[0-9a-f]{40}|sha256:[0-9a-f]{64}")
_ENDPOINT = re.compile(r"(https://[A-Za-z0-9.-]+|http://localhost)(:\d{1,5})?(/[A-Za-z0-9._~/-]*)?")
_ENTRY = re.compile(r"\s*@[A-Za-z]+\s*\{")
_RUN_HERE = ("model", "api")


@dataclass(frozen=True)
class Field:
    """A key of a submission's file: what it means, what it must be, for which kinds it is needed and for which allowed.

    `grammar` follows the word "must"; `fits` decides.
    """

    name: str
    meaning: str
    grammar: str
    fits: Callable[[object], bool]
    required: tuple[str, ...] = ()
    allowed: tuple[str, ...] = KINDS


def _matching(grammar: re.Pattern[str]) -> Callable[[object], bool]:
    return lambda value: isinstance(value, str) and len(value) <= 500 and grammar.fullmatch(value) is not None


def _line(longest: int) -> Callable[[object], bool]:
    return lambda value: isinstance(value, str) and is_plain(value, longest)


def is_plain(text: str, longest: int) -> bool:
    """Text on one line, of signs that print, not longer than so many."""
    return len(text) <= longest and text.isprintable()


def _names_or_unknown(value: object) -> bool:
    if not isinstance(value, list):
        return value == "unknown"
    return len(value) <= 200 and all(isinstance(name, str) and is_plain(name, 200) for name in value)


def _is_options(value: object) -> bool:
    """A table that JSON can hold, as results and pages do: TOML's dates, nan and inf are none of its values."""
    try:
        return isinstance(value, dict) and len(json.dumps(value, allow_nan=False)) <= 4000
    except (TypeError, ValueError, RecursionError):
        return False


def _is_bibtex(value: object) -> bool:
    """One entry, its braces in balance and nothing behind the last of them; lines and tabs, but nothing else unseen."""
    if not isinstance(value, str) or len(value) > 4000 or not _ENTRY.match(value):
        return False
    if not value.replace("\n", "").replace("\t", "").isprintable():
        return False
    depth, text = 0, value.strip()
    for place, sign in enumerate(text):
        depth += (sign == "{") - (sign == "}")
        if sign == "}" and depth <= 0:
            return depth == 0 and place == len(text) - 1
    return False


FIELDS = (
    Field(
        "name",
        "who sends it, and what it is called on the board",
        "read owner/name in ASCII letters, digits and ._- (at most 96 each, no other sign at the ends)",
        _matching(NAME),
        required=KINDS,
    ),
    Field(
        "kind",
        "a model that the board runs, runs that were made elsewhere, or an API that the sender's own runner calls",
        f"be one of {', '.join(KINDS)}",
        lambda value: value in KINDS,
        required=KINDS,
    ),
    Field(
        "licence",
        "the licence of the model",
        "be an SPDX identifier such as apache-2.0, or unknown",
        _matching(_LICENCE),
        required=KINDS,
    ),
    Field("link", "where it is described", "be an https:// address", _matching(LINK), required=KINDS),
    Field(
        "contact",
        "whom to ask",
        "be an e-mail address, an @handle or an https:// address",
        _matching(_CONTACT),
        required=KINDS,
    ),
    Field(
        "training_data",
        "what it was trained on; a task that it names is marked on the board",
        'list data sets by name, [] for none, or be "unknown"',
        _names_or_unknown,
        required=KINDS,
    ),
    Field("description", "a sentence about it", "be text on one line", _line(2000)),
    Field(
        "reranker",
        "the part of exabench that loads the model or calls the endpoint",
        "name a part (exabench parts rerankers) that loads the model or calls the endpoint",
        lambda value: value == "" or _matching(_PART_NAME)(value),
        required=_RUN_HERE,
    ),
    Field(
        "model",
        "the model: for a board on the Hub a Hub id",
        "be a Hub id (owner/name), a local folder or pypi:<package>, or what the endpoint calls it, on one line",
        _line(2000),
        required=_RUN_HERE,
        allowed=_RUN_HERE,
    ),
    Field(
        "revision",
        "the model's commit on the Hub, or the digest of its folder",
        "be a commit (40 hex digits) or a folder's digest (sha256:...), never a branch",
        _matching(_REVISION),
        allowed=("model",),
    ),
    Field(
        "options",
        "what else the part is to be told",
        "be a table of texts, finite numbers, true, false, lists and tables (no dates)",
        _is_options,
        allowed=_RUN_HERE,
    ),
    Field(
        "endpoint",
        "where the API is asked",
        "be an https:// address, or http://localhost for a server of one's own, without key or question",
        _matching(_ENDPOINT),
        required=("api",),
        allowed=("api",),
    ),
    Field("date", "when it was made", 'read "2026-01-31"', _matching(_DATE)),
    Field("family", "the family of the model, such as monoT5 or cross-encoder", "be text on one line", _line(200)),
    Field("strategy", "how the model's output becomes a score", "be text on one line", _line(200)),
    Field("template", "how query and passage are put to the model", "be text on one line", _line(2000)),
    Field("precision", "the numbers that it computes with, such as float32", "be text on one line", _line(64)),
    Field(
        "synthetic_data",
        "which of its training data no person wrote",
        'list data sets by name, [] for none, or be "unknown"',
        _names_or_unknown,
    ),
    Field("teacher", "the model that wrote the synthetic data", "be text on one line", _line(500)),
    Field(
        "bibtex",
        "how to cite it",
        "be one BibTeX entry, @kind{...} with balanced braces, of at most 4000 characters",
        lambda value: value == "" or _is_bibtex(value),
    ),
    Field("withdrawn", "why it no longer counts; `exabench bench withdraw` says it", "be text on one line", _line(500)),
)
"""Every key of a submission's file, in the order in which a file is written."""
