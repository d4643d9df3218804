"""Metric names and the one call that computes them: `measure(qrels, run, ["nDCG@10", "RR@10"])`."""

from __future__ import annotations

import difflib
import inspect
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from exabench.core.errors import BadInput, ExabenchError, UnknownName, printable
from exabench.core.ir_metrics import NAMES, measure_named
from exabench.core.nouns import Qrels, Run
from exabench.measure import other_metrics
from exabench.measure.graded import Graded, grade
from exabench.measure.metric_spellings import OTHER_NAMES, Spelling, read_spelling
from exabench.measure.metrics import METRICS

Value = TypeVar("Value")
# Judgements of no query: on them a metric refuses what it refuses, and computes nothing.
_NO_QUERIES = Graded((), np.zeros((0, 0), np.int32), np.zeros(0, np.int64), np.zeros((0, 0), np.int32), threshold=1)


@dataclass(frozen=True)
class MetricName:
    """A metric, its cutoff and its options, as in `RR(rel=2)@10`; `str()` gives the one form of all spellings.

    `metric` is spelt as published; `options` are pairs of name and value in the order of the metric's signature. Of a
    metric that ir_measures computes `metric` is the whole text.
    """

    metric: str
    k: int | None
    options: tuple[tuple[str, float], ...] = ()

    @classmethod
    def parse(cls, text: str | MetricName) -> MetricName:
        """Read a metric as trec_eval, ir_measures, BEIR, MTEB or ranx write it, in any case; a MetricName is itself.

        Raises UnknownName, BadInput for a cutoff or an option that the metric does not take, or MissingExtra.
        """
        if isinstance(text, MetricName):
            return text
        if not isinstance(text, str):
            raise BadInput(f"a metric name must be a string, not {printable(repr(text))}")
        spelling = read_spelling(text, METRICS)
        if spelling.name == "rbp":
            spelling.options.setdefault("p", 0.8)  # ir_measures' default, which the one form shows
        is_ours = spelling.name in METRICS
        if is_ours and spelling.options.keys() <= _options_of(spelling.name).keys():
            return _read_own(spelling)
        measure = measure_named(spelling.name, spelling.at, spelling.options)
        if measure is not None:
            return cls(measure, None)
        if is_ours:
            known = ", ".join(_options_of(spelling.name)) or "none"
            raise BadInput(f"metric {printable(text)!r} has an unknown option; its options: {known}")
        raise UnknownName("metric", text, _choices(spelling.name))

    def __str__(self) -> str:
        text = self.metric
        if self.options:
            text += "(" + ",".join(f"{name}={value!r}" for name, value in self.options) + ")"
        if self.k is not None:
            text += f"@{self.k}"
        return text

    def values(self, graded: Graded) -> np.ndarray:
        """The metric's value of each query of `graded`, shape (queries,), float64, in the order of its ids.

        Raises BadInput for a metric that needs a cutoff and has none, for one that takes none and has one, and for a
        metric that gives no number for some query.
        """
        if self.metric.lower() in METRICS:
            found = METRICS[self.metric.lower()](graded, self.k, **dict(self.options))
        else:
            found = other_metrics.values(self.metric, graded)
        # A metric of somebody's own may count in bools or whole numbers.
        values = np.asarray(found, np.float64)
        if not np.isfinite(values).all():
            place = int(np.flatnonzero(~np.isfinite(values))[0])
            raise BadInput(f"{self} of query {graded.query_ids[place]!r} is {values[place]}, which is not a number")
        return values


class MissingMetric(BadInput, KeyError):
    """A metric that a measurement does not hold; the message lists those that it does."""

    __str__ = Exception.__str__  # KeyError would put the message in quotes


class ByMetric(dict[str, Value]):
    """Values by metric, to be asked for in any spelling: `means["ndcg_cut_10"]` is `means["nDCG@10"]`."""

    def __missing__(self, text: str) -> Value:
        """The value under another spelling. Raises MissingMetric."""
        try:
            name = str(MetricName.parse(text))
        except (ExabenchError, TypeError):  # no name at all: what is there is said all the same
            name = ""
        if name not in self:
            raise MissingMetric(f"{printable(str(text))!r} was not computed; there is {', '.join(self) or 'nothing'}")
        return self[name]


def _options_of(metric: str) -> Mapping[str, inspect.Parameter]:
    """The options of a metric of the shelf: the parameters behind `graded` and `k`."""
    parameters = list(inspect.signature(METRICS[metric]).parameters.items())
    return dict(parameters[2:])


def _read_own(spelling: Spelling) -> MetricName:
    """The name of a metric of the shelf. Raises BadInput for a value that it does not take."""
    function = METRICS[spelling.name]
    k = None
    if spelling.at is not None:
        if not re.fullmatch(r"[1-9]\d*", spelling.at):
            raise BadInput(f"the cutoff of {function.__name__} is a whole number from 1, not {spelling.at}")
        k = int(spelling.at)
    options = []
    for name, parameter in _options_of(spelling.name).items():
        if name not in spelling.options:
            continue
        value = spelling.options[name]
        _check_option(f"{function.__name__}'s {name}", value, str(parameter.annotation))
        if value != parameter.default:  # else one metric would have two names
            options.append((name, value))
    found = MetricName(function.__name__, k, tuple(options))
    found.values(_NO_QUERIES)  # whatever the metric itself refuses is told before a file is read
    return found


def _check_option(what: str, value: Any, annotation: str) -> None:
    """Raise BadInput where a value is not a number of the kind that the annotation names."""
    shown = printable(repr(value))
    if annotation.startswith("int"):
        if type(value) is not int or value < 1:  # a grade of 0 is judged not relevant
            raise BadInput(f"{what} is a whole number from 1, not {shown}")
    elif type(value) not in (int, float):
        raise BadInput(f"{what} is a number, not {shown}")


def _choices(name: str) -> list[str]:
    """What is said next to an unknown name: the nearest of all that are known, else the metrics of the shelf."""
    own = {metric: METRICS[metric].__name__ for metric in METRICS}
    known = {other.lower(): other for other in [*OTHER_NAMES, *NAMES]}
    known.update(own)
    near = difflib.get_close_matches(name.lower(), sorted(known), n=3, cutoff=0.5)
    if near:
        return [known[one] for one in near]
    return list(own.values())


def measure(
    qrels: Qrels, run: Run, metrics: Sequence[str | MetricName], *, threshold: int = 1
) -> tuple[tuple[str, ...], dict[str, np.ndarray]]:
    """Query ids (every judged query, sorted) and, for each metric, float64 values in their order.

    `metrics` may be spelt as others do; the keys are the one form of each. A query that the run does not answer has the
    value 0. `threshold` is the lowest relevant grade of metrics that do not name one.
    """
    names = [MetricName.parse(text) for text in metrics]
    # Ranks below the deepest cutoff change no value, and need not be graded.
    graded = grade(qrels, run, threshold=threshold, depth=deepest_cutoff(names))
    return graded.query_ids, {str(name): name.values(graded) for name in names}


def deepest_cutoff(names: Sequence[MetricName]) -> int | None:
    """The deepest rank that some of the metrics look at; None where one looks at the whole list."""
    cutoffs = [name.k for name in names if name.k]
    if len(cutoffs) < len(names):
        return None
    return max(cutoffs, default=0)


def mean(values: Iterable[float]) -> float:
    """The mean with an exact sum (math.fsum): the same bits in whatever order the queries come; 0 for none."""
    listed = list(values)
    if not listed:
        return 0.0
    return math.fsum(listed) / len(listed)
