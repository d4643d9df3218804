"""What the pages of trained models and of submissions show, worked out from the reports of trainings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from exabench.cards import model_settings
from exabench.files import dotted
from exabench.nouns import Result, Submission
from exabench.pages import _views
from exabench.pages._format import told
from exabench.pages._views import View
from exabench.rows import Release


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
    results: tuple[Result, ...]


@dataclass(frozen=True)
class Declared:
    """One of the data sets that a submission names, and the board's dataset it is, where it is one."""

    name: str
    release: Release | None


def models(view: View) -> dict[str, Any]:
    """Every trained model."""
    return {"models": _models(view), "stamp": ("", view.version)}


def model(view: View, slug: str) -> dict[str, Any]:
    """The report of one training."""
    one = _model(view, slug)
    kept = next((value for step, value in one.training["dev"]["values"] if step == one.training["best"]), None)
    return {
        "model": one,
        "t": one.training,
        "settings": model_settings(one.training["recipe"]),
        "options": list(dotted(one.training["options"])),
        "kept": kept,
        "dev": sorted(one.training["dev"]["values"]),
        "published": [check for check in one.training["checks"] if check["published"]],
        "tasks": {t.name for t in (*view.board.tasks, *view.single_tasks)},
        "stamp": ("", view.version),
    }


def learnt_from(view: View, release: Release) -> list[tuple[Model, Learnt]]:
    """The models that were trained on a dataset of the board, a line for each table."""
    return [(one, learnt) for one in _models(view) for learnt in one.learnt if learnt.release is release]


def submission(view: View, one: Submission) -> dict[str, Any]:
    """The page of a submission, with where its training data lie on the board."""
    return {**_views.submission(view, one), "declared": _declared(view, one)}


def _declared(view: View, one: Submission) -> list[Declared]:
    """What a submission says it was trained on: names, with `@version` behind them or not; none where it is unknown."""
    training = view.board.trainings.get(one.slug)
    learnt = training.values["data"] if training else ()
    names = {each["repository"]: each["name"] for each in learnt if each["repository"]}
    said = () if isinstance(one.training_data, str) else one.training_data
    return [Declared(text, _release(view, names.get(bare := text.partition("@")[0], bare))) for text in said]


def _models(view: View) -> list[Model]:
    return [_model(view, slug) for slug in sorted(view.board.trainings)]


def _model(view: View, slug: str) -> Model:
    training = view.board.trainings[slug].values
    learnt = tuple(Learnt(each, _release(view, each["name"])) for each in training["data"])
    return Model(view.board.submissions[slug], training, learnt, view.by_submission[slug])


def _release(view: View, name: str) -> Release | None:
    return next((release for release in view.board.datasets if release.name == name), None)
