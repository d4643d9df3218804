"""The ledger reads back what it wrote, and refuses what was edited or lies in the wrong place."""

from __future__ import annotations

import dataclasses
import json

import pytest

from exabench.bench.candidates import make_candidates
from exabench.bench.ledger import FORMAT, Ledger, last_values, read_result, result_json
from exabench.core.errors import BadInput
from exabench.core.files import digest_of, json_text
from exabench.core.nouns import BoardChange, Timing, Usage
from exabench.models.costs import cost_of

RESULT = "results/acme--good/mini.bm25-20.json"


def forged(file, change) -> None:
    """Change a result and give it the digest that fits, as somebody who knows the format would."""
    values = json.loads(file.read_text())
    del values["digest"]
    change(values)
    file.write_text(json_text(values | {"digest": digest_of(values)}))


def test_a_result_reads_back_as_it_was_written(board):
    for file in Ledger(board).result_files():
        result = read_result(file)
        assert json_text(result_json(result)) == file.read_text()
        assert Ledger(board).add_result(result) == file


def test_no_byte_of_a_result_can_be_changed_unseen(board):
    file = board / RESULT
    original = file.read_bytes()
    meaning = json.loads(original)
    seen = 0
    for place in range(0, len(original), 7):
        for flip in (0x01, 0x10):
            file.write_bytes(original[:place] + bytes([original[place] ^ flip]) + original[place + 1 :])
            try:
                read_result(file)
            except BadInput:
                seen += 1
            else:  # nothing but white space or the writing of one and the same number
                assert json.loads(file.read_bytes()) == meaning
    assert seen > 0.75 * 2 * len(original) / 7


@pytest.mark.parametrize(
    "change",
    [
        lambda v: v.update(measurement=[]),
        lambda v: v.update(measurement={}),
        lambda v: v["measurement"].pop("convention"),
        lambda v: v["measurement"].update(extra=1),
        lambda v: v["measurement"]["metrics"].update({"nDCG@10": "0.9"}),
        lambda v: v["measurement"]["per_query"].update({"nDCG@10": 3}),
        lambda v: v["measurement"]["intervals"].update({"nDCG@10": [0.1]}),
        lambda v: v["measurement"]["convention"].update(gain=[], other=1),
        lambda v: v["candidates"].pop("digest"),
        lambda v: v.update(candidates="bm25-20"),
        lambda v: v.update(format=1),
        lambda v: v.update(format=None),
        lambda v: v.pop("gain"),
        lambda v: v.update(extra=1),
    ],
)
def test_a_forged_result_of_another_shape_is_bad_input(board, change):
    forged(board / RESULT, change)
    with pytest.raises(BadInput, match=r"mini\.bm25-20\.json: (does not hold|is not a result of format)"):
        read_result(board / RESULT)


def costly(result):
    """The same result of a model, with a cost and a timing."""
    usages = {"q03": Usage(20, 900, 20, 1e12, None, 1, 0, {"missing": 2}), "q04": Usage(20, 800, 20, 2e12, None)}
    timing = Timing(0.25, 0.5, 10, None, "some processor, 2 cores")
    cost = cost_of(usages, {"q03": 0.5, "q04": 1.0}, precision="int8", parameters=22_000_000, timing=timing)
    return dataclasses.replace(result, model={"name": "acme/m", "revision": "4f2c", "max_tokens": 512}, cost=cost)


@pytest.mark.parametrize("timed", [True, False])
def test_a_model_and_its_cost_read_back_as_they_were_written(board, timed):
    result = costly(read_result(board / RESULT))
    if not timed:
        result = dataclasses.replace(result, cost=dataclasses.replace(result.cost, timing=None))
    file = Ledger(board).add_result(result)
    assert read_result(file) == result
    assert json_text(result_json(read_result(file))) == file.read_text()


@pytest.mark.parametrize(
    "change",
    [
        lambda v: v.update(model="acme/m"),
        lambda v: v.update(model=None),
        lambda v: v.update(cost=[]),
        lambda v: v.update(cost={}),
        lambda v: v["cost"].pop("timing"),
        lambda v: v["cost"].update(extra=1),
        lambda v: v["cost"].update(prompts="many"),
        lambda v: v["cost"].update(prompts=True),
        lambda v: v["cost"].update(input_tokens=-1),
        lambda v: v["cost"].update(input_tokens=None),
        lambda v: v["cost"].update(flops_paper="1e12"),
        lambda v: v["cost"].update(flops_exact=-1.0),
        lambda v: v["cost"].update(rpp={"paper": 1.0}),
        lambda v: v["cost"].update(rpp={"paper": 1.0, "other": 1.0}),
        lambda v: v["cost"].update(qpp={"paper": 1.0, "exact": "none"}),
        lambda v: v["cost"].update(cut_passages=1.5),
        lambda v: v["cost"].update(repairs={"missing": None}),
        lambda v: v["cost"].update(precision=16),
        lambda v: v["cost"].update(parameters=2.5),
        lambda v: v["cost"]["timing"].update(p50=None),
        lambda v: v["cost"]["timing"].update(sample="10"),
        lambda v: v["cost"]["timing"].update(hardware={}),
        lambda v: v["cost"]["timing"].pop("p95"),
        lambda v: v["cost"].update(timing=[1]),
    ],
)
def test_a_forged_model_or_cost_of_another_shape_is_bad_input(board, change):
    file = Ledger(board).add_result(costly(read_result(board / RESULT)))
    forged(file, change)
    with pytest.raises(BadInput, match=r"mini\.bm25-20\.json: does not hold"):
        read_result(file)


def test_a_result_of_the_format_before_says_what_to_do(board):
    def older(values):
        del values["model"], values["cost"]
        values["format"] = 1

    forged(board / RESULT, older)
    with pytest.raises(BadInput, match=rf"format {FORMAT} but of 1; take it away and run `exabench bench run` again"):
        read_result(board / RESULT)


@pytest.mark.parametrize("text", ["", "[]", "{}", "null", '{"digest": 1e999}', '{"a": "\\ud800"}', "not json"])
def test_what_is_no_result_is_bad_input(board, text):
    (board / RESULT).write_text(text)
    with pytest.raises(BadInput, match="mini.bm25-20.json"):
        read_result(board / RESULT)


def test_an_edited_candidate_list_is_refused_by_name(board):
    ledger = Ledger(board)
    file = board / "candidates" / "mini" / "bm25-20.trec.gz"
    file.write_bytes(ledger.run_file("acme--good", "mini", "bm25-20").read_bytes())
    with pytest.raises(BadInput, match="bm25-20.trec.gz: is not the candidate list of digest sha256:"):
        ledger.candidates_run(ledger.one_candidates("mini", "bm25-20"))


def test_candidates_in_the_wrong_place_are_refused(board):
    folder = board / "candidates" / "mini"
    (folder / "bm25-99.json").write_bytes((folder / "bm25-20.json").read_bytes())
    with pytest.raises(BadInput, match="bm25-99.json: describes mini/bm25-20"):
        Ledger(board).candidates()


def test_a_submission_under_another_name_is_refused(board):
    folder = board / "submissions"
    (folder / "acme--good.toml").rename(folder / "acme--other.toml")
    with pytest.raises(BadInput, match="holds acme/good, so it must be called acme--good.toml"):
        Ledger(board).submissions()


@pytest.mark.parametrize("place", ["acme--other/mini.bm25-20.json", "acme--good/mini.bm25-99.json"])
def test_a_result_under_another_name_is_refused(board, place):
    file = board / "results" / place
    file.parent.mkdir(exist_ok=True)
    file.write_bytes((board / RESULT).read_bytes())
    with pytest.raises(BadInput, match="lies under another name than its content says"):
        list(Ledger(board).results())


def test_a_run_file_without_candidates_in_its_name_is_refused(board):
    (board / "runs" / "acme--good" / "mini.trec.gz").write_bytes(b"")
    with pytest.raises(BadInput, match="must be called <task>.<candidates>.trec.gz"):
        Ledger(board).runs("acme--good")


@pytest.mark.parametrize(
    "title", ["plain", 'quotes " and \\ strokes', "é 日 😀", "two\nlines", "\x7f\x1b", "]\ntasks = []"]
)
def test_a_board_may_have_any_title(tmp_path, title):
    ledger = Ledger(tmp_path / "new")
    ledger.create(title, ["mini", "trec-dl"], {title: ["mini"]})
    assert ledger.settings() == {"title": title, "tasks": ["mini", "trec-dl"], "views": {title: ["mini"]}}
    ledger.create("another", [])
    assert ledger.settings()["title"] == title  # an existing board is left as it is


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('title = "x"\ntasks = [1]', r"tasks\[0\]: expected `str`, got `int`"),
        ('title = "x"\ntasks = [["mini"]]', "tasks"),
        ("title = 1\ntasks = []", "title: expected `str`, got `int`"),
        ('title = "x"\ntasks = []\nviews = "mini"', "views: expected `object`"),
        ('title = "x"\ntasks = []\n[views]\nA = "mini"', "views.*expected `array`"),
        ('titel = "x"', "has an unknown key 'titel'; its keys: tasks, title, url, views"),
        ('title = "x"', "lacks the key 'tasks'"),
        ("tasks = [", "is not TOML"),
    ],
)
def test_bad_settings_are_refused(tmp_path, text, message):
    (tmp_path / "board.toml").write_text(text)
    with pytest.raises(BadInput, match=message):
        Ledger(tmp_path).settings()


LISTED = [
    *(("depth", value) for value in ([], {}, "x", None, 1.5, True)),
    *(("digest", value) for value in (1, [], None)),
    *(("parameters", value) for value in ([], "x", None)),
    *((key, value) for key in ("queries", "recall") for value in ("x", [], {}, None)),
    *((key, value) for key in ("qrels_digest", "convention_digest", "source", "retriever") for value in ([], {}, 3)),
    *(("licence", value) for value in ([], 3)),
]


@pytest.mark.parametrize(("key", "value"), LISTED, ids=str)
def test_a_candidate_list_with_a_value_of_another_type_is_bad_input(board, key, value):
    file = board / "candidates" / "mini" / "bm25-20.json"
    file.write_text(json_text(json.loads(file.read_text()) | {key: value}))
    with pytest.raises(BadInput, match=f"bm25-20.json: {key}: ") as caught:
        Ledger(board).candidates()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("change", [lambda v: v.pop("licence"), lambda v: v.update(more=1), lambda v: v.pop("depth")])
def test_a_candidate_list_with_other_fields_is_bad_input(board, change):
    file = board / "candidates" / "mini" / "bm25-20.json"
    values = json.loads(file.read_text())
    change(values)
    file.write_text(json_text(values))
    with pytest.raises(BadInput, match="bm25-20.json: "):
        Ledger(board).candidates()


def test_every_field_of_a_result_is_under_its_digest(board):
    result = read_result(board / RESULT)
    digests = {
        result_json(dataclasses.replace(result, **{name: "other"}))["digest"]
        for name in ("state", "command", "created", "run_digest")
    } | {result_json(costly(result))["digest"]}
    assert len(digests | {result_json(result)["digest"]}) == 6


def test_a_frozen_list_keeps_its_first_description(tmp_path):
    ledger = Ledger(tmp_path)
    candidates, run = make_candidates("mini", "bm25", 5)
    file = ledger.add_candidates(candidates, run)
    before = file.read_bytes()
    ledger.add_candidates(dataclasses.replace(candidates, source="somewhere else"), run)
    assert file.read_bytes() == before
    assert ledger.candidates_run(candidates).ranking("q03") == run.ranking("q03")


# -- the change log ----------------------------------------------------------------------------------------------------


def change(number: int, reason: str = "first result") -> BoardChange:
    return BoardChange("2024-01-01", "acme--good", "mini", f"bm25-{number}", "nDCG@10", None, number / 7, reason)


def test_changes_read_back_in_their_order_and_are_only_added_to(tmp_path):
    ledger = Ledger(tmp_path)
    assert ledger.changes() == ()
    ledger.add_changes([change(1), change(2, 'two\nlines, a " and é')])
    before = ledger.change_log.read_bytes()
    ledger.add_changes([])
    ledger.add_changes([change(3)])
    assert ledger.changes() == (change(1), change(2, 'two\nlines, a " and é'), change(3))
    assert ledger.change_log.read_bytes().startswith(before) and before.count(b"\n") == 2
    assert last_values(ledger.changes())["acme--good", "mini", "bm25-3", "nDCG@10"] == 3 / 7


def test_what_a_killed_writer_left_of_a_line_goes_with_the_next(tmp_path):
    ledger = Ledger(tmp_path)
    ledger.add_changes([change(1)])
    whole = ledger.change_log.read_bytes()
    for length in (1, 30, 200):
        ledger.change_log.write_bytes(whole + whole[:length].rstrip(b"\n"))
        assert ledger.changes() == (change(1),)
    ledger.add_changes([change(2)])
    assert ledger.changes() == (change(1), change(2))


def test_a_log_that_version_0_1_chained_by_digests_is_read(tmp_path):
    ledger = Ledger(tmp_path)
    ledger.add_changes([change(1)])
    line = json.loads(ledger.change_log.read_text())
    ledger.change_log.write_text(json.dumps(line | {"digest": "sha256:0"}) + "\n")
    ledger.add_changes([change(2)])
    assert ledger.changes() == (change(1), change(2))


@pytest.mark.parametrize("line", ["[]", "{}", "null", '{"digest": 1}', "\xff", "[" * 5000, "1"])
def test_what_is_no_line_is_bad_input(tmp_path, line):
    ledger = Ledger(tmp_path)
    ledger.change_log.write_text(line + "\n", encoding="utf-8")
    with pytest.raises(BadInput, match="changes.jsonl:1: is no line of a change log"):
        ledger.changes()
