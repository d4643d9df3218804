"""Comparison: systems on the same queries: who wins, by how much, and whether that is noise."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from exabench.bench.ledger import Ledger
from exabench.bench.measurement import measurement
from exabench.bench.notes import equal_runs
from exabench.core.errors import BadInput, nearest, plural
from exabench.core.nouns import Measurement, Task
from exabench.core.tables import data_frame, html_table
from exabench.measure.metric_values import MetricName
from exabench.measure.runs import run_from
from exabench.measure.statistics import ALPHA, PairedTest, holm, paired_test
from exabench.tasks.collections import judgements_of


@dataclass(frozen=True)
class TaskComparison:
    """A against B on one task (and candidates): means, the paired test, and every query's two values.

    `corrected` is the test's p after Holm's correction over the comparisons on the same candidate list.
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
            return "no difference that these queries can show"
        return "A is better" if self.test.difference > 0 else "B is better"

    def as_json(self) -> dict[str, Any]:
        """Everything, as JSON holds it; `p_holm` is the corrected p."""
        return {
            "task": self.task,
            "metric": self.metric,
            "a": self.a,
            "b": self.b,
            **self.test.as_json(),
            "p_holm": self.corrected,
            "verdict": self.verdict,
            "per_query": {query_id: list(values) for query_id, values in self.per_query.items()},
        }


class ComparisonTable(list[TaskComparison]):
    """Comparisons in order, as a list that also makes a table of itself.

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
        header = ("task", "metric", "A", "B", "A", "B", "A - B [95 %]", "p", "p (Holm)", "verdict")
        rows = []
        for one in self:
            low, high = one.test.interval
            difference = f"{one.test.difference:+.4f} [{low:+.4f}, {high:+.4f}]"
            row = (one.task, one.metric, *one.systems, one.a, one.b, difference, one.test.p, one.corrected)
            rows.append((*row, one.verdict))
        return html_table(plural(len(self), "comparison"), header, rows)

    def to_pandas(self) -> Any:
        """A row for each comparison, as a pandas DataFrame. Raises MissingExtra where pandas is not installed."""
        rows = []
        for one in self:
            first, second = one.systems
            low, high = one.test.interval
            row: dict[str, Any] = {"task": one.task, "metric": one.metric, "system_a": first, "system_b": second}
            row |= {"a": one.a, "b": one.b}
            row |= {"difference": one.test.difference, "low": low, "high": high, "p": one.test.p}
            rows.append({**row, "p_holm": one.corrected, "verdict": one.verdict})
        return data_frame(rows)

    def latex(self) -> str:
        """The numbers as a LaTeX table (it needs the package booktabs), a line for each comparison."""
        lines = [
            r"\begin{tabular}{lllrrrrr}",
            r"\toprule",
            r"Task & A & B & A & B & A $-$ B [95\,\%] & $p$ & $p$ (Holm) \\",
            r"\midrule",
        ]
        for one in self:
            low, high = one.test.interval
            names = (f"{one.task}, {one.metric}", *one.systems)
            line = " & ".join(map(_latex_text, names))
            line += f" & {one.a:.4f} & {one.b:.4f}"
            line += f" & ${one.test.difference:+.4f}$ [${low:+.4f}$, ${high:+.4f}$]"
            line += f" & {one.test.p:.4f} & {one.corrected:.4f}"
            lines.append(line + r" \\")
        return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"]) + "\n"


def _latex_text(text: str) -> str:
    """Text as LaTeX prints it, whatever signs are in it."""
    text = text.replace("\\", r"\textbackslash ")  # first: the signs below get a backslash of their own
    for sign in "&%$#_{}":
        text = text.replace(sign, f"\\{sign}")
    return text


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
    """Compare two runs, or each two of several, on a task or on any qrels, all given as `score` takes them.

    `test` is "t" (Student's paired test) or "permutation". Raises BadInput or OutsideFailed.
    """
    if metric:
        MetricName.parse(metric)  # told before a file is read
    # All are read before judgements are looked for and the first is measured: a file that is missing is told at once.
    runs = [run_from(run) for run in (a, b, *others)]
    judged = judgements_of(task, qrels, data, threshold, lock, board)
    name = None
    if judged.task:
        name = judged.task.name
        metric = metric or judged.task.headline
    metric = metric or "nDCG@10"
    measured = []
    for run in runs:
        measured.append(
            measurement(run, judged.qrels, judged.convention, [metric], task=name, excluded=judged.excluded)
        )
    pairs = [(judged.name, *pair) for pair in combinations(measured, 2)]
    return ComparisonTable(_compare_pairs(pairs, metric, test), measured, equal_runs(runs))


def compare_submissions(
    a: str,
    b: str,
    board: str | Path,
    *,
    task: str | None = None,
    candidates: str | None = None,
    metric: str | None = None,
    test: str = "t",
) -> ComparisonTable:
    """Compare two submissions of a leaderboard on every task and candidate list that both have a result for.

    `task` and `candidates` (a list's name) choose among them; Holm's correction is over those of one list that are
    compared. Raises BadInput where none is left.
    """
    ledger = Ledger(Path(board))
    ledger.check_exists()
    slugs = []
    found = []
    for name in (a, b):
        slug = name.replace("/", "--")
        results = {(result.task, result.candidates.name): result.measurement for result in ledger.results(slug)}
        if not results:
            raise BadInput(f"{slug} has no result there; {nearest(slug, ledger.slugs_with_results())}", file=board)
        slugs.append(slug)
        found.append(results)
    first, second = found
    shared = []
    pairs = []
    families = []
    for key in sorted(first.keys() & second.keys()):
        of_task, of_list = key
        label = f"{of_task} ({of_list})"
        shared.append(label)
        if task in (None, of_task) and candidates in (None, of_list):
            pairs.append((label, first[key], second[key]))
            families.append(of_list)
    if not pairs:
        wanted = ""
        if task or candidates:
            wanted = f" of {task or 'any task'} ({candidates or 'any candidates'})"
        there = ", ".join(shared) or "nothing"
        raise BadInput(f"{' and '.join(slugs)} share no result{wanted}; they share: {there}", file=board)
    measured = [one for _, *pair in pairs for one in pair]
    return ComparisonTable(_compare_pairs(pairs, metric, test, families), measured)


def comparison_table(*_: Any, **__: Any) -> NoReturn:
    """The LaTeX table of version 0.1. Raises BadInput that says what to write instead."""
    raise BadInput("comparison_table is gone: write exabench.compare(run, run, ..., task=...).latex()")


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
