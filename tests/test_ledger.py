"""The ledger reads back what it wrote, and refuses what was edited or lies in the wrong place."""

from __future__ import annotations

import dataclasses
import json

import pytest

from exabench.bench.candidates import make_candidates
from exabench.bench.ledger import Ledger, last_values, read_result, result_json
from exabench.core.errors import BadInput, UnknownName
from exabench.core.files import digest_of, json_text
from exabench.core.nouns import RESULT_FORMAT, BoardChange, Coverage, Timing, Usage
from exabench.models.costs import cost_of

RESULT = "results/acme--good/mini.bm25-20.json"
TIMING = Timing(0.25, 0.5, 10, None, "some processor, 2 cores")


def forged(file, change) -> None:
    """Change a result and give it the digest that fits, as somebody who knows the format would."""
    values = json.loads(file.read_text())
    del values["digest"]
    change(values)
    file.write_text(json_text(values | {"digest": digest_of(values)}))


def costly(result, timing=TIMING):
    """The same result of a model, with a cost and a timing."""
    usages = {
        "q03": Usage(20, 900, 20, 1e12, None, 1, 0, {"missing": 2}, 20),
        "q04": Usage(20, 800, 20, 2e12, passages=0),
    }
    cost = cost_of(usages, {"q03": 0.5, "q04": 1.0}, precision="int8", parameters=22_000_000, timing=timing)
    return dataclasses.replace(result, model={"name": "acme/m", "revision": "4f2c", "max_tokens": 512}, cost=cost)


def test_a_result_reads_back_as_it_was_written_with_its_model_and_its_cost(board):
    results = [read_result(file) for file in Ledger(board).result_files()]
    for result in [*results, costly(results[0]), costly(results[0], None)]:
        file = Ledger(board).add_result(result)
        assert read_result(file) == result
        assert json_text(result_json(read_result(file))) == file.read_text()


@pytest.mark.parametrize(
    "change",
    [
        lambda v: v["measurement"].pop("convention"),
        lambda v: v["measurement"]["metrics"].update({"nDCG@10": "0.9"}),
        lambda v: v["cost"].update(rpp={"paper": 1.0}),
        lambda v: v["cost"]["timing"].update(hardware={}),
        lambda v: v["cost"].update(passages=0.5),
        lambda v: v["cost"].update(cut_passages=21),
        lambda v: v["cost"].pop("passages"),
        lambda v: v.update(format=4),
    ],
)
def test_a_forged_result_of_another_shape_is_bad_input(board, change):
    file = Ledger(board).add_result(costly(read_result(board / RESULT)))
    forged(file, change)
    with pytest.raises(BadInput, match=r"mini\.bm25-20\.json: does not contain a result"):
        read_result(file)


def test_a_result_from_before_passages_were_counted_says_nothing_about_the_share_that_was_cut(board):
    result = costly(read_result(board / RESULT))
    assert result.cost.cut_share == 1 / 20
    old = dataclasses.replace(result, format=4, cost=dataclasses.replace(result.cost, passages=None))
    file = Ledger(board).add_result(old)
    assert "passages" not in json.loads(file.read_text())["cost"]
    assert read_result(file) == old and read_result(file).cost.cut_share is None


LACKING = {
    "a value": lambda v: v["measurement"]["metrics"].pop(v["measurement"]["headline"]),
    "an interval": lambda v: v["measurement"]["intervals"].popitem(),
    "values of queries": lambda v: v["measurement"]["per_query"].popitem(),
    "a first stage": lambda v: v["first_stage"].pop("nDCG@10"),
    "a ceiling": lambda v: v["ceiling"].pop("nDCG@10"),
    "ties": lambda v: v["measurement"]["ties"].pop("rate"),
    "a p": lambda v: v["gain"].pop("p"),
    "a bound": lambda v: v["gain"]["interval"].pop(),
}


@pytest.mark.parametrize("lacking", LACKING.values(), ids=LACKING)
def test_a_result_that_lacks_a_number_of_a_metric_is_refused_before_a_page_shows_it(board, lacking):
    forged(board / RESULT, lacking)
    with pytest.raises(BadInput, match=r"mini\.bm25-20\.json: .*(lacks a value|ties have|lacks the key|gain)"):
        read_result(board / RESULT)


@pytest.mark.parametrize("number", [1, None])
def test_a_result_of_another_format_says_what_to_do(board, number):
    forged(board / RESULT, lambda v: v.update(format=number))
    message = rf"format {RESULT_FORMAT} but of {number}; delete it and run `exabench bench run` again"
    with pytest.raises(BadInput, match=message):
        read_result(board / RESULT)


@pytest.mark.parametrize("text", ["[]", "{}", '{"digest": 1e999}', '{"a": "\\ud800"}', "not json"])
def test_what_is_no_result_is_bad_input(board, text):
    (board / RESULT).write_text(text)
    with pytest.raises(BadInput, match="mini.bm25-20.json"):
        read_result(board / RESULT)


def test_whatever_lies_under_another_name_than_its_content_says_is_refused_by_name(board):
    ledger = Ledger(board)
    lists = board / "candidates" / "mini"
    for place in ("acme--other/mini.bm25-20.json", "acme--good/mini.bm25-99.json"):
        file = board / "results" / place
        file.parent.mkdir(exist_ok=True)
        file.write_bytes((board / RESULT).read_bytes())
        with pytest.raises(BadInput, match="has a name that does not match its content"):
            list(ledger.results(file.parent.name))
    (lists / "bm25-20.trec.gz").write_bytes(ledger.run_file("acme--good", "mini", "bm25-20").read_bytes())
    with pytest.raises(BadInput, match="bm25-20.trec.gz: is not the candidate list of digest sha256:"):
        ledger.candidates_run(ledger.one_candidates("mini", "bm25-20"))
    (lists / "bm25-99.json").write_bytes((lists / "bm25-20.json").read_bytes())
    with pytest.raises(BadInput, match="bm25-99.json: describes mini/bm25-20"):
        ledger.candidates()
    ledger.submission_file("acme--good").rename(ledger.submission_file("acme--other"))
    with pytest.raises(BadInput, match="holds acme/good, so it must be named acme--good.toml"):
        ledger.submissions()
    (board / "runs" / "acme--good" / "mini.trec.gz").write_bytes(b"")
    with pytest.raises(BadInput, match="must be named <task>.<candidates>.trec.gz"):
        ledger.runs("acme--good")


@pytest.mark.parametrize("title", ['quotes " and \\ strokes', "é 日 😀", '"] # [views]'])
def test_a_board_may_have_any_title_that_is_one_line(tmp_path, title):
    ledger = Ledger(tmp_path / "new")
    ledger.create(title, ["mini", "trec-dl"], {title: ["mini"]})
    settings = ledger.settings()
    assert (settings.title, settings.tasks, settings.views) == (title, ["mini", "trec-dl"], {title: ["mini"]})
    ledger.create("another", [])
    assert ledger.settings().title == title  # an existing board is left as it is


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('title = "x"\ntasks = [1]', r"tasks\[0\]: expected `str`, got `int`"),
        ('title = "x"\ntasks = []\n[views]\nA = "mini"', "views.*expected `array`"),
        ('titel = "x"', "has an unknown key 'titel'; did you mean title"),
        ('title = "x"', "lacks the key 'tasks'"),
        ("tasks = [", "is not TOML"),
    ],
)
def test_bad_settings_are_refused(tmp_path, text, message):
    (tmp_path / "board.toml").write_text(text)
    with pytest.raises(BadInput, match=message):
        Ledger(tmp_path).settings()


@pytest.mark.parametrize("change", [{"depth": True}, {"digest": 3}, {"more": "x"}, {"depth": ...}], ids=str)
def test_a_candidate_list_with_other_fields_or_types_is_bad_input(board, change):
    """`...` stands for a field that is not there."""
    file = board / "candidates" / "mini" / "bm25-20.json"
    values = json.loads(file.read_text()) | change
    file.write_text(json_text({key: value for key, value in values.items() if value is not ...}))
    [key] = change
    with pytest.raises(BadInput, match=rf"bm25-20.json: ({key}: |.*'{key}'|does not have the fields)") as caught:
        Ledger(board).candidates()
    assert "\n" not in str(caught.value)


COUNTS = [field.name for field in dataclasses.fields(Coverage)]
ODD_NUMBERS = [
    *({"recall": number} for number in (-0.1, 1.1, 1e308)),
    *({"depth": number} for number in (0, -20, 10**6, 10**30)),
    *({"queries": number} for number in (-1, 10**12)),
    *({"coverage": {**dict.fromkeys(COUNTS, 5), "missing": number}} for number in (-1, 10**30)),
    *({"coverage": {one: 5 for one in COUNTS if one != name}} for name in COUNTS),
]


@pytest.mark.parametrize("change", ODD_NUMBERS, ids=str)
def test_a_number_that_no_list_has_is_refused_in_lists_and_in_results_over_them(board, change):
    file = board / "candidates" / "mini" / "bm25-20.json"
    file.write_text(json_text(json.loads(file.read_text()) | change))
    with pytest.raises(BadInput, match="bm25-20.json: .*(must be|expected|lacks the key)"):
        Ledger(board).candidates()
    file = board / RESULT
    body = json.loads(file.read_text())
    body["candidates"] |= change
    del body["digest"]
    file.write_text(json_text({**body, "digest": digest_of(body)}))
    with pytest.raises(BadInput, match="bm25-20.json: .*(must be|expected|lacks the key)"):
        read_result(file)


def test_a_frozen_list_keeps_its_digest_and_its_first_description(board):
    ledger = Ledger(board)
    before = ledger.description_file("mini", "bm25-20").read_bytes()
    candidates, run = make_candidates("mini", "bm25", 20)
    ledger.add_candidates(dataclasses.replace(candidates, source="somewhere else"), run)
    with pytest.raises(BadInput, match="is already frozen with another digest"):
        ledger.add_candidates(*make_candidates("mini", "bm25", 20, options={"k1": 2.0}))
    assert ledger.description_file("mini", "bm25-20").read_bytes() == before
    assert ledger.candidates_run(candidates).ranking("q03") == run.ranking("q03")
    with pytest.raises(UnknownName, match="unknown candidates for mini 'x'"):
        ledger.one_candidates("mini", "x")
    for name in ("../x-10", "bm25", "BM25-10", "a/b-10", "bm25-10\n", "-10"):
        with pytest.raises(BadInput, match="must be named <retriever>-<depth>"):
            ledger.add_candidates(dataclasses.replace(candidates, name=name), run)


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


@pytest.mark.parametrize("line", ["[]", "{}", "\xff", "[" * 5000])
def test_what_is_no_line_is_bad_input(tmp_path, line):
    ledger = Ledger(tmp_path)
    ledger.change_log.write_text(line + "\n", encoding="utf-8")
    with pytest.raises(BadInput, match="changes.jsonl:1: is not a line of a change log"):
        ledger.changes()
