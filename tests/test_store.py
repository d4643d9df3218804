"""The score store: what was scored is found again, by the job that made it and by every other."""

from __future__ import annotations

from pathlib import Path

import pytest

from exabench.core.errors import BadInput, CannotWrite
from exabench.models.score_store import Store, StoredScore

ONE, TWO = StoredScore(0.5, 12, 0), StoredScore(-3.25, 500, 3)


def test_a_job_tells_its_own_pairs_from_those_it_found_and_the_first_score_stays(tmp_path: Path) -> None:
    store = Store(tmp_path, {})
    store.add([(b"k1", ONE)], b"first")
    store.add([(b"k2", TWO), (b"k1", TWO)], b"second")
    assert store.look_up([b"k1", b"k2"], b"second") == ({b"k1": ONE}, {b"k2": TWO})


def test_more_keys_than_one_statement_holds_are_found() -> None:
    store = Store(None, {})
    rows = [(number.to_bytes(16, "big"), StoredScore(float(number), 1, 0)) for number in range(1234)]
    store.add(rows, b"job")
    assert store.look_up([key for key, _ in rows], b"other")[0] == dict(rows)


def test_a_file_that_is_no_store_and_a_folder_that_cannot_be_made_are_one_line(tmp_path: Path) -> None:
    file = Store(tmp_path, {}).file
    assert file is not None
    for left in tmp_path.iterdir():
        left.unlink()
    file.write_bytes(b"not a database, but long enough to be taken for one" * 50)
    with pytest.raises(BadInput, match="is not a score store"):
        Store(tmp_path, {})
    with pytest.raises(CannotWrite):
        Store(file / "scores", {})
