"""The ledger: a leaderboard's folder on disk, and the only code that knows its layout.

board.toml                             title and tasks
submissions/<slug>.toml                what was sent
candidates/<task>/<name>.trec.gz .json the frozen lists that everybody reranks
runs/<slug>/<task>.<candidates>.trec.gz
results/<slug>/<task>.<candidates>.json
models/<slug>/training.json ...        how a trained model was trained: its report, never its weights
datasets/<name>/                       published datasets
reported/*.csv                         numbers printed elsewhere
lock.json                              commits and digests resolved at first use
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from exabench.errors import BadInput, UnknownName, printable
from exabench.files import digest_of, json_text, read_bytes, read_json, read_toml, toml_text, write, writing
from exabench.nouns import Candidates, Convention, Cost, Measurement, Result, Run, Submission, Timing
from exabench.runs import read_run, write_run
from exabench.submissions import TRAINING_FILES, Training, read_submission, read_training, submission_text

FORMAT = 2  # 2: results carry the model and what it cost
_CANDIDATES_NAME = re.compile(r"[a-z0-9][a-z0-9+-]{0,62}-\d{1,6}")
_BOARD_KEYS = ("title", "tasks", "url", "views")


@dataclass(frozen=True)
class Ledger:
    """A leaderboard folder. Nothing is cached: every call reads what is there."""

    folder: Path

    @property
    def lock(self) -> Path:
        """Where commits and digests looked up at first use are kept."""
        return self.folder / "lock.json"

    def settings(self) -> dict[str, Any]:
        """board.toml: title, tasks, url, views."""
        file = self.folder / "board.toml"
        if not file.is_file():
            raise BadInput(
                "is not a leaderboard: board.toml is missing (exabench demo --to DIR makes one)", file=self.folder
            )
        values = read_toml(file)
        for key in values:
            if key not in _BOARD_KEYS:
                raise UnknownName("key", key, _BOARD_KEYS, file=file)
        if not _are_names(values.get("tasks")) or not isinstance(values.get("title"), str):
            raise BadInput("needs a title and a list of tasks or suites", file=file)
        views = values.get("views", {})
        if not isinstance(views, dict) or not all(map(_are_names, views.values())):
            raise BadInput("each of its views needs a list of tasks or suites", file=file)
        return values

    def create(self, title: str, tasks: list[str], views: Mapping[str, list[str]] | None = None) -> None:
        """A fresh board.toml, unless one is there; `views` are overviews over some of the tasks, by title."""
        if not (self.folder / "board.toml").is_file():
            lines = [f"title = {toml_text(title)}", f"tasks = {toml_text(tasks)}"]
            if views:
                lines += ["", "[views]", *(f"{toml_text(name)} = {toml_text(names)}" for name, names in views.items())]
            write(self.folder / "board.toml", "\n".join(lines) + "\n")

    # -- submissions ---------------------------------------------------------------------------------------

    def submissions(self) -> dict[str, Submission]:
        """Every submission by slug, in the order of the slugs."""
        files = sorted((self.folder / "submissions").glob("*.toml"))
        return {file.stem: self.submission(file) for file in files}

    def submission(self, file: Path) -> Submission:
        """One filed submission. Raises BadInput where the file does not carry its slug."""
        submission = read_submission(file)
        if submission.slug != file.stem:
            raise BadInput(f"holds {submission.name}, so it must be called {submission.slug}.toml", file=file)
        return submission

    def add_submission(self, submission: Submission) -> Path:
        """File a submission. Raises BadInput for a name that differs from a filed one in case only."""
        file = self.folder / "submissions" / f"{submission.slug}.toml"
        for other in (self.folder / "submissions").glob("*.toml"):
            if other.stem != submission.slug and other.stem.lower() == submission.slug.lower():
                raise BadInput(f"{submission.name} differs from the filed {other.stem} in case only; take another name")
        write(file, submission_text(submission))
        return file

    def trainings(self) -> dict[str, Training]:
        """The reports of trained models by slug. Raises BadInput for one that could not have been filed."""
        files = sorted((self.folder / "models").glob(f"*/{TRAINING_FILES[0]}"))
        return {file.parent.name: read_training(file.parent) for file in files}

    def training_folder(self, slug: str) -> Path:
        """Where the report of a submission's training is kept."""
        return self.folder / "models" / slug

    def add_training(self, slug: str, training: Training | None) -> list[Path]:
        """Keep how `slug` was trained, in place of what was known of it; None forgets that. Returns the files."""
        folder = self.training_folder(slug)
        files = {folder / name: data for name, data in training.files.items()} if training else {}
        with writing(folder):
            for file in (folder / name for name in TRAINING_FILES):
                if file not in files:
                    file.unlink(missing_ok=True)
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()
        for file in reversed(files):  # training.json comes last: without it nothing is taken for a report
            write(file, files[file])
        return [*files]

    # -- candidates ----------------------------------------------------------------------------------------

    def candidates(self, task: str | None = None) -> list[Candidates]:
        """Every candidate list (of one task), in the order of task and name."""
        pattern = f"{task or '*'}/*.json"
        return [self._read_candidates(file) for file in sorted((self.folder / "candidates").glob(pattern))]

    def one_candidates(self, task: str, name: str) -> Candidates:
        """The list called `name` for `task`. Raises UnknownName with those that are there."""
        found = {candidates.name: candidates for candidates in self.candidates(task)}
        if name not in found:
            raise UnknownName(f"candidates for {task}", name, found, file=self.folder)
        return found[name]

    def candidates_run(self, candidates: Candidates) -> Run:
        """The ranking of a candidate list. Raises BadInput where the file is not the one of the digest."""
        file = self.candidates_file(candidates.task, candidates.name)
        _same_digest(file, candidates.digest, "candidate list")
        return read_run(file, candidates.name)

    def candidates_file(self, task: str, name: str) -> Path:
        """Where a list's ranking is kept."""
        return self.folder / "candidates" / task / f"{name}.trec.gz"

    def add_candidates(self, candidates: Candidates, run: Run) -> Path:
        """Freeze a list; the JSON comes last, so that a list is there whole or not at all."""
        if not _CANDIDATES_NAME.fullmatch(candidates.name):
            raise BadInput(f"candidates {candidates.name!r} must be called <retriever>-<depth> in a-z, 0-9, + and -")
        file = self.folder / "candidates" / candidates.task / f"{candidates.name}.json"
        if file.is_file() and self._read_candidates(file).digest != candidates.digest:
            raise BadInput(
                "is frozen with another digest; results name it, so give the new list another name (--name)", file=file
            )
        write_run(run, self.candidates_file(candidates.task, candidates.name), candidates.name)
        if not file.is_file():  # results hold the description too: the first one stays, wherever the task is read next
            write(file, json_text(candidates.as_json()))
        return file

    def _read_candidates(self, file: Path) -> Candidates:
        values = _keyed(read_json(file), {field.name for field in fields(Candidates)}, file)
        candidates = Candidates(**values)
        if (candidates.task, candidates.name) != (file.parent.name, file.stem):
            raise BadInput(
                f"describes {candidates.task}/{candidates.name}: its place and its content differ", file=file
            )
        return candidates

    # -- runs and results ----------------------------------------------------------------------------------

    def runs(self, slug: str) -> list[tuple[str, str]]:
        """The (task, candidates) pairs for which a run of `slug` is filed."""
        files = sorted((self.folder / "runs" / slug).glob("*.trec.gz"))
        return [_pair(file.name.removesuffix(".trec.gz"), file) for file in files]

    def run_file(self, slug: str, task: str, candidates: str) -> Path:
        """Where a run is kept."""
        return self.folder / "runs" / slug / f"{task}.{candidates}.trec.gz"

    def add_run(self, slug: str, task: str, candidates: str, run: Run) -> Path:
        """Keep a run."""
        file = self.run_file(slug, task, candidates)
        write_run(run, file, slug)
        return file

    def result_file(self, slug: str, task: str, candidates: str) -> Path:
        """Where a result is kept."""
        return self.folder / "results" / slug / f"{task}.{candidates}.json"

    def result_files(self, slug: str = "*") -> list[Path]:
        """Every result file (of one submission), sorted."""
        return sorted((self.folder / "results").glob(f"{slug}/*.json"))

    def results(self, slug: str = "*") -> Iterator[Result]:
        """Every result, in the order of the files."""
        for file in self.result_files(slug):
            yield read_result(file)

    def add_result(self, result: Result) -> Path:
        """Keep a result."""
        file = self.result_file(result.submission, result.task, result.candidates.name)
        write(file, json_text(result_json(result)))
        return file

    # -- the whole folder ----------------------------------------------------------------------------------

    def reported_files(self) -> list[Path]:
        """The tables of numbers printed elsewhere."""
        return sorted((self.folder / "reported").glob("*.csv"))

    @property
    def datasets(self) -> Path:
        """Where published datasets lie, one folder each."""
        return self.folder / "datasets"

    def files(self) -> Iterator[tuple[str, Path]]:
        """Every file that belongs here, with its kind; it need not be in order, nor (board, lock) be there."""
        yield "board", self.folder / "board.toml"
        yield from (("note", self.folder / name) for name in ("lock.json", "README.md", ".gitignore"))
        yield from (("submission", file) for file in sorted((self.folder / "submissions").glob("*.toml")))
        for file in sorted((self.folder / "candidates").glob("*/*.json")):
            yield "candidates", file
            yield "note", self.candidates_file(file.parent.name, file.stem)
        yield from (("run", file) for file in sorted((self.folder / "runs").glob("*/*.trec.gz")))
        yield from (("result", file) for file in self.result_files())
        for file in sorted((self.folder / "models").glob("*/*")):
            if file.name in TRAINING_FILES:
                yield ("training" if file.name == TRAINING_FILES[0] else "note"), file
        yield from (("reported", file) for file in self.reported_files())
        yield from (("note", file) for file in sorted(self.datasets.rglob("*")) if file.is_file())


def result_json(result: Result) -> dict[str, Any]:
    """A Result as its file holds it; `digest` covers every other byte of meaning in it."""
    body = {
        "format": FORMAT,
        **{key: value for key, value in asdict(result).items() if key not in ("candidates", "measurement")},
        "candidates": result.candidates.as_json(),
        "measurement": result.measurement.as_json(),
    }
    return body | {"digest": digest_of(body)}


def read_result(file: Path) -> Result:
    """Read one result and hold it against its own digest. Raises BadInput for an edited byte."""
    values = read_json(file)
    found = values.get("format", FORMAT) if isinstance(values, dict) else FORMAT
    if found != FORMAT:
        raise BadInput(
            f"is not a result of format {FORMAT} but of {printable(str(found), 20)}; "
            "take it away and run `exabench bench run` again",
            file=file,
        )
    values = _keyed(values, {field.name for field in fields(Result)} | {"format", "digest"}, file)
    digest = values.pop("digest")
    if digest_of(values) != digest:
        raise BadInput("was edited: its digest does not fit its content; run `exabench bench run` again", file=file)
    del values["format"]
    try:
        return _result(values)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise BadInput(f"does not hold what a result holds ({type(error).__name__}: {error})", file=file) from error


def _result(values: dict[str, Any]) -> Result:
    measured = values.pop("measurement")
    convention = {key: value for key, value in measured.pop("convention").items() if key != "digest"}
    convention["text_fields"] = tuple(convention["text_fields"])
    for value in (*measured["metrics"].values(), *(v for row in measured["per_query"].values() for v in row.values())):
        if not isinstance(value, int | float):
            raise TypeError(f"{value!r} is not a number")
    measured["intervals"] = {name: (low, high) for name, (low, high) in measured["intervals"].items()}
    measurement = Measurement(convention=Convention(**convention), **measured | {"notes": tuple(measured["notes"])})
    if not isinstance(values["model"], dict):
        raise TypeError(f"model {values['model']!r} is not a table")
    cost = None if values["cost"] is None else _cost(values["cost"])
    rest = {"candidates": Candidates(**values.pop("candidates")), "cost": cost}
    return Result(measurement=measurement, **values | rest)


def _cost(values: dict[str, Any]) -> Cost:
    """A Cost from JSON, every value of its type: these numbers cannot be recomputed from the run."""
    timing = values["timing"]
    pairs = [(Cost, values), *([(Timing, timing)] if timing is not None else [])]
    for kind, given in pairs:
        for key, value in given.items():
            if key != "timing" and not _KINDS[key](value):
                raise TypeError(f"{kind.__name__.lower()}.{key} cannot be {value!r}")
    return Cost(**values | {"timing": None if timing is None else Timing(**timing)})


def _is_amount(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value >= 0


def _is_count(value: object) -> bool:
    return _is_amount(value) and isinstance(value, int)


def _is_maybe(value: object) -> bool:
    return value is None or _is_amount(value)


def _are_counts(value: object) -> bool:
    return isinstance(value, dict) and all(map(_is_count, value.values()))


def _are_quotients(value: object) -> bool:
    return isinstance(value, dict) and set(value) == {"paper", "exact"} and all(map(_is_maybe, value.values()))


def _is_text(value: object) -> bool:
    return isinstance(value, str)


_KINDS: Mapping[str, Callable[[object], bool]] = {
    **dict.fromkeys(("prompts", "input_tokens", "output_tokens", "p50", "p95"), _is_amount),
    **dict.fromkeys(("flops_paper", "flops_exact", "pairs_per_second"), _is_maybe),
    **dict.fromkeys(("cut_passages", "cut_queries", "sample"), _is_count),
    **dict.fromkeys(("rpp", "qpp"), _are_quotients),
    **dict.fromkeys(("precision", "hardware"), _is_text),
    "repairs": _are_counts,
    "parameters": lambda value: value is None or _is_count(value),
}


def _are_names(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) for name in value)


def _keyed(values: Any, wanted: set[str], file: Path) -> dict[str, Any]:
    if not isinstance(values, dict) or set(values) != wanted:
        differing = sorted(set(values) ^ wanted) if isinstance(values, dict) else []
        raise BadInput(f"does not hold the fields that belong there ({', '.join(differing)[:200]})", file=file)
    return values


def _pair(stem: str, file: Path) -> tuple[str, str]:
    task, dot, candidates = stem.partition(".")
    if not dot:
        raise BadInput("must be called <task>.<candidates>.trec.gz", file=file)
    return task, candidates


def _same_digest(file: Path, digest: str, what: str) -> None:
    found = digest_of(read_bytes(file))
    if found != digest:
        raise BadInput(f"is not the {what} of digest {digest[:19]}...: it has {found[:19]}...", file=file)
