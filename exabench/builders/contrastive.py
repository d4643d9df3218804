"""Contrastive groups: a generated query, its passage as the positive, and hard negatives that a judge turned down.

The pipeline of arXiv 2510.01229 (language-model queries from a domain's passages, language-model labels) with groups
for LCE (Gao et al. 2021, arXiv 2101.08751): negatives are sampled from the top of the very first stage that is to be
reranked.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from exabench.builders._labels import Labels, labels
from exabench.errors import BadInput
from exabench.files import digest_of
from exabench.nouns import Passage, Prompt, Query, Reply, Run
from exabench.prompting import prompt_file, shown
from exabench.rows import Item, Rejected, Row

if TYPE_CHECKING:
    from exabench.collections import Collection
    from exabench.queries import QuerySource
    from exabench.retrievers import Retriever


class Contrastive:
    """One group for each query: of the first stages' best `depth` passages `candidates` are sampled and judged.

    The query's own passage is judged too, and must be relevant. Of the candidates judged not relevant at most
    `negatives` are kept (7 make the group of 8 that LCE is trained with); a query with fewer than `least` is rejected.
    Candidates judged relevant are false negatives, and those of no readable judgement are unknown: both are left out.
    The judge sees the first `words` words of a passage; the row holds all of it.
    """

    family = "contrastive"

    def __init__(
        self,
        collection: Collection,
        queries: QuerySource,
        retrievers: Mapping[str, Retriever],
        *,
        prompt: str = "judge",
        negatives: int = 7,
        least: int = 1,
        depth: int = 100,
        candidates: int = 16,
        words: int = 256,
        fields: tuple[str, ...] = ("title", "text"),
        seed: int = 0,
    ) -> None:
        if not retrievers or isinstance(queries, Mapping):
            raise BadInput("contrastive needs retrievers, whose best passages are its negatives, and one query source")
        if not 1 <= least <= negatives <= candidates or depth < 1:
            raise BadInput(
                "contrastive needs 1 <= least <= negatives <= candidates and a depth of at least 1, not "
                f"least {least}, negatives {negatives}, candidates {candidates}, depth {depth}"
            )
        self._file = prompt_file(prompt)
        self._tokens = self._file.number("answer_tokens")
        # A source that asks has a prompt as well, and its text too is part of what the rows are made of.
        self.prompt = " ".join(filter(None, (self._file.label, getattr(queries, "prompt", ""))))
        self._collection, self._queries, self._retrievers = collection, queries, retrievers
        self._negatives, self._least, self._depth, self._candidates = negatives, least, depth, candidates
        self._words, self._fields, self._seed = words, tuple(fields), seed

    def items(self) -> Iterator[Item]:
        """One Item a query: its own passage first, then the sampled candidates, each judged by a prompt of its own.

        Answers that its source rejected come last: their Items ask again what was asked, so that the quarantine
        holds the reply as well (the reply store has it). Raises BadInput for a query that was made of no passage.
        """
        asked = list(self._queries)
        for query, origin in asked:
            if not origin.get("passage_id"):
                raise BadInput("was made of no passage, so it has no positive; give generated queries", id=query.id)
        found = self._found([query for query, _ in asked])
        chosen = [self._sampled(query, origin["passage_id"], found) for query, origin in asked]
        texts = self._texts({passage_id for own in chosen for passage_id in own})
        for (query, origin), own in zip(asked, chosen, strict=True):
            yield self._item(query, origin, own, texts)
        for prompt, reason in getattr(self._queries, "rejections", ()):
            yield Item(prompt.id, (prompt,), {"rejected": f"query: {reason}", "passages": []})

    def row(self, item: Item, replies: Sequence[Reply]) -> Row:
        """The group of an Item. Raises Rejected where the positive is none, or negatives are too few."""
        if "rejected" in item.data:
            raise Rejected(item.data["rejected"])
        judged, data = self.labelled(item, replies), item.data
        positive, *others = data["passages"]
        if len(judged.unread) == len(data["passages"]):
            raise Rejected("no judgement can be read")
        if positive["id"] in judged.unread:
            raise Rejected("the judgement of the positive cannot be read")
        if positive["id"] in judged.irrelevant:
            raise Rejected("positive judged not relevant")
        negatives = [passage for passage in others if passage["id"] in judged.irrelevant][: self._negatives]
        if len(negatives) < self._least:
            raise Rejected(f"fewer than {self._least} negatives")
        return {
            **{"id": item.id, "query_id": data["query_id"], "query": data["query"]},
            "query_source": data["query_source"],
            **{"positive_id": positive["id"], "positive_title": positive["title"], "positive": positive["text"]},
            "negative_ids": [passage["id"] for passage in negatives],
            "negative_titles": [passage["title"] for passage in negatives],
            "negatives": [passage["text"] for passage in negatives],
            "negative_sources": [passage["source"] for passage in negatives],
            **{"source": data["source"], "source_revision": data["source_revision"]},
        }

    def labelled(self, item: Item, replies: Sequence[Reply]) -> Labels:
        """What the judge said about the passages of an Item: its relevant ones but the first are false negatives."""
        passages = zip(item.prompts, item.data["passages"], strict=False)  # a rejected query has none
        return labels({prompt.id: passage["id"] for prompt, passage in passages}, replies)

    def report(self, items: Iterable[Item]) -> Mapping[str, Any]:
        """Good queries, the candidates judged for them, and which first stage brought how many."""
        counted: Counter[str] = Counter()
        queries = 0
        for item in items:
            queries += "rejected" not in item.data
            counted.update(passage["source"] for passage in item.data["passages"][1:])
        return {
            "queries": queries,
            "candidates": counted.total(),
            "candidates_by_source": dict(sorted(counted.items())),
        }

    def _found(self, queries: list[Query]) -> dict[str, Run]:
        """One more than `depth` from each first stage, since the query's own passage is no candidate."""
        if not queries:
            return {}
        return {name: self._retrievers[name].search(queries, self._depth + 1) for name in sorted(self._retrievers)}

    def _sampled(self, query: Query, own: str, found: Mapping[str, Run]) -> dict[str, str]:
        """`{passage id: first stage}`: the own passage (of no stage), then candidates in the order they were drawn.

        A passage that several first stages bring counts as that one's which ranks it highest.
        """
        ranks: dict[str, tuple[int, str]] = {}
        for name, run in found.items():
            for rank, passage_id in enumerate([id for id in run.ranking(query.id) if id != own][: self._depth]):
                ranks[passage_id] = min(ranks.get(passage_id, (rank, name)), (rank, name))
        drawn = sorted(ranks, key=lambda id: (digest_of(f"{self._seed}:{query.id}:{id}"), id))[: self._candidates]
        return {own: ""} | {id: ranks[id][1] for id in drawn}

    def _texts(self, wanted: set[str]) -> dict[str, Passage]:
        texts = {passage.id: passage for passage in self._collection.passages() if passage.id in wanted}
        if lost := wanted - texts.keys():
            raise BadInput(
                "is not a passage of the collection; queries and first stages must read it too", id=min(lost)
            )
        return texts

    def _item(
        self, query: Query, origin: Mapping[str, Any], own: Mapping[str, str], texts: Mapping[str, Passage]
    ) -> Item:
        passages = [
            {"id": id, "title": texts[id].title, "text": texts[id].text, "source": stage} for id, stage in own.items()
        ]
        data = {
            **{"query_id": query.id, "query": query.text, "query_source": origin["kind"], "passages": passages},
            **{"source": self._queries.source, "source_revision": self._revision},
            "replies": list(origin.get("replies", ())),
        }
        return Item(query.id, tuple(self._prompt(query, texts[id]) for id in own), data)

    @cached_property
    def _revision(self) -> str:
        return self._queries.source_revision

    def _prompt(self, query: Query, passage: Passage) -> Prompt:
        turns = self._file.turns(query=query.text, passage=shown(passage, self._fields, self._words)[0])
        return Prompt(f"{query.id}/{passage.id}", turns, self._tokens, pattern=self._file.pattern)
