"""Loading: the groups of each step as token ids, made ahead by threads while the step before is computed."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from exabench.models.learner import Learner
from exabench.training.distributed import Ranks
from exabench.training.gradients import Encoded
from exabench.training.groups import Group, Groups
from exabench.training.order import Order


@dataclass(frozen=True)
class Loading:
    """Groups in the order of an Order, encoded; `loaders` threads (0: none) change when, and never what.

    `written`: the texts to write are encoded, too.
    """

    learner: Learner
    groups: Groups
    order: Order
    written: bool
    loaders: int

    def encode(self, group: Group) -> Encoded:
        """One group as the model reads it."""
        items = self.learner.items(group.query, group.passages)
        targets = self.learner.written(group.targets) if self.written else ()
        return Encoded(group.id, items, group.labels, targets)

    def ids(self, step: int) -> list[str]:
        """The ids of all groups of a step, whichever rank has them."""
        return [self.groups[number].id for number in self.order.groups(step)]

    def steps(self, begin: int, end: int, ranks: Ranks) -> Iterator[list[Encoded]]:
        """This rank's groups of each step from `begin` up to `end`."""
        if not self.loaders:
            for step in range(begin, end):
                yield self._encoded_step(step, ranks)
            return
        with ThreadPoolExecutor(self.loaders, thread_name_prefix="loader") as pool:
            coming: deque[Future[list[Encoded]]] = deque()
            try:
                for step in range(begin, end):
                    coming.append(pool.submit(self._encoded_step, step, ranks))
                    if len(coming) > 2 * self.loaders:
                        yield coming.popleft().result()
                while coming:
                    yield coming.popleft().result()
            finally:
                pool.shutdown(cancel_futures=True)

    def _encoded_step(self, step: int, ranks: Ranks) -> list[Encoded]:
        epoch = self.order.epoch(step)
        numbers = self.order.rank_share(step, ranks.rank, ranks.count)
        return [self.encode(self.groups.read(number, epoch)) for number in numbers]
