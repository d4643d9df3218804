"""Every metric is trec_eval's to nine decimals, and what trec_eval lacks is checked by hand."""

from __future__ import annotations

import functools
import itertools
import json
import math
import operator
import random
import re
import subprocess
import sys

import numpy as np
import pytest
import ranx

from exabench.bench.measurement import METRICS as OF_EVERY_RESULT, measurement
from exabench.core.errors import BadInput
from exabench.core.nouns import Convention
from exabench.measure.graded import grade
from exabench.measure.metric_values import MetricName, mean, measure
from exabench.measure.metrics import METRICS
from exabench.measure.qrels import read_qrels
from exabench.measure.runs import read_run, run_in_order, run_of
from exabench.measure.ties import tie_report
from exabench.parts.rerankers import RERANKERS

TREC_EVAL = {
    "nDCG": "ndcg", "nDCG@3": "ndcg_cut_3", "nDCG@10": "ndcg_cut_10", "RR": "recip_rank", "AP": "map",
    "AP@5": "map_cut_5", "AP@100": "map_cut_100", "R@5": "recall_5", "R@100": "recall_100", "P@1": "P_1",
    "P@10": "P_10", "Success@1": "success_1", "Success@5": "success_5", "Rprec": "Rprec",
}  # fmt: skip
WITNESS = """
import json, sys, pytrec_eval
answers = []
for case in json.load(sys.stdin):
    made = pytrec_eval.RelevanceEvaluator(case["qrels"], set(case["measures"]), relevance_level=case["threshold"])
    answers.append(made.evaluate(case["run"]))
json.dump(answers, sys.stdout)
"""


def generated(seed: int) -> dict:
    """Judgements and a run over the same few ids; queries may be missing from either side."""
    rng = random.Random(seed)
    numbers = [str(i) for i in range(20)]
    pool = [f"d{i}" for i in range(rng.randint(1, 30))] + numbers + ["\u00e9", "e\u0301", "日", "10", "9"]
    pool = sorted(set(pool))
    grades = rng.choice([[0, 1], [-2, -1, 0, 0, 1, 1, 2, 3], [0, 0, 0, 1, 2, 3, 4]])
    queries = rng.randint(1, 6)
    qrels = {
        f"q{i}": {d: rng.choice(grades) for d in rng.sample(pool, rng.randint(1, len(pool)))} for i in range(queries)
    }
    # pytrec_eval reads out of bounds where every grade of a query is negative (it may crash or hang), so each
    # query keeps one grade of 0 here; our own answer for such a query is tested alone below.
    qrels = {q: row if max(row.values()) >= 0 else row | {"d0": 0} for q, row in qrels.items()}
    kinds = [lambda: rng.choice([1.0, 2.0]), lambda: 12 + rng.random() * 1e-6, lambda: rng.random() * 20 - 5]
    kinds.append(lambda: rng.choice(kinds[:3])())
    score = kinds[seed % 4]
    asked = [f"q{i}" for i in range(rng.randint(0, 1), rng.randint(2, queries + 2))]
    run = {q: {d: score() for d in rng.sample(pool, rng.randint(1, len(pool)))} for q in asked}
    return {"qrels": qrels, "run": run, "threshold": 1 + (seed % 3 == 0), "measures": list(TREC_EVAL.values())}


@pytest.fixture(scope="module")
def answered() -> list[tuple[dict, dict, dict]]:
    """The generated cases with what trec_eval says and what we do; trec_eval in a process, so that it may crash."""
    cases = [generated(seed) for seed in range(450)]
    command, asked = [sys.executable, "-c", WITNESS], json.dumps(cases)
    done = subprocess.run(command, input=asked, capture_output=True, text=True, timeout=120, check=True)
    found = []
    for case, answer in zip(cases, json.loads(done.stdout), strict=True):
        ids, ours = measure(case["qrels"], run_of("run", case["run"]), list(TREC_EVAL), threshold=case["threshold"])
        assert ids == tuple(sorted(case["qrels"]))
        found.append((case, answer, ours))
    return found


@pytest.mark.parametrize("metric", TREC_EVAL)
def test_every_query_has_the_value_of_trec_eval(answered, metric):
    values_seen = set()
    for case, answer, ours in answered:
        for query_id, value in zip(sorted(case["qrels"]), ours[metric], strict=True):
            expected = answer.get(query_id, {}).get(TREC_EVAL[metric], 0.0)  # a query not answered counts 0
            assert value == pytest.approx(expected, abs=1e-9), (case, query_id)
            values_seen.add(round(expected, 3))
    assert len(values_seen) > (6 if metric not in ("P@1", "Success@1", "Success@5") else 1)


def test_every_metric_is_alone_what_it_is_among_many_and_rr_is_trec_evals_cut_off(answered):
    for case, answer, ours in answered[::5]:
        run = run_of("run", case["run"])
        for metric, values in ours.items():
            alone = measure(case["qrels"], run, [metric], threshold=case["threshold"])[1][metric]
            assert values.tolist() == pytest.approx(alone.tolist(), abs=1e-15)
        whole = [answer.get(query_id, {}).get("recip_rank", 0.0) for query_id in sorted(case["qrels"])]
        for k in (1, 3, 10):
            [values] = measure(case["qrels"], run, [f"RR@{k}"], threshold=case["threshold"])[1].values()
            assert values == pytest.approx([v if v >= 1 / k - 1e-12 else 0.0 for v in whole], abs=1e-9)


def test_ranx_agrees_as_a_second_witness_where_nothing_ties():
    rng = random.Random(3)
    qrels = {f"q{i}": {f"d{j}": rng.randint(1, 3) for j in rng.sample(range(60), 8)} for i in range(20)}
    run = {q: {f"d{j}": float(score) for j, score in enumerate(rng.sample(range(1000), 60))} for q in qrels}
    theirs = ranx.evaluate(ranx.Qrels(qrels), ranx.Run(run), ["ndcg@10", "mrr", "map"])
    ours = measure(qrels, run_of("run", run), ["nDCG@10", "RR", "AP"])[1]
    assert [mean(values) for values in ours.values()] == pytest.approx(list(theirs.values()), abs=1e-9)


def one(metric: str, ranking: list[int | None], rest: list[int] = ()) -> float:
    """The value of a ranking given by its grades (None: not judged); `rest` are grades that were not retrieved."""
    ids = [f"d{i:02}" for i in range(len(ranking))]
    judged = {d: g for d, g in zip(ids, ranking, strict=True) if g is not None}
    judged |= {f"x{i}": g for i, g in enumerate(rest)}
    [values] = measure({"q": judged}, run_in_order("run", {"q": ids}), [metric])[1].values()
    return float(values[0])


@pytest.mark.parametrize(
    ("metric", "ranking", "rest", "value"),
    [
        ("nDCG_exp", [1, 3], [], 0.7098),  # exponential gain: a linear one gives 0.7967
        ("nDCG_exp@10", [-2, 1], [], 1 / math.log2(3)),  # a negative grade gains nothing and costs nothing
        ("nDCG_exp@2", [2, 1], [3], (3 + 1 / math.log2(3)) / (7 + 3 / math.log2(3))),
        ("Judged@4", [0, None, -1, 1], [1, 1], 0.75),
        ("Judged@10", [0, None, -1, 1], [], 0.75),  # of what is ranked: a short list loses nothing
        ("Judged", [0, None, -1, 1], [], 0.75),
        ("R_cap@2", [0, 1, 1], [1, 1], 0.5),
        ("R_cap@10", [0, 1, 1], [1, 1], 0.5),
        ("Hole@4", [0, None, -1, 1], [1, 1], 0.25),
        ("Hole@10", [0, None, -1, 1], [], 0.1),  # BEIR divides by the cutoff
        ("RBP(p=0.5)", [1, 0, 1], [], 0.5 + 0.125),
        ("RBP(p=0.5)@2", [1, 0, 1], [], 0.5),
        ("RBP(p=0.5,rel=2)", [1, 0, 3], [], 0.125),
        ("ERR@20", [4, 4], [], 15 / 16 + 1 / 16 * 15 / 16 / 2),
        ("ERR(max_rel=1)@20", [0, 1, 1], [], 0.5 / 2 + 0.5 * 0.5 / 3),
        ("Bpref", [1, 0, None, 1], [], (1 + 0) / 2),
        ("infAP", [None, 1], [], 0.5),
    ],
)
def test_what_trec_eval_lacks_has_known_answers(metric, ranking, rest, value):
    assert one(metric, ranking, rest) == pytest.approx(value, abs=5e-5)


EVERY = """
    nDCG nDCG@10 nDCG_exp nDCG_exp@10 RR RR@10 RR(rel=2)@10 AP AP@10 R R@10 P@10 Success@5 Success Rprec R_cap@10 ERR
    ERR@10 RBP(p=0.8) RBP(p=0.95)@10 Bpref infAP SetP Hole@10 Judged@10
    """.split()


def test_a_query_without_a_relevant_passage_is_worth_0_by_every_metric_but_judged_and_hole():
    assert {re.split("[@(]", name)[0].lower() for name in EVERY} == {*METRICS, "setp"}
    for metric in EVERY[:-2]:
        for grades in ([-2, -3], [0, 0], [0, -2]):
            assert one(metric, [*grades, None]) == 0.0, metric


@pytest.mark.parametrize("metric", EVERY)
def test_every_metric_keeps_to_0_and_1_and_gives_0_to_queries_not_answered(metric):
    rng = random.Random(1)
    for _ in range(40):
        pool = [f"d{j}" for j in range(12)]
        qrels = {f"q{i}": {d: rng.randint(-2, 4) for d in rng.sample(pool[:9], rng.randint(1, 8))} for i in range(5)}
        run = run_in_order("run", {f"q{i}": rng.sample(pool, rng.randint(1, 11)) for i in range(3, 8)})
        values = MetricName.parse(metric).values(grade(qrels, run, threshold=rng.randint(1, 2)))
        assert (values.shape, values.dtype) == ((5,), np.float64)
        assert ((values >= 0) & (values <= 1 + 1e-12)).all()
        assert (values[:3] == 0).all()
    nothing, something = run_of("run", {}), run_of("run", {"q": {"d": 1.0}})
    for qrels in ({}, {"q": {}}):  # a row without judgements judges nothing
        assert measure(qrels, something, [metric])[0] == measure(qrels, nothing, [metric])[0] == ()
    ids, values = measure({"q": {"d": 1}}, nothing, [metric])
    assert (ids, [v.tolist() for v in values.values()]) == (("q",), [[0.0]])


def test_huge_grades_have_a_finite_exponential_gain() -> None:
    """Clicks as grades: 2^1024 has no double."""
    assert one("nDCG_exp@10", [1, 5_000]) == pytest.approx(1 / math.log2(3))
    assert one("nDCG_exp@10", [10**9, 3]) == 1.0
    assert one("nDCG_exp", [1_023, 1_024]) == pytest.approx((0.5 + 1 / math.log2(3)) / (1 + 0.5 / math.log2(3)))
    assert one("ERR(max_rel=2000)@5", [2_000]) == 1.0
    assert one("nDCG", [10**9, 0]) == 1.0


def test_capped_recall_and_holes_are_what_beir_counts() -> None:
    """A hole is judged for no query at all; what is ranked and what k can hold bound a recall."""
    rng = random.Random(11)
    pool = [f"d{number}" for number in range(40)]
    for _ in range(60):
        qrels = {f"q{i}": {d: rng.randint(0, 2) for d in rng.sample(pool[:30], rng.randint(1, 12))} for i in range(6)}
        run = {query: rng.sample(pool, rng.randint(1, 25)) for query in qrels}
        somewhere = {passage for row in qrels.values() for passage in row}
        ids, found = measure(qrels, run_in_order("run", run), ["R_cap@5", "Hole@5", "Hole@20"])
        for query, capped, hole, deep in zip(ids, *found.values(), strict=True):
            relevant = [passage for passage, grade in qrels[query].items() if grade > 0]
            within = len(set(relevant) & set(run[query][:5]))
            assert capped == (within / min(len(relevant), 5) if relevant else 0.0)
            assert hole == sum(passage not in somewhere for passage in run[query][:5]) / 5
            assert deep == sum(passage not in somewhere for passage in run[query][:20]) / 20


def test_a_metric_that_gives_no_number_is_refused(monkeypatch) -> None:

    def Rprec(graded, k):
        return np.full(len(graded.query_ids), np.nan)

    monkeypatch.setattr("exabench.measure.metrics.rprec.Rprec", Rprec)
    with pytest.raises(BadInput, match="of query 'q' is nan, which is not a number"):
        one("Rprec", [1])


def test_the_mean_has_the_same_bits_in_every_order():
    rng = random.Random(4)
    values = [rng.random() * 10 ** rng.randint(-12, 0) for _ in range(500)]
    shuffles = [rng.sample(values, len(values)) for _ in range(100)]
    # Added one by one: `sum` compensates since Python 3.12.
    assert len({functools.reduce(operator.add, shuffled) / 500 for shuffled in shuffles}) > 1
    assert {mean(shuffled) for shuffled in shuffles} == {mean(values)}
    assert mean([]) == 0.0


def test_the_order_of_queries_and_passages_changes_no_bit():
    rng, case = random.Random(6), generated(7)

    def shuffled(table):
        rows = rng.sample(list(table.items()), len(table))
        return {q: dict(rng.sample(list(row.items()), len(row))) for q, row in rows}

    def means(qrels, run):
        return {name: mean(row) for name, row in measure(qrels, run_of("run", run), ["nDCG@10", "AP"])[1].items()}

    straight = means(case["qrels"], case["run"])
    for _ in range(50):
        assert means(shuffled(case["qrels"]), shuffled(case["run"])) == straight


def every_order(row: dict[str, float]) -> list[list[str]]:
    """Every ranking that the scores allow."""
    levels = [sorted(d for d in row if row[d] == level) for level in sorted(set(row.values()), reverse=True)]
    return [list(itertools.chain(*parts)) for parts in itertools.product(*(itertools.permutations(p) for p in levels))]


def test_best_and_worst_are_those_of_every_order_of_the_ties():
    rng, spread = random.Random(8), 0
    for _ in range(40):
        ids = [f"d{i}" for i in range(rng.randint(1, 6))]
        run = {q: {d: float(rng.randint(1, 2)) for d in ids} for q in ("a", "b")}
        qrels = {}
        for query in ("a", "b", "c"):
            judged = rng.sample(ids, rng.randint(1, len(ids)))
            qrels[query] = {d: rng.randint(-1, 3) for d in judged} | {"x": 1}
        worst, best, tied = 0.0, 0.0, []
        for query, row in run.items():
            orders = [run_in_order("run", {query: order}) for order in every_order(row)]
            values = [measure({query: qrels[query]}, order, ["nDCG@3"])[1]["nDCG@3"][0] for order in orders]
            worst += min(values) / 3
            best += max(values) / 3
            tied += [list(row.values()).count(score) > 1 for score in row.values()]
        report = tie_report(qrels, run_of("run", run), ["AP", "nDCG@3"])
        found = (report.rate, report.worst["nDCG@3"], report.best["nDCG@3"])
        assert found == pytest.approx((sum(tied) / len(tied), worst, best), abs=1e-12)
        spread += best > worst
    assert spread > 20


def test_a_constant_scorer_is_worth_its_order_of_ids_and_says_so():
    ids = ["a", "b", "c", "d"]
    scores = RERANKERS["constant"]().score(None, ids)
    run, qrels = run_of("constant", {"q": dict(zip(ids, scores, strict=True))}), {"q": {"a": 1, "b": 0}}
    report = tie_report(qrels, run, ["nDCG@10"])
    assert run.ranking("q") == ["d", "c", "b", "a"]
    assert measure(qrels, run, ["RR"])[1]["RR"].tolist() == [0.25]
    assert (report.rate, report.best["nDCG@10"]) == (1.0, 1.0)
    assert report.worst["nDCG@10"] == pytest.approx(1 / math.log2(5))
    notes = measurement(run, qrels, Convention(), ["nDCG@10"]).notes
    assert any("100.0% of the ranked passages tie" in note and "export logits" in note for note in notes)
    report = tie_report({"q": {"a": 1}}, run_in_order("without ties", {"q": ["b", "a"]}), ["nDCG@10"])
    assert (report.rate, report.worst, report.best) == (0.0, report.best, {"nDCG@10": 1 / math.log2(3)})
    report = tie_report({"q": {"a": 1}}, run_of("run", {}), ["RR"])
    assert (report.rate, report.worst, report.best) == (0.0, {"RR": 0.0}, {"RR": 0.0})


def test_a_measurement_counts_missing_and_extra_queries_and_shows_no_judged_where_only_positives_were_judged():
    qrels = {"a": {"x": 1, "y": 0}, "b": {"x": 1}}
    found = measurement(run_in_order("run", {"a": ["x"], "z": ["x"]}), qrels, Convention(), ["RR@10", "nDCG@10"])
    assert (found.queries, found.missing_queries, found.extra_queries) == (2, 1, 1)
    assert (found.headline, found["RR@10"], found.per_query["RR@10"]) == ("RR@10", 0.5, {"a": 1.0, "b": 0.0})
    assert json.loads(json.dumps(found.as_json()))["metrics"] == {"RR@10": 0.5, "nDCG@10": 0.5}
    run = run_in_order("run", {"a": ["x"]})
    for judged, shown in (({"x": 1}, ["RR@10"]), ({"x": 1, "y": 0}, ["RR@10", "Judged@10"])):
        found = measurement(run, {"a": judged}, Convention(), ["RR@10", "Judged@10"])
        assert list(found.metrics) == shown
        assert any("Judged@10 is left out" in note for note in found.notes) == (len(shown) == 1)
    assert list(measurement(run, {"a": {"x": 1}}, Convention(), ["Judged@10"]).metrics) == ["Judged@10"]
    assert measurement(run, {"a": {"x": 1}}, Convention(), OF_EVERY_RESULT).notes == ()  # nobody asked for it


def test_foreign_judgements_unicode_forms_and_self_matches_are_remarked_upon():
    foreign = measurement(run_in_order("run", {"z": ["x"]}), {"a": {"x": 1}}, Convention(), ["RR"])
    assert "no query of the run is judged: are these the right judgements?" in foreign.notes
    forms = measurement(run_in_order("run", {"a": ["e\u0301"]}), {"a": {"\u00e9": 1}}, Convention(), ["RR"])
    assert forms["RR"] == 0.0
    assert "1 passage id meets a judged one only after Unicode NFC (e.g. 'e\u0301')" in forms.notes
    run, qrels = run_in_order("run", {"a": ["a", "x"]}), {"a": {"x": 1}}
    assert measurement(run, qrels, Convention(), ["RR"])["RR"] == 0.5
    dropped = measurement(run, qrels, Convention(self_match="drop"), ["RR"])
    assert (dropped["RR"], dropped.notes) == (1.0, ("1 self-match (passage id = query id) was dropped",))


PUBLISHED = {
    "bm25": (0.5058, 0.4796),
    "splade-pp-ed": (0.7308, 0.7197),
    "distilbert-kd-tasb": (0.7210, 0.6854),
    "repllama": (0.7384, 0.7195),
}


@pytest.mark.real_data
@pytest.mark.parametrize("system", PUBLISHED)
def test_published_runs_have_their_published_ndcg(real_data, system):
    for year, published in zip((2019, 2020), PUBLISHED[system], strict=True):
        folder = real_data / f"trec-dl-{year}"
        qrels, run = read_qrels(folder / "qrels" / "test.tsv"), read_run(folder / "runs" / f"{system}.trec")
        assert round(mean(measure(qrels, run, ["nDCG@10"])[1]["nDCG@10"]), 4) == published
