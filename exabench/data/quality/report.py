"""Report: what the rows of a table are like, in figures; the same whatever the order of the rows."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from exabench.core.rows import Row
from exabench.data.quality._texts import length, passages_of
from exabench.parts.permutation import KINDS as REPAIRS

Counters = defaultdict[str, Counter[Any]]


class Report:
    """Figures over the rows of a table, row by row; memory does not grow with their number.

    Lengths are in words, percentiles the nearest rank, shares between 0 and 1 and rounded to six digits.
    """

    def __init__(self) -> None:
        self._rows = 0
        self._lengths = Counters(Counter)
        self._shares = Counters(Counter)
        self._counts = Counters(Counter)
        self._leaks = Counters(Counter)
        self._leaking = 0

    def add(self, row: Row, leaks: Mapping[str, Iterable[str]]) -> None:
        """Count a row, with what it leaks (`Leaks.marks`)."""
        self._rows += 1
        self._lengths["query words"][length(row["query"])] += 1
        for passage in passages_of(row):
            self._lengths["passage words"][length(passage.text)] += 1
        if "explanation" in row:
            self._lengths["explanation words"][length(row["explanation"])] += 1
            self._shares["labels"]["relevant" if row["relevant"] else "not relevant"] += 1
        if "negative_ids" in row:
            self._lengths["negatives"][len(row["negative_ids"])] += 1
            self._counts["negative sources"].update(row["negative_sources"])
        if "passage_ids" in row:
            self._lengths["list"][len(row["passage_ids"])] += 1
        if "first_stage" in row:
            self._shares["first stages"][row["first_stage"]] += 1
            repairs = {kind: row[kind] for kind in REPAIRS}
            if min(repairs.values()) >= 0:  # else it is not known what the answer needed
                self._shares["lists"]["repaired" if any(repairs.values()) else "whole"] += 1
                self._counts["repairs"].update(repairs)
        if "first_stages" in row:
            self._counts["passages by first stages"].update(row["first_stages"])
        if "query_source" in row:
            self._shares["query sources"][row["query_source"]] += 1
        self._leaking += bool(leaks)
        for task, kinds in leaks.items():
            self._leaks[task].update(["rows", *kinds])

    def figures(self) -> dict[str, Any]:
        """All figures as JSON holds them; those that the family does not have are not there.

        `leaks`: rows that share something with any benchmark, their rate, and by benchmark the rows that share
        something and how many share what.
        """
        figures: dict[str, Any] = {"rows": self._rows}
        for name, lengths in sorted(self._lengths.items()):
            total = lengths.total()
            values = sorted(lengths)
            mean = sum(value * times for value, times in lengths.items()) / total
            spread = {"mean": round(mean, 6)}
            for percent in (5, 50, 95):
                # Nearest rank: the smallest value with at least that share of the rows at or below it.
                below = 0
                for value in values:
                    below += lengths[value]
                    if below * 100 >= percent * total:
                        spread[f"p{percent}"] = value
                        break
            figures[name] = {**spread, "min": values[0], "max": values[-1]}
        for name, shares in sorted(self._shares.items()):
            total = shares.total()
            figures[name] = {value: round(count / total, 6) for value, count in sorted(shares.items())}
        for name, counts in sorted(self._counts.items()):
            figures[name] = dict(sorted(counts.items()))
        if "repairs" in self._counts:
            # In the order of the columns, not of their names.
            figures["repairs"] = {kind: self._counts["repairs"][kind] for kind in REPAIRS}
        if self._rows:
            by_task = {task: dict(sorted(counts.items())) for task, counts in sorted(self._leaks.items())}
            rate = round(self._leaking / self._rows, 6)
            figures["leaks"] = {"rows": self._leaking, "rate": rate, "benchmarks": by_task}
        return figures
