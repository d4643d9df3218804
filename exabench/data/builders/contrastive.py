"""Contrastive groups: a generated query, its passage as the positive, and hard negatives, judged or not.

The pipeline of arXiv 2510.01229 (language-model queries from a domain's passages, language-model labels) with groups
for LCE (Gao et al. 2021, arXiv 2101.08751): negatives are sampled from the top of the first stage whose results
the model will rerank. Without a judge these are the sets of InPars (arXiv 2202.05144, 2301.01820) and Promptagator
(arXiv 2209.11755).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, asdict, dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from exabench.core.errors import BadInput
from exabench.core.nouns import Passage, Prompt, Query, Reply
from exabench.core.replies import text_of_json
from exabench.core.rows import Item, Rejected, Row
from exabench.data.builders._positive_aware import PositiveAware
from exabench.data.builders._sources import (
    SourcedQuery,
    all_rankings,
    best_stages,
    group,
    rejected_queries,
    scorer,
)
from exabench.data.judgements import judged_passages
from exabench.data.sampling import draw
from exabench.parts.prompting import PromptFile, prompt_file, truncate_passage
from exabench.parts.replies import without_server
from exabench.parts.rerankers import Job, Reranker
from exabench.parts.retrievers import FirstStages
from exabench.tasks.collections import Collection, texts_of

if TYPE_CHECKING:
    from exabench.data.queries import QuerySource

_LABEL = re.compile(
    r"[\W_]*+"  # quotes, or the asterisks and underscores of bold and italic text
    r"(?:(?:final\s+)?(?:answer|label|verdict|judge?ment)\W{1,4}(?:is\W{1,4})?)?"
    r"(?:(?:the|this)\s+passage\s+|it\s+)?(?:is\s+)?"
    r"(?:((?:is)?(?:n['\u2019]t|not|non)[\s_-]?(?:(?:at\s+all|really|very|directly)\s+)?relevant|irrelevant)"
    r"|relevant(?!\W*(?:or|not|non)\b))(?![^\W_])",  # "relevant or not relevant" echoes the question
    re.IGNORECASE,
)
_NEGATION = r"(?:\b(?:not|no|never|nothing|without|missing|absent|lacks?|lacking|fails?|cannot)\b|n['\u2019]t\b)"
_READ = 1_000
"""Characters of an answer that are read: a judgement is at its beginning."""
# Behind "relevant", in its sentence: "to some extent, but not an answer", "information is missing".
_TAKEN_BACK = re.compile(
    rf"[^.!?;\n]*?\b(?:but|however|though|although|yet)\b[^.!?;\n]*?{_NEGATION}"
    rf"|\s+(?:information|details?|content|facts?|evidence|passages?|parts?)\b[^.!?;\n]*?{_NEGATION}",
    re.IGNORECASE,
)


@dataclass
class Contrastive:
    """One group for each query: of the first stages' best `depth` passages `candidates` are sampled and judged.

    The query's own passage is judged too, and must be relevant. Of the candidates judged not relevant at most
    `negatives` are kept (7 make the group of 8 that LCE is trained with); a query with fewer than `least` is rejected.
    Candidates judged relevant are false negatives, and those of no readable judgement are unknown: both are left out.
    With `more_positives` each candidate judged relevant is the positive of a further group of the query, with negatives
    that are drawn for it. The judge sees the first `words` words of a passage; the row holds all of it.

    With `prompt` "" no one is asked: the query's own passage counts as relevant, candidates do not, but those with
    exactly its words are left out. With `split` only passages that this split of the collection judges are candidates.
    With a `reranker` and one of `relative_margin`, `absolute_margin` and `max_score`, candidates whose score exceeds
    this bound are left out before the draw, as in mined.
    """

    family = "contrastive"

    collection: Collection
    queries: QuerySource
    retrievers: FirstStages
    _: KW_ONLY
    prompt: str = "judge"
    more_positives: bool = False
    split: str = ""
    negatives: int = 7
    least: int = 1
    depth: int = 100
    candidates: int = 16
    words: int = 256
    fields: Sequence[str] = ("title", "text")
    seed: int = 0
    reranker: Reranker | None = None
    relative_margin: float | None = None
    absolute_margin: float | None = None
    max_score: float | None = None

    def __post_init__(self) -> None:
        self._positive_aware = PositiveAware(self.reranker, self.relative_margin, self.absolute_margin, self.max_score)
        if not self.retrievers or isinstance(self.queries, Mapping):
            raise BadInput("contrastive needs retrievers, whose top passages become negatives, and one query source")
        if not 1 <= self.least <= self.negatives <= self.candidates or self.depth < 1:
            raise BadInput(
                "contrastive needs 1 <= least <= negatives <= candidates and a depth of at least 1, not least "
                f"{self.least}, negatives {self.negatives}, candidates {self.candidates}, depth {self.depth}"
            )
        if self.more_positives and not self.prompt:
            raise BadInput('contrastive: more_positives are those that a judge finds; give a prompt, as in "judge"')
        self._judge: PromptFile | None = None
        label = ""
        if self.prompt:
            self._judge = prompt_file(self.prompt)
            label = self._judge.label  # the same name, with the digest of the text
        # The prompt of the queries as well, since the rows are made of it, too.
        self.prompt = f"{label} {getattr(self.queries, 'prompt', '')}".strip()

    @property
    def identity(self) -> Mapping[str, Any]:
        """Who made the rows where no one judges: the teacher that wrote the queries, else their source."""
        if self._judge is not None:
            return {}
        teacher = getattr(self.queries, "teacher", None)
        if teacher is None:
            return {"model": type(self.queries).__name__.lower()}
        return without_server(teacher.identity)

    def items(self) -> Iterator[Item]:
        """One Item a query: its own passage first, then the sampled candidates, with a prompt for each of them.

        Answers that were rejected as queries come last. Raises BadInput for a query that was made of no passage.
        """
        asked = list(self.queries)
        for query, origin in asked:
            if not origin["passage_id"]:
                raise BadInput(
                    "was not generated from a passage, so it has no positive; use generated queries", id=query.id
                )

        own = {query.id: origin["passage_id"] for query, origin in asked}
        stages_of = self._stages([query for query, _ in asked], own)
        wanted = set(own.values()).union(*stages_of.values())
        texts = texts_of(self.collection, wanted)

        def jobs() -> Iterator[Job]:
            for query, origin in asked:
                yield query, [texts[id] for id in (origin["passage_id"], *stages_of[query.id])]

        about = {"source": self.queries.source, "source_revision": self.queries.source_revision}
        for (query, origin), scores in zip(asked, self._positive_aware.score(jobs()), strict=True):
            stage_of = stages_of[query.id]
            allowed = self._positive_aware.allowed(scores, own[query.id], stage_of)
            passages = [{**asdict(texts[own[query.id]]), "source": ""}]
            for id in self._draw(allowed, self.candidates, query.id):
                passages.append({**asdict(texts[id]), "source": stage_of[id]})
            data = {
                **SourcedQuery(query, origin, origin["kind"]).fields,
                "passages": passages,
                **about,
                "left_out": len(stage_of) - len(allowed),
                "fault": self._positive_aware.fault(scores, own[query.id]),
            }
            yield Item(query.id, self._prompts(query, passages), data)
        yield from rejected_queries([self.queries])

    def _stages(self, queries: Sequence[Query], own: Mapping[str, str]) -> dict[str, dict[str, str]]:
        """The candidates of each query, with the first stage that brought them; those that may be drawn."""
        of_split = None
        if self.split:
            of_split = judged_passages(self.collection, self.split)
        stages_of = {}
        # One more than `depth`, since the query's own passage is not a candidate.
        for query, found in all_rankings(self.retrievers, queries, self.depth + 1):
            lists = {}
            for stage, ids in found.items():
                lists[stage] = [id for id in ids if id != own[query.id]][: self.depth]
            stage_of = best_stages(lists)
            ids = list(stage_of)
            if of_split is not None:
                ids = [id for id in ids if id in of_split]
            # Where nothing is scored no other text is needed than those that are drawn.
            if self.reranker is None:
                ids = self._draw(ids, self.candidates, query.id)
            stages_of[query.id] = {id: stage_of[id] for id in ids}
        return stages_of

    def _draw(self, ids: Iterable[str], count: int, about: str) -> list[str]:
        """A sample of the ids, by the seed and the id of what they are drawn for."""
        return draw(ids, count, lambda id: f"{self.seed}:{about}:{id}")

    def _prompts(self, query: Query, passages: Sequence[Mapping[str, str]]) -> tuple[Prompt, ...]:
        """What the judge is asked about a query, a prompt for each passage; nothing where there is no judge."""
        if self._judge is None:
            return ()
        answer_tokens = self._judge.number("answer_tokens")
        prompts = []
        for passage in passages:
            text, _ = truncate_passage(_passage(passage), self.fields, self.words)
            turns = self._judge.turns(query=query.text, passage=text)
            prompts.append(Prompt(f"{query.id}/{passage['id']}", turns, answer_tokens, pattern=self._judge.pattern))
        return tuple(prompts)

    def rows(self, item: Item, replies: Sequence[Reply]) -> list[Row]:
        """The groups of an Item, first that of the query's passage.

        Raises Rejected where this passage is not relevant, or negatives are too few.
        """
        data = dict(item.data)
        if data["fault"]:
            raise Rejected(data["fault"])
        own, *candidates = data.pop("passages")
        del data["replies"], data["left_out"], data["fault"]
        judged = self._judgements(item, replies)
        is_positive = judged[own["id"]]
        if set(judged.values()) == {None}:
            raise Rejected("no judgement can be read")
        if is_positive is None:
            raise Rejected("the judgement of the positive cannot be read")
        if not is_positive:
            raise Rejected("positive judged not relevant")
        # In the order in which they were drawn.
        others = {one["id"]: one for one in candidates if judged[one["id"]] is False}
        if len(others) < self.least:
            raise Rejected(f"fewer than {self.least} negatives")
        if self._judge is None:
            data["prompt"] = self.prompt  # that of the query, though nothing is asked about the item

        rows = [{"id": item.id, **data, **self._group(own, others.values())}]
        if self.more_positives:
            for positive in candidates:
                if judged[positive["id"]]:
                    id = f"{item.id}/{positive['id']}"
                    drawn = self._draw(others, self.negatives, id)
                    negatives = [others[negative] for negative in drawn]
                    rows.append({"id": id, **data, **self._group(positive, negatives)})
        return rows

    def _judgements(self, item: Item, replies: Sequence[Reply]) -> dict[str, bool | None]:
        """Whether each passage of an Item is relevant, by its id; None where it is not known."""
        passages = item.data["passages"]
        judged: dict[str, bool | None] = {}
        if self._judge is None:
            own = passages[0]
            words = own["text"].split()
            for passage in passages:
                judged[passage["id"]] = False
                if passage["text"].split() == words:
                    judged[passage["id"]] = None
            judged[own["id"]] = True
            return judged
        answers = {reply.id: reply.answer for reply in replies}
        for prompt, passage in zip(item.prompts, passages, strict=True):
            judged[passage["id"]] = label(answers.get(prompt.id, ""))
        return judged

    def _group(self, positive: Mapping[str, str], negatives: Iterable[Mapping[str, str]]) -> Row:
        """The passages of a group, with as many of the negatives as it may hold."""
        chosen = {_passage(one): one["source"] for one in islice(negatives, self.negatives)}
        return group(_passage(positive), chosen)

    def report(self, items: Iterable[Item]) -> Mapping[str, Any]:
        """Good queries, the candidates drawn for them by first stage, and how many a reranker left out before."""
        candidates = Counter[str]()
        queries = 0
        left_out = 0
        for item in items:
            queries += 1
            left_out += item.data["left_out"]
            for passage in item.data["passages"][1:]:  # the first is the query's own
                candidates[passage["source"]] += 1
        report = {
            "queries": queries,
            "candidates": candidates.total(),
            "candidates_by_source": dict(candidates),
        }
        if self.reranker is not None:
            report |= {"left_out": left_out, "left_out_by": scorer(self.reranker)}
        return report


def _passage(planned: Mapping[str, str]) -> Passage:
    return Passage(planned["id"], planned["text"], planned["title"])


def label(answer: str) -> bool | None:
    """True for an answer that begins with "relevant", False for one that denies it, None for all else.

    "Not relevant", "irrelevant" and "not_relevant" deny it, and so does what takes it back in its own sentence:
    "relevant to some extent, but not an answer", "relevant information is missing".
    """
    text = text_of_json(answer, "label", "judgement", "judgment", "relevance")[:_READ]
    match = _LABEL.match(text)
    if match is None:
        return None
    # From the word on: what stands before it is the label of the answer ("Final answer:").
    return match[1] is None and not _TAKEN_BACK.match(text, match.end())
