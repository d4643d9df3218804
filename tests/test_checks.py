"""Checks of a finished training: the metric that the recipe names, over candidates that are ranked once."""

from __future__ import annotations

from typing import Any

import fits
import pytest
from models import classifier_folder

from exabench.bench.model_evaluation import evaluate
from exabench.parts.assembly import reranker
from exabench.training import train

CHECKS = [
    {"task": "mini", "candidates": "bm25", "depth": 10, "metric": "nDCG@10"},
    {"task": "mini", "candidates": "bm25", "depth": 10, "metric": "RR@10", "value": 0.5, "source": "nowhere.csv"},
    {"task": "medquad", "candidates": "bm25", "depth": 10, "metric": "nDCG@10"},
]


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Any:
    """A training with those checks, what it told on its way, and its folder."""
    place = tmp_path_factory.mktemp("checks")
    release = fits.write_release(place / "release", {"lists": ("listwise", {"train": fits.listwise()})})
    data = [{"release": str(release), "table": "lists"}]
    model = {"model": str(classifier_folder(place / "start")), "options": {"max_length": 64}}
    file = fits.recipe(place / "toy.toml", data, check=CHECKS, steps={"steps": 3}, **model)
    (place / "empty").mkdir()
    told: list[str] = []
    made = train(file, place / "run", data=place / "empty", progress=lambda done, total, text="": told.append(text))
    return made, told, place


def test_each_check_has_the_value_of_its_metric_and_one_whose_collection_is_not_at_hand_is_named(trained):
    made, told, place = trained
    results = []
    for model in (made.folder, place / "start"):
        part = reranker("cross_encoder", model=str(model), max_length=64)
        results.append(evaluate(part, ["mini"], depth=10)["mini"])
    after, before = results
    for check in made.checks:
        assert check.value == pytest.approx(after[check.metric], abs=1e-9)
        assert check.start.value == pytest.approx(before[check.metric], abs=1e-9)
        assert check.first_stage.value == pytest.approx(after.first_stage[check.metric], abs=1e-9)
        assert check.start.difference == pytest.approx(check.value - check.start.value, abs=1e-9)
    published = {check.metric: check.published for check in made.checks}
    assert published == {"nDCG@10": None, "RR@10": {"value": 0.5, "source": "nowhere.csv"}}
    assert [text for text in told if "left out" in text and "medquad" in text]
    assert sum("checked on mini" in text for text in told) == 2
