"""Numbers reported elsewhere: systems by datasets, their sources, and an audit that only says what the cells say."""

from __future__ import annotations

import csv
import html
import re
import shutil
from collections import defaultdict
from decimal import Decimal
from pathlib import Path

import pytest

from exabench.bench.ledger import Ledger
from exabench.bench.verification import check
from exabench.board.pages import render
from exabench.board.ranking import Board
from exabench.core.errors import BadInput

REPORTED = Path(__file__).parents[1] / "leaderboard" / "reported"
HEAD = "system,dataset,first_stage,topk,metric,value,source\n"
ROUNDING = 0.1  # points that a printed mean may be off: half a last digit of the mean, and of every cell


def board_of(folder: Path, tables: dict[str, str], titles: str = "") -> Path:
    Ledger(folder).create("Printed", ["mini"])
    (folder / "reported").mkdir()
    for name, text in tables.items():
        (folder / "reported" / f"{name}.csv").write_text(text)
    if titles:
        (folder / "reported" / "tables.toml").write_text(titles)
    return folder


def page_of(board: Path, name: str) -> str:
    site = board.parent / "site"
    render(Board.read(board), site, processes=1)
    return (site / "reported" / f"{name}.html").read_text()


def cells_of(page: str) -> list[list[str]]:
    """The cells of every line of every table of a page, as text."""
    lines = []
    for line in re.findall(r"<tr>(.*?)</tr>", page, re.S):
        cells = re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", line, re.S)
        lines.append([html.unescape(re.sub(r"<[^>]*>", "", cell)).strip() for cell in cells])
    return lines


def test_a_table_shows_systems_by_datasets_with_every_printed_digit(tmp_path: Path) -> None:
    rows = (
        "bm25,SciFact,bm25,100,nDCG@10,0.679,A paper\n"
        "bm25,NQ,bm25,100,nDCG@10,0.3055,A paper\n"
        "monoT5,SciFact,bm25,100,nDCG@10,0.70,A paper\n"
        "monoT5,SciFact,splade,100,nDCG@10,0.764,A paper\n"
        "monoT5,BEIR 2,splade,100,avg nDCG@10,0.5,A paper\n"
    )
    page = page_of(board_of(tmp_path / "board", {"a": HEAD + rows}), "a")
    assert cells_of(page) == [
        ["System", "First stage", "SciFact", "NQ", "BEIR 2 mean"],
        ["bm25", "bm25", "67.9", "30.55", ""],
        ["monoT5", "bm25", "70", "", ""],
        ["monoT5", "splade", "76.4", "", "50"],
    ]
    assert "nDCG@10 × 100 as printed at the source; top 100." in page


def test_each_metric_has_its_own_table_and_only_fractions_become_points(tmp_path: Path) -> None:
    rows = (
        "a,x,pool,1000,docs/sec,1800,Card\n"
        "a,x,pool,1000,nDCG@10,0.5,Card\n"
        "a,x,pool,1000,nDCG@10,0.6,Card\n"  # printed twice: both are shown
    )
    page = page_of(board_of(tmp_path / "board", {"a": HEAD + rows}), "a")
    assert cells_of(page) == [["System", "x"], ["a", "50; 60"], ["System", "x"], ["a", "1800"]]
    assert "docs/sec as printed at the source; first stage: pool, top 1000." in page


def test_the_datasets_that_most_systems_have_are_the_first_columns(tmp_path: Path) -> None:
    rows = (
        "a,FiQA,bm25,100,nDCG@10,0.3,Card\n"
        "a,NQ,bm25,100,nDCG@10,0.4,Card\n"
        "a,BEIR 2,bm25,100,avg nDCG@10,0.35,Card\n"
        "b,NQ,bm25,100,nDCG@10,0.2,Card\n"
    )
    page = page_of(board_of(tmp_path / "board", {"a": HEAD + rows}), "a")
    assert cells_of(page)[0] == ["System", "NQ", "FiQA", "BEIR 2 mean"]


def test_titles_and_sources_stand_where_file_names_stood(tmp_path: Path) -> None:
    titles = '[a]\ntitle = "A paper, Table 1"\nabout = "Some cells."\nlink = "https://arxiv.org/abs/2403.17759"\n'
    rows = "a,x,y,1,nDCG@10,0.5,castorini/rank_llm@1b3cabb:src/two.yaml\nb,x,y,1,nDCG@10,0.5,owner/name PR #115\n"
    board = board_of(tmp_path / "board", {"a": HEAD + rows, "b": HEAD + rows}, titles)
    page = page_of(board, "a")
    assert "<h1>A paper, Table 1</h1>" in page and 'href="https://arxiv.org/abs/2403.17759"' in page
    assert 'href="https://github.com/castorini/rank_llm/blob/1b3cabb/src/two.yaml"' in page
    assert 'href="https://github.com/owner/name/issues/115"' in page
    assert "<h1>b</h1>" in page_of(board, "b")  # nothing is told of it
    assert ">A paper, Table 1</a>" in page_of(board, "index")


@pytest.mark.parametrize(
    ("titles", "message"),
    [
        ('[c]\ntitle = "C"\n', "names a table that is not in the same folder: c"),
        ('[a]\nabout = "no title"\n', "title"),
        ('[a]\ntitle = "A"\nlink = "javascript:alert(1)"\n', "link"),
        ('[a]\ntitle = "A"\nlinks = "https://x.org"\n', "links"),
    ],
)
def test_a_check_refuses_titles_that_are_not_of_these_tables(tmp_path: Path, titles: str, message: str) -> None:
    board = board_of(tmp_path / "board", {"a": HEAD + "a,x,y,1,nDCG@10,0.5,s\n"}, titles)
    problems = [str(problem) for problem in check(board)]
    assert [problem for problem in problems if "tables.toml" in problem and message in problem], problems


def test_a_title_that_cannot_be_read_builds_nothing(tmp_path: Path) -> None:
    board = board_of(tmp_path / "board", {"a": HEAD + "a,x,y,1,nDCG@10,0.5,s\n"}, "[a]\nlink = 3\n")
    with pytest.raises(BadInput, match=r"tables\.toml"):
        Board.read(board)


def test_the_audit_holds_every_printed_mean_that_its_cells_do_not_give_and_no_other() -> None:
    """Of the committed tables; which datasets are in a mean is known by name."""
    found = set()
    for place, name in (("3", "table3_beir_top100"), ("4", "table4_beir_top1000"), ("5", "table5_ablation")):
        cells: dict[tuple[str, str], dict[str, Decimal]] = defaultdict(dict)
        means: dict[tuple[str, str, str], Decimal] = {}
        with (REPORTED / f"twolar_{name}.csv").open(encoding="utf-8") as file:
            for row in csv.DictReader(file):
                system = (row["system"], row["first_stage"])
                if row["metric"].startswith("avg "):
                    means[*system, row["dataset"]] = 100 * Decimal(row["value"])
                else:
                    cells[system][row["dataset"]] = 100 * Decimal(row["value"])
        for (system_name, first_stage, over), printed in means.items():
            own = cells[system_name, first_stage]
            wanted = set(own)
            if over == "BEIR 17":
                wanted -= {"CQADupStack"}
            elif over == "BEIR 15":
                wanted = set(cells["RankT5", "bm25"])  # which has no others
            mean = sum((own[dataset] for dataset in wanted), Decimal(0)) / len(wanted)
            if abs(mean - printed) > ROUNDING:
                found.add((f"TWOLAR Table {place}", over, f"{printed:.1f}", f"{mean:.2f}"))
    with (REPORTED / "audit_discrepancies.csv").open(encoding="utf-8") as file:
        listed = {(row["table"], row["mean"], row["printed"], row["from its cells"]) for row in csv.DictReader(file)}
    assert found == listed and len(listed) == 6


def test_every_committed_table_has_a_title_and_fits_on_two_screens(tmp_path: Path) -> None:
    Ledger(tmp_path / "board").create("Printed", ["mini"])
    shutil.copytree(REPORTED, tmp_path / "board" / "reported")
    board = Board.read(tmp_path / "board")
    assert all(table.title != table.name for table in board.reported) and len(board.reported) >= 7
    render(board, tmp_path / "site", processes=1)
    for table in board.reported:
        page = (tmp_path / "site" / "reported" / f"{table.name}.html").read_text()
        unfolded = re.sub(r"<details>.*?</details>", "", page, flags=re.S)
        assert len(re.findall("<tr>", unfolded)) <= 57, table.name
