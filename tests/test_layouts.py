"""Runs and judgements in the forms that others write: each reads as the same run, or one line says why not."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import math
import sys
import zipfile
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import ranx

import exabench
from exabench.cli import main
from exabench.core.errors import BadInput
from exabench.core.nouns import Run
from exabench.measure.qrels import qrels_of, read_qrels, write_qrels
from exabench.measure.runs import read_run, run_from, run_of, run_text, write_run

SCORES = {"q1": {"d1": 3.0, "d2": 2.0, "d3": 1.0}, "q2": {"d4": 3.0, "d5": 2.0}}
JUDGED = {"q1": {"d2": 1, "d1": 0}, "q2": {"d5": 2, "d4": 0}}
VALUE = 0.6309  # nDCG@10 of the one on the other, by trec_eval
TREC = run_text(run_of("run", SCORES), "t").decode()
QRELS = "q1 0 d2 1\nq1 0 d1 0\nq2 0 d5 2\nq2 0 d4 0\n"
FLAT = [(query, passage, score) for query, row in SCORES.items() for passage, score in row.items()]


def same(a: Run, b: Run) -> bool:
    return run_text(a, "t") == run_text(b, "t")


def score_line(capsys: pytest.CaptureFixture[str], run: Path | str, qrels: Path | str) -> str:
    """What `exabench bench score` says of nDCG@10, or why it refuses."""
    capsys.readouterr()
    code = main(["bench", "score", str(run), "--qrels", str(qrels), "--metric", "nDCG@10"])
    told = capsys.readouterr()
    if code:
        assert (code, told.out, told.err.count("\n")) == (2, "", 1)
        return told.err
    return told.out.splitlines()[1].split()[1]


# -- runs in files -----------------------------------------------------------------------------------------------------


def rank_llm(hits: str = "candidates", qid: Callable[[str], Any] = str) -> list[dict[str, Any]]:
    """A list for each query as rank_llm (candidates) and, before it, RankGPT (hits) write it."""
    lists: list[dict[str, Any]] = []
    for query, row in SCORES.items():
        found = [{"docid": passage, "score": score, "doc": {"contents": "x"}} for passage, score in row.items()]
        lists.append({"query": {"text": "what, and why?", "qid": qid(query)}, hits: found})
    return lists


def rank_gpt() -> list[dict[str, Any]]:
    lists = []
    for query, row in SCORES.items():
        hits = [{"content": "x", "qid": query, "docid": p, "rank": rank} for rank, p in enumerate(row, 1)]
        lists.append({"query": "what, and why?", "hits": hits})
    return lists


def parquet(columns: dict[str, list[Any]]) -> bytes:
    packed = io.BytesIO()
    pq.write_table(pa.table(columns), packed)
    return packed.getvalue()


def jsonl(records: list[Any]) -> str:
    return "".join(json.dumps(record) + "\n" for record in records)


def zipped(data: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("run.trec", data)
    return packed.getvalue()


def columns(query: str, passage: str, score: str) -> dict[str, list[Any]]:
    queries, passages, scores = map(list, zip(*FLAT, strict=True))
    return {query: queries, passage: passages, score: scores}


MS_MARCO = "q1\td1\t1\nq1\td2\t2\nq1\td3\t3\nq2\td4\t1\nq2\td5\t2\n"
RANKED = {**columns("qid", "docno", "x"), "rank": [0, 1, 2, 0, 1]}
RANKED_ROWS = [(*row, rank) for row, rank in zip(FLAT, RANKED["rank"], strict=True)]
FORMS: dict[str, str | bytes] = {
    "tag with a blank.tsv": TREC.replace(" ", "\t").replace("\tt\n", "\tmy run\n"),
    "tag and more.trec": TREC.replace(" t\n", " t said x at 9:15\n"),
    "comments.trec": "# made by x\n" + TREC,
    "msmarco.tsv": MS_MARCO,
    "msmarco with blanks.txt": MS_MARCO.replace("\t", " "),
    "msmarco in another order.tsv": "".join(reversed(MS_MARCO.splitlines(keepends=True))),
    "msmarco with mixed blanks.tsv": MS_MARCO.replace("\t", " \t", 1).replace("\n", "\r\n"),
    "msmarco with a header.tsv": "qid\tpid\trank\n" + MS_MARCO,
    "trec with a header.txt": "qid Q0 docno rank score tag\n" + TREC,
    "colbert.tsv": "".join(f"{q}\t{p}\t{rank}\t{score + 20.5}\n" for q, p, score, rank in RANKED_ROWS),
    "scores.tsv": "".join(f"{q}\t{p}\t{score / 2}\n" for q, p, score in FLAT),
    "pandas.csv": pd.DataFrame(columns("qid", "docno", "score")).to_csv(),
    "pyterrier.csv": pd.DataFrame({"docid": 7, "query": 'a, "b"', **columns("qid", "docno", "score")}).to_csv(),
    "nested.jsonl": jsonl([{query: row} for query, row in SCORES.items()]),
    "pairs.json": json.dumps({query: list(row.items()) for query, row in SCORES.items()}),
    "listed.json": json.dumps({one["query"]["qid"]: one["candidates"] for one in rank_llm()}),
    "results.jsonl": jsonl([{"query_id": one["query"]["qid"], "results": one["candidates"]} for one in rank_llm()]),
    "beir.json": json.dumps(SCORES),
    "beir indented.json": json.dumps(SCORES, indent=2),
    "mteb_predictions.json": json.dumps({"mteb_model_meta": {"model_name": "m"}, "default": {"test": SCORES}}),
    "rank_llm.json": json.dumps(rank_llm(), indent=2),
    "rank_llm.jsonl": jsonl(rank_llm()),
    "one query.jsonl": jsonl(rank_llm()[:1]),
    "hits.json": json.dumps(rank_llm("hits")),
    "rankgpt.json": json.dumps(rank_gpt()),
    "records.jsonl": jsonl([dict(zip(("query_id", "doc_id", "score"), row, strict=True)) for row in FLAT]),
    "ir_measures.parquet": parquet(columns("query_id", "doc_id", "score")),
    "pyterrier.parquet": parquet({"docid": [1, 2, 3, 4, 5], "query": ["x"] * 5, **columns("qid", "docno", "score")}),
    "beir.parquet": parquet(columns("query-id", "corpus-id", "score")),
    "ranks.parquet": parquet({name: RANKED[name] for name in ("qid", "docno", "rank")}),
    "run.trec.gz": gzip.compress(TREC.encode()),
    "run.trec.bz2": bz2.compress(TREC.encode()),
    "run.trec.xz": lzma.compress(TREC.encode()),
    "run.trec.zst": pa.compress(TREC.encode(), "zstd", asbytes=True),
    "run.zip": zipped(TREC.encode()),
    "beir.json.gz": gzip.compress(json.dumps(SCORES).encode()),
    "msmarco.tsv.bz2": bz2.compress(MS_MARCO.encode()),
    "byte-order mark.json": "\ufeff" + json.dumps(SCORES),
}


def write(file: Path, data: str | bytes) -> Path:
    file.write_bytes(data.encode() if isinstance(data, str) else data)
    return file


@pytest.mark.parametrize("name", FORMS)
def test_a_run_reads_the_same_in_every_form(tmp_path, capsys, name):
    file = write(tmp_path / name, FORMS[name])
    run = read_run(file)
    only = [query for query in SCORES if query in run]
    if name == "one query.jsonl":
        assert only == ["q1"]
    else:
        qrels = write(tmp_path / "qrels.txt", QRELS)
        assert score_line(capsys, file, qrels) == f"{VALUE}"
    for query in only:
        assert run.ranking(query) == list(SCORES[query])
    assert run.name == name.split(".")[0]
    assert run.rank_disagreements == 0


def test_what_ranx_saves_is_read_as_a_run_and_as_judgements(tmp_path):
    run, qrels = ranx.Run(SCORES, name="mine"), ranx.Qrels(JUDGED)
    for ending in ("lz4", "trec", "txt", "parquet"):
        run.save(str(tmp_path / f"run.{ending}"))
        assert same(read_run(tmp_path / f"run.{ending}"), run_of("run", SCORES))
        if ending != "lz4":
            qrels.save(str(tmp_path / f"qrels.{ending}"))
            assert read_qrels(tmp_path / f"qrels.{ending}") == JUDGED
    assert run_from(run).name == "mine"
    assert same(run_from(run), run_of("run", SCORES))
    assert qrels_of(qrels) == JUDGED
    assert exabench.score(run, qrels=qrels, metrics=["nDCG@10"])["nDCG@10"] == pytest.approx(VALUE, abs=1e-4)


def test_ids_that_a_file_holds_as_numbers_are_their_texts(tmp_path):
    numbers = {"7": {"10": 2.0, "9": 1.0}}
    for name, data in {
        "a.jsonl": '{"query": {"qid": 7}, "candidates": [{"docid": 10, "score": 2}, {"docid": 9, "score": 1}]}',
        "b.parquet": parquet({"qid": [7, 7], "docno": [10, 9], "score": [2.0, 1.0]}),
        "c.trec": "7 Q0 10 1 2 t\n7 Q0 9 2 1 t\n",
    }.items():
        assert same(read_run(write(tmp_path / name, data)), run_of("run", numbers))


def test_standard_input_is_a_run_of_any_form_or_the_judgements(tmp_path, capsys, monkeypatch):
    run, qrels = write(tmp_path / "run.trec", TREC), write(tmp_path / "qrels.txt", QRELS)
    for name in ("tag and more.trec", "rank_llm.jsonl", "ranks.parquet", "run.trec.bz2"):
        data = FORMS[name]
        monkeypatch.setattr(
            sys, "stdin", io.TextIOWrapper(io.BytesIO(data.encode() if isinstance(data, str) else data))
        )
        assert score_line(capsys, "-", qrels) == f"{VALUE}"
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(gzip.compress(QRELS.encode()))))
    assert score_line(capsys, run, "-") == f"{VALUE}"
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(TREC.encode())))
    assert main(["bench", "compare", "-", str(run), "--qrels", str(qrels), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["tasks"][0]["a"] == pytest.approx(VALUE, abs=1e-4)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"")))
    assert "-: contains no ranking" in score_line(capsys, "-", qrels)


def test_ranks_beside_scores_are_compared_with_them_in_every_form(tmp_path):
    lists = [{"query": {"qid": "q"}, "candidates": [{"docid": d, "score": s} for d, s in (("a", 1), ("b", 2))]}]
    table = {"qid": ["q", "q", "r"], "docno": ["a", "b", "a"], "score": [1.0, 2.0, 1.0], "rank": [1, 2, 1]}
    for name, data in {
        "a.jsonl": jsonl(lists),
        "b.parquet": parquet(table),
        "c.trec": "q Q0 a 1 1 t\nq Q0 b 2 2 t\nr Q0 a 1 1 t\n",
    }.items():
        assert read_run(write(tmp_path / name, data)).rank_disagreements == 1
    assert run_of("run", pd.DataFrame(table)).rank_disagreements == 1


REFUSED: dict[str, tuple[str | bytes, str]] = {
    "no form.json": ('"text"', "no form.json:1: has 1 column where a run has six"),
    "number.json": ("[[1, 2]]", r"has \[1, 2\]; expected {query: {passage: value}}, or a list of"),
    "cut.json": ('{"q1": {"d1": 1', r"cut.json:1: is not JSON"),
    "cut.jsonl": (jsonl(rank_llm()) + '{"query"', r"cut.jsonl:3: is not JSON"),
    "nan.json": ('{"q1": {"d1": NaN}}', "score nan of query 'q1' is not a finite number.*'d1'"),
    "large.json": ('{"q1": {"d1": 1e999}}', "score inf of query 'q1' is not a finite number.*'d1'"),
    "larger.json": ('{"q1": {"d1": 1' + "0" * 400 + "}}", "of query 'q1' is not a finite number.*'d1'"),
    "text.json": ('{"q1": {"d1": "1.0"}}', "score '1.0' of query 'q1' is not a number but str.*'d1'"),
    "true.json": ('{"q1": {"d1": true}}', "score True of query 'q1' is not a number but bool.*'d1'"),
    "null.json": ('{"q1": {"d1": null}}', "'d1'"),
    "list.json": ('{"q1": ["d1"]}', "has .* where {passage: value} is expected.*'q1'"),
    "twice.json": ('{"q1": {"d1": 1, "d1": 2}}', "the key 'd1' appears twice; keep one"),
    "blank.json": ('{"q1": {"d 1": 1}}', "blank.json: an id must not be empty or contain whitespace.*'d 1'"),
    "empty.json": ("{}", "contains no ranking"),
    "empty list.json": ("[]", "contains no ranking"),
    "deep.json": ("[" * 100_000, "is not JSON"),
    "two.json": (
        json.dumps({"mteb_model_meta": {}, "de": {"test": SCORES}, "en": {"test": SCORES}}),
        "must contain exactly one ranking, and has de/test, en/test",
    ),
    "no id.jsonl": ('{"query": {"qid": "q"}, "candidates": [{"score": 1}]}\n\n', "lacks the field doc_id or docno"),
    "id.jsonl": (jsonl(rank_llm()) + jsonl([{"query": {"qid": "q 3"}, "candidates": [{"docid": "d", "score": 1}]}]),
                 r"id.jsonl:3: an id must not be empty.*'q 3'"),
    "again.jsonl": (jsonl(rank_llm() + rank_llm()[1:]), r"again.jsonl:3: the document appears twice for query 'q2' "
                    r"\(first on line 2\)"),
    "columns.parquet": (parquet(columns("query_id", "text", "score")), "no column called doc_id.*its columns: query"),
    "value.parquet": (parquet(columns("query_id", "doc_id", "value")), "has no column called score"),
    "cut.parquet": (parquet(columns("query_id", "doc_id", "score"))[:-9], "is not a whole Parquet file"),
    "null.parquet": (parquet({"qid": ["q", None], "docno": ["d", "d"], "score": [1.0, 2.0]}), "ids are strings, not"),
    "rank.tsv": (MS_MARCO + "q2\td6\t2\n", r"rank.tsv:6: the rank appears twice .* \(first on line 5\).*'d6'"),
    "whole scores.txt": ("q1 d1 99\nq1 d2 98\nq2 d1 7\n", "whole scores.txt: .*no document has rank 1; .*scores"),
    "part.tsv": (MS_MARCO + "q2\td6\t2.5\n", "part.tsv:6: rank '2.5' of query 'q2' is not a whole number.*'d6'"),
    "passage.tsv": (MS_MARCO + "q2\td5\t3\n", "passage.tsv:6: the document appears twice for query 'q2'.*'d5'"),
    "blank.tsv": (MS_MARCO + "q2\td 6\t3\n", "blank.tsv:6: an id must not be empty.*'d 6'"),
    "qrels.txt": (QRELS, "qrels.txt:1: has 4 columns where a run has six .*, or three in MS MARCO's form"),
    "whole.tsv": (MS_MARCO.replace("\n", ".0\n"), "whole.tsv:1: rank '1.0' of query 'q1' is not a whole number"),
    "grades.txt": ("q1 0 7 2.0\nq1 0 8 1.0\n", "grades.txt:1: has 4 columns where a run has six"),
    "powershell.trec": (TREC.encode("utf-16"), "powershell.trec: is UTF-16 text: save it as UTF-8"),
    "short.csv": ("qid,docno,score\nq1,d1\n", "short.csv:2: has 2 columns where the header has 3"),
    "comma.csv": ("qid;docno;score\nq1;d1;3,5\n", "comma.csv:1: has 1 column where a run has six"),
    "word.csv": ("qid,docno,score\nq1,d1,high\n", "word.csv:2: score 'high' of query 'q1' is not a number.*'d1'"),
    "picture.png": (b"\x89PNG\r\n\x1a\n\0\0", "picture.png:2: contains a control character"),
    "tar.trec.gz": (gzip.compress(b"run.trec\0\0\0000000644"), "contains a control character"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_run_is_refused_in_one_line_that_says_where(tmp_path, capsys, name):
    data, message = REFUSED[name]
    file = write(tmp_path / name, data)
    with pytest.raises(BadInput, match=message) as caught:
        read_run(file)
    assert str(caught.value).startswith(str(file))
    assert score_line(capsys, file, write(tmp_path / "judgements.txt", QRELS)) == f"exabench: {caught.value}\n"


def test_a_parquet_file_that_would_unpack_to_gigabytes_is_refused(tmp_path):
    one_text = pa.DictionaryArray.from_arrays(np.zeros(100_000, np.int32), pa.array(["x" * 100_000]))
    table = pa.table({"qid": ["q"] * 100_000, "docno": one_text, "score": np.zeros(100_000)})
    pq.write_table(table, tmp_path / "ids.parquet", store_schema=False)
    assert (tmp_path / "ids.parquet").stat().st_size < 1_000_000
    with pytest.raises(BadInput, match="ids.parquet: has more than 2,147,483,648 bytes of ids"):
        read_run(tmp_path / "ids.parquet")


def test_a_parquet_file_of_more_rows_than_bytes_is_refused_before_they_are_read(tmp_path):
    same = pa.DictionaryArray.from_arrays(np.zeros(4_000_000, np.int32), pa.array(["q"]))
    pq.write_table(pa.table({"qid": same, "docno": same, "score": np.zeros(4_000_000)}), tmp_path / "equal.parquet")
    with pytest.raises(BadInput, match="equal.parquet: has 4,000,000 rows in [0-9,]+ bytes, as no run has"):
        read_run(tmp_path / "equal.parquet")


@pytest.mark.parametrize("twice", ["qid", "docno", "score"])
def test_a_parquet_file_with_a_column_twice_is_refused(tmp_path, twice):
    columns = {"qid": ["q"], "docno": ["d"], "score": [1]}
    table = pa.table(columns).append_column(twice, pa.array(columns[twice]))
    pq.write_table(table, tmp_path / "twice.parquet")
    for read in (read_run, read_qrels):
        with pytest.raises(BadInput, match=f"twice.parquet: has the column {twice} more than once"):
            read(tmp_path / "twice.parquet")


# -- runs and judgements in Python -------------------------------------------------------------------------------------


class ScoredDoc(NamedTuple):
    """As ir_measures and ir_datasets have them."""

    query_id: str
    doc_id: str
    score: float


class TrecQrel(NamedTuple):
    """As ir_datasets has them."""

    query_id: str
    doc_id: str
    relevance: int
    iteration: str


JUDGED_ROWS = [TrecQrel(query, passage, grade, "0") for query, row in JUDGED.items() for passage, grade in row.items()]
JUDGED_TABLE = {
    "query_id": ["q1", "q1", "q2", "q2"],
    "doc_id": ["d2", "d1", "d5", "d4"],
    "relevance": [1, 0, 2, 0],
    "iteration": ["0"] * 4,
}
RUNS: dict[str, Callable[[], Any]] = {
    "dict": lambda: SCORES,
    "numpy numbers": lambda: {q: {p: np.float32(s) for p, s in row.items()} for q, row in SCORES.items()},
    "whole numbers": lambda: {q: {p: np.int64(s) for p, s in row.items()} for q, row in SCORES.items()},
    "DataFrame of ir_measures": lambda: pd.DataFrame(columns("query_id", "doc_id", "score")),
    "DataFrame of PyTerrier": lambda: pd.DataFrame({"docid": range(5), **columns("qid", "docno", "score")}),
    "DataFrame of ranx": lambda: ranx.Run(SCORES).to_dataframe(),
    "DataFrame of ranks": lambda: pd.DataFrame({name: RANKED[name] for name in ("qid", "docno", "rank")}),
    "categories": lambda: pd.DataFrame(columns("qid", "docno", "score")).astype({"qid": "category"}),
    "Arrow table": lambda: pa.table(columns("query-id", "corpus-id", "score")),
    "ranx": lambda: ranx.Run(SCORES),
    "named rows": lambda: (ScoredDoc(*row) for row in FLAT),
    "tuples": lambda: FLAT,
    "records": lambda: [dict(zip(("qid", "docno", "score"), row, strict=True)) for row in FLAT],
    "Run": lambda: run_of("run", SCORES),
}
GRADED = {"query-id": ["q1", "q1", "q2", "q2"], "corpus-id": ["d2", "d1", "d5", "d4"], "score": [1, 0, 2, 0]}
QRELS_VALUES: dict[str, Callable[[], Any]] = {
    "dict": lambda: JUDGED,
    "whole floats": lambda: {q: {p: float(grade) for p, grade in row.items()} for q, row in JUDGED.items()},
    "numpy numbers": lambda: {q: {p: np.int8(grade) for p, grade in row.items()} for q, row in JUDGED.items()},
    "numpy floats": lambda: {q: {p: np.float32(grade) for p, grade in row.items()} for q, row in JUDGED.items()},
    "DataFrame": lambda: pd.DataFrame(JUDGED_TABLE),
    "DataFrame with floats": lambda: pd.DataFrame(JUDGED_TABLE).astype({"relevance": float}),
    "DataFrame of PyTerrier": lambda: pd.DataFrame(JUDGED_TABLE).set_axis(["qid", "docno", "label", "i"], axis=1),
    "DataFrame of the Hub": lambda: pd.DataFrame(JUDGED_TABLE).set_axis(
        ["query-id", "corpus-id", "score", "i"], axis=1
    ),
    "ranx": lambda: ranx.Qrels(JUDGED),
    "named rows": lambda: iter(JUDGED_ROWS),
    "the same row twice": lambda: JUDGED_ROWS + JUDGED_ROWS[:1],
    "tuples": lambda: [row[:3] for row in JUDGED_ROWS],
}


@pytest.mark.parametrize("name", RUNS)
def test_score_and_compare_take_a_run_in_every_python_form(name):
    run = run_from(RUNS[name]())
    assert [run.ranking(query) for query in run] == [list(row) for row in SCORES.values()]
    if name != "DataFrame of ranks":
        assert same(run, run_of("run", SCORES))
    assert exabench.score(RUNS[name](), qrels=JUDGED, metrics=["nDCG@10"])["nDCG@10"] == pytest.approx(VALUE, abs=1e-4)
    [one] = exabench.compare(RUNS[name](), SCORES, qrels=JUDGED)
    assert (one.a, one.test.difference) == (pytest.approx(VALUE, abs=1e-4), 0)


@pytest.mark.parametrize("name", QRELS_VALUES)
def test_score_and_write_qrels_take_judgements_in_every_python_form(name, tmp_path):
    assert qrels_of(QRELS_VALUES[name]()) == JUDGED
    found = exabench.score(SCORES, qrels=QRELS_VALUES[name](), metrics=["nDCG@10"])
    assert found["nDCG@10"] == pytest.approx(VALUE, abs=1e-4)
    exabench.write_qrels(QRELS_VALUES[name](), tmp_path / "qrels.tsv")
    assert read_qrels(tmp_path / "qrels.tsv") == JUDGED


NO_JUDGEMENTS: dict[str, tuple[Any, str]] = {
    "a part of a grade": ({"q1": {"d2": 0.9}}, "grade 0.9 of query 'q1' is not a whole number.*'d2'"),
    "parts of grades": ({"q1": {"d2": 2.9, "d1": 1.2}}, "grade 2.9 of query 'q1' is not a whole number.*'d2'"),
    "NaN": ({"q1": {"d2": math.nan}}, "grade nan of query 'q1' is not a whole number.*'d2'"),
    "infinity": ({"q1": {"d2": math.inf}}, "grade inf of query 'q1' is not a whole number.*'d2'"),
    "numpy's NaN": ({"q1": {"d2": np.float32("nan")}}, "grade nan of query 'q1' is not a whole number.*'d2'"),
    "None": ({"q1": {"d2": None}}, "'d2'"),
    "text": ({"q1": {"d2": "1"}}, "grade '1' of query 'q1' is not a number but str.*'d2'"),
    "bool": ({"q1": {"d2": True}}, "grade True of query 'q1' is not a number but bool.*'d2'"),
    "numpy's bool": ({"q1": {"d2": np.True_}}, "of query 'q1' is not a number but bool.*'d2'"),
    "Decimal": ({"q1": {"d2": Decimal(1)}}, "of query 'q1' is not a number but Decimal.*'d2'"),
    "a list": ({"q1": {"d2": [1]}}, r"grade \[1\] of query 'q1' is not a number but list.*'d2'"),
    "too large": ({"q1": {"d2": 2**31}}, "grade 2147483648 of query 'q1' is not a whole number of at most.*'d2'"),
    "far too large": ({"q1": {"d2": 10**400}}, "of query 'q1' is not a whole number of at most nine digits.*'d2'"),
    "a number as passage": ({"q1": {2: 1}}, "ids are strings, not int: write str.id., for query 'q1'.*'2'"),
    "a number as query": ({1: {"d2": 1}}, "ids are strings, not int: write str.id..*'1'"),
    "None as query": ({None: {"d2": 1}}, "ids are strings, not NoneType"),
    "bytes": ({"q1": {b"d2": 1}}, "ids are strings, not bytes"),
    "a blank": ({"q1": {"d 2": 1}}, "an id must not be empty or contain whitespace.*'d 2'"),
    "an empty id": ({"": {"d2": 1}}, "an id must not be empty"),
    "ids alone": ({"q1": ["d2"]}, "has .*d2.* where {passage: value} is expected.*'q1'"),
    "no dict": ({"q1": 1}, "has 1 where {passage: value} is expected.*'q1'"),
    "nothing": ({}, "contains no judgement"),
    "nothing of a query": ({"q1": {}}, "contains no judgement"),
    "a number": (7, "expected .* a DataFrame or rows, not int"),
    "None itself": (iter([None]), "expected rows of .query, passage, value., not None"),
    "four things": ([("q1", "0", "d1", 1)], "expected rows of .query, passage, value."),
    "other fields": ([ScoredDoc("q", "d", 1.0)._asdict() | {"doc_id": 1}], "ids are strings, not int"),
    "other columns": (pd.DataFrame({"qid": ["q"], "text": ["d"], "label": [1]}), "has no column called doc_id"),
    "no grades": (pd.DataFrame({"qid": ["q"], "docno": ["d"]}), "has no column called relevance"),
    "numbers as ids": (pd.DataFrame({"qid": [1], "docno": ["d"], "label": [1]}), "ids are strings, not .*int"),
    "a hole": (pd.DataFrame({"qid": ["q", "q"], "docno": ["d", "e"], "label": [1, None]}), "grade nan .*'e'"),
    "rows without grades": ([{"qid": "q", "docno": "d"}], "no grade is given for query 'q'.*'d'"),
    "two grades": ([("q1", "d1", 1), ("q1", "d1", 2)], "judged twice for query 'q1', 1 and 2; keep one.*'d1'"),
}


@pytest.mark.parametrize("name", NO_JUDGEMENTS)
def test_judgements_that_are_none_are_refused_with_query_and_passage_wherever_they_are_given(name, tmp_path):
    value, message = NO_JUDGEMENTS[name]
    run = run_of("run", SCORES)
    with pytest.raises(BadInput, match=message) as caught:
        exabench.score(run, qrels=value)
    assert "\n" not in str(caught.value)
    if not hasattr(value, "__next__"):
        for act in (
            lambda: exabench.compare(run, run, qrels=value),
            lambda: write_qrels(value, tmp_path / "qrels.txt"),
        ):
            with pytest.raises(BadInput, match=message):
                act()
        assert not (tmp_path / "qrels.txt").exists()


NO_RUNS: dict[str, tuple[Any, str]] = {
    "NaN": ({"q1": {"d2": math.nan}}, "score nan of query 'q1' is not a finite number.*'d2'"),
    "numpy's infinity": ({"q1": {"d2": np.float32("inf")}}, "score inf of query 'q1' is not a finite number.*'d2'"),
    "None": ({"q1": {"d1": 1.0, "d2": None}}, "score None of query 'q1' is not a number but NoneType.*'d2'"),
    "text": ({"q1": {"d2": "1.0"}}, "score '1.0' of query 'q1' is not a number but str.*'d2'"),
    "bool": ({"q1": {"d2": True}}, "score True of query 'q1' is not a number but bool.*'d2'"),
    "too large": ({"q1": {"d2": 10**400}}, "of query 'q1' is not a finite number.*'d2'"),
    "a number as passage": ({"q1": {2: 1.0}}, "ids are strings, not int: write str.id., for query 'q1'.*'2'"),
    "a number as query": ({1: {"d2": 1.0}}, "ids are strings, not int"),
    "ids alone": ({"q1": ["d2"]}, "has .*d2.* where {passage: value} is expected.*'q1'"),
    "a number": (7, "expected .* a DataFrame or rows, not int"),
    "rows with a passage twice": (FLAT + FLAT[:1], "the document appears twice for query 'q1' .first in row 1.*'d1'"),
    "half a rank": (
        pd.DataFrame({"qid": ["q"], "docno": ["d"], "rank": [1.5]}),
        "rank 1.5 of query 'q' is not a whole",
    ),
    "a rank twice": (pd.DataFrame({"qid": ["q"] * 2, "docno": ["d", "e"], "rank": [1, 1]}), "the rank appears twice"),
    "no scores": (pd.DataFrame({"qid": ["q"], "docno": ["d"]}), "has no column called score"),
}


@pytest.mark.parametrize("name", NO_RUNS)
def test_a_run_that_is_none_is_refused_with_query_and_passage(name):
    value, message = NO_RUNS[name]
    for act in (lambda: exabench.score(value, qrels=JUDGED), lambda: exabench.compare(SCORES, value, qrels=JUDGED)):
        with pytest.raises(BadInput, match=message) as caught:
            act()
        assert "\n" not in str(caught.value)


def test_rows_with_neither_score_nor_rank_are_refused():
    with pytest.raises(BadInput, match="no score or rank is given for query 'q'.*'d'"):
        run_of("run", [{"qid": "q", "docno": "d"}])


# -- judgements in files -----------------------------------------------------------------------------------------------


def test_judgements_are_written_as_beir_reads_them(tmp_path):
    import csv

    judged = {
        'q"1': {'<dbpedia:"Heroes"_(album)>': 2, '"begins': 1, 'ends"': 0, "'one'": 1},
        "#1": {"d,1": -1, "d'1": 3},
    }
    write_qrels(judged, tmp_path / "qrels.tsv")
    with (tmp_path / "qrels.tsv").open(encoding="utf-8") as lines:
        reader = csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_MINIMAL)  # as BEIR's GenericDataLoader has it
        assert next(reader) == ["query-id", "corpus-id", "score"]
        rows = [(query, passage, int(grade)) for query, passage, grade in reader]
    assert qrels_of(rows) == judged
    assert read_qrels(tmp_path / "qrels.tsv") == judged


def test_a_query_whose_line_would_be_a_comment_is_not_written_in_trec_form(tmp_path):
    for act in (
        lambda: write_qrels({"#1": {"d": 1}}, tmp_path / "file"),
        lambda: write_run(run_of("run", {"#1": {"d": 1}}), tmp_path / "file"),
    ):
        with pytest.raises(BadInput, match="begins with # is a comment in TREC files: rename the query.*'#1'"):
            act()
    assert not (tmp_path / "file").exists()


QUOTED = 'query-id\tcorpus-id\tscore\nq1\t"<the_""Heroes"">"\t1\n"q""2"\td5\t"2"\n'


def test_an_id_of_any_length_is_read(tmp_path):
    long = "d" * 300_000
    assert read_run(write(tmp_path / "run.trec", f"q Q0 {long} 1 2.5 x\n\n")).ranking("q") == [long]
    assert read_qrels(write(tmp_path / "qrels.txt", f"q 0 {long} 1\n")) == {"q": {long: 1}}


def test_a_lone_record_is_no_table_of_passages(tmp_path):
    file = write(tmp_path / "one.jsonl", '{"query-id": "q1", "corpus-id": "d1", "score": 1}\n')
    assert read_qrels(file) == {"q1": {"d1": 1}}
    assert read_run(file).ranking("q1") == ["d1"]


def test_ids_that_hold_quotes_are_those_that_beir_reads(tmp_path, capsys):
    judged = {"q1": {'<the_"Heroes">': 1}, 'q"2': {"d5": 2}}
    qrels = write(tmp_path / "qrels.tsv", QUOTED)
    assert read_qrels(qrels) == judged
    run = run_of("run", {'q"2': {"d5": 2.0, "d4": 1.0}, "q1": {'<the_"Heroes">': 2.0}})
    write_run(run, tmp_path / "run.trec")
    assert score_line(capsys, tmp_path / "run.trec", qrels) == "1.0000"


@pytest.mark.parametrize(
    ("name", "text"),
    {
        "mixed.txt": QRELS.replace(" ", "\t", 1),
        "cid.tsv": "qid\tcid\tscore\nq1\td2\t1\nq2\td5\t2\n",
        "nohead.tsv": "q1\td2\t1\nq2\td5\t2\n",
        "grade1.0.tsv": "query-id\tcorpus-id\tscore\nq1\td2\t1.0\nq2\td5\t2.0\n",
        "comment.txt": "# made by x\n" + QRELS,
        "twice.tsv": "query-id\tcorpus-id\tscore\nq1\td2\t1\nq1\td2\t1\nq2\td5\t2\n",
        "header.txt": "qid iter docno rel\n" + QRELS,
        "index.tsv": pd.DataFrame(GRADED).to_csv(sep="\t"),
        "pandas.csv": pd.DataFrame(GRADED).to_csv(index=False),
        "confidence.tsv": "query-id\tcorpus-id\tscore\tconfidence\nq1\td2\t1\t0.5\nq2\td5\t2\t1\n",
        "nested.jsonl": jsonl([{query: row} for query, row in JUDGED.items()]),
        "judged.json": json.dumps(JUDGED),
        "judged.jsonl": jsonl([row._asdict() for row in JUDGED_ROWS]),
    }.items(),
)
def test_judgements_that_others_read_give_their_value(tmp_path, capsys, name, text):
    run = write(tmp_path / "run.trec", TREC)
    for pack, ending in ((bytes, ""), (gzip.compress, ".gz"), (bz2.compress, ".bz2"), (lzma.compress, ".xz")):
        qrels = write(tmp_path / f"{name}{ending}", pack(text.encode()))
        assert score_line(capsys, run, qrels) == f"{VALUE}"
