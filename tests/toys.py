"""One toy part for each Protocol, and the small things that several tests build."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from exabench.bench.candidates import make_candidates
from exabench.bench.evaluation import run_board
from exabench.bench.ledger import Ledger, read_result
from exabench.bench.submitting import add_baselines, submit
from exabench.core.files import toml_text
from exabench.core.nouns import Cost, Passage, Prompt, Qrels, Query, Reply, Run
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


class Answering:
    """A teacher that answers with a function of the prompt, last prompt first; it keeps the batches it was asked."""

    def __init__(self, answer: Callable[[Prompt], str], config: Mapping[str, Any] | None = None) -> None:
        self.identity: Mapping[str, Any] = {"engine": "toy", "model": "reader", "revision": "1", "precision": "exact"}
        self.config, self._answer, self.batches = config, answer, list[list[Prompt]]()

    def complete(self, prompts: Iterable[Prompt]) -> Iterator[Reply]:
        self.batches.append(list(prompts))
        for prompt in reversed(self.batches[-1]):
            yield Reply(prompt.id, self._answer(prompt), "stop", words_of(prompt), 7)


def words_of(prompt: Prompt) -> int:
    return sum(len(text.split()) for _, text in prompt.turns)


def worths(*values: int) -> list[Passage]:
    """Passages that say how good they are."""
    return [Passage(f"d{i}", f"worth {value}") for i, value in enumerate(values)]


def in_order(scores: Sequence[float], values: Sequence[int]) -> list[int]:
    """The values in the order of their scores."""
    return [values[place] for place in sorted(range(len(scores)), key=lambda place: -scores[place])]


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
    revision = "1"

    def __init__(self, queries: Sequence[Query], passages: Sequence[Passage], judged: Qrels) -> None:
        self._queries, self._passages, self._judged = queries, passages, judged

    def is_available(self) -> bool:
        return True

    def queries(self) -> Iterator[Query]:
        return iter(self._queries)

    def passages(self) -> Iterator[Passage]:
        return iter(self._passages)

    def qrels(self, split: str) -> dict[str, dict[str, int]]:
        return {query_id: dict(row) for query_id, row in self._judged.items()}


class WithTriples(Given):
    """A collection with 400 triples by id, as ir_datasets keeps them; it counts how often its passages are read."""

    def __init__(self, missing: str = "") -> None:
        queries = [Query(f"q{i}", f"query {i}") for i in range(90)]
        passages = [Passage(f"{kind}{i}", f"{kind} {i}", f"Title {i}") for kind in ("good", "bad") for i in range(400)]
        super().__init__(queries, [passage for passage in passages if passage.id != missing], {})
        self.readings = 0

    def passages(self) -> Iterator[Passage]:
        self.readings += 1
        return super().passages()

    def triples(self) -> Iterator[tuple[str, str, str]]:
        for i in range(400):
            yield f"q{i % 90}", f"good{i % 60}", f"bad{i}"


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


def add_values(
    board: Path,
    name: str,
    values: Mapping[str, np.ndarray],
    costs: Mapping[str, Cost | None] | None = None,
    candidates: str = "",
    **told: Any,
) -> None:
    """File a submission with made-up nDCG@10 values for some tasks; with `costs` it is one of a model.

    They are over the board's own list, or over other `candidates`; what else is `told` stands in its file.
    """
    ledger = Ledger(board)
    pattern = read_result(board / "results" / "acme--good" / "mini.bm25-20.json")
    model = {"kind": "model", "reranker": "monot5", "model": name, "revision": "4f" * 20} if costs is not None else {}
    submission = replace(ledger.submissions()["acme--good"], name=name, **model, **told)
    ledger.add_submission(submission)
    for task_name, row in values.items():
        measured = replace(
            pattern.measurement, task=task_name, queries=len(row), missing_queries=0,
            metrics={"nDCG@10": float(row.mean())},
            per_query={"nDCG@10": {f"q{i:03}": float(v) for i, v in enumerate(row)}},
        )  # fmt: skip
        over = replace(pattern.candidates, task=task_name, queries=len(row))
        over = replace(over, name=candidates or over.name)
        cost = (costs or {}).get(task_name)
        named = {"submission": submission.slug, "candidates": over, "measurement": measured, "cost": cost}
        ledger.add_result(replace(pattern, **named))


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder with its bytes."""
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def row(family: str = "explanations", **given: Any) -> Row:
    """A row of a family: what is given, and nothing in every other field."""
    blank = {"string": "", "bool": False, "int64": 0}
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
