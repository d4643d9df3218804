"""nAUC is MTEB's: how well a run's own scores tell which queries it answers badly."""

from __future__ import annotations

import json

import numpy as np
import pytest

from exabench import cli
from exabench.bench.scoring import score
from exabench.core.errors import BadInput
from exabench.measure.abstention import Abstention, confidence_of, nauc
from exabench.measure.metric_values import MetricName
from exabench.measure.runs import run_of

# Ten queries, and what mteb 2 (retrieval_metrics.nauc) gives for them.
VALUES = np.array([0.9, 0.1, 0.5, 0.3, 1.0, 0.0, 0.7, 0.2, 0.6, 0.4])
CONFIDENCES = np.array([12.0, 3.0, 7.5, 9.0, 11.0, 1.0, 2.0, 4.0, 8.0, 6.0])


def test_confidence_in_the_order_of_the_values_is_1_and_against_it_below_0() -> None:
    assert nauc(VALUES, VALUES) == pytest.approx(1.0)
    assert nauc(CONFIDENCES, VALUES) == pytest.approx(0.7461554592478682, abs=1e-12)
    against = nauc(-VALUES, VALUES)
    assert against is not None and against < -0.9


def test_it_is_undefined_where_no_order_of_queries_is_better_than_another() -> None:
    assert nauc(CONFIDENCES, np.full(10, 0.3)) is None
    assert nauc(CONFIDENCES, 0.3 + CONFIDENCES * 1e-17) is None
    assert nauc(np.ones(1), np.ones(1)) is None
    assert nauc(np.zeros(0), np.zeros(0)) is None


def test_confidence_is_the_best_score_the_spread_or_the_lead() -> None:
    scores = np.array([9.0, 7.0, 2.0], np.float32)
    assert [confidence_of(scores, name) for name in ("max", "std", "diff1")] == [9.0, scores.std(), 2.0]
    assert confidence_of(scores[:1], "diff1") == 0.0


def test_a_run_is_asked_for_it_as_mteb_writes_it(tmp_path, capsys) -> None:
    scores = {"a": {"x": 9.0, "y": 1.0}, "b": {"y": 3.0, "x": 2.0}, "c": {"z": 5.0}}
    qrels = {"a": {"x": 1}, "b": {"x": 1}, "c": {"x": 1}, "d": {"x": 1}}
    found = score(run_of("run", scores), qrels=qrels, metrics=["nauc_mrr_at_10_max", "nAUC_RR@10_diff1", "RR@10"])
    assert list(found.metrics) == ["RR@10"]
    expected = nauc(np.array([9.0, 3.0, 5.0]), np.array([1.0, 0.5, 0.0]))  # query d, not answered, has no confidence
    assert found.abstention == {
        "nAUC_RR@10_max": expected,
        "nAUC_RR@10_diff1": nauc(np.array([8.0, 1.0, 0.0]), np.array([1.0, 0.5, 0.0])),
    }
    assert "abstention" in found.as_json()
    (tmp_path / "run.trec").write_text("a Q0 x 1 9 run\nb Q0 x 1 3 run\n")
    (tmp_path / "qrels.txt").write_text("a 0 x 1\nb 0 x 1\n")
    files = [str(tmp_path / "run.trec"), "--qrels", str(tmp_path / "qrels.txt"), "--metric", "nauc_ndcg_at_10_max"]
    assert cli.main(["bench", "score", *files, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["abstention"] == {"nAUC_nDCG@10_max": None}
    assert cli.main(["bench", "score", *files]) == 0
    assert "nAUC_nDCG@10_max       -  one number for the whole run" in capsys.readouterr().out


def test_it_has_no_value_of_a_query_and_wants_its_parts() -> None:
    with pytest.raises(BadInput, match="one number for a whole run"):
        MetricName.parse("nauc_ndcg_at_10_max")
    with pytest.raises(BadInput, match="confidence max, std, diff1"):
        Abstention.parse("nauc_ndcg_at_10")
    with pytest.raises(BadInput, match="unknown metric"):
        Abstention.parse("nauc_nonsense_max")
