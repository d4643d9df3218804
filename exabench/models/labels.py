"""The relevant one of two labels of a classifier, told by their names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# In small letters, without blanks, hyphens and underscores.
_RELEVANT = frozenset(
    "relevant isrelevant yes true entailment entailed entails positive match duplicate isduplicate paraphrase "
    "equivalent related correct similar answer 1 label1".split()
)
_OTHER = frozenset(
    "notrelevant irrelevant nonrelevant no false notentailment contradiction neutral negative nomatch notmatch "
    "mismatch notduplicate notparaphrase notequivalent unrelated incorrect dissimilar noanswer 0 label0".split()
)


def relevant_label(names: Mapping[Any, Any]) -> tuple[int, str]:
    """The place of the relevant label of two, by the `id2label` of a config.json, and the reason in words.

    It is the second (as monoBERT has it, Nogueira and Cho 2019) where the names say nothing, or both the same.
    """
    given = [str(names.get(place, names.get(str(place), f"LABEL_{place}"))) for place in (0, 1)]
    plain = ["".join(sign for sign in name.lower() if sign.isalnum()) for name in given]
    # Either name may tell: "relevant" of its own label, "irrelevant" of the other one.
    votes = [plain[0] in _RELEVANT or plain[1] in _OTHER, plain[1] in _RELEVANT or plain[0] in _OTHER]
    if votes == [True, False]:
        return 0, f"label 0, {given[0]}, is the relevant one"
    if votes == [False, True]:
        return 1, f"label 1, {given[1]}, is the relevant one"
    return 1, f"label 1 is taken for the relevant one: the names {given[0]} and {given[1]} do not say it"
