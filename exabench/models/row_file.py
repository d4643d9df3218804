"""Rows of numbers that wait in a temporary file, not in memory: 8 bytes of RAM for each."""

from __future__ import annotations

import os
import tempfile
from array import array
from collections.abc import Sequence
from typing import Any

import numpy as np


class RowFile:
    """Rows of different lengths and one dtype, appended at the end and read by number."""

    def __init__(self, dtype: Any) -> None:
        self._dtype = np.dtype(dtype)
        self._ends = array("q", [0])
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the object

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, number: int) -> np.ndarray:
        start = self._ends[number] * self._dtype.itemsize
        end = self._ends[number + 1] * self._dtype.itemsize
        return np.frombuffer(os.pread(self._file.fileno(), end - start, start), self._dtype)

    def extend(self, rows: Sequence[np.ndarray]) -> None:
        """Append rows of the dtype."""
        self._file.seek(0, os.SEEK_END)
        self._file.write(b"".join(row.tobytes() for row in rows))
        self._file.flush()
        for row in rows:
            self._ends.append(self._ends[-1] + len(row))
