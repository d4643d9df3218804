"""LogitScore: what a causal reranker of sentence-transformers says of itself in its folder.

Its chat template puts query and document, two roles, into one input, and its score is the logit of one token, or the
difference of two (sentence_transformers 6.2, cross_encoder/model.py and cross_encoder/modules/logit_score.py).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from exabench.core.errors import BadInput, printable
from exabench.core.files import read_json, read_text, write
from exabench.models.families import Family
from exabench.models.modules import OF_MODEL, OF_TRANSFORMER, saved_settings, settings_in
from exabench.models.screening import modules_in

MODULES = ["Transformer", "LogitScore"]
WORDS = ("yes", "no")
"""The tokens that are read where a folder has a chat template of query and document, but no modules.json."""

SETTINGS = ("modules.json", OF_TRANSFORMER, OF_MODEL)
# Settings of a chat template that concern the tokenizer, which is not asked to cut or to pad here.
_OF_TOKENIZER = ("padding", "truncation", "max_length", "return_tensors", "restore_suffix")
_OF_CALL = ("tokenize", "return_dict", "conversation", "tokenizer_kwargs")
# By these words in a chat template sentence-transformers tells that a content is a list of parts, and not a text.
_OF_PARTS = ("content[0]", ".type", "'type'", '"type"', "item.type", "message.content[")


class LogitScore(NamedTuple):
    """The tokens that are read, positive first (none: WORDS), the prompt of its system turn, and its chat template's
    settings.

    `in_parts`: is the content of a turn a list of parts? `chat`: is there a chat template? `max_length`: 0 where it is
    the tokenizer's.
    """

    tokens: tuple[int, ...]
    prompt: str
    settings: Mapping[str, Any]
    in_parts: bool
    chat: bool
    max_length: int

    def family(self) -> Family:
        """What is answered and how it is scored; what is asked is the folder's chat template."""
        return Family(
            about="what the folder says of itself",
            reranker="yes_no",
            template="",
            answers=WORDS,
            answer_ids=self.tokens,
            strategy="logit" if len(self.tokens) == 1 else "difference",
            max_length=self.max_length,
        )

    def turns(self, instruction: str = "") -> list[dict[str, Any]]:
        """The turns of an input, {query} and {passage} in place of the texts."""
        turns = []
        prompt = instruction or self.prompt
        if prompt:
            turns.append(("system", prompt))
        turns += [("query", "{query}"), ("document", "{passage}")]
        shaped: list[dict[str, Any]] = []
        for role, text in turns:
            content: Any = text
            if self.in_parts:
                content = [{"type": "text", "text": text}]
            shaped.append({"role": role, "content": content})
        return shaped


def chat_template_in(folder: Path) -> str:
    """The chat template of a folder's tokenizer, "" without one."""
    # The order of transformers: a file for the template alone comes before the key of the tokenizer's settings.
    file = folder / "chat_template.jinja"
    if file.is_file():
        return read_text(file)
    for name in ("chat_template.json", "tokenizer_config.json"):
        if (folder / name).is_file():
            values = read_json(folder / name)
            if isinstance(values, Mapping) and values.get("chat_template"):
                return str(values["chat_template"])
    return ""


def has_logit_score(folder: Path) -> bool:
    """Does modules.json list a LogitScore? What else it lists is not looked at."""
    file = folder / "modules.json"
    if not file.is_file():
        return False
    listed = read_json(file)
    modules = listed if isinstance(listed, list) else []
    return any(str(module.get("type")).endswith(".LogitScore") for module in modules if isinstance(module, Mapping))


def read_logit_score(folder: Path) -> LogitScore | None:
    """What a folder with a LogitScore says, or one whose chat template names both roles; None for any other.

    Raises BadInput for one that sentence-transformers would not read as a causal language model.
    """
    chat = chat_template_in(folder)
    tokens: tuple[int, ...] = ()
    if has_logit_score(folder):
        listed = modules_in(folder)
        kinds = [kind for kind, _ in listed]
        if kinds != MODULES or listed[0][1]:
            raise BadInput(f"lists {', '.join(kinds)}; {' and '.join(MODULES)} are read", file=folder / "modules.json")
        tokens = _tokens_in(folder / listed[1][1] / "config.json")
    elif not all(f"'{role}'" in chat or f'"{role}"' in chat for role in ("query", "document")):
        return None

    file = folder / OF_TRANSFORMER
    saved = saved_settings(folder)
    task = saved.transformer.get("transformer_task", "text-generation")
    if task != "text-generation" or saved.lower:
        raise BadInput("is not for a causal language model (transformer_task text-generation)", file=file)
    own = dict(saved.processing.get("chat_template") or {})
    # A template is filled in without the tokenizer here, and inputs are cut where the engine cuts them.
    for name in _OF_TOKENIZER:
        own.pop(name, None)
    for name in own:
        if name in _OF_CALL:
            raise BadInput(f"sets {printable(name)} of a chat template, which is not supported", file=file)
    max_length = (saved.processing.get("text") or {}).get("max_length") or saved.most

    form = "auto"
    if saved.forms is not None:
        form = (saved.forms.get("message") or {}).get("format", "auto")
        if "message" not in saved.forms:  # the template is there, and is not used
            chat = ""
    in_parts = form == "structured"
    if form == "auto":  # sentence-transformers guesses it from the template, and so must we
        in_parts = any(words in chat for words in _OF_PARTS)

    return LogitScore(tokens, saved.prompt, own, in_parts, bool(chat), int(max_length))


def copy_settings(source: Path, to: Path) -> None:
    """Copy the settings of a folder's modules, so that sentence-transformers reads a model fitted from it alike."""
    names = list(SETTINGS)
    for kind, inside in modules_in(source):
        if kind == "LogitScore":
            names.append(f"{inside}/config.json")
    for name in names:
        if (source / name).is_file():
            write(to / name, read_text(source / name))


def _tokens_in(file: Path) -> tuple[int, ...]:
    values = settings_in(file)
    tokens = []
    for name in ("true_token_id", "false_token_id"):
        if values.get(name) is not None:
            tokens.append(values[name])
    if values.get("true_token_id") is None or not all(type(token) is int and token >= 0 for token in tokens):
        raise BadInput(f"is not the settings of a LogitScore: {printable(json.dumps(values))}", file=file)
    return tuple(tokens)
