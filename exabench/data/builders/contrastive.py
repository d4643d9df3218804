"""Contrastive groups: a generated query, its passage as the positive, and hard negatives that a judge turned down.

The pipeline of arXiv 2510.01229 (language-model queries from a domain's passages, language-model labels) with groups
for LCE (Gao et al. 2021, arXiv 2101.08751): negatives are sampled from the top of the very first stage that is to be
reranked.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING, Any

from exabench.core.errors import BadInput
from exabench.core.nouns import Passage, Prompt, Query, Reply
from exabench.core.rows import Item, Rejected, Row
from exabench.data.builders._columns import group
from exabench.data.builders._first_stages import all_rankings, best_stages
from exabench.data.builders._labels import labels
from exabench.data.sampling import draw
from exabench.parts.prompting import prompt_file, truncate_passage
from exabench.tasks.collections import texts_of

if TYPE_CHECKING:
    from exabench.data.builders._first_stages import FirstStages
    from exabench.data.queries import QuerySource
    from exabench.tasks.collections import Collection


@dataclass
class Contrastive:
    """One group for each query: of the first stages' best `depth` passages `candidates` are sampled and judged.

    The query's own passage is judged too, and must be relevant. Of the candidates judged not relevant at most
    `negatives` are kept (7 make the group of 8 that LCE is trained with); a query with fewer than `least` is rejected.
    Candidates judged relevant are false negatives, and those of no readable judgement are unknown: both are left out.
    The judge sees the first `words` words of a passage; the row holds all of it.
    """

    family = "contrastive"

    collection: Collection
    queries: QuerySource
    retrievers: FirstStages
    _: KW_ONLY
    prompt: str = "judge"
    negatives: int = 7
    least: int = 1
    depth: int = 100
    candidates: int = 16
    words: int = 256
    fields: Sequence[str] = ("title", "text")
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.retrievers or isinstance(self.queries, Mapping):
            raise BadInput("contrastive needs retrievers, whose best passages are its negatives, and one query source")
        if not 1 <= self.least <= self.negatives <= self.candidates or self.depth < 1:
            raise BadInput(
                "contrastive needs 1 <= least <= negatives <= candidates and a depth of at least 1, not least "
                f"{self.least}, negatives {self.negatives}, candidates {self.candidates}, depth {self.depth}"
            )
        self._prompt_file = prompt_file(self.prompt)
        self.prompt = self._prompt_file.label  # the same name, with the digest of the text
        if getattr(self.queries, "prompt", ""):
            self.prompt += f" {self.queries.prompt}"  # type: ignore[attr-defined]  # the rows are made of it, too

    def items(self) -> Iterator[Item]:
        """One Item a query: its own passage first, then the sampled candidates, each judged by a prompt of its own.

        Answers that its source rejected come last: their Items ask again what was asked, so that the quarantine
        holds the reply as well (the reply store has it). Raises BadInput for a query that was made of no passage.
        """
        asked = list(self.queries)
        for query, origin in asked:
            if not origin.get("passage_id"):
                raise BadInput("was made of no passage, so it has no positive; give generated queries", id=query.id)
        # One more than `depth`, since the query's own passage is no candidate.
        found = all_rankings(self.retrievers, [query for query, _ in asked], self.depth + 1)
        chosen = [self._sample(query, origin["passage_id"], found[query.id]) for query, origin in asked]
        texts = texts_of(self.collection, (passage_id for stages in chosen for passage_id in stages))
        revision = self.queries.source_revision
        for (query, origin), stages in zip(asked, chosen, strict=True):
            passages = [texts[id] for id in stages]
            data = {
                "query_id": query.id,
                "query": query.text,
                "query_source": origin["kind"],
                "passages": [
                    {"id": passage.id, "title": passage.title, "text": passage.text, "source": stages[passage.id]}
                    for passage in passages
                ],
                "source": self.queries.source,
                "source_revision": revision,
                "replies": list(origin.get("replies", ())),
            }
            yield Item(query.id, tuple(self._prompt(query, passage) for passage in passages), data)
        for prompt, reason in getattr(self.queries, "rejections", ()):
            yield Item(prompt.id, (prompt,), {"rejected": f"query: {reason}", "passages": []})

    def row(self, item: Item, replies: Sequence[Reply]) -> Row:
        """The group of an Item. Raises Rejected where the positive is none, or negatives are too few."""
        data = item.data
        if "rejected" in data:
            raise Rejected(data["rejected"])
        judged = self.labels(item, replies)
        if all(label is None for label in judged.values()):
            raise Rejected("no judgement can be read")
        positive, *others = data["passages"]
        if judged[positive["id"]] is None:
            raise Rejected("the judgement of the positive cannot be read")
        if not judged[positive["id"]]:
            raise Rejected("positive judged not relevant")
        negatives = [passage for passage in others if judged[passage["id"]] is False][: self.negatives]
        if len(negatives) < self.least:
            raise Rejected(f"fewer than {self.least} negatives")
        query = Query(data["query_id"], data["query"])
        sourced = [(_passage(negative), negative["source"]) for negative in negatives]
        return {
            "id": item.id,
            **group(query, data["query_source"], _passage(positive), sourced),
            "source": data["source"],
            "source_revision": data["source_revision"],
        }

    def labels(self, item: Item, replies: Sequence[Reply]) -> dict[str, bool | None]:
        """The judge's label of each passage of an Item; a relevant one that is not the first is a false negative."""
        pairs = zip(item.prompts, item.data["passages"], strict=False)  # a rejected query has no passages
        return labels({prompt.id: passage["id"] for prompt, passage in pairs}, replies)

    def report(self, items: Iterable[Item]) -> Mapping[str, Any]:
        """Good queries, the candidates judged for them, and which first stage brought how many."""
        candidates: Counter[str] = Counter()
        queries = 0
        for item in items:
            if "rejected" not in item.data:
                queries += 1
            candidates.update(passage["source"] for passage in item.data["passages"][1:])
        return {
            "queries": queries,
            "candidates": candidates.total(),
            "candidates_by_source": dict(sorted(candidates.items())),
        }

    def _sample(self, query: Query, own: str, lists: Mapping[str, Sequence[str]]) -> dict[str, str]:
        """`{passage id: first stage}`: the own passage (of no stage), then candidates in the order they were drawn."""
        others: dict[str, Sequence[str]] = {}
        for stage, ids in lists.items():
            others[stage] = [id for id in ids if id != own][: self.depth]
        stages = best_stages(others)
        drawn = draw(stages, self.candidates, lambda id: f"{self.seed}:{query.id}:{id}")
        return {own: "", **{id: stages[id] for id in drawn}}

    def _prompt(self, query: Query, passage: Passage) -> Prompt:
        text, _ = truncate_passage(passage, self.fields, self.words)
        turns = self._prompt_file.turns(query=query.text, passage=text)
        tokens = self._prompt_file.number("answer_tokens")
        return Prompt(f"{query.id}/{passage.id}", turns, tokens, pattern=self._prompt_file.pattern)


def _passage(value: Mapping[str, str]) -> Passage:
    return Passage(value["id"], value["text"], value["title"])
