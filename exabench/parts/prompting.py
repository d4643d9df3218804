"""Prompts: Jinja text files in which `turn(role)` begins a turn, each known by the digest of its text."""

from __future__ import annotations

import functools
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
from jinja2 import nodes

from exabench.core.errors import BadInput, UnknownName
from exabench.core.files import digest_of, read_text
from exabench.core.nouns import Passage
from exabench.core.templates import TEMPLATE_BOUND, Templates
from exabench.core.words import cut_words

FOLDER = Path(__file__).parent / "prompts"
ROLES = ("system", "user", "assistant")
_JINJA = Templates(trim_blocks=True, lstrip_blocks=True)


@dataclass(frozen=True)
class PromptFile:
    """A prompt with places for values, and where it was read."""

    name: str
    text: str
    file: Path

    @property
    def label(self) -> str:
        """The prompt's name and the digest of its text: what is in the identity of a score or a row."""
        return f"{self.name}@{digest_of(self.text)}"

    def turns(self, **values: Any) -> tuple[tuple[str, str], ...]:
        """The prompt filled in, (role, text) for each turn; without any `turn(role)` it is one turn of the user's.

        What a value holds never begins a turn. Raises BadInput for a place that no value fills.
        """
        mark = secrets.token_hex(16)  # drawn each time, so that no passage can know it

        def turn(role: str) -> str:
            if role not in ROLES:
                raise ValueError(f"turn({role!r}) is none of {', '.join(ROLES)}")
            return f"{mark}{role}\n"

        with _JINJA.filling("", self.file):
            text = self._template.render(**values, turn=turn)
        opening, *rest = text.split(mark)
        if not rest:
            return (("user", opening.strip("\n")),)
        if opening.strip():
            raise BadInput("has text before its first turn(role)", file=self.file)
        turns = []
        for part in rest:
            role, _, content = part.partition("\n")
            turns.append((role, content.strip("\n")))
        return tuple(turns)

    def number(self, name: str) -> int:
        """A number above 0 that the file sets for its reader: `{% set answer_tokens = 256 %}`. Raises BadInput."""
        value = self._settings.get(name)
        if isinstance(value, int) and value > 0:
            return value
        raise BadInput(f"does not say {{% set {name} = ... %}}, a number from 1 on", file=self.file)

    @property
    def pattern(self) -> str:
        """The regular expression that a whole answer matches, where the file says `answer_pattern`; else empty."""
        return self._settings.get("answer_pattern", "")

    @functools.cached_property
    def _settings(self) -> dict[str, Any]:
        settings = {}
        with _JINJA.filling("", self.file):
            for node in _JINJA.parse(self.text).find_all(nodes.Assign):
                # Read from the syntax tree, as rendering needs the values of all other places.
                if isinstance(node.target, nodes.Name) and isinstance(node.node, nodes.Const):
                    settings[node.target.name] = node.node.value
        return settings

    @functools.cached_property  # compiling takes longer than filling in, and thousands of prompts are filled in
    def _template(self) -> jinja2.Template:
        return _JINJA.from_string(self.text)


def prompt_file(name: str | Path) -> PromptFile:
    """The prompt of that name in prompts/, or of that path (`*.jinja`, `*.txt`). Raises UnknownName, BadInput."""
    file = Path(name)
    if file.suffix not in (".jinja", ".txt"):
        file = FOLDER / f"{name}.jinja"
        known = sorted(path.stem for path in FOLDER.glob("*.jinja"))
        if str(name) not in known:
            raise UnknownName("prompt", str(name), known)
    return PromptFile(file.stem, read_text(file, TEMPLATE_BOUND), file)


def truncate_passage(passage: Passage, fields: Sequence[str], words: int) -> tuple[str, bool]:
    """The part of a passage that a prompt shows, and whether that is less than all.

    A title comes first, as `Title: ... Content: ...`; then all of it is cut to so many words (RankGPT,
    sunnweiwei/RankGPT `rank_gpt.py`), which also makes every run of spaces or line breaks one space.
    """
    text = passage.flat(tuple(fields))
    if passage.title and {"title", "text"} <= set(fields):
        text = f"Title: {passage.title} Content: {passage.text}"
    return cut_words(text, words)
