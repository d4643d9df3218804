"""Metrics: one number for each query, from its ranking and its judgements.

A metric is one file that holds one function of the file's name: `(graded, k) -> values`, where `graded` holds
the grades in ranking order (see measure/graded.py), `k` is the cutoff or None for the whole ranking, and `values` is
float64 with one entry for each query of the qrels. Keywords are the metric's options, whole numbers or numbers by their
annotation: `rel` is the relevance level of `RR(rel=2)@10`. To add a metric, add its file; its name works at once in
`measure(qrels, run, ["name@10"])` and on the command line, in the spelling of its `__name__`.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from exabench.core.shelf import Shelf
from exabench.measure.graded import Graded


class Metric(Protocol):
    """A function from graded rankings to one value in [0, 1] for each query."""

    def __call__(self, graded: Graded, k: int | None, **options: float) -> np.ndarray:
        """Values, shape (queries,), float64. Raises BadInput for a cutoff or an option that makes no sense."""


METRICS = Shelf("metric", __name__, __file__)
