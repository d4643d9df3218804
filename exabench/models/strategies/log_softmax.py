"""Log-probability of the positive answer against the negative one (monoT5 as pygaggle scores it)."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import logsigmoid


class LogSoftmax:
    """log of the softmax of the two answers, written as log sigmoid(p - n).

    The same number, but near certainty it is -exp(n - p), which float32 tells apart until p - n is past 100, where
    the sum inside a plain log-softmax is rounded to 1 from 17 on and all scores tie at 0.
    """

    rows = "answers"
    needs = 2

    def __call__(self, logits: Tensor, answers: tuple[int, ...]) -> Tensor:
        """Scores `[n]`, 0 at most."""
        return logsigmoid(logits[:, answers[0]].float() - logits[:, answers[1]].float())
