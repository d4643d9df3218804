"""A run joined with its judgements: the table that every metric reads."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from exabench.nouns import Qrels, Run

UNJUDGED = np.iinfo(np.int32).min


@dataclass(frozen=True, eq=False)
class Graded:
    """Grades in ranking order for every query of the qrels (sorted by id), whether the run answers it or not.

    `grades` is int32 (queries, depth), UNJUDGED where the passage has no judgement or the list has ended;
    `ideal` is int32 (queries, most judged), each row the query's own grades, best first, then UNJUDGED;
    `threshold` is the lowest grade that counts as relevant for metrics that need a yes or a no.
    """

    query_ids: tuple[str, ...]
    grades: np.ndarray
    ideal: np.ndarray
    threshold: int

    def relevant(self, k: int | None) -> np.ndarray:
        """bool (queries, k): is the passage at this rank relevant?"""
        return self.grades[:, :k] >= self.threshold

    @property
    def relevant_count(self) -> np.ndarray:
        """int64 (queries,): how many passages are relevant to each query, retrieved or not."""
        return (self.ideal >= self.threshold).sum(axis=1)


def grade(qrels: Qrels, run: Run, *, threshold: int, depth: int | None = None) -> Graded:
    """Join `run` (cut at `depth`) with `qrels`. Queries without judgements are left aside."""
    query_ids = tuple(sorted(query_id for query_id, row in qrels.items() if row))
    judged = [sorted(qrels[query_id].items()) for query_id in query_ids]
    ideal = _rows([sorted((g for _, g in row), reverse=True) for row in judged])
    run_place = {query_id: i for i, query_id in enumerate(run.query_ids)}
    run_rows = np.array([run_place.get(query_id, -1) for query_id in query_ids], np.int64)
    grades = _join(run, run_rows, judged, depth)
    return Graded(query_ids, grades, ideal, threshold)


def _join(run: Run, run_rows: np.ndarray, judged: list[list[tuple[str, int]]], depth: int | None) -> np.ndarray:
    """Grades of the run's passages, by one hash look-up of the run's ids among the judged ones."""
    query, rank, row = cells(run, run_rows, depth)
    grades = np.full((len(run_rows), int(rank.max(initial=-1)) + 1), UNJUDGED, np.int32)
    pairs = [(i, passage_id, g) for i, judgements in enumerate(judged) for passage_id, g in judgements]
    if not pairs or not len(row):
        return grades
    names = pa.array([passage_id for _, passage_id, _ in pairs], pa.string()).dictionary_encode()
    width = len(names.dictionary)
    known = np.array([i for i, _, _ in pairs], np.int64) * width + names.indices.to_numpy()
    values = np.array([g for _, _, g in pairs], np.int32)
    by_key = np.argsort(known)
    known, values = known[by_key], values[by_key]
    place = pc.index_in(run.passage_ids.take(pa.array(row)), names.dictionary).fill_null(-1).to_numpy()
    wanted = np.where(place < 0, -1, query * width + place)
    found = np.minimum(np.searchsorted(known, wanted), len(known) - 1)
    hit = known[found] == wanted
    grades[query[hit], rank[hit]] = values[found[hit]]
    return grades


def cells(run: Run, run_rows: np.ndarray, depth: int | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For every ranked passage of the wanted queries: its query's place, its rank from 0, its row in the run."""
    answered = np.flatnonzero(run_rows >= 0)
    starts = np.asarray(run.offsets)[run_rows[answered]]
    sizes = np.asarray(run.offsets)[run_rows[answered] + 1] - starts
    sizes = sizes if depth is None else np.minimum(sizes, depth)
    rank = np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return np.repeat(answered, sizes), rank, np.repeat(starts, sizes) + rank


def _rows(rows: list[list[int]]) -> np.ndarray:
    """Lists of unequal length as one int32 table, filled up with UNJUDGED."""
    table = np.full((len(rows), max(map(len, rows), default=0)), UNJUDGED, np.int32)
    for i, row in enumerate(rows):
        table[i, : len(row)] = row
    return table
