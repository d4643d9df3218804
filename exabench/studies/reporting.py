"""The report of a study: means over seeds, paired tests with Holm's correction, and the published figures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from exabench.bench.ledger import Ledger
from exabench.bench.study_reports import MEAN, StudyCell, StudyComparison, StudyData, StudyReport, StudyRow
from exabench.bench.submissions import read_training
from exabench.core.errors import BadInput, plural
from exabench.core.files import digest_of, json_text, only_writer, write
from exabench.core.records import as_builtins, read
from exabench.measure.statistics import ALPHA, PairedTest, holm, mean_intervals, needed_queries, paired_test
from exabench.studies.page import CellPlan, PrintedFigure, Study, StudyTask
from exabench.studies.running import CellResult, cell_folder, is_done, read_cell_result

REPORT = "report.json"


@dataclass(frozen=True)
class _TaskValues:
    """A task's values by setting: (seeds, queries) each, all over the queries of one list in one order."""

    task: StudyTask
    label: str
    metric: str
    first_stage: np.ndarray
    of_settings: Mapping[str, np.ndarray]

    def mean_of(self, setting: str) -> np.ndarray:
        """The mean over seeds of each query's value."""
        return np.asarray(self.of_settings[setting].mean(axis=0))


def report_study(study: Study, to: str | Path, *, board: str | Path | None = None) -> StudyReport:
    """Compare the cells of a study in its folder `to`, and write report.json there, and to a `board`'s studies.

    Seeds are averaged for each query first, so that the test is only over queries: it says nothing of other seeds than
    these. Raises BadInput for cells that are not done, or that did not rerank the same lists, CannotWrite.
    """
    folder = Path(to)
    ledger = None
    if board is not None:
        ledger = Ledger(Path(board))
        ledger.check_exists()
    lacking = []
    for cell in study.cells:
        if not is_done(cell_folder(folder, cell), study.page.tasks):
            lacking.append(str(cell))
    if lacking:
        raise BadInput(
            f"{plural(len(lacking), 'cell is', 'cells are')} not done: {', '.join(lacking[:5])}"
            f"{', ...' if len(lacking) > 5 else ''}; run `exabench study run {study.name} --to {folder}`",
            file=folder,
        )
    tasks, runs = _values(study, folder)
    report = StudyReport(
        name=study.name,
        title=study.page.title,
        question=study.page.question,
        note=study.page.note,
        baseline=study.page.baseline,
        seeds=study.page.seeds,
        checks=study.page.checks,
        fingerprint=digest_of(as_builtins(study.page)),
        cells=[_cell_of(folder, cell, runs[str(cell)]) for cell in study.cells],
        rows=_rows(study, tasks),
        comparisons=_comparisons(study, tasks),
    )
    told = as_builtins(report)
    read(StudyReport, told, file=study.file, what="cannot be reported:")  # refused now, not when a board is read
    text = json_text(told)
    with only_writer(folder):
        write(folder / REPORT, text)
    if ledger is not None:
        write(ledger.study_report(study.name), text)
    return report


def _values(study: Study, folder: Path) -> tuple[list[_TaskValues], dict[str, dict[str, str]]]:
    """The values of every task, and the digests of each cell's runs by the label of the task."""
    labels = _labels(study.page.tasks)
    tasks = []
    runs: dict[str, dict[str, str]] = {str(cell): {} for cell in study.cells}
    for task, label in labels.items():
        first: CellResult | None = None
        of_settings = {}
        for setting, cells in study.settings.items():
            of_seeds = []
            for cell in cells:
                result = read_cell_result(cell_folder(folder, cell), task)
                if first is None:
                    first = result
                if (result.candidates, result.queries.keys()) != (first.candidates, first.queries.keys()):
                    raise BadInput(
                        f"cell {cell} reranked another list of {task.task} than the first one; remove its folder "
                        f"{cell_folder(folder, cell)} and run the study again",
                        file=folder,
                    )
                of_seeds.append([result.queries[query] for query in sorted(first.queries)])
                runs[str(cell)][label] = result.run
            # Seeds stay apart here: the table shows them, and only tests take their mean.
            of_settings[setting] = np.array(of_seeds)
        assert first is not None, "a study has cells"
        own = np.array([first.first_stage[query] for query in sorted(first.queries)])
        tasks.append(_TaskValues(task, label, first.metric, own, of_settings))
    return tasks, runs


def _labels(tasks: Sequence[StudyTask]) -> dict[StudyTask, str]:
    """The tasks by what tells them apart in a table: the name, with list and metric where two have one name."""
    count = Counter(task.task for task in tasks)
    labels = {}
    for task in tasks:
        label = Path(task.task).name
        if count[task.task] > 1:
            label += f" ({task.candidates}-{task.depth}, {task.metric})"
        labels[task] = label
    return labels


def _rows(study: Study, tasks: Sequence[_TaskValues]) -> list[StudyRow]:
    """A row for each task and setting, the list's own order first; then those of the mean."""
    rows = []
    for task in tasks:
        listed = f"first stage: {task.task.candidates}"
        arrays = {listed: task.first_stage}
        for setting in study.settings:
            arrays[setting] = task.mean_of(setting)
        intervals = mean_intervals([[values] for values in arrays.values()])
        for (setting, values), (low, high) in zip(arrays.items(), intervals, strict=True):
            about: dict[str, Any] = {"by_seed": [float(values.mean())], "first_stage": setting == listed}
            if setting in task.of_settings:
                about["by_seed"] = task.of_settings[setting].mean(axis=1).tolist()
            about |= _published(study.figures.get((setting, task.task)))
            rows.append(
                StudyRow(
                    setting=setting,
                    task=task.label,
                    candidates=f"{task.task.candidates}-{task.task.depth}",
                    metric=task.metric,
                    queries=len(values),
                    value=float(values.mean()),
                    low=low,
                    high=high,
                    **about,
                )
            )
    if _has_mean(tasks):
        rows += _mean_rows(study, tasks)
    return rows


def _published(figure: PrintedFigure | None) -> dict[str, Any]:
    """The published figure of a row, where there is one."""
    if figure is None:
        return {}
    return {"published": figure.value, "system": figure.system, "source": figure.source}


def _has_mean(tasks: Sequence[_TaskValues]) -> bool:
    """Have several tasks one metric, so that their mean means something?"""
    return len(tasks) > 1 and len({task.metric for task in tasks}) == 1


def _mean_rows(study: Study, tasks: Sequence[_TaskValues]) -> list[StudyRow]:
    """The mean over tasks of each setting."""
    systems = []
    for setting in study.settings:
        systems.append([task.mean_of(setting) for task in tasks])
    intervals = mean_intervals(systems)
    rows = []
    for (setting, cells), arrays, (low, high) in zip(study.settings.items(), systems, intervals, strict=True):
        by_seed = []
        for place in range(len(cells)):
            of_tasks = [task.of_settings[setting][place].mean() for task in tasks]
            by_seed.append(float(np.mean(of_tasks)))
        rows.append(
            StudyRow(
                setting=setting,
                task=MEAN,
                candidates="",
                metric=tasks[0].metric,
                queries=sum(map(len, arrays)),
                value=float(np.mean([values.mean() for values in arrays])),
                low=low,
                high=high,
                by_seed=by_seed,
                **_published(study.figures.get((setting, None))),
            )
        )
    return rows


def _comparisons(study: Study, tasks: Sequence[_TaskValues]) -> list[StudyComparison]:
    """Every setting against the baseline, and the pairs of the page, on each task and on their mean."""
    page = study.page
    pairs = []
    for setting in study.settings:
        if setting != page.baseline:
            pairs.append((setting, page.baseline))
    for first, second in page.comparisons:
        if (first, second) not in pairs:
            pairs.append((first, second))
    # The mean is a family of its own: it repeats the tasks.
    single = []
    for task in tasks:
        single.append((task.label, [task]))
    families = [single]
    if _has_mean(tasks):
        families.append([(MEAN, [*tasks])])
    comparisons = []
    for family in families:
        tested = []
        for label, members in family:
            for first, second in pairs:
                own = [task.mean_of(first) for task in members]
                other = [task.mean_of(second) for task in members]
                tested.append((first, second, label, own, other, paired_test(own, other)))
        corrected = holm([test.p for *_, test in tested])
        for (first, second, label, own, other, test), p_holm in zip(tested, corrected, strict=True):
            told: dict[str, Any] = {}
            if page.checks == "claim":
                told = _told(test, p_holm, needed_queries(own, other, ALPHA / len(tested)))
            comparisons.append(
                StudyComparison(a=first, b=second, task=label, queries=test.queries, difference=test.difference, **told)
            )
    return comparisons


def _told(test: PairedTest, p_holm: float, needed: int | None) -> dict[str, Any]:
    """What a study that asks a question says of a test; how many queries would do only where these did not."""
    low, high = test.interval
    told: dict[str, Any] = {"low": low, "high": high, "p": test.p, "p_holm": p_holm}
    # Where these queries have decided, no number of others is of interest.
    if p_holm >= ALPHA:
        told["needed"] = needed
    return told


def _cell_of(folder: Path, cell: CellPlan, runs: dict[str, str]) -> StudyCell:
    """A cell as the report tells it."""
    told: dict[str, Any] = {"steps": 0, "best": 0, "data": [], "fingerprint": ""}
    if cell.seed is not None:
        training = read_training(cell_folder(folder, cell) / "training" / "model").values
        tables = []
        for one in training["data"]:
            tables.append(StudyData(name=one["name"], table=one["table"], content=one["content"]))
        told = {"steps": training["steps"], "best": training["best"], "data": tables}
        told["fingerprint"] = training["fingerprint"]
    return StudyCell(setting=cell.setting, seed=cell.seed, key=cell.key, runs=runs, **told)
