"""The pages that compare lines: the data files they load are exact, belong to their results, and are harmless."""

from __future__ import annotations

import gzip
import json
import re
import time
from pathlib import Path
from typing import Any

import pytest
from compared import HEADLINE, SKILL, result, site, write_board, write_submission

from exabench.board import Board
from exabench.ledger import Ledger
from exabench.nouns import FIRST_STAGE
from exabench.pages import _compare
from exabench.pages._page import Page
from exabench.pages._paths import is_safe
from exabench.pages._views import View

STATIC = Path(_compare.__file__).parent / "static"
OWN = ("paired.js", "picker.js", "compare.js", "significance.js")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_board(tmp_path_factory.mktemp("compared"), ["nfcorpus", "scifact", "cqadupstack"]).folder


@pytest.fixture(scope="module")
def view(folder: Path) -> View:
    return View(Board.read(folder))


def handed_over(data: bytes, function: str) -> Any:
    """What a data file, which is one line, gives to the function it calls."""
    match = re.fullmatch(rf"exabench\.{function}\((.*)\);\n", data.decode("ascii"))
    assert match, data[:80]
    return json.loads(match[1])


def made(view: View) -> dict[str, Any]:
    return {page.path: page.make() for page in pages_of(view)}


def pages_of(view: View) -> list[Page]:
    return [*_compare.pages(view), *(_compare.vector_page(view, one) for one in view.results)]


def test_every_path_is_safe_and_there_once(view: View) -> None:
    paths = [page.path for page in pages_of(view)]
    assert len(paths) == len(set(paths)) and all(map(is_safe, paths))


def test_the_values_of_a_result_are_those_of_its_file_to_the_last_bit(folder: Path, view: View) -> None:
    files = made(view)
    compared = 0
    for slug in view.board.submissions:
        for one in Ledger(folder).results(slug):
            name = f"{one.task}.{one.candidates.name}.js"
            vector = handed_over(files[f"data/queries/{slug}/{name}"], "vector")
            assert vector["of"] == [slug, one.task, one.candidates.name]
            values = [vector["values"][place] for place in vector["at"]]
            own = one.measurement.per_query[HEADLINE]
            assert values == [own[query] for query in sorted(own)]
            ids = handed_over(files[f"data/queries/{name}"], "queries")["ids"]
            assert (ids == sorted(own)) == (slug != "acme--odd" or one.task != "fiqa")
            compared += 1
    assert compared > 50


def test_two_results_that_must_not_be_compared_differ_in_what_says_so(view: View) -> None:
    files = made(view)

    def of(slug: str, task: str) -> Any:
        return handed_over(files[f"data/queries/{slug}/{task}.bm25-100.js"], "vector")

    strong, odd, gaps = of("acme--strong", "nfcorpus"), of("acme--odd", "nfcorpus"), of("acme--gaps", "nfcorpus")
    alike = ("metric", "candidates", "qrels", "queries")
    assert [strong[key] for key in alike] == [odd[key] for key in alike]
    assert strong["convention"] != odd["convention"]
    assert (strong["missing"], gaps["missing"]) == (0, 3)
    assert of("acme--strong", "scifact")["qrels"] != of("acme--odd", "scifact")["qrels"]


def test_the_lines_name_every_result_of_the_board(view: View) -> None:
    given = handed_over(made(view)["data/lines.js"], "lines")
    found = {
        (given["submissions"][who][0], given["candidates"][over], given["singles"][task])
        for who, over, tasks in given["lines"]
        for task in given["sets"][tasks]
    }
    assert found == {(one.submission, one.candidates, one.task) for one in view.results}
    assert [FIRST_STAGE, f"{FIRST_STAGE.replace('--', '/')} (first stage)"] in given["submissions"]
    assert [task["name"] for task in given["tasks"]] == [task.name for task in view.board.tasks]


def test_groups_are_those_of_the_board(view: View) -> None:
    files = made(view)
    for ranking in view.board.rankings:
        rows = handed_over(files[f"data/groups/view.{ranking.slug}.js"], "groups")["rows"]
        wanted = [(row.submission.slug, row.candidates, row.group) for row in ranking.rows if row.mean is not None]
        assert [(row[0], row[1], row[5]) for row in rows] == wanted and len(wanted) > 5
    rows = handed_over(files["data/groups/task.scifact.js"], "groups")["rows"]
    entries = [entry for entry in view.board.entries["scifact"] if entry.group is not None]
    assert [(row[0], row[2], row[5]) for row in rows] == [
        (entry.result.submission, round(10_000 * entry.result.value), entry.group) for entry in entries
    ]


def test_without_scripts_the_groups_of_the_first_twenty_lines_are_a_table(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "board")
    ledger.create("Many", ["scifact"], {})
    for i in range(23):
        write_submission(ledger, f"acme/line{i:02}")
        ledger.add_result(result(f"acme--line{i:02}", "scifact", "bm25-100", {"a": 0.5, "b": i / 100}))
    board = Board.read(tmp_path / "board")
    site(board, tmp_path / "site")
    text = (tmp_path / "site" / "significance.html").read_text(encoding="utf-8")
    assert len(re.findall(r'<td class="n group">\d+</td>', text)) == 20
    assert "the first 20 of 23 lines" in text
    assert "acme/line22" in text and "acme/line02<" not in text
    assert "exabench bench compare" in (tmp_path / "site" / "compare.html").read_text(encoding="utf-8")


def test_a_board_without_results_says_so(tmp_path: Path) -> None:
    Ledger(tmp_path / "board").create("Empty", ["scifact"], {})
    site(Board.read(tmp_path / "board"), tmp_path / "site")
    for name in ("compare.html", "significance.html"):
        text = (tmp_path / "site" / name).read_text(encoding="utf-8")
        assert "No results yet." in text and "<form" not in text


def test_what_strangers_wrote_cannot_leave_its_string(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.create('</script>"); alert(1); ("', ["scifact"], {"<b>\u2028View</b>": ["scifact"]})
    write_submission(ledger, "acme/one")
    nasty = ['");alert(1);("', "</script><script>", "line\u2028end", "\u202eturned", "quote'\\", "\U0001f468"]
    ledger.add_result(result("acme--one", "scifact", "bm25-100", {query: 0.5 for query in nasty}))
    files = made(View(Board.read(tmp_path)))
    for path, data in files.items():
        if path.endswith(".js"):
            handed_over(data, "(?:lines|groups|queries|vector)")
    ids = handed_over(files["data/queries/scifact.bm25-100.js"], "queries")["ids"]
    assert len(ids) == len(nasty) and not any(mark in "".join(ids) for mark in "\u2028\u202e")


def test_one_more_submission_leaves_the_values_of_the_others_as_they_are(tmp_path: Path) -> None:
    ledger = write_board(tmp_path, ["scifact"])
    before = {page.path: page for page in pages_of(View(Board.read(tmp_path)))}
    write_submission(ledger, "acme/zz-new")
    ledger.add_result(result("acme--zz-new", "scifact", "bm25-100", {f"scifact-q{i}": 0.5 for i in range(1, 301)}))
    after = {page.path: page for page in pages_of(View(Board.read(tmp_path)))}
    kept = [path for path in before if path.startswith("data/queries/")]
    assert len(kept) > len(SKILL)
    assert all(before[path].of == after[path].of and before[path].make() == after[path].make() for path in kept)
    assert set(after) - set(before) == {"data/queries/acme--zz-new/scifact.bm25-100.js"}
    assert before["data/lines.js"].of != after["data/lines.js"].of


def test_ten_thousand_lines_are_listed_in_seconds_and_less_than_a_megabyte(view: View) -> None:
    many = view.results[0]
    results = tuple(many._replace(submission=f"acme--line{i}") for i in range(10_000))
    one = view.board.submissions[many.submission]
    board = type(view.board)(
        **vars(view.board) | {"submissions": {r.submission: one for r in results}, "results": results}
    )
    start = time.perf_counter()
    data = _compare.lines_data(View(board))
    assert time.perf_counter() - start < 5
    assert len(handed_over(data, "lines")["lines"]) == 10_000
    assert len(data) < 1_000_000 and len(gzip.compress(data)) < 200_000


def test_the_scripts_of_both_pages_are_small_and_plain() -> None:
    texts = [(STATIC / name).read_text(encoding="utf-8") for name in OWN]
    assert sum(len(gzip.compress(text.encode(), 9)) for text in texts) <= 20_000
    for text in texts:
        assert text.isascii() and '"use strict";' in text
        assert not re.search(
            r"\beval\b|innerHTML|outerHTML|document\.write|new Function|https?:(?!//www\.w3\.org)|localStorage|fetch\(",
            text,
        )
