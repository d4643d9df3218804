"""One optimiser step's gradient: micro-batches by token budget, and for lists of any length exact with little memory.

A group's loss needs all its scores at once, but not all their graphs. "cached" computes every output (a score, or the
vector of a dual encoder) without a graph, takes the loss's gradient on the outputs, and goes back through the model in
micro-batches with that gradient: the chain rule, so the same sum as with all graphs alive (the distance cache of
luyug/Reranker; GradCache, Gao et al. 2021). Dropout is drawn from (seed, rank, step, micro-batch), so both passes see
the same masks, and a resumed run the same ones again.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from exabench.core.errors import BadInput
from exabench.models.batches import batches, budget_of
from exabench.models.learner import DualLearner, Learner
from exabench.models.loading import out_of_memory
from exabench.models.multi_vector_learner import MultiVectorLearner
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
        while self._ranks.reduce(value is None):  # on all ranks together: one budget is saved for all
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
        self._learner.module.zero_grad(set_to_none=True)
        try:
            return self.batches.backward(step, groups, weight)
        except (MemoryError, RuntimeError) as error:
            if not out_of_memory(error):
                raise
            reason = self._why_no_smaller_budget(groups)
            if reason:
                raise BadInput(reason) from error
        return None  # out here, so that the traceback no longer holds the tensors of the failed step

    def _why_no_smaller_budget(self, groups: Sequence[EncodedGroup]) -> str:
        """Why the step cannot be tried again with half the budget; empty where it can."""
        device = self._learner.device
        if self._ranks.sharded:
            # The step cannot be begun again by one rank alone: it would gather layers while the others do not.
            return (
                f"{device} is out of memory, and the other ranks wait for its micro-batches; lower steps.batch_tokens"
            )
        longest = 0
        for group in groups:
            longest = max([longest, *group.lengths])
        if self.batches.budget > longest:
            return ""
        # By now no forward is larger than the longest input alone. Plain gradients still hold the graphs of a whole
        # group of them.
        if isinstance(self.batches, ListBatches) and self.batches.mode == "plain":
            return f'{device} does not have enough memory for one group; give steps.gradients = "cached"'
        return f"{device} does not have enough memory for one input of {longest} tokens; lower max_length"


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

    def chunks_of(self, groups: Sequence[EncodedGroup]) -> tuple[list[ModelInput], list[np.ndarray]]:
        """The items of groups in their order, and positions among them by micro-batch.

        Sharded, all ranks must go through as many forwards: those with fewer get empty ones at the end.
        """
        items: list[ModelInput] = []
        lengths = []
        for group in groups:
            items += group.items
            lengths += group.lengths
        chunks = batches(lengths, self.budget)
        if self.ranks.sharded:
            most = self.ranks.reduce(len(chunks), torch.distributed.ReduceOp.MAX)
            while len(chunks) < most:
                chunks.append(np.zeros(0, np.int64))
        return items, chunks

    def forward(
        self, place: tuple[int, int, int], items: Sequence[ModelInput], chunk: np.ndarray, targets: Tensor | None = None
    ) -> Tensor:
        """The outputs float32, a row for each item of a chunk, with the dropout masks of their `place` in the run.

        A place is the step, a part of the step that is computed alone, and the chunk's number in that part.
        With `targets` int64 `[n, t]`, the logits `[n, t, vocabulary]` of writing them. An empty chunk is a forward
        whose result is thrown away.
        """
        stream = repr((self.seed, self.ranks.rank, *place)).encode()
        # A hash, so that neighbouring places share no masks. Seven bytes: torch takes a signed number of eight.
        digest = hashlib.blake2b(stream, digest_size=7).digest()
        torch.manual_seed(int.from_bytes(digest, "big"))
        inputs = self.learner.inputs([items[i] for i in chunk] or [self.learner.blank])
        device = torch.device(self.learner.device).type
        with torch.autocast(device, torch.bfloat16, enabled=self.steps.autocast == "bfloat16"):
            result = self.learner.module(*inputs, targets)
        if targets is not None:
            return result
        return result.float()[: len(chunk)]

    def outputs(self, step: int, part: int, items: Sequence[ModelInput], chunks: Sequence[np.ndarray]) -> Tensor:
        """The outputs float32 of items in their order, which go through the model by `chunks`."""
        rows = [self.forward((step, part, number), items, chunk) for number, chunk in enumerate(chunks)]
        outputs = self.learner.joined(rows)
        back = torch.from_numpy(np.argsort(np.concatenate(chunks)))  # chunks are cut by length
        return outputs[back.to(outputs.device)]


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
        parts = list(_by_tokens(groups, self.tokens_in_memory))
        if self.steps.in_batch and groups:  # each needs the outputs of all
            parts = [list(groups)]
        mode = self.mode
        if mode == "auto":
            longest = max((sum(map(_tokens, part)) for part in parts), default=0)
            mode = "cached" if longest > self.tokens_in_memory else "plain"
        if self.steps.clip_each:
            parts = [[group] for group in groups]
        elif mode == "cached":
            parts = [list(groups)]
        backward = self._cached if mode == "cached" else self._plain
        value = 0.0
        for number, part in enumerate(parts):
            value += backward(step, number, part, weight)
            if self.steps.clip_each:  # all that has come together so far, as a loop over single queries does
                nn.utils.clip_grad_norm_(self.learner.module.parameters(), self.steps.clip)
        return value

    def _plain(self, step: int, part: int, groups: Sequence[EncodedGroup], weight: float) -> float:
        """The loss of some groups, and its gradient through the graphs of all their micro-batches."""
        items, chunks = self.chunks_of(groups)
        value = self._loss(self.outputs(step, part, items, chunks), groups) / weight
        value.backward()
        return float(value.detach())

    def _cached(self, step: int, part: int, groups: Sequence[EncodedGroup], weight: float) -> float:
        """The same with the graph of one micro-batch at a time, each computed twice."""
        items, chunks = self.chunks_of(groups)
        if not chunks:  # a rank without groups, where the others do not wait for its forwards
            return 0.0
        with torch.no_grad():
            outputs = self.outputs(step, part, items, chunks)
        outputs.requires_grad_()  # a leaf: the loss's gradient stops here, and is what continues below
        value = outputs.sum()  # 0, of a rank without groups, which only keeps in step with the others
        if groups:
            value = self._loss(outputs, groups) / weight
        value.backward()
        assert outputs.grad is not None
        for number, chunk in enumerate(chunks):
            rows = torch.from_numpy(chunk).to(outputs.device)
            again = self.forward((step, part, number), items, chunk)  # the same place, so the same masks as above
            gradient = outputs.grad[rows]
            if again.ndim == 3:  # the vectors of tokens, of which another micro-batch may have had more
                gradient = gradient[:, : again.shape[1]]
            again.backward(gradient)
        return float(value.detach())

    def value(self, groups: Sequence[EncodedGroup]) -> float:
        """The sum over groups; one by one, so that rounding does not depend on which are looked at together."""
        items, chunks = self.chunks_of(groups)
        rows = self.outputs(0, 0, items, chunks).split([len(group.items) for group in groups])
        total = 0.0
        for row, group in zip(rows, groups, strict=True):  # `sum` would round otherwise from Python 3.12 on
            total += float(self._loss(row, [group]))
        return total

    def _loss(self, outputs: Tensor, groups: Sequence[EncodedGroup]) -> Tensor:
        """The sum of the losses of groups, given the outputs for all of their items: a row of the loss is a group."""
        sizes = [len(group.labels) for group in groups]
        if self.steps.in_batch:
            assert isinstance(self.learner, DualLearner | MultiVectorLearner)
            rows = self.learner.scores_of_all(outputs, sizes)
            labels, mask = _labels_of_all(groups)
        else:
            rows = pad_sequence(self.learner.scores(outputs, sizes).split(sizes), batch_first=True)
            labels = pad_sequence([torch.tensor(group.labels) for group in groups], batch_first=True)
            mask = torch.arange(rows.shape[1]) < torch.tensor(sizes)[:, None]
        return self.loss(rows, labels.to(rows.device), mask.to(rows.device)).sum()


class TextBatches(MicroBatches):
    """Micro-batches under a loss on the tokens of texts to write; tokens read and written count for the budget."""

    @property
    def _label_weight(self) -> float:
        return float(getattr(self.loss, "label_weight", 1.0))  # of a target's first token

    def weight(self, groups: Sequence[EncodedGroup]) -> float:
        """The sum of the weights of all tokens to write."""
        # Not `sum`, which rounds otherwise from Python 3.12 on.
        return math.fsum(len(target) - 1 + self._label_weight for group in groups for target in group.targets)

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
        return math.fsum(float(losses) for losses in self._losses(0, groups))

    def _losses(self, step: int, groups: Sequence[EncodedGroup]) -> Iterator[Tensor]:
        """Each micro-batch's sum of weighted token losses."""
        items, chunks = self.chunks_of(groups)
        texts: list[np.ndarray] = []
        for group in groups:
            texts += group.targets
        for number, chunk in enumerate(chunks):
            targets = self.learner.targets([texts[i] for i in chunk] or [np.zeros(1, np.int64)])
            weights = (targets >= 0).float()
            weights[:, 0] *= self._label_weight
            if not len(chunk):
                weights *= 0  # a forward that only keeps this rank in step with the others
            logits = self.forward((step, 0, number), items, chunk, targets)
            yield self.loss(logits, targets, weights).sum()


def _labels_of_all(groups: Sequence[EncodedGroup]) -> tuple[Tensor, Tensor]:
    """Labels and mask `[groups, passages of all groups]`: another group's passages are negatives, of label 0.

    Left out are those that the group has itself, and all of a group with the same query, which may be relevant to it;
    of equal ones the first counts.
    """
    owners = []
    texts = []
    for number, group in enumerate(groups):
        for item in group.items[1:]:
            owners.append(number)
            texts.append(item.key)
    queries = [group.items[0].key for group in groups]
    labels = torch.zeros(len(groups), len(texts))
    mask = torch.zeros(len(groups), len(texts), dtype=torch.bool)
    for number, group in enumerate(groups):
        own = [place for place, owner in enumerate(owners) if owner == number]
        labels[number, own] = torch.tensor(group.labels)
        mask[number, own] = True
        seen = {texts[place] for place in own}
        for place, owner in enumerate(owners):
            if queries[owner] != queries[number] and texts[place] not in seen:
                mask[number, place] = True
                seen.add(texts[place])
    return labels, mask


def _tokens(group: EncodedGroup) -> int:
    return sum(group.lengths)


def _by_tokens(groups: Sequence[EncodedGroup], budget: int) -> Iterator[list[EncodedGroup]]:
    """Groups in order, cut where their tokens go over the budget."""
    some: list[EncodedGroup] = []
    held = 0
    for group in groups:
        size = _tokens(group)
        if some and held + size > budget:
            yield some
            some = []
            held = 0
        some.append(group)
        held += size
    if some:
        yield some
