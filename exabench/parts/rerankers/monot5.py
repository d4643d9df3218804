"""monoT5 and the like: a T5 says whether a passage answers a query (mT5, ptt5, InRanker; TWOLAR by `difference`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Unpack

from exabench.models.answers import answer_ids, answer_words, narrow_to_answers
from exabench.models.heads import Options, load
from exabench.models.pointwise import Pointwise
from exabench.models.templates import text_template

TYPE = "cross-encoder"
TEMPLATE = "Query: {query} Document: {passage} Relevant:"


class MonoT5(Pointwise):
    """Nogueira et al. 2020, section 3: the first token after the cue, `true` against `false`.

    `strategy` "softmax" gives the paper's probability, "log_softmax" its logarithm (castorini/pygaggle), "difference"
    TWOLAR's score. `answers`, positive first, override the registry's words for the checkpoint's family.
    """

    def __init__(
        self,
        model: str,
        *,
        strategy: str = "log_softmax",
        template: str = TEMPLATE,
        answers: Sequence[str] = (),
        **options: Unpack[Options],
    ) -> None:
        loaded = load(model, "seq2seq", **options)
        ids = answer_ids(loaded.tokenizer, answer_words("monot5", model, answers))
        narrowed, columns = narrow_to_answers(loaded, strategy, ids)
        asking = text_template(template, loaded.tokenizer)
        super().__init__(narrowed, asking, strategy, columns, **options)
