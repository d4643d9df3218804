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
from exabench.parts.retrievers._lucene_scores import LuceneLengths, without_ties
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
        k1: float = 0.9,
        b: float = 0.4,
        lucene: Sequence[str] = WAYS,
    ) -> None:
        if not (k1 >= 0 and 0 <= b <= 1):
            raise BadInput(f"BM25 needs k1 >= 0 and 0 <= b <= 1, not k1 {k1} and b {b}")
        if set(lucene) not in (set(), set(WAYS)):
            raise BadInput(f"lucene must be all of {', '.join(WAYS)} or an empty list, not {list(lucene)}")
        self._like_lucene = bool(lucene)
        self.parameters: dict[str, Any] = {
            "k1": k1,
            "b": b,
            "stemmer": "porter",
            "stop words": "Lucene, 33",
            "text": " + ".join(fields),
            "lucene": sorted(set(lucene)),
        }
        self._lucene_words = LuceneWords()
        self._stemmer = Stemmer.Stemmer("porter")
        self._ids: list[str] = []
        engine = LuceneLengths if self._like_lucene else bm25s.BM25
        self._index = engine(method="lucene", k1=k1, b=b)
        texts: list[str] = []
        for passage in passages:
            self._ids.append(passage.id)
            texts.append(passage.flat(fields))
        if not texts:
            raise BadInput("there is no passage to index")
        with np.errstate(invalid="ignore"):  # passages without a word have no mean length
            self._index.index(self._tokens(texts), create_empty_token=False, show_progress=False)
        self._places = _alphabetical(self._ids)

    def search(self, queries: Sequence[Query], depth: int) -> Run:
        """The best `depth` passages; those that share no word with the query are never returned."""
        scores: dict[str, dict[str, float]] = {}
        for query, words in zip(queries, self._tokens([query.text for query in queries]), strict=True):
            known = [word for word in words if word in self._index.vocab_dict]
            values = self._index.get_scores(known) if known else np.zeros(0, np.float32)
            found = np.flatnonzero(values > 0)
            if len(found) > depth:  # ties at the cut are settled below, not by position
                found = found[values[found] >= np.partition(values[found], -depth)[-depth]]
            values = values[found]
            if self._like_lucene:
                order = np.lexsort((self._places[found], -values))[:depth]
                found = found[order]
                values = without_ties(values[order])
            if len(found):
                scores[query.id] = {self._ids[i]: float(value) for i, value in zip(found, values, strict=True)}
        return top(run_of("bm25", scores), depth)

    def _tokens(self, texts: list[str]) -> list[list[str]]:
        if self._like_lucene:
            return [self._lucene_words(text) for text in texts]
        plain = [_POSSESSIVE.sub("", text) for text in texts]
        tokens: list[list[str]] = bm25s.tokenize(
            plain,
            token_pattern=WORD,
            stopwords=STOP_WORDS,
            stemmer=self._stemmer,
            return_ids=False,
            show_progress=False,
        )
        return tokens


def _alphabetical(ids: list[str]) -> np.ndarray:
    """The place of each id in ascending order."""
    places = np.empty(len(ids), np.int64)
    places[sorted(range(len(ids)), key=ids.__getitem__)] = np.arange(len(ids))
    return places
