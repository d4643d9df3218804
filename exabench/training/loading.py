"""Loading: the groups of each step as token ids, made ahead by threads while the step before is computed."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

from exabench.training.gradients import Encoded

if TYPE_CHECKING:
    from exabench.models.learner import Learner
    from exabench.training.distributed import Ranks
    from exabench.training.groups import Group, Groups
    from exabench.training.order import Order


class Loading:
    """Groups in the order of an Order, encoded; `loaders` threads (0: none) change when, and never what.

    `written`: the texts to write are encoded, too.
    """

    def __init__(self, learner: Learner, groups: Groups, order: Order, *, written: bool, loaders: int) -> None:
        self._learner = learner
        self._groups = groups
        self._order = order
        self._written = written
        self._loaders = loaders

    def encoded(self, group: Group) -> Encoded:
        """One group as the model reads it."""
        items = self._learner.items(group.query, group.passages)
        targets = self._learner.written(group.targets) if self._written else ()
        return Encoded(group.id, items, group.labels, targets)

    def ids(self, step: int) -> list[str]:
        """The ids of all groups of a step, whichever rank has them."""
        return [self._groups[number].id for number in self._order.groups(step)]

    def steps(self, begin: int, end: int, ranks: Ranks) -> Iterator[list[Encoded]]:
        """This rank's groups of each step from `begin` up to `end`."""
        if not self._loaders:
            for step in range(begin, end):
                yield self._encode(*self._share(step, ranks))
            return
        with ThreadPoolExecutor(self._loaders, thread_name_prefix="loader") as pool:
            coming: deque[Future[list[Encoded]]] = deque()
            try:
                for step in range(begin, end):
                    coming.append(pool.submit(self._encode, *self._share(step, ranks)))
                    if len(coming) > 2 * self._loaders:
                        yield coming.popleft().result()
                while coming:
                    yield coming.popleft().result()
            finally:
                pool.shutdown(cancel_futures=True)

    def _share(self, step: int, ranks: Ranks) -> tuple[tuple[int, ...], int]:
        return self._order.rank_share(step, ranks.rank, ranks.count), self._order.epoch(step)

    def _encode(self, numbers: tuple[int, ...], epoch: int) -> list[Encoded]:
        return [self.encoded(self._groups.seen(number, epoch)) for number in numbers]
