"""`exabench data`: recipes, builds, releases, audits, and their publication."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from exabench.cli._output import (
    data_option,
    json_option,
    note,
    place_of,
    place_options,
    progress,
    set_option,
    show,
    show_json,
    show_published,
    table,
)

if TYPE_CHECKING:
    from exabench.rows import Release

FOLDER = click.Path(path_type=Path, exists=True, file_okay=False)
FILE = click.Path(path_type=Path)
replies_option = click.option("--replies", type=FILE, help="The reply store; else the one in your cache folder.")


@click.group()
def data() -> None:
    """Build, check, compare and publish training sets."""


@data.command("list")
@json_option
def list_(as_json: bool) -> None:
    """List the recipes that come with exabench."""
    from exabench.building import data_recipe
    from exabench.recipe import recipe_names

    pages = [data_recipe(name) for name in recipe_names("data")]
    if as_json:
        show_json({page.name: dict(page.values) | {"fingerprint": page.fingerprint} for page in pages})
        return
    rows = [(page.name, page.values["builder"], f"{page.values['dataset']}/{page.values['table']}") for page in pages]
    show(table(("recipe", "builder", "makes"), rows))


@data.command("show")
@click.argument("recipe")
@set_option
def show_(recipe: str, pairs: tuple[str, ...]) -> None:
    """Print RECIPE (a name, or a file) as it would be built."""
    from exabench.building import data_recipe
    from exabench.files import toml_text

    page = data_recipe(recipe, pairs)
    show(f"# {page.file.name}, fingerprint {page.fingerprint}")
    for key, value in page.values.items():
        show(f"{key} = {toml_text(value)}")


@data.command()
@click.argument("recipe")
@click.option("--to", type=FILE, help="Work folder; else exabench-data/<recipe>. Run again, it goes on there.")
@click.option("--limit", type=click.IntRange(0), default=0, help="Build the first so many items alone.")
@click.option(
    "--engine", type=click.Choice(["local", "ray"]), default="local", show_default=True, help="Processes here, or Ray."
)
@click.option("--workers", type=click.IntRange(1), default=1, show_default=True, help="How many share the shards.")
@click.option(
    "--budget", type=click.IntRange(0), default=0, help="Stop when the teacher has read and written so many tokens."
)
@click.option("--dry-run", is_flag=True, help="Plan, and say what would be asked; ask nothing.")
@replies_option
@set_option
@data_option
@json_option
def build(recipe: str, to: Path | None, pairs: tuple[str, ...], data: Path | None, as_json: bool, **given: Any) -> None:
    """Build the dataset table of RECIPE; TO/release holds it, with its card and its manifest."""
    from exabench.building import Sources, build, data_recipe, planned

    page = data_recipe(recipe, pairs)
    to = to or Path("exabench-data") / page.name
    sources = Sources(data, given["replies"], given["budget"])
    if given["dry_run"]:
        with progress("plan") as report:
            plan = planned(page, to, sources=sources, limit=given["limit"], progress=report)
        show_json(plan) if as_json else show("\n".join(f"{key}: {value}" for key, value in plan.items()))
        return
    with progress(page.name) as report:
        made = build(
            page,
            to,
            sources=sources,
            limit=given["limit"],
            workers=given["workers"],
            engine=given["engine"],
            progress=report,
        )
    _told(made, to / "release", as_json)


def _told(release: Release, folder: Path, as_json: bool) -> None:
    if as_json:
        from dataclasses import asdict

        show_json(asdict(release) | {"folder": str(folder)})
        return
    for name, made in release.tables.items():
        counts = made.counts
        show(
            f"{release.name}/{name} {release.version}: {counts['good']} rows of {counts['input']} items "
            f"({counts['quarantined']} in quarantine, {counts['skipped']} skipped)"
        )
        for reason, times in counts["reasons"].items():
            note(f"  {times} {reason}")
    show(f"release: {folder}")


@data.command()
@click.argument("folder", type=FOLDER)
@data_option
@json_option
def audit(folder: Path, data: Path | None, as_json: bool) -> None:
    """Say what the release in FOLDER is worth: labels, lengths, repairs, overlaps, and its teacher against people."""
    from exabench.auditing import audit

    with progress("audit") as report:
        found = audit(folder, data=data, progress=report)
    show_json(found.as_json()) if as_json else show("\n".join(found.lines()))


@data.command()
@click.argument("old", type=FOLDER)
@click.argument("new", type=FOLDER)
@json_option
def diff(old: Path, new: Path, as_json: bool) -> None:
    """Compare two releases: tables, fields, and rows by their ids."""
    from exabench.releases import diff, next_version, read

    found = diff(old, new)
    version = next_version(read(old), read(new), found)
    if as_json:
        show_json(found.as_json() | {"next_version": version})
    else:
        show("\n".join(found.lines()) or "no difference")
        note(f"the new one would be version {version}")


@data.command()
@click.argument("folder", type=FOLDER)
def card(folder: Path) -> None:
    """Print the card of the release in FOLDER, made anew from its manifest."""
    from exabench.cards import card, template_for
    from exabench.files import read_text
    from exabench.releases import read

    release, page = read(folder), folder / "README.md"
    show(card(release, template_for(release.name), existing=read_text(page) if page.is_file() else ""))


@data.command()
@click.argument("folder", type=FOLDER)
@json_option
def verify(folder: Path, as_json: bool) -> None:
    """Hold every file of the copy of a release in FOLDER against its manifest."""
    from exabench.errors import CheckFailed
    from exabench.releases import read, verify

    problems = verify(folder)
    if as_json:
        show_json({"folder": str(folder), "problems": problems})
    for problem in problems:
        note(problem)
    if problems:
        raise CheckFailed(f"{folder}: {len(problems)} things are not as the manifest says; fetch the copy again")
    release = read(folder)
    if not as_json:
        show(f"{release.name} {release.version}: {len(release.all_files)} files are as the manifest says")


@data.command()
@click.argument("folder", type=FOLDER)
@place_options
@click.option("--version", default="", help="At least the computed one.")
@json_option
def publish(
    folder: Path, repo: str | None, to: Path | None, version: str, pr: bool, dry_run: bool, as_json: bool
) -> None:
    """Publish the release in FOLDER: one commit with data, card and manifest, then its tag."""
    from exabench.publishing import publish

    where = place_of(repo, to)
    with progress("publish") as report:
        done = publish(folder, where, version=version, pull_request=pr, dry_run=dry_run, progress=report)
    show_published(done, as_json)


@data.command()
@click.argument("folder", type=FOLDER)
@click.option("--input-price", help="What a million tokens cost that the teacher reads.")
@click.option("--output-price", help="What a million tokens cost that the teacher writes.")
@click.option("--prices", hidden=True)
def cost(folder: Path, input_price: str | None, output_price: str | None, prices: str | None) -> None:
    """Count the teacher's tokens behind the release in FOLDER and, with both prices, say what they cost."""
    from exabench.costs import price_of
    from exabench.errors import BadInput
    from exabench.releases import read

    if prices is not None:
        raise BadInput("price tables are gone: give --input-price and --output-price, money for a million tokens")
    if (input_price is None) != (output_price is None):
        raise BadInput("a price needs both --input-price and --output-price, money for a million tokens")
    for name, made in read(folder).tables.items():
        tokens_read = made.tokens.get("prompt_tokens", 0)
        tokens_written = made.tokens.get("output_tokens", 0)
        line = f"{name}: {tokens_read} tokens read, {tokens_written} written by {made.teacher.get('model', 'nobody')}"
        if input_price is not None and output_price is not None:
            line += f": {price_of(tokens_read, tokens_written, input_price, output_price)}"
        show(line)


@data.command()
@click.argument("recipe")
@click.argument("run", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--to", type=FILE, default=Path("replies.jsonl"), show_default=True, help="The file of replies.")
@set_option
@data_option
def record(recipe: str, run: Path, to: Path, pairs: tuple[str, ...], data: Path | None) -> None:
    """Write the order of a published RUN as replies to the lists of RECIPE, for the teacher `replay`."""
    from exabench.building import Sources, data_recipe, record

    show(f"{record(data_recipe(recipe, pairs), run, to, sources=Sources(data))} replies: {to}")


@data.command()
@click.argument("folder", type=FOLDER)
@click.argument("table")
@click.option("--split", default="train", show_default=True)
@click.option("--format", "layout", type=click.Choice(["exaranker", "twolar"]), required=True)
@click.option("--to", type=FILE, required=True, help="The file: TSV for exaranker, JSON lines for twolar.")
def export(folder: Path, table: str, split: str, layout: str, to: Path) -> None:
    """Write TABLE of the release in FOLDER as ExaRanker's or TWOLAR's own training code reads it."""
    from exabench.builders.imported import export
    from exabench.releases import rows

    show(f"{export(rows(folder, table, split), layout, to)} rows: {to}")


@data.group()
def replies() -> None:
    """The reply store: what teachers answered, paid once."""


@replies.command("import")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@replies_option
def import_(file: Path, replies: Path | None) -> None:
    """Take over the replies of a release (FILE is its replies/<table>.parquet), so that nobody pays for them again."""
    from exabench.replies import Replies

    store = Replies(replies)
    show(f"{store.take_in(file)} replies are new")
    if store.disputed:
        note(f"{store.disputed} calls were answered otherwise before; those answers stay")
