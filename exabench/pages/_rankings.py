"""The data behind a result's query by query view: who ranked what, as scripts that a page loads when it is asked.

`data/rankings/<task>.<candidates>/<part>.js` hold a list in first-stage order, AT_ONCE queries each;
`data/rankings/<slug>/<task>.<candidates>.js` the reranked top tens of one result, as places (from 0) in that order.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from exabench.errors import BadInput
from exabench.files import digest_of, file_digest, read_bytes
from exabench.ledger import Ledger
from exabench.nouns import Candidates, Run
from exabench.pages._format import clean
from exabench.pages._page import Page
from exabench.pages._paths import result_data
from exabench.pages._views import View
from exabench.showing import read_shown

if TYPE_CHECKING:
    from exabench.board import Score

AT_ONCE = 25  # queries of a list in one file: with all their texts some 100 KB on the wire
SHOWN = 10  # ranks


def ranking_data(one: Score) -> str:
    """The reranked top tens of a result."""
    return result_data(one).replace("data/results/", "data/rankings/", 1).removesuffix(".json") + ".js"


def list_data(one: Score) -> str:
    """The folder of a candidate list's queries, first-stage order, grades and texts."""
    folder, _, name = ranking_data(one).rpartition("/")
    return f"{folder.rpartition('/')[0]}/{name.removesuffix('.js')}"


@dataclass(frozen=True)
class Listed:
    """A candidate list as pages show it: grades and texts (exabench.showing) where they are kept, and why no more."""

    run: Run
    shown: Mapping[str, Any]
    why: str


@dataclass(frozen=True)
class Ranking:
    """What a result's page needs to show its rankings: where the data lie, and the place of each query in them."""

    folder: str
    file: str
    size: int
    places: Mapping[str, int]
    why: str


class Lists:
    """The candidate lists of a board, each read once, and what their rerankers made of them."""

    def __init__(self, view: View) -> None:
        self._view, self._ledger = view, Ledger(view.board.folder)
        self._read: dict[tuple[str, str], Listed] = {}
        self._places: dict[tuple[str, str], Mapping[str, int]] = {}
        self._digests: dict[tuple[str, str], str] = {}
        self._there: dict[tuple[str, str], bool] = {}

    def pages(self) -> Iterator[Page]:
        """The files of every list that a result of the board is over."""
        lists = {(one.task, one.name): one for one in self._view.board.candidates}
        for key, one in {(one.task, one.candidates): one for one in self._view.results}.items():
            if key in lists:
                of = (lists[key].digest, self._shown_digest(*key))
                for place in range(-(-lists[key].queries // AT_ONCE)):
                    yield Page(f"{list_data(one)}/{place}.js", partial(self.part, *key, place), of=of)

    def _shown_digest(self, task: str, name: str) -> str:
        """The digest of what may be shown of a list; empty where nothing is kept."""
        if (task, name) not in self._digests:
            file = self._ledger.shown_file(task, name)
            self._digests[task, name] = file_digest(file) if file.is_file() else ""
        return self._digests[task, name]

    def behind(self, one: Score) -> tuple[str, str]:
        """What a result's pages depend on besides the result: what is shown of the list, and whether there is a run."""
        return self._shown_digest(one.task, one.candidates), "run" if self.has_run(one) else ""

    def has_run(self, one: Score) -> bool:
        """Are the run of a result and the list that it reranks in the folder?"""
        return one.file in self._view.runs and self._has_list(one.task, one.candidates)

    def _has_list(self, task: str, name: str) -> bool:
        if (task, name) not in self._there:
            self._there[task, name] = self._ledger.candidates_file(task, name).is_file()
        return self._there[task, name]

    def ranking(self, one: Score) -> Ranking | None:
        """What the page of a result shows; None where the folder does not hold its run."""
        if not self.has_run(one):
            return None
        key = one.task, one.candidates
        listed = self.listed(*key)
        if key not in self._places:
            self._places[key] = {query_id: place for place, query_id in enumerate(listed.run.query_ids)}
        return Ranking(list_data(one), ranking_data(one), AT_ONCE, self._places[key], listed.why)

    def listed(self, task: str, name: str) -> Listed:
        """One list. Raises BadInput where a file is not the one of its digest."""
        if (task, name) not in self._read:
            self._read[task, name] = self._listed(self._ledger.one_candidates(task, name))
        return self._read[task, name]

    def part(self, task: str, name: str, place: int) -> bytes:
        """One file of a list: for each query its id, text, number of relevant passages, passages and grades."""
        listed = self.listed(task, name)
        chosen = listed.run.query_ids[place * AT_ONCE : (place + 1) * AT_ONCE]
        known = {query["id"]: query for query in listed.shown.get("queries", ())}
        rows = [_query(listed.run, query_id, known.get(query_id, {})) for query_id in chosen]
        texts = listed.shown.get("passages", {})
        wanted = sorted({passage_id for row in rows for passage_id in row[3] if passage_id in texts})
        words = {clean(passage_id): [clean(text) for text in texts[passage_id]] for passage_id in wanted}
        return _script("passages", f"{task}.{name}", place, {"queries": _cleaned(rows), "texts": words})

    def tops(self, one: Score) -> bytes:
        """The reranked top tens of a result: for each query of the list the places of its passages there.

        Raises BadInput where the stored run is not the one that the result was made from.
        """
        file, name = self._run_file(one), one.candidates
        data = read_bytes(file)
        if digest_of(data) != one.run_digest:
            raise BadInput("is not the run that the result was made from; exabench bench run makes it again", file=file)
        given, best = self.listed(one.task, name).run, best_of(data)
        return _script("ranked", f"{one.task}.{name}", 0, [_top(given, query, best) for query in given.query_ids])

    def _run_file(self, one: Score) -> Path:
        return self._ledger.run_file(one.submission, one.task, one.candidates)

    def _listed(self, candidates: Candidates) -> Listed:
        run, file = self._ledger.candidates_run(candidates), self._ledger.shown_file(candidates.task, candidates.name)
        if not file.is_file():
            return Listed(run, {}, "Only ids are shown: grades and texts were not kept when this list was frozen.")
        shown = read_shown(file)
        if shown["candidates_digest"] != candidates.digest:
            raise BadInput("was made of another list; freeze the list again (exabench bench candidates)", file=file)
        return Listed(run, shown, _why(shown))


def best_of(data: bytes) -> dict[str, list[str]]:
    """The first SHOWN passages of every query of a stored run, whose unpacked bytes are `data`.

    Only for bytes with the digest of a result: that is taken of the run as exabench writes it, in ranking order and
    six words a line, so that nothing need be sorted here.
    """
    words = data.decode().split()
    queries, passages = words[0::6], words[2::6]
    starts = [0, *(i for i in range(1, len(queries)) if queries[i] != queries[i - 1])] if queries else []
    ends = [*starts[1:], len(queries)]
    return {queries[a]: passages[a : min(b, a + SHOWN)] for a, b in zip(starts, ends, strict=True)}


def _top(given: Run, query_id: str, best: Mapping[str, Sequence[str]]) -> list[int]:
    """The top of a query as places in the list; what the run left out comes below, in first-stage order."""
    if query_id not in best:
        return []
    ids = given.ranking(query_id)
    places = [ids.index(passage_id) for passage_id in best[query_id]]  # a result is of candidates alone
    if len(places) < SHOWN:
        places += [place for place in range(len(ids)) if place not in set(places)][: SHOWN - len(places)]
    return places


def _query(run: Run, query_id: str, known: Mapping[str, Any]) -> list[Any]:
    passages = run.ranking(query_id)
    if known and known["passages"] != passages:
        raise BadInput(f"what is shown of {run.name} lists other passages than the list itself", id=query_id)
    return [query_id, known.get("text", ""), known.get("relevant"), passages, known.get("grades", [])]


def _cleaned(rows: list[list[Any]]) -> list[list[Any]]:
    return [
        [clean(id), clean(text), relevant, list(map(clean, ids)), grades] for id, text, relevant, ids, grades in rows
    ]


def _why(shown: Mapping[str, Any]) -> str:
    if shown["texts"]:
        return f"Passages are cut after {shown['cut']} characters; the collection's licence is {shown['licence']}."
    told = f"licence ({shown['licence']}) does not let everybody pass them on" if shown["licence"] else ""
    return f"Ids and grades are shown without texts: the collection's {told or 'licence is not recorded'}."


def _script(function: str, name: str, place: int, value: object) -> bytes:
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return f"exabench.{function}({json.dumps(name)},{place},{text});\n".encode("utf-8", "replace")
