"""Measuring: a run and its judgements -> values, intervals, ties and notes, under one convention."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence

import numpy as np

from exabench.metrics._measure import mean, measure
from exabench.metrics._ties import tie_report
from exabench.nouns import Convention, Measurement, Qrels, Run, Task
from exabench.qrels import positives_only
from exabench.runs import without_self_matches
from exabench.statistics import bootstrap_intervals

METRICS = ("nDCG@10", "RR@10", "AP@100", "R@100", "P@10", "Success@5", "Judged@10")
TIE_WARNING = 0.01


def metrics_of(task: Task) -> tuple[str, ...]:
    """The task's headline metric first, then the others that every result carries."""
    return tuple(dict.fromkeys((task.headline, *METRICS)))


def measurement(
    run: Run, qrels: Qrels, convention: Convention, metrics: Sequence[str], *, task: str | None = None
) -> Measurement:
    """Values, intervals and ties of one run under one convention."""
    notes: list[str] = []
    if convention.self_match == "drop":
        kept = without_self_matches(run)
        if len(kept.scores) < len(run.scores):
            notes.append(f"{len(run.scores) - len(kept.scores)} self-matches (passage id = query id) were dropped")
        run = kept
    threshold = convention.relevance_threshold
    if positives_only(qrels):
        metrics = [name for name in metrics if not name.lower().startswith("judged@")] or list(metrics)
    query_ids, values = measure(qrels, run, metrics, threshold=threshold)
    intervals = bootstrap_intervals(np.stack(list(values.values())))
    return Measurement(
        run=run.name,
        task=task,
        convention=convention,
        headline=next(iter(values)),
        metrics={name: mean(row) for name, row in values.items()},
        intervals={name: (float(low), float(high)) for name, (low, high) in zip(values, intervals, strict=True)},
        queries=len(query_ids),
        missing_queries=len(set(query_ids) - set(run.query_ids)),
        extra_queries=len(set(run.query_ids) - set(query_ids)),
        ties=(ties := tie_report(qrels, run, "nDCG@10", threshold=threshold)),
        per_query={name: dict(zip(query_ids, row.tolist(), strict=True)) for name, row in values.items()},
        notes=tuple(notes + run_notes(run, qrels, ties)),
    )


def run_notes(run: Run, qrels: Qrels, ties: Mapping[str, float]) -> list[str]:
    """What a reader of the numbers should know: foreign judgements, many ties, ids that differ in Unicode form."""
    notes = []
    if not set(run.query_ids) & set(qrels):
        notes.append("no query of the run is judged: are these the right judgements?")
    if ties["rate"] > TIE_WARNING:
        notes.append(
            f"{ties['rate']:.1%} of the ranked passages tie in single precision; nDCG@10 lies between "
            f"{ties['worst']:.4f} and {ties['best']:.4f} depending on how ties fall (export logits, not probabilities)"
        )
    judged = {passage_id for row in qrels.values() for passage_id in row}
    composed = {unicodedata.normalize("NFC", passage_id) for passage_id in judged if not passage_id.isascii()}
    if composed:
        odd = {p for p in set(run.passage_ids.to_pylist()) - judged if unicodedata.normalize("NFC", p) in composed}
        if odd:
            notes.append(f"{len(odd)} passage ids meet a judged one only after Unicode NFC; they count as unjudged")
    return notes
