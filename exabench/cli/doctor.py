"""`exabench doctor`: what is installed, what can be reached, where things are kept, and what to type."""

from __future__ import annotations

from dataclasses import asdict

import click

from exabench.cli._command import Command, answer, table
from exabench.core.errors import CheckFailed, plural


@click.command(
    cls=Command,
    short_help="What is installed, reachable and missing, and what to type.",
    examples=("exabench doctor", "exabench doctor --offline --json"),
)
@click.option("--offline", is_flag=True, help="Do not contact the Hub.")
def doctor(offline: bool) -> None:
    """Show what is installed, reachable and missing, and the commands that fix it.

    The exit code is 1 if something is broken. A missing optional extra is not an error.
    """
    from exabench.bench.installation import examine

    findings = list(examine(offline=offline))
    blocks = []
    for area in ("installed", "reachable", "kept"):
        rows = [(one.what, one.state, one.detail) for one in findings if one.area == area]
        blocks.append(table((area, "", ""), rows, left=3))
    advised = [one for one in findings if one.advice]
    if advised:
        blocks.append(table(("for", "type"), [(one.what, one.advice) for one in advised], left=2))
    broken = [one.what for one in findings if one.state == "broken"]
    answer({"holds": not broken, "findings": [asdict(one) for one in findings]}, "\n\n".join(blocks))
    if broken:
        raise CheckFailed(f"{plural(len(broken), 'thing is', 'things are')} broken: {', '.join(broken)}")
