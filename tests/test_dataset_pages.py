"""What the pages of datasets tell one who chooses, looks at rows and loads them."""

from __future__ import annotations

import html
import re
from dataclasses import replace
from pathlib import Path

import pytest
from hub_client import write_release
from toys import TIME
from trained import model_folder

from exabench.bench.ledger import Ledger
from exabench.bench.submitting import submit
from exabench.board.pages import render
from exabench.board.ranking import Board
from exabench.data.building import Sources, build
from exabench.data.publishing import publish
from exabench.data.releases import rows as rows_of

RECIPES = ("mini-explanations", "mini-listwise", "mini-contrastive", "mini-scored")


def words(page: str) -> str:
    """The text of a page on one line, without tags."""
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]*>", " ", page)))


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A board with a dataset of every family, one whose texts nobody may pass on, and a model trained on a third."""
    work = tmp_path_factory.mktemp("datasets")
    ledger = Ledger(work / "board")
    ledger.create("Datasets", ["mini"])
    for recipe in RECIPES:
        build(recipe, work / recipe, sources=Sources(replies=work / recipe / "replies.sqlite"))
        publish(work / recipe / "release", ledger.datasets / "exabench-mini")
    write_release(ledger.datasets / "closed", {"rows": ["a secret text"]}, name="closed", licence="cc-by-nc-4.0")
    release = write_release(ledger.datasets / "toy", {"rows": ["sky", "sea"]})
    folder = model_folder(work / "training", release, "rows", name="acme/learnt")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOURCE_DATE_EPOCH", TIME)
        submit(folder / "submission.toml", [], ledger.folder)
    return ledger.folder


@pytest.fixture(scope="module")
def site(board: Path) -> Path:
    render(Board.read(board), board.parent / "site", processes=1)
    return board.parent / "site"


def test_rows_are_shown_with_their_texts_labels_and_explanations(board: Path, site: Path) -> None:
    folder = Ledger(board).datasets / "exabench-mini"
    tables = Board.read(board).datasets[1].tables
    assert sorted(table.family for table in tables.values()) == ["contrastive", "explanations", "listwise", "scored"]
    for name in tables:
        page = words((site / f"datasets/exabench-mini/rows-{name}.html").read_text())
        for row in list(rows_of(folder, name, "train"))[:3]:
            assert row["query"] in page
            for passage in [row.get("passage"), row.get("positive"), *row.get("passages", ())]:
                assert passage is None or passage[:100] in page
            if "explanation" in row:
                assert row["explanation"] in page
                assert ("not relevant" in page) if not row["relevant"] else "relevant" in page


def test_rows_whose_licence_forbids_it_are_shown_by_ids_alone(board: Path, site: Path) -> None:
    page = words((site / "datasets/closed/rows-rows.html").read_text())
    row = next(iter(rows_of(Ledger(board).datasets / "closed", "rows", "train")))
    for field in ("query", "title", "passage", "explanation", "input", "target"):
        assert row[field] not in page
    assert row["query_id"] in page and row["passage_id"] in page
    assert "Only ids are shown: the licence ( cc-by-nc-4.0 )" in page


def test_the_page_of_a_dataset_shows_rows_fields_and_how_to_load_before_any_figure(board: Path, site: Path) -> None:
    page = (site / "datasets/exabench-mini.html").read_text()
    places = [page.index(f'id="section:{part}"') for part in ("rows", "fields", "load")]
    assert places == sorted(places) and places[-1] < page.index("<dt>Rows</dt>")
    before = words(page[: places[1]])
    folder = Ledger(board).datasets / "exabench-mini"
    for name in ("contrastive", "explanations", "listwise", "scored"):
        for row in list(rows_of(folder, name, "train"))[:3]:
            assert row["query"] in before
            best = row.get("passage") or row.get("positive") or row["passages"][0]
            assert best[:100] in before
        assert f"exabench-mini/data/{name}/train-*.parquet" in page, "every table has a line that loads it"
    assert "the label: does the passage answer the query?" in words(page)
    closed = words((site / "datasets/closed.html").read_text())
    secret = next(iter(rows_of(Ledger(board).datasets / "closed", "rows", "train")))
    assert secret["passage"] not in closed and secret["query"] not in closed
    assert "does not allow everybody to redistribute the texts" in closed


def test_digests_wait_behind_a_fold(site: Path) -> None:
    for page in (site / "datasets").rglob("*.html"):
        open_part = re.sub(r"<details>.*?</details>", "", page.read_text(), flags=re.S)
        assert "sha256:" not in open_part and 'class="digest"' not in open_part


def test_the_table_of_datasets_says_what_one_chooses_by(site: Path) -> None:
    page = words((site / "datasets/index.html").read_text())
    for head in ("Rows", "MB", "Language", "Texts from", "Licence", "Teacher", "Gain"):
        assert head in page
    assert "a query and a passage, with a label and why" in page and "CC0-1.0" in page
    gained = re.search(r"[+−]?\d+\.\d on mini", page)
    assert gained
    told = f"Gain {gained[0]} (the score × 100 of acme/learnt minus that of the same model before training)"
    learnt_from = re.sub(r" +(?=\))", "", words((site / "datasets/toy.html").read_text()))
    assert learnt_from.count(told) == 1
    assert "<dt>Gain</dt>" not in (site / "datasets/exabench-mini.html").read_text()
    assert "no model yet" in page


def test_a_local_dataset_is_loaded_from_its_files_and_a_published_one_by_its_repository(
    board: Path, site: Path, tmp_path: Path
) -> None:
    local = words((site / "datasets/toy.html").read_text())
    pattern = re.search(r'load_dataset\("parquet", data_files="([^"]+)"', local)
    assert pattern and list(board.glob(pattern[1]))
    assert 'exabench.load("datasets/toy", "rows")' in local

    read = Board.read(board)
    report = read.trainings["acme--learnt"]
    values = {**report.values, "data": [{**report.values["data"][0], "repository": "acme/toy"}]}
    published = replace(read, trainings={"acme--learnt": replace(report, values=values)})
    render(published, tmp_path / "site", processes=1)
    page = (tmp_path / "site/datasets/toy.html").read_text()
    assert 'load_dataset("acme/toy", "rows", split="train", revision="v1.0.0")' in html.unescape(page)
    assert 'href="https://huggingface.co/datasets/acme/toy"' in page


def test_a_dataset_page_says_what_rows_are_like_and_no_raw_report(site: Path) -> None:
    pages = [words(page.read_text()) for page in (site / "datasets").glob("*.html")]
    text = " ".join(pages)
    assert "median" in text and "Leaks, by task" in text
    raw = text.replace("Leaks, by task", "")
    assert "und 0." not in raw and "rate 1" not in raw and "Leaks" not in raw
