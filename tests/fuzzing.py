"""Inputs nobody wrote: good files, damaged by a seeded random, given to the commands that read them.

A Reader makes good files in a folder and names the commands that read one of them. Each damaged file is read in a fork
of this process, with an alarm and a limit of memory; `faults_of` says what it should not have done. Run as a program
for a long campaign: `python tests/fuzzing.py --inputs 300 [--seed N] [READER ...]`.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import json
import os
import random
import re
import resource
import shutil
import signal
import sys
import tempfile
import time
import tomllib
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SECONDS = 10
MEMORY = 1 << 30
LONGEST_LINE = 1000  # bytes of a line of standard error, the path of the file in it included

ODD_TEXTS = (
    *(
        "",
        " ",
        "\x00",
        "\x1b[2J",
        "\u202e",
        "\u2028",
        "\ud800",
        "\ufeff",
        "\x85",
        "\x7f",
        "..",
        "../../x",
        "/etc/passwd",
    ),
    *(
        "a/b",
        "nan",
        "NaN",
        "inf",
        "-0",
        "1e999",
        "0x10",
        "１",
        "x" * 5000,
        "x " * 2000,
        "true",
        "null",
        "None",
        "{",
        "[",
        "#",
    ),
    *("<script>", "{{ 7 * 7 }}", "{% for %}", "%s%n", "=1+1", "\n", "\r", "\t", "a\nb", "sha256:", "https://", "@"),
)
ODD_NUMBERS = (0, -1, 1, 2**31, 2**63, 2**64, -(2**63), 10**30, 10**400, 1e308, -1e308, 5e-324, 0.1, -0.0, 2**53 + 1)
ODD_BYTES = (
    b"\x00",
    b"\xff\xfe",
    b"\xef\xbb\xbf",
    b"\r\n",
    b"\r",
    b"\n",
    b"\t",
    b" ",
    b"\xe2\x80\xae",
    b"\xc0\x80",
    b'"',
)


@dataclass(frozen=True)
class Reader:
    """Files of a kind, and how they are read.

    `make` fills a folder and returns the files that are damaged, by their paths in it. `read` reads what lies in the
    folder: a function of the file, which raises what a user would see. `writes` is how the names of files begin that
    may be written although the input is refused: a reply store is opened before the file that goes into it is read.
    """

    name: str
    make: Callable[[Path], Sequence[str]]
    commands: Sequence[Sequence[str]] = ()
    read: Callable[[Path], object] | None = None
    writes: Sequence[str] = ()


@dataclass
class Outcome:
    """What a reader did with one input."""

    code: int = 0
    said: str = ""
    seconds: float = 0.0
    memory: int = 0
    written: list[str] = field(default_factory=list)


# -- damage ------------------------------------------------------------------------------------------------------------


def damaged(data: bytes, name: str, chance: random.Random) -> bytes:
    """A file's bytes, damaged once or a few times: as text or values where it has some, else byte by byte."""
    kind = Path(name).suffix
    if kind in (".json", ".jsonl", ".toml") and chance.random() < 0.6:
        with contextlib.suppress(ValueError, RecursionError):
            return _with_odd_values(data, kind, chance)
    if kind == ".parquet" and chance.random() < 0.5:
        return _with_odd_columns(data, chance)
    if kind == ".safetensors" and chance.random() < 0.6:
        with contextlib.suppress(ValueError, RecursionError):
            return _with_odd_header(data, chance)
    if kind == ".gz" and chance.random() < 0.6:
        import gzip

        inner = damaged(gzip.decompress(data), name.removesuffix(".gz"), chance)
        return gzip.compress(inner, compresslevel=1, mtime=0)
    for _ in range(chance.choice((1, 1, 1, 2, 8))):
        data = _with_odd_bytes(data, chance)
    return data


def _with_odd_bytes(data: bytes, chance: random.Random) -> bytes:
    place = chance.randrange(len(data) + 1)
    end = min(len(data), place + chance.choice((1, 2, 8, 64, 1024)))
    way = chance.randrange(9)
    if way == 0:
        return data[:place]
    if way == 1:
        return data[:place] + data[end:]
    if way == 2:
        return data[:place] + data[place:end] * chance.choice((2, 3, 100, 5000)) + data[end:]
    if way == 3:
        return data[:place] + chance.choice(ODD_BYTES) + data[place:]
    if way == 4:
        return data[:place] + chance.choice(ODD_TEXTS).encode("utf-8", "surrogatepass") + data[end:]
    if way == 5:
        words = list(re.finditer(rb"[^\s,:\[\]{}\"]+", data[:200_000]))
        if words:
            word = chance.choice(words)
            other = chance.choice((*map(_number, ODD_NUMBERS), *ODD_TEXTS)).encode("utf-8", "surrogatepass")
            return data[: word.start()] + other + data[word.end() :]
    if way == 6:
        return data[:place] + (b"[" * chance.choice((10, 2000, 100_000))) + data[place:]
    if way == 7:
        return data[:place] + chance.randbytes(chance.choice((1, 4, 100))) + data[end:]
    if not data:
        return bytes([chance.randrange(256)])
    place = chance.randrange(len(data))
    return data[:place] + bytes([data[place] ^ (1 << chance.randrange(8))]) + data[place + 1 :]


def _number(value: float) -> str:
    return repr(value)


def _odd_value(value: Any, chance: random.Random) -> Any:
    """Something else in the place of a value."""
    deep: Any = value
    for _ in range(chance.choice((1, 3, 60, 300))):
        deep = chance.choice(([deep], {"a": deep}))
    choices = [None, True, False, [], {}, [value], {"a": value}, [value, value], deep, float("nan"), float("inf")]
    choices += [
        chance.choice(ODD_TEXTS),
        chance.choice(ODD_TEXTS),
        chance.choice(ODD_NUMBERS),
        chance.choice(ODD_NUMBERS),
    ]
    if isinstance(value, str):
        choices += [value * 100, value + chance.choice(ODD_TEXTS), value.upper(), value[:-1]]
    if isinstance(value, int | float) and not isinstance(value, bool):
        choices += [-value, value + 1, str(value), float(value) if abs(value) < 1e300 else 0.5]
    return chance.choice(choices)


def _places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to each value within a value."""
    yield path
    if isinstance(value, dict):
        for key in list(value)[:60]:
            yield from _places(value[key], (*path, key))
    if isinstance(value, list):
        for number in range(min(len(value), 20)):
            yield from _places(value[number], (*path, number))


def _changed(value: Any, chance: random.Random) -> Any:
    """A value with an odd one in it, a key too many or too few."""
    path = chance.choice(list(_places(value)))
    if not path:
        return _odd_value(value, chance)
    above = value
    for key in path[:-1]:
        above = above[key]
    last = path[-1]
    way = chance.randrange(6)
    if way == 0:
        del above[last]
    elif way == 1 and isinstance(above, dict):
        above[chance.choice(ODD_TEXTS)] = above[last]
    elif way == 1:
        above.append(above[last])
    else:
        above[last] = _odd_value(above[last], chance)
    return value


def _with_odd_values(data: bytes, kind: str, chance: random.Random) -> bytes:
    text = data.decode()
    if kind == ".toml":
        value = tomllib.loads(text)
        for _ in range(chance.choice((1, 1, 2))):
            value = _changed(value, chance)
        if not isinstance(value, dict):
            value = {"value": value}
        return "".join(f"{_toml(str(key))} = {_toml(inner)}\n" for key, inner in value.items()).encode(
            "utf-8", "surrogatepass"
        )
    lines = [text]
    if kind == ".jsonl":
        lines = text.splitlines()
    place = chance.randrange(len(lines))
    lines[place] = json.dumps(_changed(json.loads(lines[place]), chance), ensure_ascii=chance.random() < 0.5)
    return "\n".join([*lines, ""]).encode("utf-8", "surrogatepass")


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_toml(str(key))} = {_toml(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    if value is None:
        return '"None"'
    return json.dumps(value, ensure_ascii=False).replace("Infinity", "inf").replace("NaN", "nan")


def _with_odd_columns(data: bytes, chance: random.Random) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pq.read_table(pa.BufferReader(data))
    place = chance.randrange(table.num_columns)
    name = table.column_names[place]
    way = chance.randrange(7)
    if way == 0:
        table = table.remove_column(place)
    elif way == 1:
        table = table.append_column(chance.choice((name, "odd", "", "x" * 5000, "\x1b[2J")), table.column(place))
    elif way == 2:
        kinds = (pa.int8(), pa.float16(), pa.large_string(), pa.binary(), pa.date32(), pa.list_(pa.int64()), pa.null())
        table = table.set_column(place, name, pa.nulls(table.num_rows, chance.choice(kinds)))
    elif way == 3:
        table = table.slice(0, chance.choice((0, 1)))
    elif way == 4:
        table = pa.concat_tables([table] * chance.choice((2, 1000)))
    elif way == 5:
        odd = [chance.choice(ODD_TEXTS).encode("utf-8", "replace").decode() for _ in range(table.num_rows)]
        table = table.set_column(place, name, pa.array(odd))
    else:
        odd_numbers = [chance.choice((float("nan"), float("inf"), -1.0, 1e308, None)) for _ in range(table.num_rows)]
        table = table.set_column(place, name, pa.array(odd_numbers, pa.float64()))
    out = io.BytesIO()
    pq.write_table(table, out)
    return out.getvalue()


def _with_odd_header(data: bytes, chance: random.Random) -> bytes:
    size = int.from_bytes(data[:8], "little")
    header = json.dumps(_changed(json.loads(data[8 : 8 + size]), chance)).encode()
    told = len(header) if chance.random() < 0.8 else chance.choice((0, 1, 2**63, 2**64 - 1, 100 << 20))
    return told.to_bytes(8, "little") + header + data[8 + size :]


def _no_file(file: Path, chance: random.Random) -> None:
    """Something in the place of a file that is none."""
    file.unlink()
    way = chance.randrange(6)
    if way == 0:
        os.mkfifo(file)
    elif way == 1:
        file.mkdir()
    elif way == 2:
        file.symlink_to(file.name)
    elif way == 3:
        file.symlink_to("/dev/zero")
    elif way == 4:
        file.symlink_to("/dev/full")
    else:
        file.write_bytes(b"")


# -- one input ---------------------------------------------------------------------------------------------------------


def contents(folder: Path) -> dict[str, bytes | str]:
    """Every file below a folder with its bytes; what is none, by its mode."""
    found: dict[str, bytes | str] = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            found[name] = oct(path.lstat().st_mode)
        elif path.is_file():
            found[name] = path.read_bytes()
    return found


def tried(reader: Reader, folder: Path, command: Sequence[str], file: Path) -> Outcome:
    """What a command, or the reader's own function, does in a fork of this process."""
    before = contents(folder)
    told, telling = os.pipe()
    started = time.monotonic()
    child = os.fork()
    if child == 0:
        os.close(told)
        code = 70
        with os.fdopen(telling, "w", errors="backslashreplace") as pipe, contextlib.redirect_stderr(pipe):
            try:
                os.chdir(folder)
                signal.alarm(6 * SECONDS)  # by the clock on the wall, for this machine may be busy
                resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
                used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
                resource.setrlimit(resource.RLIMIT_AS, (used + 2 * MEMORY, -1))
                with contextlib.redirect_stdout(io.StringIO()):
                    code = _run(reader, command, file)
            except BaseException:
                traceback.print_exc()
        os._exit(code)
    os.close(telling)
    with os.fdopen(told, errors="replace") as pipe:
        said = pipe.read()
    _, status, used = os.wait4(child, 0)
    outcome = Outcome(os.waitstatus_to_exitcode(status), said, time.monotonic() - started, used.ru_maxrss * 1024)
    after = contents(folder)
    outcome.written = sorted(
        name
        for name in before.keys() | after.keys()
        if before.get(name) != after.get(name) and not name.startswith(tuple(reader.writes))
    )
    return outcome


def _run(reader: Reader, command: Sequence[str], file: Path) -> int:
    from exabench.cli import main
    from exabench.core.errors import ExabenchError

    if reader.read is None:
        return main([word.replace("{file}", str(file)) for word in command])
    try:
        reader.read(file)
    except ExabenchError as error:
        print(f"exabench: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def faults_of(outcome: Outcome) -> list[str]:
    """What is wrong with what a reader did."""
    faults = []
    if outcome.code in (-signal.SIGALRM, -signal.SIGXCPU, -signal.SIGKILL):
        faults.append("hang")
    elif outcome.code not in (0, 1, 2, 3):
        faults.append(f"exit code {outcome.code}")
    if "Traceback" in outcome.said:
        faults.append("traceback")
    if outcome.memory > MEMORY or "out of memory" in outcome.said:
        faults.append(f"{outcome.memory >> 20} MB")
    longest = max(map(len, outcome.said.splitlines()), default=0)
    if longest > LONGEST_LINE and "Traceback" not in outcome.said:
        faults.append(f"a line of {longest} characters")
    if any(not sign.isprintable() for sign in outcome.said.replace("\n", "")):
        faults.append("a control character")
    if outcome.code in (2, 3) and outcome.written:
        faults.append(f"wrote {outcome.written[0]}")
    return faults


@dataclass(frozen=True)
class Found:
    """A fault, and the input that showed it."""

    reader: str
    number: int
    file: str
    command: str
    faults: tuple[str, ...]
    said: str


def campaign(reader: Reader, inputs: int, seed: int, keep: Path | None = None) -> Iterator[Found]:
    """Damage a reader's files so many times, and tell what went wrong."""
    with tempfile.TemporaryDirectory() as made:
        good = Path(made, "good")
        good.mkdir()
        names = _made(reader, good)
        commands = list(reader.commands) or [()]
        _load(reader, _copy(good, Path(made, "now")), commands, Path(made, "now", names[0]))
        for command in commands:
            outcome = tried(reader, _copy(good, Path(made, "now")), command, Path(made, "now", names[0]))
            if outcome.code not in (0, 1) or faults_of(outcome):
                raise AssertionError(f"{reader.name}: good files are refused by {command}: {outcome}")
        for number in range(inputs):
            chance = random.Random(f"{seed}/{reader.name}/{number}")
            name = chance.choice(names)
            folder = _copy(good, Path(made, "now"))
            file = folder / name
            if chance.random() < 0.03:
                _no_file(file, chance)
            else:
                file.write_bytes(damaged(file.read_bytes(), name, chance))
            command = commands[number % len(commands)]
            outcome = tried(reader, folder, command, file)
            faults = faults_of(outcome)
            if faults:
                if keep is not None and file.is_file():
                    keep.mkdir(parents=True, exist_ok=True)
                    shutil.copy(file, keep / f"{reader.name}-{number}{Path(name).suffix}")
                yield Found(reader.name, number, name, " ".join(command), tuple(faults), outcome.said[-3000:])


def _made(reader: Reader, good: Path) -> list[str]:
    """The good files, made in a fork: what makes them starts threads."""
    told, telling = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(told)
        with os.fdopen(telling, "w") as pipe, contextlib.suppress(BaseException):
            try:
                json.dump(list(reader.make(good)), pipe)
            except BaseException:
                traceback.print_exc()
        os._exit(0)
    os.close(telling)
    with os.fdopen(told) as pipe:
        names: list[str] = json.load(pipe)
    os.waitpid(child, 0)
    return names


def _load(reader: Reader, folder: Path, commands: Sequence[Sequence[str]], file: Path) -> None:
    """Import in this process what the commands import, so that its forks need not; threads would not outlive a fork."""
    told, telling = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(told)
        with contextlib.suppress(BaseException), open(os.devnull, "w") as nowhere:
            os.chdir(folder)
            with contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
                for command in commands:
                    _run(reader, command, file)
        with os.fdopen(telling, "w") as pipe:
            pipe.write("\n".join(sys.modules))
        os._exit(0)
    os.close(telling)
    with os.fdopen(told) as pipe:
        names = pipe.read().split("\n")
    os.waitpid(child, 0)
    for name in names:
        if name not in sys.modules:
            with contextlib.suppress(Exception):
                importlib.import_module(name)


def _copy(good: Path, to: Path) -> Path:
    if to.exists():
        shutil.rmtree(to)
    return Path(shutil.copytree(good, to))


# -- the readers -------------------------------------------------------------------------------------------------------


def _write(folder: Path, files: dict[str, bytes | str]) -> list[str]:
    for name, data in files.items():
        place = folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data if isinstance(data, bytes) else data.encode())
    return list(files)


def _run_rows() -> list[tuple[str, str, float]]:
    from exabench.tasks.catalogue import task
    from exabench.tasks.collections import open_collection, read_checked_qrels

    judged = read_checked_qrels(task("mini"), open_collection(task("mini")))
    rows = []
    for query in sorted(judged)[:8]:
        for place, passage in enumerate(sorted(judged[query])[:4]):
            rows.append((query, passage, 9.5 - place))
    return rows


def _runs(folder: Path) -> Sequence[str]:
    import bz2
    import gzip
    import lzma
    import zipfile

    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = _run_rows()
    trec = "".join(f"{query} Q0 {passage} {n % 4 + 1} {score} t\n" for n, (query, passage, score) in enumerate(rows))
    nested: dict[str, dict[str, float]] = {}
    for query, passage, score in rows:
        nested.setdefault(query, {})[passage] = score
    asked = []
    for query, hits in nested.items():
        listed = [{"docid": passage, "score": score} for passage, score in hits.items()]
        asked.append({"query": {"qid": query, "text": "?"}, "candidates": listed})
    records = [json.dumps({"query_id": q, "doc_id": p, "score": s}) for q, p, s in rows]
    named = pa.table({"query_id": [r[0] for r in rows], "doc_id": [r[1] for r in rows], "score": [r[2] for r in rows]})
    parquet, archive = io.BytesIO(), io.BytesIO()
    pq.write_table(named, parquet)
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("run", trec)
    data = trec.encode()
    return _write(
        folder,
        {
            "run.trec": trec,
            "run.tsv": "".join(f"{q}\t{p}\t{n % 4 + 1}\n" for n, (q, p, _) in enumerate(rows)),
            "run.csv": "query_id,doc_id,score\n" + "".join(f"{q},{p},{s}\n" for q, p, s in rows),
            "run.json": json.dumps(nested),
            "mteb.json": json.dumps({"default": {"test": nested}, "mteb_model_meta": {"model_name": "a/b"}}),
            "rank_llm.json": json.dumps(asked),
            "run.jsonl": "\n".join(records) + "\n",
            "run.parquet": parquet.getvalue(),
            "run.trec.gz": gzip.compress(data),
            "run.trec.bz2": bz2.compress(data),
            "run.trec.xz": lzma.compress(data),
            "run.trec.zst": pa.compress(data, "zstd", asbytes=True),
            "run.trec.lz4": pa.compress(data, "lz4", asbytes=True),
            "run.trec.zip": archive.getvalue(),
        },
    )


def _judgements(folder: Path) -> Sequence[str]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = _run_rows()
    parquet = io.BytesIO()
    pq.write_table(
        pa.table({"query_id": [r[0] for r in rows], "doc_id": [r[1] for r in rows], "relevance": [1] * len(rows)}),
        parquet,
    )
    nested: dict[str, dict[str, int]] = {}
    for query, passage, _ in rows:
        nested.setdefault(query, {})[passage] = 1
    names = _write(
        folder,
        {
            "qrels.txt": "".join(f"{q} 0 {p} 1\n" for q, p, _ in rows),
            "qrels.tsv": "query-id\tcorpus-id\tscore\n" + "".join(f"{q}\t{p}\t2\n" for q, p, _ in rows),
            "qrels.json": json.dumps(nested),
            "qrels.parquet": parquet.getvalue(),
        },
    )
    _write(folder, {"run.trec": "".join(f"{q} Q0 {p} 1 {s} t\n" for q, p, s in rows)})
    return names


def _collection(folder: Path) -> Sequence[str]:
    from toys import Given, write_beir

    from exabench.core.nouns import Passage, Query

    queries = [Query(f"q{n}", f"why is thing {n} blue") for n in range(6)]
    passages = [Passage(f"d{n}", f"thing {n} is blue as it is", f"Thing {n}") for n in range(12)]
    judged = {f"q{n}": {f"d{n}": 1, f"d{n + 1}": 0} for n in range(6)}
    write_beir(folder / "data" / "blue", Given(queries, passages, judged))
    names = [f"data/blue/{name}" for name in ("queries.jsonl", "corpus.jsonl", "qrels/test.tsv")]
    return [*names, *_write(folder, {"data/blue/exabench.toml": 'title = "Blue"\nlicence = "mit"\n'})]


def _board(folder: Path) -> Sequence[str]:
    from toys import finished_board

    from exabench.bench.candidates import freeze_candidates
    from exabench.bench.ledger import Ledger

    finished_board(folder / "board")
    freeze_candidates(Ledger(folder / "board"), "mini", "bm25", 20)
    _write(
        folder,
        {
            "board/reported/paper.csv": "system,dataset,first_stage,topk,metric,value,source\n"
            "A,scifact,bm25,100,nDCG@10,0.5,p\n",
            "board/reported/tables.toml": '[paper]\ntitle = "A paper"\nlink = "https://example.org"\n',
            "board/views.txt": "",
        },
    )
    (folder / "board" / "views.txt").unlink()
    if not (folder / "board" / "changes.jsonl").exists():
        raise AssertionError("the board has no change log")
    wanted = (
        "board.toml",
        "changes.jsonl",
        "lock.json",
        "candidates/mini/bm25-20.json",
        "results/acme--good/mini.bm25-20.json",
    )
    wanted += (
        "candidates/mini/bm25-20.shown.json.gz",
        "submissions/acme--good.toml",
        "reported/paper.csv",
        "reported/tables.toml",
    )
    wanted += ("runs/acme--good/mini.bm25-20.trec.gz", "candidates/mini/bm25-20.trec.gz")
    return [f"board/{name}" for name in wanted if (folder / "board" / name).exists()]


def _board_as_said(folder: Path) -> Sequence[str]:
    return [name for name in _board(folder) if "/results/" in name or "/candidates/" in name]


def _build_board(file: Path) -> None:
    """A result whose digest fits whatever was done to it."""
    from exabench.board.pages import render
    from exabench.board.ranking import Board
    from exabench.core.files import digest_of

    board = file.parents[[parent.name for parent in file.parents].index("board")]
    if "results" in file.parts and file.is_file() and not file.is_symlink():
        with contextlib.suppress(ValueError, RecursionError):
            values = json.loads(file.read_bytes())
            if isinstance(values, dict):
                values.pop("digest", None)
                file.write_text(json.dumps({**values, "digest": digest_of(values)}))
    render(Board.read(board), board.parent / "site")


def _submission(folder: Path) -> Sequence[str]:
    from toys import SUBMISSION, finished_board, good_run, toml, write_run

    from exabench.bench.candidates import make_candidates
    from exabench.tasks.catalogue import task

    finished_board(folder / "board")
    write_run(folder / "mini.trec", good_run(make_candidates(task("mini"), "bm25", 20)[1]))
    more = {
        "description": "Good.",
        "synthetic_data": ["unknown"],
        "bibtex": "@misc{a, title = {B}}",
        "date": "2026-01-01",
    }
    return [*_write(folder, {"submission.toml": toml(SUBMISSION | more)}), "mini.trec"]


def _recipe_data(folder: Path) -> Sequence[str]:
    from exabench.cli import main

    files: dict[str, bytes | str] = {}
    for name in ("mini-explanations", "mini-listwise", "mini-contrastive"):
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            main(["data", "show", name])
        files[f"{name}.toml"] = out.getvalue()
    return _write(folder, files)


def _recipe_train(folder: Path) -> Sequence[str]:
    from exabench.core.files import PACKAGE

    _release(folder)
    recipe = tomllib.loads((PACKAGE / "recipes" / "train" / "mini-minilm.toml").read_text())
    recipe["data"] = [{"release": "release", "table": "explanations"}]
    return _write(folder, {"mine.toml": "".join(f"{_toml(key)} = {_toml(value)}\n" for key, value in recipe.items())})


def _release(folder: Path) -> Sequence[str]:
    from exabench.data.building import Sources, build

    build("mini-explanations", folder / "work", sources=Sources(replies=folder / "replies.sqlite"))
    shutil.move(folder / "work" / "release", folder / "release")
    shutil.rmtree(folder / "work")
    for left in folder.glob("replies.sqlite*"):
        left.unlink()
    card = "---\npretty_name: Mine\nlicense: mit\ntags:\n- a\n---\n\n# Mine\n\n<!-- exabench: sample -->\nold\n"
    card += "<!-- /exabench -->\n"
    (folder / "release" / "README.md").write_text(card)
    names = [str(file.relative_to(folder)) for file in sorted((folder / "release").rglob("*")) if file.is_file()]
    return [name for name in names if name.endswith((".parquet", ".json", ".md"))]


def _release_as_said(folder: Path) -> Sequence[str]:
    return [name for name in _release(folder) if "data/" in name or "manifest" in name]


def _read_release(file: Path) -> None:
    """A manifest that fits whatever was done to a file: an attacker writes both."""
    import hashlib

    from exabench.core.files import digest_of
    from exabench.data.exporting import export
    from exabench.data.releases import read

    folder = file.parents[[parent.name for parent in file.parents].index("release")]
    manifest = next(folder.glob("*.json"))
    if file.is_file() and not file.is_symlink():
        with contextlib.suppress(ValueError, RecursionError):
            values = json.loads(manifest.read_bytes())
            data = file.read_bytes()
            for one in _dicts(values):
                if one.get("path") == str(file.relative_to(folder)):
                    one["bytes"], one["sha256"] = len(data), hashlib.sha256(data).hexdigest()
            if isinstance(values, dict):
                values.pop("digest", None)
                manifest.write_text(json.dumps({**values, "digest": digest_of(values)}))
    read(folder)
    export(folder, "explanations", "sentence_transformers", folder.parent / "out.parquet")


def _dicts(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for one in inner:
        yield from _dicts(one)


def _replies(folder: Path) -> Sequence[str]:
    names = _release(folder)
    return [name for name in names if "replies" in name]


def _store(folder: Path) -> Sequence[str]:
    import sqlite3

    from exabench.data.building import Sources, build

    build("mini-explanations", folder / "work", sources=Sources(replies=folder / "replies.sqlite"))
    shutil.move(folder / "work" / "release" / "replies" / "explanations.parquet", folder / "theirs.parquet")
    shutil.rmtree(folder / "work")
    with contextlib.closing(sqlite3.connect(folder / "replies.sqlite")) as base:
        base.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return ["replies.sqlite"]


def _model(folder: Path) -> Sequence[str]:
    import hostile

    hostile.honest(folder / "model")
    return [f"model/{file.name}" for file in sorted((folder / "model").iterdir()) if file.suffix != ".md"]


def _screen(file: Path) -> None:
    from exabench.models.screening import SubmissionRefused, screen_folder

    with contextlib.suppress(SubmissionRefused):
        screen_folder(file.parent)


def _real_model(folder: Path) -> Sequence[str]:
    from models import classifier_folder

    classifier_folder(folder / "model")
    return [f"model/{file.name}" for file in sorted((folder / "model").iterdir())]


def _mteb(folder: Path) -> Sequence[str]:
    measured = {
        "ndcg_at_10": 0.5,
        "map_at_100": 0.4,
        "main_score": 0.5,
        "hf_subset": "default",
        "languages": ["eng-Latn"],
    }
    new = {"task_name": "SciFact", "mteb_version": "1.12", "dataset_revision": "abc", "scores": {"test": [measured]}}
    old = {"mteb_dataset_name": "SciFact", "mteb_version": "1.2", "test": {"ndcg_at_10": 0.5}}
    meta = {"name": "acme/model", "revision": "abc", "release_date": "2024-01-01"}
    names = _write(folder, {"results/SciFact.json": json.dumps(new), "results/model_meta.json": json.dumps(meta)})
    names += _write(folder, {"old/SciFact.json": json.dumps(old), "old/model_meta.json": json.dumps(meta)})
    _write(folder, {"board/board.toml": 'title = "T"\ntasks = ["mini"]\n'})
    return names


def _recorded(folder: Path) -> Sequence[str]:
    lines = [
        {"id": f"p{n}", "text": f"[{n}] > [1]", "finish": "stop", "prompt_tokens": 9, "output_tokens": 2}
        for n in range(5)
    ]
    return _write(folder, {"replies.jsonl": "".join(json.dumps(line) + "\n" for line in lines)})


def _read_recorded(file: Path) -> None:
    from exabench.core.nouns import Prompt
    from exabench.parts.assembly import teacher

    prompts = [Prompt(f"p{n}", (("user", "?"),)) for n in range(5)]
    list(teacher("replay", file=str(file)).complete(prompts))


def _prompts(folder: Path) -> Sequence[str]:
    from exabench.core.files import PACKAGE

    files: dict[str, bytes | str] = {}
    for file in sorted((PACKAGE / "parts" / "prompts").glob("*.jinja")):
        files[file.name] = file.read_bytes()
    return _write(folder, files)


def _read_prompt(file: Path) -> None:
    from exabench.core.nouns import Passage
    from exabench.parts.prompting import prompt_file

    prompt = prompt_file(file)
    passages = [Passage(f"d{n}", "a text") for n in range(3)]
    values: dict[str, Any] = {"query": "q", "passages": passages, "passage": passages[0], "examples": [], "first": "a"}
    prompt.turns(**values, second="b", label=True, document="D", question="Q", url="", count=3, text="t")
    assert isinstance(prompt.pattern, str)
    prompt.number("answer_tokens")


def _card_templates(folder: Path) -> Sequence[str]:
    text = "# {{ name | code }}\n{% for one in rows if one.n > 0 %}{{ loop.index }}: {{ one.text ~ '!' | upper }}\n"
    text += "{% else %}none{% endfor %}{% set all = rows | map(attribute='n') | list %}"
    return _write(folder, {"card.md": text + "{{ '%.2f' | format(all | sum) }} {{ all | join(', ') }}"})


def _read_card_template(file: Path) -> None:
    from exabench.core.files import read_text
    from exabench.hub.cards import fill

    fill(read_text(file), {"name": "a/b", "rows": [{"n": 1, "text": "a"}, {"n": 2, "text": "b"}]})


def _answers(folder: Path) -> Sequence[str]:
    good = {
        "id": "x",
        "model": "m",
        "choices": [
            {
                "index": 0,
                "finish_reason": "stop",
                "message": {"role": "assistant", "content": "fine"},
                "logprobs": {
                    "content": [{"token": "fine", "logprob": -0.1, "top_logprobs": [{"token": "a", "logprob": -1}]}]
                },
            }
        ],
        "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
    }
    scores = {"results": [{"index": n, "relevance_score": 0.5} for n in range(3)], "usage": {"total_tokens": 9}}
    return _write(folder, {"chat.json": json.dumps(good), "scores.json": json.dumps(scores)})


def _ask_server(file: Path) -> None:
    """A teacher and a rerank server that answer with the file's bytes."""
    from endpoint import Endpoint, Handler, serving

    from exabench.core.nouns import Passage, Prompt, Query
    from exabench.parts.assembly import reranker, teacher
    from exabench.parts.replies import CachedTeacher, Replies

    body = file.read_bytes() if file.is_file() and not file.is_symlink() else b""

    def act(here: Endpoint, handler: Handler, asked: Any) -> None:
        handler.send_response(200)
        handler.send_header("content-type", "application/json")
        handler.send_header("content-length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    with serving(act) as server:
        if file.name == "scores.json":
            made = reranker("endpoint", url=server.url, form="cohere", retries=0, timeout=5)
            made.score(Query("q", "why"), [Passage(f"d{n}", "text") for n in range(3)])
        else:
            asked = teacher("openai", base_url=server.url, model="m", retries=0, timeout=5)
            cached = CachedTeacher(asked, Replies(file.parent / "store.sqlite"))
            list(cached.complete([Prompt("p", (("user", "?"),))]))


_SAYING = (
    "import sys\nsys.stdin.readline()\nfor line in open('/model/said.jsonl', 'rb'): sys.stdout.buffer.write(line)\n"
)
_SAYING += "sys.stdout.flush()\nsys.stdin.read()\n"


def _said_in_jail(folder: Path) -> Sequence[str]:
    usage = {"prompts": 3, "input_tokens": 9, "output_tokens": 0, "flops_paper": 1.5, "flops_exact": None}
    usage |= {"cut_passages": 0, "cut_queries": 0, "repairs": {"missing": 1}, "passages": 3}
    about = {"identity": {"name": "m", "labels": ["a", 1]}, "precision": "float32", "parameters": 7}
    lines = [about, {"scores": [0.5, 1.0, -2.0], "usage": usage}, {"pairs_per_second": 3.5}]
    _write(folder, {"model/say.py": _SAYING})
    return _write(folder, {"model/said.jsonl": "".join(json.dumps(line) + "\n" for line in lines)})


def _hear_jail(file: Path) -> None:
    from exabench.bench.sandbox import Conversation, JailLimits
    from exabench.core.nouns import Passage, Query
    from exabench.models.screening import SubmissionRefused

    limits = JailLimits(memory=1 << 30, files=1 << 20, load=3, query=3, seconds=5)
    program = [sys.executable, "-I", "-S", "/model/say.py"]
    job = (Query("q", "why"), [Passage(f"d{n}", "text") for n in range(3)])
    with contextlib.suppress(SubmissionRefused):
        talk = Conversation(program, file.parent, limits, {})
        with contextlib.closing(talk):
            for scores, used in talk.score_many([job]):
                json.dumps([scores, str(used)], ensure_ascii=False, allow_nan=False).encode()


READERS = {
    reader.name: reader
    for reader in (
        Reader("runs", _runs, [["bench", "score", "{file}", "--task", "mini"]]),
        Reader("judgements", _judgements, [["bench", "score", "run.trec", "--qrels", "{file}"]]),
        Reader(
            "collection",
            _collection,
            [["bench", "candidates", "blue", "--data", "data", "--depth", "5", "--board", "new"]],
        ),
        Reader(
            "board",
            _board,
            [
                ["board", "check", "--board", "board"],
                ["board", "build", "--board", "board", "--to", "site"],
                ["bench", "verify", "--board", "board"],
            ],
        ),
        Reader("board as its digests say", _board_as_said, read=_build_board, writes=["board/results"]),
        Reader(
            "submission",
            _submission,
            [["bench", "submit", "submission.toml", "--run", "mini=mini.trec", "--board", "board"]],
        ),
        Reader(
            "recipe of data",
            _recipe_data,
            [["data", "build", "{file}", "--to", "new", "--dry-run"], ["data", "show", "{file}"]],
        ),
        Reader("recipe of training", _recipe_train, [["train", "run", "{file}", "--to", "new", "--dry-run"]]),
        Reader(
            "release",
            _release,
            [
                ["data", "verify", "release"],
                ["data", "audit", "release"],
                ["data", "card", "release"],
                ["data", "cost", "release"],
            ],
        ),
        Reader("release as its manifest says", _release_as_said, read=_read_release, writes=["release/manifest.json"]),
        Reader(
            "replies",
            _replies,
            [["data", "replies", "import", "{file}", "--replies", "new.sqlite"]],
            writes=["new.sqlite"],
        ),
        Reader(
            "reply store",
            _store,
            [["data", "replies", "import", "theirs.parquet", "--replies", "replies.sqlite"]],
            writes=["replies.sqlite"],
        ),
        Reader("screened model", _model, read=_screen),
        Reader("model", _real_model, [["evaluate", "model", "--task", "mini", "--depth", "2", "--dry-run"]]),
        Reader(
            "MTEB results",
            _mteb,
            [
                ["bench", "import-mteb", "results", "--board", "board"],
                ["bench", "import-mteb", "old", "--board", "board"],
            ],
        ),
        Reader("recorded replies", _recorded, read=_read_recorded),
        Reader("prompt", _prompts, read=_read_prompt),
        Reader("card template", _card_templates, read=_read_card_template),
        Reader("answers of the jail", _said_in_jail, read=_hear_jail),
        Reader("answers of servers", _answers, read=_ask_server, writes=["store.sqlite"]),
    )
}


def main() -> int:
    """A campaign, from the command line; how many inputs showed a fault."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--inputs", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path)
    parser.add_argument("readers", nargs="*", default=list(READERS))
    asked = parser.parse_args()
    cache = tempfile.TemporaryDirectory()
    os.environ["EXABENCH_CACHE"] = cache.name
    os.environ["EXABENCH_DATA"] = ""
    os.environ.setdefault("SOURCE_DATE_EPOCH", "1700000000")
    all_faults = 0
    for name in asked.readers:
        started = time.monotonic()
        count = 0
        for found in campaign(READERS[name], asked.inputs, asked.seed, asked.keep):
            count += 1
            last = found.said.strip().splitlines()[-1:] or [""]
            print(
                f"  {found.number} {found.file} [{found.command}]: {', '.join(found.faults)}: {last[0][:300]}",
                flush=True,
            )
        print(f"{name}: {asked.inputs} inputs, {count} with faults, {time.monotonic() - started:.0f} s", flush=True)
        all_faults += count
    return all_faults


if __name__ == "__main__":
    sys.exit(min(main(), 1))
