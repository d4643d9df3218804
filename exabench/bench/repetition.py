"""A frozen candidate list made again from its description, and checked against the first one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from exabench.bench.candidates import make_candidates
from exabench.bench.ledger import Ledger
from exabench.core.errors import BadInput
from exabench.core.files import flatten_to_text
from exabench.core.nouns import Candidates, Progress, Task, silent
from exabench.core.options import table
from exabench.measure.runs import run_digest
from exabench.parts.retrievers import RETRIEVERS
from exabench.tasks.catalogue import single_task

_PINS = ("revision", "query_revision")  # the commits that a branch or no revision stood for


@dataclass(frozen=True)
class Repetition:
    """A frozen list and the same one made again; `differences` say what is not as it was, and are empty if all is."""

    frozen: Candidates
    again: Candidates
    differences: tuple[str, ...]


def make_again(
    ledger: Ledger, task: str | Task, name: str, *, data: str | Path | None = None, progress: Progress = silent
) -> Repetition:
    """Make a board's candidate list again from its description, and compare; nothing is written.

    Raises BadInput for a list that the board does not hold, and where a file that it was made of is not there.
    """
    ledger.check_exists()
    task = single_task(task, data=data, board=ledger.folder)
    frozen = ledger.one_candidates(task.name, name)
    # What was given counts; what was not is taken as it was then, for defaults may have changed.
    options = {}
    for option in table(RETRIEVERS[frozen.retriever]):
        value = frozen.parameters.get(option)
        if isinstance(value, str | int | float):  # tables and lists of a description are made for readers
            options[option] = value
    pins = {option: options[option] for option in _PINS if option in options}
    options |= {**(frozen.options or {}), **pins}
    try:
        again, run = make_candidates(
            task, frozen.retriever, frozen.depth, data=data, lock=ledger.lock, options=options, progress=progress
        )
    except BadInput as error:
        if frozen.options is None:
            raise BadInput(f"{name} was frozen before descriptions recorded all options: {error}") from error
        raise
    # A digest covers the name, which is in every line of the run; the list may have been given another.
    again = replace(again, name=name, digest=run_digest(run, name))
    return Repetition(frozen, again, tuple(_differences(frozen, again)))


def _differences(frozen: Candidates, again: Candidates) -> Iterator[str]:
    """What differs between a list and its repetition, the likely causes first; nothing where the lists are the same."""
    if frozen.digest == again.digest:
        return
    # Causes before symptoms: a changed option explains everything below it.
    parameters = dict(flatten_to_text(again.parameters))
    for key, was in flatten_to_text(frozen.parameters):
        now = parameters.get(key, "not there")
        if now != was:
            yield f"parameter {key} was {was} and is {now}"
    for key in ("source", "qrels_digest", "convention_digest", "queries", "depth", "recall", "digest"):
        was = getattr(frozen, key)
        now = getattr(again, key)
        if was != now:
            yield f"{key} was {was} and is {now}"
