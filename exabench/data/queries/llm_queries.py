"""Queries that a language model writes for passages of a domain, cleaned, and filtered as InPars or Promptagator do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeAlias

from exabench.core.errors import BadInput, plural
from exabench.core.nouns import Passage, Prompt, Query, Reply
from exabench.data.queries._filters import best, fault, first_line, found_again
from exabench.data.sampling import draw
from exabench.parts.conversations import replies_of
from exabench.parts.prompting import prompt_file, truncate_passage
from exabench.tasks.collections import FromCollection

if TYPE_CHECKING:
    from exabench.parts.rerankers import Reranker
    from exabench.parts.retrievers import Retriever
    from exabench.parts.teachers import Teacher

    FirstStages: TypeAlias = Mapping[str, Retriever]  # for the type checker alone: reading one would make its index


@dataclass
class _AnsweredPassage:
    """What the teacher was asked about a passage, the query in its reply, and why this is no good one ("" if it is)."""

    prompt: Prompt
    passage: Passage
    query: Query
    fault: str


@dataclass
class LlmQueries(FromCollection):
    """`per_passage` queries for each of `count` passages, as "q-<passage id>-<n>"; the same whatever their order.

    `prompt` is a prompt file that is given `passage` (its first `words` words) and what `values` holds: query,
    doct5query (the passage alone, for such a checkpoint), inpars, inpars_gbq, promptagator (whose `values` are an
    instruction and examples), or one of the user's. Of an answer the first line is read; `min_words` and `max_words`
    bound it (InPars, arXiv 2202.05144: at least 3 words).
    Several queries of a passage need a `temperature`. Passages of fewer than `passage_words` words are not asked about.
    `round_trip` = k keeps the queries with which a first stage of `retrievers` finds their passage among its best k;
    `keep_top` = n then keeps the n that `reranker` scores highest with their passages.
    """

    teacher: Teacher
    _: KW_ONLY
    count: int
    seed: int = 0
    prompt: str = "query"
    values: Mapping[str, Any] | None = None
    per_passage: int = 1
    temperature: float = 0.0
    words: int = 256
    passage_words: int = 1
    min_words: int = 3
    max_words: int = 48
    fields: Sequence[str] = ("title", "text")
    retrievers: FirstStages | None = None
    round_trip: int = 0
    reranker: Reranker | None = None
    keep_top: int = 0

    def __post_init__(self) -> None:
        least = min(self.count, self.per_passage, self.words, self.passage_words, self.min_words)
        if least < 1 or self.max_words < self.min_words:
            numbers = "count, per_passage, words, passage_words and min_words of at least 1, and max_words no smaller"
            raise BadInput(f"llm_queries needs {numbers}")
        if self.per_passage > 1 and not self.temperature > 0:
            raise BadInput("llm_queries: without a temperature all queries of a passage are the same; set temperature")
        if bool(self.round_trip) != bool(self.retrievers):
            raise BadInput("llm_queries: round_trip and retrievers go together, a depth and what searches to it")
        if bool(self.keep_top) != (self.reranker is not None):
            raise BadInput("llm_queries: keep_top and reranker go together, a number and what scores")
        self._prompt_file = prompt_file(self.prompt)
        self.prompt = self._prompt_file.label  # the same name, with the digest of the text

    def __iter__(self) -> Iterator[tuple[Query, Mapping[str, Any]]]:
        key = getattr(self.teacher, "key", None)  # a teacher whose replies are kept knows their keys
        good, _ = self._answers
        for answer in good:
            keys = [key(answer.prompt)] if key else []
            yield answer.query, {"kind": "generated", "passage_id": answer.passage.id, "replies": keys}

    @property
    def rejections(self) -> list[tuple[Prompt, str]]:
        """What was asked in vain, and why; asks the teacher, where that is still to be done."""
        _, rejected = self._answers
        return [(answer.prompt, answer.fault) for answer in rejected]

    def report(self) -> Mapping[str, Any]:
        """Who wrote them from what prompt, how many were asked for and given, and how many left out for what."""
        good, rejected = self._answers
        left_out = Counter(answer.fault for answer in rejected)
        return {
            "teacher": {key: value for key, value in self.teacher.identity.items() if key != "server"},
            "prompt": self.prompt,
            "asked": len(good) + len(rejected),
            "given": len(good),
            "left_out": dict(sorted(left_out.items())),
        }

    @cached_property
    def _answers(self) -> tuple[list[_AnsweredPassage], list[_AnsweredPassage]]:
        """The answers with good queries, then those that are rejected."""
        good: list[_AnsweredPassage] = []
        rejected: list[_AnsweredPassage] = []
        said: set[tuple[str, str]] = set()
        for answer in self._ask():
            words = (answer.passage.id, answer.query.text.casefold())
            if not answer.fault and words in said:
                answer.fault = "repeats a query of its passage"
            said.add(words)
            if answer.fault:
                rejected.append(answer)
            else:
                good.append(answer)
        if self.retrievers:
            found = found_again({answer.query: answer.passage for answer in good}, self.retrievers, self.round_trip)
            good = _keep(good, found, f"passage not among the best {self.round_trip}", rejected)
        if self.reranker is not None:
            high = best({answer.query: answer.passage for answer in good}, self.reranker, self.keep_top)
            good = _keep(good, high, f"score not among the best {self.keep_top}", rejected)
        return good, rejected

    def _ask(self) -> Iterator[_AnsweredPassage]:
        """What the teacher answers about each passage of the sample, read."""
        asked: list[tuple[Passage, Prompt]] = []
        answer_tokens = self._prompt_file.number("answer_tokens")
        for passage in self._sample():
            text, _ = truncate_passage(passage, self.fields, self.words)
            turns = self._prompt_file.turns(**{**(self.values or {}), "passage": text})
            for n in range(self.per_passage):
                asked.append((passage, Prompt(f"q-{passage.id}-{n}", turns, answer_tokens, self.temperature, n)))
        replies = replies_of(self.teacher, [prompt for _, prompt in asked], skip_refused=True)
        for passage, prompt in asked:
            text, problem = self._read(replies.get(prompt.id), passage)
            yield _AnsweredPassage(prompt, passage, Query(prompt.id, text), problem)

    def _sample(self) -> list[Passage]:
        enough_words = (
            (passage.id, passage.title, passage.text)
            for passage in self.collection.passages()
            if len(passage.text.split()) >= self.passage_words
        )
        found = draw(enough_words, self.count, lambda passage: [self.seed, passage[0]], digits=32)
        if len(found) < self.count:
            few = f"{plural(len(found), 'passage')} of {self.passage_words} words or more"
            raise BadInput(f"llm_queries: {self.source} has {few}, fewer than the {self.count} to ask about")
        return [Passage(id, text, title) for id, title, text in found]

    def _read(self, reply: Reply | None, passage: Passage) -> tuple[str, str]:
        """The query of a reply and what is wrong with it ("" for nothing)."""
        if reply is None:
            return "", "refused by the teacher"
        text, more = first_line(reply.text)
        if text and reply.finish == "length" and not more:  # text after the first line may be cut: nobody reads it
            return text, "cut at the length limit"
        return text, fault(text, passage, self.min_words, self.max_words)


def _keep(
    answers: list[_AnsweredPassage], query_ids: set[str], fault: str, rejected: list[_AnsweredPassage]
) -> list[_AnsweredPassage]:
    """The answers with these queries; the others are `rejected` for this fault."""
    kept = []
    for answer in answers:
        if answer.query.id in query_ids:
            kept.append(answer)
        else:
            answer.fault = fault
            rejected.append(answer)
    return kept
