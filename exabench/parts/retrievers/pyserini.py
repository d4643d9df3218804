"""BM25 by Lucene, as Anserini runs it: k1 0.9, b 0.4, flat or multifield; Java 21 comes with the extra [lucene]."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from exabench.core.errors import BadInput, UnknownName
from exabench.core.files import cache_folder, digest_of
from exabench.core.nouns import Passage, Query, Run
from exabench.measure.runs import run_of, top
from exabench.parts.retrievers._lucene import anserini_jar, build, failing, java, open_index

KINDS = {"flat": (), "multifield": ("title",)}  # the fields beside `contents`
THREADS = 2
_BLANKS = "".join(map(chr, range(33)))  # what Java's trim() takes away


class Pyserini:
    """Anserini's BEIR regressions over one collection, from an index that is kept on disk.

    `flat` holds title and text (the `fields`) in one field, `multifield` the title in a second field and adds both
    scores. Text is cut by Lucene's StandardTokenizer, possessives and 33 stop words go, Porter's stemmer follows; a
    query is the sum of its words. The index is found again by the digest of all passages, `index`, `fields` and
    the version of Anserini; it lies in `cache` (`lucene` in the user's cache folder of exabench unless given). As in
    Anserini, a passage without `contents` (of multifield: without text) is never found.

    Ties: Anserini sorts by score, then by document id ascending, rounds every score to four decimals and takes
    0.000001 more from each further one of a tie. Exactly these scores are returned, so that the one ranking rule
    (single precision, then document id descending) sees hardly a tie and ranks as in Anserini's own run files;
    above 16, where single precision cannot tell every 0.000001, tied ids may trade places (in both).
    """

    whole = True

    def __init__(
        self,
        passages: Iterable[Passage],
        fields: tuple[str, ...] = ("title", "text"),
        *,
        index: str = "flat",
        k1: float = 0.9,
        b: float = 0.4,
        cache: str | Path = "",
    ) -> None:
        if not (0 <= k1 < math.inf and 0 <= b <= 1):
            raise BadInput(f"BM25 needs k1 >= 0 and 0 <= b <= 1, not k1 {k1} and b {b}")
        if index not in KINDS:
            raise UnknownName("index", index, KINDS)
        if index == "multifield" and set(fields) != {"title", "text"}:
            raise BadInput(f"a multifield index needs the fields title and text, not {' and '.join(fields)}")
        version = anserini_jar().name.removesuffix("-fatjar.jar")
        self.parameters: dict[str, Any] = {
            "k1": k1,
            "b": b,
            "index": index,
            "text": " + ".join(fields),
            "engine": version,
        }
        if isinstance(passages, Iterator):  # they are read twice: for their digest, and to be indexed
            passages = list(passages)
        self._jnius = java()
        self._extra = KINDS[index]
        where = Path(cache or cache_folder("lucene"))
        self._folder = _index_folder(passages, tuple(fields), self._extra, where, version)
        self._searcher = self._opened(k1, b)

    def search(self, queries: Sequence[Query], depth: int) -> Run:
        """The best `depth` passages; those that share no word with the query are never returned."""
        with failing("searching"), ThreadPoolExecutor(THREADS) as pool:
            parts = list(pool.map(lambda i: self._answers(queries[i::THREADS], depth), range(THREADS)))
        scores = {query_id: row for part in parts for query_id, row in part.items() if row}
        return top(run_of("pyserini", scores), depth)

    def _opened(self, k1: float, b: float) -> Any:
        of = self._jnius.autoclass
        with failing(f"opening the index {self._folder} (remove that folder to have it built again)"):
            searcher = of("org.apache.lucene.search.IndexSearcher")(open_index(self._jnius, self._folder))
            searcher.setSimilarity(of("org.apache.lucene.search.similarities.BM25Similarity")(k1, b))
        self._analyzer = of("io.anserini.index.IndexCollection").DEFAULT_ANALYZER
        self._words = of("io.anserini.search.query.BagOfWordsQueryGenerator")()
        self._order = of("io.anserini.search.SearchCollection").BREAK_SCORE_TIES_BY_DOCID
        self._ties = of("io.anserini.rerank.lib.ScoreTiesAdjusterReranker")()
        self._found = of("io.anserini.search.ScoredDocs")
        self._weights = of("java.util.HashMap")()
        for field in ("contents", *self._extra):
            self._weights.put(field, of("java.lang.Float")(1.0))
        return searcher

    def _answers(self, queries: Sequence[Query], depth: int) -> dict[str, dict[str, float]]:
        try:
            return {query.id: self._answer(query.text, depth) for query in queries}
        finally:
            self._jnius.detach()  # or this thread would stay with Java for ever

    def _answer(self, text: str, depth: int) -> dict[str, float]:
        """What SimpleSearcher does for one query; ids and scores come over as two arrays, not hit by hit."""
        text = text.encode(errors="replace").decode()  # half of a surrogate pair is no text for Java
        where = self._weights if self._extra else "contents"
        query = self._words.buildQuery(where, self._analyzer, text)
        best = self._searcher.search(query, min(depth, 2**31 - 1), self._order, True)
        found = self._ties.rerank(self._found.fromTopDocs(best, self._searcher), None)
        return dict(zip(found.docids, found.scores, strict=True))


def _index_folder(
    passages: Iterable[Passage], fields: tuple[str, ...], extra: tuple[str, ...], cache: Path, version: str
) -> Path:
    """The folder of the passages' index, built where it is not there yet. Raises BadInput for no passage."""
    content = hashlib.sha256()
    count = 0
    holding = 0
    for line, has_contents in _lines(passages, fields, extra):
        content.update(line)
        count += 1
        holding += has_contents
    if not count:
        raise BadInput("there is no passage to index")
    made_of = {"passages": content.hexdigest(), "fields": fields, "beside": extra, "version": version}
    folder = cache / digest_of(made_of).removeprefix("sha256:")[:32]
    if not folder.is_dir():
        build((line for line, _ in _lines(passages, fields, extra)), holding, folder, extra)
    return folder


def _lines(
    passages: Iterable[Passage], fields: tuple[str, ...], extra: tuple[str, ...]
) -> Iterator[tuple[bytes, bool]]:
    """Each passage as Anserini reads it, and whether it has contents."""
    inside = tuple(name for name in fields if name not in extra)
    for passage in passages:
        row = {"id": passage.id, "contents": passage.flat(inside)}
        for name in extra:
            row[name] = getattr(passage, name)
        yield json.dumps(row).encode() + b"\n", bool(row["contents"].strip(_BLANKS))
