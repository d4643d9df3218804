"""Make the pages of made-up boards with many lines, straight from a Board: what scale.test.mjs looks at.

    python tests/web/large.py DIR [LINES ...]      ->  DIR/large-1000/site, DIR/large-10000/site, ...

Nothing of it was measured, and pages of single results are not made.
"""

from __future__ import annotations

import functools
import math
import random
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from exabench.bench.ledger import read_result
from exabench.board.pages import render
from exabench.board.ranking import Board, CostSummary, Ranking, ResultSummary, Row
from exabench.core.nouns import FIRST_STAGE, Result, Submission, Task
from exabench.tasks.catalogue import task

LINES, SEED = (1_000, 10_000), 20_260_102
TASKS = (
    *("trec-covid", "nfcorpus", "nq", "hotpotqa", "fiqa", "arguana", "webis-touche2020", "quora", "dbpedia-entity"),
    *("scidocs", "fever", "climate-fever", "scifact", "cqadupstack", "trec-dl-2019", "trec-dl-2020", "trec-news"),
    *("signal1m", "robust04", "bioasq"),
)
LISTS = (("bm25-100", 100), ("bm25-1000", 1000), ("splade-v3-100", 100), ("bm25-20", 20))
BASES = ("minilm", "deberta-v3", "t5", "roberta", "electra", "modernbert", "qwen2.5", "llama-3", "gemma-2", "mistral")
SIZES = ("tiny", "small", "base", "large", "xl", "0.5b", "1.5b", "3b", "7b", "8b")
WAYS = ("msmarco", "distilled", "listwise", "pairwise", "rankt5", "lora", "twolar", "exaranker", "hard-neg", "v2")
LICENCES = ("apache-2.0", "mit", "cc-by-4.0", "cc-by-nc-4.0", "llama3", "gemma", "other", "unknown", "bsd-3-clause")
DATA = ("msmarco", "nq", "hotpotqa", "fever", "natural-questions", "trivia-qa", "quora", "synthetic-en", "nli", "squad")

PATTERN = Path(__file__).parents[2] / "leaderboard" / "results" / "exabench--random" / "mini.bm25-100.json"


def main(folder: Path, sizes: list[int]) -> None:
    """Make a site for each number of lines."""
    for lines in sizes:
        to = folder / f"large-{lines}" / "site"
        to.parent.mkdir(parents=True, exist_ok=True)
        render(made_up(lines), to)


def made_up(lines: int) -> Board:
    """A board of that many lines over 20 tasks, the same for everybody."""
    draw = random.Random(SEED)
    tasks = tuple(task(name) for name in TASKS)
    rows = list(_first_stages(draw, tasks))
    submissions = [_submission(draw, i) for i in range(lines * 2 // 3)]
    while len(rows) < lines:
        place = len(rows) - len(LISTS)
        submission = submissions[place % len(submissions)]
        over = LISTS[(spread(submission) + place // len(submissions)) % len(LISTS)]
        rows.append(_row(draw, tasks, submission, over))
    whole = sorted((row for row in rows if row.mean is not None), key=lambda row: -(row.mean or 0))
    stages = {row.candidates: row.mean or 0 for row in whole if row.is_first_stage}
    ranked = []
    for i, row in enumerate(whole):
        ranked.append(replace(row, group=1 + i * 40 // len(whole), gain=(row.mean or 0) - stages[row.candidates]))
    ranked += [row for row in rows if row.mean is None]
    ranking = Ranking("All tasks", "all-tasks", tasks, tuple(ranked))
    sent = {row.submission.slug: row.submission for row in ranked}
    return Board(
        folder=Path("made-up"),
        digests={slug: slug for slug in sent},
        title="A made-up board",
        url="",
        tasks=tasks,
        submissions=sent,
        candidates=(),
        results=tuple(result for row in rows for result in row.results),
        reported=(),
        rankings=(ranking,),
        datasets=(),
        trainings={},
        entries={},
        changes=(),
        unlike=(),
    )


def spread(submission: Submission) -> int:
    """A number that follows from the name alone, the same on every machine."""
    return sum(map(ord, submission.name))


def _submission(draw: random.Random, i: int) -> Submission:
    owner = f"{draw.choice(('lab', 'uni', 'team', 'ai', 'nlp'))}-{int(900 * draw.random() ** 2)}"
    name = f"{owner}/{draw.choice(BASES)}-{draw.choice(SIZES)}-{draw.choice(WAYS)}-{draw.choice(WAYS)}-{i}"
    return Submission(
        name=name,
        kind=draw.choice(("model", "model", "run", "api")),
        licence=draw.choice(LICENCES),
        link=f"https://example.org/{name}",
        contact="@tester",
        training_data=tuple(sorted(draw.sample(DATA, draw.randrange(1, 4)))) if draw.random() < 0.8 else "unknown",
        date=f"2026-{draw.randrange(1, 12):02}-{draw.randrange(1, 29):02}",
        family=draw.choice(BASES),
    )


def _first_stages(draw: random.Random, tasks: tuple[Task, ...]) -> Iterator[Row]:
    name = FIRST_STAGE.replace("--", "/")
    unchanged = Submission(name, "baseline", "apache-2.0", link="", contact="", training_data=())
    for candidates in LISTS:
        yield _row(draw, tasks, unchanged, candidates, quality=-0.05)


def _row(
    draw: random.Random, tasks: tuple[Task, ...], sent: Submission, over: tuple[str, int], quality: float | None = None
) -> Row:
    name, depth = over
    is_stage = quality is not None
    better = draw.gauss(0.03, 0.05) if quality is None else quality
    values = {t.name: _value(draw, i, better) for i, t in enumerate(tasks) if is_stage or draw.random() > 0.002}
    mean = sum(values.values()) / len(values) if len(values) == len(tasks) else None
    results = [_result(sent, t, over, values[t.name]) for t in tasks if t.name in values]
    return Row(
        submission=sent,
        candidates=name,
        depth=depth,
        values=values,
        results=tuple(results),
        finished=len(values),
        wanted=len(tasks),
        mean=mean,
        interval=None if mean is None else (mean - draw.uniform(0.01, 0.012), mean + draw.uniform(0.01, 0.012)),
        group=None,
        spent=CostSummary(0.0, 0.0, why="the first stage itself") if is_stage else _spent(draw, sent, depth),
    )


def _value(draw: random.Random, i: int, better: float) -> float:
    return min(0.99, max(0.01, 0.3 + 0.02 * i + better + draw.gauss(0, 0.02)))


def _spent(draw: random.Random, sent: Submission, depth: int) -> CostSummary:
    if sent.kind == "run":
        return CostSummary(why="the ranking was sent in: what it took was not seen")
    size = 10 ** (7 + 3 * (spread(sent) % 97) / 97)
    flops = 2 * size * depth * draw.uniform(100, 300)
    return CostSummary(flops, flops * 0.8, int(size), round(math.sqrt(flops) / 1e7, 4), "a made-up processor")


@functools.cache
def _pattern() -> Result:
    return read_result(PATTERN)


def _result(sent: Submission, t: Task, over: tuple[str, int], value: float) -> ResultSummary:
    """A score of which only the overview's part is true."""
    made = _pattern()
    measured = replace(made.measurement, task=t.name, metrics={made.measurement.headline: value}, per_query={})
    listed = replace(made.candidates, task=t.name, name=over[0], depth=over[1])
    state = "re-computed" if sent.kind == "run" else "reproduced"
    given = {"submission": sent.slug, "state": state, "created": "2026-11-01", "versions": {"exabench": "0.1.0"}}
    result = replace(made, candidates=listed, measurement=measured, **given)
    return ResultSummary(
        submission=sent.slug,
        task=t.name,
        candidates=over[0],
        depth=over[1],
        headline=made.measurement.headline,
        value=value,
        first_stage=value,
        ceiling=made.ceiling[made.measurement.headline],
        missing=0,
        digest="0" * 64,
        file=PATTERN,
        result=result,
        queries=(),
        values=np.zeros(0),
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), [int(text) for text in sys.argv[2:]] or list(LINES))
