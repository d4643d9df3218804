"""Lists of a published run, and recorded replies: only what happened is said of them, and only what fits is used."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import exabench
from exabench.bench.measurement import measurement
from exabench.cli import main
from exabench.core.errors import BadInput
from exabench.core.files import digest_of
from exabench.core.nouns import Convention
from exabench.measure.qrels import read_qrels
from exabench.measure.runs import read_run, run_in_order, write_run

RECIPE = """
builder = "recorded"
dataset = "twolar-distill"
table = "published"
licence = "cc0-1.0"
quality.most_rejected = 1.0

[options]
task = "mini"
queries = { part = "given", split = "test" }
retrievers = { bm25 = { part = "bm25" } }
documents = 10
made_by = "a reranker of others"
"""


@pytest.fixture
def bm25() -> dict[str, list[str]]:
    """BM25's best ten for every query of the embedded collection."""
    _, run = exabench.make_candidates("mini", "bm25", 10)
    return {query_id: run.ranking(query_id) for query_id in run}


def recipe(folder: Path, run: Path) -> str:
    """A recipe for the lists of a run."""
    file = folder / "recipe.toml"
    file.write_text(RECIPE + f"run = {json.dumps(str(run))}\n")
    return str(file)


def release_of(folder: Path, orders: dict[str, list[str]]) -> Path:
    """The release that the command line builds of a run with these orders."""
    run = folder / "theirs.trec"
    write_run(run_in_order("theirs", orders), run)
    told = ["--to", str(folder / "work"), "--replies", str(folder / "replies.db")]
    assert main(["data", "build", recipe(folder, run), *told]) == 0
    return folder / "work" / "release"


def rows_of(release: Path) -> list[dict[str, Any]]:
    return list(exabench.load(release, "published"))


def test_a_row_has_the_order_of_the_run_and_nothing_that_did_not_happen(
    tmp_path: Path, bm25: dict[str, list[str]]
) -> None:
    release = release_of(tmp_path, {query_id: ids[::-1] for query_id, ids in bm25.items()})
    rows = rows_of(release)
    assert {row["query_id"] for row in rows} == bm25.keys()
    for row in rows:
        ids = bm25[row["query_id"]]
        assert row["passage_ids"] == ids[::-1]
        assert row["first_stage_ranks"] == list(range(len(ids), 0, -1))
        assert row["labels"] == [1 / rank for rank in range(1, len(ids) + 1)]
        assert (row["method"], row["teacher"], row["teacher_revision"]) == ("recorded run", "a reranker of others", "")
        assert (row["prompt"], row["replies"]) == ("", []) and row["missing"] == row["malformed"] == -1
    table = exabench.load(release, "published").release.tables["published"]
    assert table.teacher["run"] == "theirs.trec" and table.teacher["run_digest"].startswith("sha256:")
    assert table.prompt == "" and table.tokens["replies"] == 0 and not (release / "replies").exists()
    assert "lists" not in table.report and "repairs" not in table.report, "what the answers needed is not known"
    card = (release / "README.md").read_text()
    assert "one prompt" not in card.split("## Version")[1]


def test_what_only_one_of_run_and_first_stage_holds_is_left_out_and_a_list_of_one_is_rejected(
    tmp_path: Path, bm25: dict[str, list[str]]
) -> None:
    first, second, third, *_ = bm25
    orders = {
        first: ["no-such-passage", bm25[first][4], bm25[first][1]],
        second: [bm25[second][0], "another"],
    }
    release = release_of(tmp_path, orders)
    [row] = rows_of(release)
    assert row["passage_ids"] == [bm25[first][4], bm25[first][1]] and row["first_stage_ranks"] == [5, 2]
    lines = (tmp_path / "work" / "quarantine.jsonl").read_text().splitlines()
    reasons = {line["id"]: line["reason"] for line in map(json.loads, lines)}
    assert reasons[second] == reasons[third] == "the run ranks fewer than two passages of the first stage"
    assert len(reasons) == len(bm25) - 1


def test_a_run_that_is_not_there_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"no-such\.trec"):
        exabench.build(recipe(tmp_path, tmp_path / "no-such.trec"), tmp_path / "work")
    assert not (tmp_path / "work" / "release").exists()


def test_the_command_that_made_replies_of_runs_says_what_to_write_instead(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "record", "trec-dl-2019-rankgpt", "run.trec", "--to", "replies.jsonl"]) == 2
    assert 'a recipe of the builder "recorded"' in capsys.readouterr().err


@pytest.mark.real_data
@pytest.mark.parametrize("year", ["2019", "2020"])
def test_the_rows_of_a_published_run_are_worth_what_the_run_is(real_data: Path, year: str, tmp_path: Path) -> None:
    name = f"trec-dl-{year}-rankvicuna"
    told = ["--to", str(tmp_path / "work"), "--data", str(real_data), "--replies", str(tmp_path / "replies.db")]
    assert main(["data", "build", name, *told]) == 0
    rows = list(exabench.load(tmp_path / "work" / "release", name))
    qrels = read_qrels(real_data / f"trec-dl-{year}" / "qrels" / "test.tsv")
    run = read_run(real_data / f"trec-dl-{year}" / "rerank_runs" / "bm25+rankvicuna-7b.1.trec")
    of_rows = run_in_order("rows", {row["query_id"]: row["passage_ids"] for row in rows})
    values = [measurement(one, qrels, Convention(), ["nDCG@10"])["nDCG@10"] for one in (of_rows, run)]
    assert values[0] == pytest.approx(values[1], abs=1e-12)


# -- recorded replies ------------------------------------------------------------------------------------------


def rejections_of_lists(folder: Path, replies: list[dict[str, Any]], *overrides: str) -> dict[str, str]:
    """The reasons by id, where the recipe mini-listwise replays these."""
    file = folder / "recorded.jsonl"
    file.write_text("".join(json.dumps(one) + "\n" for one in replies))
    told = ["--to", str(folder / "work"), "--replies", str(folder / "replies.db")]
    told += ["--set", f'teacher={{part="replay",file="{file}"}}']
    for override in overrides:
        told += ["--set", override]
    main(["data", "build", "mini-listwise", *told])
    lines = (folder / "work" / "quarantine.jsonl").read_text().splitlines()
    return {line["id"]: line["reason"] for line in map(json.loads, lines)}


@pytest.mark.parametrize(("recorded_for", "asked"), [(10, 5), (5, 10), (100, 10)])
def test_a_reply_that_orders_another_number_of_passages_is_none_to_the_prompt(
    recorded_for: int, asked: int, tmp_path: Path
) -> None:
    text = " > ".join(f"[{number}]" for number in range(recorded_for, 0, -1))
    replies = [{"id": f"q{number:02}", "text": text} for number in range(1, 100)]
    reasons = rejections_of_lists(tmp_path, replies, f"options.documents={asked}")
    assert reasons
    for reason in reasons.values():
        assert "orders another number of passages than" in reason


def test_a_reply_recorded_with_the_digest_of_its_turns_answers_these_turns_alone(tmp_path: Path) -> None:
    text = " > ".join(f"[{number}]" for number in range(10, 0, -1))
    wrong = digest_of([["user", "another question"]])
    reasons = rejections_of_lists(tmp_path, [{"id": f"q{n:02}", "text": text, "turns": wrong} for n in range(1, 100)])
    assert reasons and set(reasons.values()) == {
        "the teacher refuses the prompt: the reply that was recorded answers other turns"
    }
