"""What the shards hold, looked through once: doubles, leaks, figures, and which rows are for validation."""

from __future__ import annotations

import heapq
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice, zip_longest
from pathlib import Path
from typing import Any, TypeAlias

from exabench.collections._judged import benchmarks
from exabench.errors import BadInput
from exabench.files import digest_of, replacing
from exabench.quality import Duplicates, Leaks, Report
from exabench.recipe import Recipe
from exabench.rows import Row
from exabench.shards import WorkFolder

Drawn: TypeAlias = list[tuple[int, int]]
"""(negated digest, place) of rows."""
TRAIN, VALIDATION, LEFT_OUT = 0, 1, 2
QUALITY: Mapping[str, Any] = {"near": 0.9, "leaks": "report"}
"""`near`: from which Jaccard similarity on two rows are one (0: only exact doubles); `leaks`: "report" or "drop"."""


class Review:
    """One pass over the shards in order; a byte for each row is all that is held of it.

    Rejected items are written to quarantine.jsonl with their reason and the raw replies. `counts` says where every
    item went, `report` what the good rows are like. Which rows are for validation depends on their ids alone: those
    whose digests are smallest, as many of each label or source of queries.
    """

    def __init__(self, page: Recipe, work: WorkFolder, data: Path | None) -> None:
        self._work, self._places = work, bytearray()
        self._quality = {**QUALITY, **page.values.get("quality", {})}
        if odd := self._quality.keys() - QUALITY.keys() or self._quality["leaks"] not in ("report", "drop"):
            raise BadInput(f"quality knows near (a number) and leaks (report or drop), not {odd}", file=page.file)
        self._doubles, self._leaks = Duplicates(self._quality["near"]), Leaks()
        for task, queries, passages in benchmarks(data):
            self._leaks.add(task, queries, passages)
        self._report, self._reasons = Report(), Counter[str]()
        most = page.values.get("validation", 0)
        drawn: dict[str, Drawn] = {}
        with replacing(work.quarantine) as quarantine:
            for line in work.lines():
                if "rejected" in line:
                    quarantine.write((json.dumps(line["rejected"], sort_keys=True) + "\n").encode())
                    self._reasons[f"rejected: {line['rejected']['reason']}"] += 1
                elif why := self._why_not(line["row"]):
                    self._reasons[why] += 1
                    self._places.append(LEFT_OUT)
                else:
                    kind = str(line["row"].get("query_source", line["row"].get("relevant")))
                    _offer(drawn.setdefault(kind, []), line["row"]["id"], len(self._places), most)
                    self._places.append(TRAIN)
        chosen = list(islice(_in_turn([sorted(drawn[kind], reverse=True) for kind in sorted(drawn)]), most))
        for _, place in chosen:
            self._places[place] = VALIDATION
        self.validation = len(chosen)

    def _why_not(self, row: Row) -> str:
        """Why a good row is skipped all the same; one that is not, and what it leaks, goes into the report."""
        exact = self._doubles.exact
        if self._doubles.seen(row) is not None:
            return f"skipped: {'exact' if self._doubles.exact > exact else 'near'} duplicate"
        marks = self._leaks.marks(row)
        if marks and self._quality["leaks"] == "drop":
            return "skipped: leak"
        self._report.add(row, marks)
        return ""

    @property
    def counts(self) -> dict[str, Any]:
        """input = good + quarantined + skipped, and the reasons."""
        parts = {"quarantined": "rejected: ", "skipped": "skipped: "}
        numbers = {key: sum(n for why, n in self._reasons.items() if why.startswith(p)) for key, p in parts.items()}
        good = len(self._places) - self._places.count(LEFT_OUT)
        return {
            "input": good + sum(numbers.values()),
            "good": good,
            **numbers,
            "reasons": dict(sorted(self._reasons.items())),
        }

    @property
    def report(self) -> dict[str, Any]:
        """Figures about the good rows, and which of them touch a benchmark."""
        return self._report.figures()

    def rows(self, split: int) -> Iterator[Row]:
        """The rows of a split, in order."""
        place = 0
        for line in self._work.lines():
            if "row" in line:
                if self._places[place] == split:
                    yield line["row"]
                place += 1

    def keys(self) -> Iterator[str]:
        """The replies that anything here was made of, rejected items and skipped rows included."""
        for line in self._work.lines():
            yield from line["keys"]


def _in_turn(lists: Sequence[Drawn]) -> Iterator[tuple[int, int]]:
    """The first of each list, then the second of each, and so on."""
    for some in zip_longest(*lists):
        yield from (one for one in some if one is not None)


def _offer(drawn: Drawn, id: str, place: int, most: int) -> None:
    """Keep the rows with the smallest digests: a heap of these, negated, whose top is the largest."""
    entry = (-int(digest_of(id)[-15:], 16), place)
    if len(drawn) < most:
        heapq.heappush(drawn, entry)
    elif drawn and entry > drawn[0]:
        heapq.heapreplace(drawn, entry)
