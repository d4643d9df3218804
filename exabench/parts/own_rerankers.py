"""Rerankers that users bring: any object with `score`, `predict` or `rank`, or a function, and what it answers.

| it has | it is given | it answers |
|---|---|---|
| `score(query, passages)` | a Query and Passages | a score for each, in the order given, or `{passage id: score}` |
| `predict(pairs)`, `compute_score(pairs)` | pairs of texts (CrossEncoder, FlagReranker) | a score for each |
| `rank(query, documents)` | texts (rerankers) | results that name their document by its place, with score or rank |
| nothing of these: a function | as `score` | as `score` |

Whatever names its first parameter's type `str` is given texts, as in `def f(query: str, passages: list[str])`.
"""

from __future__ import annotations

import contextlib
import inspect
import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from numbers import Real
from typing import Any

import numpy as np

from exabench.core.errors import REASON, BadInput, ExabenchError, plural, printable
from exabench.core.nouns import Passage, Query
from exabench.measure.columns import LARGEST_SCORE
from exabench.parts.rerankers import Reranker

READS = ("ids", "texts", "judgements")
PAIR_VERBS = ("predict", "compute_score")


def as_reranker(given: Any) -> Reranker:
    """A Reranker of an object with one of the verbs above, or of a function; a Reranker as it is.

    Raises BadInput for what has none of these verbs, and for `reads` that is none of READS.
    """
    if isinstance(given, type):
        raise BadInput(f"reranker {given.__name__} is a class: create an instance, as in {given.__name__}(...)")
    reads = getattr(given, "reads", None)
    if reads is not None and reads not in READS:
        name = reranker_name(given)
        raise BadInput(f"reranker {name} reads {printable(repr(reads))}; reads is one of {', '.join(READS)}")
    if hasattr(given, "score_many") or (reads is not None and hasattr(given, "score")):
        return given
    # The Rankers of `rerankers` have a `score` for a single document next to `rank`.
    if hasattr(given, "score") and not hasattr(given, "rank"):
        return OwnReranker(given, given.score)
    # CrossEncoder has both predict and rank: the scores of all pairs say more than a ranking.
    for verb in PAIR_VERBS:
        if hasattr(given, verb):
            return PairReranker(given, getattr(given, verb))
    if hasattr(given, "rank"):
        return RankingReranker(given, given.rank)
    if callable(given):
        return OwnReranker(given, given)
    verbs = "score(query, passages), predict(pairs) or rank(query, documents)"
    raise BadInput(f"{reranker_name(given)} is not a reranker: it has no {verbs}")


def reranker_name(given: object) -> str:
    """The name under which a reranker is recorded: its identity's, else its class or function in lower case."""
    identity = getattr(given, "identity", None)
    if isinstance(identity, Mapping) and "reranker" in identity:
        return str(identity["reranker"])
    if isinstance(given, OwnReranker):
        given = given.given
    own = type(given).__name__
    if inspect.isroutine(given):
        own = given.__name__
    return own.lower().strip("<>")  # a lambda is called <lambda>


class OwnReranker:
    """A reranker by a function of a query and its passages: as they are, or as texts where it says `query: str`."""

    reads = "texts"

    def __init__(self, given: object, verb: Callable[..., Any]) -> None:
        self.given = given
        self.verb = verb
        self._takes_texts = _first_annotation(verb) in (str, "str")

    def score(self, query: Query, passages: Sequence[Passage]) -> Any:
        """Its answer, whatever it is."""
        if self._takes_texts:
            return self.verb(query.text, [passage.flat() for passage in passages])
        return self.verb(query, passages)


class PairReranker(OwnReranker):
    """A reranker by a function of pairs of texts, as sentence-transformers' CrossEncoder.predict."""

    def score(self, query: Query, passages: Sequence[Passage]) -> Any:
        """Its answer, whatever it is."""
        return self.verb([(query.text, passage.flat()) for passage in passages])


class RankingReranker(OwnReranker):
    """A reranker by a function of a query and texts that answers with results in order, as `rerankers` has them."""

    def score(self, query: Query, passages: Sequence[Passage]) -> Any:
        """Scores by passage id: those of the results, or of their ranks where a result has no score.

        Raises BadInput for an answer that is not a list of results, each of another document.
        """
        answer = self.verb(query.text, [passage.flat() for passage in passages])
        results = []
        if isinstance(answer, Iterable):
            results = list(itertools.islice(answer, len(passages) + 1))
        scores: dict[str, Any] = {}
        for place, result in enumerate(results):
            number = _field(result, "corpus_id", "doc_id", "index")
            score = _field(result, "score", "relevance_score")
            # Some rankers of `rerankers` give ranks alone; their list is in ranking order.
            if score is None and _field(result, "rank") is not None:
                score = len(results) - place
            if isinstance(number, int) and 0 <= number < len(passages) and score is not None:
                scores[passages[number].id] = score
        if len(scores) < max(len(results), len(passages)):
            came = f"reranker {reranker_name(self)} answered {_describe(answer)} for query {query.id!r}"
            expected = f"expected a result for each of {len(passages)} documents"
            raise BadInput(f"{came}; {expected}, with its place (corpus_id, doc_id or index) and a score or rank")
        return scores


def _field(result: object, *names: str) -> Any:
    """The first of these keys or attributes that a result has."""
    for name in names:
        value = getattr(result, name, None)
        if isinstance(result, Mapping):
            value = result.get(name)
        if value is not None:
            return value
    return None


def _first_annotation(verb: Callable[..., Any]) -> Any:
    """The type that the first parameter of a function is said to have."""
    try:
        parameters = list(inspect.signature(verb).parameters.values())
    except (TypeError, ValueError):  # some functions of C have no signature
        return None
    return parameters[0].annotation if parameters else None


# -- what came -------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def refuse_failures(name: str, query_id: str) -> Iterator[None]:
    """Whatever a reranker raises on a query becomes one BadInput, with what was raised as its cause."""
    try:
        yield
    except (ExabenchError, MemoryError):  # said in one line already; no fault of the query
        raise
    except Exception as error:
        what = printable(" ".join(str(error).split()), REASON)
        raise BadInput(f"reranker {name} failed on query {query_id!r}: {type(error).__name__}: {what}") from error


def scores_of(answer: Any, name: str, query_id: str, passage_ids: Sequence[str]) -> list[float]:
    """What a reranker answered for one query as a float for each passage, in the order given.

    A list, an iterator, an array or a tensor of real numbers, on any device and of any precision; a column `(n, 1)`;
    one number where there is one passage; a dict of scores by the ids of exactly these passages. Raises BadInput that
    names the reranker, the query, what came and what was expected.
    """
    n = len(passage_ids)
    if isinstance(answer, list) and len(answer) == n and set(map(type, answer)) <= {float}:
        is_finite = all(-LARGEST_SCORE < score < LARGEST_SCORE for score in answer)  # false for NaN
        if is_finite:
            return answer  # what every part answers: nothing to convert

    def refuse(what: str) -> BadInput:
        expected = f"expected {n} finite numbers, one for each passage in the order given"
        return BadInput(f"reranker {name} answered {what} for query {query_id!r}; {expected}")

    if inspect.iscoroutine(answer):
        answer.close()
        raise refuse("a coroutine (async rerankers are not supported)")
    if answer is None or isinstance(answer, str | bytes | set | frozenset):
        raise refuse(_describe(answer))
    if isinstance(answer, Mapping):
        missing = [id for id in passage_ids if id not in answer]
        if missing or len(answer) != n:
            which = f", but none for passage {missing[0]!r}" if missing else ""
            raise refuse(f"a dict of {plural(len(answer), 'key')}{which}")
        answer = [answer[id] for id in passage_ids]
    elif isinstance(answer, Real | Decimal):
        answer = [answer]  # which is right for a single passage
    elif not isinstance(answer, Iterable) and not hasattr(answer, "shape"):
        raise refuse(_describe(answer))
    elif not hasattr(answer, "shape"):
        with refuse_failures(name, query_id):
            answer = list(itertools.islice(answer, n + 1))  # an iterator may have no end

    if isinstance(answer, list):
        if len(answer) > n:
            raise refuse(f"more than {plural(n, 'score')}")
        values = _array([_array(value) if hasattr(value, "detach") else value for value in answer])
    else:
        values = _array(answer)
    if values is None or values.dtype.kind not in "biufcO":  # rows of unequal lengths, texts, dates
        raise refuse(_describe(answer))
    if values.ndim == 0 or (values.ndim == 2 and values.shape[1] == 1):
        values = values.reshape(-1)
    if values.ndim != 1:
        hint = ""
        if values.shape == (n, 2):
            hint = " (two labels? return the second minus the first)"
        raise refuse(f"{_describe(answer)} of shape {values.shape}{hint}")
    if len(values) != n:
        raise refuse(plural(len(values), "score"))
    scores = []
    for passage_id, value in zip(passage_ids, values.tolist(), strict=True):
        # Not a number until it is one: complex numbers and objects are refused with the passage that got them.
        number = math.nan
        if isinstance(value, Real | Decimal):
            with contextlib.suppress(OverflowError):  # a whole number of hundreds of digits
                number = float(value)
        if not -LARGEST_SCORE < number < LARGEST_SCORE:
            raise refuse(f"{_describe(value)} as the score of passage {passage_id!r}")
        scores.append(number)
    return scores


def _array(value: Any) -> Any:
    """A value, a list of arrays or a tensor as an array: a tensor from any device, of any precision, with its gradient.

    None where it is none, such as rows of unequal lengths.
    """
    if hasattr(value, "detach") and hasattr(value, "is_complex"):
        value = value.detach().cpu()
        if not value.is_complex():
            value = value.double()  # numpy has no bfloat16
        value = value.numpy()
    if isinstance(value, np.ma.MaskedArray):
        value = np.ma.filled(value.astype(float), np.nan)  # np.asarray would show what the mask hides
    try:
        return np.asarray(value)
    except (TypeError, ValueError, RuntimeError):
        return None


def _describe(answer: Any) -> str:
    """What came, in a few words."""
    if answer is None:
        return "None"
    if isinstance(answer, int) and abs(answer) > LARGEST_SCORE:
        return "a whole number of hundreds of digits"  # Python writes none of thousands
    if isinstance(answer, Real | Decimal):
        return printable(str(answer))
    kind = type(answer).__name__
    if isinstance(answer, np.ndarray):
        return "an array"
    if isinstance(answer, str | bytes | complex):
        return f"{kind} {printable(repr(answer))}"
    article = "an" if kind[:1] in "aeiouAEIOU" else "a"
    if isinstance(answer, list) and answer:
        inner = type(answer[0]).__name__
        if inner in ("str", "tuple", "Passage"):
            return f"a list of {inner}, not of numbers (with ids: a dict of scores by passage id)"
        return f"a list of {inner}"
    return f"{article} {kind}"
