"""Queries: where the queries of a training set come from, typed by people or not.

A source is one file that holds one class of the file's name that gives its queries one by one, each with its origin.
To add one, add its file; its options are its keyword arguments.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, Protocol

from exabench.core.nouns import Query, Reply
from exabench.core.shelf import Shelf


class QuerySource(Protocol):
    """Queries in a fixed order; `source` and `source_revision` name what they were made of.

    An origin says how the query came to be: `kind` ("cropped", "generated", "given"), the `passage_id` that it was
    made of (empty where of none), and `replies`, the keys of the teacher's replies that it was made with.
    """

    source: str
    source_revision: str

    def __iter__(self) -> Iterator[tuple[Query, Mapping[str, Any]]]:
        """Every query once, under an id of its source's own, with its origin."""


class Rejection(NamedTuple):
    """An answer that was rejected as a query: the id of its prompt, the reason, and the reply with its key.

    `reply` is None where the teacher refused the prompt, `key` empty where replies are not kept.
    """

    id: str
    reason: str
    reply: Reply | None
    key: str


QUERIES = Shelf("query source", __name__, __file__)
