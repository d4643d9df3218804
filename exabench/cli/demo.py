"""`exabench demo`: a board recipe carried through the whole thread, from first stage to page."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
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
    from exabench.training import Who
    from exabench.training.plan import Plan

KEYS: Mapping[str, type] = {
    "title": str,
    "tasks": list,
    "datasets": list,
    "recorded": dict,
    "views": dict,
    "first_stages": dict,
    "published": dict,
    "models": dict,
    "trained": list,
    "trained_from": dict,
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
    shown, to, data = to, to.resolve(), data and data.resolve()  # some of the work is done from another folder
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
            audits = [_dataset(name, page, ledger, data, report) for name in page.values.get("datasets", ())]
        trained = [_trained(name, page, ledger, data) for name in page.values.get("trained", ())]
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
        show_json({"board": str(shown), "page": str(index), **made, **counts})
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
    from exabench.cli.bench import show_candidates
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
        show_candidates(*made, ledger, data)
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


def _dataset(name: str, page: Recipe, ledger: Ledger, data: Path | None, report: Report) -> Audit:
    """A recipe of recorded replies, built, published to the board's own folder of datasets, and audited.

    A teacher that replays a published run finds its replies in the work folder, where they are written down first.
    """
    from exabench.auditing import audit
    from exabench.building import Sources, build, data_recipe, record
    from exabench.publishing import publish

    recipe, work = data_recipe(name), _builds(ledger.folder) / name
    sources = Sources(data, work.parent / "replies.sqlite")
    run, replies = page.values.get("recorded", {}).get(name), work.with_name(f"{name}-replies")
    if run is not None and data is not None:
        record(recipe, data / run, replies / recipe.values["teacher"]["file"], sources=sources)
    with contextlib.chdir(replies if run is not None else Path.cwd()):
        release = build(recipe, work, sources=sources, progress=report)
    publish(work / "release", ledger.datasets / release.name, progress=report)
    return audit(work / "release", data=data, progress=report)


def _trained(name: str, page: Recipe, ledger: Ledger, data: Path | None) -> tuple[Plan, Submission]:
    """A training recipe, fitted on the board's own datasets and sent in as anybody would: by its submission.toml.

    A model that was trained before is kept, one that `trained_from` names is taken over from there. All is done from
    the folder that the board lies in: what is written down of places is then the same wherever the demo was started.
    """
    from exabench.submitting import submit
    from exabench.training import Who, train, train_recipe

    plan = train_recipe(name)
    who = Who("exabench", "https://github.com/exabench/exabench", "https://github.com/exabench/exabench/issues")
    given = page.values.get("trained_from", {}).get(plan.recipe.name)
    made = _builds(ledger.folder) / plan.recipe.name / "model"
    if given is not None:
        _taken_over(Path(given).expanduser().resolve(), made, plan)
    recipe = _on_the_board(plan, ledger)
    with contextlib.chdir(ledger.folder.parent):
        if given is None and not _is_of(made, recipe, ledger):
            note(f"training {recipe.name} on {' and '.join(table['release'] for table in recipe.values['data'])}")
            with progress("training") as report:
                done = train(recipe, made.parent, data=data, who=who, progress=report)
            note(f"trained {recipe.name}: step {done.best} of {done.steps} is kept; it is sent in from {made}")
        with _signed(made, plan.recipe.name, who) as draft:
            return plan, submit(draft, [], ledger.folder)[0]


def _taken_over(given: Path, made: Path, plan: Plan) -> None:
    """A copy of a model that was trained elsewhere by the same recipe. Raises BadInput for one of another recipe."""
    from exabench.errors import BadInput
    from exabench.files import only_writer, writing
    from exabench.submissions import read_training

    folder = given / "model" if (given / "model" / "training.json").is_file() else given
    if not _is_same(plan, read_training(folder).values["recipe"]):
        raise BadInput(f"was not trained by the recipe {plan.recipe.name}; take it out of trained_from", file=folder)
    with only_writer(made.parent), writing(made):
        shutil.rmtree(made, ignore_errors=True)
        shutil.copytree(folder, made)


def _is_of(made: Path, recipe: Recipe, ledger: Ledger) -> bool:
    """Whether a finished model is there that this recipe gave, from releases of the same content."""
    from exabench.submissions import read_training
    from exabench.training import train_recipe

    if not (made / "submission.toml").is_file():  # it comes last
        return False
    values = read_training(made).values
    there = {one["name"]: one["content"] for one in values["data"]}
    here = {name: content for name in there if (content := _content(ledger.datasets / name))}
    return _is_same(train_recipe(recipe), values["recipe"]) and here.items() <= there.items()


def _content(folder: Path) -> str:
    from exabench.releases import MANIFEST, read

    return read(folder).content if (folder / MANIFEST).is_file() else ""


def _is_same(plan: Plan, values: Mapping[str, Any]) -> bool:
    """Whether a recipe's values make the same plan, wherever its releases lie and whatever is said about it."""
    from msgspec.structs import replace as changed

    from exabench.recipe import Recipe
    from exabench.training import train_recipe

    def bare(one: Plan) -> Plan:
        data = [changed(table, release="") for table in one.data]
        return changed(one, recipe=plan.recipe, data=data, title="", note="", checks=[])

    return bare(train_recipe(Recipe(plan.recipe.name, values, plan.recipe.file))) == bare(plan)


@contextlib.contextmanager
def _signed(made: Path, name: str, who: Who) -> Iterator[Path]:
    """The submission of a model with its report beside it, under the recipe's name whoever trained it."""
    from exabench.files import write
    from exabench.submissions import TRAINING_FILES, read_submission, submission_text

    submission = read_submission(made / "submission.toml")
    if submission.name == f"{who.owner}/{name}":
        yield made / "submission.toml"
        return
    place = made.relative_to(Path.cwd()).as_posix()
    with tempfile.TemporaryDirectory() as folder:
        for file in TRAINING_FILES:
            shutil.copyfile(made / file, Path(folder) / file)
        draft = Path(folder) / "submission.toml"
        ours = replace(submission, name=f"{who.owner}/{name}", link=who.link, contact=who.contact, model=place)
        write(draft, submission_text(ours))
        yield draft


def _results(
    ledger: Ledger, trained: Sequence[tuple[Plan, Submission]], data: Path | None, report: Report
) -> list[Path]:
    """Every submission on every list of candidates, but a model that was trained here on those that its recipe checks:
    it must not be tested on what it learnt from, and of other lists a pool may lack the texts.
    """
    from exabench.evaluation import run_board

    ours = {submission.slug: plan for plan, submission in trained}
    others = [slug for slug in ledger.submissions() if slug not in ours]
    files = run_board(ledger.folder, slugs=others, data=data, progress=report)
    with contextlib.chdir(ledger.folder.parent):
        for slug, plan in ours.items():
            for check in (check for check in plan.checks if ledger.candidates(check.task)):
                lists: dict[str, Any] = {"task": check.task, "candidates": f"{check.candidates}-{check.depth}"}
                files += run_board(ledger.folder, slugs=[slug], data=data, progress=report, **lists)
    return files


def _on_the_board(plan: Plan, ledger: Ledger) -> Recipe:
    """A plan's recipe with each release read from the board where the board publishes it, as a path from beside it."""
    from exabench.recipe import Recipe

    def placed(release: str) -> str:
        published = ledger.datasets / Path(release).name
        there = published if published.is_dir() else Path(release).resolve()
        return Path(os.path.relpath(there, ledger.folder.parent)).as_posix() if there.is_dir() else release

    data = [{**one, "release": placed(one["release"])} for one in plan.recipe.values["data"]]
    return Recipe(plan.recipe.name, {**plan.recipe.values, "data": data}, plan.recipe.file)


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
