"""The card of a Space that shows the pages of a leaderboard."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from exabench.core.files import read_text
from exabench.core.words import cut_characters
from exabench.hub.cards import fill_card
from exabench.hub.cards.front_matter import licence_keys

_COMPUTED = "title short_description sdk app_file license license_name models datasets".split()
_SHORT = 60  # characters of a short_description, the most that the Hub takes


@dataclass(frozen=True)
class SpaceFacts:
    """What the card of a Space says of its leaderboard; `models` and `datasets` are ids of the Hub."""

    title: str
    description: str = ""
    licence: str = ""
    models: tuple[str, ...] = ()
    datasets: tuple[str, ...] = ()


def space_card(facts: SpaceFacts, start: str, *, existing: str = "") -> str:
    """README.md of a static Space whose first page is the file `start`.

    Of an `existing` card all stays but the computed keys of its front matter and our section. Raises BadInput.
    """
    computed: dict[str, Any] = {"title": facts.title, "sdk": "static", "app_file": start}
    if facts.description:
        computed["short_description"] = _shorten(facts.description)
    if facts.licence:
        computed |= licence_keys([facts.licence])
    if facts.models:
        computed["models"] = list(facts.models)
    if facts.datasets:
        computed["datasets"] = list(facts.datasets)
    template = read_text(Path(__file__).with_name("space.md"))
    values = {"title": facts.title, "description": facts.description}
    return fill_card(template, values, computed, keys=_COMPUTED, existing=existing)


def _shorten(text: str) -> str:
    """The text where it is short enough, else its first words."""
    line = " ".join(text.split())
    if len(line) <= _SHORT:
        return line
    words, _ = cut_characters(line, _SHORT - 2)
    return f"{words} \N{HORIZONTAL ELLIPSIS}"
