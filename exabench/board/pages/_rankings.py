"""The data behind a result's query by query view: who ranked what, as scripts that a page loads when it is asked.

`data/rankings/<task>.<candidates>/<part>.js` hold a list in first-stage order, AT_ONCE queries each;
`data/rankings/<slug>/<task>.<candidates>.js` the reranked top tens of one result, as places (from 0) in that order.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property, partial
from typing import TYPE_CHECKING, Any

from exabench.bench.excerpts import read_excerpts
from exabench.bench.ledger import Ledger
from exabench.board.pages._page import Page, script
from exabench.board.pages._paths import list_data
from exabench.board.pages._views import View
from exabench.core.errors import BadInput
from exabench.core.files import digest_of, read_bytes
from exabench.core.nouns import Candidates, Run

if TYPE_CHECKING:
    from exabench.board.ranking import Score

AT_ONCE = 25  # queries of a list in one file: with all their texts some 100 KB on the wire
SHOWN = 10  # ranks


@dataclass(frozen=True)
class ListView:
    """A candidate list as pages show it: grades and texts (bench.showing) where they are kept, and why no more."""

    run: Run
    shown: Mapping[str, Any]
    why: str

    @cached_property
    def places(self) -> Mapping[str, int]:
        """The place of each query in the files of the list."""
        return {query_id: place for place, query_id in enumerate(self.run.query_ids)}

    @cached_property
    def queries(self) -> Mapping[str, Mapping[str, Any]]:
        """What is kept of each query."""
        return {query["id"]: query for query in self.shown.get("queries", ())}


class Lists:
    """The candidate lists of a board, each read once."""

    def __init__(self, view: View) -> None:
        ledger = Ledger(view.board.folder)
        self._view = view
        self._ledger = ledger
        self._is_there = cache(lambda task, name: ledger.candidates_file(task, name).is_file())
        self._listed = cache(lambda task, name: _read(ledger, ledger.one_candidates(task, name)))

    def pages(self) -> Iterator[Page]:
        """The files of every list that a result of the board is over."""
        known = {(one.task, one.name): one for one in self._view.board.candidates}
        for key, score in {(score.task, score.candidates): score for score in self._view.results}.items():
            if key in known:
                for part in range(-(-known[key].queries // AT_ONCE)):
                    yield Page(f"{list_data(score)}/{part}.js", partial(self.part, *key, part))

    def has_run(self, score: Score) -> bool:
        """Does the board's folder hold the run of a result, and the list that it reranks?"""
        return score in self._view.runs and self._is_there(score.task, score.candidates)

    def behind(self, score: Score) -> ListView | None:
        """The list that a result reranks; None where the board's folder holds not both, list and run."""
        return self._listed(score.task, score.candidates) if self.has_run(score) else None

    def part(self, task: str, name: str, place: int) -> bytes:
        """One file of a list: for each query its id, text, number of relevant passages, passages and grades."""
        listed = self._listed(task, name)
        texts = listed.shown.get("passages", {})
        rows = []
        words: dict[str, Any] = {}
        for query_id in listed.run.query_ids[place * AT_ONCE : (place + 1) * AT_ONCE]:
            passages = listed.run.ranking(query_id)
            known = listed.queries.get(query_id, {})
            if known and known["passages"] != passages:
                raise BadInput(f"what is shown of {name} lists other passages than the list itself", id=query_id)
            rows.append([query_id, known.get("text", ""), known.get("relevant"), passages, known.get("grades", [])])
            words.update((passage_id, texts[passage_id]) for passage_id in passages if passage_id in texts)
        return script("passages", f"{task}.{name}", place, {"queries": rows, "texts": dict(sorted(words.items()))})

    def tops(self, score: Score) -> bytes:
        """The reranked top tens of a result: for each query of the list the places of its passages there.

        Raises BadInput where the stored run is not the one that the result was made from.
        """
        file = self._ledger.run_file(score.submission, score.task, score.candidates)
        data = read_bytes(file)
        if digest_of(data) != score.result.run_digest:
            raise BadInput("is not the run that the result was made from; exabench bench run makes it again", file=file)
        given = self._listed(score.task, score.candidates).run
        best = _best_of(data)
        tops = [_top(given.ranking(query_id), best.get(query_id, [])) for query_id in given.query_ids]
        return script("ranked", f"{score.task}.{score.candidates}", 0, tops)


def _read(ledger: Ledger, candidates: Candidates) -> ListView:
    """One list. Raises BadInput where a file is not the one of its digest."""
    run = ledger.candidates_run(candidates)
    file = ledger.shown_file(candidates.task, candidates.name)
    if not file.is_file():
        return ListView(run, {}, "Only ids are shown: grades and texts were not kept when this list was frozen.")
    shown = read_excerpts(file)
    if shown["candidates_digest"] != candidates.digest:
        raise BadInput("was made of another list; freeze the list again (exabench bench candidates)", file=file)
    return ListView(run, shown, _why(shown))


def _best_of(data: bytes) -> Mapping[str, Sequence[str]]:
    """The first SHOWN passages of every query of a stored run, whose unpacked bytes are `data`.

    Only for bytes with the digest of a result: that is taken of the run as exabench writes it, in ranking order and
    six words a line, so that nothing need be sorted here.
    """
    best: dict[str, list[str]] = {}
    words = data.decode().split()
    for query_id, passage_id in zip(words[0::6], words[2::6], strict=True):
        top = best.setdefault(query_id, [])
        if len(top) < SHOWN:
            top.append(passage_id)
    return best


def _top(ids: Sequence[str], best: Sequence[str]) -> list[int]:
    """The top of a query as places in the list; what the run left out comes below, in first-stage order."""
    places = [ids.index(passage_id) for passage_id in best]  # a result is of candidates alone
    if best and len(places) < SHOWN:
        places += [place for place in range(len(ids)) if place not in set(places)][: SHOWN - len(places)]
    return places


def _why(shown: Mapping[str, Any]) -> str:
    if shown["texts"]:
        return f"Passages are cut after {shown['cut']} characters; the collection's licence is {shown['licence']}."
    reason = "licence is not recorded"
    if shown["licence"]:
        reason = f"licence ({shown['licence']}) does not let everybody pass them on"
    return f"Ids and grades are shown without texts: the collection's {reason}."
