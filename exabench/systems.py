"""Systems: retrievers, rerankers and teachers made from names and options, each given the parts it needs.

A part's option may be a part itself: a name, or a table that names it as `part` beside its own options, as in
`reranker = { part = "monot5", model = "castorini/monot5-base-msmarco-10k" }`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from exabench.errors import BadInput
from exabench.files import cache_folder
from exabench.nouns import Passage, Progress, Qrels, silent
from exabench.rerankers import RERANKERS, Reranker
from exabench.retrievers import RETRIEVERS, Retriever
from exabench.teachers import TEACHERS, Teacher


def reranker(
    name: str,
    *,
    qrels: Qrels | None = None,
    lock: str | Path | None = None,
    scores: str | Path | None = None,
    progress: Progress = silent,
    **options: Any,
) -> Reranker:
    """The reranker called `name` with its options (`model`, `revision`, `strategy`, ...), ready to score.

    A model on a teacher engine is given by `teacher`: an engine's name or table; `model` and `revision` are then
    the teacher's. `scores` is the folder of the score store (default: in the user's cache folder). Raises
    UnknownName, BadInput for options that the part does not take, MissingExtra.
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
        options["teacher"] = teacher(options["teacher"], lock=lock, **own)
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
