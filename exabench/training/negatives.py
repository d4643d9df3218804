"""Negatives mined again while a model learns: of each list those that it ranks highest as it stands.

The idea of ANCE (Xiong et al. 2021, arXiv 2007.00808), which searches a whole collection again; here the candidates are
the negatives that a row holds. Only groups that are learnt before the next time are scored, so the cost is one forward
pass over the whole lists of these.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np

from exabench.core.nouns import Progress
from exabench.training.evaluation import scores_of
from exabench.training.groups import Group, GroupLoader
from exabench.training.recipe import Plan

AT_ONCE = 64
"""Lists whose scores are in memory together."""


def mine(plan: Plan, loader: GroupLoader, begin: int, end: int, progress: Progress) -> dict[int, list[int]]:
    """Of each group of the steps from `begin` up to `end` the places of the negatives to learn, in the row's order.

    A passage that is a positive of the same query in any row of the table is none. A list of which nothing else is left
    is missing: it is learnt as the recipe's table says.
    """
    numbers: list[int] = []
    for step in range(begin, end):
        numbers += loader.order.groups(step)
    # Where an epoch is shorter than that, a group comes more than once, with the same choice.
    distinct = list(dict.fromkeys(numbers))
    chosen = {}
    for start in range(0, len(distinct), AT_ONCE):
        some = distinct[start : start + AT_ONCE]
        groups = [loader.groups.whole(number) for number in some]
        lists = [loader.learner.items(group.query, group.passages) for group in groups]
        scores = scores_of(loader.learner, lists, [len(group.passages) for group in groups])
        for number, group, own in zip(some, groups, scores, strict=True):
            most = loader.groups.data_of(number).passages - 1  # one of the passages is the positive
            relevant = loader.groups.positives_of(number)
            key = f"{plan.seed} {begin} {group.id}"
            places = hardest(group, own, relevant, most=most, depth=plan.negatives.depth, key=key)
            if places:
                chosen[number] = places
        progress(begin, end, f"negatives of {start + len(some)} of {len(distinct)} lists mined")
    return chosen


def hardest(group: Group, scores: np.ndarray, relevant: set[str], *, most: int, depth: int, key: str) -> list[int]:
    """`most` places among the negatives of a whole group, its positive being the first passage: those scored highest.

    With a `depth` above that they are drawn from the best so many, by a hash of `key`. Equal scores keep their order.
    """
    places = []
    for place, passage in enumerate(group.passages[1:]):
        if passage.id not in relevant:
            places.append(place)
    # `sorted` keeps the order of equal ones, so that the choice is the same everywhere.
    best = sorted(places, key=lambda place: -scores[1 + place])[: max(depth, most)]

    def drawn_by(place: int) -> bytes:
        return hashlib.blake2b(f"{key} {place}".encode(), digest_size=8).digest()

    if depth > most:
        best = sorted(best, key=drawn_by)
    return sorted(best[:most])


def as_state(chosen: Mapping[int, Sequence[int]]) -> dict[str, list[int]]:
    """A choice as JSON holds it in a checkpoint."""
    return {str(number): list(places) for number, places in chosen.items()}


def from_state(state: Mapping[str, Sequence[int]]) -> dict[int, list[int]]:
    """The choice that `as_state` took."""
    return {int(number): list(places) for number, places in state.items()}
