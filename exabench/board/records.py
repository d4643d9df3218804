"""The results of a board as flat records: what its downloads and data frames hold."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from exabench.board.summaries import ResultSummary
from exabench.core.nouns import Cost, Submission
from exabench.measure.statistics import PairedTest

FORMAT = 3
"""Of what downloads and data frames hold. 2: one paired test, `p` and `p_holm`; 3: rows belong to a view and a contest.
"""

_COST = """
precision prompts input_tokens output_tokens flops_exact flops_paper
rpp_exact rpp_paper qpp_exact qpp_paper p50 p95 pairs_per_second
parameters passages cut_passages cut_queries repairs timed_queries hardware
""".split()


def result_record(
    summary: ResultSummary, submission: Submission, test: PairedTest, p_holm: float | None, metrics: Iterable[str]
) -> dict[str, Any]:
    """A result as a flat record, with its `test` against the first stage and a column for each of `metrics`.

    Scores are fractions; FLOPs and tokens are means per query. docs/hub.md says what each column means.
    """
    result = summary.result
    measured = result.measurement
    record: dict[str, Any] = {
        "submission": submission.name,
        "kind": submission.kind,
        "withdrawn": submission.withdrawn,
        "state": result.state,
        "task": summary.task,
        "candidates": summary.candidates,
        "first_stage": summary.stage,
        "depth": summary.depth,
    }

    # The headline metric, between the first stage and what a perfect order would give.
    low, high = result.interval
    record["headline"] = summary.headline
    record["value"] = summary.value
    record["low"] = float(low)
    record["high"] = float(high)
    record["first_stage_value"] = summary.first_stage
    record["ceiling"] = summary.ceiling

    # Is it better than the first stage?
    record["difference"] = test.difference
    record["p"] = test.p
    record["p_holm"] = p_holm
    record["effect_size"] = test.effect_size
    record["wins"] = test.wins
    record["losses"] = test.losses
    record["ties"] = test.ties

    # What it was measured on.
    record["queries"] = measured.queries
    record["missing_queries"] = measured.missing_queries
    record["completed"] = result.completed
    record["tie_rate"] = float(measured.ties["rate"])
    for name in metrics:
        record[name] = measured.metrics.get(name)
    record["run_digest"] = result.run_digest
    record["candidates_digest"] = result.candidates.digest
    record["qrels_digest"] = result.qrels_digest
    record["convention_digest"] = measured.convention.digest
    record["model"] = ""
    if result.model:
        record["model"] = json.dumps(result.model, sort_keys=True, ensure_ascii=False)

    cost = {}
    if result.cost:
        cost = _cost_columns(result.cost)
    for name in _COST:  # columns of all results, whether their cost is known or not
        record[name] = cost.get(name)
    record["created"] = result.created
    return record


def _cost_columns(cost: Cost) -> dict[str, Any]:
    """A cost by the names of columns, some of which no table has."""
    columns = dict(vars(cost))
    columns["repairs"] = sum(cost.repairs.values())
    columns["rpp_exact"] = cost.rpp["exact"]
    columns["rpp_paper"] = cost.rpp["paper"]
    columns["qpp_exact"] = cost.qpp["exact"]
    columns["qpp_paper"] = cost.qpp["paper"]
    if cost.timing:
        columns |= vars(cost.timing)
        columns["timed_queries"] = cost.timing.sample
    return columns
