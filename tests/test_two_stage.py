"""Two stages: the first one's best in the reranker's order, nothing else kept, and both parts told on the page."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import pytest
from toys import Alphabet, ShortestFirst

from exabench.core.errors import BadInput
from exabench.core.files import json_text
from exabench.core.nouns import Passage, Query, Run, Usage
from exabench.measure.runs import run_text
from exabench.parts.rerankers.constant import Constant
from exabench.parts.rerankers.oracle import Oracle
from exabench.parts.rerankers.random import Random
from exabench.parts.retrievers.bm25 import Bm25
from exabench.parts.retrievers.two_stage import TwoStage

PASSAGES = [Passage(id, "x" * length) for id, length in zip("abcdef", (6, 5, 4, 3, 2, 1), strict=True)]
QUERIES = [Query("q2", "two"), Query("q1", "one"), Query("q3", "three")]


class Counting(list[Passage]):
    times = 0

    def __iter__(self) -> Iterator[Passage]:
        self.times += 1
        return super().__iter__()


class Many(ShortestFirst):
    """The same scores, all queries at once; a query must be scored alone no more."""

    identity = {"model": "acme/shortest", "revision": "4f2c9ab"}

    def score(self, query: Query, passages: Sequence[Passage]) -> list[float]:
        raise AssertionError("score_many is there")

    def score_many(self, jobs: Iterable[tuple[Query, Sequence[Passage]]]) -> Iterator[tuple[list[float], Usage]]:
        for query, passages in jobs:
            yield ShortestFirst().score(query, passages), Usage(prompts=len(passages))


def two(passages: Iterable[Passage] = PASSAGES, reranker: object = None, **options: object) -> TwoStage:
    return TwoStage(passages, first_stage=Alphabet(PASSAGES), reranker=reranker or ShortestFirst(), **options)


@pytest.mark.parametrize("reranker", [ShortestFirst(), Many()])
def test_the_best_of_the_first_stage_come_in_the_rerankers_order(reranker):
    run = two(reranker=reranker, first_depth=4).search(QUERIES, 3)
    assert {query: run.ranking(query) for query in run} == {query.id: ["d", "c", "b"] for query in QUERIES}
    assert run["q1"] == {"d": -3.0, "c": -4.0, "b": -5.0}


class Generous(Alphabet):
    def search(self, queries: Sequence[Query], depth: int) -> Run:
        return super().search([*queries, Query("q9", "")], depth + 3)


def test_what_is_below_first_depth_or_was_not_asked_is_dropped():
    stage = TwoStage(PASSAGES, first_stage=Generous(PASSAGES), reranker=ShortestFirst(), first_depth=2)
    run = stage.search(QUERIES, 100)
    assert {query: run.ranking(query) for query in run} == {query.id: ["b", "a"] for query in QUERIES}


def test_passages_are_read_once_for_all_queries_and_not_at_all_for_ids():
    counting = Counting(PASSAGES)
    two(counting).search(QUERIES, 10)
    assert counting.times == 1
    assert len(two(counting, Random()).search(QUERIES, 10)) == 3
    assert counting.times == 1
    stage = two(iter(PASSAGES))  # can be read once, and serves every search
    assert run_text(stage.search(QUERIES, 10), "t") == run_text(stage.search(QUERIES, 10), "t")


def test_queries_that_find_nothing_are_not_answered_and_equal_scores_fall_to_the_ranking_rule():
    stage = TwoStage(PASSAGES, first_stage=Bm25([Passage("a", "fish")]), reranker=ShortestFirst())
    assert stage.search([Query("q", "fish"), Query("z", "fowl")], 10).query_ids == ("q",)
    assert len(stage.search([], 10)) == 0
    assert two(reranker=Constant()).search(QUERIES, 10).ranking("q1") == list("fedcba")


def test_both_of_its_parts_stand_on_the_page():
    stage = TwoStage(PASSAGES, first_stage=Bm25(PASSAGES, k1=1.2), reranker=Many(), first_depth=7)
    assert stage.parameters["first_depth"] == 7
    assert stage.parameters["first_stage"] | {"part": "bm25", "k1": 1.2} == stage.parameters["first_stage"]
    assert stage.parameters["reranker"] == {"part": "many", "model": "acme/shortest", "revision": "4f2c9ab"}
    assert json_text(stage.parameters)


@pytest.mark.parametrize(
    ("passages", "options", "message"),
    [
        (PASSAGES, {"reranker": Oracle({})}, "must not see the judgements"),
        (PASSAGES, {"first_depth": 0}, "first_depth must be at least 1"),
        (PASSAGES[1:], {}, "not in the collection .id 'a'"),
    ],
)
def test_what_cannot_be_reranked_is_refused(passages, options, message):
    with pytest.raises(BadInput, match=message):
        two(passages, **options).search(QUERIES, 10)
