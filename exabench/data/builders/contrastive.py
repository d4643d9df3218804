"""Contrastive groups: a generated query, its passage as the positive, and hard negatives that a judge rejected.

The pipeline of arXiv 2510.01229 (language-model queries from a domain's passages, language-model labels) with groups
for LCE (Gao et al. 2021, arXiv 2101.08751): negatives are sampled from the top of the first stage whose results
the model will rerank.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, asdict, dataclass
from typing import TYPE_CHECKING, Any

from exabench.core.errors import BadInput
from exabench.core.nouns import Passage, Prompt, Reply
from exabench.core.replies import text_of_json
from exabench.core.rows import Item, Rejected, Row
from exabench.data.builders._sources import SourcedQuery, all_rankings, best_stages, group, rejected_queries
from exabench.data.sampling import draw
from exabench.parts.prompting import prompt_file, truncate_passage
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
            raise BadInput("contrastive needs retrievers, whose top passages become negatives, and one query source")
        if not 1 <= self.least <= self.negatives <= self.candidates or self.depth < 1:
            raise BadInput(
                "contrastive needs 1 <= least <= negatives <= candidates and a depth of at least 1, not least "
                f"{self.least}, negatives {self.negatives}, candidates {self.candidates}, depth {self.depth}"
            )
        self._prompt_file = prompt_file(self.prompt)
        # The same name, with the digest of the text; and the prompt of the queries, since the rows are made of it, too.
        self.prompt = f"{self._prompt_file.label} {getattr(self.queries, 'prompt', '')}".strip()

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

        # One more than `depth`, since the query's own passage is not a candidate.
        found = all_rankings(self.retrievers, [query for query, _ in asked], self.depth + 1)
        chosen = {}
        wanted = set[str]()
        for query, origin in asked:
            chosen[query.id] = self._choose(query.id, origin["passage_id"], found[query.id])
            wanted.update(chosen[query.id])
        texts = texts_of(self.collection, wanted)

        about = {"source": self.queries.source, "source_revision": self.queries.source_revision}
        answer_tokens = self._prompt_file.number("answer_tokens")
        for query, origin in asked:
            prompts = []
            passages = []
            for id, stage in chosen[query.id].items():
                passage = texts[id]
                passages.append({**asdict(passage), "source": stage})
                text, _ = truncate_passage(passage, self.fields, self.words)
                turns = self._prompt_file.turns(query=query.text, passage=text)
                prompts.append(Prompt(f"{query.id}/{id}", turns, answer_tokens, pattern=self._prompt_file.pattern))
            data = {
                **SourcedQuery(query, origin, origin["kind"]).fields,
                "passages": passages,
                **about,
            }
            yield Item(query.id, tuple(prompts), data)
        yield from rejected_queries([self.queries])

    def _choose(self, query_id: str, own: str, found: Mapping[str, Sequence[str]]) -> dict[str, str]:
        """The passages that are judged for a query, each with the first stage that brought it, as in `found`.

        The query's own passage (of no stage) comes first, then the candidates in the order in which they are drawn.
        """
        lists = {}
        for stage, ids in found.items():
            lists[stage] = [id for id in ids if id != own][: self.depth]
        stages = best_stages(lists)
        chosen = {own: ""}
        for id in draw(stages, self.candidates, lambda id: f"{self.seed}:{query_id}:{id}"):
            chosen[id] = stages[id]
        return chosen

    def row(self, item: Item, replies: Sequence[Reply]) -> Row:
        """The group of an Item. Raises Rejected where the positive is none, or negatives are too few."""
        data = item.data
        answers = {reply.id: reply.answer for reply in replies}
        own, *candidates = data["passages"]
        judged = {}
        for prompt, passage in zip(item.prompts, data["passages"], strict=True):
            judged[passage["id"]] = label(answers.get(prompt.id, ""))
        is_positive = judged[own["id"]]
        if set(judged.values()) == {None}:
            raise Rejected("no judgement can be read")
        if is_positive is None:
            raise Rejected("the judgement of the positive cannot be read")
        if not is_positive:
            raise Rejected("positive judged not relevant")
        negatives = dict[Passage, str]()
        for passage in candidates:  # in the order in which they were drawn
            if judged[passage["id"]] is False and len(negatives) < self.negatives:
                negatives[_passage(passage)] = passage["source"]
        if len(negatives) < self.least:
            raise Rejected(f"fewer than {self.least} negatives")
        row = {"id": item.id, **data, **group(_passage(own), negatives)}
        del row["passages"], row["replies"]
        return row

    def report(self, items: Iterable[Item]) -> Mapping[str, Any]:
        """Good queries, the candidates judged for them, and which first stage brought how many."""
        candidates = Counter[str]()
        queries = 0
        for item in items:
            queries += 1
            for passage in item.data["passages"][1:]:  # the first is the query's own
                candidates[passage["source"]] += 1
        return {
            "queries": queries,
            "candidates": candidates.total(),
            "candidates_by_source": dict(candidates),
        }


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
