"""Reports of studies: what every setting got, what was tested, and what was published; a file, and tables of it.

A board keeps them in studies/<name>/report.json, and its pages show them. The file holds no date and nothing of the
machine, so that the same results give the same bytes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from msgspec import Meta

from exabench.core.errors import BadInput
from exabench.core.files import read_json
from exabench.core.records import Record, read
from exabench.core.tables import csv_text, latex_table, latex_text
from exabench.measure.statistics import ALPHA

NOT_AVAILABLE = "not available"
MACHINERY = "checks the machinery, not the claim"
MEAN = "mean of tasks"
"""The name of what stands for all tasks of a study together, where they have one metric."""

Text = Annotated[str, Meta(max_length=2000)]
Word = Annotated[str, Meta(min_length=1, max_length=300)]
Value = Annotated[float, Meta(ge=0, le=1)]
Difference = Annotated[float, Meta(ge=-1, le=1)]
Bound = Annotated[float, Meta(ge=-100, le=100)]  # of an interval of few queries, which may reach beyond what can be
Count = Annotated[int, Meta(ge=0, le=10**9)]
Digest = Annotated[str, Meta(pattern="^sha256:[0-9a-f]{64}$")]
_MOST = 20_000  # of rows: a thousand settings on twenty tasks


class StudyData(Record, frozen=True):
    """A table that a cell was trained on: release, table, and the digest of its content."""

    name: Word
    table: Word
    content: Word


class StudyCell(Record, frozen=True):
    """A model of a study: its setting and seed (None: untrained), and how it was trained.

    `fingerprint` is that of its training recipe, `best` the step that was kept of `steps`, `runs` the digest of its run
    on each task.
    """

    setting: Word
    seed: int | None
    key: Word
    fingerprint: Text
    steps: Count
    best: Count
    data: Annotated[list[StudyData], Meta(max_length=100)]
    runs: Annotated[dict[Word, Digest], Meta(max_length=1000)]


class StudyRow(Record, frozen=True):
    """What a setting got on a task: the mean over seeds of the metric's mean over queries, and its interval (95%).

    `by_seed` are the means of single seeds; of the list's own order (`first_stage`) there is one. `published` is the
    printed figure of `system`, None where none is available.
    """

    setting: Word
    task: Word
    candidates: Text
    metric: Word
    queries: Count
    value: Value
    low: Value
    high: Value
    by_seed: Annotated[list[Value], Meta(max_length=1000)]
    first_stage: bool = False
    published: Value | None = None
    system: Text = ""
    source: Text = ""

    @property
    def difference(self) -> float | None:
        """By how much it is above the published figure."""
        if self.published is None:
            return None
        return self.value - self.published


class StudyComparison(Record, frozen=True):
    """Setting A against setting B on a task: the paired test over queries, whose values are means over seeds.

    `p_holm` is corrected over all comparisons of the study on single tasks, or over those of the mean. `needed` is how
    many queries would show the difference (statistics.needed_queries, at the level of Holm's first comparison), where
    these did not. In a study that checks the machinery there is only the difference.
    """

    a: Word
    b: Word
    task: Word
    queries: Count
    difference: Difference
    low: Bound | None = None
    high: Bound | None = None
    p: Value | None = None
    p_holm: Value | None = None
    needed: Annotated[int, Meta(ge=0)] | None = None

    @property
    def verdict(self) -> str:
        """In words: who is better, or that the data cannot decide, and how many queries would."""
        if self.p_holm is None:
            return MACHINERY
        if self.p_holm < ALPHA:
            return "better" if self.difference > 0 else "worse"
        if self.needed is None:
            return "cannot be decided"
        return f"cannot be decided; about {self.needed:,} queries would"


class StudyReport(Record, frozen=True):
    """The report of a study."""

    name: Annotated[str, Meta(pattern="^[A-Za-z0-9_][A-Za-z0-9._-]{0,99}$")]
    title: Word
    baseline: Word
    seeds: Annotated[list[int], Meta(max_length=1000)]
    checks: Literal["claim", "machinery"]
    fingerprint: Digest
    cells: Annotated[list[StudyCell], Meta(max_length=_MOST)]
    rows: Annotated[list[StudyRow], Meta(min_length=1, max_length=_MOST)]
    comparisons: Annotated[list[StudyComparison], Meta(max_length=_MOST)]
    question: Text = ""
    note: Text = ""
    format: Literal[1] = 1

    def against_baseline(self, row: StudyRow) -> StudyComparison | None:
        """The comparison of a row's setting with the baseline on the row's task, if there is one."""
        return self._compared.get((row.setting, self.baseline, row.task))

    @property
    def _compared(self) -> dict[tuple[str, str, str], StudyComparison]:
        return {(one.a, one.b, one.task): one for one in self.comparisons}

    @property
    def others(self) -> list[StudyComparison]:
        """The comparisons that are not with the baseline."""
        return [one for one in self.comparisons if one.b != self.baseline]

    @property
    def is_machinery(self) -> bool:
        """Does it only check the machinery?"""
        return self.checks == "machinery"

    def table_rows(self) -> list[dict[str, Any]]:
        """A row for each setting and task, its numbers in full; what there is not is None."""
        rows = []
        for row in self.rows:
            line: dict[str, Any] = {"setting": row.setting, "task": row.task, "candidates": row.candidates}
            line |= {"metric": row.metric, "queries": row.queries, "seeds": len(row.by_seed)}
            line |= {"value": row.value, "low": row.low, "high": row.high}
            tested = self.against_baseline(row)
            line["to_baseline"] = tested.difference if tested else None
            if not self.is_machinery:
                line["to_baseline_low"] = tested.low if tested else None
                line["to_baseline_high"] = tested.high if tested else None
                line["p"] = tested.p if tested else None
                line["p_holm"] = tested.p_holm if tested else None
                line["queries_needed"] = tested.needed if tested else None
            line["published"] = NOT_AVAILABLE if row.published is None else row.published
            line["to_published"] = row.difference
            line |= {"system": row.system, "source": row.source}
            rows.append(line)
        return rows

    @property
    def header(self) -> tuple[str, ...]:
        """The head of `shown_rows`."""
        columns = ["setting", "task", "metric", "mean", "95% interval", f"against {self.baseline}"]
        if not self.is_machinery:
            columns += ["p", "p (Holm)"]
        return (*columns, "published", "difference")

    def shown_rows(self) -> list[tuple[str, ...]]:
        """The rows as texts, with four decimals."""
        return [self._shown(row) for row in self.rows]

    def _shown(self, row: StudyRow) -> tuple[str, ...]:
        cells = [row.setting, row.task, row.metric, f"{row.value:.4f}", f"[{row.low:.4f}, {row.high:.4f}]"]
        tested = self.against_baseline(row)
        against = ""
        p_values = ["", ""]
        if tested is not None:
            against = f"{tested.difference:+.4f}"
            if tested.low is not None and tested.high is not None:
                against += f" [{tested.low:+.4f}, {tested.high:+.4f}]"
            p_values = [_p_text(tested.p), _p_text(tested.p_holm)]
        elif row.setting == self.baseline:
            against = "baseline"
        cells.append(against)
        if not self.is_machinery:
            cells += p_values
        if row.published is None or row.difference is None:
            return (*cells, NOT_AVAILABLE, "")
        return (*cells, f"{row.published:.4f}", f"{row.difference:+.4f}")

    def remarks(self) -> list[str]:
        """The lines under the table: what is undecided, comparisons other than with the baseline, and the marking."""
        lines = []
        if self.is_machinery:
            lines.append(f"This study {MACHINERY}: it gives no p-value.")
        for one in self.comparisons:
            what = f"{one.a} against {one.b} on {one.task}: {one.difference:+.4f}"
            if self.is_machinery:
                if one.b != self.baseline:
                    lines.append(what)
            elif one.b != self.baseline or (one.p_holm or 0) >= ALPHA:
                lines.append(f"{what}, p {_p_text(one.p_holm)} after Holm: {one.verdict}")
        return lines

    def csv(self) -> str:
        """`table_rows` as CSV."""
        return csv_text(self.table_rows())

    def markdown(self) -> str:
        """The table and its remarks as Markdown."""
        # Loads Jinja, which an installation for scoring has not: boards read reports there, too.
        from exabench.hub.cards.markdown import table as markdown_table

        text = str(markdown_table(self.header, self.shown_rows())) + "\n"
        for line in self.remarks():
            text += f"\n- {line}"
        return text

    def latex(self) -> str:
        """The table as LaTeX (it needs the package booktabs)."""
        rows = []
        for row in self.shown_rows():
            rows.append(" & ".join(map(latex_text, row)))
        columns = "lll" + "r" * (len(self.header) - 3)
        return latex_table(columns, " & ".join(map(latex_text, self.header)), rows)


def _p_text(value: float | None) -> str:
    if value is None:
        return ""
    if value < 0.0001:  # four digits cannot tell such values apart
        return "< 0.0001"
    return f"{value:.4f}"


def read_study_report(file: str | Path) -> StudyReport:
    """The report of a study in a file. Raises BadInput for what is not one, and for names that do not fit together."""
    report = read(StudyReport, read_json(file), file=file, what="does not contain the report of a study:")
    settings = set()
    places = []
    for row in report.rows:
        settings.add(row.setting)
        places.append((row.setting, row.task))
    named = [report.baseline]
    for one in report.comparisons:
        named += [one.a, one.b]
    named += [cell.setting for cell in report.cells]
    for name in named:
        if name not in settings:
            raise BadInput("does not contain the report of a study: it has no row of this setting", file=file, id=name)
    if len(set(places)) < len(places):
        raise BadInput("does not contain the report of a study: a setting has two rows on one task", file=file)
    return report
