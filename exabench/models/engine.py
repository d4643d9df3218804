"""The scoring engine: items of text in, one score each out, as fast as the model allows and in the order given.

Texts are tokenised once and glued by template; a window of items is sorted by length and cut into batches by token
budget; one or two threads for each device keep it busy; each finished batch goes to the store at once.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from exabench.core.errors import BadInput
from exabench.core.nouns import silent
from exabench.models.batch_store import BatchStore
from exabench.models.batches import batches, budget_of
from exabench.models.devices import DevicePool
from exabench.models.heads import Head, Loaded, Options, inputs_of, targets_of
from exabench.models.loading import out_of_memory
from exabench.models.strategies import Strategy
from exabench.models.templates import ModelInput, Template
from exabench.models.tokens import Tokens, text_key

WINDOW = 16_384  # items that are sorted and batched together: what memory holds at a time
# How far a score may move with its batch, as a share of the largest score: rounding may, a forgotten mask moves more.
TOLERANCE = {"float32": 1e-4, "bfloat16": 5e-2, "float16": 1e-2, "int8": 1e-2}
_PROBES = ("why", "the sky is blue", "because light of short waves is scattered more than light of long waves " * 6)

Texts = tuple[str, ...]
"""The fields of one item: query and passage, or query and two passages."""


class ScoredItem(NamedTuple):
    """An item's score, the tokens that were read and written for it, and whether its passages or its query were cut.

    Targets, whose likelihood is the score, count as written.
    """

    score: float
    tokens: int
    written: int
    cut_passage: bool
    cut_query: bool


class Window(NamedTuple):
    """Some groups of items, tokenised: each group as the keys of its items, and the distinct items by key."""

    groups: list[list[bytes]]
    items: dict[bytes, ModelInput]


class Engine:
    """A loaded model with its template and strategy. Every engine probes its model before its first score.

    `identity` names its store; of `options` it reads batch_tokens, scores and progress. Raises BadInput for a
    model whose scores depend on their batch or are not finite.
    """

    def __init__(
        self,
        loaded: Loaded,
        template: Template,
        strategy: Strategy,
        answers: tuple[int, ...],
        *,
        max_length: int,
        identity: dict[str, Any],
        options: Options,
    ) -> None:
        self.loaded = loaded
        self.template = template
        self.strategy = strategy
        self.answers = answers
        self.max_length = max_length
        self._store = BatchStore(options.get("scores"), identity)
        self._progress = options.get("progress", silent)
        self._budget = options.get("batch_tokens") or max(budget_of(device) for device in loaded.devices)
        self._devices = DevicePool(loaded.devices, loaded.head.on)
        self._ceiling: dict[str, int] = {}  # padded tokens that fit a device, known once it ran out of memory
        self._tokens = Tokens(loaded.tokenizer)
        self.computed = 0
        self.seconds = 0.0
        self._probe()

    # -- the two ways in -----------------------------------------------------------------------------------

    def score_groups(self, groups: Iterable[Sequence[Texts]]) -> Iterator[list[ScoredItem]]:
        """The scores of each group, in order; batches of the store are not computed again. Groups are read lazily.

        Batches are planned from these groups only: the same groups give the same bits, whatever was scored before.
        """
        with ThreadPoolExecutor(1) as ahead:  # tokenises the next window while this one is computed
            windows = self._windows(groups)
            coming = ahead.submit(next, windows, None)
            while (window := coming.result()) is not None:
                coming = ahead.submit(next, windows, None)
                scores = self._score_window(window)
                for group in window.groups:
                    yield self._scored(group, scores, window)

    def score_alone(self, group: Sequence[Texts]) -> list[ScoredItem]:
        """The scores of one group with nothing remembered from before: what a service would do, and take."""
        window = self._window([group], Tokens(self.loaded.tokenizer))
        scores: dict[bytes, float] = {}
        for keys in self._plan(window):
            scores.update(zip(keys, self._batch(keys, window.items).tolist(), strict=True))
        return self._scored(window.groups[0], scores, window)

    # -- windows -------------------------------------------------------------------------------------------

    def _windows(self, groups: Iterable[Sequence[Texts]]) -> Iterator[Window]:
        some = []
        count = 0
        for group in groups:
            some.append(group)
            count += len(group)
            if count >= WINDOW:
                yield self._window(some, self._tokens)
                some = []
                count = 0
        if some:
            yield self._window(some, self._tokens)

    def _window(self, groups: Sequence[Sequence[Texts]], tokens: Tokens) -> Window:
        queries = {}
        passages: dict[bytes, str] = {}
        keys_of_items = {}
        window = Window([], {})
        for group in groups:
            window.groups.append([])
            for item in group:
                texts = self.template.wrap(item)
                keys = [text_key(text) for text in texts]
                queries[keys[0]] = texts[0]
                passages.update(zip(keys[1:], texts[1:], strict=True))
                key = b"".join(keys)  # an item is known by its texts alone, whatever list or query id it came with
                keys_of_items[key] = keys
                window.groups[-1].append(key)
        tokens.add(queries)  # whole: the end of a query is never cut
        tokens.add(passages, keep=self.max_length)
        for key, keys in keys_of_items.items():
            fields = [tokens[part] for part in keys]
            window.items[key] = self.template.build(fields, self.max_length)
        return window

    def _scored(self, keys: Sequence[bytes], scores: Mapping[bytes, float], window: Window) -> list[ScoredItem]:
        """The items of these keys with their scores."""
        found = []
        for key in keys:
            item = window.items[key]
            written = self.loaded.head.writes
            if item.targets is not None:
                written = len(item.targets)
            found.append(ScoredItem(scores[key], len(item.ids), written, item.cut_passage, item.cut_query))
        return found

    def _score_window(self, window: Window) -> dict[bytes, float]:
        """A window's scores by item: of each batch from the store, or computed (and kept) where it is not there."""
        # A batch is known by its items in their order: in its last bits a score depends on both.
        plan = {}
        for keys in self._plan(window):
            plan[hashlib.blake2b(b"".join(keys), digest_size=16).digest()] = keys
        kept = self._store.look_up(list(plan))
        todo = {}
        scores: dict[bytes, float] = {}
        for batch, keys in plan.items():
            if batch in kept:
                scores.update(zip(keys, kept[batch].tolist(), strict=True))
            else:
                todo[batch] = keys
        started = time.perf_counter()
        done = 0
        total = sum(map(len, todo.values()))
        computed = self._devices.map(partial(self._batch, items=window.items), todo.values())
        for (batch, keys), values in zip(todo.items(), computed, strict=True):
            self._store.add(batch, values)
            scores.update(zip(keys, values.tolist(), strict=True))
            done += len(keys)
            self._progress(done, total, "pairs scored")
        self.computed += done
        self.seconds += time.perf_counter() - started
        return scores

    def _plan(self, window: Window) -> list[list[bytes]]:
        """The keys of a window's items in batches of nearly one length each, within the budget of padded tokens."""
        keys = list(window.items)
        plan = []
        for places in batches([item.size for item in window.items.values()], self._budget):
            plan.append([keys[place] for place in places])
        return plan

    # -- batches -------------------------------------------------------------------------------------------

    def _batch(self, keys: Sequence[bytes], items: Mapping[bytes, ModelInput]) -> np.ndarray:
        """Scores float32 `[n]` of the items of one batch. Raises BadInput for one that is not finite."""
        values = self._forward([items[key] for key in keys])
        if not np.isfinite(values).all():
            raise BadInput(f"model {self.loaded.folder.name} gave a score that is not finite; try precision float32")
        return values

    def _forward(self, items: Sequence[ModelInput]) -> np.ndarray:
        """Scores `[n]` of items, on the device that is free first."""
        with self._devices.free() as (device, head):
            return self._in_memory(head, device, items)

    def _in_memory(self, head: Head, device: str, items: Sequence[ModelInput]) -> np.ndarray:
        """Scores `[n]` of items; what does not fit in the device's memory is halved until it does."""
        size = len(items) * max(item.size for item in items)
        if len(items) == 1 or size <= self._ceiling.get(device, size):
            try:
                with torch.inference_mode():
                    scores = self.strategy(_outputs(head, device, items), self.answers)
                    return scores.float().cpu().numpy()
            except (MemoryError, RuntimeError) as error:
                if not out_of_memory(error):
                    raise
                if len(items) == 1:
                    wrong = f"{device} does not have enough memory for one input of {size} tokens"
                    raise BadInput(f"{wrong}; lower max_length or use another device") from error
            # outside of the except clause, where the traceback no longer holds what the failed batch computed
            self._ceiling[device] = size // 2
            if device.startswith("cuda"):
                torch.cuda.empty_cache()
        half = len(items) // 2
        first = self._in_memory(head, device, items[:half])
        second = self._in_memory(head, device, items[half:])
        return np.concatenate([first, second])

    # -- the probe -----------------------------------------------------------------------------------------

    def _probe(self) -> None:
        """Raises BadInput where a score moves with the size or order of its batch, or is not finite."""
        passages_of_an_item = max(self.template.fields, default=1)
        group = [(query, *[passage] * passages_of_an_item) for query in _PROBES[:2] for passage in _PROBES]
        window = self._window([group], Tokens(self.loaded.tokenizer))
        items = list(window.items.values())
        alone = np.concatenate([self._forward([item]) for item in items])
        together = self._forward(items)
        turned = self._forward(items[::-1])[::-1]
        fails = f"model {self.loaded.folder.name} fails the probe"
        precision = self.loaded.precision
        if not (np.isfinite(alone).all() and np.isfinite(together).all()):
            raise BadInput(f"{fails}: a score is not finite in {precision}; try float32")
        largest_move = np.abs(np.stack([together, turned]) - alone).max()
        moved = float(largest_move) / max(1.0, float(np.abs(alone).max()))
        if moved > TOLERANCE[precision]:
            raise BadInput(
                f"{fails}: a score computed alone and in a batch of {len(items)} differs by {moved:.2g} of the largest "
                f"score (allowed in {precision}: {TOLERANCE[precision]:g}); is padding masked?"
            )


def _outputs(head: Any, device: str, items: Sequence[ModelInput]) -> Tensor:
    """The logits `[n, columns]` of some items, or the log-probabilities `[n, longest]` of their targets."""
    ids, mask, types = inputs_of(items, head.pad, device)
    targets = [item.targets for item in items if item.targets is not None]  # of all items, or of none
    if targets:
        return head.target_log_probabilities(ids, mask, targets_of(targets, device))
    return head.logits(ids, mask, types)
