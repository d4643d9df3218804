"""The examples are true: the notebooks run offline and print what they hold, the workflow's commands exist.

So are the files that say what the project is: the citation, the threat model, and the templates for issues.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from workflows import check_commands, commands, steps

from exabench.bench.new_board import check_workflow
from exabench.core.errors import BadInput

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
NOTEBOOKS = sorted(path.name for path in EXAMPLES.glob("*.ipynb"))
WORKFLOW = EXAMPLES / "leaderboard-ci.yml"
WRITE = os.environ.get("EXABENCH_GOLDEN") == "write"


def test_the_script_on_false_negatives_counts_those_that_people_judged_relevant(tmp_path: Path) -> None:
    folder = tmp_path / "collections" / "bees"
    (folder / "qrels").mkdir(parents=True)
    judged = "query-id\tcorpus-id\tscore\n"
    with (folder / "corpus.jsonl").open("w") as corpus, (folder / "queries.jsonl").open("w") as queries:
        for month in range(6):
            queries.write(json.dumps({"_id": f"q{month}", "text": f"what do bees do in month {month}"}) + "\n")
            for number in range(4):
                text = f"In month {month} the bees of hive {number} gather nectar and do what bees do."
                corpus.write(json.dumps({"_id": f"p{month}-{number}", "text": text}) + "\n")
                judged += f"q{month}\tp{month}-{number}\t1\n"
    (folder / "qrels" / "train.tsv").write_text(judged)
    told = [str(tmp_path / "collections"), "bees", "--queries", "5", "--depth", "8"]
    ran = subprocess.run(
        [sys.executable, EXAMPLES / "false_negatives.py", *told], capture_output=True, text=True, check=True
    )
    lines = [json.loads(line.partition("}")[0] + "}") for line in ran.stdout.splitlines()]
    assert [line["bound"] for line in lines][0] == "plain" and len(lines) == 4
    # BM25 ranks the four passages of the month first, and people judged all of them relevant.
    assert (lines[0]["groups"], lines[0]["negatives"], lines[0]["false"]) == (5, 35, 15)
    assert lines[1]["false"] < 15, "passages as good as the positive are left out"


def text_of(lines: str | list[str]) -> str:
    """A text of a notebook, which may be a list of lines."""
    return lines if isinstance(lines, str) else "".join(lines)


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_runs_offline_in_an_empty_folder_and_prints_what_it_holds(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch")
    monkeypatch.delenv("EXABENCH_DATA", raising=False)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.chdir(tmp_path)
    notebook = json.loads((EXAMPLES / name).read_text(encoding="utf-8"))
    names: dict[str, Any] = {"__name__": "__main__"}
    for number, cell in enumerate(notebook["cells"], 1):
        if cell["cell_type"] != "code":
            continue
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(text_of(cell["source"]), f"{name}, cell {number}", "exec"), names)
        said = printed.getvalue()
        if WRITE:
            cell["outputs"] = []
            if said:
                lines = said.splitlines(keepends=True)
                cell["outputs"].append({"name": "stdout", "output_type": "stream", "text": lines})
        held = "".join(text_of(output["text"]) for output in cell["outputs"])
        assert said == held, f"{name}, cell {number}: EXABENCH_GOLDEN=write takes over what it prints"
    if WRITE:
        (EXAMPLES / name).write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_is_of_format_4_and_holds_no_trace_of_where_it_ran(name: str) -> None:
    notebook = json.loads((EXAMPLES / name).read_text(encoding="utf-8"))
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    cells = notebook["cells"]
    assert len({cell["id"] for cell in cells}) == len(cells)
    assert cells[0]["cell_type"] == "markdown" and text_of(cells[0]["source"]).startswith("# ")
    assert all(cell["execution_count"] is None for cell in cells if cell["cell_type"] == "code")
    assert {output["output_type"] for cell in cells for output in cell.get("outputs", [])} == {"stream"}
    assert not re.search(r"/(home|tmp|root|work)\b", json.dumps(notebook))


def test_the_workflow_runs_commands_that_exabench_has_and_repeats_none_that_build_or_publish() -> None:
    workflow = WORKFLOW.read_text(encoding="utf-8")
    wanted = ["board check", "bench verify", "bench pending"]
    assert [" ".join(command[:2]) for command in commands(workflow)] == wanted
    check_commands(workflow)


def test_the_workflow_of_strangers_pull_requests_has_no_secret_and_may_write_nothing() -> None:
    workflow = WORKFLOW.read_text(encoding="utf-8")
    values = yaml.safe_load(workflow)
    assert values["permissions"] == {"contents": "read"}
    assert "pull_request_target" not in values[True]  # YAML 1.1 reads the key `on` as a truth value
    assert "secrets." not in workflow
    [checkout] = [step for step in steps(workflow) if str(step.get("uses", "")).startswith("actions/checkout")]
    assert checkout["with"]["persist-credentials"] is False


def test_the_workflow_is_refused_until_it_says_where_exabench_comes_from() -> None:
    with pytest.raises(BadInput, match="PLACEHOLDER_SOURCE"):
        check_workflow(WORKFLOW)


ENTRY = {
    "leaderboard/submissions/acme--good.toml": "1",
    "leaderboard/runs/acme--good/mini.bm25-20.trec.gz": "1",
    "leaderboard/results/acme--good/mini.bm25-20.json": "1",
    "leaderboard/changes.jsonl": "2",
}


@pytest.mark.parametrize(
    ("more", "held"),
    [
        ({}, True),
        ({"leaderboard/models/acme--good/training.json": "1"}, True),
        ({"leaderboard/submissions/acme--other.toml": "1"}, False),
        ({"leaderboard/board.toml": "2"}, False),
        ({"leaderboard/candidates/mini/bm25-20.json": "2"}, False),
        ({".github/workflows/other.yml": "1"}, False),
    ],
    ids=["one", "with-a-report", "two", "settings", "a-list", "a-workflow"],
)
def test_a_pull_request_may_change_one_submission_and_nothing_else(
    tmp_path: Path, more: dict[str, str], held: bool
) -> None:
    [step] = [step for step in steps(WORKFLOW.read_text(encoding="utf-8")) if "BASE" in step.get("env", {})]
    settings = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull, "HOME": str(tmp_path)}
    settings |= {f"GIT_{who}_{what}": "x@y" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}

    def run(command: list[str], **given: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, cwd=tmp_path, env={**os.environ, **settings, **given}, capture_output=True, text=True
        )

    def commit(files: dict[str, str]) -> str:
        for path, text in files.items():
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).write_text(text)
        run(["git", "add", "."])
        assert run(["git", "commit", "-qm", "x"]).returncode == 0
        return run(["git", "rev-parse", "HEAD"]).stdout.strip()

    run(["git", "init", "-q"])
    base = commit({"leaderboard/board.toml": "1", "leaderboard/changes.jsonl": "1"})
    commit({**ENTRY, **more})
    # As GitHub runs a step.
    assert (run(["bash", "-e", "-c", step["run"]], BASE=base).returncode == 0) == held


def test_the_citation_says_what_the_package_says() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert citation["cff-version"] == "1.2.0" and citation["message"] and citation["title"] == project["name"]
    assert (citation["version"], citation["license"]) == (project["version"], project["license"])
    assert citation["authors"] == project["authors"] and citation["keywords"] == project["keywords"]


def test_the_threat_model_names_code_and_tests_that_exist() -> None:
    text = (ROOT / "docs/security.md").read_text(encoding="utf-8")
    named = re.findall(r"`((?:exabench|tests|examples)/[\w./-]+)`", text)
    assert len(named) > 30 and [path for path in named if not (ROOT / path).exists()] == []


def test_a_source_distribution_names_files_that_are_there() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    included = settings["tool"]["hatch"]["build"]["targets"]["sdist"]["include"]
    assert [name for name in included if not (ROOT / name).exists()] == []
    assert {"docs", "examples", "SECURITY.md", "CITATION.cff", "CHANGELOG.md"} <= set(included)


@pytest.mark.parametrize("file", sorted((ROOT / ".github/ISSUE_TEMPLATE").glob("*.yml")), ids=lambda file: file.stem)
def test_a_template_for_issues_has_what_github_asks_for(file: Path) -> None:
    form = yaml.safe_load(file.read_text(encoding="utf-8"))
    assert form["name"] and form["description"]
    fields = [field for field in form["body"] if field["type"] != "markdown"]
    assert fields and {field["type"] for field in fields} <= {"input", "textarea"}
    assert all(re.fullmatch(r"[a-z]+", field["id"]) and field["attributes"]["label"] for field in fields)
    assert any(field.get("validations") == {"required": True} for field in fields)
