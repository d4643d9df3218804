"""Comparison: systems on the same queries: who wins, by how much, and whether that is noise."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import combinations
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from exabench.bench.contests import TaskContest, system_of
from exabench.bench.ledger import Ledger
from exabench.bench.scoring import RunScorer, values_of
from exabench.bench.suite_means import Suite
from exabench.bench.systems import near_files
from exabench.core.errors import BadInput, nearest, plural
from exabench.core.nouns import Measurement, Task
from exabench.core.tables import csv_text, data_frame, html_table, latex_table, latex_text
from exabench.measure.metric_values import MetricName
from exabench.measure.statistics import ALPHA, PairedTest, holm, paired_test


@dataclass(frozen=True)
class TaskComparison:
    """A against B on one task (and candidates): means, the paired test, and every query's two values.

    `corrected` is the test's p after Holm's correction: of runs over all comparisons of the table, of submissions
    over the tests of the better one against all below it over the same candidate list, as on the board's pages.
    """

    task: str
    metric: str
    a: float
    b: float
    test: PairedTest
    corrected: float
    per_query: Mapping[str, tuple[float, float]]
    systems: tuple[str, str]

    @property
    def verdict(self) -> str:
        """In words: who is better, or that the data cannot tell (corrected p below 0.05)."""
        if self.corrected >= ALPHA:
            return "not significantly different"
        return "A is better" if self.test.difference > 0 else "B is better"

    def as_json(self) -> dict[str, Any]:
        """Everything, as JSON holds it; `p_holm` is the corrected p."""
        return {
            "task": self.task,
            "metric": self.metric,
            "systems": list(self.systems),
            "a": self.a,
            "b": self.b,
            **self.test.as_json(),
            "p_holm": self.corrected,
            "verdict": self.verdict,
            "per_query": {query_id: list(values) for query_id, values in self.per_query.items()},
        }


class ComparisonTable(list[TaskComparison]):
    """Comparisons in order, as a list that can also be shown as a table.

    `measurements` are those of the systems, in the order given (of submissions, one for each task and system), and
    `notes` say what is odd about several runs at once; what is odd about one is among the notes of its measurement.
    """

    def __init__(
        self, comparisons: Iterable[TaskComparison], measurements: Sequence[Measurement], notes: Sequence[str] = ()
    ) -> None:
        super().__init__(comparisons)
        self.measurements = tuple(measurements)
        self.notes = tuple(notes)

    def as_json(self) -> dict[str, Any]:
        """The comparisons with every query's values, what else `score` says of each system, and the notes."""
        runs = []
        for measured in self.measurements:
            said = measured.as_json()
            del said["per_query"]
            runs.append(said)
        return {"tasks": [one.as_json() for one in self], "runs": runs, "notes": list(self.notes)}

    def __repr__(self) -> str:
        lines = [f"{one.task}: {one.metric} {one.a:.4f} and {one.b:.4f}, {one.verdict}" for one in self]
        return f"<ComparisonTable of {plural(len(self), 'comparison')}: {'; '.join(lines)}>"

    def _repr_html_(self) -> str:
        header = ("task", "metric", "A", "B", "A", "B", "A - B [95%]", "p", "p (Holm)", "verdict")
        rows = []
        for one in self:
            row = (one.task, one.metric, *one.systems, one.a, one.b, one.test.as_text(), one.test.p, one.corrected)
            rows.append((*row, one.verdict))
        return html_table(plural(len(self), "comparison"), header, rows)

    def rows(self) -> list[dict[str, Any]]:
        """A row for each comparison, its numbers in full."""
        rows = []
        for one in self:
            tested = one.test
            row: dict[str, Any] = {"task": one.task, "metric": one.metric}
            row["system_a"], row["system_b"] = one.systems
            # Numbers in full: whoever reads the file rounds.
            row |= {"a": one.a, "b": one.b, "difference": tested.difference}
            row["low"], row["high"] = tested.interval
            row |= {"wins": tested.wins, "ties": tested.ties, "losses": tested.losses}
            row |= {"effect_size": tested.effect_size, "p": tested.p, "p_holm": one.corrected, "verdict": one.verdict}
            rows.append(row)
        return rows

    def csv(self) -> str:
        """`rows` as CSV."""
        return csv_text(self.rows())

    def to_pandas(self) -> Any:
        """`rows` as a pandas DataFrame. Raises MissingExtra where pandas is not installed."""
        return data_frame(self.rows())

    def latex(self) -> str:
        """The numbers as a LaTeX table (it needs the package booktabs), a line for each comparison."""
        lines = []
        for one in self:
            interval = "[no interval: one query]"
            if one.test.queries > 1:
                low, high = one.test.interval
                interval = f"[${low:+.4f}$, ${high:+.4f}$]"
            names = (f"{one.task}, {one.metric}", *one.systems)
            line = " & ".join(map(latex_text, names))
            line += f" & {one.a:.4f} & {one.b:.4f}"
            line += f" & ${one.test.difference:+.4f}$ {interval}"
            line += f" & {_latex_p(one.test.p)} & {_latex_p(one.corrected)}"
            lines.append(line)
        return latex_table("lllrrrrr", r"Task & A & B & A & B & A $-$ B [95\,\%] & $p$ & $p$ (Holm)", lines)


def _latex_p(value: float) -> str:
    if value < 0.0001:  # four digits cannot tell such values apart
        return "$< 0.0001$"
    return f"{value:.4f}"


def compare(
    a: Any,
    b: Any,
    *others: Any,
    task: str | Task | None = None,
    qrels: Any = None,
    data: str | Path | None = None,
    metric: str | None = None,
    threshold: int | None = None,
    lock: str | Path | None = None,
    board: str | Path | None = None,
    test: str = "t",
) -> ComparisonTable:
    """Compare two runs, or each pair of several, on a task, on the tasks of a suite or on any qrels.

    All are given as `score` takes them; on a suite the last lines compare the macro means.
    `test` is "t" (Student's paired test) or "permutation". Raises BadInput or OutsideFailed.
    """
    run_scorer = RunScorer(task, qrels, data, threshold, lock, board)
    found = run_scorer.measure([a, b, *others], [metric] if metric else (), _headline_of)
    pairs = []
    families = []
    means = []
    for first, second in combinations(found.measurements, 2):
        for one, other in zip(first, second, strict=True):
            pairs.append((run_scorer.label(one), one, other))
            families.append("tasks")
        if run_scorer.suite:
            means.append(_compare_means(run_scorer.suite, first, second, test))
    # The means are another family: they repeat the tasks.
    corrected = holm([one.test.p for one in means])
    means = [replace(one, corrected=p) for one, p in zip(means, corrected, strict=True)]
    measurements: list[Measurement] = []
    for of_system in found.measurements:
        measurements += of_system
    return ComparisonTable([*_compare_pairs(pairs, metric, test, families), *means], measurements, found.notes)


def _headline_of(task: Task | None) -> Sequence[str]:
    return [task.headline if task else "nDCG@10"]


def _compare_means(suite: Suite, a: Sequence[Measurement], b: Sequence[Measurement], test: str) -> TaskComparison:
    """Two systems' macro means of their headlines, by a test over the queries of all tasks; p is not corrected yet."""
    values = []
    means = []
    for measurements in (a, b):
        of_system = {str(one.task): one for one in measurements}
        values.append(suite.arrays_of({task: values_of(one, one.headline) for task, one in of_system.items()}))
        means.append(suite.mean_of({task: one[one.headline] for task, one in of_system.items()}))
    tested = paired_test(values[0], values[1], test)
    # Tasks of a suite may have different headlines (R@1 next to nDCG@10); the mean is of each task's own.
    metric = " and ".join(sorted({one.headline for one in a}))
    systems = (a[0].run, b[0].run)
    return TaskComparison(suite.label, metric, means[0], means[1], tested, tested.p, {}, systems)


def compare_submissions(
    a: str,
    b: str,
    board: str | Path,
    *others: str,
    task: str | None = None,
    candidates: str | None = None,
    metric: str | None = None,
    test: str = "t",
) -> ComparisonTable:
    """Compare two submissions of a leaderboard, or each pair of several, wherever both have a result.

    `task` and `candidates` (a list's name) choose among the results. Holm's correction is that of the board's pages
    (bench/contests.py). Raises BadInput for a submission without results, with like names, and where two share no
    result.
    """
    ledger = Ledger(Path(board))
    names = (a, b, *others)
    if not ledger.settings_file.is_file():
        raise _no_board(names, ledger.folder)
    results = {}
    for name in names:
        slug = name.replace("/", "--")
        found = {(one.task, one.candidates.name): one.measurement for one in ledger.results(slug)}
        if not found:
            raise _no_result(name, ledger)
        results[slug] = found
    pairs = []
    places = []  # task and candidate list of each pair
    compared: dict[tuple[str, str, str], Measurement] = {}
    # Each two once: a test of B against A is that of A against B with another sign.
    for (slug, first), (other, second) in combinations(results.items(), 2):
        shared = []
        chosen = []
        for key in sorted(first.keys() & second.keys()):
            of_task, of_list = key
            label = f"{of_task} ({of_list})"
            shared.append(label)
            if task in (None, of_task) and candidates in (None, of_list):
                chosen.append((label, first[key], second[key]))
                places.append((slug, other, *key))
                compared[slug, *key] = first[key]
                compared[other, *key] = second[key]
        if not chosen:
            wanted = ""
            if task or candidates:
                wanted = f" of {task or 'any task'} ({candidates or 'any candidates'})"
            there = ", ".join(shared) or "nothing"
            raise BadInput(f"{slug} and {other} share no result{wanted}; they share: {there}", file=board)
        pairs += chosen
    comparisons = []
    contest_of = cache(TaskContest.read)
    filed, _ = ledger.readable_submissions()
    for one, (slug, other, of_task, of_list) in zip(_compare_pairs(pairs, metric, test), places, strict=True):
        in_order = [one.per_query[query_id] for query_id in sorted(one.per_query)]
        own, theirs = np.array(in_order).T
        contest = contest_of(ledger, of_task, of_list, one.metric)
        systems = {system_of(filed[name]) for name in (slug, other) if name in filed}
        p = contest.corrected((slug, own), (other, theirs), systems, test)
        comparisons.append(replace(one, corrected=p))
    return ComparisonTable(comparisons, list(compared.values()))


def _no_board(names: Sequence[str], folder: Path) -> BadInput:
    """The error for names that no board can answer for: likely run files that are misspelt."""
    files = []
    for name in names:
        files += near_files(Path(name))
    hint = ""
    if files:
        hint = f"; did you mean {' or '.join(files)}?"
    listed = " and ".join(map(repr, names))
    return BadInput(f"{listed} are not run files, and {folder} is not a leaderboard with submissions{hint}")


def _no_result(name: str, ledger: Ledger) -> BadInput:
    """The error for a name that is neither a submission with results nor a run: with those that are like it."""
    hint = nearest(name.replace("/", "--"), ledger.slugs_with_results())
    files = near_files(Path(name))
    if files:
        hint = f"did you mean {' or '.join(files)}?"
    return BadInput(f"{name} is not a run file, and has no result there; {hint}", file=ledger.folder)


def comparison_table(*_: Any, **__: Any) -> NoReturn:
    """The LaTeX table of version 0.1. Raises BadInput that says what to write instead."""
    raise BadInput("comparison_table was removed: use exabench.compare(run, run, ..., task=...).latex()")


def _compare_pairs(
    pairs: Sequence[tuple[str, Measurement, Measurement]],
    metric: str | None,
    test: str,
    families: Sequence[str] | None = None,
) -> list[TaskComparison]:
    """The comparison of each (name, A, B); p is corrected within each of the `families`, one for each pair."""
    tested = []
    for name, first, second in pairs:
        chosen = first.headline
        if metric:
            chosen = str(MetricName.parse(metric))  # as results write it: ndcg@10 is nDCG@10
        for measured in (first, second):
            if chosen not in measured.per_query:
                raise BadInput(f"{measured.run} has no {chosen} on {name}; it has {', '.join(measured.metrics)}")
        values = second.per_query[chosen]
        per_query = {query_id: (value, values[query_id]) for query_id, value in first.per_query[chosen].items()}
        own, other = np.array(list(per_query.values())).T
        found = paired_test([own], [other], test)
        systems = (first.run, second.run)
        tested.append(TaskComparison(name, chosen, first[chosen], second[chosen], found, found.p, per_query, systems))
    # The comparisons over lists of one name, whatever their tasks, are one family; without lists all are one.
    corrected = holm([one.test.p for one in tested], families)
    return [replace(one, corrected=p) for one, p in zip(tested, corrected, strict=True)]
