"""Lists of passages in a language model's order: cropped and generated queries over several first stages (TWOLAR)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

from exabench.core.errors import BadInput
from exabench.core.nouns import Prompt, Query, Reply
from exabench.core.rows import Item, Rejected, Row, labels_of_order
from exabench.data.builders._sources import (
    SourcedQuery,
    origin,
    passage_list,
    rankings,
    read_queries,
    rejected_queries,
    sources_by_name,
)
from exabench.data.rejections import listed
from exabench.data.sampling import draw, interleave
from exabench.parts.permutation import read_permutation
from exabench.parts.prompting import prompt_file, truncate_passage
from exabench.parts.retrievers import FirstStages
from exabench.tasks.collections import Collection, texts_of

if TYPE_CHECKING:
    from exabench.data.queries import QuerySource


@dataclass
class Twolar:
    """One list a query: the best `documents` passages of one first stage, ordered by one call of the teacher.

    The queries of each source are split into equal, disjoint blocks, one for each first stage; seed and query ids
    decide. `count` is the number of queries in total, as many from each source (0: all of them). All passages
    are in one window of the prompt, `words` words of each. Items take sources and stages in turn, so that the head
    of a plan is mixed as the whole is. `keep_origin`: may the passage that a query was made of be in its list? (The
    paper and its code do not say that it was removed.) An answer is read strictly, else repaired; one that needs
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
            raise BadInput("twolar needs documents >= 2, words >= 1 and count >= 0")
        if not self.queries or not self.retrievers:
            raise BadInput("twolar needs a source of queries and a first stage, as in [options.retrievers]")
        self._sources = sources_by_name(self.queries)
        self._prompt_file = prompt_file(self.prompt)
        self.prompt = self._prompt_file.label  # the same name, with the digest of the text

    def items(self) -> Iterator[Item]:
        """One item a query. One with fewer than two passages has no prompt, and its row is rejected."""
        assigned = self._assign()
        lists = {}
        wanted = set[str]()
        # One more where the passage of a query is removed, so that the list is full all the same.
        depth = self.documents if self.keep_origin else self.documents + 1
        for stage, retriever in self.retrievers.items():
            asked = [one for one, its_stage in assigned if its_stage == stage]
            found = rankings(retriever, [one.query for one in asked], depth)
            for one in asked:
                left_out = "" if self.keep_origin else one.origin["passage_id"]
                ids = [id for id in found[one.query.id] if id != left_out]
                lists[one.query.id] = ids[: self.documents]
                wanted.update(lists[one.query.id])

        texts = texts_of(self.collection, wanted)
        about = origin(self.collection)
        answer_tokens = self._prompt_file.number("answer_tokens_per_passage")
        for one, stage in assigned:
            query = one.query
            passages = [texts[id] for id in lists[query.id]]
            shown = []
            cut = 0
            for passage in passages:
                excerpt, is_cut = truncate_passage(passage, self.fields, self.words)
                shown.append(excerpt)
                cut += is_cut
            prompts = []
            if len(passages) >= 2:  # one alone has an order already
                turns = self._prompt_file.turns(query=query.text, passages=shown)
                # The answer names every passage once, so it grows with the list.
                pattern = self._prompt_file.pattern
                max_tokens = answer_tokens * len(passages)
                prompts.append(Prompt(query.id, turns, max_tokens, pattern=pattern, passages=len(passages)))
            data = {
                **one.fields,
                "first_stage": stage,
                **about,
                "origin": one.origin,
                **passage_list(passages),
                "cut": cut,
            }
            yield Item(query.id, tuple(prompts), data)
        yield from rejected_queries(self._sources.values())

    def _assign(self) -> list[tuple[SourcedQuery, str]]:
        """Every query with its first stage, sources and stages in turn. The order in the recipe decides nothing."""
        stages = sorted(self.retrievers)
        by_stage_and_source = {}
        for place, (source, queries) in enumerate(read_queries(self._sources).items()):
            by_id = {one.query.id: one for one in queries}
            share = len(by_id)
            if self.count:
                # Rounded up for the first sources, so that the shares add up to the count.
                share = (self.count + len(self._sources) - 1 - place) // len(self._sources)
                if len(by_id) < share:
                    reasons = Counter(rejected.reason for rejected in getattr(self._sources[source], "rejections", ()))
                    left_out = ""
                    if reasons:
                        left_out = f"; {reasons.total()} answers were rejected: {listed(reasons)}"
                    raise BadInput(
                        f"queries {source} gives {len(by_id)}, fewer than its share {share} of count "
                        f"{self.count}{left_out}"
                    )
            for stage, ids in blocks(by_id, stages, self.seed, share).items():
                by_stage_and_source[stage, source] = [(by_id[id], stage) for id in ids]
        return interleave(by_stage_and_source[key] for key in sorted(by_stage_and_source))

    def rows(self, item: Item, replies: Sequence[Reply]) -> list[Row]:
        """The list in the teacher's order. Raises Rejected for a short list or an answer that is not an order of it."""
        data = item.data
        size = len(data["passage_ids"])
        if size < 2:
            raise Rejected("the first stage found fewer than two passages")
        [reply] = replies  # the whole list is in one window
        # A cut answer could be repaired, but its end would be the first stage's order and not the teacher's.
        if reply.is_cut:
            raise Rejected("the answer is cut short")
        read = read_permutation(reply.answer, size)
        if read.repairs["missing"] == size:
            raise Rejected("the answer names no passage")
        if self.most_repairs is not None and sum(read.repairs.values()) > self.most_repairs:
            raise Rejected("the answer needs more repairs than are allowed")
        row = {"id": item.id, **data, **read.repairs}
        del row["origin"], row["cut"], row["replies"]
        for name in ("passage_ids", "titles", "passages"):
            row[name] = [data[name][place] for place in read.order]
        row["labels"] = labels_of_order(size)
        row["first_stage_ranks"] = [place + 1 for place in read.order]
        row["method"] = "one prompt"
        return [row]

    def report(self, items: Iterable[Item]) -> Mapping[str, Any]:
        """Queries by source and first stage, passages and how many were shown in part, and the paper's Table 1.

        Table 1 needs every first stage's answer to the same queries: the first `overlap_queries` of each source.
        """
        sizes: dict[str, dict[str, int]] = {source: {} for source in self._sources}
        first: dict[str, list[Query]] = {source: [] for source in self._sources}
        passages = 0
        cut = 0
        for item in items:
            source = item.data["query_source"]
            stage = item.data["first_stage"]
            sizes[source][stage] = sizes[source].get(stage, 0) + 1
            passages += len(item.data["passage_ids"])
            cut += item.data["cut"]
            if len(first[source]) < self.overlap_queries:
                first[source].append(Query(item.data["query_id"], item.data["query"]))

        overlaps = {}
        about_queries = {}
        for name, read in self._sources.items():
            asked = first[name]
            found = {stage: rankings(one, asked, self.documents) for stage, one in self.retrievers.items()}
            rates = overlap(found, [query.id for query in asked], self.documents)
            overlaps[name] = {"queries": len(asked), "documents": self.documents, "rates": rates}
            about_queries[name] = {"source": read.source, "source_revision": read.source_revision}
            if hasattr(read, "report"):  # a source that asked a teacher tells what came of it
                about_queries[name] |= read.report()
        return {
            "blocks": sizes,
            "passages": passages,
            "cut_passages": cut,
            "overlap": overlaps,
            "queries": about_queries,
        }


def blocks(ids: Iterable[str], stages: Sequence[str], seed: int, count: int | None = None) -> dict[str, list[str]]:
    """`count` of the ids (None: all) in a block for each stage: disjoint, of sizes that differ by one at most.

    Only seed and ids decide which block an id is in, and where.
    """
    order = draw(ids, count, lambda id: [seed, id])
    found = {}
    start = 0
    for place, stage in enumerate(stages, 1):
        end = place * len(order) // len(stages)
        found[stage] = order[start:end]
        start = end
    return found


def overlap(
    found: Mapping[str, Mapping[str, Sequence[str]]], queries: Sequence[str], documents: int
) -> dict[str, dict[str, float]]:
    """Table 1 of TWOLAR: for each pair of stages the mean of |A & B| / documents: `{stage: {later: rate}}`.

    `found[stage][query id]` lists passages; what a stage did not answer is an empty list. arXiv 2403.17759, eq. 3.
    """
    rates: dict[str, dict[str, float]] = {}
    for one, other in combinations(sorted(found), 2):
        shared = 0
        for id in queries:
            shared += len(set(found[one][id]).intersection(found[other][id]))
        rates.setdefault(one, {})[other] = shared / (documents * len(queries) or 1)  # without queries: 0
    return rates
