"""The embedded collection's recipes with real engines: a random model writes nonsense, every item is counted."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from exabench.core.errors import CheckFailed
from exabench.core.files import toml_text
from exabench.data.building import Sources, build, data_recipe
from exabench.data.releases import rows, verify

RECIPES = ("mini-explanations", "mini-listwise", "mini-contrastive")


def quarantined(folder: Path) -> list[dict[str, Any]]:
    """The rejected items of a work folder."""
    lines = (folder / "quarantine.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_server_of_a_random_model_fills_the_quarantine_and_makes_no_release(
    vllm_server: Any, tmp_path: Path, recipe: str
) -> None:
    teacher = toml_text({"part": "openai", "model": "tiny", "base_url": vllm_server.url})
    page = data_recipe(recipe, [f"teacher={teacher}"])
    with pytest.raises(CheckFailed, match="of 16 items"):
        build(page, tmp_path, sources=Sources(replies=tmp_path / "replies.sqlite"), limit=16)
    rejected = quarantined(tmp_path)
    assert 8 < len(rejected) <= 16 and all(one["reason"] for one in rejected)
    assert not (tmp_path / "release" / "manifest.json").exists()


def test_a_guided_vllm_writes_orders_and_nothing_else(model: Path, tmp_path: Path) -> None:
    engine = {"part": "vllm", "model": str(model), "max_model_len": 8192, "dtype": "float32", "enforce_eager": True}
    command = [sys.executable, "-m", "exabench", "data", "build", "mini-listwise", "--json", "--limit", "8"]
    command += ["--set", f"teacher={toml_text({**engine, 'guided': True})}", "--to", str(tmp_path / "work")]
    done = subprocess.run([*command, "--replies", str(tmp_path / "r")], capture_output=True, text=True, timeout=300)
    # The pattern lets the random model write numbers alone, and hardly one is that of a passage.
    assert done.returncode == 1 and "names no passage" in done.stderr, done.stderr
    answers = [reply["text"] for one in quarantined(tmp_path / "work") for reply in one["replies"]]
    assert len(answers) == 8 and all(re.fullmatch(r"(\[[0-9]{1,3}\]( > )?)*[\[0-9 >]*", answer) for answer in answers)


def test_vllm_in_the_process_builds_and_a_second_build_asks_nothing(model: Path, tmp_path: Path) -> None:
    engine = {"part": "vllm", "model": str(model), "max_model_len": 8192, "dtype": "float32", "enforce_eager": True}
    command = [sys.executable, "-m", "exabench", "data", "build", "mini-explanations", "--json", "--limit", "16"]
    command += ["--set", f"teacher={toml_text(engine)}", "--set", "quality.most_rejected=1.0"]
    command += ["--replies", str(tmp_path / "replies.sqlite"), "--to", str(tmp_path / "one")]
    first = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert first.returncode == 0, first.stderr
    made = json.loads(first.stdout)["tables"]["explanations"]
    counts = made["counts"]
    assert counts["input"] == 16 == counts["good"] + counts["quarantined"] + counts["skipped"] and counts["good"] > 0
    assert made["teacher"]["engine"] == "vllm" and made["tokens"]["replies"] == 16
    release = tmp_path / "one" / "release"
    found = [row for split in made["splits"] for row in rows(release, "explanations", split)]
    assert verify(release) == [] and len(found) == counts["good"]
    assert len(quarantined(tmp_path / "one")) == counts["quarantined"]
    again = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert json.loads(again.stdout) == json.loads(first.stdout)
    assert "vLLM" not in again.stderr and "Loading" not in again.stderr, "the engine was made though nothing was asked"
