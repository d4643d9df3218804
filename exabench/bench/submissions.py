"""Submissions: the TOML file that somebody sends, with every problem named at once, and the report of a training.

Anybody can send them and they are shown on pages, so every byte is checked.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from msgspec import Meta

from exabench.core.errors import REASON, BadInput, printable
from exabench.core.files import from_json, from_toml, read_toml, toml_text
from exabench.core.licences import as_licence
from exabench.core.nouns import Credit, Submission
from exabench.core.records import Record, read
from exabench.measure.interpolation import is_weight

KINDS = ("run", "model", "api", "baseline")
EXTERNAL_RUN_KINDS = ("run", "api")
"""The kinds whose rankings were made elsewhere: their numbers are re-computed, never reproduced."""
_RUN_HERE = ("model", "api")

_PART = r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9])?"
NAME = re.compile(rf"{_PART}/{_PART}")
_HOST = r"(?!-)[A-Za-z0-9-]+(?<!-)(\.(?!-)[A-Za-z0-9-]+(?<!-))*"
_PORT = r"(:([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5]))?"
# No double quote, angle bracket or space can be in it: it becomes the target of a link on a page. No one's name and
# password stand before the host, for a link shows them to everybody.
LINK = re.compile(rf"https://{_HOST}{_PORT}(/([A-Za-z0-9._~:/?#@!$&'()*+,;=-]|%[0-9A-Fa-f]{{2}})*)?")
COMMIT = re.compile(r"[0-9a-f]{40}")

OPTION_KEYS = ("strategy", "template", "precision")
"""The keys that stand for options of the same name, where the part has them."""

TYPES = (
    "cross-encoder",
    "bi-encoder",
    "late interaction",
    "sparse encoder",
    "pointwise LLM",
    "pairwise LLM",
    "setwise LLM",
    "listwise LLM",
    "reranking API",
    "fusion",
    "other",
)
"""What a submission can be; a model's reranker says it where the file does not."""

_MOST_UNKNOWN = 3  # keys that are named; each line of them says all that there are
# No file on Windows can be called so, whatever its ending; both halves of a name become parts of file names.
_WINDOWS_DEVICES = re.compile(r"(con|prn|aux|nul|com[1-9]|lpt[1-9])(\..*)?", re.IGNORECASE)


# -- the fields: one table, which the check of a file and the page on submitting both read -----------------------------


_Predicate = Callable[[object], bool]


@dataclass(frozen=True)
class Field:
    """A key of a submission's file: its meaning, its grammar, the kinds that need it and the kinds that may have it.

    `grammar` follows the word "must"; `fits` decides, of a value that is not empty.
    """

    name: str
    meaning: str
    grammar: str
    fits: _Predicate
    required: tuple[str, ...] = ()
    allowed: tuple[str, ...] = KINDS

    @property
    def missing(self) -> str:
        """What is said where it is needed and is not there."""
        return f"{self.name} must {self.grammar} (it is missing)"


def _fits_pattern(pattern: str | re.Pattern[str]) -> _Predicate:
    return lambda value: isinstance(value, str) and len(value) <= 500 and re.fullmatch(pattern, value) is not None


def _fits_line(longest: int) -> _Predicate:
    return lambda value: isinstance(value, str) and len(value) <= longest and value.isprintable()


def _names_or_unknown(value: object) -> bool:
    if not isinstance(value, list):
        return value == "unknown"
    return len(value) <= 200 and all(map(_fits_line(200), value))


def _is_sample(value: object) -> bool:
    return type(value) is int and 1 <= value <= 1000


def _is_options(value: object) -> bool:
    """A table that JSON can hold, as results and pages do: TOML's dates, nan and inf are none of its values."""
    try:
        return isinstance(value, dict) and len(json.dumps(value, allow_nan=False)) <= 4000
    except (TypeError, ValueError, RecursionError):
        return False


def _are_notes(value: object) -> bool:
    """A table of lists of lines, such as a result's own notes are."""
    if not isinstance(value, dict) or len(value) > 1000:
        return False
    for lines in value.values():
        if not isinstance(lines, list) or len(lines) > 5 or not all(map(_fits_line(200), lines)):
            return False
    return True


def _is_bibtex(value: object) -> bool:
    """One entry, its braces in balance and nothing behind the last of them; lines and tabs, but nothing else unseen."""
    if not isinstance(value, str) or len(value) > 4000 or not re.match(r"\s*@[A-Za-z]+\s*\{", value):
        return False
    if not value.replace("\n", "").replace("\t", "").isprintable():
        return False
    depth = 0
    text = value.strip()
    for place, sign in enumerate(text):
        if sign == "{":
            depth += 1
        elif sign == "}":
            depth -= 1
            if depth <= 0:
                return depth == 0 and place == len(text) - 1
    return False


FIELDS = (
    Field(
        "name",
        "the submitter and the system's name on the board",
        "read owner/name in ASCII letters, digits and ._- (at most 96 each, no other character at either end)",
        _fits_pattern(NAME),
        required=KINDS,
    ),
    Field(
        "kind",
        "a model that the board runs, runs that were made elsewhere, or an API that the submitter calls",
        f"be one of {', '.join(KINDS)}",
        lambda value: value in KINDS,
        required=KINDS,
    ),
    Field(
        "licence",
        "the licence of the model",
        "be an SPDX identifier such as apache-2.0, or unknown",
        _fits_pattern(r"[A-Za-z0-9][A-Za-z0-9.+-]{0,63}"),
        required=KINDS,
    ),
    Field(
        "link",
        "a page that describes it; optional for models that the board's maintainer files",
        "be an https:// address",
        _fits_pattern(LINK),
        required=EXTERNAL_RUN_KINDS,
    ),
    Field(
        "contact",
        "whom to contact; optional for models that the board's maintainer files",
        "be an e-mail address, an @handle or an https:// address",
        _fits_pattern(rf"[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+|@[A-Za-z0-9-]+|{LINK.pattern}"),
        required=EXTERNAL_RUN_KINDS,
    ),
    Field(
        "training_data",
        "its training data; scores on tasks that it names are marked on the board",
        'list data sets by name, [] for none, or be "unknown"',
        _names_or_unknown,
        required=KINDS,
    ),
    Field("description", "a sentence about it", "be text on one line", _fits_line(2000)),
    Field(
        "reranker",
        "the part of exabench that loads the model or calls the endpoint",
        "name a part (exabench parts rerankers) that loads the model or calls the endpoint",
        _fits_pattern(r"[a-z][a-z0-9_]{0,63}"),
        required=_RUN_HERE,
    ),
    Field(
        "model",
        "the model: for a board on the Hub a Hub id",
        "be a Hub id (owner/name), a local folder or pypi:<package>, or what the endpoint calls it, on one line",
        _fits_line(2000),
        required=_RUN_HERE,
        allowed=_RUN_HERE,
    ),
    Field(
        "revision",
        "the model's commit on the Hub, or the digest of its folder",
        "be a commit (40 hex digits) or a folder's digest (sha256:...), never a branch",
        _fits_pattern(r"[0-9a-f]{40}|sha256:[0-9a-f]{64}"),
        allowed=("model",),
    ),
    Field(
        "options",
        "further options of the part",
        "be a table of texts, finite numbers, true, false, lists and tables (no dates)",
        _is_options,
        allowed=_RUN_HERE,
    ),
    Field(
        "interpolate",
        "the weight of its scores where they are mixed with the first stage's, which are part of the system then",
        "be a number above 0 and at most 1",
        is_weight,
        allowed=("model",),
    ),
    Field(
        "endpoint",
        "the address of the API",
        "be an https:// address, or http://localhost for a local server, without a key or a query string",
        _fits_pattern(rf"(https://{_HOST}|http://localhost){_PORT}(/[A-Za-z0-9._~/-]*)?"),
        required=("api",),
        allowed=("api",),
    ),
    Field("date", "when it was made", 'read "2026-01-31"', _fits_pattern(r"\d{4}-\d{2}-\d{2}")),
    Field(
        "type",
        "the type of system; a model's is known from its reranker",
        f"be one of {', '.join(TYPES)}",
        lambda value: value in TYPES,
    ),
    Field(
        "system",
        "the system that this is one sample of: samples share a row of the board, with their mean and range",
        "read owner/name with the owner of `name`, and needs sample",
        _fits_pattern(NAME),
    ),
    Field("sample", "the number of the sample", "be a whole number from 1 to 1000", _is_sample),
    Field("family", "the family of the model, such as monoT5 or cross-encoder", "be text on one line", _fits_line(200)),
    Field("strategy", "how the model's output becomes a score", "be text on one line", _fits_line(200)),
    Field("template", "the template that puts query and passage together", "be text on one line", _fits_line(2000)),
    Field("precision", "its numeric precision, such as float32", "be text on one line", _fits_line(64)),
    Field(
        "synthetic_data",
        "which of its training data is synthetic",
        'list data sets by name, [] for none, or be "unknown"',
        _names_or_unknown,
    ),
    Field("teacher", "the model that wrote the synthetic data", "be text on one line", _fits_line(500)),
    Field(
        "bibtex",
        "how to cite it",
        "be one BibTeX entry, @kind{...} with balanced braces, of at most 4000 characters",
        _is_bibtex,
    ),
    Field(
        "notes",
        "what was odd when its endpoint was called, by task and candidate list; `exabench bench submit` writes it",
        "be a table of lists of texts, each on one line",
        _are_notes,
        allowed=("api",),
    ),
    Field(
        "withdrawn",
        "why it was withdrawn; `exabench bench withdraw` sets it",
        "be text on one line",
        _fits_line(500),
    ),
    Field("sender", "the Hub account that sent it; the queue writes it", "be an account", _fits_pattern(_PART)),
)
"""Every key of a submission's file, in the order in which a file is written."""

PLACE = Field(
    "place",
    "where pages are read; the path of a page is put behind it",
    "be an https:// address without user name, ? or #",
    lambda value: isinstance(value, str) and _fits_pattern(LINK)(value) and not set("?#").intersection(value),
)


# -- a file ------------------------------------------------------------------------------------------------------------


def read_submission(path: str | Path) -> Submission:
    """Read and check one submission. Raises BadInput that lists every problem of the file."""
    path = Path(path)
    values = as_licence(read_toml(path), path)
    values.pop("digest", None)  # version 0.1 wrote one
    problems = _take_model_of_teacher(values) + _problems(values)
    if problems:
        raise BadInput("; ".join(problems), file=path)
    for key, value in values.items():
        if isinstance(value, list):
            values[key] = tuple(value)
    return Submission(**values)


def _take_model_of_teacher(values: dict[str, Any]) -> list[str]:
    """Fill in `model` and `revision` from the teacher's table, where only that says them; problems where both do."""
    options = values.get("options")
    if not isinstance(options, dict) or not isinstance(options.get("teacher"), dict):
        return []
    problems = []
    teacher = options["teacher"]
    for key in ("model", "revision"):
        # Pages and results name the model, so it is filled in where a reader of the file would look.
        if key in teacher and values.setdefault(key, teacher[key]) != teacher[key]:
            problems.append(f"{key} and options.teacher.{key} must agree; remove one of them")
    return problems


def is_of_its_model(submission: Submission) -> bool:
    """Is it a model under the name of its repository's owner? Anybody may submit one to a board on the Hub so."""
    return submission.kind == "model" and submission.model.partition("/")[0].lower() == submission.owner.lower()


def not_theirs(submission: Submission, sender: str) -> str:
    """Why an account of the Hub may not submit under this name: an owner's name belongs to who has it there."""
    return (
        f"the owner {submission.owner} in the name is neither your Hub account {sender}, nor an organisation that "
        f"shows you as a member, nor the owner of the model's repository; choose the name {sender}/..."
    )


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
    unknown = [key for key in values if key not in known]
    for key in unknown[:_MOST_UNKNOWN]:
        near = difflib.get_close_matches(key, known, n=1)
        hint = f" (its keys: {', '.join(known)})"
        if near:
            hint = f" (did you mean {near[0]}?)"
        problems.append(f"unknown key {printable(key)!r}{hint}")
    if len(unknown) > _MOST_UNKNOWN:
        problems.append(f"{len(unknown) - _MOST_UNKNOWN} further unknown keys")

    kind = values.get("kind")
    needs_of = kind
    if kind not in KINDS:  # everything that is submitted needs what a run needs
        needs_of = "run"
    foreign = []
    for field in FIELDS:
        value = values.get(field.name, "")
        problem = f"{field.name} must {field.grammar}"
        if value and kind in KINDS and kind not in field.allowed:
            foreign.append(field.name)
        if value == "":
            if needs_of in field.required:
                problems.append(field.missing)
        elif not field.fits(value):
            if isinstance(value, str | int | float):
                shown = value if isinstance(value, str) else toml_text(value)
                problem += f", not {printable(shown)!r}"
            problems.append(problem)
    if foreign:
        wanted = "model"
        if set(foreign) <= {"endpoint", "notes"}:
            wanted = "api"
        problems.append(f"{', '.join(foreign)} belong to a submission of kind {wanted}, not {kind}")

    name = values.get("name")
    if isinstance(name, str) and NAME.fullmatch(name):
        parts = name.split("/")
        if any(".." in part or "--" in part for part in parts):
            problems.append("name may not hold .. or --")
        elif any(_WINDOWS_DEVICES.fullmatch(part) for part in parts):
            problems.append("name may not be a reserved device name")

    system = values.get("system")
    owners = {text.partition("/")[0] for text in (name, system) if isinstance(text, str)}
    if bool(system) != bool(values.get("sample")):
        problems.append("system and sample belong together; give both or neither")
    elif len(owners) > 1:  # no one adds a sample to another's system
        problems.append("system and name must have one owner")

    options = values.get("options")
    if isinstance(options, dict):
        for key in ("model", "revision"):
            if key in options:
                problems.append(f"options must not hold {key}; set it outside of them")
        for key in OPTION_KEYS:
            if values.get(key) and options.get(key, values[key]) != values[key]:
                problems.append(f"{key} and options.{key} must agree; remove one of them")
    return problems


# -- the credit of a first stage ---------------------------------------------------------------------------------------

_OWNER = Field("owner", "", "be an account or a group in ASCII letters, digits and ._-", _fits_pattern(_PART))
_CREDIT_KEYS = ("link", "licence", "training_data", "description")  # as a submission has them


def read_credit(values: Mapping[str, Any]) -> Credit:
    """Whose work a first stage is, by the fields of Credit. Raises BadInput that lists every problem."""
    fields = {field.name: field for field in (_OWNER, *FIELDS) if field.name in ("owner", *_CREDIT_KEYS)}
    problems = []
    found: dict[str, Any] = {}
    for key, value in as_licence(values).items():
        if key not in fields:
            problems.append(f"unknown key {printable(key)!r} (its keys: {', '.join(fields)})")
        elif not fields[key].fits(value):
            problems.append(f"{key} must {fields[key].grammar}, not {printable(toml_text(value))}")
        elif isinstance(value, list):
            found[key] = tuple(value)
        else:
            found[key] = value
    if problems:
        raise BadInput(f"credit of a first stage: {'; '.join(problems)}")
    return Credit(**found)


# -- the report of a training, never trusted ---------------------------------------------------------------------------

TRAINING_FILES = ("training.json", "README.md", "recipe.toml", "curves.csv")

DRAWING = "curves.svg"
"""A figure that version 0.1 drew next to these. It may still be on a board, and is never read."""


@dataclass(frozen=True)
class Training:
    """The report of a training: training.json as values, and the bytes of each of TRAINING_FILES."""

    values: Mapping[str, Any]
    files: Mapping[str, bytes]


_LARGEST_FILE = 2**24  # bytes
_DEEPEST = 20  # tables and lists in each other; pages walk them
_FARTHEST = 10**15  # a number beyond it means nothing, and its digits would fill a page
_Count = Annotated[int, Meta(ge=-_FARTHEST, le=_FARTHEST)]
_Number = Annotated[float, Meta(ge=-_FARTHEST, le=_FARTHEST)]
_Table = dict[str, Any]
_CURVES = re.compile(r"step,epoch,groups,loss,rate,gradient_norm,dev\n(?:[0-9.,e+-]+\n)+")


class _Base(Record, frozen=True):
    model: str
    revision: str
    licence: str


class _Data(Record, frozen=True):
    name: str
    version: str
    content: str
    table: str
    family: str
    licence: str
    repository: str
    rows: _Count
    teacher: _Table
    leaks: _Table
    withdrawn: _Count = 0


class _Dev(Record, frozen=True):
    metric: str
    source: str
    values: list[tuple[_Count, _Number]]


class _Against(Record, frozen=True):
    value: _Number
    difference: _Number
    interval: tuple[_Number, _Number]
    p: _Number
    p_holm: _Number


class _Published(Record, frozen=True):
    value: _Number
    source: str


class _Check(Record, frozen=True):
    task: str
    candidates: str
    depth: _Count
    metric: str
    queries: _Count
    value: _Number
    interval: tuple[_Number, _Number]
    first_stage: _Against
    start: _Against | None
    published: _Published | None


class _Weight(Record, frozen=True):
    weight: Annotated[float, Meta(gt=0, le=1)]
    on: str = ""
    queries: _Count = 0
    metric: str = ""
    curve: list[tuple[_Number, _Number]] = []


class _Interpolation(_Weight, frozen=True):
    start: _Weight | None = None


class _Report(Record, frozen=True):
    format: Literal[1]
    name: str
    title: str
    note: str
    kind: str
    reranker: str
    licence: str
    fingerprint: str
    order: str
    hardware: str
    seed: _Count
    steps: _Count
    groups: _Count
    best: _Count
    epochs: _Number
    options: _Table
    recipe: _Table
    versions: _Table
    base: _Base
    data: list[_Data]
    dev: _Dev
    checks: list[_Check]
    interpolate: _Interpolation | None = None


def read_training(folder: str | Path) -> Training:
    """The report of a training that is in `folder`. Raises BadInput where a file is not what `exabench train` writes.

    Nothing in it can act: every file is shown as text.
    """
    files = {}
    texts = {}
    for name in TRAINING_FILES:
        file = Path(folder, name)
        try:
            if file.is_symlink() or not file.is_file():  # a link could lead anywhere
                raise BadInput("must be a plain file: the report of a training is there whole or not at all", file=file)
            if file.stat().st_size > _LARGEST_FILE:
                raise BadInput(f"is larger than the {_LARGEST_FILE:,} bytes that a report may have", file=file)
            files[name] = file.read_bytes()
            texts[name] = files[name].decode()
        except OSError as error:
            raise BadInput(f"cannot be read ({error.strerror})", file=file) from error
        except UnicodeDecodeError as error:
            raise BadInput("is not UTF-8 text", file=file) from error

    file = Path(folder, "recipe.toml")
    try:
        recipe = from_toml(texts["recipe.toml"])
        file = Path(folder, "training.json")
        values = from_json(texts["training.json"])
    except (ValueError, RecursionError) as error:
        raise BadInput(f"cannot be read ({printable(str(error), REASON)})", file=file) from error

    if isinstance(values, dict):
        values.pop("sealed", None)  # version 0.1 wrote digests of all files there
    if not _is_shallow(values, _DEEPEST):
        raise BadInput(f"is nested deeper than {_DEEPEST} levels, so `exabench train` did not write it", file=file)
    read(_Report, values, file=file, what="the report")
    if recipe != values["recipe"]:
        raise BadInput("is not the recipe in training.json", file=Path(folder, "recipe.toml"))
    if not _CURVES.fullmatch(texts["curves.csv"]):
        raise BadInput("is not a table of the steps of a training", file=Path(folder, "curves.csv"))
    return Training(values, files)


def _is_shallow(value: Any, levels: int) -> bool:
    """Are tables and lists nested at most this many levels deep?"""
    if isinstance(value, dict):
        value = list(value.values())
    if not isinstance(value, list):
        return True
    return levels > 0 and all(_is_shallow(item, levels - 1) for item in value)
