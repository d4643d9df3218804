"""Pairs that people explained: SciFact's claims, cited abstracts and the sentences that are the evidence."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Annotated

import msgspec

from exabench.core.errors import BadInput
from exabench.core.records import read_lines
from exabench.core.rows import Pair
from exabench.data.pairs._orders import ExplainedPairs, Ids, read_pairs

# A bold reading ends a sentence at every such place; a careful one needs what `_OPENING` begins with after it, and none
# of these abbreviations before it.
_END = re.compile(r"(?<=[.?!])\s+")
_ABBREVIATED = re.compile(
    r"(?:\b(?:e\.g|i\.e|vs|cf|etc|al|approx|ca|Figs?|No|Dr|Prof|St|spp?|subsp|var|ref|Eq|resp|Inc|Ltd)|\b[A-Z])\.\Z"
)
_OPENING = re.compile(r'[A-Z0-9"(\[]')


class _Rationale(msgspec.Struct):
    """One annotator's rationale: the numbers of its sentences."""

    claim_id: str
    doc_id: str
    sentences: list[Annotated[int, msgspec.Meta(ge=0)]]


@dataclass(kw_only=True)
class Evidence(ExplainedPairs):
    """Every claim and abstract of a split between which SciFact's annotators found evidence; all are relevant.

    The rationale is the evidence itself: the sentences of all the annotators' rationales for the pair, in the order of
    the abstract, whether they support the claim or contradict it (for a search both are what was looked for). Abstracts
    that a claim cites but that hold no evidence are left out: the judgements call them relevant, and no one explained
    them. `file` has one rationale a line: claim_id, doc_id, label, and the numbers of its sentences.

    The numbers count sentences of SciFact's own lists, which a collection in BEIR layout has joined to one text. A
    rationale is used where two readings of that text, a bold and a careful one, agree on everything up to its last
    sentence; other rationales are left out (`left_out` counts the pairs that have no other).
    """

    DEFAULT_FILE = "evidence.jsonl"
    left_out: int = field(default=0, init=False)

    @property
    def source(self) -> str:
        """The collection's name and the file's."""
        return f"{super().source} with {self.path.name}"

    def __iter__(self) -> Iterator[Pair]:
        qrels = self.collection.qrels(self.split)
        rationales: dict[Ids, list[list[int]]] = {}
        for _, line in read_lines(_Rationale, self.path):
            if line.doc_id in qrels.get(line.claim_id, {}):
                rationales.setdefault((line.claim_id, line.doc_id), []).append(line.sentences)
        if not rationales:
            raise BadInput(f"has no evidence for a pair of split {self.split}", file=self.path)

        self.left_out = 0
        made = 0
        for pair in read_pairs(self.collection, dict.fromkeys(self.seeded_order(rationales), True)):
            text = evidence(pair.passage.text, rationales[pair.query.id, pair.passage.id])
            if not text:
                self.left_out += 1
                continue
            yield replace(pair, rationale=text)
            made += 1
            if made == self.count:
                return


def evidence(text: str, rationales: Iterable[list[int]]) -> str:
    """The sentences of `text` that the rationales name, in its order, a space between; empty if none is found."""
    # A careful reading: no sentence ends in an abbreviation or before a small letter.
    careful = []
    start = 0
    for end in _END.finditer(text):
        if _OPENING.match(text, end.end()) and not _ABBREVIATED.search(text, start, end.start()):
            careful.append(text[start : end.start()])
            start = end.end()
    careful.append(text[start:])

    agreed = len(os.path.commonprefix([_END.split(text), careful]))  # of any two sequences, not of paths alone
    numbers = set()
    for rationale in rationales:
        if rationale and max(rationale) < agreed:
            numbers.update(rationale)
    return " ".join(careful[number] for number in sorted(numbers))
