"""Negatives that are mined again while a model learns: which these are, that a kill moves no byte, what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import fits
import numpy as np
import pytest
from models import classifier_folder, late_folder

from exabench.cli import main
from exabench.core.errors import BadInput
from exabench.core.nouns import Passage, Query, silent
from exabench.training import train
from exabench.training.evaluation import scores_of
from exabench.training.groups import Group
from exabench.training.negatives import hardest, mine

GROUP = Group("row", Query("q", "sky"), tuple(Passage(id, id) for id in "pabcdef"), (1.0, *[0.0] * 6))
SCORES = np.array([0.0, 3.0, 9.0, 1.0, 8.0, 7.0, 7.0])  # of p, a, b, c, d, e, f


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """Twelve steps over rows of nine negatives, of which two are learnt; mined again after each fourth."""
    rows = fits.contrastive(6, negatives=9)
    rows[1] = {**rows[1], "query_id": rows[0]["query_id"], "query": rows[0]["query"], "positive_id": "n4"}
    release = fits.write_release(tmp_path / "release", {"pairs": ("contrastive", {"train": rows})})
    return made(tmp_path, release)


def made(place: Path, release: Path, **changes: Any) -> Path:
    data = [{"release": str(release), "table": "pairs", "passages": 3, "draw": True, **changes.pop("data", {})}]
    steps = {"steps": 12, "groups": 3, "rate": 5e-3}
    about = {"loss": {"part": "lce"}, "steps": steps, "negatives": {"every": 4}, **changes}
    model = place / "model"
    if not model.is_dir():
        classifier_folder(model)
    return fits.recipe(place / "recipe.toml", data, **{"model": str(model), **about})


def test_the_hardest_are_those_with_the_highest_scores_and_no_positive_of_the_query() -> None:
    assert hardest(GROUP, SCORES, {"p"}, most=3, depth=0, key="") == [1, 3, 4]  # b, d, and e before f
    assert hardest(GROUP, SCORES, {"p", "b"}, most=3, depth=0, key="") == [3, 4, 5]
    assert hardest(GROUP, SCORES, set("pabcde"), most=3, depth=0, key="") == [5]
    assert hardest(GROUP, SCORES, set("pabcdef"), most=3, depth=0, key="") == []


def test_with_a_depth_they_are_drawn_from_the_best_so_many_by_the_key() -> None:
    drawn = {tuple(hardest(GROUP, SCORES, {"p"}, most=2, depth=4, key=f"{key}")) for key in range(40)}
    assert drawn == {(1, 3), (1, 4), (1, 5), (3, 4), (3, 5), (4, 5)}
    again = [hardest(GROUP, SCORES, {"p"}, most=2, depth=4, key="7") for _ in range(2)]
    assert again[0] == again[1]


def test_a_group_learns_what_the_model_ranks_highest_in_its_whole_list(recipe: Path, tmp_path: Path) -> None:
    parts = fits.parts(recipe, tmp_path / "run")
    order = fits.Order(len(parts.groups), parts.plan.seed, parts.plan.steps.groups)
    loader = fits.GroupLoader(parts.learner, parts.groups, order, written=False, loaders=0)
    chosen = mine(parts.plan, loader, 4, 8, silent)
    assert sorted(chosen) == list(range(6))  # four steps of three groups meet each twice, and each is scored once
    for number, places in chosen.items():
        whole = parts.groups.whole(number)
        assert len(whole.passages) == 10
        [scores] = scores_of(parts.learner, [parts.learner.items(whole.query, whole.passages)], [10])
        ids = {passage.id: score for passage, score in zip(whole.passages[1:], scores[1:], strict=True)}
        if number < 2:  # one query, for which n4 is a positive of the other row
            del ids["n4"]
        learnt = replace(loader, chosen=chosen).groups.read(number, 0, places)
        best = sorted(ids, key=lambda id: -ids[id])[:2]
        assert {passage.id for passage in learnt.passages[1:]} == set(best)
        assert learnt.passages[0].id == whole.passages[0].id and learnt.labels == (1.0, 0.0, 0.0)


def test_a_training_that_is_stopped_anywhere_mines_and_ends_alike(recipe: Path, tmp_path: Path) -> None:
    whole = train(recipe, tmp_path / "whole")
    assert whole.steps == 12
    for step in (4, 6, 9):  # at a time of mining, and between two
        with pytest.raises(fits.Stopped):
            train(recipe, tmp_path / f"{step}", progress=fits.stops_at(step))
        train(recipe, tmp_path / f"{step}")
        assert fits.outcome(tmp_path / f"{step}") == fits.outcome(tmp_path / "whole"), step
    plain = train(recipe, tmp_path / "plain", overrides=["negatives.every=0"])
    assert fits.outcome(tmp_path / "plain")[0] != fits.outcome(tmp_path / "whole")[0]
    assert "mined again" not in (plain.folder / "README.md").read_text()
    assert "mined again 2 times, every 4 steps" in (whole.folder / "README.md").read_text()
    assert json.loads((whole.folder / "training.json").read_text())["negatives"] == {"every": 4, "depth": 0, "times": 2}


def test_a_late_interaction_model_mines_too(recipe: Path, tmp_path: Path) -> None:
    model = str(late_folder(tmp_path / "late"))
    told = ["reranker=late_interaction", f"model={model}", "negatives.depth=5", "steps.steps=6"]
    assert train(recipe, tmp_path / "run", overrides=told).steps == 6


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ("data.passages=0", "data.passages of table pairs is 0, so nothing is chosen"),
        ("negatives.every=-1", "negatives.every"),
        ("negatives={ depth = 5 }", "negatives.depth needs negatives.every"),
    ],
)
def test_what_cannot_be_mined_is_refused_before_anything_is_loaded(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], told: str, said: str
) -> None:
    assert main(["train", "run", str(recipe), "--to", str(tmp_path / "run"), "--dry-run", "--set", told]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_lists_without_a_positive_are_refused(tmp_path: Path) -> None:
    rows = {"train": fits.listwise(6)}
    release = fits.write_release(tmp_path / "release", {"pairs": ("listwise", rows)})
    with pytest.raises(BadInput, match="table pairs is of the family listwise"):
        train(made(tmp_path, release, loss={"part": "ranknet"}), tmp_path / "run")
