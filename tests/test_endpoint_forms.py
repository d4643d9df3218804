"""Every reranking API is asked in its own form: raw scores, long texts, many texts, and what is recorded of it."""

from __future__ import annotations

from functools import partial
from typing import Any, get_args, get_type_hints

import pytest
from rerank_servers import LIMIT, SERVERS, Refused, answering, logit, sigmoid, tei

import exabench
from exabench.core import http
from exabench.core.errors import BadInput
from exabench.core.nouns import Passage, Query
from exabench.parts.rerankers.endpoint import Endpoint

QUERY = Query("q1", "sky")
# From 20 down to -14: what a sigmoid makes of the first ones is 1 in single precision.
LOGITS = [20 - 0.25 * place for place in range(137)]
PASSAGES = [Passage(f"d{place}", f"{value} words") for place, value in enumerate(LOGITS)]
LONG = Passage("long", "21.5 " + "word " * LIMIT)


@pytest.fixture(autouse=True)
def _no_breaks(monkeypatch):
    monkeypatch.setattr(http, "FIRST_PAUSE", 0.001)
    monkeypatch.setenv("MY_KEY", "k-123456")


def made(form: str, url: str, **options: Any) -> Any:
    return exabench.reranker("endpoint", model="m", endpoint=url, form=form, api_key_env="MY_KEY", **options)


@pytest.mark.parametrize("form", SERVERS)
def test_scores_come_raw_where_the_server_can_give_them_and_one_long_passage_ends_nothing(form):
    path, answer, scores = SERVERS[form]
    with answering(path, answer) as server:
        part = made(form, server.url)
        [(found, usage)] = part.score_many([(QUERY, [*PASSAGES, LONG])])
    expected = [*LOGITS, 21.5]
    if scores != "raw":
        expected = [sigmoid(value) for value in expected]
    assert found == pytest.approx(expected, abs=1e-12)
    assert part.identity["scores"] == scores
    assert usage.prompts <= len(server.asked)
    assert usage.cut_passages == (form == "llama.cpp"), "no other needs the passage cut by us"
    for _, asked in server.asked:
        for name, value in part.identity["asked"].items():
            assert asked[name] == value


def test_every_form_has_its_double_and_the_option_lists_them_all():
    listed = get_args(get_type_hints(Endpoint.__init__)["form"])
    assert set(SERVERS) == set(listed)


def test_a_server_that_takes_few_texts_is_asked_for_few_from_then_on():
    with answering("/v1/rerank", partial(tei, most=8)) as server:
        part = made("texts", server.url, batch=100, concurrency=1)
        first, second = part.score_many([(QUERY, PASSAGES[:40])] * 2)
    assert first[0] == second[0] == LOGITS[:40]
    sizes = [len(asked["texts"]) for _, asked in server.asked]
    assert sizes[0] == 40 and max(sizes[-5:]) <= 8, sizes
    assert second[1].prompts == 5


def test_a_long_passage_that_no_option_cuts_is_sent_again_cut_and_counted():
    with answering("/v1/rerank", tei) as server:
        part = made("texts", server.url, body={"truncate": False})
        outcomes = list(part.score_many([(QUERY, [*PASSAGES[:10], LONG, *PASSAGES[10:20]])] * 2))
    for found, usage in outcomes:
        assert found == [*LOGITS[:10], logit(LONG.text), *LOGITS[10:20]]
        assert usage.cut_passages == 1 and usage.passages is None


@pytest.mark.parametrize("server_of", ["vllm", "infinity"])
def test_the_default_form_gets_raw_scores_from_servers_that_know_how(server_of: str) -> None:
    path, answer, _ = SERVERS[server_of]
    with answering(path, answer) as server:
        part = made("documents", server.url)
        [(found, _)] = part.score_many([(QUERY, PASSAGES)])
    assert found == LOGITS and part.identity["asked"]["raw_scores"] is True


@pytest.mark.parametrize("names_it", [True, False])
def test_a_server_that_refuses_unknown_fields_is_asked_without_them(names_it: bool) -> None:
    def strict(body: Any, headers: Any) -> Any:
        odd = sorted(set(body) - {"model", "query", "documents"})
        if odd:
            raise Refused(422, {"error": f"unknown field {odd[0]}" if names_it else "invalid request"})
        if any(len(text) > LIMIT for text in body["documents"]):
            raise Refused(422, {"error": "a document is too long"})
        listed = [{"index": place, "relevance_score": logit(text)} for place, text in enumerate(body["documents"])]
        return {"results": listed}

    with answering("/v1/rerank", strict) as server:
        part = made("documents", server.url, concurrency=1)
        outcomes = list(part.score_many([(QUERY, PASSAGES[:9]), (QUERY, [*PASSAGES[:3], LONG]), (QUERY, PASSAGES)]))
        assert [scores for scores, _ in outcomes] == [LOGITS[:9], [*LOGITS[:3], 21.5], LOGITS]
        assert outcomes[1][1].cut_passages == 1
        asked = len(server.asked)
        part.score(QUERY, PASSAGES)
        assert len(server.asked) == asked + 1, "what it refuses is not tried again"
    assert part.identity["asked"] == {} and "raw_scores" not in server.asked[-1][1]


def test_a_long_passage_is_not_taken_for_an_unknown_field() -> None:
    def squashing(body: Any, headers: Any) -> Any:
        if any(len(text) > LIMIT for text in body["documents"]):
            raise Refused(422, {"error": "a document is too long"})
        squash = (lambda value: value) if body.get("raw_scores") else sigmoid
        scores = [squash(logit(text)) for text in body["documents"]]
        return {"results": [{"index": place, "relevance_score": score} for place, score in enumerate(scores)]}

    with answering("/v1/rerank", squashing) as server:
        part = made("documents", server.url, concurrency=1)
        [(found, usage)] = part.score_many([(QUERY, [LONG, *PASSAGES[:4]])])
    assert found == [21.5, *LOGITS[:4]] and usage.cut_passages == 1 and part.identity["asked"]["raw_scores"] is True


def test_a_server_that_refuses_everything_is_known_after_a_few_requests():
    def refusing(body: Any, headers: Any) -> Any:
        raise Refused(422, {"error": "unknown field `raw_scores`"})

    with answering("/v1/rerank", refusing) as server:
        with pytest.raises(BadInput, match="refuses: 422 .*unknown field .*check endpoint, form, model and key"):
            list(made("texts", server.url).score_many([(QUERY, PASSAGES)] * 50))
        assert len(server.asked) < 60


def test_further_fields_are_sent_and_what_they_do_to_the_scores_is_not_claimed():
    with answering("/v1/rerank", tei) as server:
        part = made("texts", server.url, body={"raw_scores": False, "prompt_name": "query"})
        assert part.score(QUERY, PASSAGES[:3]) == [sigmoid(value) for value in LOGITS[:3]]
    [(_, asked)] = server.asked
    assert asked["prompt_name"] == "query" and asked["truncate"] is True
    assert part.identity["scores"] == "unknown"
    assert part.identity["asked"] == {"raw_scores": False, "truncate": True, "prompt_name": "query"}


@pytest.mark.parametrize(("raw", "scores"), [(True, "raw"), (False, "unknown")])
def test_a_result_says_what_the_server_may_have_done_and_notes_scores_that_it_squashed(raw, scores):
    """A server of mini whose logits are far from 0, as those of large rerankers are."""

    def far(body: Any, headers: Any) -> Any:
        values = [30.0 + len(text) / 100 for text in body["texts"]]
        if not body.get("raw_scores", False):
            values = [sigmoid(value) for value in values]
        return [{"index": place, "score": value} for place, value in enumerate(values)]

    def near(body: Any, headers: Any) -> Any:
        found = far(body, headers)
        if not body.get("raw_scores", False):
            found[0]["score"] = sigmoid(len(body["texts"][0] + body["query"]) / 1000)
        return found

    with answering("/v1/rerank", near) as server:
        options = {"model": "m", "endpoint": server.url, "form": "texts", "body": {"raw_scores": raw}}
        table = exabench.evaluate("endpoint", ["mini"], depth=10, **options)
    [result] = table.values()
    assert result.model["scores"] == scores and result.model["asked"]["raw_scores"] is raw
    told = [note for note in result.measurement.notes if "a sigmoid has probably squashed the scores" in note]
    assert bool(told) is not raw
