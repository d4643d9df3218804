"""The site: what is on it, that nothing on it acts, and that it is there whole or as it was."""

from __future__ import annotations

import csv
import dataclasses
import gzip
import io
import json
import os
import random
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pyarrow.parquet as pq
import pytest
from hub_client import write_release
from toys import contents, good_run, write_run, write_submission
from trained import model_folder

from exabench.bench.evaluation import run_board
from exabench.bench.ledger import Ledger, read_result
from exabench.bench.submissions import submission_text
from exabench.bench.submitting import submit
from exabench.board.pages import figures, render
from exabench.board.pages._format import clean, effect, https, p_value, score, signed, span, three_digits
from exabench.board.ranking import Board, Reported
from exabench.core.errors import BadInput, CannotWrite
from exabench.core.files import digest_of, only_writer
from exabench.core.nouns import Timing, Usage
from exabench.models.costs import cost_of

VOID = {"meta", "link", "input", "br", "img", "hr", "area", "base", "col", "embed", "source", "track", "wbr"}
ATOM = "{http://www.w3.org/2005/Atom}"


@dataclasses.dataclass
class Element:
    tag: str
    attributes: dict[str, str]
    parts: list[str] = dataclasses.field(default_factory=list)

    @property
    def text(self) -> str:
        return "".join(self.parts)


class Page(HTMLParser):
    """A page as a flat list of elements; the text of an element holds that of all inside it."""

    def __init__(self, data: bytes) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[Element] = []
        self._open: list[Element] = []
        self.feed(data.decode())
        self.close()
        assert not self._open, f"{self._open[-1].tag} is never closed"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len({name for name, _ in attrs}) == len(attrs), f"an attribute of {tag} stands twice"
        element = Element(tag, {name: value or "" for name, value in attrs})
        self.elements.append(element)
        if tag not in VOID:
            self._open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self._open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self._open and self._open[-1].tag == tag, f"{tag} is closed where it is not open"
        self._open.pop()

    def handle_data(self, data: str) -> None:
        for element in self._open:
            element.parts.append(data)

    def all(self, *tags: str) -> list[Element]:
        return [element for element in self.elements if element.tag in tags]

    def links(self) -> Iterator[str]:
        for element in self.elements:
            yield from (element.attributes[key] for key in ("href", "src", "xlink:href") if key in element.attributes)


def pages(site: Path) -> dict[str, Page]:
    return {str(file.relative_to(site)): Page(file.read_bytes()) for file in sorted(site.rglob("*.html"))}


@pytest.fixture
def mini_board(board: Path) -> Path:
    """The small board with a table of reported numbers and an audit beside it."""
    (board / "reported").mkdir()
    (board / "reported" / "audit_discrepancies.csv").write_text(
        "source,cell,printed,recomputed,reading\nA,b,48.5,49.02,c\n"
    )
    line = "system,dataset,first_stage,topk,metric,value,source\nmonoT5,mini,bm25,100,nDCG@10,0.735,Somewhere 2020\n"
    (board / "reported" / "some_table.csv").write_text(line)
    return board


@pytest.fixture
def site(mini_board: Path) -> Path:
    """The small board, built."""
    render(Board.read(mini_board), mini_board / "site")
    return mini_board / "site"


def add_submission(board: Path, name: str = "acme/other") -> None:
    ledger = Ledger(board)
    run = good_run(ledger.candidates_run(ledger.one_candidates("mini", "bm25-20")))
    sent = board.parent / "sent-later"
    submit(write_submission(sent, name=name), [f"mini={write_run(sent / 'run.trec', run)}"], board)
    run_board(board)


# -- what is there ---------------------------------------------------------------------------------------------


def test_every_kind_of_page_is_there(site: Path) -> None:
    wanted = {
        *("index.html", "efficiency.html", "about.html", "downloads.html", "feed.atom", "files.json"),
        *("submissions/acme--good.html", "submissions/exabench--oracle.html"),
        *("results/acme--good/mini.bm25-20.html", "tasks/mini.html"),
        *("reported/index.html", "reported/some_table.html", "reported/audit_discrepancies.html"),
        *("data/board.json", "data/rows.csv", "data/results.csv", "data/results.parquet"),
        *("data/results/acme--good/mini.bm25-20.json", "static/style.css", "static/board.js"),
    }
    assert wanted <= set(contents(site))


def test_every_link_leads_to_a_file_of_the_site_or_to_what_a_submission_names(site: Path) -> None:
    files = contents(site)
    for name, page in pages(site).items():
        for link in page.links():
            target, _, place = link.partition("#")
            if link.startswith("https://"):
                assert name.startswith("submissions/")
                continue
            assert not re.match(r"[a-z]+:|/", link), f"{name}: {link} is not relative"
            inside = os.path.normpath(os.path.join(os.path.dirname(name), target)) if target else name
            assert inside in files, f"{name}: {link} leads nowhere"
            if place and "=" not in place:  # that is what the page's script reads
                assert place in {e.attributes.get("id") for e in Page(files[inside]).elements}, f"{name}: {link}"


def test_the_manifest_names_every_file_with_its_digest(site: Path) -> None:
    listed = json.loads((site / "files.json").read_text())["files"]
    found = {name: digest_of(data) for name, data in contents(site).items() if name != "files.json"}
    assert listed == found


def test_the_same_board_gives_the_same_bytes(mini_board: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    render(Board.read(mini_board), first)
    render(Board.read(mini_board), second)
    assert contents(first) == contents(second)


def test_an_empty_board_and_one_with_a_mean_of_tasks_have_all_their_pages(tmp_path: Path) -> None:
    Ledger(tmp_path / "board").create("Nothing yet", ["mini", "cqadupstack"])
    render(Board.read(tmp_path / "board"), tmp_path / "site")
    assert "12" in Page((tmp_path / "site" / "tasks" / "cqadupstack.html").read_bytes()).all("main")[0].text
    assert "No results yet" in (tmp_path / "site" / "index.html").read_text()
    assert (tmp_path / "site" / "tasks" / "cqadupstack-tex.html").is_file()


# -- rebuilding ------------------------------------------------------------------------------------------------


def test_a_rebuild_touches_nothing(mini_board: Path, site: Path) -> None:
    before = {file: file.stat().st_mtime_ns for file in site.rglob("*")}
    assert render(Board.read(mini_board), site) == []
    assert {file: file.stat().st_mtime_ns for file in site.rglob("*")} == before


def test_a_new_submission_touches_only_the_files_it_enters(
    mini_board: Path, site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1800000000")  # years later: a date must not creep into other pages
    add_submission(mini_board)
    changed = {str(file.relative_to(site)) for file in render(Board.read(mini_board), site)}
    assert {"index.html", "tasks/mini.html", "data/board.json", "data/rows.csv", "data/results.csv"} <= changed
    own = {path for path in changed if "acme--other" in path}
    assert {
        "submissions/acme--other.html",
        "results/acme--other/mini.bm25-20.html",
        "data/results/acme--other/mini.bm25-20.json",
    } <= own
    others = ("results/", "data/results/", "data/queries/", "data/rankings/", "reported/", "static/", "about.html")
    assert not [path for path in changed - own if path.startswith(others)]


def test_an_incremental_build_is_the_full_build(mini_board: Path, site: Path, tmp_path: Path) -> None:
    add_submission(mini_board)
    render(Board.read(mini_board), site)
    render(Board.read(mini_board), tmp_path / "fresh")
    assert contents(site) == contents(tmp_path / "fresh")


def test_pages_of_a_removed_submission_go_and_other_peoples_files_stay(mini_board: Path, site: Path) -> None:
    foreign = {site / "CNAME": "board.example", site / "results" / "acme--good" / "notes.txt": "mine"}
    for file, text in foreign.items():
        file.write_text(text)
    (mini_board / "submissions" / "acme--good.toml").unlink()
    shutil.rmtree(mini_board / "results" / "acme--good")
    render(Board.read(mini_board), site)
    assert not [name for name in contents(site) if "acme--good" in name and not name.endswith("notes.txt")]
    assert not (site / "data" / "results" / "acme--good").exists()
    assert {file: file.read_text() for file in foreign} == foreign


def test_a_folder_of_somebody_else_is_refused(mini_board: Path, tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.tex").write_text("years of work")
    with pytest.raises(BadInput, match=r"no files\.json"):
        render(Board.read(mini_board), tmp_path / "home")
    assert contents(tmp_path / "home") == {"thesis.tex": b"years of work"}


def test_a_link_in_the_site_that_leads_out_is_refused(mini_board: Path, site: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    shutil.move(site / "tasks", outside)
    (site / "tasks").symlink_to(outside)
    before = contents(outside)
    with pytest.raises(BadInput, match="is a link"):
        render(Board.read(mini_board), site)
    assert contents(outside) == before


def test_a_manifest_that_names_files_outside_removes_none(mini_board: Path, site: Path, tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("keep")
    (site / "files.json").write_text(json.dumps({"format": 1, "files": {"../../precious": "sha256:0"}}))
    with pytest.raises(BadInput, match="not a list of files"):
        render(Board.read(mini_board), site)
    assert (tmp_path / "precious").read_text() == "keep"


# -- a full disk, two builders ---------------------------------------------------------------------------------


def test_a_full_disk_leaves_the_old_site_as_it_was(mini_board: Path, site: Path) -> None:
    """No file of the next build may be larger than this many bytes: as on a full disk, writing one fails."""
    add_submission(mini_board)
    before = contents(site)
    for largest in (100, 3_000):
        code = (
            "import resource, sys\n"
            f"resource.setrlimit(resource.RLIMIT_FSIZE, ({largest}, {largest}))\n"
            "from exabench.cli import main\n"
            f"sys.exit(main(['board', 'build', '--board', {str(mini_board)!r}]))\n"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert done.returncode == 2 and "cannot be written" in done.stderr, done.stderr
        assert contents(site) == before
        assert not (mini_board / ".site.staging").exists()
    assert render(Board.read(mini_board), site)


def test_of_two_builders_the_second_is_told_who_is_first(mini_board: Path, site: Path) -> None:
    before = contents(site)
    with only_writer(site), pytest.raises(CannotWrite, match=f"process {os.getpid()}"):
        render(Board.read(mini_board), site)
    assert contents(site) == before


def test_what_a_killed_build_left_does_not_stand_in_the_way(mini_board: Path, site: Path) -> None:
    staging = mini_board / ".site.staging"
    (staging / "new").mkdir(parents=True)
    (staging / "new" / "index.html").write_text("half")
    assert render(Board.read(mini_board), site) == []
    assert not staging.exists()


# -- the numbers -----------------------------------------------------------------------------------------------


def test_scores_on_pages_are_those_of_the_results(mini_board: Path, site: Path) -> None:
    board = Board.read(mini_board)
    found = board.result("acme--good", "mini", "bm25-20")
    assert found is not None
    result = board.full(found)
    shown = f"{100 * result['nDCG@10']:.1f}"
    for name in (
        "index.html",
        "submissions/acme--good.html",
        "results/acme--good/mini.bm25-20.html",
        "tasks/mini.html",
    ):
        assert shown in Page((site / name).read_bytes()).all("main")[0].text, name
    text = Page((site / "results/acme--good/mini.bm25-20.html").read_bytes()).all("main")[0].text
    for metric, value in result.measurement.metrics.items():
        assert metric in text and score(value) in text
    for query, value in result.measurement.per_query["nDCG@10"].items():
        assert query in text and score(value) in text


def test_the_data_files_hold_the_numbers_in_full(mini_board: Path, site: Path) -> None:
    board = Board.read(mini_board)
    wanted = {(r.submission.replace("--", "/"), r.task): r.value for r in board.results}
    lines = list(csv.DictReader(io.StringIO((site / "data" / "results.csv").read_text())))
    assert {(line["submission"], line["task"]): float(line["nDCG@10"]) for line in lines} == wanted
    table = pq.read_table(site / "data" / "results.parquet").to_pylist()
    assert {(line["submission"], line["task"]): line["nDCG@10"] for line in table} == wanted
    whole = json.loads((site / "data" / "board.json").read_text())
    assert {(line["submission"], line["task"]): line["nDCG@10"] for line in whole["results"]} == wanted
    one = json.loads((site / "data" / "results" / "acme--good" / "mini.bm25-20.json").read_text())
    found = board.result("acme--good", "mini", "bm25-20")
    assert found is not None
    assert one["measurement"]["per_query"] == board.full(found).measurement.as_json()["per_query"]


def test_an_incomplete_line_never_shows_a_mean(mini_board: Path) -> None:
    (mini_board / "board.toml").write_text('title = "Two tasks"\ntasks = ["mini", "scifact"]\n')
    render(Board.read(mini_board), mini_board / "site")
    text = (mini_board / "site" / "index.html").read_text()
    rows = re.findall(r"<tr(?: class=\"stage\")?>(?:(?!</tr>).)*submissions/.*?</tr>", text, re.DOTALL)
    assert rows and all("1/2 tasks" in row and "<b>" not in row for row in rows)
    lines = list(csv.DictReader(io.StringIO((mini_board / "site" / "data" / "rows.csv").read_text())))
    assert all(line["mean"] == line["low"] == line["difference"] == line["scifact"] == "" for line in lines)


def test_reported_values_stand_as_they_are_printed(site: Path) -> None:
    cells = [element.text for element in Page((site / "reported" / "some_table.html").read_bytes()).all("th", "td")]
    assert cells[-7:] == ["monoT5", "mini", "bm25", "100", "nDCG@10", "0.735", "Somewhere 2020"]
    assert "not measured here" in (site / "reported" / "some_table.html").read_text()


def test_the_feed_is_atom_newest_first(mini_board: Path, site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1800000000")
    add_submission(mini_board, "zeta/newest")
    render(Board.read(mini_board), site)
    feed = ElementTree.fromstring((site / "feed.atom").read_bytes())
    entries = feed.findall(f"{ATOM}entry")
    titles = [entry.findtext(f"{ATOM}title") for entry in entries]
    assert titles[0] == "zeta/newest" and titles[1:] == sorted(titles[1:], key=str)
    assert feed.findtext(f"{ATOM}updated") == "2027-01-15T00:00:00Z"
    identities = [entry.findtext(f"{ATOM}id") or "" for entry in (feed, *entries)]
    assert len(set(identities)) == len(identities) and all(text.startswith("tag:") for text in identities)


@pytest.mark.parametrize(
    ("shown", "wanted"),
    [
        (score(0.59241), "59.2"),
        (score(None), "–"),
        (signed(0.1), "+10.0"),
        (signed(-0.0312), "−3.1"),
        (signed(-0.0004), "0.0"),
        (span((0.5, 0.75)), "50.0–75.0"),
        (p_value(0.0001), "< 0.001"),
        (p_value(0.0494), "0.049"),
        (effect(-0.5), "−0.50"),
        (three_digits(None), "–"),
        (three_digits(0), "0"),
        (three_digits(0.03124), "0.0312"),
        (three_digits(4.7), "4.70"),
        (three_digits(1250.4), "1,250"),
        (three_digits(3.12e11, 1e12), "0.312"),
        (three_digits(22_713_601, 1e6), "22.7"),
        (https("javascript:alert(1)"), ""),
        (https("https://example.org/a?b=c"), "https://example.org/a?b=c"),
        (https("https://example.org/\nx"), ""),
        (clean("a\x00b\u202ec\r\nd"), "a\ufffdb<U+202E>c\nd"),
    ],
)
def test_values_read_well(shown: str, wanted: str) -> None:
    assert shown == wanted


# -- what ranking took -----------------------------------------------------------------------------------------


def add_model(
    board: Path, name: str, mean: float, flops: float | None, *, seconds: float | None = None, on: str = "a processor"
) -> None:
    """File the result of a model with made-up values that all equal `mean`, and what they took."""
    ledger, pattern = Ledger(board), read_result(board / "results" / "acme--good" / "mini.bm25-20.json")
    sent = ledger.submissions()["acme--good"]
    made = dataclasses.replace(sent, name=name, kind="model", reranker="listwise", model=name, revision="4f" * 20)
    (board / "submissions" / f"{made.slug}.toml").write_text(submission_text(made))
    per_query = dict.fromkeys(pattern.measurement.per_query["nDCG@10"], mean)
    measured = dataclasses.replace(
        pattern.measurement,
        metrics={**pattern.measurement.metrics, "nDCG@10": mean},
        per_query={**pattern.measurement.per_query, "nDCG@10": per_query},
        intervals={**pattern.measurement.intervals, "nDCG@10": (mean - 0.02, mean + 0.02)},
    )
    usage = Usage(9, 31_000, 512, None if flops is None else flops / 2, flops, 3, 1, {"missing": 1, "out_of_range": 2})
    timing = None if seconds is None else Timing(seconds, 3 * seconds, 10, 12.5, on)
    usages = dict.fromkeys(per_query, usage)
    cost = cost_of(usages, per_query, precision="bfloat16", parameters=22_713_601, timing=timing)
    model = {"name": name, "revision": "4f" * 20, "window": 20}
    result = dataclasses.replace(pattern, submission=made.slug, measurement=measured, model=model, cost=cost)
    ledger.add_result(dataclasses.replace(result, state="reproduced"))


@pytest.fixture
def models(mini_board: Path) -> Path:
    """The small board with four models: two that nothing cheaper beats, one that is beaten, one behind a server."""
    add_model(mini_board, "acme/cheap", 0.5, 1e11, seconds=0.25)
    add_model(mini_board, "acme/dear", 0.75, 5e13, seconds=8.0)
    add_model(mini_board, "acme/beaten", 0.4, 2e12, seconds=0.01, on="another processor")
    add_model(mini_board, "acme/hidden", 0.7, None)
    render(Board.read(mini_board), mini_board / "site")
    return mini_board


def table_of(page: Page) -> dict[str, list[str]]:
    """The rows of a page's large table by their heading cell."""
    rows: dict[str, list[str]] = {}
    cells = page.elements[
        next(i for i, e in enumerate(page.elements) if e.attributes.get("id") in ("sortable", "board")) :
    ]
    row: list[Element] = []
    for element in [*cells, Element("tr", {})]:
        if element.tag == "tr":
            name = next((cell.text for cell in row if cell.attributes.get("scope") == "row"), "")
            rows[name] = [cell.text for cell in row]
            row = []
        row += [element] if element.tag in ("td", "th") else []
    return rows


def test_the_overview_says_what_each_line_takes(models: Path) -> None:
    rows = table_of(Page((models / "site" / "index.html").read_bytes()))
    assert rows["acme/cheap"][10:13] == ["0.100", "22.7", "0.250"]
    assert rows["acme/hidden"][10:13] == ["–", "22.7", "–"]
    assert rows["first stage: bm25"][10:13] == ["0", "–", "–"]
    assert rows["acme/good"][10:13] == ["–", "–", "–"]
    titles = {e.attributes.get("title", "") for e in Page((models / "site" / "index.html").read_bytes()).all("abbr")}
    assert "the model behind its server is not known" in titles


def test_the_front_holds_those_that_nothing_cheaper_beats(models: Path) -> None:
    page = Page((models / "site" / "efficiency.html").read_bytes())
    rows = table_of(page)
    assert {name: row[8] for name, row in rows.items() if row and name} | {} == {
        "acme/dear": "exact, paper, parameters, latency",
        "acme/cheap": "exact, paper, latency",
        "acme/beaten": "latency-2",
        "acme/hidden": "–",
        "acme/good": "–",
        "first stage: bm25": "–",
    }
    assert [e.text for e in page.all("h2")][3:5] == ["Latency on a processor", "Latency on another processor"]


def test_every_point_of_the_figures_is_named_and_in_the_table(models: Path) -> None:
    page = Page((models / "site" / "efficiency.html").read_bytes())
    figures_there = [e for e in page.all("svg") if "fig" in e.attributes["class"].split()]
    assert len(figures_there) == 5
    points = [e.text for e in page.all("title")[1:] if " over bm25-20: " in e.text]
    assert points.count("acme/cheap over bm25-20: 50.0") == 4 and len(points) == 3 + 3 + 4 + 2 + 1
    names = {name for name in table_of(page) if name}
    assert {point.split(" over ")[0] for point in points} <= names


def test_a_result_page_says_what_the_model_was_and_took(models: Path) -> None:
    text = Page((models / "site" / "results" / "acme--dear" / "mini.bm25-20.html").read_bytes()).all("main")[0].text
    for part in (
        *("acme/dear", "4f" * 20, "bfloat16", "22,713,601", "31,000 read, 512 written", "a processor"),
        *("missing 24, out of range 48", "72 passages, 24 queries", "median 8.00, 95th percentile 24.0", "12.5"),
        *("50.0", "25.0", "15.0", "30.0", "20.0", "40.0"),  # TFLOPs, nDCG per PFLOP, queries per PFLOP
    ):
        assert part in text, part
    sent = Page((models / "site" / "results" / "acme--good" / "mini.bm25-20.html").read_bytes()).all("main")[0].text
    assert "what it took was not seen" in sent


def test_the_data_files_hold_the_costs(models: Path) -> None:
    lines = {
        line["submission"]: line for line in csv.DictReader(io.StringIO((models / "site/data/rows.csv").read_text()))
    }
    assert float(lines["acme/cheap"]["flops_exact"]) == 1e11 and lines["acme/hidden"]["flops_exact"] == ""
    table = pq.read_table(models / "site" / "data" / "results.parquet")
    rows = {row["submission"]: row for row in table.to_pylist()}
    dear = rows["acme/dear"]
    assert (dear["flops_exact"], dear["qpp_exact"], dear["rpp_paper"]) == (5e13, 20.0, pytest.approx(30.0))
    assert (dear["p50"], dear["timed_queries"], dear["repairs"], dear["cut_passages"]) == (8.0, 10, 72, 72)
    assert json.loads(dear["model"])["window"] == 20 and rows["acme/good"]["model"] == ""
    one = json.loads((models / "site/data/results/acme--dear/mini.bm25-20.json").read_text())
    assert one["cost"]["repairs"] == {"missing": 24, "out_of_range": 48} and one["model"]["name"] == "acme/dear"


def test_a_column_of_costs_that_nobody_knows_has_its_type(site: Path) -> None:
    schema = pq.read_schema(site / "data" / "results.parquet")
    types = {name: str(schema.field(name).type) for name in ("flops_exact", "parameters", "hardware", "p50")}
    assert types == {"flops_exact": "double", "parameters": "int64", "hardware": "string", "p50": "double"}


def test_a_board_without_costs_says_so(site: Path) -> None:
    page = Page((site / "efficiency.html").read_bytes())
    assert not page.all("svg") and page.all("main")[0].text.count("No line with a mean says") == 4


def test_points_far_apart_and_on_one_spot_are_drawn_inside_the_figure() -> None:
    for costs in ([1e-9, 1e6], [3.0], [2.0, 2.0, 2.0000001], [10.0**k for k in range(-8, 9)]):
        points = [figures.CostPoint(f"p{i}", f"p{i}", cost, 0.5, (0.0, 1.0), True) for i, cost in enumerate(costs)]
        tree = ElementTree.fromstring(figures.frontier("k", points, [("<b>", 0.9)], axis="x", title="t", about="a"))
        wide, high = (float(tree.attrib[key]) for key in ("width", "height"))
        for mark in tree.iter():
            for key, limit in (("cx", wide), ("x", wide), ("cy", high), ("y", high)):
                assert 0 <= float(mark.attrib.get(key, 0)) <= limit, mark.attrib
        ticks = sorted(float(mark.attrib["x"]) for mark in tree.iter() if mark.attrib.get("class") == "num mid")
        assert 1 <= len(ticks) <= 9 and all(
            after - before > 50 for before, after in zip(ticks, ticks[1:], strict=False)
        )


# -- hostile text ----------------------------------------------------------------------------------------------

ATTACKS = (
    "<script>alert({n})</script>",
    "<img src=x onerror=alert({n})>",
    '"\' onmouseover=alert({n}) x="',
    "</td></tr></table></main><iframe srcdoc=x>{n}",
    "javascript:alert({n})",
    "{{{{7*7}}}}{n}",
    "{{% for x in y %}}{n}{{% endfor %}}",
    "{{# {n} #}}",
    "a\x00b\x08c\x1bd\x7f\x85{n}",
    "\u202egnp.exe{n}\u2066",
    "--><!--{n}",
    "]]>{n}&lt;&#60;&amp",
    "=HYPERLINK(1){n}",
    "../../../etc/passwd{n}",
    "\ud83d\ude00 \u05d0\u0627 \ufffe{n}".encode("utf-16", "surrogatepass").decode("utf-16"),
    "two\nlines\r\n\ttabs{n}",
    "x" * 3000 + "{n}",
)


def hostile_strings(count: int) -> Iterable[str]:
    draw = random.Random(7)
    for n in range(count):
        yield "".join(draw.choice(ATTACKS[:16] if n % 100 else ATTACKS).format(n=n) for _ in range(draw.choice((1, 2))))


def test_ten_thousand_hostile_names_are_text_and_nothing_else(mini_board: Path, tmp_path: Path) -> None:
    names = list(hostile_strings(10_000))
    rows = tuple((name, names[-1 - i], "0.5") for i, name in enumerate(names))
    board = dataclasses.replace(
        Board.read(mini_board), reported=(Reported("hostile", ("system", "first", "value"), rows),)
    )
    before = contents(tmp_path)
    render(board, tmp_path / "out" / "site")
    found = {name: data for name, data in contents(tmp_path).items() if name not in before}
    assert all(name.startswith(("out/site/", "out/.site.lock")) for name in found)
    page = Page((tmp_path / "out" / "site" / "reported" / "hostile.html").read_bytes())
    count = Counter(element.tag for element in page.elements)
    assert count["script"] == 2 and not count["img"] and not count["iframe"] and count["tr"] == len(names) + 1
    assert not any(key.startswith("on") or key == "style" for e in page.elements for key in e.attributes)
    assert [cell.text for cell in page.all("th")[3:]] == [clean(name) for name in names]
    assert json.loads((tmp_path / "out/site/data/board.json").read_text())["reported"][0]["rows"][0][0] == names[0]


def test_hostile_words_of_a_submission_and_a_board_are_text(mini_board: Path, tmp_path: Path) -> None:
    board = Board.read(mini_board)
    good = board.submissions["acme--good"]
    kinds = [Counter(e.tag for e in page.elements) for page in built(board, tmp_path / "plain")]
    for n, attack in enumerate(attack.format(n=0) for attack in ATTACKS):
        bad = dataclasses.replace(
            good, description=attack, link=attack, contact=attack, licence=attack, training_data=(attack,), reranker=""
        )
        rows = tuple(dataclasses.replace(row, submission=bad) if row.submission == good else row for row in board.rows)
        rankings = (*board.rankings[:-1], dataclasses.replace(board.rankings[-1], rows=rows))
        sent = {**board.submissions, good.slug: bad}
        hostile = dataclasses.replace(board, submissions=sent, rankings=rankings, title=attack)
        pages_now = list(built(hostile, tmp_path / str(n)))
        # One page gains a line for the description and loses the link, which is no https address; no tag else comes.
        for page, plain in zip(pages_now, kinds, strict=True):
            now = Counter(e.tag for e in page.elements)
            assert {tag for tag in now if now[tag] != plain[tag]} <= {"p", "bdi", "a"}
            assert not any(key.startswith("on") for e in page.elements for key in e.attributes)
            assert not any(re.match(r"(?i)\s*(javascript|data|vbscript):", link) for link in page.links())
        assert any(clean(attack) in element.text for page in pages_now for element in page.all("p"))
        ElementTree.fromstring((tmp_path / str(n) / "feed.atom").read_bytes())


def built(board: Board, to: Path) -> Iterator[Page]:
    render(board, to)
    return iter(pages(to).values())


def of_one_machine(board: Path) -> None:
    """Every timing taken on the same machine: what is drawn then does not depend on what the machines are called."""
    ledger = Ledger(board)
    for one in list(ledger.results()):
        if one.cost and one.cost.timing:
            timing = dataclasses.replace(one.cost.timing, hardware="one")
            ledger.add_result(dataclasses.replace(one, cost=dataclasses.replace(one.cost, timing=timing)))


def test_hostile_words_of_a_model_are_text(models: Path, tmp_path: Path) -> None:
    of_one_machine(models)
    plain = [Counter(e.tag for e in page.elements) for page in built(Board.read(models), tmp_path / "plain")]
    ledger, attack = Ledger(models), clean(" ".join(attack.format(n=0) for attack in ATTACKS))
    for one in list(ledger.results()):
        cost = one.cost and dataclasses.replace(one.cost, precision=attack, repairs={attack: 1, "b": 2})
        if cost and cost.timing:
            cost = dataclasses.replace(cost, timing=dataclasses.replace(cost.timing, hardware=attack))
        model = {"name": attack, "revision": "x", "window": 1, attack: attack} if one.model else {}
        ledger.add_result(dataclasses.replace(one, model=model, cost=cost))
    pages_now = list(built(Board.read(models), tmp_path / "hostile"))
    for page, before in zip(pages_now, plain, strict=True):
        now = Counter(e.tag for e in page.elements)
        assert {tag for tag in now if now[tag] != before[tag]} <= {"dt", "dd", "bdi"}
        assert not any(key.startswith("on") for e in page.elements for key in e.attributes)
    assert any(clean(attack) in element.text for page in pages_now for element in page.all("dd"))


# -- datasets and the models that were trained on them -----------------------------------------------------------------


@pytest.fixture(scope="session")
def _chain(_board: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    work = tmp_path_factory.mktemp("chain")
    board = Path(shutil.copytree(_board, work / "board"))
    add_model(board, "acme/dear", 0.75, 5e13, seconds=8.0)
    release = write_release(board / "datasets" / "toy", {"listwise": ["sky", "sea"]})
    folder = model_folder(work / "training", release, "listwise", name="acme/dear")
    submit(folder / "submission.toml", [], board)
    render(Board.read(board), board / "site")
    return board


@pytest.fixture
def chain(_chain: Path, tmp_path: Path) -> Path:
    """The small board with a dataset, a model that was trained on it, and that model's result; the test's own copy."""
    return Path(shutil.copytree(_chain, tmp_path / "board"))


def links_of(site: Path, name: str) -> set[str]:
    """The files of the site that a page's own text leads to."""
    text = (site / name).read_text()
    inner = Page(text[text.index("<h1") : text.index("</main>")].encode())
    return {os.path.normpath(os.path.join(os.path.dirname(name), link.partition("#")[0])) for link in inner.links()}


def test_dataset_model_run_and_page_lead_to_each_other(chain: Path) -> None:
    site = chain / "site"
    dataset, model, sent = "datasets/toy.html", "models/acme--dear.html", "submissions/acme--dear.html"
    result = "results/acme--dear/mini.bm25-20.html"
    for one, others in {
        "models/index.html": {dataset, model, sent},
        dataset: {model, sent},
        model: {dataset, sent, result, "tasks/mini.html"},
        sent: {dataset, model, result},
        result: {model},
    }.items():
        assert others <= links_of(site, one), one
    assert 'href="../models/index.html"' in (site / dataset).read_text()
    test_every_link_leads_to_a_file_of_the_site_or_to_what_a_submission_names(site)


def test_the_page_of_a_model_holds_what_its_training_reports(chain: Path) -> None:
    site, told = chain / "site", json.loads((chain / "models/acme--dear/training.json").read_text())
    page = Page((site / "models" / "acme--dear.html").read_bytes())
    text = page.all("main")[0].text
    release = told["data"][0]
    for part in ("owner/start", "a" * 40, "mit", told["fingerprint"], told["order"], release["content"], "nobody at 0"):
        assert part in text, part
    cells = [element.text.strip() for element in page.all("th", "td")]
    assert {"loss.part", "ranknet", "steps.rate", "5e-05", "v1.0.0", "nobody looked"} <= set(cells)
    mini = cells.index("37.5 30.0–45.0")
    row = ["37.5 30.0–45.0", "50.0", "−12.5 −20.0 to −5.0", "0.020", "25.0", "+12.5 +5.0 to +20.0", "< 0.001"]
    assert cells[mini : mini + 7] == row
    assert cells[(at := cells.index("Somewhere 2020")) - 2 : at + 1] == ["40.0", "37.5", "Somewhere 2020"]
    assert not page.all("img")
    for name in ("curves.csv", "recipe.toml", "training.json"):
        assert (site / "models/acme--dear" / name).read_bytes() == (chain / "models/acme--dear" / name).read_bytes()
    assert not (site / "models" / "acme--dear" / "README.md").exists()


def test_a_dataset_that_has_changed_since_is_not_taken_for_the_one_learnt_from(chain: Path) -> None:
    write_release(chain / "datasets" / "toy", {"listwise": ["sky", "sea", "sand"]})
    render(Board.read(chain), chain / "site")
    assert "with another content" in (chain / "site" / "models" / "acme--dear.html").read_text()
    assert "one with another content" in (chain / "site" / "datasets" / "toy.html").read_text()


def test_data_that_the_board_does_not_publish_are_named_and_not_linked(chain: Path) -> None:
    shutil.rmtree(chain / "datasets")
    render(Board.read(chain), chain / "site")
    page = Page((chain / "site" / "models" / "acme--dear.html").read_bytes())
    assert "toy" in [element.text.strip() for element in page.all("th")]
    assert "datasets" not in "".join(links_of(chain / "site", "models/acme--dear.html"))
    assert "toy@1.0.0" in Page((chain / "site" / "submissions" / "acme--dear.html").read_bytes()).all("main")[0].text


def test_a_report_without_its_submission_has_no_page(chain: Path) -> None:
    (chain / "submissions" / "acme--dear.toml").unlink()
    render(Board.read(chain), chain / "site")
    assert not (chain / "site" / "models").exists()


def test_a_report_that_was_spoilt_on_the_board_is_not_published(chain: Path) -> None:
    before = contents(chain / "site")
    (chain / "models/acme--dear/curves.csv").write_text("<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>")
    with pytest.raises(BadInput, match="curves.csv: is not a table"):
        render(Board.read(chain), chain / "site")
    assert contents(chain / "site") == before


def spoilt(value: Any, attack: str) -> Any:
    """The same values, but every text and every key of a free table an attack."""
    if isinstance(value, dict):
        return {key: spoilt(inner, attack) for key, inner in value.items()}
    if isinstance(value, list):
        return [spoilt(inner, attack) for inner in value]
    return attack if isinstance(value, str) else value


def test_hostile_words_of_a_training_are_text(chain: Path, tmp_path: Path) -> None:
    board, attack = Board.read(chain), " ".join(attack.format(n=0) for attack in ATTACKS)
    report = board.trainings["acme--dear"]
    values = spoilt(dict(report.values), attack)
    free = {attack: {attack: attack}}
    values |= {"recipe": free, "options": free, "versions": free}
    values["data"][0] |= {"name": "toy", "leaks": free, "teacher": {"model": free}}
    hostile = dataclasses.replace(board, trainings={"acme--dear": dataclasses.replace(report, values=values)})
    plain = [Counter(e.tag for e in page.elements) for page in built(board, tmp_path / "plain")]
    for page, before in zip(built(hostile, tmp_path / "hostile"), plain, strict=True):
        now = Counter(e.tag for e in page.elements)
        row = {"tr", "th", "td", "a"}  # of the overlaps that this report now tells of
        assert {tag for tag in now if now[tag] > before[tag]} <= {"dt", "dd", "bdi", "span", *row}
        assert not any(key.startswith("on") for e in page.elements for key in e.attributes)
        assert not any(re.match(r"(?i)\s*(javascript|data|vbscript):", link) for link in page.links())


@pytest.mark.parametrize("name", ["../../evil", "a/b", "..", "a b", 'x"><script>', "ü", "", "a" * 400])
def test_a_name_that_leads_out_of_the_site_is_refused(mini_board: Path, tmp_path: Path, name: str) -> None:
    board = Board.read(mini_board)
    first = board.results[0]
    named = dataclasses.replace(first, candidates=name)
    boards = [dataclasses.replace(board, reported=(Reported(name, ("a",), (("b",),)),))]
    boards += (
        [dataclasses.replace(board, results=(named,))] if name.strip(".") and len(name) < 200 else []
    )  # "mini....html" is odd but inside, and no file system holds a list of the longest name
    for hostile in boards:
        with pytest.raises(BadInput, match="name"):
            render(hostile, tmp_path / "out" / "site")
        assert not contents(tmp_path / "out").keys() - {".site.lock"}


EVIL = '"><img>&\x00'


@pytest.mark.parametrize(
    ("figure", "times"),  # how often the text stands in it
    [
        (lambda: figures.panels("k", [(EVIL, [figures.ListScores(EVIL, EVIL, 0.1, 0.9, (0.5,))])], EVIL, EVIL), 5),
        (lambda: figures.ladder("k", [figures.Span(EVIL, EVIL, 0.1, 0.5, (0.4, 0.6), 0.9)], EVIL), 3),
        (lambda: figures.bars("k", [0.5, -0.25, 0.0], EVIL), 1),
        (
            lambda: figures.frontier(
                "k", [figures.CostPoint(EVIL, EVIL, 2.0, 0.5, (0.4, 0.6), True)], [(EVIL, 0.9)],
                axis=EVIL, title=EVIL, about=EVIL,
            ),
            6,
        ),
    ],
    ids=["panels", "ladder", "bars", "frontier"],
)  # fmt: skip
def test_text_in_figures_is_escaped(figure: Callable[[], str], times: int) -> None:
    drawn = figure()
    assert drawn == figure()
    told = [text for node in ElementTree.fromstring(drawn).iter() if (text := node.text or "").startswith('"><img>')]
    assert len(told) == times and "<img" not in drawn and "\x00" not in drawn


def test_a_panel_marks_first_stage_ceiling_and_every_submission_between_nothing_and_one() -> None:
    groups = [
        figures.ListScores("bm25-100", "R .81", 0.25, 1.0, (0.5, 0.75)),
        figures.ListScores("none", "", None, None, ()),
    ]
    tree = ElementTree.fromstring(figures.panels("k", [("mini", groups)], "t", "a"))
    inside = next(node for node in tree if node.tag == "g")
    drawn = {
        kind: [node.attrib for node in inside if node.get("class") == kind] for kind in ("own", "first", "ceiling")
    }
    assert [len(drawn[kind]) for kind in drawn] == [2, 1, 1]
    places = {
        kind: [float(each.get("cy") or each["d"].split()[1].split("h")[0]) for each in drawn[kind]] for kind in drawn
    }
    low, top = places["own"][0], places["ceiling"][0]
    assert top < places["own"][1] < low < places["first"][0]
    assert low - places["own"][1] == pytest.approx(places["first"][0] - low)  # a quarter each
    assert low - top == pytest.approx(2 * (low - places["own"][1]))


def test_a_cell_that_a_spreadsheet_would_run_is_disarmed(mini_board: Path, tmp_path: Path) -> None:
    board = Board.read(mini_board)
    bad = dataclasses.replace(board.submissions["acme--good"], training_data=("=HYPERLINK(1)",))
    rows = tuple(
        dataclasses.replace(row, submission=bad) if row.submission.slug == bad.slug else row for row in board.rows
    )
    rankings = (*board.rankings[:-1], dataclasses.replace(board.rankings[-1], rows=rows))
    render(dataclasses.replace(board, rankings=rankings), tmp_path / "site")
    lines = list(csv.DictReader(io.StringIO((tmp_path / "site" / "data" / "rows.csv").read_text())))
    assert "'=HYPERLINK(1)" in {line["training_data"] for line in lines}


# -- access ----------------------------------------------------------------------------------------------------


def test_every_page_can_be_read_by_everybody(site: Path) -> None:
    for name, page in pages(site).items():
        assert page.all("html")[0].attributes["lang"] == "en", name
        levels = [int(element.tag[1]) for element in page.all("h1", "h2", "h3", "h4", "h5", "h6")]
        assert levels.count(1) == 1 and levels[0] == 1, name
        assert all(after <= before + 1 for before, after in zip(levels, levels[1:], strict=False)), name
        assert all(h.text.strip() for h in page.all("h1", "h2", "h3", "h4", "th", "caption", "title")), name
        ids = [element.attributes["id"] for element in page.elements if "id" in element.attributes]
        assert len(set(ids)) == len(ids), name
        for element in page.elements:
            check_element(name, element, set(ids), page)
        assert sum("aria-current" in e.attributes for e in page.all("a")) <= 1, name
        assert page.all("a")[0].attributes["href"] == "#main", name


def check_element(name: str, element: Element, ids: set[str], page: Page) -> None:
    given = element.attributes
    if element.tag == "th":
        assert given.get("scope") in {"col", "row", "rowgroup"}, name
    if element.tag in {"input", "select"}:
        assert given["id"] in {label.attributes["for"] for label in page.all("label")}, name
    if element.tag == "svg":
        assert given["role"] == "img", name
    if given.get("role") == "region":
        assert given["tabindex"] == "0" and ("aria-label" in given or "aria-labelledby" in given), name
    for reference in ("aria-labelledby", "aria-describedby", "for"):
        assert set(given.get(reference, "").split()) <= ids, f"{name}: {reference}"
    assert int(given.get("tabindex", "0")) <= 0, name
    assert "style" not in given and not any(key.startswith("on") for key in given), name


def test_the_policy_lets_only_the_sites_own_files_in(site: Path) -> None:
    for name, page in pages(site).items():
        metas = [e.attributes for e in page.all("meta") if e.attributes.get("http-equiv") == "Content-Security-Policy"]
        assert len(metas) == 1 and metas[0]["content"].startswith("default-src 'none'; style-src 'self'"), name


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_its_ground_in_both_schemes(scheme: str) -> None:
    css = (Path(figures.__file__).parent / "static" / "style.css").read_text()
    tokens = [
        dict(re.findall(r"--([a-z0-9-]+):\s*(#[0-9a-f]{3,6})", block))
        for block in re.findall(r":root \{(.*?)\}", css, re.DOTALL)
    ]
    colours = tokens[0] if scheme == "light" else tokens[0] | tokens[1]
    steps = [f"{way}{n}" for way in ("up", "down") for n in range(1, 5)]
    for ink, ground in [
        *(("ink", ground) for ground in ("bg", "tint", "accent-tint", "level", *steps)),
        *((ink, ground) for ink in ("soft", "accent") for ground in ("bg", "tint")),
    ]:
        assert contrast(colours[ink], colours[ground]) >= 4.5, f"{ink} on {ground}"
    for shape in ("accent", "gain", "loss", "soft"):
        assert contrast(colours[shape], colours["bg"]) >= 3, shape


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def luminance(colour: str) -> float:
    digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
    parts = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_script_and_style_stay_small(site: Path) -> None:
    packed = {file.name: len(gzip.compress(file.read_bytes(), 9)) for file in (site / "static").iterdir()}
    assert sum(size for name, size in packed.items() if name.endswith(".js")) < 40_000
    assert packed["style.css"] < 8_000
