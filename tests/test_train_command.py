"""`exabench train`: what it prints, and one line with nothing written for everything that can go wrong."""

from __future__ import annotations

import json
from pathlib import Path

import fits
import pytest
from models import classifier_folder

from exabench.cli import main
from exabench.recipe import recipe_names


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """Six steps of a toy over a listwise release."""
    release = fits.write_release(tmp_path / "release", {"lists": ("listwise", {"train": fits.listwise()})})
    data = [{"release": str(release), "table": "lists"}]
    return fits.recipe(tmp_path / "toy.toml", data, model=str(classifier_folder(tmp_path / "start")))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(f.relative_to(folder)): f.read_bytes() for f in sorted(folder.rglob("*")) if f.is_file()}


def printed(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().out


def refused(capsys: pytest.CaptureFixture[str]) -> str:
    """The one line that was said."""
    told = capsys.readouterr()
    lines = [line for line in told.err.splitlines() if line.startswith("exabench: ")]
    assert len(lines) == 1 and "Traceback" not in told.err and told.out == ""
    return lines[0]


def test_the_list_names_every_recipe_with_what_it_starts_and_learns_from(capsys):
    assert main(["train", "list", "--json"]) == 0
    listed = json.loads(printed(capsys))
    assert listed.keys() == set(recipe_names("train"))
    assert all(page["model"] and page["loss"]["part"] and page["data"] for page in listed.values())
    assert main(["train", "list"]) == 0
    assert all(name in line for name, line in zip(listed, printed(capsys).splitlines()[1:], strict=True))


def test_a_run_is_fitted_once_and_then_found_finished(recipe, tmp_path, capsys):
    command = ["train", "run", str(recipe), "--to", str(tmp_path / "run"), "--device", "cpu", "--json"]
    assert main(command) == 0
    first = json.loads(printed(capsys))
    assert first["steps"] == 6 and first["folder"] == str(tmp_path / "run" / "model")
    weights = (tmp_path / "run" / "model" / "model.safetensors").read_bytes()
    assert main([*command[:-1], "--owner", "acme"]) == 0
    assert "6 steps, the weights of step 6" in printed(capsys)
    assert (tmp_path / "run" / "model" / "model.safetensors").read_bytes() == weights
    assert 'name = "acme/toy"' in (tmp_path / "run" / "model" / "submission.toml").read_text()


def test_other_values_in_the_folder_of_a_run_are_refused_and_leave_it_as_it_was(recipe, tmp_path, capsys):
    command = ["train", "run", str(recipe), "--to", str(tmp_path / "run"), "--device", "cpu"]
    assert main(command) == 0
    capsys.readouterr()
    before = contents(tmp_path / "run")
    assert main([*command, "--set", "seed=9"]) == 2
    assert "holds the run of another recipe" in refused(capsys)
    assert contents(tmp_path / "run") == before


def test_a_dry_run_says_what_would_be_fitted_and_writes_nothing(recipe, tmp_path, capsys):
    before = contents(tmp_path)
    assert main(["train", "run", str(recipe), "--to", str(tmp_path / "run"), "--dry-run", "--json"]) == 0
    found = json.loads(printed(capsys))
    assert (found["groups"], found["steps"], found["loss"]) == (8, 6, "ranknet")
    assert contents(tmp_path) == before


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("steps.pace=3", "unknown key of steps 'pace'"),
        ("loss.part=ranknett", "ranknet"),
        ("loss.part=lce", "holds listwise, but loss lce needs contrastive"),
        ("loss.sigma=-1", "sigma"),
        ('reranker="unchanged"', "cannot be trained"),
        ('model="nowhere/at-all-here"', "nowhere/at-all-here"),
        ("precision=int8", "int8"),
        ("options.max_length=2", "max_length"),
    ],
)
def test_a_recipe_that_cannot_be_fitted_is_one_line(recipe, tmp_path, capsys, monkeypatch, change, said):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert main(["train", "run", str(recipe), "--to", str(tmp_path / "run"), "--set", change]) in (2, 3)
    assert said in refused(capsys)
    assert not (tmp_path / "run" / "model").exists() and not (tmp_path / "run" / "checkpoints").exists()


def test_a_recipe_that_is_not_there_names_one_that_is(tmp_path, capsys):
    assert main(["train", "run", "scifact-minilmm", "--to", str(tmp_path / "run")]) == 2
    assert "scifact-minilm" in refused(capsys)
    assert not (tmp_path / "run").exists()


def test_a_model_is_published_to_a_folder_once(recipe, tmp_path, capsys):
    assert main(["train", "run", str(recipe), "--to", str(tmp_path / "run"), "--device", "cpu"]) == 0
    command = ["train", "publish", str(tmp_path / "run"), "--to", str(tmp_path / "there")]
    capsys.readouterr()
    assert main(command) == 0 and f"{tmp_path / 'there'}: published (sha256:" in printed(capsys)
    before = contents(tmp_path / "there")
    assert main(command) == 0 and "nothing has changed" in printed(capsys)
    assert contents(tmp_path / "there") == before
    assert main(command[:3]) == 2 and "--repo owner/name or --to FOLDER" in refused(capsys)
    assert main(["train", "publish", str(tmp_path / "start"), "--to", str(tmp_path / "other")]) == 2
    assert str(tmp_path / "start") in refused(capsys) and not (tmp_path / "other").exists()
