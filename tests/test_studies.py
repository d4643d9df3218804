"""`exabench study`: cells are run once, go on after a kill, and are compared as the formulas say."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fits
import numpy as np
import pytest
import scipy.stats
from faults import killed_at_each_call
from models import classifier_folder
from toys import contents

import exabench
from exabench.bench.ledger import Ledger
from exabench.bench.study_reports import MACHINERY, MEAN, NOT_AVAILABLE, read_study_report
from exabench.cli import main
from exabench.core.errors import BadInput
from exabench.core.recipe import recipes
from exabench.data.building import Sources, data_recipe, plan_build
from exabench.measure.statistics import holm
from exabench.studies import read_study, report_study, run_study
from exabench.studies.estimate import estimate_study
from exabench.studies.page import builds_of

PAGE = """
title = "How long the lists should be"
question = "Do longer lists teach more?"
train = "toy.toml"
seeds = [1, 2]
baseline = "passages=2"
untrained = "untrained"
task = [{ task = "mini", depth = 5 }, { task = "mini", depth = 5, metric = "RR@10" }]

[[axis]]
name = "passages"
key = "train.data.passages"
values = [2, 4]
"""
FIGURE = '[[published]]\nsetting = "passages=4"\ntask = "mini"\nvalue = 0.5\nsystem = "Toy"\nsource = "a paper"\n'


@pytest.fixture
def page(tmp_path: Path) -> Path:
    """A study of two lengths of lists and two seeds, over a training of two steps."""
    release = fits.write_release(tmp_path / "release", {"lists": ("listwise", {"train": fits.listwise(sizes=(4, 5))})})
    data = [{"release": str(release), "table": "lists"}]
    start = classifier_folder(tmp_path / "start")
    fits.recipe(tmp_path / "toy.toml", data, model=str(start), steps={"epochs": 1, "groups": 4})
    file = tmp_path / "lengths.toml"
    file.write_text(PAGE)
    return file


def studied(page: Path, to: Path, **changes: Any) -> Path:
    """The study run in a folder, and reported."""
    study = read_study(page, **changes)
    run_study(study, to, devices=["cpu"])
    report_study(study, to)
    return to


def outcome(to: Path) -> dict[str, bytes]:
    """The report, and every result, run and model of a study's folder."""
    kept = {}
    for name, data in contents(to).items():
        if name == "report.json" or "/results/" in name or "/runs/" in name or name.endswith("model.safetensors"):
            kept[name] = data
    return kept


def refused(capsys: pytest.CaptureFixture[str]) -> str:
    """The one line that was said."""
    told = capsys.readouterr()
    lines = [line for line in told.err.splitlines() if line.startswith("exabench: ")]
    assert len(lines) == 1 and "Traceback" not in told.err and told.out == ""
    return lines[0]


def test_a_study_runs_each_cell_once_and_reports_on_all(page, tmp_path, capsys):
    command = ["study", "run", str(page), "--to", str(tmp_path / "study"), "--device", "cpu", "--json"]
    assert main([*command, "--only", "passages=4@2"]) == 0
    assert json.loads(capsys.readouterr().out)["run"] == ["passages=4@2"]
    assert main(["study", "report", str(page), "--to", str(tmp_path / "study")]) == 2
    assert "4 cells are not done: passages=2@1, " in refused(capsys)
    assert main(command) == 0
    assert json.loads(capsys.readouterr().out)["run"] == ["passages=2@1", "passages=2@2", "passages=4@1", "untrained"]
    assert main(command) == 0
    assert json.loads(capsys.readouterr().out)["run"] == []
    assert not list((tmp_path / "study").glob("cells/*/training/checkpoints"))

    assert main(["study", "report", str(page), "--to", str(tmp_path / "study"), "--format", "csv"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("setting,task,candidates,metric,queries,seeds,value,low,high,to_baseline,")
    assert len(lines) == 1 + 2 * 4 and all(NOT_AVAILABLE in line for line in lines[1:])


def test_a_weight_for_the_first_stage_is_part_of_a_cell(page, tmp_path):
    page.write_text(PAGE.replace("train.data.passages", "train.interpolate").replace("[2, 4]", "[0.2, 1.0]"))
    overrides = ["baseline=passages=1.0", "seeds=[1]"]
    to = studied(page, tmp_path / "study", overrides=overrides)
    cells = {str(cell): to / "cells" / cell.key for cell in read_study(page, overrides=overrides).cells}
    models = {name: (folder / "training/model/model.safetensors") for name, folder in cells.items()}
    assert models["passages=0.2@1"].read_bytes() == models["passages=1.0@1"].read_bytes()
    runs = {}
    for name, folder in cells.items():
        [first, _] = sorted((folder / "runs").iterdir())
        runs[name] = exabench.read_run(first)
    assert runs["passages=0.2@1"] != runs["passages=1.0@1"]
    with pytest.raises(BadInput, match='interpolate = "fit" is done by a training'):
        read_study(page, overrides=["set={'train.interpolate' = 'fit', 'train.dev' = {task = 'mini'}}"])


def test_two_studies_of_one_page_give_the_same_bytes_and_a_killed_one_ends_as_they_do(page, tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # of the workers, as here: a second thread would move the last bits
    whole = outcome(studied(page, tmp_path / "whole"))
    assert len(whole) == 1 + 5 * 2 * 2 + 4
    killed = tmp_path / "killed"
    states = set()
    for _ in killed_at_each_call(lambda: studied(page, killed), numbers=(4, 30, 60, 90, 120)):
        assert not (killed / "report.json").exists()
        states.add(len(list(killed.glob("cells/*/results/*.json"))))
    assert len(states) > 2, "it was killed before, between and after cells"
    assert outcome(studied(page, killed)) == whole
    study = read_study(page)
    run_study(study, tmp_path / "workers", devices=["cpu"], workers=2)
    report_study(study, tmp_path / "workers")
    assert outcome(tmp_path / "workers") == whole


def test_what_a_page_changes_alone_is_run(page, tmp_path):
    to = tmp_path / "study"
    study = read_study(page)
    assert len(run_study(study, to, devices=["cpu"])) == 5
    before = contents(to)
    page.write_text(page.read_text().replace("values = [2, 4]", "values = [2, 3]"))
    changed = read_study(page)
    assert list(map(str, run_study(changed, to, devices=["cpu"]))) == ["passages=3@1", "passages=3@2"]
    assert before.items() <= contents(to).items()
    # Another task is measured with the models that are there.
    page.write_text(page.read_text().replace("depth = 5, metric", "depth = 6, metric"))
    weights = {file: file.stat().st_mtime_ns for file in to.glob("cells/*/training/model/model.safetensors")}
    assert len(run_study(read_study(page), to, devices=["cpu"])) == 5
    assert weights == {file: file.stat().st_mtime_ns for file in weights}
    assert main(["study", "run", str(page), "--to", str(to), "--set", "seeds=[1, 2, 1]"]) == 2


def test_a_report_is_what_the_formulas_give(page, tmp_path):
    page.write_text(page.read_text() + FIGURE)
    to = tmp_path / "study"
    report = exabench.study(page, to, devices=["cpu"])
    assert report == read_study_report(to / "report.json")
    study = read_study(page)
    values = {}
    for setting, cells in study.settings.items():
        of_seeds = []
        for cell in cells:
            for file in (to / "cells" / cell.key / "results").glob("*.json"):
                result = json.loads(file.read_text())
                if result["metric"] == "nDCG@10":
                    of_seeds.append([result["queries"][query] for query in sorted(result["queries"])])
        values[setting] = np.array(of_seeds)
    first = [row for row in report.rows if row.metric == "nDCG@10"]
    assert [row.setting for row in first] == ["first stage: bm25", "passages=2", "passages=4", "untrained"]
    for row in first[1:]:
        assert row.value == pytest.approx(values[row.setting].mean())
        assert row.by_seed == pytest.approx(values[row.setting].mean(axis=1))
        assert row.low < row.value < row.high
    assert len(first[1].by_seed) == 2 and len(first[3].by_seed) == 1
    assert (first[2].published, first[2].difference) == (0.5, first[2].value - 0.5)

    assert [(one.a, one.b) for one in report.comparisons[:2]] == [
        ("passages=4", "passages=2"),
        ("untrained", "passages=2"),
    ]
    for one in report.comparisons[:2]:
        expected = scipy.stats.ttest_rel(values[one.a].mean(axis=0), values[one.b].mean(axis=0))
        assert one.p == pytest.approx(expected.pvalue)
    assert [one.p_holm for one in report.comparisons] == pytest.approx(holm([one.p for one in report.comparisons]))
    undecided = [one for one in report.comparisons if one.p_holm >= 0.05]
    assert undecided and all(one.needed > one.queries for one in undecided)
    assert all("cannot be decided; about " in one.verdict for one in undecided)


def test_several_tasks_of_one_metric_have_a_mean(page, tmp_path):
    page.write_text(page.read_text().replace('depth = 5, metric = "RR@10"', "depth = 4"))
    report = exabench.study(page, tmp_path / "study", devices=["cpu"], overrides=["seeds=[1]"])
    assert [row.task for row in report.rows if row.setting == "untrained"] == [
        "mini (bm25-5, nDCG@10)",
        "mini (bm25-4, nDCG@10)",
        MEAN,
    ]
    *single, mean = [row for row in report.rows if row.setting == "untrained"]
    assert mean.value == pytest.approx(np.mean([row.value for row in single]))


def test_a_study_of_the_machinery_gives_no_p_value(page, tmp_path, capsys):
    page.write_text('checks = "machinery"\n' + page.read_text())
    to = studied(page, tmp_path / "study", overrides=["seeds=[1]"])
    report = read_study_report(to / "report.json")
    assert all((one.p, one.p_holm, one.low, one.needed) == (None,) * 4 for one in report.comparisons)
    for form in ("text", "markdown", "csv", "latex", "json"):
        command = ["study", "report", str(page), "--to", str(to), "--set", "seeds=[1]", "--format", form]
        assert main(command) == 0
        told = capsys.readouterr().out
        assert "Holm" not in told and "p_holm,," not in told
        assert form in ("csv", "latex", "json") or MACHINERY in told


def test_the_mini_study_says_what_it_would_run_and_loads_no_torch(tmp_path):
    program = (
        "import sys\nfrom exabench.cli import main\n"
        "status = main(['study', 'run', 'mini-losses', '--to', 'study', '--dry-run', '--json'])\n"
        "assert 'torch' not in sys.modules and 'transformers' not in sys.modules\nsys.exit(status)"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True)
    told = json.loads(done.stdout)
    assert [cell["state"] for cell in told["cells"]] == ["new"] * 5
    assert [cell["steps"] for cell in told["cells"]] == [2, 2, 2, 2, 0]
    assert len(told["builds"]) == 1 and told["builds"][0]["prompts"] > told["builds"][0]["items"] == 100
    assert list(tmp_path.iterdir()) == []


def test_hours_are_those_of_the_rate_that_a_page_gives(page, tmp_path):
    study = read_study(page, ['rate={groups_per_second = 0.5, device = "a CPU", source = "a test"}'])
    found = estimate_study(study, tmp_path / "study", only=["passages=4@2", "untrained"])
    assert [(cell.cell, cell.groups, cell.steps) for cell in found.cells] == [
        ("passages=4@2", 8, 2),
        ("untrained", 0, 0),
    ]
    assert found.cells[0].hours == pytest.approx(2 * 4 / 0.5 / 3600) and "a CPU (a test)" in found.rate
    assert estimate_study(read_study(page), tmp_path / "study").cells[0].hours is None


def test_a_study_under_a_name_that_no_page_could_have_is_refused_before_it_is_written(page, tmp_path):
    odd = page.rename(tmp_path / "two words.toml")
    study = read_study(odd, ["seeds=[1]"])
    run_study(study, tmp_path / "study", devices=["cpu"])
    with pytest.raises(BadInput, match="cannot be reported: name"):
        report_study(study, tmp_path / "study")
    assert not (tmp_path / "study" / "report.json").exists()


def test_cells_share_the_build_of_their_data_and_know_it_by_its_fingerprint(tmp_path, page):
    start = tmp_path / "start"
    data = [{"release": "nowhere/nothing", "table": "scored"}]
    fits.recipe(tmp_path / "toy.toml", data, model=str(start), licence="cc0-1.0", steps={"steps": 1, "groups": 4})
    changes = '[[axis]]\nname = "k1"\nkey = "data.options.documents"\nvalues = [3, 4]\n'
    text = PAGE.partition("[[axis]]")[0].replace("passages=2", "k1=3").replace("seeds = [1, 2]", "seeds = [1]")
    page.write_text('data = ["mini-scored"]\nset = { "data.options.queries.count" = 20 }\n' + text + changes)
    study = read_study(page)
    builds = builds_of(study.cells)
    assert len(builds) == 2
    to = studied(page, tmp_path / "study")
    assert sorted(path.name for path in (to / "builds").iterdir()) == sorted(builds)
    report = read_study_report(to / "report.json")
    assert [(cell.data[0].name, cell.data[0].table) for cell in report.cells[:2]] == [("exabench-mini", "scored")] * 2
    assert report.cells[0].data[0].content != report.cells[1].data[0].content


def test_a_model_that_is_moved_changes_no_cell_and_one_of_other_weights_changes_all(page, tmp_path):
    toy = page.with_name("toy.toml")
    before = [cell.key for cell in read_study(page).cells]
    (tmp_path / "start").rename(tmp_path / "moved")
    toy.write_text(toy.read_text().replace(str(tmp_path / "start"), str(tmp_path / "moved")))
    assert [cell.key for cell in read_study(page).cells] == before
    classifier_folder(tmp_path / "moved", seed=5)
    assert not {cell.key for cell in read_study(page).cells} & set(before)


CASCADE = """
[[axis]]
name = "taught"

[axis.settings.teacher]

[axis.settings.student]
data = ["mini-scored"]
"train.data.table" = "scored"
"data.options.queries.count" = 10

[axis.settings.student."data.options.retrievers"]
taught = { part = "two_stage", first_stage = "bm25", reranker = { part = "cross_encoder", model = "setting:teacher" } }
"""


def test_the_model_of_a_setting_makes_the_data_of_another_one(page, tmp_path):
    text = PAGE.partition("[[axis]]")[0].replace("passages=2", "student")
    page.write_text(text + CASCADE)
    study = read_study(page)
    cells = {str(cell): cell for cell in study.cells}
    assert [str(cell) for cell in cells["student@2"].needs] == ["teacher@2"]
    assert len(builds_of(study.cells)) == 2, "each seed learns from the teacher of its seed"
    to = tmp_path / "study"
    assert list(map(str, run_study(study, to, only=["student@1"], devices=["cpu"]))) == ["teacher@1", "student@1"]
    assert run_study(study, to, only=["student@1"], devices=["cpu"]) == []
    # Another teacher is another student.
    teacher = "[axis.settings.teacher]\n"
    page.write_text(page.read_text().replace(teacher, f'{teacher}"train.steps.rate" = 0.01\n'))
    changed = {str(cell): cell for cell in read_study(page).cells}
    assert changed["student@1"].key != cells["student@1"].key


def change(old: str, new: str) -> Callable[[str], str]:
    return lambda text: text.replace(old, new)


MISTAKES = {
    "a key too many": (change("seeds", "sedes = 1\nseeds"), "has an unknown key 'sedes'; did you mean seeds"),
    "no baseline": (change('baseline = "passages=2"', ""), "lacks the key 'baseline'"),
    "another baseline": (change("passages=2", "passages=9"), "unknown setting 'passages=9'; did you mean passages=4"),
    "no recipe": (change("toy.toml", "tyo"), "setting 'passages=2': unknown train recipe 'tyo'"),
    "no key of a recipe": (change("train.data.passages", "passages"), "axis 'passages': 'passages' is not a key of a"),
    "a key that a recipe has not": (change("data.passages", "data.pasages"), "unknown key 'pasages' in data[0]"),
    "a value of another type": (change("[2, 4]", '[2, "x"]'), "data[0].passages: expected `int`, got `str`"),
    "two seeds alike": (change("[1, 2]", "[1, 1]"), "seeds: a seed is there twice"),
    "no task": (change('"mini", depth = 5 }', '"mini", depth = 0 }'), "depth"),
    "no metric": (change("RR@10", "RRR@10"), "task mini: unknown metric"),
    "two settings alike": (change("[2, 4]", "[2, 2]"), "two settings are named 'passages=2'"),
    "both kinds of an axis": (change("values", "settings.a.train = 'x'\nvalues"), "either a key with values, or set"),
    "an axis of years": (change("[2, 4]", str(list(range(600)))), "has 1,200 cells; at most 1,000"),
    "a figure of another task": (
        lambda text: text + FIGURE.replace('"mini"', '"minni"'),
        "unknown task of the study 'minni'; did you mean mini?",
    ),
    "a figure of another metric": (
        lambda text: text + FIGURE + 'metric = "nDCG@5"\n',
        "unknown metric of mini 'nDCG@5'; did you mean nDCG@10?",
    ),
    "the model of a setting that is not above": (
        change(
            "train =",
            'data = ["mini-scored"]\n'
            "set = { 'data.options.reranker' = { part = 'cross_encoder', model = 'setting:passages=2' } }\ntrain =",
        ),
        "setting 'passages=2': unknown setting above it 'passages=2'",
    ),
    "a recipe of data that no one reads": (
        change("train =", 'data = ["mini-scored"]\ntrain ='),
        "data recipe mini-scored makes the table scored, but training recipe toy reads lists",
    ),
}


@pytest.mark.parametrize("what", MISTAKES)
def test_a_bad_page_is_told_in_one_line_with_its_file(what, page, tmp_path, capsys):
    changed, said = MISTAKES[what]
    text = changed(page.read_text())
    assert text != page.read_text()
    page.write_text(text)
    before = contents(tmp_path)
    assert main(["study", "run", str(page), "--to", str(tmp_path / "study")]) == 2
    line = refused(capsys)
    assert said in line and str(page) in line
    assert contents(tmp_path) == before


def test_an_unknown_cell_or_board_is_told_before_anything_is_run(page, tmp_path, capsys):
    assert main(["study", "run", str(page), "--to", str(tmp_path / "study"), "--only", "passages=5"]) == 2
    assert "unknown cell 'passages=5'; did you mean passages=4" in refused(capsys)
    assert main(["study", "run", "mini-loses"]) == 2
    assert "unknown study recipe 'mini-loses'; did you mean mini-losses" in refused(capsys)
    assert not (tmp_path / "study").exists()


def test_cells_over_different_lists_are_not_compared(page, tmp_path):
    to = studied(page, tmp_path / "study", overrides=["seeds=[1]"])
    study = read_study(page, ["seeds=[1]"])
    for file in (to / "cells" / study.cells[1].key / "results").iterdir():
        file.write_text(file.read_text().replace('"candidates": "sha256:', '"candidates": "sha256:0'))
    with pytest.raises(BadInput, match=r"cell passages=4@1 reranked another list of mini than the first one; remove"):
        report_study(study, to)


def test_every_study_that_is_shipped_can_be_read_and_is_listed(capsys):
    assert main(["study", "list", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told.keys() == recipes("study").keys() >= {"losses", "mini-losses"}
    for name in told:
        study = read_study(name)
        assert study.page.baseline in study.settings and len(study.settings) > 1


def test_every_small_form_on_the_embedded_collection_is_planned_without_a_network(tmp_path, monkeypatch):
    def no_network(host: str, *_: object, **__: object) -> None:
        raise OSError(f"no network for {host}")

    monkeypatch.setattr(socket, "getaddrinfo", no_network)
    small = []
    for name in recipes("study"):
        study = read_study(name)
        if study.page.checks != "machinery":
            continue
        small.append(name)
        found = estimate_study(study, tmp_path / "study", data=tmp_path)
        assert [cell.cell for cell in found.cells] == list(map(str, study.cells))
        assert all(build.prompts is not None or build.why for build in found.builds)
        assert all(cell.steps is not None and cell.steps <= 2 for cell in found.cells)
    assert len(small) == 6
    assert list(tmp_path.iterdir()) == []


def test_a_small_form_is_run_and_reported_without_a_network(tmp_path, capsys):
    to = ["exaranker-open-small", "--to", str(tmp_path / "study"), "--set", "task=[{task = 'mini', depth = 5}]"]
    assert main(["study", "run", *to, "--device", "cpu"]) == 0
    capsys.readouterr()
    assert main(["study", "report", *to, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [row["setting"] for row in told["rows"][1:]] == ["pairs=120", "pairs=60", "MiniLM, untrained"]
    trained = [row["by_seed"] for row in told["rows"][1:]]
    assert trained[0] != trained[1] != trained[2]


def test_tokens_of_prompts_are_counted_though_their_teacher_is_not_here(tmp_path, page):
    data = [{"release": "nowhere/nothing", "table": "explanations", "explanations": False}]
    fits.recipe(page.with_name("toy.toml"), data, licence="cc0-1.0", loss={"part": "pointwise"})
    text = PAGE.partition("[[axis]]")[0].replace("passages=2", "untrained")
    changes = '"data.options.pairs.count" = 20, "data.teacher" = { part = "openai", model = "acme/large" }'
    page.write_text(f'data = ["mini-explanations"]\nset = {{ {changes} }}\n{text}')
    [build] = estimate_study(read_study(page), tmp_path / "study").builds
    assert (build.items, build.prompts, build.answered) == (20, 20, None)
    # As many as a build says whose teacher is here and was asked nothing yet.
    recipe = data_recipe("mini-explanations", ["options.pairs.count=20"])
    planned = plan_build(recipe, tmp_path / "build", sources=Sources(replies=tmp_path / "replies.sqlite"))
    assert build.tokens_to_read == planned["tokens to read"] > 20 * 100
    assert build.tokens_to_write == 20 * 256


def test_a_report_on_a_board_is_read_strictly(page, tmp_path, board):
    study = read_study(page, ["seeds=[1]"])
    to = studied(page, tmp_path / "study", overrides=["seeds=[1]"])
    with pytest.raises(BadInput, match="is not a leaderboard"):
        report_study(study, to, board=tmp_path / "nowhere")
    report_study(study, to, board=board)
    ledger = Ledger(board)
    file = ledger.study_report("lengths")
    assert file.read_bytes() == (to / "report.json").read_bytes()
    assert main(["board", "check", "--board", str(board)]) == 0
    good = json.loads(file.read_text())
    for changed, said in (
        ({"extra": 1}, "has an unknown key 'extra'"),
        ({"checks": "maybe"}, "checks"),
        ({"baseline": "other"}, "no row of this setting"),
        ({"rows": [*good["rows"], good["rows"][0]]}, "two rows on one task"),
        ({"rows": [{**good["rows"][0], "value": 7}]}, "rows"),
        ({"name": "other"}, "in the folder of another study"),
    ):
        file.write_text(json.dumps({**good, **changed}))
        with pytest.raises(BadInput, match=said):
            ledger.study_reports()
    shutil.rmtree(file.parent)
    assert ledger.study_reports() == []


def test_a_board_has_a_page_for_a_study_that_links_to_models_it_has(page, tmp_path, board):
    exabench.render(exabench.Board.read(board), tmp_path / "site")
    front = (tmp_path / "site/index.html").read_text()
    assert not list((tmp_path / "site").glob("studies*")) and "Studies" not in front
    study = read_study(page, ["seeds=[1]"])
    to = studied(page, tmp_path / "study", overrides=["seeds=[1]"])
    model = to / "cells" / study.cells[0].key / "training" / "model"
    exabench.submit(model / "submission.toml", [], board)
    report = report_study(study, to, board=board)
    exabench.render(exabench.Board.read(board), tmp_path / "site")
    text = (tmp_path / "site/studies/lengths.html").read_text()
    assert "Do longer lists teach more?" in text and text.count("<svg") == 1 and "p (Holm)" in text
    for row in report.rows:
        assert f"<bdi>{row.setting}</bdi>" in text and f"{100 * row.value:.1f}" in text
    slug = f"local--{study.cells[0].recipe.name}"
    assert text.count(f'href="../models/{slug}.html"') == 1 and (tmp_path / f"site/models/{slug}.html").is_file()
    assert 'href="studies/index.html"' in (tmp_path / "site/models/index.html").read_text().replace("../", "")
    assert "studies/lengths.html" in (tmp_path / "site/studies/index.html").read_text()


def test_the_page_of_a_study_of_the_machinery_says_so_and_has_no_p_value(page, tmp_path, board):
    page.write_text('checks = "machinery"\n' + page.read_text())
    to = studied(page, tmp_path / "study", overrides=["seeds=[1]"])
    report_study(read_study(page, ["seeds=[1]"]), to, board=board)
    exabench.render(exabench.Board.read(board), tmp_path / "site")
    text = (tmp_path / "site/studies/lengths.html").read_text()
    assert MACHINERY in text and "Holm" not in text and "not available" in text


def test_a_figure_that_a_recipe_reproduces_stands_beside_its_setting():
    study = read_study("twolar-table5")
    found = {(setting, task.task): figure.value for (setting, task), figure in study.figures.items() if task}
    assert found["TWOLAR", "scifact"] == 0.679 and found["docT5query", "trec-news"] == 0.44
    assert study.figures["TWOLAR", None].value == 0.465 and len(study.figures) == 11 * 9
    changed = read_study("twolar-table5", ['set={"train.steps.rate" = 1e-4}'])
    assert {task for _, task in changed.figures} == {None}, "a changed training reproduces no figure of a task"
