"""Several processes fit as one does: same order, same weights, and the end of one is the end of all."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import fits
import psutil
import pytest
from models import classifier_folder, rankt5_folder, t5_folder, t5_tokenizer
from safetensors.torch import load_file

HERE = Path(__file__).parent
GROUPS = 13  # in steps of four: the fourth step is a single group, and the second rank has none
FREE = ("key.bias", "classifier.bias", "dense.bias")
"""No loss of lists sees them: their gradient is rounding, which Adam makes steps of (and no two sums round alike)."""


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A release with a table of lists and one of texts to write, tiny models, and a recipe of six steps for each."""
    folder = tmp_path_factory.mktemp("ranks")
    # With seed 0 the single group of the fourth step has a gradient that nearly vanishes for RankT5 (its norm is 2.3,
    # and 38 to 78 in the other steps), so that rounding is 3e-5 of it or more; with this seed it stays below 1e-6.
    tables = {
        "lists": ("listwise", {"train": fits.listwise(GROUPS, sizes=(2, 3, 4, 5), seed=4)}),
        "texts": ("explanations", {"train": fits.explanations(GROUPS)}),
    }
    fits.write_release(folder / "release", tables)
    classifier_folder(folder / "bert")
    t5_folder(folder / "t5", t5_tokenizer())
    rankt5_folder(folder / "rankt5", t5_tokenizer())
    steps = {"steps": 6, "groups": 4, "rate": 2e-5, "warmup": 2, "batch_tokens": 96, "dropout": False}
    steps |= {"schedule": "constant"}
    for table, reranker, model, loss in (
        ("lists", "cross_encoder", "bert", "ranknet"),
        ("texts", "monot5", "t5", "lm"),
        ("lists", "rankt5", "rankt5", "softmax_ce"),
    ):
        given = {"reranker": reranker, "model": str(folder / model), "loss": {"part": loss}, "steps": steps}
        data = [{"release": str(folder / "release"), "table": table}]
        fits.recipe(folder / f"{model}.toml", data, options={"max_length": 128}, **given)
    return folder


SHARDED = ["steps.sharded=true"]
LORA = ["lora={rank=4}"]
JOBS: dict[str, dict[str, Any]] = {
    "one": {"count": 1},
    "two": {},
    "two killed": {"fault": "kill", "to": "resumed"},
    "then one": {"fault": "kill", "to": "resumed", "count": 1, "at": [0, 4]},
    "then two": {"to": "resumed"},
    "written by one": {"recipe": "t5", "count": 1},
    "written by two": {"recipe": "t5", "overrides": SHARDED},
    "adapter on one": {"count": 1, "overrides": LORA},
    "adapter on two": {"overrides": LORA},
    "stopped": {"fault": "stop", "timeout": 2},
    "held": {"fault": "held"},
    "memory": {"fault": "memory"},
}
LONG: dict[str, dict[str, Any]] = {
    "one": {"count": 1},
    "one with dev": {"count": 1, "overrides": ["dev.every=2", "dev.groups=3"]},
    "two with dev": {"overrides": ["dev.every=2", "dev.groups=3"]},
    "sharded with dev": {"overrides": [*SHARDED, "dev.every=2", "dev.groups=3"]},
    "sharded whole": {"overrides": SHARDED},
    "sharded killed": {"overrides": SHARDED, "fault": "kill", "to": "sharded"},
    "then on one": {"overrides": SHARDED, "fault": "kill", "to": "sharded", "count": 1, "at": [0, 4]},
    "then on two": {"overrides": SHARDED, "to": "sharded"},
    "full disk": {"fault": "full disk", "at": [0, 2]},
    "encoder on one": {"recipe": "rankt5", "count": 1},
    "encoder sharded": {"recipe": "rankt5", "overrides": SHARDED},
    "killed and whole": {"fault": "kill", "to": "killed", "at": [0, 3]},
    "resumed on two": {"to": "killed"},
    "bug": {"fault": "bug"},
    "nan": {"fault": "nan"},
    "bad recipe": {"overrides": ["steps.rate=-1.0"]},
}


def environment() -> dict[str, str]:
    """One thread for each rank, and no bars."""
    quiet = {"HF_DATASETS_DISABLE_PROGRESS_BARS": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    return os.environ | quiet | {"OMP_NUM_THREADS": "1", "PYTHONPATH": f"{HERE.parent}{os.pathsep}{HERE}"}


def ran(base: Path, folder: Path, jobs: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """What became of the ranks of each job; its `to` is where it was fitted."""
    told = {}
    for name, job in jobs.items():
        page, to = base / f"{job.get('recipe', 'bert')}.toml", folder / job.get("to", name)
        told[name] = {**job, "recipe": str(page), "to": str(to)}
    (folder / "jobs.json").write_text(json.dumps(told))
    command = [sys.executable, str(HERE / "two_ranks.py"), str(folder / "jobs.json")]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    return {name: {**found, "to": Path(told[name]["to"])} for name, found in json.loads(done.stdout).items()}


@pytest.fixture(scope="module")
def jobs(base: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return ran(base, tmp_path_factory.mktemp("jobs"), JOBS)


@pytest.fixture(scope="module")
def long_jobs(base: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return ran(base, tmp_path_factory.mktemp("long"), LONG)


def curves(folder: Path) -> list[list[float]]:
    """The steps of a run as numbers."""
    lines = (folder / "curves.csv").read_text().splitlines()[1:]
    return [[float(cell) if cell else 0.0 for cell in line.split(",")] for line in lines]


def assert_same(one: Path, other: Path) -> None:
    """The same order, and weights and curves that differ by no more than sums in another order do."""
    assert training(one)["order"] == training(other)["order"]
    mine, theirs = (load_file(folder / "model" / "model.safetensors") for folder in (one, other))
    assert mine.keys() == theirs.keys()
    for name in mine:
        if not name.endswith(FREE):
            assert float((mine[name] - theirs[name]).abs().max()) <= 1e-6, name
    mine_curves, their_curves = curves(one), curves(other)
    assert len(mine_curves) == len(their_curves) == 6
    for step, other_step in zip(mine_curves, their_curves, strict=True):
        assert step == pytest.approx(other_step, rel=5e-6, abs=1e-6)


def training(folder: Path) -> Any:
    return json.loads((folder / "model" / "training.json").read_text())


def assert_one_line(found: Any, rank: int, *words: str) -> None:
    """All ranks ended with an error by themselves, and one of them said why, in one line."""
    assert not found["ended"] and 0 not in found["codes"]
    assert [len(said.splitlines()) for said in found["said"]] == [int(r == rank) for r in range(len(found["said"]))]
    assert found["said"][rank].startswith("exabench: ") and all(word in found["said"][rank] for word in words)


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("one", "two"),
        ("written by one", "written by two"),
        ("one", "memory"),
        ("adapter on one", "adapter on two"),
    ],
)
def test_two_ranks_fit_what_one_fits_sharded_and_when_memory_runs_out_for_one(jobs: Any, one: str, two: str) -> None:
    assert jobs[one]["codes"] == [0] and jobs[two]["codes"] == [0, 0]
    assert_same(jobs[one]["to"], jobs[two]["to"])


def test_a_checkpoint_of_two_ranks_goes_on_with_one_and_back(jobs: Any) -> None:
    assert jobs["two killed"]["codes"][1] == jobs["then one"]["codes"][0] == -signal.SIGKILL
    assert jobs["then two"]["codes"] == [0, 0]
    assert_same(jobs["one"]["to"], jobs["then two"]["to"])


def test_what_a_killed_rank_leaves_behind_ends_with_one_line(jobs: Any) -> None:
    killed = jobs["two killed"]
    assert killed["codes"] == [3, -signal.SIGKILL] and not killed["ended"]
    assert killed["said"][0].count("\n") == 1 and "rank 0 of 2 lost another rank" in killed["said"][0]
    assert killed["seconds"][0] - killed["seconds"][1] < 5


def test_a_rank_that_hangs_is_waited_for_no_longer_than_was_said(jobs: Any) -> None:
    stopped = jobs["stopped"]
    assert stopped["codes"] == [3, -signal.SIGKILL] and stopped["ended"] == [1]  # a stopped process cannot end itself
    assert stopped["said"][0].count("\n") == 1 and "silent for 2 s" in stopped["said"][0]
    assert stopped["seconds"][0] < jobs["two"]["seconds"][0] + 10


def test_a_folder_that_another_run_holds_is_refused_once_and_ends_all_ranks(jobs: Any) -> None:
    assert_one_line(jobs["held"], 0, "is writing here; wait until it finishes")
    assert not jobs["held"]["to"].exists()


@pytest.mark.slow
def test_a_disk_that_is_full_for_the_first_rank_ends_all(long_jobs: Any) -> None:
    assert_one_line(long_jobs["full disk"], 0, "step-000003: cannot be written")
    left = sorted((long_jobs["full disk"]["to"] / "checkpoints").iterdir())
    assert [path.name for path in left] == ["step-000001", "step-000002"]


@pytest.mark.slow
def test_dev_is_the_same_on_one_rank_on_two_and_on_shards(long_jobs: Any) -> None:
    for name in ("two with dev", "sharded with dev"):
        assert long_jobs[name]["codes"] == [0, 0]
        assert_same(long_jobs["one with dev"]["to"], long_jobs[name]["to"])
        one, other = (training(long_jobs[each]["to"])["dev"]["values"] for each in ("one with dev", name))
        assert [step for step, _ in one] == [step for step, _ in other] == [0, 2, 4, 6]
        assert [value for _, value in one] == pytest.approx([value for _, value in other])


@pytest.mark.slow
def test_shards_of_other_heads_learn_the_same(long_jobs: Any) -> None:
    for one, two in (("one", "sharded whole"), ("encoder on one", "encoder sharded")):
        assert long_jobs[two]["codes"] == [0, 0]
        assert_same(long_jobs[one]["to"], long_jobs[two]["to"])


@pytest.mark.slow
def test_shards_go_on_from_a_checkpoint_and_a_whole_model_from_theirs(long_jobs: Any) -> None:
    assert long_jobs["sharded killed"]["codes"] == [3, -signal.SIGKILL]
    assert long_jobs["then on one"]["codes"] == [-signal.SIGKILL] and long_jobs["then on two"]["codes"] == [0, 0]
    assert_same(long_jobs["sharded whole"]["to"], long_jobs["then on two"]["to"])


@pytest.mark.slow
def test_two_ranks_that_were_killed_go_on_to_the_same_bits(long_jobs: Any, jobs: Any) -> None:
    assert long_jobs["killed and whole"]["codes"] == [-signal.SIGKILL, 3]
    assert fits.outcome(jobs["two"]["to"]) == fits.outcome(long_jobs["resumed on two"]["to"])


@pytest.mark.slow
def test_what_is_wrong_is_said_by_one_rank_in_one_line(long_jobs: Any) -> None:
    for name, words in (("nan", ("step 1: loss nan", "no checkpoint yet")), ("bad recipe", ("steps.rate: expected",))):
        found = long_jobs[name]
        said = [line for text in found["said"] for line in text.splitlines() if line.startswith("exabench: ")]
        assert not found["ended"] and 0 not in found["codes"] and len(said) == 1
        assert all(word in said[0] for word in words)
        if name == "nan":  # the groups of all ranks are named
            assert len(said[0].split("on groups ")[1].split(";")[0].split(", ")) == 4


@pytest.mark.slow
def test_a_bug_is_shown_by_the_rank_that_has_it(long_jobs: Any) -> None:
    found = long_jobs["bug"]
    assert "KeyError: 'a bug'" in found["said"][1] and not found["said"][0]
    assert 0 not in found["codes"] and not found["ended"]


LAUNCHERS = {
    "torchrun": ["torch.distributed.run", "--nproc-per-node", "2"],
    "accelerate": ["accelerate.commands.launch", "--cpu", "--num_processes", "2", "--num_machines", "1"],
}


def launched(launcher: str, page: Path, to: Path, **more: str) -> subprocess.Popen[str]:
    """The command under a launcher, on a port of its own."""
    port = {"torchrun": "--standalone", "accelerate": "--main_process_port=0"}[launcher]
    run = ["-m", "exabench", "train", "run", str(page), "--to", str(to)]
    command, given = [sys.executable, "-m", *LAUNCHERS[launcher], port, *run], environment() | more
    return subprocess.Popen(command, env=given, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


@pytest.mark.slow
@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_launchers_start_ranks_that_fit_together(launcher: str, base: Path, jobs: Any, tmp_path: Path) -> None:
    process = launched(launcher, base / "bert.toml", tmp_path / "run")
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 0, said
    assert_same(jobs["one"]["to"], tmp_path / "run")


@pytest.mark.slow
@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGSTOP])
def test_torchrun_leaves_no_process_behind(sign: signal.Signals, base: Path, tmp_path: Path) -> None:
    (tmp_path / "long.toml").write_text((base / "bert.toml").read_text().replace("steps = 6", "steps = 4000"))
    process = launched("torchrun", tmp_path / "long.toml", tmp_path / "run", EXABENCH_RANK_TIMEOUT="20")
    while not (tmp_path / "run" / "curves.csv").is_file() or not curves(tmp_path / "run"):
        assert process.poll() is None, process.communicate()
        time.sleep(0.1)
    ranks = psutil.Process(process.pid).children(recursive=True)
    os.kill(ranks[-1].pid, sign)
    begin = time.monotonic()
    said, _ = process.communicate(timeout=120)
    assert process.returncode != 0 and "lost another rank" in said
    most = 15 if sign == signal.SIGKILL else 70  # 20 s, and torchrun gives a stopped one 30
    assert time.monotonic() - begin < most
    assert not any(rank.is_running() for rank in ranks)
