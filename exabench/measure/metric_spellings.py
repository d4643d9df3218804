"""Spellings of metrics: how trec_eval, ir_measures, BEIR, MTEB and ranx write them, and one form for all."""

from __future__ import annotations

import ast
import re
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from exabench.core.errors import BadInput, printable

OTHER_NAMES = {
    # trec_eval
    "map": "ap",
    "map_cut": "ap",
    "ndcg_cut": "ndcg",
    "recip_rank": "rr",
    "recall": "r",
    "set_p": "setp",
    "set_recall": "setr",
    "set_f": "setf",
    "set_map": "setap",
    "set_relative_p": "setrelp",
    "num_ret": "numret",
    "num_rel": "numrel",
    "num_rel_ret": "numrelret",
    "num_q": "numq",
    "iprec_at_recall": "iprec",
    # BEIR, MTEB, sentence-transformers and ranx
    "mrr": "rr",
    "precision": "p",
    "accuracy": "success",
    "hit_rate": "success",
    "hitrate": "success",
    "hit": "success",
    "recall_cap": "r_cap",
    "capped_recall": "r_cap",
    "hole_rate": "hole",
    "judged_rate": "judged",
    "ndcg_burges": "ndcg_exp",
    "r_precision": "rprec",
    "r_prec": "rprec",
    # the words behind the letters
    "average_precision": "ap",
    "mean_average_precision": "ap",
    "mean_reciprocal_rank": "rr",
    "reciprocal_rank": "rr",
}
"""Other names of metrics, in small letters with underscores."""

NEED_CUTOFF = {
    "map_cut": "trec_eval's map_cut needs a cutoff, as in map_cut_100",
    "ndcg_cut": "trec_eval's ndcg_cut needs a cutoff, as in ndcg_cut_10",
    "accuracy": "accuracy is not one metric: write Success@k for BEIR's Accuracy@k, R@1 for MTEB's accuracy",
}
"""Other names that mean their metric with a cutoff only, with what is said where there is none."""

NOT_COMPUTED = {
    "main_score": "MTEB's main_score is the metric that its task names: write that metric, or none for the headline",
    "p_mrr": "MTEB's p-MRR compares two runs over changed instructions, which exabench does not compute",
}
NOT_COMPUTED |= {
    name: f"trec_eval's {name} is computed neither by exabench nor by ir_measures"
    for name in """
    gm_map gm_bpref 11pt_avg ndcg_rel rndcg relstring utility g bing yaap runid rprec_mult relative_p rbp_resid unj
    num_nonrel_judged_ret qrels_jg prefs_simp prefs_pair prefs_avgjg
    """.split()
}
"""Names that are known, and are not computed here, with the reason."""

# Seven digits reach beyond every list, and keep int() from texts without bounds.
_FORM = re.compile(r"([^\W_][\w.-]*)(?:\((.*)\))?(?:@(\d{1,7}(?:\.\d{1,7})?))?")
# MTEB writes ndcg_at_10, trec_eval ndcg_cut_10 and, on its command line, ndcg_cut.10.
_CUTOFF_BEHIND = re.compile(r"(.+?)(?:_at_|[_.]|)(\d{1,7}(?:\.\d{1,7})?)")  # nothing between: ndcg10, as papers write
_HIGHEST = 10**9  # grades have at most nine digits
_LONGEST = 200  # of a name; ast.parse is not for texts without bounds


@dataclass(frozen=True)
class Spelling:
    """A metric's name in small letters, what followed @ (text) and the options in brackets."""

    name: str
    at: str | None = None
    options: dict[str, Any] = field(default_factory=dict)


def read_spelling(text: str, known: Collection[str]) -> Spelling:
    """Read a metric in any of the spellings; `known` holds the names, in small letters, that need no other name.

    Raises BadInput for a text of another form and for a name of NOT_COMPUTED.
    """
    form = None
    if len(text) <= _LONGEST:
        form = _FORM.fullmatch(text)
    if not form and "," in text and "(" not in text:  # trec_eval's P.5,10
        raise BadInput(f"metric {printable(text)!r} names several: give them one by one (repeat --metric)")
    if not form:
        raise BadInput(f"metric {printable(text)!r} must read name or name@cutoff, as in nDCG@10 or RR(rel=2)@10")
    name = form[1].lower().replace("-", "_")
    at = form[3]
    options = {}
    if form[2]:
        options = _read_options(form[2], text)
    if "cutoff" in options:  # as ir_measures may write what others put behind @
        if at is not None:
            raise BadInput(f"metric {printable(text)!r} has two cutoffs: remove one")
        at = str(options.pop("cutoff"))
    # Only behind a name that is known: else the number may be a part of the name itself.
    behind = _CUTOFF_BEHIND.fullmatch(name)
    if behind and behind[1] == "rbp" and at is None:  # rbp.95 is RBP with p = 0.95 to many
        raise BadInput(f"metric {printable(text)!r} could mean RBP's p or a cutoff: write RBP(p=0.95) or RBP@95")
    if behind and at is None and any(behind[1] in names for names in (OTHER_NAMES, known, NOT_COMPUTED)):
        name = behind[1]
        at = behind[2]
    if name in NOT_COMPUTED:
        raise BadInput(NOT_COMPUTED[name])
    if name.startswith("nauc"):
        raise BadInput(
            "nAUC is one number for a whole run, without values per query: only exabench bench score computes it"
        )
    if name in NEED_CUTOFF and at is None:
        raise BadInput(NEED_CUTOFF[name])
    name = OTHER_NAMES.get(name, name)
    if name == "ndcg" and "dcg" in options:
        name = _of_gain(options.pop("dcg"))
    return Spelling(name, at, options)


def _of_gain(dcg: Any) -> str:
    """The metric with a gain that ir_measures writes as an option: here it is another metric, with other numbers."""
    names = {"log2": "ndcg", "exp-log2": "ndcg_exp"}
    if not isinstance(dcg, str) or dcg not in names:
        raise BadInput(f"nDCG's dcg is {' or '.join(map(repr, names))}, not {printable(repr(dcg))}")
    return names[dcg]


def _is_beyond(value: Any) -> bool:
    """Is it a number that no option of a metric has? NaN is one, too."""
    return isinstance(value, int | float) and not abs(value) < _HIGHEST


def _read_options(inside: str, text: str) -> dict[Any, Any]:
    """`rel=2,judged_only=True` as a dict. Raises BadInput for what is not a list of name=value."""
    try:
        call = ast.parse(f"f({inside})", mode="eval").body
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and not call.args:
            options = {keyword.arg: ast.literal_eval(keyword.value) for keyword in call.keywords}
            if None not in options and not any(map(_is_beyond, options.values())):  # None is what **{...} gives
                return options
    except (SyntaxError, ValueError, TypeError, MemoryError, RecursionError):
        pass  # the message is the same
    raise BadInput(f"metric {printable(text)!r} must hold options as name=value in its brackets, as in RR(rel=2)@10")
