"""The command line: groups are places, commands are verbs. A command parses, calls one function and prints."""

from __future__ import annotations

import sys

import click

from exabench.cli._command import CommandGroup
from exabench.cli.bench import bench
from exabench.cli.board import board
from exabench.cli.data import data
from exabench.cli.demo import demo
from exabench.cli.doctor import doctor
from exabench.cli.evaluate import evaluate, rerank
from exabench.cli.parity import parity
from exabench.cli.parts import parts
from exabench.cli.study import study
from exabench.cli.train import train
from exabench.core.errors import BadInput, ExabenchError, printable
from exabench.core.files import system_reason


@click.group(
    cls=CommandGroup,
    examples=("exabench demo", "exabench bench tasks", "exabench bench score run.trec --task scifact"),
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(package_name="exabench", message="%(package)s %(version)s")
def exabench() -> None:
    """Build training sets for rerankers, train rerankers, evaluate them, and keep a leaderboard of the results.

    Results go to standard output, everything else to standard error. Exit codes: 0 done, 1 a check
    failed, 2 bad input or usage, 3 an outside service failed.
    """


@exabench.command("help", has_result=False, examples=("exabench help bench score",))
@click.argument("command", nargs=-1, help="A command, as in bench score.")
@click.pass_context
def help_(context: click.Context, command: tuple[str, ...]) -> None:
    """Print the help of COMMAND, or of exabench itself."""
    # Each word with its own context, for the usage line names the commands above: "exabench bench score".
    found: click.Command = exabench
    of = context.find_root()
    for word in command:
        inner = None
        if isinstance(found, click.Group):
            inner = found.get_command(of, word)
        if inner is None:
            raise BadInput(f"{of.command_path} has no subcommand {printable(word)!r}")
        found = inner
        of = click.Context(found, info_name=word, parent=of)
    click.echo(found.get_help(of))


for command in (evaluate, rerank, parity, demo, data, train, study, bench, board, parts, doctor):
    exabench.add_command(command)


def main(arguments: list[str] | None = None) -> int:
    """The entry point: run a command; every error becomes one line on standard error and an exit code."""
    try:
        status = exabench.main(arguments, prog_name="exabench", standalone_mode=False)
        sys.stdout.flush()
        return status or 0  # an Exit's code; a command returns None
    except click.exceptions.NoArgsIsHelpError as error:
        # A place without a verb asks what there is, as with cargo, gh and docker.
        click.echo(error.format_message())
        return 0
    except click.ClickException as error:
        # click writes sentences, some over several lines; an error of exabench is one line in small letters.
        text = " ".join(error.format_message().split()).rstrip(".")
        text = text[:1].lower() + text[1:]
        if isinstance(error, click.UsageError) and error.ctx is not None:
            text += f"; see {error.ctx.command_path} --help"
        return _report_failure(text, 2)
    except ExabenchError as error:
        return _report_failure(str(error), error.exit_code)
    except ModuleNotFoundError as error:
        from exabench.core.packages import missing_package

        missing = missing_package(error)
        if missing is None:
            raise
        return _report_failure(str(missing), missing.exit_code)
    except (click.Abort, KeyboardInterrupt):
        return _report_failure("stopped; run the same command again to resume", 130)
    except BrokenPipeError:  # `exabench ... | head`: the reader has left, there is no one to tell
        sys.stderr.close()
        return 0
    except OSError as error:
        # Of two files the second is the one that was written, as in a copy.
        name = error.filename2 or error.filename or "the system"
        return _report_failure(f"{name}: {system_reason(error)}", 2)
    except MemoryError:
        return _report_failure("out of memory: close other programs or use a smaller --depth, then run again", 2)


def _report_failure(text: str, exit_code: int) -> int:
    for line in text.splitlines():  # a submission may have several problems, a line each
        click.echo(f"exabench: {line}", err=True)
    return exit_code
