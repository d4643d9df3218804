"""BM25 by bm25s: Lucene's formula, stop words and Porter stemmer, k1 0.9, b 0.4, flat text; needs no Java."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

import bm25s
import numpy as np
import Stemmer

from exabench.errors import BadInput
from exabench.nouns import Passage, Query, Run
from exabench.runs import run_of, top

# The 33 words that Lucene's EnglishAnalyzer leaves out.
STOP_WORDS = (
    "a an and are as at be but by for if in into is it no not of on or such that the their then there these they "
    "this to was will with"
).split()
# Words as Lucene's StandardTokenizer cuts them (Unicode TR 29): letters hold together over . : and apostrophes,
# digits over . and commas. A possessive 's is dropped.
WORD = r"(?u)\b\w+(?:(?:(?<=[^\W\d_])[.:'\u2019](?=[^\W\d_])|(?<=\d)[.,](?=\d))\w+)*\b"
_POSSESSIVE = re.compile(r"['\u2019][sS]\b")


class Bm25:
    """An index over one collection, in memory. `k1` and `b` as in Robertson and Zaragoza 2009."""

    whole = True

    def __init__(
        self,
        passages: Iterable[Passage],
        fields: tuple[str, ...] = ("title", "text"),
        *,
        k1: float = 0.9,
        b: float = 0.4,
    ) -> None:
        if not (k1 >= 0 and 0 <= b <= 1):
            raise BadInput(f"BM25 needs k1 >= 0 and 0 <= b <= 1, not k1 {k1} and b {b}")
        self.parameters: dict[str, Any] = {
            "k1": k1,
            "b": b,
            "stemmer": "porter",
            "stop words": "Lucene, 33",
            "text": " + ".join(fields),
        }
        self._stemmer = Stemmer.Stemmer("porter")
        self._ids: list[str] = []
        self._index = bm25s.BM25(method="lucene", k1=k1, b=b)
        texts = []
        for passage in passages:
            self._ids.append(passage.id)
            texts.append(passage.flat(fields))
        if not texts:
            raise BadInput("there is no passage to index")
        self._index.index(self._tokens(texts), show_progress=False)

    def search(self, queries: Sequence[Query], depth: int) -> Run:
        """The best `depth` passages; those that share no word with the query are never returned."""
        scores: dict[str, dict[str, float]] = {}
        for query, words in zip(queries, self._tokens([query.text for query in queries]), strict=True):
            known = [word for word in words if word in self._index.vocab_dict]
            values = self._index.get_scores(known) if known else np.zeros(0, np.float32)
            found = np.flatnonzero(values > 0)
            if len(found) > depth:  # ties at the cut are settled by the ranking rule below, not by position
                found = found[values[found] >= np.partition(values[found], -depth)[-depth]]
            if len(found):
                scores[query.id] = {self._ids[i]: float(values[i]) for i in found}
        return top(run_of("bm25", scores), depth)

    def _tokens(self, texts: list[str]) -> list[list[str]]:
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
