"""Templates: how the token ids of a query and a passage become one input of a model, cut so that the cue survives.

Texts are tokenised one by one, once for a collection, and glued between a template's literal ids. What is glued equals
the ids of the whole text tokenised at once, because a text is cut out only where tokenizers cut too: at blanks. What
stands right against a field (the quotation marks of ExaRanker, the blank that a byte-level vocabulary keeps with its
word) goes with the text into the tokenizer (`dressed`). Where some tokenizer would still merge across the seam,
the glued ids are the input by definition.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from exabench.core.errors import BadInput

FIELDS = ("query", "passage", "passage_b")
_FIELD = r"\{(query|passage_b|passage)\}"
_BEFORE_FIELD = r"(?!\{(?:query|passage_b|passage)\})"
# What touches a field: for vocabularies that mark where a word begins, the signs up to the next blank; for byte-level
# ones, which keep a blank with the word behind it, the blank before them and the line's end after them too.
_TOUCHING = re.compile(rf"(\S*?){_FIELD}((?:{_BEFORE_FIELD}\S)*)")
_TOUCHING_WITH_BLANKS = re.compile(rf"(\s*\S*?){_FIELD}((?:{_BEFORE_FIELD}\S)*\n*)")
# Each row fills the fields of a template once. The first is made of words that no template uses.
_PROBES = (
    ("zebra", "violin", "marble"),
    ("Why is the sky blue?", "It (the sky) scatters 1.5 times more.", "No."),
    ("7", '"Rayleigh"', "x-ray"),
    ("été", "東京 is 1st", "ß!"),
)
_WORDS = ("zebra", "Violin", "marble.", "7", "(quick)", "ox!")


@dataclass(frozen=True)
class ModelInput:
    """One input of a model: `ids` int32 and, where the model has token types, `types` int8, both `[length]`."""

    ids: np.ndarray
    types: np.ndarray | None
    cut_passage: bool
    cut_query: bool


@dataclass(frozen=True)
class Edges:
    """What stands right against a field: as text, and as the ids that must survive when the field is cut."""

    before: str = ""
    after: str = ""
    head: tuple[int, ...] = ()
    tail: tuple[int, ...] = ()
    strip: bool = False

    def around(self, text: str) -> str:
        """The text as it goes into the tokenizer."""
        return f"{self.before}{text.strip() if self.strip else text}{self.after}"

    @property
    def size(self) -> int:
        """How many ids must survive."""
        return len(self.head) + len(self.tail)


@dataclass(frozen=True)
class Template:
    """Fields (0 = query, 1 = passage, 2 = second passage) between literals; `text` names the template.

    `literals` are the ids before the first field, between fields, and behind the last one, int32 each. Where the model
    has token types, `literal_types` (int8) are theirs and `field_types` those of the fields. `edges` are by field.
    """

    text: str
    fields: tuple[int, ...]
    literals: tuple[np.ndarray, ...]
    literal_types: tuple[np.ndarray, ...] | None = None
    field_types: tuple[int, ...] = ()
    edges: tuple[Edges, ...] = (Edges(), Edges(), Edges())

    def dressed(self, texts: Sequence[str]) -> tuple[str, ...]:
        """The fields' texts as they are to be tokenised, each by itself and without special tokens."""
        return tuple(edges.around(text) for edges, text in zip(self.edges, texts, strict=False))

    def build(self, fields: Sequence[np.ndarray], limit: int) -> ModelInput:
        """The input for the ids of the dressed fields, of at most `limit` tokens.

        The passage is cut first, at its end; two passages to the same length. A query is cut only where it would leave
        less than a quarter of the room to passages that could fill it (all candidates would look alike); it loses its
        beginning, since its end stands next to the cue. Literals are never cut. Raises BadInput where they alone are
        longer than `limit`.
        """
        kept = list(fields)
        if self.fixed + sum(len(fields[field]) for field in self.fields) > limit:
            kept = self._cut(fields, limit - self.fixed)
        ids = [self.literals[0]]
        for field, literal in zip(self.fields, self.literals[1:], strict=True):
            ids.append(kept[field])
            ids.append(literal)
        cut = [len(after) < len(before) for before, after in zip(fields, kept, strict=True)]
        return ModelInput(np.concatenate(ids), self._types([len(part) for part in ids]), any(cut[1:]), cut[0])

    @cached_property
    def fixed(self) -> int:
        """The number of literal ids."""
        return sum(len(literal) for literal in self.literals)

    def _types(self, lengths: Sequence[int]) -> np.ndarray | None:
        if self.literal_types is None:
            return None
        types = [self.literal_types[0]]
        for kind, length, literal in zip(self.field_types, lengths[1::2], self.literal_types[1:], strict=True):
            types.append(np.full(length, kind, np.int8))
            types.append(literal)
        return np.concatenate(types)

    def _cut(self, fields: Sequence[np.ndarray], room: int) -> list[np.ndarray]:
        """The fields in `room` ids."""
        passages = [field for field in self.fields if field > 0]
        if room < sum(self.edges[field].size for field in self.fields):
            raise BadInput(f"max_length {room + self.fixed} is shorter than the template itself; raise it")
        kept = list(fields)
        if 0 in self.fields:
            share = room // (4 * max(1, len(passages)))
            reserved = [max(self.edges[field].size, min(share, len(fields[field]))) for field in passages]
            kept[0] = _end_of(fields[0], room - sum(reserved), self.edges[0])
            room -= len(kept[0])
        spare = room - sum(self.edges[field].size for field in passages)
        lengths = [max(0, len(fields[field]) - self.edges[field].size) for field in passages]
        for field, length in zip(passages, _even(lengths, spare), strict=True):
            kept[field] = _start_of(fields[field], length + self.edges[field].size, self.edges[field])
        return kept


def text_template(
    text: str, tokenizer: Any, *, special: bool = True, needs: Sequence[str] = ("query", "passage")
) -> Template:
    """The template that `text` spells with {query}, {passage} and {passage_b}; `special`: with bos, eos and the like.

    Raises BadInput where a field that it `needs` is missing, one is there twice, or so close to the next word that it
    cannot be cut out.
    """
    names = re.findall(_FIELD, text)
    if not set(needs) <= set(names) or len(set(names)) < len(names):
        raise BadInput(f"template {text!r} must name {' and '.join(f'{{{name}}}' for name in needs)}, each once")
    fields = [FIELDS.index(name) for name in names]

    def encode(texts: Sequence[str]) -> Any:
        filled = re.sub(_FIELD, lambda match: texts[FIELDS.index(match[1])], text)
        return tokenizer(filled, add_special_tokens=special)

    best: Template | None = None
    most_exact = 0
    for touching in (_TOUCHING, _TOUCHING_WITH_BLANKS):
        edges = _edges_in(text, touching, tokenizer)
        template = _glued_template(text, encode, fields, edges, tokenizer)
        if template is not None and (exact := _exact_probes(template, encode, tokenizer)) > most_exact:
            best = template
            most_exact = exact
    if best is None:
        raise BadInput(f"template {text!r}: this tokenizer merges a field with its neighbours; put blanks between them")
    return best


def pair_template(tokenizer: Any) -> Template:
    """Query and passage as the tokenizer itself makes a pair of them, [CLS] q [SEP] p [SEP] or whatever it does."""
    bare = (Edges(), Edges(), Edges())
    template = _glued_template("pair", lambda texts: tokenizer(texts[0], texts[1]), [0, 1], bare, tokenizer)
    if template is None:
        raise BadInput("this tokenizer does not keep the two texts of a pair in order; take a reranker with a template")
    return template


def ids_of(tokenizer: Any, text: str) -> list[int]:
    """The ids of a text by itself, without special tokens."""
    return list(tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])


def ends_of(tokenizer: Any) -> tuple[np.ndarray, np.ndarray]:
    """The special tokens before and behind a single text, int32."""
    template = text_template("{query}", tokenizer, needs=("query",))
    return template.literals[0], template.literals[1]


def _glued_template(
    text: str, encode: Callable[[Sequence[str]], Any], fields: Sequence[int], edges: Sequence[Edges], tokenizer: Any
) -> Template | None:
    """The template whose literals are what the first probe's ids hold beside its fields; None where they hold no field.

    Literals are read off a whole text because alone some of them would be tokenised otherwise.
    """
    encoded = encode(_PROBES[0])
    ids = list(encoded["input_ids"])
    types = encoded.get("token_type_ids")
    literals: list[slice] = []
    field_types: list[int] = []
    end = 0
    for field in fields:
        part = ids_of(tokenizer, edges[field].around(_PROBES[0][field]))
        start = _find(part, ids, end)
        if start < 0:
            return None
        literals.append(slice(end, start))
        field_types.append(types[start] if types else 0)
        end = start + len(part)
    literals.append(slice(end, None))
    return Template(
        text,
        tuple(fields),
        tuple(np.array(ids[place], np.int32) for place in literals),
        tuple(np.array(types[place], np.int8) for place in literals) if types else None,
        tuple(field_types),
        tuple(edges),
    )


def _exact_probes(template: Template, encode: Callable[[Sequence[str]], Any], tokenizer: Any) -> int:
    """On how many probes the glued ids are those of the whole text."""
    exact = 0
    for probe in _PROBES:
        fields = [np.array(ids_of(tokenizer, text), np.int32) for text in template.dressed(probe)]
        stripped = [text.strip() if edges.strip else text for edges, text in zip(template.edges, probe, strict=True)]
        exact += template.build(fields, 1 << 30).ids.tolist() == list(encode(stripped)["input_ids"])
    return exact


def _find(part: Sequence[int], ids: Sequence[int], start: int) -> int:
    """Where `part` begins in `ids`, at `start` or later; -1 where it does not."""
    for place in range(start, len(ids) - len(part) + 1):
        if ids[place : place + len(part)] == part:
            return place
    return -1


def _edges_in(text: str, touching: re.Pattern[str], tokenizer: Any) -> tuple[Edges, ...]:
    """The edges of each field. What stands between two fields without a blank belongs to the first of them."""
    edges = [Edges(), Edges(), Edges()]
    for before, name, after in touching.findall(text):
        head: Sequence[int] = ()
        tail: Sequence[int] = ()
        strip = touching is _TOUCHING_WITH_BLANKS
        rows = [ids_of(tokenizer, f"{before}{word}{after}") for word in _WORDS]
        if before.strip():
            head = os.path.commonprefix(rows)
        if after:
            tail = os.path.commonprefix([row[::-1] for row in rows])[::-1]
        edges[FIELDS.index(name)] = Edges(before, after, tuple(head), tuple(tail), strip)
    return tuple(edges)


def _start_of(ids: np.ndarray, length: int, edges: Edges) -> np.ndarray:
    """The first `length` ids, the last of which are the tail."""
    if len(ids) <= length:
        return ids
    return np.concatenate([ids[: length - len(edges.tail)], np.array(edges.tail, np.int32)])


def _end_of(ids: np.ndarray, length: int, edges: Edges) -> np.ndarray:
    """The last `length` ids, the first of which are the head."""
    if len(ids) <= length:
        return ids
    start = len(ids) - (length - len(edges.head))
    return np.concatenate([np.array(edges.head, np.int32), ids[start:]])


def _even(lengths: Sequence[int], room: int) -> list[int]:
    """Lengths cut to `room` in all: the longest give way first, down to the same length."""
    cut = list(lengths)
    left = room
    shortest_first = sorted(range(len(lengths)), key=lambda i: lengths[i])
    for done, i in enumerate(shortest_first):
        cut[i] = min(lengths[i], left // (len(lengths) - done))
        left -= cut[i]
    return cut
