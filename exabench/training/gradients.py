"""One optimiser step's gradient: micro-batches by token budget, and for lists of any length exact with little memory.

A group's loss needs all its scores at once, but not all their graphs. "cached" scores every item without a graph, takes
the loss's gradient on the scores, and goes back through the model in micro-batches with that gradient: the chain rule,
so the same sum as with all graphs alive (the distance cache of luyug/Reranker; GradCache, Gao et al. 2021). Dropout is
drawn from (seed, rank, step, micro-batch), so both passes see the same masks, and a resumed run the same ones again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from exabench.core.errors import BadInput
from exabench.models.batches import batches, budget_of
from exabench.models.learner import Learner
from exabench.models.loading import out_of_memory
from exabench.models.templates import ModelInput
from exabench.parts.losses import Loss
from exabench.training.distributed import Ranks
from exabench.training.groups import EncodedGroup
from exabench.training.recipe import Steps

CPU_BUDGETS = 4
"""Forwards whose graphs may be alive together on a CPU, which has the memory: caching costs a third of a step."""


class Gradient:
    """Puts the gradient of the mean loss over a step's groups into the parameters, and returns that loss.

    When the device runs out of memory, the token budget of `batches` is halved and the step begun again.
    """

    def __init__(self, learner: Learner, loss: Loss, steps: Steps, ranks: Ranks, seed: int) -> None:
        self._learner = learner
        self._ranks = ranks
        kind = TextBatches if loss.needs == "targets" else ListBatches
        self.batches: TextBatches | ListBatches = kind(learner, loss, steps, ranks, seed)

    def __call__(self, step: int, groups: Sequence[EncodedGroup]) -> float:
        """The mean loss over the groups of all ranks (over tokens, for texts); `groups` are this rank's.

        Raises BadInput where one input alone is more than the device holds.
        """
        # Divided by the weight of all ranks, the sum of their gradients is that of one large batch.
        weight = self._ranks.reduce(self.batches.weight(groups))
        value = self._try_step(step, groups, weight)
        while self._ranks.reduce(value is None):  # all ranks halve together, or their masks would differ on resume
            self.batches.budget //= 2
            if self._learner.device.startswith("cuda"):
                torch.cuda.empty_cache()
            value = self._try_step(step, groups, weight)
        assert value is not None
        self._ranks.add_gradients(self._learner.module)
        return self._ranks.reduce(value)

    def value(self, groups: Sequence[EncodedGroup]) -> float:
        """The mean loss over some groups of this rank, with no gradient and no dropout."""
        module = self._learner.module
        trains = module.training
        module.eval()
        with torch.no_grad():
            value = self.batches.value(groups) / self.batches.weight(groups)
        module.train(trains)
        return value

    def _try_step(self, step: int, groups: Sequence[EncodedGroup], weight: float) -> float | None:
        """This rank's part of the loss, its gradient in the parameters; None where memory ran out and less may do."""
        device = self._learner.device
        self._learner.module.zero_grad(set_to_none=True)
        try:
            return self.batches.backward(step, groups, weight)
        except (MemoryError, RuntimeError) as error:
            if not out_of_memory(error):
                raise
            if self._ranks.sharded:
                what = "the others wait for each of this rank's micro-batches"
                raise BadInput(f"{device} is out of memory, and {what}; lower steps.batch_tokens") from error
            longest = max((length for group in groups for length in group.lengths), default=0)
            if self.batches.budget <= longest:
                if isinstance(self.batches, ListBatches) and self.batches.mode == "plain":
                    raise BadInput(f'{device} has no memory for one group; give steps.gradients = "cached"') from error
                raise BadInput(f"{device} has no memory for one input of {longest} tokens; lower max_length") from error
        return None  # out here, so that the traceback no longer holds the tensors of the failed step


@dataclass
class MicroBatches:
    """The model on micro-batches, each with the dropout masks that belong to its place in the run.

    `budget`: the padded tokens of one forward. Groups whose graphs are alive together have at most
    `tokens_in_memory` tokens.
    """

    learner: Learner
    loss: Loss
    steps: Steps
    ranks: Ranks
    seed: int

    def __post_init__(self) -> None:
        self.budget = self.steps.batch_tokens or budget_of(self.learner.device)

    @property
    def tokens_in_memory(self) -> int:
        """The tokens whose graphs may be alive together."""
        if self.learner.device == "cpu" and not self.steps.batch_tokens:
            return CPU_BUDGETS * self.budget
        return self.budget

    def cut(self, lengths: Sequence[int]) -> list[np.ndarray]:
        """Positions of items by micro-batch.

        Sharded, all ranks must go through as many forwards: those with fewer get empty ones at the end.
        """
        chunks = batches(lengths, self.budget)
        if self.ranks.sharded:
            missing = int(self.ranks.reduce(len(chunks), torch.distributed.ReduceOp.MAX)) - len(chunks)
            chunks += [np.zeros(0, np.int64)] * missing
        return chunks

    def forward(
        self, place: tuple[int, int, int], items: Sequence[ModelInput], chunk: np.ndarray, targets: Tensor | None = None
    ) -> Tensor:
        """The scores float32 `[n]` of the items of a chunk, with the dropout masks of their `place` in the run.

        A place is the step, a part of the step that is computed alone, and the chunk's number in that part.
        With `targets` int64 `[n, t]`, the logits `[n, t, vocabulary]` of writing them. An empty chunk is a forward
        whose result is thrown away.
        """
        seed = hashlib.blake2b(repr((self.seed, self.ranks.rank, *place)).encode(), digest_size=7).digest()
        torch.manual_seed(int.from_bytes(seed, "big"))  # seven bytes: torch takes a signed number of eight
        inputs = self.learner.inputs([items[i] for i in chunk] or [self.learner.blank])
        device = torch.device(self.learner.device).type
        with torch.autocast(device, torch.bfloat16, enabled=self.steps.autocast == "bfloat16"):
            result = self.learner.module(*inputs, targets)
        if targets is not None:
            return result
        return result.float()[: len(chunk)]

    def scores(self, step: int, part: int, items: Sequence[ModelInput], chunks: Sequence[np.ndarray]) -> Tensor:
        """The scores float32 `[n]` of items in their order, which go through the model by `chunks`."""
        rows = [self.forward((step, part, number), items, chunk) for number, chunk in enumerate(chunks)]
        back = torch.from_numpy(np.argsort(np.concatenate(chunks)))
        return torch.cat(rows)[back.to(rows[0].device)]


class ListBatches(MicroBatches):
    """Micro-batches under a loss on the scores of whole groups."""

    @property
    def mode(self) -> str:
        """How gradients are made. Ranks that hold slices of a model go through as many forwards only when cached."""
        return "cached" if self.ranks.sharded else self.steps.gradients

    def weight(self, groups: Sequence[EncodedGroup]) -> float:
        """The number of groups."""
        return len(groups)

    def backward(self, step: int, groups: Sequence[EncodedGroup], weight: float) -> float:
        """Groups with their graphs alive, as many as the budget takes, or all of them cached."""
        longest = max((sum(group.lengths) for group in groups), default=0)
        if self.mode == "cached" or (self.mode == "auto" and longest > self.tokens_in_memory):
            return self._part(step, 0, groups, weight, cached=True)
        value = 0.0
        for part, some in enumerate(_by_tokens(groups, self.tokens_in_memory)):
            value += self._part(step, part, some, weight, cached=False)
        return value

    def value(self, groups: Sequence[EncodedGroup]) -> float:
        """The sum over groups; one by one, so that rounding does not depend on which are looked at together."""
        items, chunks = self._chunk(groups)
        scores = self.scores(0, 0, items, chunks)
        total = 0.0
        for row, group in zip(scores.split([len(group.items) for group in groups]), groups, strict=True):
            total += float(self.loss(*_padded_lists(row, [group])))
        return total

    def _part(self, step: int, part: int, groups: Sequence[EncodedGroup], weight: float, *, cached: bool) -> float:
        """The loss of some groups and its gradient: with all graphs alive, or `cached`, one micro-batch at a time."""
        items, chunks = self._chunk(groups)
        if not chunks:
            return 0.0
        with torch.set_grad_enabled(not cached):
            scores = self.scores(step, part, items, chunks)
        if cached:
            scores.requires_grad_()  # a leaf now: the loss's gradient stops here, and goes on below
        value = scores.sum()  # 0, of a rank without groups, which only keeps in step with the others
        if groups:
            value = self.loss(*_padded_lists(scores, groups)).sum() / weight
        value.backward()
        if cached:
            gradient = torch.zeros_like(scores) if scores.grad is None else scores.grad
            for number, chunk in enumerate(chunks):
                again = self.forward((step, part, number), items, chunk)
                again.backward(gradient[torch.from_numpy(chunk).to(gradient.device)])
        return float(value.detach())

    def _chunk(self, groups: Sequence[EncodedGroup]) -> tuple[list[ModelInput], list[np.ndarray]]:
        items = [item for group in groups for item in group.items]
        return items, self.cut([len(item.ids) for item in items])


class TextBatches(MicroBatches):
    """Micro-batches under a loss on the tokens of texts to write; tokens read and written count for the budget."""

    @property
    def _label_weight(self) -> float:
        return float(getattr(self.loss, "label_weight", 1.0))  # of a target's first token

    def weight(self, groups: Sequence[EncodedGroup]) -> float:
        """The sum of the weights of all tokens to write."""
        return sum(len(target) - 1 + self._label_weight for group in groups for target in group.targets)

    def backward(self, step: int, groups: Sequence[EncodedGroup], weight: float) -> float:
        """One micro-batch after the other."""
        total = 0.0
        for losses in self._losses(step, groups):
            value = losses / weight
            value.backward()
            total += float(value.detach())
        return total

    def value(self, groups: Sequence[EncodedGroup]) -> float:
        """The weighted sum over tokens."""
        return sum(float(losses) for losses in self._losses(0, groups))

    def _losses(self, step: int, groups: Sequence[EncodedGroup]) -> Iterator[Tensor]:
        """Each micro-batch's sum of weighted token losses."""
        items: list[ModelInput] = []
        texts: list[np.ndarray] = []
        lengths = []
        for group in groups:
            items += group.items
            texts += group.targets
            lengths += group.lengths
        for number, chunk in enumerate(self.cut(lengths)):
            targets = self.learner.targets([texts[i] for i in chunk] or [np.zeros(1, np.int64)])
            weights = (targets >= 0).float()
            weights[:, 0] *= self._label_weight
            if not len(chunk):
                weights *= 0  # a forward that only keeps this rank in step with the others
            logits = self.forward((step, 0, number), items, chunk, targets)
            yield self.loss(logits, targets, weights).sum()


def _padded_lists(scores: Tensor, groups: Sequence[EncodedGroup]) -> tuple[Tensor, Tensor, Tensor]:
    """Scores, labels and mask `[groups, longest]` of the flat scores of some groups."""
    sizes = [len(group.items) for group in groups]
    rows = pad_sequence(scores.split(sizes), batch_first=True)
    labels = pad_sequence([torch.tensor(group.labels) for group in groups], batch_first=True)
    mask = torch.arange(rows.shape[1]) < torch.tensor(sizes)[:, None]
    return rows, labels.to(rows.device), mask.to(rows.device)


def _by_tokens(groups: Sequence[EncodedGroup], budget: int) -> Iterator[list[EncodedGroup]]:
    """Groups in order, cut where their tokens go over the budget."""
    some: list[EncodedGroup] = []
    held = 0
    for group in groups:
        size = sum(group.lengths)
        if some and held + size > budget:
            yield some
            some = []
            held = 0
        some.append(group)
        held += size
    if some:
        yield some
