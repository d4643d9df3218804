"""The pages of datasets, from their manifests, and of the models that learnt from them, from their reports."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from exabench.board.pages._format import count, flat
from exabench.board.pages._page import Page
from exabench.board.pages._paths import dataset_page, model_file, model_page
from exabench.board.pages._rows import row_pages
from exabench.board.pages._views import WRITTEN, View
from exabench.core.files import dotted
from exabench.core.nouns import Submission, Task
from exabench.core.rows import Release
from exabench.hub.cards import model_settings

if TYPE_CHECKING:
    from exabench.board.ranking import Score

REPORTS = ("curves.csv", "recipe.toml", "training.json")  # of a training; its card is for elsewhere


def pages(view: View) -> Iterator[Page]:
    """The lists of datasets and of trained models, where there are any; each one's page; and the models' reports."""
    datasets = view.board.datasets
    trainings = view.board.trainings
    if datasets:
        yield Page("datasets/index.html", dict, "datasets.html")
    for release in datasets:
        yield Page(dataset_page(release.name), partial(_dataset, view, release), "dataset.html")
    if trainings:
        yield Page("models/index.html", lambda: {"models": trained_models(view)}, "models.html")
    for slug, report in sorted(trainings.items()):
        yield Page(model_page(slug), partial(_model, view, slug), "model.html")
        for name in REPORTS:
            yield Page(model_file(slug, name), partial(bytes, report.files[name]))


@dataclass(frozen=True)
class TrainingTable:
    """A table that a model learnt from, as its report tells, and the board's own release of that dataset or None."""

    told: Mapping[str, Any]
    release: Release | None

    @property
    def same(self) -> bool:
        """Is the board's release the one that was learnt from, or has it another content by now?"""
        return self.release is not None and self.release.content == self.told["content"]

    @property
    def teacher(self) -> str:
        """The language model behind the rows, and its revision."""
        known = self.told["teacher"]
        if not known.get("model"):
            return "people; no language model was asked"
        return f"{known['model']} at {known['revision']}" if known.get("revision") else str(known["model"])

    @property
    def leaks(self) -> str:
        """Where its rows overlap with test collections; empty where nobody looked."""
        return flat(self.told["leaks"])


@dataclass(frozen=True)
class TrainedModel:
    """A trained model: its submission, what is told of its training, and what came of it on this board."""

    submission: Submission
    training: Mapping[str, Any]
    learnt: Sequence[TrainingTable]
    results: Sequence[Score]


def trained_models(view: View) -> list[TrainedModel]:
    """Every trained model of the board."""
    models = []
    for slug, report in sorted(view.board.trainings.items()):
        submission = view.board.submissions[slug]
        models.append(TrainedModel(submission, report.values, learnt(view, slug), view.by_submission[slug]))
    return models


def learnt(view: View, slug: str) -> list[TrainingTable]:
    """The tables that a submission's model learnt from; none where no report of a training came with it."""
    training = view.board.trainings.get(slug)
    data = training.values["data"] if training else ()
    return [TrainingTable(each, view.release(each["name"])) for each in data]


def _model(view: View, slug: str) -> dict[str, Any]:
    """The report of one training."""
    one = next(model for model in trained_models(view) if model.submission.slug == slug)
    dev = one.training["dev"]["values"]
    return {
        "model": one,
        "results": [(score, view.test(score)) for score in one.results],
        "t": one.training,
        "settings": model_settings(one.training["recipe"]),
        "options": list(dotted(one.training["options"])),
        "kept": dict(dev).get(one.training["best"]),
        "dev": sorted(dev),
        "published": [check for check in one.training["checks"] if check["published"]],
        "tasks": {t.name for t in (*view.board.tasks, *view.single_tasks)},
    }


def _dataset(view: View, release: Release) -> dict[str, Any]:
    """One dataset, the models that learnt from it, and what came of them."""
    models = [(one, table) for one in trained_models(view) for table in one.learnt if table.release is release]
    slugs = dict.fromkeys(model.submission.slug for model, _ in models)  # one that learnt from two tables counts once
    results = [result for slug in slugs for result in view.by_submission[slug]]
    results.sort(key=lambda r: (-r.value, r.submission, r.task, r.candidates))
    return {
        "release": release,
        "row_pages": row_pages(view, release),
        "models": models,
        "results": results[:WRITTEN],
        "measured": len(results),
    }


@dataclass(frozen=True)
class Overlap:
    """A table of a dataset against a task: rows that share something, of how many, and how many share what.

    `rows` is None where nobody looked, 0 where the report names no overlap with this task. `page` is the dataset's,
    or that of the model which was trained on a release that the board does not hold.
    """

    name: str
    table: str
    page: str
    rows: int | None
    total: int | None
    shared: str


def overlaps(view: View, one: Task) -> list[Overlap]:
    """Every table of the board's datasets, then what models learnt from elsewhere; those that share most first."""
    found = {}
    for release in view.board.datasets:
        for name, table in release.tables.items():
            place = (release.name, name, dataset_page(release.name))
            found[place] = _overlap(place, table.report.get("leaks"), table.report.get("rows"), one)
    for slug in sorted(view.board.trainings):
        for each in learnt(view, slug):
            if not each.same:
                place = (each.told["name"], each.told["table"], model_page(slug))
                found[place] = _overlap(place, each.told["leaks"], None, one)
    return sorted(found.values(), key=lambda o: (-1 if o.rows is None else -o.rows - 1, o.name, o.table, o.page))


def _overlap(place: tuple[str, str, str], leaks: Any, total: Any, one: Task) -> Overlap:
    """What a report says, which may be anything: what is not as exabench writes it counts for nothing."""
    total = total if isinstance(total, int) else None
    by_task = leaks.get("benchmarks") if isinstance(leaks, Mapping) else None
    if not isinstance(by_task, Mapping):
        return Overlap(*place, None, total, "")
    counts = by_task.get(one.name)
    numbers = {}
    if isinstance(counts, Mapping):
        numbers = {str(key): value for key, value in counts.items() if type(value) is int}
    shared = ", ".join(f"{key} {count(value)}" for key, value in sorted(numbers.items()) if key != "rows")
    return Overlap(*place, numbers.get("rows", 0), total, shared)
