"""Doubles of reranking servers, each with its own request, answer, limits and squashing, as their references tell.

A text's logit is the number that it begins with. A text of more than LIMIT characters is too long for the model.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from endpoint import Act, Endpoint, Handler, serving

LIMIT = 400
MOST_OF_TEI = 32


class Refused(Exception):
    """A status, and the body that comes with it."""


def logit(text: str) -> float:
    return float(text.split()[0])


def sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-value))


def best_first(scores: list[float], name: str, most: int | None = None) -> list[dict[str, Any]]:
    listed = [{"index": place, name: score} for place, score in enumerate(scores)]
    return sorted(listed, key=lambda one: -one[name])[:most]


def has_long(texts: list[str]) -> bool:
    return any(len(text) > LIMIT for text in texts)


def texts_only(given: Any) -> list[str]:
    if not isinstance(given, list) or not all(isinstance(text, str) for text in given):
        raise Refused(422, {"error": "documents must be texts"})
    return given


def tei(body: Any, headers: Any, most: int = MOST_OF_TEI) -> Any:
    texts = texts_only(body["texts"])
    if len(texts) > most:
        said = f"batch size {len(texts)} > maximum allowed batch size {most}"
        raise Refused(422, {"error": said, "error_type": "Validation"})
    if has_long(texts) and not body.get("truncate", False):
        said = "`inputs` must have less than 512 tokens. Given: 900"
        raise Refused(413, {"error": said, "error_type": "Validation"})
    scores = [logit(text) for text in texts]
    if not body.get("raw_scores", False):
        scores = [sigmoid(score) for score in scores]
    return best_first(scores, "score")


def _vllm(body: Any, query: str, documents: str) -> list[float]:
    texts = texts_only(body[documents])
    assert body["model"] and body[query]
    if has_long(texts) and body.get("truncate_prompt_tokens") is None:
        said = "This model's maximum context length is 512 tokens."
        raise Refused(400, {"error": {"message": said, "type": "BadRequestError", "code": 400}})
    scores = [logit(text) for text in texts]
    if body.get("use_activation", True):
        scores = [sigmoid(score) for score in scores]
    return scores


def vllm(body: Any, headers: Any) -> Any:
    results = best_first(_vllm(body, "query", "documents"), "relevance_score")
    return {"id": "rerank-1", "model": "m", "usage": {"total_tokens": 9}, "results": results}


def vllm_score(body: Any, headers: Any) -> Any:
    results = best_first(_vllm(body, "text_1", "text_2"), "score")
    return {"id": "score-1", "object": "list", "model": "m", "data": results, "usage": {"total_tokens": 9}}


def infinity(body: Any, headers: Any) -> Any:
    scores = [logit(text) for text in texts_only(body["documents"])]
    if not body.get("raw_scores", False):
        scores = [sigmoid(score) for score in scores]
    results = best_first(scores, "relevance_score")
    return {"object": "rerank", "results": results, "model": body["model"], "usage": {"total_tokens": 9}}


def llama_cpp(body: Any, headers: Any) -> Any:
    texts = texts_only(body["documents"])
    if has_long(texts):
        said = "input is too large to process. increase the physical batch size"
        raise Refused(500, {"error": {"code": 500, "message": said, "type": "server_error"}})
    results = best_first([logit(text) for text in texts], "relevance_score")
    return {"model": "m", "object": "list", "usage": {"prompt_tokens": 9, "total_tokens": 9}, "results": results}


def cohere(body: Any, headers: Any) -> Any:
    texts = texts_only(body["documents"])
    assert body["model"] and type(body["max_tokens_per_doc"]) is int and headers["authorization"] == "Bearer k-123456"
    if len(texts) > 1000:
        raise Refused(400, {"message": "too many documents"})
    results = best_first([sigmoid(logit(text)) for text in texts], "relevance_score")
    return {"id": "x", "results": results, "meta": {"billed_units": {"search_units": 1}}}


def voyage(body: Any, headers: Any) -> Any:
    texts = texts_only(body["documents"])
    if has_long(texts) and not body.get("truncation", True):
        raise Refused(400, {"detail": "a document is too long"})
    results = best_first([sigmoid(logit(text)) for text in texts], "relevance_score")
    return {"object": "list", "data": results, "model": body["model"], "usage": {"total_tokens": 9}}


def mixedbread(body: Any, headers: Any) -> Any:
    texts = texts_only(body["input"])
    results = best_first([sigmoid(logit(text)) for text in texts], "score", body.get("top_k", 10))
    return {"object": "list", "data": results, "model": body["model"], "usage": {"total_tokens": 9}}


def pinecone(body: Any, headers: Any) -> Any:
    assert headers["api-key"] == "k-123456" and headers["x-pinecone-api-version"]
    texts = [document[body["rank_fields"][0]] for document in body["documents"]]
    if len(texts) > 100:
        raise Refused(400, {"error": {"code": "INVALID_ARGUMENT", "message": "at most 100 documents"}, "status": 400})
    if has_long(texts) and body.get("parameters", {}).get("truncate", "END") == "NONE":
        raise Refused(400, {"error": {"code": "INVALID_ARGUMENT", "message": "too many tokens"}, "status": 400})
    results = best_first([sigmoid(logit(text)) for text in texts], "score", body.get("top_n"))
    return {"model": body["model"], "data": results, "usage": {"rerank_units": 1}}


def jina(body: Any, headers: Any) -> Any:
    results = best_first([sigmoid(logit(text)) for text in texts_only(body["documents"])], "relevance_score")
    return {"model": body["model"], "usage": {"total_tokens": 9}, "results": results}


SERVERS = {
    # form: its path behind the address, what it does, and what comes back
    "documents": ("/v1/rerank", jina, "unknown"),
    "texts": ("/v1/rerank", tei, "raw"),
    "vllm": ("/v1/rerank", vllm, "raw"),
    "vllm-score": ("/v1/score", vllm_score, "raw"),
    "infinity": ("/v1/rerank", infinity, "raw"),
    "llama.cpp": ("/v1/rerank", llama_cpp, "raw"),
    "cohere": ("/v1/rerank", cohere, "from 0 to 1"),
    "voyage": ("/v1/rerank", voyage, "from 0 to 1"),
    "mixedbread": ("/v1/reranking", mixedbread, "unknown"),
    "pinecone": ("/v1/rerank", pinecone, "from 0 to 1"),
}


def answering(path: str, answer: Callable[[Any, Any], Any]) -> AbstractContextManager[Endpoint]:
    """A server that answers at that path alone."""

    def act(server: Endpoint, handler: Handler, body: Any) -> None:
        if handler.path != path:
            return handler.send(404, {"error": f"no {handler.path} here"})
        try:
            found = answer(body, {name.lower(): value for name, value in handler.headers.items()})
        except Refused as refusal:
            status, said = refusal.args
            return handler.send(status, said)
        return handler.send(200, found)

    act_of: Act = act
    return serving(act_of)
