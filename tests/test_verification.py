"""Verification recomputes every number, and nothing on a board can be edited without its saying so."""

from __future__ import annotations

import dataclasses
import gzip
import json
import shutil
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from hub_client import write_release
from toys import contents, write_submission
from trained import model_folder

from exabench.bench.candidates import read_evaluator
from exabench.bench.evaluation import run_board
from exabench.bench.excerpts import build_excerpts, write_excerpts
from exabench.bench.ledger import Ledger, read_result
from exabench.bench.submissions import TRAINING_FILES, submission_text
from exabench.bench.submitting import submit
from exabench.bench.verification import check, verify
from exabench.cli import main
from exabench.core.errors import BadInput
from exabench.core.files import digest_of, json_text
from exabench.core.nouns import FIRST_STAGE, BoardChange, Usage
from exabench.measure.runs import read_run
from exabench.models.costs import cost_of
from exabench.tasks.catalogue import task
from exabench.tasks.collections import open_collection

RESULT = "results/acme--good/mini.bm25-20.json"
RUN = "runs/acme--good/mini.bm25-20.trec.gz"
LIST = "candidates/mini/bm25-20.trec.gz"


def forge(board, changes) -> None:
    """Change values of a result by their paths (`...` takes one out), and give it the digest that fits."""
    values = json.loads((board / RESULT).read_text())
    del values["digest"]
    for path, value in changes.items():
        *way, last = path.split(".")
        inner = values
        for key in way:
            inner = inner[key]
        if value is ...:
            del inner[last]
        else:
            inner[last] = value(inner[last]) if callable(value) else value
    (board / RESULT).write_text(json_text(values | {"digest": digest_of(values)}))


def verdicts(board) -> dict[str, str]:
    return {cell.metric: cell.verdict for cell in verify(board, "acme--good")}


@pytest.mark.parametrize(("number", "judged", "gain"), [(2, 0.7, "randomisation"), (3, 0.7, "p"), (4, 1.0, "p")])
def test_a_result_is_verified_by_the_rules_of_its_format(board, number, judged, gain):
    """Before format 4 Judged@10 was over 10 however short a list is, and no effect size was 0."""
    ledger = Ledger(board)
    evaluator = read_evaluator(ledger, "mini", "bm25-20", None)
    for slug, kind in (("acme--good", "run"), (FIRST_STAGE, "baseline")):
        run = read_run(ledger.run_file(slug, "mini", "bm25-20"), slug)
        result = evaluator.result(slug, kind, run, number=number)
        file = ledger.add_result(result)
        assert json.loads(file.read_text())["format"] == number
        assert read_result(file) == result
        assert result.measurement.per_query["Judged@10"]["q15"] == judged  # seven passages are ranked
        assert gain in result.gain
        assert {cell.verdict for cell in verify(board, slug)} == {"OK"}
    assert result.gain["effect_size"] == (None if number == 4 else 0.0)  # the first stage against itself
    forge(board, {"format": 3 if number == 4 else 4})
    assert not all(cell.holds for cell in verify(board, "acme--good"))


def test_a_good_board_holds(board):
    cells = list(verify(board))
    files = [cell.metric for cell in cells if cell.submission == "-"]
    assert len(files) == 1 + 6 + 1 + 1  # settings, submissions, a list, the change log
    assert len(cells) == 6 * 9 + len(files)  # seven metrics, everything else, and the change log
    assert all(cell.holds for cell in cells), [cell for cell in cells if not cell.holds]
    assert check(board) == []


PER_QUERY = "measurement.per_query.nDCG@10"
OF_A_METRIC = ("measurement.metrics", "first_stage", "ceiling")
BOUNDS = {"measurement.intervals.P@20": [1.0, 1.0], "measurement.per_query.P@20": {"q03": 1.0}}


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"measurement.metrics.nDCG@10": 0.99}, "FAIL: off by 0."),
        ({"measurement.metrics.nDCG@10": lambda mean: mean + 1e-4}, "off by 0.000100"),
        ({f"{PER_QUERY}.q03": 0.123456}, "off by 0.0000"),
        ({f"{PER_QUERY}.q03": ...}, "FAIL: other queries"),
        ({f"{PER_QUERY}.q03": ..., f"{PER_QUERY}.q04": ...}, "FAIL: other queries"),
        (dict.fromkeys(map("{}.P@20".format, OF_A_METRIC), 1.0) | BOUNDS, "FAIL: not a metric of this task"),
    ],
)
def test_a_forged_mean_or_query_and_a_metric_of_another_task_are_told(board, changes, told):
    forge(board, changes)
    found = verdicts(board)
    assert found["P@20" if "P@20" in str(changes) else "nDCG@10"].startswith(told) and found["RR@10"] == "OK"
    assert not all(cell.holds for cell in verify(board))


OTHER_NAME = "has a name that does not match its content"


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        ("run_digest", "sha256:0", "is not the run that the result was made from"),
        ("candidates.recall", 1.0, "not the candidate list"),
        ("measurement.convention.relevance_threshold", 3, "does not contain a result"),
        ("submission", "acme--other", OTHER_NAME),
    ],
)
def test_a_result_of_other_things_than_the_filed_ones_fails(board, path, value, told):
    forge(board, {path: value})
    [cell] = list(verify(board, "acme--good"))
    assert cell.verdict.startswith("FAIL: ") and told in cell.verdict
    assert (cell.filed, cell.found, cell.holds) == (None, None, False)


def make_it_a_models(board) -> None:
    """Turn the run that was sent in into the ranking of a model that was run here, with what it took."""
    ledger, result = Ledger(board), read_result(board / RESULT)
    sent = ledger.submissions()["acme--good"]
    model = dataclasses.replace(sent, kind="model", reranker="monot5", model="acme/good", revision="4f" * 20)
    (board / "submissions" / "acme--good.toml").write_text(submission_text(model))
    values = result.measurement.per_query["nDCG@10"]
    usages = {query_id: Usage(20, 900 + i, 20, 1e12 + i, 2e12 + 7 * i) for i, query_id in enumerate(values)}
    cost = cost_of(usages, values, precision="float32", parameters=60_000_000)
    identity = {"name": "acme/good", "revision": "4f" * 20}
    ledger.add_result(dataclasses.replace(result, state="reproduced", model=identity, cost=cost))


@pytest.mark.parametrize(
    ("of_a_model", "path", "value", "where"),
    [
        (False, "state", "reproduced", ""),
        (False, "ceiling.nDCG@10", 1.0, ""),
        (False, "gain.p", 0.0001, ""),
        (False, "measurement.intervals.nDCG@10", [0.7, 0.8], ""),
        (False, "measurement.missing_queries", 5, ""),
        (False, "command", "rm -rf /", ""),
        (True, "cost.qpp.exact", 1e9, ""),
        (True, "cost.flops_paper", None, "cost.rpp.paper"),
        (True, "state", "re-computed", ""),
    ],
)
def test_whatever_else_a_result_says_is_recomputed_too(board, of_a_model, path, value, where):
    if of_a_model:
        make_it_a_models(board)
    forge(board, {path: value})
    wrong = verdicts(board)["all other fields"]
    assert wrong.startswith("FAIL: differs in ") and (where or path) in wrong


def test_notes_in_the_words_of_another_version_are_no_other_result(board):
    forge(board, {"measurement.notes": ["as version 0.1 said it"]})
    assert set(verdicts(board).values()) == {"OK"}


@pytest.mark.parametrize("more", ["", " --trusted"], ids=["in the sandbox", "trusted"])
def test_a_models_result_is_recomputed_from_its_stored_run(board, more):
    make_it_a_models(board)
    forge(board, {"command": lambda command: command + more})
    assert set(verdicts(board).values()) == {"OK"}
    assert check(board) == []


@pytest.mark.parametrize(("field", "other"), [("model", {"cost": None}), ("cost", {"model": {}})])
def test_a_run_that_was_sent_in_has_no_model_and_no_cost(board, field, other):
    sent = (board / "submissions" / "acme--good.toml").read_text()
    make_it_a_models(board)
    (board / "submissions" / "acme--good.toml").write_text(sent)
    forge(board, {"state": "re-computed", **other})
    assert verdicts(board)["all other fields"].startswith(f"FAIL: differs in {field}")


@pytest.mark.parametrize("file", [RUN, LIST])
@pytest.mark.parametrize("how", ["a line less", "not gzip", "gone"])
def test_an_edited_run_or_list_is_named_and_one_packed_in_another_way_is_the_same(board, file, how):
    text = gzip.decompress((board / file).read_bytes())
    (board / file).write_bytes(gzip.compress(text, 1))
    assert set(verdicts(board).values()) == {"OK"}
    (board / file).write_bytes(gzip.compress(text.partition(b"\n")[2]) if how == "a line less" else b"nothing")
    if how == "gone":
        (board / file).unlink()
    [cell] = list(verify(board, "acme--good"))
    assert cell.verdict.startswith("FAIL: ") and "bm25-20.trec.gz" in cell.verdict
    assert any(Path(file).name in problem for problem in check(board))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda file: file.unlink(), "has no entry in the change log"),
        (lambda file: file.write_text(file.read_text().replace('"reason"', '"season"', 1)), "cannot be read"),
        (lambda file: file.write_bytes(file.read_bytes()[:-1]), "ends in an incomplete line"),
    ],
    ids=["gone", "a key", "a torn end"],
)
def test_an_edited_change_log_is_named(board, change, told):
    change(board / "changes.jsonl")
    wrong = [cell.verdict for cell in verify(board) if not cell.holds]
    assert any(told in verdict for verdict in wrong)


def test_a_number_without_its_line_is_named(board):
    ledger = Ledger(board)
    ledger.add_changes([BoardChange("2024-01-01", "acme--good", "mini", "bm25-20", "nDCG@10", 0.1, 0.2, "a guess")])
    assert verdicts(board)["nDCG@10 in the change log"] == "FAIL: the number changed without an entry in the change log"
    shutil.rmtree(board / "results" / "acme--good")
    [gone] = [cell for cell in verify(board) if not cell.holds]
    assert gone.submission == "acme--good" and "removed without an entry" in gone.verdict
    with pytest.raises(BadInput, match="has no result of acme--good"):
        list(verify(board, "acme--good"))
    shutil.rmtree(board / "results")
    with pytest.raises(BadInput, match="has no result"):
        list(verify(board))


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
        its_list = path == f"candidates/{cell.task}/{cell.candidates}.json" and "were frozen with other" in text
        found += text if its_cell or inside or its_list or path in text else ""
    return found


@pytest.fixture(scope="module")
def _whole(_board, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    board = Path(shutil.copytree(_board, folder / "board"))
    for kind in ("submissions", "results", "runs"):
        for path in (board / kind).glob("exabench--*"):
            if "unchanged" not in path.name:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
    (board / "changes.jsonl").unlink()
    run_board(board)
    ledger = Ledger(board)
    list_ = ledger.one_candidates("mini", "bm25-20")
    collection = open_collection(task("mini"))
    values = build_excerpts(task("mini"), list_, ledger.candidates_run(list_), collection, collection.qrels("test"))
    write_excerpts(values, ledger.shown_file("mini", "bm25-20"))
    release = write_release(board / "datasets" / "toy", {"explanations": ["sky"]})
    submit(model_folder(folder / "work", release, "explanations") / "submission.toml", [], board)
    assert all(cell.holds for cell in verify(board)) and check(board) == []
    return board


@pytest.fixture
def whole(_whole, tmp_path):
    """A board with a file of every kind: what is shown of a list, a trained model's report and a dataset among them."""
    return Path(shutil.copytree(_whole, tmp_path / "board"))


KINDS = {
    "a result": [RESULT],
    "a run": [RUN],
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


@pytest.mark.parametrize("many", [8, pytest.param(100, marks=pytest.mark.slow)])
@pytest.mark.parametrize("kind", KINDS)
def test_an_edited_byte_anywhere_in_a_file_is_named(whole, kind, many):
    for file in (whole / path for path in KINDS[kind]):
        original, skipped = file.read_bytes(), 0
        for edited in edits(original, many):
            if edited == original or says_the_same(edited, original):
                skipped += 1
                continue
            file.write_bytes(edited)
            assert told_of(whole, file), (file, edited)
        file.write_bytes(original)
        assert skipped <= max(3, many // 3)
    assert all(cell.holds for cell in verify(whole))


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
        ("changes.jsonl", ('"before": null', '"before": "0"')),
    ],
)
def test_a_file_that_is_not_what_exabench_writes_is_named(whole, path, words):
    file = whole / path
    text = file.read_text()
    assert words[0] in text
    file.write_text(text.replace(*words, 1))
    assert told_of(whole, file)
    assert any(path in problem for problem in check(whole))


STRAYS = ("notes.txt", "runs/acme--good/old.trec", "candidates/mini/x.trec.gz", ".hidden", "a/b/c")
HEAD = "system,dataset,first_stage,topk,metric,value,source\n"


def put(path: str, text: str = "x"):
    """A spoiler: one more file on a board."""

    def put(board) -> None:
        (board / path).parent.mkdir(parents=True, exist_ok=True)
        (board / path).write_text(text)

    return put


def linked(path: str):
    """A spoiler: a link in the place of a file, to its own bytes where there are any."""

    def linked(board) -> None:
        if (board / path).exists():
            (board / path).rename(board.parent / "elsewhere")
        (board / path).symlink_to(board.parent / "elsewhere")

    return linked


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        *((put(path), f"{path}: does not belong to a leaderboard") for path in STRAYS),
        *(
            (linked(path), ": is a link; a leaderboard contains regular files only")
            for path in (RUN, "runs/link.trec.gz")
        ),
        (lambda b: (b / RESULT).parent.rename(b / "results/acme--bad"), OTHER_NAME),
        (lambda b: shutil.copytree(b / "runs/acme--good", b / "runs/nobody--x"), "belongs to no submission"),
        (put("submissions/acme--good.toml", "name = 1"), "acme--good.toml: name must"),
        (put("board.toml", 'title = "T"\ntasks = ["minni"]\n'), "unknown task 'minni'"),
        (put("reported/table.csv", ""), "has no row"),
        (put("reported/table.csv", HEAD + "a,b,c,100,nDCG@10,high,x\n"), "table.csv:2: value 'high' is not a number"),
        (put("reported/table.csv", HEAD + "a,b,c,100,nDCG@10,0.5,\n"), "table.csv:2: a reported number needs a"),
        (put("reported/table.csv", HEAD + "a,b,c\n"), "table.csv:2: value None is not a number"),
    ],
)
def test_a_file_that_is_wrong_or_does_not_belong_is_found_alone(board, spoil, told):
    spoil(board)
    [problem] = check(board)
    assert told in problem


def test_a_copy_of_anothers_run_is_named_and_no_result_is_made_of_it(board, tmp_path, capsys):
    """A stored run carries its submission's name; whoever copies a file by hand copies the name, too."""
    submit(write_submission(tmp_path, name="acme/other"), [f"mini={board / RUN}"], board)
    shutil.copyfile(board / RUN, board / RUN.replace("good", "other"))
    told = f"{board / RUN.replace('good', 'other')}: has the tag 'acme--good', so it is not a run of acme--other"
    [problem] = check(board)
    assert problem.startswith(told)
    assert main(["bench", "run", "acme--other", "--board", str(board)]) == 2
    assert f"exabench: {told}" in capsys.readouterr().err
    assert not (board / "results/acme--other").exists()
    # A result that somebody made of the copy all the same.
    copied = read_run(board / RUN.replace("good", "other"))
    evaluator = read_evaluator(Ledger(board), "mini", "bm25-20", None)
    made = evaluator.result("acme--other", "run", copied)
    digest = digest_of(gzip.decompress((board / RUN).read_bytes()))
    Ledger(board).add_result(dataclasses.replace(made, run_digest=digest))
    assert told in [cell.verdict.removeprefix("FAIL: ")[: len(told)] for cell in verify(board, "acme--other")]


def test_a_tag_that_is_no_text_is_one_line_too(board):
    lines = gzip.decompress((board / RUN).read_bytes()).replace(b"acme--good", b"\xff\xfe")
    (board / RUN).write_bytes(gzip.compress(lines))
    problem = check(board)[0]
    assert problem.startswith(f"{board / RUN}: has the tag") and "\n" not in problem


def test_the_pages_and_a_readme_may_be_there_and_all_problems_are_found_at_once(board):
    for path in ("site/deep/index.html", "README.md", ".gitignore"):
        put(path)(board)
    assert check(board) == []
    put("stray")(board)
    put(RESULT, "{}")(board)
    (board / LIST).unlink()
    assert len(check(board)) >= 3
