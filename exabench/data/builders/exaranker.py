"""ExaRanker: a teacher explains labels that are already known, and a T5 learns to write label and explanation."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING, Any

from exabench.core.errors import BadInput
from exabench.core.non_answers import kind_of_non_answer, without_introduction
from exabench.core.nouns import Passage, Prompt, Reply
from exabench.core.replies import text_of_json
from exabench.core.rows import Item, Rejected, Row
from exabench.core.words import count_words
from exabench.data.exaranker_format import input_text, target_text
from exabench.data.quality import is_empty
from exabench.parts.prompting import PromptFile, prompt_file, truncate_passage

if TYPE_CHECKING:
    from exabench.data.pairs import Pairs

# What may stand before the label that an answer repeats, as in "This passage is not relevant".
_SUBJECT = r"(?:final answer:\s*)?(?:(?:the|this) (?:passage|document|text) is\s+)?"
_OPPOSITE = {
    True: re.compile(rf"{_SUBJECT}(?:false|not relevant|irrelevant)\b", re.IGNORECASE),
    False: re.compile(rf"{_SUBJECT}(?:true|relevant|(?:highly|very|directly) relevant)\b", re.IGNORECASE),
}
# The worked examples of the prompt look like this: a model that does not stop writes the next one.
_ECHO = re.compile(r"(?:^|\n)\s*(?:#{2,}|(?:Example \d+|Question|Passage|Final Answer|Explanation)\s*:)", re.IGNORECASE)
_CHARACTERS_PER_TOKEN = 32  # no tokenizer has words that long
# The prompt ends with this word, and chat models say it again, some of them in bold.
_CUE = re.compile(r"\A\**explanation\**\s*:\**\s*", re.IGNORECASE)
_NO_TEXT = ("Cc", "Cs", "Co")  # control characters, halves of surrogate pairs, private characters


@dataclass
class Exaranker:
    """Rows of explanations, one for each pair of `pairs` (Ferraretto et al. 2023; unicamp-dl/ExaRanker).

    The prompt gives the label and asks the teacher to explain it. A pair that comes with a person's rationale needs no
    teacher; where all do, `prompt` is "". `max_tokens` (else the prompt file says it) and `temperature` are the
    teacher's; of several `samples` the first usable one is taken. The prompt shows at most `words` words of a passage,
    the row holds all of it. `line_breaks` stands for each run of line breaks in a target: nothing, as the authors have
    it, or a space.
    """

    family = "explanations"

    pairs: Pairs
    _: KW_ONLY
    prompt: str = "explain"
    max_tokens: int | None = None
    temperature: float = 0.0
    samples: int = 1
    words: int = 400
    line_breaks: str = ""

    def __post_init__(self) -> None:
        # At temperature 0 every sample would be the same.
        if self.samples < 1 or (self.samples > 1 and self.temperature <= 0):
            raise BadInput(
                f"samples is {self.samples} at temperature {self.temperature}; use samples = 1 or a temperature above 0"
            )
        # Without a prompt no one is asked, and no answer has a length to keep to.
        self._prompt_file: PromptFile | None = None
        self._max_tokens = 0
        if not self.prompt:
            return
        self._prompt_file = prompt_file(self.prompt)
        self.prompt = self._prompt_file.label  # the same name, with the digest of the text
        if self.max_tokens is None:
            self._max_tokens = self._prompt_file.number("answer_tokens")
        else:
            self._max_tokens = self.max_tokens

    def items(self) -> Iterator[Item]:
        """One item a pair; it holds the pair and, where no one explained it, the prompts for the teacher."""
        about = {"source": self.pairs.source, "source_revision": self.pairs.source_revision}
        for pair in self.pairs:
            query = pair.query
            passage = pair.passage
            id = f"{query.id}/{passage.id}"
            rationale = pair.rationale.strip()
            prompts = []
            rejected = ""
            if is_empty(passage):
                rejected = "empty passage"
            elif not rationale:
                if self._prompt_file is None:
                    raise BadInput(
                        'has no rationale and there is no prompt to generate one; set prompt="explain"', id=id
                    )
                text, _ = truncate_passage(passage, ("title", "text"), self.words)
                turns = self._prompt_file.turns(query=query.text, passage=text, relevant=pair.relevant)
                for sample in range(self.samples):
                    prompt_id = id if self.samples == 1 else f"{id}:{sample}"
                    prompts.append(Prompt(prompt_id, turns, self._max_tokens, self.temperature, sample))
            data = {
                "query_id": query.id,
                "query": query.text,
                "passage_id": passage.id,
                "title": passage.title,
                "passage": passage.text,
                "relevant": pair.relevant,
                "rationale": rationale,
                **about,
            }
            yield Item(id, tuple(prompts), data, rejected)

    def rows(self, item: Item, replies: Sequence[Reply]) -> list[Row]:
        """The row with the rationale, or with the first reply that is an explanation.

        Raises Rejected with the fault of the first reply where all have one.
        """
        data = dict(item.data)
        explanation = data.pop("rationale")
        faults = []
        for reply in replies:
            text = explanation_of(reply.answer)
            reason = fault(text, data["relevant"], self._max_tokens)
            if reply.is_cut:  # whatever else is wrong with it
                reason = "cut short"
            if not reason:
                explanation = text
                break
            faults.append(reason)
        if not explanation:
            raise Rejected(faults[0] if faults else "no reply")
        passage = Passage(data["passage_id"], data["passage"], data["title"]).flat()
        row = {
            "id": item.id,
            **data,
            "explanation": explanation,
            "input": input_text(data["query"], passage),
            "target": target_text(data["relevant"], explanation, self.line_breaks),
        }
        return [row]

    def report(self, items: Iterable[Item]) -> Mapping[str, Any]:
        """The number of items that a person explained."""
        return {"explained by people": sum(bool(item.data["rationale"]) for item in items)}


def explanation_of(answer: str) -> str:
    """The text of an answer, without an introduction, the cue that the prompt ends with, and JSON around it."""
    text = without_introduction(text_of_json(answer.strip(), "explanation"))
    return _CUE.sub("", text).strip()


def fault(text: str, relevant: bool, max_tokens: int) -> str:
    """Why a text is not an explanation of the label, in a few words; empty where it may be one."""
    if not text:
        return "empty reply"
    if len(text) > max_tokens * _CHARACTERS_PER_TOKEN:
        return "longer than max_tokens can be"
    for character in text:
        # Tabs and line breaks are control characters that a good answer may hold.
        is_no_text = character not in "\n\r\t" and unicodedata.category(character) in _NO_TEXT
        if is_no_text or character == "\ufffd":
            return "garbled characters"
    if _OPPOSITE[relevant].match(text):
        return "contradicts the label"
    no_answer = kind_of_non_answer(text)
    if no_answer:
        return no_answer
    if _ECHO.search(text):
        return "goes on with the prompt's examples"
    # Words first; characters find what repeats in scripts without spaces, and lone marks.
    # Less than 12 words or 40 characters of it may be meant, as in "very, very, very little".
    words = text.split()
    characters = 20
    if count_words(text) > len(words):  # in a script without spaces 20 words are up to 80 characters
        characters = 80
    if _loops(words, 12, 20) or _loops(text, 40, characters):
        return "repeats itself"
    return ""


def _loops(units: Sequence[str], least: int, longest: int) -> bool:
    """Does a stretch of 1 to `longest` units stand four times running, over `least` units at the least?"""
    # A stretch that stands four times makes three lengths of units that equal those one length before them.
    for length in range(1, longest + 1):
        run = 0
        for before, now in zip(units, units[length:], strict=False):
            if before != now:
                run = 0
                continue
            run += 1
            if run >= max(3 * length, least):
                return True
    return False
