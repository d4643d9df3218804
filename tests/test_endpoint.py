"""A reranker behind an API: the server on this machine scores, fails and lies; whole answers alone are taken.

Retries, pauses and time-outs are those of core/http, which test_teachers proves; here is that they are used.
"""

from __future__ import annotations

import json
from contextlib import AbstractContextManager
from typing import Any

import pytest
from endpoint import Endpoint as Server, Handler, serving

from exabench.core import http
from exabench.core.errors import BadInput, OutsideFailed
from exabench.core.nouns import Passage, Query
from exabench.parts.rerankers.endpoint import Endpoint

KEY = "a-secret-that-is-never-shown"
QUERY = Query("q1", "sky")
PASSAGES = [Passage(f"d{i}", "x" * i, title="t" if i == 2 else "") for i in range(5)]
SCORES = [0.0, 1.0, 4.0, 3.0, 4.0]


@pytest.fixture(autouse=True)
def _no_breaks(monkeypatch):
    monkeypatch.setattr(http, "FIRST_PAUSE", 0.001)


def lengths(server: Server, handler: Handler, asked: Any) -> None:
    """What a well-behaved server does: longest first, a document's length as its score."""
    texts = asked.get("documents", asked.get("texts"))
    name = "relevance_score" if "documents" in asked else "score"
    results = [{"index": i, name: float(len(text))} for i, text in enumerate(texts)]
    results.sort(key=lambda one: -one[name])
    handler.send(200, {"results": results, "usage": {"total_tokens": 7}} if "documents" in asked else results)


def server(*plans: Any) -> AbstractContextManager[Server]:
    """Does one after the other, then all is well: a status (0: hang up), one with headers, a body, or an act."""

    def act(here: Server, handler: Handler, asked: Any) -> object:
        plan = plans[len(here.seen) - 1] if len(here.seen) <= len(plans) else lengths
        if callable(plan):
            return plan(here, handler, asked)
        if isinstance(plan, bytes):
            return handler.send(200, plan)
        if plan == 0:
            return handler.hang_up()
        status, headers = plan if isinstance(plan, tuple) else (plan, {})
        return handler.send(status, {"error": f"no, {handler.headers['authorization']}"}, **headers)

    return serving(act)


@pytest.mark.parametrize("form", ["documents", "texts"])
def test_scores_come_back_in_the_order_of_the_passages(form):
    with server() as here:
        assert Endpoint("m", endpoint=here.url, form=form).score(QUERY, PASSAGES) == SCORES
    [(path, asked)] = here.asked
    assert path == "/v1/rerank" and asked["query"] == "sky"
    assert asked[form] == ["", "x", "t xx", "xxx", "xxxx"]
    assert ("model" in asked) == (form == "documents")


def test_many_queries_come_back_in_their_order_with_what_they_took():
    jobs = [(Query(str(i), "q"), [Passage("a", "x" * i), Passage("b", "")]) for i in range(20)]
    with server() as here:
        found = list(Endpoint("m", endpoint=here.url).score_many(jobs))
    assert [scores for scores, _ in found] == [[float(i), 0.0] for i in range(20)]
    assert {(usage.prompts, usage.input_tokens, usage.flops_exact) for _, usage in found} == {(1, 7, None)}
    assert {usage.passages for _, usage in found} == {None}, "what a server cuts is not known"


def test_a_long_list_is_asked_in_parts():
    with server() as here:
        assert Endpoint("m", endpoint=here.url, batch=2).score(QUERY, PASSAGES) == SCORES
        assert sorted(len(asked["documents"]) for _, asked in here.asked) == [1, 2, 2]  # parts are asked side by side
        assert Endpoint("m", endpoint=here.url).score(QUERY, []) == []


def results(*pairs: tuple[Any, Any]) -> bytes:
    return json.dumps({"results": [{"index": i, "relevance_score": s} for i, s in pairs]}).encode()


WRONG = {
    "one is missing": results((0, 1.0)),
    "one is there twice": results((0, 1.0), (0, 1.0)),
    "a truth for a score": results((0, True), (1, 1.0)),
    "text for an index": results(("0", 1.0), (1, 1.0)),
    "before the first": results((-1, 1.0), (0, 1.0)),
    "no score": results((0, None), (1, 1.0)),
    "too large a score": results((0, 10**400), (1, 1.0)),
    "no results": b'{"data": []}',
    "a number": b"3",
    "other results": b'{"results": [1, 2]}',
}


def test_an_answer_that_is_not_whole_is_no_answer():
    for case, answer in WRONG.items():
        with server(answer) as here, pytest.raises(OutsideFailed, match="the endpoint"):
            pytest.fail(f"{case}: {Endpoint('m', endpoint=here.url).score(QUERY, PASSAGES[:2])}")


def test_what_may_pass_is_asked_again_until_it_is_given_up():
    not_a_number = results((0, float("nan")), (1, 1.0))
    passing = (b"<html>", b"\xff", b"[" * 9999, 408, (503, {"retry_after": "soon"}), not_a_number)
    with server(*passing) as here:
        assert Endpoint("m", endpoint=here.url, retries=6).score(QUERY, PASSAGES) == SCORES
    assert len(here.seen) == len(passing) + 1
    said = "gave no answer to query 'q1' after 3 tries .last: "
    with server(*passing) as here, pytest.raises(OutsideFailed, match=said):
        Endpoint("m", endpoint=here.url, retries=2).score(QUERY, PASSAGES)
    assert len(here.seen) == 3


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


def test_no_redirect_is_followed_and_what_asking_again_will_not_change_is_asked_once():
    with (
        server() as elsewhere,
        server((307, {"location": elsewhere.url + "/rerank"})) as here,
        pytest.raises(BadInput, match="refuses: 307"),
    ):
        Endpoint("m", endpoint=here.url).score(QUERY, PASSAGES)
    assert not elsewhere.seen and len(here.seen) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        *(({"endpoint": url}, "endpoint must be") for url in ("", "ftp://x", "http://user:pw@x/", "https://x/?key=1")),
        ({"batch": -1}, "batch must be at least 0, not -1"),
        ({"form": "weaviate"}, "unknown form 'weaviate'; choose from: cohere, documents, infinity"),
        ({"body": {"query": "x"}}, "body has 'query', which exabench fills in itself"),
        *(({name: 0}, "concurrency must be at least 1, timeout above 0") for name in ("concurrency", "timeout")),
        ({"retries": -1}, "retries at least 0, not 4, 60.0 and -1"),
    ],
)
def test_an_address_with_secrets_and_options_that_ask_nothing_are_refused(options, message):
    with pytest.raises(BadInput, match=message):
        Endpoint("m", **{"endpoint": "http://localhost", **options})
