"""Queries that a language model writes for passages of a domain, cleaned, and filtered as InPars or Promptagator do.

InPars (arXiv 2202.05144) keeps the queries of the highest mean log-probability, InPars v2 (arXiv 2301.01820) those of a
reranker's highest score, and Promptagator (arXiv 2209.11755) those that bring their passage back.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from functools import cached_property
from typing import Any

from exabench.core.errors import BadInput, plural
from exabench.core.non_answers import kind_of_non_answer, without_introduction
from exabench.core.nouns import Passage, Prompt, Query, Reply
from exabench.core.replies import text_of_json
from exabench.core.words import compared_words, count_words, stretch_ends
from exabench.data.judgements import judged_passages
from exabench.data.queries import Rejection
from exabench.data.rejections import FirstAnswers
from exabench.data.sampling import draw
from exabench.parts.conversations import replies_of
from exabench.parts.prompting import prompt_file, truncate_passage
from exabench.parts.replies import without_server
from exabench.parts.rerankers import Reranker
from exabench.parts.retrievers import FirstStages
from exabench.parts.teachers import Teacher
from exabench.tasks.collections import FromCollection

_LEAD = re.compile(
    r"^(?:[-*#>\u2022]+(?:\s+|$)"  # a bullet
    r"|[(（]?\d{1,2}(?:[.):](?:\s+|$)|[、）]|[．：](?!\d))"  # a number
    r"|(?:(?:the|good|relevant|search)\s+)*(?:query|question)(?:\s+\d{1,2})?\s*:\s*"  # a label
    r"|(?:搜索|检索|検索)?(?:查询|查詢|问题|問題|クエリ|質問|คำถาม|คำค้นหา|سؤال|السؤال|질문|검색어)\s*\d{0,2}\s*[:：]\s*)",
    re.IGNORECASE,
)
_WRAPS = dict(zip("\"'\u201c\u2018`*_「『«", "\"'\u201d\u2019`*_」』»", strict=True))
_JOINERS = re.compile("[\u200b-\u200f]")  # in words of Persian, Hindi and Khmer, beside Arabic and Hebrew
_COPY = 8  # fewer words of the passage in a row may be a term of the field


@dataclass
class _AnsweredPassage:
    """A prompt about a passage, its reply, the query in it, and why this is not a good one ("" if it is)."""

    prompt: Prompt
    passage: Passage
    query: Query
    fault: str = ""
    reply: Reply | None = None


@dataclass
class LlmQueries(FromCollection):
    """`per_passage` queries for each of `count` passages (0: all), as "q-<passage id>-<n>"; the same in any order.

    `prompt` is a prompt file that is given `passage` (its first `words` words) and what `values` holds: query,
    doct5query (only the passage, for such a checkpoint), inpars, inpars_gbq, promptagator (whose `values` are an
    instruction and examples), or one of the user's. Of an answer the first line is read; `min_words` and `max_words`
    bound it (InPars, arXiv 2202.05144: at least 3 words).
    Several queries of a passage need a `temperature`. Passages of fewer than `passage_words` words are not asked about,
    and with `split` only those that this split of the collection judges are.
    `keep_likeliest` = n keeps the n queries whose tokens have the highest mean log-probability, which the teacher must
    give (InPars). `round_trip` = k keeps the queries with which a first stage of `retrievers` finds their passage among
    its best k; `keep_top` = n then keeps the n that `reranker` scores highest with their passages.
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
    split: str = ""
    min_words: int = 3
    max_words: int = 48
    fields: Sequence[str] = ("title", "text")
    keep_likeliest: int = 0
    retrievers: FirstStages | None = None
    round_trip: int = 0
    reranker: Reranker | None = None
    keep_top: int = 0
    give_up_after: int = 0

    def __post_init__(self) -> None:
        least = min(self.per_passage, self.words, self.passage_words, self.min_words)
        if least < 1 or self.max_words < self.min_words or self.count < 0:
            raise BadInput(
                "llm_queries needs per_passage, words, passage_words and min_words of at least 1, max_words no "
                "smaller, and count of at least 0 (all passages)"
            )
        if self.keep_likeliest < 0:
            raise BadInput(f"llm_queries: keep_likeliest is {self.keep_likeliest}; give a number of queries, 0 for all")
        if self.per_passage > 1 and not self.temperature > 0:
            raise BadInput("llm_queries: at temperature 0 all queries of a passage are the same; set temperature")
        if bool(self.round_trip) != bool(self.retrievers):
            raise BadInput("llm_queries: give round_trip (a depth) and retrievers (which search to it) together")
        if bool(self.keep_top) != (self.reranker is not None):
            raise BadInput("llm_queries: give keep_top (a number) and reranker (which scores) together")
        self._prompt_file = prompt_file(self.prompt)
        self.prompt = self._prompt_file.label  # the same name, with the digest of the text

    def __iter__(self) -> Iterator[tuple[Query, Mapping[str, Any]]]:
        for answer in self._answers:
            if not answer.fault:
                keys = list(filter(None, [self._key(answer.prompt)]))
                yield answer.query, {"kind": "generated", "passage_id": answer.passage.id, "replies": keys}

    def _key(self, prompt: Prompt) -> str:
        """The key of a prompt's reply; empty for a teacher whose replies are not kept."""
        if not hasattr(self.teacher, "key"):
            return ""
        return str(self.teacher.key(prompt))

    @property
    def rejections(self) -> list[Rejection]:
        """The answers that were rejected, and why; asks the teacher if no one did so far."""
        rejected = []
        for answer in self._answers:
            if answer.fault:
                key = ""
                if answer.reply is not None:
                    key = self._key(answer.prompt)
                rejected.append(Rejection(answer.prompt.id, answer.fault, answer.reply, key))
        return rejected

    def report(self) -> Mapping[str, Any]:
        """The teacher and its prompt, how many queries were asked for and given, and how many left out for what."""
        left_out = Counter(answer.fault for answer in self._answers if answer.fault)
        return {
            "teacher": without_server(self.teacher.identity),
            "prompt": self.prompt,
            "asked": len(self._answers),
            "given": len(self._answers) - left_out.total(),
            "left_out": dict(left_out),
        }

    def _passages(self) -> Iterator[tuple[str, str, str]]:
        """Id, title and text of every passage that may be asked about."""
        of_split = None
        if self.split:
            of_split = judged_passages(self.collection, self.split)
        for passage in self.collection.passages():
            enough_words = count_words(passage.text) >= self.passage_words
            if enough_words and (of_split is None or passage.id in of_split):
                yield passage.id, passage.title, passage.text

    @cached_property
    def _answers(self) -> list[_AnsweredPassage]:
        """The answers about every passage of the sample, those with good queries and the others."""
        # Releases were drawn with 32 digits; another number would draw another sample.
        sample = draw(self._passages(), self.count or None, lambda passage: [self.seed, passage[0]], digits=32)
        if len(sample) < (self.count or 1):
            few = f"{plural(len(sample), 'passage')} of {self.passage_words} words or more"
            if self.split:
                few += f" in split {self.split}"
            raise BadInput(f"llm_queries: {self.source} has {few}, fewer than the {self.count or 1} to ask about")

        answers = []
        answer_tokens = self._prompt_file.number("answer_tokens")
        for id, title, text in sample:
            passage = Passage(id, text, title)
            excerpt, _ = truncate_passage(passage, self.fields, self.words)
            turns = self._prompt_file.turns(**{**(self.values or {}), "passage": excerpt})
            for n in range(self.per_passage):
                prompt = Prompt(
                    f"q-{id}-{n}", turns, answer_tokens, self.temperature, n, likelihood=bool(self.keep_likeliest)
                )
                answers.append(_AnsweredPassage(prompt, passage, Query(prompt.id, "")))

        by_id = {answer.prompt.id: answer for answer in answers}
        first_answers = FirstAnswers(self.give_up_after)

        def read(reply: Reply) -> None:
            self._read(by_id[reply.id], reply)
            first_answers.add(by_id[reply.id].fault)

        refused: dict[str, str] = {}
        replies_of(self.teacher, [answer.prompt for answer in answers], refused=refused, watch=read)
        seen = set()
        for answer in answers:
            if answer.prompt.id in refused:
                answer.fault = f"the teacher refuses the prompt: {refused[answer.prompt.id]}"
                continue
            words = (answer.passage.id, answer.query.text.casefold())
            if not answer.fault and words in seen:
                answer.fault = "repeats a query of its passage"
            seen.add(words)

        good = [answer for answer in answers if not answer.fault]
        if self.keep_likeliest:
            good.sort(key=lambda answer: (-_log_prob(answer), answer.query.id))
            for answer in good[self.keep_likeliest :]:
                answer.fault = f"mean log-probability not among the best {self.keep_likeliest}"
            good = good[: self.keep_likeliest]
        if self.retrievers and good:
            queries = [answer.query for answer in good]
            runs = [first_stage.search(queries, self.round_trip) for first_stage in self.retrievers.values()]
            for answer in good:
                # One first stage that brings the passage back is enough.
                if not any(answer.passage.id in run.ranking(answer.query.id) for run in runs):
                    answer.fault = f"passage not among the best {self.round_trip}"
            good = [answer for answer in good if not answer.fault]
        if self.reranker is not None:
            scores = {}
            for answer in good:
                scores[answer.query.id] = float(self.reranker.score(answer.query, [answer.passage])[0])
            good.sort(key=lambda answer: (-scores[answer.query.id], answer.query.id))
            for answer in good[self.keep_top :]:
                answer.fault = f"score not among the best {self.keep_top}"
        return answers

    def _read(self, answer: _AnsweredPassage, reply: Reply) -> None:
        """Take the query out of a reply, and say what is wrong with it."""
        text, more = first_line(text_of_json(reply.answer, "query", "question"))
        answer.reply = reply
        answer.query = Query(reply.id, text)
        answer.fault = fault(text, answer.passage, self.min_words, self.max_words)
        if reply.is_cut and not more:  # a cut after the first line does no harm
            answer.fault = "cut short"


def _log_prob(answer: _AnsweredPassage) -> float:
    """The mean log-probability of an answer."""
    if answer.reply is None or answer.reply.log_prob is None:
        raise BadInput("llm_queries: the teacher does not say how likely its answers are; remove keep_likeliest")
    return answer.reply.log_prob


def first_line(answer: str) -> tuple[str, bool]:
    """The answer's first line that says something, without numbering, label and quotes; and whether text follows it."""
    answer = without_introduction(answer.strip())
    lines = [" ".join(line.split()) for line in answer.splitlines() if line.strip()]
    if not lines:
        return "", False
    text = lines[0]
    before = ""
    while text != before:
        before = text
        text = _LEAD.sub("", text)
        while len(text) > 1 and _WRAPS.get(text[0]) == text[-1]:
            text = text[1:-1].strip()
    return text, len(lines) > 1


def fault(text: str, passage: Passage, least: int, most: int) -> str:
    """Why `text` is not a query for `passage`, or "". `least` and `most` count words (InPars: at least 3)."""
    words = compared_words(text)
    if not words:
        return "empty"
    if not _JOINERS.sub("", text).isprintable() or "\ufffd" in text:
        return "unprintable"
    no_answer = kind_of_non_answer(text)
    if no_answer:
        return no_answer
    if count_words(text) < least:
        return "too short"
    if count_words(text) > most:
        return "too long"
    said = count_words(" ".join(words))  # without punctuation
    one_word_each = [words[start:end] for start, end in enumerate(stretch_ends(words, 1))]
    if said >= _COPY and 3 * len(set(one_word_each)) <= len(one_word_each):
        return "repeats itself"
    passage_words = compared_words(passage.flat())
    is_long = said >= _COPY or len(words) >= len(passage_words)
    if is_long and f" {' '.join(words)} " in f" {' '.join(passage_words)} ":
        return "copy of the passage"
    return ""
