"""Submissions: the TOML file that somebody sends, with every problem named at once, and the report of a training.

Both come from strangers and go on pages.
"""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any

from exabench.bench.submissions._fields import COMMIT as COMMIT
from exabench.bench.submissions._fields import FIELDS as FIELDS
from exabench.bench.submissions._fields import KINDS as KINDS
from exabench.bench.submissions._fields import LINK as LINK
from exabench.bench.submissions._fields import NAME as NAME
from exabench.bench.submissions._fields import Field as Field
from exabench.bench.submissions._training import DRAWING as DRAWING
from exabench.bench.submissions._training import TRAINING_FILES as TRAINING_FILES
from exabench.bench.submissions._training import Training as Training
from exabench.bench.submissions._training import read_training as read_training
from exabench.core.errors import BadInput, printable
from exabench.core.files import read_toml, toml_text
from exabench.core.nouns import Submission

EXTERNAL_RUN_KINDS = ("run", "api")
"""The kinds whose rankings somebody else made: their numbers are re-computed, never reproduced."""
_LARGEST = 1 << 16  # bytes
_WINDOWS_DEVICES = {"con", "prn", "aux", "nul"}
_WINDOWS_DEVICES |= {f"{device}{i}" for device in ("com", "lpt") for i in range(1, 10)}
_SAID_TWICE = ("strategy", "template", "precision")  # keys that stand for options of the same name


def read_submission(path: str | Path) -> Submission:
    """Read and check one submission. Raises BadInput that lists every problem of the file."""
    path = Path(path)
    if path.is_file() and path.stat().st_size > _LARGEST:  # reading TOML takes time that grows with the square
        raise BadInput(f"is larger than the {_LARGEST:,} bytes that a submission may have", file=path)
    values = read_toml(path)
    values.pop("digest", None)  # version 0.1 wrote one
    problems = _problems(values)
    if problems:
        raise BadInput("; ".join(problems), file=path)
    for key, value in values.items():
        if isinstance(value, list):
            values[key] = tuple(value)
    return Submission(**values)


def submission_text(submission: Submission) -> str:
    """A submission as the TOML that `read_submission` reads back; what it does not say leaves no trace."""
    lines = []
    for field in FIELDS:
        value = getattr(submission, field.name)
        if value or field.name == "training_data":
            lines.append(f"{field.name} = {toml_text(value)}\n")
    return "".join(lines)


def _problems(values: dict[str, Any]) -> list[str]:
    known = [field.name for field in FIELDS]
    problems = []
    for key in values:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            hint = f" (did you mean {near[0]}?)" if near else ""
            problems.append(f"unknown key {printable(key)!r}{hint}")
    kind = values.get("kind")
    foreign = []
    for field in FIELDS:
        problems += _problems_of(field, values, kind)
        if values.get(field.name) and kind in KINDS and kind not in field.allowed:
            foreign.append(field.name)
    if foreign:
        wanted = "api" if foreign == ["endpoint"] else "model"
        problems.append(f"{', '.join(foreign)} belong to a submission of kind {wanted}, not {kind}")
    return problems + _name_problems(values.get("name")) + _contradictions(values)


def _problems_of(field: Field, values: dict[str, Any], kind: object) -> list[str]:
    """One problem of one field, or none."""
    value = values.get(field.name, "")
    needed = kind in field.required or field.required == KINDS
    if value == "" and not needed:
        return []
    if value != "" and field.fits(value):
        return []
    problem = f"{field.name} must {field.grammar}"
    if value != "" and isinstance(value, str | int | float):
        shown = value if isinstance(value, str) else toml_text(value)
        problem += f", not {printable(shown, 60)!r}"
    return [problem]


def _name_problems(name: object) -> list[str]:
    if not isinstance(name, str) or not NAME.fullmatch(name):
        return []
    parts = name.split("/")
    if any(".." in part or "--" in part for part in parts):
        return ["name may not hold .. or --"]
    if any(part.split(".")[0].lower() in _WINDOWS_DEVICES for part in parts):
        return ["name may not be a reserved device name"]
    return []


def _contradictions(values: dict[str, Any]) -> list[str]:
    """What is said in two places must be said alike: `strategy` stands for `options.strategy`."""
    options = values.get("options")
    if not isinstance(options, dict):
        return []
    problems = [f"options must not hold {key}; say it beside them" for key in ("model", "revision") if key in options]
    for key in _SAID_TWICE:
        if values.get(key) and options.get(key, values[key]) != values[key]:
            problems.append(f"{key} and options.{key} must say the same; leave one of them out")
    return problems
