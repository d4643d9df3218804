"""Collections are the same from a folder, from ir_datasets and from the Hub, and are held to the table."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from hub_client import point_at
from hub_double import HubDouble
from toys import Given, write_beir

from exabench.core.errors import BadInput, OutsideFailed
from exabench.core.files import PACKAGE, read_json
from exabench.core.nouns import Passage, Query, Task
from exabench.measure.qrels import qrels_digest
from exabench.tasks.catalogue import task
from exabench.tasks.collections import lock_collection, open_collection, read_checked_qrels
from exabench.tasks.collections.beir_folder import BeirFolder
from exabench.tasks.collections.ir_datasets import IrDatasets

MINI = PACKAGE / "mini"
TWO = Given(
    [Query("q1", "first é"), Query("q2", "second")],
    [Passage("d1", "text one", "title"), Passage("d2", "text two")],
    {"q1": {"d1": 1, "d2": 0}, "q2": {"d2": 2}},
)
TOY = Task(name="toy", title="Toy")


def all_of(collection, split="test"):
    return list(collection.queries()), list(collection.passages()), collection.qrels(split)


BAD_LINES = {
    "not JSON": ("{", "is not JSON"),
    "nesting without end": ('{"_id": "d9", "text": "x", "n": ' + "[" * 100_000, "is not JSON"),
    "an empty id": ('{"_id": "", "text": "x"}', "has an empty _id"),
    "no text": ('{"_id": "d9"}', "lacks the key 'text'; a line has text, _id, title"),
    "an id twice": ('{"_id": "d1", "text": "x"}', "appears twice.*'d1'"),
}


@pytest.mark.parametrize("case", BAD_LINES)
def test_a_bad_line_of_a_corpus_is_refused_with_its_number(tmp_path, case):
    line, message = BAD_LINES[case]
    folder = write_beir(tmp_path / "toy", TWO)
    (folder / "corpus.jsonl").write_text((folder / "corpus.jsonl").read_text() + "\n" + line)
    with pytest.raises(BadInput, match=f"corpus.jsonl:4: {message}"):
        list(BeirFolder(TOY, tmp_path).passages())


def test_text_that_is_not_utf8_and_a_split_that_is_not_there_are_named(tmp_path):
    folder = write_beir(tmp_path / "toy", TWO)
    (folder / "queries.jsonl").write_bytes(b'{"_id": "q1", "text": "x"}\n{"_id": "q2", "text": "\xe9"}\n')
    with pytest.raises(BadInput, match="queries.jsonl:2: is not UTF-8"):
        list(BeirFolder(TOY, tmp_path).queries())
    with pytest.raises(BadInput, match=r"dev\.tsv: cannot be read"):
        BeirFolder(TOY, tmp_path).qrels("dev")


def test_a_folder_is_there_with_all_its_files_and_the_working_folder_is_never_taken_unasked(tmp_path, monkeypatch):
    folder = write_beir(tmp_path / "toy", TWO)
    monkeypatch.chdir(tmp_path)
    assert not BeirFolder(TOY).is_available()
    assert BeirFolder(TOY, ".").is_available()
    for missing in ("corpus.jsonl", "qrels"):
        (folder / missing).rename(folder / "elsewhere")
        assert not BeirFolder(TOY, tmp_path).is_available()
        (folder / "elsewhere").rename(folder / missing)


def test_a_folder_gives_what_was_put_in_before_any_network_and_mini_comes_from_exabench_alone(tmp_path):
    write_beir(tmp_path / "toy", TWO)
    write_beir(tmp_path / "mini", TWO)
    everywhere = dataclasses.replace(TOY, ir_datasets="no/such/id", hub={"repo": "no/such", "revision": "0" * 40})
    assert all_of(open_collection(everywhere, tmp_path)) == all_of(TWO)
    assert len(list(open_collection(task("mini"), tmp_path).passages())) == 240


def test_a_task_that_no_place_serves_says_where_to_put_it(tmp_path):
    with pytest.raises(BadInput, match=r"task toy is not in a folder .* Put it at DIR/toy/ in BEIR layout"):
        open_collection(TOY, tmp_path)
    with pytest.raises(BadInput, match="It needs a signed agreement"):
        open_collection(task("bioasq"))
    with pytest.raises(BadInput, match="ir_datasets has no collection 'beir/scifacts'; did you mean beir/scifact"):
        open_collection(dataclasses.replace(TOY, ir_datasets="beir/scifacts"))
    with pytest.raises(BadInput, match="has the split 'test', not 'train'"):
        IrDatasets(task("scifact")).qrels("train")


@pytest.fixture
def copied(tmp_path):
    """mini under another name, in a folder that may be changed."""
    shutil.copytree(MINI, tmp_path / "copy")
    return dataclasses.replace(task("mini"), name="copy"), tmp_path


def changed(folder: Path, old: str, new: str) -> None:
    file = folder / "copy" / "qrels" / "test.tsv"
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))


@pytest.mark.parametrize(
    ("new", "message"),
    [
        ("", "has 350 judgements where the table says 351"),
        ("q03\tbats-09\t3\nq99\tbats-09\t3\n", "has 25 queries where the table says 24"),
        (
            "q03\tbats-09\t2\n",
            "has other judgements than the table says: their digest is sha256:.{12}[.]{3}, not sha256:.{12}[.]{3};",
        ),
    ],
)
def test_other_judgements_than_the_tables_are_refused(copied, new, message):
    entry, folder = copied
    assert qrels_digest(read_checked_qrels(entry, open_collection(entry, folder))) == entry.qrels_digest
    changed(folder, "q03\tbats-09\t3\n", new)
    with pytest.raises(BadInput, match=message):
        read_checked_qrels(entry, open_collection(entry, folder))


def test_another_honest_count_is_accepted_and_where_the_table_has_no_digest_the_first_one_seen_is_kept(copied):
    entry, folder = copied
    entry, lock = dataclasses.replace(entry, qrels_digest=None), folder / "lock.json"
    another = dataclasses.replace(entry, judgements=999, also_judgements={"351": "without one"})
    assert read_checked_qrels(another, open_collection(entry, folder))
    place = open_collection(entry, folder)
    lock_collection(lock, entry, place, read_checked_qrels(entry, place, lock))
    locked = {"queries": 24, "judgements": 351, "digest": task("mini").qrels_digest}
    assert read_json(lock) == {"judgements": {"copy": locked}}
    before = lock.read_bytes()
    read_checked_qrels(entry, open_collection(entry, folder), lock)
    changed(folder, "q03\tbats-09\t3", "q03\tbats-09\t2")
    with pytest.raises(BadInput, match="has other judgements than .*lock.json says: their digest is"):
        read_checked_qrels(entry, open_collection(entry, folder), lock)
    assert lock.read_bytes() == before


def test_a_copy_with_judgements_of_grade_0_besides_is_held_against_the_others_by_their_digest(copied):
    entry, folder = copied
    qrels = open_collection(entry, folder).qrels("test")
    positive = {q: {p: grade for p, grade in row.items() if grade > 0} for q, row in qrels.items()}
    count = sum(map(len, positive.values()))
    changes = {"judgements": count, "also_judgements": {"351": "with 0"}, "qrels_digest": qrels_digest(positive)}
    entry = dataclasses.replace(entry, **changes)
    assert count < 351 and read_checked_qrels(entry, open_collection(entry, folder)) == qrels
    changed(folder, "q03\tbats-09\t3", "q03\tbats-09\t2")  # as many rows, another grade
    with pytest.raises(BadInput, match="has other judgements than the table says"):
        read_checked_qrels(entry, open_collection(entry, folder))


READ = """
import json
from exabench.tasks.catalogue import task
from exabench.tasks.collections import open_collection, read_checked_qrels
entry = task("scifact")
place = open_collection(entry)
queries, passages = [[q.id, q.text] for q in place.queries()], [[p.id, p.text, p.title] for p in place.passages()]
print(json.dumps([place.source, queries, passages, read_checked_qrels(entry, place)]))
"""


LISTEN = """
import logging, sys
import exabench.tasks.collections.ir_datasets
import ir_datasets
ir_datasets.log.easy().info("opening zip file")
logging.basicConfig(stream=sys.stdout)
ir_datasets.log.easy().info("opening another")
"""


def test_the_log_of_ir_datasets_goes_to_whoever_listens_and_not_to_standard_error():
    # In a process of its own: commands silence every log of theirs.
    done = subprocess.run([sys.executable, "-c", LISTEN], capture_output=True, text=True, timeout=120)
    assert done.stderr == ""
    assert "opening another" in done.stdout and "zip file" not in done.stdout


@pytest.mark.real_data
def test_ir_datasets_gives_what_the_folder_gives(real_data, tmp_path):
    (tmp_path / "beir" / "scifact").mkdir(parents=True)
    with zipfile.ZipFile(tmp_path / "beir" / "scifact" / "source.zip", "w") as whole:  # where its download would lie
        for name in ("corpus.jsonl", "queries.jsonl", "qrels/test.tsv", "qrels/train.tsv"):
            whole.write(real_data / "scifact" / name, f"scifact/{name}")
    home = os.environ | {"IR_DATASETS_HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", READ], env=home, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    source, queries, passages, qrels = json.loads(done.stdout)
    folder = open_collection(task("scifact"), real_data)
    judged = folder.qrels("test")
    assert source == "ir_datasets beir/scifact/test"
    assert qrels == judged
    assert sorted(queries) == sorted([q.id, q.text] for q in folder.queries() if q.id in judged)
    assert passages == [[p.id, p.text, p.title] for p in folder.passages()]


REPO = "owner/mini"
CARD = """---
configs:
- {config_name: corpus, data_files: [{split: corpus, path: corpus.jsonl}]}
- {config_name: queries, data_files: [{split: queries, path: queries.jsonl}]}
- {config_name: default, data_files: [{split: test, path: data/test.jsonl}]}
---
"""


@pytest.fixture
def hub(tmp_path, monkeypatch):
    datasets_config = pytest.importorskip("datasets").config
    with HubDouble() as double:
        point_at(double.url, tmp_path / "home", monkeypatch)
        monkeypatch.setattr(datasets_config, "HF_ENDPOINT", double.url)
        monkeypatch.setattr(datasets_config, "HF_DATASETS_CACHE", str(tmp_path / "home" / "datasets"))
        yield double


def elsewhere(lock: Path, revision: str | None = None):
    """The source, queries and passages of mini on the Hub, and its judgements."""
    entry = dataclasses.replace(task("mini"), name="elsewhere", hub={"repo": REPO, "revision": revision})
    place = open_collection(entry, None, lock)
    found = list(place.queries()), list(place.passages()), read_checked_qrels(entry, place, lock), place.source
    lock_collection(lock, entry, place)
    return found


def hub_files(last_title: str = "") -> dict[str, bytes]:
    """mini as the repositories of the table are laid out; `last_title` changes a passage."""
    folder = BeirFolder(task("mini"))
    passages = [{"_id": p.id, "title": p.title, "text": p.text} for p in folder.passages()]
    passages[-1]["title"] = last_title or passages[-1]["title"]
    queries = [{"_id": q.id, "text": q.text} for q in folder.queries()]
    rows = []
    for q, row in folder.qrels("test").items():
        rows += [{"query-id": q, "corpus-id": p, "score": grade} for p, grade in row.items()]
    files = {"corpus.jsonl": passages, "queries.jsonl": queries, "data/test.jsonl": rows}
    lines = {name: "".join(json.dumps(row) + "\n" for row in table).encode() for name, table in files.items()}
    return {"README.md": CARD.encode(), **lines}


def test_the_hub_gives_what_the_folder_gives_and_a_new_head_changes_nothing(tmp_path, hub):
    lock = tmp_path / "lock.json"
    first = hub.commit(REPO, hub_files())
    found = elsewhere(lock)
    queries, passages, qrels, source = found
    assert (queries, passages, dict(qrels)) == all_of(BeirFolder(task("mini")))
    assert source == f"Hub dataset {REPO}@{first}"
    assert read_json(lock) == {"hub": {f"{REPO}@main": first}}
    asked = [path for path in hub.requests if "/revision/" in path or path.endswith(f"/api/datasets/{REPO}")]
    assert sum(first not in path for path in asked) == 1

    second = hub.commit(REPO, hub_files("Another title"))
    assert elsewhere(lock) == found  # the lock file says which commit, not the repository's head
    assert elsewhere(tmp_path / "other.json", second)[1][-1].title == "Another title"
    assert not (tmp_path / "other.json").exists()  # a commit needs no lock


def test_a_name_that_the_hub_does_not_know_is_bad_input_and_a_hub_that_fails_is_exit_code_3(tmp_path, hub, monkeypatch):
    lock = tmp_path / "lock.json"
    for kind, code in ((BadInput, 2), (OutsideFailed, 3)):
        with pytest.raises(kind) as caught:
            elsewhere(lock)
        assert caught.value.exit_code == code and "\n" not in str(caught.value)
        assert str(caught.value).startswith(f"task elsewhere cannot be read: Hub dataset {REPO}")
        point_at("http://127.0.0.1:9", tmp_path / "home", monkeypatch)  # where nobody listens
    assert not lock.exists()
