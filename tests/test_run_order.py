"""The order of runs: a board's numbers and run digests are the same whatever was computed before, and by whom."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from models import classifier_folder, encoder_folder
from toys import write_submission

from exabench.cli import main
from exabench.models.batch_store import BatchStore

LISTS = ("bm25-20", "bm25-100")
SYSTEMS = {
    "me--cross-float32": ("cross_encoder", "float32"),
    "me--cross-int8": ("cross_encoder", "int8"),
    "me--bi-float32": ("bi_encoder", "float32"),
    "me--bi-int8": ("bi_encoder", "int8"),
}
SLUGS = tuple(SYSTEMS)


@pytest.fixture(scope="module")
def lists(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A board of two lists of mini, with a submission for each of SYSTEMS."""
    place = tmp_path_factory.mktemp("orders")
    folders = {
        "cross_encoder": classifier_folder(place / "cross_encoder"),
        "bi_encoder": encoder_folder(place / "bi_encoder"),
    }
    board = place / "board"
    for depth in (20, 100):
        assert main(["bench", "candidates", "mini", "--depth", str(depth), "--board", str(board)]) == 0
    for slug, (part, precision) in SYSTEMS.items():
        name = slug.replace("--", "/")
        options = {"reranker": part, "model": str(folders[part]), "precision": precision, "kind": "model"}
        file = write_submission(place / slug, name=name, **options)
        assert main(["bench", "submit", str(file), "--board", str(board)]) == 0
    return board


def run(board: Path, *more: str) -> int:
    return main(["bench", "run", *more, "--trusted", "--board", str(board)])


def one_by_one(*names: str) -> Callable[[Path], None]:
    def run_lists(board: Path) -> None:
        for name in names:
            assert run(board, *SLUGS, "--candidates", name) == 0

    return run_lists


def together(board: Path) -> None:
    assert run(board, *SLUGS) == 0


def with_workers(board: Path) -> None:
    assert run(board, *SLUGS, "--workers", "2") == 0


def stopped(board: Path) -> None:
    """The long list of each is stopped after three batches, the short one is run, and then all to their end."""
    add = BatchStore.add
    left = 0

    def keep(store: BatchStore, key: bytes, outputs: np.ndarray) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise KeyboardInterrupt
        add(store, key, outputs)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(BatchStore, "add", keep)
        for slug in SLUGS:
            left = 3
            assert run(board, slug, "--candidates", "bm25-100") == 130
    assert run(board, *SLUGS, "--candidates", "bm25-20") == 0
    assert run(board, *SLUGS) == 0


ORDERS = {
    "short first": one_by_one("bm25-20", "bm25-100"),
    "long first": one_by_one("bm25-100", "bm25-20"),
    "together": together,
    "stopped and resumed": stopped,
    "two workers": with_workers,
}


def test_a_boards_numbers_and_digests_do_not_depend_on_the_order_of_runs(lists, tmp_path, monkeypatch):
    found = {}
    for order, run_lists in ORDERS.items():
        monkeypatch.setenv("EXABENCH_CACHE", str(tmp_path / order / "cache"))
        board = shutil.copytree(lists, tmp_path / order / "board")
        run_lists(board)
        for slug in SLUGS:
            for name in LISTS:
                result = json.loads((board / "results" / slug / f"mini.{name}.json").read_text())
                found.setdefault((slug, name), {})[order] = (result["run_digest"], result["measurement"]["metrics"])
    for key, by_order in found.items():
        assert len(by_order) == len(ORDERS)
        assert all(one == by_order["together"] for one in by_order.values()), (key, by_order)
