"""Verification: recompute every number of a leaderboard from its stored run, and check every file of it."""

from __future__ import annotations

import csv
import functools
import io
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from exabench.bench.excerpts import read_excerpts
from exabench.bench.ledger import Cell as LedgerCell
from exabench.bench.ledger import Ledger, last_values, read_result, result_json
from exabench.bench.measurement import CandidateEvaluator
from exabench.bench.submissions import EXTERNAL_RUN_KINDS, read_training
from exabench.core.errors import BadInput, ExabenchError, OutsideFailed
from exabench.core.files import digest_of, read_bytes, read_text
from exabench.core.nouns import Candidates, Cost, Result, Submission
from exabench.data.releases import verify as release_problems
from exabench.measure.runs import completed, read_run
from exabench.models.flops import qpp
from exabench.tasks.catalogue import expand, single_task
from exabench.tasks.collections import checked_qrels, open_collection

EXACT = 1e-9
CLOSE = 5e-4
REPORTED = ("system", "dataset", "first_stage", "topk", "metric", "value", "source")


@dataclass(frozen=True)
class Cell:
    """One recomputed number: `verdict` is OK, off by ..., or FAIL with the reason."""

    submission: str
    task: str
    candidates: str
    metric: str
    filed: float | None
    found: float | None
    verdict: str

    @property
    def holds(self) -> bool:
        """True for OK alone."""
        return self.verdict == "OK"


def verify(board: str | Path, slug: str = "*", data: str | Path | None = None) -> Iterator[Cell]:
    """Recompute the filed results (of one submission) from stored runs, candidates and judgements, cell by cell.

    Each headline number is held against the change log, too; without a `slug` also every file that no result is
    recomputed from: submissions, reports of trainings, lists and what is shown of them, the change log, datasets.
    """
    ledger = Ledger(Path(board))
    files = ledger.result_files(slug)
    if not files:
        raise BadInput(f"holds no result{'' if slug == '*' else f' of {slug}'}", file=board)
    stage_of = functools.cache(lambda task, candidates: _stage(ledger, task, candidates, data))
    filed, _ = ledger.readable_submissions()  # the others are named with the files
    logged = _logged(ledger)
    for file in files:
        task, _, candidates = file.stem.partition(".")
        try:
            result = read_result(file)
            found = _recomputed(ledger, result, filed, stage_of(result.task, result.candidates.name))
        except OutsideFailed:
            raise
        except ExabenchError as error:
            yield Cell(file.parent.name, task, candidates, "-", None, None, f"FAIL: {error}")
            continue
        for metric, value in result.measurement.metrics.items():
            each = [r.measurement.per_query.get(metric, {}) for r in (result, found)]
            again = found.measurement.metrics.get(metric)
            yield Cell(result.submission, task, candidates, metric, value, again, _verdict(value, again, *each))
        yield Cell(result.submission, task, candidates, "everything else", None, None, _record(result, found))
        yield _in_the_log(result, logged)
    if slug == "*":
        yield from _gone(files, logged)
        yield from _other_files(ledger)


def _logged(ledger: Ledger) -> Mapping[LedgerCell, float | None] | None:
    """The numbers as the change log has them last; None where it cannot be read."""
    try:
        return last_values(ledger.changes())
    except ExabenchError:
        return None


def _in_the_log(result: Result, logged: Mapping[LedgerCell, float | None] | None) -> Cell:
    metric = result.measurement.headline
    place = (result.submission, result.task, result.candidates.name)
    value = result[metric]
    last = (logged or {}).get((*place, metric))
    if logged is None:
        verdict = "FAIL: the change log cannot be read"
    elif last is None:
        verdict = "FAIL: the number has no line in the change log; run `exabench bench run`"
    elif abs(value - last) > EXACT:
        verdict = "FAIL: the number changed without a line in the change log"
    else:
        verdict = "OK"
    return Cell(*place, f"{metric} in the change log", value, last, verdict)


def _gone(files: list[Path], logged: Mapping[LedgerCell, float | None] | None) -> Iterator[Cell]:
    """Numbers that the change log still has and no result holds."""
    there = {(file.parent.name, file.stem) for file in files}
    for (slug, task, candidates, metric), value in (logged or {}).items():
        if value is not None and (slug, f"{task}.{candidates}") not in there:
            verdict = "FAIL: the number went without a line in the change log; run `exabench bench run`"
            yield Cell(slug, task, candidates, f"{metric} in the change log", None, value, verdict)


def _other_files(ledger: Ledger) -> Iterator[Cell]:
    """The files that no result is recomputed from, each as a cell of its own; a dataset is one."""
    kinds = ("board", "submission", "training", "candidates", "shown", "changes")
    for kind, file in ledger.files():
        if kind not in kinds:
            continue
        try:
            LOOKS[kind](ledger, file)
            verdict = "OK"
        except OutsideFailed:
            raise
        except ExabenchError as error:
            verdict = f"FAIL: {error}"
        yield Cell("-", "-", "-", file.relative_to(ledger.folder).as_posix(), None, None, verdict)
    for folder in sorted(file.parent for file in ledger.datasets.glob("*/manifest.json")):
        problems = release_problems(folder)
        verdict = f"FAIL: {'; '.join(problems[:3])}" if problems else "OK"
        yield Cell("-", "-", "-", folder.relative_to(ledger.folder).as_posix(), None, None, verdict)


def _stage(ledger: Ledger, task_name: str, name: str, data: str | Path | None) -> CandidateEvaluator:
    task = single_task(task_name)
    candidates = ledger.one_candidates(task_name, name)
    collection = open_collection(task, data, ledger.lock)
    qrels = checked_qrels(task, collection, ledger.lock)
    run = ledger.candidates_run(candidates)
    try:
        return CandidateEvaluator(task, candidates, run, qrels, collection.source)
    except BadInput as error:
        raise BadInput(str(error), file=_list_file(ledger, candidates)) from error


def _list_file(ledger: Ledger, candidates: Candidates) -> Path:
    return ledger.candidates_file(candidates.task, candidates.name).with_name(f"{candidates.name}.json")


def _recomputed(ledger: Ledger, result: Result, filed: Mapping[str, Submission], stage: CandidateEvaluator) -> Result:
    """The whole result again, from the stored run, the candidates and the judgements."""
    if result.submission not in filed:
        raise BadInput(f"{result.submission} is not a submission of this board")
    if stage.candidates != result.candidates:
        list_ = _list_file(ledger, stage.candidates)
        raise BadInput("is another candidate list than the one that the result was made with", file=list_)
    file = ledger.run_file(result.submission, result.task, result.candidates.name)
    if digest_of(read_bytes(file)) != result.run_digest:
        raise BadInput("is not the run that the result was made from", file=file)
    run = read_run(file, result.submission)
    as_of_0_1 = "randomisation" in result.gain
    kind = filed[result.submission].kind
    if kind in EXTERNAL_RUN_KINDS:  # exabench did not make such a ranking: it knows of no model and of no cost
        command = stage.command(result.submission)
        return stage.result(result.submission, "run", run, command, as_of_0_1=as_of_0_1)
    trusted = kind == "model" and result.command.endswith(" --trusted")  # where its model ran, no run can tell
    command = stage.command(result.submission, trusted=trusted)
    found = stage.result(result.submission, kind, run, command, as_of_0_1=as_of_0_1)
    return replace(found, model=result.model, cost=result.cost and _consistent(result.cost))


def _consistent(cost: Cost) -> Cost:
    """A cost whose quotients follow from its FLOPs; counts and times were taken while the reranker ran."""
    queries: dict[str, float | None] = {}
    metric: dict[str, float | None] = {}
    for name, flops in (("paper", cost.flops_paper), ("exact", cost.flops_exact)):
        queries[name] = None if flops is None else qpp({"mean": flops})
        metric[name] = cost.rpp[name] if flops else None
    return replace(cost, qpp=queries, rpp=metric)


def _record(filed: Result, found: Result) -> str:
    """Intervals, bounds, tests, counts, digests, state: all but what names the day and the machine."""
    ignored = {"created", "qrels_source", "digest"}
    differing = [path for path in _differences(result_json(filed), result_json(found)) if path not in ignored]
    return f"FAIL: differs in {', '.join(differing[:5])}" if differing else "OK"


def _differences(filed: Any, found: Any, path: str = "") -> list[str]:
    """Where two JSON values differ, as paths; numbers may be EXACT apart, and the metrics have their own cells."""
    if path in ("measurement.metrics", "measurement.per_query", "versions"):
        return []
    if isinstance(filed, dict) and isinstance(found, dict) and set(filed) == set(found):
        differing = []
        for key in filed:
            differing += _differences(filed[key], found[key], f"{path}.{key}".lstrip("."))
        return differing
    if isinstance(filed, list) and isinstance(found, list) and len(filed) == len(found):
        differing = []
        for i, (old, new) in enumerate(zip(filed, found, strict=True)):
            differing += _differences(old, new, f"{path}[{i}]")
        return differing
    if type(filed) is type(found) is float:
        return [] if abs(filed - found) <= EXACT else [path]
    return [] if filed == found else [path]


def _verdict(
    filed: float, found: float | None, filed_each: Mapping[str, float], found_each: Mapping[str, float]
) -> str:
    if found is None:
        return "FAIL: not a metric of this task"
    if set(filed_each) != set(found_each):
        return "FAIL: other queries"
    off = abs(filed - found)
    if off <= EXACT and all(abs(filed_each[q] - found_each[q]) <= EXACT for q in found_each):
        return "OK"
    return f"off by {off:.6f}" if off <= CLOSE else f"FAIL: off by {off:.4f}"


def check(board: str | Path) -> list[str]:
    """Every problem of every file under a leaderboard's folder, one line each; an empty list is a good board."""
    ledger = Ledger(Path(board))
    problems: list[str] = []
    known: set[Path] = set()
    for kind, file in ledger.files():
        known.add(file)
        try:
            if kind in LOOKS:
                LOOKS[kind](ledger, file)
        except ExabenchError as error:
            problems.append(str(error))
    return problems + _strangers(ledger.folder, known)


def _check_settings(ledger: Ledger, file: Path) -> None:
    settings = ledger.settings()
    for names in (settings["tasks"], *settings.get("views", {}).values()):
        expand(names)


def _check_submission(ledger: Ledger, file: Path) -> None:
    ledger.submission(file)


def _check_training(ledger: Ledger, file: Path) -> None:
    if not ledger.submission_file(file.parent.name).is_file():
        raise BadInput("belongs to no submission", file=file)
    read_training(file.parent)


def _check_candidates(ledger: Ledger, file: Path) -> None:
    ledger.candidates_run(ledger.one_candidates(file.parent.name, file.stem))


def _check_shown(ledger: Ledger, file: Path) -> None:
    values = read_excerpts(file)
    task, name = file.parent.name, file.name.removesuffix(".shown.json.gz")
    if (values["task"], values["candidates"]) != (task, name):
        raise BadInput("lies under another name than its content says", file=file)
    if ledger.one_candidates(task, name).digest != values["candidates_digest"]:
        raise BadInput("shows another candidate list than the one filed; freeze the list again", file=file)


def _check_changes(ledger: Ledger, file: Path) -> None:
    ledger.changes()
    if not read_bytes(file).endswith(b"\n"):
        raise BadInput("ends in half a line; run `exabench bench run` again", file=file)


def _check_run(ledger: Ledger, file: Path) -> None:
    task, _, candidates = file.name.removesuffix(".trec.gz").partition(".")
    if file.parent.name not in ledger.submissions():
        raise BadInput("belongs to no submission", file=file)
    completed(read_run(file), ledger.candidates_run(ledger.one_candidates(task, candidates)))


def _check_result(ledger: Ledger, file: Path) -> None:
    result = read_result(file)
    names = (result.submission, result.task, result.candidates.name)
    run = ledger.run_file(*names)
    if digest_of(read_bytes(run)) != result.run_digest:
        raise BadInput(f"was not made from {run.name} as it is now", file=file)
    if ledger.one_candidates(*names[1:]) != result.candidates:
        raise BadInput("was made with another candidate list than the one filed", file=file)


def _check_reported(ledger: Ledger, file: Path) -> None:
    text = read_text(file)
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    if not rows:
        raise BadInput("holds no row", file=file)
    if tuple(rows[0]) != REPORTED:
        return  # notes and statistics beside the numbers have columns of their own
    for number, row in enumerate(rows, 2):
        try:
            float(row["value"])
        except (TypeError, ValueError):
            raise BadInput(f"value {row['value']!r} is not a number", file=file, line=number) from None
        if not row["source"]:
            raise BadInput("a reported number needs its source", file=file, line=number)


def _strangers(folder: Path, known: set[Path]) -> list[str]:
    problems = []
    for file in sorted(folder.rglob("*")):
        built = file.relative_to(folder).parts[0] == "site" or file.relative_to(folder).parts[0].startswith(".site.")
        if built or file.is_dir() and not file.is_symlink():
            continue
        if file.is_symlink():
            problems.append(f"{file}: is a link; a leaderboard holds plain files only")
        elif file not in known:
            problems.append(f"{file}: does not belong to a leaderboard")
    return problems


LOOKS: Mapping[str, Callable[[Ledger, Path], None]] = {
    "board": _check_settings,
    "submission": _check_submission,
    "candidates": _check_candidates,
    "run": _check_run,
    "result": _check_result,
    "reported": _check_reported,
    "training": _check_training,
    "shown": _check_shown,
    "changes": _check_changes,
}
