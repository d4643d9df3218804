"""Audits of releases: counts, figures, doubles, leaks, and the teacher against people's grades."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from exabench.core.errors import CheckFailed, ExabenchError, plural, printable
from exabench.core.nouns import Progress, Qrels, Task, silent
from exabench.core.rows import Row
from exabench.data.quality import Duplicates, Leaks, Report, collection_of, oddities
from exabench.data.rejections import check_counts, most_rejected
from exabench.data.releases import read, rows
from exabench.measure.metric_values import mean, measure
from exabench.measure.runs import run_in_order
from exabench.tasks.catalogue import own_tasks, tasks
from exabench.tasks.collections import all_judgements, benchmarks, local_collections, open_collection

METRIC = "nDCG@10"


@dataclass(frozen=True)
class Audit:
    """The figures of every table of a release, and what does not add up (`problems`, one line each)."""

    name: str
    version: str
    tables: Mapping[str, Mapping[str, Any]]
    problems: list[str]

    def as_json(self) -> dict[str, Any]:
        """Everything, as JSON holds it."""
        return asdict(self)

    def lines(self) -> list[str]:
        """Plain text for people."""
        lines = [f"{self.name} {self.version}"]
        for name, figures in self.tables.items():
            lines += ["", f"{name} ({figures['family']})"]
            for key, value in figures.items():
                if key != "family":
                    lines += _lines_of(key, value)
        lines.append("")
        if not self.problems:
            lines.append("no inconsistency found; leaks, duplicates and repairs above are for you to judge")
        for problem in self.problems:
            lines.append(f"problem: {problem}")
        return lines


def audit(folder: str | Path, *, data: str | Path | None = None, progress: Progress = silent) -> Audit:
    """Read every row of the release in `folder` once, and say what its tables are like.

    Leaks of every task in `data` are looked for. Where rows come from a task's collection, labels and
    orders are compared with the task's judgements, wherever query (id and words) and passage are judged. Raises
    BadInput for a release that cannot be read.
    """
    release = read(folder)
    leaks = Leaks()
    for benchmark in benchmarks(data):
        leaks.add(*benchmark)
    people = _People(data)
    tables = {}
    problems = []
    for done, (name, table) in enumerate(release.tables.items()):
        progress(done, len(release.tables), name)
        report = Report()
        duplicates = Duplicates()
        odd = Counter[str]()
        first_odd: dict[str, str] = {}
        row_counts = Counter[str]()
        doubles = Counter[str]()
        doubles_of_other_splits = 0
        agreements = {}
        for split in table.splits:
            for row in rows(folder, name, split):
                row_counts[split] += 1
                report.add(row, leaks.marks(row))
                for oddity in set(oddities(row)):
                    odd[oddity] += 1
                    first_odd.setdefault(oddity, row["id"])
                # Ids are unique within a split alone, so the split is made a part of them.
                double = duplicates.find_earlier({**row, "id": f"{split}/{row['id']}"})
                if double is not None and double.id.startswith(f"{split}/"):
                    doubles[double.kind] += 1
                elif double is not None:
                    doubles[f"{double.kind}, of another split"] += 1
                    doubles_of_other_splits += 1
                for task, grades in people.grades_of(row):
                    if task.name not in agreements:
                        agreements[task.name] = _Agreement(task.convention.relevance_threshold)
                    agreements[task.name].add(row, grades)

        counts = {key: table.counts.get(key, 0) for key in ("input", "good", "quarantined", "skipped")}
        reasons = table.counts.get("reasons", {})
        figures = {
            "family": table.family,
            "counts": counts,
            "reasons": reasons,
            "splits": dict(row_counts),
            "duplicates": dict(sorted(doubles.items())),
            "source overlap": {key: value for key, value in table.report.items() if "overlap" in key},
            "teacher": table.teacher.get("model", "human"),
            "against people": {task: agreements[task].figures() for task in sorted(agreements)},
            "judgements not read": dict(sorted(people.failures.items())),
        }
        figures = {key: value for key, value in figures.items() if value != {}}
        tables[name] = figures | report.figures()

        # That every file holds as many rows as it is listed with was checked while they were read.
        good = counts["good"]
        left_out = counts["quarantined"] + counts["skipped"]
        if counts["input"] != good + left_out:
            problems.append(f"{name}: input {counts['input']} is not good + quarantined + skipped ({good + left_out})")
        explained = sum(reasons.values())
        if explained != left_out:
            were_left_out = f"{plural(left_out, 'was', 'were')} left out"
            problems.append(f"{name}: reasons for {plural(explained, 'row')}, and {were_left_out}")
        total = row_counts.total()
        if total != good:
            were_counted = f"{plural(good, 'was', 'were')} counted as good"
            problems.append(f"{name}: {plural(total, 'row is', 'rows are')} there, and {were_counted}")
        for oddity, times in sorted(odd.items()):
            have = plural(times, "row has", "rows have")
            problems.append(f"{name}: {have} {oddity}, first {printable(first_odd[oddity])!r}")
        try:
            check_counts(name, counts, reasons, most_rejected(table.recipe))
        except CheckFailed as error:
            problems.append(str(error).removeprefix("table "))
        if doubles_of_other_splits:
            doubling = plural(doubles_of_other_splits, "row doubles", "rows double")
            problems.append(f"{name}: {doubling} a row of another split")
    progress(len(release.tables), len(release.tables), "done")
    return Audit(release.name, release.version, tables, problems)


# -- people ----------------------------------------------------------------------------------------------------


class _People:
    """Judgements by collection and query, read when a row first needs them; what could not be read in `failures`."""

    def __init__(self, data: str | Path | None) -> None:
        self._data = data
        self._local = local_collections(data)
        self._judged: dict[str, list[tuple[Task, Qrels, dict[str, str]]]] = {}
        self.failures: dict[str, str] = {}

    def grades_of(self, row: Row) -> Iterator[tuple[Task, Mapping[str, int]]]:
        """The tasks that judge a row's query, with its grades, but not for another query with the same id."""
        source = row["source"]
        if source not in self._judged:
            self._judged[source] = []
            for task in [*tasks().values(), *own_tasks(self._data).values()]:
                if task.members or collection_of(task.name) != collection_of(source):
                    continue
                # A collection on the network is read only where the rows were read from that very place.
                on_hub = task.hub is not None and source.startswith(f"Hub dataset {task.hub['repo']}@")
                if not (on_hub or task.name in self._local or source in (task.name, f"ir_datasets {task.ir_datasets}")):
                    continue
                try:
                    place = open_collection(task, self._data)
                    qrels = all_judgements(task, place)
                    texts = {query.id: query.text for query in place.queries() if query.id in qrels}
                except ExabenchError as error:
                    self.failures[task.name] = str(error)
                else:
                    self._judged[source].append((task, qrels, texts))
        for task, qrels, texts in self._judged[source]:
            grades = qrels.get(row["query_id"])
            if grades and texts.get(row["query_id"], "").split() == row["query"].split():
                yield task, grades


@dataclass(frozen=True)
class _JudgedList:
    """A list in the teacher's order and, where the row tells it, in the first stage's, with people's grades."""

    grades: Mapping[str, int]
    teacher: list[str]
    first_stage: list[str]
    stage: str


class _Agreement:
    """A teacher's labels and orders compared with one task's grades; each row with a list counts as one query."""

    def __init__(self, threshold: int) -> None:
        self._threshold = threshold
        self._labels = Counter[tuple[bool, bool]]()  # the teacher's, then people's
        self._lists: list[_JudgedList] = []

    def add(self, row: Row, grades: Mapping[str, int]) -> None:
        labels = []
        if "passage_id" in row:
            labels.append((row["passage_id"], row["relevant"]))
        elif "positive_id" in row:
            labels.append((row["positive_id"], True))
            labels += [(id, False) for id in row["negative_ids"]]
        else:
            ids = row["passage_ids"]
            first_stage = []
            # A scored row is of several first stages, and holds the order of none.
            if "first_stage" in row:
                ranks = dict(zip(ids, row["first_stage_ranks"], strict=True))
                first_stage = sorted(ids, key=ranks.__getitem__)
            self._lists.append(_JudgedList(grades, ids, first_stage, row.get("first_stage", "")))
        for passage_id, label in labels:
            if passage_id in grades:
                self._labels[label, grades[passage_id] >= self._threshold] += 1

    def figures(self) -> dict[str, Any]:
        figures: dict[str, Any] = {}
        if self._labels:
            total = self._labels.total()
            same = self._labels[True, True] + self._labels[False, False]
            kappa = cohens_kappa(self._labels)
            figures["labels"] = {"judged pairs": total, "agreement": same / total, "kappa": kappa}
        if self._lists:
            judged = 0
            by_stage: dict[str, list[_JudgedList]] = {}
            for one in self._lists:
                judged += len(one.grades.keys() & one.teacher)
                by_stage.setdefault(one.stage, []).append(one)
            figures["orders"] = {"judged pairs": judged, **self._scores(self._lists)}
            if len(by_stage) > 1:
                figures["orders by first stage"] = {stage: self._scores(by_stage[stage]) for stage in sorted(by_stage)}
        return figures

    def _scores(self, lists: Sequence[_JudgedList]) -> dict[str, Any]:
        # Each list is measured as a query of its own: a query asked of two first stages has two.
        qrels = {str(number): one.grades for number, one in enumerate(lists)}
        orders = {"teacher": [one.teacher for one in lists]}
        if lists[0].first_stage:
            orders["first stage"] = [one.first_stage for one in lists]
        scores: dict[str, Any] = {"lists": len(lists)}
        for judge, rankings in orders.items():
            run = run_in_order("audit", {str(number): order for number, order in enumerate(rankings)})
            _, values = measure(qrels, run, [METRIC], threshold=self._threshold)
            scores[f"{judge} {METRIC}"] = mean(values[METRIC])
        return scores


def cohens_kappa(pairs: Mapping[tuple[Any, Any], int]) -> float | None:
    """Agreement beyond chance of two judges, from how often each pair of labels was given (Cohen 1960).

    None where chance explains everything: both judges gave one and the same label throughout, or none at all.
    """
    total = sum(pairs.values())
    same = 0
    one = Counter[Any]()
    other = Counter[Any]()
    for (first, second), count in pairs.items():
        one[first] += count
        other[second] += count
        if first == second:
            same += count
    chance = sum(one[label] * other[label] for label in one)  # times total**2
    if chance == total * total:
        return None
    return (same * total - chance) / (total * total - chance)


# -- text ------------------------------------------------------------------------------------------------------


def _lines_of(key: str, value: Any) -> list[str]:
    """A line for a figure, or for a table of plain figures; of other tables the lines of what they hold."""
    if not isinstance(value, Mapping) or not any(isinstance(inner, Mapping) for inner in value.values()):
        return [f"  {key}: {_text(value)}"]
    lines = []
    for name, inner in value.items():
        lines += _lines_of(f"{key}, {name}", inner)
    return lines


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_text(item)}" for key, item in value.items()) or "none"
    if isinstance(value, float):
        return f"{value:.4f}" if value < 10 else f"{value:.1f}"
    if value is None:  # kappa where chance explains everything
        return "undefined"
    return str(value)
