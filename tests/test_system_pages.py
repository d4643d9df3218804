"""The pages of systems, results and owners: whose they are, where their models are, and how they are cited."""

from __future__ import annotations

import html
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from test_pages import add_model
from test_provenance_pages import keep_shown

from exabench.bench.ledger import Ledger
from exabench.board.pages import render
from exabench.board.ranking import Board
from exabench.core.nouns import FIRST_STAGE, Credit


def words(page: str) -> str:
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]*>", " ", page)))


@pytest.fixture(scope="module")
def board(_board: Path, tmp_path_factory: pytest.TempPathFactory) -> Board:
    """The small board with two models, one of the Hub and one of a folder, and a first stage that has a credit."""
    folder = Path(shutil.copytree(_board, tmp_path_factory.mktemp("systems") / "board"))
    add_model(folder, "acme/hub", 0.5, 1e11)
    add_model(folder, "acme/folder", 0.4, 1e11)
    ledger = Ledger(folder)
    ledger.add_submission(
        replace(ledger.submissions()["acme--folder"], model="builds/mine", revision="sha256:" + "0" * 64)
    )
    keep_shown(folder)
    read = Board.read(folder)
    credit = Credit("castorini", "https://example.org/splade", "cc-by-nc-4.0", ("msmarco",), "A sparse model.")
    results = []
    for one in read.results:
        candidates = replace(one.result.candidates, credit=credit)
        results.append(replace(one, result=replace(one.result, candidates=candidates)))
    return replace(read, results=tuple(results), url="https://board.example/site")


@pytest.fixture(scope="module")
def site(board: Board) -> Path:
    render(board, board.folder / "pages", processes=1)
    return board.folder / "pages"


def test_a_first_stage_is_credited_to_its_authors_with_licence_and_training_data(site: Path) -> None:
    page = words((site / f"submissions/{FIRST_STAGE}.html").read_text())
    assert re.search(r"bm25 castorini cc-by-nc-4\.0 msmarco A sparse model\.", page)
    assert "apache-2.0" not in page and "@misc" not in page
    result = words((site / f"results/{FIRST_STAGE}/mini.bm25-20.html").read_text())
    assert "First stage by castorini (licence: cc-by-nc-4.0 )" in result
    assert "Trained on msmarco (as declared, not verified)" in result


def test_a_model_of_the_hub_is_linked_and_one_of_a_folder_is_not(site: Path) -> None:
    assert 'href="https://huggingface.co/acme/hub"' in (site / "submissions/acme--hub.html").read_text()
    assert 'href="https://huggingface.co/acme/hub"' in (site / "results/acme--hub/mini.bm25-20.html").read_text()
    assert "https://huggingface.co/builds/mine" not in (site / "submissions/acme--folder.html").read_text()


def test_a_citation_names_the_number_its_run_and_its_page(board: Board, site: Path) -> None:
    page = html.unescape((site / "results/acme--hub/mini.bm25-20.html").read_text())
    entry = re.search(r"@misc\{.*?\n\}", page, re.S)
    assert entry and "title = {{acme/hub on mini over bm25-20}}" in entry[0]
    assert "url = {https://board.example/site/results/acme--hub/mini.bm25-20.html}" in entry[0]
    summary = board.result("acme--hub", "mini", "bm25-20")
    assert summary and summary.result.run_digest in entry[0] and "nDCG@10 50.0" in entry[0]
    own = replace(board.submissions["acme--hub"], bibtex="@misc{mine,\n  title = {Mine}\n}")
    other = replace(board, submissions={**board.submissions, "acme--hub": own})
    render(other, board.folder / "other", processes=1)
    assert "@misc{mine," in (board.folder / "other" / "submissions/acme--hub.html").read_text()


def test_a_title_that_bibtex_would_read_as_a_command_is_escaped(board: Board) -> None:
    named = replace(board, title="100 % of {all} & more_or_less")
    render(named, board.folder / "named", processes=1)
    page = html.unescape((board.folder / "named" / "submissions/acme--hub.html").read_text())
    assert r"howpublished = {100 \% of \{all\} \& more\_or\_less}" in page


def test_queries_are_shown_by_their_words_only_where_the_licence_allows_it(board: Board, site: Path) -> None:
    texts = board.query_texts["mini"]
    assert len(texts) == 24
    pages = ("results/acme--hub/mini.bm25-20.html", "submissions/acme--hub.html", "tasks/mini.html")
    for name in pages:
        page = words((site / name).read_text())
        assert any(text in page for text in texts.values()), name
    assert '"words":[' in (site / "data/queries/mini.bm25-20.js").read_text()

    for file in board.folder.glob("candidates/*/*.shown.json.gz"):
        file.unlink()
    bare = Board.read(board.folder)
    assert not bare.query_texts["mini"]
    render(bare, board.folder / "bare", processes=1)
    for name in pages:
        page = words((board.folder / "bare" / name).read_text())
        assert not any(text in page for text in texts.values() if " " in text), name
    assert "words" not in (board.folder / "bare" / "data/queries/mini.bm25-20.js").read_text()
