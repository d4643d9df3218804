"""Shared by teachers: turns as text, seeds, identities, errors in a line."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, TypeAlias

from exabench.core.errors import REASON, printable
from exabench.core.files import digest_of, read_json
from exabench.core.nouns import ModelFolder, Prompt

Turns: TypeAlias = tuple[tuple[str, str], ...]
"""(role, text) of each turn of a prompt."""


def plain_text(turns: Turns) -> str:
    """The texts of the turns, a blank line between them: what a model without a chat template reads."""
    return "\n\n".join(text for _, text in turns)


def with_system_in_first_turn(turns: Turns) -> Turns:
    """The turns with the text of a system turn at the head of the turn behind it."""
    if len(turns) < 2 or turns[0][0] != "system":
        return turns
    (_, system), (role, first), *rest = turns
    return ((role, f"{system}\n\n{first}"), *rest)


def identity_of(
    engine: str, folder: ModelFolder, precision: str, tokenizer: Any, seed: int, **unusual: Any
) -> dict[str, Any]:
    """Everything that the replies of a model in this process depend on, its chat template (or "plain") included.

    Of the `unusual` settings those that are set are part of it, so that replies to the usual ones are found again.
    """
    template = getattr(tokenizer, "chat_template", None)
    identity = {
        "engine": engine,
        "model": folder.name,
        "revision": folder.revision,
        "precision": precision,
        "template": digest_of(template) if template else "plain",
        "seed": seed,
    }
    for name, value in unusual.items():
        if value:
            identity[name] = value
    return identity


def seed_of(prompt: Prompt, seed: int) -> int:
    """The seed that a prompt is sampled with: of its turns and sample number, not of its id, place or batch."""
    asked = json.dumps([seed, prompt.sample, prompt.turns])
    digest = hashlib.sha256(asked.encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1  # 31 bits: a signed 32-bit integer holds it


def model_config(folder: Path) -> dict[str, Any]:
    """The config.json of a model; of its language model, where it is one of several parts."""
    config = read_json(folder / "config.json")
    return config.get("text_config") or config


def first_line(error: BaseException) -> str:
    """An error of a library in one printable line."""
    name = type(error).__name__
    text = str(error).strip()
    return f"{name}: {printable(text.splitlines()[0].strip(), REASON)}" if text else name
