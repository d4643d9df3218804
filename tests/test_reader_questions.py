"""Twenty questions of a reader who has not seen the project, each answered within two clicks of the start page."""

from __future__ import annotations

import html
import os
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from hub_client import write_release
from test_provenance_pages import keep_shown
from toys import TIME
from trained import model_folder

from exabench.bench.ledger import Ledger
from exabench.bench.submitting import submit
from exabench.board.pages import render
from exabench.board.ranking import Board

# The pages on the way, and what the last of them must say.
QUESTIONS = {
    "Was acme/good trained on mini?": ("submissions/acme--good.html", r"Trained on this task.*(yes|no|unknown)"),
    "On what was it trained?": ("submissions/acme--good.html", r"Trained on msmarco"),
    "Who owns it?": ("submissions/acme--good.html", r"Owner acme"),
    "Under which licence is it?": ("submissions/acme--good.html", r"Licence apache-2\.0"),
    "What type of system is it?": ("submissions/acme--good.html", r"Type run .*how it was produced.*is not verified"),
    "What else did its owner submit, and how good is it?": (
        "submissions/acme--good.html owners/acme.html",
        r"acme/good run mini bm25-20 \d+\.\d",
    ),
    "How many queries has the task?": ("tasks/mini.html", r"24 queries"),
    "Under which licence are the texts?": ("tasks/mini.html", r"Licence CC0"),
    "What does a group mean?": ("about.html", r"same group are not significantly different from the group’s best"),
    "What is the ceiling?": ("about.html", r"ceiling : the score of the best possible order of the same passages"),
    "How far is the system from the ceiling?": (
        "submissions/acme--good.html results/acme--good/mini.bm25-20.html",
        r"first stage \d+\.\d, ceiling \d+\.\d",
    ),
    "How do I submit?": ("submit.html", r"exabench bench submit submission\.toml --board"),
    "How do I reproduce a number?": (
        "submissions/acme--good.html results/acme--good/mini.bm25-20.html",
        r"exabench bench verify acme--good --board",
    ),
    "How do I cite a result?": (
        "submissions/acme--good.html results/acme--good/mini.bm25-20.html",
        r"@misc\{acme-+good-mini-bm25-20, title = \{\{acme/good on mini over bm25-20\}\}",
    ),
    "On which queries do A and B disagree?": ("compare.html", r"Compare two .*on the same queries"),
    "On which queries does it lose most, in words?": (
        "submissions/acme--good.html",
        r"Largest losses .*[a-z]{3,} [a-z]+",
    ),
    "What does a row of a dataset look like?": (
        "datasets/index.html datasets/toy/rows-rows.html",
        r"passage sky .*relevant.*Explanation: explanation sky",
    ),
    "What did a model gain by training on it?": ("datasets/index.html", r"[+−]?\d+\.\d on mini"),
    "Which numbers changed, and why?": ("changes.html", r"first result"),
    "How was a model trained?": ("datasets/index.html models/acme--learnt.html", r"Base model .*Optimiser steps"),
}


@pytest.fixture(scope="module")
def site(_board: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site of a board with texts of its lists, a dataset and a model that was trained on it."""
    work = tmp_path_factory.mktemp("questions")
    board = Path(shutil.copytree(_board, work / "board"))
    keep_shown(board)
    ledger = Ledger(board)
    ledger.add_submission(replace(ledger.submissions()["acme--good"], training_data=("msmarco",)))
    release = write_release(ledger.datasets / "toy", {"rows": ["sky", "sea"]})
    folder = model_folder(work / "training", release, "rows", name="acme/learnt")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOURCE_DATE_EPOCH", TIME)
        submit(folder / "submission.toml", [], board)
    render(Board.read(board), work / "site", processes=1)
    return work / "site"


def words(page: str) -> str:
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]*>", " ", page)))


def leads_to(site: Path, page: str) -> set[str]:
    """The pages that a page links to."""
    found = set()
    for link in re.findall(r'href="([^"#]+)[^"]*"', (site / page).read_text()):
        found.add(os.path.normpath(os.path.join(os.path.dirname(page), link)))
    return found


@pytest.mark.parametrize("question", QUESTIONS)
def test_it_is_answered_within_two_clicks(site: Path, question: str) -> None:
    way, answer = QUESTIONS[question]
    page = "index.html"
    for step in way.split():
        assert step in leads_to(site, page), f"{page} does not lead to {step}"
        page = step
    assert len(way.split()) <= 2
    assert re.search(answer, words((site / page).read_text())), words((site / page).read_text())[:4000]


def test_there_are_twenty_questions() -> None:
    assert len(QUESTIONS) == 20
