"""One optimiser step's gradient: micro-batches by token budget, and for lists of any length exact with little memory.

A group's loss needs all its scores at once, but not all their graphs. "cached" scores every item without a graph, takes
the loss's gradient on the scores, and goes back through the model in micro-batches with that gradient: the chain rule,
so the same sum as with all graphs alive (the distance cache of luyug/Reranker; GradCache, Gao et al. 2021). Dropout is
drawn from (seed, step, micro-batch), so both passes see the same masks, and a resumed run the same ones again.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

from exabench.batches import batches, budget_of
from exabench.errors import BadInput
from exabench.models import out_of_memory
from exabench.training._dropout import CheapDropout
from exabench.training._preparing import prepared

if TYPE_CHECKING:
    from exabench.losses import Loss
    from exabench.rerankers._learning import Learner
    from exabench.rerankers._templates import Item
    from exabench.training.plan import Steps
    from exabench.training.distributed import Ranks


CPU_TOKENS = 1024
"""Padded tokens that a forward with a graph is fastest with on a CPU."""

CPU_ALIVE = 8
"""So many of those may have their graphs alive together there, before a longer group is cached."""

Pair: TypeAlias = "tuple[Item, np.ndarray]"
"""What is read, and the ids of what is to be written of it (none where a loss takes scores)."""


@dataclass(frozen=True)
class Encoded:
    """A group as the model reads it: its items, their labels, and the ids of what is to be written of each."""

    id: str
    items: Sequence[Item]
    labels: tuple[float, ...]
    targets: Sequence[np.ndarray] = ()

    @property
    def tokens(self) -> int:
        """Real tokens, read and written."""
        return sum(len(item.ids) for item in self.items) + sum(map(len, self.targets))

    @property
    def pairs(self) -> Iterator[Pair]:
        """Each item with its target."""
        return zip(self.items, self.targets or [np.zeros(0, np.int64)] * len(self.items), strict=True)


class Gradient:
    """Puts the gradient of the mean loss over a step's groups into the parameters, and gives that loss.

    `micro` is the token budget of one forward: it is halved, and the step begun again, when the device runs out.
    Groups whose graphs are alive together have at most `alive` times as many tokens.
    """

    def __init__(self, learner: Learner, loss: Loss, steps: Steps, ranks: Ranks, seed: int) -> None:
        self._learner, self._loss, self._steps, self._ranks, self._seed = learner, loss, steps, ranks, seed
        self._writes = loss.needs == "targets"
        self._label = float(getattr(loss, "label_weight", 1.0))  # of a target's first token
        self.module = ranks.wrapped(prepared(learner, steps), steps.sharded)
        on_cpu = learner.device == "cpu"
        self._table = _looked_up(learner) if on_cpu and not (steps.sharded or steps.compile) else None
        again = steps.compile or steps.checkpointing  # torch's own masks, where torch runs the code once more
        self._drop: Any = CheapDropout if on_cpu and not again else contextlib.nullcontext
        small = on_cpu and not steps.batch_tokens
        self.micro = CPU_TOKENS if small else steps.batch_tokens or budget_of(learner.device)
        self._alive = CPU_ALIVE if small else 1

    def __call__(self, step: int, groups: Sequence[Encoded], count: int) -> float:
        """The mean loss over the `count` groups of all ranks (of a token, for texts); this rank's are `groups`.

        Raises BadInput where one input alone is more than the device holds.
        """
        whole = self._ranks.sum(self._weight(groups)) if self._writes else count
        while True:
            self._learner.module.zero_grad(set_to_none=True)
            if self._table is not None:
                self._table.grad = torch.zeros_like(self._table)  # each micro-batch adds the rows of its words
            try:
                with self._drop():
                    value = self._written(step, groups, whole) if self._writes else self._ranked(step, groups, count)
            except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
                self._check_room(error, groups)
                short = True
            else:
                short = False
            if not self._ranks.any(short):
                break
            self.micro //= 2  # out here the failed step's tensors are no longer held by the traceback
            if self._learner.device.startswith("cuda"):
                torch.cuda.empty_cache()
        self._ranks.add_gradients(self._learner.module)
        return self._ranks.sum(value)

    def value(self, groups: Sequence[Encoded]) -> float:
        """The mean loss over some groups, with no gradient and no dropout; no other rank is asked."""
        module = self._learner.module
        trains = module.training
        module.eval()
        with torch.no_grad():
            if self._writes:
                value = sum(float(losses) for losses in self._token_losses(0, groups)) / self._weight(groups)
            else:
                items = [item for group in groups for item in group.items]
                rows = self._all_scores((0, 0), items, self._chunks([len(item.ids) for item in items]))
                lists = zip(rows.split([len(group.items) for group in groups]), groups, strict=True)
                value = sum(float(self._loss(*_lists(row, [group]))) for row, group in lists) / len(groups)
        module.train(trains)
        return value

    def _check_room(self, error: BaseException, groups: Sequence[Encoded]) -> None:
        """Raises what is no lack of memory, and what half a micro-batch could not mend."""
        if not out_of_memory(error):
            raise error
        device = self._learner.device
        if self._ranks.sharded:
            what = "the others wait for each of this rank's micro-batches"
            raise BadInput(f"{device} is out of memory, and {what}; lower steps.batch_tokens") from error
        longest = max((len(i.ids) + len(t) for group in groups for i, t in group.pairs), default=0)
        if self.micro <= longest and self._steps.gradients == "plain" and not self._writes:
            raise BadInput(f'{device} has no memory for one group; give steps.gradients = "cached"') from error
        if self.micro <= longest:
            raise BadInput(f"{device} has no memory for one input of {longest} tokens; lower max_length") from error

    # -- losses over groups --------------------------------------------------------------------------------

    def _ranked(self, step: int, groups: Sequence[Encoded], count: int) -> float:
        mode = self._steps.gradients
        most = self._alive * self.micro
        long = any(group.tokens > most for group in groups)
        if self._ranks.sharded or mode == "cached" or (mode == "auto" and long):
            return self._cached(step, groups, count)
        parts = list(_by_tokens([group.tokens for group in groups], most))
        return sum(self._plain((step, n), [groups[i] for i in part], count) for n, part in enumerate(parts))

    def _plain(self, at: tuple[int, int], groups: Sequence[Encoded], count: int) -> float:
        """Some whole groups with every graph alive: their losses' sum over `count`."""
        items = [item for group in groups for item in group.items]
        scores = self._all_scores(at, items, self._chunks([len(item.ids) for item in items]))
        value = self._loss(*_lists(scores, groups)).sum() / count
        value.backward()
        return float(value.detach())

    def _cached(self, step: int, groups: Sequence[Encoded], count: int) -> float:
        """All groups with no graph but one micro-batch's: the same gradient."""
        items = [item for group in groups for item in group.items]
        chunks = self._chunks([len(item.ids) for item in items])
        if not chunks:
            return 0.0
        with torch.no_grad():
            scores = self._all_scores((step, 0), items, chunks)
        scores.requires_grad_()
        value = self._loss(*_lists(scores, groups)).sum() / count if groups else scores.sum()
        value.backward()
        gradient = scores.grad if scores.grad is not None else torch.zeros_like(scores)
        for n, chunk in enumerate(chunks):
            with self._dropout(step, 0, n):
                some = self._scores([items[i] for i in chunk])
            some.backward(gradient[torch.from_numpy(chunk).to(gradient.device)])
        return float(value.detach())

    def _chunks(self, lengths: Sequence[int]) -> list[np.ndarray]:
        """Micro-batches as positions; empty ones at the end where other ranks have more, and all must go along."""
        cut = batches(lengths, self.micro)
        return cut + [np.zeros(0, np.int64)] * (self._ranks.most(len(cut)) - len(cut))

    def _all_scores(self, at: tuple[int, int], items: Sequence[Item], chunks: Sequence[np.ndarray]) -> Tensor:
        """The scores of items in their order, float32 `[n]`."""
        rows = []
        for n, chunk in enumerate(chunks):
            with self._dropout(*at, n):
                rows.append(self._scores([items[i] for i in chunk]))
        back = torch.from_numpy(np.argsort(np.concatenate(chunks)))
        return torch.cat(rows)[back.to(rows[0].device)]

    def _scores(self, items: Sequence[Item]) -> Tensor:
        """Scores float32 `[n]` of one micro-batch; of none, after a forward whose result is thrown away."""
        given = self._learner.inputs(items or [self._learner.blank])
        return self.module(*given).float()[: len(items)]

    @contextlib.contextmanager
    def _dropout(self, *place: int) -> Iterator[None]:
        """The masks that belong to a micro-batch, and the lower precision where one is asked for."""
        torch.manual_seed(_seed(self._seed, self._ranks.rank, *place))
        lower: Any = getattr(torch, self._steps.autocast) if self._steps.autocast else None
        with torch.autocast(torch.device(self._learner.device).type, dtype=lower, enabled=lower is not None):
            yield

    # -- texts to write ------------------------------------------------------------------------------------

    def _weight(self, groups: Sequence[Encoded]) -> float:
        """The sum of the weights of all tokens to write."""
        return sum(len(target) - 1 + self._label for group in groups for target in group.targets)

    def _written(self, step: int, groups: Sequence[Encoded], whole: float) -> float:
        """The losses' sum over all tokens, over the weight `whole` of all ranks' tokens."""
        total = 0.0
        for losses in self._token_losses(step, groups):
            value = losses / whole
            value.backward()
            total += float(value.detach())
        return total

    def _token_losses(self, step: int, groups: Sequence[Encoded]) -> Iterator[Tensor]:
        """Each micro-batch's sum of weighted token losses; what is read and what is written count for the budget."""
        pairs = [pair for group in groups for pair in group.pairs]
        for n, chunk in enumerate(self._chunks([len(item.ids) + len(target) for item, target in pairs])):
            yield self._token_loss((step, 0, n), [pairs[i] for i in chunk])

    def _token_loss(self, at: tuple[int, ...], pairs: Sequence[Pair]) -> Tensor:
        items, rows = zip(*(pairs or [(self._learner.blank, np.zeros(1, np.int64))]), strict=True)
        targets = self._learner.targets(rows)
        weights = (targets >= 0).float()
        weights[:, 0] *= self._label
        with self._dropout(*at):
            logits = self.module(*self._learner.inputs(items), targets)
        return self._loss(logits, targets, weights if pairs else 0 * weights).sum()


def _looked_up(learner: Learner) -> nn.Parameter:
    """The table of word vectors, whose gradient is from now on that of the words of a micro-batch, and of no others.

    Else each micro-batch would make a whole table of zeros: on a CPU a tenth of a small encoder's time.
    """
    model: Any = learner.module.model
    table: nn.Parameter = model.get_input_embeddings().weight
    for part in model.modules():
        if isinstance(part, nn.Embedding) and part.weight is table:  # a T5 looks up in two places
            part.sparse = True
    return table


def _lists(scores: Tensor, groups: Sequence[Encoded]) -> tuple[Tensor, Tensor, Tensor]:
    """Scores, labels and mask `[groups, longest]` of the flat scores of some groups."""
    sizes = [len(group.items) for group in groups]
    mask = torch.arange(max(sizes))[None, :] < torch.tensor(sizes)[:, None]
    labels = torch.zeros(mask.shape).masked_scatter(mask, torch.tensor([y for group in groups for y in group.labels]))
    labels, mask = labels.to(scores.device), mask.to(scores.device)
    return torch.zeros_like(labels).masked_scatter(mask, scores), labels, mask


def _by_tokens(tokens: Sequence[int], budget: int) -> Iterator[list[int]]:
    """Numbers in order, cut where their tokens go over the budget."""
    some: list[int] = []
    held = 0
    for number, size in enumerate(tokens):
        if some and held + size > budget:
            yield some
            some, held = [], 0
        some.append(number)
        held += size
    if some:
        yield some


def _seed(*numbers: int) -> int:
    return int.from_bytes(hashlib.blake2b(repr(numbers).encode(), digest_size=7).digest(), "big")
