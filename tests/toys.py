"""One toy part for each Protocol, and the small things that several tests build."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from exabench.bench.candidates import make_candidates
from exabench.bench.evaluation import run_board
from exabench.bench.ledger import Ledger
from exabench.bench.submitting import add_baselines, submit
from exabench.core.files import toml_text
from exabench.core.nouns import Passage, Qrels, Query, Run
from exabench.core.rows import FAMILIES, Row, check_row
from exabench.measure.runs import run_in_order, run_text
from exabench.tasks.catalogue import task

TIME = "1700000000"  # 2023-11-14
SUBMISSION = {
    "name": "acme/good",
    "kind": "run",
    "licence": "apache-2.0",
    "link": "https://example.org/good",
    "contact": "@acme",
    "training_data": ["msmarco"],
}


class ShortestFirst:
    """A reranker that reads texts."""

    reads = "texts"

    def score(self, query: Query, passages: Sequence[Passage]) -> list[float]:
        return [-float(len(passage.text)) for passage in passages]


class Alphabet:
    """A retriever that returns every passage, by id."""

    whole = True

    def __init__(self, passages: Iterable[Passage], fields: tuple[str, ...] = (), *, backwards: bool = False) -> None:
        self._ids = sorted((passage.id for passage in passages), reverse=backwards)
        self.parameters: Mapping[str, Any] = {"backwards": backwards}

    def search(self, queries: Sequence[Query], depth: int) -> Run:
        return run_in_order("alphabet", {query.id: self._ids[:depth] for query in queries})


class Given:
    """A collection that holds what it was given."""

    source = "memory"

    def __init__(self, queries: Sequence[Query], passages: Sequence[Passage], judged: Qrels) -> None:
        self._queries, self._passages, self._judged = queries, passages, judged

    def there(self) -> bool:
        return True

    def queries(self) -> Iterator[Query]:
        return iter(self._queries)

    def passages(self) -> Iterator[Passage]:
        return iter(self._passages)

    def qrels(self, split: str) -> dict[str, dict[str, int]]:
        return {query_id: dict(row) for query_id, row in self._judged.items()}


def write_beir(folder: Path, given: Given, split: str = "test") -> Path:
    """A collection as a folder in BEIR layout."""
    (folder / "qrels").mkdir(parents=True)
    queries = [json.dumps({"_id": q.id, "text": q.text}) for q in given.queries()]
    passages = [json.dumps({"_id": p.id, "title": p.title, "text": p.text}) for p in given.passages()]
    judged = [f"{q}\t{p}\t{grade}" for q, row in given.qrels(split).items() for p, grade in row.items()]
    (folder / "queries.jsonl").write_text("\n".join(queries) + "\n", encoding="utf-8")
    (folder / "corpus.jsonl").write_text("\n".join(passages) + "\n", encoding="utf-8")
    lines = ["query-id\tcorpus-id\tscore", *judged]
    (folder / "qrels" / f"{split}.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def toml(values: Mapping[str, Any]) -> str:
    """A TOML page of these values; tables are written in one line."""
    return "".join(f"{key} = {toml_text(value)}\n" for key, value in values.items())


def write_submission(folder: Path, **changes: Any) -> Path:
    """A submission's TOML file, good but for the changes."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "submission.toml"
    file.write_text(toml(SUBMISSION | changes), encoding="utf-8")
    return file


def write_run(file: Path, run: Run) -> Path:
    """A run as a TREC file."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(run_text(run, run.name))
    return file


def good_run(candidates: Run) -> Run:
    """The candidates in the order of their ids: a run whose numbers are nobody's."""
    return run_in_order("good", {query_id: sorted(candidates.ranking(query_id)) for query_id in candidates})


def finished_board(folder: Path) -> None:
    """A board with the task mini, BM25's best 20, five baselines and one run, all measured."""
    ledger = Ledger(folder)
    ledger.create("A small board", ["mini"])
    candidates, run = make_candidates(task("mini"), "bm25", 20)
    ledger.add_candidates(candidates, run)
    add_baselines(folder)
    sent = folder.parent / "sent"
    submit(write_submission(sent), [f"mini={write_run(sent / 'good.trec', good_run(run))}"], folder)
    run_board(folder)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder with its bytes."""
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def scored_jobs(model: str, store: str) -> tuple[list[list[float]], int]:
    """A fixed run scored by a cross-encoder over the store: its scores, and how many of them were computed now."""
    from exabench.parts.assembly import reranker

    rng = random.Random(1)
    passages = [Passage(str(i), " ".join(rng.choices("sky blue light wave sun".split(), k=i % 40))) for i in range(60)]
    part = reranker("cross_encoder", model=model, scores=store, batch_tokens=128)
    scores = [values for values, _ in part.score_many((Query(str(i), f"query {i}"), passages) for i in range(25))]
    return scores, part._engine.computed


def killed_scoring(model: str, store: str) -> None:
    """The same, for a process that is about to be killed."""
    scored_jobs(model, store)


def row(family: str = "explanations", **given: Any) -> Row:
    """A row of a family: what is given, and nothing in every other field."""
    blank = {"string": "", "bool": False, "int64": 0, "double": 0.0}
    fields = {name: blank.get(kind, []) for name, kind in FAMILIES[family].items()}
    return check_row(family, {**fields, **given})


def features_of(family: str) -> Any:
    """The fields of a family as `datasets` types."""
    import datasets

    fields: dict[str, Any] = {}
    for name, kind in FAMILIES[family].items():
        inner = kind.removeprefix("list<").removesuffix(">")
        value = datasets.Value("float64" if inner == "double" else inner)
        fields[name] = value if inner == kind else datasets.Sequence(value)
    return datasets.Features(fields)
