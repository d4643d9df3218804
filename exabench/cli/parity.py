"""`exabench parity`: does what serves a model rank as the model does, and if not, why?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from exabench.cli._command import (
    Command,
    answer,
    completing,
    data_option,
    known_tasks,
    note,
    progress,
    set_option,
    table,
)
from exabench.cli.evaluate import device_option, reranker_option, reranker_options
from exabench.core.errors import BadInput, CheckFailed, plural

if TYPE_CHECKING:
    from exabench.bench.parity import Parity


@click.command(
    cls=Command,
    short_help="Does what serves a model rank as the model does?",
    examples=(
        "exabench parity BAAI/bge-reranker-v2-m3 --endpoint http://localhost:8080 --set server.form=texts",
        "exabench parity Qwen/Qwen3-Reranker-0.6B --endpoint http://localhost:8000/v1 --set server.form=vllm",
        "exabench parity my-model --precision bfloat16 --most-churn 0.05",
    ),
)
@click.argument("model", help="A Hub id, a folder or pypi:<package>: the model as it should be read.")
@click.option("--endpoint", default="", metavar="URL", help="The rerank server to check.")
@click.option("--backend", default="", help="Check this backend of exabench in place of a server.")
@click.option("--precision", default="", help="Check this number format in place of a server.")
@click.option(
    "--task", default="mini", show_default=True, shell_complete=completing(known_tasks), help="Pairs of this task."
)
@click.option(
    "--most-churn",
    type=click.FloatRange(0, 1),
    default=0.0,
    show_default=True,
    help="Fail where more than this share of the best ten passages differs.",
)
@reranker_option
@device_option
@set_option
@data_option
def parity(
    model: str,
    endpoint: str,
    backend: str,
    precision: str,
    task: str,
    most_churn: float,
    part: str,
    devices: tuple[str, ...],
    pairs: tuple[str, ...],
    data: Path | None,
) -> None:
    """Compare what serves MODEL with MODEL itself on frozen pairs, and name the cause of what differs.

    --set KEY=VALUE sets an option of the reference, --set server.KEY=VALUE one of the reranker endpoint (form, model,
    api_key_env). The exit code is 1 where the scores are not equal and --most-churn is exceeded.
    """
    from exabench.bench.parity import parity

    options = reranker_options(pairs, devices, None)
    server = options.pop("server", {})
    if not isinstance(server, dict):
        raise BadInput("name the server with --endpoint; --set server.KEY=VALUE sets its options")
    if "precision" in options:
        raise BadInput("the reference is float32; --precision names what is compared with it")
    with progress("parity") as report:
        found = parity(
            model,
            endpoint=endpoint,
            server=server,
            backend=backend,
            precision=precision,
            task=task,
            part=part,
            data=data,
            progress=report,
            note=note,
            **options,
        )
    fails = not found.equal and found.churn > most_churn
    answer({"holds": not fails, "most_churn": most_churn, **found.as_json()}, _text(found), *_notes(found))
    if fails:
        raise CheckFailed(
            f"{found.served} does not rank as {found.model} does: {found.churn:.1%} of the best ten differ "
            f"(allowed: {most_churn:.1%}); cause: {found.cause}"
        )


def _text(found: Parity) -> str:
    """A line for each number, and the verdict."""
    from exabench.bench.parity import BATCH, QUANTISED

    verdict = f"equal within {found.tolerance:g} standard deviations"
    if not found.equal:
        verdict = found.cause
    if found.detail:
        verdict += f": {found.detail}"
    gain = f"not given for {plural(found.queries, 'query', 'queries')}"
    if found.ndcg is not None:
        gain = found.ndcg.as_text()
    rows = [
        ("pairs", f"{found.task}: {found.pairs} of {plural(found.queries, 'query', 'queries')}"),
        ("digest of the pairs", found.digest.removeprefix("sha256:")[:12]),
        ("Kendall's tau", f"{found.tau:.4f}"),
        ("top-10 churn", f"{found.churn:.4f}"),
        ("nDCG@10, served less reference", gain),
        ("scores are read as", found.reading),
        ("largest difference", f"{found.difference:.2g} standard deviations"),
        ("verdict", verdict),
    ]
    if found.confirmed and not found.equal:
        confirmed = f"{found.confirmed} pairs"
        if found.cause not in (BATCH, QUANTISED):  # of which no scores can be foretold
            confirmed += f", within {found.tolerance:g} standard deviations"
        rows.append(("confirmed on", confirmed))
    return table(("parity", found.model), rows, left=2)


def _notes(found: Parity) -> list[str]:
    """What was tried, where nothing explains the scores."""
    from exabench.bench.parity import UNKNOWN

    if found.cause != UNKNOWN:
        return []
    # The nearest of each cause says how far off it is.
    nearest: dict[str, float] = {}
    for one in found.tried:
        nearest[one.cause] = min(one.difference, nearest.get(one.cause, one.difference))
    lines = [f"tried: {cause}: off by {difference:.2g} standard deviations" for cause, difference in nearest.items()]
    return sorted(lines)
