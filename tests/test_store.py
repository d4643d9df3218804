"""The batch store: a batch that was computed is found again, bit for bit, and nothing else is."""

from __future__ import annotations

import errno
import os
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from exabench.models.batch_store import BatchStore

ONE, TWO = np.array([0.1, -3.25], np.float32), np.array([500.5], np.float32)


def test_batches_are_found_by_another_process_and_the_first_outputs_stay(tmp_path: Path) -> None:
    store = BatchStore(tmp_path, {"model": "m"})
    store.add(b"k1", ONE)
    store.add(b"k1", TWO)
    store.add(b"k2", TWO)
    store.add(b"not finite", np.array([np.nan], np.float32))
    again = BatchStore(tmp_path, {"model": "m"})
    kept = again.look_up([b"k1", b"k2", b"k3", b"not finite"])
    assert {key: outputs.tolist() for key, outputs in kept.items()} == {b"k1": ONE.tolist(), b"k2": TWO.tolist()}
    assert again.found == 2
    assert not BatchStore(tmp_path, {"model": "another"}).look_up([b"k1"])


def test_more_keys_than_one_statement_holds_are_found() -> None:
    store = BatchStore(None, {})
    keys = [number.to_bytes(16, "big") for number in range(1234)]
    for number, key in enumerate(keys):
        store.add(key, np.array([number], np.float32))
    assert {key: outputs.tolist() for key, outputs in store.look_up(keys).items()} == {
        key: [float(number)] for number, key in enumerate(keys)
    }


def test_nothing_is_created_before_the_first_look(tmp_path: Path) -> None:
    BatchStore(tmp_path / "scores", {})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", ["another file", "a folder", "below a file", "read-only", "full"])
def test_a_store_that_cannot_be_used_keeps_nothing_and_stops_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    store = BatchStore(tmp_path / "scores", {})
    assert store.file is not None
    if kind == "another file":
        store.file.parent.mkdir()
        store.file.write_bytes(b"not a database, but long enough to be taken for one" * 50)
    elif kind == "a folder":
        store.file.mkdir(parents=True)
    elif kind == "below a file":
        store.file.parent.write_text("x")
    else:
        number = {"read-only": errno.EROFS, "full": errno.ENOSPC}[kind]

        def fails(*_: object, **__: object) -> None:
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(Path, "mkdir", fails)
    store.add(b"k", ONE)
    assert not store.look_up([b"k"]) and store.found == 0


def test_a_damaged_row_is_not_taken_for_a_score_and_is_computed_again(tmp_path: Path) -> None:
    store = BatchStore(tmp_path, {})
    assert store.file is not None
    store.add(b"k1", ONE)
    store.add(b"k2", TWO)
    with closing(sqlite3.connect(store.file)) as base:
        kept = bytearray(base.execute("SELECT outputs FROM computed WHERE key = ?", [b"k1"]).fetchone()[0])
        kept[1] ^= 4
        base.execute("UPDATE computed SET outputs = ? WHERE key = ?", [bytes(kept), b"k1"])
        base.execute("INSERT INTO computed VALUES (?, ?)", [b"k3", "a text"])
        base.commit()
    again = BatchStore(tmp_path, {})
    assert again.look_up([b"k1", b"k2", b"k3"]).keys() == {b"k2"}
    again.add(b"k1", ONE)
    assert again.look_up([b"k1"])[b"k1"].tolist() == ONE.tolist()
