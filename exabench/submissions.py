"""Submissions: the grammar of the TOML file that somebody sends, and its verdict, all problems at once."""

from __future__ import annotations

import difflib
import re
from pathlib import Path
from typing import Any

from exabench.errors import BadInput, printable
from exabench.files import read_toml, toml_text
from exabench.nouns import Submission

KINDS = ("run", "model", "baseline")
_PART = r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9])?"
NAME = re.compile(rf"{_PART}/{_PART}")
_LICENCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+-]{0,63}")
LINK = re.compile(r"https://[A-Za-z0-9.-]+(:\d+)?(/[A-Za-z0-9._~:/?#@!$&'()*+,;=%-]*)?")
_CONTACT = re.compile(r"[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+|@[A-Za-z0-9-]+|https://\S+")
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_WINDOWS = {"con", "prn", "aux", "nul", *(f"{device}{i}" for device in ("com", "lpt") for i in range(1, 10))}
_PART_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
_REVISION = re.compile(r"[0-9a-f]{40}|sha256:[0-9a-f]{64}")
_TEXTS = ("name", "kind", "licence", "link", "contact", "description", "reranker", "model", "revision", "date")
_FIELDS = ("training_data", *_TEXTS, "options")


def read_submission(path: str | Path) -> Submission:
    """Read and check one submission. Raises BadInput that lists every problem of the file."""
    values = read_toml(path)
    problems = list(_problems(values))
    if problems:
        raise BadInput("; ".join(problems), file=path)
    data = values["training_data"]
    fields: dict[str, Any] = {key: values.get(key, "") for key in _TEXTS}
    data = data if isinstance(data, str) else tuple(data)
    return Submission(**fields, training_data=data, options=values.get("options", {}))


def submission_text(submission: Submission) -> str:
    """A submission as the TOML that `read_submission` reads back."""
    values = {key: getattr(submission, key) for key in (*_TEXTS, "training_data", "options")}
    return "".join(f"{key} = {toml_text(v)}\n" for key, v in values.items() if v or key == "training_data")


def _problems(values: dict[str, Any]) -> list[str]:
    problems = []
    for key in values:
        if key not in _FIELDS:
            near = difflib.get_close_matches(key, _FIELDS, n=1)
            problems.append(f"unknown key {printable(key)!r}" + (f" (did you mean {near[0]}?)" if near else ""))
    checks = {
        "name": (
            NAME,
            "must read owner/name in ASCII letters, digits and ._- (at most 96 each, no other sign at the ends)",
        ),
        "licence": (_LICENCE, "must be an SPDX identifier such as apache-2.0, or unknown"),
        "link": (LINK, "must be an https:// address"),
        "contact": (_CONTACT, "must be an e-mail address, an @handle or an https:// address"),
    }
    for key, (grammar, advice) in checks.items():
        value = values.get(key)
        if not isinstance(value, str) or len(value) > 500 or not grammar.fullmatch(value):
            problems.append(f"{key} {advice}" + (f", not {printable(str(value), 60)!r}" if value is not None else ""))
    return problems + _name_problems(values.get("name")) + _other_problems(values) + _model_problems(values)


def _name_problems(name: object) -> list[str]:
    if not isinstance(name, str) or not NAME.fullmatch(name):
        return []
    parts = name.split("/")
    if any(".." in part or "--" in part for part in parts):
        return ["name may not hold .. or --"]
    if any(part.split(".")[0].lower() in _WINDOWS for part in parts):
        return ["name may not be a reserved device name"]
    return []


def _other_problems(values: dict[str, Any]) -> list[str]:
    problems = []
    kind = values.get("kind")
    if kind not in KINDS:
        problems.append(f"kind must be one of {', '.join(KINDS)}, not {printable(str(kind), 60)!r}")
    data = values.get("training_data")
    listed = isinstance(data, list) and all(isinstance(x, str) and _is_plain(x, 200) for x in data)
    if not (listed or data == "unknown"):
        problems.append('training_data must list data sets by name, [] for none, or be "unknown"')
    for key in ("description", "reranker", "model"):
        if not isinstance(values.get(key, ""), str) or not _is_plain(values.get(key, ""), 2000):
            problems.append(f"{key} must be text on one line")
    date = values.get("date", "")
    if date != "" and not (isinstance(date, str) and _DATE.fullmatch(date)):
        problems.append('date must read "2026-01-31"')
    return problems


def _model_problems(values: dict[str, Any]) -> list[str]:
    """What a submission of kind model must say, and the others must not."""
    problems = []
    if values.get("revision", "") != "" and not _REVISION.fullmatch(str(values["revision"])):
        problems.append("revision must be a commit (40 hex digits) or a folder's digest (sha256:...), never a branch")
    if not isinstance(values.get("options", {}), dict) or len(str(values.get("options", ""))) > 4000:
        problems.append("options must be a table of what the reranker is to be told")
    if values.get("kind") != "model":
        given = [key for key in ("model", "revision", "options") if values.get(key)]
        return problems + ([f"{', '.join(given)} belong to a submission of kind model"] if given else [])
    if not _PART_NAME.fullmatch(str(values.get("reranker", ""))):
        problems.append("reranker must name a part (exabench parts rerankers) that loads the model")
    if not values.get("model"):
        problems.append("model must be a Hub id (owner/name), a local folder or pypi:<package>")
    return problems


def _is_plain(text: str, limit: int) -> bool:
    return len(text) <= limit and text.isprintable()
