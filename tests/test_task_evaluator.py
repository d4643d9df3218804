"""TaskEvaluator: a model in a trainer of sentence-transformers has the value that exabench measures of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from datasets import Dataset
from models import MINILM, classifier_folder, late_folder, minilm_folder
from sentence_transformers import CrossEncoder, MultiVectorEncoder, SentenceTransformer
from sentence_transformers.cross_encoder import CrossEncoderTrainer, CrossEncoderTrainingArguments

import exabench
from exabench.core.errors import BadInput
from exabench.measure.metric_values import mean, measure
from exabench.measure.runs import run_of
from exabench.parts.assembly import retriever
from exabench.tasks.catalogue import single_task
from exabench.tasks.collections import open_collection

TOLD = {"split": "train", "depth": 5, "queries": 4}


def expected(part: str, model: str, metric: str) -> float:
    """The metric of a reranker over BM25's best 5 for the first 4 queries of mini's split train."""
    task = single_task("mini")
    collection = open_collection(task, None)
    judged = collection.qrels("train")
    queries = sorted((query for query in collection.queries() if query.id in judged), key=lambda query: query.id)[:4]
    passages = {passage.id: passage for passage in collection.passages()}
    run = retriever("bm25", list(passages.values())).search(queries, 5)
    scorer = exabench.reranker(part, model=model)
    scores = {}
    for query in queries:
        ids = run.ranking(query.id)
        scores[query.id] = dict(zip(ids, scorer.score(query, [passages[id] for id in ids]), strict=True))
    qrels = {query.id: judged[query.id] for query in queries}
    _, values = measure(qrels, run_of("x", scores), [metric])
    return mean(values[metric].tolist())


def test_a_bi_encoder_has_the_value_that_exabench_measures() -> None:
    evaluator = exabench.TaskEvaluator("mini", metrics=["nDCG@5", "RR@10"], **TOLD)
    assert evaluator.primary_metric == "mini-train_nDCG@5"
    found = evaluator(SentenceTransformer(str(minilm_folder()), device="cpu"))
    assert found.keys() == {"mini-train_nDCG@5", "mini-train_RR@10"}
    assert found["mini-train_nDCG@5"] == pytest.approx(expected("bi_encoder", MINILM, "nDCG@5"))
    assert found["mini-train_RR@10"] == pytest.approx(expected("bi_encoder", MINILM, "RR@10"))


def test_a_late_interaction_model_too(tmp_path: Path) -> None:
    folder = str(late_folder(tmp_path / "late"))
    found = exabench.TaskEvaluator("mini", **TOLD)(MultiVectorEncoder(folder, device="cpu"))
    assert found == {"mini-train_nDCG@10": pytest.approx(expected("late_interaction", folder, "nDCG@10"))}


@pytest.mark.parametrize("labels", [1, 2])
def test_a_cross_encoder_of_one_label_or_two_too(tmp_path: Path, labels: int) -> None:
    folder = str(classifier_folder(tmp_path / "model", labels=labels))
    found = exabench.TaskEvaluator("mini", **TOLD)(CrossEncoder(folder, device="cpu"))
    assert found == {"mini-train_nDCG@10": pytest.approx(expected("cross_encoder", folder, "nDCG@10"))}


def test_a_trainer_calls_it_logs_its_metrics_and_keeps_the_best_by_it(tmp_path: Path) -> None:
    evaluator = exabench.TaskEvaluator("mini", **TOLD)
    rows = {"query": ["sky", "sea"] * 4, "passage": ["The sky is blue.", "A wave."] * 4, "label": [1.0, 0.0] * 4}
    told = CrossEncoderTrainingArguments(
        output_dir=str(tmp_path / "run"),
        max_steps=2,
        per_device_train_batch_size=2,
        eval_strategy="steps",
        eval_steps=1,
        save_strategy="steps",
        save_steps=1,
        load_best_model_at_end=True,
        metric_for_best_model=evaluator.primary_metric,
        report_to="none",
        use_cpu=True,
        disable_tqdm=True,
    )
    model = CrossEncoder(str(classifier_folder(tmp_path / "model")), device="cpu")
    trainer = CrossEncoderTrainer(model=model, args=told, train_dataset=Dataset.from_dict(rows), evaluator=evaluator)
    trainer.train()
    values = [
        line["eval_mini-train_nDCG@10"] for line in trainer.state.log_history if "eval_mini-train_nDCG@10" in line
    ]
    assert len(values) == 2 and trainer.state.best_metric == max(values)
    assert evaluator(model)["mini-train_nDCG@10"] == pytest.approx(max(values))


def test_it_never_reads_what_boards_test_on_and_leaves_out_what_is_fitted(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="is what boards test on; use another one for dev"):
        exabench.TaskEvaluator("mini", split=single_task("mini").split)
    texts = [query.text for query in open_collection(single_task("mini"), None).queries()]
    with pytest.raises(BadInput, match="has only queries that are trained on"):
        exabench.TaskEvaluator("mini", fitted=texts, **TOLD)
    three = classifier_folder(tmp_path / "three", labels=3)
    with pytest.raises(BadInput, match="the model has 3 labels; a reranker has one or two"):
        exabench.TaskEvaluator("mini", **TOLD)(CrossEncoder(str(three), device="cpu"))
