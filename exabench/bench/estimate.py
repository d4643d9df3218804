"""Estimate of an evaluation before it is run: pairs, tokens, FLOPs and minutes. No weights are loaded or fetched."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from exabench.bench.candidates import read_evaluator
from exabench.bench.chosen_reranker import ChosenReranker
from exabench.bench.model_evaluation import check_candidates, tasks_of
from exabench.bench.weight_fitting import given_weight, queries_to_fit_on
from exabench.core.errors import BadInput, UnknownName
from exabench.core.files import read_json
from exabench.core.nouns import ModelFolder, Passage, Query, Task
from exabench.hub.client import settings_of
from exabench.models.families import families, usual_family
from exabench.models.flops import Shape, exact, shape_of
from exabench.models.logit_score import read_logit_score
from exabench.models.multi_vector_settings import multi_vector_settings
from exabench.parts.recognition import ENCODED_APART, MODEL_PARTS
from exabench.tasks.collections import open_collection, read_checked_qrels

SAMPLE = 500  # pairs that are tokenised; the mean length of so many is off by some percent


@dataclass(frozen=True)
class Estimate:
    """The cost of reranking the candidates of a task, estimated. What cannot be known without the model is None.

    `tokens` is the mean over pairs, `flops` the sum over all pairs, `seconds` the time at the speed of matrix products
    of the model's width on this machine, which real models come close to. `basis` says how the numbers were estimated.
    """

    task: str
    queries: int
    pairs: int
    tokens: float | None = None
    flops: float | None = None
    seconds: float | None = None
    basis: str = ""

    def as_json(self) -> dict[str, Any]:
        """Every field, as JSON holds it."""
        return asdict(self)


def estimate(
    reranker: Any,
    tasks: str | Task | Sequence[str | Task],
    *,
    part: str = "",
    retriever: str = "bm25",
    depth: int = 100,
    data: str | Path | None = None,
    retriever_options: Mapping[str, Any] | None = None,
    candidates: str = "",
    board: str | Path | None = None,
    interpolate: float | str | None = None,
    note: Callable[[str], object] = lambda line: None,
    **options: Any,
) -> list[Estimate]:
    """An estimate, for each task, of what `evaluate` would do with the same arguments.

    The queries that a weight is fitted on are not counted. For a Hub id, its settings and its tokenizer are fetched.
    Raises BadInput, OutsideFailed.
    """
    chosen = ChosenReranker(reranker, options, part, given_weight(interpolate))
    wanted, _ = tasks_of(tasks, data, board)
    queries_to_fit_on(interpolate, wanted, candidates, data=data, board=board)  # raises where there are none
    ledger = check_candidates(wanted, retriever, depth, candidates, board, retriever_options)
    note(chosen.find())
    name = ""
    reader = None
    if chosen.found is not None:
        name = chosen.found.reranker
        if name in MODEL_PARTS and "model" in chosen.found.options:
            reader = _Reader(name, chosen.found.options)
    estimates = []
    for task in wanted:
        if ledger is not None:
            evaluator = read_evaluator(ledger, task.name, candidates, data)
            queries = len(evaluator.run)
            pairs = len(evaluator.run.passage_ids)
            collection = evaluator.collection
            basis = f"{candidates} as it is frozen"
        else:
            collection = open_collection(task, data)
            # The first stage is not run: it may take longer than an estimate should.
            judged = read_checked_qrels(task, collection)
            queries = sum(1 for query in collection.queries() if query.id in judged)
            # A small collection gives fewer passages than are asked for.
            held = _count(collection.passages(), depth)
            pairs = queries * held
            basis = f"at most {held} passages of each query"
        if reader is None:
            estimates.append(Estimate(task.name, queries, pairs, basis=basis))
            continue
        lengths = reader.lengths(collection.queries(), collection.passages())
        prompts = float(pairs)
        if name == "pairwise":  # every ordered pair of passages
            prompts *= max(0.0, pairs / max(1, queries) - 1)
        elif name in ENCODED_APART:  # each distinct text once
            prompts = float(_count(collection.passages(), pairs) + queries)
        basis += f"; lengths of {len(lengths)} pairs of the collection"
        tokens = float(np.mean(lengths))
        each = reader.flops(lengths)
        if each is None:
            basis += "; the FLOPs of such a model are not counted"
            estimates.append(Estimate(task.name, queries, pairs, tokens, basis=basis))
            continue
        basis += "; speed of matrix products timed here"
        flops = float(np.mean(each)) * prompts
        estimates.append(Estimate(task.name, queries, pairs, tokens, flops, flops / reader.speed, basis))
    return estimates


class _Reader:
    """A model's settings and tokenizer: how long its inputs are, and what they cost."""

    def __init__(self, part: str, options: Mapping[str, Any]) -> None:
        from exabench.models.loading import loading, tokenizer_of
        from exabench.models.speed import matrix_speed
        from exabench.models.templates import chat_template

        folder = ModelFolder(str(options["model"]), settings_of(options["model"], str(options.get("revision", ""))), "")
        config = read_json(folder.path / "config.json")
        self._shape: Shape | None = None
        with contextlib.suppress(UnknownName):  # its FLOPs are not counted
            self._shape = shape_of(config)
        with loading(folder, "a tokenizer"):
            self._tokenizer = tokenizer_of(folder)
        self._part = part
        # Parts that score pairs cut them to 512 tokens unless told otherwise; a tokenizer may know of fewer.
        limit = 512
        self._template = ""
        own = None
        if part == "yes_no":
            own = read_logit_score(folder.path)
        late = multi_vector_settings(folder.path)
        if part == "late_interaction" and late is not None:
            limit = late.passage_length or limit
        if own is not None:
            limit = own.max_length or self._tokenizer.model_max_length
            if own.chat:
                turns = own.turns(str(options.get("instruction", "")))
                self._template = chat_template(turns, self._tokenizer, **own.settings).text
        elif part in families():  # those are the parts with a template
            usual = usual_family(part, folder.name, str(options.get("family", "")))
            given = {name: options[name] for name in ("template", "instruction") if name in options}
            self._template = "".join(usual.asked(**given).template)
            if "{query}" not in self._template:  # it is written behind the template
                self._template += " {query}"
            limit = usual.max_length or limit
        self._limit = min(int(options.get("max_length") or limit), self._tokenizer.model_max_length)
        self.speed = 0.0
        if self._shape is not None:
            device = str((options.get("devices") or [""])[0])
            precision = str(options.get("precision", "float32"))
            self.speed = matrix_speed(self._shape.width, self._shape.ffn, device, precision)

    def lengths(self, queries: Iterator[Query], passages: Iterator[Passage]) -> np.ndarray:
        """The tokens of some pairs of the collection, cut as they would be."""
        some = list(itertools.islice(queries, SAMPLE))
        if not some:
            raise BadInput("the collection has no queries")
        lengths = []
        # A task may have fewer queries than SAMPLE: they take turns, while passages are all different.
        for query, passage in zip(itertools.cycle(some), itertools.islice(passages, SAMPLE), strict=False):
            if self._template:
                text = self._template.replace("{query}", query.text).replace("{passage}", passage.flat())
                ids = self._tokenizer(text, verbose=False)["input_ids"]
            elif self._part in ENCODED_APART:  # each text alone
                ids = self._tokenizer(passage.flat(), verbose=False)["input_ids"]
            else:
                ids = self._tokenizer(query.text, passage.flat(), verbose=False)["input_ids"]
            lengths.append(min(len(ids), self._limit))
        return np.array(lengths or [0])

    def flops(self, lengths: np.ndarray) -> Any:
        """The FLOPs of inputs of these lengths; two rows of the vocabulary, or labels, are read of each.

        Of a query likelihood, whose query is part of the length, that leaves out most rows: some hundredths of all.
        None where those of such a model are not counted.
        """
        if self._shape is None:
            return None
        # A decoder answers with one token, whose logits are the score; an encoder writes nothing.
        written = np.ones_like(lengths)
        if self._shape.family == "encoder":
            written = np.zeros_like(lengths)
        return exact(self._shape, lengths, written, rows=2)


def _count(passages: Iterator[Passage], most: int) -> int:
    """The number of passages, or `most` where there are more."""
    return sum(1 for _ in itertools.islice(passages, most))
