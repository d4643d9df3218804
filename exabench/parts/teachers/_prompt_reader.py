"""How a model in this process reads prompts: as token ids that fit, by its tokenizer and chat template."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from exabench.core.errors import BadInput, PromptsRefused
from exabench.core.files import canonical_json
from exabench.core.nouns import Prompt, Reply
from exabench.core.sqlite_store import chunks
from exabench.models.answers import answer_ids
from exabench.models.templates import ids_of
from exabench.parts.teachers._chat import first_line, plain_text, with_system_in_first_turn

_TAIL = 32
"""Characters before an answer that decide how its first token is spelt: more than the end of any chat template."""


class Asked(NamedTuple):
    """A prompt and the token ids of what the model reads: `ids`, and in an encoder-decoder's decoder `beginning`.

    `choices` are the ids of the prompt's choices.
    """

    prompt: Prompt
    ids: list[int]
    beginning: tuple[int, ...] = ()
    choices: tuple[int, ...] = ()


def prompt_text(tokenizer: Any, prompt: Prompt, values: Mapping[str, Any]) -> tuple[str, bool]:
    """The prompt as the model reads it, up to where its answer begins; does it need the tokenizer's special tokens?

    By the tokenizer's chat template, with the opening of the answer; `values` are further variables of the template.
    One that takes no system turn gets that text at the head of the first user turn. Without a template only the texts
    of the turns, a blank line between them. Raises BadInput for turns that the template refuses.
    """
    asked = prompt.turns
    if prompt.beginning:
        asked = asked[:-1]
    if not getattr(tokenizer, "chat_template", None):
        return plain_text(asked), True
    # Gemma and others raise an error for a system turn.
    for turns in (asked, with_system_in_first_turn(asked)):
        messages = [{"role": role, "content": text} for role, text in turns]
        try:
            text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True, **values)
        except Exception as error:  # a template is a program; what it raises is its own
            failure = error
        else:
            # The template writes the special tokens; the tokenizer would add a second first one.
            return text, False
    raise BadInput(f"the model's chat template refuses the prompt: {first_line(failure)}", id=prompt.id) from failure


@dataclass(frozen=True)
class PromptReader:
    """How a model in this process reads prompts: by its tokenizer, `at_once` of them at a time.

    `values` are further variables of its chat template. A prompt may be answered by `reasoning_tokens` more than it
    asks for, and does not fit where it and its answer have more tokens than `limit` (None: any number). The beginning
    of an answer follows the prompt, or is in the decoder of a model that `encodes` its prompts.
    """

    tokenizer: Any
    values: Mapping[str, Any]
    reasoning_tokens: int
    limit: int | None
    at_once: int
    encodes: bool = False
    _known: dict[tuple[tuple[str, ...], str], tuple[int, ...]] = field(default_factory=dict)

    def read(self, prompts: Iterable[Prompt]) -> Iterator[list[Asked]]:
        """Prompts with their token ids, without those that do not fit.

        For these it raises PromptsRefused once all others have been taken, and BadInput for a choice that is not one
        token of this model.
        """
        refused = {}
        for some in chunks(prompts, self.at_once):
            asked = []
            for prompt in some:
                one = self._read(prompt)
                most = one.prompt.max_tokens or 1  # a choice is one token
                size = len(one.ids)
                if self.limit is None or size + most <= self.limit:
                    asked.append(one)
                else:
                    answer = f"{most} for the answer do not fit the model's {self.limit}"
                    refused[prompt.id] = f"{size} tokens and {answer}"
            yield asked
        if refused:
            raise PromptsRefused(refused)

    def _read(self, prompt: Prompt) -> Asked:
        text, special = prompt_text(self.tokenizer, prompt, self.values)
        begun = prompt.beginning
        if begun and not self.encodes:
            if special:  # a plain text, whose turns are paragraphs
                text += "\n\n"
            text += begun
        ids = self.tokenizer(text, add_special_tokens=special, verbose=False)["input_ids"]
        before = text
        beginning: tuple[int, ...] = ()
        if self.encodes:
            before = begun
            beginning = tuple(ids_of(self.tokenizer, begun))
        choices = self._ids_of(prompt.choices, before[-_TAIL:])
        if not choices:
            # Room for thoughts: the answer itself is as short as the prompt asks for.
            prompt = replace(prompt, max_tokens=prompt.max_tokens + self.reasoning_tokens)
        return Asked(prompt, ids, beginning, choices)

    def _ids_of(self, choices: tuple[str, ...], before: str) -> tuple[int, ...]:
        """The token that each choice is behind the text `before`."""
        if (choices, before) not in self._known:
            self._known[choices, before] = answer_ids(self.tokenizer, choices, before)
        return self._known[choices, before]


def choice_reply(asked: Asked, log_probs: Mapping[str, float]) -> Reply:
    """The reply to a prompt with choices, by the log-probability of each; one that is not finite is left out."""
    finite = {choice: log_prob for choice, log_prob in log_probs.items() if math.isfinite(log_prob)}
    return Reply(asked.prompt.id, canonical_json(finite), "stop", len(asked.ids), 1)
