"""Systems: retrievers, rerankers, teachers and builders made from names and options, each given the parts it needs.

A part's option may be a part itself: a name, or a table that names it as `part` beside its own options, as in
`reranker = { part = "monot5", model = "castorini/monot5-base-msmarco-10k" }`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from exabench.builders import BUILDERS, Builder
from exabench.catalogue import single_task
from exabench.collections import Collection
from exabench.collections._choose import open_collection
from exabench.collections._texts import Passages
from exabench.errors import BadInput
from exabench.files import cache_folder
from exabench.nouns import Passage, Progress, Qrels, silent
from exabench.options import accepts, check, make
from exabench.pairs import PAIRS
from exabench.queries import QUERIES
from exabench.replies import CachedTeacher, Replies
from exabench.rerankers import RERANKERS, Reranker
from exabench.retrievers import RETRIEVERS, Retriever
from exabench.shelf import Shelf
from exabench.teachers import TEACHERS, Teacher


def reranker(
    name: str,
    *,
    qrels: Qrels | None = None,
    lock: str | Path | None = None,
    scores: str | Path | None = None,
    replies: str | Path | None = None,
    progress: Progress = silent,
    **options: Any,
) -> Reranker:
    """The reranker called `name` with its options (`model`, `revision`, `strategy`, ...), ready to score.

    A model on a teacher engine is given by `teacher`: an engine's name or table; `model` and `revision` are then
    the teacher's. `scores` is the folder of the score store, `replies` the file of the reply store (default: the
    user's): neither a pair nor a call is paid for twice. Raises UnknownName, BadInput for options that the part does
    not take, MissingExtra.
    """
    part = RERANKERS[name]
    options = _with_teacher_table(name, part, options)
    judgements = (qrels or {},) if part.reads == "judgements" else ()
    if "teacher" in options:
        engine = teacher(options["teacher"], lock=lock)
        options["teacher"] = CachedTeacher(engine, Replies(replies))
    given = {"lock": lock, "scores": str(scores or cache_folder("scores")), "progress": progress}
    made: Reranker = make(f"reranker {name}", part, given, options, *judgements)
    return made


def _with_teacher_table(name: str, part: Any, options: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a reranker, in which `model` and `revision` of one that asks a teacher have become the teacher's.

    Raises BadInput for a reranker that asks a language model and is told no engine.
    """
    options = dict(options)
    if getattr(part, "asks", "") != "teacher":
        return options
    has_its_own_model = getattr(part, "local", False) and "model" in options
    if "teacher" not in options:
        if has_its_own_model:
            return options
        raise BadInput(f"reranker {name} asks a language model: say which engine, as in teacher=openai")
    engine, engine_options = _named(options["teacher"], "teacher")
    for key in ("model", "revision"):
        if key in options:
            engine_options[key] = options.pop(key)
    options["teacher"] = {"part": engine, **engine_options}
    return options


def teacher(part: str | Mapping[str, Any], *, lock: str | Path | None = None, **options: Any) -> Teacher:
    """The teacher engine that `part` names (or describes, as a table), with its options."""
    name, own = _named(part, "teacher")
    made: Teacher = make(f"teacher {name}", TEACHERS[name], {"lock": lock}, {**own, **options})
    return made


def retriever(
    name: str,
    passages: Iterable[Passage],
    *,
    fields: tuple[str, ...] = ("title", "text"),
    lock: str | Path | None = None,
    progress: Progress = silent,
    **options: Any,
) -> Retriever:
    """The first stage called `name` over `passages`, ready to search; those made of two stages get both."""
    part = RETRIEVERS[name]
    if getattr(part, "composes", False):
        if isinstance(passages, Iterator):  # both stages read them
            passages = list(passages)
        check_part(RETRIEVERS, name, options)
        first_stage, own = _named(options["first_stage"], "first_stage")
        known: dict[str, Any] = {"lock": lock, "progress": progress}
        options["first_stage"] = retriever(first_stage, passages, **{"fields": fields, **known, **own})
        second_stage, own = _named(options["reranker"], "reranker")
        options["reranker"] = reranker(second_stage, **{**known, **own})
    given = {"fields": fields, "lock": lock, "progress": progress}
    made: Retriever = make(f"retriever {name}", part, given, options, passages)
    return made


def check_part(shelf: Shelf, name: str, options: Mapping[str, Any]) -> None:
    """Hold the options of a part, and of the parts inside it, against their constructors, and make none of them.

    Raises UnknownName, BadInput in one line with the valid options, MissingExtra where a part's packages are not
    installed.
    """
    part = shelf[name]
    if shelf is RERANKERS:
        options = _with_teacher_table(name, part, options)
    if "task" in options and "task" not in accepts(part):
        options = {key: value for key, value in options.items() if key != "task"}  # of the collection, not the part
    check(f"{shelf.kind} {name}", part, options, _FILLED_IN[shelf.kind])
    for slot, inner in _SLOTS.items():
        if slot in options:
            for inner_name, inner_options in _parts_in(slot, options[slot]):
                check_part(inner, inner_name, inner_options)


_SLOTS = {
    "teacher": TEACHERS,
    "reranker": RERANKERS,
    "first_stage": RETRIEVERS,
    "retrievers": RETRIEVERS,
    "pairs": PAIRS,
    "queries": QUERIES,
}
"""Options that are parts themselves, and their shelves."""

_FILLED_IN = {
    "reranker": {"qrels", "lock", "scores", "progress"},
    "retriever": {"passages", "fields", "lock", "progress"},
    "teacher": {"lock"},
    "builder": {"collection", "data", "lock", "teacher"},
    "source of pairs": {"collection", "data", "lock", "teacher"},
    "query source": {"collection", "data", "lock", "teacher"},
}
"""Parameters that no recipe fills in, by kind of part."""


def _parts_in(slot: str, value: Any) -> list[tuple[str, dict[str, Any]]]:
    """The parts that an option holds: one, or several by names of the recipe's choice."""
    if isinstance(value, Mapping) and "part" not in value:
        return [_named(one, slot) for one in value.values()]
    return [_named(value, slot)]


def _named(part: object, what: str) -> tuple[str, dict[str, Any]]:
    if isinstance(part, str):
        return part, {}
    if isinstance(part, Mapping) and isinstance(part.get("part"), str):
        return part["part"], {key: value for key, value in part.items() if key != "part"}
    raise BadInput(f'{what} must name a part, as in "monot5" or {{ part = "monot5", model = "..." }}, not {part!r}')


class Parts:
    """A builder's parts, made from tables: collections, pairs, query sources, first stages, teachers, rerankers.

    A table names its part as `part` beside its options; `task` stands for the collection that a part reads, and what
    a table does not say of it is said by the table around it. First stages are made when they are first asked for.
    `sources` collects the revision of everything that was read.
    """

    def __init__(
        self, data: str | Path | None, lock: str | Path | None, remember: Callable[[Mapping[str, Any]], Teacher | None]
    ) -> None:
        self._data, self._lock, self._remember = data, lock, remember
        self.sources: dict[str, str] = {}

    def builder(self, name: str, options: Mapping[str, Any], teacher: Teacher | None) -> Builder:
        """The builder called `name`. Raises UnknownName, BadInput for options that it or a part does not take."""
        check_part(BUILDERS, name, options)
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
            name, own = _named(options["teacher"], "teacher")
            here["teacher"] = options["teacher"] = self._remember({"part": name, **own})
        for slot, shelf in (("pairs", PAIRS), ("queries", QUERIES)):
            if slot in options:
                options[slot] = self._from_shelf(slot, shelf, options[slot], here)
        if "retrievers" in options:
            options["retrievers"] = _Later(options["retrievers"], lambda table: self._retriever(table, here))
        if "reranker" in options:
            stage, own = _named(options["reranker"], "reranker")
            options["reranker"] = reranker(stage, lock=self._lock, **own)
        given = {"data": self._data, "lock": self._lock, "teacher": here["teacher"]}
        if "collection" in takes:
            given["collection"] = self._collection(here["task"], what)
        return make(what, part, given, options)

    def _from_shelf(self, slot: str, shelf: Shelf, table: Any, here: Mapping[str, Any]) -> Any:
        if isinstance(table, Mapping) and "part" not in table:  # several, by names of the recipe's own
            return {name: self._from_shelf(slot, shelf, one, here) for name, one in table.items()}
        name, own = _named(table, slot)
        made = self._filled(f"{shelf.kind} {name}", shelf[name], own, here)
        self.sources[made.source] = made.source_revision
        return made

    def _retriever(self, table: Any, here: Mapping[str, Any]) -> Retriever:
        name, own = _named(table, "retrievers")
        if "file" in own and self._data and (found := Path(self._data) / own["file"]).is_file():
            own["file"] = str(found)  # a published run among the collections
        task = single_task(here["task"])
        passages = Passages(self._collection(task.name, f"retriever {name}"))
        return retriever(name, passages, fields=task.convention.text_fields, lock=self._lock, **own)

    def _collection(self, task: str, what: str) -> Collection:
        if not task:
            raise BadInput(f'{what} reads a collection: say which in the recipe\'s options, as in task = "mini"')
        found = open_collection(single_task(task), self._data, self._lock)
        self.sources[found.source] = found.revision
        return found


class _Later(Mapping[str, Any]):
    """Parts that are made when they are first asked for: a build that goes on needs no index any more."""

    def __init__(self, tables: Mapping[str, Any], make: Callable[[Any], Any]) -> None:
        self._tables, self._make = tables, make
        self._made: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._made:
            self._made[name] = self._make(self._tables[name])
        return self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._tables)

    def __len__(self) -> int:
        return len(self._tables)
