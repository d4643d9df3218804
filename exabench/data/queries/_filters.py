"""What is kept of generated queries: a clean first line, no known fault, and the best by a reranker or a first stage.

InPars v1 keeps the queries of the highest mean log-probability. A Reply holds no log-probabilities, so that filter is
not here; its successor's (InPars v2, arXiv 2301.01820: a reranker's score of query and passage) is, and so is the
round trip of Promptagator (arXiv 2209.11755: the query must bring its passage back).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from exabench.core.nouns import Passage, Query

if TYPE_CHECKING:
    from exabench.parts.rerankers import Reranker
    from exabench.parts.retrievers import Retriever

_LEAD = re.compile(
    r"^(?:[-*#>\u2022]+(?:\s+|$)"  # a bullet
    r"|\(?\d{1,2}[.):](?:\s+|$)"  # a number
    r"|(?:(?:the|good|relevant|search)\s+)*(?:query|question)(?:\s+\d{1,2})?\s*:\s*)",  # a label
    re.IGNORECASE,
)
_REFUSAL = re.compile(
    r"^(?:i['\u2019]m sorry|i am sorry|sorry,|i (?:cannot|can['\u2019]t|am unable)|as an ai\b)", re.IGNORECASE
)
_WRAPS = {'"': '"', "'": "'", "\u201c": "\u201d", "\u2018": "\u2019", "`": "`", "*": "*", "_": "_"}
_COPY = 8  # so many words of the passage in a row are no longer a term of the field


def first_line(answer: str) -> tuple[str, bool]:
    """The answer's first line that says something, without numbering, label and quotes; and whether text follows it."""
    lines = [" ".join(line.split()) for line in answer.splitlines() if line.strip()]
    if not lines:
        return "", False
    text = lines[0]
    before = ""
    while text != before:
        before = text
        text = _LEAD.sub("", text)
        while len(text) > 1 and _WRAPS.get(text[0]) == text[-1]:
            text = text[1:-1].strip()
    return text, len(lines) > 1


def fault(text: str, passage: Passage, least: int, most: int) -> str:
    """Why `text` is no query for `passage`, or "". `least` and `most` count words (InPars: at least 3)."""
    words = _words(text)
    if not words:
        return "empty"
    if not text.isprintable():
        return "unprintable"
    if _REFUSAL.match(text):
        return "refusal"
    if len(text.split()) < least:
        return "too short"
    if len(text.split()) > most:
        return "too long"
    if len(words) >= _COPY and 3 * len(set(words)) <= len(words):
        return "repeats itself"
    passage_words = _words(passage.flat())
    is_long = len(words) >= min(_COPY, len(passage_words))
    if is_long and f" {' '.join(words)} " in f" {' '.join(passage_words)} ":
        return "copy of the passage"
    return ""


def found_again(made: Mapping[Query, Passage], first_stages: Mapping[str, Retriever], depth: int) -> set[str]:
    """The ids of the queries for which at least one first stage finds their own passage among its best `depth`."""
    queries = list(made)
    found: set[str] = set()
    if queries:
        for first_stage in first_stages.values():
            run = first_stage.search(queries, depth)
            found.update(query.id for query in queries if made[query].id in run.ranking(query.id))
    return found


def best(made: Mapping[Query, Passage], reranker: Reranker, keep: int) -> set[str]:
    """The ids of the `keep` queries that `reranker` scores highest with their own passages; equal ones by id."""
    scores = {query.id: float(reranker.score(query, [passage])[0]) for query, passage in made.items()}
    return set(sorted(scores, key=lambda id: (-scores[id], id))[:keep])


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.casefold())
