"""Metrics that exabench does not compute itself: ir_measures computes them, from the same graded rankings."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from exabench.core.errors import BadInput, MissingExtra
from exabench.measure.graded import ELSEWHERE, Graded
from exabench.measure.metric_spellings import Spelling


def names() -> list[str]:
    """The names that ir_measures knows and that can be computed here, as it writes them."""
    from ir_measures import measures

    # Diversity measures need judgements by subtopic, which no qrels here have.
    return [name for name, measure in measures.registry.items() if not _wants_subtopics(measure)]


def read_measure(spelling: Spelling) -> str | None:
    """The metric as ir_measures prints it, or None where ir_measures does not know the name.

    Raises BadInput for options that it does not take, and MissingExtra where a package that computes it is missing.
    """
    import ir_measures

    by_small_letters = {name.lower(): measure for name, measure in ir_measures.measures.registry.items()}
    measure = by_small_letters.get(spelling.name)
    if measure is None:
        return None
    options = dict(spelling.options)
    if spelling.at is not None:
        # The number behind @ is a recall for IPrec, and a cutoff for all others.
        number = float if measure.AT_PARAM == "recall" else int
        try:
            options[measure.AT_PARAM] = number(spelling.at)
        except ValueError:
            raise BadInput(f"{measure.NAME} needs a whole number after @, not {spelling.at}") from None
    missing = []
    for name, about in measure.SUPPORTED_PARAMS.items():
        if about.required and name not in options:
            missing.append(name)
    if missing:
        raise BadInput(f"{measure.NAME} needs {' and '.join(missing)}, as in NERR9(max_rel=3)@10")
    try:
        measure = measure(**options)
        measure.validate_params()
    except AssertionError as error:  # how ir_measures refuses an option
        known = ", ".join(measure.SUPPORTED_PARAMS) or "none"
        raise BadInput(f"ir_measures rejects these options of {measure.NAME}: {error}; its options: {known}") from None
    _check_support(measure)
    return str(measure)


def _wants_subtopics(measure: Any) -> bool:
    return type(measure).__module__.endswith(".diversity")


def _check_support(measure: Any) -> None:
    """Raise BadInput or MissingExtra where no provider of ir_measures computes `measure` on this machine."""
    import ir_measures

    if _wants_subtopics(measure):
        raise BadInput(f"{measure} needs judgements by subtopic, but qrels here have one grade per passage")
    tools = [tool for tool in ir_measures.DefaultPipeline.providers if tool.supports(measure)]
    if not tools:
        raise BadInput(f"no provider of ir_measures computes {measure}; see https://ir-measur.es for its options")
    if not any(tool.is_available() for tool in tools):
        raise MissingExtra(f"{measure} is computed by {tools[0].NAME}: {tools[0].install_instructions()}")


def values(text: str, graded: Graded) -> np.ndarray:
    """The values, float64 (queries,), of a metric that `read_measure` gave; 0 for a query that is not answered.

    Passages get invented ids, and falling scores in ranking order, so that no tool breaks a tie in its own
    way. A relevance level that the name leaves open is the threshold.
    """
    import logging

    import ir_measures

    # It warns of grades below 0 and of scales that are not used up, which are usual.
    for name in ("ir_measures", "ir_measures.cwl_eval"):
        logging.getLogger(name).setLevel(logging.ERROR)
    measure = ir_measures.parse_measure(text)
    level = measure.SUPPORTED_PARAMS.get("rel")
    # Without a default of 1 a missing level has another meaning: all passages, or grades as gains. The grades are
    # changed, for not every tool takes the level.
    if level is not None and level.default == 1 and "rel" not in measure.params:
        graded = _as_yes_and_no(graded)
    qrels, run = _as_dicts(graded)
    found = np.zeros(len(graded.query_ids))
    if run:
        for one in ir_measures.iter_calc([measure], qrels, run):
            found[int(one.query_id)] = one.value
    return found


def _as_yes_and_no(graded: Graded) -> Graded:
    """The same rankings with the grades 1 and 0 for what is relevant and what is not; those below 0 stay."""
    changed = []
    for grades in (graded.grades, graded.ideal):
        relevant = np.where(grades >= graded.threshold, 1, 0)
        changed.append(np.where(grades < 0, grades, relevant))
    return replace(graded, grades=changed[0], ideal=changed[1], threshold=1)


def _as_dicts(graded: Graded) -> tuple[dict[str, dict[str, int]], dict[str, dict[str, float]]]:
    """Judgements and a run that give the same graded rankings; queries are called by their number."""
    qrels: dict[str, dict[str, int]] = {}
    run: dict[str, dict[str, float]] = {}
    for query, length in enumerate(graded.lengths.tolist()):
        judged = graded.ideal[query]
        judged = judged[judged > ELSEWHERE]
        # trec_eval's library reads beyond its memory where every grade is below 0; nothing is relevant there.
        if not length or judged.max() < 0:
            continue
        ranked = graded.grades[query, :length].tolist()
        row = {}
        for rank, grade in enumerate(ranked):
            if grade > ELSEWHERE:
                row[f"ranked{rank}"] = grade
        grades, counts = np.unique(judged, return_counts=True)
        left = dict(zip(grades.tolist(), counts.tolist(), strict=True))
        for grade in row.values():
            left[grade] -= 1
        # Judged passages that are not ranked: metrics count them, whatever they are called.
        for grade, count in left.items():
            for number in range(count):
                row[f"missed{grade}-{number}"] = grade
        qrels[str(query)] = row
        run[str(query)] = {f"ranked{rank}": float(length - rank) for rank in range(length)}
    return qrels, run
