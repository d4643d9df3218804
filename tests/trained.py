"""A model folder as `exabench train` leaves one behind, made without training, for the tests of what follows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from exabench.core.files import digest_of
from exabench.core.rows import Release
from exabench.training.curves import Curves, Point
from exabench.training.evaluation import BaselineComparison, CheckResult, correct_p_values
from exabench.training.groups import source_of
from exabench.training.model_folder import write_folder
from exabench.training.recipe import Data

RECIPE: Mapping[str, Any] = {
    "title": "A toy",
    "reranker": "cross_encoder",
    "model": "owner/start",
    "data": [{"release": "toy", "table": "listwise"}],
    "loss": {"part": "ranknet", "sigma": 1.0},
    "steps": {"rate": 5e-5, "steps": 8},
}


def _save(folder: Path) -> None:
    (folder / "config.json").write_text("{}")
    header = b"{}"
    (folder / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)


def model_folder(work: Path, release: Release, table: str, **changes: Any) -> Path:
    """The folder work/model of a model that was trained on a table of a release, but for the changes."""
    return write_model(work / "model", work / "curves.csv", [learnt_from(release, table)], **changes)


def write_model(
    to: Path, curves: Path, data: Sequence[Mapping[str, Any]], *, save: Any = _save, **changes: Any
) -> Path:
    """The model folder of eight steps, whose curve is written where it is missing."""
    if not curves.exists():
        curves.parent.mkdir(parents=True, exist_ok=True)
        drawn = Curves(curves)
        drawn.resume()
        for step in range(1, 9):
            drawn.add(Point(step, step / 4, 8 * step, 1 / step, 5e-5, 1.0, 0.1 * step if step % 4 == 0 else None))
    first = BaselineComparison(0.5, -0.125, (-0.2, -0.05), 0.01)
    begun = BaselineComparison(0.25, 0.125, (0.05, 0.2), 0.0001)
    published = {"value": 0.4, "source": "Somewhere 2020"}
    checks = [
        CheckResult("mini", "bm25-100", 100, "nDCG@10", 24, 0.375, (0.3, 0.45), first, begun),
        CheckResult("nfcorpus", "bm25-100", 100, "nDCG@10", 9, 0.375, (0.3, 0.45), first, None, published),
    ]
    correct_p_values(checks)
    report: dict[str, Any] = {
        "name": "acme/small",
        "title": "A toy",
        "note": "Nothing was fitted.",
        "kind": "classifier",
        "reranker": "cross_encoder",
        "options": {"max_length": 128},
        "licence": "apache-2.0",
        "hardware": "a processor, 2 cores",
        "recipe": RECIPE,
        "fingerprint": digest_of(dict(RECIPE)),
        "order": digest_of("order"),
        "base": {"model": "owner/start", "revision": "a" * 40, "licence": "mit"},
        "seed": 7,
        "steps": 8,
        "epochs": 2.0,
        "groups": 32,
        "best": 8,
        "data": data,
        "dev": {"metric": "nDCG@10", "source": "4 held-out groups", "values": [(4, 0.4), (8, 0.8)]},
        "checks": [asdict(check) for check in checks],
        "versions": {"python": "3.11"},
    }
    write_folder(to, {**report, **changes}, save=save, curves=curves)
    return to


def learnt_from(release: Release, table: str) -> dict[str, Any]:
    """What training.json says of two rows of a table, read from no repository."""
    return source_of(release, Data(release="owner/toy", table=table), 2) | {"repository": ""}
