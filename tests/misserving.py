"""Servers of real models that do what servers get wrong, on purpose: over HTTP, in the forms of rerank_servers.

`Plain` is a peer of exabench: transformers alone, one pair at a time unless it is told to pad a list without a mask.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch
import transformers
from endpoint import Endpoint
from rerank_servers import answering, best_first, sigmoid

import exabench
from exabench.core.nouns import Passage, Query

Scorer = Callable[[str, Sequence[str]], list[float]]
"""A query and texts to the model's scores, before any squashing."""


def reference(model: str | Path, **options: Any) -> Scorer:
    """exabench's own reading of a model, with options that are not the model's where a fault wants them."""
    made: Any = exabench.reranker("auto", model=str(model), **options)

    def score(query: str, texts: Sequence[str]) -> list[float]:
        return list(made.score(Query("q", query), [Passage(str(place), text) for place, text in enumerate(texts)]))

    return score


class Plain:
    """A model as a server without exabench computes it: `prompt` makes the text, or pair, that its tokenizer reads."""

    def __init__(self, folder: str | Path, kind: str, prompt: Callable[[str, str], Any], **told: Any) -> None:
        auto = {
            "classifier": transformers.AutoModelForSequenceClassification,
            "decoder": transformers.AutoModelForCausalLM,
            "seq2seq": transformers.AutoModelForSeq2SeqLM,
        }[kind]
        self._model = auto.from_pretrained(folder, dtype=told.get("dtype", torch.float32)).eval()
        self._tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        self._kind = kind
        self._prompt = prompt
        self._rows = told.get("rows", (0,))
        self._most = told.get("most", 512)
        self._masks = told.get("masks", True)

    def __call__(self, query: str, texts: Sequence[str]) -> list[float]:
        """The first row's logit, less the second one's where there are two."""
        prompts = [self._prompt(query, text) for text in texts]
        if self._masks:
            return [self._scores([prompt])[0] for prompt in prompts]
        return self._scores(prompts)

    def _scores(self, prompts: Sequence[Any]) -> list[float]:
        told = {"truncation": True, "max_length": self._most, "padding": True, "return_tensors": "pt"}
        if isinstance(prompts[0], tuple):
            inputs = self._tokenizer([one for one, _ in prompts], [other for _, other in prompts], **told)
        else:
            inputs = self._tokenizer(list(prompts), **told)
        if not self._masks:
            inputs["attention_mask"] = torch.ones_like(inputs["attention_mask"])
        if self._kind != "classifier" or (getattr(self._model.config, "type_vocab_size", 0) or 0) < 2:
            inputs.pop("token_type_ids", None)
        if self._kind == "seq2seq":
            inputs["decoder_input_ids"] = torch.zeros((len(prompts), 1), dtype=torch.long)
        with torch.inference_mode():
            logits = self._model(**inputs).logits.float()
        if self._kind != "classifier":
            logits = logits[:, -1]
        scores = logits[:, self._rows[0]]
        if len(self._rows) == 2:
            scores = scores - logits[:, self._rows[1]]
        return [float(score) for score in scores]


def swapped(score: Scorer) -> Scorer:
    """A server that takes each passage for the query."""
    return lambda query, texts: [score(text, [query])[0] for text in texts]


def squashed(score: Scorer, *curves: Callable[[float], float]) -> Scorer:
    """Scores through one curve after the other, in single precision as servers have them."""

    def squash(query: str, texts: Sequence[str]) -> list[float]:
        scores = torch.tensor(score(query, texts))
        for curve in curves:
            scores = torch.tensor([curve(float(value)) for value in scores])
        return [float(value) for value in scores]

    return squash


def one_at_a_time(score: Scorer) -> Scorer:
    """A server that makes no batches."""
    return lambda query, texts: [score(query, [text])[0] for text in texts]


def documents(score: Scorer) -> AbstractContextManager[Endpoint]:
    """A server as Jina's and many others: whatever it is asked for besides, it serves these scores."""

    def answer(body: Any, headers: Any) -> Any:
        return {"results": best_first(score(body["query"], body["documents"]), "relevance_score")}

    return answering("/v1/rerank", answer)


def tei(score: Scorer) -> AbstractContextManager[Endpoint]:
    """A server as text-embeddings-inference, squashed unless raw scores are asked for."""

    def answer(body: Any, headers: Any) -> Any:
        scores = score(body["query"], body["texts"])
        if not body.get("raw_scores"):
            scores = [sigmoid(value) for value in scores]
        return best_first(scores, "score")

    return answering("/v1/rerank", answer)


def vllm(score: Scorer) -> AbstractContextManager[Endpoint]:
    """A server as vLLM's /score, squashed unless it is asked not to."""

    def answer(body: Any, headers: Any) -> Any:
        scores = score(body["text_1"], body["text_2"])
        if body.get("use_activation", True):
            scores = [1 / (1 + math.exp(-value)) for value in scores]
        return {"data": best_first(scores, "score")}

    return answering("/v1/score", answer)
