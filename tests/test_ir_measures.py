"""Every metric is that of ir_measures on generated cases, and what ir_measures alone knows comes from it unchanged."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator

import ir_measures
import numpy as np
import pytest

from exabench.core.ir_metrics import BY_SUBTOPIC, NAMES
from exabench.core.nouns import Qrels, Run
from exabench.measure.metric_values import measure
from exabench.measure.runs import rank_scores, run_of

CASES = 500
LEVELS = (1, 2, 3)
# Ours beside ir_measures'. A level that ours does not name is the threshold, which ir_measures has to be told.
BY_LEVEL = {
    "AP": "AP(rel={})", "AP@5": "AP(rel={})@5", "RR": "RR(rel={})", "RR@3": "RR(rel={})@3", "P@5": "P(rel={})@5",
    "R@5": "R(rel={})@5", "Success@3": "Success(rel={})@3", "Rprec": "Rprec(rel={})", "Bpref": "Bpref(rel={})",
    "infAP": "infAP(rel={})", "RBP(p=0.8)": "RBP(rel={},p=0.8)", "RBP(p=0.5)": "RBP(rel={},p=0.5)",
}  # fmt: skip
OF_GRADES = ["nDCG", "nDCG@3", "nDCG@10", "Judged", "Judged@3", "Judged@10"]
GDEVAL = {"ERR@5": "ERR@5", "nDCG_exp@5": "nDCG(dcg='exp-log2')@5"}
# What exabench leaves to ir_measures.
THEIRS = [
    "SetP",
    "SetR",
    "SetF",
    "SetAP",
    "IPrec@0.3",
    "NumRet",
    "Compat",
    "P(judged_only=True)@5",
    "NERR9(max_rel=4)@5",
]


def cases() -> Iterator[tuple[str, dict[str, int], dict[str, float], bool]]:
    """A query's judgements and scores, and whether trec_eval alone may break its ties.

    Grades below 0, passages without a judgement, lists of any length, ties, and queries that no run answers.
    """
    for seed in range(CASES):
        rng = random.Random(seed)
        pool = [f"d{number}" for number in range(rng.randint(2, 40))]
        grades = rng.choice([[0, 1], [-2, -1, 0, 0, 1, 2, 3], [0, 0, 1, 2, 3, 4], [1]])
        judged = {passage: rng.choice(grades) for passage in rng.sample(pool, rng.randint(1, len(pool)))}
        if max(judged.values()) < 0:  # trec_eval's library reads beyond its memory
            judged["d0"] = 0
        scores = {}
        if seed % 20:
            for passage in rng.sample(pool, rng.randint(1, len(pool))):
                scores[passage] = rng.choice([1.0, 2.0, rng.random(), 12 + rng.random() * 1e-6])
        yield str(seed), judged, scores, bool(seed % 2)


@pytest.fixture(scope="module")
def generated() -> tuple[Qrels, dict[str, dict[str, float]], Run]:
    """All cases as the queries of one run; every other has its ties broken as exabench breaks them."""
    qrels = {}
    scores = {}
    for query, judged, row, has_ties in cases():
        qrels[query] = judged
        if row:
            scores[query] = row if has_ties else rank_scores(run_of("case", {query: row}).ranking(query))
    return qrels, scores, run_of("generated", scores)


def theirs(qrels: Qrels, scores: dict[str, dict[str, float]], names: list[str]) -> dict[str, list[float]]:
    """The values of ir_measures for every query, sorted by id."""
    measures = [ir_measures.parse_measure(name) for name in names]
    found = {str(one): dict.fromkeys(sorted(qrels), 0.0) for one in measures}
    for value in ir_measures.iter_calc(measures, qrels, scores):
        found[str(value.measure)][value.query_id] = value.value
    return {name: list(found[str(one)].values()) for name, one in zip(names, measures, strict=True)}


def ordered(run: Run) -> dict[str, dict[str, float]]:
    """Scores without ties: some tools of ir_measures break them in another way than trec_eval."""
    return {query: rank_scores(run.ranking(query)) for query in run}


@pytest.mark.parametrize("level", LEVELS)
def test_every_metric_of_yes_and_no_is_that_of_ir_measures_at_every_level(generated, level: int) -> None:
    qrels, scores, run = generated
    _, by_threshold = measure(qrels, run, list(BY_LEVEL), threshold=level)
    named = [name.format(level) for name in BY_LEVEL.values()]
    _, by_name = measure(qrels, run, named)
    of_trec_eval = [name for name in named if not name.startswith(("RBP", f"RR(rel={level})@"))]
    expected = theirs(qrels, scores, of_trec_eval)
    expected |= theirs(qrels, ordered(run), [name for name in named if name not in of_trec_eval])
    for ours, name, values in zip(BY_LEVEL, named, by_name.values(), strict=True):
        assert values == pytest.approx(expected[name], abs=1e-9), name
        assert by_threshold[ours].tolist() == values.tolist()
        assert len(set(values.round(3))) > (1 if name.startswith("Success") else 3)


def test_every_metric_of_grades_is_that_of_ir_measures_judged_too(generated) -> None:
    qrels, scores, run = generated
    _, found = measure(qrels, run, OF_GRADES)
    expected = theirs(qrels, scores, OF_GRADES[:3]) | theirs(qrels, ordered(run), OF_GRADES[3:])
    for name in OF_GRADES:
        assert found[name] == pytest.approx(expected[name], abs=1e-9), name
        assert len(set(found[name].round(3))) > 3


@pytest.mark.skipif(not shutil.which("perl"), reason="gdeval is a Perl script")
def test_err_and_ndcg_of_exponential_gain_are_those_of_gdeval(generated) -> None:
    qrels, _, run = generated
    _, found = measure(qrels, run, list(GDEVAL))
    expected = theirs(qrels, ordered(run), list(GDEVAL.values()))
    for ours, name in GDEVAL.items():
        assert np.abs(found[ours] - expected[name]).max() < 5.1e-6, "gdeval prints five decimals"
        assert len(set(found[ours].round(3))) > 10


@pytest.mark.parametrize("name", THEIRS)
def test_what_ir_measures_alone_knows_comes_from_it_in_our_order_of_ties(generated, name: str, capfd) -> None:
    qrels, _, run = generated
    ids, found = measure(qrels, run, [name])
    [values] = found.values()
    assert capfd.readouterr().err == "", "other libraries say nothing"
    assert ids == tuple(sorted(qrels))
    assert values == pytest.approx(theirs(qrels, ordered(run), [name])[name], abs=1e-9)
    assert len(set(values.round(3))) > 5
    # The threshold is the level that such a name leaves open, also where a tool knows none.
    level = measure(qrels, run, [name], threshold=2)[1][name].tolist()
    if name == "NumRel":
        assert level == [sum(grade >= 2 for grade in qrels[query].values()) * (query in run) for query in ids]
    if name == "SetP":
        assert level == pytest.approx(theirs(qrels, ordered(run), ["SetP(rel=2)"])["SetP(rel=2)"])


def test_the_names_that_it_knows_are_told_without_loading_it() -> None:
    known = {name.lower() for name in (*NAMES, *BY_SUBTOPIC)}
    assert known == {name.lower() for name in ir_measures.measures.registry}
    for name, theirs in ir_measures.measures.registry.items():
        assert (name in BY_SUBTOPIC) == type(theirs).__module__.endswith(".diversity"), name
