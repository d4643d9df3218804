"""A folder is replaced whole or not at all, wherever a kill or a full disk falls."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from exabench.core.errors import CannotWrite
from exabench.core.files import only_writer, replacing_folder


def fill(folder: Path, text: str) -> None:
    (folder / "inside").mkdir()
    (folder / "a.txt").write_text(text)
    (folder / "inside" / "b.txt").write_text(text)


def content(folder: Path) -> dict[str, str]:
    return {str(file.relative_to(folder)): file.read_text() for file in folder.rglob("*.txt")}


NEW = {"a.txt": "new", "inside/b.txt": "new"}
OLD = {"a.txt": "old", "inside/b.txt": "old"}


def test_a_folder_takes_the_place_of_the_one_before(tmp_path: Path) -> None:
    for text in ("old", "new"):
        with replacing_folder(tmp_path / "model") as folder:
            fill(folder, text)
    assert content(tmp_path / "model") == NEW
    assert os.listdir(tmp_path) == ["model"]


@pytest.mark.parametrize("leftover", ["folder", "file"])
def test_leftovers_of_a_killed_writer_are_cleared(tmp_path: Path, leftover: str) -> None:
    left = tmp_path / "work" / ".model.unfinished"
    left.parent.mkdir()
    if leftover == "folder":
        left.mkdir()
        (left / "half.bin").write_bytes(b"half")
    else:
        left.write_bytes(b"half")
    with only_writer(tmp_path / "work"):
        assert not left.exists()
    left.write_bytes(b"half")
    with replacing_folder(tmp_path / "work" / "model") as folder:
        fill(folder, "new")
    assert os.listdir(tmp_path / "work") == ["model"]


@pytest.mark.parametrize("stood", [False, True], ids=["nothing there", "a folder there"])
def test_killed_at_any_call_leaves_the_old_folder_or_the_new_one(tmp_path: Path, stood: bool) -> None:
    """The process ends at each mkdir, fsync, rename and rmdir in turn; the next writer finds a whole folder."""
    place = tmp_path / "model"
    endings = 0
    for ends_at in range(100):
        if stood and not place.exists():
            with replacing_folder(place) as folder:
                fill(folder, "old")
        child = os.fork()
        if child == 0:
            _exit_at_call(ends_at)
            with replacing_folder(place) as folder:
                fill(folder, "new")
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if status == 0:
            break
        endings += 1
        with pytest.raises(ValueError), replacing_folder(place):
            raise ValueError("this writer gives up, and so only clears")
        assert [name for name in os.listdir(tmp_path) if name != "model"] == []
        if place.exists():
            assert content(place) in (OLD, NEW)
            for file in sorted(place.rglob("*"), reverse=True):
                file.unlink() if file.is_file() else file.rmdir()
            place.rmdir()
        else:
            assert not stood, "the folder that stood there is lost"
    assert endings >= 8


def _exit_at_call(number: int) -> None:
    calls = iter(range(number))

    def ending(original):
        def call(*args, **kwargs):
            if next(calls, None) is None:
                os._exit(9)
            return original(*args, **kwargs)

        return call

    for name in ("mkdir", "fsync", "rename", "rmdir"):
        setattr(os, name, ending(getattr(os, name)))


def test_a_full_disk_is_one_line_and_the_old_folder_stays(tmp_path: Path) -> None:
    with replacing_folder(tmp_path / "model") as folder:
        fill(folder, "old")
    with (
        pytest.raises(CannotWrite, match="model: cannot be written .the disk is full"),
        replacing_folder(tmp_path / "model") as folder,
    ):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert content(tmp_path / "model") == OLD
    assert os.listdir(tmp_path) == ["model"]


def test_a_library_that_reports_a_full_disk_in_its_own_words_is_one_line_too(tmp_path: Path) -> None:
    safetensors = pytest.importorskip("safetensors")
    with pytest.raises(CannotWrite, match="the disk is full"), replacing_folder(tmp_path / "model"):
        raise safetensors.SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")
