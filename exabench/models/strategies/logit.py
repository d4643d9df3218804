"""The single logit (RankT5's extra token, a classifier with one label)."""

from __future__ import annotations

from torch import Tensor


class Logit:
    """The first answer's logit; others are not looked at."""

    rows = "answers"
    needs = 1

    def __call__(self, logits: Tensor, answers: tuple[int, ...]) -> Tensor:
        """Scores `[n]`, any real number."""
        return logits[:, answers[0]].float()
