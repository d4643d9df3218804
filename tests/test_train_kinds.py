"""Late-interaction models and decoders learn by `exabench train run`, and the folder it leaves ranks as they learnt."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import fits
import pytest
from models import classifier_folder, family_folder, late_folder

import exabench
from exabench.cli import main
from exabench.core.nouns import Passage, Query
from exabench.training.curves import Curves

ROWS = fits.contrastive(6)

KINDS: dict[str, tuple[Callable[[Path], Path], Mapping[str, Any]]] = {
    "late interaction": (
        lambda folder: late_folder(folder, expansion=fits.FILLED_UP, prompts={"query": "query: "}),
        {"reranker": "late_interaction", "loss": {"part": "contrastive", "temperature": 0.2}, "options": {}},
    ),
    "late interaction, with the passages of other groups": (
        lambda folder: late_folder(folder, expansion=fits.FILLED_UP),
        {"reranker": "late_interaction", "loss": {"part": "lce"}, "steps": {"in_batch": True}},
    ),
    "a decoder that writes yes or no": (
        lambda folder: family_folder(folder, "qwen3-reranker"),
        {"reranker": "yes_no", "loss": {"part": "lce"}, "options": {"family": "qwen3-reranker", "max_length": 512}},
    ),
    "a decoder with a head": (
        lambda folder: classifier_folder(folder, "qwen3"),
        {"reranker": "cross_encoder", "loss": {"part": "ranknet"}},
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_training_puts_every_positive_first(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make, about = KINDS[kind]
    release = fits.write_release(tmp_path / "release", {"pairs": ("contrastive", {"train": ROWS})})
    steps = {"steps": 25, "groups": 6, "rate": 1e-2, "schedule": "constant", "dropout": False, "decay": 0.0}
    steps |= {"batch_tokens": 4096, **about.get("steps", {})}
    values = {"options": {"max_length": 64}, **about, "model": str(make(tmp_path / "model")), "steps": steps}
    file = fits.recipe(tmp_path / "recipe.toml", [{"release": str(release), "table": "pairs"}], **values)
    assert main(["train", "run", str(file), "--to", str(tmp_path / "run"), "--dry-run"]) == 0
    assert str(values["reranker"]) in capsys.readouterr().out
    assert main(["train", "run", str(file), "--to", str(tmp_path / "run")]) == 0

    losses = [point.loss for point in Curves(tmp_path / "run" / "curves.csv")]
    assert losses[-1] < losses[0] / 3
    trained = exabench.reranker(values["reranker"], model=str(tmp_path / "run" / "model"), **values["options"])
    for row in ROWS:
        passages = [Passage(row["positive_id"], row["positive"])]
        for passage_id, text in zip(row["negative_ids"], row["negatives"], strict=True):
            passages.append(Passage(passage_id, text))
        first, *others = trained.score(Query(row["query_id"], row["query"]), passages)
        assert first > max(others)
