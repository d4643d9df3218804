"""The overview: one contest on a page, whose rows are credited to their authors, and the same rows as data."""

from __future__ import annotations

import csv
import html
import io
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from toys import add_values

from exabench.bench.ledger import Ledger
from exabench.board.pages import render
from exabench.board.ranking import Board
from exabench.core.nouns import Credit

CREDIT = Credit("castorini", "https://huggingface.co/castorini/repllama", "llama2", ("msmarco",))
VIEWS = """title = "Two views"
tasks = ["mini", "scifact"]
[views]
"Science" = ["scifact"]
"""


def around(mean: float, size: int = 30) -> np.ndarray:
    return np.clip(np.random.default_rng(round(1000 * mean)).normal(mean, 0.05, size), 0, 1)


@pytest.fixture
def site(board: Path) -> Path:
    """Two views; on SciFact two lists, of which one has two systems, one of three samples."""
    (board / "board.toml").write_text(VIEWS)
    for number in (1, 2, 3):
        told = {"system": "acme/gpt", "sample": number, "type": "listwise LLM"}
        add_values(board, f"acme/gpt.{number}", {"scifact": around(0.7 + number / 100)}, candidates="bm25-100", **told)
    add_values(board, "acme/one", {"scifact": around(0.5)}, candidates="bm25-100", licence="mit")
    first_stages = {"bm25-100": Credit("exabench", "", "apache-2.0", ()), "repllama-100": CREDIT}
    for (name, credit), mean in zip(first_stages.items(), (0.4, 0.6), strict=True):
        add_values(
            board,
            "exabench/unchanged",
            {"scifact": around(mean)},
            candidates=name,
            kind="baseline",
            reranker="unchanged",
        )
        stored = next(one for one in Ledger(board).results("exabench--unchanged") if one.candidates.name == name)
        Ledger(board).add_result(replace(stored, candidates=replace(stored.candidates, credit=credit)))
    render(Board.read(board), board / "site")
    return board / "site"


def rows_of(page: Path) -> list[list[str]]:
    """The text of every cell of an overview's rows."""
    body = page.read_text().partition("<tbody>")[2].partition("</tbody>")[0]
    rows = []
    for row in body.split("<tr")[1:]:
        cells = re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL)
        rows.append([re.sub(r"\s+", " ", re.sub(r"<[^>]+>", "", cell)).strip() for cell in cells])
    return rows


def heads_of(page: Path) -> list[str]:
    return re.findall(r'<th scope="col"[^>]* data-key="([^"]+)"', page.read_text())


def test_the_front_is_the_list_with_the_most_systems_and_every_contest_has_its_page(site: Path) -> None:
    front = rows_of(site / "index.html")
    assert [row[0].split(" ")[0] for row in front] == ["acme/gpt", "acme/one", "first", "first"]
    assert {file.name for file in (site / "views").iterdir()} == {
        "science.html", "all-tasks.html", "all-tasks.bm25-20.html",
        "all-tasks.bm25-100.html", "all-tasks.repllama-100.html",
    }  # fmt: skip
    assert rows_of(site / "views" / "science.html")[1][0] == "first stage: repllama"  # nobody reranked that list


def test_samples_are_one_row_with_their_mean_and_range(site: Path) -> None:
    first, *_ = rows_of(site / "index.html")
    means = [float(around(0.7 + number / 100).mean()) for number in (1, 2, 3)]
    low, high = f"{100 * min(means):.1f}", f"{100 * max(means):.1f}"
    assert first[0] == f"acme/gpt 3 samples, {low}–{high}"
    assert first[2].startswith(f"{100 * np.mean(means):.1f} ")


def test_the_page_of_a_sample_leads_to_the_others_and_to_what_cites_their_mean(site: Path) -> None:
    page = (site / "submissions" / "acme--gpt.2.html").read_text()
    assert "one of 3 of" in page and "<b>2</b>" in page
    for other in ("acme--gpt.1", "acme--gpt.3"):
        assert f'href="../submissions/{other}.html"' in page
    assert 'href="../index.html#cite"' in page
    table = html.unescape((site / "index.html").read_text())
    entry = re.search(r"@misc\{science-bm25-100,.*?\n\}", table, re.DOTALL)
    assert entry and "title = {{Science over bm25-100}}" in entry[0] and re.search(r"note = \{build \w{64}\}", entry[0])


def test_a_view_of_one_task_and_the_task_are_offered_as_one_contest(site: Path) -> None:
    told = json.loads((site / "data" / "lines.js").read_text().partition("(")[2].rpartition(")")[0])
    contests = {one["key"]: one["as"] for one in told["contests"]}
    assert contests["task.scifact.bm25-100"] == "view.science.bm25-100"
    assert contests["view.science.bm25-100"] == ""


def test_who_compares_a_sample_is_told_the_others(site: Path) -> None:
    lines = (site / "data" / "lines.js").read_text()
    assert '"samples":[["acme--gpt.1","acme--gpt.2","acme--gpt.3"]]' in lines


def test_an_owners_baselines_stand_below_what_is_its_work(site: Path) -> None:
    (own,) = re.findall("<table.*?</table>", (site / "owners" / "acme.html").read_text(), re.DOTALL)
    (baselines,) = re.findall("<table.*?</table>", (site / "owners" / "exabench.html").read_text(), re.DOTALL)
    assert "acme/one" in own and "exabench/unchanged" in baselines
    assert 'id="baselines"' in (site / "owners" / "exabench.html").read_text()


def test_first_stages_are_credited_to_their_authors_and_lead_to_pages_of_their_own(site: Path) -> None:
    heads = heads_of(site / "index.html")
    rows = {row[0]: dict(zip(heads, row, strict=True)) for row in rows_of(site / "index.html")}
    other = rows["first stage: repllama"]
    assert [other[key] for key in ("group", "kind", "owner", "licence", "training", "link")] == [
        "–", "first stage", "castorini", "llama2", "msmarco", "Hub",
    ]  # fmt: skip
    own = rows["first stage: bm25"]
    assert (own["owner"], own["training"], own["zero"]) == ("exabench", "none", "yes") and own["group"] != "–"
    text = (site / "index.html").read_text()
    assert CREDIT.link in text and "results/exabench--unchanged/scifact.repllama-100.html" in text


def test_a_mean_is_named_by_the_metric_of_its_tasks_and_by_none_where_they_differ(board: Path) -> None:
    add_values(board, "acme/one", {"scifact": around(0.5)}, candidates="bm25-100")
    add_values(board, "acme/one", {"medquad-held-out": around(0.7)}, candidates="bm25-100")
    views = '[views]\nMedical = ["medquad-held-out"]\nScience = ["scifact"]'
    (board / "board.toml").write_text(f'title = "T"\ntasks = ["scifact", "medquad-held-out"]\n\n{views}\n')
    render(Board.read(board), board / "site")
    named = {}
    for page in ("index", "views/science.bm25-100", "views/all-tasks.bm25-100"):
        overview = (board / "site" / f"{page}.html").read_text()
        named[page] = re.findall(r'data-key="mean"><abbr[^>]*>([^<]*)</abbr>', overview)
    assert named == {
        "index": ["Mean RR@10"],
        "views/science.bm25-100": ["Mean nDCG@10"],
        "views/all-tasks.bm25-100": ["Mean"],
    }
    costs = (board / "site" / "efficiency.html").read_text()
    assert "Mean RR@10</th>" in costs and "nDCG@10" not in costs.partition("<main")[2]


def test_a_sample_which_no_contest_tests_has_no_column_of_corrected_p(site: Path) -> None:
    of_sample = (site / "submissions" / "acme--gpt.1.html").read_text()
    of_system = (site / "submissions" / "acme--one.html").read_text()
    assert "p, Holm</th>" in of_system and "p, Holm</th>" not in of_sample


def test_a_column_in_which_no_row_says_anything_is_left_out(site: Path) -> None:
    front = heads_of(site / "index.html")
    assert {"flops", "parameters", "latency", "family", "stage", "depth"}.isdisjoint(front)
    science = heads_of(site / "views" / "science.html")
    assert "stage" in science and "depth" not in science  # all of its lists are of one depth
    assert "date" not in front  # one of those that a reader asks for


def test_rows_csv_and_the_rows_of_board_json_are_the_overviews_as_shown(site: Path) -> None:
    lines = list(csv.DictReader(io.StringIO((site / "data" / "rows.csv").read_text())))
    told = json.loads((site / "data" / "board.json").read_text())
    assert [(row["view"], row["contest"], row["system"]) for row in told["rows"]] == [
        (line["view"], line["contest"], line["system"]) for line in lines
    ]
    front = [line for line in lines if (line["view"], line["contest"]) == ("Science", "bm25-100")]
    shown = rows_of(site / "index.html")
    assert [line["system"] for line in front] == [row[0].partition(" 3 samples")[0] for row in shown]
    assert [f"{100 * float(line['mean']):.1f}" for line in front] == [row[2].split(" ")[0] for row in shown]
    assert [line["group"] or "–" for line in front] == [row[1] for row in shown]
    assert front[0]["samples"] == "3" and front[0]["sample_low"] < front[0]["mean"] < front[0]["sample_high"]
    assert {line["contest"] for line in lines} == {"bm25-100", "bm25-20", "repllama-100", "best pipeline"}
