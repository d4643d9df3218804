"""What the shards hold, looked through once: doubles, leaks, figures, and which rows are for validation."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

from exabench.core.files import replacing
from exabench.core.rows import Row
from exabench.data.building._making import Making
from exabench.data.quality import Duplicates, Leaks, Report
from exabench.data.sampling import Sample, by_turns
from exabench.tasks.collections import benchmarks

TRAIN = 0
VALIDATION = 1
LEFT_OUT = 2


class Review:
    """One pass over the shards in order; a byte for each row is all that is held of it.

    Rejected items are written to quarantine.jsonl with their reason and the raw replies. `counts` says where every
    item went, `report` what the good rows are like. Which rows are for validation depends on their ids alone: those
    whose digests are smallest, as many of each label or source of queries.
    """

    def __init__(self, making: Making) -> None:
        self._work = making.work
        self._quality = making.quality
        self._doubles = Duplicates(self._quality.near)
        self._leaks = Leaks()
        for benchmark in benchmarks(making.sources.data):
            self._leaks.add(*benchmark)
        self._report = Report()
        self._rejected: Counter[str] = Counter()
        self._skipped: Counter[str] = Counter()
        self._splits = bytearray()  # of every row, in order
        chosen = self._look_through(making.page.values.get("validation", 0))
        for place in chosen:
            self._splits[place] = VALIDATION
        self.validation = len(chosen)

    def _look_through(self, most: int) -> list[int]:
        """Read every line once; the places of the rows for validation, at most so many."""
        samples: dict[str, Sample[int]] = {}
        with replacing(self._work.quarantine) as quarantine:
            for line in self._work.lines():
                if "rejected" in line:
                    quarantine.write((json.dumps(line["rejected"], sort_keys=True) + "\n").encode())
                    self._rejected[line["rejected"]["reason"]] += 1
                    continue
                row = line["row"]
                if why := self._why_not(row):
                    self._skipped[why] += 1
                    self._splits.append(LEFT_OUT)
                    continue
                kind = str(row.get("query_source", row.get("relevant")))
                sample = samples.setdefault(kind, Sample(most, digits=15))
                sample.offer(len(self._splits), row["id"])
                self._splits.append(TRAIN)
        return by_turns(samples[kind].drawn() for kind in sorted(samples))[:most]

    def _why_not(self, row: Row) -> str:
        """Why a good row is skipped all the same; one that is not, and what it leaks, goes into the report."""
        if double := self._doubles.seen(row):
            return f"{double.kind} duplicate"
        marks = self._leaks.marks(row)
        if marks and self._quality.leaks == "drop":
            return "leak"
        self._report.add(row, marks)
        return ""

    @property
    def counts(self) -> dict[str, Any]:
        """input = good + quarantined + skipped, and the reasons."""
        good = len(self._splits) - self._splits.count(LEFT_OUT)
        quarantined = self._rejected.total()
        skipped = self._skipped.total()
        reasons = {f"rejected: {why}": times for why, times in self._rejected.items()}
        reasons |= {f"skipped: {why}": times for why, times in self._skipped.items()}
        return {
            "input": good + quarantined + skipped,
            "good": good,
            "quarantined": quarantined,
            "skipped": skipped,
            "reasons": dict(sorted(reasons.items())),
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
                if self._splits[place] == split:
                    yield line["row"]
                place += 1

    def keys(self) -> Iterator[str]:
        """The replies that anything here was made of, rejected items and skipped rows included."""
        for line in self._work.lines():
            yield from line["keys"]
