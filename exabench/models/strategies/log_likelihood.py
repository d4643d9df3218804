"""Log-likelihood of what the model is to write: the sum of its tokens' log-probabilities (query likelihood)."""

from __future__ import annotations

from torch import Tensor


class LogLikelihood:
    """The logarithm of the probability of all targets together; Sachan et al. 2022, arXiv 2204.07496, without 1/|q|."""

    rows = "targets"
    needs = 0

    def __call__(self, logits: Tensor, answers: tuple[int, ...]) -> Tensor:
        """Scores `[n]`, 0 at most, of log-probabilities `[n, t]`, which are 0 where an item has no target."""
        return logits.float().sum(1)
