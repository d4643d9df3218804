"""What teachers with a tokenizer of their own share: prompts as token ids, one seed for one prompt, what fits."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, TypeAlias

from exabench.core.errors import BadInput, PromptsRefused, printable
from exabench.core.files import digest_of, read_json
from exabench.core.nouns import Prompt

Asked: TypeAlias = tuple[Prompt, list[int]]
"""A prompt and its token ids."""


def token_ids(tokenizer: Any, prompt: Prompt) -> list[int]:
    """The prompt as the model reads it.

    By the tokenizer's chat template, with the opening of the answer; a template that takes no system turn gets that
    text at the head of the first user turn. Without a template the texts of the turns alone, a blank line between
    them, with the tokenizer's own special tokens. Raises BadInput for turns that the template refuses.
    """
    if not getattr(tokenizer, "chat_template", None):
        text = "\n\n".join(text for _, text in prompt.turns)
        return list(tokenizer(text, verbose=False)["input_ids"])
    try:
        text = _templated(tokenizer, prompt.turns)
    except Exception as error:  # a template is a program; what it raises is its own
        if len(prompt.turns) < 2 or prompt.turns[0][0] != "system":
            raise _template_failed(prompt, error) from error
        (_, system), (role, first), *rest = prompt.turns
        try:
            text = _templated(tokenizer, ((role, f"{system}\n\n{first}"), *rest))
        except Exception as again:
            raise _template_failed(prompt, again) from again
    return list(tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])


def _templated(tokenizer: Any, turns: Sequence[tuple[str, str]]) -> str:
    messages = [{"role": role, "content": text} for role, text in turns]
    return str(tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))


def _template_failed(prompt: Prompt, error: Exception) -> BadInput:
    return BadInput(f"the model's chat template refuses the prompt: {first_line(error)}", id=prompt.id)


def template_of(tokenizer: Any) -> str:
    """What the identity of a teacher says of its prompts: the chat template's digest, or that there is none."""
    template = getattr(tokenizer, "chat_template", None)
    return digest_of(template) if template else "plain"


def seed_of(prompt: Prompt, seed: int) -> int:
    """The seed that a prompt is sampled with: of its turns and sample number, not of its id, place or batch."""
    asked = json.dumps([seed, prompt.sample, prompt.turns])
    return int.from_bytes(hashlib.sha256(asked.encode()).digest()[:4], "big") >> 1


def fitting(tokenizer: Any, prompts: Iterable[Prompt], limit: int | None, at_once: int) -> Iterator[list[Asked]]:
    """Prompts with their token ids, `at_once` of them at a time, without those that do not fit the model's `limit`.

    For these it raises PromptsRefused once all others have been taken.
    """
    refused: dict[str, str] = {}
    source = iter(prompts)
    while ahead := list(islice(source, at_once)):
        asked: list[Asked] = []
        for prompt in ahead:
            ids = token_ids(tokenizer, prompt)
            if limit is None or len(ids) + prompt.max_tokens <= limit:
                asked.append((prompt, ids))
            else:
                why = f"{len(ids)} tokens and {prompt.max_tokens} for the answer do not fit the model's {limit}"
                refused[prompt.id] = why
        yield asked
    if refused:
        raise PromptsRefused(refused)


def model_config(folder: Path) -> dict[str, Any]:
    """The config.json of a model; of its language model, where it is one of several parts."""
    config: dict[str, Any] = read_json(folder / "config.json")
    return dict(config.get("text_config") or config)


def first_line(error: BaseException, secret: str = "") -> str:
    """An error of a library in one printable line, without the `secret`."""
    said = str(error).replace(secret, "***") if secret else str(error)
    lines = [line for line in said.splitlines() if line.strip()]
    return f"{type(error).__name__}: {printable(lines[0].strip(), 200)}" if lines else type(error).__name__
