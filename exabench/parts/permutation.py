"""A language model's listwise answer, read as a permutation: strictly first, repaired second, repairs counted.

Strict are `[2] > [1] > [3]` (RankGPT) and `[PASSAGE2, PASSAGE1]`, with or without quotes (LRL), spaces around them
aside, where they name each of 1..n once. Anything else is repaired. RankGPT (sunnweiwei/RankGPT) takes any number in
the answer for an id, so that "20 passages are provided." puts passage 20 first. Here the ids of a broken answer are

1. those of the last list that names each of 1..n, linked by `>`, `->` or the like, or in the brackets of a JSON list:
   models say much before it, and some of it behind; where there is none,
2. the numbers in brackets, and those that a `>` links (`17 > [4]`: models lose a bracket); where there are none,
3. the numbers that a word labels (`PASSAGE3`, `Document 3`); where there are none,
4. all numbers, if the answer has no words at all (`3, 1, 2`).

Of these the first mention of each of 1..n counts, and what is missing follows in its original order, as in RankGPT.
Digits are ASCII digits. Every pattern here runs in linear time: runs of digits and spaces are never given back.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from exabench.core.replies import read_reply

KINDS = ("malformed", "repeated", "missing", "out_of_range")

_STRICT = (
    re.compile(r"\[[0-9]++\](?: > \[[0-9]++\])*+"),
    re.compile(r'\[(?:PASSAGE[0-9]++|"PASSAGE[0-9]++"|\'PASSAGE[0-9]++\')(?:, ?["\']?PASSAGE[0-9]++["\']?)*+\]'),
)
_ARROW = r"(?:-*+>|=>|\u2192|\u227b)"
_LABEL = r"(?:passage|document|doc)[\s_#]*+"
_LINKED = re.compile(
    rf"\[\s*+(?:{_LABEL})?+([0-9]++)\s*+\]"  # [3] or [PASSAGE3]
    rf"|(?<![0-9])([0-9]++)(?=\s*+\]?+\s*+{_ARROW})"  # 3 > or 3] >
    rf"|{_ARROW}\s*+(?:{_LABEL})?+([0-9]++)(?=\]?+\.?+\s*+\Z)",  # > 3 at the end
    re.IGNORECASE,
)
_LABELLED = re.compile(rf"{_LABEL}([0-9]++)", re.IGNORECASE)
_NUMBER = re.compile(r"[0-9]++")
# Models lose brackets and double them; a number at the end whose bracket is not closed may have lost digits.
_ONE = rf"(?!\[\s*+[0-9]++\s*+\Z)(?:[\"'\[]{{1,3}}+\s*+)?+(?:{_LABEL})?+[0-9]++(?:\s*+[\"'\]]{{1,3}})?+"
_CHAIN = re.compile(rf"(?<![0-9]){_ONE}(?:\s*+{_ARROW}\s*+{_ONE})++", re.IGNORECASE)
_MEMBER = rf"[\"']?+(?:\[(?:{_LABEL})?+[0-9]++\]|(?:{_LABEL})?+[0-9]++)[\"']?+"
_JSON_LIST = re.compile(rf"\[\s*+{_MEMBER}(?:\s*+,\s*+{_MEMBER})++\s*+,?+\s*+\]", re.IGNORECASE)
_WORD = re.compile(r"[^\W\d_]")


@dataclass(frozen=True)
class Permutation:
    """`order` is a permutation of 0..n-1, best first; `repairs` what the answer needed, by kind, none left out.

    `malformed` is 1 for an answer that was not in the strict form; `repeated` and `out_of_range` count the mentions
    that were dropped, `missing` the passages that were appended. An answer without repairs was perfect.
    """

    order: tuple[int, ...]
    repairs: Mapping[str, int]


def read_permutation(answer: str, n: int) -> Permutation:
    """The permutation of `n` passages that `answer` says. Never raises; linear in the answer and `n`.

    A raw reply may be given, too: what it says around its answer is left out first (core/replies.py).
    """
    answer = read_reply(answer).answer
    repairs = dict.fromkeys(KINDS, 0)
    repairs["malformed"] = int(not _is_strict(answer))
    order: dict[int, None] = {}
    for digits in _complete_list(answer, n) or _mentions(answer):
        place = n  # out of range, as is any number of ten digits: int() refuses thousands of them
        if len(digits) < 10:
            place = int(digits) - 1
        if not 0 <= place < n:
            repairs["out_of_range"] += 1
        elif place in order:
            repairs["repeated"] += 1
        else:
            order[place] = None
    repairs["missing"] = n - len(order)
    for place in range(n):
        order.setdefault(place)  # behind those that were mentioned, in the order they came in
    return Permutation(tuple(order), repairs)


def fits(answer: str, n: int) -> bool:
    """Can an answer be about `n` passages? One in the strict form names no passage beyond, nor just the first few.

    An order of each of 1..m, for another m, was written for another list.
    """
    answer = read_reply(answer).answer
    if not _is_strict(answer):
        return True
    numbers = {int(digits[:10]) for digits in _NUMBER.findall(answer)}
    most = max(numbers)
    is_of_fewer = most < n and len(numbers) == most
    return most <= n and not is_of_fewer


def _is_strict(answer: str) -> bool:
    return any(form.fullmatch(answer.strip()) for form in _STRICT)


def _complete_list(answer: str, n: int) -> list[str]:
    """The numbers of the last list of the answer that names each of 1..n; none where no list does."""
    wanted = {str(number) for number in range(1, n + 1)}
    lists = [*_CHAIN.finditer(answer), *_JSON_LIST.finditer(answer)]
    lists.sort(key=lambda match: match.end(), reverse=True)  # models end with their answer
    for match in lists:
        numbers = _NUMBER.findall(match[0])
        # One passage has no order, and any number would name it.
        if len(wanted) > 1 and wanted.issubset(number.lstrip("0") for number in numbers):
            return numbers
    return []


def _mentions(answer: str) -> list[str]:
    """The numbers of an answer that are ids, as they are written."""
    for pattern in (_LINKED, _LABELLED):
        mentions = [match[match.lastindex or 0] for match in pattern.finditer(answer)]
        if mentions:
            return mentions
    if _WORD.search(answer):  # numbers next to words may count anything: "20 passages are provided."
        return []
    return _NUMBER.findall(answer)
