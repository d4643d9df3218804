"""exabench: datasets, training and an honest leaderboard for neural rerankers.

    import exabench

    exabench.score("my-run.trec", task="scifact", data="collections")["nDCG@10"]
    exabench.evaluate("unchanged", ["mini"])["mini"].interval
    exabench.reranker("monot5", model="castorini/monot5-base-msmarco").score(query, passages)
    exabench.build("mini-explanations", "work").tables["explanations"].counts
    exabench.train("mini-minilm", "work").folder
    exabench.load("work/release", "explanations").release.version
    exabench.render(exabench.Board.read("leaderboard"), "leaderboard/site")

Every name below is imported at first use, so that `import exabench` itself costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from exabench.bench.candidates import make_candidates as make_candidates
    from exabench.bench.comparison import compare as compare
    from exabench.bench.comparison import comparison_table as comparison_table
    from exabench.bench.evaluation import evaluate as evaluate
    from exabench.bench.evaluation import run_board as run_board
    from exabench.bench.evaluation import score as score
    from exabench.bench.submitting import submit as submit
    from exabench.bench.verification import check as check
    from exabench.bench.verification import verify as verify
    from exabench.board.pages import render as render
    from exabench.board.ranking import Board as Board
    from exabench.core.errors import ExabenchError as ExabenchError
    from exabench.core.nouns import Candidates as Candidates
    from exabench.core.nouns import Convention as Convention
    from exabench.core.nouns import Measurement as Measurement
    from exabench.core.nouns import Passage as Passage
    from exabench.core.nouns import Query as Query
    from exabench.core.nouns import Result as Result
    from exabench.core.nouns import Run as Run
    from exabench.core.nouns import Submission as Submission
    from exabench.core.nouns import Task as Task
    from exabench.core.rows import Release as Release
    from exabench.data.auditing import audit as audit
    from exabench.data.building import build as build
    from exabench.data.publishing import publish as publish
    from exabench.data.releases import load as load
    from exabench.demo import run_demo as run_demo
    from exabench.measure.qrels import read_qrels as read_qrels
    from exabench.measure.qrels import write_qrels as write_qrels
    from exabench.measure.runs import read_run as read_run
    from exabench.measure.runs import run_of as run_of
    from exabench.measure.runs import write_run as write_run
    from exabench.parts.assembly import reranker as reranker
    from exabench.parts.assembly import retriever as retriever
    from exabench.parts.assembly import teacher as teacher
    from exabench.training import train as train
    from exabench.training.publishing import publish_model as publish_model

_HOME = {
    "bench.candidates": ["make_candidates"],
    "bench.comparison": ["compare", "comparison_table"],
    "bench.evaluation": ["evaluate", "run_board", "score"],
    "bench.submitting": ["submit"],
    "bench.verification": ["check", "verify"],
    "board.pages": ["render"],
    "board.ranking": ["Board"],
    "core.errors": ["ExabenchError"],
    "core.nouns": [
        "Candidates",
        "Convention",
        "Measurement",
        "Passage",
        "Query",
        "Result",
        "Run",
        "Submission",
        "Task",
    ],
    "core.rows": ["Release"],
    "data.auditing": ["audit"],
    "data.building": ["build"],
    "data.publishing": ["publish"],
    "data.releases": ["load"],
    "demo": ["run_demo"],
    "measure.qrels": ["read_qrels", "write_qrels"],
    "measure.runs": ["read_run", "run_of", "write_run"],
    "parts.assembly": ["reranker", "retriever", "teacher"],
    "training": ["train"],
    "training.publishing": ["publish_model"],
}
_NAMES = {name: module for module, names in _HOME.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _NAMES:
        raise AttributeError(f"module 'exabench' has no attribute {name!r}")
    return getattr(importlib.import_module(f"exabench.{_NAMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_NAMES])
