"""Auditing: what is a release worth? Counts, figures, doubles, leaks, and its teacher against people's grades."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from exabench.catalogue import tasks
from exabench.collections._choose import open_collection
from exabench.collections._judged import all_judgements, at_hand, benchmarks
from exabench.errors import ExabenchError, plural
from exabench.metrics._measure import mean, measure
from exabench.nouns import Progress, Qrels, Task, silent
from exabench.quality import Duplicates, Leaks, Report, collection_of
from exabench.releases import read, rows
from exabench.rows import Row, Table
from exabench.runs import run_in_order

METRIC = "nDCG@10"


@dataclass(frozen=True)
class Audit:
    """The figures of every table of a release, and what does not add up (`problems`, one line each)."""

    name: str
    version: str
    tables: Mapping[str, Mapping[str, Any]]
    problems: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """Everything, as JSON holds it."""
        return asdict(self) | {"problems": list(self.problems)}

    def lines(self) -> list[str]:
        """Plain text for people."""
        told = [f"{self.name} {self.version}"]
        for name, figures in self.tables.items():
            told += ["", f"{name} ({figures['family']})"]
            told += [f"  {key}: {_told(value)}" for key, value in _flat(figures) if key != "family"]
        return told + ["", *(f"problem: {problem}" for problem in self.problems or ("none",))]


def audit(folder: str | Path, *, data: str | Path | None = None, progress: Progress = silent) -> Audit:
    """Read every row of the release in `folder` once, and say what its tables are like.

    Leaks are looked for in every task that lies in `data`. Where rows come from a task's collection, labels and
    orders are held against the task's judgements, wherever query (id and words) and passage are judged. Raises
    BadInput for a release that cannot be read.
    """
    release = read(folder)
    leaks, people = Leaks(), _People(data)
    for benchmark in benchmarks(data):
        leaks.add(*benchmark)
    tables, problems = {}, []
    for done, (name, table) in enumerate(release.tables.items()):
        progress(done, len(release.tables), name)
        seen = _Seen(table, leaks, people)
        for split in table.splits:
            for row in rows(folder, name, split):
                seen.add(row, split)
        tables[name] = seen.figures()
        problems += [f"{name}: {problem}" for problem in seen.problems()]
    progress(len(release.tables), len(release.tables), "done")
    return Audit(release.name, release.version, tables, tuple(problems))


# -- one table -------------------------------------------------------------------------------------------------


class _Seen:
    """What the rows of one table have shown so far."""

    def __init__(self, table: Table, leaks: Leaks, people: _People) -> None:
        self._table, self._leaks, self._people = table, leaks, people
        self._rows: Counter[str] = Counter()
        self._report, self._doubles, self._doubled = Report(), Duplicates(), Counter[str]()
        self._grades: dict[str, _Grades] = {}

    def add(self, row: Row, split: str) -> None:
        self._rows[split] += 1
        self._report.add(row, self._leaks.marks(row))
        exact = self._doubles.exact
        if first := self._doubles.seen({**row, "id": f"{split}/{row['id']}"}):
            kind = "exact" if self._doubles.exact > exact else "near"
            self._doubled[kind if first.startswith(f"{split}/") else f"{kind}, of another split"] += 1
        for task, grades in self._people.of(row):
            self._grades.setdefault(task.name, _Grades(task)).add(row, grades)

    def figures(self) -> dict[str, Any]:
        overlaps = {key: value for key, value in self._table.report.items() if "overlap" in key}
        found = {
            "family": self._table.family,
            "counts": {key: self._table.counts.get(key, 0) for key in ("input", "good", "quarantined", "skipped")},
            "reasons": dict(self._table.counts.get("reasons", {})),
            "splits": dict(sorted(self._rows.items())),
            "duplicates": dict(sorted(self._doubled.items())),
            "source overlap": overlaps,
            "teacher": self._table.teacher.get("model", "human"),
            "against people": {name: grades.figures() for name, grades in sorted(self._grades.items())},
            "judgements not read": dict(sorted(self._people.failures.items())),
        }
        return {key: value for key, value in found.items() if value != {}} | self._report.figures()

    def problems(self) -> Iterator[str]:
        """What does not add up."""
        counts = {key: self._table.counts.get(key, 0) for key in ("input", "good", "quarantined", "skipped")}
        parts = counts["good"] + counts["quarantined"] + counts["skipped"]
        if counts["input"] != parts:
            yield f"input {counts['input']} is not good + quarantined + skipped ({parts})"
        reasons = sum(self._table.counts.get("reasons", {}).values())
        if reasons != counts["quarantined"] + counts["skipped"]:
            yield f"reasons for {plural(reasons, 'row')}, and {plural(parts - counts['good'], 'was', 'were')} left out"
        if (total := self._rows.total()) != counts["good"]:
            rows = plural(total, "row is", "rows are")
            yield f"{rows} there, and {plural(counts['good'], 'was', 'were')} counted as good"
        for split, files in self._table.splits.items():
            if (listed := sum(file.rows for file in files)) != self._rows[split]:
                yield f"split {split} has {plural(self._rows[split], 'row')}, and its files are listed with {listed}"
        if apart := sum(count for kind, count in self._doubled.items() if "another" in kind):
            yield f"{plural(apart, 'row doubles', 'rows double')} a row of another split"


# -- people ----------------------------------------------------------------------------------------------------


class _People:
    """Judgements by collection and query, read when a row first needs them; what could not be read in `failures`."""

    def __init__(self, data: str | Path | None) -> None:
        self._data, self._local = data, at_hand(data)
        self._known: dict[str, list[tuple[Task, Qrels, dict[str, str]]]] = {}
        self.failures: dict[str, str] = {}

    def of(self, row: Row) -> Iterator[tuple[Task, Mapping[str, int]]]:
        """The tasks that judge a row's query, with its grades; another query under the same id is not meant."""
        source = row["source"]
        if source not in self._known:
            self._known[source] = list(self._read(source))
        for task, qrels, texts in self._known[source]:
            grades = qrels.get(row["query_id"])
            if grades and texts.get(row["query_id"], "").split() == row["query"].split():
                yield task, grades

    def _read(self, source: str) -> Iterator[tuple[Task, Qrels, dict[str, str]]]:
        for task in tasks().values():
            if task.members or collection_of(task.name) != collection_of(source):
                continue
            if task.name not in self._local and not _names(source, task):
                continue
            try:
                place = open_collection(task, self._data)
                qrels = all_judgements(task, place)
                yield task, qrels, {query.id: query.text for query in place.queries() if query.id in qrels}
            except ExabenchError as error:
                self.failures[task.name] = str(error)


def _names(source: str, task: Task) -> bool:
    """Was a row of this source read from the very place on the network where the task is?"""
    repo = task.hub["repo"] if task.hub else ""
    return source in (task.name, f"ir_datasets {task.ir_datasets}") or bool(
        repo and source.startswith(f"Hub dataset {repo}@")
    )


@dataclass
class _Grades:
    """A teacher's labels and orders beside one task's grades; a row with a list is a query of its own."""

    task: Task
    pairs: Counter[tuple[bool, bool]] = field(default_factory=Counter)
    judged: int = 0
    qrels: dict[str, Mapping[str, int]] = field(default_factory=dict)
    orders: dict[str, list[str]] = field(default_factory=dict)
    first: dict[str, list[str]] = field(default_factory=dict)
    stages: dict[str, list[str]] = field(default_factory=dict)

    def add(self, row: Row, grades: Mapping[str, int]) -> None:
        for passage_id, label in _labels(row):
            if passage_id in grades:
                self.pairs[label, grades[passage_id] >= self.task.convention.relevance_threshold] += 1
        if "passage_ids" in row:
            name, ids = str(len(self.orders)), list(row["passage_ids"])
            self.qrels[name], self.orders[name] = grades, ids
            self.judged += sum(id in grades for id in ids)
            if "first_stage" in row:  # a scored row is of several first stages, and holds the order of none
                self.first[name] = [id for _, id in sorted(zip(row["first_stage_ranks"], ids, strict=True))]
                self.stages.setdefault(row["first_stage"], []).append(name)

    def figures(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        if self.pairs:
            total = self.pairs.total()
            same = sum(count for (label, human), count in self.pairs.items() if label == human)
            found["labels"] = {"judged pairs": total, "agreement": same / total, "kappa": cohens_kappa(self.pairs)}
        if self.orders:
            found["orders"] = {"judged pairs": self.judged, **self._scores(list(self.orders))}
        if len(self.stages) > 1:
            found["orders by first stage"] = {name: self._scores(rows) for name, rows in sorted(self.stages.items())}
        return found

    def _scores(self, names: list[str]) -> dict[str, Any]:
        found: dict[str, Any] = {"lists": len(names)}
        qrels = {name: self.qrels[name] for name in names}
        for what, orders in (("teacher", self.orders), ("first stage", self.first)):
            if not orders:
                continue
            run = run_in_order(what, {name: orders[name] for name in names})
            threshold = self.task.convention.relevance_threshold
            found[f"{what} {METRIC}"] = mean(measure(qrels, run, [METRIC], threshold=threshold)[1][METRIC])
        return found


def _labels(row: Row) -> list[tuple[str, bool]]:
    """What a row says of its passages: relevant or not. A row with a list says neither."""
    if "passage_id" in row:
        return [(row["passage_id"], row["relevant"])]
    if "positive_id" in row:
        return [(row["positive_id"], True), *((id, False) for id in row["negative_ids"])]
    return []


def cohens_kappa(pairs: Mapping[tuple[Any, Any], int]) -> float | None:
    """Agreement beyond chance of two judges, from how often each pair of labels was given (Cohen 1960).

    None where chance alone explains everything: both judges gave one and the same label throughout, or none at all.
    """
    total = sum(pairs.values())
    one, other = Counter[Any](), Counter[Any]()
    for (first, second), count in pairs.items():
        one[first] += count
        other[second] += count
    chance = sum(one[label] * other[label] for label in one)  # times total**2
    same = sum(count for (first, second), count in pairs.items() if first == second)
    return None if chance == total * total else (same * total - chance) / (total * total - chance)


# -- text ------------------------------------------------------------------------------------------------------


def _flat(value: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """Key paths and the last mapping (or value) below each."""
    for key, item in value.items():
        path = f"{before}{', ' if before else ''}{key}"
        if isinstance(item, Mapping) and any(isinstance(inner, Mapping) for inner in item.values()):
            yield from _flat(item, path)
        else:
            yield path, item


def _told(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_told(item)}" for key, item in value.items()) or "none"
    if isinstance(value, float):
        return f"{value:.4f}" if value < 10 else f"{value:.1f}"
    return "undefined" if value is None else str(value)
