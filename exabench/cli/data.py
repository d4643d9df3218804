"""`exabench data`: recipes, builds, releases, audits, and their publication."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from exabench.cli._command import (
    EXISTING_FILE,
    EXISTING_FOLDER,
    PATH,
    CommandGroup,
    Count,
    answer,
    answer_list,
    completing,
    data_option,
    dry_run_option,
    key_option,
    note,
    place_options,
    progress,
    publish_to,
    set_option,
    to_option,
)
from exabench.core.errors import BadInput, CheckFailed, plural
from exabench.core.files import read_text, toml_lines
from exabench.core.recipe import recipes

folder_argument = click.argument("folder", type=EXISTING_FOLDER, help="The folder of a release.")
recipe_argument = click.argument(
    "recipe", shell_complete=completing(lambda: recipes("data")), help="Name of a recipe, or a TOML file."
)
replies_option = click.option("--replies", type=PATH, help="The reply store.  [default: in the cache folder]")


def _formats() -> list[str]:
    """The formats of exports, for the completion of a shell."""
    from exabench.data.exports import EXPORTS

    return list(EXPORTS)


@click.group(cls=CommandGroup, examples=("exabench data list", "exabench data build mini-explanations --to my-build"))
def data() -> None:
    """Build, check, compare and publish training sets."""


@data.command("list", examples=("exabench data list",))
def list_() -> None:
    """List the recipes that come with exabench."""
    from exabench.data.building import data_recipe

    described = {}
    rows = []
    for name in recipes("data"):
        recipe = data_recipe(name)
        values = recipe.values
        described[recipe.name] = {**values, "fingerprint": recipe.fingerprint}
        made = f"{values['dataset']}/{values['table']}"
        rows.append((recipe.name, values["builder"], made))
    answer_list(described, ("recipe", "builder", "makes"), rows)


@data.command("show", examples=("exabench data show mini-explanations --set seed=7",))
@recipe_argument
@set_option
@key_option
def show_(recipe: str, pairs: tuple[str, ...]) -> None:
    """Print RECIPE (a name or a file) with --set applied."""
    from exabench.data.building import data_recipe

    page = data_recipe(recipe, pairs)
    value = {**page.values, "fingerprint": page.fingerprint}
    # As a page of TOML: saved under this name it is a recipe of one's own, with the same fingerprint.
    text = f"# {page.name}.toml, fingerprint {page.fingerprint}\n"
    text += toml_lines(page.values.items())
    answer(value, text.rstrip())


@data.command(
    examples=(
        "exabench data build mini-explanations --to my-build",
        "exabench data build my-recipe.toml --data collections --limit 100 --dry-run",
    )
)
@recipe_argument
@key_option
@to_option("Work folder; a rerun resumes there.  [default: exabench-data/<recipe>]")
@click.option("--limit", type=Count(0), default=0, help="Build only the first N items.")
@click.option(
    "--engine",
    type=click.Choice(["local", "ray"]),
    default="local",
    show_default=True,
    help="Run shards in local processes or on Ray.",
)
@click.option("--workers", type=Count(1), default=1, show_default=True, help="Number of workers.")
@click.option("--budget", type=Count(0), default=0, help="Stop after the teacher has read and written N tokens.")
@click.option("--go-on", is_flag=True, help="Build on although the first answers were all rejected.")
@dry_run_option
@replies_option
@set_option
@data_option
def build(
    recipe: str,
    to: Path | None,
    limit: int,
    budget: int,
    go_on: bool,
    dry_run: bool,
    replies: Path | None,
    pairs: tuple[str, ...],
    data: Path | None,
    **choices: Any,
) -> None:
    """Build the dataset table of RECIPE; write it to TO/release with a dataset card and a manifest."""
    from exabench.data.building import Sources, build, data_recipe, plan_build

    page = data_recipe(recipe, pairs)
    folder = to or Path("exabench-data") / page.name
    sources = Sources(data, replies, budget, go_on)
    if dry_run:
        with progress("plan") as report:
            plan = plan_build(page, folder, sources=sources, limit=limit, progress=report)
        answer(plan)
        return
    with progress(page.name) as report:
        release = build(page, folder, sources=sources, limit=limit, progress=report, **choices)
    lines = []
    notes = []
    for name, made in release.tables.items():
        counts = made.counts
        rows = plural(counts["good"], "row")
        items = plural(counts["input"], "item")
        lost = f"{counts['quarantined']} quarantined, {counts['skipped']} skipped"
        lines.append(f"{release.name}/{name} {release.version}: {rows} of {items} ({lost})")
        for reason, times in counts["reasons"].items():
            notes.append(f"  {times} {reason}")
    made_in = folder / "release"
    lines.append(f"release: {made_in}")
    value = release.as_json()
    value["folder"] = made_in
    answer(value, "\n".join(lines), *notes)


@data.command(examples=("exabench data audit my-build/release",))
@folder_argument
@data_option
def audit(folder: Path, data: Path | None) -> None:
    """Report the quality of the release in FOLDER: labels, lengths, repairs, leaks, agreement with human labels."""
    from exabench.data.auditing import audit

    with progress("audit") as report:
        found = audit(folder, data=data, progress=report)
    answer(found.as_json(), "\n".join(found.lines()))


@data.command(examples=("exabench data diff old/release new/release",))
@click.argument("old", type=EXISTING_FOLDER, help="The folder of a release.")
@click.argument("new", type=EXISTING_FOLDER, help="The folder of the other release.")
def diff(old: Path, new: Path) -> None:
    """Compare two releases: tables, fields, and rows by their ids."""
    from exabench.data.releases import diff, next_version, read

    found = diff(old, new)
    version = next_version(read(old), read(new), found)
    value = found.as_json()
    value["next_version"] = version
    lines = found.lines()
    if not lines:
        lines = ["no difference"]
    answer(value, "\n".join(lines))
    note(f"the new release would be version {version}")


@data.command(examples=("exabench data card my-build/release",))
@folder_argument
def card(folder: Path) -> None:
    """Print the dataset card of the release in FOLDER, generated from its manifest."""
    from exabench.data.card import release_card
    from exabench.data.releases import read

    release = read(folder)
    page = folder / "README.md"
    # What people wrote into the old card is taken over.
    existing = ""
    if page.is_file():
        existing = read_text(page)
    text = release_card(folder, release, existing=existing)
    answer({"card": text}, text)


@data.command(examples=("exabench data verify my-copy",))
@folder_argument
def verify(folder: Path) -> None:
    """Check every file of the release in FOLDER against its manifest."""
    from exabench.data.releases import MANIFEST, read, verify

    if not (folder / MANIFEST).is_file():
        read(folder)  # says what it lacks: this is not a copy of a release that differs
    problems = verify(folder)
    text = "\n".join(problems)
    if not problems:
        release = read(folder)
        files = plural(len(release.all_files), "file is", "files are")
        text = f"{release.name} {release.version}: {files} as the manifest says"
    answer({"folder": folder, "problems": problems}, text)
    if problems:
        wrong = plural(len(problems), "thing is not", "things are not")
        raise CheckFailed(f"{folder}: {wrong} as the manifest says; fetch the copy again")


@data.command(
    examples=(
        "exabench data publish my-build/release --repo my-group/my-set",
        "exabench data publish my-build/release --to datasets/my-set",
    )
)
@folder_argument
@place_options
@click.option("--version", default="", help="Version; at least the computed one.")
@click.option("--allow-shrink", is_flag=True, help="Publish although a table loses more than half of its rows.")
def publish(folder: Path, version: str, allow_shrink: bool, **place: Any) -> None:
    """Publish the release in FOLDER: one commit with data, card and manifest, then a tag."""
    from exabench.data.publishing import publish

    publish_to(publish, folder, version=version, allow_shrink=allow_shrink, **place)


@data.command(
    examples=(
        'exabench data withdraw my-build/release explanations q7/bees-02 --reason "asked by its author" --to without',
    )
)
@folder_argument
@click.argument("table", help="A table of the release.")
@click.argument("rows", nargs=-1, help="Ids of rows.")
@click.option("--passage", "passages", multiple=True, help="Id of a passage: every row that has it.")
@click.option("--reason", required=True, help="Why, for the card and the change log.")
@to_option("Folder of the release without them.", required=True)
@data_option
def withdraw(
    folder: Path, table: str, rows: tuple[str, ...], passages: tuple[str, ...], reason: str, to: Path, data: Path | None
) -> None:
    """Take rows out of TABLE of the release in FOLDER, as a new release; publish it where the old one is."""
    from exabench.data.withdrawing import withdraw

    with progress("withdraw") as report:
        release, count = withdraw(
            folder, table, to, rows=rows, passages=passages, reason=reason, data=data, progress=report
        )
    gone = plural(count, "row")
    answer({"withdrawn": count, "folder": to, "rows": release.tables[table].rows}, f"{gone} withdrawn: {to}")


@data.command(examples=("exabench data cost my-build/release --input-price 0.15 --output-price 0.60",))
@folder_argument
@click.option("--input-price", help="Price per million input tokens.")
@click.option("--output-price", help="Price per million output tokens.")
@click.option("--prices", hidden=True)
def cost(folder: Path, input_price: str | None, output_price: str | None, prices: str | None) -> None:
    """Count the teacher tokens behind the release in FOLDER and, with both prices, what they cost."""
    from exabench.data.releases import read
    from exabench.models.costs import price_of

    # Hidden: version 0.1 read a table of prices, and a script that names one is told what to say instead.
    if prices is not None:
        raise BadInput("price tables were removed: give --input-price and --output-price, per million tokens")
    if (input_price is None) != (output_price is None):
        raise BadInput("give both --input-price and --output-price, per million tokens")
    costs = {}
    lines = []
    for name, made in read(folder).tables.items():
        model = made.teacher.get("model", "")
        # A table that no teacher answered for has no tokens.
        tokens_read = made.tokens.get("prompt_tokens", 0)
        tokens_written = made.tokens.get("output_tokens", 0)
        costs[name] = {"model": model, "prompt_tokens": tokens_read, "output_tokens": tokens_written}
        author = f"by {model}" if model else "(no teacher)"
        line = f"{name}: {tokens_read} tokens read, {tokens_written} written {author}"
        if input_price is not None and output_price is not None:
            price = price_of(tokens_read, tokens_written, input_price, output_price)
            costs[name]["price"] = price
            line += f": {price}"
        uncounted = made.tokens.get("uncounted", 0)
        if uncounted:
            costs[name]["uncounted"] = uncounted
            line += f"; {plural(uncounted, 'reply', 'replies')} came without token counts, and cost more than that"
        lines.append(line)
    answer(costs, "\n".join(lines))


# Version 0.1 wrote a run as replies to prompts that nobody had asked; a script that does so is told what to write.
@data.command("record", hidden=True, context_settings={"ignore_unknown_options": True})
@click.argument("arguments", nargs=-1)
def record_(arguments: tuple[str, ...]) -> None:
    """Say what replaces this command."""
    raise BadInput('"data record" was removed: name the run in a recipe of the builder "recorded" (options.run = PATH)')


@data.command(
    examples=(
        "exabench data export my-build/release explanations --format exaranker --to train.tsv",
        "exabench data export my-build/release listwise --format sentence-transformers --to train.parquet",
    )
)
@folder_argument
@click.argument("table", help="A table of the release.")
@click.option("--split", default="train", show_default=True)
@click.option(
    "--format",
    "layout",
    required=True,
    shell_complete=completing(_formats),
    help="Format of the output; exabench parts exports lists them.",
)
@click.option("--to", type=PATH, required=True, help="Output file; for beir a new folder.")
def export(folder: Path, table: str, split: str, layout: str, to: Path) -> None:
    """Export TABLE of the release in FOLDER in the format of other training code."""
    from exabench.data.exporting import export

    written = export(folder, table, layout, to, split=split)
    made = plural(written.rows, "row")
    answer({"rows": written.rows, "left_out": written.left_out, "file": to}, f"{made}: {to}")
    if written.left_out:
        queries = plural(written.left_out, "query is", "queries are")
        note(f"{queries} left out: without a relevant passage, or without another one")


@data.group(examples=("exabench data replies import my-copy/replies/explanations.parquet",))
def replies() -> None:
    """The store of teacher replies, which saves repeated calls."""


@replies.command("import", examples=("exabench data replies import my-copy/replies/explanations.parquet",))
@click.argument("file", type=EXISTING_FILE, help="Parquet file of replies.")
@replies_option
def import_(file: Path, replies: Path | None) -> None:
    """Import the replies of a release (its replies/<table>.parquet) into the reply store."""
    from exabench.parts.replies import Replies, check_export

    check_export(file)  # before a store is made
    store = Replies(replies)
    count = store.take_in(file)
    taken = plural(count, "reply is", "replies are")
    answer({"new": count, "disputed": store.disputed}, f"{taken} new")
    if store.disputed:
        calls = plural(store.disputed, "call was", "calls were")
        note(f"{calls} had another answer in the store; the stored answers are kept")
