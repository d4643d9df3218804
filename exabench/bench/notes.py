"""Notes: what is odd about a run, its judgements or its candidate list.

Each function looks for one thing and says it in a sentence, with counts and at most one id; where nothing is odd it
returns an empty text. They are cheap: a run of a million passages is looked through in a few hundredths of a second.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from exabench.core.errors import plural, printable
from exabench.core.nouns import Qrels, Query, Run, Usage
from exabench.measure.metric_values import MetricName
from exabench.measure.ties import Ties
from exabench.parts.reranking import unread_share

# Depths that people name runs by are 1, 2 or 5 and zeros; any other number may be a year or a version.
_DEPTH_IN_NAME = re.compile(r"(?:^|\D)([125]0{1,4})$")  # bm25-100, top1000; not trec-dl-2020
_DEEP = 100  # a cutoff from which on somebody expects long lists
_SOME_UNREAD = 0.05  # of a language model's answers: a few are odd in any large run
_COUNTS_JUDGED = ("judged", "hole")  # metrics of the judgements: their best order is another one


def missing_queries(run: Run, qrels: Qrels, what: str = "run") -> str:
    """Judged queries that the run, or the candidate list, does not answer."""
    return _missing(run, _judged_queries(qrels), "judged query", "judged queries", what)


def missing_candidates(run: Run, candidates: Run) -> str:
    """Queries of a candidate list that the run does not answer."""
    name = candidates.name
    return _missing(run, set(candidates.query_ids), f"query of {name}", f"queries of {name}", "run")


def _missing(run: Run, wanted: set[str], one: str, many: str, what: str) -> str:
    missing = wanted.difference(run.query_ids)
    if not missing:
        return ""
    are = f"is missing from the {what}, and counts 0"
    if len(missing) > 1:
        are = f"are missing from the {what}, and count 0"
    return f"{len(missing)} of {plural(len(wanted), one, many)} {are} ({_example(missing)})"


def unjudged_queries(run: Run, qrels: Qrels) -> str:
    """Queries of the run that nobody judged."""
    extra = set(run.query_ids).difference(_judged_queries(qrels))
    if not extra:
        return ""
    one = "query of the run is not judged, and is left aside"
    many = "queries of the run are not judged, and are left aside"
    return f"{plural(len(extra), one, many)} ({_example(extra)})"


def queries_outside(run: Run, candidates: Run) -> str:
    """Queries of the run that a candidate list does not hold; it holds those that are judged."""
    extra = set(run.query_ids).difference(candidates.query_ids)
    if not extra:
        return ""
    one = f"query of the run is not judged, or not in {candidates.name}, and is left aside"
    many = f"queries of the run are not judged, or not in {candidates.name}, and are left aside"
    return f"{plural(len(extra), one, many)} ({_example(extra)})"


def nothing_judged(run: Run, qrels: Qrels) -> str:
    """No query of the run is judged, or no passage: the judgements may be those of something else."""
    # Of a run that fits its judgements the first query or two end the search.
    answered = False
    for query_id in run.query_ids:
        judged = qrels.get(query_id)
        if judged:
            answered = True
            if not judged.keys().isdisjoint(run.ranking(query_id)):
                return ""
    if not answered:
        return "no query of the run is judged: are these the right judgements?"
    return (
        "none of the run's passages is judged: "
        "are these the right judgements, and is this the version of the collection that they were made for?"
    )


def nothing_relevant(qrels: Qrels, threshold: int) -> str:
    """No judgement reaches the threshold: each value that a metric of yes and no gives is 0."""
    for row in qrels.values():
        if any(grade >= threshold for grade in row.values()):
            return ""
    return f"no judgement has a grade of {threshold} or more: nothing counts as relevant"


def dropped_passages(self_matches: int, excluded: int = 0) -> str:
    """Passages that the task's convention leaves out of every ranking."""
    parts = []
    if self_matches:
        parts.append(plural(self_matches, "self-match", "self-matches") + " (passage id = query id)")
    if excluded:
        parts.append(plural(excluded, "passage") + " that the task excludes")
    if not parts:
        return ""
    were = "was dropped" if self_matches + excluded == 1 else "were dropped"
    return f"{' and '.join(parts)} {were}"


def left_out_metrics(metrics: Sequence[str]) -> str:
    """Metrics of judging that were asked for, of judgements that hold positives only."""
    if not metrics:
        return ""
    are = "is left out: it says" if len(metrics) == 1 else "are left out: they say"
    return f"{', '.join(metrics)} {are} nothing where only relevant passages are judged (ask for it alone to see it)"


def ties(report: Ties) -> str:
    """Ties, where they change a printed digit of a metric."""
    changed = []
    for metric, worst in report.worst.items():
        best = report.best[metric]
        # Four digits are what is printed: a tie that moves the fifth changes nothing that anybody sees.
        if metric.lower().startswith(_COUNTS_JUDGED) or f"{worst:.4f}" == f"{best:.4f}":
            continue
        changed.append(f"{metric} lies between {worst:.4f} and {best:.4f}")
    if not changed:
        return ""
    # Near 1 single precision has steps of 6e-8, and sigmoids of good passages may lie closer together.
    return (
        f"{_share(report.rate)} of the ranked passages tie in single precision: {', '.join(changed)}, "
        "depending on how ties fall (export logits, not probabilities)"
    )


def squashed_scores(run: Run) -> str:
    """Queries whose best passages all have the score 1: a sigmoid in single precision tells no two of them apart."""
    scores = run.scores
    if not len(scores) or scores.min() < 0 or scores.max() != 1:
        return ""
    # Grades, and shares of a few words, tie at 1 for another reason: they tie everywhere else, too.
    below = scores[scores < 1]
    if 2 * len(np.unique(below)) <= len(below):
        return ""
    heads = run.offsets[:-1][np.diff(run.offsets) > 1]
    tied = int((scores[heads + 1] == 1).sum())
    if not tied:
        return ""
    have = plural(tied, "query has", "queries have")
    return (
        f"{have} several passages with a score of exactly 1: a sigmoid has probably squashed the scores; ask the "
        "server, or the model, for raw scores (docs/submit.md)"
    )


def unread_answers(usages: Iterable[Usage]) -> str:
    """Answers of a language model that could not be read, where they are more than some."""
    share = unread_share(usages)
    if share <= _SOME_UNREAD:
        return ""
    return f"{share:.1%} of the model's answers could not be read"


def cut_passages(usages: Iterable[Usage], model: Mapping[str, Any]) -> str:
    """Passages that a reranker did not read to their end; `model` is its identity, which says how much it reads."""
    cut = 0
    passages = 0
    is_known = True
    for usage in usages:
        cut += usage.cut_passages
        passages += usage.passages or 0
        is_known = is_known and usage.passages is not None
    if not cut:
        return ""
    if not is_known:  # what a server cuts by itself is not known
        return f"{plural(cut, 'passage')} that the server refused as too long were sent again cut"
    what = "passages"
    if model.get("reranker") == "pairwise" and "max_length" in model:  # duoT5 reads two at once
        what = "pairs of passages"
    limit = ""
    for key, unit in (("max_length", "tokens"), ("words", "words")):
        if model.get(key):
            limit = f" at {model[key]} {unit}"
    return f"{_share(cut / passages)} of {what} were cut{limit}"


def on_usages(usages: Collection[Usage], model: Mapping[str, Any]) -> list[str]:
    """Everything that is odd about what a reranker did; `model` is its identity."""
    return list(filter(None, [cut_passages(usages, model), unread_answers(usages)]))


def _share(share: float) -> str:
    """A share above 0 in words."""
    return "fewer than 0.1%" if share < 0.001 else f"{share:.1%}"


def contradicting_ranks(run: Run) -> str:
    """Queries whose rank column says another order than their scores."""
    if not run.rank_disagreements:
        return ""
    return (
        f"the rank column contradicts the scores for {run.rank_disagreements} of {len(run)} queries "
        "(lower is better?); the scores decide, as in trec_eval"
    )


def short_lists(run: Run, metrics: Iterable[str]) -> str:
    """Lists that all end before a metric's cutoff, or before the depth that the run's name promises."""
    longest = int(np.diff(run.offsets).max(initial=0))
    if not longest:
        return ""
    deeper = []
    for text in metrics:
        name = MetricName.parse(text)
        if name.k and name.k > longest and name.k >= _DEEP:
            deeper.append(str(name))
    found = f"no list is longer than {plural(longest, 'passage')}"
    if deeper:
        look = "looks" if len(deeper) == 1 else "look"
        return f"{found}, and {', '.join(deeper)} {look} further"
    named = _DEPTH_IN_NAME.search(run.name)
    if named and int(named[1]) > longest:
        return f"{found}, though the run is called {printable(run.name)!r}"
    return ""


def on_run(run: Run, qrels: Qrels, report: Ties, metrics: Iterable[str]) -> list[str]:
    """Everything that is odd about a run, its ties and the `metrics` that were asked for."""
    remarks = [
        nothing_judged(run, qrels),
        *other_forms(run, qrels),
        missing_queries(run, qrels),
        unjudged_queries(run, qrels),
        contradicting_ranks(run),
        ties(report),
        squashed_scores(run),
        short_lists(run, metrics),
    ]
    return list(filter(None, remarks))


def on_candidates(run: Run, qrels: Qrels, depth: int) -> list[str]:
    """Everything that is odd about a candidate list of that depth, before it is frozen."""
    remarks = [
        nothing_judged(run, qrels),
        *other_forms(run, qrels),
        missing_queries(run, qrels, "list"),
        contradicting_ranks(run),
        short_of_depth(run, depth),
    ]
    return list(filter(None, remarks))


def short_of_depth(run: Run, depth: int) -> str:
    """Lists that all end before the depth that was asked for."""
    longest = int(np.diff(run.offsets).max(initial=0))
    if longest >= depth:
        return ""
    return f"no list is longer than {plural(longest, 'passage')}, where {depth} were asked for"


def queries_without_text(qrels: Qrels, queries: Iterable[Query], source: str) -> list[str]:
    """Judged queries of which the collection has no text, or an empty one: nothing can be searched or reranked."""
    judged = _judged_queries(qrels)
    empty = set()
    absent = set(judged)
    for query in queries:
        absent.discard(query.id)
        if query.id in judged and not query.text.strip():
            empty.add(query.id)
    found = []
    for ids, what in ((absent, "no text"), (empty, "an empty text")):
        if ids:
            have = plural(len(ids), "judged query has", "judged queries have")
            found.append(f"{have} {what} in {source} ({_example(ids)})")
    return found


def equal_runs(runs: Sequence[Run]) -> list[str]:
    """Runs that rank the same passages in the same order, whatever they are called."""
    found = []
    for group in group_equal(runs):
        if len(group) > 1:
            names = " and ".join(printable(runs[place].name) for place in group)
            found.append(f"{names} are one run under {len(group)} names: same passages in the same order")
    return found


def group_equal(runs: Iterable[Run]) -> list[list[int]]:
    """The places of the runs, those of equal rankings together."""
    groups: list[tuple[Run, list[int]]] = []
    for place, run in enumerate(runs):
        for first, places in groups:
            if same_ranking(first, run):
                places.append(place)
                break
        else:
            groups.append((run, [place]))
    return [places for _, places in groups]


def same_ranking(a: Run, b: Run) -> bool:
    """Do two runs rank the same passages in the same order for the same queries? Names and scores may differ."""
    # A Run keeps its passages in ranked order, so that equal columns are equal rankings.
    if a.query_ids != b.query_ids or not np.array_equal(a.offsets, b.offsets):
        return False
    return bool(a.passage_ids.equals(b.passage_ids))


# -- ids that differ from judged ones in their spelling ----------------------------------------------------------------

_Check = Callable[[pa.StringArray], bool]
_Fold = Callable[[pa.StringArray], pa.StringArray]


def _has_leading_zero(ids: pa.StringArray) -> bool:
    first = np.frombuffer(ids.buffers()[1], np.int32)[ids.offset : ids.offset + len(ids)]
    content = np.append(_bytes_of(ids), np.uint8(0))  # an empty id at the end begins behind the last byte
    return bool((content[first] == ord("0")).any())


def _has_point(ids: pa.StringArray) -> bool:
    return bool((_bytes_of(ids) == ord(".")).any())


def _without_point_and_zero(ids: pa.StringArray) -> pa.StringArray:
    return pc.replace_substring_regex(ids, r"\.0$", "")


def _has_capital(ids: pa.StringArray) -> bool:
    content = _bytes_of(ids)
    capital = content - np.uint8(ord("A")) < 26  # what is below A becomes large
    return bool(capital.any()) or _has_other_sign(ids)


def _has_other_sign(ids: pa.StringArray) -> bool:
    """Is there a sign beyond ASCII?"""
    return bool(_bytes_of(ids).max(initial=0) > 127)


def _bytes_of(ids: pa.StringArray) -> np.ndarray:
    content = ids.buffers()[2]
    return np.frombuffer(content or b"", np.uint8)


# A spelling, whether there is anything to fold (a glance at the bytes, a tenth of the work), and how it is folded.
_FORMS: tuple[tuple[str, _Check, _Fold], ...] = (
    ("without leading zeros", _has_leading_zero, lambda ids: pc.ascii_ltrim(ids, "0")),
    # Pandas makes 7.0 of an id where a column of whole numbers has a gap.
    ("without .0 at the end", _has_point, _without_point_and_zero),
    ("in another letter case", _has_capital, lambda ids: pc.utf8_lower(ids)),
    ("after Unicode NFC", _has_other_sign, lambda ids: pc.utf8_normalize(ids, "NFC")),
)


def other_forms(run: Run, qrels: Qrels) -> list[str]:
    """Ids of queries or passages that nobody judged, and that would be judged in another spelling."""
    found = []
    judged_queries = pa.array(sorted(_judged_queries(qrels)), pa.string())
    query_ids = pa.array(run.query_ids, pa.string())
    judged_passages = pa.array(list(chain.from_iterable(qrels.values())), pa.string())
    for form, may_differ, fold in _FORMS:
        queries = _ids_in_form(query_ids, judged_queries, may_differ, fold)
        if queries:
            meet = plural(len(queries), "query id meets", "query ids meet")
            found.append(f"{meet} a judged one only {form} ({_example(queries)})")
        passages = _ids_in_form(run.passage_ids, judged_passages, may_differ, fold)
        if passages:
            meet = plural(len(passages), "passage id meets", "passage ids meet")
            found.append(f"{meet} a judged one only {form} ({_example(passages)})")
    return found


def _ids_in_form(ids: pa.StringArray, judged: pa.StringArray, may_differ: _Check, fold: _Fold) -> set[str]:
    """Those of `ids` that are not judged, and are when both sides are folded."""
    if not (may_differ(ids) or may_differ(judged)):  # so it is with most runs, and nothing is looked up
        return set()
    folded = fold(ids)
    folded_judged = fold(judged)
    is_judged = pc.is_in(ids, judged)
    odd = pc.and_not(pc.is_in(folded, folded_judged), is_judged)
    # Where a judged id is in the run as well, the other spelling is another passage: Iron_man beside Iron_Man.
    both = pc.is_in(folded.filter(odd), fold(ids.filter(is_judged)))
    return set(ids.filter(odd).filter(pc.invert(both)).to_pylist())


def _judged_queries(qrels: Qrels) -> set[str]:
    return {query_id for query_id, row in qrels.items() if row}


def _example(ids: Iterable[str]) -> str:
    return f"e.g. {printable(min(ids))!r}"
