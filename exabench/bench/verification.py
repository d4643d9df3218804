"""Verification: recompute every number of a leaderboard from its stored run, and check every file of it."""

from __future__ import annotations

import contextlib
import csv
import functools
import io
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from exabench.bench.candidates import RerankEvaluator, read_evaluator
from exabench.bench.contests import system_problem
from exabench.bench.evaluation import SAME
from exabench.bench.excerpts import read_excerpts
from exabench.bench.ledger import REPORTED_COLUMNS, Ledger, last_values, read_result, result_json
from exabench.bench.new_board import check_workflow
from exabench.bench.submissions import EXTERNAL_RUN_KINDS, read_training
from exabench.core.errors import BadInput, ExabenchError, OutsideFailed, nearest, printable
from exabench.core.files import digest_of, read_bytes, read_text
from exabench.core.nouns import Result, Submission
from exabench.data.releases import verify as release_problems
from exabench.hub.client import NotOnHub
from exabench.measure.runs import complete_run
from exabench.models.flops import qpp
from exabench.tasks.catalogue import task as task_of

CLOSE = 5e-4  # half of the last of three digits
# Metrics have their own cells, notes are sentences that the next version may word in another way, and the rest names
# the day and the machine.
_NOT_COMPARED = (
    "measurement.metrics measurement.per_query measurement.notes created qrels_source versions digest".split()
)


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
        """True only for OK."""
        return self.verdict == "OK"


def verify(board: str | Path, slug: str = "*", data: str | Path | None = None) -> Iterator[Cell]:
    """Recompute the filed results (of one submission) from stored runs, candidates and judgements, cell by cell.

    Each headline number is compared with the change log, too; without a `slug` also every file that no result is
    recomputed from: submissions, reports of trainings, lists and what is shown of them, the change log, datasets.
    """
    ledger = Ledger(Path(board))
    ledger.check_exists()
    files = ledger.result_files(slug)
    if not files:
        if slug != "*":
            raise BadInput(
                f"has no result of {printable(slug)}; {nearest(slug, ledger.slugs_with_results())}", file=board
            )
        raise BadInput("has no result; exabench bench run makes them", file=board)
    filed, _ = ledger.readable_submissions()  # the others are named with the files
    evaluator_of = functools.cache(read_evaluator)  # a list, its texts and judgements are read once for all results
    logged = {}
    has_log = False
    with contextlib.suppress(ExabenchError):  # a log that cannot be read is the verdict on every number
        logged = last_values(ledger.changes())
        has_log = True

    for file in files:
        task, _, candidates = file.stem.partition(".")
        try:
            result = read_result(file)
            evaluator = evaluator_of(ledger, result.task, result.candidates.name, data)
            found = _recompute(ledger, result, filed, evaluator)
        except (OutsideFailed, NotOnHub):  # a collection that cannot be read says nothing about the board
            raise
        except ExabenchError as error:
            yield Cell(file.parent.name, task, candidates, "-", None, None, f"FAIL: {error}")
            continue
        cell = functools.partial(Cell, result.submission, task, candidates)
        for metric, value in result.measurement.metrics.items():
            verdict = _metric_verdict(metric, result, found)
            yield cell(metric, value, found.measurement.metrics.get(metric), verdict)
        differing = _differences(result_json(result), result_json(found))
        verdict = "OK"
        if differing:
            verdict = f"FAIL: differs in {', '.join(differing[:5])}"
        yield cell("all other fields", None, None, verdict)

        metric = result.measurement.headline
        value = result[metric]
        last = logged.get((result.submission, task, candidates, metric))
        if not has_log:
            verdict = "FAIL: the change log cannot be read"
        elif last is None:
            verdict = "FAIL: the number has no entry in the change log; run `exabench bench run`"
        elif abs(value - last) > SAME:
            verdict = "FAIL: the number changed without an entry in the change log"
        else:
            verdict = "OK"
        yield cell(f"{metric} in the change log", value, last, verdict)
    if slug != "*":
        return

    # Numbers that the change log still has and no result holds.
    there = set(files)
    for key, last in logged.items():
        if last is not None and ledger.result_file(*key[:3]) not in there:
            verdict = "FAIL: the number was removed without an entry in the change log; run `exabench bench run`"
            yield Cell(*key[:3], f"{key[3]} in the change log", None, last, verdict)
    for path, verdict in _file_verdicts(ledger, filed):
        yield Cell("-", "-", "-", path.relative_to(ledger.folder).as_posix(), None, None, verdict)


def _file_verdicts(ledger: Ledger, filed: Mapping[str, Submission]) -> Iterator[tuple[Path, str]]:
    """The files that no result is recomputed from, and the folder of each dataset, with their verdicts."""
    for kind, file in ledger.files():
        if kind not in ("board", "task", "submission", "training", "candidates", "shown", "changes"):
            continue
        try:
            _check_file(ledger, filed, kind, file)
            yield file, "OK"
        except OutsideFailed:
            raise
        except ExabenchError as error:
            yield file, f"FAIL: {error}"
    for manifest in sorted(ledger.datasets.glob("*/manifest.json")):
        problems = release_problems(manifest.parent)
        verdict = "OK"
        if problems:
            verdict = f"FAIL: {'; '.join(problems[:3])}"
        yield manifest.parent, verdict


def _recompute(ledger: Ledger, result: Result, filed: Mapping[str, Submission], evaluator: RerankEvaluator) -> Result:
    """The whole result again, from the stored run, the candidates and the judgements."""
    slug = result.submission
    name = result.candidates.name
    if slug not in filed:
        raise BadInput(f"{slug} is not a submission of this board")
    if evaluator.candidates != result.candidates:
        file = ledger.description_file(result.task, name)
        same_list = evaluator.candidates.digest == result.candidates.digest
        if same_list and evaluator.candidates.qrels_digest != result.candidates.qrels_digest:
            command = shlex.join(["exabench", "bench", "run", slug, "--board", str(ledger.folder)])
            raise BadInput(f"the judgements were replaced since; `{command}` recomputes the result", file=file)
        raise BadInput("is not the candidate list that the result was made with", file=file)
    file = ledger.run_file(slug, result.task, name)
    if digest_of(read_bytes(file)) != result.run_digest:
        raise BadInput("is not the run that the result was made from", file=file)
    run = ledger.run(slug, result.task, name)
    kind = filed[slug].kind
    if kind in EXTERNAL_RUN_KINDS:  # exabench did not make such a ranking: it knows of no model and of no cost
        return evaluator.result(slug, "run", run, number=result.format)
    trusted = kind == "model" and result.command.endswith(" --trusted")  # where its model ran, no run can tell
    command = evaluator.command(slug, trusted=trusted)
    found = evaluator.result(slug, kind, run, command, number=result.format)
    cost = result.cost
    if cost is not None:  # counts and times were taken while the reranker ran; quotients follow from the FLOPs
        rpp = dict(cost.rpp)
        quotients = {}
        for estimate, flops in (("paper", cost.flops_paper), ("exact", cost.flops_exact)):
            if not flops:
                rpp[estimate] = None
            quotients[estimate] = qpp({"mean": flops or 0.0})
        cost = replace(cost, rpp=rpp, qpp=quotients)
    return replace(found, model=result.model, cost=cost)


def _metric_verdict(metric: str, filed: Result, found: Result) -> str:
    """The verdict on one metric's mean and on its value for each query."""
    if metric not in found.measurement.metrics:
        return "FAIL: not a metric of this task"
    old = filed.measurement.per_query.get(metric, {})
    new = found.measurement.per_query[metric]
    if set(old) != set(new):
        return "FAIL: other queries"
    off = abs(filed[metric] - found[metric])
    if off <= SAME and all(abs(old[query_id] - new[query_id]) <= SAME for query_id in new):
        return "OK"
    if off <= CLOSE:
        return f"off by {off:.6f}"
    return f"FAIL: off by {off:.4f}"


def _differences(filed: Any, found: Any, path: str = "") -> list[str]:
    """Where two results as JSON differ, as paths: intervals, bounds, tests, counts, digests, state.

    Numbers may be SAME apart.
    """
    if path in _NOT_COMPARED:
        return []
    differing = []
    if isinstance(filed, dict) and isinstance(found, dict) and set(filed) == set(found):
        for key in filed:
            differing.extend(_differences(filed[key], found[key], f"{path}.{key}".lstrip(".")))
        return differing
    if isinstance(filed, list) and isinstance(found, list) and len(filed) == len(found):
        for i, (old, new) in enumerate(zip(filed, found, strict=True)):
            differing.extend(_differences(old, new, f"{path}[{i}]"))
        return differing
    if filed == found or (type(filed) is type(found) is float and abs(filed - found) <= SAME):
        return []
    return [path]


def check(board: str | Path) -> list[str]:
    """Every problem of every file under a leaderboard's folder, one line each; an empty list is a good board."""
    ledger = Ledger(Path(board))
    ledger.check_exists()
    filed, _ = ledger.readable_submissions()  # the others are problems themselves
    problems = []
    known = set()
    for kind, file in ledger.files():
        known.add(file)
        try:
            _check_file(ledger, filed, kind, file)
        except ExabenchError as error:
            problems.append(str(error))
    for file in sorted(ledger.folder.rglob("*")):
        top = file.relative_to(ledger.folder).parts[0]
        if top == "site" or top.startswith(".site."):  # a built site is there
            continue
        if file.is_symlink():
            problems.append(f"{file}: is a link; a leaderboard contains regular files only")
        elif not file.is_dir() and file not in known:
            problems.append(f"{file}: does not belong to a leaderboard")
    return problems


def unchecked_senders(board: str | Path) -> list[str]:
    """The names of entries that came through no queue, or before it kept senders: whose they are was never checked."""
    filed, _ = Ledger(Path(board)).readable_submissions()
    return sorted(one.name for one in filed.values() if one.kind != "baseline" and not one.sender)


def _check_file(ledger: Ledger, filed: Mapping[str, Submission], kind: str, file: Path) -> None:
    """Check one file of a board, with the kind that `Ledger.files` gives it. Raises BadInput.

    `filed` are the submissions that can be read, by slug.
    """
    if kind in ("training", "run") and not ledger.submission_file(file.parent.name).is_file():
        raise BadInput("belongs to no submission", file=file)

    if kind == "board":
        ledger.tasks()
        ledger.views()

    elif kind == "workflow":
        if file.is_file():
            check_workflow(file)

    elif kind == "task":
        task_of(file.stem, board=ledger.folder)

    elif kind == "submission":
        submission = ledger.submission(file)
        earlier = [one for slug, one in filed.items() if slug < submission.slug]  # of two that differ one is named
        problem = system_problem(submission, earlier)
        if problem:
            raise BadInput(problem, file=file)

    elif kind == "training":
        read_training(file.parent)

    elif kind == "candidates":
        ledger.candidates_run(ledger.one_candidates(file.parent.name, file.stem))

    elif kind == "shown":
        values = read_excerpts(file)
        task = file.parent.name
        name = file.name.removesuffix(".shown.json.gz")
        if (values["task"], values["candidates"]) != (task, name):
            raise BadInput("has a name that does not match its content", file=file)
        if ledger.one_candidates(task, name).digest != values["candidates_digest"]:
            raise BadInput("shows a different candidate list from the filed one; freeze the list again", file=file)

    elif kind == "changes":
        ledger.changes()
        if not read_bytes(file).endswith(b"\n"):
            raise BadInput("ends in an incomplete line; run `exabench bench run` again", file=file)

    elif kind == "run":
        task, _, name = file.name.removesuffix(".trec.gz").partition(".")
        sent = ledger.run(file.parent.name, task, name)
        complete_run(sent, ledger.candidates_run(ledger.one_candidates(task, name)))

    elif kind == "result":
        result = read_result(file)
        run = ledger.run_file(result.submission, result.task, result.candidates.name)
        if digest_of(read_bytes(run)) != result.run_digest:
            raise BadInput(f"was not made from {run.name} as it is now", file=file)
        if ledger.one_candidates(result.task, result.candidates.name) != result.candidates:
            raise BadInput("was computed with a candidate list other than the filed one", file=file)

    elif kind == "titles":
        unknown = ledger.reported_sources().keys() - {one.stem for one in ledger.reported_files()}
        if unknown:
            raise BadInput(f"names a table that is not in the same folder: {', '.join(sorted(unknown))}", file=file)

    elif kind == "study":
        ledger.one_study(file.parent.name)

    elif kind == "reported":
        rows = list(csv.DictReader(io.StringIO(read_text(file), newline="")))
        if not rows:
            raise BadInput("has no rows", file=file)
        if tuple(rows[0]) != REPORTED_COLUMNS:
            return  # notes and statistics next to the numbers have other columns
        for number, row in enumerate(rows, 2):
            try:
                float(row["value"])
            except (TypeError, ValueError):
                raise BadInput(
                    f"value {printable(repr(row['value']))} is not a number", file=file, line=number
                ) from None
            if not row["source"]:
                raise BadInput("a reported number needs a source", file=file, line=number)
