"""What a page may show of a candidate list: its grades always, texts where their licence is open, nothing else."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st
from toys import Given

from exabench.bench import excerpts
from exabench.bench.excerpts import build_excerpts, read_excerpts, write_excerpts
from exabench.core.errors import BadInput
from exabench.core.licences import is_open_for_texts
from exabench.core.nouns import Candidates, Passage, Query
from exabench.measure.runs import run_digest, run_in_order
from exabench.tasks.catalogue import tasks

RUN = run_in_order("toy-3", {"q1": ["b", "a", "c"], "q2": ["c"]})
QRELS = {"q1": {"a": 2, "c": 0, "elsewhere": 1}, "q3": {"a": 1}}
COLLECTION = Given(
    [Query("q1", "first question"), Query("q2", "second question"), Query("q3", "not ranked")],
    [Passage("a", "A text.", "A title"), Passage("b", "word " * 100), Passage("c", ""), Passage("d", "not listed")],
    QRELS,
)


def candidates(task: str = "mini") -> Candidates:
    return Candidates(
        name="toy-3", task=task, retriever="toy", parameters={}, depth=3, digest=run_digest(RUN), queries=2,
        recall=0.5, source="memory", qrels_digest="sha256:0", convention_digest="sha256:1",
    )  # fmt: skip


def of(task: str = "mini", **options: Any) -> dict[str, Any]:
    return build_excerpts(tasks()[task], candidates(task), RUN, COLLECTION, QRELS, **options)


def test_passages_stand_in_first_stage_order_with_their_grades_and_relevant_counts_all_judgements() -> None:
    first, second = of()["queries"]
    assert (first["id"], first["passages"], first["grades"]) == ("q1", ["b", "a", "c"], [None, 2, 0])
    assert (second["id"], second["passages"], second["grades"]) == ("q2", ["c"], [None])
    assert [query["relevant"] for query in of()["queries"]] == [2, 0]  # wherever the passages are
    assert [query["relevant"] for query in of("trec-dl-2019")["queries"]] == [1, 0]  # from grade 2 there


def test_under_an_open_licence_texts_are_shown_in_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(excerpts, "CUT", 12)
    found = of()
    assert [query["text"] for query in found["queries"]] == ["first question", "second question"]
    assert found["passages"] == {"a": ["A title", "A text."], "b": ["", "word word…"], "c": ["", ""]}


@pytest.mark.parametrize("task", ["trec-dl-2019", "robust04"])
def test_under_any_other_licence_and_under_none_there_are_ids_alone(task: str) -> None:
    found = of(task)
    assert not found["texts"] and found["passages"] == {}
    assert {query["text"] for query in found["queries"]} == {""}
    assert found["queries"][0]["grades"] == [None, 2, 0]


def test_a_board_may_do_without_texts_that_it_may_show() -> None:
    found = of(texts=False)
    assert not found["texts"] and found["passages"] == {}
    assert found["queries"] == [{**query, "text": ""} for query in of()["queries"]]


def test_an_open_licence_is_one_that_lets_everybody_pass_texts_on() -> None:
    known = {one.licence for one in tasks().values()}
    assert {licence for licence in known if is_open_for_texts(licence)} == {
        *("Apache-2.0", "CC BY 4.0", "CC0-1.0", "MIT", "apache-2.0", "cc-by-4.0", "cc-by-sa-4.0", "mit"),
    }
    assert not any(map(is_open_for_texts, (None, "", "unknown", "cc-by-nc-4.0", "academic use", "cc-by-nd-4.0")))


def test_texts_are_kept_rank_by_rank_until_there_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(excerpts, "MOST", 2)
    assert sorted(of()["passages"]) == ["b", "c"]  # the first rank of both queries


@settings(max_examples=15)
@given(st.text(max_size=60), st.integers(1, 30))
def test_an_excerpt_is_a_beginning_of_the_text_and_no_longer_than_asked_for(text: str, cut: int) -> None:
    found = excerpts.shorten(text, cut)
    assert found == text if len(text) <= cut else (found.endswith("…") and text.startswith(found[:-1]))
    assert len(found) <= cut + 1


def test_what_is_written_reads_back_and_is_the_same_bytes_every_time(tmp_path: Path) -> None:
    values, file = of(), tmp_path / "toy-3.shown.json.gz"
    assert write_excerpts(values, file)
    first = file.read_bytes()
    assert not write_excerpts(of(), file) and file.read_bytes() == first
    assert first[4:8] == b"\0\0\0\0", "a time in the gzip header"
    assert {key: value for key, value in read_excerpts(file).items() if key != "digest"} == values


@pytest.mark.parametrize(
    "edit",
    [
        lambda values: values | {"format": 2},
        lambda values: values | {"queries": [{**values["queries"][0], "grades": [1]}]},
        lambda values: [],
    ],
)
def test_what_no_list_can_show_is_refused_even_with_a_digest_that_fits(tmp_path: Path, edit: Any) -> None:
    file, values = tmp_path / "toy-3.shown.json.gz", edit(of())
    if isinstance(values, dict):
        write_excerpts(values, file)
    else:
        file.write_text(json.dumps(values))
    with pytest.raises(BadInput, match="does not contain the excerpts"):
        read_excerpts(file)


def test_an_edited_grade_and_a_file_that_is_not_whole_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "toy-3.shown.json.gz"
    write_excerpts(of(), file)
    whole = file.read_bytes()
    for size in (0, 10, 200):
        file.write_bytes(whole[:size])
        with pytest.raises(BadInput):
            read_excerpts(file)
    values = json.loads(gzip.decompress(whole))
    values["queries"][0]["grades"][0] = 3
    file.write_bytes(gzip.compress(json.dumps(values).encode()))
    with pytest.raises(BadInput, match="was edited"):
        read_excerpts(file)
