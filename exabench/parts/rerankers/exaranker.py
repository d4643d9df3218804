"""ExaRanker: a T5 that answers true or false first, and can explain its answer when asked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Unpack

import torch

from exabench.core.errors import BadInput
from exabench.core.nouns import Passage, Query
from exabench.models.answers import answer_ids, narrow_to_answers, spellings
from exabench.models.families import usual_family
from exabench.models.heads import Options, inputs_of, load
from exabench.models.pointwise import Pointwise
from exabench.models.templates import text_template
from exabench.models.tokens import bare_ids

TYPE = "cross-encoder"
LEARNS = "pairs"


class ExaRanker(Pointwise):
    """Ferraretto et al. 2023: the label comes before its explanation, so ranking costs one step, as monoT5 does.

    `strategy` "first_token" is the published score (unicamp-dl/ExaRanker, gen_monoT5out.py); "softmax" and the others
    of two answers leave out what the model gives to every other token.
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
        usual = usual_family("exaranker", model, family)
        asked = usual.asked(template=template, answers=answers, strategy=strategy)
        loaded = load(model, "seq2seq", **options)
        tokenizer = loaded.tokenizer
        positive, *negative = answer_ids(tokenizer, asked.answers)
        ids = [positive]
        for id in negative:
            ids.extend(spellings(tokenizer, id))  # "False" as the first token says no less than "false"
        narrowed, columns = narrow_to_answers(loaded, asked.strategy, tuple(ids))
        asking = text_template(asked.template, tokenizer)
        super().__init__(narrowed, asking, asked.strategy, columns, **options)

    def explain(self, query: Query, passage: Passage, max_tokens: int = 256) -> str:
        """The label and the explanation that the model writes for this pair, greedily; its first token is the score's.

        Raises BadInput where no token may be written.
        """
        if max_tokens < 1:
            raise BadInput(f"max_tokens is {max_tokens}; an explanation takes at least one token")
        engine = self._engine
        tokenizer = engine.loaded.tokenizer
        head: Any = engine.loaded.head  # a Seq2Seq, which writes too
        [texts] = self._texts(query, [passage])
        fields = bare_ids(tokenizer, engine.template.wrap(texts))
        item = engine.template.build(fields, engine.max_length)
        ids, _, _ = inputs_of([item], head.pad, engine.loaded.devices[0])
        with torch.inference_mode():
            written = head.write(ids, max_tokens)
        return tokenizer.decode(written[0], skip_special_tokens=True)
