"""Kullback-Leibler divergence of the student's softmax from the teacher's (soft teacher scores)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from exabench.parts.losses._masked import log_softmax, positive, zero_outside_mask

if TYPE_CHECKING:
    from torch import Tensor


class Kl:
    """sum over j of p_j (log p_j - log q_j), p = softmax(t / T) of the teacher's scores, q = softmax(s / T).

    Hinton et al. 2015, over the passages of a group in place of classes; `squared=True` multiplies by T^2, which keeps
    gradients of one size as T changes. At T = 1 its gradient is that of ListNet with scores as labels; its least
    value is 0. FlagEmbedding's distillation is the cross-entropy, without the teacher's entropy.
    """

    needs = "scores"

    def __init__(self, *, temperature: float = 1.0, squared: bool = False) -> None:
        self.temperature = positive("temperature", temperature)
        self.squared = squared

    def __call__(self, scores: Tensor, labels: Tensor, mask: Tensor) -> Tensor:
        """Values `[groups]`."""
        scores, labels = zero_outside_mask(scores, labels, mask)
        teacher = log_softmax(labels / self.temperature, mask)
        student = log_softmax(scores / self.temperature, mask)
        divergence = (teacher.exp() * (teacher - student)).sum(-1)
        if self.squared:
            divergence = divergence * self.temperature**2
        return divergence
