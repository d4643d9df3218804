"""The score store: what was scored is found again, by the job that made it and by every other."""

from __future__ import annotations

from pathlib import Path

import pytest

from exabench.core.errors import BadInput, CannotWrite
from exabench.models.score_store import Store, StoredScore

ONE, TWO = StoredScore(0.5, 12, 0), StoredScore(-3.25, 500, 3)


def test_a_pair_comes_back_exactly_as_it_was_kept(tmp_path: Path) -> None:
    Store(tmp_path, {"model": "a"}).add([(b"k1", ONE), (b"k2", TWO)], b"job")
    again = Store(tmp_path, {"model": "a"})
    assert again.look_up([b"k1", b"k2", b"k3"], b"other") == ({b"k1": ONE, b"k2": TWO}, {})
    assert len(again) == 2


def test_a_job_tells_its_own_pairs_from_those_it_found(tmp_path: Path) -> None:
    store = Store(tmp_path, {})
    store.add([(b"k1", ONE)], b"first")
    store.add([(b"k2", TWO)], b"second")
    assert store.look_up([b"k1", b"k2"], b"second") == ({b"k1": ONE}, {b"k2": TWO})


def test_the_first_score_of_a_pair_stays() -> None:
    store = Store(None, {})
    store.add([(b"k", ONE)], b"first")
    store.add([(b"k", TWO)], b"second")
    assert store.look_up([b"k"], b"third")[0] == {b"k": ONE}


def test_another_identity_is_another_store(tmp_path: Path) -> None:
    Store(tmp_path, {"precision": "float32"}).add([(b"k", ONE)], b"job")
    assert len(Store(tmp_path, {"precision": "bfloat16"})) == 0
    assert len(list(tmp_path.glob("*.sqlite"))) == 2


def test_more_keys_than_one_statement_holds_are_found() -> None:
    store = Store(None, {})
    rows = [(number.to_bytes(16, "big"), StoredScore(float(number), 1, 0)) for number in range(1234)]
    store.add(rows, b"job")
    assert store.look_up([key for key, _ in rows], b"other")[0] == dict(rows)


def test_a_file_that_is_no_store_is_named(tmp_path: Path) -> None:
    file = Store(tmp_path, {}).file
    assert file is not None
    for left in tmp_path.iterdir():
        left.unlink()
    file.write_bytes(b"not a database, but long enough to be taken for one" * 50)
    with pytest.raises(BadInput, match="is no score store"):
        Store(tmp_path, {})


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(CannotWrite):
        Store(tmp_path / "taken" / "scores", {})
