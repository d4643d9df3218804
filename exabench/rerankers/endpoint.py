"""A reranker behind an HTTP API: `POST .../rerank`, as Jina, Cohere, vLLM and text-embeddings-inference do."""

from __future__ import annotations

import json
import math
import os
import random
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from http.client import HTTPException
from typing import Any
from urllib.parse import urlsplit

from exabench.errors import BadInput, OutsideFailed, UnknownName, printable
from exabench.files import from_json
from exabench.nouns import Passage, Query, Usage

_FORMS = {"documents": ("documents", "relevance_score"), "texts": ("texts", "score")}  # asked as, answered as
_AGAIN = (408, 409, 425, 429)
_LONGEST_BREAK = 30.0
_LARGEST = 64 << 20  # bytes of an answer


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
        form: str = "documents",
        api_key_env: str = "",
        batch: int = 1000,
        concurrency: int = 4,
        timeout: float = 60.0,
        retries: int = 5,
        patience: float = 300.0,
        fields: Sequence[str] = ("title", "text"),
    ) -> None:
        place = urlsplit(endpoint)
        if place.scheme not in ("http", "https") or not place.hostname or place.username or place.query:
            raise BadInput("endpoint must be http(s)://host[:port]/path, without key or question; set api_key_env")
        if form not in _FORMS:
            raise UnknownName("form of endpoint", form, _FORMS)
        if min(batch, concurrency) < 1 or timeout <= 0 or retries < 0:
            raise BadInput(
                f"batch={batch}, concurrency={concurrency}, timeout={timeout}, retries={retries} asks nothing"
            )
        self._url, self._key_name, self._form = f"{endpoint.rstrip('/')}/rerank", api_key_env, form
        self._batch, self._concurrency, self._fields = batch, concurrency, tuple(fields)
        self._timeout, self._retries, self._patience = timeout, retries, patience
        self._model = model
        self._opener = urllib.request.build_opener(_NoRedirects)
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
        return self._scored(query, passages)[0]

    def score_many(self, jobs: Iterable[tuple[Query, Sequence[Passage]]]) -> Iterator[tuple[list[float], Usage]]:
        """Scores and usage of each job, in order, several asked at a time."""
        waiting: list[Future[tuple[list[float], Usage]]] = []
        with ThreadPoolExecutor(self._concurrency) as threads:
            try:
                for query, passages in jobs:
                    waiting.append(threads.submit(self._scored, query, passages))
                    if len(waiting) > 2 * self._concurrency:
                        yield waiting.pop(0).result()
                while waiting:
                    yield waiting.pop(0).result()
            finally:
                threads.shutdown(wait=False, cancel_futures=True)

    def _scored(self, query: Query, passages: Sequence[Passage]) -> tuple[list[float], Usage]:
        texts = [passage.flat(self._fields) for passage in passages]
        scores: list[float] = []
        tokens = requests = 0
        for start in range(0, len(texts), self._batch):
            some = texts[start : start + self._batch]
            asks, names = _FORMS[self._form]
            body = {"model": self._model, "query": query.text, asks: some}
            answer = self._asked(
                body if self._form == "documents" else {"query": query.text, asks: some, "truncate": True}
            )
            scores += _scores(answer, len(some), names, query.id)
            tokens, requests = tokens + _tokens(answer), requests + 1
        return scores, Usage(prompts=requests, input_tokens=tokens)

    def _asked(self, body: Mapping[str, Any]) -> Any:
        """The server's answer as JSON, asked until it comes or patience ends."""
        data, waited, failures = json.dumps(body, ensure_ascii=False).encode(), 0.0, 0
        while True:
            pause = None
            try:
                return self._once(data)
            except urllib.error.HTTPError as error:
                with error:
                    last = f"{error.code} {printable(self._safe(error.read(2000).decode('utf-8', 'replace')), 200)}"
                if error.code < 500 and error.code not in _AGAIN:
                    raise BadInput(f"{self._url} refuses: {last}; check endpoint, model and key") from None
                pause = _retry_after(error)
            except (OSError, HTTPException, ValueError, RecursionError) as error:
                last = printable(self._safe(f"{type(error).__name__}: {error}"), 200)
            failures += 1
            pause = max(pause, 0.1 * failures) if pause is not None else _break(failures)
            if failures > self._retries or waited + pause > self._patience:
                raise OutsideFailed(f"{self._url} gives no answer after {failures} tries (last: {last}); is it up?")
            waited += pause
            time.sleep(pause)

    def _once(self, data: bytes) -> Any:
        headers = {"content-type": "application/json", "accept": "application/json", "user-agent": "exabench"}
        if key := self._key():
            headers["authorization"] = f"Bearer {key}"
        request = urllib.request.Request(self._url, data, headers, method="POST")
        with self._opener.open(request, timeout=self._timeout) as answer:
            body = answer.read(_LARGEST + 1)
        if len(body) > _LARGEST:
            raise ValueError("an answer that is too large")
        return from_json(body.decode())

    def _key(self) -> str:
        key = os.environ.get(self._key_name, "") if self._key_name else ""
        if self._key_name and not key:
            raise BadInput(f"{self._url} needs a key: set the environment variable {self._key_name}")
        return key

    def _safe(self, text: str) -> str:
        key = self._key()
        return text.replace(key, "***") if len(key) > 7 else text


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """What is asked, and the key, go nowhere else."""

    def redirect_request(self, *given: Any, **named: Any) -> None:
        return None


def _scores(answer: Any, size: int, name: str, query_id: str) -> list[float]:
    """The scores in the order of the passages. Raises OutsideFailed unless each has exactly one, and it is finite."""
    results = answer.get("results") if isinstance(answer, dict) else answer
    found: dict[int, float] = {}
    for result in results if isinstance(results, list) else [None]:
        index, score = (result.get("index"), result.get(name)) if isinstance(result, dict) else (None, None)
        if not isinstance(index, int) or isinstance(index, bool) or not 0 <= index < size or index in found:
            index = None
        if index is None or isinstance(score, bool) or not isinstance(score, int | float) or not math.isfinite(score):
            raise OutsideFailed(
                f"the endpoint's answer to query {printable(query_id)!r} is no list of index and {name}"
            )
        found[index] = float(score)
    if len(found) != size:
        raise OutsideFailed(f"the endpoint scored {len(found)} of {size} passages of query {printable(query_id)!r}")
    return [found[place] for place in range(size)]


def _tokens(answer: Any) -> int:
    """The tokens that the server says it read; 0 where it says nothing."""
    used = answer.get("usage") if isinstance(answer, dict) else None
    total = used.get("total_tokens", 0) if isinstance(used, dict) else 0
    return total if type(total) is int and total >= 0 else 0


def _break(times: int) -> float:
    """Seconds to wait after so many failures: about 0.5, 1, 2, 4 ..., not all at the same moment."""
    return min(_LONGEST_BREAK, 0.5 * 2 ** min(times - 1, 10)) * random.uniform(0.75, 1.25)


def _retry_after(error: urllib.error.HTTPError) -> float | None:
    """The seconds that the server asks for, where it gives a number."""
    try:
        return max(0.0, float(error.headers.get("retry-after", "")))
    except ValueError:
        return None
