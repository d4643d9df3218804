"""Withdrawn rows make a new version that says so, stay out of later ones, and mark the models that learnt from them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hub_client import write_release
from toys import TIME
from trained import model_folder

import exabench
from exabench.bench.ledger import Ledger
from exabench.bench.submitting import submit
from exabench.cli import main
from exabench.data.releases import read, verify


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The explanation set of the embedded collection; read-only."""
    folder = tmp_path_factory.mktemp("built")
    told = ["--to", str(folder / "work"), "--replies", str(folder / "replies.db")]
    assert main(["data", "build", "mini-explanations", *told]) == 0
    return folder / "work" / "release"


def rows_of(folder: Path) -> dict[str, dict[str, Any]]:
    found = {}
    for split in ("train", "validation"):
        for row in exabench.load(folder, "explanations", split):
            found[row["id"]] = row
    return found


def keys_of_replies(folder: Path) -> set[str]:
    return set(pq.read_table(folder / "replies" / "explanations.parquet")["key"].to_pylist())


def test_rows_are_taken_out_with_their_replies_and_the_release_says_which_and_why(
    release: Path, tmp_path: Path
) -> None:
    before = rows_of(release)
    gone = sorted(before)[:2]
    told = [*gone, "--reason", "asked by its author", "--to", str(tmp_path / "new")]
    assert main(["data", "withdraw", str(release), "explanations", *told]) == 0
    after = rows_of(tmp_path / "new")
    assert after == {id: row for id, row in before.items() if id not in gone}
    assert verify(tmp_path / "new") == []
    table = read(tmp_path / "new").tables["explanations"]
    assert table.withdrawn == dict.fromkeys(gone, "asked by its author")
    assert table.counts["reasons"]["withdrawn: asked by its author"] == 2
    assert table.report["rows"] == len(after) and not table.replayable
    still_there = keys_of_replies(tmp_path / "new")
    for id in gone:
        assert not still_there.intersection(before[id]["replies"])
    assert keys_of_replies(release) - still_there == {key for id in gone for key in before[id]["replies"]}
    assert "asked by its author" in (tmp_path / "new" / "README.md").read_text()
    assert main(["data", "audit", str(tmp_path / "new")]) == 0


def test_of_a_passage_every_row_that_has_it_is_taken_out(release: Path, tmp_path: Path) -> None:
    before = rows_of(release)
    passage = next(iter(before.values()))["passage_id"]
    told = ["--passage", passage, "--reason", "takedown", "--to", str(tmp_path / "new")]
    assert main(["data", "withdraw", str(release), "explanations", *told]) == 0
    after = rows_of(tmp_path / "new")
    assert after.keys() == {id for id, row in before.items() if row["passage_id"] != passage}


@pytest.mark.parametrize(
    ("told", "message"),
    [
        (["explanations", "no-such-row", "--reason", "r"], "has no row of this id"),
        (["explanations", "--reason", "r"], "names no row"),
        (["explanations", "--passage", "no-such-passage", "--reason", "r"], "has no row of this id"),
        (["explanations", "a", "--reason", " "], "give a reason"),
        (["lists", "a", "--reason", "r"], "unknown table 'lists'"),
    ],
)
def test_what_cannot_be_withdrawn_is_refused_and_nothing_is_written(
    release: Path, tmp_path: Path, told: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["data", "withdraw", str(release), *told, "--to", str(tmp_path / "new")]) == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_published_set_gets_a_new_version_with_the_reason_and_the_rows_cannot_come_back(
    release: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / "published"
    assert main(["data", "publish", str(release), "--to", str(place)]) == 0
    gone = sorted(rows_of(release))[0]
    told = [gone, "--reason", "asked by its author", "--to", str(tmp_path / "new")]
    assert main(["data", "withdraw", str(release), "explanations", *told]) == 0
    assert main(["data", "publish", str(tmp_path / "new"), "--to", str(place)]) == 0
    published = read(place)
    assert published.version == "1.1.0" and published.tables["explanations"].withdrawn == {gone: "asked by its author"}
    assert "1 row withdrawn: asked by its author" in (place / "CHANGELOG.md").read_text()
    capsys.readouterr()
    assert main(["data", "publish", str(release), "--to", str(place)]) == 2
    assert f"withdrew (asked by its author): take out the same here (exabench data withdraw) (id {gone!r})" in (
        capsys.readouterr().err
    )
    assert read(place) == published


def test_a_table_that_loses_more_than_half_of_its_rows_needs_a_word(
    release: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / "published"
    assert main(["data", "publish", str(release), "--to", str(place)]) == 0
    few = ["--to", str(tmp_path / "few"), "--replies", str(tmp_path / "few.db"), "--limit", "40"]
    assert main(["data", "build", "mini-explanations", *few]) == 0
    shorter = str(tmp_path / "few" / "release")
    assert main(["data", "publish", shorter, "--to", str(place)]) == 1
    assert "would shrink from" in capsys.readouterr().err and read(place).version == "1.0.0"
    assert main(["data", "publish", shorter, "--to", str(place), "--dry-run"]) == 1
    assert main(["data", "publish", shorter, "--to", str(place), "--allow-shrink"]) == 0
    assert read(place).tables["explanations"].rows <= 40


def test_a_release_without_rows_is_not_published_and_audit_calls_it_a_problem(
    release: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    everything = [*sorted(rows_of(release)), "--reason", "r", "--to", str(tmp_path / "none")]
    assert main(["data", "withdraw", str(release), "explanations", *everything]) == 0
    assert main(["data", "publish", str(tmp_path / "none"), "--to", str(tmp_path / "place")]) == 1
    assert "has no rows" in capsys.readouterr().err and not (tmp_path / "place").exists()
    assert main(["data", "audit", str(tmp_path / "none"), "--json"]) == 0
    [problem] = json.loads(capsys.readouterr().out)["problems"]
    assert "has no rows" in problem


def test_the_pages_mark_a_model_that_learnt_from_rows_that_were_withdrawn_later(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "board")
    ledger.create("A board", ["mini"])
    learnt_from = write_release(ledger.datasets / "toy", {"rows": ["sky", "sea", "sand"]})
    folder = model_folder(tmp_path / "training", learnt_from, "rows", name="acme/learnt")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOURCE_DATE_EPOCH", TIME)
        submit(folder / "submission.toml", [], ledger.folder)
    mark = "includes rows that were withdrawn later"
    pages = ("datasets/toy.html", "models/acme--learnt.html")
    exabench.render(exabench.Board.read(ledger.folder), tmp_path / "before")
    for page in pages:
        assert mark not in (tmp_path / "before" / page).read_text()

    told = ["rows-1", "--reason", "asked by its author", "--to", str(tmp_path / "new")]
    assert main(["data", "withdraw", str(ledger.datasets / "toy"), "rows", *told]) == 0
    assert main(["data", "publish", str(tmp_path / "new"), "--to", str(ledger.datasets / "toy")]) == 0
    exabench.render(exabench.Board.read(ledger.folder), tmp_path / "after")
    for page in pages:
        text = (tmp_path / "after" / page).read_text()
        assert mark in text and "rows-1" in text and "asked by its author" in text, page
