"""Lists with soft scores: the fusion is the formula's, a reranker's scores are its own, nobody is asked anything."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import ranx
from hypothesis import given, strategies as st
from toys import Alphabet, Given, ShortestFirst

from exabench.core.errors import BadInput
from exabench.core.nouns import Passage, Query, Run
from exabench.core.recipe import read_recipe
from exabench.core.rows import FAMILIES, Rejected, Row, check_row
from exabench.data.auditing import audit
from exabench.data.builders import BUILDERS
from exabench.data.builders._sources import rankings
from exabench.data.builders.scored import ScoredBuilder
from exabench.data.building import KEYS, Sources, build
from exabench.data.releases import read, rows, verify
from exabench.measure.rank_fusion import best_first, fuse
from exabench.measure.runs import run_in_order
from exabench.tasks.catalogue import task

PROVENANCE = {"teacher": "toy", "teacher_revision": "", "prompt": "", "replies": []}
RRF = ("scifact", "nfcorpus", "trec-dl-2019", "trec-dl-2020", "medquad")
TOO_LITTLE = {"least": 1}, {"least": 31}, {"depth": 29}, {"k": -1}


class Typed:
    """A query source that holds what it was given; each query was made of the passage of its own id."""

    source, source_revision = "typed", "1"

    def __init__(self, *ids: str) -> None:
        self._ids = ids

    def __iter__(self) -> Iterator[tuple[Query, Mapping[str, Any]]]:
        for id in self._ids:
            yield Query(f"c-{id}", f"a sentence of {id}"), {"kind": "cropped", "passage_id": id, "replies": [f"r {id}"]}


class Fixed:
    """A first stage that always finds the same."""

    whole, parameters = True, dict[str, Any]()

    def __init__(self, *ids: str) -> None:
        self._ids = ids

    def search(self, queries: Sequence[Query], depth: int) -> Run:
        return run_in_order("fixed", {query.id: self._ids[:depth] for query in queries if self._ids})


class Memory(Given):
    revision = "1"

    def __init__(self, count: int = 20) -> None:
        passages = [Passage(f"p{i:02}", "word " * (1 + i * 7 % 20), f"title {i}") for i in range(count)]
        super().__init__([], passages, {})


def scored(*queries: str, stages: Mapping[str, Any] | None = None, count: int = 20, **options: Any) -> ScoredBuilder:
    collection = Memory(count)
    stages = stages or {
        "up": Alphabet(collection.passages()),
        "down": Alphabet(collection.passages(), backwards=True),
    }
    return ScoredBuilder(collection, Typed(*queries), stages, **{"documents": 10, "depth": 15} | options)


def lists(made: ScoredBuilder) -> list[Row]:
    return [check_row("scored", {**PROVENANCE, **made.row(item, [])}) for item in made.items()]


# -- fusion ------------------------------------------------------------------------------------------------------


def test_the_fusion_is_the_formula():
    assert fuse([["a", "b"], ["b", "c"]]) == {"b": 1 / 62 + 1 / 61, "a": 1 / 61, "c": 1 / 62}
    assert list(fuse([["a"], ["b"]])) == ["b", "a"]  # a tie: the greater id first, as in every run
    assert fuse([["a"], []], k=0) == {"a": 1.0} and fuse([]) == {}


@given(st.lists(st.lists(st.sampled_from("abcdefgh"), min_size=1, unique=True), min_size=2, max_size=3))
def test_the_fusion_is_that_of_ranx(found: list[list[str]]):
    runs = [
        ranx.Run({"q": {id: float(len(ids) - place) for place, id in enumerate(ids)}}, name=str(number))
        for number, ids in enumerate(found)
    ]
    theirs = ranx.fuse(runs, norm=None, method="rrf", params={"k": 60}).to_dict()["q"]
    ours = fuse(found)
    assert ours == pytest.approx(dict(theirs)) and list(ours.values()) == sorted(ours.values(), reverse=True)


def test_a_first_stage_is_asked_a_thousand_queries_at_once_and_cut_at_the_depth():
    queries = [Query(str(number), "q") for number in range(2500)]
    found = rankings(Fixed("a", "b", "c"), queries, 2)
    assert len(found) == 2500 and set(map(tuple, found.values())) == {("a", "b")}
    assert rankings(Fixed(), queries[:1], 2) == {"0": []}


# -- lists -------------------------------------------------------------------------------------------------------


def test_a_list_holds_the_best_of_the_fusion_with_their_scores_and_who_brought_them():
    [row] = lists(scored("p03", stages={"a": Fixed("p01", "p02", "p03"), "b": Fixed("p02", "p09")}))
    assert row["passage_ids"] == ["p02", "p01", "p09", "p03"]
    assert row["scores"] == [1 / 62 + 1 / 61, 1 / 61, 1 / 62, 1 / 63]
    assert row["first_stages"] == ["a,b", "a", "b", "a"]
    assert row["titles"] == ["title 2", "title 1", "title 9", "title 3"]
    assert (row["id"], row["query"], row["query_source"]) == ("c-p03", "a sentence of p03", "typed")
    assert (row["source"], row["source_revision"]) == ("memory", "1")


@given(documents=st.integers(2, 20), depth=st.integers(20, 30), keep=st.booleans())
def test_scores_fall_and_no_passage_stands_twice(documents: int, depth: int, keep: bool):
    found = lists(scored("p00", "p07", documents=documents, depth=depth, keep_origin=keep))
    for row in found:
        assert row["scores"] == sorted(row["scores"], reverse=True)
        assert len(set(row["passage_ids"])) == len(row["passage_ids"]) == min(documents, 20 - (not keep))
        assert keep or row["id"].removeprefix("c-") not in row["passage_ids"]


def test_the_passage_that_a_sentence_was_cropped_from_stays_unless_it_is_told_to_go():
    stage = {"a": Fixed("p01", "p02", "p03")}
    assert lists(scored("p01", stages=stage))[0]["passage_ids"] == ["p01", "p02", "p03"]
    [row] = lists(scored("p01", stages=stage, keep_origin=False))
    assert row["passage_ids"] == ["p02", "p03"] and row["scores"] == [1 / 61, 1 / 62]


def test_a_reranker_gives_its_own_scores_and_order():
    made = scored("p03", reranker=ShortestFirst())
    [row], [plain] = lists(made), lists(scored("p03"))
    assert row["scores"] == sorted((-float(len(text)) for text in plain["passages"]), reverse=True)
    assert [-float(len(text)) for text in row["passages"]] == row["scores"]
    kept = (dict(zip(each["passage_ids"], each["first_stages"], strict=True)) for each in (row, plain))
    assert next(kept) == next(kept) and row["passage_ids"] != plain["passage_ids"]
    assert made.identity["model"] == "shortestfirst"


def test_a_reranker_of_a_model_is_the_teacher_by_name_and_revision():
    class Named(ShortestFirst):
        identity = {"model": "acme/scorer", "revision": "4f", "strategy": "logit"}

    assert scored("p03", reranker=Named()).identity == Named.identity
    assert scored("p03").identity == {"model": "rrf(down,up)", "k": 60}


def test_a_score_that_is_not_finite_never_reaches_a_row():
    class Broken(ShortestFirst):
        def score(self, query: Query, passages: Sequence[Passage]) -> list[float]:
            return [float("nan")] * len(passages)

    with pytest.raises(BadInput, match="scores holds a number that is not finite.*c-p03"):
        lists(scored("p03", reranker=Broken()))


def test_a_reranker_that_reads_judgements_is_no_teacher():
    class Oracle(ShortestFirst):
        reads = "judgements"

    with pytest.raises(BadInput, match="may not see the judgements"):
        scored("p03", reranker=Oracle())


def test_a_list_of_one_passage_is_rejected():
    made = scored("p03", stages={"a": Fixed("p01")})
    [item] = made.items()
    with pytest.raises(Rejected, match="found fewer than 2 passages"):
        made.row(item, [])


def test_several_sources_take_turns_and_share_no_id():
    sources = {"one": Typed("p01", "p02"), "two": Typed("p03")}
    made = ScoredBuilder(Memory(), sources, {"a": Fixed("p01", "p02")}, documents=2)
    assert [item.data["query_source"] for item in made.items()] == ["one", "two", "one"]
    for twins in ({"one": Typed("p01"), "two": Typed("p01")}, {"one": Typed("p01", "p01")}):
        with pytest.raises(BadInput, match="two queries have this id.*c-p01"):
            list(ScoredBuilder(Memory(), twins, {"a": Fixed("p01")}, documents=2).items())


def test_what_a_query_was_made_with_goes_with_its_item_and_items_are_json():
    [item] = scored("p03").items()
    assert item.data["replies"] == ["r p03"] and item.prompts == () and json.loads(json.dumps(item.data)) == item.data


def test_the_report_counts_queries_and_who_brought_the_passages():
    made = scored("p03", "p04", stages={"a": Fixed("p01", "p02"), "b": Fixed("p02")})
    assert made.report(made.items()) == {
        "queries": {"typed": 2},
        "passages": 4,
        "passages_by_first_stages": {"a": 2, "a,b": 2},
    }


@pytest.mark.parametrize("options", TOO_LITTLE)
def test_options_that_make_no_sense_are_refused(options: dict[str, int]):
    with pytest.raises(BadInput, match="scored needs 2 <= least <= documents <= depth"):
        scored("p03", **{"documents": 30, "depth": 100, **options})
    with pytest.raises(BadInput, match="needs a source of queries and a first stage"):
        ScoredBuilder(Memory(), Typed("p03"), {})


def test_equal_scores_go_by_id():
    assert list(best_first({"a": 1.0, "c": 1.0, "b": 2.0})) == ["b", "c", "a"]


# -- releases ----------------------------------------------------------------------------------------------------


def test_the_family_is_read_back_bit_by_bit_and_as_datasets_knows_it(tmp_path: Path):
    made = [build("mini-scored", tmp_path / name, sources=Sources(replies=tmp_path / "replies")) for name in "ab"]
    assert made[0] == made[1] == read(tmp_path / "a" / "release") and verify(tmp_path / "a" / "release") == []
    table = made[0].tables["scored"]
    assert table.family == "scored" and table.counts["good"] == 60
    assert table.teacher == {"model": "rrf(bm25,bm25-long)", "k": 60}
    found = [row for split in table.splits for row in rows(tmp_path / "a" / "release", "scored", split)]
    assert {row["teacher"] for row in found} == {"rrf(bm25,bm25-long)"}
    assert all(row["scores"] == sorted(row["scores"], reverse=True) and len(row["scores"]) == 10 for row in found)
    assert {score for row in found for score in row["scores"]} <= {
        1 / (60 + i) + 1 / (60 + j) for i in range(1, 21) for j in range(1, 21)
    } | {1 / (60 + i) for i in range(1, 21)}
    card = (tmp_path / "a" / "release" / "README.md").read_text()
    assert "sequence: float64" in card and "list of double" in card and "rrf" in card


def test_orders_of_judged_queries_are_held_against_people(tmp_path: Path):
    recipe = tmp_path / "given.toml"
    recipe.write_text(
        'builder = "scored"\ndataset = "set"\ntable = "given"\nlicence = "cc0-1.0"\nseed = 0\nshard = 10\n'
        '[options]\ntask = "mini"\ndocuments = 10\nqueries = {part = "given", split = "train"}\n'
        'reranker = "reversed"\nretrievers = {bm25 = {part = "bm25"}}\n'
    )
    release = build(recipe, tmp_path / "work", sources=Sources(replies=tmp_path / "replies"))
    assert release.tables["given"].teacher["model"] == "reversed"
    told = audit(tmp_path / "work" / "release").tables["given"]
    orders = told["against people"]["mini"]["orders"]
    assert orders["lists"] == 24 and 0 < orders["teacher nDCG@10"] < 1 and "first stage nDCG@10" not in orders
    assert told["list"]["max"] == 10 and told["first stages"].keys() == {"bm25"}


def test_a_row_of_the_family_holds_doubles_and_no_other_numbers():
    row = {name: [] if kind.startswith("list") else "" for name, kind in FAMILIES["scored"].items()}
    for scores, complaint in (([1], "must be list<double>"), ([float("inf")], "not finite"), (["1"], "must be list")):
        with pytest.raises(BadInput, match=complaint):
            check_row("scored", {**row, "scores": scores})
    assert check_row("scored", {**row, "scores": [1.0]})["scores"] == [1.0]


@pytest.mark.parametrize("name", ["mini-scored", *(f"{each}-cropped-rrf" for each in RRF)])
def test_the_recipes_ask_no_teacher_and_take_sentences_for_queries(name: str):
    values = read_recipe("data", name, KEYS).values
    assert values["builder"] == "scored" and "teacher" not in values and task(values["options"]["task"])
    queries = values["options"]["queries"]
    assert {"cropped"} == {each["part"] for each in ([queries] if "part" in queries else queries.values())}
    assert BUILDERS["scored"] is ScoredBuilder and values["table"] in (name, "scored")
