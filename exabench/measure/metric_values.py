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
from exabench.measure.metrics import METRICS

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
        function = METRICS[match[1].lower()]
        k = None
        if match[2]:
            k = int(match[2])
        return cls(function.__name__, k)

    def __str__(self) -> str:
        return self.metric if self.k is None else f"{self.metric}@{self.k}"

    def values(self, graded: Graded) -> np.ndarray:
        """The metric's value of each query of `graded`, shape (queries,), float64, in the order of its ids.

        Raises BadInput for a metric that needs a cutoff and has none, and for one that takes none and has one.
        """
        values = METRICS[self.metric.lower()](graded, self.k)
        # A metric of somebody's own may count in bools or whole numbers.
        return np.asarray(values, np.float64)


def measure(
    qrels: Qrels, run: Run, metrics: Sequence[str], *, threshold: int = 1
) -> tuple[tuple[str, ...], dict[str, np.ndarray]]:
    """Query ids (every judged query, sorted) and, for each metric, float64 values in their order.

    A query that the run does not answer has the value 0. `threshold` is the lowest relevant grade.
    """
    names = [MetricName.parse(text) for text in metrics]
    # Ranks below the deepest cutoff change no value, and need not be graded.
    cutoffs = [name.k for name in names if name.k]
    depth = None
    if len(cutoffs) == len(names):
        depth = max(cutoffs, default=0)
    graded = grade(qrels, run, threshold=threshold, depth=depth)
    return graded.query_ids, {str(name): name.values(graded) for name in names}


def mean(values: Iterable[float]) -> float:
    """The mean with an exact sum (math.fsum): the same bits in whatever order the queries come; 0 for none."""
    listed = list(values)
    if not listed:
        return 0.0
    return math.fsum(listed) / len(listed)
