"""The command line: groups are places, commands are verbs. A command parses, calls one function and prints."""

from __future__ import annotations

import sys

import click

from exabench.cli._command import CommandGroup
from exabench.cli.bench import bench
from exabench.cli.board import board
from exabench.cli.data import data
from exabench.cli.demo import demo
from exabench.cli.parts import parts
from exabench.cli.train import train
from exabench.core.errors import ExabenchError


@click.group(cls=CommandGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="exabench", message="%(package)s %(version)s")
def exabench() -> None:
    """Build datasets for rerankers, train them, and keep a leaderboard whose every number can be followed.

    Results go to standard output, everything else to standard error. Exit codes: 0 done, 1 a check did not
    hold, 2 bad input or usage, 3 an outside service failed.
    """


for command in (demo, data, train, bench, board, parts):
    exabench.add_command(command)


def main(arguments: list[str] | None = None) -> int:
    """The entry point: run a command; every error becomes one line on standard error and an exit code."""
    try:
        status = exabench.main(arguments, prog_name="exabench", standalone_mode=False)
        sys.stdout.flush()
        return status or 0  # an Exit's code; a command returns None
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return 2
    except click.ClickException as error:
        # click writes sentences, some over several lines; an error of exabench is one line in small letters.
        text = " ".join(error.format_message().split()).rstrip(".")
        text = text[:1].lower() + text[1:]
        if isinstance(error, click.UsageError) and error.ctx is not None:
            text += f"; see {error.ctx.command_path} --help"
        return _report_failure(text, 2)
    except ExabenchError as error:
        return _report_failure(str(error), error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        return _report_failure("stopped; run the same command again to go on", 130)
    except BrokenPipeError:  # `exabench ... | head`: the reader has left, there is nobody to tell
        sys.stderr.close()
        return 0
    except OSError as error:
        return _report_failure(f"{error.filename or 'the system'}: {error.strerror or error}", 2)
    except MemoryError:
        return _report_failure("out of memory: close other programs or take a smaller --depth, then run again", 2)


def _report_failure(text: str, exit_code: int) -> int:
    for line in text.splitlines():  # a submission may have several problems, a line each
        click.echo(f"exabench: {line}", err=True)
    return exit_code
