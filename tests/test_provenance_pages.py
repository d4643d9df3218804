"""From a number on a page down to the files, the training data and the teacher's replies behind it."""

from __future__ import annotations

import html
import json
import re
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pyarrow.parquet as pq
import pytest
from hub_client import write_release
from toys import contents

from exabench.bench.excerpts import build_excerpts, read_excerpts, write_excerpts
from exabench.bench.ledger import Ledger
from exabench.bench.submissions import read_submission
from exabench.board.pages import render
from exabench.board.ranking import Board
from exabench.core.errors import BadInput
from exabench.core.files import digest_of, file_digest, read_bytes
from exabench.core.nouns import BoardChange, Prompt
from exabench.data.building import Sources, build
from exabench.data.publishing import publish
from exabench.data.releases import rows as rows_of
from exabench.measure.runs import read_run
from exabench.parts.replies import call_key
from exabench.tasks.catalogue import single_task
from exabench.tasks.collections import open_collection, read_checked_qrels

ATTACK = "<script>window.__pwned=1</script>\"'{{ 7 * 7 }}\u202e"
RESULT = "results/acme--good/mini.bm25-20.html"
ATOM = "{http://www.w3.org/2005/Atom}"


def made(board: Path) -> dict[str, bytes]:
    """Every file of a board's site."""
    with tempfile.TemporaryDirectory() as folder:
        site = Path(folder) / "site"
        render(Board.read(board), site, processes=1)
        return contents(site)


def words(page: bytes) -> str:
    """The text of a page on one line, without tags."""
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]*>", " ", page.decode())))


def call(script: bytes, function: str) -> tuple[str, int, Any]:
    """The arguments of the one call that a data file is."""
    text = script.decode()
    assert text.startswith(f"exabench.{function}(") and text.endswith(");\n")
    name, place, value = json.loads(f"[{text[len(f'exabench.{function}(') : -3]}]")
    return name, place, value


def keep_shown(board: Path) -> None:
    """Write what may be shown of every list, as freezing it does."""
    ledger = Ledger(board)
    for listed in ledger.candidates():
        task = single_task(listed.task)
        collection = open_collection(task)
        values = build_excerpts(
            task, listed, ledger.candidates_run(listed), collection, read_checked_qrels(task, collection)
        )
        write_excerpts(values, ledger.shown_file(listed.task, listed.name))


@pytest.fixture(scope="session")
def _release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("release")
    # Few enough rows for one page to show them all.
    built = build("mini-contrastive", folder, limit=17, sources=Sources(replies=folder / "replies.sqlite"))
    publish(folder / "release", folder / built.name)
    return folder / built.name


PLACE = ("acme--good", "mini", "bm25-20", "nDCG@10")
CHANGES = [
    *(BoardChange("2025-01-01", *PLACE, None, 0.1, f"old change {i}") for i in range(100)),
    BoardChange("2026-01-01", *PLACE, None, 0.4, "first result"),
    BoardChange("2026-01-02", "exabench--random", "mini", "bm25-20", "nDCG@10", None, 0.2, ATTACK),
    BoardChange("2026-01-03", *PLACE, 0.4, 0.5, "another model revision"),
    BoardChange("2030-01-01", *PLACE, 0.5, None, "withdrawn"),
]
DECLARED = {
    "family": "monoT5",
    "strategy": "logit",
    "template": "q: {q}",
    "precision": "bfloat16",
    "teacher": "an LLM",
    "synthetic_data": ("made-up",),
    "bibtex": "@misc{good,\n  title = {A <b>good</b> one}\n}",
}


@pytest.fixture(scope="module")
def whole(_board: Path, _release: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A board with texts of its lists, two datasets, a long log and a submission that declares all; only read."""
    board = Path(shutil.copytree(_board, tmp_path_factory.mktemp("whole") / "board"))
    keep_shown(board)
    ledger = Ledger(board)
    shutil.copytree(_release, ledger.datasets / _release.name)
    write_release(ledger.datasets / "long", {"listwise": [f"text {i}" for i in range(101)]}, name="long")
    ledger.add_changes(CHANGES)
    ledger.add_submission(replace(ledger.submissions()["acme--good"], **DECLARED))
    return board


@pytest.fixture(scope="module")
def files(whole: Path) -> dict[str, bytes]:
    """Its site."""
    return made(whole)


@pytest.fixture
def own(whole: Path, tmp_path: Path) -> Path:
    """The test's own copy of that board."""
    return Path(shutil.copytree(whole, tmp_path / "own"))


@pytest.fixture(scope="module")
def lacking(whole: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The site of a board with an address that may not show texts, lacks a run, and had a submission withdrawn."""
    board = Path(shutil.copytree(whole, tmp_path_factory.mktemp("lacking") / "board"))
    ledger = Ledger(board)
    change_excerpts(board, texts=False, passages={}, licence="academic use")
    ledger.run_file("acme--good", "mini", "bm25-20").unlink()
    (board / "board.toml").write_text((board / "board.toml").read_text() + 'url = "https://example.org/board/"\n')
    good = ledger.submissions()["acme--good"]
    ledger.add_submission(replace(good, withdrawn=f"why: {ATTACK[:33]}"))
    ledger.add_submission(replace(good, name="Acme/second", withdrawn="a mistake"))
    return made(board)


def change_excerpts(board: Path, **changes: Any) -> None:
    file = Ledger(board).shown_file("mini", "bm25-20")
    values = {key: value for key, value in read_excerpts(file).items() if key != "digest"}
    write_excerpts(values | changes, file)


def test_the_rankings_on_a_page_are_those_of_the_stored_runs(whole: Path, files: dict[str, bytes]) -> None:
    ledger = Ledger(whole)
    listed = ledger.candidates_run(ledger.one_candidates("mini", "bm25-20"))
    slugs = sorted(ledger.submissions())
    assert len(slugs) == 6
    for slug in slugs:
        name, _, tops = call(files[f"data/rankings/{slug}/mini.bm25-20.js"], "ranked")
        run = read_run(ledger.run_file(slug, "mini", "bm25-20"))
        assert name == "mini.bm25-20"
        for query_id, places in zip(listed.query_ids, tops, strict=True):
            given = listed.ranking(query_id)
            assert [given[place] for place in places] == run.ranking(query_id)[:10]


def test_a_list_is_shown_in_its_order_with_its_grades_and_texts(whole: Path, files: dict[str, bytes]) -> None:
    ledger = Ledger(whole)
    run = ledger.candidates_run(ledger.one_candidates("mini", "bm25-20"))
    qrels = read_checked_qrels(single_task("mini"), open_collection(single_task("mini")))
    parts = [call(data, "passages") for path, data in files.items() if path.startswith("data/rankings/mini.bm25-20/")]
    rows = [row for _, _, part in sorted(parts, key=lambda part: part[1]) for row in part["queries"]]
    assert [row[0] for row in rows] == list(run.query_ids)
    for query_id, text, relevant, passages, grades in rows:
        assert text and passages == run.ranking(query_id)
        assert grades == [qrels[query_id].get(passage_id) for passage_id in passages]
        assert relevant == sum(grade >= 1 for grade in qrels[query_id].values())
    for _, _, part in parts:
        assert set(part["texts"]) == {passage_id for row in part["queries"] for passage_id in row[3]}


def test_a_page_says_why_texts_are_not_shown(
    board: Path, own: Path, files: dict[str, bytes], lacking: dict[str, bytes]
) -> None:
    assert "the collection's licence is CC0-1.0" in words(files[RESULT])
    other = RESULT.replace("acme--good", "exabench--random")
    assert "licence (academic use) does not let everybody pass them on" in words(lacking[other])
    change_excerpts(own, texts=False, passages={}, licence=None)
    assert "licence is not recorded" in words(made(own)[RESULT])
    change_excerpts(own, texts=False, passages={}, licence="CC BY 4.0")  # it may be kept, and was not
    assert "this board keeps no texts of the collection" in words(made(own)[RESULT])
    bare = made(board)  # nothing was kept of its list
    assert "Only ids are shown" in words(bare[RESULT])
    name, place, part = call(bare["data/rankings/mini.bm25-20/0.js"], "passages")
    assert (name, place, part["texts"]) == ("mini.bm25-20", 0, {})
    assert all(row[1] == "" and row[2] is None and row[4] == [] for row in part["queries"])


def take_another_run(board: Path) -> None:
    ledger = Ledger(board)
    other = ledger.run_file("exabench--random", "mini", "bm25-20")
    shutil.copyfile(other, ledger.run_file("acme--good", "mini", "bm25-20"))


def take_another_list(board: Path) -> None:
    change_excerpts(board, candidates_digest="sha256:" + "0" * 64)


def flip_a_byte_of_the_replies(board: Path) -> None:
    [file] = board.glob("datasets/*/replies/contrastive.parquet")
    data = bytearray(file.read_bytes())
    data[100] ^= 1
    file.write_bytes(data)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (take_another_run, "is not the run that the result was made from"),
        (take_another_list, "was made of another list"),
        (flip_a_byte_of_the_replies, "does not match the manifest"),
    ],
)
def test_a_file_that_is_not_the_one_of_its_digest_is_never_shown(spoil: Any, message: str, own: Path) -> None:
    spoil(own)
    with pytest.raises(BadInput, match=message):
        made(own)


def test_a_page_without_its_run_says_so_and_loads_nothing(lacking: dict[str, bytes]) -> None:
    assert "the board’s folder does not hold runs/acme--good/mini.bm25-20.trec.gz" in words(lacking[RESULT])
    assert "rankings.js" not in lacking[RESULT].decode()
    assert "data/rankings/acme--good/mini.bm25-20.js" not in lacking


def test_every_digest_on_a_results_page_is_that_of_its_file(whole: Path, files: dict[str, bytes]) -> None:
    ledger, text = Ledger(whole), words(files[RESULT])
    result = next(ledger.results("acme--good"))
    assert digest_of(read_bytes(ledger.run_file("acme--good", "mini", "bm25-20"))) in text
    assert digest_of(read_bytes(ledger.candidates_file("mini", "bm25-20"))) in text
    assert result.qrels_digest in text and result.measurement.convention.digest in text
    assert "linear gain, discount log2(rank + 1); relevant from grade 1" in text


def test_a_submissions_page_tells_all_that_it_declares_and_what_changed_newest_first(
    files: dict[str, bytes], lacking: dict[str, bytes]
) -> None:
    page = files["submissions/acme--good.html"]
    for name in ("family", "strategy", "template", "precision", "teacher"):
        assert DECLARED[name] in words(page), name
    assert "made-up" in words(page)
    assert b'<pre class="copied"><code>@misc{good,\n  title = {A &lt;b&gt;good&lt;/b&gt; one}\n}</code></pre>' in page
    history = words(page).partition("What changed")[2]
    assert history.index("another model revision") < history.index("first result")
    assert "another model revision" not in words(files["submissions/exabench--oracle.html"])
    withdrawn = lacking["submissions/acme--good.html"]
    assert "Withdrawn: why: <script>" in words(withdrawn) and b"<script>window" not in withdrawn


def test_a_row_leads_to_the_teachers_own_words(whole: Path, files: dict[str, bytes], _release: Path) -> None:
    dataset = whole / "datasets" / _release.name
    path = f"datasets/{dataset.name}/rows-contrastive.html"
    page, text = files[path].decode(), words(files[path])
    replies = {row["key"]: row for row in pq.read_table(dataset / "replies" / "contrastive.parquet").to_pylist()}
    listed = [(split, row) for split in ("train", "validation") for row in rows_of(dataset, "contrastive", split)]
    assert len(listed) == 16 and "All 16 rows" in text
    for split, row in listed:
        assert f'id="{split}-{row["id"]}"' in page
        for wanted in (row["query_id"], row["positive_id"], *row["negative_ids"], row["teacher_revision"]):
            assert wanted in text
        for key in row["replies"]:
            reply = replies[key]
            turns = tuple((turn["role"], turn["content"]) for turn in reply["turns"])
            asked = Prompt("", turns, reply["max_tokens"], reply["temperature"], reply["sample"], reply["pattern"])
            assert call_key(json.loads(reply["identity"]), asked) == key  # the digest on the page is that of the call
            assert key in text and re.sub(r"\s+", " ", reply["text"]).strip() in text
    # A dataset and its rows lead to each other.
    assert f'href="../{path}"' in files[f"datasets/{dataset.name}.html"].decode()
    assert f'href="../../datasets/{dataset.name}.html#contrastive"' in page
    # Of many rows the first are shown, and the page says of how many.
    page = files["datasets/long/rows-listwise.html"]
    assert "The first 25 of 101 rows" in words(page) and page.count(b'<section class="card row"') == 25


def test_the_digests_of_the_verify_page_are_those_of_the_files(whole: Path, files: dict[str, bytes]) -> None:
    told, page = json.loads(files["data/files.json"]), words(files["verify.html"])
    assert told["build"] in page
    for one in told["files"]:
        file = whole / one["path"]
        found = digest_of(read_bytes(file)) if one["of"] == "its ranking, unpacked" else file_digest(file)
        assert found == one["digest"], one["path"]
        assert one["path"] in page and one["digest"] in page
    there = {str(file.relative_to(whole)) for file in whole.rglob("*") if file.is_file()}
    listed = {one["path"] for one in told["files"]}
    data = {path for path in there if path.startswith("datasets/") and not path.endswith("manifest.json")}
    assert there - listed - data <= {"lock.json"}  # a dataset's manifest vouches for the rest of it


def test_a_board_gives_the_same_bytes_from_inside_its_folder(
    whole: Path, files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = contents(whole)
    monkeypatch.chdir(whole)
    assert made(Path(".")) == files and contents(whole) == before


def test_another_byte_in_a_result_makes_another_build(own: Path) -> None:
    before, ledger = Board.read(own).build_digest, Ledger(own)
    assert Board.read(own).build_digest == before
    ledger.add_result(replace(next(ledger.results("acme--good")), created="2031-01-01"))
    assert Board.read(own).build_digest != before


def test_the_change_log_is_shown_newest_first_and_whole_in_the_data(whole: Path, files: dict[str, bytes]) -> None:
    total = len(Ledger(whole).changes())
    told, page = json.loads(files["data/changes.json"])["changes"], words(files["changes.html"])
    assert [one["reason"] for one in told[1:4:2]] == ["another model revision", "first result"]
    assert len(told) == total > 100
    assert f"The newest 100 of {total} changes" in page and "old change 99" in page and "old change 0" not in page
    assert page.index("another model revision") < page.index("first result")
    assert "acme/good" in page and "40.0 50.0" in page
    assert b"<script>window" not in files["changes.html"] and "\u202e" not in files["changes.html"].decode()


def test_the_examples_of_the_guide_pass_the_boards_own_check(files: dict[str, bytes], tmp_path: Path) -> None:
    examples = re.findall(r"<code>(name = .*?)</code>", files["submit.html"].decode(), re.DOTALL)
    kinds = set()
    for example in examples:
        (tmp_path / "submission.toml").write_text(html.unescape(example))
        kinds.add(read_submission(tmp_path / "submission.toml").kind)
    assert kinds == {"model", "run", "api"}


def test_the_feed_tells_the_news_newest_first(files: dict[str, bytes], lacking: dict[str, bytes]) -> None:
    feed = ElementTree.fromstring(files["feed.atom"])
    entries = feed.findall(f"{ATOM}entry")
    dates = [entry.findtext(f"{ATOM}updated") for entry in entries]
    assert dates == sorted(dates, reverse=True) and dates[0] == feed.findtext(f"{ATOM}updated")
    ids = [entry.findtext(f"{ATOM}id") for entry in entries]
    assert len(set(ids)) == len(ids) and all(str(one).startswith("urn:uuid:") for one in ids)
    assert entries[0].findtext(f"{ATOM}title") == "acme/good: 1 number changed"
    assert entries[0].findtext(f"{ATOM}summary") == "mini over bm25-20: nDCG@10 from 50.0 to none, withdrawn."
    assert feed.findtext(f"{ATOM}title") == "A small board"
    # A board that knows its address gives whole addresses.
    links = [link.get("href", "") for link in ElementTree.fromstring(lacking["feed.atom"]).iter(f"{ATOM}link")]
    assert links[0] == "https://example.org/board/index.html"
    assert all(link.startswith("https://example.org/board/submissions/") for link in links[2:])


def test_what_was_withdrawn_stays_listed_and_owners_whose_names_differ_in_case_share_a_page(
    lacking: dict[str, bytes],
) -> None:
    told = json.loads(lacking["data/changes.json"])["withdrawn"]
    assert {"submission": "Acme--second", "name": "Acme/second", "reason": "a mistake"} in told and len(told) == 2
    assert "Acme/second a mistake" in words(lacking["changes.html"])
    page = words(lacking["owners/acme.html"])
    assert "2 submissions on this board" in page and "Acme/second withdrawn: a mistake run" in page
