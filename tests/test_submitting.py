"""A submission is filed whole or not at all."""

from __future__ import annotations

import dataclasses

import pytest
from toys import contents, good_run, write_run, write_submission

from exabench.catalogue import task
from exabench.errors import BadInput, UnknownName
from exabench.ledger import Ledger
from exabench.reranking import make_candidates
from exabench.runs import read_run, run_in_order, run_of, run_text, top
from exabench.submitting import BASELINES, submit


@pytest.fixture
def sent(board, tmp_path):
    """A second good submission for the board: its TOML file and its run."""
    run = good_run(Ledger(board).candidates_run(Ledger(board).one_candidates("mini", "bm25-20")))
    return write_submission(tmp_path / "new", name="acme/better"), write_run(tmp_path / "new" / "run.trec", run)


def other_list(board, depth: int, name: str) -> None:
    candidates, run = make_candidates(task("mini"), "bm25", depth, name=name)
    Ledger(board).add_candidates(candidates, run)


def test_a_good_submission_is_filed_with_its_run(board, sent):
    file, run = sent
    before = contents(board)
    submission, files = submit(file, [f"mini={run}"], board)
    assert submission.name == "acme/better"
    added = set(contents(board)) - set(before)
    assert added == {"submissions/acme--better.toml", "runs/acme--better/mini.bm25-20.trec.gz"}
    assert {str(path.relative_to(board)) for path in files} == added
    assert {name: data for name, data in contents(board).items() if name in before} == before


def test_a_run_may_name_its_candidates(board, sent):
    other_list(board, 30, "bm25-30")
    _, files = submit(sent[0], [f"mini@bm25-20={sent[1]}"], board)
    assert files[1].name == "mini.bm25-20.trec.gz"


def test_a_run_that_fits_two_lists_must_say_which(board, sent):
    other_list(board, 30, "bm25-30")
    with pytest.raises(BadInput, match="fits bm25-20 and bm25-30; say which with --run mini@bm25-20=RUN"):
        submit(sent[0], [f"mini={sent[1]}"], board)


def test_a_run_that_fits_one_of_two_lists_goes_there(board, sent, tmp_path):
    other_list(board, 40, "bm25-40")
    deep = Ledger(board).candidates_run(Ledger(board).one_candidates("mini", "bm25-40"))
    _, files = submit(sent[0], [f"mini={write_run(tmp_path / 'deep.trec', deep)}"], board)
    assert files[1].name == "mini.bm25-40.trec.gz"


def foreign(run):
    return run_of("run", {q: {"stranger": 1.0} if i == 3 else run[q] for i, q in enumerate(run)})


def unknown_query(run):
    return run_in_order("run", {"nobody-asked": ["bats-01"]})


WRONG = {
    "a foreign document": (foreign, "mini={}", "outside every candidate list of mini on this board .bm25-20."),
    "a foreign document, list named": (foreign, "mini@bm25-20={}", "not among the candidates 'bm25-20'.*'stranger'"),
    "an unknown query": (unknown_query, "mini@bm25-20={}", "query 'nobody-asked'"),
    "an unknown task": (None, "minni={}", "unknown task 'minni'; did you mean mini"),
    "a task without candidates": (None, "scifact={}", "outside every candidate list of scifact on this board .none."),
    "a mean of tasks": (None, "cqadupstack={}", "is the mean of 12 tasks"),
    "unknown candidates": (None, "mini@bm25-21={}", "unknown candidates for mini 'bm25-21'; did you mean bm25-20"),
    "no task": (None, "{}", "must read TASK=RUN or TASK@CANDIDATES=RUN"),
    "no file": (None, "mini={}.not", "cannot be read"),
}


@pytest.mark.parametrize("case", WRONG)
def test_nothing_is_filed_when_anything_is_wrong(board, sent, tmp_path, case):
    spoil, given, message = WRONG[case]
    file = sent[1]
    if spoil:
        file = write_run(tmp_path / "spoilt.trec", spoil(Ledger(board).candidates_run(Ledger(board).candidates()[0])))
    before = contents(board)
    with pytest.raises(BadInput, match=message):
        submit(sent[0], [f"mini@bm25-20={sent[1]}", given.format(file)], board)
    assert contents(board) == before


def test_all_problems_are_told_at_once(board, sent, tmp_path):
    bad = write_submission(tmp_path / "bad", name="../x", licence="")
    with pytest.raises(BadInput) as caught:
        submit(bad, ["minni=a", f"mini={sent[1]}x", "nonsense"], board)
    for told in ("name must", "licence must", "unknown task 'minni'", "cannot be read", "must read TASK=RUN"):
        assert told in str(caught.value)


def test_two_runs_for_one_list_are_refused(board, sent):
    with pytest.raises(BadInput, match="two runs are given for mini over bm25-20"):
        submit(sent[0], [f"mini={sent[1]}", f"mini@bm25-20={sent[1]}"], board)


def test_a_run_is_needed(board, sent):
    with pytest.raises(BadInput, match="needs at least one --run"):
        submit(sent[0], [], board)


def test_a_name_that_differs_in_case_only_is_refused(board, sent, tmp_path):
    before = contents(board)
    with pytest.raises(BadInput, match="Acme/Good differs from the filed acme--good in case only"):
        submit(write_submission(tmp_path / "twin", name="Acme/Good"), [f"mini={sent[1]}"], board)
    assert contents(board) == before


def test_a_folder_that_is_no_board_is_refused(sent, tmp_path):
    with pytest.raises(BadInput, match="is not a leaderboard: board.toml is missing"):
        submit(sent[0], [f"mini={sent[1]}"], tmp_path / "empty")
    assert not (tmp_path / "empty").exists()


def test_submitting_again_replaces_one_run(board, sent, tmp_path):
    submit(sent[0], [f"mini={sent[1]}"], board)
    names = set(contents(board))
    shorter = top(Ledger(board).candidates_run(Ledger(board).candidates()[0]), 3)
    _, files = submit(sent[0], [f"mini={write_run(tmp_path / 'shorter.trec', shorter)}"], board)
    assert set(contents(board)) == names
    filed = read_run(files[1])
    assert run_text(filed, "t") == run_text(shorter, "t")


def test_the_baselines_of_a_board_are_its_bounds(board):
    filed = Ledger(board).submissions()
    assert {name for name in filed if filed[name].kind == "baseline"} == {f"exabench--{name}" for name in BASELINES}


def test_candidates_that_nobody_made_are_unknown(board):
    with pytest.raises(UnknownName, match="unknown candidates for mini 'x'"):
        Ledger(board).one_candidates("mini", "x")


def test_a_frozen_list_is_never_replaced_by_another(board):
    ledger = Ledger(board)
    candidates, run = make_candidates(task("mini"), "bm25", 20, options={"k1": 2.0})
    before = contents(board)
    with pytest.raises(BadInput, match="is frozen with another digest"):
        ledger.add_candidates(candidates, run)
    assert contents(board) == before
    same, run = make_candidates(task("mini"), "bm25", 20)
    ledger.add_candidates(same, run)
    assert contents(board) == before


@pytest.mark.parametrize("name", ["../x-10", "bm25", "BM25-10", "a/b-10", "bm25-10\n", "-10"])
def test_a_candidate_list_has_a_plain_name(board, name):
    candidates, run = make_candidates(task("mini"), "bm25", 10)
    with pytest.raises(BadInput, match="must be called <retriever>-<depth>"):
        Ledger(board).add_candidates(dataclasses.replace(candidates, name=name), run)
