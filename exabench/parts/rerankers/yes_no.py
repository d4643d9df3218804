"""Yes or no: a decoder-only language model is asked whether a passage answers a query, and its next token is read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Unpack

from exabench.core.errors import BadInput
from exabench.models.answers import answer_ids, answer_words, narrow_to_answers
from exabench.models.heads import Options, load
from exabench.models.pointwise import Pointwise
from exabench.models.templates import text_template

TYPE = "pointwise LLM"
TEMPLATE = (
    "Passage: {passage}\nQuery: {query}\nDoes the passage answer the query? Say yes or no, and nothing else.\nAnswer:"
)


class YesNo(Pointwise):
    """The logits of "yes" and "no" after the cue, one against the other; nothing is generated.

    `chat` puts the tokenizer's chat template around the question. The answers are tokens as they follow the cue: with
    a space before them, or as the first word of the assistant's turn.
    """

    def __init__(
        self,
        model: str,
        *,
        strategy: str = "difference",
        template: str = TEMPLATE,
        chat: bool = False,
        answers: Sequence[str] = (),
        **options: Unpack[Options],
    ) -> None:
        loaded = load(model, "decoder", **options)
        tokenizer = loaded.tokenizer
        if chat and not tokenizer.chat_template:
            raise BadInput("this model's tokenizer has no chat template; remove chat")
        if chat:
            turns = [{"role": "user", "content": template}]
            template = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
        asking = text_template(template, tokenizer, special=not chat)
        _, cue = asking.text.rsplit("}", 1)  # what stands after the last field: the words that the answer follows
        words = [word if chat else f" {word}" for word in answer_words("yes_no", model, answers)]
        ids = answer_ids(tokenizer, words, after=cue)
        narrowed, columns = narrow_to_answers(loaded, strategy, ids)
        super().__init__(narrowed, asking, strategy, columns, **options)
