"""The pages of trained models, from the reports of their trainings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from exabench.cards import model_settings
from exabench.files import dotted
from exabench.nouns import Submission
from exabench.pages._format import flat
from exabench.pages._page import Page
from exabench.pages._paths import model_file, model_page
from exabench.pages._views import View
from exabench.rows import Release

if TYPE_CHECKING:
    from exabench.board import Score

REPORTS = ("curves.csv", "recipe.toml", "training.json")  # of a training; its card is for elsewhere


def pages(view: View) -> Iterator[Page]:
    """The list of trained models, and for each the page of its training and the files behind it."""
    trainings = view.board.trainings
    if trainings:
        yield Page("models/index.html", partial(_models, view), "models.html")
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


def _models(view: View) -> dict[str, Any]:
    return {"models": trained_models(view), "stamp": ("", view.version)}


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
        "stamp": ("", view.version),
    }
