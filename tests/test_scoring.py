"""Several runs at once, and suites: tables of scores, means as a board makes them, comparisons of each two."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from toys import Given, write_beir, write_run

from exabench import compare, score
from exabench.cli import main
from exabench.core.errors import BadInput
from exabench.core.nouns import Passage, Query, Task
from exabench.measure.runs import read_run, run_in_order
from exabench.tasks import catalogue

QRELS = {f"q{i:02d}": {"a": 1, "b": 2} for i in range(12)}
ORDERS = {"best": ["b", "a", "c"], "good": ["a", "b", "c"], "poor": ["c", "d", "a"]}


def qrels_file(folder: Path) -> Path:
    file = folder / "qrels.txt"
    file.write_text("".join(f"{q} 0 {p} {grade}\n" for q, row in QRELS.items() for p, grade in row.items()))
    return file


def run_files(folder: Path) -> list[str]:
    files = []
    for name, order in ORDERS.items():
        rankings = {q: order if i % 3 else ["c", *order[:2]] for i, q in enumerate(QRELS)}
        files.append(str(write_run(folder / f"{name}.trec", run_in_order(name, rankings))))
    return files


def test_several_runs_are_scored_into_one_table(tmp_path, capsys):
    files = run_files(tmp_path)
    scored = ["bench", "score", *files, "--qrels", str(qrels_file(tmp_path)), "--metric", "nDCG@10", "--metric", "RR"]
    singly = [score(file, qrels=QRELS, metrics=["nDCG@10", "RR"]) for file in files]
    assert main([*scored, "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert content["runs"] == [json.loads(json.dumps(one.as_json())) for one in singly]
    assert main(scored) == 0
    header, *lines = capsys.readouterr().out.splitlines()
    assert header.split() == ["system", "nDCG@10", "RR"]
    for one, line in zip(singly, lines, strict=True):
        low, high = one.intervals["RR"]
        assert line.split()[0] == one.run and line.endswith(f" {one['RR']:.4f} [{low:.4f}, {high:.4f}]")
    assert main([*scored, "--csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [float(row["nDCG@10"]) for row in rows] == [one["nDCG@10"] for one in singly]
    assert [float(row["RR high"]) for row in rows] == [one.intervals["RR"][1] for one in singly]
    assert main([*scored, "--latex"]) == 0
    latex = capsys.readouterr().out
    assert latex.startswith("\\begin{tabular}{lrr}\n") and latex.count(r" \\") == 4
    assert f"& {singly[0]['RR']:.4f} [" in latex


def test_a_list_of_runs_gives_a_table_in_python_and_one_run_a_measurement(tmp_path):
    files = run_files(tmp_path)
    table = score(files, qrels=QRELS, metrics="RR")
    assert [one.run for one in table] == list(ORDERS) and table.metrics == ["RR"]
    assert score([files[0]], qrels=QRELS, metrics="RR")[0] == score(files[0], qrels=QRELS, metrics="RR")
    assert "best" in repr(table) and "<td>best</td>" in table._repr_html_()


def test_runs_of_one_name_are_told_apart_by_their_paths(tmp_path):
    files = [str(write_run(tmp_path / name / "run.trec", run_in_order("run", {"q00": [name]}))) for name in "ab"]
    assert [one.run for one in score(files, qrels=QRELS)] == files


def test_each_two_of_several_runs_are_compared_with_holms_correction(tmp_path, capsys):
    compared = ["bench", "compare", *run_files(tmp_path), "--qrels", str(qrels_file(tmp_path))]
    assert main([*compared, "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    pairs = [["best", "good"], ["best", "poor"], ["good", "poor"]]
    assert [one["systems"] for one in content["tasks"]] == pairs
    assert [run["run"] for run in content["runs"]] == list(ORDERS)
    assert max(one["p_holm"] / one["p"] for one in content["tasks"]) == pytest.approx(3)
    assert main(compared) == 0
    shown = capsys.readouterr()
    assert [line.split()[2:4] for line in shown.out.splitlines()[1:]] == pairs
    counts = "".join(f"{name}: 12 judged queries\n" for name in ORDERS)
    assert (
        shown.err
        == f"{counts}p (Holm) is corrected over all comparisons in this table, with suite means corrected separately\n"
    )
    assert main([*compared, "--csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [float(row["p_holm"]) for row in rows] == [one["p_holm"] for one in content["tasks"]]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (["{}/best.trec", "{}/good.tre"], "good.tre: cannot be read: there is no such run; did you mean {}/good.trec"),
        (["{}/bestt", "{}/goodd"], "bestt is not a run file, and has no result there; did you mean {}/best.trec"),
        (
            ["acme/goood", "exabench/oracle"],
            "acme/goood is not a run file, and has no result there; did you mean acme--",
        ),
        (["{}/best.trec"], "give at least two systems"),
    ],
)
def test_a_mistyped_run_or_submission_is_told_with_those_that_are_like_it(board, tmp_path, capsys, given, told):
    run_files(tmp_path)
    arguments = [text.format(tmp_path) for text in given]
    more = ["--qrels", str(qrels_file(tmp_path))] if given[0].endswith(".trec") else []
    assert main(["bench", "compare", *arguments, *more, "--board", str(board)]) == 2
    shown = capsys.readouterr()
    assert told.format(tmp_path) in shown.err and shown.out == ""


def test_several_submissions_are_compared_each_two_of_them(board, capsys):
    three = ["exabench/oracle", "exabench/reversed", "acme/good"]
    assert main(["bench", "compare", *three, "--board", str(board), "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert len(content["tasks"]) == 3 and len(content["runs"]) == 3


# -- suites ------------------------------------------------------------------------------------------------------------

SUITE = {"one": 4, "two": 2, "three": 2}


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three small tasks that are a suite: `alone`, and `both`, which is the mean of two."""
    for name, count in SUITE.items():
        ids = [f"{name}{i}" for i in range(count)]
        queries = [Query(id, "text") for id in ids]
        write_beir(tmp_path / "data" / name, Given(queries, [Passage("a", "text")], {id: {"a": 1} for id in ids}))
    known = catalogue.tasks()
    for name in SUITE:
        monkeypatch.setitem(known, name, Task(name, name))
    monkeypatch.setitem(known, "both", Task("both", "both", members=("two", "three")))
    monkeypatch.setitem(catalogue.suites(), "toys", ("one", "both"))
    catalogue.aliases.cache_clear()
    yield tmp_path / "data"
    catalogue.aliases.cache_clear()


def suite_folder(folder: Path, rank: int, name: str = "{}.trec") -> Path:
    """A run for each task that finds the answer at a rank, and never for the first query of task one."""
    for task, count in SUITE.items():
        rankings = {}
        for i in range(count):
            order = [f"x{place}" for place in range(9)]
            if task != "one" or i:
                order[rank - 1] = "a"
            rankings[f"{task}{i}"] = order
        write_run(folder / name.format(task), run_in_order("run", rankings))
    return folder


@pytest.mark.parametrize(("task", "lists"), [("toys", ["one", "two", "three"]), ("both", ["two", "three"])])
def test_a_suite_and_a_mean_of_tasks_get_a_list_for_each_of_their_tasks(data, tmp_path, capsys, task, lists):
    frozen = ["bench", "candidates", task, "--depth", "1", "--data", str(data), "--board", str(tmp_path / "board")]
    assert main([*frozen, "--json"]) == 0
    assert [one["task"] for one in json.loads(capsys.readouterr().out)["lists"]] == lists


def test_a_suite_is_scored_from_a_folder_or_from_a_run_for_each_task(data, tmp_path, capsys):
    folder = suite_folder(tmp_path / "mine", 2)
    listed = [f"{name}={folder}/{name}.trec" for name in SUITE]
    for given in ([str(folder)], listed):
        scored = ["bench", "score", *given, "--task", "toys", "--data", str(data), "--metric", "RR"]
        assert main([*scored, "--json"]) == 0
        content = json.loads(capsys.readouterr().out)
        values = [(run["task"], run["metrics"]["RR"]) for run in content["runs"]]
        assert values == [
            ("one", 0.375),
            ("two", 0.5),
            ("three", 0.5),
        ]
        [mean] = content["means"]
        # Task both counts once, whatever its number of queries.
        assert mean["metrics"]["RR"] == pytest.approx((0.375 + 0.5) / 2)
        low, high = mean["intervals"]["RR"]
        assert low < mean["metrics"]["RR"] < high
        assert main(scored) == 0
        last = capsys.readouterr().out.splitlines()[-1]
        assert "toys (mean of 2)" in last and " 0.4375 [" in last


def test_files_of_a_suite_may_have_other_words_between_points_in_their_names(data, tmp_path):
    folder = suite_folder(tmp_path / "stored", 1, "{}.bm25-100.trec")
    table = score(folder, task="toys", data=data, metrics="RR")
    assert [one.run for one in table] == ["stored"] * 3 and table.means[0].metrics["RR"] == (0.75 + 1) / 2
    runs = {name: read_run(folder / f"{name}.bm25-100.trec") for name in SUITE}
    assert score(runs, task="toys", data=data, metrics="RR").means[0].metrics == table.means[0].metrics
    assert score(runs, task="Toy-s", data=data, metrics="RR").means[0].suite.name == "toys"  # as NanoBEIR is nano-beir


def test_two_folders_are_compared_on_each_task_and_by_their_means(data, tmp_path, capsys):
    folders = [suite_folder(tmp_path / "first", 1), suite_folder(tmp_path / "second", 2)]
    found = compare(*folders, task="toys", data=data, metric="RR")
    assert [one.task for one in found] == ["one", "two", "three", "toys (mean of 2)"]
    assert (found[-1].a, found[-1].b) == (0.875, 0.4375)
    assert found[-1].test.difference == pytest.approx(0.4375) and found[-1].test.queries == 8
    assert main(["bench", "compare", *map(str, folders), "--task", "toys", "--data", str(data), "--metric", "RR"]) == 0
    assert "toys (mean of 2)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (
            ["{}/one.trec"],
            "toys stands for 3 tasks, and {}/one.trec is one run; give a folder with a run for each, as in",
        ),
        (["{}/absent"], "absent: there is no such folder of runs on toys"),
        (["{}"], "contains no run for two, three, and toys is the mean of all its tasks"),
        (["one={}/one.trec", "two={}/one.trec"], "no run is given for three"),
        (["one={}/one.trec", "four={}/one.trec"], "four is not a task of toys; choose from: one, two, three"),
        (["one={}/one.trec", "one={}/one.trec"], "one is given two runs; keep one"),
        (["one={}/one.trec", "{}/one.trec"], "give runs, or TASK=RUN for each task of one system, not both"),
        (
            ["one={}/one.trec", "two={}/one.tre", "three={}/one.trec"],
            "there is no such run; did you mean",
        ),
    ],
)
def test_what_does_not_make_a_suite_is_refused_before_anything_is_read(data, tmp_path, capsys, given, told):
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "one.trec").write_text("this is not a run, and would be refused if it were read")
    arguments = [text.format(tmp_path / "runs") for text in given]
    assert main(["bench", "score", *arguments, "--task", "toys", "--data", str(data)]) == 2
    assert told.format(tmp_path / "runs") in capsys.readouterr().err


@pytest.mark.parametrize("suite", ["cqadupstack", "beir-18", "trec-dl"])
def test_one_run_for_a_suite_of_the_table_is_refused_with_how_to_give_it(tmp_path, capsys, suite):
    run = write_run(tmp_path / "run.trec", run_in_order("run", {"q": ["a"]}))
    for command in (["score", str(run)], ["compare", str(run), str(run)]):
        assert main(["bench", *command, "--task", suite]) == 2
        assert f"{suite} stands for " in capsys.readouterr().err


def test_a_folder_for_a_single_task_is_refused(tmp_path):
    with pytest.raises(BadInput, match="is a folder; name a run file, or give a suite with --task"):
        score(tmp_path, task="mini")


@pytest.mark.real_data
def test_a_suite_of_real_tasks_has_the_mean_of_its_tasks(real_data, tmp_path):
    files = {}
    for name in ("trec-dl-2019", "trec-dl-2020"):
        files[name] = real_data / name / "runs" / "bm25.trec"
    table = score(files, task="trec-dl", data=real_data)
    assert table.means[0].metrics["nDCG@10"] == pytest.approx(sum(one["nDCG@10"] for one in table) / 2, abs=1e-12)


def test_latex_has_the_headline_of_the_task_and_a_metric_that_was_asked_for(data, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(catalogue.tasks(), "one", Task("one", "one", headline="RR@10"))
    runs = [str(suite_folder(tmp_path / name, rank) / "one.trec") for name, rank in (("a", 1), ("b", 2))]
    for more, metric, values in (
        ([], "RR@10", ("0.7500", "0.3750")),
        (["--metric", "P@2"], "P@2", ("0.3750", "0.3750")),
        (["--metric", "ndcg_cut_10"], "nDCG@10", ("0.7500", "0.4732")),
    ):
        for form in ([], ["--latex"], ["--csv"]):
            assert main(["bench", "compare", *runs, "--task", "one", "--data", str(data), *more, *form]) == 0
            shown = capsys.readouterr().out
            assert metric in shown and (form == ["--csv"] or all(value in shown for value in values))


def test_runs_by_task_without_a_suite_and_no_run_at_all_are_refused(tmp_path, capsys):
    [file, *_] = run_files(tmp_path)
    assert main(["bench", "score", f"mini={file}", "--task", "mini"]) == 2
    assert "runs are given by task (mini), which only a suite takes: name one with --task" in capsys.readouterr().err
    with pytest.raises(BadInput, match="no run is given"):
        score([], qrels=QRELS)
