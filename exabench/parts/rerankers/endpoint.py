"""A reranker behind an HTTP API: `POST .../rerank`, as Jina, Cohere, vLLM and text-embeddings-inference do."""

from __future__ import annotations

import math
import os
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Literal

from exabench.core.errors import BadInput, OutsideFailed, printable
from exabench.core.files import from_json
from exabench.core.http import Client, Request, RequestLimits, StatusError, check_url
from exabench.core.nouns import Passage, Query, Usage

_SCORE_KEYS = {"documents": "relevance_score", "texts": "score"}


class Endpoint:
    """Scores as the server gives them: for every passage one finite number, or the query fails.

    `form` is "documents" (results with relevance_score: Jina, Cohere, vLLM) or "texts" (text-embeddings-inference).
    The key is read from the environment variable `api_key_env` whenever it is needed and kept nowhere. A request has
    `timeout` seconds and is tried again `retries` times, after a longer break each time or the one that the server
    asks for, for `patience` seconds in all. `concurrency` requests are in flight; more than `batch` passages are asked
    in several requests, which suits servers that score each passage by itself.
    """

    reads = "texts"
    precision = "unknown"
    parameters = None

    def __init__(
        self,
        model: str,
        *,
        endpoint: str,
        form: Literal["documents", "texts"] = "documents",
        api_key_env: str = "",
        batch: int = 1000,
        concurrency: int = 4,
        timeout: float = 60.0,
        retries: int = 5,
        patience: float = 300.0,
        fields: Sequence[str] = ("title", "text"),
    ) -> None:
        check_url("endpoint", endpoint, "api_key_env")
        if batch < 1:
            raise BadInput(f"batch={batch} asks nothing")
        self._server = endpoint
        self._key_name = api_key_env
        self._form = form
        self._batch = batch
        self._fields = tuple(fields)
        self._limits = RequestLimits(concurrency, timeout, retries, patience)
        self._model = model
        self.identity: Mapping[str, Any] = {
            "reranker": "endpoint",
            "model": model,
            "server": endpoint,
            "form": form,
            "fields": list(self._fields),
        }
        self._key()

    def score(self, query: Query, passages: Sequence[Passage]) -> list[float]:
        """One score for each passage, in the order given. Raises OutsideFailed, and BadInput for what is refused."""
        [(scores, _)] = self.score_many([(query, passages)])
        return scores

    def score_many(self, jobs: Iterable[tuple[Query, Sequence[Passage]]]) -> Iterator[tuple[list[float], Usage]]:
        """Scores and usage of each job, in order, several asked at a time."""
        client = Client(self._server, "/rerank", self._key(), self._limits)
        waiting: deque[_Job] = deque()

        def requests() -> Iterator[Request[tuple[_Job, int]]]:
            for query, passages in jobs:
                texts = [passage.flat(self._fields) for passage in passages]
                job = _Job(query.id, [0.0] * len(texts), len(texts))
                waiting.append(job)
                for start in range(0, len(texts), self._batch):
                    body = self._body(query, texts[start : start + self._batch])
                    yield Request((job, start), body, f"query {printable(query.id)!r}")

        with closing(client.ask(requests(), _read)) as outcomes:
            for (job, start), outcome in outcomes:
                if isinstance(outcome, OutsideFailed):
                    raise outcome
                if isinstance(outcome, StatusError):
                    raise BadInput(f"{self._server} refuses: {client.said(outcome)}; check endpoint, model and key")
                job.take(start, outcome.value, self._batch, _SCORE_KEYS[self._form])
                while waiting and not waiting[0].missing:
                    yield waiting.popleft().result()
        while waiting:  # jobs without passages
            yield waiting.popleft().result()

    def _body(self, query: Query, texts: list[str]) -> dict[str, Any]:
        if self._form == "documents":
            return {"model": self._model, "query": query.text, "documents": texts}
        return {"query": query.text, "texts": texts, "truncate": True}

    def _key(self) -> str:
        key = os.environ.get(self._key_name, "") if self._key_name else ""
        if self._key_name and not key:
            raise BadInput(f"{self._server} needs a key: set the environment variable {self._key_name}")
        return key


@dataclass(frozen=True)
class _ServerAnswer:
    """The JSON of an answer."""

    value: Any


@dataclass
class _Job:
    """A query whose passages are being scored; `missing` counts those that have no score yet."""

    query_id: str
    scores: list[float]
    missing: int
    requests: int = 0
    tokens: int = 0

    def take(self, start: int, answer: Any, batch: int, score_key: str) -> None:
        """Fill in the scores of the passages from `start` on. Raises OutsideFailed for an answer that is not whole."""
        size = min(batch, len(self.scores) - start)
        self.scores[start : start + size] = _scores(answer, size, score_key, self.query_id)
        self.missing -= size
        self.requests += 1
        self.tokens += _tokens(answer)

    def result(self) -> tuple[list[float], Usage]:
        """All scores, and what they took."""
        return self.scores, Usage(prompts=self.requests, input_tokens=self.tokens)


def _read(data: bytes) -> _ServerAnswer:
    try:
        return _ServerAnswer(from_json(data.decode()))
    except RecursionError as error:
        raise ValueError("an answer that is no JSON") from error


def _scores(answer: Any, size: int, score_key: str, query_id: str) -> list[float]:
    """The scores in the order of the passages. Raises OutsideFailed unless each has exactly one, and it is finite."""
    results = answer.get("results") if isinstance(answer, dict) else answer
    whose = f"query {printable(query_id)!r}"
    scores: dict[int, float] = {}
    for result in results if isinstance(results, list) else [None]:
        if not isinstance(result, dict):
            raise OutsideFailed(f"the endpoint's answer to {whose} is no list of index and {score_key}")
        index = result.get("index")
        score = result.get(score_key)
        if type(index) is not int or not 0 <= index < size or index in scores:
            raise OutsideFailed(f"the endpoint's answer to {whose} has a wrong index ({printable(str(index))})")
        if isinstance(score, bool) or not isinstance(score, int | float) or not math.isfinite(score):
            raise OutsideFailed(f"the endpoint's answer to {whose} has no finite {score_key} for passage {index}")
        scores[index] = float(score)
    if len(scores) != size:
        raise OutsideFailed(f"the endpoint scored {len(scores)} of {size} passages of {whose}")
    return [scores[place] for place in range(size)]


def _tokens(answer: Any) -> int:
    """The tokens that the server says it read; 0 where it says nothing."""
    used = answer.get("usage") if isinstance(answer, dict) else None
    total = used.get("total_tokens", 0) if isinstance(used, dict) else 0
    return total if type(total) is int and total >= 0 else 0
