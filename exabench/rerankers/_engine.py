"""The scoring engine: items of text in, one score each out, as fast as the model allows and in the order given.

Texts are tokenised once and glued by template; a window of items is sorted by length and cut into batches by token
budget; one or two threads for each device keep it busy; each finished batch goes to the score store at once.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import cached_property
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from exabench.batches import batches, budget_of
from exabench.errors import BadInput
from exabench.models import out_of_memory
from exabench.nouns import Progress, silent
from exabench.rerankers._heads import inputs_of
from exabench.rerankers._learning import Learner
from exabench.rerankers._store import Scored, Store
from exabench.rerankers._tokens import Tokens, text_key

if TYPE_CHECKING:
    from exabench.rerankers._heads import Head
    from exabench.rerankers._models import Loaded
    from exabench.rerankers._templates import Item, Template
    from exabench.strategies import Strategy

WINDOW = 16_384  # items that are sorted and batched together: what memory holds at a time
# How far a score may move with its batch, in parts of the largest score: rounding, not a mask that was forgotten.
TOLERANCE = {"float32": 1e-4, "bfloat16": 5e-2, "float16": 1e-2, "int8": 1e-1}
_PROBES = ("why", "the sky is blue", "because light of short waves is scattered more than light of long waves " * 6)

Texts = tuple[str, ...]
"""The fields of one item: query and passage, or query and two passages."""


@dataclass(frozen=True)
class Window:
    """Some groups of items, tokenised: the distinct items by key, and each group as its keys."""

    groups: list[list[bytes]]
    items: dict[bytes, Item]

    @property
    def job(self) -> bytes:
        """What this window is called in the score store."""
        return hashlib.blake2b(b"".join(self.items), digest_size=16).digest()


class Engine:
    """A loaded model with its template and strategy. Every engine probes its model before its first score.

    Raises BadInput for a model whose scores depend on their batch or are not finite.
    """

    def __init__(
        self,
        loaded: Loaded,
        template: Template,
        strategy: Strategy,
        answers: tuple[int, ...],
        *,
        max_length: int = 0,
        batch_tokens: int = 0,
        scores: str | None = None,
        progress: Progress = silent,
        identity: Mapping[str, Any],
    ) -> None:
        self._loaded, self._template, self._strategy, self._answers = loaded, template, strategy, answers
        self.max_length = min(max_length or 512, loaded.head.limit)
        heads = [(device, loaded.head.on(device)) for device in loaded.devices]
        self._budget = batch_tokens or max(budget_of(device) for device, _ in heads)
        self._free: SimpleQueue[tuple[str, Head]] = SimpleQueue()
        # A GPU is lent to two threads at a time: one copies its batch while the other computes.
        lent = [pair for pair in heads for _ in range(2 if pair[0].startswith("cuda") else 1)]
        self._workers = len(lent)
        for pair in lent:
            self._free.put(pair)
        self._ceiling: dict[str, int] = {}  # padded tokens that a device turned out to hold, after it ran out
        self._folder, self._identity, self._progress = scores, identity, progress
        self._tokens = Tokens(loaded.tokenizer)
        self.computed, self.seconds = 0, 0.0
        self.probed = self._probe()

    # -- the two ways in -----------------------------------------------------------------------------------

    def scored(self, groups: Iterable[Sequence[Texts]]) -> Iterator[list[Scored]]:
        """The scores of each group, in order; pairs of the store are not computed again. Groups are read lazily."""
        with ThreadPoolExecutor(1) as ahead:  # tokenises the next window while this one is computed
            windows = self._windows(iter(groups), self._tokens)
            coming: Future[Window | None] = ahead.submit(next, windows, None)
            while (window := coming.result()) is not None:
                coming = ahead.submit(next, windows, None)
                found = self._looked_up(window)
                yield from ([found[key] for key in group] for group in window.groups)

    def scored_afresh(self, group: Sequence[Texts]) -> list[Scored]:
        """The scores of one group with nothing remembered from before: what a service would do, and take."""
        window = next(self._windows(iter([group]), Tokens(self._loaded.tokenizer)))
        keys = list(window.items)
        found: dict[bytes, Scored] = {}
        for batch in batches([len(item.ids) for item in window.items.values()], self._budget):
            found |= dict(self._batch([keys[i] for i in batch], window.items))
        return [found[key] for key in window.groups[0]]

    def learner(self, fields: tuple[str, ...]) -> Learner:
        """The model to be fitted, under this engine's template, strategy and cut."""
        given = (self._loaded, self._template, self._strategy, self._answers)
        return Learner(*given, max_length=self.max_length, fields=fields)

    # -- windows -------------------------------------------------------------------------------------------

    def _windows(self, groups: Iterator[Sequence[Texts]], tokens: Tokens) -> Iterator[Window]:
        some: list[Sequence[Texts]] = []
        count = 0
        for group in groups:
            some.append(group)
            count += len(group)
            if count >= WINDOW:
                yield self._window(some, tokens)
                some, count = [], 0
        if some:
            yield self._window(some, tokens)

    def _window(self, groups: Sequence[Sequence[Texts]], tokens: Tokens) -> Window:
        queries: dict[bytes, str] = {}
        passages: dict[bytes, str] = {}
        named: list[list[tuple[bytes, ...]]] = []
        for group in groups:
            dressed = [self._template.dressed(texts) for texts in group]
            named.append([tuple(map(text_key, texts)) for texts in dressed])
            for keys, texts in zip(named[-1], dressed, strict=True):
                queries[keys[0]] = texts[0]
                passages.update(zip(keys[1:], texts[1:], strict=True))
        tokens.add(queries)  # whole: the end of a query is never cut
        tokens.add(passages, keep=self.max_length)
        items: dict[bytes, Item] = {}
        lists = []
        for group_keys in named:
            lists.append([b"".join(keys) for keys in group_keys])
            for key, keys in zip(lists[-1], group_keys, strict=True):
                if key not in items:
                    items[key] = self._template.build([tokens[part] for part in keys], self.max_length)
        return Window(lists, items)

    @cached_property
    def _store(self) -> Store:
        return Store(self._folder, self._identity)

    def _looked_up(self, window: Window) -> dict[bytes, Scored]:
        """A window's scores: from the store where another job left them, computed (and kept) where none did."""
        job = window.job
        found, mine = self._store.known(list(window.items), job)
        todo = [key for key in window.items if key not in found]  # those of `mine` too: the plan must not change
        found |= mine
        plan = batches([len(window.items[key].ids) for key in todo], self._budget)
        wanted = [[todo[i] for i in batch if todo[i] not in mine] for batch in plan]
        started, of, done = time.perf_counter(), sum(map(len, wanted)), 0
        for rows in self._computed([batch for batch in wanted if batch], window.items):
            self._store.add(rows, job)
            found |= dict(rows)
            done += len(rows)
            self._progress(done, of, "pairs scored")
        self.computed += done
        self.seconds += time.perf_counter() - started
        return found

    # -- batches -------------------------------------------------------------------------------------------

    def _computed(self, plan: list[list[bytes]], items: Mapping[bytes, Item]) -> Iterator[list[tuple[bytes, Scored]]]:
        """Every batch of the plan as it is finished, by whichever device is free."""
        if self._workers == 1:
            yield from (self._batch(batch, items) for batch in plan)
            return
        coming = iter(plan)
        with ThreadPoolExecutor(self._workers) as pool:
            running: set[Future[list[tuple[bytes, Scored]]]] = set()
            while True:
                for batch in coming:
                    running.add(pool.submit(self._batch, batch, items))
                    if len(running) > self._workers:
                        break
                if not running:
                    return
                done, running = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    yield future.result()

    def _batch(self, keys: Sequence[bytes], items: Mapping[bytes, Item]) -> list[tuple[bytes, Scored]]:
        some = [items[key] for key in keys]
        values = self._forward(some)
        if not np.isfinite(values).all():
            raise BadInput(f"model {self._loaded.folder.name} gave a score that is not finite; try precision float32")
        return [
            (key, Scored(float(value), len(item.ids), item.cut_passage + 2 * item.cut_query))
            for key, value, item in zip(keys, values, some, strict=True)
        ]

    def _forward(self, items: Sequence[Item]) -> np.ndarray:
        """Scores `[n]` of items, on a free device; what does not fit in its memory is halved until it does."""
        device, head = lent = self._free.get()
        try:
            return self._fitting(device, lambda some: self._scores(head, device, some), items)
        finally:
            self._free.put(lent)

    def _fitting(self, device: str, score: Callable[[Sequence[Item]], np.ndarray], items: Sequence[Item]) -> np.ndarray:
        size = len(items) * max(len(item.ids) for item in items)
        if len(items) > 1 and size > self._ceiling.get(device, size):
            return self._halved(device, score, items)
        try:
            return score(items)
        except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
            if not out_of_memory(error):
                raise
            if len(items) == 1:
                raise BadInput(
                    f"{device} has no memory for one input of {size} tokens; lower max_length or take another device"
                ) from error
        # outside of the except clause, where the failed batch's tensors are no longer held by the traceback
        self._ceiling[device] = size // 2
        if device.startswith("cuda"):
            torch.cuda.empty_cache()
        return self._halved(device, score, items)

    def _halved(self, device: str, score: Callable[[Sequence[Item]], np.ndarray], items: Sequence[Item]) -> np.ndarray:
        half = len(items) // 2
        parts = (items[:half], items[half:])
        return np.concatenate([self._fitting(device, score, part) for part in parts])

    def _scores(self, head: Head, device: str, items: Sequence[Item]) -> np.ndarray:
        ids, mask, types = inputs_of(items, head.pad, device)
        with torch.inference_mode():
            scores = self._strategy(head.logits(ids, mask, types), self._answers)
            return np.asarray(scores.float().cpu().numpy(), np.float32)

    # -- the probe -----------------------------------------------------------------------------------------

    def _probe(self) -> float:
        """The largest move of a score, over batch sizes and orders, in parts of the largest score."""
        tokens = Tokens(self._loaded.tokenizer)
        texts = [(query, passage) for query in _PROBES[:2] for passage in _PROBES]
        fields = max(self._template.fields, default=1)
        group = [(query, *[passage] * fields) for query, passage in texts]
        items = list(self._window([group], tokens).items.values())
        alone = np.concatenate([self._forward([item]) for item in items])
        together, turned = self._forward(items), self._forward(items[::-1])[::-1]
        name, tolerance = self._loaded.folder.name, TOLERANCE[self._loaded.precision]
        if not (np.isfinite(alone).all() and np.isfinite(together).all()):
            raise BadInput(
                f"model {name} fails the probe: a score is not finite in {self._loaded.precision}; try float32"
            )
        moved = max(float(np.abs(other - alone).max()) for other in (together, turned))
        moved /= max(1.0, float(np.abs(alone).max()))
        if moved > tolerance:
            raise BadInput(
                f"model {name} fails the probe: a score alone and the same in a batch of {len(items)} differ by "
                f"{moved:.2g} of the largest score (allowed in {self._loaded.precision}: {tolerance:g}); "
                "is padding masked?"
            )
        return moved
