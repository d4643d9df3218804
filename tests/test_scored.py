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
from exabench.core.rows import FAMILIES, Rejected, Row, check_row
from exabench.data.auditing import audit
from exabench.data.builders.scored import ScoredBuilder
from exabench.data.building import Sources, build
from exabench.data.releases import read, rows
from exabench.measure.rank_fusion import best_first, fuse
from exabench.measure.runs import run_in_order

PROVENANCE = {"teacher": "toy", "teacher_revision": "", "prompt": "", "replies": []}


class Typed:
    """A query source: for each id a query that was made of the passage of this id."""

    source, source_revision = "typed", "1"

    def __init__(self, *ids: str) -> None:
        self._ids = ids

    def __iter__(self) -> Iterator[tuple[Query, Mapping[str, Any]]]:
        for id in self._ids:
            yield Query(f"c-{id}", f"a sentence of {id}"), {"kind": "cropped", "passage_id": id, "replies": [f"r {id}"]}


class Fixed:
    """A first stage that always finds the same, and keeps how many queries it was asked at once."""

    whole, parameters = True, dict[str, Any]()

    def __init__(self, *ids: str) -> None:
        self._ids = ids
        self.asked: list[int] = []

    def search(self, queries: Sequence[Query], depth: int) -> Run:
        self.asked.append(len(queries))
        return run_in_order("fixed", {query.id: self._ids for query in queries if self._ids})


def collection(count: int = 20) -> Given:
    return Given([], [Passage(f"p{i:02}", "word " * (1 + i * 7 % 20), f"title {i}") for i in range(count)], {})


def scored(*queries: str, stages: Mapping[str, Any] | None = None, **options: Any) -> ScoredBuilder:
    held = collection()
    stages = stages or {"up": Alphabet(held.passages()), "down": Alphabet(held.passages(), backwards=True)}
    return ScoredBuilder(held, Typed(*queries), stages, **{"documents": 10, "depth": 15} | options)


def lists(made: ScoredBuilder) -> list[Row]:
    return [check_row("scored", {**PROVENANCE, **made.rows(item, [])[0]}) for item in made.items()]


def test_the_fusion_is_the_formula():
    assert fuse([["a", "b"], ["b", "c"]]) == {"b": 1 / 62 + 1 / 61, "a": 1 / 61, "c": 1 / 62}
    assert list(fuse([["a"], ["b"]])) == ["b", "a"]  # a tie: the greater id first, as in every run
    assert fuse([["a"], []], k=0) == {"a": 1.0} and fuse([]) == {}
    assert list(best_first({"a": 1.0, "c": 1.0, "b": 2.0})) == ["b", "c", "a"]


@given(st.lists(st.lists(st.sampled_from("abcdefgh"), min_size=1, unique=True), min_size=2, max_size=3))
def test_the_fusion_is_that_of_ranx(found: list[list[str]]):
    runs = []
    for number, ids in enumerate(found):
        runs.append(ranx.Run({"q": {id: float(-place) for place, id in enumerate(ids)}}, name=str(number)))
    theirs = ranx.fuse(runs, norm=None, method="rrf", params={"k": 60}).to_dict()["q"]
    ours = fuse(found)
    assert ours == pytest.approx(dict(theirs)) and list(ours.values()) == sorted(ours.values(), reverse=True)


def test_a_first_stage_is_asked_a_thousand_queries_at_once_and_cut_at_the_depth():
    stage = Fixed("p00", "p01", "p02")
    found = lists(scored(*(f"p{i}" for i in range(2500)), stages={"a": stage}, documents=2, depth=2))
    assert len(found) == 2500 and {tuple(row["passage_ids"]) for row in found} == {("p00", "p01")}
    assert stage.asked == [1000, 1000, 500]


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


def test_a_reranker_gives_its_own_scores_and_order_and_is_the_teacher_by_name_and_revision():
    made = scored("p03", reranker=ShortestFirst())
    [row], [plain] = lists(made), lists(scored("p03"))
    assert row["scores"] == sorted((-float(len(text)) for text in plain["passages"]), reverse=True)
    assert [-float(len(text)) for text in row["passages"]] == row["scores"]
    kept = (dict(zip(each["passage_ids"], each["first_stages"], strict=True)) for each in (row, plain))
    assert next(kept) == next(kept) and row["passage_ids"] != plain["passage_ids"]
    assert made.identity["model"] == "shortestfirst"

    class Named(ShortestFirst):
        identity = {"model": "acme/scorer", "revision": "4f", "strategy": "logit"}

    assert scored("p03", reranker=Named()).identity == Named.identity
    assert scored("p03").identity == {"model": "rrf(down,up)", "k": 60}


def test_scores_that_are_not_finite_and_a_reranker_that_reads_judgements_are_refused():
    class Broken(ShortestFirst):
        def score(self, query: Query, passages: Sequence[Passage]) -> list[float]:
            return [float("nan")] * len(passages)

    with pytest.raises(BadInput, match="scores has a number that is not finite.*c-p03"):
        lists(scored("p03", reranker=Broken()))
    Broken.reads = "judgements"
    with pytest.raises(BadInput, match="must not see the judgements"):
        scored("p03", reranker=Broken())


def test_a_list_of_less_than_two_passages_is_rejected():
    for stage in (Fixed("p01"), Fixed()):
        made = scored("p03", stages={"a": stage})
        [item] = made.items()
        with pytest.raises(Rejected, match="found fewer than 2 passages"):
            made.rows(item, [])


def test_several_sources_take_turns_and_share_no_id():
    sources = {"one": Typed("p01", "p02"), "two": Typed("p03")}
    made = ScoredBuilder(collection(), sources, {"a": Fixed("p01", "p02")}, documents=2)
    assert [item.data["query_source"] for item in made.items()] == ["one", "two", "one"]
    with pytest.raises(BadInput, match="two queries have this id.*c-p01"):
        list(scored("p01", "p01").items())


def test_items_are_json_with_what_their_query_was_made_with_and_the_report_counts_them():
    made = scored("p03", "p04", stages={"a": Fixed("p01", "p02"), "b": Fixed("p02")})
    item, _ = made.items()
    assert item.data["replies"] == ["r p03"] and item.prompts == () and json.loads(json.dumps(item.data)) == item.data
    assert made.report(made.items()) == {"queries": {"typed": 2}, "passages": 4}


def test_options_that_make_no_sense_are_refused():
    for options in ({"least": 1}, {"least": 31}, {"depth": 29}, {"k": -1}):
        with pytest.raises(BadInput, match="scored needs 2 <= least <= documents <= depth"):
            scored("p03", **{"documents": 30, "depth": 100, **options})
    with pytest.raises(BadInput, match="needs a source of queries and a first stage"):
        ScoredBuilder(collection(), Typed("p03"), {})


def test_the_family_is_read_back_bit_by_bit(tmp_path: Path):
    made = build("mini-scored", tmp_path / "work", sources=Sources(replies=tmp_path / "replies"))
    release = tmp_path / "work" / "release"
    table = made.tables["scored"]
    assert made == read(release) and (table.family, table.counts["good"]) == ("scored", 60)
    assert table.teacher == {"model": "rrf(bm25,bm25-long)", "k": 60}
    found = [row for split in table.splits for row in rows(release, "scored", split)]
    assert {row["teacher"] for row in found} == {"rrf(bm25,bm25-long)"}
    assert all(row["scores"] == sorted(row["scores"], reverse=True) and len(row["scores"]) == 10 for row in found)
    ranks = [1 / (60 + rank) for rank in range(1, 21)]
    assert {score for row in found for score in row["scores"]} <= {a + b for a in ranks for b in (*ranks, 0.0)}
    card = (release / "README.md").read_text()
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
    assert told["list"]["max"] == 10 and told["passages by first stages"].keys() == {"bm25"}


def test_a_row_of_the_family_holds_doubles_and_no_other_numbers():
    row = {name: [] if kind.startswith("list") else "" for name, kind in FAMILIES["scored"].items()}
    for scores, complaint in (([1], "must be list<double>"), ([float("inf")], "not finite"), (["1"], "must be list")):
        with pytest.raises(BadInput, match=complaint):
            check_row("scored", {**row, "scores": scores})
    assert check_row("scored", {**row, "scores": [1.0]})["scores"] == [1.0]
