"""From candidates to results: bounds hold, nothing depends on the day, and every loss is shown."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner
from faults import killed_at_each_call
from models import classifier_folder
from toys import Given, ShortestFirst, contents, write_beir, write_run, write_submission

from exabench.bench.candidates import make_candidates
from exabench.bench.evaluation import reranker_options, run_board
from exabench.bench.ledger import Ledger, read_result
from exabench.bench.measurement import measurement, metrics_of, today
from exabench.bench.model_evaluation import evaluate
from exabench.bench.scoring import score
from exabench.bench.submitting import submit, withdraw
from exabench.board.ranking import Board
from exabench.cli import exabench as commands
from exabench.core.errors import BadInput, CheckFailed, ExabenchError
from exabench.core.files import PACKAGE, only_writer
from exabench.core.nouns import BoardChange, Convention, Credit, Passage, Query, Task
from exabench.measure.runs import run_digest, run_in_order, select_queries, top
from exabench.parts.rerankers import RERANKERS
from exabench.parts.reranking import rerank
from exabench.tasks.catalogue import task
from exabench.tasks.collections import open_collection

QRELS = open_collection(task("mini")).qrels("test")


def filed(board: Path, slug: str):
    return read_result(board / "results" / slug / "mini.bm25-20.json")


def first_stage(board: Path):
    return Ledger(board).candidates_run(Ledger(board).one_candidates("mini", "bm25-20"))


def file_other_run(board: Path, slug: str = "acme--good") -> None:
    """In place of the run that was filed, the first three of the first stage."""
    Ledger(board).add_run(slug, "mini", "bm25-20", top(first_stage(board), 3))


def test_a_run_is_scored_against_a_task_or_any_qrels(tmp_path):
    run = write_run(tmp_path / "good.trec", run_in_order("good", {q: list(row) for q, row in QRELS.items()}))
    by_task = score(run, task="mini")
    by_qrels = score(run, qrels=PACKAGE / "mini" / "qrels" / "test.tsv")
    assert (by_task.task, by_task.headline, by_qrels.task) == ("mini", "nDCG@10", None)
    assert by_task.metrics == by_qrels.metrics == score(run, qrels=QRELS).metrics
    for given in ({}, {"task": "mini", "qrels": QRELS}):
        with pytest.raises(BadInput, match="give either a task .--task. or judgements"):
            score(run, **given)


def test_unchanged_is_the_first_stage_exactly(board):
    unchanged = filed(board, "exabench--unchanged")
    direct = measurement(first_stage(board), QRELS, task("mini").convention, metrics_of(task("mini")))
    assert unchanged.measurement.metrics == direct.metrics == dict(unchanged.first_stage)
    assert unchanged.gain["difference"] == 0
    assert (unchanged.gain["wins"], unchanged.gain["losses"]) == (0, 0)


def test_the_oracle_is_the_ceiling_of_every_result(board):
    oracle = filed(board, "exabench--oracle")
    for result in Ledger(board).results():
        assert dict(result.ceiling) == oracle.measurement.metrics
        for metric in ("nDCG@10", "RR@10", "AP@100", "P@10", "Success@5"):
            assert result[metric] <= oracle[metric] + 1e-12
            for query_id, value in result.measurement.per_query[metric].items():
                assert value <= oracle.measurement.per_query[metric][query_id] + 1e-12


def test_the_bounds_stand_in_their_order_and_the_constant_scorer_shows_its_ties(board):
    names = ("unchanged", "oracle", "random", "reversed", "constant")
    results = {name: filed(board, f"exabench--{name}") for name in names}
    values = {name: result["nDCG@10"] for name, result in results.items()}
    assert values["oracle"] > values["unchanged"] > max(values["random"], values["constant"]) > values["reversed"]
    assert len({results[name]["R@100"] for name in names[:4]}) == 1
    ties = results["constant"].measurement.ties
    assert (ties["rate"], results["unchanged"].measurement.ties["rate"]) == (1.0, 0.0)
    assert ties["worst"] < values["constant"] < ties["best"]
    assert ties["best"] == pytest.approx(values["oracle"])


def submitted(board: Path, run, name: str = "acme/new"):
    sent = board.parent / name.replace("/", "-")
    submit(write_submission(sent, name=name), [f"mini={write_run(sent / 'run.trec', run)}"], board)
    run_board(board)
    return filed(board, name.replace("/", "--"))


def test_what_a_run_leaves_out_follows_in_first_stage_order(board):
    first = first_stage(board)
    result = submitted(board, top(first, 3))
    assert result.completed == sum(len(first.ranking(q)) - 3 for q in first)
    done = CliRunner().invoke(commands, ["bench", "run", "acme/new", "--board", str(board)])
    assert f"acme--new on mini (bm25-20): {result.completed} candidates left out by the run were added" in done.stderr
    assert result.measurement.metrics == filed(board, "exabench--unchanged").measurement.metrics
    assert submitted(board, top(first, 1), "acme/one")["R@100"] == result["R@100"]


def test_a_query_that_a_run_leaves_out_counts_0_and_marks_the_row(board):
    first = first_stage(board)
    gone = first.query_ids[0]
    result = submitted(board, select_queries(first, set(first.query_ids[1:])))
    assert result.measurement.missing_queries == 1 + len(set(QRELS) - set(first))
    assert result.measurement.per_query["nDCG@10"][gone] == 0
    whole = filed(board, "exabench--unchanged")
    assert result["nDCG@10"] == pytest.approx(whole["nDCG@10"] - whole.measurement.per_query["nDCG@10"][gone] / 24)
    row = next(row for row in Board.read(board).rows if row.submission.name == "acme/new")
    assert (row.mean, row.interval, row.group, row.finished, row.wanted) == (None, None, None, 0, 1)


def test_results_are_the_same_bytes_on_another_day_where_one_was_edited_and_from_nothing(board, monkeypatch):
    before = contents(board)
    stamps = {file: file.stat().st_mtime_ns for file in board.rglob("*") if file.is_file()}
    with monkeypatch.context() as patch:
        patch.setenv("SOURCE_DATE_EPOCH", "1800000000")
        assert today() == "2027-01-15"
        run_board(board)
    assert contents(board) == before
    assert {file: file.stat().st_mtime_ns for file in stamps} == stamps
    file = board / "results" / "acme--good" / "mini.bm25-20.json"
    file.write_text(file.read_text().replace('"missing_queries": 0', '"missing_queries": 5'))
    assert contents(board) != before
    run_board(board)
    assert contents(board) == before
    shutil.rmtree(board / "results")
    run_board(board)
    assert contents(board) == before


def test_one_submission_can_be_run_alone(board):
    shutil.rmtree(board / "results")
    done = []
    files = run_board(board, slugs=["acme--good"], progress=lambda i, n, what: done.append((i, n, what)))
    assert [str(file.relative_to(board)) for file in files] == ["results/acme--good/mini.bm25-20.json"]
    assert done == [(1, 1, "acme--good on mini")]
    assert run_board(board, task="scifact") == run_board(board, candidates="bm25-99") == []
    with pytest.raises(BadInput, match="the board has no submission 'acme--bad'; choose from: acme--good"):
        run_board(board, slugs=["acme--bad"])


def test_a_baseline_that_a_board_leaves_out_is_not_filed_again(board):
    (board / "submissions" / "exabench--constant.toml").unlink()
    shutil.rmtree(board / "results" / "exabench--constant")
    for again in (f"bench run --board {board}", f"evaluate random --task mini --to {board}"):
        ended = CliRunner().invoke(commands, again)
        assert ended.exit_code == 0, ended.output
        assert "exabench--constant" not in Ledger(board).submissions()


def test_candidates_of_other_judgements_are_refused(board):
    ledger, run = Ledger(board), first_stage(board)
    candidates = dataclasses.replace(ledger.one_candidates("mini", "bm25-20"), name="odd-20", qrels_digest="sha256:0")
    ledger.add_candidates(dataclasses.replace(candidates, digest=run_digest(run, "odd-20")), run)
    with pytest.raises(BadInput, match="odd-20 of mini were frozen with other judgements"):
        run_board(board)


def test_a_board_that_is_killed_while_it_runs_keeps_what_was_finished_and_says_nothing_twice(board):
    file_other_run(board)
    shutil.rmtree(board / "results" / "exabench--oracle")
    before = Path(shutil.copytree(board, board.parent / "before"))
    whole = Path(shutil.copytree(board, board.parent / "whole"))

    def run(folder: Path = board) -> None:
        with only_writer(folder):
            run_board(folder)

    run(whole)
    left = set()
    for _ in killed_at_each_call(run):
        left.add(len(contents(board).items() & contents(whole).items()))
        run()
        assert contents(board) == contents(whole)
        shutil.rmtree(board)
        shutil.copytree(before, board)
    assert len(left) > 2  # what was finished before a kill is there after it


def lines(board: Path) -> list[tuple]:
    return [(c.submission, c.before, c.after, c.reason) for c in Ledger(board).changes()]


def test_a_number_that_changes_or_goes_says_why_once_or_for_a_reason_of_ones_own(board):
    old = filed(board, "acme--good")["nDCG@10"]
    new = submitted(board, top(first_stage(board), 3), "acme/good")["nDCG@10"]
    slug, before, after, reason = lines(board)[-1]
    assert (slug, before, after) == ("acme--good", old, new) and old != new
    assert reason.startswith("run sha256:") and " became sha256:" in reason
    count = len(lines(board))
    run_board(board)
    assert len(lines(board)) == count
    Ledger(board).add_run("acme--good", "mini", "bm25-20", select_queries(first_stage(board), {"q03"}))
    run_board(board, reason="the sender found a mistake")
    assert lines(board)[-1][3] == "the sender found a mistake"
    last = filed(board, "acme--good")["nDCG@10"]
    shutil.rmtree(board / "runs" / "acme--good")
    shutil.rmtree(board / "results" / "acme--good")
    run_board(board)
    assert lines(board)[-1] == ("acme--good", last, None, "its run or its candidates were removed")


def test_a_number_that_would_change_for_no_reason_is_an_error(board):
    ledger, result = Ledger(board), filed(board, "acme--good")
    (board / "changes.jsonl").unlink()
    values = {**result.measurement.metrics, "nDCG@10": 0.5}
    ledger.add_result(dataclasses.replace(result, measurement=dataclasses.replace(result.measurement, metrics=values)))
    ledger.add_changes([BoardChange("2023-11-14", "acme--good", "mini", "bm25-20", "nDCG@10", None, 0.5, "first")])
    before = contents(board)
    with pytest.raises(CheckFailed, match="would change from 0.500000 to .* give the reason with --reason"):
        run_board(board, slugs=["acme--good"])
    assert contents(board) == before
    run_board(board, slugs=["acme--good"], reason="an error in the tables")
    assert lines(board)[-1] == ("acme--good", 0.5, result["nDCG@10"], "an error in the tables")


def test_a_board_from_before_the_log_gets_its_lines_once(board):
    before = contents(board)
    (board / "changes.jsonl").unlink()
    run_board(board)
    assert {reason for *_, reason in lines(board)} == {"older than the change log"}
    assert {name for name, data in contents(board).items() if before.get(name) != data} == {"changes.jsonl"}


def test_what_was_withdrawn_is_left_as_it_is(board):
    withdraw(board, "acme--good", "trained on the test queries")
    before = filed(board, "acme--good")
    file_other_run(board)
    run_board(board)
    assert filed(board, "acme--good") == before
    with pytest.raises(BadInput, match="acme--good was withdrawn .trained on the test queries."):
        run_board(board, slugs=["acme--good"])


def test_declared_strategy_and_precision_are_told_to_the_parts_that_take_them(board):
    sent = Ledger(board).submissions()["acme--good"]
    declared = {"kind": "model", "model": "acme/m", "strategy": "difference", "precision": "bfloat16"}
    monot5 = dataclasses.replace(sent, reranker="monot5", revision="a" * 40, options={"max_length": 64}, **declared)
    told = {"strategy": "difference", "precision": "bfloat16", "max_length": 64}
    assert reranker_options(monot5) == {**told, "model": "acme/m", "revision": "a" * 40}
    assert reranker_options(dataclasses.replace(sent, reranker="listwise", **declared)) == {"model": "acme/m"}


def test_whatever_is_wrong_with_one_submission_the_others_are_scored(board):
    ledger = Ledger(board)
    sent = ledger.submissions()["acme--good"]
    broken = board.parent / "m"
    broken.mkdir()
    (broken / "config.json").write_text("[]")
    (broken / "model.safetensors").write_bytes(b"")
    model = {"kind": "model", "reranker": "bi_encoder", "model": "/nowhere"}
    for name, changes in (
        ("acme/absent", model),
        ("acme/broken", {**model, "model": str(broken)}),
        ("acme/option", {**model, "options": {"max_length": "long"}}),
        ("acme/misnamed", {}),
        ("zz/last", {}),
    ):
        ledger.add_submission(dataclasses.replace(sent, name=name, **changes))
    (board / "runs" / "acme--misnamed").mkdir()
    (board / "runs" / "acme--misnamed" / "mini.trec.gz").write_bytes(b"")
    (board / "submissions" / "acme--edited.toml").write_text("name = 1")
    file_other_run(board, "zz--last")
    failures: dict[str, ExabenchError] = {}
    files = run_board(board, failures=failures)
    assert set(failures) == {f"acme--{name}" for name in ("absent", "broken", "edited", "misnamed", "option")}
    assert "max_length must be a whole number" in str(failures["acme--option"])
    assert not any("\n" in str(error) for error in failures.values())
    assert len(files) == 7 and filed(board, "zz--last")["nDCG@10"] > 0
    assert not any(change.after is None for change in Ledger(board).changes())
    done = CliRunner().invoke(commands, ["bench", "run", "--trusted", "--board", str(board)])
    assert isinstance(done.exception, BadInput) and done.exception.exit_code == 2
    told = str(done.exception)
    assert "5 submissions have no new results, all others do: " in told and "acme--option: " in told
    named = [line.split()[0] for line in done.stdout.splitlines()]
    assert "\n" not in told and named == ["submission", *(file.parent.name for file in files)]


def test_a_reranker_of_ones_own_is_evaluated_in_one_call():
    result = evaluate(ShortestFirst(), ["mini"], depth=20)["mini"]
    texts = {passage.id: len(passage.text) for passage in open_collection(task("mini")).passages()}
    _, run = make_candidates(task("mini"), "bm25", 20)
    expected = {q: sorted(run.ranking(q), key=lambda p: (-texts[p], p), reverse=True) for q in run}
    direct = measurement(run_in_order("shortest", expected), QRELS, task("mini").convention, ["nDCG@10"])
    assert result["nDCG@10"] == pytest.approx(direct["nDCG@10"], abs=1e-12)
    assert (result.submission, result.state) == ("shortestfirst", "reproduced")


def test_a_candidate_without_text_is_named(tmp_path):
    (tmp_path / "first.trec").write_text("q03 Q0 no-such-passage 1 1 t\n")
    with pytest.raises(BadInput, match="has no text for a candidate .*'no-such-passage'"):
        given = {"file": str(tmp_path / "first.trec")}
        evaluate(ShortestFirst(), ["mini"], retriever="run_file", retriever_options=given)


def test_in_arguanas_way_a_self_match_helps_nobody(tmp_path):
    passages = [Passage("d1", "red fish"), Passage("d2", "red fish swim"), Passage("d3", "one red fish")]
    write_beir(tmp_path / "twin", Given([Query("d1", "red fish")], passages, {"d1": {"d2": 1}}))
    entry = Task(name="twin", title="Twin", convention=Convention(self_match="drop"))
    _, run = make_candidates(entry, "bm25", 2, data=tmp_path)
    oracle, _ = rerank(RERANKERS["oracle"]({"d1": {"d2": 1}}), run, {}, {}, "oracle")
    assert "d1" not in run.ranking("d1")
    assert measurement(oracle, {"d1": {"d2": 1}}, entry.convention, ["RR@10"])["RR@10"] == 1.0


def test_results_go_on_where_they_stopped_and_no_model_runs_again_for_one_that_its_run_still_gives(board, tmp_path):
    folder = classifier_folder(tmp_path / "bert")
    about = {"name": "acme/m", "kind": "model", "reranker": "cross_encoder", "model": str(folder)}
    submit(write_submission(tmp_path / "m", **about), [], board)
    [file] = run_board(board, slugs=["acme/m"])
    made = file.read_bytes()
    classifier_folder(folder, seed=1)  # other weights in the same folder
    run_board(board, slugs=["acme/m"])
    assert file.read_bytes() != made
    made = file.read_bytes()
    shutil.rmtree(folder)  # a model that had to run again would be missed
    with pytest.raises(BadInput, match="bert"):
        run_board(board, slugs=["acme/m"], again=True)
    assert run_board(board, slugs=["acme/m"]) == [file]
    assert file.read_bytes() == made
    # Whose work the first stage is changes no number: the result says it, and no model runs.
    ledger = Ledger(board)
    candidates = ledger.one_candidates("mini", "bm25-20")
    ledger.replace_description(dataclasses.replace(candidates, credit=Credit("acme")))
    assert run_board(board, slugs=["acme/m"]) == [file]
    assert read_result(file).candidates.credit.owner == "acme"
    ledger.replace_description(candidates)
    assert run_board(board, slugs=["acme/m"]) == [file] and file.read_bytes() == made
    file.unlink()
    with pytest.raises(BadInput, match="bert"):
        run_board(board, slugs=["acme/m"])
    # Nor is a result kept whose run is another one now, or that was edited.
    file.write_bytes(made)
    file_other_run(board, "acme--m")
    with pytest.raises(BadInput, match="bert"):
        run_board(board, slugs=["acme/m"])
