"""Late interaction (ColBERT) as a reranker: a vector for each token, and MaxSim between those of query and passage."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from exabench.core.nouns import Progress, silent
from exabench.hub.client import model_folder
from exabench.models.batch_store import BatchStore
from exabench.models.devices import devices_of
from exabench.models.heads import UNKNOWN, read_shape
from exabench.models.multi_vector_encoder import TokenVectors
from exabench.models.multi_vector_learner import MultiVectorLearner, multi_vector_learner
from exabench.parts.rerankers._encoded_apart import EncodedApart

TYPE = "late interaction"
LEARNS = "texts"
WINDOW = 1_024  # pairs whose texts are encoded together: a passage has some hundred vectors


class LateInteraction(EncodedApart):
    """A score is the sum, over the vectors of a query, of the largest product with a vector of the passage.

    Modules, prompts, similarity (MaxSim, or its mean over the query) and lengths are the folder's own unless they are
    given. `query_length`: tokens of a query at most, and the width to which queries are filled up with mask tokens if
    the folder fills them up; 0: the folder's. `max_length`: tokens of a passage at most; 0: the folder's. A text too
    long loses its end. `scores` is the folder in which `score_many` keeps the vectors of passages, so that a stopped
    run resumes: some 100 kB for each.
    """

    head = "late_interaction"

    def __init__(
        self,
        model: str,
        *,
        query_prompt: str | None = None,
        passage_prompt: str | None = None,
        query_length: int = 0,
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
        encoder = TokenVectors(
            folder,
            self._devices,
            query_prompt=query_prompt,
            passage_prompt=passage_prompt,
            query_length=query_length,
            max_length=max_length,
            precision=precision,
            batch_tokens=batch_tokens,
        )
        encoded_by = {
            "vectors of": "tokens of passages",
            "revision": folder.revision,
            "prompt": encoder.prompts["passage"],
            "precision": precision,
        }
        super().__init__(encoder, shape, fields, BatchStore(scores, encoded_by), WINDOW, progress)
        self._vectors = encoder
        self.precision = precision
        self.parameters = encoder.parameters
        self.identity = {
            "reranker": "late_interaction",
            "model": folder.name,
            "revision": folder.revision,
            "template": f"{encoder.prompts['query']}{{query}} | {encoder.prompts['passage']}{{passage}}",
            "strategy": encoder.similarity,
            "precision": precision,
            "max_length": encoder.limits["passage"],
            "query_length": encoder.limits["query"],
            "fields": list(fields),
        }

    def learner(self) -> MultiVectorLearner:
        """Its model, to be fitted: what it learns are the scores that this reranker ranks by.

        Raises BadInput for a folder with other modules than a transformer, matrices, a mask and a normalisation.
        """
        return multi_vector_learner(self._vectors, self._shape, self.precision, self._devices, self._fields)
