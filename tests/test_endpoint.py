"""A reranker behind an API: the server on this machine scores, fails and lies; whole answers alone are taken."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from exabench.core import http
from exabench.core.errors import BadInput, OutsideFailed
from exabench.core.nouns import Passage, Query
from exabench.core.options import check
from exabench.parts.rerankers.endpoint import Endpoint

KEY = "a-secret-that-is-never-shown"
QUERY = Query("q1", "sky")
PASSAGES = [Passage(f"d{i}", "x" * i, title="t" if i == 2 else "") for i in range(5)]


def lengths(asked: dict[str, Any]) -> Any:
    """The answer of a well-behaved server: longest first, a document's length as its score."""
    texts = asked.get("documents", asked.get("texts"))
    name = "relevance_score" if "documents" in asked else "score"
    results = [{"index": i, name: float(len(text))} for i, text in enumerate(texts)]
    results.sort(key=lambda one: -one[name])
    return {"results": results, "usage": {"total_tokens": 7}} if "documents" in asked else results


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, *answers: Callable[[dict[str, Any]], Any] | int | bytes | tuple[int, dict[str, str]]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers, self.asked, self.headers = list(answers), [], []
        self.lock = threading.Lock()
        self.url = f"http://127.0.0.1:{self.server_address[1]}/v1"


class Handler(BaseHTTPRequestHandler):
    """Gives the planned answers one after the other, the last for ever."""

    server: Server

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.server.lock:
            self.server.asked.append((self.path, asked))
            self.server.headers.append(dict(self.headers))
            plan = self.server.answers[0]
            if len(self.server.answers) > 1:
                self.server.answers.pop(0)
        status, headers, body = 200, {}, b""
        if callable(plan):
            body = json.dumps(plan(asked)).encode()
        elif isinstance(plan, bytes):
            body = plan
        elif plan == 0:
            self.close_connection = True
            return
        else:
            status, headers = plan if isinstance(plan, tuple) else (plan, {})
            body = f'{{"error": "no, {self.headers.get("Authorization")}"}}'.encode()
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *given: object) -> None:
        pass


@contextmanager
def server(*answers: Any) -> Iterator[Server]:
    with Server(*answers) as here:
        threading.Thread(target=here.serve_forever, args=(0.01,), daemon=True).start()
        yield here
        here.shutdown()


@pytest.fixture(autouse=True)
def _no_breaks(monkeypatch):
    monkeypatch.setattr(http, "FIRST_PAUSE", 0.001)


@pytest.mark.parametrize("form", ["documents", "texts"])
def test_scores_come_back_in_the_order_of_the_passages(form):
    with server(lengths) as here:
        reranker = Endpoint("m", endpoint=here.url, form=form)
        assert reranker.score(QUERY, PASSAGES) == [0.0, 1.0, 4.0, 3.0, 4.0]
        path, asked = here.asked[0]
    assert path == "/v1/rerank" and asked["query"] == "sky"
    assert asked[form] == ["", "x", "t xx", "xxx", "xxxx"]
    assert ("model" in asked) == (form == "documents")


def test_many_queries_come_back_in_their_order_with_what_they_took():
    jobs = [(Query(str(i), "q"), [Passage("a", "x" * i), Passage("b", "")]) for i in range(20)]
    with server(lengths) as here:
        found = list(Endpoint("m", endpoint=here.url).score_many(jobs))
    assert [scores for scores, _ in found] == [[float(i), 0.0] for i in range(20)]
    assert {(usage.prompts, usage.input_tokens, usage.flops_exact) for _, usage in found} == {(1, 7, None)}


def test_a_long_list_is_asked_in_parts():
    with server(lengths) as here:
        assert Endpoint("m", endpoint=here.url, batch=2).score(QUERY, PASSAGES) == [0.0, 1.0, 4.0, 3.0, 4.0]
        assert sorted(len(asked["documents"]) for _, asked in here.asked) == [1, 2, 2]  # parts are asked side by side
        assert Endpoint("m", endpoint=here.url).score(QUERY, []) == []


def results(*pairs: tuple[Any, Any]) -> bytes:
    return json.dumps({"results": [{"index": i, "relevance_score": s} for i, s in pairs]}).encode()


WRONG = {
    "one is missing": results((0, 1.0)),
    "one is there twice": results((0, 1.0), (0, 1.0)),
    "one too many": results((0, 1.0), (1, 1.0), (2, 1.0)),
    "before the first": results((-1, 1.0), (0, 1.0)),
    "a truth for a score": results((0, True), (1, 1.0)),
    "text for a score": results((0, "1.0"), (1, 1.0)),
    "text for an index": results(("0", 1.0), (1, 1.0)),
    "no score": results((0, None), (1, 1.0)),
    "no results": b'{"data": []}',
    "a number": b"3",
    "other results": b'{"results": [1, 2]}',
}


@pytest.mark.parametrize("case", WRONG)
def test_an_answer_that_is_not_whole_is_no_answer(case):
    with server(WRONG[case]) as here, pytest.raises(OutsideFailed, match="the endpoint"):
        Endpoint("m", endpoint=here.url).score(QUERY, PASSAGES[:2])


@pytest.mark.parametrize(
    "text", [b"", b"<html>", b'{"results": [{"index": 0, "relevance_score": NaN}]}', b"\xff", b"[" * 9999]
)
def test_what_is_no_json_is_asked_again(text):
    with server(text, lengths) as here:
        assert Endpoint("m", endpoint=here.url).score(QUERY, PASSAGES[:2]) == [0.0, 1.0]
        assert len(here.asked) == 2


@pytest.mark.parametrize(
    "plan", [500, 502, 503, 429, 408, 0, (429, {"Retry-After": "0.5"}), (503, {"Retry-After": "soon"})]
)
def test_a_failure_that_may_pass_is_asked_again(plan):
    with server(plan, plan, lengths) as here:
        assert Endpoint("m", endpoint=here.url).score(QUERY, PASSAGES[:2]) == [0.0, 1.0]
        assert len(here.asked) == 3


def test_a_retry_after_that_is_a_date_is_kept():
    when = formatdate(time.time() + 2, usegmt=True)  # whole seconds: one of them at least
    started = time.monotonic()
    with server((429, {"Retry-After": when}), lengths) as here:
        assert Endpoint("m", endpoint=here.url).score(QUERY, PASSAGES[:2]) == [0.0, 1.0]
    assert time.monotonic() - started > 0.9


def test_a_server_that_always_fails_is_given_up():
    with (
        server(500) as here,
        pytest.raises(OutsideFailed, match="gives no answer to query 'q1' after 3 tries .last: 500"),
    ):
        Endpoint("m", endpoint=here.url, retries=2).score(QUERY, PASSAGES)
    assert len(here.asked) == 3
    with server((429, {"Retry-After": "900"})) as here, pytest.raises(OutsideFailed, match="after 1 try"):
        Endpoint("m", endpoint=here.url).score(QUERY, PASSAGES)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422])
def test_what_asking_again_will_not_change_is_asked_once(status):
    with server(status) as here, pytest.raises(BadInput, match=f"refuses: {status}"):
        Endpoint("m", endpoint=here.url).score(QUERY, PASSAGES)
    assert len(here.asked) == 1


def test_the_key_is_sent_and_never_told(monkeypatch):
    monkeypatch.setenv("MY_KEY", KEY)
    with server(401, 500) as here:
        reranker = Endpoint("m", endpoint=here.url, api_key_env="MY_KEY", retries=0)
        for error in (BadInput, OutsideFailed):
            with pytest.raises(error) as caught:
                reranker.score(QUERY, PASSAGES)
            assert KEY not in str(caught.value) and "***" in str(caught.value)
        assert here.headers[0]["authorization"] == f"Bearer {KEY}"
    assert KEY not in repr(vars(reranker)) + json.dumps(dict(reranker.identity))
    monkeypatch.delenv("MY_KEY")
    with pytest.raises(BadInput, match="set the environment variable MY_KEY"):
        Endpoint("m", endpoint=here.url, api_key_env="MY_KEY")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_no_redirect_is_followed(monkeypatch, status):
    monkeypatch.setenv("MY_KEY", KEY)
    with server(lengths) as elsewhere, server((status, {"Location": elsewhere.url + "/rerank"})) as here:
        with pytest.raises(BadInput, match=f"refuses: {status}"):
            Endpoint("m", endpoint=here.url, api_key_env="MY_KEY").score(QUERY, PASSAGES)
        assert not elsewhere.asked


@pytest.mark.parametrize("url", ["", "file:///etc", "ftp://x", "http://user:pw@x/", "https://x/?key=1", "nothing"])
def test_an_endpoint_is_an_address_without_secrets(url):
    with pytest.raises(BadInput, match="endpoint must be"):
        Endpoint("m", endpoint=url)


def test_options_that_ask_nothing_are_refused():
    for options in ({"batch": 0}, {"concurrency": 0}, {"timeout": 0}, {"retries": -1}):
        with pytest.raises(BadInput, match="asks nothing"):
            Endpoint("m", endpoint="http://localhost", **options)
    with pytest.raises(BadInput, match='form must be "documents" or "texts"'):
        check("reranker endpoint", Endpoint, {"model": "m", "endpoint": "http://localhost", "form": "other"})
