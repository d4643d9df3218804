"""Templates: how the token ids of a query and a passage become one input of a model, cut so that the cue survives.

Texts are tokenised one by one, once for a collection, and glued between a template's literal ids. What is glued equals
the ids of the whole text tokenised at once, because a text is cut out only where tokenizers cut too: at blanks. What
stands right against a field (the quotation marks of ExaRanker, the blank that a byte-level vocabulary keeps with its
word) goes with the text into the tokenizer (`dressed`). Where some tokenizer would still merge across the seam,
the glued ids are the input by definition.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from typing import Any

import numpy as np

from exabench.errors import BadInput

FIELDS = ("query", "passage", "passage_b")
_FIELD = re.compile(r"\{(query|passage_b|passage)\}")
# Each row fills the fields of a template once. The first is made of words that no template uses.
_PROBES = (
    ("zebra", "violin", "marble"),
    ("Why is the sky blue?", "It (the sky) scatters 1.5 times more.", "No."),
    ("7", '"Rayleigh"', "x-ray"),
    ("été", "東京 is 1st", "ß!"),
)
_WORDS = ("zebra", "Violin", "marble.", "7", "(quick)", "ox!")


@dataclass(frozen=True)
class Item:
    """One input of a model: `ids` int32 and, where the model has token types, `types` int8, both `[length]`."""

    ids: np.ndarray
    types: np.ndarray | None
    cut_passage: bool
    cut_query: bool


@dataclass(frozen=True)
class Dress:
    """What stands right against a field: as text, and as the ids that must survive when the field is cut."""

    before: str = ""
    after: str = ""
    head: tuple[int, ...] = ()
    tail: tuple[int, ...] = ()
    strip: bool = False

    def put_on(self, text: str) -> str:
        """The text as it goes into the tokenizer."""
        return f"{self.before}{text.strip() if self.strip else text}{self.after}"


@dataclass(frozen=True)
class Template:
    """Literal ids and fields (0 = query, 1 = passage, 2 = second passage), in order; `text` names it."""

    text: str
    pieces: tuple[tuple[int, ...] | int, ...]
    types: tuple[int, ...] | None = None
    dress: tuple[Dress, ...] = (Dress(), Dress(), Dress())

    def dressed(self, texts: Sequence[str]) -> tuple[str, ...]:
        """The fields' texts as they are to be tokenised, each by itself and without special tokens."""
        return tuple(dress.put_on(text) for dress, text in zip(self.dress, texts, strict=False))

    def build(self, fields: Sequence[np.ndarray], limit: int) -> Item:
        """The input for the ids of the dressed fields, of at most `limit` tokens.

        The passage is cut first, at its end; two passages to the same length. A query is cut only where it would leave
        less than a quarter of the room to passages that could fill it (all candidates would look alike); it loses its
        beginning, since its end stands next to the cue. Literals are never cut. Raises BadInput where they alone are
        longer than `limit`.
        """
        over = self.fixed + sum(len(fields[field]) for field in self.fields) - limit
        kept = list(fields) if over <= 0 else self._cut(fields, limit - self.fixed)
        parts = [kept[piece] if isinstance(piece, int) else piece for piece in self._parts]
        shorter = [len(after) < len(before) for before, after in zip(fields, kept, strict=True)]
        return Item(np.concatenate(parts), self._types_of(parts), any(shorter[1:]), shorter[0])

    @cached_property
    def fields(self) -> tuple[int, ...]:
        """The numbers of the fields that the template names."""
        return tuple(piece for piece in self.pieces if isinstance(piece, int))

    @cached_property
    def fixed(self) -> int:
        """The number of literal ids."""
        return sum(len(piece) for piece in self.pieces if not isinstance(piece, int))

    @cached_property
    def _parts(self) -> tuple[np.ndarray | int, ...]:
        return tuple(piece if isinstance(piece, int) else np.array(piece, np.int32) for piece in self.pieces)

    def _types_of(self, parts: Sequence[np.ndarray]) -> np.ndarray | None:
        if self.types is None:
            return None
        return np.repeat(np.array(self.types, np.int8), [len(part) for part in parts])

    def _cut(self, fields: Sequence[np.ndarray], room: int) -> list[np.ndarray]:
        least = [len(dress.head) + len(dress.tail) for dress in self.dress]
        passages = [field for field in self.fields if field > 0]
        if room < sum(least[field] for field in self.fields):
            raise BadInput(f"max_length {room + self.fixed} is shorter than the template itself; raise it")
        kept = list(fields)
        if 0 in self.fields:
            share = room // (4 * max(1, len(passages)))
            kept[0] = self._end_of(fields[0], room - sum(self._floor(field, fields, share) for field in passages))
            room -= len(kept[0])
        spare = room - sum(least[field] for field in passages)
        longer = [max(0, len(fields[field]) - least[field]) for field in passages]
        for field, more in zip(passages, _even(longer, spare), strict=True):
            kept[field] = self._start_of(field, fields[field], least[field] + more)
        return kept

    def _floor(self, field: int, fields: Sequence[np.ndarray], share: int) -> int:
        """What no query may take from a passage: its dress, and a share of the room as far as it has text."""
        dress = self.dress[field]
        return max(len(dress.head) + len(dress.tail), min(share, len(fields[field])))

    def _start_of(self, field: int, ids: np.ndarray, length: int) -> np.ndarray:
        tail = self.dress[field].tail
        return ids if len(ids) <= length else np.concatenate([ids[: length - len(tail)], np.array(tail, np.int32)])

    def _end_of(self, ids: np.ndarray, length: int) -> np.ndarray:
        head = self.dress[0].head
        start = len(ids) - (length - len(head))
        return ids if len(ids) <= length else np.concatenate([np.array(head, np.int32), ids[start:]])


def text_template(
    text: str, tokenizer: Any, *, special: bool = True, needs: Sequence[str] = ("query", "passage")
) -> Template:
    """The template that `text` spells with {query}, {passage} and {passage_b}; `special`: with bos, eos and the like.

    Raises BadInput where a field that it `needs` is missing, one is there twice, or so close to the next word that it
    cannot be cut out.
    """
    named = _FIELD.findall(text)
    fields = [FIELDS.index(name) for name in named]
    if not {*needs} <= {*named} or len(set(named)) < len(named):
        raise BadInput(f"template {text!r} must name {' and '.join(f'{{{name}}}' for name in needs)}, each once")

    def whole(texts: Sequence[str]) -> Any:
        filled = _FIELD.sub(lambda match: texts[FIELDS.index(match[1])], text)
        return tokenizer(filled, add_special_tokens=special)

    found = [_found(text, whole, fields, dress, tokenizer) for dress in (_tight(text), _spaced(text))]
    best = max(found, key=lambda pair: pair[0])
    if best[1] is None:
        raise BadInput(f"template {text!r}: this tokenizer merges a field with its neighbours; put blanks between them")
    return best[1]


def pair_template(tokenizer: Any) -> Template:
    """Query and passage as the tokenizer itself makes a pair of them, [CLS] q [SEP] p [SEP] or whatever it does."""

    def whole(texts: Sequence[str]) -> Any:
        return tokenizer(texts[0], texts[1])

    _, found = _found("pair", whole, [0, 1], (Dress(),) * len(FIELDS), tokenizer)
    if found is None:
        raise BadInput("this tokenizer does not keep the two texts of a pair in order; take a reranker with a template")
    return found


def ids_of(tokenizer: Any, text: str) -> list[int]:
    """The ids of a text by itself, without special tokens."""
    return list(tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])


def ends_of(tokenizer: Any) -> tuple[np.ndarray, np.ndarray]:
    """The special tokens before and behind a text, int32. Raises BadInput where the text is not kept between them."""
    alone = ids_of(tokenizer, "zebra")
    whole = list(tokenizer("zebra")["input_ids"])
    start = _place(alone, whole, 0)
    if start < 0:
        raise BadInput("this tokenizer reads a text otherwise between its special tokens than alone")
    return np.array(whole[:start], np.int32), np.array(whole[start + len(alone) :], np.int32)


# -- finding the literals --------------------------------------------------------------------------------------


def _found(
    text: str, whole: Callable[[Sequence[str]], Any], fields: Sequence[int], dress: Sequence[Dress], tokenizer: Any
) -> tuple[int, Template | None]:
    """The template as the tokenizer's own encoding of some texts shows it, and on how many of them it is exact."""
    encoded = whole(_PROBES[0])
    ids, types, at = list(encoded["input_ids"]), encoded.get("token_type_ids"), 0
    pieces: list[tuple[int, ...] | int] = []
    kinds: list[int] = []
    for field in [*fields, None]:
        part = [] if field is None else ids_of(tokenizer, dress[field].put_on(_PROBES[0][field]))
        start = len(ids) if field is None else _place(part, ids, at)
        if start < 0:
            return -1, None
        for kind, run in groupby(range(at, start), key=lambda i: types[i] if types else 0):
            pieces.append(tuple(ids[i] for i in run))
            kinds.append(kind)
        if field is not None:
            pieces.append(field)
            kinds.append(types[start] if types else 0)
        at = start + len(part)
    worn = tuple(_with_edges(one, tokenizer) for one in dress)
    made = Template(text, tuple(pieces), tuple(kinds) if types else None, worn)
    exact = sum(_glued(made, tokenizer, probe) == list(whole(_stripped(made, probe))["input_ids"]) for probe in _PROBES)
    return exact, made


def _glued(template: Template, tokenizer: Any, texts: Sequence[str]) -> list[int]:
    fields = [np.array(ids_of(tokenizer, text), np.int32) for text in template.dressed(texts)]
    return template.build(fields, 1 << 30).ids.tolist()


def _stripped(template: Template, texts: Sequence[str]) -> list[str]:
    return [text.strip() if dress.strip else text for dress, text in zip(template.dress, texts, strict=True)]


def _place(part: Sequence[int], ids: Sequence[int], start: int) -> int:
    """Where `part` begins in `ids`, at `start` or later; -1 where it does not."""
    return next((i for i in range(start, len(ids) - len(part) + 1) if ids[i : i + len(part)] == part), -1)


def _tight(text: str) -> tuple[Dress, ...]:
    """Each field with what touches it, blanks left to the literals: for vocabularies that mark where a word begins."""
    return _dresses(text, re.compile(r"\S*\Z"), re.compile(r"\A\S*"), strip=False)


def _spaced(text: str) -> tuple[Dress, ...]:
    """Each field with the blank before it and the line's end behind it, which a byte-level vocabulary merges."""
    return _dresses(text, re.compile(r"\s*\S*\Z"), re.compile(r"\A\S*\n*"), strip=True)


def _dresses(text: str, before: re.Pattern[str], after: re.Pattern[str], *, strip: bool) -> tuple[Dress, ...]:
    dress = [Dress()] * len(FIELDS)
    literals = _FIELD.split(text)[::2]
    taken = ""
    for i, name in enumerate(_FIELD.findall(text)):
        own = literals[i].removeprefix(taken)
        front, back = before.search(own), after.search(literals[i + 1])
        taken = back[0] if back else ""
        dress[FIELDS.index(name)] = Dress(front[0] if front else "", taken, strip=strip)
    return tuple(dress)


def _with_edges(dress: Dress, tokenizer: Any) -> Dress:
    """The dress with the ids that every dressed text begins and ends with."""
    if not dress.before.strip() and not dress.after:
        return dress
    rows = [ids_of(tokenizer, dress.put_on(word)) for word in _WORDS]
    head = _same(rows) if dress.before.strip() else ()
    tail = _same([row[::-1] for row in rows])[::-1] if dress.after else ()
    return Dress(dress.before, dress.after, head, tail, dress.strip)


def _same(rows: Sequence[Sequence[int]]) -> tuple[int, ...]:
    same = []
    for column in zip(*rows, strict=False):
        if len(set(column)) > 1:
            break
        same.append(column[0])
    return tuple(same)


def _even(lengths: Sequence[int], room: int) -> list[int]:
    """Lengths cut to `room` in all: the longest give way first, down to the same length."""
    left, cut = room, list(lengths)
    for place, i in enumerate(sorted(range(len(lengths)), key=lambda i: lengths[i])):
        cut[i] = min(lengths[i], left // (len(lengths) - place))
        left -= cut[i]
    return cut
