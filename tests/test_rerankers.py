"""Every reranker gives one finite score for each passage, in the order given; the bounds bound."""

from __future__ import annotations

import math
import random
from inspect import signature

import numpy as np
import pytest
from toys import ShortestFirst

from exabench.bench.candidates import rerank
from exabench.core.nouns import Passage, Query
from exabench.measure.metric_values import mean, measure
from exabench.measure.runs import run_in_order
from exabench.parts.rerankers import RERANKERS

PLAIN = [name for name in RERANKERS if not {"model", "teacher"} & set(signature(RERANKERS[name]).parameters)]
QRELS = {"q": {"d3": 2, "d1": 1, "d0": -1, "d4": 1}}
QUERY = Query("q", "words")
PASSAGES = [Passage(f"d{i}", "x" * (9 - i)) for i in range(6)]


def made(name: str):
    part = RERANKERS[name]
    return part(QRELS) if part.reads == "judgements" else part()


@pytest.mark.parametrize("name", RERANKERS)
def test_every_reranker_says_what_it_reads(name):
    assert RERANKERS[name].reads in ("ids", "texts", "judgements")


@pytest.mark.parametrize("name", PLAIN)
@pytest.mark.parametrize("size", [0, 1, 6])
def test_every_reranker_gives_one_finite_score_for_each_passage(name, size):
    scores = made(name).score(QUERY, PASSAGES[:size])
    assert len(scores) == size
    assert all(type(score) is float and math.isfinite(np.float32(score)) for score in scores)


@pytest.mark.parametrize("name", PLAIN)
def test_every_reranker_gives_the_same_scores_every_time(name):
    assert made(name).score(QUERY, PASSAGES) == made(name).score(QUERY, PASSAGES)


@pytest.mark.parametrize("name", PLAIN)
def test_every_reranker_takes_a_query_it_has_never_seen(name):
    assert len(made(name).score(Query("new", ""), PASSAGES)) == 6


@pytest.mark.parametrize("name", PLAIN)
def test_every_reranker_changes_nothing_that_it_is_given(name):
    given = list(PASSAGES)
    made(name).score(QUERY, given)
    assert given == PASSAGES


def ranked(name: str, ids: list[str]) -> list[str]:
    return rerank(made(name), run_in_order("first", {"q": ids}), {}, {}, name)[0].ranking("q")


@pytest.mark.parametrize("seed", range(5))
def test_the_order_given_matters_only_where_it_should(seed):
    ids = [passage.id for passage in PASSAGES]
    order = random.Random(seed).sample(ids, len(ids))
    assert ranked("unchanged", order) == order
    assert ranked("reversed", order) == order[::-1]
    assert ranked("random", order) == ranked("random", ids)
    assert ranked("constant", order) == sorted(ids, reverse=True)
    assert ranked("oracle", order)[0] == "d3"
    assert set(ranked("oracle", order)[1:3]) == {"d1", "d4"}
    rest = [id for id in order if id not in ("d3", "d1", "d4")]
    assert ranked("oracle", order)[3:] == rest  # a negative grade is worth no less than none


def test_the_lot_depends_on_the_seed_and_is_even():
    many = [Passage(str(i), "") for i in range(4000)]
    draws = RERANKERS["random"]().score(QUERY, many)
    assert RERANKERS["random"](1).score(QUERY, many) != draws
    assert RERANKERS["random"]().score(Query("r", ""), many) != draws
    assert (min(draws) >= 0, max(draws) < 1, np.mean(draws)) == (True, True, pytest.approx(0.5, abs=0.03))
    assert [float(np.float32(draw)) for draw in draws] == draws


@pytest.mark.parametrize("metric", ["nDCG@10", "RR@10", "AP@100", "P@10", "Success@5", "Rprec"])
def test_no_order_beats_the_oracle(metric):
    rng = random.Random(2)
    for _ in range(60):
        ids = [f"d{i}" for i in range(rng.randint(1, 12))]
        qrels = {"q": {d: rng.randint(-1, 3) for d in [*ids, "x", "y"] if rng.random() < 0.7} | {"z": 1}}
        first = run_in_order("first", {"q": rng.sample(ids, len(ids))})
        ceiling, _ = rerank(RERANKERS["oracle"](qrels), first, {}, {}, "oracle")
        values = [mean(measure(qrels, run, [metric])[1][metric]) for run in (ceiling, first)]
        assert values[0] >= values[1] - 1e-12


def test_a_reranker_that_reads_is_given_texts():
    passages = {passage.id: passage for passage in PASSAGES}
    first = run_in_order("first", {"q": ["d0", "d1", "d2"]})
    run, _ = rerank(ShortestFirst(), first, {"q": QUERY}, passages, "shortest")
    assert run.ranking("q") == ["d2", "d1", "d0"]


def test_a_reranker_that_loses_a_score_is_caught():
    class Short(ShortestFirst):
        def score(self, query, passages):
            return super().score(query, passages)[1:]

    with pytest.raises(ValueError, match="shorter"):
        rerank(Short(), run_in_order("first", {"q": ["d0", "d1"]}), {}, {}, "short")
