"""Submissions: the grammar of what somebody sends, and its verdict, all problems at once.

A TOML file, and for a trained model the report of its training beside it. Both come from strangers and go on pages.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from exabench.errors import BadInput, printable
from exabench.files import from_json, read_toml, toml_text
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

TRAINING_FILES = ("training.json", "README.md", "recipe.toml", "curves.csv", "curves.svg")


@dataclass(frozen=True)
class Training:
    """The report of a training: training.json as values, and each of TRAINING_FILES as it was sent."""

    values: Mapping[str, Any]
    files: Mapping[str, bytes]


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


# -- the report of a training ------------------------------------------------------------------------------------------

_FORMAT, _LARGEST, _DEEPEST, _FARTHEST = 1, 2**24, 16, 1e15  # bytes of a file, tables in tables, size of a number
_AGAINST = {"value": float, "difference": float, "interval": (float, float), "p": float, "p_holm": float}
_SHAPE: Mapping[str, Any] = {  # [one] is a list of such, a key with ? may be null, dict is a table of anything
    **dict.fromkeys(("name", "title", "note", "kind", "reranker", "licence", "fingerprint", "order", "hardware"), str),
    **dict.fromkeys(("format", "seed", "steps", "groups", "best"), int),
    **{"epochs": float, "options": dict, "recipe": dict, "versions": dict},
    "base": dict.fromkeys(("model", "revision", "licence"), str),
    "data": [
        {
            **dict.fromkeys(("name", "version", "content", "table", "family", "licence", "repository"), str),
            **{"rows": int, "teacher": dict, "leaks": dict},
        }
    ],
    "dev": {"metric": str, "source": str, "values": [(int, float)]},
    "checks": [
        {
            **{"task": str, "candidates": str, "depth": int, "metric": str, "queries": int, "value": float},
            **{"interval": (float, float), "first_stage": _AGAINST, "start?": _AGAINST},
            "published?": {"value": float, "source": str},
        }
    ],
}
_CALLED = {str: "text", int: "whole number", float: "number", dict: "table"}
_CURVES = re.compile(r"step,epoch,groups,loss,rate,gradient_norm,dev\n(?:[0-9.,e+-]+\n)+")
_SVG = "{http://www.w3.org/2000/svg}"
_DRAWN = {f"{_SVG}{tag}" for tag in ("svg", "title", "desc", "style", "rect", "g", "text", "path", "circle")}
_DRAWN_BY = {"class", "viewBox", "width", "height", "role", "aria-labelledby", "id", "transform"}
_DRAWN_BY |= {"x", "y", "cx", "cy", "r", "d"}
_HARMLESS = re.compile(r"@media \(prefers-color-scheme: dark\)|var\(--[a-z]+\)")  # all else in brackets may fetch


def read_training(folder: str | Path) -> Training:
    """The report of a training that lies in `folder`. Raises BadInput where a file is not what `exabench train` writes.

    Nothing in it can act: the figure holds shapes and words alone, and every other file is shown as text.
    """
    folder = Path(folder)
    files = {name: _plain_bytes(folder / name) for name in TRAINING_FILES}
    texts = {name: _text(folder / name, data) for name, data in files.items()}
    file = folder / TRAINING_FILES[0]
    try:
        values = from_json(texts[file.name])
        recipe = tomllib.loads(texts["recipe.toml"])
    except (ValueError, RecursionError) as error:
        raise BadInput(f"or the recipe beside it cannot be read ({printable(str(error), 200)})", file=file) from error
    problems = list(_misfits(values, _SHAPE, "it"))
    if not problems and values["format"] != _FORMAT:
        problems.append(f"format must be {_FORMAT}")
    if not problems and recipe != values["recipe"]:
        problems.append("recipe.toml beside it holds another recipe")
    if problems:
        what = "; ".join(problems[:5])
        raise BadInput(f"is not what `exabench train` writes ({what}); train again, or leave it out", file=file)
    if not _CURVES.fullmatch(texts["curves.csv"]):
        raise BadInput("is not a table of the steps of a training", file=folder / "curves.csv")
    if fault := _drawing_fault(texts["curves.svg"]):
        raise BadInput(f"is not a figure that `exabench train` draws ({fault})", file=folder / "curves.svg")
    return Training(values, files)


def _plain_bytes(file: Path) -> bytes:
    """A file's bytes as they are; a link could lead anywhere, and what is large is no report."""
    try:
        if file.is_symlink() or not file.is_file():
            raise BadInput("must be a plain file: the report of a training is there whole or not at all", file=file)
        if file.stat().st_size > _LARGEST:
            raise BadInput(f"is larger than the {_LARGEST:,} bytes that a report may have", file=file)
        return file.read_bytes()
    except OSError as error:
        raise BadInput(f"cannot be read ({error.strerror})", file=file) from error


def _text(file: Path, data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise BadInput("is not UTF-8 text", file=file) from error


def _misfits(value: Any, shape: Any, at: str) -> Iterator[str]:
    """Where a JSON value is not of a shape."""
    if isinstance(shape, Mapping):
        wanted = {key.removesuffix("?"): inner for key, inner in shape.items()}
        if not isinstance(value, dict) or value.keys() != wanted.keys():
            yield f"{at} must hold {', '.join(sorted(wanted))}"
            return
        for key, inner in wanted.items():
            if value[key] is not None or f"{key}?" not in shape:
                yield from _misfits(value[key], inner, f"{at}.{key}")
    elif isinstance(shape, list | tuple):
        if not isinstance(value, list) or (isinstance(shape, tuple) and len(value) != len(shape)):
            yield f"{at} must be a list" + (f" of {len(shape)}" if isinstance(shape, tuple) else "")
            return
        shapes = shape if isinstance(shape, tuple) else shape * len(value)
        for i, (item, inner) in enumerate(zip(value, shapes, strict=True)):
            yield from _misfits(item, inner, f"{at}[{i}]")
    elif not _is(value, shape):
        yield f"{at} must be a {_CALLED[shape]}"


def _is(value: Any, kind: type) -> bool:
    if kind in (int, float):
        number = isinstance(value, int if kind is int else int | float) and not isinstance(value, bool)
        return number and abs(value) <= _FARTHEST
    return isinstance(value, kind) and (kind is not dict or _is_shallow(value, _DEEPEST))


def _is_shallow(value: Any, levels: int) -> bool:
    """Do tables and lists lie in each other so many levels deep at most?"""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return levels > 0 and all(_is_shallow(item, levels - 1) for item in inner)


def _drawing_fault(text: str) -> str:
    """Why an SVG is no plain drawing (empty if it is one): opened by itself it must not act and ask for nothing."""
    if "<!" in text or "<?" in text:
        return "it holds a declaration"
    try:
        root = ElementTree.fromstring(text)
    except (ElementTree.ParseError, ValueError) as error:
        return printable(str(error), 100)
    for node in root.iter():
        if node.tag not in _DRAWN:
            return f"it holds {printable(str(node.tag), 60)}"
        if odd := sorted(set(node.attrib) - _DRAWN_BY):
            return f"{node.tag.removeprefix(_SVG)} has {printable(odd[0], 60)}"
        if node.tag == f"{_SVG}style" and re.search(r"[@\\()]", _HARMLESS.sub("", node.text or "")):
            return "its style asks for something"
    return "" if root.tag == f"{_SVG}svg" else "it is no svg"
