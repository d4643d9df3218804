"""The README is true: its blocks run, in order, in an empty folder; and its three journeys with a Hub as well."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from documents import ROOT, RUNNABLE, Block, read, run, write_toml
from hub_client import environment
from hub_double import HubDouble
from toys import contents

README = ROOT / "README.md"


def steps() -> list[Block]:
    """The blocks that run here, or with a Hub, in their order."""
    return [block for block in read(README).blocks if block.language in RUNNABLE and block.marks <= {"hub"}]


def test_every_block_of_the_readme_runs_and_leads_to_a_page_that_shows_the_submission(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("EXABENCH_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    run(steps(), tmp_path)
    assert (tmp_path / "my-run.trec").is_file()
    assert (tmp_path / "my-board/submissions/my-group--my-system.toml").is_file()
    assert "my-group--my-system" in (tmp_path / "my-board/site/index.html").read_text(encoding="utf-8")


def test_the_readme_and_the_makefile_name_the_same_commands_and_every_journey_goes_by_way_of_the_hub() -> None:
    makefile = (README.parent / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"`?make (\w[\w-]*)", README.read_text(encoding="utf-8")):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
    sections = {step.section.split(":")[0] for step in steps() if step.marks}
    assert sections == {"Journey 1", "Journey 2", "Journey 3"}


def done(command: list[str], folder: Path, given: dict[str, str]) -> str:
    """What a command that ends well prints."""
    ended = subprocess.run(command, cwd=folder, env=given, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, f"{command[-1]}\n{ended.stdout}\n{ended.stderr}"
    assert "Traceback" not in ended.stderr
    return ended.stdout


@pytest.mark.slow
def test_the_three_journeys_run_word_for_word_each_block_in_a_process_of_its_own_with_a_hub(tmp_path: Path) -> None:
    printed: dict[str, str] = {}
    with HubDouble() as hub:
        given = {**environment(hub.url, tmp_path / ".home"), "EXABENCH_CACHE": os.environ["EXABENCH_CACHE"]}
        given.pop("EXABENCH_DATA", None)
        given["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        # Somebody's board, without a submission, is on the Hub, and its clone lies here.
        done(["exabench", "bench", "candidates", "mini", "--board", "their-board"], tmp_path, given)
        hub.commit("their-group/board", contents(tmp_path / "their-board"))
        for step in steps():
            if step.language == "toml":
                write_toml(step, tmp_path)
                continue
            command = [sys.executable, "-c"] if step.language == "python" else ["bash", "-euo", "pipefail", "-c"]
            printed[step.code] = done([*command, step.code], tmp_path, given)

        # A set that was published is loaded by name and version.
        repo = hub.repo("my-group/exabench-mini")
        assert repo.tags == {"v1.0.0": repo.refs["main"]}
        [rows] = [text for code, text in printed.items() if 'exabench.load("my-group/exabench-mini"' in code]
        assert re.fullmatch(r"[1-9]\d* 1\.0\.0\n", rows)

        # A run is submitted by pull request, scored and answered.
        [request] = hub.repo("their-group/board").requests
        assert (request["title"], request["status"]) == ("Submit my-group/my-system (run)", "closed")
        assert "nDCG@10" in hub.said("their-group/board", 1)[-1]
        [pending] = [text for code, text in printed.items() if "bench pending" in code]
        assert "my-group--my-system" in pending
        assert (tmp_path / "their-board/results/my-group--my-system/mini.bm25-100.json").is_file()
        assert list((tmp_path / "my-board/results").glob("*--mini-minilm/mini.bm25-100.json"))

        # The pages are rebuilt, held against the files and published.
        page = (tmp_path / "their-board/site/index.html").read_bytes()
        files = hub.repo("spaces/their-group/pages").at("main").files
        assert b"my-group--my-system" in page and files["index.html"] == page and b"sdk: static" in files["README.md"]
