"""Hypotheses: what servers get wrong, each as one thing of the reference that is changed.

A hypothesis is a function of what is known of the reference. It gives variations, none where the model does not have
the thing. To add one, write its function and put it into CAUSES under the name that people read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from exabench.bench.parity._pairs import FrozenPair
from exabench.bench.parity._readings import OF_TWO, Curve, sigmoid
from exabench.core.nouns import ModelFolder, Passage, Query
from exabench.hub.client import settings_of
from exabench.models.families import Family, families, usual_family
from exabench.models.logit_score import LogitScore, read_logit_score

LENGTHS = (128, 256, 384, 512, 1024, 2048, 4096, 8192)
"""Limits of tokens that servers and folders are set to."""

BEGINNING = "{bos}"
_ASKED = ("monot5", "rankt5", "yes_no")  # the parts that ask a language model, and read what it answers
_WORDS = (("yes", "no"), ("Yes", "No"), ("true", "false"), ("True", "False"), ("1", "0"))
_PLAIN = ("{query} {passage}", "{query}\n{passage}", "Query: {query} Document: {passage}")
_OF_EMBEDDERS = (("query: ", "passage: "),)


@dataclass(frozen=True)
class Known:
    """What hypotheses know of the reference: the part that reads the model, its options, and what it says of itself.

    `options` say everything that decides a score; a variation replaces some of them.
    """

    part: str
    options: Mapping[str, Any]
    identity: Mapping[str, Any]

    @property
    def max_length(self) -> int:
        """The most tokens that it reads."""
        return int(self.identity["max_length"])

    @property
    def has_two(self) -> bool:
        """Is a score the difference of two labels or two answers?"""
        return self.identity["strategy"] in OF_TWO

    @property
    def template(self) -> str | list[str]:
        """The template of its input, as the option takes it; empty where the tokenizer makes the pair."""
        text = str(self.identity["template"])
        if self.part == "bi_encoder" or "{passage}" not in text:
            return ""
        if text.startswith("["):  # one in pieces
            return list(json.loads(text))
        return text

    @property
    def prompts(self) -> tuple[str, str]:
        """What a bi-encoder puts before a query and before a passage."""
        query, _, passage = str(self.identity["template"]).partition("{query} | ")
        return query, passage.removesuffix("{passage}")

    @cached_property
    def folder(self) -> ModelFolder:
        """The settings of the model, without its weights."""
        model = str(self.options["model"])
        return ModelFolder(model, settings_of(model, str(self.options.get("revision", ""))), "")

    @cached_property
    def tokenizer(self) -> Any:
        """The model's tokenizer."""
        from exabench.models.loading import tokenizer_of

        return tokenizer_of(self.folder)

    @cached_property
    def own(self) -> LogitScore | None:
        """What the folder of a causal reranker says of itself."""
        if self.part != "yes_no" or self.options.get("family"):
            return None
        return read_logit_score(self.folder.path)

    @cached_property
    def family(self) -> Family:
        """How a model that is asked is asked, by its family or its folder."""
        if self.own is not None:
            return self.own.family()
        return usual_family(self.part, self.folder.name, str(self.options.get("family", "")))

    @property
    def instruction(self) -> str:
        """The instruction in its template."""
        usual = self.family.instruction
        if self.own is not None:
            usual = self.own.prompt
        return str(self.options.get("instruction") or usual)


def _same(pair: FrozenPair) -> FrozenPair:
    return pair


@dataclass(frozen=True)
class Variation:
    """The reference with one thing changed: some `options`, or the texts of each pair.

    `cuts` is whether it says what becomes of long passages; the others are judged by short ones, since where a wrong
    input is cut is one more thing that a server decides.
    """

    detail: str
    options: Mapping[str, Any] = field(default_factory=dict)
    change: Callable[[FrozenPair], FrozenPair] = _same
    cuts: bool = False


Hypothesis = Callable[[Known], Iterator[Variation]]


class Squashing(NamedTuple):
    """A mistake with nothing but the scores: the curve from the model's scores to the served ones."""

    detail: str
    curve: Curve
    needs_two: bool = False  # labels or answers


# -- the scores ------------------------------------------------------------------------------------------------------


def _twice(scores: np.ndarray) -> np.ndarray:
    return sigmoid(sigmoid(scores))


def _other_raw(scores: np.ndarray) -> np.ndarray:
    return -scores


def _other(scores: np.ndarray) -> np.ndarray:
    return sigmoid(-scores)


SIGMOID = "sigmoid"
"""The cause where squashed scores tie that the model tells apart."""

SQUASHED: Mapping[str, Sequence[Squashing]] = {
    "sigmoid twice": [Squashing("served = sigmoid(sigmoid(score))", _twice)],
    "label order inverted": [
        Squashing("the other label's probability is served", _other, needs_two=True),
        Squashing("the score of the other label is served", _other_raw, needs_two=True),
    ],
}


# -- the input -------------------------------------------------------------------------------------------------------


def _length_limit(known: Known) -> Iterator[Variation]:
    for length in LENGTHS:
        if length != known.max_length:
            yield Variation(f"{length} tokens", {"max_length": length}, cuts=True)


def _cue_cut_off(known: Known) -> Iterator[Variation]:
    """The whole prompt is one text, which loses its end: as the passage of a template without any other word."""
    template = known.template
    if not template:
        return
    pieces = [template] if isinstance(template, str) else template
    words = "".join(piece for piece in pieces if piece != BEGINNING)
    if words.endswith("{passage}"):
        return

    def whole(pair: FrozenPair) -> FrozenPair:
        filled = words.replace("{query}", pair.query.text, 1).replace("{passage}", pair.passage.text, 1)
        return FrozenPair(Query(pair.query.id, ""), Passage(pair.passage.id, filled), pair.long)

    # The query is empty, so that nothing but the filled prompt is read, between the tokenizer's own special tokens.
    bare: str | list[str] = "{passage} {query}"
    if isinstance(template, list) or known.part == "yes_no":
        bare = [BEGINNING, "{passage}", "{query}"]
    for length in (known.max_length, *LENGTHS):
        if length <= known.max_length:
            changed = {**_asked_with(known, bare), "max_length": length}
            yield Variation(f"the prompt's end is lost beyond {length} tokens", changed, whole, cuts=True)


def _swapped(known: Known) -> Iterator[Variation]:
    def swap(pair: FrozenPair) -> FrozenPair:
        # Each query is another one now, and so is each list.
        id = f"{pair.query.id} {pair.passage.id}"
        return FrozenPair(Query(id, pair.passage.text), Passage(pair.query.id, pair.query.text), pair.long)

    yield Variation("the passage is sent as the query", change=swap)


def _wrong_template(known: Known) -> Iterator[Variation]:
    if known.part not in (*_ASKED, "cross_encoder"):
        return
    templates: list[Any] = list(_PLAIN)
    separator = known.tokenizer.sep_token
    if separator and not known.template:
        templates.append(f"{{query}} {separator} {{passage}}")  # as the pair, but all tokens are of one type
    for family in families().values():
        if family.reranker in (*_ASKED, "cross_encoder"):
            template = family.asked().template
            templates.append(template if isinstance(template, str) else list(template))
    tried = [known.template]
    for template in templates:
        if template in tried:  # many families have one
            continue
        tried.append(template)
        shown = json.dumps("".join(template), ensure_ascii=False)
        for options in _ways_to_ask(known, template):
            yield Variation(shown, options)
    if known.part == "yes_no":
        yield Variation("the chat template around exabench's own question", {"family": "yes_no", "chat": True})


def _instruction_missing(known: Known) -> Iterator[Variation]:
    if known.part != "yes_no" or not known.instruction or not known.template:
        return
    template = known.template
    pieces = [template] if isinstance(template, str) else template
    lines = re.compile(rf"[^\n]*{re.escape(known.instruction)}[^\n]*\n?")
    without = [
        ("the instruction is left empty", [piece.replace(known.instruction, "") for piece in pieces]),
        ("the line of the instruction is left out", [lines.sub("", piece) for piece in pieces]),
    ]
    own = known.own
    if own is not None and own.chat:
        from exabench.models.templates import chat_template

        turns = own._replace(prompt="").turns()
        text = chat_template(turns, known.tokenizer, **own.settings).text
        without.append(("there is no system turn", [text]))
    for detail, changed in without:
        given: str | list[str] = [piece for piece in changed if piece]
        if isinstance(template, str):
            [given] = changed
        yield Variation(detail, _asked_with(known, given))
    if known.options.get("instruction"):
        yield Variation("the usual instruction in place of yours", {"instruction": ""})


def _wrong_answer(known: Known) -> Iterator[Variation]:
    if known.part not in _ASKED:
        return
    if known.has_two:
        yield Variation("only the logit of the first answer", {"strategy": "logit"})
    asked = _answers(known)
    spelt = []
    # A server reads a near relative: another case, a space more or less, or the words of another family.
    for words in (asked, *_WORDS):
        for change in (str, str.strip, str.capitalize, str.lower, _behind_a_space):
            answers = [change(word) for word in words[: len(asked)]]
            if answers not in spelt:
                spelt.append(answers)
    for answers in spelt:
        if known.part != "yes_no":
            answers = [f"▁{word.strip(' ▁')}" for word in answers]
        shown = " and ".join(map(repr, answers))
        yield Variation(shown, {"answers": answers})
        if isinstance(known.template, str) and known.part == "yes_no":
            # In pieces an answer is read as it is spelt, whatever stands before it.
            yield Variation(shown, {"answers": answers, "template": [BEGINNING, known.template]})


def _behind_a_space(word: str) -> str:
    return f" {word.strip()}"


def _one_label(known: Known) -> Iterator[Variation]:
    if known.part == "cross_encoder" and known.has_two:
        yield Variation("the logit of the relevant label, without the other one's", {"strategy": "logit"})


def _wrong_pooling(known: Known) -> Iterator[Variation]:
    if known.part == "bi_encoder":
        for pooling in ("cls", "mean", "lasttoken"):
            yield Variation(pooling, {"pooling": pooling})


def _prefix_missing(known: Known) -> Iterator[Variation]:
    if known.part != "bi_encoder":
        return
    query, passage = known.prompts
    if query:
        yield Variation(f"{query!r} before queries", {"query_prompt": ""})
    if passage:
        yield Variation(f"{passage!r} before passages", {"passage_prompt": ""})
    if query and passage:
        yield Variation(f"{query!r} and {passage!r}", {"query_prompt": "", "passage_prompt": ""})


def _wrong_prefix(known: Known) -> Iterator[Variation]:
    if known.part != "bi_encoder":
        return
    query, passage = known.prompts
    if query != passage:
        yield Variation(f"{query!r} before passages, too", {"passage_prompt": query})
    for before_query, before_passage in _OF_EMBEDDERS:
        changed = {"query_prompt": before_query, "passage_prompt": before_passage}
        yield Variation(f"{before_query!r} and {before_passage!r}", changed)


LENGTH = "length limit"

CAUSES: Mapping[str, Hypothesis] = {
    "prompt prefix missing": _prefix_missing,
    "wrong pooling": _wrong_pooling,
    "one label of two": _one_label,
    "instruction missing": _instruction_missing,
    "query and passage swapped": _swapped,
    LENGTH: _length_limit,
    "cue cut off": _cue_cut_off,
    "wrong prompt prefix": _wrong_prefix,
    "wrong template": _wrong_template,
    "wrong answer token": _wrong_answer,
}
"""Hypotheses by cause, in the order in which they are tried: the cheap ones first."""


# -- what a model is asked and answers -------------------------------------------------------------------------------


def _answers(known: Known) -> list[str]:
    """The words that are read, positive first: those of the family, or of its token numbers."""
    given = known.options.get("answers")
    if given:
        return list(given)
    if not known.family.answer_ids:
        return list(known.family.answers)
    return [str(known.tokenizer.decode([id])) for id in known.family.answer_ids]


def _asked_with(known: Known, template: str | list[str]) -> dict[str, Any]:
    """The options for another template with the same answers and limit."""
    changed: dict[str, Any] = {"template": template, "max_length": known.max_length}
    if known.part == "yes_no":
        changed |= {"instruction": "", "chat": False}
        if not known.family.answer_ids:  # these stay as they are whatever the template
            changed["answers"] = _answers(known)
    return changed


def _ways_to_ask(known: Known, template: str | list[str]) -> Iterator[dict[str, Any]]:
    """The options of a template: with answers that follow its last word, and with answers as they are spelt."""
    changed = _asked_with(known, template)
    yield changed
    if known.part == "yes_no" and isinstance(template, str):
        yield {**changed, "template": [BEGINNING, template]}
