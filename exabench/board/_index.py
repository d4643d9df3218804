"""What was read of a leaderboard's files, kept for the next build: one npz file that holds JSON and arrays.

It is made again where it is missing, damaged, or from another exabench, so nothing is lost with it.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from exabench.board._scores import Vectors
from exabench.files import write
from exabench.nouns import Submission

FILE = "inputs.npz"
_SOURCES = (".py", ".toml", ".html", ".css", ".js", ".svg")
_EMPTY = {
    one.name: one.default if one.default is not MISSING else None for one in fields(Submission) if one.name != "options"
}
_SAID = tuple(one.name for one in fields(Submission))
_PACKAGE = Path(__file__).parents[1]

Stat = list[int]


@dataclass
class Index:
    """Submissions by file name, result folders by slug, results by `slug/file`, each with how its file looked then.

    Of a submission stand its digest and what it says, of a result its values (`values_of`), and the place of its row.
    """

    submissions: dict[str, tuple[Stat, str, Mapping[str, Any]]] = field(default_factory=dict)
    folders: dict[str, tuple[int, list[str]]] = field(default_factory=dict)
    results: dict[str, tuple[Stat, list[Any], int, int]] = field(default_factory=dict)
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    tables: Sequence[tuple[tuple[str, ...], np.ndarray]] = ()

    @classmethod
    def read(cls, folder: Path | None) -> Index:
        """The index in a folder; an empty one where it cannot be used."""
        try:
            if folder is None:
                return cls()
            with np.load(folder / FILE, allow_pickle=False) as index:
                told = json.loads(index["told"].tobytes())
                if told["package"] != package_digest():
                    return cls()
                tables = [(tuple(ids), index[f"rows{i}"]) for i, ids in enumerate(told["queries"])]
                bounds = [(low, high) for low, high in index["bounds"].tolist()]
                keys = [key.decode() for key in index["keys"].tolist()]
            if any(rows.shape[1:] != (len(ids),) or rows.dtype != np.float64 for ids, rows in tables):
                return cls()
            return cls(
                submissions={name: (stat, digest, said) for name, stat, digest, said in told["submissions"]},
                folders={name: (changed, files) for name, changed, files in told["folders"]},
                results={key: (stat, values, table, row) for key, stat, values, table, row in told["results"]},
                intervals=dict(zip(keys, bounds, strict=True)),
                tables=tables,
            )
        except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile):
            return cls()

    def result(self, key: str) -> tuple[list[Any], tuple[str, ...], bytes]:
        """The values of a result in short, its query ids, and its row of float64."""
        _, values, table, row = self.results[key]
        ids, rows = self.tables[table]
        return values, ids, rows[row].tobytes()

    def write(self, folder: Path, vectors: Vectors) -> None:
        """Write the index, with the rows of its results."""
        told = {
            "package": package_digest(),
            "submissions": [[name, *rest] for name, rest in self.submissions.items()],
            "folders": [[name, *rest] for name, rest in self.folders.items()],
            "results": [[key, *rest] for key, rest in self.results.items()],
            "queries": vectors.tables,
        }
        arrays = {f"rows{i}": vectors.table(i) for i in range(len(vectors.tables))}
        text = np.frombuffer(json.dumps(told, separators=(",", ":")).encode(), np.uint8)
        keys = np.array(list(self.intervals), "S64")
        bounds = np.array(list(self.intervals.values()), np.float64).reshape(-1, 2)
        named: dict[str, Any] = {"told": text, "keys": keys, "bounds": bounds, **arrays}
        buffer = BytesIO()
        np.savez(buffer, **named)
        write(folder / FILE, buffer.getvalue())


def said(one: Submission) -> Mapping[str, Any] | None:
    """What a submission says that is not said by saying nothing.

    None where JSON does not hold its options as they are: a TOML date, for one, is none of JSON's values.
    """
    try:
        if one.options and json.loads(json.dumps(one.options, allow_nan=False)) != one.options:
            return None
    except (TypeError, ValueError):
        return None
    return {key: value for key in _SAID if (value := getattr(one, key)) != _EMPTY.get(key, {})}


def saying(said: Mapping[str, Any]) -> Submission:
    """The submission that says this."""
    values: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in said.items()}
    return Submission(**values)


@cache
def package_digest() -> str:
    """One digest over the sources of this exabench: what another one has read or made is read and made again."""
    digest = hashlib.sha256()
    for file in sorted(file for file in _PACKAGE.rglob("*") if file.suffix in _SOURCES):
        data = file.read_bytes()
        digest.update(f"{file.relative_to(_PACKAGE)} {len(data)}\n".encode() + data)
    return digest.hexdigest()
