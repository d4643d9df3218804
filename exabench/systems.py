"""Systems: retrievers, rerankers, teachers and builders made from names and options, each given the parts it needs.

A part's option may be a part itself: a name, or a table that names it as `part` beside its own options, as in
`reranker = { part = "monot5", model = "castorini/monot5-base-msmarco-10k" }`.
"""

from __future__ import annotations

import inspect
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
from exabench.pairs import PAIRS
from exabench.queries import QUERIES
from exabench.replies import Remembered, Replies
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
    if part.reads == "judgements":
        made: Reranker = part(qrels or {}, **options)
        return made
    local = getattr(part, "local", False) and "model" in options  # it may be its own model
    if getattr(part, "asks", "") == "teacher" and ("teacher" in options or not local):
        if "teacher" not in options:
            raise BadInput(f"reranker {name} asks a language model: say which engine, as in teacher=openai")
        own = {key: options.pop(key) for key in ("model", "revision") if key in options}
        options["teacher"] = Remembered(teacher(options["teacher"], lock=lock, **own), Replies(replies))
    given = {"lock": lock, "scores": str(scores or cache_folder("scores")), "progress": progress}
    return _made(f"reranker {name}", part, given, options)


def teacher(part: str | Mapping[str, Any], *, lock: str | Path | None = None, **options: Any) -> Teacher:
    """The teacher engine that `part` names (or describes, as a table), with its options."""
    name, own = _named(part, "teacher")
    return _made(f"teacher {name}", TEACHERS[name], {"lock": lock}, {**own, **options})


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
        passages = list(passages) if isinstance(passages, Iterator) else passages  # both stages read them
        known = {"lock": lock, "progress": progress}
        for key, make in (
            ("first_stage", _stage_maker(passages, {"fields": fields, **known})),
            ("reranker", _reranker_maker(known)),
        ):
            if key not in options:
                raise BadInput(f"retriever {name} needs {key}, as in --set {key}=...")
            options[key] = make(*_named(options[key], key))
    given = {"fields": fields, "lock": lock, "progress": progress}
    return _made(f"retriever {name}", part, given, options, passages)


def _stage_maker(passages: Iterable[Passage], known: Mapping[str, Any]) -> Callable[..., Retriever]:
    return lambda name, own: retriever(name, passages, **{**known, **own})


def _reranker_maker(known: Mapping[str, Any]) -> Callable[..., Reranker]:
    return lambda name, own: reranker(name, **{**known, **own})


def _named(part: object, what: str) -> tuple[str, dict[str, Any]]:
    if isinstance(part, str):
        return part, {}
    if isinstance(part, Mapping) and isinstance(part.get("part"), str):
        return part["part"], {key: value for key, value in part.items() if key != "part"}
    raise BadInput(f'{what} must name a part, as in "monot5" or {{ part = "monot5", model = "..." }}, not {part!r}')


def _made(
    what: str, part: Callable[..., Any], given: Mapping[str, Any], options: Mapping[str, Any], *first: object
) -> Any:
    """The part made with its options, and with those of the `given` that it has a place for."""
    parameters = inspect.signature(part).parameters.values()
    places = {parameter.name for parameter in parameters}
    open_ended = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters)
    taken = {key: value for key, value in given.items() if open_ended or key in places}
    try:
        return part(*first, **{**taken, **options})
    except TypeError as error:
        if "argument" not in str(error):
            raise
        raise BadInput(f"{what} does not take these options ({error})") from error


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
        made: Builder = self._filled(f"builder {name}", BUILDERS[name], options, {"teacher": teacher, "task": ""})
        return made

    def _filled(
        self, what: str, part: Callable[..., Any], options: Mapping[str, Any], around: Mapping[str, Any]
    ) -> Any:
        """`part` with its options, in which every table of a part has become that part."""
        options, takes = dict(options), inspect.signature(part).parameters
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
        return _made(what, part, given, options)

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
