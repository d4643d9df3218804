"""Candidate lists: a first stage frozen; a reranker over them gives a run, what each query took, and how long."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from exabench.bench import notes
from exabench.bench.excerpts import build_excerpts, write_excerpts
from exabench.bench.ledger import Ledger, depth_in_name
from exabench.bench.measurement import FROM_FILES, CandidateEvaluator
from exabench.bench.submissions import read_credit
from exabench.core.errors import BadInput, ExabenchError, printable
from exabench.core.files import relative_path
from exabench.core.licences import is_open_for_texts
from exabench.core.nouns import (
    Candidates,
    Convention,
    Coverage,
    Credit,
    Passage,
    Progress,
    Qrels,
    Query,
    Result,
    Run,
    Task,
    Timing,
    Usage,
    silent,
)
from exabench.core.options import accepts
from exabench.hub.client import check_model
from exabench.measure.metric_values import mean, measure
from exabench.measure.qrels import qrels_digest
from exabench.measure.runs import leave_out, run_digest, top
from exabench.models.costs import cost_of, hardware
from exabench.parts.assembly import check_part, retriever as retriever_of
from exabench.parts.rerankers import Reranker
from exabench.parts.reranking import PairProgress, job_of, rerank
from exabench.parts.retrievers import RETRIEVERS, Retriever
from exabench.tasks.catalogue import expand, single_task
from exabench.tasks.collections import (
    Collection,
    SelectedTexts,
    count_passages,
    excluded_of,
    lock_collection,
    open_collection,
    passages_of,
    read_checked_qrels,
    source_note,
)
from exabench.tasks.custom import pin_task

DEEPEST = 999_999  # the name of a list ends in its depth, of six digits at most
TIMED_QUERIES = 10  # each scored alone, for the latency of a result


def check_depth(depth: int) -> None:
    """Raise BadInput for a depth that is not a whole number from 1 to DEEPEST. Python callers skip --depth's bounds."""
    if type(depth) is not int:
        raise BadInput(f"depth must be a whole number, not {printable(repr(depth))}")
    if depth < 1:
        raise BadInput(f"depth must be at least 1, not {depth}")
    if depth > DEEPEST:
        raise BadInput(f"depth must be at most {DEEPEST:,}, not {depth}")


def make_candidates(
    task: str | Task,
    retriever: str,
    depth: int,
    *,
    data: str | Path | None = None,
    lock: str | Path | None = None,
    name: str | None = None,
    options: Mapping[str, Any] | None = None,
    credit: Mapping[str, Any] | None = None,
    progress: Progress = silent,
    note: Callable[[str], None] = lambda line: None,
) -> tuple[Candidates, Run]:
    """Run a first stage over a task's judged queries and freeze the best `depth` passages of each.

    Self-matches are dropped before the cut, where the task's convention says so. Lists that were given (a run, a
    fusion, a published config) are as deep as the longest of them, and `name` (<system>-<depth> unless given) must say
    so. The options and the files they name are checked before anything of the task is read. `credit` says whose work
    the first stage is, by the fields of Credit; without it the credit is exabench's for its parts that learnt nothing,
    and unknown for all others. `note` is called with what is odd about the list. Raises BadInput where the available
    collection holds fewer passages than the task (a pool can be reranked, not searched).
    """
    task = single_task(task, data=data)
    options = dict(options or {})
    check_depth(depth)
    _check_choices(name, retriever, depth, options, credit)
    inputs = _Inputs(task, data, lock, needs=_needs(retriever))
    convention = task.convention
    given = {"fields": convention.text_fields, "lock": lock, "data": data, "progress": progress, **options}
    first_stage = retriever_of(retriever, inputs, task=task, **given)
    qrels = inputs.qrels
    remark = source_note(task, data, inputs.collection)
    if remark:
        note(remark)
    if inputs.collection.is_available():
        queries = [query for query in inputs.collection.queries() if query.id in qrels]
        for remark in notes.queries_without_text(qrels, queries, inputs.collection.source):
            note(remark)
    else:  # judgements alone: a published run names its queries by their ids
        queries = [Query(query_id, "") for query_id in sorted(qrels)]
    excluded = excluded_of(task, inputs.collection)
    run = search(first_stage, queries, depth, convention, name or retriever, excluded)
    if not len(run):
        what = name or retriever
        raise BadInput(
            f"first stage {what} finds nothing for any judged query of {task.name}; does it belong to another task?"
        )
    for remark in notes.on_candidates(run, qrels, depth):
        note(remark)
    depth = min(depth, getattr(first_stage, "deepest", depth))  # two stages rank what the first one found
    coverage = _coverage(run, qrels, queries, depth)
    if not RETRIEVERS[retriever].whole:
        depth = min(depth, coverage.longest)
        coverage = replace(
            coverage,
            short=int((np.diff(run.offsets) < depth).sum()),
            missing=len(qrels) - len(run),  # a search asks for every query, and may find nothing
        )
    name = name or _name_of(getattr(first_stage, "system", retriever), depth)
    if depth_in_name(name) != depth:
        right = f"{name.rpartition('-')[0]}-{depth}"
        raise BadInput(f"candidates {name!r} have depth {depth}, which must be part of their name: name them {right}")
    run = replace(run, name=name)
    # The recall at the list's whole depth is what no reranker of it can pass.
    metric = f"R@{depth}"
    _, recall = measure(qrels, run, [metric], threshold=convention.relevance_threshold)
    candidates = Candidates(
        name=name,
        task=task.name,
        retriever=retriever,
        parameters=dict(first_stage.parameters),
        depth=depth,
        digest=run_digest(run),
        queries=len(run),
        recall=mean(recall[metric]),
        source=inputs.collection.source,
        qrels_digest=qrels_digest(qrels),
        convention_digest=convention.digest,
        licence=task.licence,
        options=_recorded(options),
        coverage=coverage,
        credit=read_credit(credit) if credit else getattr(first_stage, "credit", Credit()),
    )
    return candidates, run


class _Inputs:
    """What a first stage is given of a task: its passages, read when they are first needed, after the judgements."""

    def __init__(self, task: Task, data: str | Path | None, lock: str | Path | None, needs: str = "texts") -> None:
        self._task = task
        self._data = data
        self._lock = lock
        self._needs = needs
        self._is_checked = False

    @cached_property
    def collection(self) -> Collection:
        return open_collection(self._task, self._data, self._lock, needs=self._needs)

    @cached_property
    def qrels(self) -> Qrels:
        return read_checked_qrels(self._task, self.collection, self._lock)

    def __iter__(self) -> Iterator[Passage]:
        if not self._is_checked:
            self._check()
            self._is_checked = True
        return self.collection.passages()

    def __length_hint__(self) -> int:
        """How many passages there should be, for those who say how much of them is done; 0 where no one knows."""
        return self._task.documents or 0

    def _check(self) -> None:
        """Refuse other judgements, and a pool, before anything is indexed."""
        self.qrels  # noqa: B018  # reading them is the check
        documents = self._task.documents
        if documents is None:
            return
        held = count_passages(self.collection)
        if held < documents:
            raise BadInput(
                f"task {self._task.name} has {documents} passages, {self.collection.source} has {held}: "
                "such a pool can be reranked but not searched; use a published run, with --from RUN in "
                "`exabench bench candidates`, --retriever run_file --set retriever.file=RUN in `exabench evaluate`"
            )


def _needs(retriever: str) -> str:
    """What a first stage is read for: lists from files name queries and passages by their ids alone."""
    return "judgements" if retriever in FROM_FILES else "texts"


class _PassagesAsked(Exception):
    """A first stage that is only checked asks for its passages."""


class _NoPassages:
    """Passages for a first stage that is only checked."""

    def __iter__(self) -> Iterator[Passage]:
        raise _PassagesAsked


def _name_of(system: str, depth: int) -> str:
    """The name of a system's list: only plain characters, for it is in paths and addresses."""
    plain = re.sub("[^a-z0-9+-]", "-", system.lower()).strip("-+")
    return f"{plain}-{depth}"


def _check_choices(
    name: str | None,
    retriever: str,
    depth: int,
    options: Mapping[str, Any],
    credit: Mapping[str, Any] | None,
) -> None:
    """Refuse what can be refused without the collection, before it is read or fetched: options, models, the name."""
    read_credit(credit or {})
    for option in ("model", "query_model"):
        if options.get(option):
            check_model(str(options[option]))
    check_part(RETRIEVERS, retriever, options)  # after the models: it may load torch, which takes seconds
    if name is None:
        return
    said = depth_in_name(name)
    # A list that is given may turn out less deep than was asked for, and is named by what it has.
    if said > depth or (RETRIEVERS[retriever].whole and said != depth):
        raise BadInput(f"candidates {name!r} cannot be of depth {depth}: the number in a list's name is its depth")


def _coverage(run: Run, qrels: Qrels, queries: Sequence[Query], depth: int) -> Coverage:
    """How far the lists go, as a description records it."""
    sizes = np.diff(run.offsets)
    # A search that finds nothing for a query has answered it: missing are those that had no text to search with.
    with_text = [query for query in queries if query.text.strip()]
    return Coverage(
        judged=len(qrels),
        answered=len(run),
        without_text=len(qrels) - len(with_text),
        missing=len(qrels) - len(with_text),
        short=int((sizes < depth).sum()),
        shortest=int(sizes.min()),
        longest=int(sizes.max()),
    )


_OF_THIS_MACHINE = ("cache", "devices", "shard")
"""Options of the machine that computes a list: they change nothing in it."""


def _recorded(value: Any) -> Any:
    """Options as a description holds them: what is true elsewhere, and paths from the working folder on."""
    if isinstance(value, Mapping):
        return {key: _recorded(one) for key, one in value.items() if key not in _OF_THIS_MACHINE}
    if isinstance(value, list | tuple):
        return [_recorded(one) for one in value]
    if isinstance(value, Path) or (isinstance(value, str) and Path(value).is_absolute()):
        return relative_path(value)
    return value


def freeze_candidates(
    ledger: Ledger,
    task: str | Task,
    retriever: str,
    depth: int,
    *,
    data: str | Path | None = None,
    texts: bool = True,
    note: Callable[[str], None] = lambda line: None,
    **choices: Any,
) -> tuple[Candidates, Path]:
    """Make candidates and file them on a board, with what its pages may show of them.

    `choices` are `name`, `options`, `credit` and `progress` of `make_candidates`; its notes come before anything is
    written. A missing board is made. board.toml then lists the task; a custom one is described in tasks/, and
    lock.json holds what was read of it. A list that already exists takes over another credit and is otherwise
    unchanged. `texts`: pages may show those whose licence allows it. Returns the candidates and the file
    that describes them.
    Raises BadInput as `make_candidates` does, and where the board holds another list of that name.
    """
    is_new = ledger.is_new()
    task = single_task(task, data=data, board=ledger.folder)
    ledger.check_task(task)
    task = pin_task(task, ledger.lock)
    candidates, run = make_candidates(task, retriever, depth, data=data, lock=ledger.lock, note=note, **choices)
    evaluator = RerankEvaluator(task, candidates, run, data, ledger.lock)
    passages = 0
    if task.documents is None and RETRIEVERS[retriever].whole:  # the pages say how many there are
        passages = count_passages(evaluator.collection)
    # Before anything is filed: texts that the pages show and that cannot be read refuse the list, and leave no half.
    texts = texts and is_open_for_texts(task.licence)
    source = evaluator.collection if texts else evaluator.judged
    shown = build_excerpts(task, candidates, run, source, evaluator.qrels, texts=texts)
    if is_new:  # after the work, so that a task or an option that is refused leaves no board behind
        ledger.create("My leaderboard", [candidates.task])
    file = ledger.add_candidates(candidates, run)
    filed = ledger.one_candidates(candidates.task, candidates.name)
    if choices.get("credit") and filed.credit != candidates.credit:
        ledger.replace_description(replace(filed, credit=candidates.credit))
        note(f"{filed.task}/{filed.name} has a new credit: `exabench bench run` copies it into the results")
    ledger.add_task(task)
    lock_collection(ledger.lock, task, evaluator.judged, evaluator.qrels, passages)
    if not ledger.lists_task(task.name, data):
        page = ledger.settings_file
        if ledger.list_task(task.name):
            note(f"{task.name} was added to the tasks of {page}")
        else:
            note(f"{page} does not list {task.name}: add it to tasks to show it on the pages")
    write_excerpts(shown, ledger.shown_file(candidates.task, candidates.name))
    return candidates, file


@dataclass(frozen=True)
class PlannedList:
    """A list that would be frozen: `queries` are judged; lists that are given may turn out less deep than `depth`."""

    task: str
    name: str
    retriever: str
    depth: int
    queries: int
    is_there: bool


def plan_candidates(
    ledger: Ledger,
    tasks: str | Task | Sequence[str | Task],
    retriever: str,
    depth: int,
    *,
    data: str | Path | None = None,
    name: str | None = None,
    options: Mapping[str, Any] | None = None,
    credit: Mapping[str, Any] | None = None,
) -> list[PlannedList]:
    """What `freeze_all` would freeze; everything is checked but the passages, and nothing is written.

    Raises BadInput for whatever is wrong with an option, a name, a file or the judgements of a task.
    """
    options = dict(options or {})
    _check_choices(name, retriever, depth, options, credit)
    planned = []
    for task in _single_tasks(tasks, data, ledger):
        ledger.check_task(task)
        system = retriever
        part = RETRIEVERS[retriever]
        # Making one of these fetches and loads a model, so of it the options alone are checked.
        loads_models = "model" in accepts(part) or getattr(part, "composes", False)
        if not loads_models:
            given = {"fields": task.convention.text_fields, "data": data, **options}
            with contextlib.suppress(_PassagesAsked):  # then all is well that can be told without them
                made = retriever_of(retriever, _NoPassages(), task=task, **given)
                system = getattr(made, "system", retriever)
        qrels = _Inputs(task, data, ledger.lock, needs="judgements").qrels
        list_name = name or _name_of(system, depth)
        is_there = ledger.description_file(task.name, list_name).is_file()
        planned.append(PlannedList(task.name, list_name, retriever, depth, len(qrels), is_there))
    return planned


def freeze_all(
    ledger: Ledger,
    tasks: str | Task | Sequence[str | Task],
    retriever: str,
    depth: int,
    *,
    data: str | Path | None = None,
    note: Callable[[str], None] = lambda line: None,
    **choices: Any,
) -> list[tuple[Candidates, Path]]:
    """`freeze_candidates` for every task that `tasks` stand for (those of a suite, for example), in their order.

    Where there are several, each is looked up before the first is begun. Raises as `freeze_candidates` does; lists
    that were frozen before the error are kept.
    """
    chosen = _single_tasks(tasks, data, ledger)
    frozen: list[tuple[Candidates, Path]] = []
    if len(chosen) > 1:
        check_part(RETRIEVERS, retriever, choices.get("options") or {})
        for task in chosen:
            open_collection(task, data, ledger.lock, needs=_needs(retriever))
    for task in chosen:
        about = f"{task.name}: " if len(chosen) > 1 else ""

        # `about` as a default: a function reads a variable of the loop when it is called, not when it is made.
        def tell(line: str, about: str = about) -> None:
            note(about + line)

        try:
            made = freeze_candidates(ledger, task, retriever, depth, data=data, note=tell, **choices)
        except ExabenchError as error:
            if frozen:
                before = ", ".join(candidates.task for candidates, _ in frozen)
                error.args = (f"{task.name}: {error}; frozen before the error: {before}",)
            raise
        frozen.append(made)
    return frozen


def _single_tasks(tasks: str | Task | Sequence[str | Task], data: str | Path | None, ledger: Ledger) -> list[Task]:
    """The tasks with judgements that names of tasks and suites stand for: CQADupStack's forums get a list each."""
    chosen = []
    for task in expand(tasks, data=data, board=ledger.folder):
        chosen += expand(task.members or task)
    return chosen


def search(
    first_stage: Retriever,
    queries: Sequence[Query],
    depth: int,
    convention: Convention,
    name: str,
    excluded: Mapping[str, Set[str]] = MappingProxyType({}),
) -> Run:
    """The best `depth` passages of each query; self-matches and excluded ids go before the cut (`leave_out`)."""
    # As many passages more as can go fill the places that they leave: a query has one self-match at most.
    more = max(map(len, excluded.values()), default=0)
    if convention.self_match == "drop":
        more += 1
    found, _, _ = leave_out(first_stage.search(queries, depth + more), convention, excluded)
    return top(found, depth, name)


class RerankEvaluator(CandidateEvaluator):
    """A candidate list together with its collection: the queries and texts that rerankers are given, read once.

    `judged` is where the judgements are read.
    """

    def __init__(
        self,
        task: Task,
        candidates: Candidates,
        run: Run,
        data: str | Path | None,
        lock: str | Path | None,
        metrics: Sequence[str] = (),
    ) -> None:
        self._data = data
        self._lock = lock
        self.judged = open_collection(task, data, lock, needs="judgements")
        qrels = read_checked_qrels(task, self.judged, lock)
        super().__init__(task, candidates, run, qrels, self.judged.source, metrics)

    @cached_property
    def collection(self) -> Collection:
        """Where the texts are read: measuring a run needs none of them. Raises as `open_collection` does."""
        return open_collection(self.task, self._data, self._lock)

    def rerank(
        self, reranker: Reranker, name: str, pairs: PairProgress | None = None, interpolate: float | None = None
    ) -> tuple[Run, dict[str, Usage]]:
        """The candidates scored by a reranker, which is given texts if it reads them; `interpolate` is its weight."""
        if pairs is not None:
            pairs.begin(len(self.run.passage_ids), f"pairs of {name} on {self.task.name} ({self.candidates.name})")
        if _reads_texts(reranker):
            return rerank(reranker, self.run, self._queries, self._passages, name, pairs, interpolate)
        # One that needs ids or judgements alone, such as a baseline: the collection's texts need not be read for it.
        return rerank(reranker, self.run, {}, {}, name, pairs, interpolate)

    def evaluate(
        self,
        reranker: Reranker,
        submission: str,
        kind: str,
        command: str | None = None,
        pairs: PairProgress | None = None,
        interpolate: float | None = None,
    ) -> tuple[Result, Run]:
        """Rerank and measure; the cost lacks the timing, which `time_latency` adds.

        The weight `interpolate` is part of the result's model.
        """
        run, usages = self.rerank(reranker, submission, pairs, interpolate)
        result = self.result(submission, kind, run, command)
        if _reads_texts(reranker):
            remarks = notes.queries_without_text(self.qrels, self._queries.values(), self.source)
            measured = replace(result.measurement, notes=(*remarks, *result.measurement.notes))
            result = replace(result, measurement=measured)
        if usages:  # only what runs a model counts; a baseline has no cost
            measured = result.measurement
            per_query = measured.per_query[measured.headline]
            precision = getattr(reranker, "precision", "unknown")
            parameters = getattr(reranker, "parameters", None)
            cost = cost_of(usages, per_query, precision=precision, parameters=parameters)
            model = dict(getattr(reranker, "identity", {}))
            measured = replace(measured, notes=(*measured.notes, *notes.on_usages(usages.values(), model)))
            result = replace(result, measurement=measured, model=model, cost=cost)
        if interpolate is not None:
            result = replace(result, model={**result.model, "interpolate": interpolate})
        return result, run

    def time_latency(self, result: Result, reranker: Reranker) -> Result:
        """The result with its timing: some queries spread over the list, each scored alone and afresh.

        They are the same for every system, fast or slow, since lists differ in length and passages too.
        """
        if result.cost is None or not len(self.run):
            return result
        step = max(1, len(self.run) // TIMED_QUERIES)
        seconds: list[float] = []
        for query_id in self.run.query_ids[::step][:TIMED_QUERIES]:
            job = job_of(query_id, self.run, self._queries, self._passages)
            started = time.perf_counter()  # after the texts were looked up: a latency is the reranker's own
            reranker.score(*job)
            seconds.append(time.perf_counter() - started)
        p50, p95 = np.percentile(seconds, [50, 95]).tolist()
        timing = Timing(
            p50=p50,
            p95=p95,
            sample=len(seconds),
            pairs_per_second=getattr(reranker, "pairs_per_second", None),
            hardware=hardware(),
        )
        return replace(result, cost=replace(result.cost, timing=timing))

    @cached_property
    def _queries(self) -> dict[str, Query]:
        return {query.id: query for query in self.collection.queries()}

    @cached_property
    def _passages(self) -> Mapping[str, Passage]:
        """The text of every candidate by passage id, with only the fields that the task's convention names.

        The collection is read once, and the texts wait in a temporary file, not in memory.
        Raises BadInput with the first id that the collection does not hold.
        """
        wanted = set(self.run.passage_ids.to_pylist())
        fields = self.task.convention.text_fields
        passages = SelectedTexts(passages_of(self.collection, wanted), wanted, fields)
        missing = wanted - set(passages)
        if missing:  # scored as an empty text it would look like a bad passage, and no one would know
            raise BadInput(f"{self.collection.source} has no text for a candidate", id=min(missing))
        return passages


def _reads_texts(reranker: Reranker) -> bool:
    return getattr(reranker, "reads", "texts") == "texts"


def read_evaluator(
    ledger: Ledger, task: str, name: str, data: str | Path | None, metrics: Sequence[str] = ()
) -> RerankEvaluator:
    """The evaluator of a board's candidate list. Raises BadInput, OutsideFailed."""
    candidates = ledger.one_candidates(task, name)
    run = ledger.candidates_run(candidates)
    found = single_task(task, data=data, board=ledger.folder)
    return RerankEvaluator(found, candidates, run, data, ledger.lock, metrics)
