"""Sorting by a language model that says which passage of a few is the best: a heap, and passes from the bottom up.

Both bring the best `k` to the head; the others follow in the order they came in (Zhuang et al. 2024, arXiv 2310.09497;
ielab/llm-rankers, llmrankers/setwise.py).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from exabench.parts.conversations import Conversation

BestOf = Callable[[Sequence[int]], Conversation[int]]
"""The best passage of a few, given by their numbers, as a conversation; the first where the answer says none."""


def heap_sort(n: int, k: int, children: int, best_of: BestOf) -> Conversation[list[int]]:
    """The order of passages 0..n-1, best first, by a heap whose nodes have so many `children`."""
    heap = list(range(n))
    for node in range(n // children, -1, -1):  # from the last node with a child to the root
        yield from _sink(heap, node, children, best_of)
    top: list[int] = []
    while heap and len(top) < k:
        top.append(heap[0])
        last = heap.pop()
        if heap and len(top) < k:  # the order below the best k is not asked for
            heap[0] = last
            yield from _sink(heap, 0, children, best_of)
    return _with_the_others(top, n)


def _sink(heap: list[int], node: int, children: int, best_of: BestOf) -> Conversation[None]:
    """Move the passage at a node of the heap down until it is the best of its family."""
    while True:
        family = [node, *range(children * node + 1, min(children * node + children + 1, len(heap)))]
        if len(family) < 2:
            return
        best = yield from best_of([heap[place] for place in family])
        place = heap.index(best)  # a passage is in the heap once
        if place == node:
            return
        _swap(heap, node, place)
        node = place


def bubble_sort(n: int, k: int, children: int, best_of: BestOf) -> Conversation[list[int]]:
    """The order of passages 0..n-1, best first, by `k` passes in each of which the best one moves up to its place."""
    order = list(range(n))
    for head in range(min(k, n - 1)):
        start = n
        while start > head:
            # The windows share a place: what won the one before is the last passage of the next.
            end = min(n, start + 1)
            start = max(head, end - children - 1)
            window = order[start:end]
            if len(window) > 1:
                best = yield from best_of(window)
                _swap(order, start, order.index(best))
    return _with_the_others(order[:k], n)


def _swap(order: list[int], one: int, other: int) -> None:
    passage = order[one]
    order[one] = order[other]
    order[other] = passage


def _with_the_others(top: list[int], n: int) -> list[int]:
    """The best passages, and behind them the others of 0..n-1 in the order they came in."""
    return list(dict.fromkeys([*top, *range(n)]))
