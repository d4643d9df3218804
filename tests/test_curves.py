"""Curves: a resumed run leaves the bytes of one that was never killed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st

from exabench.core.errors import BadInput, CannotWrite
from exabench.training.curves import COLUMNS, Curves, Point

HEADER = "step,epoch,groups,loss,rate,gradient_norm,dev\n"


def point(step: int) -> Point:
    dev = 0.5 + step / 1000 if step % 5 == 0 else None
    return Point(step, step / 30, 8 * step, 1 / step + 0.1 * (step % 3), 5e-5 * min(1, step / 10), 1.5 + step % 2, dev)


def trained(file: Path, steps: int, *, start: int = 0) -> bytes:
    curves = Curves(file)
    curves.resume(start)
    for step in range(start + 1, steps + 1):
        curves.add(point(step))
    return file.read_bytes()


def test_the_file_has_a_line_for_each_step_and_no_time(tmp_path):
    data = trained(tmp_path / "curves.csv", 5).decode()
    assert data.startswith(HEADER) and tuple(HEADER.strip().split(",")) == COLUMNS
    assert data.splitlines()[1] == "1,0.03333333333333333,8,1.1,5e-06,2.5,"
    assert data.splitlines()[5].endswith(",0.505") and len(data.splitlines()) == 6
    assert list(Curves(tmp_path / "curves.csv")) == [point(step) for step in range(1, 6)]


@pytest.mark.parametrize("checkpoint", [0, 1, 10, 23])
def test_a_run_killed_at_any_byte_and_resumed_leaves_the_bytes_of_one_that_was_not(tmp_path, checkpoint):
    whole = trained(tmp_path / "whole.csv", 30)
    ends = [found.end() for found in re.finditer(b"\n", whole)]
    for cut in range(ends[checkpoint], len(whole) + 1, 11):
        (tmp_path / "killed.csv").write_bytes(whole[:cut])
        assert trained(tmp_path / "killed.csv", 30, start=checkpoint) == whole


NUMBERS = (st.floats(0, 100), st.floats(-1e30, 1e30), st.floats(0, 1), st.floats(0, 1e30), st.none() | st.floats(0, 1))


@settings(max_examples=15)
@given(st.lists(st.tuples(*NUMBERS), min_size=1, max_size=8))
def test_every_number_is_read_back_as_it_was(tmp_path_factory, rows):
    file = tmp_path_factory.mktemp("curves") / "curves.csv"
    curves = Curves(file)
    curves.resume()
    points = [Point(i, row[0], 2 * i, *row[1:]) for i, row in enumerate(rows, 1)]
    for one in points:
        curves.add(one)
    data = file.read_bytes()
    assert list(curves) == points
    curves.resume(len(points))
    assert file.read_bytes() == data


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("step,loss\n1,2\n", "curves.csv:1: must begin with step,epoch"),
        (HEADER + "1,0,8,0.5,1e-5,1,\nx\n", "curves.csv:3: is not a step of"),
        (HEADER + "2,0,8,0.5,1e-5,1,\n2,0,8,0.5,1e-5,1,\n", "step 2 comes after step 2"),
    ],
)
def test_a_file_that_is_no_curves_is_one_line(tmp_path, text, said):
    (tmp_path / "curves.csv").write_text(text)
    with pytest.raises(BadInput, match=said):
        Curves(tmp_path / "curves.csv").resume(2)


def test_lines_that_a_checkpoint_needs_and_that_are_lost_are_missed(tmp_path):
    trained(tmp_path / "curves.csv", 5)
    with pytest.raises(BadInput, match="ends at step 5, before step 9; resume from an older checkpoint"):
        Curves(tmp_path / "curves.csv").resume(9)
    with pytest.raises(BadInput, match="cannot be read"):
        Curves(tmp_path / "none.csv").resume(1)


def test_a_disk_that_is_full_is_one_line():
    with pytest.raises(CannotWrite, match="the disk is full"):
        Curves(Path("/dev/full")).add(point(1))
