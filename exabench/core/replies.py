"""What a language model's reply says: the answer without reasoning, special tokens and wrappers around it.

Servers and engines give the text of a model as it wrote it, and models write more than their answer. In order:

1. reasoning in front of the answer is left out, in any of the forms of REASONING, with or without its opening
   tag, and in the channels of gpt-oss (openai/harmony); reasoning that is opened and not closed means that the reply
   was cut before its answer
2. special tokens at the end (`<|im_end|>`, `</s>`) are left out
3. an `<answer>` element, a code fence, or JSON of one text around the whole answer is taken off

The raw text is what stores and releases keep. Every pattern here runs in linear time. A reply that is not an answer
but says how likely some words come next is read by `read_log_probs`.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

COMPLETE = ("", "stop", "eos", "eos_token", "stop_sequence", "end_turn", "complete")
"""The finish reasons, in small letters, after which a reply is whole; "" where a server gives none.

OpenAI says stop, TGI eos_token and stop_sequence, Anthropic end_turn, Cohere COMPLETE. Whatever else a server says
(length, content_filter, model_length, abort, error, ...), the reply may end in the middle of a sentence.
"""

REASONING = (
    ("<think>", "</think>"),
    ("<thinking>", "</thinking>"),
    ("<thought>", "</thought>"),
    ("<reasoning>", "</reasoning>"),
    ("<seed:think>", "</seed:think>"),
    ("[THINK]", "[/THINK]"),
    ("<|begin_of_thought|>", "<|end_of_thought|>"),
    ("\u25c1think\u25b7", "\u25c1/think\u25b7"),
)
"""Opening and closing tags of reasoning: of Qwen3, DeepSeek-R1 and their kin, Magistral, Seed, Sky-T1, Kimi."""

_FINAL_CHANNEL = re.compile(r"<\|channel\|>final(?:[^<]*+)<\|message\|>")
_CHANNEL = re.compile(r"\s*+(?:<\|start\|>assistant)?+<\|channel\|>")
# The same with its special tokens left out, as engines decode it.
_BARE_FINAL_CHANNEL = "assistantfinal"
_BARE_CHANNEL = re.compile(r"\s*+analysis(?![\s:])")
_SPECIAL_TOKEN = re.compile(
    r"(?:<\|[^<>|\s]{1,40}\|>|<\uff5c[^<>\uff5c\s]{1,40}\uff5c>|</s>|<eos>|<end_of_turn>|\[/?INST\])\Z"
)
_LONGEST_TOKEN = 50
"""Characters that no special token exceeds."""
_ANSWER = re.compile(r"<answer>([^<]*+(?:<(?!/?answer>)[^<]*+)*+)</answer>", re.IGNORECASE)
_SOLUTION = re.compile(r"<\|begin_of_solution\|>|<\|end_of_solution\|>")
_SPACES = " \t\n\u2581\u0120"
"""Around a token: also as vocabularies write a space (SentencePiece, byte-level BPE)."""
_LEAST_LOG_PROB = -1e9
"""What is below says that a token cannot come."""
_FENCE = re.compile(r"```(?:[\w+-]*+[ \t]*+\n)?+([^`]*+)```")  # a language only before a line end


class Reading(NamedTuple):
    """The answer of a reply, and whether its reasoning was opened and not closed, so that an answer never came."""

    answer: str
    unfinished: bool


class Likelihoods(NamedTuple):
    """The log-probability of each choice, and how many of them a reply does not list.

    One that is not listed is at most as likely as the least likely token that is, and has its log-probability.
    """

    log_probs: list[float]
    missing: int


def is_complete(finish: str) -> bool:
    """Is a reply that ended for this reason whole?"""
    return finish.lower() in COMPLETE


def read_reply(text: str) -> Reading:
    """The answer that a raw text holds. Never raises; reading an answer again gives the same."""
    answer, unfinished = _without_reasoning(text)
    answer = answer.strip()
    before = None
    while answer != before:  # one wrapper may be inside another
        before = answer
        answer = _without_wrapper(_without_special_tokens(answer))
    return Reading(answer, unfinished)


def text_of_json(answer: str, *names: str) -> str:
    """The text that a JSON object holds under the first of these names that it has; else `answer` as it is."""
    value = _json_value(answer)
    if isinstance(value, dict):
        for name in names:
            if isinstance(value.get(name), str):
                return str(value[name]).strip()
    return answer


def read_log_probs(text: str, choices: Sequence[str]) -> Likelihoods:
    """How likely each choice is, by a JSON object of tokens that may come next and their log-probabilities.

    A token stands for the choice that it is but for spaces around it; of several the likeliest counts. Never raises:
    in a text that is no such object every choice is missing.
    """
    listed: dict[str, float] = {}
    value = _json_value(text)
    if isinstance(value, dict):
        for token, log_prob in value.items():
            choice = token.strip(_SPACES)
            is_one = type(log_prob) in (int, float) and _LEAST_LOG_PROB < log_prob < 1  # rounded, it may exceed 0
            if is_one and log_prob > listed.get(choice, -math.inf):
                listed[choice] = float(log_prob)
    least = min(listed.values(), default=0.0)
    log_probs = [listed.get(choice, least) for choice in choices]
    return Likelihoods(log_probs, sum(choice not in listed for choice in choices))


def _without_reasoning(text: str) -> tuple[str, bool]:
    """The text behind its reasoning, and whether the reasoning has no end."""
    # The last one: a model may think again after a first answer.
    *_, last = [None, *_FINAL_CHANNEL.finditer(text)]
    if last is not None:
        return text[last.end() :], False
    if _CHANNEL.match(text):
        return "", True
    if _BARE_CHANNEL.match(text) and _BARE_FINAL_CHANNEL in text:
        return text[text.rindex(_BARE_FINAL_CHANNEL) + len(_BARE_FINAL_CHANNEL) :], False

    lowered = text.lower()
    if len(lowered) != len(text):  # places in the one would not be places in the other
        lowered = text
    for opening, closing in REASONING:
        opening = opening.lower()
        closing = closing.lower()
        first = _line_start(lowered, opening)
        end = lowered.rfind(closing)  # the last: there may be several blocks, or the tag among the thoughts
        if end >= 0:
            anywhere = lowered.find(opening)
            # A tag in the middle of a line, and the closing one behind it, are what a text about tags holds.
            is_mention = first < 0 and 0 <= anywhere < end
            if not is_mention:  # with a closing tag only, the chat template wrote the opening one
                text = text[end + len(closing) :]
                lowered = lowered[end + len(closing) :]
                first = _line_start(lowered, opening)
        if first >= 0:  # opened again, or never closed
            return text[:first], True
    return text, False


def _line_start(text: str, tag: str) -> int:
    """Where `tag` first begins a line, blanks aside; -1 if nowhere."""
    place = text.find(tag)
    while place >= 0:
        line = text.rfind("\n", 0, place) + 1
        if not text[line:place].strip():
            return place
        place = text.find(tag, place + 1)
    return -1


def _without_special_tokens(text: str) -> str:
    """The text without the special tokens at its end."""
    end = len(text)
    while True:
        while end and text[end - 1].isspace():
            end -= 1
        token = _SPECIAL_TOKEN.search(text, max(0, end - _LONGEST_TOKEN), end)
        if token is None:
            return text[:end].strip()
        end = token.start()


def _without_wrapper(text: str) -> str:
    """The text inside of what is wrapped around all of it, one layer; the text itself where there is none."""
    text = _SOLUTION.sub("", text).strip()
    answers = _ANSWER.findall(text)
    if answers:  # models explain themselves before and behind it
        return str(answers[-1]).strip()
    fence = _FENCE.fullmatch(text)  # around all of it: a fence inside of an answer belongs to the answer
    if fence:
        return fence[1].strip()
    value = _json_value(text)
    if isinstance(value, dict):
        if len(value) == 1:
            [value] = value.values()
        else:
            value = value.get("answer")  # of any other key a reader must know which one it wants
    if isinstance(value, str):
        return value.strip()
    return text


def _json_value(text: str) -> Any:
    """What a text that is a JSON object or string says; None for any other."""
    if text[:1] not in ("{", '"'):
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
