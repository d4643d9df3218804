"""Cross-encoders: a classifier of one or two labels that reads query and passage as a pair (monoBERT, MiniLM)."""

from __future__ import annotations

from pathlib import Path
from typing import Unpack

from exabench.rerankers._answers import suited
from exabench.rerankers._models import devices, load
from exabench.rerankers._pointwise import Options, Pointwise
from exabench.rerankers._templates import pair_template


class CrossEncoder(Pointwise):
    """Nogueira and Cho 2019: the pair in the model's own format, and its logit, or its log-softmax of label 1 of two.

    Any BERT, RoBERTa, ELECTRA, ALBERT, DeBERTa or ModernBERT with a head for sequence classification.
    `strategy` overrides how two labels become a score ("softmax", "difference").
    """

    def __init__(
        self,
        model: str,
        *,
        strategy: str = "",
        revision: str = "",
        precision: str = "float32",
        lock: str | Path | None = None,
        **options: Unpack[Options],
    ) -> None:
        options["devices"] = devices(options.get("devices", ()), precision)
        device = options["devices"][0]
        loaded = load(model, "classifier", revision=revision, precision=precision, device=device, lock=lock)
        one = loaded.head.rows == 1
        strategy = strategy or ("logit" if one else "log_softmax")
        suited(strategy, loaded.head.rows, rows=("answers",))
        super().__init__(loaded, pair_template(loaded.tokenizer), strategy, (0,) if one else (1, 0), **options)
