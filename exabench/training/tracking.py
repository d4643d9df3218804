"""Curves where the user already looks at them: every step of a training to trackio or Weights & Biases.

Both have the same three calls: `init(project=, name=, config=)`, `log(values, step=)` and `finish()`.
https://huggingface.co/docs/trackio, https://docs.wandb.ai/ref/python. Nothing is sent unless a training asks for it.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from exabench.core.errors import REASON, MissingExtra, OutsideFailed, UnknownName, printable
from exabench.core.packages import pip_line
from exabench.training.curves import Point

TRACKERS = ("trackio", "wandb")
PROJECT = "exabench"
"""The project that runs are filed under."""


class Tracker:
    """A run of a tracker, opened where a training begins or resumes.

    `name` is one of TRACKERS, `run` what the run is called, `settings` its recipe. Raises UnknownName, MissingExtra
    where the package is not installed, and OutsideFailed where it does not open a run.
    """

    def __init__(self, name: str, run: str, settings: Mapping[str, Any]) -> None:
        self._name = name
        self._library = tracker_library(name)
        self._works = True
        try:
            self._library.init(project=PROJECT, name=run, config=dict(settings))
        except Exception as error:  # a library of others may raise anything
            raise OutsideFailed(
                f"{name} opened no run ({_reason(error)}); log in to it, or train without it"
            ) from error

    def add(self, point: Point) -> str:
        """Send a step. A line where the tracker fails for the first time: the training continues without it."""
        if not self._works:
            return ""
        values = asdict(point)
        step = values.pop("step")
        if point.dev is None:  # not measured behind this step
            del values["dev"]
        try:
            self._library.log(values, step=step)
        except Exception as error:  # days of training must not be lost to a chart
            self._works = False
            return f"{self._name} failed ({_reason(error)}); curves.csv has every step"
        return ""

    def close(self) -> str:
        """End the run. A line where the tracker fails, for the first time: the model is written all the same."""
        if not self._works:
            return ""
        try:
            self._library.finish()
        except Exception as error:  # it may send what is left, over a network
            self._works = False
            return f"{self._name} failed ({_reason(error)}); curves.csv has every step"
        return ""


def tracker_library(name: str) -> Any:
    """The package of a tracker. Raises UnknownName, MissingExtra."""
    if name not in TRACKERS:
        raise UnknownName("tracker", name, TRACKERS)
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise MissingExtra(f"sending curves to {name} needs a package: {pip_line(name)}") from error


def _reason(error: Exception) -> str:
    return printable(f"{type(error).__name__}: {error}".split("\n")[0], REASON)
