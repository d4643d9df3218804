"""Notes on results: what is odd about each, and submissions whose runs over one candidate list rank alike.

A stored run carries its submission's name as its tag, so that the digests of two copies differ: rankings are compared.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from exabench.bench.ledger import Ledger
from exabench.bench.notes import group_equal, same_ranking
from exabench.core.errors import plural
from exabench.core.nouns import FIRST_STAGE, Result, Run
from exabench.measure.runs import read_run

# How the slugs of exabench's own baselines begin. Two of them may rank alike, and that says nothing about anybody.
_OWN = FIRST_STAGE.partition("--")[0] + "--"


def copies_of(run: Run, slug: str, ledger: Ledger, task: str, candidates: str) -> str:
    """A note on the filed submissions that rank as this run of `slug` does, and on the first stage; "" for none."""
    same = [slug]
    if same_ranking(run, ledger.candidates_run(ledger.one_candidates(task, candidates))):
        same.append(FIRST_STAGE)
    for other in ledger.slugs_with_run(task, candidates):
        if other == slug or other.startswith(_OWN):
            continue
        if same_ranking(run, read_run(ledger.run_file(other, task, candidates))):
            same.append(other)
    return _sentence(task, candidates, same)


def copies_among(results: Iterable[Result], ledger: Ledger) -> list[str]:
    """A note on each group of results that were made from one ranking under several names."""
    # Rankings that are equal have equal values: few runs are left to be read.
    groups: dict[tuple[str, str, frozenset[tuple[str, float]]], list[str]] = {}
    for result in results:
        slug = result.submission
        if slug == FIRST_STAGE or not slug.startswith(_OWN):
            key = (result.task, result.candidates.name, frozenset(result.measurement.metrics.items()))
            groups.setdefault(key, []).append(slug)
    found = []
    for (task, candidates, _), slugs in groups.items():
        if len(slugs) > 1:
            runs = [read_run(ledger.run_file(slug, task, candidates)) for slug in slugs]
            for places in group_equal(runs):
                found.append(_sentence(task, candidates, [slugs[place] for place in places]))
    return list(filter(None, found))


def notes_of(results: Iterable[Result]) -> list[str]:
    """The notes of each result, with what it is of; what is odd about a baseline says nothing about anybody."""
    found = []
    for result in results:
        if not result.submission.startswith(_OWN):
            notes = [*result.measurement.notes]
            if result.completed:
                left_out = plural(result.completed, "candidate")
                notes.append(f"{left_out} left out by the run were added behind it, in first-stage order")
            for note in notes:
                found.append(f"{result.submission} on {result.task} ({result.candidates.name}): {note}")
    return found


def _sentence(task: str, candidates: str, slugs: Sequence[str]) -> str:
    if len(slugs) < 2:
        return ""
    names = []
    for slug in slugs:
        name = slug.replace("--", "/", 1)
        if slug == FIRST_STAGE:
            name = "the first stage"
        names.append(name)
    return f"{' and '.join(names)} rank the same passages of {task} ({candidates}) in the same order"
