"""Runs of a submission: which candidate list each one fits, and what of it is stored.

Stored is what ranks the list's queries and passages. Queries that the list does not hold (no one judged them, or the
first stage has nothing for them), and self-matches and excluded passages that the task's convention drops, are
aside and counted.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from exabench.bench import notes
from exabench.bench.ledger import Ledger
from exabench.core.errors import BadInput, plural, printable
from exabench.core.files import USUAL_BOUND, Bound
from exabench.core.nouns import Candidates, Run
from exabench.core.unpacking import TooLarge
from exabench.measure.runs import leave_out, read_run, select_queries
from exabench.models.screening import SubmissionRefused
from exabench.tasks.catalogue import single_task
from exabench.tasks.collections import excluded_of, open_collection

# Tasks and lists have neither = nor @ in their names, while the path of a run may have both: the first of each counts.
_RUN = re.compile(r"(?P<task>[^=@]+)(?:@(?P<candidates>[^=]+))?=(?P<file>.+)", re.DOTALL)


_LONGEST_LINE = 1024
"""Bytes of a line of a run that was sent: ids of addresses are long, and those of published collections have 60."""


@dataclass(frozen=True)
class SentRun:
    """A run over the candidates that it fits, as it is stored, and notes on what was ignored."""

    task: str
    candidates: str
    run: Run
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Fit:
    """A run checked against one list: the part for its queries, and how many of its passages are not in the list.

    `stranger` is the first of them, a query and a passage.
    """

    candidates: Candidates
    ranking: Run
    run: Run
    strangers: int
    stranger: tuple[str, str]


def read_sent_run(ledger: Ledger, given: str, *, queued: bool = False) -> SentRun:
    """Read `given`, TASK=RUN or TASK@CANDIDATES=RUN, and find the list that it fits.

    `queued`: it is a stranger's and was cut down to its list before it was sent, so that it has no more lines. Raises
    BadInput where it fits none, with the first passage outside the nearest list, or more than one.
    """
    match = _RUN.fullmatch(given)
    if not match:
        raise BadInput(f"--run {printable(given)!r} must read TASK=RUN or TASK@CANDIDATES=RUN")
    file = match["file"]
    task = single_task(match["task"], board=ledger.folder)
    bound = USUAL_BOUND
    if match["candidates"]:
        lists = [ledger.one_candidates(task.name, match["candidates"])]
        if queued:
            most = lists[0].queries * lists[0].depth
            bound = Bound(most * _LONGEST_LINE, most)
    else:
        lists = ledger.candidates(task.name)
    try:
        whole = read_run(file, bound=bound)
    except BadInput as error:
        if queued and isinstance(error.__cause__, TooLarge):
            raise SubmissionRefused("too-large", f"{Path(file).name}: a run has no more lines than its list") from error
        raise
    # Self-matches can be told from the run alone, so the collection need not be there for them.
    run, self_matches, excluded = leave_out(whole, task.convention, {})
    fits = [_hold_against(run, candidates, ledger) for candidates in lists]
    if task.convention.excluded_ids == "drop" and any(fit.strangers for fit in fits):
        # Excluded passages are in no candidate list: only whoever reads the collection knows them.
        ids = excluded_of(task, open_collection(task, lock=ledger.lock))
        run, self_matches, excluded = leave_out(whole, task.convention, ids)
        fits = [_hold_against(run, candidates, ledger) for candidates in lists]
    chosen = _choose(fits, task.name, file)
    remarks = [
        notes.missing_candidates(chosen.run, chosen.ranking),
        notes.queries_outside(run, chosen.ranking),
        notes.dropped_passages(self_matches, excluded),
        notes.contradicting_ranks(run),
    ]
    name = chosen.candidates.name
    if len(chosen.run.scores) < len(whole.scores):
        queries = plural(len(chosen.run), "query", "queries")
        passages = plural(len(chosen.run.scores), "passage")
        remarks.append(f"only the rankings of the queries of {name} are stored: {queries}, {passages}")
    return SentRun(task.name, name, chosen.run, tuple(filter(None, remarks)))


def _hold_against(run: Run, candidates: Candidates, ledger: Ledger) -> _Fit:
    ranking = ledger.candidates_run(candidates)
    part = select_queries(run, set(ranking.query_ids))
    strangers = 0
    first = ("", "")
    for query_id in part.query_ids:
        known = set(ranking.ranking(query_id))
        foreign = [passage_id for passage_id in part.ranking(query_id) if passage_id not in known]
        if foreign and not strangers:
            first = (query_id, foreign[0])
        strangers += len(foreign)
    return _Fit(candidates, ranking, part, strangers, first)


def _choose(fits: list[_Fit], task: str, file: str) -> _Fit:
    """The list that the run fits: of several, the only one of which it answers the most queries."""
    there = "there is none"
    if fits:
        there = ", ".join(fit.candidates.name for fit in fits)
    answering = [fit for fit in fits if len(fit.run)]
    if not answering:
        raise BadInput(f"answers no query of the candidate lists of {task} on this board ({there})", file=file)
    fitting = [fit for fit in answering if not fit.strangers]
    if not fitting:
        # The list with the fewest strangers is the one that was meant: often one self-match or one other version.
        nearest = min(answering, key=lambda fit: fit.strangers)
        query_id, passage_id = nearest.stranger
        count = plural(nearest.strangers, "passage")
        what = f"ranks {count} outside the candidates {nearest.candidates.name} of {task}"
        if len(fits) > 1:
            what = f"fits no candidate list of {task} on this board ({there}); of the nearest, "
            what += f"{nearest.candidates.name}, {count} of the run are not among the candidates"
        raise BadInput(
            f"{what}, the first for query {printable(query_id)!r}; rerank only passages of the candidate list",
            file=file,
            id=passage_id,
        )
    # Queries outside a list are ignored, so a run of all queries fits a list over some of them, too: the widest is
    # meant.
    most = max(len(fit.run) for fit in fitting)
    fitting = [fit for fit in fitting if len(fit.run) == most]
    if len(fitting) > 1:
        names = [fit.candidates.name for fit in fitting]
        raise BadInput(f"fits {' and '.join(names)}; choose one with --run {task}@{names[0]}=RUN", file=file)
    return fitting[0]
