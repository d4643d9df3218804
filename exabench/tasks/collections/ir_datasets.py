"""ir_datasets: the collection as that package downloads and keeps it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Set
from pathlib import Path
from typing import Any

import ir_datasets

from exabench.core.errors import BadInput, OutsideFailed, nearest, printable
from exabench.core.nouns import Passage, Qrels, Query, Task
from exabench.tasks.collections import passage_of, query_of

PACKAGE = f"ir_datasets {ir_datasets.__version__}"
"""What pins all that is read here: the package checks what it downloads against its own checksums."""

# The package writes its log to standard error by itself; here it goes to whoever listens (logging), else nowhere.
_LOGGER = ir_datasets.log.easy().logger()
_LOGGER.handlers = [logging.NullHandler()]
_LOGGER.propagate = True


class IrDatasets:
    """The task's ir_datasets id, loaded at first use (IR_DATASETS_HOME says where it is kept)."""

    def __init__(self, task: Task, data: str | Path | None = None, lock: str | Path | None = None) -> None:
        self._task = task
        self.source = f"ir_datasets {task.ir_datasets}"

    @property
    def revision(self) -> str:
        """The package's version."""
        return PACKAGE

    def is_available(self) -> bool:
        """True where the task has an ir_datasets id."""
        return self._task.ir_datasets is not None

    def queries(self) -> Iterator[Query]:
        """Queries; `text` is the task's `query_field`, else what ir_datasets calls the default text of a query."""
        field = self._task.query_field
        for query in self._read("queries_iter"):
            if not field:
                yield query_of(query.query_id, query.default_text(), self.source)
                continue
            if field not in query._fields:
                names = ", ".join(query._fields)
                raise BadInput(f"{self.source} has no query field {field!r}; its fields: {names}")
            text = getattr(query, field)
            if isinstance(text, str):
                text = " ".join(text.split())  # TREC breaks its descriptions into lines
            yield query_of(query.query_id, text, self.source)

    def passages(self) -> Iterator[Passage]:
        """Documents with their title where they have one."""
        for document in self._read("docs_iter"):
            yield self._passage(document)

    def passages_of(self, wanted: Set[str]) -> Iterator[Passage]:
        """The documents of these ids, from the package's index of them; it is built when it is first asked."""
        for document in self._read("docs_store", lambda store: store.get_many_iter(sorted(wanted))):
            yield self._passage(document)

    def count_passages(self) -> int:
        """The number of documents."""
        count = ir_datasets.load(str(self._task.ir_datasets)).docs_count()
        if count is None:  # the package knows it only after it has built its index of the documents
            count = sum(1 for _ in self._read("docs_iter"))
        return int(count)

    def _passage(self, document: Any) -> Passage:
        text = getattr(document, "text", None)
        title = getattr(document, "title", "")
        if text is None:  # documents of TREC's disks have a title and a body: their default text is both
            text = document.default_text()
            title = ""
        return passage_of(document.doc_id, text, title, self.source)

    def qrels(self, split: str) -> Qrels:
        """The judgements of the task's own split (an ir_datasets id stands for one split)."""
        if split != self._task.split:
            raise BadInput(f"ir_datasets {self._task.ir_datasets} has the split {self._task.split!r}, not {split!r}")
        qrels: dict[str, dict[str, int]] = {}
        for judgement in self._read("qrels_iter"):
            qrels.setdefault(judgement.query_id, {})[judgement.doc_id] = int(judgement.relevance)
        return qrels

    def triples(self) -> Iterator[tuple[str, str, str]]:
        """Training triples by id (query, relevant passage, other passage), in the package's order."""
        for triple in self._read("docpairs_iter"):
            yield triple.query_id, triple.doc_id_a, triple.doc_id_b

    def _read(self, what: str, rows_of: Callable[[Any], Iterable[Any]] = iter) -> Iterator[Any]:
        return read_dataset(str(self._task.ir_datasets), what, rows_of)


def read_dataset(id: str, what: str, rows_of: Callable[[Any], Iterable[Any]] = iter) -> Iterator[Any]:
    """The rows that a method of an ir_datasets collection gives (`what`, as in "docs_iter").

    Raises BadInput for an unknown id, OutsideFailed.
    """
    try:
        dataset = ir_datasets.load(id)
    except KeyError as error:
        known = list(ir_datasets.registry)
        raise BadInput(f"ir_datasets has no collection {printable(id)!r}; {nearest(id, known)}") from error
    try:
        yield from rows_of(getattr(dataset, what)())
    except Exception as error:  # a download can fail in as many ways as there are mirrors
        raise OutsideFailed(f"ir_datasets {id}: {type(error).__name__}: {str(error)[:200]}") from error
