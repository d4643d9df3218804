"""What is installed is named by a digest: pins, the packages of a board's workflow, and the actions of workflows."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from digests import CONSTRAINTS, FOR_BOARDS, HASHED, index_name, pins

from exabench.bench.new_board import check_workflow
from exabench.core.errors import BadInput

ROOT = Path(__file__).parents[1]
WORKFLOWS = (ROOT / "exabench" / "bench" / "new_board" / "rebuild.yml", ROOT / "examples" / "leaderboard-ci.yml")
LINE = re.compile(r"[a-z0-9-]+(\[[a-z0-9,-]+\])?==[A-Za-z0-9.]+( --hash=sha256:[0-9a-f]{64})+")


def hashed_pins(file: Path) -> dict[str, str]:
    """The pins of a file of which every line has a digest."""
    title, *lines = file.read_text(encoding="utf-8").splitlines()
    assert title.startswith("# ") and lines == sorted(lines, key=lambda line: re.split(r"[\[=]", line)[0])
    found = {}
    for line in lines:
        assert LINE.fullmatch(line), line
        name, version = line.split(" ")[0].split("==")
        found.setdefault(name.split("[")[0], version)  # one with extras has a line of its own, too
    return found


def test_every_pin_has_its_digest_and_no_other_version() -> None:
    assert hashed_pins(HASHED) == pins(CONSTRAINTS.read_text(encoding="utf-8"))


def test_a_boards_workflow_installs_the_same_versions_and_all_that_they_need() -> None:
    pinned = pins(CONSTRAINTS.read_text(encoding="utf-8"))
    chosen = hashed_pins(FOR_BOARDS)
    assert chosen.items() <= pinned.items()
    # What is installed here and wanted by one of them is one of them: pip would refuse a list with a hole.
    for name in chosen:
        for line in metadata.requires(name) or []:
            wanted, _, marker = line.partition(";")
            package = index_name(re.match(r"[\w.-]+", wanted)[0])
            if not marker and package in pinned:
                assert package in chosen, f"{name} needs {package}"


def test_exabench_itself_loads_without_what_it_needs() -> None:
    """The workflow installs it first and reads the list of the others from it."""
    code = "import exabench; print(*exabench.__path__)"
    command = [sys.executable, "-S", "-c", code]  # -S: without the packages that are installed
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True)
    assert Path(done.stdout.strip()).name == "exabench"


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.name)
def test_every_action_is_a_commit_and_every_package_has_a_digest(file: Path) -> None:
    actions = []
    installs = []
    for job in yaml.safe_load(file.read_text(encoding="utf-8"))["jobs"].values():
        for step in job["steps"]:
            actions.append(step.get("uses"))
            installs += re.findall(r"pip install (.+)", step.get("run", ""))
    actions = [action for action in actions if action]
    assert actions and all(re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", action) for action in actions)
    assert installs and all("--require-hashes" in one or one == '--no-deps "PLACEHOLDER_SOURCE"' for one in installs)


def test_a_board_whose_workflow_takes_an_action_by_a_tag_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "rebuild.yml"
    text = WORKFLOWS[0].read_text(encoding="utf-8").replace("PLACEHOLDER_SPACE", "our/pages")
    text = text.replace("PLACEHOLDER_SOURCE", f"git+https://example.org/exabench@{'0' * 40}")
    file.write_text(text, encoding="utf-8")
    check_workflow(file)
    file.write_text(re.sub(r"checkout@[0-9a-f]{40}", "checkout@v4", text), encoding="utf-8")
    with pytest.raises(BadInput, match="actions/checkout@v4 can change; name the action by a commit"):
        check_workflow(file)
