"""The README is true: its Python and shell blocks run, in order, in an empty folder."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

README = Path(__file__).parents[1] / "README.md"
BLOCK = re.compile(r"^```(python|bash|toml)\n(.*?)^```", re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty folder in which every block of the README has run."""
    folder = tmp_path_factory.mktemp("newcomer")
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    environment.pop("EXABENCH_DATA", None)
    for language, code in BLOCK.findall(README.read_text(encoding="utf-8")):
        if language == "toml":
            (folder / code.split("\n")[0].removeprefix("# ")).write_text(code, encoding="utf-8")
            continue
        command = [sys.executable, "-c", code] if language == "python" else ["bash", "-euo", "pipefail", "-c", code]
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, f"{code}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr
    return folder


def test_every_block_of_the_readme_runs(ran: Path) -> None:
    assert (ran / "my-run.trec").is_file()
    assert (ran / "my-board/submissions/my-group--my-system.toml").is_file()


def test_the_readme_leads_to_a_page_that_shows_the_submission(ran: Path) -> None:
    assert "my-group/my-system" in (ran / "my-board/site/index.html").read_text(encoding="utf-8")


def test_the_readme_and_the_makefile_name_the_same_commands() -> None:
    text = README.read_text(encoding="utf-8")
    makefile = (README.parent / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"`?make (\w[\w-]*)", text):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
