"""Yes or no: a decoder-only language model is asked whether a passage answers a query, and its next token is read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Unpack

from exabench.core.errors import BadInput
from exabench.hub.client import settings_of
from exabench.models.answers import answer_ids, narrow_to_answers
from exabench.models.families import usual_family
from exabench.models.heads import Loaded, Options, load
from exabench.models.learner import Learner
from exabench.models.logit_score import LogitScore, read_logit_score
from exabench.models.pointwise import Pointwise
from exabench.models.templates import (
    Template,
    after_fields,
    chat_template,
    pair_template,
    plain_template,
    turn_template,
)

TYPE = "pointwise LLM"
LEARNS = "pairs"


class YesNo(Pointwise):
    """The logit of the answer after the cue, or of one answer against the other; nothing is generated.

    `family` is one of models/families, by default the one of the Hub id. A folder that sentence-transformers wrote
    with a LogitScore is read as it reads it: its chat template, its prompt, its tokens and its longest input.
    `template` may be a list of pieces that are tokenised one by one, the answer being the next one. `instruction`
    replaces {instruction} in the template, or is the system turn of a folder's own chat template.
    `answers` follow the template as they are written: a space is put before them only where it ends in a letter, a
    digit or a colon. `chat` puts the tokenizer's chat template around the question.
    """

    def __init__(
        self,
        model: str,
        *,
        family: str = "",
        strategy: str = "",
        template: str | Sequence[str] = "",
        instruction: str = "",
        answers: Sequence[str] = (),
        chat: bool = False,
        **options: Unpack[Options],
    ) -> None:
        usual = usual_family("yes_no", model, family)
        own = None
        if not family:
            own = read_logit_score(settings_of(model, options.get("revision", ""), options.get("lock")))
        if own is not None:
            usual = own.family()
        asked = usual.asked(template=template, instruction=instruction, answers=answers, strategy=strategy)

        loaded = load(model, "decoder", **options)
        tokenizer = loaded.tokenizer
        cue = ""  # the answer follows the last piece of a list, or all of a folder's own chat template
        max_length = asked.max_length
        if own is not None and not asked.template:
            asking = _own_template(own, tokenizer, instruction)
            max_length = max_length or loaded.head.limit
        elif chat:
            asking = turn_template(asked.template, tokenizer)
            cue = after_fields(asking.text)
        else:
            asking = plain_template(asked.template, tokenizer)
            if isinstance(asked.template, str):
                cue = after_fields(asked.template)
        options["max_length"] = options.get("max_length") or max_length

        ids = asked.answer_ids or answer_ids(tokenizer, asked.answers, cue)
        _check_ids(ids, loaded)
        narrowed, columns = narrow_to_answers(loaded, asked.strategy, ids)
        super().__init__(narrowed, asking, asked.strategy, columns, **options)
        self._settings_of = None  # sentence-transformers reads what was fitted as it reads the folder
        if own is not None and asked == usual:
            self._settings_of = loaded.folder.path

    def learner(self) -> Learner:
        """Its model, to be fitted; what a LogitScore says of it is kept."""
        learner = super().learner()
        learner.settings_of = self._settings_of
        return learner


def _own_template(own: LogitScore, tokenizer: Any, instruction: str) -> Template:
    """The input of a folder with a LogitScore: its chat template, or without one a pair of texts behind its prompt."""
    if own.chat:
        return chat_template(own.turns(instruction), tokenizer, **own.settings)
    return pair_template(tokenizer, instruction or own.prompt)


def _check_ids(ids: Sequence[int], loaded: Loaded) -> None:
    held = loaded.head.model.get_output_embeddings().weight.shape[0]
    # A folder names its tokens by number, and a number beyond the vocabulary would be an error of torch.
    for id in ids:
        if id >= held:
            raise BadInput(f"its score is the logit of token {id}, but it has {held} tokens", file=loaded.folder.path)
