"""How the board and its build grow: seconds and memory at 1,000, 5,000 and 10,000 made-up submissions.

    python tests/benchmarks/board.py [SUBMISSIONS ...] [--in FOLDER]

For each size it makes a board in a new folder, then prints what the whole command takes to build its site from
nothing, where nothing changed, and after one new submission: seconds by the clock and of the processors, and the most
memory of a process. The machine may be shared, so judge by the processors' seconds.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from toys import TIME, finished_board

from exabench.bench.ledger import Ledger, read_result, result_json
from exabench.bench.submissions import submission_text
from exabench.core.files import json_text
from exabench.core.nouns import Result

PATTERN = "acme--good"


class Crowd:
    """Makes submissions with drawn values beside a pattern of the small board: TOML, run and result, all valid."""

    def __init__(self, board: Path) -> None:
        self.board, self.ledger = board, Ledger(board)
        self.submission = self.ledger.submissions()[PATTERN]
        self.pattern = read_result(board / "results" / PATTERN / "mini.bm25-20.json")
        self.run = (board / "runs" / PATTERN / "mini.bm25-20.trec.gz").read_bytes()

    def add(self, number: int) -> None:
        """One submission."""
        rng = np.random.default_rng([number, 0])
        one = dataclasses.replace(self.submission, name=f"owner{number % 97}/system{number:05}", description="")
        result = self._result(rng, one.slug)
        texts = {
            f"submissions/{one.slug}.toml": submission_text(one).encode(),
            f"runs/{one.slug}/mini.bm25-20.trec.gz": self.run,
            f"results/{one.slug}/mini.bm25-20.json": json_text(result_json(result)).encode(),
        }
        for name, data in texts.items():
            file = self.board / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(data)

    def withdraw(self, number: int) -> None:
        """Take a submission out of the rankings."""
        file = self.board / "submissions" / f"owner{number % 97}--system{number:05}.toml"
        file.write_text(file.read_text() + 'withdrawn = "its sender asked"\n')

    def _result(self, rng: np.random.Generator, slug: str) -> Result:
        measured, name = self.pattern.measurement, self.pattern.measurement.headline
        queries = list(measured.per_query[name])
        values = np.clip(rng.normal(rng.uniform(0.2, 0.9), 0.15, len(queries)), 0, 1).round(4)
        value = float(values.mean())
        drawn = dataclasses.replace(
            measured,
            run=slug,
            metrics={**measured.metrics, name: value},
            per_query={**measured.per_query, name: dict(zip(queries, values.tolist(), strict=True))},
            intervals={**measured.intervals, name: (value - 0.03, value + 0.03)},
        )
        return dataclasses.replace(self.pattern, submission=slug, measurement=drawn)


def command(board: Path, site: Path) -> tuple[float, float]:
    """Seconds of the whole command, start of the interpreter included: by the clock, and of all processors."""
    arguments = ["board", "build", "--board", str(board), "--to", str(site)]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    subprocess.run([sys.executable, "-m", "exabench", *arguments], check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.perf_counter() - start, spent


def measured(size: int, folder: Path) -> dict[str, float]:
    """All figures for one size."""
    board = folder / f"board{size}"
    finished_board(board)
    crowd = Crowd(board)
    start = time.perf_counter()
    for number in range(size):
        crowd.add(number)
    figures: dict[str, float] = {"submissions": size, "made in s": time.perf_counter() - start}
    site = folder / f"site{size}"
    figures["from nothing s"], figures["from nothing cpu s"] = command(board, site)
    figures["unchanged s"], figures["unchanged cpu s"] = command(board, site)
    crowd.add(size)
    figures["one new s"], figures["one new cpu s"] = command(board, site)
    figures["files"] = sum(file.is_file() for file in site.rglob("*"))
    figures["largest process MiB"] = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    return figures


def main() -> None:
    """Measure the sizes asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sizes", nargs="*", type=int, default=[1_000, 5_000, 10_000])
    parser.add_argument("--in", dest="folder", type=Path)
    given = parser.parse_args()
    os.environ["SOURCE_DATE_EPOCH"] = TIME
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        for size in given.sizes:
            print(json.dumps({name: round(value, 2) for name, value in measured(size, Path(folder)).items()}))


if __name__ == "__main__":
    main()
