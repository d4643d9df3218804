"""Toy work for `run_items`: an item says who ran it, kills its worker, or fails."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from exabench.core.errors import UnknownName


@dataclass(frozen=True)
class Item:
    """A task for a model, over some lists."""

    model: str
    task: str
    lists: tuple[str, ...] = ("bm25-20", "bm25-100")

    def __str__(self) -> str:
        return f"{self.model} on {self.task} ({', '.join(self.lists)})"


@dataclass(frozen=True)
class Begin:
    """Writes who ran an item, and on which GPU, into a file for each list; an item may kill its worker, or fail.

    `killed` is "model.task" and how often that item ends with kill -9, `wrong` and `crash` are models of items that
    raise, and the item `wait` ends after all others.
    """

    folder: Path
    killed: tuple[str, int] = ("", 0)
    wrong: str = ""
    crash: str = ""
    wait: str = ""

    def __call__(self) -> Callable[[Item], list[Path]]:
        (self.folder / f"worker.{os.getpid()}").touch(exist_ok=False)  # once in each worker
        return self._run

    def _run(self, item: Item) -> list[Path]:
        name = f"{item.model}.{item.task}"
        before = len([*self.folder.glob(f"begun.{name}.*")])
        (self.folder / f"begun.{name}.{before}").touch()
        if name == self.killed[0] and before < self.killed[1]:
            os.kill(os.getpid(), signal.SIGKILL)
        if name == self.wait:  # until all others are done
            while len([*self.folder.glob("*.bm25-100")]) < 4:
                time.sleep(0.02)
        if item.model == self.wrong:
            raise UnknownName("reranker", "nothing", ["something"])
        if item.model == self.crash:
            raise ZeroDivisionError("by nobody")
        files = [self.folder / f"{name}.{one}" for one in item.lists]
        for file in files:
            file.write_text(f"{os.getpid()} {os.environ.get('CUDA_VISIBLE_DEVICES', '')}")
        return files
