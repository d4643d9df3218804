"""Metric names and the one call that computes them: `measure(qrels, run, ["nDCG@10", "RR@10"])`."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from exabench.core.errors import BadInput
from exabench.core.nouns import Qrels, Run
from exabench.measure.graded import Graded, grade
from exabench.measure.metrics import METRICS, Metric

_NAME = re.compile(r"([A-Za-z_]+)(?:@([1-9]\d{0,6}))?")


@dataclass(frozen=True)
class MetricName:
    """A metric and its cutoff, as in `nDCG@10`; `str()` gives the text it was read from, spelt as published."""

    metric: str
    k: int | None

    @classmethod
    def parse(cls, text: str) -> MetricName:
        """Read `name` or `name@k` in any case. Raises UnknownName or BadInput."""
        match = _NAME.fullmatch(text)
        if not match:
            raise BadInput(f"metric {text!r} must read name or name@cutoff, as in nDCG@10")
        name = match[1].lower()
        return cls(METRICS[name].__name__, int(match[2]) if match[2] else None)

    def __str__(self) -> str:
        return self.metric if self.k is None else f"{self.metric}@{self.k}"

    def values(self, graded: Graded) -> np.ndarray:
        """One float64 for each query."""
        function: Metric = METRICS[self.metric.lower()]
        return np.asarray(function(graded, self.k), np.float64)


def measure(
    qrels: Qrels, run: Run, metrics: Sequence[str], *, threshold: int = 1
) -> tuple[tuple[str, ...], dict[str, np.ndarray]]:
    """Query ids (every judged query, sorted) and, for each metric, float64 values in their order.

    A query that the run does not answer has the value 0. `threshold` is the lowest relevant grade.
    """
    # Ranks below the deepest cutoff change no value, and need not be graded.
    names = [MetricName.parse(text) for text in metrics]
    depth: int | None = 0
    for name in names:
        depth = max(depth, name.k) if depth is not None and name.k else None
    graded = grade(qrels, run, threshold=threshold, depth=depth)
    return graded.query_ids, {str(name): name.values(graded) for name in names}


def mean(values: Iterable[float]) -> float:
    """The mean with an exact sum (math.fsum): the same bits in whatever order the queries come; 0 for none."""
    listed = [float(value) for value in values]
    return math.fsum(listed) / len(listed) if listed else 0.0
