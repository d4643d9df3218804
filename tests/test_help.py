"""Help: every command and argument is described, its examples can be typed, and a shell can complete it."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Iterator

import click
import pytest

from exabench.cli import exabench, main


def commands(command: click.Command, path: str = "exabench") -> Iterator[tuple[str, click.Command]]:
    """A command and all below it that help lists, with their paths."""
    if command.hidden:
        return
    yield path, command
    if isinstance(command, click.Group):
        for name, inner in command.commands.items():
            yield from commands(inner, f"{path} {name}")


COMMANDS = dict(commands(exabench))


@pytest.mark.parametrize("path", COMMANDS)
def test_every_command_has_examples_that_it_takes_and_describes_its_arguments(path: str) -> None:
    command = COMMANDS[path]
    examples = command.examples  # type: ignore[attr-defined]
    assert examples, f"{path} has no example"
    for example in examples:
        assert example.startswith(path)
        check_that_it_is_taken(example)
    for parameter in command.params:
        if isinstance(parameter, click.Argument):
            assert parameter.help, f"{path}: {parameter.human_readable_name} is not described"


def check_that_it_is_taken(line: str) -> None:
    """Its command knows every option of the line, each has a value that fits, and no argument is missing or too many.

    Whether the files are there is not asked.
    """
    words = shlex.split(line)[1:]
    command: click.Command = exabench
    while isinstance(command, click.Group):
        command = command.commands[words.pop(0)]
    # As the program makes it: a command keeps the option for help that it is first asked with.
    context = click.Context(command, help_option_names=["-h", "--help"])
    values, rest, _ = command.make_parser(context).parse_args(words)
    assert rest == [], line
    for parameter in command.params:
        value = values.get(parameter.name)
        given = isinstance(value, str | list | tuple) and bool(value)
        assert given or not parameter.required, f"{line}: {parameter.name} is missing"
        if given and not isinstance(parameter.type, click.Path):
            parameter.type_cast_value(context, value)


def test_help_is_a_command_too_and_a_group_alone_says_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["help", "bench", "score"]) == 0
    asked = capsys.readouterr().out
    assert main(["bench", "score", "--help"]) == 0
    assert capsys.readouterr().out == asked
    assert asked.startswith("Usage: exabench bench score") and "Examples:\n  exabench bench score run.trec" in asked
    for group in ([], ["bench"], ["data", "replies"]):
        assert main(group) == 0
        alone = capsys.readouterr()
        assert main([*group, "--help"]) == 0
        assert capsys.readouterr().out == alone.out and alone.err == ""


def completed(line: str) -> list[str]:
    """What bash offers after `line`."""
    words = line.split(" ")
    asked = {"_EXABENCH_COMPLETE": "bash_complete", "COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)}
    return [offer.partition(",")[2] for offer in shell(asked).split()]


def shell(asked: dict[str, str]) -> str:
    """What exabench prints for a shell."""
    code = "import sys; from exabench.cli import main; sys.exit(main([]))"
    given = {**os.environ, **asked}
    return subprocess.run([sys.executable, "-c", code], env=given, capture_output=True, text=True, check=True).stdout


def test_a_shell_completes_commands_tasks_first_stages_recipes_and_parts() -> None:
    for name in ("bash", "zsh", "fish"):
        assert "_EXABENCH_COMPLETE" in shell({"_EXABENCH_COMPLETE": f"{name}_source"})
    assert completed("exabench be") == ["bench"]
    assert completed("exabench bench candidates scif") == ["scifact"]
    assert "nfcorpus" in completed("exabench bench score run.trec --task nf")
    assert completed("exabench bench candidates mini --retriever bm") == ["bm25"]
    assert "mini-listwise" in completed("exabench data build mini-")
    assert completed("exabench train run mini-") == ["mini-minilm"]
    assert completed("exabench parts rerankers mono") == ["monot5"]
    assert completed("exabench nothing of the ki") == []
