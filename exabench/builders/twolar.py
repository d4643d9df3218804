"""Lists of passages in a language model's order: cropped and generated queries over several first stages (TWOLAR)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from exabench.builders._parts import texts_of
from exabench.builders._ranked import rankings
from exabench.builders._sources import blocks, in_turn, overlap
from exabench.errors import BadInput
from exabench.files import digest_of
from exabench.nouns import Passage, Prompt, Query, Reply
from exabench.permutation import read_permutation
from exabench.prompting import prompt_file, shown
from exabench.rows import Item, Rejected, Row

if TYPE_CHECKING:
    from exabench.collections import Collection
    from exabench.queries import QuerySource
    from exabench.retrievers import Retriever

_Asked: TypeAlias = tuple[Query, Mapping[str, Any], str, str]
"""A query, its origin, its source and its first stage."""


class Twolar:
    """One list a query: the best `documents` passages of one first stage, ordered by one call of the teacher.

    The queries of each source are split into equal, disjoint blocks, one for each first stage; seed and query ids
    decide. `count` takes so many queries in all, the same number from each source (0: all there are). All passages
    stand in one window of the prompt, `words` words of each. Items take sources and stages in turn, so that the head
    of a plan is mixed as the whole is. `keep_origin`: may the passage that a query was made of be in its list? (The
    paper and its code do not say that it was taken out.) An answer is read strictly, else repaired; one that needs
    more than `most_repairs` is rejected (0: only perfect ones pass, None: all that name a passage).

    The ablations of the paper are options: fewer documents (10, 20, 30), fewer `retrievers`, one source of `queries`.
    Baldelli et al. 2024, arXiv 2403.17759: 2 x 10,000 queries, 4 first stages, 30 documents, the prompt of RankGPT.
    """

    family = "listwise"

    def __init__(
        self,
        collection: Collection,
        queries: Mapping[str, QuerySource] | QuerySource,
        retrievers: Mapping[str, Retriever],
        *,
        documents: int = 30,
        count: int = 0,
        words: int = 300,
        fields: Sequence[str] = ("title", "text"),
        prompt: str = "rankgpt",
        keep_origin: bool = True,
        most_repairs: int | None = None,
        overlap_queries: int = 500,
        seed: int = 0,
    ) -> None:
        if documents < 2 or words < 1 or count < 0 or overlap_queries < 0:
            raise BadInput("twolar needs documents of at least 2, words of at least 1, and no count below 0")
        sources = queries if isinstance(queries, Mapping) else {type(queries).__name__.lower(): queries}
        if not sources or not retrievers:
            raise BadInput("twolar needs a source of queries and a first stage, as in [options.retrievers]")
        self._collection, self._queries, self._stages = collection, dict(sorted(sources.items())), retrievers
        self._documents, self._count, self._seed = documents, count, seed
        self._words, self._fields, self._prompt_file = words, tuple(fields), prompt_file(prompt)
        self._keep_origin, self._most_repairs, self._overlap_queries = keep_origin, most_repairs, overlap_queries
        self.prompt, self._room = self._prompt_file.label, self._prompt_file.number("answer_tokens_per_passage")

    def items(self) -> Iterator[Item]:
        """One item a query. One with fewer than two passages has no prompt, and its row is rejected."""
        asked = self._assigned()
        rankings: dict[str, list[str]] = {}
        for stage in sorted(self._stages):
            rankings |= self._found(stage, [one for one in asked if one[3] == stage])
        texts = texts_of(self._collection, (id for ids in rankings.values() for id in ids))
        about = {"source": self._collection.source, "source_revision": self._collection.revision}
        for query, origin, source, stage in asked:
            data = {"query_id": query.id, "query": query.text, "query_source": source, "first_stage": stage, **about}
            passages = [texts[id] for id in rankings[query.id]]
            yield self._item(
                query, data | {"origin": dict(origin), "replies": list(origin.get("replies", ()))}, passages
            )

    def row(self, item: Item, replies: Sequence[Reply]) -> Row:
        """The list in the teacher's order. Raises Rejected for a short list, and an answer that is no order of it."""
        data, n = item.data, len(item.data["passage_ids"])
        if n < 2:
            raise Rejected("the first stage found fewer than two passages")
        [reply] = replies
        if reply.finish != "stop":
            raise Rejected("the answer is cut short")
        read = read_permutation(reply.text, n)
        if read.repairs["missing"] == n:
            raise Rejected("the answer names no passage")
        if self._most_repairs is not None and sum(read.repairs.values()) > self._most_repairs:
            raise Rejected("the answer needs more repairs than are allowed")
        same = ("query_id", "query", "query_source", "first_stage", "source", "source_revision")
        lists = ("passage_ids", "titles", "passages")
        return {
            "id": item.id,
            **{name: data[name] for name in same},
            **{name: [data[name][place] for place in read.order] for name in lists},
            "first_stage_ranks": [place + 1 for place in read.order],
            **read.repairs,
        }

    def report(self, items: Iterable[Item]) -> Mapping[str, Any]:
        """Queries by source and first stage, passages and how many were shown in part, and the paper's Table 1.

        Table 1 needs every first stage's answer to the same queries: the first `overlap_queries` of each source.
        """
        sizes: dict[str, Counter[str]] = {source: Counter() for source in self._queries}
        some: dict[str, list[Query]] = {source: [] for source in self._queries}
        passages = cut = 0
        for item in items:
            source = item.data["query_source"]
            sizes[source][item.data["first_stage"]] += 1
            passages, cut = passages + len(item.data["passage_ids"]), cut + item.data["cut"]
            if len(some[source]) < self._overlap_queries:
                some[source].append(Query(item.data["query_id"], item.data["query"]))
        return {
            "blocks": {source: dict(sorted(counts.items())) for source, counts in sizes.items()},
            "passages": passages,
            "cut_passages": cut,
            "overlap": {source: self._overlap(queries) for source, queries in some.items()},
            "queries": {
                name: {
                    "source": source.source,
                    "source_revision": source.source_revision,
                    **getattr(source, "report", dict)(),
                }
                for name, source in self._queries.items()
            },
        }

    def _overlap(self, queries: list[Query]) -> Mapping[str, Any]:
        found = {stage: rankings(self._stages[stage], queries, self._documents) for stage in self._stages}
        rates = overlap(found, [query.id for query in queries], self._documents)
        return {"queries": len(queries), "documents": self._documents, "rates": rates}

    def _assigned(self) -> list[_Asked]:
        """Every query with its first stage, sources and stages in turn. Raises BadInput for an id of two queries."""
        stages = sorted(self._stages)
        lists: dict[tuple[str, str], list[_Asked]] = {}
        seen: set[str] = set()
        for source in self._queries:
            own = self._share(source)
            if twins := seen & own.keys():
                raise BadInput("two sources of queries give this id; keep one of them", id=min(twins))
            seen |= own.keys()
            for stage, ids in blocks(own, stages, self._seed).items():
                lists[stage, source] = [(*own[id], source, stage) for id in ids]
        return in_turn(lists[key] for key in sorted(lists))

    def _share(self, source: str) -> dict[str, tuple[Query, Mapping[str, Any]]]:
        """The queries that this source contributes, by id. Raises BadInput where it has too few."""
        found: dict[str, tuple[Query, Mapping[str, Any]]] = {}
        for query, origin in self._queries[source]:
            if query.id in found:
                raise BadInput(f"queries {source} gives this id twice", id=query.id)
            found[query.id] = (query, origin)
        place, sources = list(self._queries).index(source), len(self._queries)
        share = (self._count + sources - 1 - place) // sources if self._count else len(found)
        if len(found) < share:
            raise BadInput(f"queries {source} gives {len(found)}, fewer than its share {share} of count {self._count}")
        kept = sorted(found, key=lambda id: digest_of([self._seed, id]))[:share]
        return {id: found[id] for id in kept}

    def _found(self, stage: str, asked: Sequence[_Asked]) -> dict[str, list[str]]:
        """What the stage answers to each, best first, cut to the number of documents."""
        depth = self._documents + (not self._keep_origin)
        lists = rankings(self._stages[stage], [query for query, *_ in asked], depth)
        origins = {} if self._keep_origin else {query.id: origin["passage_id"] for query, origin, *_ in asked}
        return {
            query.id: [id for id in lists[query.id] if id != origins.get(query.id)][: self._documents]
            for query, *_ in asked
        }

    def _item(self, query: Query, data: dict[str, Any], passages: Sequence[Passage]) -> Item:
        views = [shown(passage, self._fields, self._words) for passage in passages]
        data |= {
            "passage_ids": [passage.id for passage in passages],
            "titles": [passage.title for passage in passages],
            "passages": [passage.text for passage in passages],
            "cut": sum(cut for _, cut in views),
        }
        if len(passages) < 2:
            return Item(query.id, (), data)
        turns = self._prompt_file.turns(query=query.text, passages=[text for text, _ in views])
        return Item(
            query.id, (Prompt(query.id, turns, self._room * len(passages), pattern=self._prompt_file.pattern),), data
        )
