"""The model folder: what a finished training leaves behind, all of it or nothing, with no path of this machine in it.

*.safetensors, config.json, tokenizer...   the model, as transformers lays it out
recipe.toml                                the recipe as it was resolved
training.json                              everything that is known of the training
curves.csv, curves.svg                     loss, learning rate and dev metric of every step
README.md                                  the model card, made of training.json; people may write into it
submission.toml                            ready for `exabench bench submit`
manifest.json                              the digest of every file but itself and the card
"""

from __future__ import annotations

import platform
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

import exabench.hub
from exabench.cards import model_card, model_template
from exabench.errors import BadInput
from exabench.files import file_digest, json_text, read_json, replacing_folder, toml_text, write
from exabench.nouns import Result, Submission
from exabench.rows import Release
from exabench.statistics import paired_test
from exabench.submissions import read_submission, submission_text
from exabench.training._curves import Curves, svg

FORMAT = 1
_PATH = re.compile(r"(?:file://|~[\w.-]*|\.{1,2})?(?:/[^/{}\n]+)+/?|[A-Za-z]:[\\/][^\n]+")
_BARE = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True)
class Learnt:
    """A table that was learnt from: its release by name, version and digest, and how many of its rows were used.

    `repository` is the Hub id that it was read from, empty where it was a folder; `leaks` the release's own report.
    """

    name: str
    version: str
    content: str
    table: str
    family: str
    rows: int
    licence: str
    repository: str = ""
    teacher: Mapping[str, Any] = field(default_factory=dict)
    leaks: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, release: Release, table: str, rows: int, repository: str = "") -> Learnt:
        """`rows` of a release's table."""
        made = release.tables[table]
        known = {key: value for key, value in made.teacher.items() if key != "server"}
        return cls(
            name=release.name,
            version=release.version,
            content=release.content,
            table=table,
            family=made.family,
            rows=rows,
            licence=made.licence,
            repository=repository,
            teacher=known,
            leaks=made.report.get("leaks", {}),
        )


@dataclass(frozen=True)
class Against:
    """Another order of the same candidates: its value, by how much this model's is higher, and how sure that is.

    `p` is the two-sided paired t-test's, `p_holm` corrected over all checks of the training.
    """

    value: float
    difference: float
    interval: tuple[float, float]
    p: float
    p_holm: float = 1.0


@dataclass(frozen=True)
class Checked:
    """What the model got over one frozen list of candidates, against their own order and its own starting point.

    `published` is the number that the recipe is to reproduce: `value` and `source`.
    """

    task: str
    candidates: str
    depth: int
    metric: str
    queries: int
    value: float
    interval: tuple[float, float]
    first_stage: Against
    start: Against | None = None
    published: Mapping[str, Any] | None = None

    @classmethod
    def of(cls, result: Result, start: Result | None = None, published: Mapping[str, Any] | None = None) -> Checked:
        """The headline metric of a Result. Raises BadInput for a `start` that was measured on something else."""
        measured, gain = result.measurement, result.gain
        metric = measured.headline
        return cls(
            task=result.task,
            candidates=result.candidates.name,
            depth=result.candidates.depth,
            metric=metric,
            queries=measured.queries,
            value=measured[metric],
            interval=measured.interval,
            first_stage=Against(result.first_stage[metric], gain["difference"], tuple(gain["interval"]), gain["p"]),
            start=_against(result, start) if start else None,
            published=published,
        )


def _against(result: Result, start: Result) -> Against:
    ours, theirs = (one.measurement.per_query[result.measurement.headline] for one in (result, start))
    if result.candidates.digest != start.candidates.digest or ours.keys() != theirs.keys():
        raise BadInput(f"{result.task}: the model and its start were measured on different candidates or queries")
    test = paired_test([np.array([*ours.values()])], [np.array([theirs[query] for query in ours])])
    return Against(start[start.measurement.headline], test.difference, test.interval, test.p)


@dataclass(frozen=True)
class Finished:
    """A training that has come to its end, as plain values but for `save`, which puts model and tokenizer in a folder.

    `name` is owner/model; `kind` how the model is loaded: classifier, seq2seq, decoder, encoder or bi_encoder;
    `reranker` and `options` the part that scores with it; `base` a Hub id, a package or a folder; `order` the digest of
    the order in which groups were learnt; `best` the step whose weights these are; `dev` the dev metric by step,
    measured on `dev_source`.
    """

    save: Callable[[Path], object]
    curves: Path
    name: str
    kind: str
    reranker: str
    licence: str
    link: str
    contact: str
    recipe: Mapping[str, Any]
    fingerprint: str
    base: str
    base_revision: str
    base_licence: str
    data: Sequence[Learnt]
    seed: int
    steps: int
    epochs: float
    groups: int
    order: str
    best: int
    hardware: str
    title: str = ""
    note: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    dev: Sequence[tuple[int, float]] = ()
    dev_metric: str = ""
    dev_source: str = ""
    checks: Sequence[Checked] = ()
    versions: Mapping[str, str] = field(default_factory=lambda: versions())


def versions() -> dict[str, str]:
    """The versions of what trains here."""
    found = {"python": platform.python_version()}
    for name in ("accelerate", "exabench", "safetensors", "tokenizers", "torch", "transformers"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def write_folder(to: str | Path, finished: Finished) -> Path:
    """Write the model folder `to`, in place of one that is there: whole or not at all.

    Raises BadInput for a model that cannot be read back or a submission that nobody would take, CannotWrite.
    """
    to = Path(to)
    with replacing_folder(to) as folder:
        _fill(folder, finished)
    return to


def _fill(folder: Path, finished: Finished) -> None:
    finished.save(folder)
    if found := exabench.hub.pickles(folder):
        raise BadInput(f"{found[0]} may be a pickle, which no model folder holds; save safetensors")
    for file in sorted(folder.glob("*config.json")):
        _without_paths(file)
    training = training_of(finished)
    write(folder / "recipe.toml", recipe_text(training["recipe"]))
    write(folder / "training.json", json_text(training))
    write(folder / "curves.csv", finished.curves.read_bytes())
    write(folder / "curves.svg", svg(Curves(finished.curves), finished.dev_metric or "dev metric"))
    write(folder / "README.md", model_card(training, model_template()))
    # The digest is of what is read of a model: neither this file nor the reports are among it (hub.REPORTS).
    revision = exabench.hub.model_folder(str(folder)).revision
    write(folder / "submission.toml", submission_text(_submission(training, finished, revision)))
    read_submission(folder / "submission.toml")
    files = [file for file in sorted(folder.rglob("*")) if file.is_file() and file.name != "README.md"]
    digests = {file.relative_to(folder).as_posix(): file_digest(file) for file in files}
    write(folder / "manifest.json", json_text({"format": FORMAT, "kind": "model", "files": digests}))


def training_of(finished: Finished) -> dict[str, Any]:
    """training.json as a dict: plain values, and no path of this machine."""
    values = {key: value for key, value in vars(finished).items() if key not in ("save", "curves", "link", "contact")}
    values["data"] = [asdict(learnt) for learnt in finished.data]
    values["checks"] = [asdict(check) for check in finished.checks]
    dev = {"metric": values.pop("dev_metric"), "source": values.pop("dev_source"), "values": values.pop("dev")}
    parts = ("base", "base_revision", "base_licence")
    base = dict(zip(("model", "revision", "licence"), map(values.pop, parts), strict=True))
    return dict(_portable({**values, "dev": dev, "base": base, "format": FORMAT}))


def _submission(training: Mapping[str, Any], finished: Finished, revision: str) -> Submission:
    known = dict.fromkeys(f"{each['repository'] or each['name']}@{each['version']}" for each in training["data"])
    return Submission(
        name=finished.name,
        kind="model",
        licence=finished.licence,
        link=finished.link,
        contact=finished.contact,
        training_data=tuple(known),
        description=" ".join(finished.title.split()),
        reranker=finished.reranker,
        model=".",
        revision=revision,
        options=training["options"],
    )


def recipe_text(values: Mapping[str, Any]) -> str:
    """A recipe as TOML that reads back as the same values: keys sorted, tables after what is on one line."""
    tables = {key: value for key, value in sorted(values.items()) if isinstance(value, Mapping)}
    plain = {key: value for key, value in sorted(values.items()) if key not in tables}
    parts = ["".join(f"{_key(key)} = {toml_text(value)}\n" for key, value in plain.items())]
    for name, table in tables.items():
        rows = "".join(f"{_key(key)} = {toml_text(table[key])}\n" for key in sorted(table))
        parts.append(f"[{_key(name)}]\n{rows}")
    return "\n".join(part for part in parts if part)


def _key(name: str) -> str:
    return name if _BARE.fullmatch(name) else toml_text(name)


def _portable(value: Any) -> Any:
    """The same as plain JSON values, where a text that is a path of this machine is the last name in it."""
    if isinstance(value, Mapping):
        return {str(key): _portable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_portable(item) for item in value]
    if isinstance(value, Path) or (isinstance(value, str) and _PATH.fullmatch(value)):
        return PurePosixPath(str(value).replace("\\", "/")).name
    return value


def _without_paths(file: Path) -> None:
    """Some versions of transformers write down where a model was loaded from."""
    values = read_json(file)
    clean = {key: _portable(value) if isinstance(value, str) else value for key, value in values.items()}
    if clean != values:
        write(file, json_text(clean))
