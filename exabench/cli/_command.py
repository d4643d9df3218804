"""What all commands share: their classes, the options that mean the same everywhere, and how they talk to people.

Results go to standard output, notes and progress to standard error.
"""

from __future__ import annotations

import contextlib
import difflib
import logging
import os
import shlex
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from exabench.core.api_keys import KEY_ENV, NOT_SECRET
from exabench.core.errors import BadInput, UnknownName, printable
from exabench.core.files import json_text
from exabench.core.nouns import Progress, silent

if TYPE_CHECKING:
    from exabench.hub.commits import Published

Function = TypeVar("Function", bound=Callable[..., Any])

PATH = click.Path(path_type=Path)
EXISTING_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)
EXISTING_FOLDER = click.Path(path_type=Path, exists=True, file_okay=False)


class Count(click.IntRange):
    """A whole number in a range, named "integer" in messages and in --help."""

    name = "integer"


DEPTH = Count(1, 999_999)  # the name of a candidate list ends in its depth, of six digits at most
PAUSE = 2.0  # seconds between two lines of progress: few enough for a log, often enough to see that work continues
LONGEST_PAUSE = 60.0  # of work that has gone on for 20 minutes


class WithExamples(click.Command):
    """What commands and groups share: `examples` are command lines, which --help prints as they are typed."""

    def __init__(self, *args: Any, examples: Sequence[str] = (), **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.examples = tuple(examples)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples, one a line, however long: a wrapped one could not be copied."""
        if self.examples:
            with formatter.section("Examples"):
                for example in self.examples:
                    formatter.write(f"{'':{formatter.current_indent}}{example}\n")


class Command(WithExamples):
    """A command. Each has --quiet and --verbose (the last one given holds), and --json where it has a result."""

    def __init__(self, *args: Any, has_result: bool = True, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if has_result:
            self._add_flag("--json", "as_json", True, "Print one JSON object and nothing else.")
        self._add_flag("--quiet", "verbosity", "quiet", "Print only results and errors.")
        self._add_flag("--verbose", "verbosity", "verbose", "Print a line for every step.")

    def _add_flag(self, flag: str, name: str, value: object, help: str) -> None:
        # Not handed to the command itself: its functions would all have to pass it on.
        option = click.Option([flag, name], flag_value=value, expose_value=False, callback=_keep_flag, help=help)
        self.params.append(option)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the words of the command line. Raises BadInput for a second value of an option that has one."""
        if not ctx.resilient_parsing:
            _, _, given = self.make_parser(ctx).parse_args(args=[*args])
            for place, option in enumerate(given):
                has_one = isinstance(option, click.Option) and not option.multiple and not option.is_flag
                if has_one and option in given[:place]:  # click would take the last one silently
                    raise BadInput(f"{option.opts[-1]} is given twice; it accepts one value")
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command, and show messages of other libraries only with --verbose."""
        if _flag("verbosity") != "verbose":
            _silence_libraries()
        else:
            logging.basicConfig(format="[%(levelname)s] %(message)s", force=True)
        return super().invoke(ctx)


def _silence_libraries() -> None:
    """No bars, warnings or logs of other libraries: what went wrong is said once, by the error of the command."""
    # Set before these libraries are imported, which read them once; so commands import them inside.
    for library in ("HF_HUB", "HF_DATASETS"):
        os.environ[f"{library}_DISABLE_PROGRESS_BARS"] = "1"
    for library in ("HF_HUB", "DATASETS", "TRANSFORMERS"):
        os.environ.setdefault(f"{library}_VERBOSITY", "critical")
    os.environ["TQDM_DISABLE"] = "1"
    os.environ["IR_DATASETS_DL_DISABLE_PBAR"] = "true"
    # Logs at every level, whatever level a library gives its own logger.
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")


def _keep_flag(context: click.Context, option: click.Parameter, value: object) -> None:
    """Keep a flag of the command line where `_flag` finds it."""
    if value:
        context.meta[f"exabench.{option.name}"] = value


def _flag(name: str) -> Any:
    """The flag of that name: "verbosity" is "quiet", "verbose" or None. None in a thread, which has no context."""
    context = click.get_current_context(silent=True)
    return None if context is None else context.meta.get(f"exabench.{name}")


class CommandGroup(WithExamples, click.Group):
    """A group of commands in the order of their declaration."""

    command_class = Command
    group_class = type

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names of the commands."""
        return list(self.commands)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name. Raises UnknownName, with the nearest ones here, else those of other groups."""
        if cmd_name in self.commands or cmd_name.startswith("-") or ctx.resilient_parsing:
            return super().get_command(ctx, cmd_name)
        paths = _paths_by_name(ctx.find_root().command)
        # A word of another group (`exabench score`) is told with that group, and so is one that is nearest to it.
        elsewhere = paths.get(cmd_name, [])
        near = difflib.get_close_matches(cmd_name, sorted({*self.commands, *paths}))
        if not elsewhere and near and near[0] not in self.commands:
            elsewhere = paths[near[0]]
        if elsewhere:
            raise BadInput(f"unknown command {printable(cmd_name)!r}; did you mean {' or '.join(elsewhere)}?")
        raise UnknownName("command", cmd_name, self.commands)


def _paths_by_name(command: click.Command, path: str = "exabench") -> dict[str, list[str]]:
    """Every command below a group by its last word: {"publish": ["exabench data publish", ...]}."""
    paths: dict[str, list[str]] = {}
    if isinstance(command, click.Group):
        for name, inner in command.commands.items():
            paths.setdefault(name, []).append(f"{path} {name}")
            for below, known in _paths_by_name(inner, f"{path} {name}").items():
                paths.setdefault(below, []).extend(known)
    return paths


class _CollectionsFolder(click.Path):
    """A folder that exists, named by an option or by a variable of the environment."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The folder as a Path. Raises BadInput where the variable, and not the option, names none."""
        try:
            return super().convert(value, param, ctx)
        except click.BadParameter:
            if ctx is None or param is None or not isinstance(param, click.Option):
                raise
            if ctx.get_parameter_source(str(param.name)) is not click.core.ParameterSource.ENVIRONMENT:
                raise
            raise BadInput(
                f"{param.envvar} does not name an existing folder; correct or unset it", file=value
            ) from None


data_option = click.option(
    "--data",
    envvar="EXABENCH_DATA",
    type=_CollectionsFolder(path_type=Path, exists=True, file_okay=False),
    help="Folder of test collections in BEIR layout (DATA/<task>/).  [default: EXABENCH_DATA]",
)
board_option = click.option("--board", type=PATH, default="leaderboard", show_default=True, help="Leaderboard folder.")
set_option = click.option(
    "--set",
    "pairs",
    multiple=True,
    metavar="KEY=VALUE",
    help="Set an option; TABLE.KEY=VALUE sets a key inside a table.",
)


def _adding_to(variable: str) -> Callable[[click.Context, click.Parameter, tuple[str, ...]], None]:
    """The `callback` of an option whose values are added to an environment variable while the command runs.

    So every part knows what the user allows, in the processes of workers, too.
    """

    def add(context: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> None:
        before = os.environ.get(variable, "")

        def restore() -> None:
            os.environ[variable] = before

        if values:
            os.environ[variable] = ",".join([*values, before])
            context.call_on_close(restore)

    return add


key_option = click.option(
    "--key-env",
    multiple=True,
    metavar="NAME",
    expose_value=False,
    callback=_adding_to(KEY_ENV),
    help="Let a file send the key in this environment variable to a server that it does not belong to.",
)
not_secret_option = click.option(
    "--not-secret",
    multiple=True,
    metavar="TEXT",
    expose_value=False,
    callback=_adding_to(NOT_SECRET),
    help="Publish texts that begin so, though they look like keys.",
)
as_root_option = click.option(
    "--as-root",
    is_flag=True,
    help="Let models run as root where root starts this command, not as an unprivileged user.",
)
dry_run_option = click.option("--dry-run", is_flag=True, help="Check everything and print what would be done.")


def to_option(help: str, *, is_file: bool = False, **settings: Any) -> Callable[[Function], Function]:
    """--to PATH, where a command writes: a folder, or a file; `settings` are those of click."""
    kind = click.Path(path_type=Path, file_okay=is_file, dir_okay=not is_file)
    return click.option("--to", type=kind, show_default=True, help=help, **settings)


def place_options(function: Function) -> Function:
    """--repo or --to, where to publish, --pr, --dry-run and --not-secret, for a command that calls `publish_to`."""
    for option in (
        not_secret_option,
        dry_run_option,
        click.option("--pr", "pull_request", is_flag=True, help="Open a pull request instead of committing."),
        to_option("Write to this folder instead of the Hub."),
        click.option("--repo", help="Repository on the Hub (owner/name)."),
    ):
        function = option(function)
    return function


def completing(names: Callable[[], Iterable[str]]) -> Callable[[click.Context, click.Parameter, str], list[str]]:
    """The `shell_complete` of a parameter: those of `names` that begin as what is typed so far."""

    def complete(context: click.Context, parameter: click.Parameter, typed: str) -> list[str]:
        return [name for name in names() if name.startswith(typed)]

    return complete


def known_tasks() -> list[str]:
    """The tasks of the table and the suites, for the completion of a shell."""
    from exabench.tasks.catalogue import suites, tasks

    return [*tasks(), *suites()]


def known_first_stages() -> Iterable[str]:
    """The first stages, for the completion of a shell."""
    from exabench.parts.retrievers import RETRIEVERS

    return RETRIEVERS


def check_form(as_csv: bool, as_latex: bool, per_query: bool) -> None:
    """Refuse two forms of one result, before it is computed: one of them would be ignored."""
    chosen = [as_csv, as_latex, bool(_flag("as_json"))]
    if sum(chosen) > 1:
        raise BadInput("give one of --json, --csv and --latex")
    if per_query and (as_csv or as_latex):
        raise BadInput("--per-query works only with the plain table; --json includes every query")


def answer(value: Mapping[str, object], text: str | None = None, *notes: str) -> None:
    """The result of a command: with --json `value` as one object, else `text` and, on standard error, `notes`.

    Without a text it is a line for each key.
    """
    if _flag("as_json"):
        click.echo(json_text(value), nl=False)
        return
    if text is None:
        text = "\n".join(f"{key}: {item}" for key, item in value.items())
    if text:
        show(text)
    for line in notes:
        note(line)


def answer_list(described: Mapping[str, object], header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """The result of a command that lists what comes with exabench: a row for each name, every column to the left."""
    answer(described, table(header, rows, left=len(header)))


def show(text: str) -> None:
    """A piece of the result as soon as it is known, on standard output; not with --json."""
    if not _flag("as_json"):
        click.echo(text)


def note(text: str) -> None:
    """Something to know, on standard error; not with --quiet."""
    if _flag("verbosity") != "quiet":
        click.echo(text, err=True)


def publish_to(
    publish: Callable[..., Published], folder: Path, *, repo: str | None, to: Path | None, **options: Any
) -> None:
    """Publish `folder` as the `place_options` say, and print what came of it. Raises BadInput for no place, or two."""
    if repo and to is not None:
        raise BadInput("give --repo owner/name or --to FOLDER, not both")
    if not repo and to is None:
        raise BadInput("give --repo owner/name or --to FOLDER")
    if repo:
        from exabench.hub.client import is_repo

        if not is_repo(repo):
            raise BadInput(f"--repo {printable(repo)!r} must be a repository of the Hub (owner/name)")
    with progress("publish") as report:
        done = publish(folder, repo or to, progress=report, **options)
    name = f"{done.to} {done.version}".strip()  # a folder keeps no versions
    if not done.changed:
        outcome = f"nothing has changed ({done.commit})"
    elif options["dry_run"]:
        outcome = f"would be published ({done.url})"
    else:
        outcome = f"published ({done.commit})"
    answer(asdict(done), f"{name}: {outcome}")


def open_board(board: Path) -> Path:
    """The folder of a leaderboard that exists. Raises BadInput, before anything is computed or written."""
    from exabench.bench.ledger import Ledger

    Ledger(board).check_exists()
    return board


def command_line(*words: str, board: Path | None = None, data: Path | None = None) -> str:
    """A command to type next, which runs as printed: with --board and --data where they are not the default."""
    line = ["exabench", *words]
    if board is not None and board != Path("leaderboard"):
        line += ["--board", str(board)]
    if data is not None and str(data) != os.environ.get("EXABENCH_DATA"):
        line += ["--data", str(data)]
    return shlex.join(line)


def table(header: Sequence[str], rows: Sequence[Sequence[object]], left: int = 1) -> str:
    """Plain columns: the first `left` of them to the left, the others to the right."""
    columns = []
    for place, cells in enumerate(zip(header, *rows, strict=True)):
        texts = [str(cell) for cell in cells]
        width = max(map(len, texts))
        pad = str.ljust if place < left else str.rjust
        columns.append([pad(text, width) for text in texts])
    return "\n".join("  ".join(line).rstrip() for line in zip(*columns, strict=True))


def p_value(value: float) -> str:
    """The p of a test as tables show it."""
    if value < 0.0001:  # four digits cannot tell such values apart
        return "< 0.0001"
    return f"{value:.4f}"


class Pace:
    """What is said of work in progress: how much is done, how fast, and how long the rest will take.

    A total of 0 is one that no one knows. Another total is other work, whose pace is measured again.
    """

    def __init__(self) -> None:
        self._total = -1
        self._first = 0
        self._started = 0.0

    def text(self, done: int, total: int, what: str) -> str:
        """As in "1200/5000 pairs of minilm on scifact, 310/s, 0:12 left"."""
        now = time.monotonic()
        if total != self._total:
            # From the first report on: loading a model is not part of the pace.
            self._total = total
            self._first = done
            self._started = now
        text = f"{done}/{total} {what}" if total else f"{done} {what}"
        elapsed = now - self._started
        if done <= self._first or elapsed < 1:  # too little to tell
            return text
        rate = (done - self._first) / elapsed
        # Pairs of a small model come by the hundred a second, prompts of a large one by the minute.
        if rate >= 10:
            text += f", {rate:,.0f}/s"
        elif rate >= 1:
            text += f", {rate:.1f}/s"
        else:
            text += f", {rate * 60:.1f}/min"
        if done < total:
            text += f", {duration((total - done) / rate)} left"
        return text


def duration(seconds: float) -> str:
    """Seconds as people read them: 0:07, 12:30, 3:05:00."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}:{minutes:02d}:{rest:02d}"
    return f"{minutes}:{rest:02d}"


@contextlib.contextmanager
def progress(title: str) -> Iterator[Progress]:
    """A bar on a terminal that has rich, else a line every few seconds; with --verbose a line for every step."""
    from exabench.core.packages import module_spec  # takes 9 ms to load, and --help needs none of it

    verbosity = _flag("verbosity")
    pace = Pace()
    if verbosity == "quiet":
        yield silent
    elif verbosity == "verbose" or not sys.stderr.isatty() or module_spec("rich") is None:
        started = time.monotonic()
        last = started

        def report(done: int, total: int, what: str) -> None:
            nonlocal last
            now = time.monotonic()
            text = pace.text(done, total, what)
            # The longer it has gone on, the longer it will: hours fill no log.
            pause = min(LONGEST_PAUSE, max(PAUSE, (now - started) / 20))
            if now - last >= pause or done == total or verbosity == "verbose":
                last = now
                note(f"{title}: {text}")

        yield report
    else:
        # Only for a terminal: a log and --help need none of it.
        from rich.console import Console
        from rich.progress import BarColumn, Progress as Bar, TextColumn, TimeElapsedColumn

        # Markup would swallow what is in brackets.
        columns = (TextColumn("{task.description}", markup=False), BarColumn(24), TimeElapsedColumn())
        with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
            line = bar.add_task(title, total=None)

            def report(done: int, total: int, what: str) -> None:
                text = f"{title}: {pace.text(done, total, what)}"
                bar.update(line, completed=done, total=total or None, description=text)

            yield report
