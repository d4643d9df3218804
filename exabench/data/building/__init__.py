"""Building: from a recipe over its plan, a teacher's replies and rows to a Release. Stopped anywhere, it goes on."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from functools import partial
from itertools import islice
from pathlib import Path

from exabench.core.errors import BadInput
from exabench.core.files import only_writer, write
from exabench.core.nouns import Progress, silent
from exabench.core.parallel import run_items
from exabench.core.recipe import Recipe, read_recipe
from exabench.core.rows import Release
from exabench.data.builders.twolar import recorded_replies
from exabench.data.building._making import Making, Sources
from exabench.data.building._recipe_parts import RecipeParts
from exabench.data.building._release import write_release
from exabench.measure.runs import read_run

KEYS = {
    "builder": str,
    "dataset": str,
    "table": str,
    "title": str,
    "licence": str,
    "note": str,
    "seed": int,
    "shard": int,
    "validation": int,
    "teacher": dict,
    "options": dict,
    "quality": dict,
}
__all__ = ["KEYS", "SHARD", "Sources", "build", "data_recipe", "planned", "record"]
SHARD = 500
"""Items that are planned, written and lost together, where a recipe does not say."""


def data_recipe(name: str | Path, overrides: Iterable[str] = ()) -> Recipe:
    """The recipe of a table, by name or path. Raises UnknownName, BadInput."""
    return read_recipe("data", name, KEYS, overrides)


def build(
    recipe: Recipe | str | Path,
    to: str | Path,
    *,
    sources: Sources | None = None,
    limit: int = 0,
    workers: int = 1,
    engine: str = "local",
    progress: Progress = silent,
) -> Release:
    """Build the table that `recipe` describes in the work folder `to`; `to`/release is the result.

    `limit` builds the first so many items alone; `workers` share the shards: processes here, or with the `engine` "ray"
    actors on the cluster that RAY_ADDRESS names. Run again after any stop it goes on, and what a teacher answered is
    never asked again. The bytes depend on recipe and replies alone. Raises BadInput where the folder holds another
    build, CannotWrite where somebody else builds there, and what the teacher raises.
    """
    page = recipe if isinstance(recipe, Recipe) else data_recipe(recipe)
    sources = sources or Sources()
    with only_writer(to):
        making, shards = _plan(page, to, sources, limit, progress)
        todo = [number for number in range(shards) if making.work.shard_file(number) is None]
        if engine == "ray" or (workers > 1 and len(todo) > 1):
            # Each process gets one part, and so one stream of prompts; actors take shard after shard.
            count = len(todo) if engine == "ray" else min(workers, len(todo))
            parts = [_Shards(todo[first::count]) for first in range(count)]
            nodes = set()
            for _, outcome in run_items(parts, partial(_worker, page, to, sources), engine=engine, workers=workers):
                outcome.get()
                nodes.add(outcome.node)
            if engine == "ray":
                progress(shards, shards, f"shards, made on {len(nodes)} nodes")
        else:
            making.finish(todo, lambda done: progress(shards - len(todo) + done, shards, "shards"))
        return write_release(making, progress)


def planned(
    recipe: Recipe, to: str | Path, *, sources: Sources | None = None, limit: int = 0, progress: Progress = silent
) -> dict[str, int]:
    """The items and prompts of a build that is not begun, and how many of the prompts were answered before.

    The plan itself is written, so that the build goes on from it. (A builder whose queries a teacher writes asks for
    these: its later prompts cannot be known before.)
    """
    with only_writer(to):
        making, shards = _plan(recipe, to, sources or Sources(), limit, progress)
        counts = {"items": 0, "prompts": 0, "answered before": 0}
        for number in range(shards):
            items = making.work.items(number)
            prompts = [prompt for item in items for prompt in item.prompts]
            counts["items"] += len(items)
            counts["prompts"] += len(prompts)
            if making.teacher is not None:
                keys = set(map(making.teacher.key, prompts))
                counts["answered before"] += len(making.store.known(sorted(keys)))
        return counts


def record(recipe: Recipe, run_file: str | Path, to: str | Path, *, sources: Sources | None = None) -> int:
    """Write the order of a published run as replies to the lists of a recipe, for the teacher `replay`.

    Returns how many replies there are: a query that the run does not rank has none. Nothing is built: `to` is a JSONL
    file. Raises BadInput for a recipe whose items are no lists.
    """
    if recipe.values.get("builder") != "twolar":
        raise BadInput("a run orders lists: give a recipe of the builder twolar", file=recipe.file)
    parts = RecipeParts((sources or Sources()).data, None, lambda table: None)
    run = read_run(run_file)
    lists = parts.builder("twolar", recipe.values.get("options", {}))
    lines = []
    for reply in recorded_replies(lists.items(), run):
        if reply.text:
            lines.append(json.dumps({"id": reply.id, "text": reply.text}, ensure_ascii=False) + "\n")
    write(to, "".join(lines))
    return len(lines)


def _plan(page: Recipe, to: str | Path, sources: Sources, limit: int, progress: Progress) -> tuple[Making, int]:
    """The build with its plan on disk; in how many shards."""
    making = Making(page, to, sources)
    making.work.agree(making.about | {"limit": limit})
    shards = making.work.shard_count()
    if shards is None:
        progress(0, 1, "the plan")
        shards = making.work.plan(islice(making.builder.items(), limit or None), page.values.get("shard", SHARD))
    return making, shards


class _Shards(tuple[int, ...]):
    """The numbers of the shards that one worker makes as one stream; no row goes to a worker."""

    def __str__(self) -> str:
        return f"shards {', '.join(map(str, self))}"


def _worker(page: Recipe, to: str | Path, sources: Sources) -> Callable[[_Shards], None]:
    """The function of a worker, which has its own teacher. The reply store is one for all."""
    return Making(page, to, sources).finish
