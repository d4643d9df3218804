"""Workflows of GitHub Actions as tests read them: what they run, and whether exabench has such commands."""

from __future__ import annotations

import re
from typing import Any

import click
import pytest
import yaml

from exabench.cli import exabench


def steps(workflow: str) -> list[dict[str, Any]]:
    """The steps of all jobs in their order."""
    return [step for job in yaml.safe_load(workflow)["jobs"].values() for step in job["steps"]]


def commands(workflow: str) -> list[list[str]]:
    """The words of each exabench command that the steps run, in their order, without the name exabench."""
    runs = "\n".join(step.get("run", "") for step in steps(workflow))
    return [line.split() for line in re.findall(r"^ *exabench (.+)", runs, re.MULTILINE)]


def check_commands(workflow: str) -> None:
    """Fail where a command or one of its options is none that exabench has."""
    for command in commands(workflow):
        found: click.Command = exabench
        words = list(command)
        while isinstance(found, click.Group):
            found = found.get_command(click.Context(found), words.pop(0)) or pytest.fail("no such command")
        found.make_context("exabench", words, help_option_names=["-h", "--help"], resilient_parsing=False)
