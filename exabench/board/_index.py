"""What was read of a leaderboard's files, kept for the next build: one npz file that holds JSON and arrays.

It is made again where it is missing, damaged, or from another exabench, so nothing is lost with it.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from exabench.files import write
from exabench.nouns import Submission

FILE = "inputs.npz"
_SOURCES = (".py", ".toml", ".html", ".css", ".js", ".svg")
_SAID = tuple(one.name for one in fields(Submission))
_PACKAGE = Path(__file__).parents[1]

Stat = list[int]


@dataclass
class Index:
    """Submissions by file name, result folders by slug, results by `slug/file`, each with how its file looked then.

    With a submission stands the digest of its file; a result is a Score without the path of its file. `rows` are the
    headline values of results by their digests, a pair of query ids and such rows for each table.
    """

    submissions: dict[str, tuple[Stat, str, Submission]] = field(default_factory=dict)
    folders: dict[str, tuple[int, list[str]]] = field(default_factory=dict)
    results: dict[str, tuple[Stat, tuple[Any, ...]]] = field(default_factory=dict)
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    rows: Sequence[tuple[tuple[str, ...], Mapping[str, np.ndarray]]] = ()

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
                return cls._of(told, index)
        except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile):
            return cls()

    @classmethod
    def _of(cls, told: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Index:
        submissions = map(Submission, *map(_values, told["said"]))
        scores = zip(*map(_values, told["scores"]), strict=True)
        seen, found = (arrays[name].tolist() for name in ("submissions", "results"))
        bounds = map(tuple, arrays["bounds"].tolist())
        tables = [
            (tuple(ids), dict(zip(digests, arrays[f"rows{i}"], strict=True)))
            for i, (ids, digests) in enumerate(told["tables"])
        ]
        if any(row.shape != (len(ids),) or row.dtype != np.float64 for ids, rows in tables for row in rows.values()):
            return cls()
        return cls(
            dict(zip(told["names"], zip(seen, told["digests"], submissions, strict=True), strict=True)),
            {name: (changed, files) for name, changed, files in told["folders"]},
            dict(zip(told["keys"], zip(found, scores, strict=True), strict=True)),
            dict(zip(told["intervals"], bounds, strict=True)),
            tables,
        )

    def write(self, folder: Path) -> None:
        """Write the index."""
        said = [[getattr(one, name) for _, _, one in self.submissions.values()] for name in _SAID]
        told = {
            "package": package_digest(),
            "names": list(self.submissions),
            "digests": [digest for _, digest, _ in self.submissions.values()],
            "said": list(map(_column, said)),
            "folders": [[name, *rest] for name, rest in self.folders.items()],
            "keys": list(self.results),
            "scores": [_column(values) for values in zip(*(score for _, score in self.results.values()), strict=True)],
            "intervals": list(self.intervals),
            "tables": [(ids, list(rows)) for ids, rows in self.rows],
        }
        named: dict[str, Any] = {
            "told": np.frombuffer(json.dumps(told, separators=(",", ":")).encode(), np.uint8),
            "submissions": np.array([stat for stat, *_ in self.submissions.values()], np.int64),
            "results": np.array([stat for stat, _ in self.results.values()], np.int64),
            "bounds": np.array(list(self.intervals.values()), np.float64),
            **{f"rows{i}": np.stack(list(rows.values())) for i, (_, rows) in enumerate(self.rows)},
        }
        buffer = BytesIO()
        np.savez(buffer, **named)
        write(folder / FILE, buffer.getvalue())


def _column(values: Sequence[Any]) -> dict[str, list[Any]]:
    """Values as JSON: of texts, each once, and where it stands; so they are read once, and shared."""
    if not all(isinstance(value, str) for value in values):
        return {"values": list(values)}
    places = {value: place for place, value in enumerate(dict.fromkeys(values))}
    return {"values": list(places), "at": [places[value] for value in values]}


def _values(column: Mapping[str, list[Any]]) -> list[Any]:
    values = [tuple(value) if isinstance(value, list) else value for value in column["values"]]
    return [values[place] for place in column["at"]] if "at" in column else values


@cache
def package_digest() -> str:
    """One digest over the sources of this exabench: what another one has read or made is read and made again."""
    digest = hashlib.sha256()
    for file in sorted(file for file in _PACKAGE.rglob("*") if file.suffix in _SOURCES):
        data = file.read_bytes()
        digest.update(f"{file.relative_to(_PACKAGE)} {len(data)}\n".encode() + data)
    return digest.hexdigest()
