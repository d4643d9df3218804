"""Evaluation results as the Hub shows them: `.eval_results/*.yaml` of a model, and `eval.yaml` of a benchmark dataset.

Both formats: huggingface/hub-docs, docs/hub/eval-results.md.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import yaml  # type: ignore[import-untyped]

from exabench.core.errors import BadInput

EVAL = "eval.yaml"
FOLDER = ".eval_results"


@dataclass(frozen=True)
class BenchmarkTask:
    """A leaderboard of a benchmark dataset: its id, and the config and split that it is measured on."""

    id: str
    config: str
    split: str


@dataclass(frozen=True)
class EvalEntry:
    """A value of a model on a task of a benchmark dataset, at a commit of it, and where the value comes from."""

    dataset: str
    task: str
    value: float
    revision: str = ""
    date: str = ""
    url: str = ""
    name: str = ""
    notes: str = ""


def benchmark_yaml(name: str, description: str, framework: str, tasks: Iterable[BenchmarkTask]) -> str:
    """The eval.yaml of a benchmark dataset; `framework` is one of those that the Hub knows, or will."""
    values = {
        "name": name,
        "description": description,
        "evaluation_framework": framework,
        "tasks": [vars(task) for task in tasks],
    }
    return _dump(values)


def results_yaml(entries: Iterable[EvalEntry]) -> str:
    """The text of a file in `.eval_results`."""
    from huggingface_hub import EvalResultEntry, eval_result_entries_to_yaml

    listed = []
    for entry in entries:
        listed.append(
            EvalResultEntry(
                dataset_id=entry.dataset,
                task_id=entry.task,
                value=entry.value,
                dataset_revision=entry.revision or None,
                date=entry.date or None,
                source_url=entry.url or None,
                source_name=entry.name or None,
                notes=entry.notes or None,
            )
        )
    return _dump(eval_result_entries_to_yaml(listed))


def read_results(text: str, where: str) -> list[EvalEntry]:
    """The entries of a file in `.eval_results`. Raises BadInput for one that the Hub would not read."""
    from huggingface_hub import parse_eval_result_entries

    try:
        entries = []
        for found in parse_eval_result_entries(yaml.safe_load(text) or []):
            entries.append(
                EvalEntry(
                    dataset=str(found.dataset_id),
                    task=str(found.task_id),
                    value=float(found.value),
                    revision=found.dataset_revision or "",
                    date=str(found.date or ""),
                    url=found.source_url or "",
                    name=found.source_name or "",
                    notes=found.notes or "",
                )
            )
    except (yaml.YAMLError, KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise BadInput(
            f"{where}: is not a file of evaluation results ({' '.join(str(error).split())[:120]})"
        ) from error
    return entries


def _dump(values: object) -> str:
    text = yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=float("inf"))
    return str(text)
