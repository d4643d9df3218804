"""A published run of a first stage, read from its run file."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from exabench.core.files import digest_of, read_bytes, relative_path
from exabench.core.nouns import Passage, Query, Run
from exabench.measure.runs import read_run, select_queries, top


class RunFile:
    """The run in `file`; its parameters are the file's path from the working folder on, and its digest.

    `system` is the name of the file without its endings.
    """

    whole = False

    def __init__(self, passages: Iterable[Passage] = (), fields: tuple[str, ...] = (), *, file: str) -> None:
        self._run = read_run(file)
        self.system = self._run.name
        self.parameters = {"file": relative_path(file), "digest": digest_of(read_bytes(file))}

    def search(self, queries: Sequence[Query], depth: int) -> Run:
        """The rankings of these queries in the file, cut at `depth`."""
        return top(select_queries(self._run, {query.id for query in queries}), depth)
