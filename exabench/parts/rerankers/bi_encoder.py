"""Dual encoders as rerankers: query and passage are encoded separately and compared, as in the retriever `dense`."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path

import numpy as np

from exabench.core.errors import BadInput
from exabench.core.nouns import Passage, Progress, Query, silent
from exabench.hub.client import model_folder
from exabench.models.costs import usage_of
from exabench.models.devices import devices_of
from exabench.models.dual_encoder import DualEncoder, TextVectors, similarity_of_pairs
from exabench.models.heads import POOLINGS, UNKNOWN, DualHead, Loaded, pad_of, read_shape
from exabench.models.learner import DualLearner
from exabench.models.templates import DualTemplate
from exabench.models.vector_store import VectorStore
from exabench.parts.rerankers import Job, Outcome

TYPE = "bi-encoder"
WINDOW = 8_192  # pairs whose texts are encoded together


class BiEncoder:
    """A score is the similarity of two vectors; each distinct text is encoded once, whatever pairs it is part of.

    Modules, prompts, `similarity` ("cosine", "dot", "euclidean", "manhattan") and `max_length` are the folder's own
    unless they are given, `pooling` too; `query_prompt` and `passage_prompt` stand before the texts. A text too long
    loses its end. The usage of a query counts all its texts, encoded before or not: what a query costs must not
    depend on which came first. `scores` is the folder in which `score_many` keeps the vectors of passages, so that a
    stopped run resumes.
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
        scores: str | Path | None = None,
        fields: Sequence[str] = ("title", "text"),
        max_length: int = 0,
        batch_tokens: int = 0,
        devices: Sequence[str] = (),
        progress: Progress = silent,
    ) -> None:
        self._progress = progress
        folder = model_folder(model, revision, lock)
        self._fields = tuple(fields)
        self._shape = read_shape(folder, ("encoder", "decoder", UNKNOWN), "a BERT")
        self._devices = devices_of(devices, precision)
        encoder = DualEncoder(
            folder,
            self._devices,
            pooling=pooling,
            similarity=similarity,
            query_prompt=query_prompt,
            passage_prompt=passage_prompt,
            max_length=max_length,
            precision=precision,
            batch_tokens=batch_tokens,
        )
        self._encoder = encoder
        encoded_by = {
            "vectors of": "passages",
            "revision": folder.revision,
            "prompt": encoder.prompts["passage"],
            "pooling": encoder.pooling,
            "precision": precision,
            "unit": encoder.unit,
        }
        self._store = VectorStore(scores, encoded_by)
        self._vectors = (TextVectors(encoder, "query"), TextVectors(encoder, "passage", self._store))
        self._pairs = 0
        self._seconds = 0.0
        self.precision = precision
        self.parameters = encoder.parameters
        self.identity = {
            "reranker": "bi_encoder",
            "model": folder.name,
            "revision": folder.revision,
            "template": f"{encoder.prompts['query']}{{query}} | {encoder.prompts['passage']}{{passage}}",
            "strategy": encoder.similarity,
            "precision": precision,
            "max_length": encoder.max_length,
            "fields": list(self._fields),
        }
        if pooling:  # the folder's own is part of its revision
            self.identity["pooling"] = pooling

    def score(self, query: Query, passages: Sequence[Passage]) -> list[float]:
        """One score for each passage, in the order given, with nothing remembered from before."""
        queries = TextVectors(self._encoder, "query")
        texts = TextVectors(self._encoder, "passage")
        [(scores, _)] = self._score_jobs([(query, passages)], queries, texts)
        return scores

    def score_many(self, jobs: Iterable[Job]) -> Iterator[Outcome]:
        """Scores and usage of each job, in order; jobs are read as they are needed, some thousand pairs ahead."""
        source = iter(jobs)
        while True:
            window = []
            pairs = 0
            for query, passages in source:
                window.append((query, passages))
                pairs += len(passages)
                if pairs >= WINDOW:
                    break
            if not window:
                return
            # The clock stands still while a window waits to be taken.
            started = time.perf_counter()
            found = self._store.found
            scored = self._score_jobs(window, *self._vectors, self._progress)
            if self._store.found == found:  # what was encoded by an earlier process says nothing of the speed
                self._pairs += pairs
                self._seconds += time.perf_counter() - started
            yield from scored

    def learner(self) -> DualLearner:
        """Its model, to be fitted: the products that it learns are those that this reranker ranks by.

        Raises BadInput for a folder with more modules than a transformer, one pooling and a normalisation, and for a
        similarity that is not a product.
        """
        encoder = self._encoder
        transformer, pooling, *others = encoder.modules
        kinds = {type(module).__name__ for module in others}
        file = encoder.folder.path / "modules.json"
        if kinds - {"Normalize"} or getattr(pooling, "pooling_mode", None) not in POOLINGS:
            parts = f"Transformer, one Pooling ({', '.join(POOLINGS)}) and Normalize"
            raise BadInput(f"only models of {parts} can be trained", file=file)
        if encoder.similarity not in ("cosine", "dot"):
            raise BadInput(f"only cosine and dot products can be trained, not {encoder.similarity}", file=file)
        model = transformer.model
        model.pooler = None  # where there is one, it has no part in any vector
        limit = encoder.max_length
        is_normal = encoder.unit or bool(kinds)
        pad = pad_of(encoder.tokenizer, model)
        head = DualHead(model, limit, pad, pooling=pooling.pooling_mode, normal=is_normal)
        about = (self._shape, self.parameters, self.precision, self._devices)
        loaded = Loaded(encoder.folder, encoder.tokenizer, head, *about)
        sides = DualTemplate(encoder.prompts, encoder.tokenizer)
        return DualLearner(loaded, sides, None, (), max_length=limit, fields=self._fields)

    @property
    def pairs_per_second(self) -> float | None:
        """How fast `score_many` was, encoding included; None where it encoded nothing itself."""
        if not self._pairs:
            return None
        return self._pairs / self._seconds

    def _score_jobs(
        self, jobs: Sequence[Job], queries: TextVectors, passages: TextVectors, progress: Progress = silent
    ) -> list[Outcome]:
        queries.add(query.text for query, _ in jobs)
        texts_of_jobs = []
        count = 0
        for _, some in jobs:
            texts_of_jobs.append([passage.flat(self._fields) for passage in some])
            count += len(some)

        # Texts are encoded and pairs are reported: nearly all of the work is encoding, and other rerankers count pairs.
        def report(done: int, total: int, what: str) -> None:
            progress(count * done // total, count, "pairs scored")

        passages.add(chain.from_iterable(texts_of_jobs), report)  # the texts of all jobs are batched together
        scored = []
        for (query, _), texts in zip(jobs, texts_of_jobs, strict=True):
            scores = []
            if texts:
                # Rounded once, after the sum in double precision, as in the first stage.
                one = queries.vectors([query.text]).repeat(len(texts), 0)
                pairs = similarity_of_pairs(self._encoder.similarity, one, passages.vectors(texts))
                scores = pairs.astype(np.float32).tolist()
            [read_query] = queries.inputs([query.text])
            tokens = [read_query.tokens]
            cut_passages = 0
            for read in passages.inputs(texts):
                tokens.append(read.tokens)
                cut_passages += read.cut
            counts = {"passages": len(texts), "cut_passages": cut_passages, "cut_queries": int(read_query.cut)}
            written = [0] * len(tokens)
            scored.append((scores, usage_of(self._shape, tokens, written, rows=0, **counts)))
        return scored
