"""Metrics that ir_measures computes, of judgements and runs as dicts. ir_measures is loaded when one is asked for."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from exabench.core.errors import BadInput, MissingExtra

BY_SUBTOPIC = tuple("alpha_DCG alpha_nDCG AP_IA ERR_IA MAP_IA nERR_IA nNRBP NRBP P_IA StRecall α_DCG α_nDCG".split())
"""Names that ir_measures knows and that cannot be computed here: no judgements are by subtopic."""

NAMES = tuple(
    """
    Accuracy AP BPM Bpref Compat ERR infAP INSQ INST IPrec Judged MAP MRR nDCG NDCG NERR10 NERR11 NERR8 NERR9 NumQ
    NumRel NumRelRet NumRet P Precision R RBP Recall Rprec RPrec RR SDCG SetAP SetF SetP SetR SetRelP Success
    """.split()
)
"""Names that ir_measures knows and computes, as it writes them; listed, so that a mistake is found without it."""

_BY_SMALL_LETTERS = {name.lower(): name for name in (*NAMES, *BY_SUBTOPIC)}


def measure_named(name: str, at: str | None, options: Mapping[str, Any]) -> str | None:
    """The metric as ir_measures prints it, or None where ir_measures does not know the name, in small letters.

    `at` is what follows @. Raises BadInput for options that it does not take, and MissingExtra where a package that
    computes it is missing.
    """
    called = _BY_SMALL_LETTERS.get(name)
    if called is None:
        return None
    if called in BY_SUBTOPIC:
        raise BadInput(f"{called} needs judgements by subtopic, but qrels here have one grade per passage")
    measure = _ir_measures(called).measures.registry[called]
    options = dict(options)
    if at is not None:
        # The number behind @ is a recall for IPrec, and a cutoff for all others.
        number = float if measure.AT_PARAM == "recall" else int
        try:
            options[measure.AT_PARAM] = number(at)
        except ValueError:
            raise BadInput(f"{measure.NAME} needs a whole number after @, not {at}") from None
    missing = []
    for option, about in measure.SUPPORTED_PARAMS.items():
        if about.required and option not in options:
            missing.append(option)
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


def uses_threshold(text: str) -> bool:
    """Does a metric that `measure_named` gave leave the level open from which on a grade is relevant?"""
    measure = _ir_measures(text).parse_measure(text)
    level = measure.SUPPORTED_PARAMS.get("rel")
    # Without a default of 1 a missing level has another meaning: all passages, or grades as gains.
    return level is not None and level.default == 1 and "rel" not in measure.params


def values_by_query(
    text: str, qrels: Mapping[str, Mapping[str, int]], run: Mapping[str, Mapping[str, float]]
) -> dict[str, float]:
    """The value of each query, of a metric that `measure_named` gave."""
    library = _ir_measures(text)
    # It warns of grades below 0 and of scales that are not used up, which are usual.
    for name in ("ir_measures", "ir_measures.cwl_eval"):
        logging.getLogger(name).setLevel(logging.ERROR)
    found = library.iter_calc([library.parse_measure(text)], qrels, run)
    return {one.query_id: one.value for one in found}


def _check_support(measure: Any) -> None:
    """Raise BadInput or MissingExtra where no provider of ir_measures computes `measure` on this machine."""
    tools = [tool for tool in _ir_measures(str(measure)).DefaultPipeline.providers if tool.supports(measure)]
    if not tools:
        raise BadInput(f"no provider of ir_measures computes {measure}; see https://ir-measur.es for its options")
    if not any(tool.is_available() for tool in tools):
        raise MissingExtra(f"{measure} is computed by {tools[0].NAME}: {tools[0].install_instructions()}")


def _ir_measures(metric: str) -> Any:
    """The library. Raises MissingExtra where it is not installed."""
    try:
        import ir_measures
    except ModuleNotFoundError as error:
        from exabench.core.packages import pip_line  # takes 9 ms to load, for a rare message

        raise MissingExtra(f"{metric} is computed by a package: {pip_line('ir_measures')}") from error
    return ir_measures
