"""Verification recomputes every number, and nothing on a board can be edited without its saying so."""

from __future__ import annotations

import dataclasses
import gzip
import json
import shutil
import zlib
from collections.abc import Iterator

import pytest
from hub_client import write_release
from toys import contents
from trained import model_folder

from exabench.bench.evaluation import run_board
from exabench.bench.excerpts import build_excerpts, write_excerpts
from exabench.bench.ledger import Ledger, read_result
from exabench.bench.submissions import TRAINING_FILES, submission_text
from exabench.bench.submitting import submit
from exabench.bench.verification import check, verify
from exabench.core.errors import BadInput
from exabench.core.files import digest_of, gzip_bytes, json_text
from exabench.core.nouns import BoardChange, Usage
from exabench.models.costs import cost_of
from exabench.tasks.catalogue import task
from exabench.tasks.collections import open_collection

RESULT = "results/acme--good/mini.bm25-20.json"
RUN = "runs/acme--good/mini.bm25-20.trec.gz"
LIST = "candidates/mini/bm25-20.trec.gz"


def forge(board, change) -> None:
    """Change a result and give it the digest that fits."""
    values = json.loads((board / RESULT).read_text())
    del values["digest"]
    change(values)
    (board / RESULT).write_text(json_text(values | {"digest": digest_of(values)}))


def verdicts(board) -> dict[str, str]:
    return {cell.metric: cell.verdict for cell in verify(board, "acme--good")}


def test_a_good_board_holds(board):
    cells = list(verify(board))
    files = [cell.metric for cell in cells if cell.submission == "-"]
    assert len(cells) == 6 * 9 + len(files)  # seven metrics, everything else, and the change log
    assert len(files) == 1 + 6 + 1 + 1  # settings, submissions, a list, the change log
    assert all(cell.holds for cell in cells), [cell for cell in cells if not cell.holds]
    assert check(board) == []


def test_a_forged_mean_is_told(board):
    forge(board, lambda v: v["measurement"]["metrics"].update({"nDCG@10": 0.99}))
    found = verdicts(board)
    assert found["nDCG@10"].startswith("FAIL: off by 0.")
    assert found["RR@10"] == "OK"


def test_a_mean_forged_by_very_little_is_told(board):
    value = json.loads((board / RESULT).read_text())["measurement"]["metrics"]["nDCG@10"]
    forge(board, lambda v: v["measurement"]["metrics"].update({"nDCG@10": value + 1e-4}))
    assert verdicts(board)["nDCG@10"] == "off by 0.000100"
    assert not all(cell.holds for cell in verify(board))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda v: v["measurement"]["per_query"]["nDCG@10"].update(q03=0.123456), "off by 0.0000"),
        (lambda v: v["measurement"]["per_query"]["nDCG@10"].pop("q03"), "FAIL: other queries"),
        (lambda v: v["measurement"]["per_query"].pop("nDCG@10"), "FAIL: other queries"),
        (lambda v: v["measurement"]["per_query"]["nDCG@10"].update(extra=1.0), "FAIL: other queries"),
    ],
)
def test_a_forged_query_is_told(board, change, told):
    forge(board, change)
    assert verdicts(board)["nDCG@10"].startswith(told)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda v: v.update(run_digest="sha256:0"), "is not the run that the result was made from"),
        (lambda v: v["candidates"].update(recall=1.0), "another candidate list"),
        (lambda v: v["measurement"]["convention"].update(relevance_threshold=3), "does not hold a result"),
        (lambda v: v["candidates"].update(name="bm25-99"), "lies under another name than its content says"),
        (lambda v: v["candidates"].update(task="no-task"), "lies under another name than its content says"),
        (lambda v: v.update(submission="acme--other"), "lies under another name than its content says"),
    ],
)
def test_a_result_of_other_things_than_the_filed_ones_fails(board, change, told):
    forge(board, change)
    [cell] = list(verify(board, "acme--good"))
    assert cell.verdict.startswith("FAIL: ")
    assert told in cell.verdict
    assert (cell.filed, cell.found, cell.holds) == (None, None, False)


@pytest.mark.parametrize(
    ("change", "where"),
    [
        (lambda v: v.update(state="reproduced"), "state"),
        (lambda v: v.update(qrels_digest="sha256:0"), "qrels_digest"),
        (lambda v: v["ceiling"].update({"nDCG@10": 1.0}), "ceiling.nDCG@10"),
        (lambda v: v["first_stage"].update({"nDCG@10": 0.1}), "first_stage.nDCG@10"),
        (lambda v: v["gain"].update(p=0.0001), "gain.p"),
        (lambda v: v["measurement"]["intervals"].update({"nDCG@10": [0.7, 0.8]}), "measurement.intervals.nDCG@10"),
        (lambda v: v["measurement"].update(headline="RR@10"), "measurement.headline"),
        (lambda v: v["measurement"].update(missing_queries=0, queries=23), "measurement.queries"),
        (lambda v: v["measurement"]["ties"].update(rate=0.0, best=1.0), "measurement.ties.best"),
        (lambda v: v["measurement"].update(notes=["trust me"]), "measurement.notes"),
        (lambda v: v["measurement"]["metrics"].update({"P@20": 1.0}), ""),
        (lambda v: v.update(completed=99), "completed"),
        (lambda v: v.update(command="rm -rf /"), "command"),
    ],
)
def test_whatever_else_a_result_says_is_recomputed_too(board, change, where):
    forge(board, change)
    found = verdicts(board)
    wrong = found["P@20"] if not where else found["everything else"]
    assert wrong.startswith("FAIL: ") and where in wrong


def make_it_a_models(board) -> None:
    """Turn the run that was sent in into the ranking of a model that was run here, with what it took."""
    ledger, result = Ledger(board), read_result(board / RESULT)
    sent = ledger.submissions()["acme--good"]
    model = dataclasses.replace(sent, kind="model", reranker="monot5", model="acme/good", revision="4f" * 20)
    (board / "submissions" / "acme--good.toml").write_text(submission_text(model))
    per_query = result.measurement.per_query["nDCG@10"]
    usages = {query_id: Usage(20, 900 + i, 20, 1e12 + i, 2e12 + 7 * i) for i, query_id in enumerate(per_query)}
    cost = cost_of(usages, per_query, precision="float32", parameters=60_000_000)
    identity = {"name": "acme/good", "revision": "4f" * 20}
    ledger.add_result(dataclasses.replace(result, state="reproduced", model=identity, cost=cost))


@pytest.mark.parametrize("more", ["", " --trusted"], ids=["in the sandbox", "trusted"])
def test_a_models_result_is_recomputed_from_its_stored_run(board, more):
    make_it_a_models(board)
    forge(board, lambda v: v.update(command=v["command"] + more))
    assert set(verdicts(board).values()) == {"OK"}
    assert check(board) == []


@pytest.mark.parametrize(
    ("change", "where"),
    [
        (lambda v: v["cost"]["qpp"].update(exact=1e9), "cost.qpp.exact"),
        (lambda v: v["cost"]["qpp"].update(paper=None), "cost.qpp.paper"),
        (lambda v: v["cost"].update(flops_exact=1.0), "cost.qpp.exact"),
        (lambda v: v["cost"].update(flops_paper=None), "cost.rpp.paper"),
        (lambda v: v.update(state="re-computed"), "state"),
    ],
)
def test_a_cost_that_contradicts_itself_is_told(board, change, where):
    make_it_a_models(board)
    forge(board, change)
    found = verdicts(board)
    assert found.pop("everything else").startswith("FAIL: differs in ") and set(found.values()) == {"OK"}
    assert where in verdicts(board)["everything else"]


@pytest.mark.parametrize("field", ["model", "cost"])
def test_a_run_that_was_sent_in_has_no_model_and_no_cost(board, field):
    sent = (board / "submissions" / "acme--good.toml").read_text()
    make_it_a_models(board)
    (board / "submissions" / "acme--good.toml").write_text(sent)
    other = {"cost": None} if field == "model" else {"model": {}}
    forge(board, lambda v: v.update({"state": "re-computed", **other}))
    assert verdicts(board)["everything else"].startswith(f"FAIL: differs in {field}")


@pytest.mark.parametrize("file", [RUN, LIST])
@pytest.mark.parametrize("how", ["a score", "a line less", "not gzip", "gone"])
def test_an_edited_run_or_list_is_named(board, file, how):
    text = gzip.decompress((board / file).read_bytes())
    lines = text.splitlines(keepends=True)
    if how == "a score":
        words = lines[0].split(b" ")
        edited = gzip_bytes(b" ".join([*words[:4], b"99.5", *words[5:]]) + b"".join(lines[1:]))
    else:
        edited = gzip_bytes(b"".join(lines[1:])) if how == "a line less" else b"nothing"
    (board / file).write_bytes(edited)
    if how == "gone":
        (board / file).unlink()
    [cell] = list(verify(board, "acme--good"))
    assert cell.verdict.startswith("FAIL: ")
    assert "mini.bm25-20.trec.gz" in cell.verdict or "bm25-20.trec.gz" in cell.verdict
    assert any(file.split("/")[-1] in problem for problem in check(board))


def test_a_run_packed_in_another_way_is_the_same_run(board):
    (board / RUN).write_bytes(gzip.compress(gzip.decompress((board / RUN).read_bytes()), 1))
    assert set(verdicts(board).values()) == {"OK"}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda file: file.unlink(), "has no line in the change log"),
        (lambda file: file.write_text(file.read_text().replace('"reason"', '"season"', 1)), "cannot be read"),
        (
            lambda file: file.write_text("".join(file.read_text().splitlines(keepends=True)[1:])),
            "has no line in the change log",
        ),
        (lambda file: file.write_bytes(file.read_bytes()[:-1]), "has no line in the change log"),
    ],
    ids=["gone", "a key", "a line less", "a torn end"],
)
def test_an_edited_change_log_is_named(board, change, told):
    change(board / "changes.jsonl")
    wrong = [cell for cell in verify(board) if not cell.holds]
    assert wrong and any(told in cell.verdict for cell in wrong)


def test_a_number_without_its_line_is_named(board):
    ledger = Ledger(board)
    ledger.add_changes([BoardChange("2024-01-01", "acme--good", "mini", "bm25-20", "nDCG@10", 0.1, 0.2, "a guess")])
    assert verdicts(board)["nDCG@10 in the change log"] == "FAIL: the number changed without a line in the change log"
    shutil.rmtree(board / "results" / "acme--good")
    gone = [cell for cell in verify(board) if not cell.holds]
    assert [cell.submission for cell in gone] == ["acme--good"] and "went without a line" in gone[0].verdict


def edits(data: bytes, many: int) -> Iterator[bytes]:
    """The same bytes with one of them another, gone or twice, at so many places from the first to the last."""
    places = {round(i * (len(data) - 1) / (many - 1)) for i in range(many)}
    for i, place in enumerate(sorted(places)):
        here = data[place : place + 1]
        put = (bytes([here[0] ^ 1 << i % 8]), bytes([here[0] ^ 0x20]), b"", 2 * here)[i % 4]
        yield data[:place] + put + data[place + 1 :]


def says_the_same(edited: bytes, data: bytes) -> bool:
    """Two gzip files of one content, or two JSON files: how it is packed or spaced says nothing."""
    try:
        if data[:2] == b"\x1f\x8b":
            return gzip.decompress(edited) == gzip.decompress(data)
        return data[:1] == b"{" and json.loads(edited) == json.loads(data)
    except (OSError, EOFError, zlib.error, ValueError):
        return False


def told_of(board, file) -> str:
    """What verification says of a file that does not hold."""
    path, found = file.relative_to(board).as_posix(), ""
    for cell in (cell for cell in verify(board) if not cell.holds):
        text = f"{cell.metric} {cell.verdict}"
        its_cell = path == f"results/{cell.submission}/{cell.task}.{cell.candidates}.json"
        inside = path.startswith("datasets/") and cell.metric == "datasets/toy" and path[13:] in cell.verdict
        found += text if its_cell or inside or path in text else ""
    return found


@pytest.fixture
def whole(board, tmp_path, monkeypatch):
    """A board with a file of every kind: what is shown of a list, a trained model's report and a dataset among them."""
    monkeypatch.chdir(tmp_path)
    for kind in ("submissions", "results", "runs"):
        for path in (board / kind).glob("exabench--*"):
            if "unchanged" not in path.name:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
    (board / "changes.jsonl").unlink()
    run_board(board)
    ledger = Ledger(board)
    list_ = ledger.one_candidates("mini", "bm25-20")
    collection = open_collection(task("mini"))
    values = build_excerpts(list_, ledger.candidates_run(list_), collection, collection.qrels("test"))
    write_excerpts(values, ledger.shown_file("mini", "bm25-20"))
    release = write_release(board / "datasets" / "toy", {"explanations": ["sky"]})
    submit(model_folder(tmp_path / "work", release, "explanations") / "submission.toml", [], board)
    assert all(cell.holds for cell in verify(board)) and check(board) == []
    return board


KINDS = {
    "a result": ["results/acme--good/mini.bm25-20.json"],
    "a run": ["runs/acme--good/mini.bm25-20.trec.gz"],
    "a list": [f"candidates/mini/bm25-20.{end}" for end in ("json", "trec.gz")],
    "a dataset": [
        "datasets/toy/manifest.json",
        "datasets/toy/data/explanations/train-00000-of-00001.parquet",
        "datasets/toy/replies/explanations.parquet",
    ],
}
"""What numbers are made of, and the releases: nothing in it can be edited unseen. For all else there is git."""
WITHOUT_DIGEST = {
    "submissions/acme--good.toml",
    "submissions/acme--small.toml",
    *(f"models/acme--small/{name}" for name in TRAINING_FILES),
    "candidates/mini/bm25-20.shown.json.gz",
    "changes.jsonl",
}


def every_edit_is_named(board, paths, many) -> None:
    for file in (board / path for path in paths):
        original, skipped = file.read_bytes(), 0
        for edited in edits(original, many):
            if edited == original or says_the_same(edited, original):
                skipped += 1
                continue
            file.write_bytes(edited)
            assert told_of(board, file), (file, edited)
        file.write_bytes(original)
        assert skipped <= max(3, many // 3)
    assert all(cell.holds for cell in verify(board))


@pytest.mark.parametrize("kind", KINDS)
def test_an_edited_byte_anywhere_in_a_file_is_named(whole, kind):
    every_edit_is_named(whole, KINDS[kind], 8)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_an_edited_byte_is_named_at_hundreds_of_places(whole, kind):
    every_edit_is_named(whole, KINDS[kind], 100)


def test_the_kinds_are_all_that_a_board_holds_but_what_its_keeper_writes(whole):
    """The keeper's own: settings, and numbers copied from elsewhere, which nothing here can recompute."""
    there = {path for path in contents(whole) if not path.endswith(".lock")}
    same_kind = {path for path in there if "exabench--unchanged" in path}
    under_a_digest = {path for paths in KINDS.values() for path in paths}
    assert there - same_kind - under_a_digest - WITHOUT_DIGEST == {"board.toml"}


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("models/acme--small/training.json", ('"hardware": "', '"hardware": 3, "x": "')),
        ("models/acme--small/curves.csv", ("step,epoch", "=cmd()")),
        ("submissions/acme--good.toml", ('licence = "', 'licence = "<b>')),
        ("submissions/acme--good.toml", ("acme/good", "acme/other")),
        ("changes.jsonl", ('"before": null', '"before": "0"')),
        ("candidates/mini/bm25-20.json", ('"depth": 20', '"depth": []')),
    ],
)
def test_a_file_that_is_not_what_exabench_writes_is_named(whole, path, words):
    file = whole / path
    text = file.read_text()
    assert words[0] in text
    file.write_text(text.replace(*words, 1))
    assert told_of(whole, file)
    assert any(path in problem for problem in check(whole))


def test_a_board_without_results_cannot_be_verified(board):
    with pytest.raises(BadInput, match="holds no result of acme--nobody"):
        list(verify(board, "acme--nobody"))
    shutil.rmtree(board / "results")
    with pytest.raises(BadInput, match="holds no result"):
        list(verify(board))


# -- check -------------------------------------------------------------------------------------------------------


def only_problem(board) -> str:
    problems = check(board)
    assert len(problems) == 1, problems
    return problems[0]


@pytest.mark.parametrize(
    "name",
    [
        "notes.txt",
        "runs/acme--good/old.trec",
        "results/stray.json",
        "candidates/mini/x.trec.gz",
        "submissions/a.txt",
        ".hidden",
        "a/b/c",
    ],
)
def test_a_file_that_does_not_belong_is_found(board, name):
    (board / name).parent.mkdir(parents=True, exist_ok=True)
    (board / name).write_text("x")
    assert only_problem(board) == f"{board / name}: does not belong to a leaderboard"


def test_the_pages_and_a_readme_may_be_there(board):
    (board / "site" / "deep").mkdir(parents=True)
    (board / "site" / "deep" / "index.html").write_text("x")
    (board / "README.md").write_text("x")
    (board / ".gitignore").write_text("x")
    assert check(board) == []


@pytest.mark.parametrize("target", ["elsewhere", "nowhere"])
def test_a_link_is_found(board, tmp_path, target):
    (tmp_path / "elsewhere").write_text("x")
    (board / "runs" / "link.trec.gz").symlink_to(tmp_path / target)
    assert only_problem(board).endswith("is a link; a leaderboard holds plain files only")


def test_a_link_in_the_place_of_a_good_file_is_found(board, tmp_path):
    (board / RUN).rename(tmp_path / "run")
    (board / RUN).symlink_to(tmp_path / "run")
    assert only_problem(board).endswith("is a link; a leaderboard holds plain files only")


def test_a_result_under_another_name_is_found(board):
    (board / "results" / "acme--bad").mkdir()
    (board / RESULT).rename(board / "results" / "acme--bad" / "mini.bm25-20.json")
    assert "lies under another name than its content says" in only_problem(board)


def test_a_run_of_nobody_is_found(board):
    shutil.copytree(board / "runs" / "acme--good", board / "runs" / "nobody--x")
    assert "belongs to no submission" in only_problem(board)


def test_a_bad_submission_and_bad_settings_are_found(board):
    (board / "submissions" / "acme--good.toml").write_text("name = 1")
    (board / "board.toml").write_text('title = "T"\ntasks = ["minni"]\n')
    problems = check(board)
    assert any("unknown task 'minni'" in problem for problem in problems)
    assert any("acme--good.toml: name must" in problem for problem in problems)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "holds no row"),
        (
            "system,dataset,first_stage,topk,metric,value,source\na,b,c,100,nDCG@10,high,x\n",
            "table.csv:2: value 'high' is not a number",
        ),
        (
            "system,dataset,first_stage,topk,metric,value,source\na,b,c,100,nDCG@10,0.5,\n",
            "table.csv:2: a reported number needs its source",
        ),
        ("system,dataset,first_stage,topk,metric,value,source\na,b,c\n", "table.csv:2: value None is not a number"),
    ],
)
def test_a_bad_reported_number_is_found(board, text, told):
    (board / "reported").mkdir()
    (board / "reported" / "table.csv").write_text(text)
    assert told in only_problem(board)


def test_all_problems_are_found_at_once(board):
    (board / "stray").write_text("x")
    (board / RESULT).write_text("{}")
    (board / LIST).unlink()
    assert len(check(board)) >= 3
