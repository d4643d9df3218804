"""Shards on a Ray cluster: Ray Data hands out their numbers, and each shard has one writer.

Work folder, reply store, models and data must lie where every node sees them under the same path (one machine, or a
shared file system with POSIX locks): what travels over Ray is the number of a shard, never a row.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from exabench.errors import MissingExtra, OutsideFailed


def by_ray(share: Callable[[Sequence[int]], None], todo: Sequence[int], workers: int) -> int:
    """`share` the shards among so many actors on the nodes of RAY_ADDRESS, or of a cluster made here; how many nodes.

    Raises OutsideFailed where the cluster stops; shards that are done then stay done.
    """
    try:
        import ray
        import ray.data
    except ModuleNotFoundError as error:
        raise MissingExtra("engine ray needs a package: pip install 'exabench[ray]'") from error
    if not todo:
        return 0

    class Sharing:
        """An actor that makes shards."""

        def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
            share([int(number) for number in batch["number"]])
            return {"number": batch["number"], "node": [ray.get_runtime_context().get_node_id()]}

    try:
        ray.init(ignore_reinit_error=True, log_to_driver=False, logging_level="error")
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        context.scheduling_strategy = "SPREAD"  # without it, and a block for each shard, one node would make them all
        numbers = ray.data.from_items([{"number": number} for number in todo]).repartition(len(todo))
        done = numbers.map_batches(Sharing, batch_size=1, concurrency=workers, num_cpus=1).take_all()
    except Exception as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[-1][:300]
        raise OutsideFailed(f"the Ray cluster stopped ({reason}); run the same build again to go on") from error
    if len(done) < len(todo):
        raise OutsideFailed(f"Ray finished {len(done)} of {len(todo)} shards; run the same build again to go on")
    return len({row["node"] for row in done})
