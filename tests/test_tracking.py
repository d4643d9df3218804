"""Curves at a tracker: each step arrives there, and a tracker that is missing or fails costs no training."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import fits
import pytest
from models import classifier_folder

from exabench.cli import main
from exabench.core.errors import UnknownName
from exabench.training import train
from exabench.training.curves import Curves

# What trackio and wandb have in common: three functions of the module. It writes down what it is told.
PEER = """
import json
from pathlib import Path

file = Path(__file__).with_name("told.jsonl")
fails = Path(__file__).with_name("fails")

def _tell(call, **values):
    if fails.exists() and fails.read_text() == call:
        raise RuntimeError("not logged in\\nand more")
    with open(file, "a") as stream:
        stream.write(json.dumps({"call": call, **values}) + "\\n")

def init(project, name=None, config=None):
    _tell("init", project=project, name=name, config=config)

def log(metrics, step=None):
    _tell("log", metrics=metrics, step=step)

def finish():
    _tell("finish")
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """Four steps of a toy, measured after each second."""
    release = fits.write_release(tmp_path / "release", {"lists": ("listwise", {"train": fits.listwise()})})
    data = [{"release": str(release), "table": "lists"}]
    about: dict[str, Any] = {"steps": {"steps": 4}, "dev": {"every": 2, "groups": 2}}
    return fits.recipe(tmp_path / "toy.toml", data, model=str(classifier_folder(tmp_path / "start")), **about)


@pytest.fixture(params=["trackio", "wandb"])
def tracker(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A tracker with the calls of both, in place of what may be installed."""
    place = tmp_path / "packages"
    place.mkdir()
    (place / f"{request.param}.py").write_text(PEER)
    monkeypatch.syspath_prepend(str(place))
    monkeypatch.delitem(sys.modules, request.param, raising=False)
    yield request.param
    sys.modules.pop(request.param, None)


def told(tmp_path: Path) -> list[dict[str, Any]]:
    file = tmp_path / "packages" / "told.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def test_every_step_of_the_curve_arrives_and_no_path_of_this_machine(recipe, tracker, tmp_path):
    assert main(["train", "run", str(recipe), "--to", str(tmp_path / "run"), "--track", tracker]) == 0
    first, *steps, last = told(tmp_path)
    assert (first["call"], first["project"], first["name"], last["call"]) == ("init", "exabench", "toy", "finish")
    assert first["config"]["steps"]["steps"] == 4 and str(tmp_path) not in json.dumps(first)
    points = list(Curves(tmp_path / "run" / "curves.csv"))
    assert [step["step"] for step in steps] == [point.step for point in points] == [1, 2, 3, 4]
    assert [step["metrics"]["loss"] for step in steps] == [point.loss for point in points]
    assert [step["metrics"].get("dev") for step in steps] == [point.dev for point in points]


def test_a_tracker_that_fails_later_costs_no_training_and_one_that_opens_no_run_is_one_line(
    recipe, tracker, tmp_path, capsys
):
    fails = tmp_path / "packages" / "fails"
    fails.write_text("init")
    assert main(["train", "run", str(recipe), "--to", str(tmp_path / "run"), "--track", tracker]) == 3
    said = capsys.readouterr().err
    assert f"{tracker} opened no run (RuntimeError: not logged in); log in to it" in said
    assert not (tmp_path / "run" / "model").exists()
    for call in ("log", "finish"):
        fails.write_text(call)
        lines = []
        train(recipe, tmp_path / call, track=tracker, progress=lambda done, total, text="", to=lines: to.append(text))
        assert [line for line in lines if "failed" in line] == [
            f"{tracker} failed (RuntimeError: not logged in); curves.csv has every step"
        ]
        assert (tmp_path / call / "model" / "model.safetensors").is_file()


def test_a_tracker_that_is_not_installed_or_not_known_is_one_line_before_anything_is_written(
    recipe, tmp_path, capsys, monkeypatch
):
    monkeypatch.setitem(sys.modules, "wandb", None)
    assert main(["train", "run", str(recipe), "--to", str(tmp_path / "run"), "--track", "wandb"]) != 0
    assert "sending curves to wandb needs a package: pip install wandb" in capsys.readouterr().err
    with pytest.raises(UnknownName, match="tracker"):
        train(recipe, tmp_path / "run", track="tensorboard")
    assert not (tmp_path / "run").exists()
