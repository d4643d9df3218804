"""Custom tasks: a folder in BEIR layout, a task.toml, an id of ir_datasets, or a repository of the Hub."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

from msgspec import Meta

from exabench.core.errors import BadInput, printable
from exabench.core.files import read_toml
from exabench.core.nouns import Convention, Task
from exabench.core.records import AtLeastOne, Record, read
from exabench.hub.client import find_commit, is_commit, is_repo

DESCRIPTION = "task.toml"
"""The file next to a collection that describes it."""

_LONGEST_TEXT = 200  # characters: a title is a line of a page
_OF_CONVENTION = ("relevance_threshold", "self_match", "excluded_ids", "text_fields")
# A split is the name of a file (qrels/<split>.tsv), so it holds no slash and does not begin with a full stop.
_SPLIT = re.compile(r"[A-Za-z0-9][\w.+-]{0,63}", re.ASCII)
# BEIR's layout first: where a split is there in both layouts, BEIR's file is read, as BEIR's own tools would.
_SUFFIXES = (".tsv", ".tsv.gz", ".txt", ".txt.gz", ".qrels", ".qrels.gz", ".trec", ".trec.gz")

Field = Literal["title", "text"]
Digest = Annotated[str, Meta(pattern="^sha256:[0-9a-f]{64}$")]


class TaskValues(Record, frozen=True):
    """What the table of tasks and a task.toml alike say of a task."""

    title: str = ""
    language: str = "en"
    split: str = "test"
    headline: str = "nDCG@10"
    licence: str | None = None
    benchmark: bool = True
    text_fields: Annotated[tuple[Field, ...], Meta(min_length=1)] = ("title", "text")
    self_match: Literal["keep", "drop"] = "keep"
    excluded_ids: Literal["keep", "drop"] = "keep"
    relevance_threshold: AtLeastOne = 1  # 0 would count what was judged not relevant
    queries: AtLeastOne | None = None
    judgements: AtLeastOne | None = None
    documents: AtLeastOne | None = None
    qrels_digest: Digest | None = None
    query_field: str = ""


class _TaskFile(TaskValues, frozen=True):
    """A task.toml."""

    name: str = ""
    source: str = ""
    license: str | None = None
    threshold: AtLeastOne | None = None


def make_task(name: str, values: TaskValues, file: Path, **places: Any) -> Task:
    """The Task that a record describes; `places` are further fields. Raises BadInput for the name of a split."""
    if not _SPLIT.fullmatch(values.split):
        raise BadInput(f"split {printable(values.split)!r} is not a name of a split", file=file)
    for key, text in (("title", values.title), ("language", values.language), ("licence", values.licence or "")):
        if not text.isprintable() or len(text) > _LONGEST_TEXT:
            grammar = f"must be text on one line, of at most {_LONGEST_TEXT} characters"
            raise BadInput(f"{key} {printable(text)!r} {grammar}", file=file)
    described: dict[str, Any] = {"name": name}
    of_convention = {}
    for key in TaskValues.__struct_fields__:
        if key in _OF_CONVENTION:
            of_convention[key] = getattr(values, key)
        else:
            described[key] = getattr(values, key)
    described["convention"] = Convention(**of_convention)
    return Task(**(described | places))


def plain_name(text: str) -> str:
    """A name that can be in paths and addresses: a-z, 0-9, - and + of `text`. Raises BadInput where none is left."""
    # 80 letters: a file name has room for 255 bytes, and files are called after a task, a list and a system together.
    name = re.sub("[^a-z0-9+]+", "-", text.lower()).strip("-+")[:80]
    if not name:
        raise BadInput(f'{printable(text)!r} is not a valid task name; set one in {DESCRIPTION}: name = "..."')
    return name


def is_collection(folder: Path) -> bool:
    """Does a folder describe a task, or hold judgements in BEIR layout?"""
    return (folder / DESCRIPTION).is_file() or bool(splits_in(folder))


def splits_in(folder: Path) -> dict[str, Path]:
    """The files of judgements in a folder by their split: qrels/<split>.tsv, or TREC's .txt, .qrels; plain or .gz.

    Raises BadInput for two files of one split: their judgements may differ.
    """
    found: dict[str, Path] = {}
    for suffix in _SUFFIXES:
        for file in sorted((folder / "qrels").glob(f"*{suffix}")):
            if not file.name.startswith("."):  # macOS leaves ._test.tsv next to a file that it copied
                split = file.name.removesuffix(suffix)
                if split in found:
                    both = f"{found[split].name} and {file.name}"
                    raise BadInput(f"has {both}, two files for the split {split}; keep one", file=folder / "qrels")
                found[split] = file
    return found


def folder_task(folder: Path) -> Task:
    """The task of a folder: as its task.toml says, else under the folder's own name. Raises BadInput."""
    file = folder / DESCRIPTION
    if file.is_file():
        return file_task(file)
    if not folder.is_dir():
        raise BadInput(f"is neither a folder nor a {DESCRIPTION}", file=folder)
    if not splits_in(folder):
        raise BadInput("contains no judgements: qrels/<split>.tsv is missing", file=folder)
    name = plain_name(_own_name(folder))
    return _in_folder(name, TaskValues(split=_only_split(folder)), folder, folder)


def file_task(file: Path) -> Task:
    """The task that a task.toml describes; it is next to the file, unless `source` names another place.

    Raises BadInput for a key that it cannot have, and for a source that cannot be read as one.
    """
    given = read_toml(file)
    values = read(_TaskFile, given, file=file)
    # The Hub's cards say license, and the field calls the lowest relevant grade a threshold.
    for key, other in (("licence", "license"), ("relevance_threshold", "threshold")):
        if key in given and other in given:
            raise BadInput(f"has both {key} and {other}; keep one", file=file)
        if other in given:
            given[key] = given.pop(other)
    folder = file.resolve().parent
    source = values.source
    is_remote = source.startswith(("irds:", "hub:"))
    # A task without a name is called as its place is, unless the file is: every folder's is called task.toml.
    default = file.stem
    if file.name == DESCRIPTION:
        default = _own_name(file.parent)
        if is_remote:
            default = source.partition(":")[2].partition("@")[0]  # as `remote_task` calls it, without the commit
    places = {}
    if is_remote:
        try:
            field, place = remote_place(source)
        except BadInput as error:
            raise BadInput(f"source: {error}", file=file) from None
        places[field] = place
    else:
        folder = (folder / source).resolve()
        if "split" not in given and splits_in(folder):
            given["split"] = _only_split(folder)
    if values.query_field and "ir_datasets" not in places:
        raise BadInput("query_field is for ir_datasets sources, and this source is not one", file=file)
    for key in ("name", "source"):
        given.pop(key, None)
    described = read(TaskValues, {**given, "headline": _headline(values.headline, file)}, file=file)
    name = values.name or plain_name(default)
    if name != plain_name(name):
        raise BadInput(f"name {printable(name)!r} may contain only a-z, 0-9, - and +", file=file)
    if places:
        return make_task(name, described, file, title=described.title or name, **places)
    task = _in_folder(name, described, folder, file)
    splits = splits_in(folder)
    if splits and task.split not in splits:
        raise BadInput(f"split {task.split} is not in {folder}; choose from: {', '.join(sorted(splits))}", file=file)
    return task


def remote_task(place: str) -> Task:
    """The task of `irds:ID` or `hub:OWNER/NAME[@COMMIT]`, named after its id. Raises BadInput."""
    field, value = remote_place(place)
    id = place.partition(":")[2].partition("@")[0]
    name = plain_name(id)
    return Task(name=name, title=id, **{field: value})


def remote_place(place: str) -> tuple[str, Any]:
    """`irds:ID` or `hub:OWNER/NAME[@COMMIT]` as the field of a Task that says so, and its value. Raises BadInput."""
    kind, _, id = place.partition(":")
    if kind == "irds":
        if not re.fullmatch(r"[\w.+-]+(/[\w.+-]+)*", id, re.ASCII):
            raise BadInput(f"{printable(place)!r} must read irds:ID, as in irds:beir/scifact/test")
        return "ir_datasets", id
    repo, at, revision = id.partition("@")
    # No branch and no tag: they move, and the judgements would move with them.
    if not is_repo(repo) or (at and not is_commit(revision)):
        raise BadInput(f"{printable(place)!r} must read hub:OWNER/NAME or hub:OWNER/NAME@COMMIT (40 hex digits)")
    if at:
        return "hub", {"repo": repo, "revision": revision}
    return "hub", {"repo": repo}


def place_of(task: Task) -> str:
    """Where a custom task is read, as the `source` of a task.toml names it; of a folder its path."""
    if task.ir_datasets:
        return f"irds:{task.ir_datasets}"
    if task.hub:
        commit = task.hub.get("revision")
        return f"hub:{task.hub['repo']}@{commit}" if commit else f"hub:{task.hub['repo']}"
    return str(task.folder)


def pin_task(task: Task, lock: str | Path | None) -> Task:
    """The task at the commit that its Hub repository is at now, or that the lock file has. Raises OutsideFailed."""
    if not task.hub or task.hub.get("revision"):
        return task
    return replace(task, hub={**task.hub, "revision": find_commit(task.hub["repo"], None, lock)})


def description_of(task: Task) -> dict[str, Any]:
    """What a task.toml must say to give this task again, but for its source: the keys that are not at their default."""
    stated: dict[str, Any] = {"name": task.name}
    defaults = TaskValues()
    for key in TaskValues.__struct_fields__:
        value = getattr(task, key, None)
        if key in _OF_CONVENTION:
            value = getattr(task.convention, key)
        if value == getattr(defaults, key):
            continue
        if isinstance(value, tuple):
            value = list(value)  # as TOML and JSON read it back
        stated[key] = value
    return stated


def _headline(metric: str, file: Path) -> str:
    """A metric as results write it. Raises BadInput for one that is not known."""
    from exabench.measure.metric_values import MetricName  # numpy, which a listing of the table does not need

    try:
        return str(MetricName.parse(metric))
    except BadInput as error:
        raise BadInput(f"headline: {error}", file=file) from None


def _in_folder(name: str, values: TaskValues, folder: Path, file: Path) -> Task:
    return make_task(name, values, file, title=values.title or folder.name, folder=folder)


def _own_name(folder: Path) -> str:
    """The name of a folder, also of "."; a link is called as itself, and not as what it points at."""
    return Path(os.path.abspath(folder)).name


def _only_split(folder: Path) -> str:
    """The split that boards test on where no one says: "test", else the only one. Raises BadInput."""
    splits = splits_in(folder)
    if "test" in splits:  # which BEIR's loader takes by default, too
        return "test"
    if len(splits) > 1:
        names = ", ".join(sorted(splits))
        raise BadInput(f'holds the splits {names}; choose one in {DESCRIPTION}, as in split = "dev"', file=folder)
    return next(iter(splits))
