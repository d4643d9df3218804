"""Judgements read the same from every layout, and every bad line is refused with its number."""

from __future__ import annotations

import gzip
import hashlib

import pytest
from hypothesis import given, settings, strategies as st

from exabench.core.errors import BadInput
from exabench.measure.qrels import count, positives_only, qrels_digest, read_qrels, write_qrels
from exabench.tasks.catalogue import task

IDS = st.text(st.characters(min_codepoint=33, exclude_categories=("Cc", "Cs", "Z", "Cn")), min_size=1, max_size=8)
QUERY_IDS = IDS.filter(lambda text: not text.startswith("#"))  # a comment, in a TREC file
QRELS = st.dictionaries(
    QUERY_IDS, st.dictionaries(IDS, st.integers(-9, 9), min_size=1, max_size=5), min_size=1, max_size=5
)
JUDGED = {"q1": {"d1": 1, "d2": 0}, "q2": {"d1": -2}}
LAYOUTS = {
    "TREC": "q1 0 d1 1\nq1 0 d2 0\nq2 0 d1 -2\n",
    "TREC with tabs": "q1\t0\td1\t1\nq1\t0\td2\t0\nq2\t0\td1\t-2\n",
    "TREC, other order and blanks": "q2   Q0 d1  -2 \n\nq1 0 d2 0\r\nq1 0 d1 +1",
    "BEIR": "query-id\tcorpus-id\tscore\nq1\td1\t1\nq1\td2\t0\nq2\td1\t-2\n",
    "TREC, blanks and tabs mixed": "q1\t0 d1 1\nq1\t0 d2\t0\nq2 0\td1\t-2\n",
    "TREC with comments": "# q1 0 d9 1\nq1 0 d1 1\n#q9 0 d2 0\n#\n##\nq1 0 d2 0\nq2 0 d1 -2\n# the end",
    "TREC, grades as numbers": "q1 0 d1 1.0\nq1 0 d2 0.00\nq2 0 d1 -2.\n",
    "TREC, the same twice": "q1 0 d1 1\nq1 0 d2 0\nq2 0 d1 -2\nq1 0 d1 1\n",
    "BEIR without a header": "q1\td1\t1\nq1\td2\t0\nq2\td1\t-2\n",
    "BEIR under another header": "qid\tcid\tgrade of 2020\nq1\td1\t1\nq1\td2\t0\nq2\td1\t-2\n",
    "BEIR with a column more": "query-id\tcorpus-id\tscore\tby\nq1\td1\t1\tx\nq1\td2\t0\tx\nq2\td1\t-2\tx\n",
    "BEIR, grades as numbers": "query-id\tcorpus-id\tscore\nq1\td1\t1.0\nq1\td2\t0.0\nq2\td1\t-2.0\n",
    "BEIR, the same twice": "query-id\tcorpus-id\tscore\nq1\td1\t1\nq1\td1\t1\nq1\td2\t0\nq2\td1\t-2\n",
    "BEIR, quoted": 'query-id\tcorpus-id\tscore\n"q1"\t"d1"\t"1"\nq1\td2\t0\n"q2"\td1\t-2\n',
    "JSON": '{"q1": {"d1": 1, "d2": 0}, "q2": {"d1": -2.0}}',
    "JSONL": '{"query-id": "q1", "corpus-id": "d1", "score": 1}\n{"query-id": "q1", "corpus-id": "d2", "score": 0}\n\n'
    '{"query-id": "q2", "corpus-id": "d1", "score": -2}\n',
    "BEIR, byte-order mark, CRLF": "\ufeffquery-id\tcorpus-id\tscore\r\nq2\td1\t-2\r\nq1\td1\t1\r\nq1\td2\t0\r\n",
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_reads_the_same_plain_and_gzip(tmp_path, layout):
    for pack in (bytes, gzip.compress):
        (tmp_path / "qrels").write_bytes(pack(LAYOUTS[layout].encode()))
        assert read_qrels(tmp_path / "qrels") == JUDGED


@settings(max_examples=15)
@given(QRELS)
def test_judgements_read_back_as_they_were_written(tmp_path_factory, qrels):
    folder = tmp_path_factory.mktemp("qrels")
    for name in ("trec", "beir.tsv", "packed.tsv.gz"):
        write_qrels(qrels, folder / name)
        assert read_qrels(folder / name) == qrels


@given(QRELS)
def test_the_digest_does_not_depend_on_order_but_on_every_grade(qrels):
    turned = {q: dict(reversed(row.items())) for q, row in reversed(qrels.items())}
    assert qrels_digest(turned) == qrels_digest(qrels)
    query, row = next(iter(qrels.items()))
    passage, grade = next(iter(row.items()))
    assert qrels_digest(qrels | {query: row | {passage: grade + 1}}) != qrels_digest(qrels)


BAD = {
    "": "contains no judgement",
    "query-id\tcorpus-id\tscore\n": "contains no judgement",
    "corpus-id\tquery-id\tscore\nd1\tq1\t1\n": ":1: has the document before the query; .*exchange the first two",
    "q1 0 d1 1\nq1 0 d2 0.9\n": ":2: grade '0.9' is not a whole number.*'d2'",
    "query-id\tcorpus-id\tscore\nq1\td1\t0.5\n": ":2: grade '0.5' is not a whole number.*'d1'",
    "q1\t0\td1\tone\nq1\t0\td2\t1\n": ":1: grade 'one' is not a whole number.*'d1'",
    "q1 0 d1 one\n": ":1: grade 'one' is not a whole number.*'d1'",
    "q1 0 d1 nan\n": ":1: grade 'nan' is not a whole number",
    "q1 0 d1 \u0661\n": ":1: grade .* is not a whole number",
    "q1 0 d1 1_0\n": ":1: grade '1_0' is not a whole number",
    "q1 d1 1\n": ":1: has 3 columns where judgements have four .* or three between tabs .*query-id corpus-id score",
    'query-id\tcorpus-id\tscore\nq1\t"d 1"\t1\n': ":2: an id must not be empty or contain whitespace.*'d 1'",
    'query-id\tcorpus-id\tscore\nq1\t"d1\t1\nq2\td1\t1\n': ":2: has 2 columns where the first line has 3",
    "query-id\tcorpus-id\tscore\nq1\td1\t1\nq2\td1\n": ":3: has 2 columns where the first line has 3",
    "query-id\tcorpus-id\tscore\nq1\td1 \t1\n": ":2: an id must not be empty or contain whitespace.*'d1 '",
    '{"q1": {"d1": 0.5}}': "grade 0.5 of query 'q1' is not a whole number.*'d1'",
    '{"q1": {"d1": 1, "d1": 1}}': "the key 'd1' appears twice",
    '{"q1": ["d1"]}': "has .* where {passage: value} is expected.*'q1'",
    "q1 0 d1 1\nq1 0 d2 12345678901\n": ":2: grade",
    "q1 0 d1 1\n\t\t\nq1 0 d2 1\n": ":2: has 0 columns where judgements have four",
    "q1 0 d1 1\nq1 d2 1\n": ":2: has 3 columns where judgements have four",
    "query-id\tcorpus-id\tscore\nq1\t0\td1\t1\n": ":2: has 4 columns where the first line has 3",
    "query-id\tcorpus-id\tscore\nq1\td1\t1\nq1\td1\t2\n": ":3: judged twice for query 'q1', 1 and 2; keep.*'d1'",
    "q1 0 d1 1\nq2 0 d1 1\nq1 0 d1 0\n": ":3: judged twice for query 'q1'.*'d1'",
    "q1\t0\td 1\t1\n": ":1: an id must not be empty or contain whitespace.*'d 1'",
    "q1\t0\t\t1\n": ":1: an id must not be empty",
    "q1\t0\td\x001\t1\n": ":1: an id must not be empty or contain whitespace or control",
}


@pytest.mark.parametrize("text", BAD, ids=[message[:40] for message in BAD.values()])
def test_bad_judgements_are_refused_with_file_and_line(tmp_path, text):
    file = tmp_path / "qrels.tsv"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(BadInput, match=BAD[text]) as caught:
        read_qrels(file)
    assert str(caught.value).startswith(str(file))


def test_counts_positives_and_digest():
    assert (count(JUDGED), positives_only(JUDGED), positives_only({"q": {"d": 1}})) == (3, False, True)
    lines = "q1\td1\t1\nq1\td2\t0\nq2\td1\t-2\n"
    assert qrels_digest(JUDGED) == f"sha256:{hashlib.sha256(lines.encode()).hexdigest()}"


@pytest.mark.real_data
@pytest.mark.parametrize("name", ["scifact", "nfcorpus", "trec-dl-2019", "trec-dl-2020"])
def test_real_judgements_are_those_of_the_table(real_data, name):
    entry, qrels = task(name), read_qrels(real_data / name / "qrels" / "test.tsv")
    # How the files of castorini/anserini-tools were laid out, so that their md5 can be recomputed from ours.
    middle = "Q0" if name == "trec-dl-2019" else "0"
    text = "".join(f"{q} {middle} {p} {grade}\n" for q, row in qrels.items() for p, grade in row.items())
    assert (len(qrels), count(qrels)) == (entry.queries, entry.judgements)
    assert qrels_digest(qrels) == entry.qrels_digest
    assert hashlib.md5(text.encode()).hexdigest() == entry.qrels_md5
