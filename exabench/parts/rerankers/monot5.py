"""monoT5 and the like: a T5 says whether a passage answers a query (mT5, ptt5, InRanker; TWOLAR by `difference`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Unpack

from exabench.models.answers import answer_ids, narrow_to_answers
from exabench.models.families import usual_family
from exabench.models.heads import Options, load
from exabench.models.pointwise import Pointwise
from exabench.models.templates import text_template

TYPE = "cross-encoder"
LEARNS = "pairs"


class MonoT5(Pointwise):
    """Nogueira et al. 2020, section 3: the first token after the cue, `true` against `false`.

    `strategy` "softmax" gives the paper's probability, "log_softmax" its logarithm (castorini/pygaggle), "difference"
    TWOLAR's score. The `family`, by default that of the Hub id, says what is asked, answered and scored
    (models/families); `answers`, positive first, `template` and `strategy` replace what it says.
    """

    def __init__(
        self,
        model: str,
        *,
        family: str = "",
        strategy: str = "",
        template: str = "",
        answers: Sequence[str] = (),
        **options: Unpack[Options],
    ) -> None:
        usual = usual_family("monot5", model, family)
        asked = usual.asked(template=template, answers=answers, strategy=strategy)
        loaded = load(model, "seq2seq", **options)
        ids = answer_ids(loaded.tokenizer, asked.answers)
        narrowed, columns = narrow_to_answers(loaded, asked.strategy, ids)
        asking = text_template(asked.template, loaded.tokenizer)
        super().__init__(narrowed, asking, asked.strategy, columns, **options)
