"""The pages of submissions and of their results, query by query."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from markupsafe import Markup, escape

from exabench.nouns import Change as Changed
from exabench.nouns import Result, Submission
from exabench.pages import downloads, figures
from exabench.pages._compare import vector_page
from exabench.pages._format import clean, count, score, signed
from exabench.pages._histogram import histogram
from exabench.pages._model_views import learnt
from exabench.pages._page import Group, Page
from exabench.pages._paths import result_data, result_page, submission_page
from exabench.pages._rankings import Lists, ranking_data
from exabench.pages._views import STATES, Change, View, stamp
from exabench.rows import Release
from exabench.statistics import holm

if TYPE_CHECKING:
    from exabench.board import Score

EXTREMES = 5
LISTED = 100  # submissions on the page of their owner
HISTORY = 50  # changes on a submission's own page; changes.html holds more and data/changes.json all


def pages(view: View) -> Iterator[Page | Group]:
    """The files of each submission, the pages of their owners, and the lists' parts."""
    history, lists = _histories(view), Lists(view)
    for slug in view.board.submissions:
        own = history.get(slug, ())
        of = partial(_of, view, slug, own, lists)
        yield Group(submission_page(slug), of, partial(_files, view, slug, own, lists), small=True)
    for place, sent in sorted(_owners(view).items()):
        yield Group(place, partial(_of_owner, view, sent), partial(_owner_pages, place, view, sent), small=True)
    yield from lists.pages()


def _of(view: View, slug: str, history: Sequence[Changed], lists: Lists) -> tuple[str, ...]:
    """All that the files of a submission show."""
    told = [
        part
        for found in view.by_submission[slug]
        for part in (view.candidates_digest(found.task, found.candidates), *lists.behind(found))
    ]
    return (*view.of_submission(slug), repr(history) if history else "", *told)


def _of_owner(view: View, sent: Sequence[Submission]) -> tuple[str, ...]:
    return tuple(told for one in sent for told in (view.digest_of(one), str(len(view.by_submission[one.slug]))))


def _files(view: View, slug: str, history: Sequence[Changed], lists: Lists) -> Iterator[Page]:
    """The page of a submission; for each of its results a page, its values in two forms, and its rankings."""
    make = partial(submission, view, view.board.submissions[slug], history)
    yield Page(submission_page(slug), make, "submission.html")
    for found in view.by_submission[slug]:
        yield Page(result_page(found), partial(result, view, found, lists), "result.html")
        yield Page(result_data(found), partial(downloads.result_json, view, found))
        yield vector_page(view, found)
        if lists.has_run(found):
            yield Page(ranking_data(found), partial(lists.tops, found))


def _owner_pages(place: str, view: View, sent: Sequence[Submission]) -> Iterator[Page]:
    yield Page(place, partial(owner, view, sent), "owner.html")


def owner_page(one: Submission) -> str:
    """The page of who sent a submission; owners whose names differ in case only share it."""
    return f"owners/{one.owner.lower()}.html"


def _histories(view: View) -> Mapping[str, Sequence[Changed]]:
    """What became of the numbers of each submission, newest first."""
    found: dict[str, list[Changed]] = {}
    for change in reversed(view.board.changes):
        found.setdefault(change.submission, []).append(change)
    return found


def _owners(view: View) -> Mapping[str, Sequence[Submission]]:
    """The submissions of each owner, by the owner's page."""
    found: dict[str, list[Submission]] = {}
    for one in view.board.submissions.values():
        found.setdefault(owner_page(one), []).append(one)
    return found


@dataclass(frozen=True)
class Comparison:
    """A result with its p-values corrected over all results of the submission, and its queries."""

    result: Result
    t_test: float
    randomisation: float
    changes: tuple[Change, ...]

    @property
    def gains(self) -> tuple[Change, ...]:
        """The largest gains, largest first."""
        return tuple(change for change in self.changes[:EXTREMES] if change.difference > 0)

    @property
    def losses(self) -> tuple[Change, ...]:
        """The largest losses, largest first."""
        return tuple(change for change in self.changes[::-1][:EXTREMES] if change.difference < 0)


@dataclass(frozen=True)
class Declared:
    """One of the data sets that a submission names, and the board's dataset it is, where it is one."""

    name: str
    release: Release | None


def owner(view: View, sent: Sequence[Submission]) -> dict[str, Any]:
    """The page of an owner: how many submissions there are, and the first of them."""
    return {
        "owner": sent[0].owner,
        "sent": [(one, len(view.by_submission[one.slug])) for one in sent[:LISTED]],
        "total": len(sent),
        "stamp": ("", ""),
    }


def submission(view: View, one: Submission, history: Sequence[Changed] = ()) -> dict[str, Any]:
    """The page of a submission; `history` is what became of its numbers, newest first."""
    results = view.by_submission[one.slug]
    return {
        "submission": one,
        "comparisons": comparisons(view, results),
        "states": {state: STATES.get(state, "") for state in sorted({result.state for result in results})},
        "ladder": _ladder(results) if results else None,
        "declared": _declared(view, one, one.training_data),
        "synthetic": _declared(view, one, one.synthetic_data),
        "owner_page": owner_page(one),
        "history": history[:HISTORY],
        "older": len(history) - HISTORY,
        "stamp": stamp(results),
    }


def comparisons(view: View, scores: Sequence[Score]) -> tuple[Comparison, ...]:
    """Each result's test against its first stage, both p-values with Holm's correction over all of them."""
    results = [view.full(score) for score in scores]
    t_tests = holm([result.gain["t_test"] for result in results])
    flips = holm([result.gain["randomisation"] for result in results])
    made = zip(results, t_tests, flips, scores, strict=True)
    return tuple(Comparison(result, t, flip, view.changes(one)) for result, t, flip, one in made)


def _ladder(results: Sequence[Score]) -> Markup:
    rungs = []
    for result in results:
        bounds = result.first_stage, result.value, result.interval, result.ceiling
        rungs.append(figures.Rung(result.task, result.candidates, *bounds))
    about = "Headline metric x 100, from 0 to 100. The numbers are in the table below."
    return figures.ladder("ladder", rungs, about)


def result(view: View, found: Score, lists: Lists | None = None) -> dict[str, Any]:
    """The page of a result."""
    one, changes, lists = view.full(found), view.changes(found), lists or Lists(view)
    ranking, alone = lists.ranking(found), () if changes else sorted(view.values(found).items())
    submission = view.board.submissions[one.submission]
    return {
        "result": one,
        "submission": submission,
        "alike": found.digest not in view.board.unlike,
        "changes": changes,
        "queries": _rows(changes or alone, ranking.places if ranking else {}),
        "bars": _bars(one, changes) if changes else None,
        "histogram": _histogram(one, changes) if changes else None,
        "ranking": ranking,
        "about_state": STATES.get(one.state, ""),
        "identity": identity(one.model),
        "learnt": learnt(view, one.submission),
        "declared": _declared(view, submission, submission.training_data),
        "run_file": f"runs/{one.submission}/{one.task}.{one.candidates.name}.trec.gz",
        "stamp": stamp([found]),
    }


def _rows(queries: Sequence[Change | tuple[str, float]], places: Mapping[str, int]) -> Markup:
    """The table of queries, as HTML: made here because a board has a hundred times more of these than of all else.

    Each has an address (#query=...) and, where the rankings hold it, its place in them.
    """
    lines = []
    for one in queries:
        query, *values = (one.query, one.own, one.before) if isinstance(one, Change) else one
        cells = [score(value) for value in values] + ([signed(one.difference)] if isinstance(one, Change) else [])
        name, place = escape(clean(query)), f' data-at="{places[query]}"' if query in places else ""
        numbers = "".join(f'<td class="n">{cell}</td>' for cell in cells)
        lines.append(f'<tr id="query={name}"{place}><th scope="row">{name}</th>{numbers}</tr>')
    return Markup("\n".join(lines))


def identity(model: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What a result says of its model, name and revision first, values that are no text as JSON."""
    first = [key for key in ("name", "model", "revision") if key in model]
    keys = [*first, *sorted(set(model) - set(first))]
    said = ((key, model[key]) for key in keys if model[key] not in ("", None))
    return [(key, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)) for key, value in said]


def _bars(one: Result, changes: Sequence[Change]) -> Markup:
    gain = one.gain
    about = (
        f"{count(len(changes))} queries, largest gain left: "
        f"{gain['wins']} gain, {gain['losses']} lose, {gain['ties']} stay. "
        f"The largest gain is {score(changes[0].difference)}, the largest loss {score(changes[-1].difference)} points. "
        "The values are in the table below."
    )
    return figures.bars("bars", [change.difference for change in changes], about)


def _histogram(one: Result, changes: Sequence[Change]) -> Markup:
    gain, name = one.gain, one.measurement.headline
    about = (
        f"{count(gain['losses'])} queries lose, {count(gain['ties'])} stay, {count(gain['wins'])} gain. "
        "The values are in the table below."
    )
    title = f"How many queries gain or lose how many points of {name}"
    return histogram("histogram", [change.difference for change in changes], title, about)


def _declared(view: View, one: Submission, said: Sequence[str] | str) -> list[Declared]:
    """Data sets that a submission names, with `@version` behind them or not; none where they are unknown."""
    training = view.board.trainings.get(one.slug)
    data = training.values["data"] if training else ()
    names = {each["repository"]: each["name"] for each in data if each["repository"]}
    listed = () if isinstance(said, str) else said
    return [Declared(text, view.release(names.get(bare := text.partition("@")[0], bare))) for text in listed]
