"""The embedded collection's recipes with real engines: a random model writes nonsense, every item is counted."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from exabench.core.files import toml_text
from exabench.core.rows import Release
from exabench.data.building import Sources, build, data_recipe
from exabench.data.releases import rows, verify

RECIPES = ("mini-explanations", "mini-listwise", "mini-contrastive")


def whole(folder: Path, release: Release) -> dict[str, int]:
    """Checks that every item went somewhere, and says where."""
    ((name, table),) = release.tables.items()
    counts = dict(table.counts)
    assert counts["input"] == counts["good"] + counts["quarantined"] + counts["skipped"] > 0
    assert verify(folder / "release") == []
    found = [row for split in table.splits for row in rows(folder / "release", name, split)]
    quarantined = [json.loads(line) for line in (folder / "quarantine.jsonl").open(encoding="utf-8")]
    assert (len(found), len(quarantined)) == (counts["good"], counts["quarantined"])
    print(f"{name}: {counts}, {table.tokens}")
    return counts


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_server_of_a_random_model_fills_the_quarantine_and_stops_nothing(
    vllm_server: Any, tmp_path: Path, recipe: str
) -> None:
    teacher = toml_text({"part": "openai", "model": "tiny", "base_url": vllm_server.url})
    page = data_recipe(recipe, [f"teacher={teacher}"])
    release = build(page, tmp_path, sources=Sources(replies=tmp_path / "replies.sqlite"), limit=16)
    counts = whole(tmp_path, release)
    assert counts["quarantined"] > 0, "a random model writes nothing of use"


def test_a_guided_vllm_writes_orders_and_nothing_else(model: Path, tmp_path: Path) -> None:
    engine = {"part": "vllm", "model": str(model), "max_model_len": 8192, "dtype": "float32", "enforce_eager": True}
    command = [sys.executable, "-m", "exabench", "data", "build", "mini-listwise", "--json", "--limit", "8"]
    command += ["--set", f"teacher={toml_text({**engine, 'guided': True})}", "--to", str(tmp_path / "work")]
    done = subprocess.run([*command, "--replies", str(tmp_path / "r")], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    answers = pq.read_table(tmp_path / "work" / "release" / "replies" / "listwise.parquet")["text"].to_pylist()
    assert len(answers) == 8 and all(re.fullmatch(r"(\[[0-9]{1,3}\]( > )?)*[\[0-9 >]*", answer) for answer in answers)


def test_vllm_in_the_process_builds_and_a_second_build_asks_nothing(model: Path, tmp_path: Path) -> None:
    engine = {"part": "vllm", "model": str(model), "max_model_len": 8192, "dtype": "float32", "enforce_eager": True}
    command = [sys.executable, "-m", "exabench", "data", "build", "mini-listwise", "--json", "--limit", "8"]
    command += ["--set", f"teacher={toml_text(engine)}", "--replies", str(tmp_path / "replies.sqlite")]
    first = subprocess.run([*command, "--to", str(tmp_path / "one")], capture_output=True, text=True, timeout=300)
    assert first.returncode == 0, first.stderr
    made = json.loads(first.stdout)["tables"]["listwise"]
    assert made["counts"]["input"] == 8 and made["teacher"]["engine"] == "vllm" and made["tokens"]["replies"] == 8
    again = subprocess.run([*command, "--to", str(tmp_path / "one")], capture_output=True, text=True, timeout=300)
    assert json.loads(again.stdout) == json.loads(first.stdout)
    assert "vLLM" not in again.stderr and "Loading" not in again.stderr, "the engine was made though nothing was asked"
