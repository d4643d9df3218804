"""The results of a board as flat records: what its downloads and data frames hold."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from exabench.board.summaries import ResultSummary
from exabench.core.nouns import Submission
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
    low, high = result.interval
    record = {
        "submission": submission.name,
        "kind": submission.kind,
        "withdrawn": submission.withdrawn,
        "state": result.state,
        "task": summary.task,
        "candidates": summary.candidates,
        "first_stage": summary.stage,
        "depth": summary.depth,
        "headline": summary.headline,
        "value": summary.value,
        "low": float(low),
        "high": float(high),
        "first_stage_value": summary.first_stage,
        "ceiling": summary.ceiling,
        "difference": test.difference,
        "p": test.p,
        "p_holm": p_holm,
        "effect_size": test.effect_size,
        "wins": test.wins,
        "losses": test.losses,
        "ties": test.ties,
        "queries": measured.queries,
        "missing_queries": measured.missing_queries,
        "completed": result.completed,
        "tie_rate": float(measured.ties["rate"]),
    }
    for name in metrics:
        record[name] = measured.metrics.get(name)
    record |= {
        "run_digest": result.run_digest,
        "candidates_digest": result.candidates.digest,
        "qrels_digest": result.qrels_digest,
        "convention_digest": measured.convention.digest,
        "model": "",
    }
    if result.model:
        record["model"] = json.dumps(result.model, sort_keys=True, ensure_ascii=False)

    cost = {}
    if result.cost:
        cost = vars(result.cost) | {"repairs": sum(result.cost.repairs.values())}
        for name in ("rpp", "qpp"):
            cost[f"{name}_exact"] = cost[name]["exact"]
            cost[f"{name}_paper"] = cost[name]["paper"]
        if result.cost.timing:
            cost |= vars(result.cost.timing)
            cost["timed_queries"] = result.cost.timing.sample
    for name in _COST:  # columns of all results, whether their cost is known or not
        record[name] = cost.get(name)
    record["created"] = result.created
    return record
