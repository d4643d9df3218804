"""exabench: datasets, training and an honest leaderboard for neural rerankers.

    import exabench

    exabench.score("my-run.trec", task="scifact", data="collections")["nDCG@10"]
    exabench.evaluate("unchanged", "mini")["mini"].interval
    exabench.reranker("monot5", model="castorini/monot5-base-msmarco").score(query, passages)
    exabench.build("mini-explanations", "work").tables["explanations"].counts
    exabench.train("mini-minilm", "work").folder
    exabench.study("mini-losses", "study").rows
    exabench.load("work/release", "explanations").release.version
    exabench.render(exabench.Board.read("leaderboard"), "leaderboard/site")

Every name below is imported at first use, so that `import exabench` itself costs nothing.
"""

from __future__ import annotations

import functools
import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from exabench.bench.candidates import make_candidates as make_candidates
    from exabench.bench.comparison import compare as compare, comparison_table as comparison_table
    from exabench.bench.convert import convert as convert
    from exabench.bench.evaluation import run_board as run_board
    from exabench.bench.model_evaluation import evaluate as evaluate
    from exabench.bench.mteb_results import import_mteb as import_mteb
    from exabench.bench.parity import parity as parity
    from exabench.bench.publishing import publish_lists as publish_lists
    from exabench.bench.run_reranking import rerank as rerank
    from exabench.bench.scoring import score as score
    from exabench.bench.speed import speed as speed
    from exabench.bench.submitting import submit as submit
    from exabench.bench.verification import check as check, verify as verify
    from exabench.board.eval_results import push_results as push_results
    from exabench.board.pages import render as render
    from exabench.board.ranking import Board as Board
    from exabench.core.errors import ExabenchError as ExabenchError
    from exabench.core.nouns import (
        Candidates as Candidates,
        Convention as Convention,
        Measurement as Measurement,
        Passage as Passage,
        Query as Query,
        Result as Result,
        Run as Run,
        Submission as Submission,
        Task as Task,
    )
    from exabench.core.rows import Release as Release
    from exabench.data.auditing import audit as audit
    from exabench.data.building import build as build
    from exabench.data.exporting import export as export
    from exabench.data.publishing import publish as publish
    from exabench.data.releases import load as load
    from exabench.demo import run_demo as run_demo
    from exabench.measure.qrels import read_qrels as read_qrels, write_qrels as write_qrels
    from exabench.measure.runs import read_run as read_run, run_of as run_of, write_run as write_run
    from exabench.parts.assembly import reranker as reranker, retriever as retriever, teacher as teacher
    from exabench.studies import study as study
    from exabench.training import train as train
    from exabench.training.publishing import publish_model as publish_model
    from exabench.training.task_evaluator import TaskEvaluator as TaskEvaluator


@functools.cache
def _modules() -> dict[str, str]:
    """The module of each public name, read from the TYPE_CHECKING imports above."""
    import ast

    modules = {}
    for node in ast.walk(ast.parse(Path(__file__).read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("exabench."):
            for alias in node.names:
                if alias.asname:  # as public names are imported
                    modules[alias.name] = str(node.module)
    return modules


def __getattr__(name: str) -> Any:
    if name not in _modules():
        raise AttributeError(f"module 'exabench' has no attribute {name!r}")
    try:
        module = importlib.import_module(_modules()[name])
    except ModuleNotFoundError as error:
        from exabench.core.packages import missing_package

        missing = missing_package(error)
        if missing is None:
            raise
        raise missing from error
    return getattr(module, name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_modules()])
