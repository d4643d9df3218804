"""A board of many tasks whose values are drawn at random, for the pages that compare lines.

    python tests/compared.py DIR

fills DIR/board, DIR/many/site, DIR/one/site of a board with one line,
DIR/none/site of a board without any, and DIR/expected.json: what exabench.bench.comparison says of three pairs.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from exabench.bench.comparison import compare_submissions
from exabench.bench.ledger import Ledger, read_result
from exabench.board.pages import render
from exabench.board.ranking import Board
from exabench.core.nouns import FIRST_STAGE, Convention, Result, Submission
from exabench.measure.statistics import paired_test
from exabench.tasks.catalogue import expand, task

TASKS = ["trec-dl-2019", "nfcorpus", "scifact", "fiqa", "trec-covid", "cqadupstack"]
SIZES = {"trec-dl-2019": 43, "nfcorpus": 323, "scifact": 300, "fiqa": 648, "trec-covid": 50}
SKILL = {"acme/strong": 0.09, "acme/close": 0.08, "acme/twin": 0.08, "acme/weak": 0.02, "acme/none": -0.05}
NAMES = ("bm25-100", "splade-100")
HEADLINE = "nDCG@10"
_TEMPLATE = Path(__file__).parents[1] / "leaderboard" / "results" / "exabench--random" / "vaswani.bm25-100.json"


def write_board(folder: Path, tasks: list[str] = TASKS) -> Ledger:
    """The board: five submissions over bm25-100, two of them over splade-100 too, and four that cannot be compared."""
    ledger = Ledger(folder)
    ledger.create("Compared", tasks, {})
    for name in (*SKILL, "acme/gaps", "acme/odd", FIRST_STAGE.replace("--", "/")):
        write_submission(ledger, name)
    for place, one in enumerate(expand(tasks)):
        for member in one.members or (one.name,):
            for listed in NAMES:
                _task(ledger, member, listed, np.random.default_rng([place, len(member), len(listed)]))
    return ledger


def write_submission(ledger: Ledger, name: str) -> None:
    sent = Submission(
        name, "run", "apache-2.0", ("msmarco",), "https://example.org/", "@acme", description="Drawn at random"
    )
    ledger.add_submission(sent)


def _task(ledger: Ledger, name: str, listed: str, rng: np.random.Generator) -> None:
    size = SIZES.get(name, 20)
    base = rng.beta(1.2, 1.4, size)
    values = {slug.replace("/", "--"): _near(base, gain, rng) for slug, gain in SKILL.items()}
    values["acme--twin"] = values["acme--close"].copy()  # the same values: no difference at all
    values[FIRST_STAGE] = _near(base, 0.0, rng)
    if listed == "splade-100":
        values = {slug: values[slug] for slug in ("acme--strong", "acme--close")}
    ids = [f"{name}-q{i}" for i in range(1, size + 1)]
    for slug, row in values.items():
        ledger.add_result(result(slug, name, listed, dict(zip(ids, row.tolist(), strict=True))))
    if listed == "bm25-100":
        _odd(ledger, name, dict(zip(ids, values["acme--close"].tolist(), strict=True)))


def _odd(ledger: Ledger, name: str, values: dict[str, float]) -> None:
    """acme/gaps leaves queries out and lacks a task; acme/odd was measured otherwise on each."""
    if name != "fiqa":
        one = result("acme--gaps", name, "bm25-100", values)
        ledger.add_result(replace(one, measurement=replace(one.measurement, missing_queries=3)))
    else:
        values = {f"other-{query}": value for query, value in values.items()}
    one = result("acme--odd", name, "bm25-100", values)
    changes = {
        "trec-dl-2019": {"candidates": replace(one.candidates, digest="sha256:" + "0" * 64)},
        "nfcorpus": {"measurement": replace(one.measurement, convention=Convention(gain="exponential"))},
        "scifact": {"qrels_digest": "sha256:" + "1" * 64},
    }
    ledger.add_result(replace(one, **changes.get(name, {})))


def _near(base: np.ndarray, gain: float, rng: np.random.Generator) -> np.ndarray:
    """Values about as good as `base` and `gain` better, a third of them the same."""
    moved = np.where(rng.random(len(base)) < 0.33, base, base + rng.normal(gain, 0.18, len(base)))
    return np.clip(moved, 0, 1)


def result(slug: str, name: str, listed: str, values: Mapping[str, float]) -> Result:
    """A result with these values of the headline metric, and everything else from a real one."""
    made = read_result(_TEMPLATE)
    average = float(np.mean(list(values.values())))
    measured = replace(
        made.measurement,
        task=name,
        metrics={**made.measurement.metrics, HEADLINE: average},
        intervals={**made.measurement.intervals, HEADLINE: (max(0.0, average - 0.03), min(1.0, average + 0.03))},
        queries=len(values),
        per_query=dict.fromkeys(made.measurement.metrics, dict(values)),
    )
    candidates = replace(made.candidates, task=name, name=listed, queries=len(values))
    return replace(made, submission=slug, candidates=candidates, measurement=measured)


def expected(folder: Path) -> dict[str, Any]:
    """What `exabench bench compare` says of three pairs, and the paired test of a mean over tasks."""
    pairs = [("acme/strong", "acme/close"), ("acme/strong", "acme/weak"), ("acme/close", "acme/twin")]
    found: dict[str, Any] = {
        " ".join(pair): [one.as_json() | {"per_query": {}} for one in compare_submissions(*pair, folder)]
        for pair in pairs
    }
    ledger = Ledger(folder)
    values = {r.task: r for r in ledger.results("acme--strong") if r.candidates.name == "bm25-100"}
    others = {r.task: r for r in ledger.results("acme--weak") if r.candidates.name == "bm25-100"}
    found["mean"] = paired_test(
        [_joined(values, name) for name in TASKS], [_joined(others, name) for name in TASKS]
    ).as_json()
    return found


def _joined(results: Mapping[str, Result], name: str) -> np.ndarray:
    parts = [
        np.array(list(results[member].measurement.per_query[HEADLINE].values()))
        for member in task(name).members or (name,)
    ]
    total = sum(map(len, parts))
    return np.concatenate([part * (total / (len(parts) * len(part))) for part in parts])


if __name__ == "__main__":
    made = Path(sys.argv[1])
    write_board(made / "board")
    render(Board.read(made / "board"), made / "many" / "site")
    lonely = Ledger(made / "boards" / "one")
    lonely.create("One line", ["scifact"], {})
    write_submission(lonely, "acme/only")
    lonely.add_result(result("acme--only", "scifact", "bm25-100", {"q1": 0.25, "q2": 0.5}))
    Ledger(made / "boards" / "none").create("No line", ["scifact"], {})
    for name in ("one", "none"):
        render(Board.read(made / "boards" / name), made / name / "site")
    (made / "expected.json").write_text(json.dumps(expected(made / "board")), encoding="utf-8")
