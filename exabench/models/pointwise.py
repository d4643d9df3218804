"""Base of the rerankers that score one passage at a time: model, template and strategy on the engine."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Unpack

from exabench.core.errors import BadInput, UnknownName
from exabench.core.nouns import Passage, Query, Usage
from exabench.models.adapters import has_adapter
from exabench.models.costs import usage_of
from exabench.models.engine import Engine, ScoredItem
from exabench.models.heads import Loaded, Options
from exabench.models.learner import Learner
from exabench.models.strategies import STRATEGIES
from exabench.models.templates import PASSAGE, QUERY, Template, WritingTemplate
from exabench.models.values import CUTS, PASSAGE_FIRST, TORCH


class Pointwise:
    """A reranker on the engine: `score` for one query, afresh; `score_many` for a whole candidate list,
    through the store.

    `identity` is what makes a score what it is.
    """

    reads = "texts"
    head = ""  # "classifier": one that is drawn by seed where training starts from a model without

    def __init__(
        self,
        loaded: Loaded,
        template: Template,
        strategy: str,
        answers: tuple[int, ...],
        **options: Unpack[Options],
    ) -> None:
        fields = options.get("fields", ("title", "text"))
        self._fields = tuple(fields)
        self._shape = loaded.shape
        self._rows = loaded.head.rows
        self.precision = loaded.precision
        self.parameters = loaded.parameters
        max_length = options.get("max_length") or 512
        max_length = min(max_length, loaded.head.limit)
        *_, file_name = type(self).__module__.split(".")
        # what names the store: where a model lies, and which fields made a text, changes no score of a pair
        scored_by = {
            "reranker": file_name,
            "revision": loaded.folder.revision,
            "template": template.text,
            "strategy": strategy,
            "answers": list(loaded.head.chosen or answers),
            "precision": loaded.precision,
            "max_length": max_length,
        }
        if has_adapter(loaded.folder.path):  # which earlier versions left out where peft was not installed
            scored_by["adapter"] = "merged"
        if loaded.backend != TORCH:  # which earlier versions, where all was torch, left out
            scored_by["backend"] = loaded.backend
        asked = cut_as_asked(template, loaded.tokenizer, options)
        if asked is not template:  # which is the default of earlier versions
            scored_by["cut"] = [asked.cut, *asked.most]
            template = asked
        self.identity = {**scored_by, "model": loaded.folder.name, "fields": list(fields)}
        function = STRATEGIES[strategy]()
        self._engine = Engine(
            loaded, template, function, answers, max_length=max_length, identity=scored_by, options=options
        )

    def score(self, query: Query, passages: Sequence[Passage]) -> list[float]:
        """One score for each passage, in the order given; nothing is looked up and nothing is kept."""
        group = self._engine.score_alone(self._texts(query, passages))
        return [self._score_of(scored) for scored in group]

    def score_many(self, jobs: Iterable[tuple[Query, Sequence[Passage]]]) -> Iterator[tuple[list[float], Usage]]:
        """Scores and usage of each job, in order; pairs are batched across queries."""
        for group in self._engine.score_groups(self._texts(query, passages) for query, passages in jobs):
            scores = []
            tokens = []
            written = []
            cut_passages = 0
            cut_queries = 0
            for scored in group:
                scores.append(self._score_of(scored))
                tokens.append(scored.tokens)
                written.append(scored.written)
                cut_passages += scored.cut_passage
                cut_queries += scored.cut_query
            counts = {"passages": len(group), "cut_passages": cut_passages, "cut_queries": cut_queries}
            yield scores, usage_of(self._shape, tokens, written, rows=self._rows, **counts)

    def learner(self) -> Learner:
        """Its model, to be fitted: what it learns is what this reranker scores by.

        Raises BadInput where torch does not compute it.
        """
        engine = self._engine
        if engine.loaded.backend != TORCH:
            raise BadInput(f"a model of backend {engine.loaded.backend} cannot be trained; use backend {TORCH}")
        return Learner(
            engine.loaded,
            engine.template,
            engine.strategy,
            engine.answers,
            max_length=engine.max_length,
            fields=self._fields,
        )

    @property
    def pairs_per_second(self) -> float | None:
        """How fast `score_many` was on the pairs that it did compute; None where all came from the store."""
        if not self._engine.computed:
            return None
        return self._engine.computed / self._engine.seconds

    def _score_of(self, scored: ScoredItem) -> float:
        """What the engine's score of an item is worth as a reranker's."""
        return scored.score

    def _texts(self, query: Query, passages: Sequence[Passage]) -> list[tuple[str, ...]]:
        return [(query.text, passage.flat(self._fields)) for passage in passages]


def cut_as_asked(template: Template, tokenizer: Any, options: Mapping[str, Any]) -> Template:
    """The template with the `cut`, `query_length` and `passage_length` of the options; itself where there are none.

    Raises UnknownName for another cut, BadInput for a length below 0 and for what does not fit the template.
    """
    cut = options.get("cut") or PASSAGE_FIRST
    if cut not in CUTS:
        raise UnknownName("cut", cut, CUTS)
    most = (options.get("query_length") or 0, options.get("passage_length") or 0)
    if min(most) < 0:
        raise BadInput(f"query_length and passage_length are numbers of tokens, not {min(most)}")
    if cut == PASSAGE_FIRST and not any(most):
        return template
    if isinstance(template, WritingTemplate) or sorted(template.fields) != [QUERY, PASSAGE]:
        raise BadInput("cut, query_length and passage_length are for a template of one query and one passage")
    # The tokens that a tokenizer puts behind a text, such as </s>, are not cut by it.
    special = set(tokenizer.all_special_ids)
    last = 0
    for id in reversed(template.literals[-1].tolist()):
        if id not in special:
            break
        last += 1
    return replace(template, cut=cut, most=most, last=last)
