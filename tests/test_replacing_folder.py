"""A folder is replaced whole or not at all, wherever a kill or a full disk falls."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import pytest
from faults import killed_at_each_call

from exabench.core.errors import CannotWrite
from exabench.core.files import only_writer, replacing_folder


def fill(folder: Path, text: str) -> None:
    (folder / "inside").mkdir()
    (folder / "a.txt").write_text(text)
    (folder / "inside" / "b.txt").write_text(text)


def save(place: Path, text: str) -> None:
    with replacing_folder(place) as folder:
        fill(folder, text)


def content(folder: Path) -> dict[str, str]:
    return {str(file.relative_to(folder)): file.read_text() for file in folder.rglob("*.txt")}


NEW = {"a.txt": "new", "inside/b.txt": "new"}
OLD = {"a.txt": "old", "inside/b.txt": "old"}


def test_a_folder_takes_the_place_of_the_one_before(tmp_path: Path) -> None:
    save(tmp_path / "model", "old")
    save(tmp_path / "model", "new")
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
    save(tmp_path / "work" / "model", "new")
    assert os.listdir(tmp_path / "work") == ["model"]


@pytest.mark.parametrize("stood", [False, True], ids=["nothing there", "a folder there"])
def test_killed_at_any_call_leaves_the_old_folder_or_the_new_one(tmp_path: Path, stood: bool) -> None:
    place = tmp_path / "model"
    if stood:
        save(place, "old")
    kills = 0
    for _ in killed_at_each_call(lambda: save(place, "new")):
        kills += 1
        with pytest.raises(ValueError), replacing_folder(place):
            raise ValueError("this writer gives up, and so only clears")
        assert [name for name in os.listdir(tmp_path) if name != "model"] == []
        if place.exists():
            assert content(place) in (OLD, NEW)
            shutil.rmtree(place)
        else:
            assert not stood, "the folder that stood there is lost"
        if stood:
            save(place, "old")
    assert kills >= 8 and content(place) == NEW


def test_a_full_disk_is_one_line_and_the_old_folder_stays(tmp_path: Path) -> None:
    save(tmp_path / "model", "old")
    with (
        pytest.raises(CannotWrite, match="model: cannot be written .the disk is full"),
        replacing_folder(tmp_path / "model"),
    ):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert content(tmp_path / "model") == OLD
    assert os.listdir(tmp_path) == ["model"]


def test_a_library_that_reports_a_full_disk_in_its_own_words_is_one_line_too(tmp_path: Path) -> None:
    safetensors = pytest.importorskip("safetensors")
    with pytest.raises(CannotWrite, match="the disk is full"), replacing_folder(tmp_path / "model"):
        raise safetensors.SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")
