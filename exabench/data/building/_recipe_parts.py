"""Parts of a recipe: a builder with its collections, pairs, queries, first stages, teachers and rerankers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from exabench.core.errors import BadInput
from exabench.core.nouns import Query, Run
from exabench.core.options import accepts, make
from exabench.core.shelf import Shelf
from exabench.data.builders import BUILDERS, Builder
from exabench.data.pairs import PAIRS
from exabench.data.queries import QUERIES
from exabench.parts.assembly import SLOTS, check_part, named_part, reranker, retriever
from exabench.parts.retrievers import Retriever
from exabench.parts.teachers import Teacher
from exabench.tasks.catalogue import single_task
from exabench.tasks.collections import Collection, Passages, open_collection

_SOURCES = {"pairs": PAIRS, "queries": QUERIES}


@dataclass
class RecipeParts:
    """A builder's parts, made from tables: collections, pairs, query sources, first stages, teachers, rerankers.

    A table names its part as `part` beside its options; `task` stands for the collection that a part reads. What a
    table does not say of task and teacher is said by the table around it. First stages are made when they are first
    asked for. `sources` collects the revision of everything that was read.
    """

    data: str | Path | None
    lock: str | Path | None
    cached_teacher: Callable[[Mapping[str, Any]], Teacher | None]
    sources: dict[str, str] = field(default_factory=dict)

    def builder(self, name: str, options: Mapping[str, Any], teacher: Teacher | None = None) -> Builder:
        """The builder called `name`. Raises UnknownName, BadInput for options that it or a part does not take."""
        check_part(BUILDERS, name, options, {**SLOTS, **_SOURCES})
        made: Builder = self._make(BUILDERS, name, options, "", teacher)
        return made

    def _make(self, shelf: Shelf, name: str, options: Mapping[str, Any], task: str, teacher: Teacher | None) -> Any:
        """A part with its options, in which every table of a part has become that part."""
        what = f"{shelf.kind} {name}"
        places = accepts(shelf[name])
        options = dict(options)
        task = options.get("task", task)
        if "task" not in places:
            options.pop("task", None)
        if "teacher" in options:
            engine, own = named_part(options["teacher"], "teacher")
            teacher = options["teacher"] = self.cached_teacher({"part": engine, **own})
        for slot in _SOURCES:
            if slot in options:
                options[slot] = self._source(slot, options[slot], task, teacher)
        if "retrievers" in options:
            stages = {}
            for stage, table in options["retrievers"].items():
                stages[stage] = _LazyRetriever(partial(self._retriever, table, task))
            options["retrievers"] = stages
        if "reranker" in options:
            stage, own = named_part(options["reranker"], "reranker")
            options["reranker"] = reranker(stage, lock=self.lock, **own)
        given: dict[str, Any] = {"data": self.data, "lock": self.lock, "teacher": teacher}
        if "collection" in places:
            given["collection"] = self._collection(task, what)
        return make(what, shelf[name], given, options)

    def _source(self, slot: str, table: Any, task: str, teacher: Teacher | None) -> Any:
        """A source of pairs or queries, or several by names of the recipe's choice."""
        if isinstance(table, Mapping) and "part" not in table:
            return {name: self._source(slot, one, task, teacher) for name, one in table.items()}
        name, own = named_part(table, slot)
        made = self._make(_SOURCES[slot], name, own, task, teacher)
        self.sources[made.source] = made.source_revision
        return made

    def _retriever(self, table: Any, task: str) -> Retriever:
        name, own = named_part(table, "retrievers")
        if "file" in own and self.data:
            beside_the_collections = Path(self.data) / own["file"]
            if beside_the_collections.is_file():
                own["file"] = str(beside_the_collections)
        passages = Passages(self._collection(task, f"retriever {name}"))
        return retriever(name, passages, fields=single_task(task).convention.text_fields, lock=self.lock, **own)

    def _collection(self, task: str, what: str) -> Collection:
        if not task:
            raise BadInput(f'{what} reads a collection: say which in the recipe\'s options, as in task = "mini"')
        found = open_collection(single_task(task), self.data, self.lock)
        self.sources[found.source] = found.revision
        return found


@dataclass
class _LazyRetriever:
    """A first stage that is made when it is first asked: a build that goes on needs no index any more."""

    make: Callable[[], Retriever]

    @cached_property
    def _stage(self) -> Retriever:
        return self.make()

    def search(self, queries: Sequence[Query], depth: int) -> Run:
        """The run of the first stage."""
        return self._stage.search(queries, depth)
