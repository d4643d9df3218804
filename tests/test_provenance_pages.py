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

from exabench.bench.excerpts import build_excerpts, write_excerpts
from exabench.bench.ledger import Ledger
from exabench.bench.submissions import FIELDS, read_submission
from exabench.board.pages import render
from exabench.board.pages._provenance import EXAMPLES
from exabench.board.pages._results import AT_ONCE
from exabench.board.ranking import Board
from exabench.core.errors import BadInput
from exabench.core.files import digest_of, file_digest, read_bytes
from exabench.core.nouns import BoardChange, Prompt
from exabench.data.building import Sources, build
from exabench.data.publishing import publish
from exabench.data.releases import rows as rows_of
from exabench.measure.runs import read_run
from exabench.models.screening import ERROR_CLASSES
from exabench.parts.replies import call_key
from exabench.tasks.catalogue import single_task
from exabench.tasks.collections import open_collection, read_checked_qrels

ATTACK = "<script>window.__pwned=1</script>\"'{{ 7 * 7 }}\u202e"
RESULT = "results/acme--good/mini.bm25-20.html"


def made(board: Path) -> dict[str, bytes]:
    """Every file of a board's site."""
    with tempfile.TemporaryDirectory() as folder:
        site = Path(folder) / "site"
        render(Board.read(board), site, processes=1)
        return {path.relative_to(site).as_posix(): path.read_bytes() for path in site.rglob("*") if path.is_file()}


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
        values = build_excerpts(listed, ledger.candidates_run(listed), collection, read_checked_qrels(task, collection))
        write_excerpts(values, ledger.shown_file(listed.task, listed.name))


@pytest.fixture(scope="session")
def _release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("release")
    built = build("mini-contrastive", folder, sources=Sources(replies=folder / "replies.sqlite"))
    publish(folder / "release", folder / built.name)
    return folder / built.name


@pytest.fixture
def dataset(board: Path, _release: Path) -> Path:
    """The small board with a dataset of contrastive rows; the dataset's folder."""
    return Path(shutil.copytree(_release, Ledger(board).datasets / _release.name))


# -- query by query --------------------------------------------------------------------------------------------


def test_the_rankings_on_a_page_are_those_of_the_stored_runs(board: Path) -> None:
    ledger, files = Ledger(board), made(board)
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


def test_a_list_is_shown_in_its_order_with_its_grades_and_texts(board: Path) -> None:
    keep_shown(board)
    ledger, files = Ledger(board), made(board)
    run = ledger.candidates_run(ledger.one_candidates("mini", "bm25-20"))
    qrels = read_checked_qrels(single_task("mini"), open_collection(single_task("mini")))
    parts = [files[f"data/rankings/mini.bm25-20/{k}.js"] for k in range(-(-len(run) // AT_ONCE))]
    rows = [row for part in parts for row in call(part, "passages")[2]["queries"]]
    assert [row[0] for row in rows] == list(run.query_ids)
    for query_id, text, relevant, passages, grades in rows:
        assert text and passages == run.ranking(query_id)
        assert grades == [qrels[query_id].get(passage_id) for passage_id in passages]
        assert relevant == sum(grade >= 1 for grade in qrels[query_id].values())
    texts = call(parts[0], "passages")[2]["texts"]
    assert set(texts) == {passage_id for row in rows[:AT_ONCE] for passage_id in row[3]}


def test_without_what_may_be_shown_a_page_says_that_ids_are_all(board: Path) -> None:
    files = made(board)
    name, place, part = call(files["data/rankings/mini.bm25-20/0.js"], "passages")
    assert (name, place, part["texts"]) == ("mini.bm25-20", 0, {})
    assert all(row[1] == "" and row[2] is None and row[4] == [] for row in part["queries"])
    assert "Only ids are shown" in words(files[RESULT])


def test_a_page_says_why_texts_are_not_shown(board: Path) -> None:
    keep_shown(board)
    file = Ledger(board).shown_file("mini", "bm25-20")
    from exabench.bench.excerpts import read_excerpts

    values = {key: value for key, value in read_excerpts(file).items() if key != "digest"}
    assert "the collection's licence is CC0-1.0" in words(made(board)[RESULT])
    write_excerpts(values | {"texts": False, "passages": {}, "licence": "academic use"}, file)
    assert "licence (academic use) does not let everybody pass them on" in words(made(board)[RESULT])
    write_excerpts(values | {"texts": False, "passages": {}, "licence": None}, file)
    assert "licence is not recorded" in words(made(board)[RESULT])


def test_a_run_that_is_not_the_results_is_never_shown(board: Path) -> None:
    ledger = Ledger(board)
    shutil.copyfile(
        ledger.run_file("exabench--random", "mini", "bm25-20"), ledger.run_file("acme--good", "mini", "bm25-20")
    )
    with pytest.raises(BadInput, match="is not the run that the result was made from"):
        made(board)


def test_what_is_shown_of_another_list_is_refused(board: Path) -> None:
    keep_shown(board)
    file = Ledger(board).shown_file("mini", "bm25-20")
    from exabench.bench.excerpts import read_excerpts

    values = {key: value for key, value in read_excerpts(file).items() if key != "digest"}
    write_excerpts(values | {"candidates_digest": "sha256:" + "0" * 64}, file)
    with pytest.raises(BadInput, match="was made of another list"):
        made(board)


def test_a_page_without_its_run_says_so_and_loads_nothing(board: Path) -> None:
    Ledger(board).run_file("acme--good", "mini", "bm25-20").unlink()
    files = made(board)
    assert "the board’s folder does not hold runs/acme--good/mini.bm25-20.trec.gz" in words(files[RESULT])
    assert "rankings.js" not in files[RESULT].decode()
    assert "data/rankings/acme--good/mini.bm25-20.js" not in files


# -- how a number was made -------------------------------------------------------------------------------------


def test_every_digest_on_a_results_page_is_that_of_its_file(board: Path) -> None:
    ledger, text = Ledger(board), words(made(board)[RESULT])
    result = next(ledger.results("acme--good"))
    assert digest_of(read_bytes(ledger.run_file("acme--good", "mini", "bm25-20"))) in text
    assert digest_of(read_bytes(ledger.candidates_file("mini", "bm25-20"))) in text
    assert {result.qrels_digest, result.measurement.convention.digest, result.command} <= {
        one for one in (result.qrels_digest, result.measurement.convention.digest, result.command) if one in text
    }
    assert "linear gain, discount log2(rank + 1); relevant from grade 1" in text


def test_a_submissions_page_tells_all_that_it_declares(board: Path) -> None:
    ledger = Ledger(board)
    one = ledger.submissions()["acme--good"]
    bibtex = "@misc{good,\n  title = {A <b>good</b> one}\n}"
    told = {"family": "monoT5", "strategy": "logit", "template": "q: {q}", "precision": "bfloat16", "teacher": "an LLM"}
    ledger.add_submission(
        replace(one, **told, synthetic_data=("made-up",), bibtex=bibtex, withdrawn=f"why: {ATTACK[:33]}")
    )
    page = made(board)["submissions/acme--good.html"]
    for text in (*told.values(), "made-up", "Withdrawn: why: <script>"):
        assert text in words(page), text
    assert b'<pre class="copied"><code>@misc{good,\n  title = {A &lt;b&gt;good&lt;/b&gt; one}\n}</code></pre>' in page
    assert b"<script>window" not in page


def test_the_submissions_of_an_owner_are_counted_and_no_other_page_moves_when_one_comes(board: Path) -> None:
    ledger, before = Ledger(board), made(board)
    assert "exabench 5 submissions on this board" in words(before["owners/exabench.html"])
    assert 'href="../owners/acme.html"' in before["submissions/acme--good.html"].decode()
    ledger.add_submission(replace(ledger.submissions()["acme--good"], name="Acme/second", withdrawn="a mistake"))
    after = made(board)
    assert "2 submissions on this board" in words(after["owners/acme.html"])
    assert "Acme/second run 0 – a mistake" in words(after["owners/acme.html"])
    moved = {path for path in after if after[path] != before.get(path)}
    own = ("owners/", "submissions/", "results/", "data/results/", "data/queries/", "data/rankings/")
    assert {path for path in moved if path.startswith(own)} == {"owners/acme.html", "submissions/Acme--second.html"}


def test_the_history_of_a_submission_is_its_part_of_the_log_newest_first(board: Path) -> None:
    Ledger(board).add_changes(changes())
    page = words(made(board)["submissions/acme--good.html"])
    history = page[page.index("What changed") :]
    assert history.index("another model revision") < history.index("first result")
    assert "another model revision" not in words(made(board)["submissions/exabench--oracle.html"])


# -- rows ------------------------------------------------------------------------------------------------------


def test_a_row_leads_to_the_teachers_own_words(board: Path, dataset: Path) -> None:
    page = made(board)[f"datasets/{dataset.name}/rows-contrastive.html"]
    replies = {row["key"]: row for row in pq.read_table(dataset / "replies" / "contrastive.parquet").to_pylist()}
    text, shown_rows = (
        words(page),
        [*rows_of(dataset, "contrastive", "train"), *rows_of(dataset, "contrastive", "validation")],
    )
    assert len(shown_rows) == 16 and "All 16 rows" in text
    for row in shown_rows:
        assert f'id="train-{row["id"]}"' in page.decode() or f'id="validation-{row["id"]}"' in page.decode()
        for wanted in (row["query_id"], row["positive_id"], *row["negative_ids"], row["teacher_revision"]):
            assert wanted in text
        for key in row["replies"]:
            reply = replies[key]
            turns = tuple((turn["role"], turn["content"]) for turn in reply["turns"])
            asked = Prompt("", turns, reply["max_tokens"], reply["temperature"], reply["sample"], reply["pattern"])
            assert call_key(json.loads(reply["identity"]), asked) == key  # the digest on the page is that of the call
            assert key in text and re.sub(r"\s+", " ", reply["text"]).strip() in text


def test_a_replies_file_with_another_byte_is_refused(board: Path, dataset: Path) -> None:
    file = dataset / "replies" / "contrastive.parquet"
    data = bytearray(file.read_bytes())
    data[100] ^= 1
    file.write_bytes(data)
    with pytest.raises(BadInput, match="is not the manifest's file"):
        made(board)


def test_only_the_first_rows_are_shown_and_the_page_says_of_how_many(
    board: Path, dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("exabench.board.pages._training_views.FIRST", 3)
    page = made(board)[f"datasets/{dataset.name}/rows-contrastive.html"]
    assert "The first 3 of 16 rows" in words(page) and page.count(b'<section class="card"') == 3


def test_a_dataset_and_its_rows_lead_to_each_other(board: Path, dataset: Path) -> None:
    files = made(board)
    rows = f"datasets/{dataset.name}/rows-contrastive.html"
    assert f'href="../{rows}"' in files[f"datasets/{dataset.name}.html"].decode()
    assert f'href="../../datasets/{dataset.name}.html#contrastive"' in files[rows].decode()


def test_a_task_says_what_training_data_share_with_it(board: Path, dataset: Path) -> None:
    text = words(made(board)["tasks/mini.html"])
    assert "Overlap with training data" in text
    assert re.search(rf"{dataset.name} contrastive \d+ 16 |{dataset.name} contrastive – 16 nobody looked", text)


# -- verify, changes, submit -----------------------------------------------------------------------------------


def changes() -> list[BoardChange]:
    place = ("acme--good", "mini", "bm25-20", "nDCG@10")
    return [
        BoardChange("2026-01-01", *place, None, 0.4, "first result"),
        BoardChange("2026-01-02", "exabench--random", "mini", "bm25-20", "nDCG@10", None, 0.2, ATTACK),
        BoardChange("2026-01-03", *place, 0.4, 0.5, "another model revision"),
    ]


def test_the_digests_of_the_verify_page_are_those_of_the_files(board: Path, dataset: Path) -> None:
    keep_shown(board)
    files = made(board)
    told, page = json.loads(files["data/files.json"]), words(files["verify.html"])
    assert told["build"] in page
    for one in told["files"]:
        file = board / one["path"]
        found = digest_of(read_bytes(file)) if one["of"] == "its ranking, unpacked" else file_digest(file)
        assert found == one["digest"], one["path"]
        assert one["path"] in page and one["digest"] in page
    there = {str(file.relative_to(board)) for file in board.rglob("*") if file.is_file()}
    listed = {one["path"] for one in told["files"]}
    data = {path for path in there if path.startswith("datasets/") and not path.endswith("manifest.json")}
    assert there - listed - data <= {"lock.json"}  # a dataset's manifest vouches for the rest of it


def test_the_verify_page_lists_some_files_and_says_of_how_many(board: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("exabench.board.pages._provenance.WRITTEN", 4)
    files = made(board)
    total = len(json.loads(files["data/files.json"])["files"])
    assert f"The first 4 of {total} files" in words(files["verify.html"])


def test_a_board_in_the_folder_where_one_stands_has_the_same_paths(
    board: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = made(board)["data/files.json"]
    monkeypatch.chdir(board)
    assert made(Path("."))["data/files.json"] == before


def test_another_byte_in_a_result_makes_another_build(board: Path) -> None:
    def builds() -> str:
        return str(json.loads(made(board)["data/files.json"])["build"])

    before, ledger = builds(), Ledger(board)
    assert builds() == before
    ledger.add_result(replace(next(ledger.results("acme--good")), created="2031-01-01"))
    assert builds() != before


def test_the_change_log_is_shown_newest_first_with_every_reason(board: Path) -> None:
    ledger = Ledger(board)
    start = len(ledger.changes())
    ledger.add_changes(changes())
    files = made(board)
    told, text = json.loads(files["data/changes.json"]), words(files["changes.html"])
    assert [one["reason"] for one in told["changes"][:3:2]] == ["another model revision", "first result"]
    assert len(told["changes"]) == start + 3
    assert text.index("another model revision") < text.index("first result")
    assert "acme/good" in text and "40.0 50.0" in text
    assert b"<script>window" not in files["changes.html"] and "\u202e" not in files["changes.html"].decode()


def test_a_long_log_is_cut_on_the_page_and_whole_in_the_data(board: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("exabench.board.pages._provenance.WRITTEN", 2)
    ledger = Ledger(board)
    ledger.add_changes(changes())
    total, files = len(ledger.changes()), made(board)
    assert f"The newest 2 of {total} changes" in words(files["changes.html"])
    assert "first result" not in words(files["changes.html"])
    assert len(json.loads(files["data/changes.json"])["changes"]) == total


def test_what_was_withdrawn_stays_listed_with_its_reason(board: Path) -> None:
    ledger = Ledger(board)
    ledger.add_submission(replace(ledger.submissions()["acme--good"], withdrawn="the wrong checkpoint"))
    files = made(board)
    assert "acme/good the wrong checkpoint" in words(files["changes.html"])
    told = json.loads(files["data/changes.json"])["withdrawn"]
    assert told == [{"submission": "acme--good", "name": "acme/good", "reason": "the wrong checkpoint"}]


def test_the_guide_names_every_field_every_class_and_every_limit(board: Path) -> None:
    text = words(made(board)["submit.html"])
    for field in FIELDS:
        assert f"{field.name} {field.meaning.replace('`', '')} {field.grammar}" in text
    for name, meaning in ERROR_CLASSES.items():
        assert f"{name} {meaning}" in text
    assert "64 GiB of weights and 2,000,000 words" in text


@pytest.mark.parametrize("kind", EXAMPLES)
def test_the_guides_examples_pass_the_boards_own_check(kind: str, tmp_path: Path) -> None:
    file = tmp_path / "submission.toml"
    file.write_text(EXAMPLES[kind])
    assert read_submission(file).kind == kind


# -- feeds -----------------------------------------------------------------------------------------------------


ATOM = "{http://www.w3.org/2005/Atom}"


def test_the_feed_tells_the_news_newest_first(board: Path) -> None:
    Ledger(board).add_changes(
        [*changes(), replace(changes()[2], date="2030-01-01", before=0.5, after=None, reason="withdrawn")]
    )
    feed = ElementTree.fromstring(made(board)["feed.atom"])
    entries = feed.findall(f"{ATOM}entry")
    dates = [entry.findtext(f"{ATOM}updated") for entry in entries]
    assert dates == sorted(dates, reverse=True) and dates[0] == feed.findtext(f"{ATOM}updated")
    ids = [entry.findtext(f"{ATOM}id") for entry in entries]
    assert len(set(ids)) == len(ids)
    assert entries[0].findtext(f"{ATOM}title") == "acme/good: 1 number changed"
    assert entries[0].findtext(f"{ATOM}summary") == "mini over bm25-20: nDCG@10 from 50.0 to none, withdrawn."
    assert feed.findtext(f"{ATOM}title") == "A small board"


def test_a_board_that_knows_its_address_gives_whole_addresses(board: Path) -> None:
    file = board / "board.toml"
    file.write_text(file.read_text() + 'url = "https://example.org/board/"\n')
    feed = ElementTree.fromstring(made(board)["feed.atom"])
    links = [link.get("href", "") for link in feed.iter(f"{ATOM}link")]
    assert links[0] == "https://example.org/board/index.html"
    assert all(link.startswith("https://example.org/board/submissions/") for link in links[2:])


def test_a_long_feed_is_cut(board: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("exabench.board.pages._provenance.NEWEST", 2)
    assert made(board)["feed.atom"].count(b"<entry>") == 2


def test_a_list_is_read_once_however_many_results_are_over_it(board: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen, kept = list[str](), Ledger.candidates_run
    monkeypatch.setattr(Ledger, "candidates_run", lambda self, one: seen.append(one.name) or kept(self, one))
    made(board)
    assert seen == ["bm25-20"]


def test_the_same_board_gives_the_same_bytes(board: Path, dataset: Path) -> None:
    keep_shown(board)
    assert made(board) == made(board)
