"""The leaderboard of this repository: whole, credited, without texts of others, and its numbers hold."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from exabench.board.ranking import Board
from exabench.cli import main
from exabench.core.files import read_toml
from exabench.core.nouns import Credit
from exabench.core.recipe import read_recipe
from exabench.demo import KEYS

BOARD = Path(__file__).parents[1] / "leaderboard"


@pytest.fixture(scope="module")
def board() -> Board:
    return Board.read(BOARD)


def credit_of(board: Board, task: str, name: str) -> Credit:
    [found] = [one.credit for one in board.candidates if (one.task, one.name) == (task, name)]
    return found


def test_it_holds_the_collections_that_people_know_and_mini_is_the_demos_alone(board: Board) -> None:
    assert [task.name for task in board.tasks] == [
        "trec-dl-2019", "trec-dl-2020", "scifact", "nfcorpus", "vaswani", "medquad-held-out",
    ]  # fmt: skip
    for year in ("trec-dl-2019", "trec-dl-2020"):
        names = {one.name for one in board.candidates if one.task == year}
        assert names == {
            "bm25-100", "bm25-rm3-100", "splade-pp-ed-100", "distilbert-kd-tasb-100", "openai-ada2-100", "repllama-100",
        }  # fmt: skip


def test_its_own_tasks_are_read_from_a_place_that_everybody_has_and_are_made_so_again() -> None:
    collections = read_recipe("board", "leaderboard", KEYS, ()).values["collections"]
    assert collections == {"vaswani": {"title": "Vaswani (NPL)", "source": "irds:vaswani"}}
    files = list((BOARD / "tasks").iterdir())
    assert {file.stem: read_toml(file) for file in files} == {
        name: {"name": name, **about} for name, about in collections.items()
    }


def test_every_first_stage_is_credited_to_its_authors(board: Board) -> None:
    owners = {
        "bm25-100": "castorini",
        "bm25-rm3-100": "castorini",
        "splade-pp-ed-100": "naver",
        "distilbert-kd-tasb-100": "sebastian-hofstaetter",
        "openai-ada2-100": "openai",
        "repllama-100": "castorini",
    }
    for name, owner in owners.items():
        assert credit_of(board, "trec-dl-2020", name).owner == owner
    splade = credit_of(board, "trec-dl-2019", "splade-pp-ed-100")
    assert (splade.licence, splade.training_data) == ("cc-by-nc-sa-4.0", ("msmarco-passage",))
    assert credit_of(board, "trec-dl-2019", "openai-ada2-100").training_data == "unknown"
    assert credit_of(board, "scifact", "bm25-100").training_data == ()
    assert all(one.credit != Credit() for one in board.candidates)


def test_what_has_no_public_address_claims_none(board: Board) -> None:
    ours = [one.credit for one in board.candidates if one.credit.owner == "exabench"]
    ours += [one for one in board.submissions.values() if one.owner == "exabench"]
    assert len(ours) > 10 and {one.link for one in ours} == {""}


def test_the_samples_of_a_system_are_told_as_such(board: Board) -> None:
    samples = [one for one in board.submissions.values() if one.system == "sunnweiwei/rankgpt-gpt-3.5-turbo"]
    assert [one.sample for one in samples] == [1, 2, 3, 4, 5]
    [overview] = [one for one in board.rankings if one.title == "TREC-DL 2019"]
    rows = [row for row in overview.rows if row.name == "sunnweiwei/rankgpt-gpt-3.5-turbo"]
    assert [len(row.samples) for row in rows] == [5]


def test_models_that_were_trained_here_beat_their_first_stage(board: Board) -> None:
    trained = [one for one in board.results if one.submission in board.trainings]
    assert {one.task for one in trained} >= {"trec-dl-2019", "trec-dl-2020", "scifact", "nfcorpus"}
    for one in trained:
        assert one.value > one.first_stage, one.submission


def test_it_holds_no_text_of_others() -> None:
    for file in BOARD.glob("candidates/*/*.shown.json.gz"):
        shown = json.loads(gzip.decompress(file.read_bytes()))
        assert not shown["texts"] and not shown["passages"], file
        assert {query["text"] for query in shown["queries"]} == {""}, file
    # Training sets hold texts, too: they are built anew, and not in git.
    assert "leaderboard/datasets/" in (BOARD.parent / ".gitignore").read_text().splitlines()


def test_every_file_is_as_it_should_be(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["board", "check", "--board", str(BOARD)]) == 0


@pytest.mark.real_data
def test_every_number_of_a_reranker_follows_from_its_run(real_data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for slug in ("sunnweiwei--rankgpt-gpt-3.5-turbo.1", "exabench--scifact-minilm"):
        assert main(["bench", "verify", slug, "--board", str(BOARD), "--data", str(real_data)]) == 0
