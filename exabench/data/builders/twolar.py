"""Lists of passages in a language model's order: cropped and generated queries over several first stages (TWOLAR)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING, Any

from exabench.core.errors import BadInput
from exabench.core.nouns import Passage, Prompt, Query, Reply, Run
from exabench.core.rows import Item, Rejected, Row
from exabench.data.builders._columns import origin, passage_list
from exabench.data.builders._first_stages import blocks, overlap, rankings
from exabench.data.builders._queries import SourcedQuery, by_name, read_queries
from exabench.data.sampling import by_turns, draw
from exabench.parts.permutation import read_permutation
from exabench.parts.prompting import prompt_file, truncate_passage
from exabench.tasks.collections import texts_of

if TYPE_CHECKING:
    from exabench.data.builders._first_stages import FirstStages
    from exabench.data.queries import QuerySource
    from exabench.tasks.collections import Collection

_PLANNED = ("query_id", "query", "query_source", "first_stage", "source", "source_revision")
"""Fields of a row that its Item holds as they are."""


@dataclass
class Twolar:
    """One list a query: the best `documents` passages of one first stage, ordered by one call of the teacher.

    The queries of each source are split into equal, disjoint blocks, one for each first stage; seed and query ids
    decide. `count` takes so many queries in all, the same number from each source (0: all there are). All passages
    stand in one window of the prompt, `words` words of each. Items take sources and stages in turn, so that the head
    of a plan is mixed as the whole is. `keep_origin`: may the passage that a query was made of be in its list? (The
    paper and its code do not say that it was taken out.) An answer is read strictly, else repaired; one that needs
    more than `most_repairs` is rejected (0: only perfect ones pass, None: all that name a passage). The report compares
    first stages on the first `overlap_queries` queries of each source.

    The ablations of the paper are options: fewer documents (10, 20, 30), fewer `retrievers`, one source of `queries`.
    Baldelli et al. 2024, arXiv 2403.17759: 2 x 10,000 queries, 4 first stages, 30 documents, the prompt of RankGPT.
    """

    family = "listwise"

    collection: Collection
    queries: Mapping[str, QuerySource] | QuerySource
    retrievers: FirstStages
    _: KW_ONLY
    documents: int = 30
    count: int = 0
    words: int = 300
    fields: Sequence[str] = ("title", "text")
    prompt: str = "rankgpt"
    keep_origin: bool = True
    most_repairs: int | None = None
    overlap_queries: int = 500
    seed: int = 0

    def __post_init__(self) -> None:
        if self.documents < 2 or self.words < 1 or self.count < 0 or self.overlap_queries < 0:
            raise BadInput("twolar needs documents of at least 2, words of at least 1, and no count below 0")
        if not self.queries or not self.retrievers:
            raise BadInput("twolar needs a source of queries and a first stage, as in [options.retrievers]")
        self._sources = by_name(self.queries)
        self._prompt_file = prompt_file(self.prompt)
        self.prompt = self._prompt_file.label  # the same name, with the digest of the text

    def items(self) -> Iterator[Item]:
        """One item a query. One with fewer than two passages has no prompt, and its row is rejected."""
        assigned = self._assigned()
        lists: dict[str, list[str]] = {}
        for stage in sorted(self.retrievers):
            lists |= self._lists_of(stage, [one for one, its_stage in assigned if its_stage == stage])
        texts = texts_of(self.collection, (id for ids in lists.values() for id in ids))
        about = origin(self.collection)
        for one, stage in assigned:
            passages = [texts[id] for id in lists[one.query.id]]
            yield self._item(one, passages, {"first_stage": stage, **about})

    def row(self, item: Item, replies: Sequence[Reply]) -> Row:
        """The list in the teacher's order. Raises Rejected for a short list, and an answer that is no order of it."""
        data = item.data
        size = len(data["passage_ids"])
        if size < 2:
            raise Rejected("the first stage found fewer than two passages")
        [reply] = replies
        if reply.finish != "stop":
            raise Rejected("the answer is cut short")
        read = read_permutation(reply.text, size)
        if read.repairs["missing"] == size:
            raise Rejected("the answer names no passage")
        if self.most_repairs is not None and sum(read.repairs.values()) > self.most_repairs:
            raise Rejected("the answer needs more repairs than are allowed")
        row = {"id": item.id, **{name: data[name] for name in _PLANNED}, **read.repairs}
        for name in ("passage_ids", "titles", "passages"):
            row[name] = [data[name][place] for place in read.order]
        row["first_stage_ranks"] = [place + 1 for place in read.order]
        return row

    def report(self, items: Iterable[Item]) -> Mapping[str, Any]:
        """Queries by source and first stage, passages and how many were shown in part, and the paper's Table 1.

        Table 1 needs every first stage's answer to the same queries: the first `overlap_queries` of each source.
        """
        sizes: dict[str, Counter[str]] = {source: Counter() for source in self._sources}
        first: dict[str, list[Query]] = {source: [] for source in self._sources}
        passages = 0
        cut = 0
        for item in items:
            source = item.data["query_source"]
            sizes[source][item.data["first_stage"]] += 1
            passages += len(item.data["passage_ids"])
            cut += item.data["cut"]
            if len(first[source]) < self.overlap_queries:
                first[source].append(Query(item.data["query_id"], item.data["query"]))
        return {
            "blocks": {source: dict(sorted(counts.items())) for source, counts in sizes.items()},
            "passages": passages,
            "cut_passages": cut,
            "overlap": {source: self._overlap(queries) for source, queries in first.items()},
            "queries": {name: _source_report(source) for name, source in self._sources.items()},
        }

    def _overlap(self, queries: list[Query]) -> Mapping[str, Any]:
        found = {stage: rankings(self.retrievers[stage], queries, self.documents) for stage in self.retrievers}
        rates = overlap(found, [query.id for query in queries], self.documents)
        return {"queries": len(queries), "documents": self.documents, "rates": rates}

    def _assigned(self) -> list[tuple[SourcedQuery, str]]:
        """Every query with its first stage, sources and stages in turn."""
        stages = sorted(self.retrievers)
        lists: dict[tuple[str, str], list[tuple[SourcedQuery, str]]] = {}
        for place, (source, queries) in enumerate(read_queries(self._sources).items()):
            by_id = {one.query.id: one for one in queries}
            share = self._share_of(place, source, len(by_id))
            taken = draw(by_id, share, lambda id: [self.seed, id])
            for stage, ids in blocks(taken, stages, self.seed).items():
                lists[stage, source] = [(by_id[id], stage) for id in ids]
        return by_turns(lists[key] for key in sorted(lists))

    def _share_of(self, place: int, source: str, given: int) -> int:
        """How many queries a source contributes to `count`. Raises BadInput where it has fewer."""
        if not self.count:
            return given
        sources = len(self._sources)
        share = (self.count + sources - 1 - place) // sources
        if given < share:
            raise BadInput(f"queries {source} gives {given}, fewer than its share {share} of count {self.count}")
        return share

    def _lists_of(self, stage: str, asked: Sequence[SourcedQuery]) -> dict[str, list[str]]:
        """What the stage answers to each query, best first, cut to the number of documents."""
        depth = self.documents if self.keep_origin else self.documents + 1
        lists = rankings(self.retrievers[stage], [one.query for one in asked], depth)
        if not self.keep_origin:
            for one in asked:
                own = one.origin["passage_id"]
                lists[one.query.id] = [id for id in lists[one.query.id] if id != own][: self.documents]
        return lists

    def _item(self, one: SourcedQuery, passages: Sequence[Passage], about: Mapping[str, Any]) -> Item:
        texts = []
        cut = 0
        for passage in passages:
            text, is_cut = truncate_passage(passage, self.fields, self.words)
            texts.append(text)
            cut += is_cut
        data = {**one.data, **about, "origin": dict(one.origin), **passage_list(passages), "cut": cut}
        if len(passages) < 2:
            return Item(one.query.id, (), data)
        turns = self._prompt_file.turns(query=one.query.text, passages=texts)
        tokens = self._prompt_file.number("answer_tokens_per_passage") * len(passages)
        return Item(one.query.id, (Prompt(one.query.id, turns, tokens, pattern=self._prompt_file.pattern),), data)


def recorded_replies(items: Iterable[Item], run: Run) -> Iterator[Reply]:
    """The order of a published run as replies to the prompts of lists: what a teacher that costs nothing answers.

    A reply reads `[2] > [1]`; what only one of list and ranking knows is left out, so that a query that the run does
    not rank has an empty reply and its row is rejected. Tokens are 0: none were read or written.
    """
    for item in items:
        numbers = {id: number for number, id in enumerate(item.data["passage_ids"], 1)}
        ranking = [id for id in run.ranking(item.data["query_id"]) if id in numbers]
        answer = " > ".join(f"[{numbers[id]}]" for id in ranking)
        for prompt in item.prompts:
            yield Reply(prompt.id, answer, "stop", 0, 0)


def _source_report(source: QuerySource) -> Mapping[str, Any]:
    own = source.report() if hasattr(source, "report") else {}
    return {"source": source.source, "source_revision": source.source_revision, **own}
