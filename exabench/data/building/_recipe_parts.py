"""Parts of a recipe: a builder with its collections, pairs, queries, first stages, teachers and rerankers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import exabench.parts.assembly
from exabench.core.errors import BadInput
from exabench.core.options import accepts, make
from exabench.core.shelf import Shelf
from exabench.data.builders import BUILDERS, Builder
from exabench.data.pairs import PAIRS
from exabench.data.queries import QUERIES
from exabench.parts.assembly import check_part, named_part, reranker, retriever
from exabench.parts.retrievers import Retriever
from exabench.parts.teachers import Teacher
from exabench.tasks.catalogue import single_task
from exabench.tasks.collections import Collection, Passages, open_collection

SLOTS = {**exabench.parts.assembly.SLOTS, "pairs": PAIRS, "queries": QUERIES}
"""Options of a builder, and of its parts, that are parts themselves."""


class RecipeParts:
    """A builder's parts, made from tables: collections, pairs, query sources, first stages, teachers, rerankers.

    A table names its part as `part` beside its options; `task` stands for the collection that a part reads, and what
    a table does not say of it is said by the table around it. First stages are made when they are first asked for.
    `sources` collects the revision of everything that was read.
    """

    def __init__(
        self, data: str | Path | None, lock: str | Path | None, remember: Callable[[Mapping[str, Any]], Teacher | None]
    ) -> None:
        self._data = data
        self._lock = lock
        self._remember = remember
        self.sources: dict[str, str] = {}

    def builder(self, name: str, options: Mapping[str, Any], teacher: Teacher | None) -> Builder:
        """The builder called `name`. Raises UnknownName, BadInput for options that it or a part does not take."""
        check_part(BUILDERS, name, options, SLOTS)
        made: Builder = self._filled(f"builder {name}", BUILDERS[name], options, {"teacher": teacher, "task": ""})
        return made

    def _filled(
        self, what: str, part: Callable[..., Any], options: Mapping[str, Any], around: Mapping[str, Any]
    ) -> Any:
        """`part` with its options, in which every table of a part has become that part."""
        options = dict(options)
        takes = accepts(part)
        here = {**around, "task": options.get("task", around["task"])}
        if "task" not in takes:
            options.pop("task", None)
        if "teacher" in options:
            name, own = named_part(options["teacher"], "teacher")
            here["teacher"] = options["teacher"] = self._remember({"part": name, **own})
        for slot, shelf in (("pairs", PAIRS), ("queries", QUERIES)):
            if slot in options:
                options[slot] = self._from_shelf(slot, shelf, options[slot], here)
        if "retrievers" in options:
            options["retrievers"] = _MadeWhenAsked(options["retrievers"], lambda table: self._retriever(table, here))
        if "reranker" in options:
            stage, own = named_part(options["reranker"], "reranker")
            options["reranker"] = reranker(stage, lock=self._lock, **own)
        given = {"data": self._data, "lock": self._lock, "teacher": here["teacher"]}
        if "collection" in takes:
            given["collection"] = self._collection(here["task"], what)
        return make(what, part, given, options)

    def _from_shelf(self, slot: str, shelf: Shelf, table: Any, here: Mapping[str, Any]) -> Any:
        if isinstance(table, Mapping) and "part" not in table:  # several, each under a name of its choice
            return {name: self._from_shelf(slot, shelf, one, here) for name, one in table.items()}
        name, own = named_part(table, slot)
        made = self._filled(f"{shelf.kind} {name}", shelf[name], own, here)
        self.sources[made.source] = made.source_revision
        return made

    def _retriever(self, table: Any, here: Mapping[str, Any]) -> Retriever:
        name, own = named_part(table, "retrievers")
        if "file" in own and self._data:
            beside_the_collections = Path(self._data) / own["file"]
            if beside_the_collections.is_file():
                own["file"] = str(beside_the_collections)
        task = single_task(here["task"])
        passages = Passages(self._collection(task.name, f"retriever {name}"))
        return retriever(name, passages, fields=task.convention.text_fields, lock=self._lock, **own)

    def _collection(self, task: str, what: str) -> Collection:
        if not task:
            raise BadInput(f'{what} reads a collection: say which in the recipe\'s options, as in task = "mini"')
        found = open_collection(single_task(task), self._data, self._lock)
        self.sources[found.source] = found.revision
        return found


class _MadeWhenAsked(Mapping[str, Any]):
    """Parts that are made when they are first asked for: a build that goes on needs no index any more."""

    def __init__(self, tables: Mapping[str, Any], make: Callable[[Any], Any]) -> None:
        self._tables = tables
        self._make = make
        self._made: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._made:
            self._made[name] = self._make(self._tables[name])
        return self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._tables)

    def __len__(self) -> int:
        return len(self._tables)
