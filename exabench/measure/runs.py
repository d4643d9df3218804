"""Runs: the one ranking rule, and reading and writing TREC run files.

The rule is trec_eval's: scores rounded to single precision, higher score first, and among equal scores the
document id that is greater as a string first; the rank column is ignored. Every metric reads this one order.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from exabench.core.errors import BadInput, plural, printable
from exabench.core.files import (
    USUAL_BOUND,
    Bound,
    digest_of,
    gzip_bytes,
    read_bytes,
    refuse_utf_16,
    text_of,
    write,
)
from exabench.core.nouns import Convention, Run
from exabench.measure.columns import LARGEST_SCORE, SCORE, Columns, GivenRow, check_query_ids, columns_of
from exabench.measure.layouts import file_columns, python_columns, table_columns

_TREC = "query q0 passage rank score tag".split()
_MS_MARCO = "query passage rank".split()
_LAYOUTS = "six (query Q0 document rank score tag), or three in MS MARCO's form (query document rank)"
_NUMBER = re.compile(rb"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_RANK = re.compile(rb"[+-]?\d{1,9}")  # these fit 32 bits
# A line of three columns, or of ColBERT's four (query document rank score), that ends in a fraction: no rank and no
# grade has one, while 1.0 may be either, as tables of numbers write it.
_SCORE_AT_END = re.compile(
    rb"^[ \t]*[^\s#]\S*[ \t]+\S+[ \t]+(\d{1,9}[ \t]+)?"  # query, document, rank
    rb"[+-]?\d{0,20}\.\d{0,20}[1-9]\d{0,20}([eE][+-]?\d{1,3})?[ \t\r]*$",
    re.M,
)
_PIECE = 1 << 17  # bytes that are looked at together: they stay in a cache of the processor
# Masks of the first 0, 1, ..., 8 bytes of a number that is in memory with its lowest byte first.
_FIRST_BYTES = np.array([2 ** (8 * size) - 1 for size in range(9)], np.uint64)
_CONTROL = re.compile(rb"\r(?!\n)|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
# Endings that say how a file is written; what is before them names the system.
_ENDINGS = re.compile(r"(\.(trec|txt|tsv|csv|json|jsonl|parquet))?(\.(gz|bz2|xz|zst|zstd|lz4|zip))?$")


def read_run(path: str | Path, name: str | None = None, *, bound: Bound = USUAL_BOUND) -> Run:
    """Read a run file into ranking order: TREC or MS MARCO lines, JSON, JSONL or Parquet, packed or plain.

    docs/files.md lists the layouts; "-" is standard input. Where there are no scores, the order is that of the ranks.
    Raises BadInput with file, line and id for: an empty file, a line of another number of columns, a score that is not
    a finite number in single precision, a rank that is not a whole number or appears twice, a document twice in one
    query, three whole numbers of which no third is rank 1, whitespace or control characters inside ids, text that is
    not UTF-8, more than `bound`.
    """
    if not name:
        name = "stdin"
        if str(path) != "-":
            name = _ENDINGS.sub("", Path(path).name)
    data = read_bytes(path, bound)
    columns = file_columns(data, path, SCORE)
    if columns is not None:
        return _run_of_columns(name, columns)
    data = data.removeprefix(b"\xef\xbb\xbf")
    with ThreadPoolExecutor(1) as beside:
        words = beside.submit(_check_words, data, path)
        run = _run_of_table(name, data)
        words.result()
    if run is not None:
        return run
    # Something is unusual or wrong: the slow readers take any white space, and know every line by number.
    control = _CONTROL.search(data)
    if control:
        raise BadInput("contains a control character", file=path, line=data.count(b"\n", 0, control.start()) + 1)
    columns = table_columns(text_of(data, path), path, SCORE)
    if columns is None:
        columns = columns_of(_line_rows(data, path), path)
        if columns.values is None:
            _refuse_scores_as_ranks(columns)
    return _run_of_columns(name, columns)


def _refuse_scores_as_ranks(columns: Columns) -> None:
    """Raise BadInput where MS MARCO's third column begins nowhere at 1: whole-number scores look like that."""
    ranks = columns.whole_ranks()
    if len(ranks) and ranks.min() > 1:
        raise BadInput(
            "its third column would be ranks (MS MARCO's form), and no document has rank 1; if they are scores, write "
            "query Q0 document rank score tag",
            file=columns.file,
        )


def _check_words(data: bytes, path: str | Path) -> None:
    """Raise BadInput for UTF-16, and for a no-break space or its like in a word: a reader does not see it."""
    if data.isascii():
        return
    refuse_utf_16(data, path)
    for number, line in enumerate(data.decode(errors="replace").split("\n"), 1):
        for word in re.split(r"[ \t\r]", line):
            if not word.isascii() and re.search(r"[\s\x80-\x9f]", word):
                raise BadInput("contains whitespace or a control character", file=path, line=number, id=word)


def _run_of_table(name: str, data: bytes) -> Run | None:
    """The run in lines that Arrow can read; None where a line is unusual or wrong."""
    with ThreadPoolExecutor(1) as beside:
        tidy = beside.submit(_is_tidy, data)
        table = _read_columns(data)
        if table is None or not table.num_rows or not tidy.result():
            return None
    queries = table["query"].unify_dictionaries().combine_chunks()
    if any(query.startswith("#") for query in queries.dictionary.to_pylist()):  # a comment
        return None
    passages = table["passage"].combine_chunks()
    ranks: Any = None
    if "rank" in table.column_names:
        # to_numpy would import pandas, which takes longer than to read most runs.
        ranks = np.from_dlpack(table["rank"].combine_chunks())
    if "score" not in table.column_names:
        scores = None
        if ranks.min() <= 1:
            scores = _scores_of_ranks(queries, ranks)
        if scores is None or _may_hold_duplicates(queries, passages):
            return None
        return _rank(name, queries, passages, scores)
    scores = np.from_dlpack(table["score"].combine_chunks())
    # What is too large for single precision, or NaN, is told with its line.
    if not (scores.min() > -LARGEST_SCORE and scores.max() < LARGEST_SCORE):
        return None
    with ThreadPoolExecutor(1) as beside:
        duplicates = beside.submit(_may_hold_duplicates, queries, passages)
        run = _rank(name, queries, passages, scores, ranks)
        if duplicates.result():
            return None
    return run


def _scores_of_ranks(queries: pa.DictionaryArray, ranks: np.ndarray) -> np.ndarray | None:
    """The scores n, n - 1, ..., 1 for each query's passages in the order of their ranks; None where one repeats."""
    query = np.from_dlpack(queries.indices)
    order = np.lexsort((ranks, query))
    sorted_query = query[order]
    sorted_ranks = ranks[order]
    if ((sorted_query[1:] == sorted_query[:-1]) & (sorted_ranks[1:] == sorted_ranks[:-1])).any():
        return None
    sizes = np.bincount(query)
    scores = np.empty(len(ranks), np.float64)
    scores[order] = np.repeat(sizes, sizes) - ranks_in(sizes)
    return scores


def run_of(name: str, scores: Any) -> Run:
    """A Run from `{query_id: {passage_id: score}}`, a DataFrame, a ranx.Run, rows of ir_measures, ...

    Raises BadInput with query and passage for a bad id or a score that is not finite.
    """
    return _run_of_columns(name, python_columns(scores, SCORE))


def run_from(value: Any) -> Run:
    """A run however it is handed in: as a Run, as a file, or as run_of takes it. Raises BadInput."""
    if isinstance(value, Run):
        return value
    if isinstance(value, str | Path):
        return read_run(value)
    return run_of(str(getattr(value, "name", None) or "run"), value)  # ranx.Run has a name


def _run_of_columns(name: str, columns: Columns) -> Run:
    """The ranking rule over columns that no one has checked. Raises BadInput."""
    columns.check_ids()
    if not columns.queries and columns.file is not None:
        raise BadInput("contains no ranking", file=columns.file)
    queries = pa.array(columns.queries, pa.string()).dictionary_encode()
    passages = pa.array(columns.passages, pa.string())
    if _may_hold_duplicates(queries, passages):
        _refuse_duplicates(columns, columns.passages, "the document")
    if columns.values is not None:
        return _rank(name, queries, passages, columns.scores(), columns.ranks_to_compare())
    ranks = columns.whole_ranks()
    scores = _scores_of_ranks(queries, ranks)
    if scores is None:
        _refuse_duplicates(columns, ranks.tolist(), "the rank")
        raise AssertionError("a rank appears twice")
    return _rank(name, queries, passages, scores)


def _refuse_duplicates(columns: Columns, values: Sequence[Any], what: str) -> None:
    """Raises BadInput for the first of `values` that appears twice for a query."""
    seen: dict[tuple[str, Any], int] = {}
    for row, key in enumerate(zip(columns.queries, values, strict=True)):
        first = seen.setdefault(key, row)
        if first != row:
            place = f"first in row {first + 1}"
            if columns.lines is not None:
                place = f"first on line {columns.lines[first]}"
            raise columns.problem(row, f"{what} appears twice for query {printable(key[0])!r} ({place}); keep one line")


def run_in_order(name: str, rankings: Mapping[str, Sequence[str]]) -> Run:
    """A Run that ranks passages as listed, best first, with the scores n, n - 1, ..., 1."""
    return run_of(name, {query_id: rank_scores(ids) for query_id, ids in rankings.items()})


def rank_scores(ranking: Sequence[str]) -> dict[str, float]:
    """The scores n, n - 1, ..., 1 for a ranking, best first: what any tool sorts back into the same order."""
    return {passage_id: float(len(ranking) - i) for i, passage_id in enumerate(ranking)}


def _rank(
    name: str,
    queries: pa.DictionaryArray,
    passages: pa.StringArray,
    scores: np.ndarray,
    ranks: np.ndarray | None = None,
) -> Run:
    """The ranking rule over columns of equal length, in any order; scores finite, no passage twice for a query.

    `ranks` (whole numbers) are only compared with it.
    """
    singles = scores.astype(np.float32) + np.float32(0)  # + 0 turns -0.0 into 0.0, which it ties with
    ids = queries.dictionary.to_pylist()
    by_id = sorted(range(len(ids)), key=ids.__getitem__)
    place = np.empty(len(ids), np.int64)
    place[by_id] = np.arange(len(ids))
    number = np.from_dlpack(queries.indices)
    starts = np.flatnonzero(_differs_from_last(number))
    # Most runs are written query after query, best first: whole lists are put in the order of the query ids.
    if len(starts) == len(ids) and _fall(singles, starts):
        sizes = np.diff(starts, append=len(number))
        lists = np.argsort(place[number[starts]])
        sizes = sizes[lists]
        order = np.repeat(starts[lists], sizes) + ranks_in(sizes)
    else:
        query = place[number]
        sizes = np.bincount(query, minlength=len(ids))
        order = _by_score(query, singles)
    offsets = _offsets(sizes)
    singles = singles[order]
    _break_ties(order, offsets, singles, passages)
    disagreements = 0
    if ranks is not None:
        disagreements = _rank_disagreements(offsets, singles, ranks[order])
    return Run(name, tuple(ids[i] for i in by_id), offsets, passages.take(_rows(order)), singles, disagreements)


def _differs_from_last(column: np.ndarray) -> np.ndarray:
    """At each row: is the value another one than in the row before? The first row differs."""
    differs = np.ones(len(column), bool)
    np.not_equal(column[1:], column[:-1], out=differs[1:])
    return differs


def _fall(scores: np.ndarray, starts: np.ndarray) -> bool:
    """Is no score of the lists that begin at `starts` higher than the one before it?"""
    rises = scores[1:] > scores[:-1]
    rises[starts[1:] - 1] = False  # a list's first score follows another list's last
    return not rises.any()


def _rank_disagreements(offsets: np.ndarray, scores: np.ndarray, ranks: np.ndarray) -> int:
    """In how many queries does a passage with a lower score have a better rank? Rows are in the order of the scores."""
    falls = ranks[1:] < ranks[:-1]
    falls[offsets[1:-1] - 1] = False  # a list's first passage follows another list's last
    if not falls.any():
        return 0
    # Most queries have none, and are in order.
    with_falls = np.unique(np.searchsorted(offsets, np.flatnonzero(falls), side="right")) - 1
    sizes = offsets[with_falls + 1] - offsets[with_falls]
    rows = np.repeat(offsets[with_falls], sizes) + ranks_in(sizes)
    query = np.repeat(with_falls, sizes)
    ranks = ranks[rows]
    scores = scores[rows]
    # Among passages of one score any rank is right, so whole groups of them are compared.
    starts = np.flatnonzero(_differs_from_last(scores) | _differs_from_last(query))
    query = query[starts]
    worst = np.maximum.reduceat(ranks, starts)
    best = np.minimum.reduceat(ranks, starts)
    disagrees = (worst[:-1] > best[1:]) & (query[1:] == query[:-1])
    return len(np.unique(query[1:][disagrees]))


def _offsets(sizes: np.ndarray) -> np.ndarray:
    """Where each of consecutive groups of rows begins, and where the last one ends."""
    return np.concatenate([[0], np.cumsum(sizes)])


def _rows(numbers: np.ndarray) -> pa.Array:
    """Row numbers, int64, as Arrow takes them; nothing is copied, and pa.array would import pandas."""
    return pa.Array.from_buffers(pa.int64(), len(numbers), [None, pa.py_buffer(numbers)])


def _by_score(query: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Row numbers in the order of the queries, each one's highest score first."""
    # The bits of a float as an unsigned number with the same order: a negative one is turned around.
    bits = scores.view(np.uint32)
    ascending = np.where(bits >> 31, ~bits, bits | 0x80000000)
    # One sort of whole numbers does both: the query above, the score, highest first, below.
    queries = query.astype(np.uint64) << 32
    return np.argsort(queries | ~ascending, kind="stable")


def _break_ties(order: np.ndarray, offsets: np.ndarray, scores: np.ndarray, passages: pa.StringArray) -> None:
    """Put the row numbers of equal `scores` in place, greater ids first; only those are compared: strings are slow."""
    ties = np.zeros(len(scores) + 1, bool)  # at i: is the score at i that of the passage before it?
    np.equal(scores[1:], scores[:-1], out=ties[1:-1])
    ties[offsets] = False
    tied = np.flatnonzero(ties[1:] | ties[:-1])
    if not len(tied):
        return
    rows = order[tied]
    by_name = np.from_dlpack(pc.rank(passages.take(_rows(rows)), sort_keys="ascending", tiebreaker="dense"))
    group = np.cumsum(~ties[:-1])[tied]  # passages of one tie share a number
    order[tied] = rows[np.lexsort((-by_name.astype(np.int64), group))]


def _may_hold_duplicates(queries: pa.DictionaryArray, passages: pa.StringArray) -> bool:
    """False: no passage appears twice for a query. True: one does, or (never seen) two 64-bit hashes met by chance.

    Arrow's own hash table costs more than reading the file; here ids are hashed eight bytes at a time.
    """
    _, offsets, content = passages.buffers()
    all_starts = np.frombuffer(offsets, np.int32)
    starts = all_starts[passages.offset : passages.offset + len(passages) + 1].astype(np.int64)
    # The eight bytes from each place on, as a number: a view, so that nothing is copied.
    padded = np.concatenate([np.frombuffer(content or b"", np.uint8), np.zeros(8, np.uint8)])
    words = np.ndarray((len(padded) - 7,), "<u8", padded.data, strides=(1,))
    query = np.from_dlpack(queries.indices)
    keys = np.empty(len(passages), np.uint64)
    step = _PIECE // 8
    for start in range(0, len(keys), step):
        end = start + step
        keys[start:end] = _hashes(words, starts[start : end + 1], query[start:end])
    keys.sort()
    return bool((keys[1:] == keys[:-1]).any())


def _hashes(words: np.ndarray, starts: np.ndarray, query: np.ndarray) -> np.ndarray:
    """64 well-mixed bits for each pair of a query and the bytes from one start to the next."""
    # The constants of known mixers: 2**64 over the golden ratio (splitmix64), and that of degski's 64-bit finaliser.
    sizes = np.diff(starts)
    key = query.astype(np.uint64) * 0x9E3779B97F4A7C15
    key += sizes.view(np.uint64)
    last = np.maximum(sizes - 8, 0)
    mask = _FIRST_BYTES[np.minimum(sizes, 8)]  # of an id shorter than eight bytes, what follows it is not part
    for offset in range(0, sizes.max(initial=0), 8):
        # Eight bytes from the offset on; the last eight of an id that ends before.
        word = words[starts[:-1] + np.minimum(offset, last)]
        word &= mask
        key ^= word
        key *= 0xD6E8FEB86659FD93
        key ^= key >> 32
    return key


def run_text(run: Run, tag: str | None = None) -> bytes:
    """A Run as a TREC run file, its name as the tag; single-precision scores are written to read back exactly."""
    check_query_ids(run.query_ids)
    tag = tag or run.name
    lines = []
    for number, query_id in enumerate(run.query_ids):
        rows = slice(run.offsets[number], run.offsets[number + 1])
        passage_ids = run.passage_ids[rows].to_pylist()
        for rank, (passage_id, score) in enumerate(zip(passage_ids, run.scores[rows], strict=True), 1):
            is_short = 1e-4 <= abs(score) < 1e9  # also without an exponent
            text = np.format_float_positional(score, trim="0") if is_short else str(score)
            lines.append(f"{query_id} Q0 {passage_id} {rank} {text} {tag}\n")
    return "".join(lines).encode()


def write_run(run: Run, path: str | Path, tag: str | None = None) -> bool:
    """Write a TREC run file, gzip where the name ends in .gz; whole or not at all. False if it was there already."""
    data = run_text(run, tag)
    if str(path).endswith(".gz"):
        data = gzip_bytes(data)
    return write(path, data)


def run_digest(run: Run, tag: str | None = None) -> str:
    """sha256 of the run as it is stored: what `gunzip -c FILE | sha256sum` prints."""
    return digest_of(run_text(run, tag))


def select(run: Run, keep: np.ndarray, name: str | None = None) -> Run:
    """The rows where `keep` (one bool a row) holds; queries left without a row go."""
    sizes = np.add.reduceat(keep, run.offsets[:-1], dtype=np.int64)
    left = np.flatnonzero(sizes)
    ids = tuple(run.query_ids[i] for i in left)
    passages = run.passage_ids.filter(pa.array(keep))
    return Run(name or run.name, ids, _offsets(sizes[left]), passages, run.scores[keep], run.rank_disagreements)


def select_queries(run: Run, query_ids: set[str]) -> Run:
    """The run on these queries only."""
    wanted = np.array([query_id in query_ids for query_id in run.query_ids], bool)
    return select(run, np.repeat(wanted, np.diff(run.offsets)))


def without_self_matches(run: Run) -> Run:
    """The run without passages that carry their query's own id (ArguAna, Quora: the query is in the corpus)."""
    query = np.repeat(np.arange(len(run)), np.diff(run.offsets))
    own_ids = pa.array(run.query_ids, pa.string()).take(pa.array(query))
    is_other = pc.not_equal(run.passage_ids, own_ids)
    return select(run, is_other.to_numpy(zero_copy_only=False))


def without_excluded(run: Run, excluded: Mapping[str, Set[str]]) -> Run:
    """The run without the passages that are excluded for their query (BRIGHT: where the query was made from)."""
    keep = np.ones(len(run.scores), bool)
    for query_id, passage_ids in excluded.items():
        rows = run.rows(query_id)
        if rows is not None and passage_ids:
            is_excluded = pc.is_in(run.passage_ids[rows], pa.array(sorted(passage_ids), pa.string()))
            keep[rows] = ~is_excluded.to_numpy(zero_copy_only=False)
    return select(run, keep)


def leave_out(run: Run, convention: Convention, excluded: Mapping[str, Set[str]]) -> tuple[Run, int, int]:
    """The run without what the convention leaves out of every ranking; how many self-matches and excluded passages."""
    rows = len(run.scores)
    if convention.self_match == "drop":
        run = without_self_matches(run)
    self_matches = rows - len(run.scores)
    if convention.excluded_ids == "drop":
        run = without_excluded(run, excluded)
    return run, self_matches, rows - self_matches - len(run.scores)


def top(run: Run, depth: int, name: str | None = None) -> Run:
    """The first `depth` passages of every query."""
    return select(run, ranks_in(np.diff(run.offsets)) < depth, name)


def ranks_in(sizes: np.ndarray) -> np.ndarray:
    """0, 1, 2, ... for lists of these sizes that stand one behind the other, each counted from 0 (int64)."""
    starts = np.cumsum(sizes) - sizes
    return np.arange(sizes.sum()) - np.repeat(starts, sizes)


def complete_run(run: Run, candidates: Run) -> tuple[Run, int]:
    """The run with the candidates it leaves out put below, in first-stage order, and how many those were.

    Queries that the run does not answer at all stay missing (they count 0). Raises BadInput for a query or a
    passage that is not among the candidates.
    """
    rankings = {}
    added = 0
    for query_id in run.query_ids:
        known = candidates.ranking(query_id)
        given = run.ranking(query_id)
        answered = set(given)
        foreign = answered.difference(known)
        if foreign:
            raise BadInput(
                f"run {run.name!r} ranks a passage for query {printable(query_id)!r} that is not among the candidates "
                f"{candidates.name!r}; rerank only passages of the candidate list",
                id=min(foreign),
            )
        # Behind what was answered, so that a reranker of the first 20 alone is measured at any depth.
        left_out = [passage_id for passage_id in known if passage_id not in answered]
        rankings[query_id] = given + left_out
        added += len(left_out)
    return run_in_order(run.name, rankings), added


def _read_columns(data: bytes) -> pa.Table | None:
    """Query, passage, score and rank columns by Arrow's reader, of tidy data; None where it cannot read them."""
    first_line = data[: data.find(b"\n") + 1]
    words = pa.dictionary(pa.int32(), pa.string())
    types = {"query": words, "passage": pa.string(), "rank": pa.int32(), "score": pa.float64()}
    # trec_eval ignores ranks, so that they may be anything: then the columns are read again without them.
    names = _TREC
    choices = [["query", "passage", "score", "rank"], ["query", "passage", "score"]]
    if len(first_line.split()) == len(_MS_MARCO):
        names = _MS_MARCO
        choices = [["query", "passage", "rank"]]
    # Blocks of 4 MB; of the other columns nothing is kept.
    read_options = pyarrow.csv.ReadOptions(column_names=names, block_size=1 << 22)
    parse_options = pyarrow.csv.ParseOptions(delimiter="\t" if b"\t" in first_line else " ", quote_char=False)
    for chosen in choices:
        convert_options = pyarrow.csv.ConvertOptions(
            column_types=types,
            include_columns=chosen,
            null_values=[],
            strings_can_be_null=False,
        )
        with contextlib.suppress(pa.ArrowInvalid):
            return pyarrow.csv.read_csv(pa.BufferReader(data), read_options, parse_options, convert_options)
    return None


def _is_tidy(data: bytes) -> bool:
    """Is there one space (or one tab) between words, a line end after each line, and no other control character?

    Only then are Arrow's columns the words of a line. One pass, in pieces that stay in the processor's cache.
    """
    content = np.frombuffer(data, np.uint8)
    low = ends = pairs = 0
    for start in range(0, len(content), _PIECE):
        piece = content[start : start + _PIECE + 1]
        pairs += int(np.count_nonzero(np.maximum(piece[1:], piece[:-1]) <= 32))
        low += int(np.count_nonzero(piece[:_PIECE] < 32))
        ends += int(np.count_nonzero(piece[:_PIECE] == 10))
    # Each count only where the one before leaves something to explain: most files hold line ends alone.
    tabs = returns = 0
    if low > ends:
        tabs = data.count(b"\t")
    if low > ends + tabs:
        returns = data.count(b"\r\n")
    if low != ends + tabs + returns or pairs != returns or b"\x7f" in data:
        return False
    if tabs and b" " in data:
        return False
    return data[:1] > b" " and data[-1:] not in (b" ", b"\t")


def _line_rows(data: bytes, path: str | Path) -> Iterator[GivenRow]:
    """The rows of TREC, MS MARCO or ColBERT lines in any white space; raises BadInput at the first that is wrong."""
    has_scores = False
    width = 0
    for number, line in enumerate(data.split(b"\n"), 1):
        words = line.split()
        if not words or words[0].startswith(b"#"):  # trec_eval 10 takes it for a comment
            continue
        cells = line.rstrip(b"\r").split(b"\t")
        if (len(cells) == 6 and len(words) > 6) or (len(cells) == 3 and len(words) in (4, 5)):
            # Between tabs, spaces are part of a tag, and no part of an id.
            words = [cell.strip(b" ") for cell in cells]
            if len(words) == 6 and (b" " in words[1] or b" " in words[3]):
                raise BadInput(
                    "has a space in the column Q0 or rank, which trec_eval would read as another column",
                    file=path, line=number,
                )  # fmt: skip
        if not width:
            width = min(len(words), 6)
            has_scores = width == 6 or (b"." in words[-1] and _SCORE_AT_END.search(data) is not None)
        known = (3, 4, 6) if has_scores else (3, 6)
        if width not in known or min(len(words), 6) != width:  # what follows the tag is ignored, as by trec_eval
            raise BadInput(f"has {plural(len(words), 'column')} where a run has {_LAYOUTS}", file=path, line=number)
        try:
            query = words[0].decode()
            passage = words[2 if width == 6 else 1].decode()
        except UnicodeDecodeError as error:
            raise BadInput("is not UTF-8 text", file=path, line=number) from error
        if width == 3 and not has_scores:
            yield GivenRow(query, passage, rank=_whole_number(words[2], query, passage, path, number), line=number)
            continue
        word = words[4 if width == 6 else width - 1]
        score = float("nan")
        if _NUMBER.fullmatch(word):  # float() takes more: underscores, other digits, words
            score = float(word)
        if not -LARGEST_SCORE < score < LARGEST_SCORE:  # also where it is NaN
            text = word.decode(errors="replace")
            raise BadInput(
                f"score {printable(text)!r} of query {printable(query)!r} is not a finite number in single precision",
                file=path, line=number, id=passage,
            )  # fmt: skip
        rank = None
        word = words[3 if width == 6 else 2]
        if width > 3 and _RANK.fullmatch(word):
            rank = int(word)
        yield GivenRow(query, passage, score, rank, number)


def _whole_number(word: bytes, query: str, passage: str, path: str | Path, line: int) -> int:
    if not _RANK.fullmatch(word):
        shown = f"rank {printable(word.decode(errors='replace'))!r} of query {printable(query)!r}"
        raise BadInput(
            f"{shown} is not a whole number: three columns are query, document and rank",
            file=path, line=line, id=passage,
        )  # fmt: skip
    return int(word)
