"""Killed at any change of a file, or on a disk that fills at any, each command goes on and ends with the same bytes."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from campaign import HEADER, MAY_BE_FULL, Campaign, can_mount
from hub_client import point_at
from system_calls import can_watch
from writing_commands import COMMANDS, Command, Inputs, import_all

from exabench.cli import exabench as commands
from exabench.hub import commits

ONLY_PRINT = {
    *("help", "doctor", "parity", "parts"),
    *("data list", "data show", "data audit", "data diff", "data card", "data verify"),
    *(
        "data cost",
        "data record",
        "train list",
        "study list",
        "bench tasks",
        "bench score",
        "bench compare",
        "bench verify",
    ),
    *("bench verify", "bench speed", "bench pending", "board check"),
    "board serve",  # it builds the pages as `board build` does
}
QUICK = (
    *("data build, explanations, paid", "data replies import", "data publish, next", "data withdraw", "board init"),
    *("bench candidates", "bench submit", "bench run", "bench run --pending", "data export, beir"),
)
BY_NAME = {command.name: command for command in COMMANDS}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Inputs]:
    if not can_watch():
        pytest.skip("this kernel does not ask before a call (seccomp's user notification)")
    import_all(with_models=False)
    made = Inputs(tmp_path_factory.mktemp("no-lost-work"))
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("EXABENCH_DATA", raising=False)
        patch.setattr(commits, "PAUSE", 0.0)
        point_at(made.hub.url, made.scene / "home", patch)
        made.make()
        yield made
    made.close()


def test_every_command_that_writes_is_in_the_table() -> None:
    covered = {
        words for command in COMMANDS for words in _paths(commands) if f"{command.line} ".startswith(f"{words} ")
    }
    assert covered | ONLY_PRINT == set(_paths(commands)) and not covered & ONLY_PRINT


def _paths(group: click.Group, before: str = "") -> Iterator[str]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from _paths(command, f"{before}{name} ")
        else:
            yield f"{before}{name}"


def faults(inputs: Inputs, command: Command, kills: int, full_disks: int, others: int, seed: int = 22) -> Campaign:
    """A seeded sample of so many faults of each kind."""
    drawn = random.Random(f"{seed} {command.name}")
    if command.loads_model:
        import_all(with_models=True)
    campaign = Campaign(inputs, command)
    for number in sample(drawn, len(campaign.changes), kills):
        campaign.kill(number)
    could_be_full = sum(change.name in MAY_BE_FULL for change in campaign.changes)
    for number in sample(drawn, could_be_full, full_disks):
        campaign.full_disk(number)
    for _ in range(others):
        campaign.kill_for_real(drawn)
    if command.needs_cache:
        return campaign
    campaign.bad_cache("read-only")
    campaign.bad_cache("full")
    in_cache = sum("/cache/" in change.path for change in campaign.changes)
    for number in sample(drawn, in_cache, others):
        campaign.bad_cache("full", number)
    campaign.damaged_cache(drawn)
    return campaign


def sample(drawn: random.Random, total: int, most: int) -> list[int]:
    """So many of the numbers from 1, in order."""
    return sorted(drawn.sample(range(1, total + 1), min(most, total)))


@pytest.mark.parametrize("name", QUICK)
def test_a_sample_of_kills_and_full_disks_loses_nothing(inputs: Inputs, name: str) -> None:
    tally = faults(inputs, BY_NAME[name], kills=5, full_disks=3, others=1).tally
    assert tally.holds, "\n".join(tally.notes)


@pytest.mark.slow
@pytest.mark.parametrize(
    "command", sorted(COMMANDS, key=lambda command: command.loads_model), ids=lambda command: command.name
)
def test_the_whole_campaign_loses_nothing(
    inputs: Inputs, command: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if command.line.startswith("bench convert") and shutil.which("bwrap") is None:
        pytest.skip("bubblewrap is not installed")
    campaign = faults(inputs, command, kills=60, full_disks=30, others=3)
    if os.getuid() == 0 and can_mount(tmp_path / "disk"):
        size = 1 << 13
        while not campaign.small_disk(size):
            size *= 3
    with capsys.disabled():
        print(f"\n{HEADER}\n{campaign.tally.line()}")
    assert campaign.tally.holds, "\n".join(campaign.tally.notes)
