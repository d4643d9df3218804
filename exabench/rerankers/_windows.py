"""The windows of a listwise ranking: which places of the list are ordered together, and when."""

from __future__ import annotations

from collections.abc import Iterator

from exabench.errors import BadInput


def check_windows(size: int, step: int, passes: int, words: int) -> None:
    """Raises BadInput for windows that would order nothing or leave gaps."""
    if size < 2 or not 1 <= step <= size or passes < 1 or words < 1:
        raise BadInput(
            f"window={size}, step={step}, passes={passes}, words={words} orders nothing or leaves gaps; a window holds "
            "at least 2 passages, a step is at least 1 and at most the window, passes and words are at least 1"
        )


def windows(n: int, size: int = 20, step: int = 10, passes: int = 1) -> Iterator[tuple[int, int]]:
    """(start, end) of each window over `n` places, from the bottom up, `passes` times; none for a list of one.

    The first window ends at the bottom and each next one lies `step` higher. The last one starts at the head of the
    list and is smaller where `n - size` is no multiple of `step`: RankGPT leaves the head unvisited there, rank_llm
    clamps as is done here. 100 places in windows of 20 and steps of 10 are nine windows.
    """
    for _ in range(passes if n > 1 else 0):
        end = n
        while end > size:
            yield end - size, end
            end -= step
        yield 0, end
