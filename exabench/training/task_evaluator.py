"""An evaluator for sentence-transformers' own trainers: a task, its metrics and a first stage's candidates.

https://sbert.net/docs/sentence_transformer/training_overview.html#evaluator says how a trainer calls it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sentence_transformers.base.evaluation import BaseEvaluator

from exabench.core.errors import BadInput
from exabench.measure.metric_values import MetricName, mean, measure
from exabench.measure.runs import run_of
from exabench.training.evaluation import dev_lists
from exabench.training.recipe import DevPlan


class TaskEvaluator(BaseEvaluator):  # type: ignore[misc]  # sentence-transformers is not typed for mypy here
    """Rerank a first stage's candidates with the model as it stands, and measure.

    It goes into the argument `evaluator` of CrossEncoderTrainer, SentenceTransformerTrainer, SparseEncoderTrainer or
    MultiVectorEncoderTrainer. The best `depth` passages of `retriever` for at most `queries` queries of the task's
    `split` are reranked, which must not be the split that boards test on; queries whose text is among `fitted` are left
    out. `metrics`, the first of which decides, default to the task's headline; a metric of the trainer's log is called
    `<task>-<split>_<metric>`. `data` is the folder of test collections. Raises BadInput, UnknownName, OutsideFailed.
    """

    def __init__(
        self,
        task: str,
        *,
        split: str = "dev",
        retriever: str = "bm25",
        depth: int = 100,
        queries: int = 200,
        metrics: Sequence[str] = (),
        fitted: Iterable[str] = (),
        data: str | Path | None = None,
        batch_size: int = 32,
    ) -> None:
        super().__init__()
        dev = DevPlan(task=task, split=split, retriever=retriever, depth=depth, queries=queries)
        texts = {text.strip() for text in fitted}  # compared as those of the collection
        self._lists = dev_lists(dev, texts, Path(data) if data else None)
        held = self._lists.queries
        self._metrics = [str(MetricName.parse(metric)) for metric in metrics or [held.task.headline]]
        self._batch_size = batch_size
        self._settings = {"task": held.task.name, "split": split, "retriever": retriever, "depth": depth}
        self.name = f"{held.task.name}-{split}"
        self.primary_metric = f"{self.name}_{self._metrics[0]}"

    def __call__(
        self, model: Any, output_path: str | None = None, epoch: int = -1, steps: int = -1
    ) -> dict[str, float]:
        """The mean of each metric over the queries, by its name in the trainer's log.

        `model` is a CrossEncoder of one or two labels, or a model that encodes texts apart. Nothing is written to
        `output_path`. Raises BadInput for a model with more labels.
        """
        held = self._lists.queries
        fields = held.task.convention.text_fields
        scores = {}
        # One query at a time: of a late-interaction model the vectors of all lists would fill the memory.
        for query_id in self._lists.run.query_ids:
            ids = self._lists.run.ranking(query_id)
            texts = [self._lists.passages[id].flat(fields) for id in ids]
            of_query = self._scores(model, held.queries[query_id].text, texts)
            scores[query_id] = dict(zip(ids, of_query.tolist(), strict=True))
        threshold = held.task.convention.relevance_threshold
        _, values = measure(held.qrels, run_of(self.name, scores), self._metrics, threshold=threshold)
        found = {}
        for metric in self._metrics:
            found[f"{self.name}_{metric}"] = mean(values[metric].tolist())
        self.store_metrics_in_model_card_data(model, found, epoch, steps)
        return found

    @property
    def description(self) -> str:
        """What the model card of sentence-transformers calls it."""
        return f"Reranking of {self.name}"

    def get_config_dict(self) -> dict[str, Any]:
        """The settings that the model card of sentence-transformers shows."""
        return self._settings

    def _scores(self, model: Any, query: str, texts: Sequence[str]) -> np.ndarray:
        told = {"batch_size": self._batch_size, "show_progress_bar": False}
        if hasattr(model, "predict"):
            # Logits: a sigmoid makes ties of high scores.
            pairs = [(query, text) for text in texts]
            logits = model.predict(pairs, activation_fn=torch.nn.Identity(), convert_to_numpy=True, **told)
            logits = np.asarray(logits, np.float32).reshape(len(texts), -1)
            if logits.shape[1] > 2:
                raise BadInput(f"the model has {logits.shape[1]} labels; a reranker has one or two")
            if logits.shape[1] == 2:
                return np.subtract(logits[:, 1], logits[:, 0])
            return logits[:, 0]
        of_query = model.encode_query([query], **told)
        similar = model.similarity(of_query, model.encode_document(list(texts), **told))
        return torch.as_tensor(similar).float().cpu().numpy()[0]
