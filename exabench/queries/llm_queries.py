"""Queries that a language model writes for passages of a domain, cleaned, and filtered as InPars or Promptagator do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from exabench.errors import BadInput, plural
from exabench.files import digest_of
from exabench.nouns import Passage, Prompt, Query, Reply
from exabench.prompting import prompt_file, shown
from exabench.queries._filters import best, fault, first_line, found_again
from exabench.queries._parts import replies_of
from exabench.queries._sampling import lowest

if TYPE_CHECKING:
    from exabench.collections import Collection
    from exabench.rerankers import Reranker
    from exabench.retrievers import Retriever
    from exabench.teachers import Teacher


class _Made(NamedTuple):
    """The queries that are good with their passages, why the others are not, and what was asked and answered."""

    good: dict[Query, Passage]
    faults: dict[str, str]
    prompts: dict[str, Prompt]
    replies: dict[str, Reply]


class LlmQueries:
    """`per_passage` queries for each of `count` passages, as "q-<passage id>-<n>"; the same whatever their order.

    `prompt` is a prompt file that is given `passage` (its first `words` words) and what `values` holds: query,
    doct5query (the passage alone, for such a checkpoint), inpars, inpars_gbq, promptagator (whose `values` are an
    instruction and examples), or one of the user's. Of an answer the first line is read; `min_words` and `max_words`
    bound it (InPars, arXiv 2202.05144: at least 3 words).
    Several queries of a passage need a `temperature`. Passages of fewer than `passage_words` words are not asked about.
    `round_trip` = k keeps the queries with which a first stage of `retrievers` finds their passage among its best k;
    `keep_top` = n then keeps the n that `reranker` scores highest with their passages.
    """

    def __init__(
        self,
        collection: Collection,
        teacher: Teacher,
        *,
        count: int,
        seed: int = 0,
        prompt: str = "query",
        values: Mapping[str, Any] | None = None,
        per_passage: int = 1,
        temperature: float = 0.0,
        words: int = 256,
        passage_words: int = 1,
        min_words: int = 3,
        max_words: int = 48,
        fields: Sequence[str] = ("title", "text"),
        retrievers: Mapping[str, Retriever] | None = None,
        round_trip: int = 0,
        reranker: Reranker | None = None,
        keep_top: int = 0,
    ) -> None:
        if min(count, per_passage, words, passage_words, min_words) < 1 or max_words < min_words:
            numbers = "count, per_passage, words, passage_words and min_words of at least 1, and max_words no smaller"
            raise BadInput(f"llm_queries needs {numbers}")
        if per_passage > 1 and not temperature > 0:
            raise BadInput("llm_queries: without a temperature all queries of a passage are the same; set temperature")
        if bool(round_trip) != bool(retrievers):
            raise BadInput("llm_queries: round_trip and retrievers go together, a depth and what searches to it")
        if bool(keep_top) != (reranker is not None):
            raise BadInput("llm_queries: keep_top and reranker go together, a number and what scores")
        self._file = prompt_file(prompt)
        self._tokens = self._file.number("answer_tokens")
        self.prompt = self._file.label
        self._collection, self._teacher, self._values = collection, teacher, dict(values or {})
        self._count, self._seed, self._per_passage, self._temperature = count, seed, per_passage, temperature
        self._words, self._passage_words, self._fields = words, passage_words, tuple(fields)
        self._lengths = (min_words, max_words)
        self._retrievers, self._round_trip = retrievers or {}, round_trip
        self._reranker, self._keep_top = reranker, keep_top

    @property
    def source(self) -> str:
        """The collection's place."""
        return self._collection.source

    @property
    def source_revision(self) -> str:
        """The collection's revision."""
        return self._collection.revision

    def __iter__(self) -> Iterator[tuple[Query, Mapping[str, Any]]]:
        key = getattr(self._teacher, "key", None)  # a teacher whose replies are kept knows their keys
        for query, passage in self._made.good.items():
            keys = [key(self._made.prompts[query.id])] if key else []
            yield query, {"kind": "generated", "passage_id": passage.id, "replies": keys}

    @property
    def rejections(self) -> list[tuple[Prompt, str]]:
        """What was asked in vain, and why; asks the teacher, where that is still to be done."""
        return [(self._made.prompts[id], reason) for id, reason in self._made.faults.items()]

    @property
    def quarantined(self) -> list[dict[str, str]]:
        """The rejections with what the teacher answered: `id`, `reason`, `text`."""
        replies = self._made.replies
        return [
            {"id": id, "reason": reason, "text": replies[id].text if id in replies else ""}
            for id, reason in self._made.faults.items()
        ]

    @property
    def rejected(self) -> dict[str, int]:
        """How many were rejected, by reason."""
        return dict(sorted(Counter(reason for _, reason in self.rejections).items()))

    def report(self) -> Mapping[str, Any]:
        """Who wrote them from what prompt, how many were asked for and given, and how many left out for what."""
        return {
            "teacher": {key: value for key, value in self._teacher.identity.items() if key != "server"},
            "prompt": self.prompt,
            "asked": len(self._made.prompts),
            "given": len(self._made.good),
            "left_out": self.rejected,
        }

    @cached_property
    def _made(self) -> _Made:
        asked = {prompt.id: (passage, prompt) for passage in self._sampled() for prompt in self._asked(passage)}
        prompts = {id: prompt for id, (_, prompt) in asked.items()}
        made = _Made({}, {}, prompts, replies_of(self._teacher, list(prompts.values())))
        said = set[tuple[str, str]]()
        for id, (passage, _) in asked.items():
            text, reason = self._read(made.replies.get(id), passage)
            if not reason and (passage.id, text.casefold()) in said:
                reason = "repeats a query of its passage"
            said.add((passage.id, text.casefold()))
            if reason:
                made.faults[id] = reason
            else:
                made.good[Query(id, text)] = passage
        filtered = self._filtered(made.good)
        good = {query: passage for query, passage in made.good.items() if query.id not in filtered}
        return made._replace(good=good, faults=made.faults | filtered)

    def _sampled(self) -> list[Passage]:
        ranked = (
            (int(digest_of([self._seed, passage.id])[-32:], 16), (passage.id, passage.title, passage.text))
            for passage in self._collection.passages()
            if len(passage.text.split()) >= self._passage_words
        )
        found = lowest(ranked, self._count)
        if len(found) < self._count:
            few = f"{plural(len(found), 'passage')} of {self._passage_words} words or more"
            raise BadInput(f"llm_queries: {self.source} has {few}, fewer than the {self._count} to ask about")
        return [Passage(id, text, title) for id, title, text in found]

    def _asked(self, passage: Passage) -> list[Prompt]:
        turns = self._file.turns(**self._values | {"passage": shown(passage, self._fields, self._words)[0]})
        numbers = range(self._per_passage)
        return [Prompt(f"q-{passage.id}-{n}", turns, self._tokens, self._temperature, n) for n in numbers]

    def _read(self, reply: Reply | None, passage: Passage) -> tuple[str, str]:
        """The query of a reply and what is wrong with it ("" for nothing)."""
        if reply is None:
            return "", "refused by the teacher"
        text, more = first_line(reply.text)
        if text and reply.finish == "length" and not more:  # text after the first line may be cut: nobody reads it
            return text, "cut at the length limit"
        return text, fault(text, passage, *self._lengths)

    def _filtered(self, good: Mapping[Query, Passage]) -> dict[str, str]:
        """Which good queries fall through the filters, and through which."""
        faults: dict[str, str] = {}
        if self._round_trip:
            found = found_again(good, self._retrievers, self._round_trip)
            faults = {q.id: f"passage not among the best {self._round_trip}" for q in good if q.id not in found}
        if self._reranker is not None:
            left = {query: passage for query, passage in good.items() if query.id not in faults}
            kept = best(left, self._reranker, self._keep_top)
            faults |= {q.id: f"score not among the best {self._keep_top}" for q in left if q.id not in kept}
        return faults
