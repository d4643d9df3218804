"""The classes of our commands and groups, and the options that mean the same everywhere, each declared once."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from exabench.core.errors import BadInput, UnknownName

Function = TypeVar("Function", bound=Callable[..., Any])

PATH = click.Path(path_type=Path)
EXISTING_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)
EXISTING_FOLDER = click.Path(path_type=Path, exists=True, file_okay=False)

TALK = "exabench.talk"
"""Key of a context's `meta`: "quiet", "verbose", or nothing."""


def _set_talk(context: click.Context, _: click.Parameter, value: str | None) -> None:
    if value is not None:
        context.meta[TALK] = value
    if value == "quiet":  # libraries show bars of their own
        os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
        os.environ["HF_DATASETS_DISABLE_PROGRESS_BARS"] = "1"


class Command(click.Command):
    """A command; each has --quiet and --verbose, of which the last one given holds."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for talk, help in (("quiet", "Print results and errors alone."), ("verbose", "Print a line for every step.")):
            option = click.Option(
                [f"--{talk}", "talk"], flag_value=talk, expose_value=False, callback=_set_talk, help=help
            )
            self.params.append(option)


class CommandGroup(click.Group):
    """A group of commands in the order of their declaration."""

    command_class = Command
    group_class = type

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names of the commands."""
        return list(self.commands)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command of that name. Raises UnknownName, with the nearest ones."""
        name = args[0]
        if name not in self.commands and not name.startswith("-"):
            raise UnknownName("command", name, self.commands)
        return super().resolve_command(ctx, args)


data_option = click.option(
    "--data",
    envvar="EXABENCH_DATA",
    type=PATH,
    help="Folder of test collections in BEIR layout (DATA/<task>/); else EXABENCH_DATA.",
)
board_option = click.option("--board", type=PATH, default="leaderboard", show_default=True, help="Leaderboard folder.")
retriever_option = click.option(
    "--retriever", default="bm25", show_default=True, help="A first stage (exabench parts retrievers)."
)
depth_option = click.option(
    "--depth", type=click.IntRange(1), default=100, show_default=True, help="Passages for each query."
)
set_option = click.option(
    "--set", "pairs", multiple=True, metavar="KEY=VALUE", help="An option; TABLE.KEY=VALUE reaches into a table."
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
dry_run_option = click.option("--dry-run", is_flag=True, help="Plan and check alone: say what would be done.")


def to_option(help: str, default: str | None = None, required: bool = False) -> Callable[[Function], Function]:
    """--to PATH, where a command writes."""
    return click.option(
        "--to", type=PATH, default=default, show_default=default is not None, required=required, help=help
    )


def place_options(function: Function) -> Function:
    """--repo or --to, where to publish, and --pr and --dry-run."""
    for option in (
        dry_run_option,
        click.option("--pr", is_flag=True, help="Open a pull request instead of committing."),
        to_option("A folder instead, which loads the same way."),
        click.option("--repo", help="Repository on the Hub (owner/name)."),
    ):
        function = option(function)
    return function


def place_of(repo: str | None, to: Path | None) -> str | Path:
    """The one place that was given. Raises BadInput for none and for both."""
    if repo and to is None:
        return repo
    if to is not None and not repo:
        return to
    raise BadInput("say where to publish: --repo owner/name or --to FOLDER, one of the two")
