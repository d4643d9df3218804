"""`exabench train`: what it prints, and one line with nothing written for everything that can go wrong."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import fits
import pytest
from faults import killed_at_each_call, no_file_over
from models import classifier_folder, encoder_folder
from toys import contents

from exabench.cli import main
from exabench.core.errors import BadInput
from exabench.measure.statistics import holm
from exabench.training import train


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """Six steps of a toy over a listwise release."""
    release = fits.write_release(tmp_path / "release", {"lists": ("listwise", {"train": fits.listwise()})})
    data = [{"release": str(release), "table": "lists"}]
    return fits.recipe(tmp_path / "toy.toml", data, model=str(classifier_folder(tmp_path / "start")))


def printed(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().out


def squeezed(line: str) -> str:
    """A line of a table with two blanks between its columns."""
    return re.sub("  +", "  ", line)


def refused(capsys: pytest.CaptureFixture[str]) -> str:
    """The one line that was said."""
    told = capsys.readouterr()
    lines = [line for line in told.err.splitlines() if line.startswith("exabench: ")]
    assert len(lines) == 1 and "Traceback" not in told.err and told.out == ""
    return lines[0]


def test_a_run_is_fitted_once_then_found_finished_and_published_once(recipe, tmp_path, capsys):
    command = ["train", "run", str(recipe), "--to", str(tmp_path / "run"), "--device", "cpu", "--json"]
    assert main(command) == 0
    first = json.loads(printed(capsys))
    assert first["steps"] == 6 and first["folder"] == str(tmp_path / "run" / "model")
    weights = (tmp_path / "run" / "model" / "model.safetensors").read_bytes()
    assert main([*command[:-1], "--owner", "acme"]) == 0
    assert "6 steps, the weights of step 6" in printed(capsys)
    assert (tmp_path / "run" / "model" / "model.safetensors").read_bytes() == weights
    assert 'name = "acme/toy"' in (tmp_path / "run" / "model" / "submission.toml").read_text()
    publish = ["train", "publish", str(tmp_path / "run"), "--to", str(tmp_path / "there")]
    assert main(publish) == 0 and f"{tmp_path / 'there'}: published (sha256:" in printed(capsys)
    before = contents(tmp_path / "there")
    assert main(publish) == 0 and "nothing has changed" in printed(capsys)
    assert contents(tmp_path / "there") == before
    assert main(publish[:3]) == 2 and "--repo owner/name or --to FOLDER" in refused(capsys)
    assert main(["train", "publish", str(tmp_path / "start"), "--to", str(tmp_path / "other")]) == 2
    assert str(tmp_path / "start") in refused(capsys) and not (tmp_path / "other").exists()


def test_a_dry_run_says_what_would_be_fitted_and_writes_nothing(recipe, tmp_path, capsys):
    before = contents(tmp_path)
    assert main(["train", "run", str(recipe), "--to", str(tmp_path / "run"), "--dry-run", "--json"]) == 0
    found = json.loads(printed(capsys))
    assert (found["groups"], found["steps"], found["loss"]) == (8, 6, "ranknet")
    assert contents(tmp_path) == before


@pytest.mark.parametrize("changes", [[], ["loss.sigma=2.0", "options.max_length=16", "dev.every=2", "dev.groups=1"]])
def test_a_dry_run_loads_no_torch(recipe, changes):
    words = ["train", "run", str(recipe), "--dry-run"]
    for change in changes:
        words += ["--set", change]
    code = f"""
import sys
from exabench.cli import main
status = main({words!r})
print(status, "torch" in sys.modules, "transformers" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("0 False False\n")


def test_a_recipe_that_evaluates_nothing_holds_nothing_out(recipe, tmp_path, capsys):
    release = {"lists": ("listwise", {"train": fits.listwise(8), "validation": fits.listwise(2, seed=1)})}
    data = [{"release": str(fits.write_release(tmp_path / "other", release)), "table": "lists"}]
    for every, held_out in ((0, 0), (2, 2)):
        change = ["--set", f"data={fits.toml_text(data)}", "--set", f"dev={{every={every}, groups=3}}"]
        assert main(["train", "run", str(recipe), "--dry-run", "--json", *change]) == 0
        found = json.loads(printed(capsys))
        assert (found["groups"], found["held_out"]) == (8, held_out)


CHECKS = [{"task": "mini", "depth": 10, "metric": metric} for metric in ("nDCG@10", "RR@10", "AP@10")]


def test_the_p_values_are_corrected_once_and_told_the_same_everywhere(recipe, tmp_path, capsys):
    command = ["train", "run", str(recipe), "--to", str(tmp_path / "run"), "--device", "cpu"]
    command += ["--set", f"check={fits.toml_text(CHECKS)}", "--set", "options.max_length=64"]
    assert main([*command, "--json"]) == 0
    told = json.loads(printed(capsys))["checks"]
    written = json.loads((tmp_path / "run" / "model" / "training.json").read_text())["checks"]
    for kind in ("first_stage", "start"):
        raw = [check[kind]["p"] for check in told]
        assert [check[kind]["p_holm"] for check in told] == pytest.approx(holm(raw))
        assert [check[kind]["p_holm"] for check in told] == [check[kind]["p_holm"] for check in written]
    assert any(check["first_stage"]["p_holm"] < 1 for check in told)
    assert main(command) == 0
    text = printed(capsys)
    assert "Holm-corrected" in text and "published" not in text
    for check, line in zip(told, text.splitlines()[2:], strict=False):
        p = check["first_stage"]["p_holm"]
        assert squeezed(line).split("  ")[5] == ("< 0.0001" if p < 0.0001 else f"{p:.4f}")


def test_a_published_number_is_printed_next_to_what_was_measured(recipe, tmp_path, capsys):
    checks = [{**CHECKS[0], "value": 0.75, "source": "nowhere"}, CHECKS[1]]
    command = ["train", "run", str(recipe), "--to", str(tmp_path / "run"), "--device", "cpu"]
    command += ["--set", f"check={fits.toml_text(checks)}", "--set", "options.max_length=64"]
    assert main(command) == 0
    header, first, second = (squeezed(line).split("  ") for line in printed(capsys).splitlines()[1:4])
    assert header[:4] == ["check", "metric", "value", "published"] and first[3] == "0.7500"
    assert len(second) == len(first) - 1


@pytest.fixture
def headless(recipe: Path, tmp_path: Path) -> list[str]:
    """The command of a training whose model needs a scoring head, so that it begins by writing a start model."""
    model = f"model={encoder_folder(tmp_path / 'encoder')}"
    return ["train", "run", str(recipe), "--to", str(tmp_path / "run"), "--device", "cpu", "--set", model]


def test_a_run_that_is_killed_while_the_start_model_is_written_ends_as_one_that_was_not(headless, tmp_path):
    assert main([part.replace(str(tmp_path / "run"), str(tmp_path / "whole")) for part in headless]) == 0
    run, left = tmp_path / "run", set()
    for _ in killed_at_each_call(lambda: main(headless), numbers=(8, 12)):
        assert not (run / "start").exists()
        left |= {path.name for path in run.glob(".start*/*")}
    assert "model.safetensors" in left
    assert main(headless) == 0
    assert fits.outcome(run) == fits.outcome(tmp_path / "whole")
    assert not list(run.glob(".start*"))


def test_a_disk_without_room_is_one_line_and_the_same_command_goes_on(headless, tmp_path, capsys):
    """No file may grow over so many times the size of the model; the optimiser's moments are twice as large as it."""
    size = (tmp_path / "encoder" / "model.safetensors").stat().st_size
    for times, part in ((0.5, "start"), (1.5, "checkpoints")):
        with no_file_over(int(times * size)):
            assert main(headless) == 2
        line = refused(capsys)
        assert f"/{part}" in line and "cannot be written" in line
    assert main(headless) == 0


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("loss.part=ranknett", "did you mean ranknet"),
        ("loss.part=lce", "table lists has the family listwise, but loss lce needs contrastive"),
        ("loss.sgima=2", "loss ranknet has no option 'sgima'; its options: sigma, weights"),
        ("options.max_length=long", "reranker cross_encoder: max_length must be a whole number"),
        ("options.tempalte=x", "reranker cross_encoder has no option 'tempalte'; its options: "),
        ('reranker="unchanged"', "reranker unchanged cannot be trained; use one of bi_encoder, cross_encoder"),
        ('reranker="bm25"', "unknown reranker 'bm25'"),
        ("title.a=b", "is not a table"),
    ],
)
def test_a_dry_run_refuses_what_a_run_refuses_in_one_line(recipe, tmp_path, capsys, change, said):
    before = contents(tmp_path)
    for dry in (["--dry-run"], []):
        assert main(["train", "run", str(recipe), "--to", str(tmp_path / "run"), *dry, "--set", change]) == 2
        assert said in refused(capsys)
    assert {name for name in contents(tmp_path) if not name.startswith("run/")} - {".run.lock"} == before.keys()
    assert not (tmp_path / "run" / "curves.csv").exists()


def test_collections_that_are_not_there_are_told_before_the_training(recipe, tmp_path):
    with pytest.raises(BadInput, match="nowhere: is not a folder; give the folder"):
        train(str(recipe), tmp_path / "run", data=tmp_path / "nowhere")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (['model="nowhere/at-all-here"'], "nowhere/at-all-here"),
        (["model=/nowhere/at/all"], "is neither a folder nor a Hub id"),
        (['reranker="rankt5"'], "encoder"),
        (["precision=int8"], "precision 'int8'"),
        (["options.max_length=2"], "max_length"),
        (["dev.every=1", "dev.groups=2", "dev.metric=nDGC@10"], "did you mean nDCG"),
        (["dev.every=1", "dev.groups=2", "dev.metric=RR@10"], "held-out groups are measured by nDCG@k, not RR@10"),
        (["loss.part=lm"], "but loss lm needs explanations or contrastive"),
    ],
)
def test_what_only_a_run_can_find_out_is_one_line_before_a_step_is_done(
    recipe, tmp_path, capsys, monkeypatch, changes, said
):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    sets = [word for change in changes for word in ("--set", change)]
    assert main(["train", "run", str(recipe), "--to", str(tmp_path / "run"), *sets]) in (2, 3)
    assert said in refused(capsys)
    assert not any((tmp_path / "run" / name).exists() for name in ("model", "checkpoints", "curves.csv"))


def test_a_recipe_that_is_not_there_names_one_that_is(tmp_path, capsys):
    assert main(["train", "run", "scifact-minilmm", "--to", str(tmp_path / "run")]) == 2
    assert "scifact-minilm" in refused(capsys)
    assert not (tmp_path / "run").exists()
