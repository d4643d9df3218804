"""Frozen candidate lists: they say how deep they are and what they lack, and can be made again."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from models import encoder_folder
from toys import Given, contents, write_beir

from exabench.bench.candidates import freeze_all, make_candidates, plan_candidates
from exabench.bench.evaluation import run_board
from exabench.bench.ledger import Ledger
from exabench.bench.repetition import make_again
from exabench.bench.submitting import add_baselines
from exabench.board.pages import render
from exabench.board.ranking import Board
from exabench.cli import main
from exabench.core.errors import BadInput
from exabench.core.nouns import Credit, Passage, Query
from exabench.measure.runs import run_of, select_queries, top, write_run

FREEZE = ["bench", "candidates", "mini", "--board", "board"]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch) -> Path:
    """A working folder with a whole run of mini, and one of 8 queries and at most 20 passages."""
    monkeypatch.chdir(tmp_path)
    _, run = make_candidates("mini", "bm25", 40)
    write_run(run, "whole.trec")
    write_run(top(select_queries(run, set(run.query_ids[:8])), 20), "part.trec")
    return tmp_path


def described(name: str, task: str = "mini") -> dict[str, object]:
    return json.loads(Path("board", "candidates", task, f"{name}.json").read_text())


def page(place: str) -> str:
    """The words of a page."""
    text = re.sub(r"<[^>]+>", " ", (Path("site") / place).read_text())
    return " ".join(text.split())


# -- depth and coverage ------------------------------------------------------------------------------------------------


def test_a_given_list_is_called_by_the_depth_that_it_has_and_what_it_lacks_is_told(capsys):
    assert main([*FREEZE, "--from", "part.trec", "--depth", "1000"]) == 0
    told = capsys.readouterr()
    assert told.out.strip() == "board/candidates/mini/part-20.json"
    assert "16 of 24 judged queries are missing" in told.err
    assert "no list is longer than 20 passages" in told.err
    assert "recall@20 " in told.err
    values = described("part-20")
    assert values["depth"] == values["coverage"]["longest"] == 20
    assert (values["coverage"]["judged"], values["coverage"]["answered"], values["coverage"]["missing"]) == (24, 8, 16)


def test_a_name_that_says_another_depth_is_refused_and_leaves_nothing(folder, capsys):
    before = contents(folder)
    refused = {
        (
            "--from",
            "part.trec",
            "--depth",
            "1000",
            "--name",
            "part-1000",
        ): "which must be part of their name: name them part-20",
        ("--depth", "20", "--name", "bm25-100"): "candidates 'bm25-100' cannot be of depth 20",
        ("--depth", "20", "--name", "bm25-10"): "candidates 'bm25-10' cannot be of depth 20",
        ("--name", "best"): "candidates 'best' must be named <retriever>-<depth>",
    }
    for choices, message in refused.items():
        assert main([*FREEZE, *choices]) == 2
        assert message in capsys.readouterr().err
    assert contents(folder) == before


def test_a_search_keeps_the_depth_that_was_asked_for_and_records_the_longest_list(capsys):
    assert main([*FREEZE, "--depth", "200", "--json"]) == 0
    told = capsys.readouterr()
    values = json.loads(told.out)
    assert (values["name"], values["depth"], values["coverage"]["missing"]) == ("bm25-200", 200, 0)
    assert values["coverage"]["longest"] < 200
    assert f"no list is longer than {values['coverage']['longest']} passages" in told.err
    assert values["notes"]


def test_a_judged_query_without_a_text_is_told_and_counted(tmp_path, capsys):
    queries = [Query("q1", "red fish"), Query("q2", "")]
    passages = [Passage("a", "red fish"), Passage("b", "blue fish")]
    judged = {"q1": {"a": 1}, "q2": {"b": 1}, "q9": {"b": 1}}
    write_beir(tmp_path / "toy", Given(queries, passages, judged))
    assert main(["bench", "candidates", "toy", "--board", "board"]) == 0
    told = capsys.readouterr().err
    assert "1 judged query has no text" in told and "q9" in told
    assert described("bm25-100", "toy")["coverage"]["without_text"] == 2


def test_a_fused_list_says_the_same_of_itself(capsys):
    assert main([*FREEZE, "--retriever", "fusion", "--set", 'runs=["part.trec", "whole.trec"]', "--depth", "1000"]) == 0
    values = described("fusion-40")
    assert values["coverage"]["answered"] == 24
    assert "no list is longer than 40 passages" in capsys.readouterr().err


def test_two_stages_are_as_deep_as_the_first(capsys):
    stages = ["--retriever", "two_stage", "--set", "first_stage=bm25", "--set", "reranker=reversed"]
    assert main([*FREEZE, *stages, "--set", "first_depth=20", "--depth", "1000"]) == 0
    assert described("two-stage-20")["depth"] == 20
    assert "no list is longer than 20 passages" in capsys.readouterr().err


def test_an_incomplete_list_is_not_finished_on_the_overview_nor_ranked_on_the_page_of_the_task():
    assert main([*FREEZE, "--from", "part.trec"]) == 0
    assert main([*FREEZE, "--depth", "20"]) == 0
    add_baselines("board")
    run_board("board")
    rows = {row.candidates: row for row in Board.read("board").rows if row.is_first_stage}
    assert rows["bm25-20"].mean is not None
    assert rows["part-20"].mean is None
    assert (rows["part-20"].finished, rows["part-20"].wanted) == (0, 1)
    entries = {one.result.candidates: one for one in Board.read("board").entries["mini"] if not one.is_bound}
    assert entries["part-20"].group is None
    render(Board.read("board"), Path("site"))
    shown = page("tasks/mini.html")
    line = r"missing and count 0 first stage: part part-20 [\d. –]+ 16 of 24 queries missing"
    assert re.search(line, shown)
    assert "part-20 run_file unknown unknown 20 8 of 24" in shown  # owner and licence are unknown


def test_a_run_that_misses_a_query_of_a_whole_list_is_marked_on_both_pages(board):
    result = next(one for one in Board.read(board).results if one.submission == "acme--good")
    run = Ledger(board).run_file("acme--good", "mini", result.candidates)
    whole = make_candidates("mini", "bm25", 20)[1]
    write_run(select_queries(whole, set(whole.query_ids[1:])), run, "acme--good")
    run_board(board)
    entry = next(one for one in Board.read(board).entries["mini"] if one.result.submission == "acme--good")
    assert (entry.result.missing, entry.group) == (1, None)
    render(Board.read(board), Path("site"))
    assert re.search(r"acme/good bm25-20 [\d. –]+ 1 of 24 queries missing", page("tasks/mini.html"))
    assert "acme/ good – 0/1 tasks" in page("index.html")


def test_lists_and_results_that_were_frozen_before_are_read_as_they_are(board):
    file = Ledger(board).description_file("mini", "bm25-20")
    values = json.loads(file.read_text())
    del values["coverage"], values["options"]
    file.write_text(json.dumps(values))
    for result in Ledger(board).result_files():
        result.unlink()
    run_board(board)
    [candidates] = Ledger(board).candidates("mini")
    assert candidates.coverage is None
    assert candidates.as_json() == values
    assert all(set(one.candidates.as_json()) == set(values) for one in Ledger(board).results())
    assert Board.read(board).rows[0].mean is not None


# -- made again --------------------------------------------------------------------------------------------------------

LISTS = {
    "bm25-20": ("--depth", "20"),
    "plain-30": ("--depth", "30", "--name", "plain-30", "--set", "k1=1.5", "--set", "lucene=[]"),
    "part-20": ("--from", "part.trec"),
    "fusion-40": ("--retriever", "fusion", "--set", 'runs=["whole.trec", "part.trec"]', "--set", "k=10"),
    "two-stage-10": (
        "--retriever",
        "two_stage",
        "--depth",
        "10",
        "--set",
        "first_stage=bm25",
        "--set",
        "reranker=reversed",
    ),
}


@pytest.mark.parametrize("name", LISTS)
def test_a_list_is_made_again_from_its_description(folder, name, capsys):
    assert main([*FREEZE, *LISTS[name]]) == 0
    before = contents(folder)
    capsys.readouterr()
    assert main([*FREEZE, "--again", name]) == 0
    assert capsys.readouterr().out.strip() == f"same: {described(name)['digest']}"
    assert contents(folder) == before


@pytest.mark.parametrize(("name", "file"), [("part-20", "part.trec"), ("fusion-40", "whole.trec")])
def test_a_list_of_a_run_that_has_changed_differs_and_says_which_file(folder, name, file, capsys):
    assert main([*FREEZE, *LISTS[name]]) == 0
    write_run(run_of("other", {"q03": {"bats-09": 1.0, "bats-08": 0.5}}), file)
    before = contents(folder)
    capsys.readouterr()
    assert main([*FREEZE, "--again", name]) == 1
    told = capsys.readouterr()
    assert told.out.startswith("differs: sha256:")
    assert re.search(r"parameter (digest|runs.whole.trec) was sha256:\w+ and is sha256:\w+", told.out)
    assert f"mini/{name} cannot be reproduced" in told.err
    Path(file).unlink()
    assert main([*FREEZE, "--again", name]) == 2
    assert file in capsys.readouterr().err
    assert {path: data for path, data in before.items() if path != file} == contents(folder)


def test_a_list_that_is_not_there_and_choices_beside_again_are_one_line(capsys):
    assert main([*FREEZE, "--depth", "20"]) == 0
    assert main([*FREEZE, "--again", "bm25-30"]) == 2
    assert "bm25-20" in capsys.readouterr().err
    assert main([*FREEZE, "--again", "bm25-20", "--retriever", "bm25"]) == 2
    assert "--again uses the list's own description" in capsys.readouterr().err


def test_python_makes_a_list_again_too():
    assert main([*FREEZE, "--depth", "20"]) == 0
    made = make_again(Ledger(Path("board")), "mini", "bm25-20")
    assert made.frozen.digest == made.again.digest
    assert made.differences == ()


def test_paths_are_recorded_from_the_working_folder_on(folder):
    assert main([*FREEZE, "--from", str(folder / "part.trec")]) == 0
    values = described("part-20")
    assert values["parameters"]["file"] == values["options"]["file"] == "part.trec"


# -- checked first -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        (["--retriever", "bm52"], "unknown retriever 'bm52'; did you mean bm25"),
        (["--retriever", "bm25", "--from", "part.trec"], "give --retriever or --from, not both"),
        (["--from", "nope.trec"], "nope.trec: cannot be read"),
        (["--retriever", "fusion"], "fusion needs at least two runs"),
        (["--retriever", "fusion", "--set", 'runs=["whole.trec", "nope.trec"]'], "nope.trec: cannot be read"),
        (["--retriever", "fusion", "--set", 'runs=["whole.trec", "./whole.trec"]'], "is the same run as whole.trec"),
        (["--set", "k1=abc"], "k1 must be a number, not 'abc'"),
        (["--set", "k2=1"], "retriever bm25 has no option 'k2'"),
        (["--retriever", "two_stage"], "retriever two_stage needs first_stage (a part); its options: fields"),
        (["--retriever", "dense"], "retriever dense needs model (text); its options: backend"),
        (["--retriever", "splade"], "retriever splade needs model"),
        (["--retriever", "scoreddocs"], "the task is not in ir_datasets"),
        (["--retriever", "hub_list"], "hub_list needs the name of a dataset"),
        (
            ["--retriever", "pyserini", "--set", "index=beir-v1.0.0-scifact.flatt"],
            "did you mean beir-v1.0.0-scifact.flat",
        ),
        (["--depth", "0"], "0 is not in the range"),
    ],
)
@pytest.mark.parametrize("dry_run", [False, True])
def test_a_mistake_is_one_line_and_leaves_no_board(folder, choices, message, dry_run, capsys):
    before = contents(folder)
    assert main([*FREEZE, *choices, *(["--dry-run"] if dry_run else [])]) == 2
    told = capsys.readouterr()
    assert message in told.err
    assert len(told.err.splitlines()) == 1
    assert not told.out
    assert contents(folder) == before


def test_an_unknown_task_is_one_line_and_leaves_no_board(folder, capsys):
    before = contents(folder)
    assert main(["bench", "candidates", "minni", "--board", "board"]) == 2
    assert "did you mean mini" in capsys.readouterr().err
    assert contents(folder) == before


def test_texts_that_the_pages_would_show_and_that_are_missing_leave_no_board(tmp_path, capsys):
    mine = tmp_path / "mine"
    (mine / "qrels").mkdir(parents=True)
    (mine / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq1\td1\t1\n")
    (tmp_path / "open.trec").write_text("q1 Q0 d1 1 2.0 a\n")
    freeze = ["bench", "candidates", "mine", "--from", "open.trec", "--data", ".", "--board", "board"]

    (mine / "task.toml").write_text('licence = "CC-BY-4.0"\n')
    assert main(freeze) == 2
    assert "no corpus.jsonl" in capsys.readouterr().err
    assert not Path("board").exists()

    (mine / "task.toml").write_text('licence = "research only"\n')
    assert main(freeze) == 0  # of such texts the pages show none


def test_a_task_in_another_language_is_searched_with_its_analyser_or_not_at_all(tmp_path, capsys):
    given = Given(
        [Query("q1", "Haus")], [Passage("a", "viele H\u00e4user"), Passage("b", "ein Baum")], {"q1": {"a": 1}}
    )
    (write_beir(tmp_path / "haus", given) / "task.toml").write_text('title = "Haus"\nlanguage = "de"\n')
    freeze = ["bench", "candidates", str(tmp_path / "haus"), "--board", "board"]
    assert main(freeze) == 2
    assert "bm25 supports only English, and these texts are in 'de': use --retriever pyserini" in (
        capsys.readouterr().err
    )
    assert not Path("board").exists()
    assert main([*freeze, "--retriever", "pyserini"]) == 0
    assert described("pyserini-100", "haus")["parameters"]["language"] == "de"
    assert described("pyserini-100", "haus")["recall"] == 1
    assert main([*freeze, "--again", "pyserini-100"]) == 0


# -- suites ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def two_tasks(tmp_path) -> Path:
    """The tasks of the suite trec-dl, as toys in a folder."""
    passages = [Passage("a", "red fish"), Passage("b", "blue fish")]
    for name, query in (("one", "red fish"), ("two", "blue")):
        write_beir(tmp_path / "data" / name, Given([Query("q1", query)], passages, {"q1": {"a": 1}}))
    return tmp_path / "data"


def test_several_tasks_get_a_list_each(two_tasks, capsys):
    ledger = Ledger(Path("board"))
    planned = plan_candidates(ledger, ["one", "two"], "bm25", 10, data=two_tasks)
    assert [(one.task, one.name, one.queries, one.is_there) for one in planned] == [
        ("one", "bm25-10", 1, False),
        ("two", "bm25-10", 1, False),
    ]
    assert not Path("board").exists()
    notes: list[str] = []
    made = freeze_all(ledger, ["one", "two"], "bm25", 10, data=two_tasks, note=notes.append)
    assert [str(file) for _, file in made] == ["board/candidates/one/bm25-10.json", "board/candidates/two/bm25-10.json"]
    assert ledger.settings().tasks == ["one", "two"]
    assert any(note.startswith("two: no list is longer than 1 passage") for note in notes)
    assert all(one.is_there for one in plan_candidates(ledger, ["one", "two"], "bm25", 10, data=two_tasks))


def test_where_one_of_several_tasks_is_not_at_hand_none_is_begun(two_tasks):
    with pytest.raises(BadInput, match="three"):
        freeze_all(Ledger(Path("board")), ["one", "three"], "bm25", 10, data=two_tasks)
    assert not Path("board").exists()


def test_an_error_on_the_way_says_what_was_frozen_before_it(two_tasks):
    (two_tasks / "two" / "corpus.jsonl").write_text("no JSON\n")
    with pytest.raises(BadInput, match="^two: .*corpus.jsonl:1: is not JSON.*; frozen before the error: one$"):
        freeze_all(Ledger(Path("board")), ["one", "two"], "bm25", 10, data=two_tasks)
    assert Path("board", "candidates", "one", "bm25-10.json").is_file()
    assert not Path("board", "candidates", "two").exists()


@pytest.mark.real_data
def test_a_suite_is_named_like_a_task(real_data, capsys):
    plan = ["bench", "candidates", "trec-dl", "--data", str(real_data), "--dry-run", "--board", "board"]
    assert main([*plan, "--from", str(next((real_data / "trec-dl-2019" / "runs").glob("*.trec")))]) == 0
    told = capsys.readouterr().out
    assert "would freeze trec-dl-2019/" in told and "would freeze trec-dl-2020/" in told
    assert not Path("board").exists()


# -- credit ------------------------------------------------------------------------------------------------------------

OURS = ["--credit", "owner=castorini", "--credit", "licence=llama2", "--credit", 'training_data=["msmarco-passage"]']


def test_a_first_stage_is_credited_to_its_authors_and_its_row_on_the_board_says_so(capsys):
    assert main([*FREEZE, "--from", "whole.trec", "--name", "repllama-40", "--depth", "40", *OURS]) == 0
    assert main([*FREEZE, "--retriever", "bm25", "--depth", "20"]) == 0
    assert main([*FREEZE, "--from", "part.trec", "--depth", "20"]) == 0
    add_baselines("board")
    run_board("board", slugs=["exabench/unchanged"])
    [ranking, *_] = Board.read("board").rankings
    credits = {row.candidates: row.credit for row in ranking.rows if row.is_first_stage}
    assert credits["repllama-40"] == Credit("castorini", "", "llama2", ("msmarco-passage",))
    assert (credits["bm25-20"].owner, credits["bm25-20"].training_data) == ("exabench", ())
    # Of the third list nobody said anything, and nothing is made up.
    assert credits["part-20"] == Credit() == Credit("unknown", "", "unknown", "unknown")
    assert "credit" not in described("part-20")
    assert main(["bench", "verify", "--board", "board"]) == 0


def test_a_credit_is_checked_before_anything_is_read_and_names_every_problem(folder, capsys):
    before = contents(folder)
    given = ["--credit", "owner=a b", "--credit", "link=ftp://x", "--credit", "year=2020"]
    assert main([*FREEZE, "--from", "whole.trec", *given]) == 2
    told = capsys.readouterr().err
    assert "owner must be an account or a group" in told
    assert "link must be an https:// address" in told
    assert "unknown key 'year' (its keys: owner, licence, link, training_data, description)" in told
    assert main([*FREEZE, "--from", "whole.trec", "--credit", "owner"]) == 2
    assert "--credit 'owner' must read key=value" in capsys.readouterr().err
    assert contents(folder) == before


def test_a_credit_can_be_said_later_and_the_results_take_it_over(capsys):
    frozen = [*FREEZE, "--from", "whole.trec", "--name", "repllama-40", "--depth", "40"]
    assert main(frozen) == 0
    add_baselines("board")
    run_board("board", slugs=["exabench/unchanged"])
    digest = described("repllama-40")["digest"]
    capsys.readouterr()
    assert main([*frozen, *OURS]) == 0
    assert "has a new credit: `exabench bench run` copies it" in capsys.readouterr().err
    assert described("repllama-40")["credit"]["owner"] == "castorini"
    assert described("repllama-40")["digest"] == digest
    assert main(["bench", "verify", "--board", "board"]) == 1
    run_board("board")
    assert main(["bench", "verify", "--board", "board"]) == 0
    # Without a credit it stays as it is.
    assert main(frozen) == 0
    assert described("repllama-40")["credit"]["owner"] == "castorini"


def test_a_description_leaves_out_what_is_true_of_one_machine_only(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    encoder_folder(tmp_path / "encoder")
    told = ["bench", "candidates", "mini", "--retriever", "dense", "--depth", "5", "--set", "model=encoder"]
    made = []
    for board, where in (("one", ["cpu"]), ("two", ["cpu", "cpu"])):
        cache = f"cache=vectors-{board}"
        assert main([*told, "--set", f"devices={json.dumps(where)}", "--set", cache, "--board", board]) == 0
        made.append(contents(tmp_path / board / "candidates"))
        description = json.loads((tmp_path / board / "candidates/mini/dense-5.json").read_text())
        assert description["options"] == {"model": "encoder"}
    assert made[0] == made[1]
