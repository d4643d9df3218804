"""A reranker behind an HTTP API: `POST .../rerank`, as Jina, Cohere, vLLM and text-embeddings-inference do."""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Literal

from exabench.core.errors import BadInput, OutsideFailed, check_key, printable
from exabench.core.files import from_json
from exabench.core.http import Client, Request, RequestLimits, StatusError, check_url
from exabench.core.nouns import Passage, Query, Usage
from exabench.parts.rerankers import Job, Outcome

TYPE = "reranking API"
_SCORE_KEYS = {"documents": "relevance_score", "texts": "score"}
_LARGEST = sys.float_info.max  # an integer of 400 digits is a JSON number, too


class Endpoint:
    """Scores as the server gives them: for every passage one finite number, or the query fails.

    `form` is "documents" (results with relevance_score: Jina, Cohere, vLLM) or "texts" (text-embeddings-inference).
    The key is read from the environment variable `api_key_env` whenever it is needed and kept nowhere. A request has
    `timeout` seconds and is tried again `retries` times, after a longer break each time or the one that the server
    asks for, up to `patience` seconds. `concurrency` requests are in flight; more than `batch` passages are split
    over several requests, which suits servers that score each passage by itself.
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
            raise BadInput(f"batch must be at least 1, not {batch}")
        self._server = endpoint
        self._key_name = api_key_env
        self._form = form
        self._batch = batch
        self._fields = tuple(fields)
        self._limits = RequestLimits(concurrency, timeout, retries, patience)
        self._model = model
        self.identity = {
            "reranker": "endpoint",
            "model": model,
            "server": endpoint,
            "form": form,
            "fields": list(self._fields),
        }
        self._key()  # a missing key is told before anything is asked

    def score(self, query: Query, passages: Sequence[Passage]) -> list[float]:
        """One score for each passage, in the order given. Raises OutsideFailed, and BadInput for what is refused."""
        [(scores, _)] = self.score_many([(query, passages)])
        return scores

    def score_many(self, jobs: Iterable[Job]) -> Iterator[Outcome]:
        """Scores and usage of each job, in order, several asked at a time."""
        client = Client(self._server, "/rerank", self._key(), self._limits)
        waiting = deque[_Waiting]()

        def requests() -> Iterator[Request[tuple[_Waiting, range]]]:
            for query, passages in jobs:
                texts = [passage.flat(self._fields) for passage in passages]
                job = _Waiting(query.id, [0.0] * len(texts), len(texts))
                waiting.append(job)
                for start in range(0, len(texts), self._batch):
                    some = texts[start : start + self._batch]
                    body = {"query": query.text, "texts": some, "truncate": True}  # or a long text is an error there
                    if self._form == "documents":
                        body = {"model": self._model, "query": query.text, "documents": some}
                    places = range(start, start + len(some))
                    yield Request((job, places), body, f"query {printable(query.id)!r}")

        with closing(client.ask(requests(), lambda data: from_json(data.decode()))) as outcomes:
            for (job, places), outcome in outcomes:
                if isinstance(outcome, OutsideFailed):
                    raise outcome
                if isinstance(outcome, StatusError):
                    raise BadInput(f"{self._server} refuses: {client.describe(outcome)}; check endpoint, model and key")
                job.take(places, outcome, _SCORE_KEYS[self._form])
                while waiting and not waiting[0].missing:  # answers come in any order, jobs are given out in theirs
                    yield waiting.popleft().result()
        while waiting:  # jobs without passages
            yield waiting.popleft().result()

    def _key(self) -> str:
        key = os.environ.get(self._key_name, "")
        if self._key_name and not key:
            raise BadInput(f"{self._server} needs a key: set the environment variable {self._key_name}")
        check_key(self._key_name, key)
        return key


@dataclass
class _Waiting:
    """A query whose passages are being scored; `missing` counts those that have no score yet."""

    query_id: str
    scores: list[float]
    missing: int
    requests: int = 0
    tokens: int = 0

    def take(self, places: range, answer: Any, score_key: str) -> None:
        """Fill in the scores of these passages from the JSON of an answer.

        Raises OutsideFailed unless each has exactly one score, and it is finite.
        """
        whose = f"query {printable(self.query_id)!r}"
        results = answer.get("results") if isinstance(answer, dict) else answer
        if not isinstance(results, list) or not all(isinstance(result, dict) for result in results):
            raise OutsideFailed(f"the endpoint's answer to {whose} is not a list of index and {score_key}")
        open_places = dict(enumerate(places))
        for result in results:
            index = result.get("index")
            score = result.get(score_key)
            if type(index) is not int or index not in open_places:  # True is 1 to a dict
                raise OutsideFailed(f"the endpoint's answer to {whose} has a wrong index ({printable(str(index))})")
            if type(score) not in (int, float) or not -_LARGEST <= score <= _LARGEST:
                raise OutsideFailed(f"the endpoint's answer to {whose} has no finite {score_key} for passage {index}")
            self.scores[open_places.pop(index)] = float(score)
        if open_places:
            scored = len(places) - len(open_places)
            raise OutsideFailed(f"the endpoint scored {scored} of {len(places)} passages of {whose}")
        self.missing -= len(places)
        self.requests += 1
        used = answer.get("usage") if isinstance(answer, dict) else None
        total = used.get("total_tokens") if isinstance(used, dict) else None
        if type(total) is int and total > 0:  # 0 where the server says nothing
            self.tokens += total

    def result(self) -> Outcome:
        """All scores, and their usage."""
        return self.scores, Usage(prompts=self.requests, input_tokens=self.tokens)
