"""Sets that others published come in, and ours go out, in the files that their training code reads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from exabench.cli import exabench as commands
from exabench.core.errors import BadInput
from exabench.core.recipe import Recipe
from exabench.data.builders.imported import Imported
from exabench.data.building import Sources, build
from exabench.data.releases import rows, verify

SAME = {
    "exaranker": ("explanations", ("query", "relevant", "explanation", "input", "target")),
    "twolar": ("listwise", ("query", "passage_ids")),
}


def imported(file: Path, layout: str) -> Recipe:
    values: dict[str, Any] = {"builder": "imported", "dataset": "theirs", "table": "theirs", "licence": "other"}
    options = {"file": str(file), "format": layout, "made_by": "text-davinci-002"}
    return Recipe("theirs", {**values, "shard": 40, "options": options}, file)


@pytest.mark.parametrize("layout", SAME)
def test_what_goes_out_comes_back_the_same(tmp_path: Path, layout: str) -> None:
    table, fields = SAME[layout]
    sources = Sources(replies=tmp_path / "replies.sqlite")
    build(f"mini-{table}", tmp_path / "ours", sources=sources)
    ours = list(rows(tmp_path / "ours" / "release", table, "train"))
    file = tmp_path / "theirs.txt"
    asked = ["data", "export", str(tmp_path / "ours" / "release"), table, "--format", layout, "--to", str(file)]
    assert f"{len(ours)} rows" in CliRunner().invoke(commands, asked, catch_exceptions=False).output
    release = build(imported(file, layout), tmp_path / "theirs", sources=sources)
    back = list(rows(tmp_path / "theirs" / "release", "theirs", "train"))
    assert [[row[name] for name in fields] for row in back] == [[row[name] for name in fields] for row in ours]
    assert {row["teacher"] for row in back} == {"text-davinci-002"} and not any(row["replies"] for row in back)
    assert release.tables["theirs"].teacher["model"] == "text-davinci-002"
    assert release.tables["theirs"].counts["good"] == len(ours) and verify(tmp_path / "theirs" / "release") == []


def test_doubles_in_a_file_are_counted_and_left_out(tmp_path: Path) -> None:
    asked = '1\t"Is the question: ""{0}?"" answered by the document: ""{0}.""? Give an explanation."'
    lines = [f"{asked.format(text)}\ttrue. Explanation: So.\n" for text in ("sky", "sea", "sky")]
    (tmp_path / "theirs.tsv").write_text("".join(lines))
    release = build(imported(tmp_path / "theirs.tsv", "exaranker"), tmp_path / "work", sources=Sources())
    counts = {"input": 3, "good": 2, "quarantined": 0, "skipped": 1, "reasons": {"skipped: exact duplicate": 1}}
    assert release.tables["theirs"].counts == counts


def test_a_layout_that_nobody_knows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match='format must be "exaranker" or "twolar"'):
        build(imported(tmp_path / "x", "twolr"), tmp_path / "work", sources=Sources())
    with pytest.raises(BadInput, match="answers give orders of passage lists"):
        Imported(file="a.tsv", format="exaranker", made_by="someone", answers="b.json")


LINES = [
    {"query": f"query {n}", "retrieved_passages": [{"docid": f"{n}-{i}", "text": f"text {i}"} for i in range(3)]}
    for n in range(2)
]


def rankgpt(folder: Path, answers: object) -> Recipe:
    """A recipe of RankGPT's two files: lists in a first stage's order, and an answer for each."""
    (folder / "lists.jsonl").write_text("".join(json.dumps(line) + "\n" for line in LINES))
    (folder / "answers.json").write_text(json.dumps(answers))
    made = imported(folder / "lists.jsonl", "twolar")
    options = {**made.values["options"], "answers": str(folder / "answers.json")}
    return Recipe("theirs", {**made.values, "options": options}, made.file)


def test_lists_and_answers_in_two_files_are_put_together_and_repairs_counted(tmp_path: Path) -> None:
    build(rankgpt(tmp_path, ["[3] > [1] > [2]", "[2] > [2] > [9]"]), tmp_path / "work", sources=Sources())
    first, second = rows(tmp_path / "work" / "release", "theirs", "train")
    assert (first["passage_ids"], first["first_stage_ranks"]) == (["0-2", "0-0", "0-1"], [3, 1, 2])
    assert (second["passage_ids"], second["first_stage_ranks"]) == (["1-1", "1-0", "1-2"], [2, 1, 3])
    kinds = ("malformed", "repeated", "missing", "out_of_range")
    assert [[row[kind] for kind in kinds] for row in (first, second)] == [[0, 0, 0, 0], [0, 1, 2, 1]]


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        (["[1] > [2] > [3]"], r"lists.jsonl:2: .*answers.json ends before this line's answer"),
        (["[1]"] * 3, r"answers.json has more answers than this file has lines"),
        ([1, 2], "answers.json: .*xpected `"),
    ],
)
def test_answers_that_do_not_go_with_the_lists_are_refused(tmp_path: Path, answers: object, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        build(rankgpt(tmp_path, answers), tmp_path / "work", sources=Sources())
