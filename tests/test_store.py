"""The batch store: a batch that was computed is found again, bit for bit, and nothing else is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from exabench.core.errors import BadInput, CannotWrite
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


def test_a_file_that_is_no_store_and_a_folder_that_cannot_be_made_are_one_line(tmp_path: Path) -> None:
    file = BatchStore(tmp_path, {}).file
    assert file is not None
    file.write_bytes(b"not a database, but long enough to be taken for one" * 50)
    with pytest.raises(BadInput, match="is not a score store"):
        BatchStore(tmp_path, {}).look_up([b"k"])
    with pytest.raises(CannotWrite):
        BatchStore(file / "scores", {}).look_up([b"k"])
