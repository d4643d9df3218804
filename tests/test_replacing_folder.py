"""A folder is replaced whole or not at all, wherever a kill or a full disk falls."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
import safetensors
from faults import full_disk_at_each_call, killed_at_each_call
from models import bert_tokenizer
from toys import contents

from exabench.core.errors import CannotWrite
from exabench.core.files import only_writer, replacing_folder


def save(place: Path, text: str) -> None:
    with replacing_folder(place) as folder:
        (folder / "inside").mkdir()
        (folder / "a.txt").write_text(text)
        (folder / "inside" / "b.txt").write_text(text)


NEW = {"a.txt": b"new", "inside/b.txt": b"new"}
OLD = {"a.txt": b"old", "inside/b.txt": b"old"}


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
            assert contents(place) in (OLD, NEW)
            shutil.rmtree(place)
        else:
            assert not stood, "the folder that stood there is lost"
        if stood:
            save(place, "old")
    assert kills >= 8 and contents(place) == NEW and os.listdir(tmp_path) == ["model"]


def test_a_full_disk_at_any_call_is_one_line_and_leaves_the_old_folder_or_the_new_one(tmp_path: Path) -> None:
    place = tmp_path / "model"
    save(place, "old")
    fullnesses = 0
    for _ in full_disk_at_each_call(lambda: save(place, "new")):
        fullnesses += 1
        assert os.listdir(tmp_path) == ["model"] and contents(place) in (OLD, NEW)
        save(place, "old")
    assert fullnesses >= 8 and contents(place) == NEW


def _save_tokenizer(file: str) -> None:
    bert_tokenizer().backend_tokenizer.save(file)


def _save_weights(file: str) -> None:
    raise safetensors.SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")


@pytest.mark.parametrize("save", [_save_tokenizer, _save_weights])
def test_a_library_that_reports_a_full_disk_in_its_own_words_is_one_line_too(save, tmp_path: Path) -> None:
    place = tmp_path / "model"
    with pytest.raises(CannotWrite, match="model: cannot be written .the disk is full"), replacing_folder(place):
        save("/dev/full")
