"""Cross-encoders: a model reads query and passage as a pair and scores it (monoBERT, MiniLM, Ettin, heads on Qwen)."""

from __future__ import annotations

from typing import Any, Unpack

from exabench.core.errors import BadInput
from exabench.models.answers import check_strategy
from exabench.models.families import family_named, family_of_config
from exabench.models.heads import Options, load
from exabench.models.labels import relevant_label
from exabench.models.modules import PairSettings
from exabench.models.pointwise import Pointwise
from exabench.models.templates import Template, chat_template, pair_template, text_template

TYPE = "cross-encoder"
LEARNS = "pairs"


class CrossEncoder(Pointwise):
    """Nogueira and Cho 2019: the pair in the model's own format, and its logit, or its log-softmax of the relevant
    label of two.

    Any model that transformers loads with a head for sequence classification, encoder or decoder, and cross-encoders
    made of modules (sentence-transformers 5.4). `family` is one of models/families, by default that of the model's
    architecture. `strategy` overrides how two labels become a score ("softmax",
    "difference"). `template` is a text with {query} and {passage} for a model that was trained on one; without it the
    pair is read as the folder says, or as its tokenizer makes a pair.
    """

    head = "classifier"

    def __init__(
        self,
        model: str,
        *,
        family: str = "",
        strategy: str = "",
        template: str = "",
        **options: Unpack[Options],
    ) -> None:
        loaded = load(model, "classifier", **options)
        head: Any = loaded.head
        answers: tuple[int, ...] = (0,)
        usual = "logit"
        if head.rows == 2:
            relevant, _ = relevant_label(head.model.config.id2label)
            answers = (relevant, 1 - relevant)  # positive first, as strategies take them
            usual = "log_softmax"
        strategy = strategy or usual
        check_strategy(strategy, head.rows, rows=("answers",))
        if not template:
            template = _template_of_family(head, family)
        super().__init__(loaded, _template_of(loaded.tokenizer, head.settings, template), strategy, answers, **options)


def _template_of_family(head: Any, name: str) -> str:
    """The template of the family of that name, or of the model's architecture; empty where there is none.

    Raises BadInput for a family of another reranker.
    """
    if name:
        named = family_named(name)
        if named.reranker != "cross_encoder":
            raise BadInput(f"family {name} is read by reranker {named.reranker}, not by cross_encoder")
        return str(named.template)
    family = family_of_config(type(head.model).__name__, head.model.config.model_type)
    if family is None or family.reranker != "cross_encoder":
        return ""
    return str(family.template)


def _template_of(tokenizer: Any, settings: PairSettings, template: str) -> Template:
    """How a pair is read: by the template that is given, the folder's chat template, or as the tokenizer makes a pair.

    Raises BadInput where the chat template leaves the query or the passage out.
    """
    if template:
        return text_template(template, tokenizer)
    if not settings.chat:
        return pair_template(tokenizer, settings.prompt)
    if not tokenizer.chat_template:
        raise BadInput("this model reads pairs by its chat template, and its tokenizer has none; give a template")
    turns = [{"role": "query", "content": "{query}"}, {"role": "document", "content": "{passage}"}]
    if settings.prompt:
        turns.insert(0, {"role": "system", "content": settings.prompt})
    return chat_template(turns, tokenizer, add_generation_prompt=settings.turn)
