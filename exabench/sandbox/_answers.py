"""What a program in the jail may answer, and nothing else: a strict schema, checked before a value is used."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from exabench.errors import printable
from exabench.nouns import Usage
from exabench.screening import ERROR_CLASSES, Refused

_MOST = 1 << 53  # of a count


@dataclass(frozen=True)
class About:
    """What a reranker says of itself: what makes its scores what they are, how it is held, how many weights it has."""

    identity: Mapping[str, Any]
    precision: str
    parameters: int | None


def answered(line: bytes, keys: Sequence[str]) -> dict[str, Any]:
    """The object of one answer, with exactly these keys. Raises Refused, also where the answer is a refusal."""
    try:
        value = json.loads(line.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise Refused("crashed", "an answer is not JSON") from error
    if isinstance(value, dict) and set(value) == {"refused", "message"}:
        reason, message = value["refused"], value["message"]
        known = isinstance(reason, str) and reason in ERROR_CLASSES
        raise Refused(reason if known else "crashed", printable(str(message), 300))
    if not isinstance(value, dict) or set(value) != set(keys):
        raise Refused("crashed", f"an answer is not an object of {', '.join(keys)}")
    return value


def about_of(line: bytes) -> About:
    """The answer to the setup."""
    value = answered(line, ("identity", "precision", "parameters"))
    identity, precision, parameters = value["identity"], value["precision"] or "", value["parameters"]
    plain = isinstance(identity, dict) and len(line) < 1 << 16 and all(map(_plain, identity.values()))
    if not plain or not isinstance(precision, str) or not re.fullmatch("[a-z0-9]{0,20}", precision):
        raise Refused("crashed", "the model does not say what it is")
    if parameters is not None and not _count(parameters):
        raise Refused("crashed", "the number of weights is no number")
    return About(identity, precision, parameters)


def scores_of(value: Mapping[str, Any], passages: int) -> list[float]:
    """One finite score for each passage."""
    scores = value["scores"]
    if not isinstance(scores, list) or len(scores) != passages:
        told = len(scores) if isinstance(scores, list) else "no list of"
        raise Refused("bad-scores", f"{told} scores for {passages} passages")
    if not all(type(score) in (float, int) and abs(score) < 3e38 and math.isfinite(score) for score in scores):
        raise Refused("bad-scores", "a score is not a finite number")
    return [float(score) for score in scores]


def usage_of(value: Mapping[str, Any]) -> Usage | None:
    """What a query took, in counts and FLOPs; None where it is not counted."""
    found = value["usage"]
    if found is None:
        return None
    if not isinstance(found, dict) or set(found) != {field.name for field in fields(Usage)}:
        raise Refused("crashed", "a usage is not what a query takes")
    for name, number in found.items():
        if name == "repairs":
            fine = isinstance(number, dict) and len(number) < 20 and all(map(_count, number.values()))
        elif name.startswith("flops"):
            fine = number is None or (type(number) in (int, float) and 0 <= number < 1e30)
        else:
            fine = _count(number)
        if not fine:
            raise Refused("crashed", f"the usage of a query has no sound {name}")
    return Usage(**found)


def speed_of(line: bytes) -> float | None:
    """Pairs per second, as the model's side counts them."""
    speed = answered(line, ("pairs_per_second",))["pairs_per_second"]
    if speed is not None and not (type(speed) in (int, float) and 0 <= speed < 1e12):
        raise Refused("crashed", "the speed is no number")
    return speed


def _count(value: Any) -> bool:
    return type(value) is int and 0 <= value < _MOST


def _plain(value: Any) -> bool:
    """A text, a number, or a list of such."""
    if isinstance(value, list):
        return all(type(one) in (str, int) for one in value)
    return type(value) in (str, int, bool) or (type(value) is float and math.isfinite(value)) or value is None
