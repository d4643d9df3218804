"""A reranker behind an HTTP API: `POST .../rerank`, as Jina, Cohere, vLLM and text-embeddings-inference do."""

from __future__ import annotations

import os
import re
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

from exabench.core.errors import BadInput, OutsideFailed, UnknownName, check_key, printable
from exabench.core.files import from_json
from exabench.core.http import Client, Request, RequestLimits, StatusError, check_url, is_final
from exabench.core.nouns import MOST_TOKENS, Passage, Query, Usage
from exabench.parts.rerankers import Job, Outcome
from exabench.parts.rerankers._api_forms import FORMS, Form

TYPE = "reranking API"
_LARGEST = sys.float_info.max  # an integer of 400 digits is a JSON number, too
_TOO_MUCH = (400, 413, 422)  # what servers say to too many texts, or to one that is too long
_FIELD_UNKNOWN = (400, 422)  # what servers say to a field that they do not know
_TOO_LONG = re.compile("input.{0,40} too (large|long)", re.IGNORECASE)  # what llama.cpp says, with status 500
_BATCH_LIMIT = re.compile(r"maximum allowed batch size\D*(\d+)", re.IGNORECASE)
_SHORTEST = 100  # characters: a server that refuses so few does not mind their number


class Endpoint:
    """Scores as the server gives them: for every passage one finite number, or the query fails.

    `form` is the server's API: "documents" (Jina and others with results and relevance_score), "texts"
    (text-embeddings-inference), "vllm" or "vllm-score", "infinity", "llama.cpp", "cohere" (v2), "voyage", "mixedbread"
    or "pinecone". Where the form has such fields, scores are asked for as the model gives them, before any sigmoid, and
    long texts are cut by the server; "documents" tries the fields of several servers, and leaves them out where they
    are refused. `body` is a table of further fields of each request. The key is read from the environment variable
    `api_key_env` whenever it is needed and kept nowhere. A request has `timeout` seconds and is tried again `retries`
    times, after a longer break each time or the one that the server asks for, up to `patience` seconds. `concurrency`
    requests are in flight. More than `batch` passages (0: as many as the API takes) are split over several requests,
    which suits servers that score each passage by itself.

    What a server refuses as too much is asked again in halves, and a single passage cut to a half of its characters:
    the usage counts it as cut. `identity` says what was asked and what the server may have done to the scores.
    """

    reads = "texts"
    precision = "unknown"
    parameters = None

    def __init__(
        self,
        model: str,
        *,
        endpoint: str,
        form: Literal[
            "documents",
            "texts",
            "vllm",
            "vllm-score",
            "infinity",
            "llama.cpp",
            "cohere",
            "voyage",
            "mixedbread",
            "pinecone",
        ] = "documents",
        body: Mapping[str, Any] = MappingProxyType({}),
        api_key_env: str = "",
        batch: int = 0,
        concurrency: int = 4,
        timeout: float = 60.0,
        retries: int = 5,
        patience: float = 300.0,
        fields: Sequence[str] = ("title", "text"),
    ) -> None:
        check_url("endpoint", endpoint, "api_key_env")
        if form not in FORMS:
            raise UnknownName("form", form, FORMS)
        if batch < 0:
            raise BadInput(f"batch must be at least 0, not {batch}")
        self._form = FORMS[form]
        for name in body:
            if name in self._form.own_fields():
                raise BadInput(f"body has {printable(name)!r}, which exabench fills in itself; leave it out")
        self._server = endpoint
        self._key_name = api_key_env
        self._body = dict(body)
        self._batch = batch or self._form.most
        self._tries = bool(self._form.tried)
        self._fields = tuple(fields)
        self._limits = RequestLimits(concurrency, timeout, retries, patience)
        self._model = model
        self.identity = {
            "reranker": "endpoint",
            "model": model,
            "server": endpoint,
            "form": form,
            "asked": {**self._form.asked, **self._form.tried, **self._body},
            "scores": self._form.scores_with(self._body),
            "fields": list(self._fields),
        }
        self._key()  # a missing key is told before anything is asked

    def score(self, query: Query, passages: Sequence[Passage]) -> list[float]:
        """One score for each passage, in the order given. Raises OutsideFailed, and BadInput for what is refused."""
        [(scores, _)] = self.score_many([(query, passages)])
        return scores

    def score_many(self, jobs: Iterable[Job]) -> Iterator[Outcome]:
        """Scores and usage of each job, in order, several asked at a time."""
        form = self._form
        key = self._key()
        headers = dict(form.headers)
        if key:
            headers[form.key_header] = key
            if form.key_header == "authorization":
                headers[form.key_header] = f"Bearer {key}"
        client = Client(self._server, form.path, key, self._limits, headers=headers, final=_is_final)
        requests = _Requests(form, self._model, self._body, self._fields, self._batch, self._tries, jobs)
        waiting = requests.waiting
        # Closed where a query fails: no request is left behind that nobody waits for.
        with closing(client.ask(requests, lambda data: from_json(data.decode()))) as outcomes:
            for part, outcome in outcomes:
                if isinstance(outcome, OutsideFailed):
                    raise outcome
                if isinstance(outcome, StatusError):
                    if not requests.ask_plainly(part, outcome) and not requests.ask_for_less(part, outcome):
                        why = f"{self._server} refuses: {client.describe(outcome)}"
                        raise BadInput(f"{why}; check endpoint, form, model and key")
                    self._batch = requests.batch
                    continue
                requests.take(part, outcome)
                self._tries = requests.tries
                while waiting and not waiting[0].missing:  # answers come in any order, jobs are given out in theirs
                    yield waiting.popleft().result()
        while waiting:  # jobs without passages
            yield waiting.popleft().result()
        if not self._tries:
            self.identity["asked"] = {**form.asked, **self._body}

    def _key(self) -> str:
        key = os.environ.get(self._key_name, "")
        if self._key_name and not key:
            raise BadInput(f"{self._server} needs a key: set the environment variable {self._key_name}")
        check_key(self._key_name, key)
        return key


def _is_too_much(error: StatusError) -> bool:
    return error.status in _TOO_MUCH or error.status >= 500 and _TOO_LONG.search(str(error)) is not None


def _is_final(error: StatusError) -> bool:
    return is_final(error) or _is_too_much(error)


class _Part(NamedTuple):
    """The passages of a job from place `start` up to `end`, in one request; `characters` of each are sent (0: all).

    `tries` is whether the fields that the form tries are sent with them; `plain` parts are asked again without.
    """

    of: _Waiting
    start: int
    end: int
    characters: int = 0
    tries: bool = False
    plain: bool = False


@dataclass
class _Requests:
    """The requests of all jobs, in order; in between those that ask again for less. Jobs are read as they are needed.

    No request has more than `batch` texts. `waiting` are the jobs that are begun and not given out, in their order.
    """

    form: Form
    model: str
    body: Mapping[str, Any]
    fields: tuple[str, ...]
    batch: int
    tries: bool
    jobs: Iterable[Job]

    def __post_init__(self) -> None:
        self._were_taken = False  # the fields that the form tries, by an answer
        self.waiting = deque[_Waiting]()
        self._unread = iter(self.jobs)
        self._parts = deque[_Part]()

    def __iter__(self) -> Iterator[Request[_Part]]:
        return self

    def __next__(self) -> Request[_Part]:
        """The next request. After StopIteration there may be more: what is asked again."""
        while not self._parts:
            query, passages = next(self._unread)
            texts = [passage.flat(self.fields) for passage in passages]
            job = _Waiting(query, texts, [0.0] * len(texts), len(texts))
            self.waiting.append(job)
            for start in range(0, len(texts), self.batch):
                self._parts.append(_Part(job, start, min(start + self.batch, len(texts))))
        part = self._parts.popleft()
        part = part._replace(tries=self.tries and not part.plain)
        texts = part.of.texts[part.start : part.end]
        if part.characters:
            texts = [text[: part.characters] for text in texts]
        query = part.of.query
        more = self.body
        if part.tries:
            more = {**self.form.tried, **more}
        body = self.form.body(self.model, query.text, texts, more)
        return Request(part, body, f"query {printable(query.id)!r}")

    def take(self, part: _Part, answer: Any) -> None:
        """Give an answer to the job that it belongs to."""
        if part.tries:
            self._were_taken = True
        elif part.plain and not self._were_taken:  # the same texts were refused with these fields
            self.tries = False
        part.of.take(part, answer, self.form)

    def ask_plainly(self, part: _Part, refusal: StatusError) -> bool:
        """Ask again for the same without the fields that the form tries; False where these cannot be at fault.

        They are not once a request that had them was answered.
        """
        if not part.tries or self._were_taken or refusal.status not in _FIELD_UNKNOWN:
            return False
        self._parts.appendleft(part._replace(plain=True))
        return True

    def ask_for_less(self, part: _Part, refusal: StatusError) -> bool:
        """Ask again for a part that the server refused, in smaller ones; False where that would not help."""
        if not _is_too_much(refusal):
            return False
        limit = _BATCH_LIMIT.search(str(refusal))
        if limit:
            self.batch = max(1, min(self.batch, int(limit[1])))
        part = part._replace(plain=False)
        size = part.end - part.start
        if size > 1:
            middle = part.start + size // 2
            smaller = [part._replace(end=middle), part._replace(start=middle)]
        else:
            characters = (part.characters or len(part.of.texts[part.start])) // 2
            if characters < _SHORTEST:
                return False
            smaller = [part._replace(characters=characters)]
        self._parts.extendleft(reversed(smaller))  # next: a server that refuses everything is known soon
        return True


@dataclass
class _Waiting:
    """A query whose passages are being scored; `missing` counts those that have no score yet."""

    query: Query
    texts: list[str]
    scores: list[float]
    missing: int
    requests: int = 0
    tokens: int = 0
    cut: int = 0

    def take(self, part: _Part, answer: Any, form: Form) -> None:
        """Fill in the scores of these passages from the JSON of an answer.

        Raises OutsideFailed unless each has exactly one score, and it is finite.
        """
        whose = f"query {printable(self.query.id)!r}"
        results = answer
        if form.results:
            results = answer.get(form.results) if isinstance(answer, dict) else None
        if not isinstance(results, list) or not all(isinstance(result, dict) for result in results):
            wrong = f"the endpoint's answer to {whose} is not a list of index and {form.score}"
            raise OutsideFailed(f"{wrong}; does the form fit this server? There are: {', '.join(FORMS)}")
        size = part.end - part.start
        open_places = dict(enumerate(range(part.start, part.end)))
        for result in results:
            index = result.get("index")
            score = result.get(form.score)
            if type(index) is not int or index not in open_places:  # True is 1 to a dict
                raise OutsideFailed(f"the endpoint's answer to {whose} has a wrong index ({printable(str(index))})")
            if type(score) not in (int, float) or not -_LARGEST <= score <= _LARGEST:
                raise OutsideFailed(f"the endpoint's answer to {whose} has no finite {form.score} for passage {index}")
            self.scores[open_places.pop(index)] = float(score)
        if open_places:
            raise OutsideFailed(f"the endpoint scored {size - len(open_places)} of {size} passages of {whose}")
        self.missing -= size
        self.requests += 1
        if part.characters:
            self.cut += 1
        used = answer.get("usage") if isinstance(answer, dict) else None
        total = used.get("total_tokens") if isinstance(used, dict) else None
        if type(total) is int and 0 < total < MOST_TOKENS:  # 0 where the server says nothing
            self.tokens += total

    def result(self) -> Outcome:
        """All scores, and their usage."""
        return self.scores, Usage(prompts=self.requests, input_tokens=self.tokens, cut_passages=self.cut)
