"""The site: what is on it, that nothing on it acts, and that it is there whole or as it was."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import random
import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pyarrow.parquet as pq
import pytest
from faults import killed_at_each_call, no_file_over
from hub_client import write_release
from toys import TIME, contents, good_run, write_run, write_submission
from trained import model_folder
from web.site import ATTACKS

from exabench.bench.evaluation import run_board
from exabench.bench.ledger import Ledger, read_result
from exabench.bench.submissions import submission_text
from exabench.bench.submitting import submit
from exabench.board.pages import FILTERS, figures, harmless, render
from exabench.board.ranking import Board, Contest, Reported
from exabench.core.errors import BadInput, CannotWrite
from exabench.core.files import digest_of, only_writer
from exabench.core.nouns import Timing, Usage
from exabench.models.costs import cost_of

VOID = {"meta", "link", "input", "br", "img", "hr", "area", "base", "col", "embed", "source", "track", "wbr"}
RESULT = "results/acme--good/mini.bm25-20"


@dataclass
class Element:
    tag: str
    attributes: dict[str, str]
    parts: list[str] = field(default_factory=list)

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
        assert len({name for name, _ in attrs}) == len(attrs), f"an attribute of {tag} appears twice"
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

    @property
    def main(self) -> str:
        return self.all("main")[0].text

    def links(self) -> Iterator[str]:
        for element in self.elements:
            yield from (element.attributes[key] for key in ("href", "src", "xlink:href") if key in element.attributes)


def page_at(site: Path, name: str) -> Page:
    return Page((site / name).read_bytes())


def pages(site: Path) -> dict[str, Page]:
    return {str(file.relative_to(site)): Page(file.read_bytes()) for file in sorted(site.rglob("*.html"))}


def csv_lines(file: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(file.read_text())))


def add_submission(board: Path, name: str) -> None:
    ledger = Ledger(board)
    run = good_run(ledger.candidates_run(ledger.one_candidates("mini", "bm25-20")))
    sent = board.parent / "sent-later"
    submit(write_submission(sent, name=name), [f"mini={write_run(sent / 'run.trec', run)}"], board)
    run_board(board, slugs=[name.replace("/", "--")])


def add_model(
    board: Path, name: str, mean: float, flops: float | None, *, seconds: float | None = None, on: str = "a processor"
) -> None:
    """File the result of a model with made-up values that all equal `mean`, and what they took."""
    ledger, pattern = Ledger(board), read_result(board / "results" / "acme--good" / "mini.bm25-20.json")
    sent = ledger.submissions()["acme--good"]
    model = {"kind": "model", "reranker": "listwise", "model": name, "revision": "4f" * 20}
    made = replace(sent, name=name, training_data="unknown", **model)
    (board / "submissions" / f"{made.slug}.toml").write_text(submission_text(made))
    per_query = dict.fromkeys(pattern.measurement.per_query["nDCG@10"], mean)
    measured = replace(
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
    result = replace(pattern, submission=made.slug, measurement=measured, model=model, cost=cost)
    ledger.add_result(replace(result, state="reproduced"))


@pytest.fixture(scope="module")
def whole(_board: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small board with one of everything, and its site; for tests that only read.

    Two models that nothing cheaper beats, one that is beaten, one behind a server; a dataset, on which acme/dear was
    trained; tables of reported numbers, an audit among them.
    """
    work = tmp_path_factory.mktemp("whole")
    board = Path(shutil.copytree(_board, work / "board"))
    (board / "reported").mkdir()
    for name, text in {
        "audit_discrepancies": "source,cell,printed,recomputed,reading\nA,b,48.5,49.02,c\n",
        "names": "system,first,value\na,b,0.5\na row that is too short\n",
        "some_table": "system,dataset,first_stage,topk,metric,value,source\n"
        "monoT5,mini,bm25,100,nDCG@10,0.735,Somewhere 2020\n",
    }.items():
        (board / "reported" / f"{name}.csv").write_text(text)
    add_model(board, "acme/cheap", 0.5, 1e11, seconds=0.25)
    add_model(board, "acme/dear", 0.75, 5e13, seconds=8.0)
    add_model(board, "acme/beaten", 0.4, 2e12, seconds=0.01, on="another processor")
    add_model(board, "acme/hidden", 0.7, None)
    release = write_release(board / "datasets" / "toy", {"listwise": ["sky", "sea"]})
    folder = model_folder(work / "training", release, "listwise", name="acme/dear")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOURCE_DATE_EPOCH", TIME)
        submit(folder / "submission.toml", [], board)
    render(Board.read(board), board / "site")
    return board


@pytest.fixture
def own(whole: Path, tmp_path: Path) -> Path:
    """The test's own copy of that board and its site."""
    return Path(shutil.copytree(whole, tmp_path / "own"))


@pytest.fixture
def site(whole: Path) -> Path:
    return whole / "site"


@pytest.fixture(scope="module")
def bare(_board: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site of a board of runs alone, whose costs nobody saw; for tests that only read."""
    site = tmp_path_factory.mktemp("bare") / "site"
    render(Board.read(_board), site)
    return site


def test_every_link_leads_to_a_file_of_the_site_and_every_page_is_reached(site: Path) -> None:
    there = pages(site)
    ids = {name: {element.attributes.get("id") for element in page.elements} for name, page in there.items()}
    reached = {"index.html"}
    waiting = ["index.html"]
    while waiting:
        name = waiting.pop()
        for link in there[name].links():
            target, _, place = link.partition("#")
            if link.startswith("https://"):
                assert name.startswith(("index.html", "views/", "submissions/", "results/", "reported/"))
                continue
            assert not re.match(r"[a-z]+:|/", link), f"{name}: {link} is not relative"
            inside = os.path.normpath(os.path.join(os.path.dirname(name), target)) if target else name
            assert (site / inside).is_file() and not inside.startswith(".."), f"{name}: {link} leads nowhere"
            if place and "=" not in place:  # that is what the page's script reads
                assert place in ids[inside], f"{name}: {link}"
            if inside in there and inside not in reached:
                reached.add(inside)
                waiting.append(inside)
    assert reached == set(there)


def test_the_manifest_names_every_file_with_its_digest(site: Path) -> None:
    listed = json.loads((site / "files.json").read_text())["files"]
    assert listed == {name: digest_of(data) for name, data in contents(site).items() if name != "files.json"}


def test_an_empty_board_and_one_with_a_mean_of_tasks_have_all_their_pages(tmp_path: Path) -> None:
    Ledger(tmp_path / "board").create("Nothing yet", ["mini", "cqadupstack"])
    site = tmp_path / "site"
    render(Board.read(tmp_path / "board"), site)
    assert "12" in page_at(site, "tasks/cqadupstack.html").main
    assert (site / "tasks" / "cqadupstack-tex.html").is_file()
    for name in ("index.html", "compare.html", "significance.html"):
        text = (site / name).read_text()
        assert "No results yet" in text and ("<form" not in text or name == "index.html")


def test_a_new_submission_touches_only_the_files_it_enters_and_gives_what_a_build_from_nothing_does(
    own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = own / "site"
    before = {path: (site / path).stat().st_mtime_ns for path in contents(site)}
    assert render(Board.read(own), site) == []
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1800000000")  # years later: a date must not creep into other pages
    add_submission(own, "zeta/newest")
    changed = {str(file.relative_to(site)) for file in render(Board.read(own), site)}
    assert {"index.html", "tasks/mini.html", "data/board.json", "data/rows.csv", "data/results.csv"} <= changed
    entered = {path for path in changed if "zeta--newest" in path}
    result = "results/zeta--newest/mini.bm25-20"
    assert {"submissions/zeta--newest.html", f"{result}.html", f"data/{result}.json"} <= entered
    others = ("results/", "data/results/", "data/queries/", "data/rankings/", "reported/", "static/", "about.html")
    elsewhere = (*others, "submissions/", "models/", "owners/")
    assert [path for path in changed - entered if path.startswith(elsewhere)] == ["owners/zeta.html"]
    assert all((site / path).stat().st_mtime_ns == before[path] for path in before.keys() - changed)
    render(Board.read(own), tmp_path / "fresh")
    assert contents(site) == contents(tmp_path / "fresh")
    assert "<updated>2027-01-15T00:00:00Z</updated>" in (site / "feed.atom").read_text()


def test_pages_of_a_removed_submission_go_and_other_peoples_files_stay(own: Path) -> None:
    site = own / "site"
    foreign = {site / "CNAME": "board.example", site / "results" / "acme--good" / "notes.txt": "mine"}
    for file, text in foreign.items():
        file.write_text(text)
    for slug in ("acme--good", "acme--dear"):
        (own / "submissions" / f"{slug}.toml").unlink()
    shutil.rmtree(own / "results" / "acme--good")
    render(Board.read(own), site)
    assert not [name for name in contents(site) if "acme--good" in name and not name.endswith("notes.txt")]
    assert not (site / "data" / "results" / "acme--good").exists()
    assert not (site / "models").exists()  # the report of a training without its submission has no page
    assert {file: file.read_text() for file in foreign} == foreign


def test_a_folder_that_holds_more_than_a_site_is_refused_and_nothing_in_it_changes(own: Path, tmp_path: Path) -> None:
    board, site = Board.read(own), own / "site"
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.tex").write_text("years of work")
    with pytest.raises(BadInput, match=r"no files\.json"):
        render(board, tmp_path / "home")
    assert contents(tmp_path / "home") == {"thesis.tex": b"years of work"}

    with only_writer(site), pytest.raises(CannotWrite, match=f"process {os.getpid()}"):
        render(board, site)

    outside = tmp_path / "outside"
    shutil.move(site / "tasks", outside)
    (site / "tasks").symlink_to(outside)
    before = contents(outside)
    with pytest.raises(BadInput, match="is a link"):
        render(board, site)
    assert contents(outside) == before

    (tmp_path / "precious").write_text("keep")
    (site / "files.json").write_text(json.dumps({"format": 1, "files": {"../../precious": "sha256:0"}}))
    with pytest.raises(BadInput, match="not a list of files"):
        render(board, site)
    assert (tmp_path / "precious").read_text() == "keep"


def rename_board(board: Path) -> None:
    """Give it another title, which stands on every page."""
    settings = (board / "board.toml").read_text()
    (board / "board.toml").write_text(settings.replace("A small board", "Another title"))


def test_a_full_disk_leaves_the_old_site_as_it_was(own: Path) -> None:
    rename_board(own)
    before = contents(own / "site")
    for largest in (100, 3_000):
        with no_file_over(largest), pytest.raises(CannotWrite, match="cannot be written"):
            render(Board.read(own), own / "site", processes=1)
        assert contents(own / "site") == before
        assert not (own / ".site.staging").exists()


def test_a_killed_build_leaves_whole_files_and_the_next_one_makes_the_rest(own: Path, tmp_path: Path) -> None:
    rename_board(own)
    site = own / "site"
    render(Board.read(own), tmp_path / "fresh")
    old, new = contents(site), contents(tmp_path / "fresh")
    mixed = []
    # Call 5 makes a folder for what is staged; call 60 stands among the renames into place.
    for _ in killed_at_each_call(lambda: render(Board.read(own), site, processes=1), numbers=(5, 60)):
        left = contents(site)
        assert left.keys() == new.keys() and all(data in (old[path], new[path]) for path, data in left.items())
        mixed.append(left)
    assert mixed[0] == old and mixed[1] not in (old, new)
    assert render(Board.read(own), site) and contents(site) == new
    assert not (own / ".site.staging").exists()


def test_the_data_files_hold_the_numbers_in_full(whole: Path, site: Path) -> None:
    wanted = {(r.submission.replace("--", "/"), r.task): r.value for r in Board.read(whole).results}
    table = pq.read_table(site / "data" / "results.parquet").to_pylist()
    board = json.loads((site / "data" / "board.json").read_text())
    for lines in (csv_lines(site / "data" / "results.csv"), table, board["results"]):
        assert {(line["submission"], line["task"]): float(line["nDCG@10"]) for line in lines} == wanted
    per_query = json.loads((site / f"data/{RESULT}.json").read_text())["measurement"]["per_query"]
    assert per_query == read_result(whole / f"{RESULT}.json").measurement.as_json()["per_query"]


def test_an_incomplete_line_never_shows_a_mean(board: Path) -> None:
    (board / "board.toml").write_text('title = "Two tasks"\ntasks = ["mini", "scifact"]\n')
    render(Board.read(board), board / "site")
    text = (board / "site" / "index.html").read_text()
    rows = re.findall(r"<tr(?: class=\"stage\")?>(?:(?!</tr>).)*submissions/.*?</tr>", text, re.DOTALL)
    assert rows and all("1/2 tasks" in row and "<b>" not in row for row in rows)
    lines = csv_lines(board / "site" / "data" / "rows.csv")
    assert all(line["mean"] == line["low"] == line["difference"] == line["scifact"] == "" for line in lines)


@pytest.mark.parametrize(
    ("name", "given", "wanted"),
    [
        ("signed", (-0.0004,), "0.0"),
        ("p_value", (0.0001,), "< 0.001"),
        ("p_value", (0.0494,), "0.049"),
        ("effect", (-0.5,), "−0.50"),
        ("three_digits", (1250.4,), "1,250"),
        ("three_digits", (3.12e11, 1e12), "0.312"),
        ("https", ("javascript:alert(1)",), ""),
        ("https", ("https://example.org/a?b=c",), "https://example.org/a?b=c"),
        ("https", ("https://example.org/\nx",), ""),
    ],
)
def test_values_read_well(name: str, given: tuple[Any, ...], wanted: str) -> None:
    assert FILTERS[name](*given) == wanted


def test_text_is_shown_without_what_a_page_cannot_hold() -> None:
    assert harmless("a\x00b\u202ec\r\nd") == "a\ufffdb<U+202E>c\nd"


def table_of(page: Page) -> dict[str, list[str]]:
    """The rows of a page's large table by their heading cell."""
    start = next(i for i, e in enumerate(page.elements) if e.attributes.get("id") in ("sortable", "board"))
    rows: dict[str, list[str]] = {}
    row: list[Element] = []
    for element in [*page.elements[start:], Element("tr", {})]:
        if element.tag == "tr":
            name = next((cell.text for cell in row if cell.attributes.get("scope") == "row"), "")
            rows[name] = [cell.text for cell in row]
            row = []
        row += [element] if element.tag in ("td", "th") else []
    return rows


def test_the_overview_says_what_each_line_takes(site: Path) -> None:
    page = page_at(site, "index.html")
    rows = table_of(page)
    assert rows["acme/cheap"][6:9] == ["22.7", "0.100", "0.250"] and rows["acme/hidden"][6:9] == ["22.7", "–", "–"]
    assert "the model behind its server is not known" in {e.attributes.get("title", "") for e in page.all("abbr")}


def test_the_front_begins_with_the_first_stage_and_every_point_is_named_linked_and_in_the_table(site: Path) -> None:
    page = page_at(site, "efficiency.html")
    rows = table_of(page)
    # The first stage (69.9) costs nothing: acme/cheap (50.0) is on no front, acme/dear (75.0) on all.
    assert {name: row[7] for name, row in rows.items() if row and name} == {
        "acme/dear": "exact, paper, parameters, latency",
        "acme/cheap": "–",
        "acme/beaten": "–",
        "acme/hidden": "–",
        "acme/good": "–",
        "first stage: bm25": "exact, paper, parameters, latency, latency-2",
    }
    assert rows["acme/cheap"][8] == "a processor, 10 queries timed"
    assert [e.text for e in page.all("h2")][3:5] == ["Latency on a processor", "Latency on another processor"]
    assert len([e for e in page.all("svg") if "fig" in e.attributes["class"].split()]) == 5
    points = {e.attributes["aria-label"]: e.attributes["href"] for e in page.all("a") if "aria-label" in e.attributes}
    assert points["acme/cheap: 50.0"] == "submissions/acme--cheap.html" and "first stage: bm25: 69.9" in points
    assert {point.rpartition(": ")[0] for point in points} <= rows.keys()


def test_a_system_no_better_than_its_first_stage_is_on_no_front_and_names_stand_beside_their_own_points() -> None:
    def of(label: str, cost: float, value: float, best: bool) -> figures.CostPoint:
        return figures.CostPoint(label, label, f"{label}.html", cost, value, (value - 0.01, value + 0.01), best)

    points = [of("stage", 0, 0.865, True), of("same", 0.158, 0.865, False), of("near", 0.16, 0.868, True)]
    drawn = ElementTree.fromstring(figures.frontier("k", points, axis="x", value="y", title="t", about="a"))
    circles = {link.attrib["href"]: link.find("circle").attrib for link in drawn.iter("a")}
    for text in drawn.iter("text"):
        if text.get("class") == "lab":
            distances = {}
            for page, at in circles.items():
                left = float(text.attrib["x"])
                right = left + 6.6 * len(text.text)
                aside = max(left - float(at["cx"]), float(at["cx"]) - right, 0)
                distances[page] = aside + abs(float(text.attrib["y"]) - 4 - float(at["cy"]))
            assert min(distances, key=distances.__getitem__) == f"{text.text}.html"
    ticks = [float(text.text) for text in drawn.iter("text") if text.get("class") == "num end"]
    assert min(ticks) >= 85 and max(ticks) <= 88, "the axis fits what is drawn"


def test_the_page_of_an_older_result_says_that_its_judged_at_10_is_over_ten_ranks(board: Path, tmp_path: Path) -> None:
    ledger = Ledger(board)
    older = read_result(ledger.result_file("acme--good", "mini", "bm25-20"))
    ledger.add_result(replace(older, format=3))
    render(Board.read(board), tmp_path / "site")
    said = "Judged@10 divides by 10 here"
    pages = {file.parent.name: said in file.read_text() for file in tmp_path.glob("site/results/*/mini.bm25-20.html")}
    assert [slug for slug, is_said in pages.items() if is_said] == ["acme--good"]
    assert len(pages) == 6


def test_a_result_page_says_what_the_model_was_and_took(site: Path) -> None:
    text = page_at(site, "results/acme--dear/mini.bm25-20.html").main
    for part in (
        *("acme/dear", "4f" * 20, "bfloat16", "22,713,601", "31,000 read, 512 written", "a processor"),
        *("missing 24, out of range 48", "72 passages, 24 queries", "median 8.00, 95th percentile 24.0", "12.5"),
        *("50.0", "25.0", "15.0", "30.0", "20.0", "40.0"),  # TFLOPs, nDCG per PFLOP, queries per PFLOP
    ):
        assert part in text, part


def test_the_data_files_hold_the_costs(site: Path, bare: Path) -> None:
    lines = {line["submission"]: line for line in csv_lines(site / "data" / "rows.csv")}
    assert float(lines["acme/cheap"]["flops_exact"]) == 1e11 and lines["acme/hidden"]["flops_exact"] == ""
    rows = {row["submission"]: row for row in pq.read_table(site / "data" / "results.parquet").to_pylist()}
    dear = rows["acme/dear"]
    assert (dear["flops_exact"], dear["qpp_exact"], dear["rpp_paper"]) == (5e13, 20.0, pytest.approx(30.0))
    assert (dear["p50"], dear["timed_queries"], dear["repairs"], dear["cut_passages"]) == (8.0, 10, 72, 72)
    assert json.loads(dear["model"])["window"] == 20 and rows["acme/good"]["model"] == ""
    one = json.loads((site / "data/results/acme--dear/mini.bm25-20.json").read_text())
    assert one["cost"]["repairs"] == {"missing": 24, "out_of_range": 48} and one["model"]["name"] == "acme/dear"
    schema = pq.read_schema(bare / "data" / "results.parquet")  # where nobody knows them columns have their types too
    types = {name: str(schema.field(name).type) for name in ("flops_exact", "parameters", "hardware", "p50")}
    assert types == {"flops_exact": "double", "parameters": "int64", "hardware": "string", "p50": "double"}


def test_a_board_without_costs_says_so(bare: Path) -> None:
    page = page_at(bare, "efficiency.html")
    assert not page.all("svg")
    assert page.main.count("No cost data: these systems were submitted as run files.") == 1


def test_points_far_apart_and_on_one_spot_are_drawn_inside_the_figure() -> None:
    for costs in ([1e-9, 1e6], [3.0], [0.0, 3.0], [2.0, 2.0, 2.0000001], [10.0**k for k in range(-8, 9)]):
        points = []
        for i, cost in enumerate(costs):
            points.append(figures.CostPoint(f"p{i}", f"p{i}", f"p{i}.html", cost, 0.5, (0.0, 1.0), True))
        tree = ElementTree.fromstring(figures.frontier("k", points, axis="x", value="y", title="t", about="a"))
        wide, high = (float(tree.attrib[key]) for key in ("width", "height"))
        for mark in tree.iter():
            for key, limit in (("cx", wide), ("x", wide), ("cy", high), ("y", high)):
                assert 0 <= float(mark.attrib.get(key, 0)) <= limit, mark.attrib
        ticks = sorted(float(mark.attrib["x"]) for mark in tree.iter() if mark.attrib.get("class") == "num mid")
        gaps = [after - before for before, after in zip(ticks, ticks[1:], strict=False)]
        assert 1 <= len(ticks) <= 10 and min(gaps, default=100) > 40


def links_of(site: Path, name: str) -> set[str]:
    """The files of the site that a page's own text leads to."""
    text = (site / name).read_text()
    inner = Page(text[text.index("<h1") : text.index("</main>")].encode())
    return {os.path.normpath(os.path.join(os.path.dirname(name), link.partition("#")[0])) for link in inner.links()}


def test_dataset_model_run_and_page_lead_to_each_other(site: Path) -> None:
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


def test_the_page_of_a_model_holds_what_its_training_reports(whole: Path, site: Path) -> None:
    told = json.loads((whole / "models/acme--dear/training.json").read_text())
    page = page_at(site, "models/acme--dear.html")
    release = told["data"][0]
    for part in ("owner/start", "a" * 40, "mit", told["fingerprint"], told["order"], release["content"], "nobody at 0"):
        assert part in page.main, part
    cells = [element.text.strip() for element in page.all("th", "td")]
    assert {"loss.part", "ranknet", "steps.rate", "5e-05", "v1.0.0", "not checked"} <= set(cells)
    mini = cells.index("37.5 30.0–45.0")
    row = ["37.5 30.0–45.0", "50.0", "−12.5 −20.0 to −5.0", "0.020", "25.0", "+12.5 +5.0 to +20.0", "< 0.001"]
    assert cells[mini : mini + 7] == row
    source = cells.index("Somewhere 2020")
    assert cells[source - 2 : source + 1] == ["40.0", "37.5", "Somewhere 2020"]
    assert not page.all("img")
    for name in ("curves.csv", "recipe.toml", "training.json"):
        assert (site / "models/acme--dear" / name).read_bytes() == (whole / "models/acme--dear" / name).read_bytes()
    assert not (site / "models" / "acme--dear" / "README.md").exists()


def test_data_that_changed_or_are_not_published_are_not_taken_for_those_learnt_from(own: Path) -> None:
    site = own / "site"
    write_release(own / "datasets" / "toy", {"listwise": ["sky", "sea", "sand"]})
    render(Board.read(own), site)
    assert "with other content" in (site / "models" / "acme--dear.html").read_text()
    assert "one with other content" in (site / "datasets" / "toy.html").read_text()
    shutil.rmtree(own / "datasets")
    render(Board.read(own), site)
    assert "toy" in [element.text.strip() for element in page_at(site, "models/acme--dear.html").all("th")]
    assert "datasets" not in "".join(links_of(site, "models/acme--dear.html"))
    assert "toy@1.0.0" in page_at(site, "submissions/acme--dear.html").main
    menu = {element.text.strip() for element in page_at(site, "index.html").all("a")}
    assert "Models" in menu and "Datasets & models" not in menu  # it names what the board has


def test_a_report_that_was_spoilt_on_the_board_is_not_published(own: Path) -> None:
    before = contents(own / "site")
    (own / "models/acme--dear/curves.csv").write_text("<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>")
    with pytest.raises(BadInput, match="curves.csv: is not a table"):
        render(Board.read(own), own / "site")
    assert contents(own / "site") == before


def spoil(value: Any, attack: str) -> Any:
    """The same values, but every text an attack."""
    if isinstance(value, dict):
        return {key: spoil(inner, attack) for key, inner in value.items()}
    if isinstance(value, list):
        return [spoil(inner, attack) for inner in value]
    return attack if isinstance(value, str) else value


def hostile_board(folder: Path, attack: str, rows: tuple[tuple[str, ...], ...]) -> Board:
    """The board with an attack in every text of a submission, of the models' results and of a training's report."""
    ledger = Ledger(folder)
    for one in list(ledger.results()):
        cost = one.cost and replace(one.cost, precision=attack, repairs={attack: 1, "b": 2})
        if cost and cost.timing:
            cost = replace(cost, timing=replace(cost.timing, hardware=attack + cost.timing.hardware))
        model = {"name": attack, "revision": "x", "window": 1, attack: attack} if one.model else {}
        ledger.add_result(replace(one, model=model, cost=cost))
    board = Board.read(folder)
    words = {"description": attack, "link": "javascript:alert(1)", "contact": attack, "licence": attack}
    bad = replace(board.submissions["acme--good"], **words, training_data=("=HYPERLINK(1)", attack), reranker="")

    def swapped(line: Any) -> Any:
        return replace(line, submission=bad) if line.submission.slug == bad.slug else line

    def attacked(contest: Contest) -> Contest:
        return replace(contest, rows=tuple(map(swapped, contest.rows)))

    rankings = []
    for one in board.rankings:
        contests = tuple(map(attacked, one.contests))
        rankings.append(replace(one, rows=tuple(map(swapped, one.rows)), contests=contests))
    report = board.trainings["acme--dear"]
    values = spoil(dict(report.values), attack)
    free = {attack: {attack: attack}}
    values |= {"recipe": free, "options": free, "versions": free}
    values["data"][0] |= {"name": "toy", "leaks": free, "teacher": {"model": free}}
    return replace(
        board,
        title=attack,
        submissions={**board.submissions, bad.slug: bad},
        rankings=tuple(rankings),
        entries={name: tuple(map(swapped, entries)) for name, entries in board.entries.items()},
        trainings={"acme--dear": replace(report, values=values)},
        reported=(*(table for table in board.reported if table.name != "names"), Reported("names", ("a", "b"), rows)),
    )


def test_hostile_text_is_text_on_every_page_and_nothing_else(own: Path, site: Path, tmp_path: Path) -> None:
    draw = random.Random(7)
    names = ["".join(draw.choices(ATTACKS, k=1 + n % 2)).format(n=n) for n in range(2_000)]
    attack = " ".join(attack.format(n=0) for attack in ATTACKS)
    board = hostile_board(own, attack, tuple((name, names[-1 - i]) for i, name in enumerate(names)))
    before = contents(tmp_path).keys()
    render(board, tmp_path / "out" / "site")
    assert all(name.startswith("out/site/") for name in contents(tmp_path).keys() - before)
    hostile, plain = pages(tmp_path / "out" / "site"), pages(site)
    assert hostile.keys() == plain.keys()
    for name, page in hostile.items():
        assert not any(key.startswith("on") or key == "style" for e in page.elements for key in e.attributes), name
        assert not any(re.match(r"(?i)\s*(javascript|data|vbscript):", link) for link in page.links()), name
        for target in {link.partition("#")[0] for link in page.links() if not link.startswith(("https://", "#"))}:
            assert (tmp_path / "out" / "site" / name).parent.joinpath(target).is_file(), f"{name}: {target}"
        now, then = (Counter(e.tag for e in one.elements) for one in (page, plain[name]))
        # A description is a line more, a link that is not an https address is none, a free table is as long as it is.
        grown = {*"p bdi a dt dd span code tr th td".split()} if not name.startswith("reported/") else set()
        if name != "reported/names.html":
            assert {tag for tag in now if now[tag] != then[tag]} <= grown, name
    table = hostile["reported/names.html"]
    count = Counter(element.tag for element in table.elements)
    assert count["script"] == 2 and not count["img"] and not count["iframe"] and count["tr"] == len(names) + 1
    assert [cell.text for cell in table.all("th")[2:]] == [harmless(name) for name in names]
    shown = harmless(attack)
    for tag, name in (
        *(("title", "index.html"), ("p", "submissions/acme--good.html")),
        ("dd", "results/acme--dear/mini.bm25-20.html"),
    ):
        assert any(shown in element.text for element in hostile[name].all(tag)), name
    data = tmp_path / "out" / "site" / "data"
    told = {table["name"]: table for table in json.loads((data / "board.json").read_text())["reported"]}
    assert told["names"]["rows"][0][0] == names[0]
    # A cell that a spreadsheet would run is disarmed.
    assert any(line["training_data"].startswith("'=HYPERLINK(1)") for line in csv_lines(data / "rows.csv"))
    ElementTree.fromstring((tmp_path / "out" / "site" / "feed.atom").read_bytes())


def test_a_name_that_leads_out_of_the_site_is_refused(whole: Path, tmp_path: Path) -> None:
    board = Board.read(whole)
    site = tmp_path / "out" / "site"
    for name in ("../../evil", "a/b", "..", "a b", 'x"><script>', "ü", "", "a" * 400):
        hostile = [replace(board, reported=(Reported(name, ("a",), (("b",),)),))]
        # "mini....html" is odd but inside, and no file system holds a list of the longest name.
        if name.strip(".") and len(name) < 200:
            hostile.append(replace(board, results=(replace(board.results[0], candidates=name),)))
        for one in hostile:
            with pytest.raises(BadInput, match="name"):
                render(one, site)
    assert not contents(tmp_path / "out")


EVIL = '"><img>&\x00'
EVIL_POINT = figures.CostPoint(EVIL, EVIL, EVIL, 2.0, 0.5, (0.4, 0.6), True)
EVIL_SCORE = figures.ScorePoint(EVIL, EVIL, 0.5, (0.4, 0.6), False)


@pytest.mark.parametrize(
    ("figure", "times"),  # how often the text stands in it
    [
        (lambda: figures.scores("k", [figures.ListScores(EVIL, EVIL, [EVIL_SCORE])], EVIL, EVIL), 5),
        (lambda: figures.ladder("k", [figures.Span(EVIL, EVIL, 0.1, 0.5, (0.4, 0.6), 0.9)], EVIL), 3),
        (lambda: figures.bars("k", [0.5, -0.25, 0.0], EVIL), 1),
        (lambda: figures.frontier("k", [EVIL_POINT], axis=EVIL, value=EVIL, title=EVIL, about=EVIL), 6),
    ],
    ids=["scores", "ladder", "bars", "frontier"],
)
def test_text_in_figures_is_escaped(figure: Callable[[], str], times: int) -> None:
    drawn = figure()
    assert drawn == figure()
    told = [text for node in ElementTree.fromstring(drawn).iter() if (text := node.text or "").startswith('"><img>')]
    assert len(told) == times and "<img" not in drawn and "\x00" not in drawn


def test_scores_stand_at_their_place_between_round_ticks_that_fit_them() -> None:
    points = [
        figures.ScorePoint("acme/one", "one.html", 0.70, (0.62, 0.78), False),
        figures.ScorePoint("first stage: bm25", "two.html", 0.50, (0.42, 0.58), True),
    ]
    tree = ElementTree.fromstring(
        figures.scores("k", [figures.ListScores("bm25-100", "ceiling 89.2", points)], "t", "a")
    )
    places = {link.attrib["href"]: float(link.find("circle").attrib["cx"]) for link in tree.iter("a")}
    ticks = {float(text.text): float(text.attrib["x"]) for text in tree.iter("text") if text.get("class") == "num mid"}
    assert list(ticks) == [40, 50, 60, 70, 80]
    assert places == {"one.html": ticks[70], "two.html": ticks[50]}


def test_every_page_lets_only_the_sites_own_files_in(site: Path) -> None:
    for name, page in pages(site).items():
        metas = [e.attributes for e in page.all("meta") if e.attributes.get("http-equiv") == "Content-Security-Policy"]
        assert len(metas) == 1 and metas[0]["content"].startswith("default-src 'none'; style-src 'self'"), name


def luminance(colour: str) -> float:
    """Relative luminance by WCAG 2, with the 0.05 that a ratio of contrast adds."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue + 0.05


def test_shapes_of_figures_stand_out_from_the_page_in_both_schemes(bare: Path) -> None:
    css = (bare / "static" / "style.css").read_text()
    shapes = dict(re.findall(r"^\.fig \.(\w+) \{ (?:fill|stroke): var\(--(\w+)\)", css, re.MULTILINE))
    blocks = re.findall(r":root \{(.*?)\}", css, re.DOTALL)
    light, dark, *_ = (dict(re.findall(r"--(\w+): (#\w{6});", block)) for block in blocks)
    assert light["bg"] != dark["bg"]
    for colours in (light, dark):
        for shape in ("own", "first", "ceiling", "front", "spot", "bar", "gain", "loss", "same", "axis"):
            low, high = sorted((luminance(colours["bg"]), luminance(colours[shapes[shape]])))
            assert high / low >= 3, shape  # WCAG 2.1, success criterion 1.4.11
        for ground in ("bg", "tint", "level", *(f"{way}{n}" for way in ("up", "down") for n in range(1, 5))):
            low, high = sorted((luminance(colours[ground]), luminance(colours["ink"])))
            assert high / low >= 4.5, ground  # success criterion 1.4.3


def test_script_and_style_stay_small_and_plain(bare: Path) -> None:
    files = {file.name: file.read_bytes() for file in (bare / "static").iterdir()}
    packed = {name: len(gzip.compress(data, 9)) for name, data in files.items()}
    assert sum(size for name, size in packed.items() if name.endswith(".js")) < 40_000
    assert packed["style.css"] < 8_000
    comparing = ("toolkit.js", "paired.js", "picker.js", "compare.js", "significance.js")
    assert sum(packed[name] for name in comparing) <= 20_000
    overview = ("toolkit.js", "board.js", "overview.js")
    assert sum(packed[name] for name in overview) <= 20_000
    acting = r"\beval\b|innerHTML|outerHTML|document\.write|new Function|https?:(?!//www\.w3\.org)|localStorage|fetch\("
    for name in {*comparing, *overview}:
        text = files[name].decode()
        assert text.isascii() and '"use strict";' in text and not re.search(acting, text), name


def test_every_page_says_what_its_parts_are_to_those_who_cannot_see_it(site: Path) -> None:
    for name, page in pages(site).items():
        assert page.all("a")[0].attributes["href"] == "#main" and len(page.all("h1")) == 1, name
        assert all(th.attributes.get("scope") in {"col", "row", "rowgroup"} for th in page.all("th")), name
        # A figure with links in it is a group: nothing in an image can be reached.
        assert all(svg.attributes.get("role") in ("img", "group") for svg in page.all("svg")), name
        for region in (e.attributes for e in page.elements if e.attributes.get("role") == "region"):
            assert region.get("tabindex") == "0" and region.keys() & {"aria-label", "aria-labelledby"}, name
