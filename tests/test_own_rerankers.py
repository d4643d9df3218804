"""Rerankers that users bring: what is taken of them, and one line for every answer that is none."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from models import classifier_folder
from toys import Given, ShortestFirst, write_beir

import exabench
from exabench.bench.result_table import ResultTable
from exabench.bench.suite_means import Suite
from exabench.core.errors import BadInput
from exabench.core.nouns import Passage, Query
from exabench.tasks.catalogue import task

Answer = Callable[[Sequence[Passage]], Any]


class Mine:
    """A reranker that answers with a function of its passages."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer

    def score(self, query: Query, passages: Sequence[Passage]) -> Any:
        return self._answer(passages)


def lengths(passages: Sequence[Passage]) -> list[float]:
    return [-float(len(passage.text)) for passage in passages]


def value(reranker: Any) -> float:
    return exabench.evaluate(reranker, "mini", depth=10)["mini"]["nDCG@10"]


SHORTEST = value(ShortestFirst())

TAKEN: dict[str, Answer] = {
    "floats": lengths,
    "float32": lambda ps: np.array(lengths(ps), np.float32),
    "whole numbers": lambda ps: [int(n) for n in lengths(ps)],
    "numpy numbers": lambda ps: [np.float32(n) for n in lengths(ps)],
    "decimals": lambda ps: [Decimal(n) for n in lengths(ps)],
    "fractions": lambda ps: [Fraction(int(n), 1) for n in lengths(ps)],
    "an array of objects": lambda ps: np.array(lengths(ps), object),
    "a tuple": lambda ps: tuple(lengths(ps)),
    "a generator": lambda ps: (n for n in lengths(ps)),
    "a column": lambda ps: np.array(lengths(ps))[:, None],
    "a column of lists": lambda ps: [[n] for n in lengths(ps)],
    "a tensor": lambda ps: torch.tensor(lengths(ps)),
    "a column tensor": lambda ps: torch.tensor(lengths(ps))[:, None],
    "a double tensor": lambda ps: torch.tensor(lengths(ps), dtype=torch.float64),
    "a tensor with a gradient": lambda ps: torch.tensor(lengths(ps), requires_grad=True),
    "tensors in a list": lambda ps: [torch.tensor(n, requires_grad=True) for n in lengths(ps)],
    "a dict by id": lambda ps: dict(reversed(list(zip([p.id for p in ps], lengths(ps), strict=True)))),
}


@pytest.mark.parametrize("answer", TAKEN.values(), ids=TAKEN)
def test_numbers_in_the_order_given_are_taken_in_whatever_form_they_come(answer: Answer) -> None:
    assert value(Mine(answer)) == SHORTEST


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16])
def test_half_precision_is_taken_with_the_ties_that_it_makes(kind: torch.dtype) -> None:
    as_numbers = value(Mine(lambda ps: torch.tensor(lengths(ps), dtype=kind).float().tolist()))
    assert value(Mine(lambda ps: torch.tensor(lengths(ps), dtype=kind))) == as_numbers


REFUSED: dict[str, tuple[Answer, str]] = {
    "two labels": (lambda ps: np.zeros((len(ps), 2)), "an array of shape (9, 2) (two labels? return the second minus"),
    "a row": (lambda ps: np.zeros((1, len(ps))), "an array of shape (1, 9)"),
    "three dimensions": (lambda ps: torch.zeros(len(ps), 1, 1), "a Tensor of shape (9, 1, 1)"),
    "one too few": (lambda ps: lengths(ps)[1:], "8 scores"),
    "one too many": (lambda ps: [*lengths(ps), 0.0], "more than 9 scores"),
    "an array too long": (lambda ps: np.zeros(len(ps) + 1), "10 scores"),
    "none at all": (lambda ps: [], "0 scores"),
    "one number": (lambda ps: 0.5, "1 score"),
    "a generator without end": (lambda ps: itertools.count(), "more than 9 scores"),
    "nothing": (lambda ps: None, "None"),
    "a None inside": (lambda ps: [*lengths(ps)[1:], None], "None as the score of passage"),
    "a NaN": (lambda ps: [float("nan"), *lengths(ps)[1:]], "nan as the score of passage"),
    "infinity": (lambda ps: np.array([np.inf, *lengths(ps)[1:]]), "inf as the score of passage"),
    "beyond single precision": (lambda ps: [1e300, *lengths(ps)[1:]], "1e+300 as the score of passage"),
    "a number of 400 digits": (lambda ps: [10**5000, *lengths(ps)[1:]], "a whole number of hundreds of digits as"),
    "a masked value": (lambda ps: np.ma.array(lengths(ps), mask=[1] + [0] * 8), "nan as the score of passage"),
    "complex": (lambda ps: [1j for _ in ps], "complex 1j as the score of passage"),
    "a complex tensor": (lambda ps: torch.zeros(len(ps), dtype=torch.complex64), "complex 0j as the score of passage"),
    "texts": (lambda ps: ["1" for _ in ps], "a list of str, not of numbers"),
    "ids in order": (lambda ps: [p.id for p in ps], "a list of str, not of numbers (with ids: a dict of scores by"),
    "passages in order": (lambda ps: list(ps), "a Passage as the score of passage"),
    "pairs of id and score": (lambda ps: [(p.id, 1.0) for p in ps], "a list of tuple, not of numbers"),
    "rows of unequal length": (lambda ps: [[1.0], *[[1.0, 2.0]] * 8], "a list of list"),
    "one text": (lambda ps: "relevant", "str 'relevant'"),
    "a set": (lambda ps: set(lengths(ps)), "a set"),
    "dates": (lambda ps: np.zeros(len(ps), "datetime64[s]"), "an array"),
    "a dict without one id": (lambda ps: {p.id: 1.0 for p in ps[1:]}, "a dict of 8 keys, but none for passage"),
    "a dict with one more": (lambda ps: {"x": 1.0, **{p.id: 1.0 for p in ps}}, "a dict of 10 keys"),
    "a dict by place": (lambda ps: dict(enumerate(lengths(ps))), "a dict of 9 keys, but none for passage"),
    "an object": (lambda ps: object(), "an object"),
}  # fmt: skip


@pytest.mark.parametrize(("answer", "told"), REFUSED.values(), ids=REFUSED)
def test_any_other_answer_is_one_line_with_reranker_query_and_what_came(answer: Answer, told: str) -> None:
    with pytest.raises(BadInput) as refused:
        value(Mine(answer))
    line = str(refused.value)
    assert f"reranker mine answered {told}" in line and "for query 'q03'; expected 9 finite numbers" in line
    assert "\n" not in line and len(line) < 300


def test_a_reranker_that_is_async_or_fails_is_one_line_with_its_query() -> None:
    class Async:
        async def score(self, query: Query, passages: Sequence[Passage]) -> list[float]:
            return []

    with pytest.raises(
        BadInput, match="reranker async answered a coroutine .async rerankers are not supported. for query 'q03'"
    ):
        value(Async())
    with pytest.raises(BadInput, match="reranker mine failed on query 'q03': KeyError: 'gone'") as failed:
        value(Mine(lambda ps: {}["gone"]))
    assert isinstance(failed.value.__cause__, KeyError)
    with pytest.raises(BadInput, match="reranker mine failed on query 'q03': ZeroDivisionError: division by zero"):
        value(Mine(lambda ps: (1 / 0 for _ in ps)))


def test_score_many_must_answer_every_query() -> None:
    class Lazy(Mine):
        def score_many(self, jobs: Any) -> Any:
            yield self._answer(next(jobs)[1]), None

    with pytest.raises(BadInput, match="reranker lazy answered None for query"):
        value(Lazy(lengths))


def test_score_many_is_read_to_its_end_and_may_answer_no_more_than_was_asked() -> None:
    ended = []

    class Whole(Mine):
        def score_many(self, jobs: Any) -> Any:
            for _, passages in jobs:
                yield self._answer(passages), None
            ended.append(True)

    class Eager(Whole):
        def score_many(self, jobs: Any) -> Any:
            yield from super().score_many(jobs)
            yield [1.0], None

    assert value(Whole(lengths)) == value(Mine(lengths)) and ended == [True]
    with pytest.raises(BadInput, match="reranker eager answered more queries than it was given"):
        value(Eager(lengths))


def test_a_function_is_a_reranker_of_passages_or_of_texts_where_it_says_so() -> None:
    def by_text(query: str, passages: list[str]) -> list[float]:
        assert isinstance(query, str) and all(isinstance(passage, str) for passage in passages)
        return [-float(len(passage)) for passage in passages]

    def whole(query: Query, passages: Sequence[Passage]) -> list[float]:
        return [-float(len(passage.flat())) for passage in passages]

    assert value(by_text) == value(whole)
    assert value(lambda query, passages: lengths(passages)) == SHORTEST
    result = exabench.evaluate(by_text, "mini", depth=10)["mini"]
    assert result.submission == "by_text"


def test_objects_of_sentence_transformers_and_rerankers_rank_as_the_part_that_reads_their_folder(
    tmp_path: Path,
) -> None:
    from rerankers import Reranker
    from sentence_transformers import CrossEncoder

    folder = str(classifier_folder(tmp_path / "ce"))
    own = value(folder)
    assert value(CrossEncoder(folder, device="cpu")) == pytest.approx(own)
    assert value(Reranker(folder, model_type="cross-encoder", verbose=0, device="cpu")) == pytest.approx(own)


def test_results_in_order_are_read_by_place_with_score_or_rank() -> None:
    class Ranks:
        """What LLM rankers of `rerankers` answer: documents in order, without scores."""

        def __init__(self, result: Callable[[int, int], Any]) -> None:
            self._result = result

        def rank(self, query: str, documents: list[str]) -> list[Any]:
            order = sorted(range(len(documents)), key=lambda place: (len(documents[place]), place))
            return [self._result(place, rank) for rank, place in enumerate(order, 1)]

    by_rank = value(Ranks(lambda place, rank: SimpleNamespace(doc_id=place, rank=rank, score=None)))
    assert by_rank == value(Ranks(lambda place, rank: {"corpus_id": place, "score": -float(rank)}))
    assert by_rank == value(Ranks(lambda place, rank: {"index": place, "relevance_score": -float(rank)}))
    for wrong in (
        lambda place, rank: place,
        lambda place, rank: {"corpus_id": 99, "score": 1.0},
        lambda place, rank: {"corpus_id": 0, "score": 1.0},
        lambda place, rank: {"corpus_id": place},
    ):
        told = "reranker ranks answered a list of .* for query 'q03'; expected a result for each of 9 documents"
        with pytest.raises(BadInput, match=told):
            value(Ranks(wrong))


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (Mine, "reranker Mine is a class: create an instance"),
        (3, "int is not a reranker: it has no score"),
        (SimpleNamespace(reads="text", score=lengths), "reads 'text'; reads is one of ids, texts, judgements"),
        ("corss_encoder", "did you mean cross_encoder or bi_encoder?"),
        ("/no/such/folder", "is neither a folder nor a Hub id"),
        ("pypi:no-such-package", "package no-such-package is not installed: pip install no-such-package"),
        ("auto", "reranker auto needs a model"),
    ],
)
def test_what_is_no_reranker_is_told_before_anything_is_read(given: Any, told: str) -> None:
    with pytest.raises(BadInput) as refused:
        exabench.evaluate(given, "mini", data="/nowhere")
    assert told in str(refused.value)


@pytest.mark.parametrize(
    ("tasks", "choices", "told"),
    [
        (None, {}, "a task is a name, a path or a Task, not None"),
        ([3], {}, "a task is a name, a path or a Task, not 3"),
        ("mini", {"depth": "5"}, "depth must be a whole number, not '5'"),
        ("mini", {"depth": 2.5}, "depth must be a whole number, not 2.5"),
        ("mini", {"depth": True}, "depth must be a whole number, not True"),
        ("mini", {"metrics": [3]}, "a metric name must be a string, not 3"),
    ],
)
def test_values_of_another_kind_are_one_line(tasks: Any, choices: dict[str, Any], told: str) -> None:
    with pytest.raises(BadInput) as refused:
        exabench.evaluate("unchanged", tasks, **choices)
    assert str(refused.value) == told


def test_a_task_may_be_a_path_and_the_metrics_one_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_beir(tmp_path / "fish", Given([Query("q", "red fish")], [Passage("a", "red fish")], {"q": {"a": 1}}))
    for named in (Path("fish"), [tmp_path / "fish"], "./fish"):
        found = exabench.evaluate("unchanged", named, depth=5, metrics="RR@10")
        assert found["fish"]["RR@10"] == 1.0


class Counting(ShortestFirst):
    calls = 0

    def score(self, query: Query, passages: Sequence[Passage]) -> list[float]:
        self.calls += 1
        return super().score(query, passages)


@pytest.mark.parametrize("names", [["mini", "cqadupstack"], ["mini", "scifcat"], ["mini", "scifact"], []])
def test_all_tasks_are_looked_at_before_the_first_query_is_reranked(names: list[str], tmp_path: Path) -> None:
    toy = Given([Query("q", "red fish")], [Passage("a", "red fish")], {"q": {"a": 1}})
    for name in ("scifact", *task("cqadupstack").members):
        write_beir(tmp_path / name, toy)  # the judgements are not those of the table
    reranker = Counting()
    with pytest.raises(BadInput):
        exabench.evaluate(reranker, names, data=tmp_path)
    assert reranker.calls == 0


def test_the_mean_of_a_suite_counts_a_task_that_is_a_mean_once() -> None:
    result = exabench.evaluate("unchanged", "mini", depth=5)["mini"]
    a, b, c = (replace(task("mini"), name=name) for name in "abc")
    everything = Suite("all", (a, b, c), (("a", "b"), ("c",)))
    table = ResultTable(everything, [Suite("forums", (a, b), (("a",), ("b",))), everything])
    for name, score in (("a", 0.2), ("b", 0.4), ("c", 0.9)):
        measured = replace(result.measurement, metrics={"nDCG@10": score})
        made = replace(result, measurement=measured, candidates=replace(result.candidates, task=name))
        assert "all" not in table.means
        table.add(made, exabench.run_of("x", {}), 1.0)
    assert table.means == {"forums": {"nDCG@10": pytest.approx(0.3)}, "all": {"nDCG@10": pytest.approx(0.6)}}
    assert table.mean == table.means["all"]


def test_results_are_short_in_a_notebook_and_tables_of_pandas() -> None:
    table = exabench.evaluate("oracle", "mini", depth=5)
    result = table["mini"]
    comparison = exabench.compare(table.runs["mini"], table.runs["mini"], task="mini")
    for one in (result.measurement, result, table, comparison):
        assert len(repr(one)) < 250 and "\n" not in repr(one)
        assert one._repr_html_().startswith("<table>")
    frame = table.to_pandas()
    assert list(frame.columns) == ["task", "metric", "value", "low", "high", "first_stage", "ceiling"]
    assert frame.set_index("metric").loc["nDCG@10", "value"] == result["nDCG@10"]
    assert list(result.measurement.to_pandas()["metric"]) == list(result.measurement.metrics)
    assert comparison.to_pandas().loc[0, "p"] == comparison[0].test.p


def test_metrics_of_ones_own_are_measured_the_first_as_the_headline() -> None:
    result = exabench.evaluate("unchanged", "mini", depth=5, metrics=["rr@5", "P@3"])["mini"]
    assert list(result.measurement.metrics) == ["RR@5", "P@3"] and result.measurement.headline == "RR@5"
    assert result.gain["difference"] == 0 and set(result.ceiling) == {"RR@5", "P@3"}
