"""Orders that somebody recorded as a run, said as a teacher would have answered: a teacher that costs nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from exabench.nouns import Reply, Run
from exabench.rows import Item


def recorded_answer(passage_ids: Sequence[str], ranking: Iterable[str]) -> str:
    """`[2] > [1]`: the listed passages in the order of `ranking`. What only one of the two knows is left out."""
    numbers = {id: number for number, id in enumerate(passage_ids, 1)}
    return " > ".join(f"[{numbers[id]}]" for id in ranking if id in numbers)


def recorded_replies(items: Iterable[Item], run: Run) -> Iterator[Reply]:
    """A reply to the one prompt of every listwise item, out of the run's ranking of its query.

    Tokens are 0: none were read or written. A query that the run does not rank is answered by nothing, so that its
    row is rejected.
    """
    for item in items:
        for prompt in item.prompts:
            answer = recorded_answer(item.data["passage_ids"], run.ranking(item.data["query_id"]))
            yield Reply(prompt.id, answer, "stop", 0, 0)
