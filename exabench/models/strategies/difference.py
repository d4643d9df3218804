"""Logit of the positive answer minus that of the negative one (TWOLAR): the softmax score before it saturates."""

from __future__ import annotations

from torch import Tensor


class Difference:
    """p - n, TWOLAR's score; its sigmoid is the softmax of the two, so both rank alike until float saturates."""

    rows = "answers"
    needs = 2

    def __call__(self, logits: Tensor, answers: tuple[int, ...]) -> Tensor:
        """Scores `[n]`, any real number."""
        return logits[:, answers[0]].float() - logits[:, answers[1]].float()
