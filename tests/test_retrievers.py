"""First stages: BM25 is Lucene's, fusion is the formula, a run file is what it says, and a pool is not searched."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys

import pytest
from toys import Given, write_beir, write_run

from exabench.bench.candidates import make_candidates
from exabench.core.errors import BadInput, ExabenchError
from exabench.core.nouns import Convention, Passage, Query, Task
from exabench.measure.runs import run_in_order, run_text
from exabench.parts.assembly import retriever
from exabench.parts.retrievers import RETRIEVERS
from exabench.parts.retrievers.bm25 import WAYS, Bm25, LuceneWords
from exabench.parts.retrievers.fusion import Fusion
from exabench.parts.retrievers.run_file import RunFile
from exabench.tasks.catalogue import task
from exabench.tasks.collections import open_collection

TEXTS = {"a": "red fish blue fish", "b": "one fish", "c": "a red, red rose by any other name", "d": "nothing here"}
PASSAGES = [Passage(id, text) for id, text in TEXTS.items()]


def searched(text: str, passages=PASSAGES, depth: int = 10, **options) -> dict[str, float]:
    run = Bm25(passages, **options).search([Query("q", text)], depth)
    return run["q"] if len(run) else {}


def test_a_passage_that_shares_no_word_is_never_returned():
    assert "d" not in searched("red fish")
    assert searched("unheard of") == searched("") == searched("the of and") == {}


@pytest.mark.parametrize("lucene", [WAYS, ()])
def test_words_meet_as_lucene_cuts_and_stems_them(lucene):
    alike = [("running", "he runs"), ("U.S.A.", "the u.s.a is"), ("dog's", "DOG"), ("3.5", "about 3.5 grams")]
    alike += [("caf\u00e9", "Caf\u00e9"), ("日本", "日本")]
    for query, text in alike:
        assert "x" in searched(query, [Passage("x", text), Passage("y", "other words")], lucene=lucene), query
    for query, text in (("35", "3.5"), ("the", "the"), ("a", "a b")):
        assert searched(query, [Passage("x", text), Passage("y", "more words")], lucene=lucene) == {}, query


CHINA, BOTSWANA = "\U0001f1e8\U0001f1f3", "\U0001f1e7\U0001f1fc"
FAMILY = "\U0001f468\u200d\U0001f469\u200d\U0001f467"
ENGLAND = "\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f"
RUNNER, RAINBOW = "\U0001f3c3\U0001f3fd\u200d\u2640\ufe0f", "\U0001f3f3\ufe0f\u200d\U0001f308"

EMOJI = {  # texts and their words, as Lucene 10 gave them
    f"China {CHINA} tourism": ["china", CHINA, "tourism"],
    CHINA + BOTSWANA + "\U0001f1e8": [CHINA, BOTSWANA],  # half a flag is not a word
    f"x{CHINA}y": ["x", CHINA, "y"],
    "#\ufe0f\u20e3 *\u20e3 # * #\ufe0f": ["#\ufe0f\u20e3", "*\u20e3"],
    "1\ufe0f\u20e3 7\u20e3": ["1\ufe0f\u20e3", "7\u20e3"],
    FAMILY + RUNNER + RAINBOW: [FAMILY, RUNNER, RAINBOW],
    ENGLAND: [ENGLAND],
    "\U0001f44d\U0001f3fd \U0001f3fd": ["\U0001f44d\U0001f3fd", "\U0001f3fd"],
    "\u2764\ufe0e \u2764\ufe0f": ["\u2764", "\u2764\ufe0f"],  # the text selector goes
    "\U0001f7e2\U0001f7e7": ["\U0001f7e2", "\U0001f7e7"],
    "a\U0001f3fdb": ["a\U0001f3fdb"],
    "\u32d0\u3314": ["\u32d0\u3314"],
    "\u3044\u3059\u309e": ["\u3044", "\u3059", "\u309e"],
}


@pytest.mark.parametrize("text", EMOJI)
def test_emoji_are_the_words_that_lucene_makes_of_them(text):
    assert LuceneWords()(text) == EMOJI[text]


def test_a_flag_is_found():
    passages = [Passage("x", f"China {CHINA} tourism report"), Passage("y", "China tourism travel report")]
    found = searched(f"tourism {CHINA}", passages)
    assert found == pytest.approx({"x": 0.4608, "y": 0.096}, abs=1e-6), "as Lucene scores them"


def test_ties_at_the_cut_go_by_id_not_by_place():
    passages = [Passage(id, "same words") for id in ("b", "e", "a", "d", "c")]
    for order in (passages, passages[::-1]):
        assert Bm25(order, lucene=()).search([Query("q", "same")], 2).ranking("q") == ["e", "d"], "the ranking rule"
        assert Bm25(order).search([Query("q", "same")], 2).ranking("q") == ["a", "b"], "Lucene's"


def test_bm25_gives_the_same_bytes_in_every_order_of_passages_and_queries():
    collection = open_collection(task("mini"))
    passages, queries = list(collection.passages()), list(collection.queries())
    first = Bm25(passages).search(queries, 50)
    assert run_text(Bm25(passages[::-1]).search(queries[::-1], 50), "t") == run_text(first, "t")


def test_title_and_text_are_one_field_and_can_be_chosen():
    passages = [Passage("x", "body", "heading"), Passage("y", "heading body")]
    assert set(searched("heading", passages)) == {"x", "y"}
    assert set(searched("heading", passages, fields=("text",))) == {"y"}


def test_impossible_parameters_and_an_empty_collection_are_refused():
    for options in ({"k1": -1}, {"b": 1.5}, {"b": -0.1}, {"k1": float("nan")}):
        with pytest.raises(BadInput, match="BM25 needs k1 >= 0 and 0 <= b <= 1"):
            Bm25(PASSAGES, **options)
    with pytest.raises(BadInput, match="no passage"):
        Bm25([])


A = {"q": ["a", "b", "c"], "only-a": ["x", "y"]}
B = {"q": ["c", "d"], "only-b": ["z"]}
QUERIES = [Query(id, "") for id in ("q", "only-a", "only-b", "nobody")]


@pytest.fixture
def two_runs(tmp_path):
    return [str(write_run(tmp_path / f"{name}.trec", run_in_order(name, run))) for name, run in (("a", A), ("b", B))]


def rrf(rankings: list[list[str]], k: int) -> dict[str, float]:
    found: dict[str, float] = {}
    for ids in rankings:
        for rank, id in enumerate(ids, 1):
            found[id] = found.get(id, 0) + 1 / (k + rank)
    return found


@pytest.mark.parametrize("k", [60, 1])
def test_fusion_is_the_sum_of_reciprocal_ranks(two_runs, k):
    run = Fusion(runs=two_runs, k=k).search(QUERIES, 10)
    assert run["q"] == pytest.approx(rrf([A["q"], B["q"]], k), rel=1e-6)
    assert run.query_ids == ("only-a", "only-b", "q")
    assert (run.ranking("only-a"), run.ranking("only-b")) == (["x", "y"], ["z"])  # answered by one run: its order


@pytest.mark.parametrize("method", ("rrf", "isr", "log_isr"))
def test_every_fusion_method_keeps_what_both_agree_on(tmp_path, method):
    files = [
        str(write_run(tmp_path / f"{name}.trec", run_in_order(name, {"q": ids})))
        for name, ids in (("a", "abc"), ("b", "acb"))
    ]
    assert Fusion(runs=files, method=method).search([Query("q", "")], 10).ranking("q")[0] == "a"


def test_fusion_does_not_look_at_scores_or_names(tmp_path, two_runs):
    (tmp_path / "scaled.trec").write_text("q Q0 c 1 1e30 t\nq Q0 d 2 -5 t\nonly-b Q0 z 1 0 t\n")
    scaled = Fusion(runs=[two_runs[0], str(tmp_path / "scaled.trec")]).search(QUERIES, 10)
    assert run_text(scaled, "t") == run_text(Fusion(runs=two_runs).search(QUERIES, 10), "t")


@pytest.mark.slow
def test_fusion_is_the_same_when_compiled(two_runs):
    script = "import sys; from exabench.parts.retrievers.fusion import Fusion; from exabench.core.nouns import Query\n"
    script += "print(Fusion(runs=sys.argv[1:]).search([Query('q', '')], 10)['q'])"
    environment = {name: value for name, value in os.environ.items() if name != "NUMBA_DISABLE_JIT"}
    done = subprocess.run(
        [sys.executable, "-c", script, *two_runs], env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.stdout.strip() == str(Fusion(runs=two_runs).search(QUERIES, 10)["q"]), done.stderr[-500:]


def test_fusion_needs_two_runs_and_a_known_method(two_runs):
    with pytest.raises(BadInput, match="at least two runs"):
        Fusion(runs=two_runs[:1])
    with pytest.raises(BadInput, match='method must be "rrf" or "isr" or "log_isr" or "wsum" or "wmnz", not .rff.'):
        retriever("fusion", (), runs=two_runs, method="rff")


def test_a_run_file_is_cut_to_queries_and_depth(two_runs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    stage = RunFile(file=two_runs[0])
    run = stage.search([Query("q", ""), Query("nobody", "")], 2)
    assert {q: run.ranking(q) for q in run} == {"q": ["a", "b"]}
    assert stage.parameters["file"] == "a.trec"


def test_all_but_published_lists_need_the_whole_collection():
    published = {"fusion", "hub_list", "run_file", "scoreddocs"}
    assert {name for name in RETRIEVERS if not RETRIEVERS[name].whole} == published


@pytest.mark.parametrize(
    ("retriever", "depth", "options", "message"),
    [
        ("bm25", 10, {"k2": 1}, "retriever bm25 has no option 'k2'; its options: "),
        ("run_file", 10, {"file": "x", "k1": 1}, "retriever run_file has no option 'k1'; its options: "),
        ("bm52", 10, {}, "unknown retriever 'bm52'; did you mean bm25"),
        ("bm25", 0, {}, "depth must be at least 1"),
    ],
)
def test_what_no_first_stage_can_do_is_refused(retriever, depth, options, message):
    with pytest.raises(ExabenchError, match=message):
        make_candidates(task("mini"), retriever, depth, options=options)


def test_a_pool_is_not_searched_but_may_be_reranked(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    larger = dataclasses.replace(task("mini"), documents=241)
    with pytest.raises(BadInput, match="has 241 passages, folder mini in BEIR layout has 240: .* --from RUN"):
        make_candidates(larger, "bm25", 10)
    _, run = make_candidates(task("mini"), "bm25", 10)
    file = write_run(tmp_path / "first.trec", run)
    candidates, same = make_candidates(larger, "run_file", 10, options={"file": str(file)})
    assert run_text(same, "t") == run_text(run, "t")
    assert candidates.parameters["file"] == "first.trec"


def test_a_self_match_is_dropped_before_the_cut(tmp_path):
    same = [Query("d1", "red fish"), Query("q", "red fish")]
    passages = [Passage("d1", "red fish"), Passage("d2", "red fish swim"), Passage("d3", "one red fish swims")]
    write_beir(tmp_path / "twin", Given(same, passages, {"d1": {"d2": 1}, "q": {"d2": 1}}))
    kept = Task(name="twin", title="Twin")
    dropped = dataclasses.replace(kept, convention=Convention(self_match="drop"))
    rankings = [make_candidates(entry, "bm25", 2, data=tmp_path)[1] for entry in (kept, dropped)]
    assert rankings[0].ranking("d1") == rankings[1].ranking("q") == ["d1", "d2"]
    assert rankings[1].ranking("d1") == ["d2", "d3"]  # still two: the third moves up
