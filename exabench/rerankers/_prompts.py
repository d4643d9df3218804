"""The prompts of rerankers that ask a language model: read from prompts/*.toml, filled with query and passages."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path

from exabench.files import digest_of, read_toml
from exabench.nouns import Passage

FOLDER = Path(__file__).parents[1] / "prompts"

Turns = tuple[tuple[str, str], ...]
"""(role, text) each."""


@dataclass(frozen=True)
class PromptText:
    """A prompt with places for `query`, `n`, and for each passage `i` (from 1), `letter` (from A) and `passage`."""

    name: str
    start: Turns
    each: Turns
    end: Turns
    answer_tokens_per_passage: int

    @property
    def label(self) -> str:
        """The prompt's name and the digest of its text: what a score's identity holds."""
        return f"{self.name}@{digest_of(asdict(self))}"

    def turns(self, query: str, passages: Sequence[str]) -> Turns:
        """The whole prompt; neighbouring turns of one role become one, line after line."""
        shared = {"query": query, "n": len(passages)}
        filled = [(role, text.format(**shared)) for role, text in self.start]
        for i, passage in enumerate(passages):
            own = {"i": i + 1, "letter": chr(ord("A") + i), "passage": passage}
            filled += [(role, text.format(**shared, **own)) for role, text in self.each]
        filled += [(role, text.format(**shared)) for role, text in self.end]
        by_role = groupby(filled, key=lambda turn: turn[0])
        return tuple((role, "\n".join(text for _, text in turns)) for role, turns in by_role)


@functools.cache
def prompt_text(name: str) -> PromptText:
    """The prompt of prompts/<name>.toml. Raises BadInput."""
    page = read_toml(FOLDER / f"{name}.toml")
    start, each, end = (tuple((str(role), str(text)) for role, text in page[key]) for key in ("start", "each", "end"))
    return PromptText(name, start, each, end, int(page["answer_tokens_per_passage"]))


def shown(passage: Passage, fields: Sequence[str], words: int) -> tuple[str, bool]:
    """What a prompt shows of a passage, and whether that is less than all.

    A title comes first, as `Title: ... Content: ...`; then all of it is cut to so many words between blanks
    (RankGPT, sunnweiwei/RankGPT `rank_gpt.py`), which also makes every blank or line break one blank.
    """
    text = passage.flat(tuple(fields))
    if passage.title and {"title", "text"} <= set(fields):
        text = f"Title: {passage.title} Content: {passage.text}"
    parts = text.split()
    return " ".join(parts[:words]), len(parts) > words
