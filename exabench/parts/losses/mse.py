"""Squared error of each score, against a teacher's score of the same passage (pointwise distillation)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from exabench.parts.losses._masked import mean_where, zero_outside_mask

if TYPE_CHECKING:
    from torch import Tensor


class Mse:
    """Mean over the passages of a group of (s_j - t_j)^2, t the teacher's scores.

    The distillation of the MiniLM cross-encoders of sentence-transformers (train_cross-encoder_kd.py), which fits the
    logits of an ensemble. Scores of teacher and student must be on one scale, as two logits are; where they are not,
    `margin_mse` and `kl` look only at differences.
    """

    needs = "scores"

    def __call__(self, scores: Tensor, labels: Tensor, mask: Tensor) -> Tensor:
        """Values `[groups]`."""
        scores, labels = zero_outside_mask(scores, labels, mask)
        return mean_where(mask, (scores - labels) ** 2)
