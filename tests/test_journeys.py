"""The three journeys of the README, word for word, in an empty folder and with a Hub: load, submit, rebuild."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hub_client import environment
from hub_double import HubDouble
from toys import contents

README = Path(__file__).parents[1] / "README.md"
PART = re.compile(
    r"^(?P<level>##+) (?P<title>[^\n]+)$|^```(?P<kind>\w+)(?P<hub> hub)?\n(?P<code>.*?)^```$", re.M | re.S
)
ASIDE = ("Train a reranker on it", "First stages and rerankers with a model")  # test_readme runs what trains and loads

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Step:
    """A block of the README: python, bash or toml; `hub`: it talks to the Hub."""

    journey: str
    kind: str
    hub: bool
    code: str


def steps() -> list[Step]:
    """The blocks of the three journeys, in their order."""
    found, journey, aside = [], "", False
    for part in PART.finditer(README.read_text(encoding="utf-8")):
        if part["level"] == "##":
            journey = part["title"].split(":")[0] if part["title"].startswith("Journey") else ""
        if part["level"]:
            aside = part["title"] in ASIDE
        elif journey and not aside:
            found.append(Step(journey, part["kind"], bool(part["hub"]), part["code"]))
    return found


@dataclass(frozen=True)
class Travelled:
    """Where the journeys led: the folder, the Hub, and what each step printed."""

    folder: Path
    hub: HubDouble
    printed: list[tuple[Step, str]]

    def said(self, journey: str, words: str) -> str:
        """What the steps of a journey printed in which these words occur."""
        return "".join(text for step, text in self.printed if step.journey == journey and words in step.code)


@pytest.fixture(scope="module")
def travelled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Travelled]:
    """Everything done once. Somebody's board, without a submission, is on the Hub, and its clone lies here."""
    folder = tmp_path_factory.mktemp("newcomer")
    with HubDouble() as hub:
        given = {**environment(hub.url, folder / ".home"), "EXABENCH_CACHE": os.environ["EXABENCH_CACHE"]}
        given.pop("EXABENCH_DATA", None)
        given["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        done(["exabench", "bench", "candidates", "mini", "--board", "their-board"], folder, given)
        hub.commit("their-group/board", contents(folder / "their-board"))
        travelled = Travelled(folder, hub, [])
        for step in steps():
            if step.kind == "toml":
                (folder / step.code.split("\n")[0].removeprefix("# ")).write_text(step.code, encoding="utf-8")
                continue
            code = "".join(line for line in step.code.splitlines(keepends=True) if "my-reranker" not in line)
            command = [sys.executable, "-c"] if step.kind == "python" else ["bash", "-euo", "pipefail", "-c"]
            travelled.printed.append((step, done([*command, code], folder, given)))
        yield travelled


def done(command: list[str], folder: Path, given: dict[str, str]) -> str:
    """What a command that ends well prints."""
    ended = subprocess.run(command, cwd=folder, env=given, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, f"{command[-1]}\n{ended.stdout}\n{ended.stderr}"
    assert "Traceback" not in ended.stderr
    return ended.stdout


def test_every_journey_goes_by_way_of_the_hub() -> None:
    assert {step.journey for step in steps() if step.hub} == {"Journey 1", "Journey 2", "Journey 3"}


def test_a_set_that_was_published_is_loaded_by_name_and_version(travelled: Travelled) -> None:
    repo = travelled.hub.repo("my-group/exabench-mini")
    assert repo.tags == {"v1.0.0": repo.refs["main"]}
    rows = travelled.said("Journey 1", 'exabench.load("my-group/exabench-mini"')
    assert re.fullmatch(r"[1-9]\d* 1\.0\.0\n", rows)


def test_a_run_is_submitted_by_pull_request_scored_and_answered(travelled: Travelled) -> None:
    [request] = travelled.hub.repo("their-group/board").requests
    assert (request["title"], request["status"]) == ("Submit my-group/my-system (run)", "closed")
    [answer] = travelled.hub.said("their-group/board", 1)[-1:]
    assert "nDCG@10" in answer
    assert "my-group--my-system" in travelled.said("Journey 2", "bench pending")
    assert (travelled.folder / "their-board/results/my-group--my-system/mini.bm25-100.json").is_file()
    assert (travelled.folder / "my-board/results/my-group--my-model/mini.bm25-100.json").is_file()


def test_the_pages_are_rebuilt_held_against_the_files_and_published(travelled: Travelled) -> None:
    page = (travelled.folder / "their-board/site/index.html").read_bytes()
    assert b"my-group/my-system" in page
    files = travelled.hub.repo("spaces/their-group/pages").at("main").files
    assert files["index.html"] == page and b"sdk: static" in files["README.md"]
