"""Chains of a bench as a toy computes them: what a worker is given, who computed it, and how it ends."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from pathlib import Path

from exabench.errors import UnknownName
from exabench.evaluation._engines import Chain, Share


@dataclass(frozen=True)
class Begin:
    """Writes `slug task` into a file for each list, and which process did; a chain may kill its worker, or fail.

    `killed` is "slug.task" and how often that chain ends with kill -9, `wrong` the slug of chains that raise.
    """

    folder: Path
    killed: tuple[str, int] = ("", 0)
    wrong: str = ""

    def __call__(self) -> Share:
        return self._share

    def _share(self, chain: Chain) -> list[Path]:
        name = f"{chain.slug}.{chain.task}"
        before = len([*self.folder.glob(f"begun.{name}.*")])
        (self.folder / f"begun.{name}.{before}").touch()
        if name == self.killed[0] and before < self.killed[1]:
            os.kill(os.getpid(), signal.SIGKILL)
        if chain.slug == self.wrong:
            raise UnknownName("reranker", "nothing", ["something"])
        files = [self.folder / f"{name}.{one}" for one in chain.candidates]
        for file in files:
            file.write_text(f"{os.getpid()} {os.environ.get('CUDA_VISIBLE_DEVICES', '')}")
        return files
