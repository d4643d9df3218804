"""Damaged files of every kind are read, or refused in one line: no traceback, no hang, bounded memory, nothing written.

`tests/fuzzing.py` makes the files. What it found has tests of its own, next to those of the reader.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from fuzzing import READERS

SLOW = ("model",)  # it loads torch
NOT_HERE = () if shutil.which("bwrap") else ("answers of the jail",)


def faults(readers: list[str], inputs: int, seed: int) -> str:
    """What a campaign printed, where it found something."""
    command = [sys.executable, str(Path(__file__).parent / "fuzzing.py"), "--inputs", str(inputs), "--seed", str(seed)]
    done = subprocess.run([*command, *readers], capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else done.stdout + done.stderr


def test_a_few_damaged_files_of_every_kind_are_read_or_refused_in_one_line() -> None:
    assert faults([name for name in READERS if name not in (*SLOW, *NOT_HERE)], 5, 7) == ""


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in READERS if name not in NOT_HERE])
def test_hundreds_of_damaged_files_are_read_or_refused_in_one_line(name: str) -> None:
    assert faults([name], 300, 11) == ""
