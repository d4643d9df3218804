"""Pickled checkpoints as safetensors: unpickled in the jail, whose answers are checked before they are written."""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

from exabench.bench.sandbox._jail import LIMITS, PYTHON, JailedProcess, check_jail
from exabench.bench.sandbox._reranker import read_answer
from exabench.core.errors import BadInput
from exabench.core.nouns import Progress, silent
from exabench.core.records import Record
from exabench.models.screening import SubmissionRefused, check_libraries

WORKER = (PYTHON, "-I", "-B", "-m", "exabench.bench.sandbox._unpickler")
_MEMORY = 4  # times the bytes of a pickle: its tensors, their clones, and these as one file
_SECONDS = 600.0


class _Size(Record, frozen=True):
    """How long the safetensors of a pickle is."""

    bytes: int


class _Piece(Record, frozen=True):
    """A piece of it, in base64."""

    piece: str


def unpickle(files: Mapping[Path, Path], progress: Progress = silent, *, as_root: bool = False) -> None:
    """Write the tensors of each pickle of `files` into the safetensors file that it stands for.

    `as_root` as in JailLimits. Raises SubmissionRefused (no-sandbox) where nothing can be jailed here, BadInput for a
    pickle that is not a table of tensors.
    """
    check_libraries()
    largest = max(file.stat().st_size for file in files)
    limits = dataclasses.replace(LIMITS, answer=8 << 20, memory=max(LIMITS.memory, _MEMORY * largest), as_root=as_root)
    check_jail(limits)
    # The jail shows one folder, and what a cache holds are links to elsewhere.
    with tempfile.TemporaryDirectory(dir=next(iter(files.values())).parent) as place:
        os.chmod(place, 0o755)  # the jail's user is another one where root begins it
        for number, file in enumerate(files):
            _put(file.resolve(), Path(place, f"{number}.bin"))
        with closing(JailedProcess(WORKER, Path(place), limits)) as worker:
            for number, (file, to) in enumerate(files.items()):
                worker.send(json.dumps(f"{number}.bin").encode() + b"\n")
                try:
                    _receive(worker, to, largest=_MEMORY * file.stat().st_size + (1 << 20))
                except SubmissionRefused as refused:
                    raise BadInput(f"cannot be converted ({refused})", file=file) from refused
                progress(number + 1, len(files), "files converted")


def _put(file: Path, place: Path) -> None:
    """The file at another place: a second name of it where the disk is the same, else a copy."""
    with contextlib.suppress(OSError):
        os.link(file, place)
    if not place.exists():
        shutil.copyfile(file, place)


def _receive(worker: JailedProcess, to: Path, largest: int) -> None:
    """Write what the jail answers for one pickle into a file of at most `largest` bytes."""
    size = read_answer(worker.exchange(lambda: _SECONDS), _Size).bytes
    if not 0 < size <= largest:
        raise worker.stop(SubmissionRefused("crashed", f"the answer would have {size} bytes"))
    left = size
    with open(to, "xb") as stream:
        while left > 0:
            data = _decoded(worker, read_answer(worker.exchange(lambda: _SECONDS), _Piece).piece)
            if not 0 < len(data) <= left:  # the jailed program may say anything
                raise worker.stop(SubmissionRefused("crashed", "the answer is longer than it said"))
            left -= len(data)
            stream.write(data)


def _decoded(worker: JailedProcess, piece: str) -> bytes:
    try:
        return base64.b64decode(piece, validate=True)
    except ValueError as error:
        raise worker.stop(SubmissionRefused("crashed", "a piece is not base64")) from error
