"""Metrics are accepted in every common spelling and printed in one; an unknown metric gives one helpful line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from exabench import cli
from exabench.bench.comparison import compare
from exabench.bench.scoring import score
from exabench.core.errors import BadInput, ExabenchError, MissingExtra, UnknownName
from exabench.measure.metric_values import MetricName, measure
from exabench.measure.runs import run_in_order

SPELLINGS = {
    # the one form: the spellings of trec_eval, ir_measures, BEIR, MTEB and others
    "nDCG": "ndcg nDCG NDCG",
    "nDCG@10": "ndcg_cut_10 ndcg_cut.10 nDCG@10 NDCG@10 ndcg@10 ndcg_at_10 ndcg10 nDCG(cutoff=10) nDCG(dcg='log2')@10",
    "nDCG_exp@10": "nDCG_exp@10 ndcg_exp@10 nDCG(dcg='exp-log2')@10 NDCG(dcg=\"exp-log2\")@10 ndcg_burges@10",
    "AP": "map MAP AP ap mean_average_precision",
    "AP@100": "map_cut_100 map_cut.100 AP@100 MAP@100 map@100 map_at_100",
    "AP(rel=2)@100": "AP(rel=2)@100 MAP(rel=2)@100 map(rel=2)@100",
    "RR": "recip_rank RR MRR mrr rr reciprocal_rank",
    "RR@10": "RR@10 MRR@10 mrr@10 mrr_at_10 recip_rank@10 RECIP_RANK_10",
    "RR(rel=2)@10": "RR(rel=2)@10 MRR(rel=2)@10 rr(rel=2)@10",
    "R@100": "recall_100 recall.100 R@100 Recall@100 recall@100 recall_at_100 r@100",
    "P@10": "P_10 P.10 P@10 p@10 Precision@10 precision@10 precision_at_10",
    "P(rel=2)@10": "P(rel=2)@10 precision(rel=2)@10",
    "Success@5": "success_5 success.5 Success@5 success@5 Accuracy@5 hit_rate@5 hit@5 HitRate@5 hit_rate_at_5",
    "Rprec": "Rprec RPrec rprec r-precision R_precision R-prec",
    "Bpref": "bpref Bpref BPref BPREF",
    "Bpref(rel=2)": "Bpref(rel=2) bpref(rel=2)",
    "infAP": "infAP infap INFAP",
    "Judged@10": "Judged@10 judged@10 judged_at_10 judged_rate@10",
    "RBP(p=0.8)": "RBP rbp RBP(p=0.8) rbp(p=.8)",
    "RBP(p=0.8)@10": "RBP@10 RBP(p=0.8)@10",
    "RBP(p=0.5,rel=2)": "RBP(p=0.5,rel=2) RBP(rel=2,p=0.5)",
    "ERR@20": "ERR@20 err@20 err_at_20 ERR(max_rel=4)@20",
    "ERR(max_rel=3)@20": "ERR(max_rel=3)@20",
    "R_cap@100": "R_cap@100 r_cap@100 R_cap_at_100 recall_cap@100 capped_recall@100",
    "Hole@10": "Hole@10 hole@10 Hole_at_10 hole_rate@10",
    # what ir_measures computes
    "SetP": "set_P SetP setp",
    "SetR": "set_recall SetR",
    "SetF": "set_F SetF",
    "SetF(beta=0.5)": "SetF(beta=0.5)",
    "SetAP": "set_map SetAP",
    "IPrec@0.1": "iprec_at_recall_0.10 iprec_at_recall.0.10 IPrec@0.1",
    "NumRet": "num_ret NumRet",
    "Compat(p=0.9)": "Compat(p=0.9) compat(p=0.9)",
    "P(judged_only=True)@10": "P(judged_only=True)@10 p(judged_only=True)@10",
    "NERR9(max_rel=3)@10": "NERR9(max_rel=3)@10 nerr9(max_rel=3)@10",
}
PAIRS = [(form, spelling) for form, spellings in SPELLINGS.items() for spelling in [form, *spellings.split()]]


@pytest.mark.parametrize(("form", "spelling"), PAIRS)
def test_every_spelling_is_printed_in_one_form(form: str, spelling: str) -> None:
    assert str(MetricName.parse(spelling)) == form
    assert MetricName.parse(spelling) == MetricName.parse(form)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        *(
            (text, "must read name or name@cutoff")
            for text in ["nDCG@-1", "nDCG@", "@10", "", "nDCG@99999999", "../ndcg"]
        ),
        *((text, "must read name or name@cutoff") for text in ["nDCG@10 ", "P(rel=2", "x" * 300]),
        *((text, "options as name=value") for text in ["P(2)@10", "P(rel=)@10", "P(rel=x)@10", "P(**{'rel': 2})@10"]),
        *((text, "options as name=value") for text in ["P(rel=2)(rel=3)@5", f"P({'(' * 90})@10"]),
        *(
            (text, "a whole number from 1")
            for text in ["nDCG@0", "P@10.5", "RR(rel=0)@10", "RR(rel=1.5)", "RR(rel='2')"]
        ),
        *((text, "a whole number from 1") for text in ["ERR(max_rel=0)@5", "RR(rel=True)@10"]),
        *((text, "give them one by one") for text in ["P.5,10", "nDCG@10,RR@10", "recall_5,10"]),
        *((text, "options as name=value") for text in ["ERR(max_rel=99999999999)@5", "RBP(p=1e400)"]),
        *((text, "a whole number from 1") for text in ["nDCG(cutoff='x')", "nDCG(cutoff=0)", "P(cutoff=[1])"]),
        ("nDCG(cutoff=5)@10", "two cutoffs"),
        ("nDCG(dcg=[1])@10", "'log2' or 'exp-log2'"),
        ("P", "P needs a cutoff, as in P@10"),
        ("R_cap", "R_cap needs a cutoff"),
        ("Hole", "Hole needs a cutoff"),
        ("map_cut", "needs a cutoff, as in map_cut_100"),
        ("Rprec@10", "has no cutoff"),
        ("bpref_10", "has no cutoff"),
        ("infAP@10", "has no cutoff"),
        ("RBP(p=1)", "above 0 and below 1"),
        ("RBP(p='x')", "is a number"),
        ("Hole(rel=2)@10", "its options: none"),
        ("nDCG(rel=2)@10", "its options: cutoff, dcg, gains, judged_only"),
        ("nDCG(dcg='ln')@10", "'log2' or 'exp-log2'"),
        ("NERR9@10", "NERR9 needs max_rel"),
        ("alpha_nDCG@10", "needs judgements by subtopic"),
        ("Accuracy", "write Success@k"),
        ("gm_map", "trec_eval's gm_map is computed neither by exabench nor by ir_measures"),
        ("Rprec_mult_0.20", "trec_eval's rprec_mult is computed neither"),
        ("unj_10", "trec_eval's unj is computed neither"),
        ("11pt_avg", "trec_eval's 11pt_avg is computed neither"),
        ("main_score", "the metric that its task names"),
    ],
)
def test_what_is_no_metric_is_one_line(text: str, message: str) -> None:
    with pytest.raises(BadInput) as caught:
        MetricName.parse(text)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ndgc@10", "unknown metric 'ndgc@10'; did you mean nDCG?"),
        ("NGCD@10", "unknown metric 'NGCD@10'; choose from: nDCG"),
        ("recal_100", "did you mean Recall"),
        ("bpreff", "did you mean Bpref"),
        (
            "xyz",
            "choose from: AP, Bpref, ERR, Hole, Judged, P, R, RBP, RR, R_cap, Rprec, Success, infAP, nDCG",
        ),
    ],
)
def test_an_unknown_metric_lists_what_is_near(text: str, message: str) -> None:
    with pytest.raises(UnknownName) as caught:
        MetricName.parse(text)
    assert message in str(caught.value)


def test_a_relevance_level_in_the_name_goes_before_the_threshold() -> None:
    qrels = {"q": {"a": 1, "b": 2, "c": 3}}
    run = run_in_order("run", {"q": ["a", "b", "c"]})
    _, found = measure(qrels, run, ["RR", "RR(rel=1)", "MRR(rel=3)@10"], threshold=2)
    assert {name: values.tolist() for name, values in found.items()} == {
        "RR": [0.5],
        "RR(rel=1)": [1.0],
        "RR(rel=3)@10": [1 / 3],
    }


def test_a_measurement_answers_to_every_spelling_and_says_what_it_holds() -> None:
    run = run_in_order("run", {"q": ["a", "b"]})
    found = score(run, qrels={"q": {"b": 1, "c": 0}}, metrics=["ndcg_cut_10", "mrr"])
    assert list(found.metrics) == ["nDCG@10", "RR"]
    assert found["ndcg@10"] == found["NDCG@10"] == found["nDCG@10"] == found.metrics["ndcg_at_10"]
    assert found.intervals["MRR"] == found.intervals["RR"] and found.per_query["mrr"] == {"q": 0.5}
    for missing in ("AP", "no such thing"):
        with pytest.raises(KeyError) as caught:
            found[missing]
        assert isinstance(caught.value, ExabenchError)
        assert str(caught.value) == f"{missing!r} was not computed; there is nDCG@10, RR"
    assert score(run, qrels={"q": {"b": 1}}, metrics="MRR@10")["rr@10"] == 0.5


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, str]:
    run = tmp_path / "run.trec"
    run.write_text("q Q0 a 1 2 x\nq Q0 b 2 1 x\n")
    qrels = tmp_path / "qrels.txt"
    qrels.write_text("q 0 b 1\nq 0 a 0\n")
    return str(run), str(qrels)


def test_the_command_line_takes_and_prints_them_alike(files, capsys) -> None:
    run, qrels = files
    chosen = [f"--metric={name}" for name in ("ndcg_cut_10", "MRR@10", "RR(rel=2)@10", "set_P")]
    assert cli.main(["bench", "score", run, "--qrels", qrels, *chosen, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert list(found["metrics"]) == ["RR(rel=2)@10", "RR@10", "SetP", "nDCG@10"]
    assert found["headline"] == "nDCG@10"
    assert cli.main(["bench", "compare", run, run, "--qrels", qrels, "--metric", "recip_rank"]) == 0
    assert " RR " in capsys.readouterr().out
    assert compare(run, run, qrels=qrels, metric="map")[0].metric == "AP"


@pytest.mark.parametrize("command", [["score"], ["compare", "none.trec"]])
def test_an_unknown_metric_is_told_before_a_file_is_read(command: list[str], capsys) -> None:
    assert cli.main(["bench", *command, "none.trec", "--qrels", "none.txt", "--metric", "nDGC@10"]) == 2
    assert "unknown metric 'nDGC@10'; did you mean nDCG?" in capsys.readouterr().err


def test_a_tool_that_is_not_installed_is_named_with_its_pip_line(monkeypatch) -> None:
    import ir_measures

    monkeypatch.setattr(ir_measures.cwl_eval, "_is_available", False)
    with pytest.raises(MissingExtra, match="SDCG.* is computed by cwl_eval: pip install"):
        MetricName.parse("SDCG(max_rel=3)@10")
