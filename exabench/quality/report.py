"""Report: what the rows of a table are like, in figures; the same whatever the order of the rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from exabench.quality._texts import passages_of, words
from exabench.rows import Row

REPAIRS = ("malformed", "repeated", "missing", "out_of_range")
"""What a listwise answer may need, in the order of the columns."""


class Report:
    """Figures over the rows of a table, row by row; memory does not grow with their number.

    Lengths are in words, percentiles the nearest rank, shares between 0 and 1 and rounded to six digits.
    """

    def __init__(self) -> None:
        self._rows = 0
        self._lengths: dict[str, Counter[int]] = {}
        self._shares: dict[str, Counter[str]] = {}
        self._counts: dict[str, Counter[str]] = {}
        self._leaks: dict[str, Counter[str]] = {}

    def add(self, row: Row, leaks: Mapping[str, Iterable[str]] | None = None) -> None:
        """Count a row, with what it leaks (`Leaks.marks`); None: nobody looked."""
        self._rows += 1
        passages = passages_of(row)
        self._text("query", row["query"])
        for passage in passages:
            self._text("passage", passage.text)
        if "explanation" in row:
            self._text("explanation", row["explanation"])
            self._share("labels", "relevant" if row["relevant"] else "not relevant")
        if "negative_ids" in row:
            self._length("negatives", len(row["negative_ids"]))
            self._count("negative sources", row["negative_sources"])
        if "first_stage" in row:
            self._listwise(row)
        if "first_stages" in row:
            self._length("list", len(row["passage_ids"]))
            self._count("first stages", row["first_stages"])
        if "query_source" in row:
            self._share("query sources", row["query_source"])
        if leaks is not None:
            self._leaked(leaks)

    def figures(self) -> dict[str, Any]:
        """All figures as JSON holds them; those that the family does not have are not there.

        `leaks`, where somebody looked: rows that share something with any benchmark, their rate, and by benchmark the
        rows that share something and how many share what.
        """
        found: dict[str, Any] = {"rows": self._rows}
        found |= {name: _spread(lengths) for name, lengths in sorted(self._lengths.items())}
        found |= {name: _portions(values) for name, values in sorted(self._shares.items())}
        found |= {name: dict(sorted(values.items())) for name, values in sorted(self._counts.items())}
        if "repairs" in self._counts:
            found["repairs"] = {kind: self._counts["repairs"][kind] for kind in REPAIRS}
        if self._leaks:
            rows = self._leaks[""]["rows"]
            by_task = {task: dict(sorted(counts.items())) for task, counts in sorted(self._leaks.items()) if task}
            found["leaks"] = {"rows": rows, "rate": _rate(rows, self._rows), "benchmarks": by_task}
        return found

    def _listwise(self, row: Row) -> None:
        self._length("list", len(row["passage_ids"]))
        self._share("first stages", row["first_stage"])
        repairs = {kind: row[kind] for kind in REPAIRS}
        self._counts.setdefault("repairs", Counter()).update(repairs)
        self._share("lists", "repaired" if any(repairs.values()) else "whole")

    def _leaked(self, leaks: Mapping[str, Iterable[str]]) -> None:
        self._leaks.setdefault("", Counter())["rows"] += bool(leaks)
        for task, kinds in leaks.items():
            self._leaks.setdefault(task, Counter()).update(["rows", *kinds])

    def _text(self, name: str, text: str) -> None:
        self._length(f"{name} words", len(words(text)))

    def _length(self, name: str, size: int) -> None:
        self._lengths.setdefault(name, Counter())[size] += 1

    def _share(self, name: str, value: str) -> None:
        self._shares.setdefault(name, Counter())[value] += 1

    def _count(self, name: str, values: Iterable[str]) -> None:
        self._counts.setdefault(name, Counter()).update(values)


def _spread(lengths: Mapping[int, int]) -> dict[str, float]:
    """Mean, nearest-rank percentiles and extremes of a histogram `{value: how often}`."""
    total, values = sum(lengths.values()), sorted(lengths)
    found: dict[str, float] = {"mean": round(sum(value * lengths[value] for value in values) / total, 6)}
    for percent in (5, 50, 95):
        below = 0
        for value in values:
            below += lengths[value]
            if below * 100 >= percent * total:
                found[f"p{percent}"] = value
                break
    return found | {"min": values[0], "max": values[-1]}


def _portions(values: Mapping[str, int]) -> dict[str, float]:
    total = sum(values.values())
    return {value: _rate(count, total) for value, count in sorted(values.items())}


def _rate(part: int, whole: int) -> float:
    return round(part / whole, 6) if whole else 0.0
