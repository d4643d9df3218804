"""The pages of submissions and of their results, query by query, and the rankings that a result's page loads.

`data/rankings/<task>.<candidates>/<part>.js` hold a list in first-stage order, AT_ONCE queries each;
`data/rankings/<slug>/<task>.<candidates>.js` the reranked top tens of one result, as places (from 0) in that order.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any

from markupsafe import Markup, escape

from exabench.bench.contamination import exposure_of
from exabench.bench.contests import system_type
from exabench.bench.excerpts import shorten
from exabench.bench.ledger import run_path
from exabench.board.pages._citing import cite_result, cite_submission
from exabench.board.pages._compare import vector_script
from exabench.board.pages._format import clean, count, score, signed
from exabench.board.pages._page import (
    WRITTEN,
    Page,
    Values,
    list_data,
    owner_page,
    ranking_data,
    result_data,
    result_page,
    script,
    stamp,
    submission_page,
    vector_data,
)
from exabench.board.pages.downloads import result_json
from exabench.board.pages.figures import Span, bars, ladder
from exabench.board.ranking import Board, QueryChange, group_by
from exabench.board.summaries import ResultSummary, first_stage
from exabench.core.errors import BadInput
from exabench.core.files import digest_of, read_bytes
from exabench.core.licences import is_open_for_texts
from exabench.core.nouns import FIRST_STAGE, BoardChange, Credit, Run, Submission
from exabench.core.rows import Release

HISTORY = 50  # changes on a submission's own page; changes.html holds more and data/changes.json all
AT_ONCE = 25  # queries of a list in one file: with all their texts some 100 KB on the wire
SHOWN = 10  # ranks
QUERY_CUT = 160  # characters of a query in a list of queries; its own place holds all of it


def pages(board: Board) -> Iterator[Page]:
    """The pages of owners, of submissions and of their results, each with its data, and the lists' parts."""
    lists = Lists(board)
    owners = group_by(board.submissions.values(), lambda one: owner_page(one.owner))
    for path, sent in sorted(owners.items()):
        yield Page(path, partial(owner, board, sent), "owner.html")
    history = group_by(reversed(board.changes), lambda change: change.submission)
    for slug, summaries in board.by_submission.items():
        yield Page(submission_page(slug), partial(submission, board, slug, history.get(slug, ())), "submission.html")
        for summary in summaries:
            yield Page(result_page(summary), partial(result, board, summary, lists), "result.html")
            yield Page(result_data(summary), partial(result_json, board, summary))
            yield Page(vector_data(summary), partial(vector_script, summary))
            if lists.has_run(summary):
                yield Page(ranking_data(summary), partial(lists.tops, summary))
    yield from lists.pages()


@dataclass(frozen=True)
class ListView:
    """A candidate list as pages show it: grades and texts where they are kept, and `why` no more are shown.

    `places` are those of the queries in the files of the list; `queries` and `texts` are what `bench.excerpts` kept.
    """

    run: Run
    places: Mapping[str, int]
    queries: Mapping[str, Mapping[str, Any]]
    texts: Mapping[str, Any]
    why: str


class Lists:
    """The candidate lists of a board, each read once."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._ledger = board.ledger
        self.read = cache(self._read)

    def pages(self) -> Iterator[Page]:
        """The files of every list that a result of the board is over."""
        over = {(summary.task, summary.candidates): list_data(summary) for summary in self._board.shown_results}
        for one in self._board.candidates:
            if (one.task, one.name) in over:
                for part in range(math.ceil(one.queries / AT_ONCE)):
                    yield Page(f"{over[one.task, one.name]}/{part}.js", partial(self.part, one.task, one.name, part))

    def has_run(self, summary: ResultSummary) -> bool:
        """Does the board's folder hold the run of a result, and the list that it reranks?"""
        listed = self._ledger.candidates_file(summary.task, summary.candidates)
        return listed.is_file() and self._board.has_run(summary)

    def _read(self, task: str, name: str) -> ListView:
        """One list. Raises BadInput where a file is not the one of its digest."""
        candidates = self._ledger.one_candidates(task, name)
        run = self._ledger.candidates_run(candidates)
        why = "Only ids are shown: grades and texts were not kept when this list was frozen."
        queries = {}
        texts = {}
        shown = self._board.shown(task, name)
        if shown:
            queries = {query["id"]: query for query in shown["queries"]}
            texts = shown["passages"]
            licence = shown["licence"]
            if not licence:
                why = "Ids and grades are shown without texts: the collection's licence is not recorded."
            elif is_open_for_texts(licence):
                why = "Ids and grades are shown: this board keeps no texts of the collection."
            else:
                why = "Ids and grades are shown without texts: the collection's licence"
                why += f" ({licence}) does not let everybody pass them on."
            if shown["texts"]:
                why = f"Passages are cut after {shown['cut']} characters; the collection's licence is {licence}."
        places = {query_id: place for place, query_id in enumerate(run.query_ids)}
        return ListView(run, places, queries, texts, why)

    def part(self, task: str, name: str, place: int) -> bytes:
        """One file of a list: for each query its id, text, number of relevant passages, passages and grades."""
        listed = self.read(task, name)
        rows = []
        texts = {}
        for query_id in listed.run.query_ids[place * AT_ONCE : (place + 1) * AT_ONCE]:
            passages = listed.run.ranking(query_id)
            known = listed.queries.get(query_id, {})
            if known and known["passages"] != passages:
                raise BadInput(f"what is shown of {name} lists other passages than the list itself", id=query_id)
            rows.append([query_id, known.get("text", ""), known.get("relevant"), passages, known.get("grades", [])])
            for passage_id in passages:
                if passage_id in listed.texts:
                    texts[passage_id] = listed.texts[passage_id]
        return script("passages", f"{task}.{name}", place, {"queries": rows, "texts": dict(sorted(texts.items()))})

    def tops(self, summary: ResultSummary) -> bytes:
        """The reranked top tens of a result: for each query of the list the places of its passages there.

        Raises BadInput where the stored run is not the one that the result was made from.
        """
        file = self._ledger.run_file(summary.submission, summary.task, summary.candidates)
        data = read_bytes(file)
        if digest_of(data) != summary.result.run_digest:
            raise BadInput("is not the run that the result was made from; exabench bench run makes it again", file=file)
        # Such a run is as exabench writes it, in ranking order and six words a line: nothing need be sorted.
        best: dict[str, list[str]] = {}
        words = data.decode().split()
        for query_id, passage_id in zip(words[0::6], words[2::6], strict=True):
            top = best.setdefault(query_id, [])
            if len(top) < SHOWN:
                top.append(passage_id)

        tops = []
        run = self.read(summary.task, summary.candidates).run
        for query_id in run.query_ids:
            ids = run.ranking(query_id)
            places = [ids.index(passage_id) for passage_id in best.get(query_id, ())]  # a result is of candidates alone
            if places and len(places) < SHOWN:  # what the run left out comes below, in first-stage order
                places += [place for place in range(len(ids)) if place not in set(places)][: SHOWN - len(places)]
            tops.append(places)
        return script("ranked", f"{summary.task}.{summary.candidates}", 0, tops)


def owner(board: Board, sent: Sequence[Submission]) -> Values:
    """The page of an owner: every result of every submission; one that is not measured yet has a line without.

    Baselines stand apart: there are several for each candidate list, and no submitter made them.
    """
    systems: list[tuple[Submission, ResultSummary | None]] = []
    baselines: list[tuple[Submission, ResultSummary | None]] = []
    for one in sent:
        lines = systems
        if one.kind == "baseline":
            lines = baselines
        measured = board.by_submission[one.slug]
        if not measured:
            lines.append((one, None))
        for summary in measured:
            lines.append((one, summary))
    values = {"sent": sent, "systems": systems, "baselines": baselines, "written": WRITTEN}
    return {**values, "type_of": system_type, "stamp": ("", "")}


def submission(board: Board, slug: str, history: Sequence[BoardChange]) -> Values:
    """The page of a submission; `history` is what became of its numbers, newest first."""
    one = board.submissions[slug]
    summaries = board.by_submission[slug]
    # The figure has a line for each result.
    spans = [Span(s.task, s.candidates, s.first_stage, s.value, s.result.interval, s.ceiling) for s in summaries]
    about = "Headline metric x 100, from 0 to 100. The numbers are in the table below."
    return {
        "submission": one,
        "samples": _samples(board, one),
        "type": system_type(one),
        "longest": _shared(summary.result.model.get("max_length") for summary in summaries),
        "parameters": _shared(summary.result.cost.parameters if summary.result.cost else None for summary in summaries),
        "is_corrected": any(board.corrected(summary) is not None for summary in summaries),
        "trained_on": {summary.digest: _exposure(board, summary) for summary in summaries},
        "first_stages": _first_stages(summaries) if slug == FIRST_STAGE else [],
        "citation": cite_submission(board, slug),
        "ladder": ladder("ladder", spans, about),
        "declared": _releases_of(board, one, one.training_data),
        "synthetic": _releases_of(board, one, one.synthetic_data),
        "history": history[:HISTORY],
        "older": len(history) - HISTORY,
        "stamp": stamp(summaries),
    }


def _samples(board: Board, one: Submission) -> list[Submission]:
    """All samples of its system, by number; none of a submission that is not a sample."""
    found = [other for other in board.submissions.values() if one.sample and other.system == one.system]
    return sorted(found, key=lambda other: other.sample or 0)


def result(board: Board, summary: ResultSummary, lists: Lists) -> Values:
    """The page of a result."""
    changes = board.query_changes(summary)
    listed = None
    places: Mapping[str, int] = {}
    if lists.has_run(summary):
        listed = lists.read(summary.task, summary.candidates)
        places = listed.places
    credited = _credited(board, summary)
    figure = None
    if changes:
        differences = [change.difference for change in changes]
        gains = sum(value > 0 for value in differences)
        losses = sum(value < 0 for value in differences)
        about = (
            f"{count(len(changes))} queries, largest gain left: "
            f"{gains} gain, {losses} lose, {len(changes) - gains - losses} stay. "
            f"The largest gain is {score(differences[0])}, the largest loss {score(differences[-1])} points. "
            "The values are in the table below."
        )
        figure = bars("bars", differences, about)
    return {
        "score": summary,
        "changes": changes,
        "queries": _rows(summary, changes, places, board.query_texts[summary.task]),
        "queries_count": len(summary.queries),
        "words": bool(board.query_texts[summary.task]),
        "bars": figure,
        "ranking": listed,
        "at_once": AT_ONCE,
        "identity": identity(summary.result.model),
        "trained_on": _exposure(board, summary),
        "citation": cite_result(board, summary),
        "credited": credited,
        "declared": _releases_of(board, credited, credited.training_data),
        "run_file": run_path(summary.submission, summary.task, summary.candidates),
        "stamp": stamp([summary]),
    }


def _rows(
    summary: ResultSummary, changes: Sequence[QueryChange], places: Mapping[str, int], texts: Mapping[str, str]
) -> Markup:
    """The table of queries, as HTML: made here because a board has a hundred times more of these than of all else.

    Each has an address (#query=...), its words where `texts` holds any, and its place in the rankings that hold it.
    """
    rows = [(one.query, [score(one.own), score(one.before), signed(one.difference)]) for one in changes]
    if not changes:
        for query, value in zip(summary.queries, summary.values.tolist(), strict=True):
            rows.append((query, [score(value)]))
    lines = []
    for query, cells in rows:
        name = escape(clean(query))
        place = ""
        if query in places:
            place = f' data-at="{places[query]}"'
        words = ""
        if texts:
            words = f'<td class="t wide"><bdi>{escape(clean(shorten(texts.get(query, ""), QUERY_CUT)))}</bdi></td>'
        numbers = "".join(f'<td class="n">{cell}</td>' for cell in cells)
        lines.append(f'<tr id="query={name}"{place}><th scope="row">{name}</th>{words}{numbers}</tr>')
    return Markup("\n".join(lines))


def _credited(board: Board, summary: ResultSummary) -> Submission:
    """The submission of a result, with the training data of its maker: of a first stage, that of its credit."""
    one = board.submissions[summary.submission]
    if one.slug == FIRST_STAGE:
        return replace(one, training_data=summary.result.candidates.credit.training_data)
    return one


def _exposure(board: Board, summary: ResultSummary) -> str:
    """Was the system of a result trained on its task?"""
    one = _credited(board, summary)
    over = next(task for task in board.single_tasks if task.name == summary.task)  # custom ones among them
    return exposure_of(one, over, board.trainings.get(one.slug))


def _first_stages(summaries: Sequence[ResultSummary]) -> list[tuple[str, Credit, list[ResultSummary]]]:
    """Each first stage by name, whose work it is, and its results; BM25 of two groups is two."""
    by_credit = group_by(summaries, lambda one: (first_stage(one.candidates), one.result.candidates.credit))
    found = [(name, credit, listed) for (name, credit), listed in by_credit.items()]
    return sorted(found, key=lambda line: (line[0], line[1].owner))


def _shared(values: Iterable[Any]) -> Any:
    """The one value that all have; None where they differ or no one says it."""
    found = set(values)
    return found.pop() if len(found) == 1 else None


def identity(model: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The model of a result as (key, text), name and revision first; values that are not text as JSON."""
    # These three are how a reader finds the model.
    first = ("name", "model", "revision")
    pairs = []
    for key in dict.fromkeys((*first, *sorted(model))):
        value = model.get(key)
        if value in ("", None):
            continue
        if not isinstance(value, str):
            value = json.dumps(value, ensure_ascii=False)
        pairs.append((key, value))
    return pairs


def _releases_of(board: Board, one: Submission, names: Sequence[str] | str) -> list[tuple[str, Release | None]]:
    """Data sets that a submission names, with `@version` behind them or not, and the board's own which they are.

    None where they are unknown.
    """
    if isinstance(names, str):
        return []
    # A report names the repository, the board the dataset in it.
    repositories = {table.told["repository"]: table.told["name"] for table in board.training_tables(one.slug)}
    declared = []
    for name in names:
        bare = name.partition("@")[0]
        declared.append((name, board.release(repositories.get(bare, bare))))
    return declared
