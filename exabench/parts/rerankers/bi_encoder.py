"""Dual encoders as rerankers: query and passage encoded apart and compared, as the retriever `dense` ranks them."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from exabench.core.errors import BadInput
from exabench.core.nouns import Passage, Query, Usage
from exabench.hub.client import model_folder
from exabench.models.dual_encoder import DualEncoder, EncodedText, TextVectors, similarity_of_pairs
from exabench.models.flops import exact, paper
from exabench.models.heads import POOLINGS, Compared, Loaded, pad_of, read_shape
from exabench.models.learner import Learner
from exabench.models.loading import INT8, device_of
from exabench.models.strategies import STRATEGIES
from exabench.models.templates import Sides

WINDOW = 8_192  # pairs whose texts are encoded together
Job = tuple[Query, Sequence[Passage]]


class BiEncoder:
    """A score is the similarity of two vectors; each distinct text is encoded once, whatever pairs it is part of.

    Modules, prompts, `similarity` ("cosine", "dot", "euclidean", "manhattan") and `max_length` are the folder's own
    unless they are given, `pooling` too; `query_prompt` and `passage_prompt` stand before the texts. A text too long
    loses its end. The usage of a query counts all its texts, encoded before or not: what a query costs must not
    depend on which came first.
    """

    reads = "texts"
    head = "bi_encoder"

    def __init__(
        self,
        model: str,
        *,
        similarity: str = "",
        query_prompt: str | None = None,
        passage_prompt: str | None = None,
        pooling: str = "",
        revision: str = "",
        precision: str = "float32",
        lock: str | Path | None = None,
        fields: Sequence[str] = ("title", "text"),
        max_length: int = 0,
        batch_tokens: int = 0,
        devices: Sequence[str] = (),
    ) -> None:
        folder = model_folder(model, revision, lock)
        self._shape = read_shape(folder, ("encoder", "decoder"), "a BERT")
        default = "cpu" if precision == INT8 else ""
        self._device = device_of(devices[0] if devices else default)
        self._encoder = DualEncoder(
            folder,
            self._device,
            pooling=pooling,
            similarity=similarity,
            query_prompt=query_prompt,
            passage_prompt=passage_prompt,
            max_length=max_length,
            precision=precision,
            batch_tokens=batch_tokens,
        )
        self._queries = TextVectors(self._encoder, "query")
        self._passages = TextVectors(self._encoder, "passage")
        self._fields = tuple(fields)
        self.precision = precision
        self.parameters = self._encoder.parameters
        self._pairs = 0
        self._seconds = 0.0
        prompts = self._encoder.prompts
        self.identity: dict[str, Any] = {
            "reranker": "bi_encoder",
            "model": folder.name,
            "revision": folder.revision,
            "template": f"{prompts['query']}{{query}} | {prompts['passage']}{{passage}}",
            "strategy": self._encoder.similarity,
            "precision": precision,
            "max_length": self._encoder.max_length,
            "fields": list(self._fields),
        }
        if pooling:
            self.identity["pooling"] = pooling

    def score(self, query: Query, passages: Sequence[Passage]) -> list[float]:
        """One score for each passage, in the order given, with nothing remembered from before."""
        queries = TextVectors(self._encoder, "query")
        [(scores, _)] = self._score_jobs([(query, passages)], queries, TextVectors(self._encoder, "passage"))
        return scores

    def score_many(self, jobs: Iterable[Job]) -> Iterator[tuple[list[float], Usage]]:
        """Scores and usage of each job, in order; jobs are read as they are needed, some thousand pairs ahead."""
        window: list[Job] = []
        pairs = 0
        for query, passages in jobs:
            window.append((query, passages))
            pairs += len(passages)
            if pairs >= WINDOW:
                yield from self._score_window(window)
                window = []
                pairs = 0
        yield from self._score_window(window)

    def learner(self) -> Learner:
        """Its model, to be fitted: the products that it learns are those that this reranker ranks by.

        Raises BadInput for a folder with more modules than a transformer, one pooling and a normalisation, and for a
        similarity that is no product.
        """
        transformer, pooling, *others = self._encoder.modules
        kinds = {type(module).__name__ for module in others}
        file = self._encoder.folder.path / "modules.json"
        if kinds - {"Normalize"} or getattr(pooling, "pooling_mode", None) not in POOLINGS:
            parts = f"Transformer, one Pooling ({', '.join(POOLINGS)}) and Normalize"
            raise BadInput(f"trained are only models of {parts}", file=file)
        if self._encoder.similarity not in ("cosine", "dot"):
            raise BadInput(f"trained are only cosine and dot products, not {self._encoder.similarity}", file=file)
        transformer.model.pooler = None  # where there is one, it has no part in any vector
        head = Compared(
            transformer.model,
            self._encoder.max_length,
            pad_of(self._encoder.tokenizer, transformer.model),
            pooling=pooling.pooling_mode,
            normal=self._encoder.unit or bool(kinds),
        )
        loaded = Loaded(
            self._encoder.folder,
            self._encoder.tokenizer,
            head,
            self._shape,
            self.parameters,
            self.precision,
            (str(self._device),),
        )
        sides = Sides(self._encoder.prompts, self._encoder.tokenizer)
        limit = self._encoder.max_length
        return Learner(loaded, sides, STRATEGIES["logit"](), (0,), max_length=limit, fields=self._fields)

    @property
    def pairs_per_second(self) -> float | None:
        """How fast `score_many` was, encoding included; None before it scored anything."""
        return self._pairs / self._seconds if self._pairs else None

    def _score_window(self, jobs: Sequence[Job]) -> list[tuple[list[float], Usage]]:
        started = time.perf_counter()
        scored = self._score_jobs(jobs, self._queries, self._passages)
        self._pairs += sum(len(passages) for _, passages in jobs)
        self._seconds += time.perf_counter() - started
        return scored

    def _score_jobs(
        self, jobs: Sequence[Job], queries: TextVectors, passages: TextVectors
    ) -> list[tuple[list[float], Usage]]:
        texts = [[passage.flat(self._fields) for passage in some] for _, some in jobs]
        queries.add(query.text for query, _ in jobs)
        passages.add(text for some in texts for text in some)
        scored: list[tuple[list[float], Usage]] = []
        for (query, _), some in zip(jobs, texts, strict=True):
            scores: list[float] = []
            if some:
                one = queries.vectors([query.text])
                pairs = similarity_of_pairs(self._encoder.similarity, one.repeat(len(some), 0), passages.vectors(some))
                scores = pairs.astype(np.float32).tolist()
            scored.append((scores, self._usage(queries.inputs([query.text]), passages.inputs(some))))
        return scored

    def _usage(self, queries: Sequence[EncodedText], passages: Sequence[EncodedText]) -> Usage:
        tokens = np.array([encoded.tokens for encoded in (*queries, *passages)], np.int64)
        return Usage(
            prompts=len(tokens),
            input_tokens=int(tokens.sum()),
            flops_paper=float(np.sum(paper(self._shape, tokens, 0))),
            flops_exact=float(np.sum(exact(self._shape, tokens, 0, rows=0))),
            cut_passages=sum(encoded.cut for encoded in passages),
            cut_queries=sum(encoded.cut for encoded in queries),
        )
