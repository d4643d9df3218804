"""Files are written whole or not at all, one process writes a folder, and what is read is checked."""

from __future__ import annotations

import bz2
import errno
import fcntl
import gzip
import io
import json
import lzma
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import time
import tomllib
import zipfile
from collections.abc import Callable

import pyarrow as pa
import pytest
from faults import full_disk_at_each_call, killed_at_each_call
from hypothesis import given, settings, strategies as st

from exabench.core import files
from exabench.core.errors import BadInput, CannotWrite
from exabench.core.files import (
    digest_of,
    from_json,
    gzip_bytes,
    json_text,
    only_writer,
    read_bytes,
    read_json,
    read_text,
    read_toml,
    toml_lines,
    write,
)

NUMBERS = st.integers(-(10**12), 10**12) | st.floats(allow_nan=False, allow_infinity=False)
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


class FullDisk(io.FileIO):
    """A file on a disk that fills up half-way."""

    def write(self, data):
        super().write(data[: len(data) // 2])
        raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("old", [b"old", None], ids=["over a file", "a new file"])
def test_a_kill_or_a_full_disk_at_any_call_leaves_what_was_there_and_no_litter(tmp_path, monkeypatch, old):
    file = tmp_path / "file"
    left = {} if old is None else {"file": old}

    def act():
        write(file, b"new content")

    def check():
        assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == left

    if old is not None:
        file.write_bytes(old)
    with monkeypatch.context() as patch:
        patch.setattr(files, "open", FullDisk, raising=False)  # half of the bytes are written
        with pytest.raises(CannotWrite, match="the disk is full: free some space and run again"):
            act()
    check()
    assert len([check() for _ in full_disk_at_each_call(act, calls=("fsync", "replace"))]) == 2
    assert file.read_bytes() == b"new content"  # once there is room, it goes through

    file.unlink() if old is None else file.write_bytes(old)
    for _ in killed_at_each_call(act):
        with only_writer(tmp_path):  # the next writer clears the temporary file
            check()
    assert file.read_bytes() == b"new content"


def test_what_a_killed_writer_left_of_a_file_goes_with_the_next_and_no_other(tmp_path):
    file = tmp_path / "out.trec"
    others = [tmp_path / f".{name}.{'a' * 16}.unfinished" for name in ("out", "out.trec.gz", "xout.trec")]
    for other in others:
        other.write_text("being written")

    alive = tmp_path / f".out.trec.{'b' * 16}.unfinished"
    others.append(alive)

    def act():
        write(file, b"new")

    with open(alive, "wb") as being_written:
        fcntl.flock(being_written, fcntl.LOCK_EX)
        for _ in killed_at_each_call(act):
            act()
            assert set(tmp_path.iterdir()) == {file, *others}
            file.unlink()


def test_on_a_full_disk_the_line_names_a_file_of_an_unfinished_folder_as_it_will_be_called(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    one_line = re.escape("folder/file: cannot be written (the disk is full")
    with pytest.raises(CannotWrite, match=one_line) as told, files.replacing_folder("folder") as fresh:
        monkeypatch.setattr(files, "open", FullDisk, raising=False)
        write(fresh / "file", b"new")
    assert "unfinished" not in str(told.value)


def test_a_lock_that_cannot_be_written_is_named_once(tmp_path, monkeypatch):
    class Full(io.FileIO):
        def __init__(self, path, mode, buffering):
            super().__init__(path, mode)

        def write(self, data):
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files, "open", Full, raising=False)
    one_line = "/.board.lock: cannot be written .the disk is full"
    with pytest.raises(CannotWrite, match=one_line), only_writer(tmp_path / "board"):
        pytest.fail("it is held")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("target", ["folder", "plain/inner", "x" * 300, "."], ids=lambda target: target[:12])
def test_what_cannot_be_written_is_one_clear_line(tmp_path, target, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "plain").write_text("")
    for path in (tmp_path / target, target):
        with pytest.raises(CannotWrite, match="cannot be written") as caught:
            write(path, "data")
        assert str(caught.value).startswith(f"{path}: ") and "\n" not in str(caught.value)


def test_an_unchanged_file_is_left_alone(tmp_path):
    file = tmp_path / "deep" / "er" / "file"
    assert write(file, "text é")
    os.utime(file, (1, 1))
    assert not write(file, "text é")
    assert file.stat().st_mtime == 1
    assert write(file, "text è")  # the same length, another text
    assert file.read_text(encoding="utf-8") == "text è"


def test_a_new_file_has_the_permissions_that_the_umask_leaves(tmp_path):
    old = os.umask(0o027)
    try:
        write(tmp_path / "file", "x")
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o640


def test_a_second_writer_is_refused_by_name_and_a_kill_frees_the_folder(tmp_path):
    folder = tmp_path / "board"
    heard, told = os.pipe()
    holder = os.fork()
    if holder == 0:
        with only_writer(folder):
            os.write(told, b"held")
            time.sleep(60)
            os._exit(0)
    assert os.read(heard, 4) == b"held"
    message = f"process {holder} on {socket.gethostname()} is writing here"
    with pytest.raises(CannotWrite, match=message), only_writer(folder):
        pytest.fail("two processes hold one folder")
    os.kill(holder, signal.SIGKILL)
    os.waitpid(holder, 0)
    with only_writer(folder), only_writer(tmp_path / "another"):
        assert str(os.getpid()) in (tmp_path / ".board.lock").read_text()
        assert (tmp_path / ".another.lock").is_file()
    with only_writer(folder):
        pass  # and it is free again afterwards


def test_workers_of_a_killed_writer_that_are_about_to_end_are_waited_for(tmp_path):
    heard, told = os.pipe()
    holder = os.fork()
    if holder == 0:
        with only_writer(tmp_path / "board"):
            if os.fork() == 0:  # a worker, which inherits the lock
                os.write(told, b"held")
                time.sleep(1)
                os._exit(0)
            time.sleep(60)
            os._exit(0)
    assert os.read(heard, 4) == b"held"
    os.kill(holder, signal.SIGKILL)
    os.waitpid(holder, 0)
    began = time.monotonic()
    with only_writer(tmp_path / "board"):
        assert 0.5 < time.monotonic() - began < 3


@settings(max_examples=15)
@given(JSON)
def test_json_reads_back_as_it_was_written(value):
    assert from_json(json_text(value)) == value


def test_json_for_people_is_sorted_and_ends_with_a_newline():
    assert json_text({"b": 1, "a": "é"}) == '{\n  "a": "é",\n  "b": 1\n}\n'
    assert from_json('["\\ud83d\\ude00"]') == ["😀"]  # a whole surrogate pair


def test_toml_quotes_a_name_that_is_not_bare_and_escapes_what_would_end_a_line():
    values = {"a b": "one\ntwo\x7f", "c-1": {"d": [1, True]}}
    assert tomllib.loads(toml_lines(values.items())) == values
    assert toml_lines(values.items()).splitlines()[1] == 'c-1 = { "d" = [1, true] }'


@pytest.mark.parametrize("value", [float("nan"), [{"a": float("-inf")}]])
@pytest.mark.parametrize("write_it", [json_text, digest_of])
def test_json_cannot_hold_what_is_not_a_number(value, write_it):
    with pytest.raises(ValueError, match="JSON"):
        write_it([value])


NO_JSON = (
    *('{"a": NaN}', "[Infinity]", "[-1e999]", '["\\ud800"]', '["\\uDfff"]'),
    *("[" * 100_000, "1" * 5000, "", "\ufeff{"),
)
NO_TOML = ("a = ", "a = 1\na = 2", "a = " + "1" * 5000, "a = " + "[" * 5000, "a = 2026-13-45")


@pytest.mark.parametrize(
    ("read", "text", "told"),
    [
        *[(read_json, text, "a: is not JSON|a:1: is not JSON") for text in NO_JSON],
        (read_json, '{\n"a": 1,\n"b"\n}', "a:4: is not JSON"),
        *[(read_toml, text, "a: is not TOML") for text in NO_TOML],
        (read_text, "one\ntwo\nthr\udcffee\n", "a:3: is not UTF-8 text"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_what_is_not_of_its_kind_is_refused_with_file_and_line(tmp_path, read, text, told):
    (tmp_path / "a").write_text(text, encoding="utf-8", errors="surrogateescape")
    with pytest.raises(BadInput, match=told):
        read(tmp_path / "a")


def test_gzip_is_known_by_its_content_and_tells_no_time_and_a_byte_order_mark_is_no_text(tmp_path):
    (tmp_path / "a.txt").write_bytes(gzip.compress(b"inside"))
    (tmp_path / "b.gz").write_bytes(b"plain")
    assert (read_bytes(tmp_path / "a.txt"), read_bytes(tmp_path / "b.gz")) == (b"inside", b"plain")
    assert gzip_bytes(b"data")[4:8] == b"\0\0\0\0"
    (tmp_path / "c").write_bytes(b"\xef\xbb\xbftext")
    assert read_text(tmp_path / "c") == "text"


def test_every_damaged_gzip_file_is_refused_or_reads_the_same(tmp_path):
    data = b"".join(b"line %d\n" % i for i in range(200))
    whole, file = gzip_bytes(data), tmp_path / "a.gz"
    damaged = [whole[:cut] for cut in range(2, len(whole), 7)]
    damaged += [whole[:i] + bytes([whole[i] ^ 0x55]) + whole[i + 1 :] for i in range(2, len(whole), 5)]
    refused = 0
    for bad in damaged:
        file.write_bytes(bad)
        try:
            assert read_bytes(file) == data  # a flipped bit in the header's time says nothing about the content
        except BadInput as error:
            refused += 1
            assert "is not a complete gzip file" in str(error)
    assert refused > 0.9 * len(damaged)


def zip_archive(**members: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.mkdir("folder")
        for name, data in members.items():
            archive.writestr(name, data)
    return packed.getvalue()


PACKINGS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "Zstandard": lambda data: pa.compress(data, "zstd", asbytes=True),
    "LZ4": lambda data: pa.compress(data, "lz4", asbytes=True),
    "zip": lambda data: zip_archive(run=data),
}
LINES = b"".join(b"%d a line of a file\n" % i for i in range(5000))


@pytest.mark.parametrize("packing", PACKINGS)
def test_a_packed_file_is_known_by_its_first_bytes_and_reads_as_what_was_packed(tmp_path, packing, monkeypatch):
    file = tmp_path / "file.txt"
    pack = PACKINGS[packing]
    for data in (LINES, b"", b"\n", os.urandom(3 << 20)):
        file.write_bytes(pack(data))
        assert read_bytes(file) == data
    file.write_bytes(pack(LINES))
    assert [line for _, line in files.lines(file)] == LINES.decode().splitlines()
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(pack(LINES))))
        assert read_bytes("-") == LINES
        assert read_bytes("-") == LINES  # whoever reads it again finds it there
    if packing != "zip":  # of parts that were packed one by one
        file.write_bytes(pack(LINES) * 3)
        assert read_bytes(file) == LINES * 3
    file.write_bytes(pack(LINES)[:-30])
    with pytest.raises(BadInput, match=f"is not a complete {packing} file"):
        read_bytes(file)


@pytest.mark.parametrize("read", [read_bytes, files.read_json, files.read_toml, files.file_digest, files.check_file])
def test_a_pipe_or_a_device_is_no_file_and_is_not_waited_for(tmp_path, read):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", "/dev/zero", "/dev/null", "/dev/tty"):
        with pytest.raises(BadInput, match="a pipe or a device, not a file|cannot be read [(]No such device"):
            read(path)
    (tmp_path / "link").symlink_to("link")
    with pytest.raises(BadInput, match="Too many levels of symbolic links"):
        read(tmp_path / "link")


def test_a_packed_toml_file_has_the_bound_of_a_plain_one(tmp_path):
    (tmp_path / "x.toml").write_bytes(gzip.compress(b"a = 1\n" + b"#" * 70_000))
    with pytest.raises(BadInput, match="files of up to 65,536 bytes are read"):
        files.read_toml(tmp_path / "x.toml")


def test_an_archive_of_several_files_is_refused_and_a_text_that_begins_like_one_is_read(tmp_path):
    (tmp_path / "two.zip").write_bytes(zip_archive(a=b"1", b=b"2"))
    with pytest.raises(BadInput, match="has 2 files; only archives of one file are read: unpack it"):
        read_bytes(tmp_path / "two.zip")
    (tmp_path / "text").write_text("BZh9 is the name of a query\n")
    assert read_bytes(tmp_path / "text") == b"BZh9 is the name of a query\n"


MEASURED = """
import re, sys
from exabench.cli import main
code = main(sys.argv[1:])
print(re.search("VmHWM: *(.*) kB", open("/proc/self/status").read())[1])  # the most memory that it held, in KB
sys.exit(code)
"""


def bomb(packing: str, megabytes: int) -> bytes:
    """Lines of a run that unpack to so much."""
    part = b"q1 Q0 d1 1 1.0 t\n" * 61681  # 1 MB
    return PACKINGS[packing](part) * megabytes


@pytest.mark.parametrize("megabytes", [200, 10240])
@pytest.mark.parametrize("packing", [name for name in PACKINGS if name != "zip"])
def test_a_small_file_that_unpacks_to_a_large_one_is_refused_at_once(tmp_path, packing, megabytes):
    file = tmp_path / "bomb"
    file.write_bytes(bomb(packing, megabytes))
    command = [sys.executable, "-c", MEASURED, "bench", "score", str(file), "--qrels", str(file)]
    start = time.monotonic()
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    took = time.monotonic() - start
    assert (answer.returncode, answer.stderr.count("\n")) == (2, 1), answer.stderr
    assert re.search("would unpack to about|unpacks to more than 200 times its size", answer.stderr)
    assert took < 5
    assert int(answer.stdout) < 300_000


def test_a_larger_file_than_is_read_is_refused_whatever_it_holds(tmp_path):
    file = tmp_path / "file"
    with file.open("wb") as stream:
        stream.truncate(10 << 30)  # it takes no place on the disk
    with pytest.raises(BadInput, match="has 10,737,418,240 bytes; files of up to 2,147,483,648 bytes"):
        read_bytes(file)
    file.write_bytes(lzma.compress(b"\n" * 50_000_001, preset=0))
    with pytest.raises(BadInput, match="has more lines; files of up to 2,147,483,648 bytes and 50,000,000 lines"):
        read_bytes(file)
    file.write_bytes(b"short\n" + b"x" * (1 << 26) + b"\n")
    with pytest.raises(BadInput, match="file:2: is longer than 67,108,864 bytes"):
        list(files.lines(file))


@pytest.mark.parametrize("name", ["nothing", ".", "a\0b"])
def test_what_cannot_be_read_is_named(tmp_path, name):
    with pytest.raises(BadInput, match="cannot be read"):
        read_bytes(tmp_path / name)


@settings(max_examples=15)
@given(st.dictionaries(st.text(min_size=1), st.integers(), min_size=2, max_size=6))
def test_a_digest_does_not_depend_on_the_order_of_keys(values):
    assert digest_of(values) == digest_of(dict(reversed(values.items())))
    assert digest_of(values) == digest_of(json.dumps(values, sort_keys=True, separators=(",", ":"), ensure_ascii=False))
