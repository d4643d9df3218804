"""Published datasets as values: their rows by family, the pieces they are built from, and the Release they make."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from itertools import chain
from math import isfinite
from typing import Any, TypeAlias

from exabench.core.errors import BadInput, printable
from exabench.core.files import digest_of
from exabench.core.nouns import Passage, Prompt, Query

Row: TypeAlias = dict[str, Any]
"""One row of a family: every field of the family's schema, and no other."""

_QUERY = {
    "id": "string",
    "query_id": "string",
    "query": "string",
    "query_source": "string",
}
_PROVENANCE = {
    "source": "string",  # the collection that query and passages were read from
    "source_revision": "string",  # its commit or digest
    "teacher": "string",  # the model that answered, or the rule that scored ("human" where people did)
    "teacher_revision": "string",
    "prompt": "string",  # name@digest
    "replies": "list<string>",  # keys of the reply store
}
FAMILIES: Mapping[str, Mapping[str, str]] = {
    "explanations": {
        "id": "string",
        "query_id": "string",
        "query": "string",
        "passage_id": "string",
        "title": "string",
        "passage": "string",
        "relevant": "bool",
        "explanation": "string",
        "input": "string",  # what an ExaRanker reads
        "target": "string",  # what it learns to write
        **_PROVENANCE,
    },
    "listwise": {
        **_QUERY,
        "first_stage": "string",
        "passage_ids": "list<string>",  # in the teacher's order, best first
        "titles": "list<string>",
        "passages": "list<string>",
        "labels": "list<double>",  # 1 / rank in that order
        "first_stage_ranks": "list<int64>",  # from 1
        "method": "string",
        "malformed": "int64",
        "repeated": "int64",
        "missing": "int64",
        "out_of_range": "int64",
        **_PROVENANCE,
    },
    "contrastive": {
        **_QUERY,
        "positive_id": "string",
        "positive_title": "string",
        "positive": "string",
        "negative_ids": "list<string>",
        "negative_titles": "list<string>",
        "negatives": "list<string>",
        "negative_sources": "list<string>",  # the first stage that brought each negative
        **_PROVENANCE,
    },
    "scored": {
        **_QUERY,
        "passage_ids": "list<string>",  # in the teacher's order, best first
        "titles": "list<string>",
        "passages": "list<string>",
        "scores": "list<double>",  # finite, falling, on a scale of the teacher's
        "first_stages": "list<string>",  # the first stage, or several with commas between, that brought each passage
        **_PROVENANCE,
    },
}
"""The contract with those who load a dataset: field and type, in the order of the columns."""

MEANINGS: Mapping[str, str] = {
    "id": "the row's own id",
    "query_id": "the query's id in its collection",
    "query": "its text",
    "query_source": "where the query comes from: a split of a collection, or the model that wrote it",
    "passage_id": "the passage's id in its collection",
    "title": "the passage's title; empty where it has none",
    "passage": "its text",
    "relevant": "the label: does the passage answer the query?",
    "explanation": "why it does or does not, as the teacher or a person wrote it",
    "input": "the input of an ExaRanker: query and passage in its template",
    "target": "the text it learns to write: the label, then the explanation",
    "first_stage": "the first stage that found the passages",
    "passage_ids": "the passages' ids in the teacher's order, best first",
    "titles": "their titles, in the same order",
    "passages": "their texts, in the same order",
    "labels": "a graded label for each of them, for trainers that read labels: 1 / its rank in the teacher's order",
    "first_stage_ranks": "the rank, from 1, that the first stage gave to each of them",
    "method": "how the order was made: in one prompt, in a recorded run (its prompts are not known), or imported",
    "malformed": "1 if the teacher's answer was not in the requested format, else 0",
    "repeated": "how many passages the teacher named again; the first mention counts",
    "missing": "how many passages it left out; they follow in their first-stage order",
    "out_of_range": "how many numbers in its answer match no passage; they are dropped",
    "positive_id": "the id of the relevant passage",
    "positive_title": "its title",
    "positive": "its text",
    "negative_ids": "the ids of the passages that are not relevant",
    "negative_titles": "their titles, in the same order",
    "negatives": "their texts, in the same order",
    "negative_sources": "for each of them, the first stage that retrieved it",
    "scores": "the teacher's score of each passage, in descending order, on the teacher's scale",
    "first_stages": "for each passage, the first stages that retrieved it, separated by commas",
    "source": "the collection that query and passages were read from",
    "source_revision": "its commit or digest",
    "teacher": "the model that answered, or the rule that scored; `human` where people did",
    "teacher_revision": "its commit or version",
    "prompt": "the prompt's name and digest; empty where no model was asked",
    "replies": "the keys of the teacher's replies behind the row",
}
"""What each field of the families means, in a line of a card."""

_TYPES: Mapping[str, type] = {"string": str, "bool": bool, "int64": int, "double": float}


def check_row(family: str, row: Row) -> Row:
    """The row with its fields in the family's order.

    Raises BadInput for a field that is missing, new or mistyped, and for a number that is not finite.
    """
    fields = FAMILIES[family]
    if row.keys() != fields.keys():
        odd = sorted(row.keys() ^ fields.keys())
        raise BadInput(
            f"a row of {family} must have exactly its family's fields; missing or unknown: {', '.join(odd)}",
            id=row.get("id"),
        )
    for name, kind in fields.items():
        inner = kind.removeprefix("list<").removesuffix(">")
        values = [row[name]] if inner == kind else row[name]
        # Not isinstance: True is a whole number to Python, and a file would hold it as one.
        if type(values) is not list or not all(type(value) is _TYPES[inner] for value in values):
            raise BadInput(f"field {name} must be {kind}", id=row["id"])
        if inner == "double" and not all(map(isfinite, values)):
            raise BadInput(f"field {name} has a number that is not finite", id=row["id"])
    return {name: row[name] for name in fields}


def labels_of_order(size: int) -> list[float]:
    """Graded labels for `size` passages, best first: 1 / rank, as TWOLAR trains (Dundalia/TWOLAR, RerankData)."""
    return [1 / rank for rank in range(1, size + 1)]


@dataclass(frozen=True)
class Pair:
    """A query and a passage with a label, and what a person wrote about it (empty where no one did)."""

    query: Query
    passage: Passage
    relevant: bool
    rationale: str = ""


@dataclass(frozen=True)
class Item:
    """One piece of a build: what a teacher is asked about it, and what its row is made of (as JSON can hold it).

    Prompt ids are unlike those of any other item; an item without prompts needs no teacher. `data["replies"]`, where
    there, lists the keys of replies that the item itself was made of. One that can be no row is planned with the reason
    in `rejected`, so that the quarantine has it, and with those replies as `data["said"]`.
    """

    id: str
    prompts: tuple[Prompt, ...]
    data: Mapping[str, Any]
    rejected: str = ""


class Rejected(Exception):
    """A row that cannot be made of an item and its replies: it goes to quarantine with this `reason`, never further."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True)
class DataFile:
    """A file of a Release: its path inside, and what it must be. `rows` is 0 for a file that is not a table."""

    path: str
    sha256: str
    bytes: int
    rows: int = 0


@dataclass(frozen=True)
class Table:
    """One table of a dataset (the Hub calls it a config): how it was made, what came of it, and its files by split.

    `counts` holds input, good, quarantined and skipped (input is the sum of the others) and, as `reasons`, how many
    were left out for what. `tokens` counts the teacher's replies, and the tokens they read and wrote. `replayable`:
    the replies are among the Release's files, so that the same bytes can be made again without a teacher. `withdrawn`
    holds the ids of rows that earlier versions had and none may have again, each with the reason.
    """

    family: str
    licence: str
    recipe: Mapping[str, Any]
    fingerprint: str
    counts: Mapping[str, Any]
    teacher: Mapping[str, Any]
    prompt: str
    tokens: Mapping[str, int]
    replayable: bool
    report: Mapping[str, Any]
    splits: Mapping[str, tuple[DataFile, ...]]
    fields: Mapping[str, str] = field(default_factory=dict)
    withdrawn: Mapping[str, str] = field(default_factory=dict)

    @property
    def columns(self) -> dict[str, str]:
        """Field and type, in the order of the columns. Raises BadInput where neither table nor family says it."""
        family = FAMILIES.get(self.family, {})
        fields = self.fields or family
        if not fields:
            raise BadInput(f"a table of the unknown family {printable(self.family)!r} must list its fields")
        known = [name for name in family if name in fields]
        others = sorted(fields.keys() - family.keys())
        return {name: fields[name] for name in [*known, *others]}

    @property
    def rows(self) -> int:
        """The rows of all splits."""
        return sum(file.rows for file in self.files)

    @property
    def files(self) -> list[DataFile]:
        """The files of all splits."""
        return list(chain.from_iterable(self.splits.values()))


@dataclass(frozen=True)
class Release:
    """One built, versioned dataset: what its card, its tag and its loader share. manifest.json holds just this."""

    name: str
    version: str
    tables: Mapping[str, Table]
    files: tuple[DataFile, ...] = ()

    @property
    def content(self) -> str:
        """Digest of all but the version: two releases of one content are one and the same."""
        return digest_of({**self.as_json(), "version": ""})

    def as_json(self) -> dict[str, Any]:
        """Every field, as JSON holds it; a table without withdrawn rows has no key for them, as in older releases."""
        fields = asdict(self)
        for table in fields["tables"].values():
            if not table["withdrawn"]:
                del table["withdrawn"]
        return fields

    @property
    def all_files(self) -> list[DataFile]:
        """Every file that the manifest vouches for, sorted by path."""
        files = chain(self.files, *(table.files for table in self.tables.values()))
        return sorted(files, key=lambda file: file.path)
