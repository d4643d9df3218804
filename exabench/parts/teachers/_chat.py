"""Shared by teachers that run a model here: prompts as token ids that fit, seeds, identities, errors in a line."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

from exabench.core.errors import REASON, BadInput, PromptsRefused, printable
from exabench.core.files import digest_of, read_json
from exabench.core.nouns import ModelFolder, Prompt
from exabench.core.sqlite_store import chunks

Turns: TypeAlias = tuple[tuple[str, str], ...]
"""(role, text) of each turn of a prompt."""
Asked: TypeAlias = tuple[Prompt, list[int]]
"""A prompt and its token ids."""


def plain_text(turns: Turns) -> str:
    """The texts of the turns, a blank line between them: what a model without a chat template reads."""
    return "\n\n".join(text for _, text in turns)


def with_system_in_first_turn(turns: Turns) -> Turns:
    """The turns with the text of a system turn at the head of the turn behind it."""
    if len(turns) < 2 or turns[0][0] != "system":
        return turns
    (_, system), (role, first), *rest = turns
    return ((role, f"{system}\n\n{first}"), *rest)


def token_ids(tokenizer: Any, prompt: Prompt, values: Mapping[str, Any]) -> list[int]:
    """The prompt as the model reads it; `values` are further variables of its chat template.

    By the tokenizer's chat template, with the opening of the answer; a template that takes no system turn gets that
    text at the head of the first user turn. Without a template only the texts of the turns, a blank line between
    them, with the tokenizer's own special tokens. Raises BadInput for turns that the template refuses.
    """
    if not getattr(tokenizer, "chat_template", None):
        return tokenizer(plain_text(prompt.turns), verbose=False)["input_ids"]
    # Gemma and others raise an error for a system turn.
    for turns in (prompt.turns, with_system_in_first_turn(prompt.turns)):
        messages = [{"role": role, "content": text} for role, text in turns]
        try:
            text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True, **values)
        except Exception as error:  # a template is a program; what it raises is its own
            failure = error
        else:
            # The template writes the special tokens; the tokenizer would add a second first one.
            return tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
    raise BadInput(f"the model's chat template refuses the prompt: {first_line(failure)}", id=prompt.id) from failure


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


@dataclass(frozen=True)
class PromptReader:
    """How a model in this process reads prompts: by its tokenizer, `at_once` of them at a time.

    `values` are further variables of its chat template. A prompt may be answered by `reasoning_tokens` more than it
    asks for, and does not fit where it and its answer have more tokens than `limit` (None: any number).
    """

    tokenizer: Any
    values: Mapping[str, Any]
    reasoning_tokens: int
    limit: int | None
    at_once: int

    def read(self, prompts: Iterable[Prompt]) -> Iterator[list[Asked]]:
        """Prompts with their token ids, without those that do not fit.

        For these it raises PromptsRefused once all others have been taken.
        """
        refused = {}
        for some in chunks(prompts, self.at_once):
            asked = []
            for asked_for in some:
                # Room for thoughts: the answer itself is as short as the prompt asks for.
                prompt = replace(asked_for, max_tokens=asked_for.max_tokens + self.reasoning_tokens)
                ids = token_ids(self.tokenizer, prompt, self.values)
                if self.limit is None or len(ids) + prompt.max_tokens <= self.limit:
                    asked.append((prompt, ids))
                else:
                    answer = f"{prompt.max_tokens} for the answer do not fit the model's {self.limit}"
                    refused[prompt.id] = f"{len(ids)} tokens and {answer}"
            yield asked
        if refused:
            raise PromptsRefused(refused)


def model_config(folder: Path) -> dict[str, Any]:
    """The config.json of a model; of its language model, where it is one of several parts."""
    config = read_json(folder / "config.json")
    return config.get("text_config") or config


def first_line(error: BaseException) -> str:
    """An error of a library in one printable line."""
    name = type(error).__name__
    text = str(error).strip()
    return f"{name}: {printable(text.splitlines()[0].strip(), REASON)}" if text else name
