"""The command line: groups are places, commands are verbs, and nothing heavy is imported before it is needed."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping
from typing import Any

import click

from exabench.errors import ExabenchError


class LazyGroup(click.Group):
    """A group that knows its commands' one-line summaries by heart and imports a command only to run it."""

    def __init__(self, *args: Any, lazy: Mapping[str, tuple[str, str]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._lazy = lazy

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in the order of the table."""
        return list(self._lazy)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command's module and take the command from it."""
        if cmd_name not in self._lazy:
            return None
        command: click.Command = getattr(importlib.import_module(self._lazy[cmd_name][0]), cmd_name)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, and name the nearest command where there is none."""
        if args and args[0] not in self._lazy and not args[0].startswith("-"):
            from exabench.errors import UnknownName

            raise UnknownName("command", args[0], self._lazy)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The summaries, from the table."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in self._lazy.items()])


@click.group(
    cls=LazyGroup,
    lazy={
        "demo": ("exabench.cli.demo", "The whole thread on the embedded collection: no network, no GPU."),
        "data": ("exabench.cli.data", "Build, check, compare and publish training sets."),
        "train": ("exabench.cli.train", "Fit reference rerankers, and publish what came out."),
        "bench": ("exabench.cli.bench", "Tasks, candidates, submissions, results, scores, comparisons."),
        "board": ("exabench.cli.board", "Check, build, show and publish a leaderboard."),
        "parts": ("exabench.cli.parts", "What is on the shelves."),
    },
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(package_name="exabench", message="%(package)s %(version)s")
def exabench() -> None:
    """Build datasets for rerankers, train them, and keep a leaderboard whose every number can be followed.

    Results go to standard output, everything else to standard error. Exit codes: 0 done, 1 a check did not
    hold, 2 bad input or usage, 3 an outside service failed.
    """


def main(arguments: list[str] | None = None) -> int:
    """The entry point: run a command; every error of ours becomes one line and its exit code."""
    try:
        status = exabench.main(arguments, prog_name="exabench", standalone_mode=False)
        sys.stdout.flush()
        return status if isinstance(status, int) else 0
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except ExabenchError as error:
        click.echo(f"exabench: {error}", err=True)
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("exabench: stopped; run the same command again to go on", err=True)
        return 130
    except BrokenPipeError:  # `exabench ... | head`: the reader has left, there is nobody to tell
        sys.stderr.close()
        return 0
    except OSError as error:
        click.echo(f"exabench: {error.filename or 'the system'}: {error.strerror or error}", err=True)
        return 2
    except MemoryError:
        click.echo("exabench: out of memory: close other programs or take a smaller --depth, then run again", err=True)
        return 2
