"""LoRA training: what is merged scores as peft merges it, an adapter names its base, and nothing else is kept of it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fits
import peft
import pytest
import torch
import transformers
from hub_client import point_at
from hub_double import HubDouble
from models import encoder_folder
from safetensors.torch import load_file
from toys import contents

import exabench
from exabench.cli import main
from exabench.core.errors import BadInput
from exabench.core.nouns import Passage, Query
from exabench.models.screening import screen_folder
from exabench.training import plan_training, train, train_recipe

QUERY = Query("q", "why is the sky blue")
PASSAGES = [Passage("a", "light of short waves"), Passage("b", "no star"), Passage("c", "dust cloud " * 4)]
CLASSES = {
    "bert": transformers.AutoModelForSequenceClassification,
    "t5": transformers.AutoModelForSeq2SeqLM,
    "decoder": transformers.AutoModelForCausalLM,
    "head on a decoder": transformers.AutoModelForSequenceClassification,
}
LORA = {"rank": 4, "alpha": 8.0, "dropout": 0.1}


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubDouble]:
    monkeypatch.setenv("EXABENCH_CACHE", str(tmp_path / "cache"))
    with HubDouble() as double:
        point_at(double.url, tmp_path / "home", monkeypatch)
        yield double


def recipe(tmp_path: Path, model: Path | str, reranker: str, name: str = "toy", **changes: Any) -> Path:
    """Six steps of LoRA over a listwise release."""
    release = tmp_path / "release"
    if not release.exists():
        fits.write_release(release, {"lists": ("listwise", {"train": fits.listwise()})})
    data = [{"release": str(release), "table": "lists"}]
    values = {"model": str(model), "reranker": reranker, "lora": LORA, "steps": {"rate": 1e-2}, **changes}
    values["options"] = {"max_length": 64}
    return fits.recipe(tmp_path / f"{name}.toml", data, **values)


def scores(folder: Path | str, part: str) -> list[float]:
    made: Any = exabench.reranker(part, model=str(folder), max_length=64)
    return list(made.score(QUERY, PASSAGES))


@pytest.mark.parametrize("kind", list(CLASSES))
def test_a_merged_model_scores_as_the_adapter_that_peft_merges(kind: str, hub: HubDouble, tmp_path: Path) -> None:
    part, folder = fits.KINDS[kind]
    base = folder(tmp_path / "base")
    commit = hub.commit("models/acme/base", contents(base))
    found = {}
    for save in ("merged", "adapter"):
        file = recipe(tmp_path, "acme/base", part, save, lora={**LORA, "save": save}, title="Toy")
        found[save] = train(file, tmp_path / save, devices=["cpu"]).folder
    settings = json.loads((found["adapter"] / "adapter_config.json").read_text())
    assert (settings["base_model_name_or_path"], settings["revision"]) == ("acme/base", commit)
    assert not list(found["adapter"].glob("model*.safetensors")) and not list(found["merged"].glob("adapter*"))

    plain = shutil.copytree(base, tmp_path / "by peft")
    fitted = peft.PeftModel.from_pretrained(CLASSES[kind].from_pretrained(base), found["adapter"])
    fitted.merge_and_unload().save_pretrained(plain)
    wanted = scores(plain, part)
    assert scores(found["merged"], part) == pytest.approx(wanted, abs=1e-6)
    assert scores(found["adapter"], part) == pytest.approx(wanted, abs=1e-6)
    assert max(abs(a - b) for a, b in zip(wanted, scores(base, part), strict=True)) > 1e-3  # it has learnt
    assert screen_folder(found["merged"]).parameters
    assert main(["train", "publish", str(tmp_path / "adapter"), "--to", str(tmp_path / "there")]) == 0
    assert "library_name: peft" in (tmp_path / "there" / "README.md").read_text()


def test_moments_and_checkpoints_hold_the_adapter_and_the_head_alone(tmp_path: Path) -> None:
    part, folder = fits.KINDS["bert"]
    file = recipe(tmp_path, folder(tmp_path / "base"), part, lora={**LORA, "targets": ["query", "key"]})
    train(file, tmp_path / "run", devices=["cpu"])
    for name in ("model", "optimiser"):
        kept = load_file(tmp_path / "run" / "checkpoints" / "step-000006" / f"{name}.safetensors")
        for tensor in kept:
            assert ".query.lora_" in tensor or ".key.lora_" in tensor or tensor.startswith("model.classifier."), tensor
        assert any(".lora_B." in tensor for tensor in kept)
    base = load_file(tmp_path / "base" / "model.safetensors")
    after = load_file(tmp_path / "run" / "model" / "model.safetensors")
    assert base.keys() == after.keys()
    changed = {name for name in base if not torch.equal(base[name], after[name])}
    assert {name.split(".")[-2] for name in changed} == {"query", "key", "classifier"}


@pytest.mark.parametrize("kind", ["bert", "t5"])
def test_a_run_that_was_stopped_ends_with_the_bits_of_one_that_was_not(kind: str, tmp_path: Path) -> None:
    part, folder = fits.KINDS[kind]
    file = recipe(tmp_path, folder(tmp_path / "base"), part)
    train(file, tmp_path / "whole", devices=["cpu"])
    for step in (1, 4):
        with pytest.raises(fits.Stopped):
            train(file, tmp_path / "run", devices=["cpu"], progress=fits.stops_at(step))
    train(file, tmp_path / "run", devices=["cpu"])
    assert fits.outcome(tmp_path / "run") == fits.outcome(tmp_path / "whole")


def test_a_start_that_no_step_beats_is_kept_as_it_was(tmp_path: Path) -> None:
    part, folder = fits.KINDS["bert"]
    base = folder(tmp_path / "base")
    changes = {"steps": {"rate": 1.0, "schedule": "constant"}, "dev": {"every": 6, "groups": 2, "metric": "loss"}}
    done = train(recipe(tmp_path, base, part, **changes), tmp_path / "run", devices=["cpu"])
    assert done.best == 0 and scores(done.folder, part) == scores(base, part)


def test_an_encoder_without_a_head_and_a_dual_encoder_learn_and_are_saved_merged(tmp_path: Path) -> None:
    base = encoder_folder(tmp_path / "base")
    for part in ("cross_encoder", "bi_encoder"):
        done = train(recipe(tmp_path, base, part, part), tmp_path / part, devices=["cpu"])
        assert len(set(scores(done.folder, part))) == 3 and not list(done.folder.glob("adapter*"))


def test_a_frozen_model_may_be_of_lower_precision_and_its_adapter_is_not(tmp_path: Path) -> None:
    part, folder = fits.KINDS["decoder"]
    base = folder(tmp_path / "base")
    file = recipe(tmp_path, base, part, precision="bfloat16")
    train(file, tmp_path / "run", devices=["cpu"])
    kept = load_file(tmp_path / "run" / "checkpoints" / "step-000006" / "model.safetensors")
    assert {tensor.dtype for tensor in kept.values()} == {torch.float32}
    saved = load_file(tmp_path / "run" / "model" / "model.safetensors")
    assert {tensor.dtype for tensor in saved.values()} == {torch.bfloat16}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"lora": {"rank": -1}}, "lora.rank: expected `int` >= 0"),
        ({"lora": {"alpha": 4.0}}, "lora needs rank, as in { rank = 16 }"),
        ({"lora": {"ranks": 4}}, "unknown key 'ranks' in lora; did you mean rank"),
        ({"lora": {"save": "both"}}, "choose from: merged, adapter"),
        ({"lora": {"rank": 4, "save": "adapter"}}, 'is not one; write lora.save = "merged"'),
        ({"steps": {"sharded": True}}, "steps.sharded splits a model that learns whole"),
    ],
)
def test_a_table_that_cannot_be_trained_is_one_line_before_anything_is_loaded(
    tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    part, folder = fits.KINDS["bert"]
    with pytest.raises(BadInput, match=said) as caught:
        plan_training(train_recipe(recipe(tmp_path, folder(tmp_path / "base"), part, **changes)))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "changes", "said"),
    [
        (
            "bert",
            {"lora": {"rank": 4, "targets": ["q_proj"]}},
            "lora.targets names linear layers of the model: classifier, dense",
        ),
        (
            "bert",
            {"lora": {"rank": 4, "targets": ["word_embeddings"]}},
            "LoRA cannot learn bert.embeddings.word_embeddings",
        ),
        ("decoder", {"lora": {"rank": 4, "targets": ["lm_head"]}}, "LoRA cannot learn lm_head"),
        ("bert", {"lora": {"rank": 4}, "precision": "bfloat16"}, "classifier.weight would learn in bfloat16"),
        ("decoder", {"lora": {"rank": 4}, "precision": "float16"}, "a CPU does not train in float16"),
    ],
)
def test_what_does_not_fit_a_model_is_one_line_before_a_step_is_done(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str, changes: dict[str, Any], said: str
) -> None:
    part, folder = fits.KINDS[kind]
    changes["lora"] = {"rank": 4, **changes.get("lora", {})}
    file = recipe(tmp_path, folder(tmp_path / "base"), part, **changes)
    assert main(["train", "run", str(file), "--to", str(tmp_path / "run"), "--device", "cpu"]) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("exabench: ")]
    assert len(lines) == 1 and said in lines[0]
    assert not (tmp_path / "run" / "checkpoints").exists()


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_weights_of_low_precision_are_refused_where_they_would_learn(tmp_path: Path, precision: str) -> None:
    part, folder = fits.KINDS["bert"]
    file = recipe(tmp_path, folder(tmp_path / "base"), part, precision=precision)
    file.write_text("\n".join(line for line in file.read_text().splitlines() if not line.startswith("lora")))
    said = 'round most updates away: write precision = "float32" and steps.autocast = "bfloat16"'
    with pytest.raises(BadInput, match=said):
        train_recipe(file)
