"""`exabench demo`: a board recipe carried through the whole thread, from first stage to page."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from exabench.cli._output import data_option, json_option, note, progress, set_option, show, show_json, table

if TYPE_CHECKING:
    from exabench.auditing import Audit
    from exabench.board import Board, Ranking
    from exabench.ledger import Ledger
    from exabench.nouns import Submission
    from exabench.recipe import Recipe
    from exabench.training._plan import Plan

KEYS: Mapping[str, type] = {
    "title": str,
    "tasks": list,
    "datasets": list,
    "views": dict,
    "first_stages": dict,
    "published": dict,
    "models": dict,
    "trained": list,
}
Report = Callable[[int, int, str], None]


@click.command()
@click.option("--to", type=click.Path(path_type=Path), default=Path("exabench-demo"), show_default=True)
@click.option("--recipe", help="A board recipe; else mini, or collections with --data.")
@set_option
@data_option
@json_option
def demo(to: Path, recipe: str | None, pairs: tuple[str, ...], data: Path | None, as_json: bool) -> None:
    """Run the whole thread on the embedded collection (or on the collections of --data) into a leaderboard.

    First stages and their fusion, datasets, a model trained on one of them, rerankers with and without a model,
    published runs, results, verification, pages.
    """
    from exabench.board import Board
    from exabench.errors import CheckFailed
    from exabench.files import only_writer
    from exabench.ledger import Ledger
    from exabench.pages import render
    from exabench.recipe import read_recipe
    from exabench.submitting import add_baselines
    from exabench.verification import verify

    given = click.get_current_context().get_parameter_source("data") is click.core.ParameterSource.COMMANDLINE
    page = read_recipe("board", recipe or ("collections" if given else "mini"), KEYS, pairs)
    ledger = Ledger(to)
    with only_writer(to):
        ledger.create(page.values["title"], page.values["tasks"], page.values.get("views"))
        _copy_reported(to)
        with progress("demo") as report:
            _freeze(page, ledger, data, report)
            add_baselines(to)
            _submit_published(page, ledger, data, report)
            for name, about in page.values.get("models", {}).items():
                _submit(ledger, {"name": name, "kind": "model", **about})
        with progress("datasets") as report:
            audits = [_dataset(name, ledger, data, report) for name in page.values.get("datasets", ())]
        trained = [_trained(name, ledger, data) for name in page.values.get("trained", ())]
        with progress("results") as report:
            files = _results(ledger, trained, data, report)
            cells = list(verify(to, data=data))
    board = Board.read(to)
    with progress("pages") as report:
        render(board, to / "site", progress=report)
    wrong = [cell for cell in cells if not cell.holds]
    index = (to / "site" / "index.html").resolve()
    if as_json:
        counts = {"results": len(files), "numbers": len(cells), "wrong": len(wrong)}
        made = {"recipe": page.name, "fingerprint": page.fingerprint, "datasets": [one.as_json() for one in audits]}
        show_json({"board": str(to), "page": str(index), **made, **counts})
    else:
        show(_summary(board))
        note(
            f"{len(files)} results; {len(cells)} numbers recomputed from their stored runs, "
            f"{len(wrong)} of them do not hold"
        )
        for name in page.values.get("datasets", ()):
            show(f"dataset: {name} (exabench data audit {_builds(to) / name / 'release'})")
        for plan, _ in trained:
            show(f"model: {plan.recipe.name} ({_builds(to) / plan.recipe.name / 'model'})")
        show(f"page: {index}")
    if wrong:
        raise CheckFailed(f"{to}: {len(wrong)} numbers do not hold; exabench bench verify --board {to} names them")


def _copy_reported(to: Path) -> None:
    """The tables of printed numbers travel along from a checkout."""
    from exabench.files import write

    for file in sorted(Path("leaderboard/reported").glob("*.csv")):
        write(to / "reported" / file.name, file.read_bytes())


def _freeze(page: Recipe, ledger: Ledger, data: Path | None, report: Report) -> None:
    """Candidates of every first stage on every task, published runs first: fusion builds on the others."""
    from exabench.catalogue import expand
    from exabench.reranking import make_candidates

    work = list(_published_first_stages(page, data)) if data else []
    for name, stage in page.values["first_stages"].items():
        options = {key: value for key, value in stage.items() if key not in ("retriever", "depth", "tasks")}
        for task in expand(stage.get("tasks", page.values["tasks"])):
            if stage["retriever"] == "fusion":
                runs = [str(ledger.candidates_file(task, run)) for run in stage["runs"]]
                options = {**options, "runs": runs}
            work.append((task, name, stage["retriever"], stage["depth"], options))
    for done, (task, name, retriever, depth, options) in enumerate(work, 1):
        report(done - 1, len(work), f"first stage {name} on {task}")
        given: dict[str, Any] = {"data": data, "lock": ledger.lock, "name": name, "options": options}
        made = make_candidates(task, retriever, depth, progress=report, **given)
        ledger.add_candidates(*made)
        report(done, len(work), f"first stage {name} on {task}")


def _published_first_stages(page: Recipe, data: Path) -> Iterator[tuple[str, str, str, int, dict[str, Any]]]:
    from exabench.catalogue import expand

    depth = int(page.values.get("published", {}).get("depth", 100))
    for task in expand(page.values["tasks"]):
        for file in sorted((data / task / "runs").glob("*.trec")):
            yield task, f"{file.stem}-{depth}", "run_file", depth, {"file": str(file)}


def _submit_published(page: Recipe, ledger: Ledger, data: Path | None, report: Report) -> None:
    """Every system's samples as submissions of their own, each with its runs over all tasks and first stages."""
    from exabench.catalogue import expand

    published = page.values.get("published")
    if not published or data is None:
        return
    found: dict[str, list[str]] = {}
    for task in expand(page.values["tasks"]):
        for file in sorted((data / task / "rerank_runs").glob("*.trec")):
            first_stage, _, system = file.stem.partition("+")
            found.setdefault(system, []).append(f"{task}@{first_stage}-{published['depth']}={file}")
    for done, (system, runs) in enumerate(sorted(found.items()), 1):
        about = published["systems"].get(re.sub(r"\.\d+$", "", system))
        if about is None:
            note(f"left out: the recipe says nothing of {system}")
            continue
        name = f"{about['owner']}/{system}"
        known = {key: about[key] for key in ("link", "training_data", "description")}
        _submit(ledger, {"name": name, "kind": "run", "licence": "unknown", "contact": about["link"], **known}, runs)
        report(done, len(found), name)


def _submit(ledger: Ledger, values: Mapping[str, Any], runs: Sequence[str] = ()) -> None:
    """Send what a recipe says as anybody else would: as a file."""
    from exabench.files import toml_text
    from exabench.submitting import submit

    with tempfile.TemporaryDirectory() as folder:
        draft = Path(folder) / "submission.toml"
        draft.write_text("".join(f"{key} = {toml_text(value)}\n" for key, value in values.items()), encoding="utf-8")
        submit(draft, list(runs), ledger.folder)


def _dataset(name: str, ledger: Ledger, data: Path | None, report: Report) -> Audit:
    """A recipe of recorded replies, built, published to the board's own folder of datasets, and audited."""
    from exabench.auditing import audit
    from exabench.building import Sources, build
    from exabench.publishing import publish

    work = _builds(ledger.folder) / name
    release = build(name, work, sources=Sources(data, work.parent / "replies.sqlite"), progress=report)
    publish(work / "release", ledger.datasets / release.name, progress=report)
    return audit(work / "release", data=data, progress=report)


def _trained(name: str, ledger: Ledger, data: Path | None) -> tuple[Plan, Submission]:
    """A training recipe, fitted on the board's own datasets and sent in as anybody would: by its submission.toml."""
    from exabench.recipe import Recipe
    from exabench.submitting import submit
    from exabench.training import Who, train, train_recipe

    plan = train_recipe(name)
    tables = [_from_the_board(table, ledger) for table in plan.recipe.values["data"]]
    recipe = Recipe(plan.recipe.name, {**plan.recipe.values, "data": tables}, plan.recipe.file)
    note(f"training {recipe.name} on {' and '.join(table['release'] for table in tables)}")
    who = Who("exabench", "https://github.com/exabench/exabench", "https://github.com/exabench/exabench/issues")
    with progress("training") as report:
        made = train(recipe, _builds(ledger.folder) / recipe.name, data=data, who=who, progress=report)
    note(f"trained {recipe.name}: step {made.best} of {made.steps} is kept; it is sent in from {made.folder}")
    return plan, submit(made.folder / "submission.toml", [], ledger.folder)[0]


def _results(
    ledger: Ledger, trained: Sequence[tuple[Plan, Submission]], data: Path | None, report: Report
) -> list[Path]:
    """Every submission on every list of candidates, but a model that was trained here on those its recipe checks."""
    from exabench.evaluation import run_board

    ours = {submission.slug: plan for plan, submission in trained}
    others = [slug for slug in ledger.submissions() if slug not in ours]
    files = run_board(ledger.folder, slugs=others, data=data, progress=report)
    for slug, check in ((slug, check) for slug, plan in ours.items() for check in plan.checks):
        lists = {"task": check.task, "candidates": f"{check.candidates}-{check.depth}"}
        files += run_board(ledger.folder, slugs=[slug], data=data, progress=report, **lists)
    return files


def _from_the_board(table: Mapping[str, Any], ledger: Ledger) -> dict[str, Any]:
    """A recipe's table of training data, with its release read from the board where the board publishes it.

    However --to is spelt, it is one path: a training goes on only where its recipe has not changed.
    """
    published, here = (ledger.datasets / Path(table["release"]).name).resolve(), Path.cwd()
    if not published.is_dir():
        return dict(table)
    inside = here in published.parents
    return {**table, "release": (published.relative_to(here) if inside else published).as_posix()}


def _builds(board: Path) -> Path:
    """Work folders lie beside the board, which holds only what belongs to it."""
    return board.parent / f"{board.name}-builds"


def _summary(board: Board) -> str:
    """The overviews as plain columns, values times 100 as on the page."""
    views = [view for view in board.rankings if any(row.mean is not None for row in view.rows)]
    return "\n\n".join(_columns(view) for view in views)


def _columns(view: Ranking) -> str:
    names = [task.name for task in view.tasks]
    rows = []
    for row in view.rows:
        if row.mean is None or row.interval is None:
            continue
        name = f"first stage {row.candidates}" if row.is_first_stage else f"{row.submission.name} ({row.candidates})"
        interval = "[{:.1f}, {:.1f}]".format(*(100 * bound for bound in row.interval))
        cells = [f"{100 * row.values[n]:.1f}" for n in names]
        rows.append((name, row.group, f"{100 * row.mean:.1f}", interval, *cells))
    return table((view.title, "group", "mean", "95 %", *names), rows)
