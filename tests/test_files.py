"""Files are written whole or not at all, one process writes a folder, and what is read is checked."""

from __future__ import annotations

import errno
import gzip
import io
import json
import os
import signal
import socket
import stat
import subprocess
import sys

import pytest
from hypothesis import given, strategies as st

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
    write,
)

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**12), 10**12)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
HOLDER = """
import sys, time
from exabench.core.files import only_writer
with only_writer(sys.argv[1]):
    print("held", flush=True)
    time.sleep(60)
"""


class FullDisk(io.FileIO):
    """A file on a disk that fills up half-way."""

    def write(self, data):
        super().write(data[: len(data) // 2])
        raise OSError(errno.ENOSPC, "No space left on device")


def no_space(*_args, **_kwargs):
    raise OSError(errno.ENOSPC, "No space left on device")


FAULTS = {
    "create": (files, "open", no_space),
    "write": (files, "open", FullDisk),
    "fsync": (os, "fsync", no_space),
    "replace": (os, "replace", no_space),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("old", [b"old", None], ids=["over a file", "a new file"])
def test_a_full_disk_leaves_what_was_there_and_no_litter(tmp_path, monkeypatch, fault, old):
    file = tmp_path / "file"
    if old is not None:
        file.write_bytes(old)
    with monkeypatch.context() as patch:
        patch.setattr(*FAULTS[fault], raising=False)
        with pytest.raises(CannotWrite, match="the disk is full: make room and run again"):
            write(file, b"new content")
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == ([] if old is None else [("file", old)])
    assert write(file, b"new content")  # and once there is room, it goes through
    assert file.read_bytes() == b"new content"


def test_a_kill_between_writing_and_renaming_leaves_the_old_file(tmp_path):
    file = tmp_path / "file"
    file.write_text("old")
    script = "import os, sys; os.replace = lambda *a: os.kill(os.getpid(), 9)\n"
    script += "from exabench.core.files import write; write(sys.argv[1], 'new')"
    done = subprocess.run([sys.executable, "-c", script, str(file)], timeout=60)
    assert done.returncode == -signal.SIGKILL
    assert file.read_text() == "old"


@pytest.mark.parametrize("obstacle", ["folder", "file in the way", "name too long"])
def test_what_cannot_be_written_is_one_clear_line(tmp_path, obstacle):
    (tmp_path / "folder").mkdir()
    (tmp_path / "plain").write_text("")
    target = {"folder": "folder", "file in the way": "plain/inner", "name too long": "x" * 300}[obstacle]
    with pytest.raises(CannotWrite) as caught:
        write(tmp_path / target, "data")
    assert str(tmp_path / target) in str(caught.value)
    assert "\n" not in str(caught.value)


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
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(folder)], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout and holder.stdout.readline() == "held\n"
        with (
            pytest.raises(CannotWrite, match=f"process {holder.pid} on {socket.gethostname()} is writing here"),
            only_writer(folder),
        ):
            pytest.fail("two processes hold one folder")
    finally:
        holder.send_signal(signal.SIGKILL)
        holder.communicate(timeout=10)
    with only_writer(folder):
        assert str(os.getpid()) in (tmp_path / ".board.lock").read_text()
    with only_writer(folder):
        pass  # and it is free again afterwards


def test_two_folders_are_written_at_the_same_time(tmp_path):
    with only_writer(tmp_path / "a"), only_writer(tmp_path / "b"):
        assert (tmp_path / ".a.lock").is_file()
        assert (tmp_path / ".b.lock").is_file()


@given(JSON)
def test_json_reads_back_as_it_was_written(value):
    assert from_json(json_text(value)) == value


@pytest.mark.parametrize("value", [float("nan"), float("inf"), [{"a": float("-inf")}]])
def test_json_cannot_hold_what_is_not_a_number(value):
    with pytest.raises(ValueError, match="JSON"):
        json_text(value)
    with pytest.raises(ValueError, match="JSON"):
        digest_of([value])


def test_json_for_people_is_sorted_and_ends_with_a_newline():
    assert json_text({"b": 1, "a": "é"}) == '{\n  "a": "é",\n  "b": 1\n}\n'


@pytest.mark.parametrize(
    "text",
    [
        '{"a": NaN}',
        "[Infinity]",
        "[-1e999]",
        '["\\ud800"]',
        '["\\uDfff"]',
        "[" * 100_000,
        "1" * 5000,
        '{"a": 1',
        "",
        "\ufeff{",
    ],
)
def test_what_is_not_json_is_refused_with_the_file(tmp_path, text):
    (tmp_path / "a.json").write_text(text, encoding="utf-8")
    with pytest.raises(BadInput, match=r"a\.json.*is not JSON"):
        read_json(tmp_path / "a.json")


def test_a_json_error_names_its_line(tmp_path):
    (tmp_path / "a.json").write_text('{\n"a": 1,\n"b"\n}')
    with pytest.raises(BadInput, match=r"a\.json:4: "):
        read_json(tmp_path / "a.json")


def test_a_whole_surrogate_pair_is_text():
    assert from_json('["\\ud83d\\ude00"]') == ["😀"]


@pytest.mark.parametrize("text", ["a = ", "a = 1\na = 2", "a = " + "1" * 5000, "a = " + "[" * 5000, "a = 2026-13-45"])
def test_what_is_not_toml_is_refused_with_the_file(tmp_path, text):
    (tmp_path / "a.toml").write_text(text)
    with pytest.raises(BadInput, match=r"a\.toml: is not TOML"):
        read_toml(tmp_path / "a.toml")


def test_gzip_is_known_by_its_content_not_by_its_name(tmp_path):
    (tmp_path / "a.txt").write_bytes(gzip.compress(b"inside"))
    (tmp_path / "b.gz").write_bytes(b"plain")
    assert (read_bytes(tmp_path / "a.txt"), read_bytes(tmp_path / "b.gz")) == (b"inside", b"plain")


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
            assert "is not a whole gzip file" in str(error)
    assert refused > 0.9 * len(damaged)


def test_packing_gives_the_same_bytes_at_any_time():
    assert gzip_bytes(b"data") == gzip_bytes(b"data")
    assert gzip_bytes(b"data")[4:8] == b"\0\0\0\0"


@pytest.mark.parametrize("name", ["nothing", ".", "a\0b"])
def test_what_cannot_be_read_is_named(tmp_path, name):
    with pytest.raises(BadInput, match="cannot be read"):
        read_bytes(tmp_path / name)


def test_text_that_is_not_utf8_is_refused_with_its_line(tmp_path):
    (tmp_path / "a").write_bytes(b"one\ntwo\nthr\xffee\n")
    with pytest.raises(BadInput, match="a:3: is not UTF-8 text"):
        read_text(tmp_path / "a")


def test_a_byte_order_mark_is_no_text(tmp_path):
    (tmp_path / "a").write_bytes(b"\xef\xbb\xbftext")
    assert read_text(tmp_path / "a") == "text"


@given(st.dictionaries(st.text(min_size=1), st.integers(), min_size=2, max_size=6))
def test_a_digest_does_not_depend_on_the_order_of_keys(values):
    assert digest_of(values) == digest_of(dict(reversed(values.items())))
    assert digest_of(values) == digest_of(json.dumps(values, sort_keys=True, separators=(",", ":"), ensure_ascii=False))


def test_a_folder_where_a_file_is_to_stand_is_one_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for path in (".", tmp_path):
        with pytest.raises(CannotWrite, match="cannot be written"):
            write(path, b"text")
