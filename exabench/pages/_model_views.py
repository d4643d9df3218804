"""The pages of trained models, worked out from the reports of their trainings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from exabench.cards import model_settings
from exabench.files import dotted
from exabench.nouns import Submission
from exabench.pages._format import told
from exabench.pages._page import Page
from exabench.pages._paths import model_file, model_page
from exabench.pages._rows import with_rows
from exabench.pages._views import View
from exabench.rows import Release

if TYPE_CHECKING:
    from exabench.board import Score

REPORTS = ("curves.csv", "recipe.toml", "training.json")  # of a training; its card is for elsewhere


def pages(view: View) -> Iterator[Page]:
    """The list of trained models, and for each the page of its training and the files behind it."""
    trainings = view.board.trainings
    if trainings:
        yield Page("models/index.html", partial(models, view), "models.html", (view.everything,))
    for slug, report in sorted(trainings.items()):
        of = (view.training_digest(slug), *view.of_submission(slug))
        yield Page(model_page(slug), partial(model, view, slug), "model.html", of)
        for name in REPORTS:
            yield Page(model_file(slug, name), partial(bytes, report.files[name]), of=of)


@dataclass(frozen=True)
class Learnt:
    """A table that a model learnt from, and the board's own release of that dataset, where it publishes one.

    `same`: is that the very release, or has it another content by now?
    """

    told: Mapping[str, Any]
    release: Release | None

    @property
    def same(self) -> bool:
        """Is the board's release the one that was learnt from?"""
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
        return told(self.told["leaks"])


@dataclass(frozen=True)
class Model:
    """A trained model: its submission, what is told of its training, and what came of it on this board."""

    submission: Submission
    training: Mapping[str, Any]
    learnt: tuple[Learnt, ...]
    results: tuple[Score, ...]


def models(view: View) -> dict[str, Any]:
    """Every trained model."""
    return {"models": _models(view), "stamp": ("", view.version)}


def model(view: View, slug: str) -> dict[str, Any]:
    """The report of one training."""
    one = _model(view, slug)
    kept = next((value for step, value in one.training["dev"]["values"] if step == one.training["best"]), None)
    return {
        "model": one,
        "results": [view.full(score) for score in one.results],
        "t": one.training,
        "settings": model_settings(one.training["recipe"]),
        "options": list(dotted(one.training["options"])),
        "kept": kept,
        "dev": sorted(one.training["dev"]["values"]),
        "published": [check for check in one.training["checks"] if check["published"]],
        "tasks": {t.name for t in (*view.board.tasks, *view.single_tasks)},
        "row_pages": with_rows(view),
        "stamp": ("", view.version),
    }


def learnt_from(view: View, release: Release) -> list[tuple[Model, Learnt]]:
    """The models that were trained on a dataset of the board, a line for each table."""
    return [(one, learnt) for one in _models(view) for learnt in one.learnt if learnt.release is release]


def learnt(view: View, slug: str) -> tuple[Learnt, ...]:
    """The tables that a submission's model learnt from; none where no report of a training came with it."""
    training = view.board.trainings.get(slug)
    data = training.values["data"] if training else ()
    return tuple(Learnt(each, view.release(each["name"])) for each in data)


def _models(view: View) -> list[Model]:
    return [_model(view, slug) for slug in sorted(view.board.trainings)]


def _model(view: View, slug: str) -> Model:
    training = view.board.trainings[slug].values
    learnt = tuple(Learnt(each, view.release(each["name"])) for each in training["data"])
    return Model(view.board.submissions[slug], training, learnt, view.by_submission[slug])
