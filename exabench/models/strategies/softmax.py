"""Probability of the positive answer against the negative one (monoT5); ties at 1.0 where float runs out."""

from __future__ import annotations

from torch import Tensor


class Softmax:
    """exp(p) / (exp(p) + exp(n)) of the two answers' logits: Nogueira et al. 2020, section 3.

    Ranks as the difference does until float saturates (near 17 in float32): beyond, unlike pairs tie at 1.0.
    """

    rows = "answers"
    needs = 2

    def __call__(self, logits: Tensor, answers: tuple[int, ...]) -> Tensor:
        """Scores `[n]` in (0, 1)."""
        return logits[:, list(answers[:2])].float().softmax(-1)[:, 0]
