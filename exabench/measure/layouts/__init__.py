"""Layouts of runs and judgements other than lines of text: a file for each, which reads it as columns.

    _json      {query: {passage: value}} (BEIR, ranx, pytrec_eval), MTEB's predictions, rank_llm, rows of records; JSONL
    _table     columns between tabs, commas or spaces under a header that names them
    _parquet   Parquet with columns under the names that people use
    _ranx      what ranx saves as .lz4
    _python    dicts, DataFrames, tables, ranx.Run and Qrels, rows of ir_datasets and ir_measures

`measure/runs.py` and `measure/qrels.py` read lines of text themselves, and give every layout its meaning.
"""

from __future__ import annotations

import re
from pathlib import Path

from exabench.measure.columns import Columns, Names
from exabench.measure.layouts import _json, _parquet, _ranx
from exabench.measure.layouts._python import python_columns as python_columns
from exabench.measure.layouts._table import table_columns as table_columns

_OBJECT = re.compile(rb'\{\s*("(?:[^"\\]|\\.)*"\s*:|\}\s*$)')
_ARRAY = re.compile(rb"\[\s*([\[{]|\]\s*$)")
_NUMBER = re.compile(rb"[+-]?[\d.]+([eE][+-]?\d+)?")


def file_columns(data: bytes, file: str | Path, values: Names) -> Columns | None:
    """The columns of what was read from `file`, or None where it is lines of text.

    `values` are the names that a column of scores or grades may have. Raises BadInput.
    """
    if data.startswith(_parquet.MAGIC):
        return _parquet.columns(data, file, values)
    if data.startswith(_ranx.MAGIC):
        return _ranx.columns(data, file)
    if _is_json(data):
        return _json.columns(data, file, values)
    return None


def _is_json(data: bytes) -> bool:
    """Does it begin like JSON, and is its first line none of a run or of judgements (whose ids may be anything)?"""
    # The beginning is enough: a whole file may be gigabytes on one line.
    start = data[:10_000].removeprefix(b"\xef\xbb\xbf").lstrip()
    if _OBJECT.match(start):
        return True
    # In JSON a comma or a bracket follows a number at once, so a number alone is one of the later columns of a line.
    words = start.partition(b"\n")[0].split()
    return _ARRAY.match(start) is not None and not any(_NUMBER.fullmatch(word) for word in words[2:5])
