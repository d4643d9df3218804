"""`exabench doctor` finds what is missing or broken, says what to type, and changes nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hub_client import point_at
from hub_double import REVOKED, HubDouble
from toys import contents

from exabench.bench.installation import examine, problem_of
from exabench.cli import main
from exabench.core.packages import Requirement, extra_line, meets, missing_package, pip_line, requirements


def findings(capsys: pytest.CaptureFixture[str], *options: str, code: int = 0) -> dict[str, dict[str, Any]]:
    """What the doctor finds, by what it looked at."""
    assert main(["doctor", "--json", *options]) == code
    value = json.loads(capsys.readouterr().out)
    assert value["holds"] == (code == 0)
    return {one["what"].strip(): one for one in value["findings"]}


def test_a_machine_in_order_is_found_so_and_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("EXABENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("EXABENCH_DATA", raising=False)
    found = findings(capsys, "--offline")
    assert found["exabench"]["state"] == found["EXABENCH_CACHE"]["state"] == "ok"
    assert found["Hub"]["state"] == "skipped"
    assert contents(tmp_path) == {}
    assert main(["doctor", "--offline"]) == 0
    printed = capsys.readouterr().out
    assert [block.split()[0] for block in printed.split("\n\n")][:3] == ["installed", "reachable", "kept"]


def test_it_is_quick_and_loads_no_library_of_models() -> None:
    code = "import sys, time; from exabench.cli import main; main(['doctor', '--offline', '--quiet'])\n"
    code += "print(time.process_time() < 2, {'torch', 'transformers', 'datasets'} & set(sys.modules), file=sys.stderr)"
    given = {name: value for name, value in os.environ.items() if name != "EXABENCH_DATA"}
    done = subprocess.run([sys.executable, "-c", code], env=given, capture_output=True, text=True, check=True)
    if not any(Path("/dev").glob("nvidia[0-9]*")):  # with a GPU torch is asked whether it sees it
        assert done.stderr == "True set()\n"


def test_a_folder_of_data_that_is_missing_or_is_itself_a_collection_is_broken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "data/mine/qrels").mkdir(parents=True)
    monkeypatch.setenv("EXABENCH_DATA", str(tmp_path / "data"))
    assert findings(capsys, "--offline")["EXABENCH_DATA"]["detail"] == f"{tmp_path}/data: mine"
    monkeypatch.setenv("EXABENCH_DATA", str(tmp_path / "none"))
    assert "no such folder" in findings(capsys, "--offline", code=1)["EXABENCH_DATA"]["detail"]
    monkeypatch.setenv("EXABENCH_DATA", str(tmp_path / "data/mine"))
    found = findings(capsys, "--offline", code=1)["EXABENCH_DATA"]
    assert found["advice"] == f"export EXABENCH_DATA={tmp_path}/data"
    (tmp_path / "file").touch()
    monkeypatch.setenv("EXABENCH_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("EXABENCH_CACHE", str(tmp_path / "file/cache"))
    assert main(["doctor", "--offline"]) == 1
    assert "1 thing is broken: EXABENCH_CACHE" in capsys.readouterr().err


def test_the_hub_is_asked_once_with_the_token(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("EXABENCH_DATA", raising=False)
    with HubDouble() as hub:
        point_at(hub.url, tmp_path, monkeypatch)
        found = findings(capsys)["Hub"]
        assert found["state"] == "ok" and found["detail"].startswith(f"{hub.url}, as ")
        monkeypatch.setenv("HF_TOKEN", REVOKED)
        found = findings(capsys, code=1)["Hub"]
        assert found["state"] == "broken" and found["advice"] == "hf auth login"
    point_at("http://127.0.0.1:9", tmp_path, monkeypatch)
    found = findings(capsys)["Hub"]
    assert found["state"] == "missing" and "check the network" in found["advice"]


def test_a_package_that_is_missing_or_too_old_is_named() -> None:
    assert problem_of(Requirement("click", ">=8.2,<99", "")) == ""
    assert problem_of(Requirement("no-such-package", ">=1", "")) == "no-such-package is not installed"
    assert problem_of(Requirement("click", ">=99", "")).endswith(", not >=99")
    extras = {requirement.extra for requirement in requirements()}
    assert {"", "models", "lucene", "vllm", "ray"} <= extras
    shown = {one.what for one in examine(offline=True)}
    assert {"[models]", "[lucene]", "[vllm]", "[ray]"} <= shown and "[dev]" not in shown


@pytest.mark.parametrize(
    ("origin", "line"),
    [
        (None, "pip install 'torch>=2' 'ray[data]>=2.40'"),
        (
            {"url": "file:///home/me/exabench", "dir_info": {"editable": True}},
            "pip install -e '/home/me/exabench[models]'",
        ),
        (
            {"url": "file:///home/me/exabench", "dir_info": {}},
            "pip install 'exabench[models] @ file:///home/me/exabench'",
        ),
        (
            {"url": "https://example.org/exabench", "vcs_info": {"vcs": "git", "commit_id": "0123abc"}},
            "pip install 'exabench[models] @ git+https://example.org/exabench@0123abc'",
        ),
    ],
)
def test_the_pip_line_names_the_place_that_this_exabench_came_from(
    origin: dict[str, Any] | None, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    about = tmp_path / "exabench-9.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(
        'Name: exabench\nVersion: 9.0\nRequires-Dist: torch>=2 ; extra == "models"\n'
        'Requires-Dist: ray[data]>=2.40; extra == "models"\n'
    )
    if origin is not None:
        (about / "direct_url.json").write_text(json.dumps(origin))
    monkeypatch.syspath_prepend(tmp_path)
    assert extra_line("models") == pip_line("torch.nn") == line
    assert pip_line("something_else") == "pip install something-else"


def test_an_extra_that_includes_another_asks_for_its_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    about = tmp_path / "exabench-9.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(
        'Name: exabench\nVersion: 9.0\nRequires-Dist: numpy>=2\nRequires-Dist: exabench[bench]; extra == "all"\n'
        'Requires-Dist: torch>=2; extra == "all"\nRequires-Dist: pyyaml>=6; extra == "bench"\n'
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert {(one.package, one.extra) for one in requirements()} == {
        ("numpy", ""),
        ("torch", "all"),
        ("pyyaml", "bench"),
        ("pyyaml", "all"),
    }
    assert extra_line("all") == "pip install 'torch>=2' 'pyyaml>=6'", "never exabench by its name"
    assert pip_line("yaml") == "pip install 'pyyaml>=6'"
    said = missing_package(ModuleNotFoundError(name="yaml"))
    assert str(said) == "the package pyyaml is needed and not installed: pip install 'pyyaml>=6'"
    for other in ("yaml.nothing", "exabench.nothing", "somebody", None):
        assert missing_package(ModuleNotFoundError(name=other)) is None


@pytest.mark.parametrize(
    ("version", "wanted", "is_met"),
    [
        ("2.10", ">=2.10.0", True),
        ("2.9.9", ">=2.10", False),
        ("2.14.0.dev3+cpu", ">=2.14", True),
        ("21.0.8.2", ">=21.0.4.1,<22", True),
        ("22.0", ">=21.0.4.1,<22", False),
        ("3.0", "", True),
    ],
)
def test_a_version_meets_a_requirement_by_its_numbers(version: str, wanted: str, is_met: bool) -> None:
    assert meets(version, wanted) == is_met
