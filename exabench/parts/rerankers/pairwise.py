"""Compares passages two by two: a language model is asked for the better one (PRP), or duoT5 says how likely it is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

from exabench.core.errors import BadInput, MissingExtra
from exabench.core.nouns import Passage, Progress, Query, Usage, silent
from exabench.core.options import make
from exabench.parts.rerankers._prp import Prompted

if TYPE_CHECKING:
    from exabench.parts.rerankers._duo_t5 import DuoT5
    from exabench.parts.teachers import Teacher


class PairwiseOptions(TypedDict, total=False):
    """With a teacher: `method` is "allpairs" or "sliding". In a sliding comparison `k` passes go up the list.

    With a model: `answers` are the words for the better and the worse first passage.
    """

    method: str
    k: int
    words: int
    revision: str
    precision: str
    answers: Sequence[str]
    max_length: int
    batch_tokens: int
    devices: Sequence[str]


class Pairwise:
    """With a `teacher`, PRP (_prompted.py: `method`, `k`, `words`); with a `model`, duoT5 (_duo.py: the other options).

    Qin et al. 2023, arXiv 2306.17563; Pradeep et al. 2021, arXiv 2101.05667. Raises BadInput without either, with
    both, or with an option of the other one.
    """

    reads = "texts"
    asks = "teacher"
    local = True

    def __init__(
        self,
        teacher: Teacher | None = None,
        *,
        model: str = "",
        fields: Sequence[str] = ("title", "text"),
        lock: str | Path | None = None,
        scores: str | None = None,
        progress: Progress = silent,
        **options: Unpack[PairwiseOptions],
    ) -> None:
        if (teacher is None) == (not model):
            raise BadInput("pairwise needs a teacher (PRP) or a model (duoT5), one of the two")
        self._way: Prompted | DuoT5
        own: dict[str, Any] = {"fields": fields, **options}
        if teacher is not None:
            self._way = make("reranker pairwise with a teacher", Prompted, {}, own, teacher)
        else:
            given = {"lock": lock, "scores": scores, "progress": progress}
            self._way = make("reranker pairwise with a model", _duo_t5(), given, own, model)
        self.identity: Mapping[str, Any] = {**self._way.identity, "reranker": "pairwise"}
        self.precision = self._way.precision
        self.parameters = self._way.parameters

    def score(self, query: Query, passages: Sequence[Passage]) -> list[float]:
        """One score for each passage, in the order given."""
        return self._way.score(query, passages)

    def score_many(self, jobs: Iterable[tuple[Query, Sequence[Passage]]]) -> Iterator[tuple[list[float], Usage]]:
        """Scores and usage of each job, in order; comparisons of many queries are made together."""
        return self._way.score_many(jobs)

    @property
    def pairs_per_second(self) -> float | None:
        """How fast duoT5 compared; None where a teacher did, or where all came from the store."""
        return getattr(self._way, "pairs_per_second", None)


def _duo_t5() -> type[DuoT5]:
    """The class, imported only here: a teacher on a server needs no torch."""
    try:
        from exabench.parts.rerankers._duo_t5 import DuoT5
    except ModuleNotFoundError as error:
        raise MissingExtra("reranker 'pairwise' with a model needs packages: pip install 'exabench[models]'") from error
    return DuoT5
