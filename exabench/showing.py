"""What a page may show of a candidate list: its grades, and the texts of those collections that anybody may pass on.

Written once beside the frozen list, so that a site is built from the leaderboard's folder alone, without collections.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from exabench.catalogue import task
from exabench.errors import BadInput
from exabench.files import digest_of, packed, read_json, write
from exabench.nouns import Candidates, Passage, Qrels, Query, Run

FORMAT = 1
CUT = 300  # characters of a passage
MOST = 50_000  # passages of a list whose texts are kept, those of the first ranks first
OPEN = frozenset(
    {
        *("cc0-1.0", "cc-by-3.0", "cc-by-4.0", "cc-by-sa-3.0", "cc-by-sa-4.0"),
        *("mit", "apache-2.0", "odc-by-1.0", "pddl-1.0"),
    }
)
"""Licences under which anybody may pass texts on, for any purpose: of all other collections a page shows ids alone."""

_TITLE = 120
_KEYS = {"format", "task", "candidates", "candidates_digest", "licence", "texts", "cut", "queries", "passages"}


class Texts(Protocol):
    """Where texts come from: the part of a collection that is read here."""

    def queries(self) -> Iterable[Query]:
        """Every query."""

    def passages(self) -> Iterable[Passage]:
        """Every passage, one at a time."""


def is_open(licence: str | None) -> bool:
    """Does the licence let anybody pass the texts on? `CC BY 4.0` and `cc-by-4.0` are one."""
    return re.sub(r"[\s_]+", "-", (licence or "").strip().lower()) in OPEN


def shown(candidates: Candidates, run: Run, collection: Texts, qrels: Qrels, *, cut: int = CUT) -> dict[str, Any]:
    """What a page may show of a list: for each query its passages in first-stage order, with their grades (or None).

    Where the licence of the task is open also the query's text and, as `passages`, the title and the first `cut`
    characters of MOST passages. `relevant` counts the query's judgements from the task's threshold on, wherever
    those passages are.
    """
    of = task(candidates.task)
    texts, threshold = is_open(of.licence), of.convention.relevance_threshold
    words = {query.id: query.text for query in collection.queries()} if texts else {}
    queries = [
        {
            "id": query_id,
            "text": words.get(query_id, ""),
            "passages": (ids := run.ranking(query_id)),
            "grades": [qrels.get(query_id, {}).get(passage_id) for passage_id in ids],
            "relevant": sum(grade >= threshold for grade in qrels.get(query_id, {}).values()),
        }
        for query_id in run.query_ids
    ]
    return {
        "format": FORMAT,
        "task": candidates.task,
        "candidates": candidates.name,
        "candidates_digest": candidates.digest,
        "licence": of.licence,
        "texts": texts,
        "cut": cut,
        "queries": queries,
        "passages": dict(_excerpts(collection, _first(queries), cut)) if texts else {},
    }


def write_shown(values: Mapping[str, Any], file: str | Path) -> bool:
    """Write what `shown` gave, as gzip: the same bytes for the same values. False if it was there already."""
    return write(file, packed(shown_text({**values, "digest": digest_of(dict(values))})))


def shown_text(values: Mapping[str, Any]) -> bytes:
    """What is shown of a list, its digest among it, as its file holds it before it is packed."""
    return json.dumps(values, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def read_shown(file: str | Path) -> dict[str, Any]:
    """What `write_shown` wrote. Raises BadInput for an edited byte and for what a list cannot show."""
    values = read_json(file)
    again = "freeze the list again (exabench bench candidates)"
    if not isinstance(values, dict) or values.get("format") != FORMAT or set(values) != {*_KEYS, "digest"}:
        raise BadInput(f"does not hold what is shown of a candidate list, in format {FORMAT}; {again}", file=file)
    if digest_of({key: value for key, value in values.items() if key != "digest"}) != values["digest"]:
        raise BadInput(f"was edited: its digest does not fit its content; {again}", file=file)
    if not _is_sound(values):
        raise BadInput(f"does not hold what is shown of a candidate list; {again}", file=file)
    return values


def _first(queries: list[dict[str, Any]]) -> set[str]:
    """The passages whose texts are kept: rank by rank over all queries, until there are MOST."""
    wanted: set[str] = set()
    for rank in range(max((len(query["passages"]) for query in queries), default=0)):
        for query in queries:
            if len(wanted) >= MOST:
                return wanted
            wanted.update(query["passages"][rank : rank + 1])
    return wanted


def _excerpts(collection: Texts, wanted: set[str], cut: int) -> Iterator[tuple[str, list[str]]]:
    for passage in collection.passages():
        if passage.id in wanted:
            yield passage.id, [_shortened(passage.title, _TITLE), _shortened(passage.text, cut)]


def _shortened(text: str, cut: int) -> str:
    """The first words of a text, with an ellipsis where something is left out; never more than `cut` signs of it."""
    if len(text) <= cut:
        return text
    words = text[:cut].rsplit(None, 1)
    return (words[0] if len(words) == 2 else text[:cut]) + "\N{HORIZONTAL ELLIPSIS}"


def _is_sound(values: Mapping[str, Any]) -> bool:
    queries, passages = values["queries"], values["passages"]
    if not isinstance(queries, list) or not isinstance(passages, dict) or not isinstance(values["texts"], bool):
        return False
    excerpts = (type(row) is list and len(row) == 2 and _are(row, str) for row in passages.values())
    return all(map(_is_query, queries)) and all(excerpts)


def _is_query(one: object) -> bool:
    if not isinstance(one, dict) or set(one) != {"id", "text", "passages", "grades", "relevant"}:
        return False
    grades = [grade for grade in one["grades"] if grade is not None] if isinstance(one["grades"], list) else [""]
    lists = _are(one["passages"], str) and _are(grades, int) and len(one["passages"]) == len(one["grades"])
    return lists and _are([one["id"], one["text"]], str) and _are([one["relevant"]], int)


def _are(value: object, kind: type) -> bool:
    return isinstance(value, list) and all(type(item) is kind for item in value)
