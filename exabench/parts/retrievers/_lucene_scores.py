"""Lucene's BM25 scores in bm25s: the length of a passage in one byte, empty passages uncounted, Anserini's ties."""

from __future__ import annotations

from typing import Any

import bm25s
import numpy as np


def one_byte(lengths: np.ndarray) -> np.ndarray:
    """Lengths as Lucene keeps them (SmallFloat.intToByte4): exact up to 40, above that cut to four leading bits.

    The 24 smallest bytes stand for themselves, the others for 24 plus a number of four bits and zeros: 100 is kept
    as 96, 220 as 216.
    """
    beyond = np.maximum(lengths - 24, 0)
    dropped = np.maximum(np.frexp(beyond.astype(np.float64))[1] - 4, 0)
    return np.where(lengths < 24, lengths, 24 + (beyond >> dropped << dropped))


def without_ties(scores: np.ndarray) -> np.ndarray:
    """Falling scores as Anserini writes them: four decimals, and 0.000001 less for each further one of a tie.

    (ScoreTiesAdjusterReranker, step by step in single precision; a tie is whatever lies within 0.0001.)
    """
    written = (np.floor(scores.astype(np.float64) * 1e4 + 0.5) / 1e4).astype(np.float32)
    width = np.float32(1e-4)
    step = np.float32(1e-6)
    tied = 0
    for i in range(1, len(written)):
        tied = tied + 1 if written[i - 1] - written[i] <= width else 0
        written[i] -= step * np.float32(tied)
    return written


class LuceneLengths(bm25s.BM25):  # type: ignore[misc]  # bm25s has no types
    """bm25s with an index of its own making, one numpy pass over all postings."""

    def build_index_from_ids(
        self, unique_token_ids: list[int], corpus_token_ids: list[list[int]], **_: Any
    ) -> dict[str, Any]:
        """Scores of every word in every passage, column by column (a word is a column), as bm25s keeps them.

        A score is w - w / (1 + f / (k1 (1 - b + b l / a))): w the word's idf, f its count, l the kept length, a the
        exact mean length; in Lucene's order of steps (BM25Similarity), so that even the last bit is mostly its own.
        """
        self.nonoccurrence_array = None  # what only other variants of BM25 have
        lengths = np.array([len(ids) for ids in corpus_token_ids], np.int64)
        words = np.concatenate([np.asarray(ids, np.int64) for ids in corpus_token_ids])
        key = words * len(lengths) + np.repeat(np.arange(len(lengths)), lengths)
        postings, counts = np.unique(key, return_counts=True)
        columns, rows = np.divmod(postings, len(lengths))
        holding = np.bincount(columns, minlength=len(unique_token_ids))
        filled = max(int((lengths > 0).sum()), 1)
        weight = np.log1p((filled - holding + 0.5) / (holding + 0.5)).astype(np.float32)[columns]
        k1, b, one, mean = (np.float32(x) for x in (self.k1, self.b, 1, lengths.sum() / filled))
        with np.errstate(divide="ignore", invalid="ignore"):  # k1 0: any count is as good as endless ones
            norm = one / (k1 * ((one - b) + b * one_byte(lengths).astype(np.float32) / mean))
        return {
            "data": weight - weight / (one + counts.astype(np.float32) * norm[rows]),
            "indices": rows.astype(np.int32),
            "indptr": np.concatenate([[0], np.cumsum(holding)]).astype(np.int32),
            "num_docs": len(lengths),
        }
