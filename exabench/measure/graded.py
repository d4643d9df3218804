"""A run joined with its judgements: the table that every metric reads."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from exabench.core.nouns import Qrels, Run
from exabench.measure.runs import ranks_in

# Judgements may be below 0 (-1 and -2 are NIST's), so these two numbers are taken from where no grade reaches.
UNJUDGED = np.iinfo(np.int32).min
ELSEWHERE = UNJUDGED + 1  # below every grade, so that it is relevant at no level


@dataclass(frozen=True, eq=False)
class Graded:
    """Grades in ranking order for every query of the qrels (sorted by id), whether the run answers it or not.

    `grades` is int32 (queries, depth): UNJUDGED where no one judged the passage or the list has ended, ELSEWHERE where
    the passage was judged for other queries only; `lengths` is int64 (queries,), the passages of each list, 0 where the
    run does not answer the query; `ideal` is int32 (queries, most judged), each row the query's own grades, best first,
    then UNJUDGED; `threshold` is the lowest grade that counts as relevant for metrics that need a yes or a no.
    """

    query_ids: tuple[str, ...]
    grades: np.ndarray
    lengths: np.ndarray
    ideal: np.ndarray
    threshold: int

    def relevant(self, k: int | None, rel: int | None = None) -> np.ndarray:
        """bool (queries, k): has the passage at this rank a grade of `rel` or more? None: of the threshold."""
        level = self.threshold if rel is None else rel
        return self.grades[:, :k] >= level

    def relevant_count(self, rel: int | None = None) -> np.ndarray:
        """int64 (queries,): how many passages are relevant to each query, retrieved or not."""
        level = self.threshold if rel is None else rel
        return (self.ideal >= level).sum(axis=1)

    def judged(self, k: int | None) -> np.ndarray:
        """bool (queries, k): has the passage at this rank a judgement for its query, whatever the grade?"""
        return self.grades[:, :k] > ELSEWHERE

    def ranked_count(self, k: int | None) -> np.ndarray:
        """int64 (queries,): how many passages are ranked within k."""
        if k is None:
            return self.lengths
        return np.minimum(self.lengths, k)


def grade(qrels: Qrels, run: Run, *, threshold: int, depth: int | None = None) -> Graded:
    """Join `run` (cut at `depth`) with `qrels`. Queries without judgements are ignored."""
    query_ids = tuple(sorted(query_id for query_id, row in qrels.items() if row))
    rows = [qrels[query_id] for query_id in query_ids]
    # The judgements, query after query: the place of the query, the passage's id, the grade.
    sizes = np.fromiter(map(len, rows), np.int64, len(rows))
    judged = np.repeat(np.arange(len(rows)), sizes)
    names = pa.array(list(chain.from_iterable(rows)), pa.string())
    values = np.fromiter(chain.from_iterable(row.values() for row in rows), np.int32, len(judged))

    # Each query's own grades, best first. The negative of the lowest int32 needs 64 bits.
    ideal = np.full((len(rows), sizes.max(initial=0)), UNJUDGED, np.int32)
    best_first = np.lexsort((-values.astype(np.int64), judged))
    ideal[judged, ranks_in(sizes)] = values[best_first]

    # Grades of the run's passages, by one hash look-up of the run's ids among the judged ones.
    query, rank, row = cells(run, query_ids, depth)
    lengths = np.bincount(query, minlength=len(rows))
    grades = np.full((len(rows), lengths.max(initial=0)), UNJUDGED, np.int32)
    if len(judged) and len(row):
        # A judgement's key is its query and the number of its passage id, so that one search finds all.
        known = names.dictionary_encode()
        width = len(known.dictionary)
        keys = judged * width + known.indices.to_numpy()
        order = np.argsort(keys)
        keys = keys[order]
        ids = run.passage_ids.take(pa.array(row))
        numbers = pc.index_in(ids, known.dictionary).fill_null(-1).to_numpy()
        known_rows = np.flatnonzero(numbers >= 0)
        query = query[known_rows]
        rank = rank[known_rows]
        wanted = query * width + numbers[known_rows]
        # A key beyond the last one would be found one place behind it.
        places = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
        judgements = order[places]
        grades[query, rank] = np.where(keys[places] == wanted, values[judgements], ELSEWHERE)
    return Graded(query_ids, grades, lengths, ideal, threshold)


def cells(run: Run, query_ids: tuple[str, ...], depth: int | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For every ranked passage of these queries: its query's place, its rank from 0, its row in the run."""
    places = {query_id: place for place, query_id in enumerate(run.query_ids)}
    in_run = np.array([places.get(query_id, -1) for query_id in query_ids], np.int64)
    answered = np.flatnonzero(in_run >= 0)
    in_run = in_run[answered]
    starts = run.offsets[in_run]
    sizes = run.offsets[in_run + 1] - starts
    if depth is not None:
        sizes = np.minimum(sizes, depth)
    rank = ranks_in(sizes)
    return np.repeat(answered, sizes), rank, np.repeat(starts, sizes) + rank
