"""Scoring needs four packages, less than 250 MB, and gives the same numbers; other commands name what they need."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import cbor2
import pyarrow
import pytest
from packaging.requirements import Requirement
from toys import contents

from exabench.cli import main
from exabench.core.packages import extra_line

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
LARGEST = 250_000_000  # bytes of an installation for scoring
SMALL = {"click", "msgspec", "numpy", "pyarrow"}
# Finds what Python brings, exabench and the packages named: any other is as if it were not installed.
WITHOUT = """
import sys
from importlib.machinery import BuiltinImporter, FrozenImporter, PathFinder

class Small(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        top = name.partition(".")[0]
        known = top in sys.stdlib_module_names or top.startswith("_") or top in {small!r}
        if known and not name.startswith({refused!r}):
            return PathFinder.find_spec(name, path, target)
        return None

for module in [name for name in sys.modules if name.partition(".")[0] not in sys.stdlib_module_names]:
    del sys.modules[module]
sys.meta_path[:] = [BuiltinImporter, FrozenImporter, Small]
"""
MAIN = "from exabench.cli import main\nsys.exit(main(sys.argv[1:]))\n"


def run_small(folder: Path, *arguments: str, code: str = MAIN, refused: str = "-") -> subprocess.CompletedProcess[str]:
    """A command, or `code`, in `folder`, as if no other package was installed, nor modules that begin as `refused`."""
    start = WITHOUT.format(small={*SMALL, "exabench"}, refused=refused)
    words = [sys.executable, "-c", start + code, *arguments]
    return subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Judgements of twenty queries, and two runs over them, in TREC's formats."""
    folder = tmp_path_factory.mktemp("runs")
    qrels = []
    runs: dict[str, list[str]] = {"good": [], "other": []}
    for query in range(20):
        for passage in range(10):
            qrels.append(f"q{query} 0 d{passage} {(query + passage) % 3}")
            runs["good"].append(f"q{query} Q0 d{passage} 0 {(query + passage) % 3 + passage / 20} good")
            runs["other"].append(f"q{query} Q0 d{passage} 0 {(query * passage) % 7} other")
    (folder / "qrels.txt").write_text("\n".join(qrels) + "\n")
    for name, lines in runs.items():
        (folder / f"{name}.trec").write_text("\n".join(lines) + "\n")
    return folder


METRICS = [f"--metric={name}" for name in ("nDCG@10", "MRR@10", "map", "ERR", "RBP(p=0.8)", "Bpref", "recall_5")]
SCORES = [
    ["bench", "score", "good.trec", "--qrels", "qrels.txt", *METRICS, "--json"],
    ["bench", "score", "good.trec", "--qrels", "qrels.txt", "--per-query"],
    ["bench", "score", "good.trec", "other.trec", "--qrels", "qrels.txt", "--csv"],
    ["bench", "compare", "good.trec", "other.trec", "--qrels", "qrels.txt", "--json"],
    ["bench", "compare", "good.trec", "other.trec", "--qrels", "qrels.txt", "--test", "permutation", "--latex"],
    ["bench", "tasks"],
    ["parts"],
    ["parts", "rerankers"],
    ["--help"],
    ["bench", "score", "--help"],
]


@pytest.mark.parametrize("command", SCORES, ids=lambda command: " ".join(command)[:60])
def test_scores_and_comparisons_are_those_of_the_full_installation(
    command: list[str], folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    small = run_small(folder, *command)
    assert small.returncode == 0, small.stderr
    monkeypatch.chdir(folder)
    assert main(command) == 0
    full = capsys.readouterr().out
    assert small.stdout == full and len(full) > 100


def test_the_doctor_names_what_is_missing(folder: Path) -> None:
    found = run_small(folder, "doctor", "--offline", "--json")
    assert found.returncode == 0, found.stderr
    findings = {one["what"]: one for one in json.loads(found.stdout)["findings"]}
    assert findings["Hub"]["state"] == findings["GPU"]["state"] == findings["Java"]["state"] == "missing"
    assert findings["Hub"]["advice"] == extra_line("bench")


BEYOND = {
    "board build": ["board", "build", "--board", "board"],
    "board publish": ["board", "publish", "--board", "board", "--to", "published"],
    "data build": ["data", "build", "mini-listwise", "--to", "lists"],
    "evaluate": ["evaluate", "unchanged", "--task", "mini"],
    "train run": ["train", "run", "mini-minilm", "--to", "model"],
    "demo": ["demo", "--to", "demo"],
    "bench candidates": ["bench", "candidates", "mini", "--board", "board"],
    "bench run": ["bench", "run", "--pending", "--repo", "a/b", "--board", "board"],
    "a metric of ir_measures": ["bench", "score", "good.trec", "--qrels", "qrels.txt", "--metric", "SetP"],
    "a file of ranx": ["bench", "score", "ranx.lz4", "--qrels", "qrels.txt"],
}


@pytest.mark.parametrize("command", BEYOND.values(), ids=list(BEYOND))
def test_a_command_that_needs_more_says_so_in_one_line_with_the_pip_line_and_writes_nothing(
    command: list[str], folder: Path, tmp_path: Path
) -> None:
    for name, content in contents(folder).items():
        (tmp_path / name).write_bytes(content)
    packed = pyarrow.compress(cbor2.dumps({"q0": {"d1": 1.0}}), "lz4", asbytes=True)
    (tmp_path / "ranx.lz4").write_bytes(pyarrow.compress(packed, "lz4", asbytes=True))
    assert main(["board", "init", "--board", str(tmp_path / "board"), "--title", "Ours", "--task", "mini"]) == 0
    before = contents(tmp_path)
    done = run_small(tmp_path, *command)
    assert done.returncode == 2 and done.stdout == ""
    [line] = done.stderr.splitlines()
    assert line.startswith("exabench: ") and line.endswith(f": {extra_line('bench')}")
    assert contents(tmp_path) == before


@pytest.mark.parametrize("metric", ["nDGC@10", "no_such_metric", "alpha_nDCG@10", "P(rel=x)", "gm_map"])
def test_a_wrong_metric_is_told_as_ever(
    metric: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["bench", "score", "good.trec", "--qrels", "qrels.txt", "--metric", metric]
    small = run_small(folder, *command)
    monkeypatch.chdir(folder)
    assert main(command) == small.returncode == 2
    assert small.stderr == capsys.readouterr().err


def test_python_scores_and_names_the_package_that_another_function_needs(folder: Path) -> None:
    code = """
import exabench
print(exabench.score("good.trec", qrels="qrels.txt")["nDCG@10"])
try:
    exabench.evaluate
except exabench.ExabenchError as error:
    print(type(error).__name__, error)
"""
    done = run_small(folder, code=code)
    assert done.returncode == 0, done.stderr
    score, missing = done.stdout.splitlines()
    assert 0 < float(score) <= 1
    assert missing.startswith("MissingExtra the package ") and missing.endswith(extra_line("bench"))


def test_a_module_of_our_own_that_is_missing_is_a_bug_and_no_missing_package(folder: Path) -> None:
    done = run_small(folder, "bench", "score", "good.trec", "--qrels", "qrels.txt", refused="exabench.bench.scoring")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "ModuleNotFoundError: No module named 'exabench.bench.scoring'"
    assert "pip install" not in done.stderr


def test_an_installation_for_scoring_has_four_packages_and_less_than_250_mb() -> None:
    """What the wheels unpack to; the bytecode that pip compiles is not counted (`--no-compile` leaves it out)."""
    wanted = [Requirement(line).name for line in PROJECT["dependencies"]]
    assert set(wanted) == SMALL and PROJECT["optional-dependencies"]["score"] == []
    size = 0
    for file in (ROOT / "exabench").rglob("*"):
        if file.is_file() and "__pycache__" not in file.parts:
            size += file.stat().st_size
    for name in wanted:  # which grows meanwhile
        distribution = metadata.distribution(name)
        for line in distribution.requires or ():
            inner = Requirement(line)
            if inner.name not in wanted and (inner.marker is None or inner.marker.evaluate({"extra": ""})):
                wanted.append(inner.name)
        for file in distribution.files or ():
            size += file.size or 0
    assert set(wanted) == SMALL, "what scoring needs asks for nothing else"
    assert 100_000_000 < size < LARGEST


def test_every_extra_that_people_install_includes_bench() -> None:
    extras = PROJECT["optional-dependencies"]
    includes_bench = {"exabench[bench]", "exabench[models]"}
    assert "exabench[bench]" in extras["models"]
    assert all(includes_bench & {*lines} for name, lines in extras.items() if name not in ("score", "bench"))
