"""Probability of the first greedily decoded token: 1 + p, or 1 - p for the negative answer (ExaRanker)."""

from __future__ import annotations

import torch
from torch import Tensor


class FirstToken:
    """p under the softmax over the whole vocabulary: 1 - p where the token is a negative answer, else 1 + p.

    As unicamp-dl/ExaRanker scores (gen_monoT5out.py): any token that is not a negative answer, the positive one or
    not, counts as relevant. `answers` are the positive answer and every spelling of the negative one.
    """

    rows = "vocabulary"
    needs = 2

    def __call__(self, logits: Tensor, answers: tuple[int, ...]) -> Tensor:
        """Scores `[n]`, in (0, 1) for negative first tokens and in (1, 2) for all others."""
        probability, token = logits.float().softmax(-1).max(-1)
        negative = torch.isin(token, torch.tensor(answers[1:], device=token.device))
        return torch.where(negative, 1 - probability, 1 + probability)
