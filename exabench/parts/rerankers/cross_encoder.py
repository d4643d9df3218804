"""Cross-encoders: a classifier of one or two labels that reads query and passage as a pair (monoBERT, MiniLM)."""

from __future__ import annotations

from typing import Unpack

from exabench.models.answers import check_strategy
from exabench.models.heads import Options, load
from exabench.models.pointwise import Pointwise
from exabench.models.templates import pair_template

TYPE = "cross-encoder"


class CrossEncoder(Pointwise):
    """Nogueira and Cho 2019: the pair in the model's own format, and its logit, or its log-softmax of label 1 of two.

    Any BERT, RoBERTa, ELECTRA, ALBERT, DeBERTa or ModernBERT with a head for sequence classification.
    `strategy` overrides how two labels become a score ("softmax", "difference").
    """

    head = "classifier"

    def __init__(
        self,
        model: str,
        *,
        strategy: str = "",
        **options: Unpack[Options],
    ) -> None:
        loaded = load(model, "classifier", **options)
        one = loaded.head.rows == 1
        strategy = strategy or ("logit" if one else "log_softmax")
        check_strategy(strategy, loaded.head.rows, rows=("answers",))
        super().__init__(loaded, pair_template(loaded.tokenizer), strategy, (0,) if one else (1, 0), **options)
