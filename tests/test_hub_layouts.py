"""Tasks in repositories of the Hub, as BEIR, MTEB and NanoBEIR lay them out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hub_double import HubDouble, repository

from exabench.cli import main
from exabench.core.errors import BadInput
from exabench.core.files import read_json, read_toml
from exabench.core.nouns import Passage, Query
from exabench.tasks.catalogue import task
from exabench.tasks.collections import open_collection

REPO = "owner/Animals"
QUERIES = [{"_id": "q1", "text": "how bats hear"}, {"_id": "q2", "text": "whales"}]
CORPUS = [{"_id": "d1", "title": "Bats", "text": "Bats hear."}, {"_id": "d2", "title": "", "text": "Whales sing."}]
QRELS = [{"query-id": "q1", "corpus-id": "d1", "score": 2}, {"query-id": "q2", "corpus-id": "d2", "score": 1}]
UNGRADED = [{"query-id": "q1", "corpus-id": "d1"}, {"query-id": "q2", "corpus-id": "d2"}]
Rows = Sequence[Mapping[str, Any]]


LAYOUTS = {
    "BEIR": {("corpus", "corpus"): CORPUS, ("queries", "queries"): QUERIES},
    "MTEB": {("corpus", "corpus"): CORPUS, ("queries", "queries"): QUERIES, ("default", "test"): QRELS},
    "MTEB, one split": {("corpus", "test"): CORPUS, ("queries", "test"): QUERIES, ("qrels", "test"): QRELS},
    "NanoBEIR": {("corpus", "train"): CORPUS, ("queries", "train"): QUERIES, ("qrels", "train"): UNGRADED},
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_same_collection(dataset_hub: HubDouble, layout: str) -> None:
    commit = dataset_hub.commit(REPO, repository(LAYOUTS[layout]))
    if layout == "BEIR":
        dataset_hub.commit(
            f"{REPO}-qrels", repository({("default", "test"): QRELS, ("default", "train"): UNGRADED[:1]})
        )
    found = open_collection(task(f"hub:{REPO}"))
    assert list(found.queries()) == [Query("q1", "how bats hear"), Query("q2", "whales")]
    assert list(found.passages()) == [Passage("d1", "Bats hear.", "Bats"), Passage("d2", "Whales sing.")]
    grade = 1 if layout == "NanoBEIR" else 2
    assert found.qrels("test") == {"q1": {"d1": grade}, "q2": {"d2": 1}}
    assert found.source == f"Hub dataset {REPO}@{commit}"


def test_a_repository_of_many_languages_is_read_in_the_language_of_the_task(
    dataset_hub: HubDouble, tmp_path: Path
) -> None:
    german = [{"_id": "q1", "text": "wie Fledermäuse hören"}]
    tables: dict[tuple[str, str], Rows] = {("default", "test"): QRELS}
    for language, queries in (("en", QUERIES), ("de", german)):
        tables |= {(f"{language}-corpus", "test"): CORPUS, (f"{language}-queries", "test"): queries}
        tables |= {(f"{language}-qrels", "test"): QRELS[: len(queries)]}
    del tables["default", "test"]
    dataset_hub.commit(REPO, repository(tables))
    file = tmp_path / "animals-de.toml"
    file.write_text(f'source = "hub:{REPO}"\nlanguage = "de"\n')
    found = task(str(file))
    assert (found.name, found.language) == ("animals-de", "de")
    assert [query.text for query in open_collection(found).queries()] == ["wie Fledermäuse hören"]
    file.write_text(f'source = "hub:{REPO}"\nlanguage = "fr"\n')
    with pytest.raises(BadInput, match="is not in 'fr'; set language in a task.toml to one of: de, en"):
        open_collection(task(str(file)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {("default", "test"): [{**QRELS[0], "score": 0.5}]},
            r"grade 0\.5 of query 'q1' is not a whole number.*\(id 'd1'\)",
        ),
        ({("default", "test"): [{"query-id": "q1"}]}, "a row has no 'corpus-id'; its fields: query-id"),
        ({("default", "test"): [], ("default", "dev"): QRELS}, "has the splits dev, not 'test'"),
        ({("corpus", "corpus"): [{"_id": "d1", "title": "x", "text": None}]}, r"a passage has no text \(id 'd1'\)"),
        ({("corpus", "corpus"): []}, r"has no config 'corpus' \(its configs: .*\); a retrieval task has corpus, "),
    ],
)
def test_what_cannot_be_read_is_one_line(
    dataset_hub: HubDouble, changes: dict[tuple[str, str], Rows], message: str
) -> None:
    tables = {key: rows for key, rows in {**LAYOUTS["MTEB"], **changes}.items() if rows}
    dataset_hub.commit(REPO, repository(tables))
    found = open_collection(task(f"hub:{REPO}"))
    with pytest.raises(BadInput, match=message):
        list(found.passages())
        found.qrels("test")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("owner/Animals", "for a Hub dataset write hub:owner/Animals"),
        ("https://huggingface.co/datasets/owner/Animals", "for a Hub dataset write hub:owner/Animals"),
        ("hub:owner/Nothing", "does not exist, or this token cannot read it; check the name"),
    ],
)
def test_a_dataset_that_is_named_otherwise_is_told_how(dataset_hub: HubDouble, name: str, said: str, capsys) -> None:
    assert main(["evaluate", "reversed", "--task", name]) in (2, 3)
    [line] = capsys.readouterr().err.splitlines()[-1:]
    assert said in line


def test_judgements_in_a_repository_beside_it_are_locked_at_their_commit(dataset_hub: HubDouble) -> None:
    dataset_hub.commit(REPO, repository(LAYOUTS["BEIR"]))
    first = dataset_hub.commit(f"{REPO}-qrels", repository({("default", "test"): QRELS}))
    assert main(["bench", "candidates", f"hub:{REPO}", "--depth", "2", "--board", "board"]) == 0
    assert read_json("board/lock.json")["hub"] == {f"{REPO}-qrels@main": first}
    dataset_hub.commit(f"{REPO}-qrels", repository({("default", "test"): QRELS[:1]}))
    assert main(["bench", "run", "--board", "board"]) == 0


def test_the_first_list_of_a_board_pins_the_commit_and_a_new_head_changes_nothing(
    dataset_hub: HubDouble, capsys
) -> None:
    first = dataset_hub.commit(REPO, repository(LAYOUTS["MTEB"]))
    assert main(["bench", "candidates", f"hub:{REPO}", "--depth", "2", "--board", "board"]) == 0
    assert read_toml("board/tasks/owner-animals.toml")["source"] == f"hub:{REPO}@{first}"
    assert read_json("board/lock.json")["judgements"]["owner-animals"]["judgements"] == 2
    dataset_hub.commit(REPO, repository({**LAYOUTS["MTEB"], ("default", "test"): QRELS[:1]}))
    for command in (["run"], ["verify"]):
        assert main(["bench", *command, "--board", "board"]) == 0
    assert f"Hub dataset {REPO}@{first}" in Path("board/results/exabench--oracle/owner-animals.bm25-2.json").read_text()
