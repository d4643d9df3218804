"""The pages of submissions and of their results, query by query."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from markupsafe import Markup, escape

from exabench.board.pages._compare import vector_script
from exabench.board.pages._format import clean, count, score, signed
from exabench.board.pages._page import Page
from exabench.board.pages._paths import (
    list_data,
    owner_page,
    ranking_data,
    result_data,
    result_page,
    submission_page,
    vector_data,
)
from exabench.board.pages._rankings import AT_ONCE, Lists
from exabench.board.pages._training_views import learnt
from exabench.board.pages._views import STATES, WRITTEN, QueryChange, View, stamp
from exabench.board.pages.downloads import result_json
from exabench.board.pages.figures import Span, bars, ladder
from exabench.core.nouns import BoardChange, Submission
from exabench.core.rows import Release

if TYPE_CHECKING:
    from exabench.board.ranking import Score

EXTREMES = 5
HISTORY = 50  # changes on a submission's own page; changes.html holds more and data/changes.json all


def pages(view: View) -> Iterator[Page]:
    """The pages of owners, of submissions and of their results, each with its data, and the lists' parts."""
    lists = Lists(view)
    owners: dict[str, list[Submission]] = {}
    for one in view.board.submissions.values():
        owners.setdefault(owner_page(one.owner), []).append(one)
    for path, sent in sorted(owners.items()):
        yield Page(path, partial(owner, view, sent), "owner.html")
    history: dict[str, list[BoardChange]] = {}
    for change in reversed(view.board.changes):
        history.setdefault(change.submission, []).append(change)
    for slug, results in view.by_submission.items():
        yield Page(submission_page(slug), partial(submission, view, slug, history.get(slug, ())), "submission.html")
        for found in results:
            yield Page(result_page(found), partial(result, view, found, lists), "result.html")
            yield Page(result_data(found), partial(result_json, view, found))
            yield Page(vector_data(found), partial(vector_script, found))
            if lists.has_run(found):
                yield Page(ranking_data(found), partial(lists.tops, found))
    yield from lists.pages()


@dataclass(frozen=True)
class Declared:
    """One of the data sets that a submission names, and the board's dataset it is, where it is one."""

    name: str
    release: Release | None


def owner(view: View, sent: Sequence[Submission]) -> dict[str, Any]:
    """The page of an owner: how many submissions there are, and the first of them."""
    return {
        "owner": sent[0].owner,
        "sent": [(one, len(view.by_submission[one.slug])) for one in sent[:WRITTEN]],
        "total": len(sent),
        "stamp": ("", ""),
    }


def submission(view: View, slug: str, history: Sequence[BoardChange] = ()) -> dict[str, Any]:
    """The page of a submission; `history` is what became of its numbers, newest first."""
    one = view.board.submissions[slug]
    results = view.by_submission[slug]
    return {
        "submission": one,
        "results": [(one, view.changes(one.score)) for one in view.tested(slug)],
        "extremes": EXTREMES,
        "states": {state: STATES.get(state, "") for state in sorted({result.state for result in results})},
        "ladder": _ladder(results) if results else None,
        "declared": _declared(view, one, one.training_data),
        "synthetic": _declared(view, one, one.synthetic_data),
        "history": history[:HISTORY],
        "older": len(history) - HISTORY,
        "stamp": stamp(results),
    }


def _ladder(results: Sequence[Score]) -> Markup:
    spans = [Span(r.task, r.candidates, r.first_stage, r.value, r.interval, r.ceiling) for r in results]
    about = "Headline metric x 100, from 0 to 100. The numbers are in the table below."
    return ladder("ladder", spans, about)


def result(view: View, found: Score, lists: Lists) -> dict[str, Any]:
    """The page of a result."""
    changes = view.changes(found)
    listed = lists.behind(found)
    submission = view.board.submissions[found.submission]
    return {
        "score": found,
        "result": found.result,
        "test": view.test(found),
        "submission": submission,
        "alike": found.digest not in view.board.unlike,
        "changes": changes,
        "queries": _rows(found, changes, listed.places if listed else {}),
        "bars": _bars(changes) if changes else None,
        "ranking": listed,
        "list_folder": list_data(found),
        "ranking_file": ranking_data(found),
        "at_once": AT_ONCE,
        "about_state": STATES.get(found.state, ""),
        "identity": identity(found.result.model),
        "learnt": learnt(view, found.submission),
        "declared": _declared(view, submission, submission.training_data),
        "run_file": f"runs/{found.submission}/{found.task}.{found.candidates}.trec.gz",
        "stamp": stamp([found]),
    }


def _rows(found: Score, changes: Sequence[QueryChange], places: Mapping[str, int]) -> Markup:
    """The table of queries, as HTML: made here because a board has a hundred times more of these than of all else.

    Each has an address (#query=...) and, where the rankings hold it, its place in them.
    """
    rows = [[one.query, score(one.own), score(one.before), signed(one.difference)] for one in changes]
    if not changes:
        rows = [[query, score(value)] for query, value in zip(found.queries, found.values.tolist(), strict=True)]
    lines = []
    for query, *cells in rows:
        name = escape(clean(query))
        place = f' data-at="{places[query]}"' if query in places else ""
        numbers = "".join(f'<td class="n">{cell}</td>' for cell in cells)
        lines.append(f'<tr id="query={name}"{place}><th scope="row">{name}</th>{numbers}</tr>')
    return Markup("\n".join(lines))


def identity(model: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What a result says of its model, name and revision first, values that are no text as JSON."""
    first = [key for key in ("name", "model", "revision") if key in model]
    keys = [*first, *sorted(set(model) - set(first))]
    said = ((key, model[key]) for key in keys if model[key] not in ("", None))
    return [(key, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)) for key, value in said]


def _bars(changes: Sequence[QueryChange]) -> Markup:
    differences = [change.difference for change in changes]
    gains = sum(value > 0 for value in differences)
    losses = sum(value < 0 for value in differences)
    about = (
        f"{count(len(changes))} queries, largest gain left: "
        f"{gains} gain, {losses} lose, {len(changes) - gains - losses} stay. "
        f"The largest gain is {score(differences[0])}, the largest loss {score(differences[-1])} points. "
        "The values are in the table below."
    )
    return bars("bars", differences, about)


def _declared(view: View, one: Submission, said: Sequence[str] | str) -> list[Declared]:
    """Data sets that a submission names, with `@version` behind them or not; none where they are unknown."""
    training = view.board.trainings.get(one.slug)
    data = training.values["data"] if training else ()
    names = {each["repository"]: each["name"] for each in data if each["repository"]}
    declared = []
    for text in () if isinstance(said, str) else said:
        bare = text.partition("@")[0]
        declared.append(Declared(text, view.release(names.get(bare, bare))))
    return declared
