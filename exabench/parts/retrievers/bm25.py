"""BM25 by bm25s, to Lucene's last digit: k1 0.9, b 0.4, flat text, its words, lengths and ties; needs no Java."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

import bm25s
import numpy as np
import Stemmer

from exabench.core.errors import BadInput
from exabench.core.nouns import Passage, Query, Run
from exabench.measure.runs import run_of, top
from exabench.parts.retrievers._lucene_words import STOP_WORDS, LuceneWords

# Words as Lucene's StandardTokenizer cuts them (Unicode TR 29): letters hold together over . : and apostrophes,
# digits over . and commas. A possessive 's is dropped.
WORD = r"(?u)\b\w+(?:(?:(?<=[^\W\d_])[.:'\u2019](?=[^\W\d_])|(?<=\d)[.,](?=\d))\w+)*\b"
_POSSESSIVE = re.compile(r"['\u2019][sS]\b")
WAYS = ("words", "lengths", "ties")


class Bm25:
    """An index over one collection, in memory. `k1` and `b` as in Robertson and Zaragoza 2009.

    `lucene` is on where it lists words, lengths and ties (the default): the run is then Anserini's own to the letter.
    With an empty list it is the plain formula. Lucene's ways are these. "words": its Porter leaves words of two letters
    alone and turns -logy into -log and -bly into -bl; a superscript is no part of a word, a copyright sign is one.
    "lengths": the length of a passage is kept in one byte. "ties": equal scores go by document id ascending, four
    decimals are kept, and 0.000001 parts the tied, so that the ranking rule (document id descending) finds no tie.
    """

    whole = True

    def __init__(
        self,
        passages: Iterable[Passage],
        fields: tuple[str, ...] = ("title", "text"),
        *,
        k1: float = 0.9,  # Anserini's defaults
        b: float = 0.4,
        lucene: Sequence[str] = WAYS,
    ) -> None:
        if not (k1 >= 0 and 0 <= b <= 1):
            raise BadInput(f"BM25 needs k1 >= 0 and 0 <= b <= 1, not k1 {k1} and b {b}")
        if set(lucene) not in (set(), set(WAYS)):
            raise BadInput(f"lucene must be all of {', '.join(WAYS)} or an empty list, not {list(lucene)}")
        self._like_lucene = bool(lucene)
        self.parameters = {
            "k1": k1,
            "b": b,
            "stemmer": "porter",
            "stop words": "Lucene, 33",
            "text": " + ".join(fields),
            "lucene": sorted(set(lucene)),
        }
        self._lucene_words = LuceneWords()
        self._ids: list[str] = []
        texts = []
        for passage in passages:
            self._ids.append(passage.id)
            texts.append(passage.flat(fields))
        if not texts:
            raise BadInput("there is no passage to index")
        engine = LuceneIndex if self._like_lucene else bm25s.BM25
        self._index = engine(method="lucene", k1=k1, b=b)
        with np.errstate(invalid="ignore"):  # passages without a word have no mean length
            self._index.index(self._tokenise(texts), create_empty_token=False, show_progress=False)
        self._places = np.empty(len(texts), np.int64)  # the place of each passage by its id, ascending
        self._places[np.argsort(np.array(self._ids, object), kind="stable")] = np.arange(len(texts))

    def search(self, queries: Sequence[Query], depth: int) -> Run:
        """The best `depth` passages; those that share no word with the query are never returned."""
        scores = {}
        for query, words in zip(queries, self._tokenise([query.text for query in queries]), strict=True):
            known = [word for word in words if word in self._index.vocab_dict]
            values = self._index.get_scores(known) if known else np.zeros(0, np.float32)
            found = np.flatnonzero(values > 0)
            if len(found) > depth:  # hardly any of a large collection is sorted; ties at the cut are settled below
                found = found[values[found] >= np.partition(values[found], -depth)[-depth]]
            values = values[found]
            if self._like_lucene:
                order = np.lexsort((self._places[found], -values))[:depth]
                found = found[order]
                values = without_ties(values[order])
            ids = [self._ids[place] for place in found]
            scores[query.id] = dict(zip(ids, values.tolist(), strict=True))
        return top(run_of("bm25", scores), depth)

    def _tokenise(self, texts: list[str]) -> list[list[str]]:
        if self._like_lucene:
            return [self._lucene_words(text) for text in texts]
        return bm25s.tokenize(
            [_POSSESSIVE.sub("", text) for text in texts],
            token_pattern=WORD,
            stopwords=STOP_WORDS,
            stemmer=Stemmer.Stemmer("porter"),
            return_ids=False,
            show_progress=False,
        )


class LuceneIndex(bm25s.BM25):  # type: ignore[misc]  # bm25s has no types
    """bm25s with the index that Lucene would score by, made in one numpy pass over all postings.

    A passage's length is kept in one byte, and passages without a word count neither for the idf nor for the mean
    length.
    """

    def build_index_from_ids(
        self, unique_token_ids: list[int], corpus_token_ids: list[list[int]], **_: Any
    ) -> dict[str, Any]:
        """Scores of every word in every passage, column by column (a word is a column), as bm25s keeps them.

        A score is w - w / (1 + f / (k1 (1 - b + b l / a))): w the word's idf, f its count, l the kept length, a the
        exact mean length; in Lucene's order of steps (BM25Similarity), so that even the last bit is mostly its own.
        """
        self.nonoccurrence_array = None  # what only other variants of BM25 have
        lengths = np.array([len(ids) for ids in corpus_token_ids], np.int64)
        passages = len(lengths)

        # A posting is a word and a passage as one number, so that sorting and counting them is one call.
        words = np.concatenate([np.asarray(ids, np.int64) for ids in corpus_token_ids])
        of_passage = np.repeat(np.arange(passages), lengths)
        postings, counts = np.unique(words * passages + of_passage, return_counts=True)
        columns, rows = np.divmod(postings, passages)

        filled = max(int((lengths > 0).sum()), 1)
        holding = np.bincount(columns, minlength=len(unique_token_ids))  # passages that hold each word
        idf = np.log1p((filled - holding + 0.5) / (holding + 0.5)).astype(np.float32)
        weight = idf[columns]

        # Single precision throughout, as in Lucene: 1 - b and the mean length are rounded before they are used.
        b = np.float32(self.b)
        mean = np.float32(lengths.sum() / filled)
        with np.errstate(divide="ignore", invalid="ignore"):  # k1 0: any count is as good as endless ones
            norm = 1 / (self.k1 * ((1 - b) + b * one_byte(lengths).astype(np.float32) / mean))
        return {
            "data": weight - weight / (1 + counts.astype(np.float32) * norm[rows]),
            "indices": rows.astype(np.int32),
            "indptr": np.concatenate([[0], np.cumsum(holding)]).astype(np.int32),
            "num_docs": passages,
        }


def one_byte(lengths: np.ndarray) -> np.ndarray:
    """Lengths as Lucene keeps them (SmallFloat.intToByte4): exact up to 40, above that cut to four leading bits.

    The 24 smallest bytes stand for themselves, the others for 24 plus a number of four bits and zeros: 100 is kept
    as 96, 220 as 216.
    """
    beyond = np.maximum(lengths - 24, 0)
    _, bits = np.frexp(beyond.astype(np.float64))
    dropped = np.maximum(bits - 4, 0)
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
