"""Notes on what is odd: a sentence with counts where something is, and none where nothing is."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from toys import Given, ShortestFirst, good_run, write_beir, write_run, write_submission

from exabench import compare, score
from exabench.bench.candidates import RerankEvaluator, make_candidates
from exabench.bench.ledger import Ledger
from exabench.bench.submitting import submit
from exabench.bench.verification import check, verify
from exabench.cli import main
from exabench.core.nouns import Passage, Query, Task
from exabench.measure.runs import read_run, run_in_order, run_of

IDS = [f"d{i}" for i in range(10)]
QRELS = {f"q{i}": {"d0": 1, "d1": 0} for i in range(4)}
ANSWERED = {query_id: IDS for query_id in QRELS}


def write_qrels(folder: Path, qrels: dict[str, dict[str, int]]) -> Path:
    file = folder / "qrels.txt"
    file.write_text("".join(f"{q} 0 {p} {grade}\n" for q, row in qrels.items() for p, grade in row.items()))
    return file


def notes_on(run: Any, qrels: dict[str, dict[str, int]] = QRELS, **choices: Any) -> list[str]:
    return list(score(run, qrels=qrels, **choices).notes)


def test_a_run_with_nothing_odd_has_no_note():
    assert notes_on(run_in_order("run", ANSWERED)) == []


def test_a_threshold_that_no_judgement_reaches_is_told():
    run = run_in_order("run", ANSWERED)
    assert notes_on(run, threshold=2) == ["no judgement has a grade of 2 or more: nothing counts as relevant"]
    judged_not_relevant = {query_id: {"d0": 0, "d1": -1} for query_id in QRELS}
    assert notes_on(run, judged_not_relevant) == ["no judgement has a grade of 1 or more: nothing counts as relevant"]


def test_queries_that_the_run_leaves_out_and_queries_that_nobody_judged_are_counted_with_one_id_each():
    run = run_in_order("run", {"q0": IDS, "q3": IDS, "x1": IDS, "x2": IDS})
    assert notes_on(run) == [
        "2 of 4 judged queries are missing from the run, and count 0 (e.g. 'q1')",
        "2 queries of the run are not judged, and are left aside (e.g. 'x1')",
    ]
    run = run_in_order("run", {"q0": IDS, "q1": IDS, "q2": IDS, "x": IDS})
    assert notes_on(run) == [
        "1 of 4 judged queries is missing from the run, and counts 0 (e.g. 'q3')",
        "1 query of the run is not judged, and is left aside (e.g. 'x')",
    ]


@pytest.mark.parametrize(
    ("ranked", "judged", "told"),
    [
        (["007", "012"], ["7", "12"], "2 passage ids meet a judged one only without leading zeros (e.g. '007')"),
        (["7.0", "1.05"], ["7", "1"], "1 passage id meets a judged one only without .0 at the end (e.g. '7.0')"),
        (["7"], ["7.0"], "1 passage id meets a judged one only without .0 at the end (e.g. '7')"),
        (["7"], ["007"], "1 passage id meets a judged one only without leading zeros (e.g. '7')"),
        (["WSJ001"], ["wsj001"], "1 passage id meets a judged one only in another letter case (e.g. 'WSJ001')"),
        (["a", "wsj1"], ["WSJ1"], "1 passage id meets a judged one only in another letter case (e.g. 'wsj1')"),
        (["e\u0301"], ["\u00e9"], "1 passage id meets a judged one only after Unicode NFC (e.g. 'e\u0301')"),
    ],
)
def test_ids_that_meet_judged_ones_in_another_spelling_are_counted(ranked, judged, told):
    run = run_in_order("run", {"q": ranked})
    found = notes_on(run, {"q": dict.fromkeys(judged, 1)})
    assert told in found and any(note.startswith("none of the run's passages is judged: ") for note in found)


def test_query_ids_in_another_spelling_are_counted_too():
    found = notes_on(run_in_order("run", {"007": ["a"], "008": ["a"]}), {"7": {"a": 1}, "8": {"a": 1}})
    assert found[:2] == [
        "no query of the run is judged: are these the right judgements?",
        "2 query ids meet a judged one only without leading zeros (e.g. '007')",
    ]


def test_a_passage_that_stands_beside_its_judged_namesake_is_another_passage():
    run = run_in_order("run", {"q": ["Iron_Man", "Iron_man", "07", "7"]})
    assert notes_on(run, {"q": {"Iron_Man": 1, "7": 1}}) == []


def test_judgements_of_another_version_of_the_collection_are_remarked_upon():
    run = run_in_order("run", {"1": ["197beaca-2019-04-18T11:28:59Z-00001-000"]})
    found = notes_on(run, {"1": {"S197beaca-A971412e6": 1, "S1b03f390-Aa73ba80f": 2}})
    assert [note.partition(":")[0] for note in found] == ["none of the run's passages is judged"]


def test_ties_are_told_where_they_change_a_metric_that_was_asked_for_and_about_that_metric():
    below = {"q": {"a": 3.0, "b": 2.0, "c": 1.0, "d": 1.0}}
    above = {"q": {"a": 3.0, "b": 3.0, "c": 1.0}}
    qrels = {"q": {"a": 1, "d": 1}}
    assert notes_on(run_of("run", below), qrels, metrics=["RR@10"]) == []
    [note] = notes_on(run_of("run", below), qrels, metrics=["AP"])
    assert note.startswith("50.0% of the ranked passages tie in single precision: AP lies between 0.7500 and 0.8333, ")
    [note] = notes_on(run_of("run", above), qrels, metrics=["RR@10", "P@2", "Success@1"])
    assert ": RR@10 lies between 0.5000 and 1.0000, Success@1 lies between 0.0000 and 1.0000, depending on" in note


def test_ties_that_cross_the_cutoff_are_seen():
    scores = {"a": 9.0} | dict.fromkeys("bcdefgh", 1.0)
    [note] = notes_on(run_of("run", {"q": scores}), {"q": {"b": 1}}, metrics=["P@2"])
    assert "P@2 lies between 0.0000 and 0.5000" in note


def test_lists_that_end_before_a_deep_cutoff_or_the_depth_in_their_name_are_remarked_upon():
    assert notes_on(run_in_order("bm25-1000", ANSWERED)) == [
        "no list is longer than 10 passages, though the run is called 'bm25-1000'"
    ]
    assert notes_on(run_in_order("run-of-2020", ANSWERED)) == []
    assert notes_on(run_in_order("run", ANSWERED), metrics=["nDCG@10", "R@1000"]) == [
        "no list is longer than 10 passages, and R@1000 looks further"
    ]


def test_compare_says_of_each_run_what_score_says_of_it(tmp_path, capsys):
    qrels = write_qrels(tmp_path, QRELS)
    whole = write_run(tmp_path / "whole.trec", run_in_order("whole", ANSWERED))
    part = write_run(tmp_path / "part.trec", run_in_order("part", {"q0": IDS, "x": IDS}))
    foreign = write_run(tmp_path / "foreign.trec", run_in_order("foreign", {"x": IDS}))
    for other in (part, foreign):
        said = {}
        for run in (whole, other):
            assert main(["bench", "score", str(run), "--qrels", str(qrels), "--metric", "nDCG@10", "--json"]) == 0
            said[run.stem] = json.loads(capsys.readouterr().out)
        two = ["bench", "compare", str(whole), str(other), "--qrels", str(qrels)]
        assert main([*two, "--json"]) == 0
        for run in json.loads(capsys.readouterr().out)["runs"]:
            assert {**run, "per_query": said[run["run"]]["per_query"]} == said[run["run"]]
        for more in ([], ["--latex"]):
            assert main([*two, *more]) == 0
            told = capsys.readouterr().err
            assert f"{other.stem}: 4 judged queries\n" in told
            for note in said[other.stem]["notes"]:
                assert f"{other.stem}: note: {note}\n" in told
    assert "foreign: note: no query of the run is judged: are these the right judgements?" in told


def test_equal_runs_are_told_whatever_they_are_called():
    runs = [run_in_order("one", ANSWERED), run_in_order("two", {"q0": IDS}), run_in_order("three", ANSWERED)]
    found = compare(*runs, qrels=QRELS)
    assert found.notes == ("one and three are one run under 2 names: same passages in the same order",)
    assert compare(*runs[:2], qrels=QRELS).notes == ()


def test_a_rank_column_that_contradicts_the_scores_is_told(tmp_path):
    file = tmp_path / "distances.trec"
    file.write_text("q Q0 near 1 0.5 x\nq Q0 far 2 0.9 x\nr Q0 near 1 0.9 x\nr Q0 far 2 0.5 x\n")
    [note] = notes_on(file, {"q": {"near": 1}, "r": {"near": 1}})
    assert note.startswith("the rank column contradicts the scores for 1 of 2 queries (lower is better?)")


# -- what is submitted -------------------------------------------------------------------------------------------------


@pytest.fixture
def forum(tmp_path: Path) -> Path:
    """A folder with a task whose queries are passages of the collection; it drops self-matches as ArguAna does."""
    queries = [Query(f"a{i}", "text") for i in range(6)]
    passages = []
    judged = {}
    for query in queries:
        answer = f"b{query.id}"
        passages += [Passage(query.id, "text"), Passage(answer, "text")]
        judged[query.id] = {answer: 1}
    folder = write_beir(tmp_path / "data" / "forum", Given(queries, passages, judged))
    (folder / "task.toml").write_text('self_match = "drop"\n')
    return folder.parent


@pytest.fixture
def with_self_matches(tmp_path: Path) -> Path:
    """A run that ranks each query's own passage first, and its answer second."""
    rankings = {f"a{i}": [f"a{i}", f"ba{i}"] for i in range(6)}
    return write_run(tmp_path / "selves.trec", run_in_order("selves", rankings))


def filed_run(board: Path, slug: str, name: str = "mini.bm25-20"):
    return read_run(board / "runs" / slug / f"{name}.trec.gz")


def first_stage(board: Path):
    return Ledger(board).candidates_run(Ledger(board).one_candidates("mini", "bm25-20"))


def test_a_submitted_run_over_more_queries_than_are_judged_is_stored_without_them(board, tmp_path, capsys):
    whole = good_run(first_stage(board))
    more = {query_id: whole.ranking(query_id) for query_id in whole} | {f"topic{i}": ["d1", "d2"] for i in range(157)}
    run = write_run(tmp_path / "more.trec", run_in_order("more", more))
    file = write_submission(tmp_path / "new", name="acme/more")
    given = ["bench", "submit", str(file), "--run", f"mini={run}", "--board", str(board)]
    assert main([*given, "--dry-run"]) == 0
    told = capsys.readouterr().err
    assert (
        "note: mini: 157 queries of the run are not judged, or not in bm25-20, and are left aside (e.g. 'topic0')"
        in told
    )
    rows = len(whole.scores)
    assert f"note: mini: only the rankings of the queries of bm25-20 are stored: 24 queries, {rows} passages" in told
    assert main([*given, "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["notes"]) == 3  # the last: acme/good ranks alike
    assert filed_run(board, "acme--more").query_ids == whole.query_ids
    assert main(["bench", "run", "acme--more", "--board", str(board)]) == 0
    assert all(cell.holds for cell in verify(board)) and check(board) == []


def test_a_submitted_run_loses_the_self_matches_that_the_task_drops(forum, with_self_matches, tmp_path, capsys):
    place = ["--data", str(forum), "--board", str(tmp_path / "board")]
    frozen = ["bench", "candidates", "forum", "--from", str(with_self_matches), "--depth", "1", "--name", "toy-1"]
    assert main([*frozen, *place]) == 0
    file = write_submission(tmp_path / "new", name="acme/selves")
    capsys.readouterr()
    assert main(["bench", "submit", str(file), "--run", f"forum={with_self_matches}", *place]) == 0
    assert "note: forum: 6 self-matches (passage id = query id) were dropped" in capsys.readouterr().err
    assert filed_run(tmp_path / "board", "acme--selves", "forum.toy-1").ranking("a0") == ["ba0"]
    assert main(["bench", "run", "acme--selves", *place]) == 0
    assert all(cell.holds for cell in verify(tmp_path / "board", data=forum))


def test_self_matches_are_dropped_in_a_table_of_latex_too(forum, with_self_matches, capsys):
    for more in ([], ["--latex"]):
        two = ["bench", "compare", str(with_self_matches), str(with_self_matches), "--task", "forum"]
        assert main([*two, "--data", str(forum), *more]) == 0
        shown = capsys.readouterr()
        assert shown.out.count("1.0000") >= 2 and "0.6309" not in shown.out
        assert shown.err.count("selves: note: 6 self-matches (passage id = query id) were dropped") == 2


def test_a_ranking_that_is_filed_under_another_name_or_is_the_first_stage_is_told(board, tmp_path, capsys):
    first = first_stage(board)
    scored = {query_id: {p: 100.0 - place for place, p in enumerate(first.ranking(query_id))} for query_id in first}
    for name, run, same in (
        ("acme/copy", good_run(first), "acme/copy and acme/good"),
        ("acme/lazy", run_of("lazy", scored), "acme/lazy and the first stage"),
    ):
        file = write_submission(tmp_path / "new", name=name)
        given = ["--run", f"mini={write_run(tmp_path / 'copy.trec', run)}", "--board", str(board)]
        assert main(["bench", "submit", str(file), *given]) == 0
        told = f"note: {same} rank the same passages of mini (bm25-20) in the same order\n"
        assert told in capsys.readouterr().err


# -- results and verification end with numbers -------------------------------------------------------------------------


def test_bench_run_prints_each_headline_with_its_interval_and_first_stage_and_tells_copies(board, tmp_path, capsys):
    for name in ("acme/copy", "acme/other"):
        file = write_submission(tmp_path / "new", name=name)
        submit(file, [f"mini={write_run(tmp_path / 'copy.trec', good_run(first_stage(board)))}"], board)
    assert main(["bench", "run", "--board", str(board)]) == 0
    shown = capsys.readouterr()
    [line] = [line for line in shown.out.splitlines() if line.startswith("acme--copy ")]
    [first] = [line for line in shown.out.splitlines() if line.startswith("exabench--unchanged ")]
    cells = line.split()
    assert cells[:4] == ["acme--copy", "mini", "bm25-20", "nDCG@10"] and cells[7] == first.split()[4]
    told = "note: acme/copy and acme/good and acme/other rank the same passages of mini (bm25-20) in the same order"
    assert shown.err.count(told) == 1
    assert main(["bench", "run", "acme--copy", "--board", str(board), "--json"]) == 0
    [value] = json.loads(capsys.readouterr().out)["values"]
    assert f"{value['value']:.4f}" == cells[4] and f"{value['first_stage']:.4f}" == cells[7]
    assert value["interval"][0] < value["value"] < value["interval"][1]
    assert value["gain"] == value["value"] - value["first_stage"]


def test_bench_run_ends_with_what_it_took_and_gives_the_first_stage_a_result(board, tmp_path, capsys):
    first_stage = board / "results/exabench--unchanged/mini.bm25-20.json"
    first_stage.unlink()
    run = ["bench", "run", "--board", str(board), "--reason", "again"]
    assert main([*run, "acme--good"]) == 0
    shown = capsys.readouterr()
    header, *rows = shown.out.splitlines()
    assert header.split()[-4:] == ["stage", "gain", "pairs", "seconds"]
    assert [row.split()[0] for row in rows] == ["acme--good", "exabench--unchanged"] and first_stage.is_file()
    pairs = [row.split()[-2] for row in rows]
    assert pairs[0] == "0"  # nobody here reranked what was submitted as a run
    assert f"2 results: 1 new or changed, 1 as before; {pairs[1]} pairs reranked in 0:0" in shown.err
    assert main([*run, "exabench--reversed"]) == 0
    assert f"1 result: 0 new or changed, 1 as before; {pairs[1]} pairs reranked in 0:0" in capsys.readouterr().err


def test_bench_verify_ends_with_a_total(board, capsys):
    assert main(["bench", "verify", "acme--good", "--board", str(board)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "8 numbers, 0 wrong; 1 other check, 0 wrong"
    Ledger(board).add_run("acme--good", "mini", "bm25-20", first_stage(board))
    assert main(["bench", "verify", "acme--good", "--board", str(board)]) == 1
    assert capsys.readouterr().out.splitlines()[-1] == "0 numbers, 0 wrong; 1 other check, 1 wrong"


# -- candidates and rerankers ------------------------------------------------------------------------------------------


def test_what_is_odd_about_a_list_is_told_before_it_is_frozen(board, tmp_path, capsys):
    first = first_stage(board)
    part = {query_id: first.ranking(query_id)[:7] for query_id in first.query_ids[:8]}
    run = write_run(tmp_path / "part.trec", run_in_order("part", part))
    frozen = ["bench", "candidates", "mini", "--from", str(run), "--depth", "1000", "--board", str(board)]
    assert main([*frozen, "--json"]) == 0
    shown = capsys.readouterr()
    missing, short = json.loads(shown.out)["notes"]
    assert missing.startswith("16 of 24 judged queries are missing from the list, and count 0 (e.g. ")
    assert short == "no list is longer than 7 passages, where 1000 were asked for"
    assert f"note: {missing}\nnote: {short}\n" in shown.err


def test_judged_queries_without_a_text_are_told_of_lists_and_of_results(tmp_path):
    queries = [Query("q1", "apple"), Query("q2", " "), Query("x", "apple")]
    passages = [Passage("d1", "apple pie"), Passage("d2", "apple tree"), Passage("d3", "plum")]
    judged = {"q1": {"d1": 1}, "q2": {"d3": 1}, "q9": {"d2": 1}}
    write_beir(tmp_path / "fruit", Given(queries, passages, judged))
    toy, told = Task("fruit", "Fruit"), []
    candidates, run = make_candidates(toy, "bm25", 2, data=tmp_path, note=told.append)
    without = [
        f"1 judged query has no text in {candidates.source} (e.g. 'q9')",
        f"1 judged query has an empty text in {candidates.source} (e.g. 'q2')",
    ]
    assert told[:2] == without and told[2].startswith("2 of 3 judged queries are missing from the list")
    evaluator = RerankEvaluator(toy, candidates, run, tmp_path, None)
    result, _ = evaluator.evaluate(ShortestFirst(), "acme--short", "model")
    assert list(result.measurement.notes[:2]) == without


def test_bench_run_carries_the_notes_of_each_result_but_those_of_baselines(board, tmp_path, capsys):
    first = first_stage(board)
    part = {query_id: dict.fromkeys(first.ranking(query_id)[:5], 1.0) for query_id in first.query_ids[1:]}
    file = write_submission(tmp_path / "new", name="acme/tied")
    submit(file, [f"mini={write_run(tmp_path / 'tied.trec', run_of('tied', part))}"], board)
    assert main(["bench", "run", "--board", str(board), "--json"]) == 0
    notes = json.loads(capsys.readouterr().out)["notes"]
    assert len(notes) == 3 and all(note.startswith("acme--tied on mini (bm25-20): ") for note in notes)
    assert "1 of 24 judged queries is missing" in notes[0] and notes[1].endswith("(export logits, not probabilities)")
    assert notes[2].endswith("290 candidates left out by the run were added behind it, in first-stage order")


def test_scores_that_a_sigmoid_squashed_are_told_and_grades_are_not():
    logits = {"d0": 20.0, "d1": 19.5, "d2": 3.0, "d3": -1.0}
    squashed = {passage_id: 1 / (1 + math.exp(-logit)) for passage_id, logit in logits.items()}
    [said] = [note for note in notes_on({"q0": squashed, "q1": {"d0": 0.5, "d1": 0.5}}) if "sigmoid" in note]
    assert said.startswith("1 query has several passages with a score of exactly 1")
    shares = {"d0": 1.0, "d1": 1.0, "d2": 0.5, "d3": 0.5, "d4": 0.5}
    for fine in (logits, {"d0": 1.0, "d1": 1.0, "d2": 0.0, "d3": 0.0}, {"d0": 1.0, "d1": 0.9, "d2": 0.9}, shares):
        assert not [note for note in notes_on({"q0": fine}) if "sigmoid" in note], fine
