"""Pairs that people explained: SciFact's claims, cited abstracts and the sentences that are the evidence."""

from __future__ import annotations

import re
from collections.abc import Collection as Sized
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from exabench.errors import BadInput
from exabench.files import digest_of, file_digest, from_json, lines
from exabench.pairs._drawing import counted, passages_of, place
from exabench.rows import Pair

if TYPE_CHECKING:
    from exabench.collections import Collection

_END = re.compile(r"(?<=[.?!])\s+")
_ABBREVIATED = re.compile(
    r"(?:\b(?:e\.g|i\.e|vs|cf|etc|al|approx|ca|Figs?|No|Dr|Prof|St|spp?|subsp|var|ref|Eq|resp|Inc|Ltd)|\b[A-Z])\.\Z"
)
_OPENING = re.compile(r'[A-Z0-9"(\[]')


class Evidence:
    """Every claim and abstract of a split between which SciFact's annotators found evidence; all are relevant.

    The rationale is the evidence itself: the sentences of all the annotators' rationales for the pair, in the order of
    the abstract, whether they support the claim or contradict it (for a search both are what was looked for). Abstracts
    that a claim cites but that hold no evidence are left out: the judgements call them relevant, and nobody explained
    them. `file` has one rationale a line: claim_id, doc_id, label, and the numbers of its sentences.

    The numbers count sentences of SciFact's own lists, which a collection in BEIR layout has joined to one text. A
    rationale is used where two readings of that text, a bold and a careful one, agree on everything up to its last
    sentence; other rationales are left out (`left_out` counts the pairs that have no other).
    """

    def __init__(
        self,
        collection: Collection,
        *,
        split: str = "train",
        file: str | Path | None = None,
        count: int | None = None,
        seed: int = 0,
    ) -> None:
        if file is None and not hasattr(collection, "folder"):
            raise BadInput("the evidence stands in a file of its own: give it as file=PATH/evidence.jsonl")
        self._file = Path(file) if file is not None else Path(getattr(collection, "folder", "")) / "evidence.jsonl"
        self._collection, self._split, self._count, self._seed = collection, split, counted(count), seed
        self.left_out = 0

    @property
    def source(self) -> str:
        """The collection's name and the file's."""
        return f"{self._collection.source} with {self._file.name}"

    @cached_property
    def source_revision(self) -> str:
        """The digest of the collection's revision and of the file."""
        return digest_of([self._collection.revision, file_digest(self._file)])

    def __iter__(self) -> Iterator[Pair]:
        rationales = self._rationales()
        order = sorted(rationales, key=lambda pair: place(self._seed, *pair))
        queries = {query.id: query for query in self._collection.queries()}
        passages = passages_of(self._collection, {passage_id for _, passage_id in order})
        self.left_out, made = 0, 0
        for query_id, passage_id in order:
            if query_id not in queries or passage_id not in passages:
                raise BadInput("names a text that the collection lacks", file=self._file, id=f"{query_id}/{passage_id}")
            text = evidence(passages[passage_id].text, rationales[query_id, passage_id])
            self.left_out += not text
            if text:
                yield Pair(queries[query_id], passages[passage_id], True, text)
                made += 1
                if made == self._count:
                    return

    def _rationales(self) -> dict[tuple[str, str], list[list[int]]]:
        """The sentence numbers of every rationale, by (claim id, document id), for the pairs judged in the split."""
        qrels = self._collection.qrels(self._split)
        found: dict[tuple[str, str], list[list[int]]] = {}
        for number, line in lines(self._file):
            row = self._row(line, number)
            if row["doc_id"] in qrels.get(row["claim_id"], {}):
                found.setdefault((row["claim_id"], row["doc_id"]), []).append(row["sentences"])
        if not found:
            raise BadInput(f"holds no evidence for a pair of split {self._split}", file=self._file)
        return found

    def _row(self, line: str, number: int) -> dict[str, Any]:
        try:
            row = from_json(line)
        except (ValueError, RecursionError) as error:
            raise BadInput("is not JSON", file=self._file, line=number) from error
        known = row if isinstance(row, dict) else {}
        numbers = known.get("sentences")
        texts = all(isinstance(known.get(key), str) for key in ("claim_id", "doc_id"))
        if not texts or not isinstance(numbers, list) or not all(type(i) is int and i >= 0 for i in numbers):
            raise BadInput(
                "needs texts claim_id and doc_id, and sentences as a list of numbers", file=self._file, line=number
            )
        return known


def evidence(text: str, rationales: Sized[list[int]]) -> str:
    """The sentences of `text` that the rationales name, in its order, a blank between; empty where none can be told."""
    bold, careful = _END.split(text), _careful(text)
    same = next((i for i, pair in enumerate(zip(bold, careful, strict=False)) if pair[0] != pair[1]), len(bold))
    sure = [numbers for numbers in rationales if numbers and max(numbers) < min(same, len(careful))]
    return " ".join(careful[i] for i in sorted({i for numbers in sure for i in numbers}))


def _careful(text: str) -> list[str]:
    """Sentences that end neither in an abbreviation nor before a small letter."""
    sentences, start = [], 0
    for end in _END.finditer(text):
        if _OPENING.match(text, end.end()) and not _ABBREVIATED.search(text, start, end.start()):
            sentences.append(text[start : end.start()])
            start = end.end()
    return [*sentences, text[start:]]
