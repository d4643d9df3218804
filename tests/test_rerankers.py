"""Every reranker gives one finite score for each passage, in the order given; the bounds bound."""

from __future__ import annotations

import math
import random
from inspect import signature

import numpy as np
import pytest
from toys import ShortestFirst

from exabench.bench.candidates import rerank
from exabench.core.errors import BadInput
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


@pytest.mark.parametrize("name", PLAIN)
def test_every_reranker_gives_one_finite_score_for_each_passage_every_time_and_changes_nothing(name):
    for query in (QUERY, Query("never seen", "")):
        for size in (0, 1, 6):
            given = PASSAGES[:size]
            scores = made(name).score(query, given)
            assert len(scores) == size and given == PASSAGES[:size] and scores == made(name).score(query, given)
            assert all(type(score) is float and math.isfinite(np.float32(score)) for score in scores)


def ranked(name: str, ids: list[str]) -> list[str]:
    return rerank(made(name), run_in_order("first", {"q": ids}), {}, {}, name)[0].ranking("q")


def test_the_order_given_matters_only_where_it_should():
    ids = [passage.id for passage in PASSAGES]
    order = random.Random(1).sample(ids, len(ids))
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


def test_no_order_beats_the_oracle():
    metrics = ["nDCG@10", "RR@10", "AP@100", "P@10", "Success@5", "Rprec"]
    rng = random.Random(2)
    for _ in range(60):
        ids = [f"d{i}" for i in range(rng.randint(1, 12))]
        qrels = {"q": {d: rng.randint(-1, 3) for d in [*ids, "x", "y"] if rng.random() < 0.7} | {"z": 1}}
        first = run_in_order("first", {"q": rng.sample(ids, len(ids))})
        ceiling, _ = rerank(RERANKERS["oracle"](qrels), first, {}, {}, "oracle")
        best, other = (measure(qrels, run, metrics)[1] for run in (ceiling, first))
        assert all(mean(best[metric]) >= mean(other[metric]) - 1e-12 for metric in metrics)


def test_a_reranker_that_reads_is_given_texts_and_one_that_loses_a_score_is_caught():
    class Short(ShortestFirst):
        def score(self, query, passages):
            return super().score(query, passages)[1:]

    first = run_in_order("first", {"q": ["d0", "d1", "d2"]})
    given = first, {"q": QUERY}, {passage.id: passage for passage in PASSAGES}
    assert rerank(ShortestFirst(), *given, "shortest")[0].ranking("q") == ["d2", "d1", "d0"]
    with pytest.raises(BadInput, match="reranker short answered 2 scores for query 'q'; expected 3 finite numbers"):
        rerank(Short(), *given, "short")
