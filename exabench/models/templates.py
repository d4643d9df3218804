"""Templates: how the token ids of a query and a passage become one input of a model, cut so that the cue survives.

Texts are tokenised one by one, once for a collection, and glued between a template's literal ids. What is glued equals
the ids of the whole text tokenised at once, because a text is cut out only where tokenizers cut too: at spaces. What
stands right against a field (the quotation marks of ExaRanker, the space that a byte-level vocabulary keeps with its
word) goes with the text into the tokenizer (Edges). Where some tokenizer would still merge across the seam,
the glued ids are the input by definition. A template that is a list of pieces is tokenised piece by piece.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from exabench.core.errors import REASON, BadInput, printable
from exabench.models.tokens import bare_ids
from exabench.models.values import LONGEST_FIRST, PASSAGE_FIRST

QUERY = 0
PASSAGE = 1
FIELDS = ("query", "passage", "passage_b")
_FIELD = r"\{(query|passage_b|passage)\}"
_NO_FIELD = r"(?!\{(?:query|passage_b|passage)\})"
# What touches a field: for vocabularies that mark where a word begins, the signs up to the next blank; for byte-level
# ones, which keep a space with the word behind it, the space before them and the line's end after them too.
_TOUCHING = re.compile(rf"(\S*?){_FIELD}((?:{_NO_FIELD}\S)*)")
_TOUCHING_WITH_BLANKS = re.compile(rf"(\s*\S*?){_FIELD}((?:{_NO_FIELD}\S)*\n*)")
_WHOLE_PIECE = re.compile(rf"(.*){_FIELD}(.*)", re.DOTALL)  # of a piece with one field, all goes with it
BEGINNING = "{bos}"
"""The piece of a template that stands for the tokenizer's first token, where it has one that is not its padding."""
# Each row fills the fields of a template once. The first is made of words that no template uses.
_PROBES = (
    ("zebra", "violin", "marble"),
    ("Why is the sky blue?", "It (the sky) scatters 1.5 times more.", "No."),
    ("7", '"Rayleigh"', "x-ray"),
    ("été", "東京 is 1st", "ß!"),
)
_WORDS = "zebra Violin marble. 7 (quick) ox!".split()


@dataclass(frozen=True)
class ModelInput:
    """One input of a model: `ids` int32 and, where the model has token types, `types` int8, both `[length]`.

    `targets` int32 are the ids behind it whose likelihood is asked for, where the model is to write the query.
    """

    ids: np.ndarray
    types: np.ndarray | None
    cut_passage: bool
    cut_query: bool
    targets: np.ndarray | None = None

    @property
    def size(self) -> int:
        """How many ids the model computes with: those that it reads, and its targets."""
        if self.targets is None:
            return len(self.ids)
        return len(self.ids) + len(self.targets)

    @property
    def key(self) -> bytes:
        """What makes two inputs the same one."""
        if self.types is None:
            return self.ids.tobytes()
        return self.ids.tobytes() + self.types.tobytes()


@dataclass(frozen=True)
class Edges:
    """The text that stands right against a field, and those of its ids that must survive when the field is cut."""

    before: str = ""
    after: str = ""
    head: Sequence[int] = ()
    tail: Sequence[int] = ()
    strip: bool = False

    def around(self, text: str) -> str:
        """The text as it goes into the tokenizer."""
        if self.strip:
            text = text.strip()
        return f"{self.before}{text}{self.after}"

    @property
    def size(self) -> int:
        """How many ids must survive."""
        return len(self.head) + len(self.tail)


_BARE = (Edges(), Edges(), Edges())


@dataclass(frozen=True)
class Template:
    """Fields (0 = query, 1 = passage, 2 = second passage) between literals; `text` names the template.

    `literals` are the ids before the first field, between fields, and behind the last one, int32 each. Where the model
    has token types, `literal_types` (int8) are theirs and `field_types` those of the fields. `edges` are by field.
    `cut` is one of CUTS; a cut of the whole input keeps the `last` ids at its very end. `most` are the tokens of
    query and passage at most, before they are put between the literals (0: any number).
    """

    text: str
    fields: Sequence[int]
    literals: Sequence[np.ndarray]
    literal_types: Sequence[np.ndarray] | None
    field_types: Sequence[int]
    edges: Sequence[Edges]
    cut: str = PASSAGE_FIRST
    last: int = 0
    most: tuple[int, int] = (0, 0)

    def wrap(self, texts: Sequence[str]) -> list[str]:
        """The fields' texts ready for the tokenizer, one by one and without special tokens."""
        return [edges.around(text) for edges, text in zip(self.edges, texts, strict=False)]

    def build(self, fields: Sequence[np.ndarray], limit: int) -> ModelInput:
        """The input of at most `limit` tokens for the ids of the fields, which were tokenised as `wrap` gives them.

        By the default `cut` the passage is cut first, at its end; two passages to the same length. A query is cut only
        where it would leave less than a quarter of the room to passages that could fill it (all candidates would look
        alike); it loses its beginning, since its end is next to the cue. Literals are not cut, but by the cut "end".
        Raises BadInput where they are already longer than `limit`.
        """
        kept = list(fields)
        for field, most in zip((QUERY, PASSAGE), self.most, strict=True):
            if most:
                kept[field] = self._cut_field(field, fields[field], most + self.edges[field].size)
        if self.own_tokens + sum(len(kept[field]) for field in self.fields) > limit:
            self._check(limit)
            if self.cut == LONGEST_FIRST:
                kept = self._cut_longest(kept, limit - self.own_tokens)
            elif self.cut == PASSAGE_FIRST:
                kept = self._cut(kept, limit - self.own_tokens)
        ids = [self.literals[0]]
        for field, literal in zip(self.fields, self.literals[1:], strict=True):
            ids.append(kept[field])
            ids.append(literal)
        types = None
        if self.literal_types is not None:
            parts = [self.literal_types[0]]
            for field, kind, literal in zip(self.fields, self.field_types, self.literal_types[1:], strict=True):
                parts.append(np.full(len(kept[field]), kind, np.int8))
                parts.append(literal)
            types = np.concatenate(parts)
        cut = [len(after) < len(before) for before, after in zip(fields, kept, strict=True)]
        built = ModelInput(np.concatenate(ids), types, any(cut[PASSAGE:]), cut[QUERY])
        if len(built.ids) > limit:
            return self._without_end(built, kept, limit)
        return built

    def _without_end(self, whole: ModelInput, kept: Sequence[np.ndarray], limit: int) -> ModelInput:
        """An input that lost its end, whatever that is, but for the `last` ids."""
        stays = np.arange(len(whole.ids))
        stays = np.concatenate([stays[: limit - self.last], stays[len(stays) - self.last :]])
        types = whole.types
        if types is not None:
            types = types[stays]
        # Which of the fields reached over the cut?
        over = []
        end = 0
        for field, literal in zip(self.fields, self.literals, strict=False):
            end += len(literal) + len(kept[field])
            if end > limit - self.last:
                over.append(field)
        cut_query = whole.cut_query or QUERY in over
        return ModelInput(whole.ids[stays], types, whole.cut_passage or any(over), cut_query)

    def _cut_longest(self, fields: Sequence[np.ndarray], room: int) -> list[np.ndarray]:
        """Query and passage in `room` ids: the shorter one stays where it has no more than half, as tokenizers cut."""
        shorter = QUERY  # also of two that are as long: a token that is left over is the passage's
        longer = PASSAGE
        if len(fields[QUERY]) > len(fields[PASSAGE]):
            shorter = PASSAGE
            longer = QUERY
        kept = list(fields)
        size = min(len(fields[shorter]), room // 2)
        kept[shorter] = self._cut_field(shorter, fields[shorter], size)
        kept[longer] = self._cut_field(longer, fields[longer], room - size)
        return kept

    def _cut_field(self, field: int, ids: np.ndarray, length: int) -> np.ndarray:
        """The ids of a field without its end, but with what closes it in the template."""
        if len(ids) <= length:
            return ids
        tail = np.array(self.edges[field].tail, np.int32)
        return np.concatenate([ids[: length - len(tail)], tail])

    @cached_property
    def own_tokens(self) -> int:
        """The number of literal ids."""
        return sum(map(len, self.literals))

    def _check(self, limit: int, more: int = 0) -> None:
        """Raises BadInput where the template itself, and `more` tokens, are longer than `limit`."""
        if limit < self.own_tokens + sum(self.edges[field].size for field in self.fields) + more:
            raise BadInput(f"max_length {limit} is shorter than the template itself; raise it")

    def _cut(self, fields: Sequence[np.ndarray], room: int) -> list[np.ndarray]:
        """The fields in `room` ids."""
        passages = [field for field in self.fields if field != QUERY]
        kept = list(fields)
        if QUERY in self.fields:
            share = room // (4 * max(1, len(passages)))  # a quarter of the room, for all passages together
            length = room
            for field in passages:
                length -= max(self.edges[field].size, min(share, len(fields[field])))
            query = fields[QUERY]
            if len(query) > length:
                head = np.array(self.edges[QUERY].head, np.int32)
                end = query[len(query) - length + len(head) :]
                kept[QUERY] = np.concatenate([head, end])
            room -= len(kept[QUERY])

        # The shortest first: what it leaves of its share is for the longer one.
        own_sizes = {field: len(fields[field]) - self.edges[field].size for field in passages}
        room -= sum(self.edges[field].size for field in passages)
        for done, field in enumerate(sorted(passages, key=lambda field: own_sizes[field])):
            share = room // (len(passages) - done)
            length = max(0, min(own_sizes[field], share))
            room -= length
            kept[field] = self._cut_field(field, fields[field], length + self.edges[field].size)
        return kept


@dataclass(frozen=True)
class WritingTemplate(Template):
    """A template that shows the passage, and the query is what the model is to write behind it.

    `context` is the number of ids, at the start of the query's, that are the end of the prompt once more: the query is
    tokenised behind them.
    """

    context: int = 0

    def build(self, fields: Sequence[np.ndarray], limit: int) -> ModelInput:
        """The prompt, and as targets the query, of at most `limit` tokens together.

        A query that would take more than three quarters of the room loses its end, and the same ids whatever the
        passage is: likelihoods of more and of fewer tokens do not compare. Then the passage is cut. Raises BadInput
        where the template is already longer than `limit`.
        """
        self._check(limit, 2)  # one for the query, and one for the passage
        query = fields[QUERY][self.context :]
        room = limit - self.own_tokens - self.edges[PASSAGE].size
        targets = query[: room - max(1, room // 4)]
        prompt = super().build(fields, limit - len(targets))
        return replace(prompt, targets=targets, cut_query=len(targets) < len(query))


class DualTemplate:
    """How a dual encoder reads a query or a passage: behind its prompt, between the tokenizer's special tokens."""

    def __init__(self, prompts: Mapping[str, str], tokenizer: Any) -> None:
        self.prompts = prompts
        self._tokenizer = tokenizer
        self._ends = text_template("{query}", tokenizer, needs=("query",)).literals

    def inputs(self, query: str, passages: Sequence[str], limit: int, query_limit: int = 0) -> list[ModelInput]:
        """The query's input, then that of each passage, each cut at its end to `limit` tokens.

        `query_limit` is another limit for the query.
        """
        start, end = self._ends
        own_tokens = len(start) + len(end)
        texts = [self.prompts["query"] + query]
        for passage in passages:
            texts.append(self.prompts["passage"] + passage)
        inputs = []
        for place, ids in enumerate(bare_ids(self._tokenizer, texts)):
            is_query = place == 0
            room = limit - own_tokens
            if is_query and query_limit:
                room = query_limit - own_tokens
            cut = len(ids) > room
            row = np.concatenate([start, ids[:room], end])
            inputs.append(ModelInput(row, None, cut and not is_query, cut and is_query))
        return inputs


def fields_named(
    template: str | Sequence[str], needs: Sequence[str] = ("query", "passage"), what: str = "template"
) -> list[str]:
    """The fields that a template names, in its order. Raises BadInput where one that it `needs` is missing or twice.

    `what` is what the message calls it.
    """
    text = "".join(template)
    names = re.findall(_FIELD, text)
    if not set(needs) <= set(names) or len(set(names)) < len(names):
        raise BadInput(
            f"{what} {printable(text)!r} must name {' and '.join(f'{{{name}}}' for name in needs)}, each once"
        )
    return names


def after_fields(text: str) -> str:
    """The text after the last field of a template: the words that the answer follows."""
    *_, end = re.split(_FIELD, text)
    return end


def text_template(
    text: str | Sequence[str], tokenizer: Any, *, special: bool = True, needs: Sequence[str] = ("query", "passage")
) -> Template:
    """The template that `text` spells with {query}, {passage} and {passage_b}; `special`: with bos, eos and the like.

    A list of pieces is tokenised piece by piece, without special tokens but BEGINNING. Raises BadInput where a field
    that it `needs` is missing, one is there twice, or so close to the next word that it cannot be cut out.
    """
    names = fields_named(text, needs)
    if isinstance(text, str):

        def encode(texts: Sequence[str]) -> Any:
            return tokenizer(_filled(text, texts), add_special_tokens=special)

        return _best_template(text, encode, tokenizer)

    fields = [FIELDS.index(name) for name in names]
    literals: list[list[int]] = [[]]
    edges = list(_BARE)
    for piece in text:
        if piece == BEGINNING:
            first = tokenizer.bos_token_id
            if first is not None and first != tokenizer.pad_token_id:
                literals[-1].append(first)
        elif not fields_named(piece, ()):
            literals[-1].extend(ids_of(tokenizer, piece))
        else:
            part = text_template(piece, tokenizer, special=False, needs=())
            literals[-1].extend(part.literals[0].tolist())
            literals.extend(literal.tolist() for literal in part.literals[1:])
            for field in part.fields:
                edges[field] = part.edges[field]
    ids = [np.array(literal, np.int32) for literal in literals]
    return Template(json.dumps(list(text), ensure_ascii=False), fields, ids, None, [0] * len(fields), edges)


def plain_template(text: str | Sequence[str], tokenizer: Any, needs: Sequence[str] = ("query", "passage")) -> Template:
    """As `text_template`, but without special tokens where the text begins with the first of them itself."""
    begins = tokenizer.bos_token
    return text_template(text, tokenizer, special=not begins or not "".join(text).startswith(begins), needs=needs)


def turn_template(
    question: str | Sequence[str], tokenizer: Any, needs: Sequence[str] = ("query", "passage")
) -> Template:
    """The template of a question as the user's turn, in the tokenizer's chat template. Raises BadInput without one."""
    if not tokenizer.chat_template:
        raise BadInput("this model's tokenizer has no chat template; remove chat")
    marks = [token.content for token in tokenizer.added_tokens_decoder.values() if token.special]
    if not isinstance(question, str) or any(mark in question for mark in marks):
        raise BadInput("the template already has turns, and chat would put them into another one; remove chat")
    turns = [{"role": "user", "content": question}]
    return chat_template(turns, tokenizer, needs=needs, add_generation_prompt=True)


def writing_template(prompt: Template, answer: str, tokenizer: Any, cue: str = "") -> WritingTemplate:
    """The template of a `prompt` behind which the model is to write an `answer`, a text that names only {query}.

    The answer is tokenised as it is right behind the text `cue`, which the prompt ends with; without one, by itself.
    Raises BadInput where the tokenizer merges it with the cue, and for a prompt that is empty where the passage is.
    """
    if not prompt.own_tokens and not ids_of(tokenizer, prompt.edges[PASSAGE].around("")):
        raise BadInput("the template is only {passage}, and an empty passage would leave nothing to read; add a text")
    literals = list(prompt.literals)
    context = ids_of(tokenizer, cue)
    if context and context[-1] != tokenizer.eos_token_id and literals[-1][-1:].tolist() == [tokenizer.eos_token_id]:
        literals[-1] = literals[-1][:-1]  # which some tokenizers put behind every text: nothing would follow it
    edges = list(prompt.edges)
    edges[QUERY] = _edges_of(f"{cue}{answer}", _WHOLE_PIECE, tokenizer, ())[QUERY]
    for word in _WORDS:
        if ids_of(tokenizer, edges[QUERY].around(word))[: len(context)] != context:
            raise BadInput(f"this tokenizer merges the query with {cue[-20:]!r} before it; end the template otherwise")
    text = json.dumps([prompt.text, answer], ensure_ascii=False)
    about = (prompt.literal_types, prompt.field_types, edges)
    return WritingTemplate(text, prompt.fields, literals, *about, context=len(context))


def chat_template(
    turns: Sequence[Mapping[str, Any]],
    tokenizer: Any,
    *,
    needs: Sequence[str] = ("query", "passage"),
    **settings: Any,
) -> Template:
    """The template of chat turns whose contents hold the fields that it `needs`, as the tokenizer's chat template has
    them.

    `settings` are given to the chat template. Raises BadInput where it refuses the turns, or loses a field.
    """

    def render(texts: Sequence[str], tokenize: bool) -> Any:
        try:
            return tokenizer.apply_chat_template(
                _filled(turns, texts), **settings, tokenize=tokenize, return_dict=tokenize
            )
        except Exception as error:  # a template is a program, which may raise anything
            first_line, *_ = str(error).split("\n")
            reason = f"{type(error).__name__}: {printable(first_line, REASON)}"
            raise BadInput(f"the chat template of this model cannot be used ({reason})") from error

    fields = [f"{{{name}}}" for name in FIELDS]
    text = render(fields, False)
    fields_named(text, needs)
    padded = render([f" {field} " for field in fields], False)
    trimmed = {place for place, field in enumerate(fields) if f" {field} " not in padded}
    return _best_template(text, lambda texts: render(texts, True), tokenizer, trimmed)


def _filled(inside: Any, texts: Sequence[str]) -> Any:
    """A text, or what holds texts however deep, with these texts in its fields."""
    if isinstance(inside, str):
        return re.sub(_FIELD, lambda match: texts[FIELDS.index(match[1])], inside)
    if isinstance(inside, Mapping):
        return {key: _filled(value, texts) for key, value in inside.items()}
    return [_filled(value, texts) for value in inside]


def _best_template(
    text: str, encode: Callable[[Sequence[str]], Any], tokenizer: Any, trimmed: Collection[int] = ()
) -> Template:
    """The template of a text that `encode` tokenises whole, its fields filled in: what glued ids are checked with.

    Fields that are `trimmed` lose the spaces around them first. Raises BadInput as `text_template`.
    """
    fields = [FIELDS.index(name) for name in fields_named(text, ())]
    # Which signs must go with a field into the tokenizer is its own affair, so all ways are tried, and the one whose
    # glued ids are those of the whole text on more of the probes is taken; the first where several are as good.
    ways = [_TOUCHING, _TOUCHING_WITH_BLANKS]
    if len(fields) == 1:
        ways = [_WHOLE_PIECE]
    best = None
    most_exact = 0
    for touching in ways:
        edges = _edges_of(text, touching, tokenizer, trimmed)
        template = _glue_template(text, encode, fields, edges, tokenizer)
        if template is None:
            continue
        exact = 0
        for probe in _PROBES:
            parts = bare_ids(tokenizer, template.wrap(probe))
            glued = template.build(parts, 1 << 30)
            exact += glued.ids.tolist() == encode(probe)["input_ids"]
        if exact > most_exact:
            best = template
            most_exact = exact
    if best is None:
        raise BadInput(
            f"template {printable(text)!r}: this tokenizer merges a field with its neighbours; put spaces between them"
        )
    return best


def _edges_of(text: str, touching: re.Pattern[str], tokenizer: Any, trimmed: Collection[int]) -> list[Edges]:
    """The edges of every field, of what `touching` finds around it; fields that are `trimmed` lose their own spaces.

    What is between two fields without a space belongs to the first of them. The ids of an edge are those that stay
    the same whatever word is in the field.
    """
    edges = list(_BARE)
    for before, name, after in touching.findall(text):
        rows = [ids_of(tokenizer, f"{before}{word}{after}") for word in _WORDS]
        head: Sequence[int] = ()
        tail: Sequence[int] = ()
        if before.strip():
            head = os.path.commonprefix(rows)  # of any sequences, not of paths alone
        if after:
            tail = os.path.commonprefix([row[::-1] for row in rows])[::-1]
        field = FIELDS.index(name)
        edges[field] = Edges(before, after, head, tail, field in trimmed)
    return edges


def pair_template(tokenizer: Any, prompt: str = "") -> Template:
    """Query and passage as the tokenizer makes a pair of them: [CLS] q [SEP] p [SEP] in a BERT.

    A `prompt` stands before the query, and stays where the query is cut.
    """

    def encode(texts: Sequence[str]) -> Any:
        return tokenizer(prompt + texts[QUERY], texts[PASSAGE])

    edges = list(_BARE)
    name = "pair"
    if prompt:
        name = f"pair with {prompt}"
        rows = [ids_of(tokenizer, f"{prompt}{word}") for word in _WORDS]
        edges[QUERY] = Edges(before=prompt, head=os.path.commonprefix(rows))
    template = _glue_template(name, encode, [QUERY, PASSAGE], edges, tokenizer)
    if template is None:
        raise BadInput("this tokenizer does not keep the two texts of a pair in order; use a reranker with a template")
    return template


def ids_of(tokenizer: Any, text: str) -> list[int]:
    """The ids of one text, without special tokens."""
    return tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]


def _glue_template(
    text: str, encode: Callable[[Sequence[str]], Any], fields: Sequence[int], edges: Sequence[Edges], tokenizer: Any
) -> Template | None:
    """The template whose literals are what the first probe's ids hold around its fields; None if these are not there.

    Literals are read off a whole text because alone some of them would be tokenised otherwise.
    """
    probe = _PROBES[0]
    encoded = encode(probe)
    ids = encoded["input_ids"]
    types = encoded.get("token_type_ids")
    places = []  # of the literals: each lies between the end of a field and the start of the next one
    field_types = []
    end = 0
    for field in fields:
        part = ids_of(tokenizer, edges[field].around(probe[field]))
        start = end
        while ids[start : start + len(part)] != part:
            start += 1
            if start >= len(ids):
                return None
        places.append(slice(end, start))
        field_types.append(types[start] if types else 0)
        end = start + len(part)
    places.append(slice(end, None))
    literals = [np.array(ids[place], np.int32) for place in places]
    literal_types = None
    if types:
        literal_types = [np.array(types[place], np.int8) for place in places]
    return Template(text, fields, literals, literal_types, field_types, edges)
