"""Which groups make an optimiser step: a pure function of (seed, epoch, index), the same for any number of ranks."""

from __future__ import annotations

import hashlib
import math
from fractions import Fraction
from functools import lru_cache

import numpy as np

from exabench.core.errors import BadInput


class Order:
    """The order in which `count` groups are learnt, `batch` of them to an optimiser step.

    Each epoch sorts the groups by keys of 64 bits: the key of group i is the i-th word of the SHAKE-256 stream of
    (seed, epoch). SHAKE is a standard (FIPS 202) and sorting is sorting, so no version of any library can move the
    order. It has no state: a resumed run, a loader's worker or another rank asks for any single step and gets the same.

    Every epoch sees every group once: it has ceil(count / batch) steps, and the last one holds what is left, which may
    be fewer than `batch`; no batch reaches into the next epoch. Raises BadInput for a count or batch below 1.
    """

    def __init__(self, count: int, seed: int, batch: int) -> None:
        if count < 1 or batch < 1:
            raise BadInput(f"{count} groups in steps of {batch} cannot be ordered; both must be at least 1")
        self.count = count
        self.seed = seed
        self.batch = batch
        self.steps_per_epoch = -(-count // batch)

    def groups(self, step: int) -> tuple[int, ...]:
        """The numbers of the groups of optimiser step `step` (from 0), in global order."""
        epoch, place = divmod(step, self.steps_per_epoch)
        start = place * self.batch
        return tuple(_permutation(self.count, self.seed, epoch)[start : start + self.batch].tolist())

    def rank_share(self, step: int, rank: int, ranks: int) -> tuple[int, ...]:
        """One rank's share: position i of the global batch goes to rank i % `ranks`, so a short step may leave none."""
        return self.groups(step)[rank::ranks]

    def steps(self, epochs: float) -> int:
        """The optimiser steps of `epochs`, a part of one rounded up; exact for decimals (0.1 of 30 steps are 3)."""
        if not 0 < epochs < math.inf:
            raise BadInput(f"{epochs} epochs cannot be trained; give a number above 0")
        return math.ceil(Fraction(str(epochs)) * self.steps_per_epoch)

    def digest(self, steps: int) -> str:
        """`sha256:...` of the global order of the first `steps` steps: one line of group numbers for each."""
        hashed = hashlib.sha256()
        for step in range(steps):
            hashed.update((" ".join(map(str, self.groups(step))) + "\n").encode())
        return "sha256:" + hashed.hexdigest()


@lru_cache(maxsize=2)  # neighbouring steps share an epoch; threads that load ahead may be in the next one
def _permutation(count: int, seed: int, epoch: int) -> np.ndarray:
    stream = hashlib.shake_256(f"exabench order, seed {seed}, epoch {epoch}".encode())
    keys = np.frombuffer(stream.digest(8 * count), "<u8")
    return np.argsort(keys, kind="stable")  # stable: equal keys stay in order of number
