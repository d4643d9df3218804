"""MedQuAD: 16,407 questions and answers of health sites (Ben Abacha and Demner-Fushman 2019), from one JSONL file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec

from exabench.core.errors import BadInput
from exabench.core.files import digest_of, file_digest
from exabench.core.nouns import Passage, Qrels, Query, Task
from exabench.core.records import read_lines

SPLITS = ("test", "train", "held_out")


class _QuestionLine(msgspec.Struct):
    """A question with its answer, and what both are about."""

    uid: str
    focus: str
    question: str
    answer: str


class Medquad:
    """`DATA/medquad/medquad.jsonl`, one pair a line, its `uid` the id of both query and passage.

    A passage is an answer under the title of what it is about (`focus`), since hundreds of answers read the same but
    for the disease that they do not name. A question is answered by its own answer and by those to exactly the same
    question; nothing else has been judged.

    Its splits are "test" (every question) and, for those who train on it, "train" and "held_out", which share no focus:
    a focus (letter case and spaces aside) is held out where its digest falls into the first tenth of all digests. All
    splits are over the same answers. No one published a split; this one is exabench's own.
    """

    def __init__(self, task: Task, data: str | Path | None = None, lock: str | Path | None = None) -> None:
        self._named = task.name in ("medquad", "medquad-held-out") and data is not None
        self.file = Path(data or "") / "medquad" / "medquad.jsonl"
        self.source = "medquad"

    @property
    def revision(self) -> str:
        """The digest of the file."""
        return file_digest(self.file)

    def is_available(self) -> bool:
        """True for the task medquad where the file is there."""
        return self._named and self.file.is_file()

    def queries(self) -> Iterator[Query]:
        """Every question."""
        for line in self._lines():
            yield Query(line.uid, line.question)

    def passages(self) -> Iterator[Passage]:
        """Every answer."""
        for line in self._lines():
            yield Passage(line.uid, line.answer, line.focus)

    def qrels(self, split: str) -> Qrels:
        """Grade 1 for all answers to the question. Raises BadInput for a split that is none of SPLITS."""
        if split not in SPLITS:
            raise BadInput(f"MedQuAD has the splits {', '.join(SPLITS)}, not {split!r}", file=self.file)
        answers: dict[str, dict[str, int]] = {}
        asked = {}
        for line in self._lines():
            answers.setdefault(line.question, {})[line.uid] = 1
            digest = digest_of(" ".join(line.focus.casefold().split()))
            is_held_out = int(digest[-8:], 16) < 0x1_0000_0000 // 10  # the first tenth of all digests' last 32 bits
            if split == "test" or is_held_out == (split == "held_out"):
                asked[line.uid] = line.question
        return {id: dict(answers[question]) for id, question in asked.items()}

    def _lines(self) -> Iterator[_QuestionLine]:
        seen = set[str]()
        for number, line in read_lines(_QuestionLine, self.file):
            if not line.uid or line.uid in seen:
                raise BadInput("needs a uid that no other line has", file=self.file, line=number, id=line.uid)
            seen.add(line.uid)
            yield line
