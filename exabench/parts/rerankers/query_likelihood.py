"""Query likelihood: how likely a language model is to write the query, once it has been shown the passage."""

from __future__ import annotations

from typing import Literal, Unpack

from exabench.core.errors import BadInput
from exabench.hub.client import model_folder
from exabench.models.engine import ScoredItem
from exabench.models.families import usual_family
from exabench.models.heads import UNKNOWN, Loaded, Options, load, read_shape
from exabench.models.pointwise import Pointwise
from exabench.models.templates import (
    WritingTemplate,
    after_fields,
    fields_named,
    plain_template,
    turn_template,
    writing_template,
)

TYPE = "pointwise LLM"
_SPACED = (":", ".", "?", "!")
"""Signs that, like a letter or a digit, have a space before the word behind them."""


class QueryLikelihood(Pointwise):
    """The log-probability of the query's tokens behind a prompt that shows the passage; nothing is generated.

    The model is a T5, which writes the query with its decoder, or a causal language model, which continues the prompt.
    `template` is the prompt, with {passage} and without {query}. `instruction` replaces {instruction} in it. `chat`
    makes it the user's turn, and the query the assistant's. `answer` is the text that is scored, with {query}; the
    default is "<pad> {query}" for a T5, as ielab/llm-rankers scores, and "{query}" for others. `reduction` "sum" adds
    the log-probabilities up, as llm-rankers and UPR's code do; "mean" divides by their number, as UPR's paper does,
    which ranks a query's passages alike and makes scores of queries comparable. Sachan et al. 2022, arXiv 2204.07496;
    Zhuang et al. 2023, arXiv 2310.13243.
    """

    learner = None  # type: ignore[assignment]  # a training run has no groups of queries to write

    def __init__(
        self,
        model: str,
        *,
        family: str = "",
        template: str = "",
        instruction: str = "",
        answer: str = "",
        chat: bool = False,
        reduction: Literal["sum", "mean"] = "sum",
        **options: Unpack[Options],
    ) -> None:
        folder = model_folder(model, options.get("revision", ""), options.get("lock"))
        shape = read_shape(folder, ("encoder-decoder", "decoder", UNKNOWN), "a T5 or a Llama")
        kind = "decoder"
        default = "query_likelihood"
        if shape is not None and shape.family == "encoder-decoder":
            kind = "seq2seq"
            default = "query_likelihood_t5"
        answers = [answer] if answer else []
        asked = usual_family(default, model, family).asked(template=template, instruction=instruction, answers=answers)
        prompt = "".join(asked.template)
        if fields_named(prompt, ("passage",)) != ["passage"]:
            raise BadInput(f"template {prompt!r} must name only {{passage}}: {{query}} is what the model is to write")
        [written] = asked.answers
        if fields_named(written, ("query",), "answer") != ["query"]:
            raise BadInput(f"answer {written!r} must name only {{query}}: the passage is in the template")

        loaded = load(model, kind, **options)
        asking = _template(prompt, written, loaded, chat)
        self._reduction = reduction
        super().__init__(loaded, asking, asked.strategy, (), **options)
        if reduction == "mean":
            self.identity["strategy"] = f"{asked.strategy}, mean"

    def _score_of(self, scored: ScoredItem) -> float:
        """The sum, or the mean of a query with any token."""
        if self._reduction == "mean":
            return scored.score / max(1, scored.written)
        return scored.score


def _template(prompt: str, answer: str, loaded: Loaded, chat: bool) -> WritingTemplate:
    """The prompt, and behind it the answer as the model would write it there."""
    tokenizer = loaded.tokenizer
    begins_afresh = loaded.head.kind == "seq2seq"  # a decoder of its own, which no prompt stands before
    if chat:
        asking = turn_template(prompt, tokenizer, needs=("passage",))
        cue = after_fields(asking.text)
    else:
        shown = prompt.rstrip(" ")  # a space goes with the word behind it
        asking = plain_template(shown, tokenizer, needs=("passage",))
        cue = after_fields(shown) or "."  # a passage ends as a sentence does
        spaced = cue[-1].isalnum() or cue.endswith(_SPACED) or shown != prompt
        if spaced and not begins_afresh and not answer[0].isspace():
            answer = f" {answer}"
    if begins_afresh:
        cue = ""
    return writing_template(asking, answer, tokenizer, cue)
