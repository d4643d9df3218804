"""Reading a run of 1,000,000 lines and scoring it with all checks, against a plain parser and pytrec_eval beside it.

Prints the median of the paired ratios (ours / theirs); at most 0.25 is the aim. Values must agree to 1e-9.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytrec_eval

from exabench.bench.notes import on_run
from exabench.measure.runs import read_run
from exabench.measure.ties import measure_with_ties

QUERIES, DEPTH, JUDGED, ROUNDS = 1000, 1000, 50, 7
NAMES = {"nDCG@10": "ndcg_cut_10", "RR@10": "recip_rank", "R@100": "recall_100"}


def write_run(file: Path, prefix: str) -> dict[str, dict[str, int]]:
    """A run of QUERIES x DEPTH lines and judgements for about half of which the run holds the passage."""
    rng = np.random.default_rng(0)
    qrels: dict[str, dict[str, int]] = {}
    with file.open("w", encoding="utf-8") as out:
        for query in range(QUERIES):
            passages = [f"{prefix}{i}" for i in rng.choice(8_841_823, DEPTH, replace=False)]
            scores = np.sort(rng.normal(10, 3, DEPTH))[::-1]
            lines = enumerate(zip(passages, scores, strict=True), 1)
            out.writelines(f"{query} Q0 {p} {rank} {score:.6f} bm25\n" for rank, (p, score) in lines)
            judged = [passages[i] for i in rng.choice(DEPTH, JUDGED // 2, replace=False)]
            judged += [f"{prefix}{i}" for i in rng.choice(8_841_823, JUDGED - len(judged))]
            qrels[str(query)] = {p: int(rng.integers(0, 4)) for p in judged}
    return qrels


def plainly(file: Path, qrels: dict[str, dict[str, int]]) -> dict[str, dict[str, float]]:
    """What most scripts do: split every line, fill a dict, hand it to pytrec_eval."""
    run: dict[str, dict[str, float]] = {}
    with file.open(encoding="utf-8") as lines:
        for line in lines:
            query, _, passage, _, score, _ = line.split()
            run.setdefault(query, {})[passage] = float(score)
    return pytrec_eval.RelevanceEvaluator(qrels, set(NAMES.values())).evaluate(run)


def ours(file: Path, qrels: dict[str, dict[str, int]]) -> tuple[tuple[str, ...], dict[str, np.ndarray]]:
    """The same three metrics by exabench, and everything that it looks for in a run."""
    run = read_run(file)
    query_ids, values, ties = measure_with_ties(qrels, run, list(NAMES))
    on_run(run, qrels, ties, NAMES)
    return query_ids, values


def timed(action: Callable[..., Any], *arguments: Any) -> tuple[float, Any]:
    start = time.perf_counter()
    value = action(*arguments)
    return time.perf_counter() - start, value


def agree(theirs: dict[str, dict[str, float]], values: tuple[tuple[str, ...], dict[str, np.ndarray]]) -> None:
    ids, table = values
    for name, metric in NAMES.items():
        expected = np.array([theirs[query][metric] for query in ids])
        if name == "RR@10":
            expected = np.where(expected >= 0.1, expected, 0.0)
        assert np.abs(expected - table[name]).max() < 1e-9, name


def main() -> int:
    """Measure twice: numeric ids as MS MARCO has them, and ids with letters."""
    worst = 0.0
    for prefix in ("", "doc-"):
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "big.trec"
            qrels = write_run(file, prefix)
            ratios = []
            for _ in range(ROUNDS):
                their_time, theirs = timed(plainly, file, qrels)
                our_time, values = timed(ours, file, qrels)
                ratios.append(our_time / their_time)
            agree(theirs, values)
            median = statistics.median(ratios)
            worst = max(worst, median)
            print(
                f"ids like {prefix}1234567: plain parser + pytrec_eval {their_time:.2f} s, exabench {our_time:.2f} s; "
                f"ratio median {median:.3f} (min {min(ratios):.3f}, max {max(ratios):.3f})"
            )
    print(f"worst median ratio {worst:.3f}; the aim is at most 0.25")
    return 0


if __name__ == "__main__":
    sys.exit(main())
