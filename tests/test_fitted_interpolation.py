"""A training that ends with a weight: chosen on queries of dev, written down, used by checks and submission alike."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import fits
import pytest
from models import classifier_folder

import exabench
from exabench.bench.submissions import read_submission, read_training
from exabench.cli import main
from exabench.core.errors import BadInput
from exabench.core.files import read_json
from exabench.measure.interpolation import WEIGHTS
from exabench.training import train
from exabench.training.recipe import train_recipe

DEV = {"task": "mini", "split": "train", "depth": 10, "queries": 12}
CHECK = {"task": "mini", "candidates": "bm25", "depth": 10, "metric": "nDCG@10"}


def recipe_of(place: Path, **changes: Any) -> Path:
    """A recipe of two steps over lists of toys, with a check on mini."""
    data = [{"release": str(place / "release"), "table": "lists"}]
    settings = {"dev": DEV, "interpolate": "fit", "check": [CHECK], "steps": {"steps": 2}, **changes}
    model = {"model": str(place / "start"), "options": {"max_length": 64}}
    return fits.recipe(place / "toy.toml", data, **model, **settings)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a release and a model to begin with."""
    folder = tmp_path_factory.mktemp("mixed")
    fits.write_release(folder / "release", {"lists": ("listwise", {"train": fits.listwise()})})
    classifier_folder(folder / "start")
    return folder


@pytest.fixture(autouse=True)
def _no_collections(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EXABENCH_DATA", raising=False)


@pytest.fixture(scope="module")
def trained(place: Path) -> Any:
    """A training whose weight is fitted."""
    return train(recipe_of(place), place / "run")


def test_the_weight_is_the_best_of_its_curve_and_at_least_as_good_as_the_model_alone(trained: Any) -> None:
    told = read_json(trained.folder / "training.json")["interpolate"]
    curve = {weight: value for weight, value in told["curve"]}
    assert tuple(curve) == WEIGHTS and told["weight"] == trained.interpolate
    assert curve[told["weight"]] == max(curve.values()) >= curve[1.0]
    assert all(value < curve[told["weight"]] for weight, value in curve.items() if weight > told["weight"])
    assert (told["on"], told["metric"], told["queries"]) == ("mini/train", "nDCG@10", 12)
    assert told["start"]["weight"] in WEIGHTS and len(told["start"]["curve"]) == len(WEIGHTS)
    assert read_training(trained.folder).values["interpolate"] == told


def test_checks_submission_card_and_evaluate_use_it(trained: Any, place: Path) -> None:
    weight = trained.interpolate
    [check] = trained.checks
    told = read_json(trained.folder / "training.json")["interpolate"]
    for model, mixed, value in (
        (trained.folder, weight, check.value),
        (trained.folder, None, check.value),  # the folder knows its weight
        (place / "start", told["start"]["weight"], check.start.value),
    ):
        table = exabench.evaluate(str(model), "mini", depth=10, interpolate=mixed, max_length=64)
        assert table["mini"]["nDCG@10"] == pytest.approx(value, abs=1e-9)
    assert read_submission(trained.folder / "submission.toml").interpolate == weight
    card = (trained.folder / "README.md").read_text(encoding="utf-8")
    assert f"| mixed with the first stage | weight {weight} |" in card
    assert "chosen on 12 queries of mini/train" in card and "| 0.05 | 0." in card


def test_a_board_runs_the_submission_as_it_was_checked(
    trained: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    table = exabench.evaluate(str(trained.folder), "mini", depth=10)
    assert main(["evaluate", str(trained.folder), "--task", "mini", "--depth", "10", "--to", "board"]) == 0
    [file] = Path("board/results").glob("local--*/mini.bm25-10.json")
    result = read_json(file)
    assert result["model"]["interpolate"] == trained.interpolate
    assert result["measurement"]["metrics"]["nDCG@10"] == table["mini"]["nDCG@10"] == trained.checks[0].value
    assert main(["bench", "verify", "--board", "board"]) == 0
    assert main(["board", "check", "--board", "board"]) == 0
    assert main(["board", "build", "--board", "board", "--to", "site"]) == 0
    [page] = [path for path in Path("site/models").glob("*.html") if path.stem.startswith("local--")]
    assert f"with the first stage, weight {trained.interpolate}" in page.read_text(encoding="utf-8")
    for other, told in (("0.99", "the weight of this call is 0.99"), ("mini/train", "says the weight itself")):
        command = ["evaluate", str(trained.folder), "--task", "mini", "--depth", "10", "--to", "board"]
        assert main([*command, "--interpolate", other]) == 2
        said = capsys.readouterr().err
        assert told in said and " fitted on " not in said


def test_the_same_training_gives_the_same_curve_and_a_weight_may_be_given(trained: Any, place: Path) -> None:
    told = read_json(trained.folder / "training.json")["interpolate"]
    again = train(recipe_of(place, check=[]), place / "again")
    assert read_json(again.folder / "training.json")["interpolate"] == told
    given = train(recipe_of(place, check=[], interpolate=0.8, dev={}), place / "given")
    assert read_json(given.folder / "training.json")["interpolate"] == {"weight": 0.8}
    assert read_submission(given.folder / "submission.toml").interpolate == 0.8
    plain = train(recipe_of(place, check=[], interpolate=1, dev={}), place / "plain")
    assert plain.interpolate == 1


def test_a_weight_is_never_chosen_on_what_is_tested(place: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="split test of mini is what boards test on"):
        train(recipe_of(place, dev={**DEV, "split": "test"}), tmp_path / "run")
    assert not (tmp_path / "run" / "model").exists() and not (tmp_path / "run" / "checkpoints").exists()


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"dev": {}}, 'interpolate = "fit" needs dev.task, and dev.split'),
        ({"interpolate": 0}, "interpolate: expected `float` > 0.0"),
        ({"interpolate": 1.5}, "interpolate: expected `float` <= 1.0"),
        ({"interpolate": "best"}, "interpolate: invalid enum value 'best'; write a number or"),
    ],
)
def test_what_is_no_weight_is_refused_where_the_recipe_is_read(place: Path, changes: dict[str, Any], told: str) -> None:
    with pytest.raises(BadInput, match=told) as error:
        train_recipe(recipe_of(place, **changes))
    assert "\n" not in str(error.value)
