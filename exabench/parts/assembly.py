"""Assembly: retrievers, rerankers and teachers made from names and options, each given the parts it needs.

A part's option may be a part itself: a name, or a table that names it as `part` next to its own options, as in
`reranker = { part = "monot5", model = "castorini/monot5-base-msmarco-10k" }`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from exabench.core.errors import BadInput, UnknownName, printable
from exabench.core.files import cache_folder
from exabench.core.nouns import Passage, Progress, Qrels, Task, silent
from exabench.core.options import accepts, check, check_by_file, make, options_in_file
from exabench.core.shelf import Shelf
from exabench.models.families import families, family_named
from exabench.models.strategies import STRATEGIES
from exabench.models.templates import FIELDS, fields_named
from exabench.models.values import (
    BACKENDS,
    CUTS,
    INT8,
    MODEL_BACKENDS,
    POOLINGS,
    PRECISIONS,
    SIMILARITIES,
    VECTORS,
)
from exabench.parts.recognition import AUTO, choose_reranker
from exabench.parts.replies import CachedTeacher, Replies
from exabench.parts.rerankers import RERANKERS, Reranker
from exabench.parts.retrievers import RETRIEVERS, Retriever
from exabench.parts.teachers import TEACHERS, Teacher


def reranker(
    name: str,
    *,
    qrels: Qrels | None = None,
    lock: str | Path | None = None,
    scores: str | Path | None = None,
    replies: str | Path | None = None,
    cached_teacher: Callable[[Mapping[str, Any]], Teacher | None] | None = None,
    progress: Progress = silent,
    **options: Any,
) -> Reranker:
    """The reranker called `name` with its options (`model`, `revision`, `strategy`, ...), ready to score.

    A model on a teacher engine is given by `teacher`: an engine's name or table; `model` and `revision` are then
    the teacher's. `scores` is the folder of the score store, `replies` the file of the reply store (default: the
    user's): neither a pair nor a call is paid for twice. `cached_teacher` makes the teacher of its table where the
    store is another's. "auto" takes the reranker that reads the `model`
    (recognition.py). Raises UnknownName, BadInput for options that the part does not take, MissingExtra.
    """
    if name == AUTO:
        found = choose_reranker(AUTO, options)
        name = found.reranker
        options = dict(found.options)
    part = RERANKERS[name]
    _fill_teacher_table(name, part, options)
    if "teacher" in options and "teacher" in accepts(part):
        table = options["teacher"]
        if cached_teacher is None:
            options["teacher"] = CachedTeacher(teacher(table, lock=lock), Replies(replies))
        else:
            options["teacher"] = cached_teacher(table)
    scores = scores or cache_folder("scores")
    given = {"qrels": qrels or {}, "lock": lock, "scores": str(scores), "progress": progress}
    return make(f"reranker {name}", part, given, options)


def _fill_teacher_table(name: str, part: Any, options: dict[str, Any]) -> None:
    """Move `model` and `revision` among the options of a reranker that asks a teacher into the table of its teacher.

    Raises BadInput for a reranker that asks a language model and is told no engine.
    """
    takes = accepts(part)
    if "teacher" not in takes:
        return
    if "teacher" in options:
        engine, own = name_and_options(options["teacher"], "teacher")
        for key in ("model", "revision"):
            if key in options:
                own[key] = options.pop(key)
        options["teacher"] = {"part": engine, **own}
    elif "model" not in takes & options.keys():  # pairwise has a model where it has no teacher
        raise BadInput(f"reranker {name} needs a language model: choose an engine, as in teacher=openai")


def teacher(part: str | Mapping[str, Any], *, lock: str | Path | None = None, **options: Any) -> Teacher:
    """The teacher engine that `part` names (or describes, as a table), with its options."""
    name, own = name_and_options(part, "teacher")
    own.update(options)
    return make(f"teacher {name}", TEACHERS[name], {"lock": lock}, own)


def retriever(
    name: str,
    passages: Iterable[Passage],
    *,
    fields: tuple[str, ...] = ("title", "text"),
    lock: str | Path | None = None,
    progress: Progress = silent,
    task: Task | None = None,
    data: str | Path | None = None,
    **options: Any,
) -> Retriever:
    """The first stage called `name` over `passages`, ready to search; those made of two stages get both.

    Options that are not given are filled in from the `task`: its language, its names, its id and its place on the Hub.
    `data` holds the collections that a first stage is tuned on.
    """
    part = RETRIEVERS[name]
    given: dict[str, Any] = {"lock": lock, "data": data, "progress": progress}
    if task is not None:
        given |= _options_of_task(part, task, options)
    if getattr(part, "composes", False):
        if isinstance(passages, Iterator):  # both stages read them
            passages = list(passages)
        check_part(RETRIEVERS, name, options)  # before the first of the two is made
        first_stage, own = name_and_options(options["first_stage"], "first_stage")
        own = {"fields": fields, "lock": lock, "data": data, "progress": progress, "task": task, **own}
        options["first_stage"] = retriever(first_stage, passages, **own)
        second_stage, own = name_and_options(options["reranker"], "reranker")
        own = {"lock": lock, "progress": progress, **own}
        options["reranker"] = reranker(second_stage, **own)
    given.update(passages=passages, fields=fields)
    return make(f"retriever {name}", part, given, options)


def _options_of_task(part: Any, task: Task, options: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a first stage's options that a task fills in; `options` are those that are given."""
    values: dict[str, Any] = {
        "language": task.language,
        "id": task.ir_datasets or "",
        "names": (task.name, *task.aliases),
    }
    # The revision is one of the task's repository: a part that reads none, such as one with a model, means another, and
    # another repository that is given has its own commits.
    if task.hub and "repo" in accepts(part) and "repo" not in options:
        for key in ("repo", "revision"):
            if task.hub.get(key):
                values[key] = task.hub[key]
    return values


SLOTS = {"teacher": TEACHERS, "reranker": RERANKERS, "first_stage": RETRIEVERS, "retrievers": RETRIEVERS}
"""Options that are parts themselves, and their shelves."""

# Parameters that no recipe fills in, by kind of part; builders and sources of data have those of builds.
_FILLED_IN = {
    "reranker": {"qrels", "lock", "scores", "progress"},
    "retriever": {"passages", "fields", "lock", "data", "progress", "names"},
    "teacher": {"lock"},
}
_FILLED_IN_BY_BUILDS = {"collection", "data", "lock", "teacher"}


_CHOICES: Mapping[str, Collection[str]] = {
    "strategy": STRATEGIES,
    "precision": (*PRECISIONS, INT8),
    "pooling": POOLINGS,
    "similarity": SIMILARITIES,
    "vectors": VECTORS,
    "cut": CUTS,
}
_BACKENDS: Mapping[str, Collection[str]] = {"reranker": MODEL_BACKENDS, "retriever": BACKENDS}
"""The choices of `backend`, by kind of part: a first stage says by it who compares vectors."""


def check_part(shelf: Shelf, name: str, options: Mapping[str, Any], slots: Mapping[str, Shelf] = SLOTS) -> None:
    """Check the options of a part, and of the parts inside it, by their constructors, and make none of them.

    `slots` names the options that are parts themselves, and their shelves. Raises UnknownName, BadInput in one line
    with the valid options, and MissingExtra where a part's packages are missing.
    """
    options = dict(options)
    options.pop("task", None)  # of the collection, not the part
    check_options(shelf, name, options)  # before the part is imported, which may take seconds
    filled_in = _FILLED_IN.get(shelf.kind, _FILLED_IN_BY_BUILDS)
    part = shelf[name]
    if shelf is RERANKERS:
        _fill_teacher_table(name, part, options)
    check(f"{shelf.kind} {name}", part, options, filled_in)
    for slot, inner in slots.items():
        if slot not in options:
            continue
        value = options[slot]
        parts = [value]
        if isinstance(value, Mapping) and "part" not in value:
            parts = list(value.values())  # several, each under a name of the recipe's choice
        for one in parts:
            inner_name, own = name_and_options(one, slot)
            check_part(inner, inner_name, own, slots)


def check_options(shelf: Shelf, name: str, options: Mapping[str, Any]) -> None:
    """Check the options of a part as far as that goes without importing it. Raises UnknownName, BadInput."""
    filled_in = _FILLED_IN.get(shelf.kind, _FILLED_IN_BY_BUILDS)
    file = shelf.file(name)
    declared = options_in_file(file, name) or {}
    if "teacher" not in declared:  # whose options may be those of its teacher
        check_by_file(f"{shelf.kind} {name}", file, name, options, filled_in)
    if shelf.kind in ("reranker", "retriever", "teacher"):
        check_values(options, name, shelf.kind)


def check_values(options: Mapping[str, Any], part: str, kind: str = "reranker") -> None:
    """Refuse values that no model could take: before a part is imported, or its model looked up.

    `part` is its name, empty where it is not known yet, and `kind` that of its shelf. Values of another type are left
    to `check`. Raises UnknownName, BadInput.
    """
    all_choices = {**_CHOICES, "backend": _BACKENDS.get(kind, ())}
    for name, choices in all_choices.items():
        value = options.get(name)
        if isinstance(value, str) and value and value not in choices:  # an empty one leaves it to the model
            raise UnknownName(name, value, choices)
    template = options.get("template")
    in_pieces = isinstance(template, Sequence) and all(isinstance(piece, str) for piece in template)
    if template and in_pieces:
        fields_named(template, _fields_in_template(part, options))
    family = options.get("family")
    if isinstance(family, str) and family:
        family_named(family)
    for size in ("max_length", "query_length", "batch_tokens"):  # 0 leaves it to the model or the device
        value = options.get(size)
        if isinstance(value, int) and value < 0:
            raise BadInput(f"{size} must be a whole number from 0 on, not {value}")


def _fields_in_template(part: str, options: Mapping[str, Any]) -> Sequence[str]:
    """The fields that a template must name: those of the family that is asked for, or of the part's usual one."""
    for name in (options.get("family"), part):
        usual = families().get(str(name))
        if usual is not None:
            named = fields_named(usual.template, ())
            return [field for field in FIELDS if field in named]
    return ("query", "passage")


def name_and_options(part: object, what: str) -> tuple[str, dict[str, Any]]:
    """The name of a part and its options, from a name or a table. Raises BadInput; `what` names the option."""
    if isinstance(part, str):
        return part, {}
    if isinstance(part, Mapping):
        own = dict(part)
        name = own.pop("part", None)
        if isinstance(name, str):
            return name, own
    raise BadInput(
        f'{what} must name a part, as in "monot5" or {{ part = "monot5", model = "..." }}, not {printable(repr(part))}'
    )
