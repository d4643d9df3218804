"""Queries that a language model writes for sampled passages: a docT5query checkpoint, or any LLM with a prompt."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

from exabench.errors import BadInput
from exabench.nouns import Passage, Prompt, Query, Reply
from exabench.prompting import prompt_file, shown
from exabench.queries._parts import Answerer, Collection, replies_of
from exabench.queries._sampling import lowest, rank

AT_ONCE = 1024
"""Prompts that are handed to the teacher together."""
_Written = tuple[Query, Mapping[str, Any]]


class Docquery:
    """Asks for `count` queries, `per_passage` of them for each sampled passage; gives those that are queries.

    The prompt file has a place for `passage`, of which `words` words are shown, and says `answer_tokens`. The first
    line of an answer that is not blank is the query. Left out and counted (`report`) are answers that are empty, cut
    short, shorter than `fewest_words`, or say what another one said before, and prompts that the teacher refuses;
    nothing is asked in their place, so ask for some more than are needed. Query ids are `g-<passage id>-<sample, from
    1>`; seed and passage ids alone decide which passages are asked about.

    Nogueira and Lin 2019 (docTTTTTquery) sample at temperature 1 among the 10 likeliest tokens, write up to 64, and
    read up to 512 tokens of a passage, which `words` stands for here.
    """

    def __init__(
        self,
        collection: Collection,
        teacher: Answerer,
        *,
        count: int,
        per_passage: int = 1,
        prompt: str = "doct5query",
        words: int = 300,
        fields: Sequence[str] = ("title", "text"),
        temperature: float = 1.0,
        fewest_words: int = 1,
        seed: int = 0,
    ) -> None:
        if min(count, per_passage, words, fewest_words) < 1:
            raise BadInput("docquery needs count, per_passage, words and fewest_words of at least 1")
        if per_passage > 1 and temperature == 0:
            raise BadInput("docquery: at temperature 0 every sample is the same; raise it, or ask once per passage")
        self._collection, self._teacher, self._prompt = collection, teacher, prompt_file(prompt)
        self._count, self._per_passage, self._fewest, self._seed = count, per_passage, fewest_words, seed
        self._words, self._fields = words, tuple(fields)
        self._temperature, self._room = temperature, self._prompt.number("answer_tokens")

    @property
    def source(self) -> str:
        """The collection's place."""
        return self._collection.source

    @property
    def source_revision(self) -> str:
        """The collection's revision."""
        return self._collection.revision

    def __iter__(self) -> Iterator[_Written]:
        return iter(self._written[0])

    def report(self) -> Mapping[str, Any]:
        """Who wrote them from what prompt, how many were asked for and given, and how many left out for what."""
        queries, left_out = self._written
        return {
            "teacher": {key: value for key, value in self._teacher.identity.items() if key != "server"},
            "prompt": self._prompt.label,
            "asked": self._count,
            "given": len(queries),
            "left_out": dict(sorted(left_out.items())),
        }

    @cached_property
    def _written(self) -> tuple[list[_Written], Counter[str]]:
        """The queries with their origins, and how many answers were left out for what."""
        queries: list[_Written] = []
        left_out: Counter[str] = Counter()
        said: set[str] = set()
        asked = [one for passage in self._passages() for one in self._asked(passage)][: self._count]
        for start in range(0, len(asked), AT_ONCE):
            some = asked[start : start + AT_ONCE]
            replies = replies_of(self._teacher, [prompt for prompt, _ in some])
            for prompt, passage_id in some:
                text, wrong = _query_in(replies.get(prompt.id), self._fewest)
                wrong = wrong or ("said before" if text in said else "")
                said.add(text)
                if wrong:
                    left_out[wrong] += 1
                else:
                    queries.append((Query(prompt.id, text), self._origin(prompt, passage_id)))
        return queries, left_out

    def _passages(self) -> list[Passage]:
        """The passages to ask about. Raises BadInput where the collection has too few."""
        needed = -(-self._count // self._per_passage)
        ranked = (
            (rank(self._seed, passage.id), (passage.id, passage.title, passage.text))
            for passage in self._collection.passages()
            if passage.text.strip()
        )
        found = lowest(ranked, needed)
        if len(found) < needed:
            short = f"{len(found)} passages with a text, fewer than the {needed} that {self._count} queries need"
            raise BadInput(f"docquery: {self.source} has {short}")
        return [Passage(id, text, title) for id, title, text in found]

    def _asked(self, passage: Passage) -> Iterator[tuple[Prompt, str]]:
        """The passage's prompts, and its id with each."""
        turns = self._prompt.turns(passage=shown(passage, self._fields, self._words)[0])
        for sample in range(self._per_passage):
            id = f"g-{passage.id}-{sample + 1}"
            yield Prompt(id, turns, self._room, self._temperature, sample), passage.id

    def _origin(self, prompt: Prompt, passage_id: str) -> Mapping[str, Any]:
        key = getattr(self._teacher, "key", None)  # a teacher whose replies are kept knows their keys
        return {"kind": "generated", "passage_id": passage_id, "replies": [key(prompt)] if key else []}


def _query_in(reply: Reply | None, fewest: int) -> tuple[str, str]:
    """The query of a reply, or what is wrong with it."""
    if reply is None:
        return "", "refused by the teacher"
    said = [line.strip() for line in reply.text.splitlines() if line.strip()]
    if not said:
        return "", "empty"
    if len(said) == 1 and reply.finish != "stop":
        return "", "cut short"
    text = " ".join(said[0].split())
    return text, "" if len(text.split()) >= fewest else "too short"
