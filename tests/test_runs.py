"""Runs are read in one ranking order, whatever their layout, and every bad one is refused with its line."""

from __future__ import annotations

import gzip
import hashlib
import math
import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, strategies as st

from exabench.core.errors import BadInput
from exabench.core.nouns import Convention, Run
from exabench.measure.runs import (
    complete_run,
    leave_out,
    read_run,
    run_digest,
    run_in_order,
    run_of,
    run_text,
    select_queries,
    top,
    without_self_matches,
)

LETTERS = st.characters(exclude_categories=("Cc", "Cs", "Z", "Cn"))
IDS = st.text(LETTERS, min_size=1, max_size=12).filter(lambda text: not any(c.isspace() for c in text))
SINGLES = st.floats(width=32, allow_nan=False, allow_infinity=False)
QUERY_IDS = IDS.filter(lambda text: not text.startswith("#"))  # a comment, in a TREC file
SCORES = st.dictionaries(QUERY_IDS, st.dictionaries(IDS, SINGLES, min_size=1, max_size=8), min_size=1, max_size=5)


def same(a: Run, b: Run) -> bool:
    return (
        (a.query_ids, a.offsets.tolist()) == (b.query_ids, b.offsets.tolist())
        and a.passage_ids.to_pylist() == b.passage_ids.to_pylist()
        and a.scores.tobytes() == b.scores.tobytes()
    )


def read(folder: Path, data: bytes | str) -> Run:
    file = folder / "run.trec"
    file.write_bytes(data.encode() if isinstance(data, str) else data)
    return read_run(file)


@given(SCORES)
def test_a_run_is_sorted_by_query_then_score_then_id_downwards(scores):
    run = run_of("run", scores)
    assert run.query_ids == tuple(sorted(scores))
    for query_id, row in scores.items():
        single = {passage: float(np.float32(score)) for passage, score in row.items()}
        # UTF-8 bytes sort as code points do, so this is what trec_eval's strcmp does
        expected = sorted(single, key=lambda p: (single[p], p.encode()), reverse=True)
        assert run.ranking(query_id) == expected
        assert run[query_id] == single


GREATEST = 3.4028234663852886e38


@pytest.mark.parametrize(
    ("scores", "ranking"),
    [
        ({"a": 10.0 + 1e-7, "b": 10.0}, ["b", "a"]),  # they differ only beyond single precision
        (dict.fromkeys(["10", "9", "100", "1"], 1.0), ["9", "100", "10", "1"]),  # numbers are compared as strings
        ({"a": 0.0, "b": -0.0, "c": 0.0}, ["c", "b", "a"]),
        ({"\u00e9": 1.0, "e\u0301": 1.0}, ["\u00e9", "e\u0301"]),  # two Unicode forms are two ids
        (
            {"a": GREATEST, "b": 1.0, "c": 1e-45, "d": 0.0, "e": -1e-45, "f": -1.0, "g": -GREATEST},
            ["a", "b", "c", "d", "e", "f", "g"],
        ),
    ],
)
def test_what_ties_and_what_does_not(scores, ranking):
    assert run_of("run", {"q": scores}).ranking("q") == ranking


@given(SCORES, st.randoms(use_true_random=False))
@example({"q": {"a": GREATEST, "b": -GREATEST, "c": 1e-45, "d": -0.0, "e": 16777217.0}}, random.Random(0))
@example({"q": {"a": 9.999999e-5, "b": 1e-4, "c": 1e9, "d": 999999940.0, "e": 0.1}}, random.Random(0))
def test_a_run_reads_back_exactly_as_it_was_written_in_any_order_of_lines(tmp_path_factory, scores, shuffled):
    folder, run = tmp_path_factory.mktemp("trip"), run_of("run", scores)
    lines = run_text(run, "tag").decode().splitlines(keepends=True)
    assert same(read(folder, "".join(lines)), run)
    shuffled.shuffle(lines)  # so queries interleave, too
    assert same(read(folder, "".join(lines)), run)


LINES = "q1 Q0 a 1 2.5 t\nq1 Q0 b 2 1 t\nq2 Q0 a 1 -3 t\n"
LAYOUTS = {
    "gzip": gzip.compress(LINES.encode()),
    "tabs": LINES.replace(" ", "\t"),
    "tabs in the second line only": LINES.replace("q1 Q0 b 2", "q1\tQ0\tb\t2"),
    "blanks and tabs around words": LINES.replace(" ", " \t "),
    "blanks before": "  " + LINES.replace("\n", "\n  "),
    "blanks after": LINES.replace("\n", "  \n"),
    "CRLF": LINES.replace("\n", "\r\n"),
    "byte-order mark": b"\xef\xbb\xbf" + LINES.encode(),
    "blank lines": "\n" + LINES.replace("\n", "\n\n"),
    "no last newline": LINES.rstrip("\n"),
    "other numbers": LINES.replace("2.5", "+25e-1").replace(" 1 t", " 1.000 t").replace("-3", "-3.E0"),
    "text after the tag": LINES.replace(" t\n", " t and more\n"),
    "text after one tag": LINES.replace(" t\n", " t more\n", 1),
    "a tag with a blank between tabs": LINES.replace(" ", "\t").replace("t\n", "my run\n"),
    "comments": "# q9 Q0 x 1 9 t\n" + LINES.replace("q2", "#q2 Q0 b 1 9 t\n # no more\nq2"),
    "ranks that are none": LINES.replace(" 1 2.5", " first 2.5"),
    "unicode tag": LINES.replace(" t\n", " \u00e9\n"),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_of_a_run_reads_the_same(tmp_path, layout):
    assert same(read(tmp_path, LAYOUTS[layout]), run_of("x", {"q1": {"a": 2.5, "b": 1.0}, "q2": {"a": -3.0}}))


def test_a_run_is_named_after_its_file_and_its_digest_is_that_of_the_stored_text(tmp_path):
    for name in ("bm25.trec", "bm25.trec.gz", "bm25.txt", "bm25"):
        (tmp_path / name).write_text(LINES)
        assert read_run(tmp_path / name).name == "bm25"
    run = read_run(tmp_path / "bm25", "x")
    assert run.name == "x"
    stored = b"q1 Q0 a 1 2.5 x\nq1 Q0 b 2 1.0 x\nq2 Q0 a 1 -3.0 x\n"
    assert run_digest(run) == f"sha256:{hashlib.sha256(stored).hexdigest()}"


RANKED = {  # ranks of q1 (a 3, b 2, c 2, d 1) and of r (a 2, b 1): in how many queries do they contradict the scores?
    ("1 2 3 4", "1 2"): 0,
    ("1 3 2 4", "1 2"): 0,  # b and c tie
    ("0 0 0 0", "0 0"): 0,  # BEIR writes 0 for every rank
    ("4 3 2 1", "1 2"): 1,
    ("1 2 4 3", "2 1"): 2,
    ("-1 2 3 4", "7 8"): 0,
    ("1 4 3 2", "1 2"): 1,  # c before b is right, d before both is not
    ("first 2 3 4", "2 1"): 0,  # no ranks
}


@pytest.mark.parametrize("ranks", RANKED, ids=" / ".join)
@pytest.mark.parametrize("end", ["\n", "\n\n"], ids=["fast reader", "slow reader"])
def test_queries_in_which_the_rank_column_says_another_order_than_the_scores_are_counted(tmp_path, ranks, end):
    lines = [f"q1 Q0 {p} {r} {s} t" for p, r, s in zip("abcd", ranks[0].split(), (3, 2, 2, 1), strict=True)]
    lines += [f"r Q0 {p} {r} {s} t" for p, r, s in zip("ab", ranks[1].split(), (2, 1), strict=True)]
    for order in (lines, lines[::-1], lines[1::2] + lines[::2]):
        assert read(tmp_path, end.join(order) + "\n").rank_disagreements == RANKED[ranks]
    assert top(read(tmp_path, end.join(lines)), 1).rank_disagreements == RANKED[ranks]


GOOD = b"".join(b"q1 Q0 d%d %d %d t\n" % (i, i, -i) for i in range(1, 5))
PACKED = gzip.compress(GOOD)
BAD = {
    "no file": (None, "cannot be read"),
    "empty": (b"", "contains no ranking"),
    "blank lines only": (b"\n \n\r\n", "contains no ranking"),
    "only a byte-order mark": (b"\xef\xbb\xbf", "contains no ranking"),
    "five columns": (GOOD + b"q1 Q0 d9 9 1\n", ":5: has 5 columns where a run has six"),
    "five columns everywhere": (GOOD.replace(b" t\n", b"\n"), ":1: has 5 columns"),
    "three columns after six": (GOOD + b"q1 d9 9\n", ":5: has 3 columns"),
    "a blank in an id between tabs": (
        GOOD.replace(b" ", b"\t") + b"q 1\tQ0\td9\t9\t1\tt\n",
        ":5: an id must not.*'q 1'",
    ),
    "a blank beside Q0 between tabs": (GOOD + b"q1\tQ 0\td9\t9\t1\tt\n", ":5: has a space in the column Q0 or rank"),
    "a document twice": (GOOD + b"q1 Q0 d2 9 1 t\n", r":5: .*twice for query 'q1' \(first on line 2\).*'d2'"),
    "a document twice after others": (GOOD + b"q2 Q0 d2 1 1 t\nq1 Q0 d1 1 1 t\n", r":6: .*first on line 1.*'d1'"),
    "Latin-1": (GOOD + b"q1 Q0 d\xe9 9 1 t\n", ":5: is not UTF-8 text"),
    "half a gzip file": (gzip.compress(GOOD * 9)[:40], "is not a complete gzip file"),
    "gzip with a changed byte": (PACKED[:-6] + b"\0" + PACKED[-5:], "is not a complete gzip file"),
}


for score in "nan -inf Infinity 3.5e38 1e300 1e999 high 0x1p3 1_0 1,5 ٣".split():
    line = f"q1 Q0 d9 9 {score} t\n".encode()
    BAD[f"score {score}"] = (GOOD + line, f":5: score '{score}' of query 'q1' is not a finite number.*'d9'")
# NUL, escape, delete, form feed and a bare carriage return; then blanks and controls beyond ASCII
for mark in "\x00\x1b\x7f\x0c\r\u00a0\u3000\u2028\u0085\u009b":
    told = "contains a control character" if mark.isascii() else "contains whitespace or a control"
    BAD[f"mark {ord(mark):x}"] = (GOOD + f"q1 Q0 d{mark}9 9 1 t\n".encode(), f":5: {told}")


@pytest.mark.filterwarnings("error")  # a score too great for single precision is no warning
@pytest.mark.parametrize("case", BAD)
def test_a_bad_run_is_refused_with_file_line_and_id(tmp_path, case):
    data, message = BAD[case]
    file = tmp_path / "bad.trec"
    if data is not None:
        file.write_bytes(data)
    with pytest.raises(BadInput, match=message) as caught:
        read_run(file)
    assert str(caught.value).startswith(str(file))
    assert str(caught.value).isprintable()


PIECES = [*"q1 d1 d1 d2 Q0 1 1 2.5 -0 nan 1e39 t é".split(), " ", " ", "  ", "\t", "\n", "\r\n", '"']


def outcome(file: Path, text: str) -> Run | str:
    file.write_text(text, encoding="utf-8", newline="")
    try:
        return read_run(file)
    except BadInput as error:
        return str(error)


def test_the_fast_reader_and_the_slow_one_agree_on_anything(tmp_path):
    rng, file, read_well = random.Random(5), tmp_path / "x.trec", 0
    for _ in range(500):
        delimiter = rng.choice([" ", "\t"])
        text = ""
        for _ in range(3):
            words = [rng.choice("qr"), "Q0", rng.choice("abcdefgh") + rng.choice("é1"), "1", rng.choice("123"), "t"]
            text += delimiter.join(words) + "\n"
        for _ in range(rng.choice([0, 1, 1, 2])):  # spoil it a little
            place = rng.randrange(len(text))
            text = text[:place] + rng.choice(PIECES) + text[place + rng.randrange(2) :]
        fast, slow = outcome(file, text), outcome(file, text + "\n\n")  # a blank line is for the slow one alone
        if isinstance(fast, Run):
            read_well += 1
            assert isinstance(slow, Run) and same(fast, slow), repr(text)
        else:
            assert fast == slow, repr(text)
    assert 100 < read_well < 450  # both kinds were met


QUERY_AND_PASSAGE = st.tuples(st.sampled_from(["q", "r", "qq"]), st.text("ab\u00e9", min_size=1, max_size=40))


@given(st.lists(QUERY_AND_PASSAGE, min_size=2, max_size=40), st.data())
def test_no_duplicate_is_ever_missed(tmp_path_factory, pairs, data):
    unique = list(dict.fromkeys(pairs))
    again = data.draw(st.sampled_from(unique))
    listed = [*unique, again]
    data.draw(st.randoms(use_true_random=False)).shuffle(listed)
    file = tmp_path_factory.mktemp("run") / "x.trec"
    with pytest.raises(BadInput, match=f"twice for query '{again[0]}'"):
        read_run(write_pairs(file, listed))
    assert len(read_run(write_pairs(file, unique)).scores) == len(unique)


def test_one_duplicate_is_found_among_many_passages(tmp_path):
    """So many that some of their hashes share a bucket."""
    pairs = [("q", f"passage-{i}") for i in random.Random(0).sample(range(10**9), 20_000)]
    assert len(read_run(write_pairs(tmp_path / "x.trec", pairs)).scores) == len(pairs)
    for place in (0, 1, 10_000, 19_999):
        with pytest.raises(BadInput, match=f":20001: .*first on line {place + 1}"):
            read_run(write_pairs(tmp_path / "x.trec", [*pairs, pairs[place]]))


def write_pairs(file: Path, pairs: list[tuple[str, str]]) -> Path:
    lines = [f"{query_id} Q0 {passage_id} 1 1 t\n" for query_id, passage_id in pairs]
    file.write_text("".join(lines), encoding="utf-8")
    return file


def test_a_score_that_is_not_finite_and_a_bad_id_are_refused():
    for score in (math.nan, math.inf, -math.inf, 3.5e38):
        with pytest.raises(BadInput, match="query 'q' is not a finite number.*'d'"):
            run_of("run", {"q": {"d": score}})
    for bad in ("", "a b", "a\tb", "a\n", "a\u00a0b", "a\x00", "a\x7f", "a\x9b", "\ud800", 7):
        for scores in ({"q": {bad: 1.0}}, {bad: {"d": 1.0}}):
            with pytest.raises(BadInput, match="id"):
                run_of("run", scores)


def test_a_run_reads_as_a_mapping_and_an_empty_run_is_a_run():
    run = run_of("run", {"q": {"a": 1.0}})
    assert (list(run), len(run), run["q"], run.rows("x")) == (["q"], 1, {"a": 1.0}, None)
    with pytest.raises(KeyError):
        run["x"]
    run = run_of("run", {})
    assert (len(run), run_text(run, "t"), run.ranking("q")) == (0, b"", [])
    for cut in (top(run, 3), without_self_matches(run), select_queries(run, {"q"}), complete_run(run, run)[0]):
        assert len(cut) == 0


SELF_MATCHES = st.dictionaries(st.sampled_from("abc"), st.dictionaries(st.sampled_from("abcd"), SINGLES, min_size=1))


@given(SELF_MATCHES, st.integers(1, 4))
def test_a_cut_run_is_what_it_is_cut_to_in_the_same_order(scores, depth):
    run = run_of("run", scores)
    for cut, expected in (
        (top(run, depth), {q: run.ranking(q)[:depth] for q in run}),
        (without_self_matches(run), {q: [p for p in run.ranking(q) if p != q] for q in run}),
        (select_queries(run, {"a", "c", "unknown"}), {q: run.ranking(q) for q in run if q != "b"}),
    ):
        assert {q: cut.ranking(q) for q in cut} == {q: ids for q, ids in expected.items() if ids}


def test_left_out_candidates_follow_in_first_stage_order_and_a_passage_outside_them_is_refused_by_name():
    candidates = run_in_order("first", {"q": ["a", "b", "c", "d", "e"], "r": ["a"]})
    whole, added = complete_run(run_in_order("run", {"q": ["d", "b"]}), candidates)
    assert (whole.ranking("q"), added) == (["d", "b", "a", "c", "e"], 3)
    assert list(whole) == ["q"]  # a query that is not answered stays missing

    for query, ids in (("q", ["a", "stranger"]), ("unknown", ["a"])):
        with pytest.raises(BadInput, match=f"query '{query}' .* not among the candidates 'first'.*'{ids[-1]}'"):
            complete_run(run_in_order("run", {query: ids}), candidates)


def test_self_matches_and_excluded_passages_leave_a_ranking_where_the_convention_says_so():
    run = run_in_order("r", {"q": ["q", "a", "b", "c"], "p": ["a", "p"]})
    excluded = {"q": {"a", "c"}, "elsewhere": {"a"}}
    kept, self_matches, left_out = leave_out(run, Convention(), excluded)
    assert same(kept, run) and (self_matches, left_out) == (0, 0)
    kept, self_matches, left_out = leave_out(run, Convention(self_match="drop", excluded_ids="drop"), excluded)
    assert {query: kept.ranking(query) for query in kept} == {"q": ["b"], "p": ["a"]}
    assert (self_matches, left_out) == (2, 2)


def test_a_convention_that_keeps_all_ids_has_the_digest_that_it_had_before_there_were_excluded_ones():
    assert Convention().digest == "sha256:751083053e65ab9a68138fe5fc00522ce1f4bcdb9c58d7a3116d3d81c4aa54f8"
    assert Convention(excluded_ids="drop").digest != Convention().digest
    assert "excluded_ids" not in Convention().as_json()
