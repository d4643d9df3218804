"""A language model whose answers could not be read ranks nothing: it fails; where some could not, a note says it."""

from __future__ import annotations

from pathlib import Path
from zlib import crc32

import pytest
from endpoint import Endpoint, chat, reversed_list
from toys import write_submission

import exabench
from exabench.bench.ledger import Ledger
from exabench.cli import main
from exabench.core.errors import BadInput

MOSTLY = "of the model's answers could not be read, so that its ranking would not be the model's"


def in_prose(sent: str) -> str:
    return "Here is the order.\n" + reversed_list(sent).replace(" > ", "\n")


def evaluated(part: str, server: Endpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The notes of its result on mini."""
    monkeypatch.setenv("EXABENCH_CACHE", str(tmp_path / "cache"))
    teacher = {"part": "openai", "model": "m", "base_url": server.url, "retries": 0}
    options = {"method": "sliding", "k": 1} if part == "pairwise" else {}
    table = exabench.evaluate(part, ["mini"], depth=5, teacher=teacher, **options)
    [result] = table.values()
    return list(result.measurement.notes)


@pytest.mark.parametrize("part", ["listwise", "pairwise"])
@pytest.mark.parametrize("reply", ["", "I cannot help with that."])
def test_a_model_that_answers_nothing_of_use_has_no_result(part, reply, tmp_path, monkeypatch):
    with chat(lambda sent: reply) as server, pytest.raises(BadInput, match=f"100% {MOSTLY}"):
        evaluated(part, server, tmp_path, monkeypatch)


def test_some_unread_answers_are_a_note_and_odd_forms_that_were_read_are_none(tmp_path, monkeypatch):
    def some(sent: str) -> str:
        return "" if crc32(sent.encode()) % 4 == 0 else reversed_list(sent)

    for name, answer, noted in (("some", some, True), ("prose", in_prose, False), ("good", reversed_list, False)):
        with chat(answer) as server:
            notes = evaluated("listwise", server, tmp_path / name, monkeypatch)
        assert any("could not be read" in note for note in notes) is noted, (name, notes)


def test_what_was_odd_at_an_api_is_filed_and_shown_on_the_page_of_its_result(tmp_path, monkeypatch):
    board = tmp_path / "board"
    Ledger(board).create("Small", ["mini"])
    Ledger(board).add_candidates(*exabench.make_candidates("mini", "bm25", 5))
    [candidates] = Ledger(board).candidates()

    def some(sent: str) -> str:
        return "" if crc32(sent.encode()) % 4 == 0 else reversed_list(sent)

    words = {}
    for name, answer in (("some", some), ("good", reversed_list)):
        monkeypatch.setenv("EXABENCH_CACHE", str(tmp_path / f"cache-{name}"))
        with chat(answer) as server:
            address = server.url.replace("127.0.0.1", "localhost")
            changes = {"name": f"me/{name}", "kind": "api", "reranker": "listwise", "model": "m", "endpoint": address}
            exabench.submit(write_submission(tmp_path / name, **changes, options={"words": 8}), [], board)
        exabench.run_board(board)
        [result] = Ledger(board).results(f"me--{name}")
        words[name] = "; ".join(result.measurement.notes)
    assert "when the run was made: 25.0% of the model's answers could not be read" in words["some"]
    assert "of passages were cut at 8 words" in words["some"] and "of passages were cut" in words["good"]
    assert "could not be read" not in words["good"]
    exabench.render(exabench.Board.read(board), tmp_path / "site")
    page = (tmp_path / "site" / "results" / "me--some" / f"mini.{candidates.name}.html").read_text()
    assert "25.0% of the model&#39;s answers could not be read" in page
    assert exabench.check(board) == [] and exabench.run_board(board)


def test_an_api_that_answers_nothing_of_use_is_not_filed_on_a_board(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("EXABENCH_CACHE", str(tmp_path / "cache"))
    board = tmp_path / "board"
    assert main(["bench", "candidates", "mini", "--depth", "5", "--board", str(board)]) == 0
    with chat(lambda sent: "") as server:
        address = server.url.replace("127.0.0.1", "localhost")
        changes = {"name": "me/silent", "kind": "api", "reranker": "listwise", "model": "m", "endpoint": address}
        file = write_submission(tmp_path / "silent", **changes)
        assert main(["bench", "submit", str(file), "--board", str(board)]) == 2
    assert MOSTLY in capsys.readouterr().err
    assert not list(board.glob("runs/me--silent/*"))
