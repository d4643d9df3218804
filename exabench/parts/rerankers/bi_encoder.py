"""Dual encoders as rerankers: query and passage are encoded separately and compared, as in the retriever `dense`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from exabench.core.errors import BadInput
from exabench.core.nouns import Progress, silent
from exabench.hub.client import model_folder
from exabench.models.batch_store import BatchStore
from exabench.models.devices import devices_of
from exabench.models.dual_encoder import DualEncoder
from exabench.models.heads import POOLINGS, UNKNOWN, DualHead, Loaded, pad_of, read_shape
from exabench.models.learner import DualLearner
from exabench.models.templates import DualTemplate
from exabench.parts.rerankers._encoded_apart import EncodedApart

TYPE = "bi-encoder"
LEARNS = "texts"
WINDOW = 8_192  # pairs whose texts are encoded together


class BiEncoder(EncodedApart):
    """A score is the similarity of two vectors; each distinct text of a list is encoded once.

    Modules, prompts, `similarity` ("cosine", "dot", "euclidean", "manhattan") and `max_length` are the folder's own
    unless they are given, `pooling` too; `query_prompt` and `passage_prompt` stand before the texts. A text too long
    loses its end. `scores` is the folder in which `score_many` keeps the vectors of passages, so that a stopped run
    resumes.
    """

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
        folder = model_folder(model, revision, lock)
        shape = read_shape(folder, ("encoder", "decoder", UNKNOWN), "a BERT")
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
        encoded_by = {
            "vectors of": "passages",
            "revision": folder.revision,
            "prompt": encoder.prompts["passage"],
            "pooling": encoder.pooling,
            "precision": precision,
            "unit": encoder.unit,
        }
        super().__init__(encoder, shape, fields, BatchStore(scores, encoded_by), WINDOW, progress)
        self._dual = encoder
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

    def learner(self) -> DualLearner:
        """Its model, to be fitted: the products that it learns are those that this reranker ranks by.

        Raises BadInput for a folder with more modules than a transformer, one pooling and a normalisation, and for a
        similarity that is not a product.
        """
        encoder = self._dual
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
