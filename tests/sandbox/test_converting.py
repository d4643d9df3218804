"""Pickled checkpoints become safetensors in the jail: the same scores, no code run, and both digests."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import hostile
import pytest
import torch
from models import classifier_folder, modular_folder, t5_folder, t5_tokenizer
from safetensors.torch import load_file

import exabench
from exabench.cli import main
from exabench.core.errors import BadInput
from exabench.core.files import file_digest
from exabench.core.nouns import Passage, Query

QUERY = Query("q", "Why is the sky blue?")
PASSAGES = [Passage("a", "Light of short waves is scattered."), Passage("b", "No!")]


def pickled(folder: Path, to: Path, shards: int = 1, **same: str) -> Path:
    """The model with pickles in place of its safetensors; `same`: more names of a tensor, which they share."""
    shutil.copytree(folder, to)
    for file in sorted(to.rglob("model.safetensors")):
        weights = load_file(file)
        for name, other in same.items():
            weights[name.replace("__", ".")] = weights[other]
        file.unlink()
        if shards == 1:
            torch.save(weights, file.with_name("pytorch_model.bin"))
            continue
        table = {}
        for number in range(shards):
            name = f"pytorch_model-{number + 1:05}-of-{shards:05}.bin"
            part = {key: weights[key] for key in sorted(weights)[number::shards]}
            torch.save(part, file.with_name(name))
            table |= dict.fromkeys(part, name)
        index = {"metadata": {"total_size": 1}, "weight_map": table}
        file.with_name("pytorch_model.bin.index.json").write_text(json.dumps(index))
    return to


def scores(folder: Path) -> list[float]:
    made: Any = exabench.reranker("auto", model=str(folder))
    return list(made.score(QUERY, PASSAGES))


def test_a_converted_model_scores_as_before_and_both_digests_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = classifier_folder(tmp_path / "base")
    modules = modular_folder(tmp_path / "modules")
    tied = t5_folder(tmp_path / "t5", t5_tokenizer())
    cases = {
        "one": (base, pickled(base, tmp_path / "one")),
        "shards": (base, pickled(base, tmp_path / "shards", 3)),
        "modules": (modules, pickled(modules, tmp_path / "pickled")),
        "tied": (tied, pickled(tied, tmp_path / "tied", lm_head__weight="shared.weight")),
    }
    for name, (before, old) in cases.items():
        with pytest.raises(BadInput, match="convert them first: exabench bench convert"):
            exabench.reranker("auto", model=str(old))
        done = exabench.convert(old, tmp_path / f"{name}-new")
        assert scores(done.folder) == pytest.approx(scores(before), abs=1e-5)
        assert not list(done.folder.rglob("*.bin")) and not list(done.folder.rglob("*.bin.index.json"))
        for pickle, digest in done.pickles.items():
            assert digest == file_digest(old / pickle)
        made: Any = exabench.reranker("auto", model=str(done.folder))
        assert made.identity["revision"] == done.revision
    assert main(["bench", "convert", str(tmp_path / "one"), "--to", str(tmp_path / "told")]) == 0
    told = capsys.readouterr().out
    assert f"pytorch_model.bin: {file_digest(tmp_path / 'one' / 'pytorch_model.bin')}" in told


def test_a_pickle_that_is_code_or_no_table_is_refused_and_nothing_is_run_or_left(tmp_path: Path) -> None:
    old = pickled(classifier_folder(tmp_path / "base"), tmp_path / "old")
    wrong = {
        "it holds more than tensors": {"a": hostile.Payload()},
        "it is not a table of tensors by name": [torch.ones(2)],
        "'step' is not the name of a tensor": {"a": torch.ones(2), "step": 7},
    }
    for why, value in wrong.items():
        torch.save(value, old / "pytorch_model.bin")
        with pytest.raises(BadInput, match=why) as caught:
            exabench.convert(old, tmp_path / "new")
        assert "\n" not in str(caught.value)
        assert not hostile.CANARY.exists() and not (tmp_path / "new").exists()
