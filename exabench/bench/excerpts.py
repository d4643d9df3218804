"""Excerpts of candidate lists for pages: grades, and the texts of those collections that anybody may pass on.

Written once next to the frozen list, so that a site can be built from the leaderboard's folder without the collections.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from msgspec import Meta

from exabench.core.errors import BadInput
from exabench.core.files import canonical_json, digest_of, gzip_bytes, read_json, write
from exabench.core.licences import is_open_for_texts
from exabench.core.nouns import Candidates, Qrels, Run, Task
from exabench.core.records import Record, as_builtins, read
from exabench.core.words import cut_characters
from exabench.tasks.collections import passages_of

if TYPE_CHECKING:
    from exabench.tasks.collections import Collection

# Together at most 21 million characters a list, before they are packed: a board of many lists stays a repository that
# can be cloned.
CUT = 300  # characters of a passage
MOST = 50_000  # passages of a list whose texts are kept, those of the first ranks first

_TITLE = 120  # characters of a title


class ShownQuery(Record, frozen=True):
    """A query with its passages in first-stage order, their grades (None: not judged), and its relevant passages."""

    id: str
    text: str
    passages: list[str]
    grades: list[int | None]
    relevant: int


class Shown(Record, frozen=True):
    """The content of the file next to its digest; `passages` are title and beginning of each text, by id."""

    format: Literal[1]
    task: str
    candidates: str
    candidates_digest: str
    licence: str | None
    texts: bool
    cut: int
    queries: list[ShownQuery]
    passages: dict[str, Annotated[list[str], Meta(min_length=2, max_length=2)]]


def build_excerpts(
    about: Task, candidates: Candidates, run: Run, collection: Collection, qrels: Qrels, *, texts: bool = True
) -> dict[str, Any]:
    """Everything that a page may show of a list: for each query its passages in first-stage order, with their grades.

    A grade is None where a passage was not judged. With `texts`, where the licence of the task is open, also the
    query's text and, as `passages`, the title and the first CUT characters of MOST passages. `relevant` counts the
    query's judgements from the task's threshold on, wherever those passages are.
    """
    texts = texts and is_open_for_texts(about.licence)
    query_texts = {query.id: query.text for query in collection.queries()} if texts else {}
    queries = []
    for query_id in run.query_ids:
        judged = qrels.get(query_id, {})
        passages = run.ranking(query_id)
        relevant = [grade for grade in judged.values() if grade >= about.convention.relevance_threshold]
        queries.append(
            ShownQuery(
                id=query_id,
                text=query_texts.get(query_id, ""),
                passages=passages,
                grades=[judged.get(passage_id) for passage_id in passages],
                relevant=len(relevant),
            )
        )
    excerpts = {}
    if texts:
        wanted = _first_passages(queries)
        for passage in passages_of(collection, wanted):
            excerpts[passage.id] = [shorten(passage.title, _TITLE), shorten(passage.text, CUT)]
    shown = Shown(
        format=1,
        task=candidates.task,
        candidates=candidates.name,
        candidates_digest=candidates.digest,
        licence=about.licence,
        texts=texts,
        cut=CUT,
        queries=queries,
        passages=excerpts,
    )
    return dict(as_builtins(shown))


def _first_passages(queries: Sequence[ShownQuery]) -> set[str]:
    """The passages whose texts are kept: rank by rank over all queries, until there are MOST."""
    wanted = set[str]()
    # Rank by rank, because readers look at the first ranks of every query and not at all ranks of the first queries.
    for rank in range(max((len(query.passages) for query in queries), default=0)):
        for query in queries:
            if len(wanted) >= MOST:
                return wanted
            wanted.update(query.passages[rank : rank + 1])
    return wanted


def write_excerpts(values: dict[str, Any], file: str | Path) -> bool:
    """Write what `build_excerpts` gave and its digest, as gzip: the same bytes for the same values.

    False if it was there already.
    """
    whole = {**values, "digest": digest_of(values)}
    text = canonical_json(whole)
    return write(file, gzip_bytes(text.encode()))


def read_excerpts(file: str | Path) -> dict[str, Any]:
    """Read a file of `write_excerpts`. Raises BadInput for an edited byte and for content that no list can have."""
    values = read_json(file)
    again = "freeze the list again (exabench bench candidates)"
    content = dict(values) if isinstance(values, dict) else {}
    digest = content.pop("digest", None)
    try:
        for query in read(Shown, content).queries:
            if len(query.passages) != len(query.grades):
                raise BadInput("some passages have no grade", id=query.id)
    except BadInput as error:
        raise BadInput(f"does not contain the excerpts of a candidate list ({error}); {again}", file=file) from error
    if digest_of(content) != digest:
        raise BadInput(f"was edited: its digest does not match its content; {again}", file=file)
    return values


def shorten(text: str, cut: int) -> str:
    """The first words of a text, with an ellipsis where something is left out: at most `cut` characters of it."""
    beginning, is_cut = cut_characters(text, cut)
    return beginning + "\N{HORIZONTAL ELLIPSIS}" * is_cut
