"""Forms of reranking APIs as data: what a request says, what an answer looks like, and how scores are asked for raw.

From the servers' own references as of 2026: text-embeddings-inference (router/src/http/types.rs), vLLM
(entrypoints/pooling/score/protocol), infinity, llama.cpp (tools/server), Cohere v2, Voyage, Mixedbread and Pinecone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Form:
    """One API. `query`, `documents`, `results` and `score` are its names of fields; without `results` the answer is
    the list of scores itself.

    `asked` is sent, too: raw scores (by the fields `raw`), and long texts cut instead of refused. So is `tried`, until
    the server refuses it. `count` names the field that says how many scores are wanted, where a server gives fewer by
    itself. `most` texts go into one request. `scores` says what comes back: "raw" (as the model gives them), "from 0
    to 1" (squashed), or "unknown".
    """

    path: str = "/rerank"
    query: str = "query"
    documents: str = "documents"
    are_objects: bool = False
    names_model: bool = True
    asked: Mapping[str, Any] = field(default_factory=dict)
    tried: Mapping[str, Any] = field(default_factory=dict)
    raw: tuple[str, ...] = ()
    count: str = ""
    most: int = 1000
    results: str = "results"
    score: str = "relevance_score"
    scores: str = "unknown"
    key_header: str = "authorization"
    headers: Mapping[str, str] = field(default_factory=dict)

    def body(self, model: str, query: str, texts: Sequence[str], more: Mapping[str, Any]) -> dict[str, Any]:
        """The JSON of a request; `more` is sent too, and replaces what is asked otherwise."""
        documents: list[Any] = list(texts)  # JSON knows no tuples
        if self.are_objects:
            documents = [{"text": text} for text in texts]
        body = {self.query: query, self.documents: documents, **self.asked, **more}
        if self.names_model:
            body["model"] = model
        if self.count:
            body[self.count] = len(texts)
        return body

    def own_fields(self) -> set[str]:
        """The fields that are never somebody else's to fill in."""
        return {self.query, self.documents, "model", *filter(None, [self.count])}

    def scores_with(self, more: Mapping[str, Any]) -> str:
        """As `scores`, where `more` is sent too."""
        for name in self.raw:
            if more.get(name, self.asked[name]) != self.asked[name]:
                return "unknown"
        return self.scores


# vLLM cuts at the model's length for -1. Older versions know the switch as `activation`, and each ignores the other's.
_VLLM = {"truncate_prompt_tokens": -1, "use_activation": False, "activation": False}

FORMS = {
    # Of many servers: what one of them calls raw scores most others ignore, and some refuse.
    "documents": Form(tried={"raw_scores": True, **_VLLM}),
    "texts": Form(
        documents="texts",
        names_model=False,
        asked={"raw_scores": True, "truncate": True},
        raw=("raw_scores",),
        most=32,  # its --max-client-batch-size where nobody sets it
        results="",
        score="score",
        scores="raw",
    ),
    "vllm": Form(asked=_VLLM, raw=("use_activation", "activation"), scores="raw"),
    "vllm-score": Form(
        path="/score",
        query="text_1",
        documents="text_2",
        asked=_VLLM,
        raw=("use_activation", "activation"),
        results="data",
        score="score",
        scores="raw",
    ),
    "infinity": Form(asked={"raw_scores": True, "return_documents": False}, raw=("raw_scores",), scores="raw"),
    "llama.cpp": Form(scores="raw"),
    "cohere": Form(asked={"max_tokens_per_doc": 4096}, scores="from 0 to 1"),
    "voyage": Form(asked={"truncation": True, "return_documents": False}, results="data", scores="from 0 to 1"),
    "mixedbread": Form(
        path="/reranking",
        documents="input",
        asked={"return_input": False},
        count="top_k",  # 10 where it is not said
        results="data",
        score="score",
    ),
    "pinecone": Form(
        are_objects=True,
        asked={"rank_fields": ["text"], "return_documents": False, "parameters": {"truncate": "END"}},
        count="top_n",
        most=100,
        results="data",
        score="score",
        scores="from 0 to 1",
        key_header="api-key",
        headers={"x-pinecone-api-version": "2025-04"},
    ),
}
