"""Doubles, leaks and figures of rows: known answers, exact Jaccard as the witness, and real collections."""

from __future__ import annotations

import random
import re
from collections import Counter

import pytest
from hypothesis import given, settings, strategies as st
from toys import Given, row, write_beir

from exabench.core.nouns import Passage, Query
from exabench.core.rows import FAMILIES
from exabench.data.quality import Duplicates, Leaks, Report, collection_of
from exabench.data.quality.duplicates import Buckets
from exabench.tasks.catalogue import task
from exabench.tasks.collections import benchmarks, local_collections

VOCABULARY = [f"word{i}" for i in range(3000)]


def text(rng: random.Random, n: int) -> str:
    return " ".join(rng.choices(VOCABULARY, k=n))


def shingles(passage: str) -> set[tuple[str, ...]]:
    found = passage.split()
    return {tuple(found[i : i + 5]) for i in range(max(1, len(found) - 4))}


def first_of(doubles: Duplicates, one: dict) -> str | None:
    """The id of the earlier row that this one doubles."""
    double = doubles.find_earlier(one)
    return double.id if double else None


def leaked(leaks: Leaks, one: dict) -> list[str]:
    return list(leaks.marks(one))


def test_words_are_lower_case_without_punctuation_in_any_script():
    for said, words, number in (
        ("The U.S. won't, e-mail_me: 2x!", "the u s won t e mail me 2x", 9),
        ("Ärzte heißen ÄRZTE", "ärzte heißen ärzte", 3),
        ("東京は big", "東 京 は big", 3),  # two characters without spaces make a word
        (" \n—…", "", 0),
    ):
        assert same_words(said, words)
        assert figures([row(query=said)])["query words"]["max"] == number


def test_a_row_of_others_with_fewer_titles_than_passages_is_measured_too():
    ragged = {**row("listwise"), "passage_ids": ["a", "b"], "passages": ["one", "one two"], "titles": [""]}
    assert figures([ragged])["passage words"]["max"] == 1


@given(st.text(st.characters(max_codepoint=127)))
def test_the_fast_way_over_ascii_gives_the_same_words(value):
    plain = " ".join(re.findall("[a-z0-9]+", value.lower()))
    assert same_words(value, plain)
    assert same_words(f"{value} é", f"{plain} É")


def same_words(one: str, other: str) -> bool:
    doubles = Duplicates(near=0)
    doubles.find_earlier(row(id="a", query=one))
    return doubles.find_earlier(row(id="b", query=other)) is not None


@settings(max_examples=200)
@given(st.lists(st.sampled_from(["a", "b", "ab", "é", "東"]), min_size=1, max_size=30), st.data())
def test_texts_leak_where_thirteen_words_in_a_row_are_the_same_and_only_there(known, data):
    start = data.draw(st.integers(0, len(known) - 1))
    part = known[start : data.draw(st.integers(start + 1, len(known)))]
    ends = st.lists(st.sampled_from(["a", "b", "ba"]), max_size=14)
    other = [*data.draw(ends), *part, *data.draw(ends)]
    leaks = Leaks()
    leaks.add(task("scifact"), [], [Passage("1", " ".join(known))])
    both = [{tuple(words[i : i + 13]) for i in range(max(1, len(words) - 12))} for words in (known, other)]
    assert bool(leaks.marks(row(passage=" ".join(other)))) == bool(both[0] & both[1])


def test_thirteen_words_are_found_however_long_the_text_and_no_two_of_a_million_meet_by_chance():
    rng = random.Random(1)
    inner, long = text(rng, 13), text(rng, 3000)
    leaks = Leaks()
    leaks.add(task("scifact"), [], [Passage("1", text(rng, 500_000))])
    assert leaks.marks(row(passage=text(rng, 500_000))) == {}
    leaks.add(task("nfcorpus"), [Query("1", inner)], [])
    assert leaks.marks(row(passage=long)) == {}
    assert leaks.marks(row(passage=f"{long} {inner}, {long}")) == {"nfcorpus": ["query text"]}


def test_the_first_of_equal_rows_stays_and_case_and_punctuation_do_not_count():
    doubles = Duplicates()
    assert first_of(doubles, row(id="a", query="What is X?", passage="X is a letter.")) is None
    assert first_of(doubles, row(id="b", query="what is x", passage="X is a  LETTER")) == "a"
    assert first_of(doubles, row(id="c", query="what is y", passage="X is a letter.")) is None
    assert first_of(doubles, row(id="d", query="What is X?", passage="X is a letter")) == "a"
    assert doubles.find_earlier(row(id="e", query="What is X?", passage="X is a letter")).kind == "exact"


@pytest.mark.parametrize("family", FAMILIES)
def test_a_title_is_part_of_the_passage_and_rows_without_texts_are_doubles_of_one_another(family):
    doubles = Duplicates()
    assert first_of(doubles, row(id="a", query="q", title="Letters", passage="X is one.")) is None
    assert first_of(doubles, row(id="b", query="q", title="", passage="Letters X is one.")) == "a"
    assert [first_of(doubles, row(family, id=id)) for id in "cde"] == [None, "c", "c"]


def test_many_queries_on_one_passage_and_many_passages_for_one_query_are_no_doubles():
    rng = random.Random(3)
    doubles, passage, query = Duplicates(), text(rng, 300), text(rng, 9)
    assert [first_of(doubles, row(id=f"q{i}", query=text(rng, 9), passage=passage)) for i in range(200)] == [None] * 200
    assert [first_of(doubles, row(id=f"p{i}", query=query, passage=text(rng, 60))) for i in range(200)] == [None] * 200


def test_a_word_more_in_a_long_passage_is_a_near_double_unless_only_exact_ones_are_asked_for():
    rng = random.Random(4)
    passage = text(rng, 200)
    for near, found in ((0.9, "a"), (0, None)):
        doubles = Duplicates(near)
        assert first_of(doubles, row(id="a", query="one query", passage=passage)) is None
        assert first_of(doubles, row(id="b", query="One query!", passage=f"{passage} more")) == found
        double = doubles.find_earlier(row(id="c", query="One query!", passage=f"{passage} others"))
        assert (double and double.kind) == ("near" if near else None)


def test_a_listwise_row_is_all_its_passages_and_a_contrastive_one_its_positive():
    rng = random.Random(5)
    texts = [text(rng, 50) for _ in range(4)]
    lists = Duplicates(near=0)
    for id, order, found in (("a", texts[:3], None), ("b", texts[:3], "a"), ("c", [texts[0], *texts[2:]], None)):
        ids = [str(i) for i in range(3)]
        given = {"passage_ids": ids, "titles": [""] * 3, "passages": order, "first_stage_ranks": [1, 2, 3]}
        assert first_of(lists, row("listwise", id=id, query="q", **given)) == found
    pairs = Duplicates()
    for id, positive, negative, found in (("a", 0, 1, None), ("b", 0, 2, "a"), ("c", 1, 2, None)):
        given = {"negative_ids": ["n"], "negative_titles": [""], "negatives": [texts[negative]]}
        given |= {"positive": texts[positive], "negative_sources": ["bm25"]}
        assert first_of(pairs, row("contrastive", id=id, query="q", **given)) == found


KNOWN = {(True, True): 734, (False, False): 721, (True, False): 24, (False, True): 21}
"""Pairs by (found, 0.9 alike): recall and precision above 0.96, and the same on every machine and every day."""


def edited(rng: random.Random, passage: str, share: float) -> str:
    return " ".join(rng.choice(VOCABULARY) if rng.random() < share else word for word in passage.split())


def test_near_doubles_are_those_that_exact_jaccard_finds_but_for_the_error_of_the_estimate():
    rng = random.Random(6)
    doubles, found, sure_miss, sure_hit = Duplicates(), Counter(), 0, 0
    for i in range(1500):
        passage = text(rng, 150)
        other = edited(rng, passage, rng.choice((0, 0.002, 0.005, 0.01, 0.02, 0.05, 0.2)))
        first_of(doubles, row(id=f"{i}", query=f"query {i}", passage=passage))
        hit = first_of(doubles, row(id=f"{i}b", query=f"query {i}", passage=other)) == f"{i}"
        one, two = shingles(passage), shingles(other)
        similar = len(one & two) / len(one | two)
        found[hit, similar >= 0.9] += 1
        sure_miss += hit and similar < 0.78
        sure_hit += not hit and similar > 0.98
    assert sure_miss == sure_hit == 0
    assert found == KNOWN


def test_rows_are_found_however_long_ago_they_came(monkeypatch):
    monkeypatch.setattr(Buckets, "NEWEST", 64)  # so that those in the dict are often sorted into the array
    doubles = Duplicates(near=0)
    rows = [row(id=str(i), query=f"{i} of many", passage="the same") for i in range(800)]
    assert not any(map(doubles.find_earlier, rows))
    assert [first_of(doubles, each) for each in rows[::7]] == [each["id"] for each in rows[::7]]


LONG = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen"


def known(name: str = "scifact") -> Leaks:
    leaks = Leaks()
    leaks.add(task(name), [Query("7", "What is X?"), Query("8", LONG)], [Passage("12", f"a {LONG} b", "Title")])
    return leaks


def test_ids_count_within_their_own_collection_only():
    leaks = known()
    here, there = "folder scifact in BEIR layout", "folder nfcorpus in BEIR layout"
    for query_id, passage_id, source, kinds in (
        ("7", "3", here, ["query id"]),
        ("1", "12", here, ["passage id"]),
        ("12", "7", here, None),
        ("7", "12", there, None),
    ):
        assert leaks.marks(row(query_id=query_id, passage_id=passage_id, source=source)).get("scifact") == kinds


NAMES = {
    "trec-dl-2020": "msmarco-passage",
    "folder trec-dl-2019 in BEIR layout": "msmarco-passage",
    "ir_datasets msmarco-passage/train/judged": "msmarco-passage",
    "ir_datasets beir/msmarco/train": "msmarco-passage",
    "Hub dataset mteb/msmarco@c5a29a104738b98a9e76336939199e264163d4a0": "msmarco-passage",
    "folder scifact in BEIR layout with evidence.jsonl": "beir/scifact",
    "ir_datasets beir/scifact/train": "beir/scifact",
    "cqadupstack-android": "beir/cqadupstack/android",
    "ir_datasets beir/cqadupstack/unix": "beir/cqadupstack/unix",
    "folder nano-scifact in BEIR layout": "beir/scifact",
    "Hub dataset zeta-alpha-ai/NanoMSMARCO@7b8ff22f2771dc65ac5b439f222eb19a1f56abda": "msmarco-passage",
    "trec-dl-2023": "msmarco-passage-v2",
    "ir_datasets miracl/fi/train": "miracl/fi",
    "lotte-writing-forum": "lotte/writing/test",
    "Hub dataset mteb/LoTTE@a887e9f8e3d24427fdff98c8bba3198a6853a929": "mteb/LoTTE",
    **{"medquad": "medquad", "mini": "mini", "": ""},
}


def test_a_collection_has_one_name_wherever_it_was_read():
    assert {source: collection_of(source) for source in NAMES} == NAMES


def test_a_short_query_leaks_where_the_whole_of_it_is_the_same_and_empty_texts_never_do():
    leaks = known()
    assert leaked(leaks, row(query="what is x")) == ["scifact"]
    assert leaked(leaks, row(query="what is x and y")) == []
    assert leaked(leaks, row(passage="He asked what is X and left.")) == []
    assert leaked(Leaks(), row(query="what is x")) == []
    leaks = Leaks()
    leaks.add(task("scifact"), [Query("1", "")], [Passage("2", "")])
    assert leaked(leaks, row(query_id="q", passage_id="p", source="scifact")) == []
    assert leaked(leaks, row(passage_id="2", source="scifact")) == ["scifact"]


def test_a_row_can_leak_several_benchmarks_and_any_of_its_passages_will_do():
    leaks = known()
    leaks.add(task("nfcorpus"), [Query("7", "what is x")], [])
    given = {"negative_ids": ["n1", "n2"], "negative_titles": ["", ""], "negatives": ["harmless", LONG.upper()]}
    found = leaks.marks(row("contrastive", query="What is X?", positive_id="p", negative_sources=["b", "b"], **given))
    assert found == {"scifact": ["query text", "passage text"], "nfcorpus": ["query text"]}


@given(st.permutations([("scifact", "1", "alpha beta"), ("nfcorpus", "2", LONG), ("fiqa", "3", LONG)]))
def test_what_leaks_does_not_depend_on_the_order_of_benchmarks(benchmarks):
    leaks = Leaks()
    for name, id, said in benchmarks:
        leaks.add(task(name), [Query(id, said)], [Passage(id, said)])
    rows = [row(query="Alpha, beta"), row(passage=f"x {LONG} y"), row(query_id="3", source="fiqa")]
    assert [sorted(leaked(leaks, each)) for each in rows] == [["scifact"], ["fiqa", "nfcorpus"], ["fiqa"]]


def test_the_benchmarks_of_a_folder_are_known_with_their_judged_passages_those_without_a_text_too(tmp_path):
    held = [Passage("a", "judged"), Passage("b", "not judged")]
    for name in ("scifact", "medquad"):  # medquad is not a benchmark
        write_beir(tmp_path / name, Given([Query("q", "x"), Query("r", "y")], held, {"q": {"a": 1, "lost": 1}}))
    assert list(local_collections(None)) == ["mini"]
    assert {"mini", "scifact", "medquad"} == set(local_collections(tmp_path))
    known = {task.name: (queries, list(passages)) for task, queries, passages in benchmarks(tmp_path)}
    assert known.keys() == {"mini", "scifact"}
    assert known["scifact"] == ([Query("q", "x")], [held[0], Passage("lost", "")])


@pytest.mark.real_data
def test_scifact_for_training_shares_passages_with_its_test_set_and_no_query(real_data):
    leaks, marked = Leaks(), Counter()
    leaks.add(*next(known for known in benchmarks(real_data) if known[0].name == "scifact"))
    place = local_collections(real_data)["scifact"]
    judged = {id for row in place.qrels("test").values() for id in row}
    passages = {passage.id: passage for passage in place.passages()}
    queries = {query.id: query.text for query in place.queries()}
    for query_id, judgements in place.qrels("train").items():
        for id in judgements:
            given = {"query": queries[query_id], "title": passages[id].title, "passage": passages[id].text}
            marks = leaks.marks(row(query_id=query_id, passage_id=id, source=place.source, **given))
            kinds = marks.get("scifact", [])
            assert ("passage id" in kinds) == (id in judged) <= ("passage text" in kinds)
            marked.update(kinds)
    assert marked["query id"] == 0 < marked["passage id"]


def explanations(n: int) -> list:
    rng = random.Random(8)
    given = {"query": "what is the query", "explanation": "a"}
    return [row(id=str(i), passage=text(rng, i + 1), relevant=i % 4 == 0, **given) for i in range(n)]


def figures(rows) -> dict:
    report = Report()
    for each in rows:
        report.add(each, {})
    return report.figures()


def test_figures_of_explanations_are_known_in_any_order_of_rows_and_a_report_of_nothing_is_one():
    rows = explanations(100)
    found = figures(rows)
    assert repr(figures(random.Random(9).sample(rows, 100))) == repr(found)
    assert Report().figures() == {"rows": 0}
    assert found["rows"] == 100
    assert found["labels"] == {"not relevant": 0.75, "relevant": 0.25}
    assert found["passage words"] == {"mean": 50.5, "p5": 5, "p50": 50, "p95": 95, "min": 1, "max": 100}
    assert found["explanation words"] == {"mean": 1.0, "p5": 1, "p50": 1, "p95": 1, "min": 1, "max": 1}
    assert found["leaks"]["rows"] == 0 and "repairs" not in found


def test_figures_of_lists_count_repairs_by_kind_and_repaired_lists():
    names = {"passage_ids": ["a", "b"], "titles": ["", ""], "passages": ["x", "y z"], "first_stage_ranks": [2, 1]}
    whole = row("listwise", first_stage="bm25", query_source="cropped", **names)
    broken = row("listwise", first_stage="splade", query_source="cropped", **names, missing=3, repeated=1)
    found = figures([whole, broken, whole, whole])
    assert found["repairs"] == {"malformed": 0, "repeated": 1, "missing": 3, "out_of_range": 0}
    assert found["lists"] == {"repaired": 0.25, "whole": 0.75}
    assert found["first stages"] == {"bm25": 0.75, "splade": 0.25} and found["query sources"] == {"cropped": 1.0}
    assert found["list"]["mean"] == 2


def test_leaks_are_counted_by_row_benchmark_and_kind():
    report = Report()
    for marks in ({}, {"scifact": ["query id", "query text"]}, {"scifact": ["query id"], "nfcorpus": ["passage text"]}):
        report.add(row(), marks)
    by_name = {"nfcorpus": {"rows": 1, "passage text": 1}, "scifact": {"rows": 2, "query id": 2, "query text": 1}}
    assert report.figures()["leaks"] == {"rows": 2, "rate": 0.666667, "benchmarks": by_name}
