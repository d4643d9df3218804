"""Submissions: the grammar of what somebody sends, and its verdict, all problems at once.

A TOML file, and for a trained model the report of its training beside it. Both come from strangers and go on pages.
"""

from __future__ import annotations

import difflib
from dataclasses import asdict
from pathlib import Path
from typing import Any

from exabench.errors import BadInput, printable
from exabench.files import digest_of, read_toml, toml_text
from exabench.nouns import Submission
from exabench.submissions._fields import COMMIT as COMMIT
from exabench.submissions._fields import FIELDS as FIELDS
from exabench.submissions._fields import KINDS as KINDS
from exabench.submissions._fields import LINK as LINK
from exabench.submissions._fields import NAME as NAME
from exabench.submissions._fields import Field as Field
from exabench.submissions._training import DRAWING as DRAWING
from exabench.submissions._training import TRAINING_FILES as TRAINING_FILES
from exabench.submissions._training import Training as Training
from exabench.submissions._training import read_training as read_training

SENT_IN = ("run", "api")
"""The kinds whose rankings somebody else made: their numbers are re-computed, never reproduced."""
_WINDOWS = {"con", "prn", "aux", "nul", *(f"{device}{i}" for device in ("com", "lpt") for i in range(1, 10))}
_SEAL = "digest"  # of every other key; the board writes it, and an edited file no longer fits it
_ALSO_OPTIONS = ("strategy", "template", "precision")


def read_submission(path: str | Path) -> Submission:
    """Read and check one submission. Raises BadInput that lists every problem of the file."""
    values = read_toml(path)
    seal = values.pop(_SEAL, None)
    problems = _problems(values)
    if problems:
        raise BadInput("; ".join(problems), file=path)
    lists = {key: tuple(value) for key, value in values.items() if isinstance(value, list)}
    submission = Submission(**values | lists)
    if seal not in (None, digest(submission)):
        raise BadInput("was edited: its digest does not fit its content; submit it again", file=path)
    return submission


def submission_text(submission: Submission, *, sealed: bool = False) -> str:
    """A submission as the TOML that `read_submission` reads back; `sealed` with a digest that it is then held against.

    What a person is still to edit carries none.
    """
    values = {field.name: getattr(submission, field.name) for field in FIELDS}
    text = "".join(f"{key} = {toml_text(v)}\n" for key, v in values.items() if v or key == "training_data")
    return text + (f"{_SEAL} = {toml_text(digest(submission))}\n" if sealed else "")


def digest(submission: Submission) -> str:
    """sha256 of everything that a submission says; what it does not say leaves no trace."""
    return digest_of({key: value for key, value in asdict(submission).items() if value or key == "training_data"})


def _problems(values: dict[str, Any]) -> list[str]:
    known = [field.name for field in FIELDS]
    problems = []
    for key in values:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            problems.append(f"unknown key {printable(key)!r}" + (f" (did you mean {near[0]}?)" if near else ""))
    kind = values.get("kind")
    for field in FIELDS:
        if problem := _problem(field, values, str(kind)):
            problems.append(problem)
    foreign = [field.name for field in FIELDS if values.get(field.name) and kind in KINDS and kind not in field.allowed]
    if foreign:
        wanted = "api" if foreign == ["endpoint"] else "model"
        problems.append(f"{', '.join(foreign)} belong to a submission of kind {wanted}, not {kind}")
    return problems + _name_problems(values.get("name")) + _contradictions(values)


def _problem(field: Field, values: dict[str, Any], kind: str) -> str:
    """What is wrong with one field, or nothing."""
    value = values.get(field.name)
    needed = kind in field.required or field.required == KINDS
    if field.name in values and (value != "" or needed):
        if field.fits(value) and (value != "" or not needed):
            return ""
        shown = value if isinstance(value, str) else toml_text(value) if isinstance(value, int | float) else ""
        return f"{field.name} must {field.grammar}" + (f", not {printable(shown, 60)!r}" if shown else "")
    return f"{field.name} must {field.grammar}" if needed else ""


def _name_problems(name: object) -> list[str]:
    if not isinstance(name, str) or not NAME.fullmatch(name):
        return []
    parts = name.split("/")
    if any(".." in part or "--" in part for part in parts):
        return ["name may not hold .. or --"]
    if any(part.split(".")[0].lower() in _WINDOWS for part in parts):
        return ["name may not be a reserved device name"]
    return []


def _contradictions(values: dict[str, Any]) -> list[str]:
    """What is said in two places must be said alike: `strategy` stands for `options.strategy`."""
    options = values.get("options")
    if not isinstance(options, dict):
        return []
    problems = [f"options must not hold {key}; say it beside them" for key in ("model", "revision") if key in options]
    for key in _ALSO_OPTIONS:
        if values.get(key) and options.get(key, values[key]) != values[key]:
            problems.append(f"{key} and options.{key} must say the same; leave one of them out")
    return problems
