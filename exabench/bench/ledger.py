"""The ledger: a leaderboard's folder on disk, and the only code that knows its layout.

board.toml                             title, tasks, and what else its keeper says (bench/settings)
tasks/<name>.toml                      the custom tasks: what they are, and where they are read
submissions/<slug>.toml                what was sent
candidates/<task>/<name>.trec.gz .json the frozen lists that everybody reranks
candidates/<task>/<name>.shown.json.gz what pages show of them: queries, grades, excerpts where the licence allows it
runs/<slug>/<task>.<candidates>.trec.gz
results/<slug>/<task>.<candidates>.json
models/<slug>/training.json ...        how a trained model was trained: its report, never its weights
datasets/<name>/                       published datasets
reported/*.csv                         numbers printed elsewhere
reported/tables.toml                   their titles and sources
studies/<name>/report.json             reports of studies
changes.jsonl                          why each number is what it is: one line for each that came, changed or went
pending/<slug>/                        what waits here, or was taken and refused (answer.json): no part of the board yet
lock.json                              commits and digests resolved at first use
"""

from __future__ import annotations

import json
import os
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any

from msgspec import Meta

from exabench.bench.settings import BoardSettings, check_settings, read_settings, settings_text
from exabench.bench.study_reports import StudyReport, read_study_report
from exabench.bench.submissions import (
    DRAWING,
    LINK,
    TRAINING_FILES,
    Training,
    read_submission,
    read_training,
    submission_text,
)
from exabench.core.errors import BadInput, UnknownName, printable
from exabench.core.files import (
    check_can_hold,
    digest_of,
    escape_unseen,
    file_digest,
    from_json,
    from_toml,
    is_unfinished,
    json_text,
    read_bytes,
    read_json,
    read_text,
    read_toml,
    toml_lines,
    toml_text,
    write,
    writing,
)
from exabench.core.nouns import RESULT_FORMAT, BoardChange, Candidates, Result, Run, Submission, Task
from exabench.core.records import Record, as_builtins, read
from exabench.measure.metric_values import ByMetric
from exabench.measure.runs import read_run, write_run
from exabench.measure.statistics import PairedTest
from exabench.tasks.catalogue import expand, tasks as table
from exabench.tasks.custom import description_of, file_task, place_of

_READABLE = range(2, RESULT_FORMAT + 1)
_MOST_CANDIDATES = 1_000_000  # of one query: a list's name has room for six digits
_MOST_QUERIES = 10**9  # a thousand times those of the largest collection
_CANDIDATES_NAME = re.compile(r"[a-z0-9][a-z0-9+-]{0,62}-(\d{1,6})")

NumberKey = tuple[str, str, str, str]
"""The place of a number on a board: submission, task, candidates, metric."""


class ReportedSource(Record, frozen=True):
    """Where a table of reported/ comes from: a section of reported/tables.toml, named as the table's file is."""

    title: str
    about: str = ""
    link: Annotated[str, Meta(pattern=f"^{LINK.pattern}$")] = ""


@dataclass(frozen=True)
class Ledger:
    """A leaderboard folder. Nothing is cached: every call reads what is there."""

    folder: Path

    @property
    def lock(self) -> Path:
        """Where commits and digests looked up at first use are kept."""
        return self.folder / "lock.json"

    @property
    def settings_file(self) -> Path:
        """Where the keeper says what the board shows."""
        return self.folder / "board.toml"

    @property
    def workflow_file(self) -> Path:
        """Where the workflow is kept that checks, rebuilds and publishes the board; it need not be there."""
        return self.folder / "rebuild.yml"

    def settings(self) -> BoardSettings:
        """What board.toml says. Raises BadInput."""
        self.check_exists()
        return read_settings(self.settings_file)

    def check_exists(self) -> None:
        """Raise BadInput where the folder is not a leaderboard."""
        if not self.settings_file.is_file():
            raise BadInput(
                "is not a leaderboard: board.toml is missing; name another folder with --board, or make one there with "
                f"exabench board init --board {shlex.quote(str(self.folder))}",
                file=self.folder,
            )

    def is_new(self) -> bool:
        """Is there nothing here yet? Raises BadInput where the folder holds anything but a leaderboard.

        What comes before board.toml, the lock file and what a killed writer did not finish, is nothing yet.
        """
        check_can_hold(self.folder)
        if not self.folder.exists():
            return True
        if self.folder.is_dir() and not self.settings_file.exists():
            others = [path for path in self.folder.iterdir() if not is_unfinished(path) and path != self.lock]
            if not others:
                return True
        self.check_exists()
        return False

    def create(
        self,
        title: str,
        tasks: Sequence[str],
        views: Mapping[str, list[str]] | None = None,
        *,
        data: str | Path | None = None,
        **others: str,
    ) -> None:
        """A fresh board.toml, unless one is there, of what `new_settings` takes."""
        if not self.settings_file.is_file():
            self.write_settings(self.new_settings(title, tasks, views, data=data, **others))

    def new_settings(
        self,
        title: str,
        tasks: Sequence[str],
        views: Mapping[str, list[str]] | None = None,
        *,
        data: str | Path | None = None,
        **others: str,
    ) -> BoardSettings:
        """The settings of a board before it is there; `views` are overviews over some of the tasks, by title.

        `others` are texts by the names of settings.KEYS; `data` holds custom tasks. Raises BadInput for a value that
        does not fit.
        """
        settings = BoardSettings(title=title, tasks=[*tasks], views={**(views or {})}, **others)
        check_settings(settings)
        self._tasks_of_views(settings, data)
        return settings

    def write_settings(self, settings: BoardSettings) -> None:
        """Write board.toml, which makes a folder a board."""
        write(self.settings_file, settings_text(settings))

    # -- submissions ---------------------------------------------------------------------------------------

    def submissions(self) -> dict[str, Submission]:
        """Every submission by slug, in the order of the slugs. Raises BadInput for one that cannot be read."""
        readable, problems = self.readable_submissions()
        for problem in problems.values():
            raise problem
        return readable

    def readable_submissions(self) -> tuple[dict[str, Submission], dict[str, BadInput]]:
        """The submissions that can be read, and why the others cannot, both by slug."""
        readable = {}
        problems = {}
        for file in sorted(self.folder.glob("submissions/*.toml")):
            try:
                readable[file.stem] = self.submission(file)
            except BadInput as error:
                problems[file.stem] = error
        return readable, problems

    def submission_file(self, slug: str) -> Path:
        """Where a submission is kept."""
        return self.folder / "submissions" / f"{slug}.toml"

    def submission(self, file: Path) -> Submission:
        """One filed submission. Raises BadInput where the file does not carry its slug."""
        submission = read_submission(file)
        if submission.slug != file.stem:
            raise BadInput(f"holds {submission.name}, so it must be named {submission.slug}.toml", file=file)
        return submission

    def add_submission(self, submission: Submission) -> Path:
        """File a submission. Raises BadInput for a name that differs from a filed one in case only."""
        for other in self.slugs_in_other_case(submission.slug):
            raise BadInput(f"{submission.name} differs from the existing {other} only in case; choose another name")
        file = self.submission_file(submission.slug)
        write(file, submission_text(submission))
        return file

    def slugs_in_other_case(self, slug: str) -> list[str]:
        """The filed slugs that differ from this one in case only: one file system would take them for the same."""
        slugs = sorted(file.stem for file in self.folder.glob("submissions/*.toml"))
        return [other for other in slugs if other != slug and other.lower() == slug.lower()]

    def trainings(self) -> dict[str, Training]:
        """The reports of trained models by slug. Raises BadInput for one that could not have been filed."""
        files = sorted(self.folder.glob(f"models/*/{TRAINING_FILES[0]}"))
        return {file.parent.name: read_training(file.parent) for file in files}

    def training_folder(self, slug: str) -> Path:
        """Where the report of a submission's training is kept."""
        return self.folder / "models" / slug

    def add_training(self, slug: str, training: Training | None) -> list[Path]:
        """Keep how `slug` was trained, in place of what was known of it; None forgets that. Returns the files."""
        folder = self.training_folder(slug)
        files = dict(training.files) if training else {}
        with writing(folder):
            for name in (*TRAINING_FILES, DRAWING):
                if name not in files:
                    (folder / name).unlink(missing_ok=True)
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()
        for name in reversed(files):  # training.json comes last: without it nothing is taken for a report
            write(folder / name, files[name])
        return [folder / name for name in files]

    # -- tasks ---------------------------------------------------------------------------------------------

    def task_file(self, name: str) -> Path:
        """Where a custom task is described."""
        return self.folder / "tasks" / f"{name}.toml"

    def check_task(self, task: Task) -> None:
        """Raise BadInput where the board describes a custom task of this name otherwise."""
        file = self.task_file(task.name)
        if task.name in table() or not file.is_file():
            return
        own = description_of(task)
        filed = description_of(file_task(file.resolve()))
        differing = sorted(key for key in own.keys() | filed.keys() if own.get(key) != filed.get(key))
        if differing:
            raise BadInput(
                f"describes {task.name} differently ({', '.join(differing)}); make the two match, or give this task "
                "another name",
                file=file,
            )

    def add_task(self, task: Task) -> Path | None:
        """Describe a custom task, unless the board does already; one of the table needs no file."""
        file = self.task_file(task.name)
        if task.name in table() or file.is_file():
            return None
        source = place_of(task)
        # Other sources (irds:, hub:) read the same from everywhere.
        if task.folder:  # as a path from the file, so that board and collection can be moved together
            source = os.path.relpath(task.folder.resolve(), file.parent.resolve())
        write(file, toml_lines([*description_of(task).items(), ("source", source)]))
        return file

    def tasks(self, data: str | Path | None = None) -> list[Task]:
        """The tasks that board.toml lists, suites replaced by theirs. Raises BadInput."""
        return expand(self.settings().tasks, data=data, board=self.folder)

    def views(self) -> dict[str, list[Task]]:
        """The tasks of each view of board.toml by its title. Raises BadInput for one that the board does not list."""
        return self._tasks_of_views(self.settings(), None)

    def _tasks_of_views(self, settings: BoardSettings, data: str | Path | None) -> dict[str, list[Task]]:
        views: dict[str, list[Task]] = {}
        if not settings.views:
            return views
        listed = set[str]()
        for one in expand(settings.tasks, data=data, board=self.folder):
            listed.update(one.members or (one.name,))
        for title, names in settings.views.items():
            views[title] = expand(names, data=data, board=self.folder)
            for one in views[title]:
                if not listed.issuperset(one.members or (one.name,)):
                    raise BadInput(
                        f"view {printable(title)!r} names {one.name}, which is not a task of this board; "
                        f"choose from: {', '.join(settings.tasks)}; or add it to tasks",
                        file=self.settings_file,
                    )
        return views

    def lists_task(self, name: str, data: str | Path | None = None) -> bool:
        """Does board.toml list a task, or one that it is a member of? Its pages show only those. Raises BadInput."""
        return any(name in (task.members or (task.name,)) for task in self.tasks(data))

    def list_task(self, name: str) -> bool:
        """Add a task to those that board.toml lists, and change nothing else there; False where that cannot be done."""
        file = self.settings_file
        before = read_toml(file)
        text = read_text(file)
        # The array alone is edited: written again, the file would lose its comments. Behind the head of a table a key
        # `tasks` would be a view's.
        head = re.split(r"^\s*\[", text, maxsplit=1, flags=re.MULTILINE)[0]
        listed = re.search(r"^tasks\s*=\s*\[[^\]#]*?(?P<end>,?\s*)\]", head, flags=re.MULTILINE)
        if listed is None:  # with comments between the names, say: to be edited by hand
            return False
        place = listed.start("end")
        text = f"{text[:place]}, {toml_text(name)}{text[place:]}"
        try:
            # An edit by pattern is believed only when TOML reads what was meant.
            is_good = from_toml(text) == {**before, "tasks": [*before["tasks"], name]}
        except ValueError:
            return False
        if is_good:
            write(file, text)
        return is_good

    # -- candidates ----------------------------------------------------------------------------------------

    def candidates(self, task: str | None = None) -> list[Candidates]:
        """Every candidate list (of one task), in the order of task and name."""
        files = sorted(self.folder.glob(f"candidates/{task or '*'}/*.json"))
        return [self._read_candidates(file) for file in files]

    def one_candidates(self, task: str, name: str) -> Candidates:
        """The list called `name` for `task`. Raises UnknownName with those that exist."""
        found = {candidates.name: candidates for candidates in self.candidates(task)}
        if name not in found:
            raise UnknownName(f"candidates for {task}", name, found, file=self.folder)
        return found[name]

    def check_has_candidates(self, task: str | None, name: str | None) -> None:
        """Raise UnknownName where no list is of `task`, or none (of it) is called `name`; None is any."""
        lists = self.candidates()
        tasks = {one.task for one in lists}
        if task is not None and task not in tasks:
            raise UnknownName("task with candidates", task, tasks, file=self.folder)
        names = {one.name for one in lists if task in (None, one.task)}
        if name is not None and name not in names:
            raise UnknownName("candidates", name, names, file=self.folder)

    def candidates_run(self, candidates: Candidates) -> Run:
        """The ranking of a candidate list. Raises BadInput where the file is not the one of the digest."""
        file = self.candidates_file(candidates.task, candidates.name)
        digest = digest_of(read_bytes(file))
        if digest != candidates.digest:  # then results over it were measured on something else
            wanted = candidates.digest[:19]
            raise BadInput(f"is not the candidate list of digest {wanted}...: it has {digest[:19]}...", file=file)
        return read_run(file, candidates.name)

    def candidates_file(self, task: str, name: str) -> Path:
        """Where a list's ranking is kept."""
        return self.folder / "candidates" / task / f"{name}.trec.gz"

    def description_file(self, task: str, name: str) -> Path:
        """Where the description of a list is kept."""
        return self.folder / "candidates" / task / f"{name}.json"

    def add_candidates(self, candidates: Candidates, run: Run) -> Path:
        """Freeze a list; the JSON comes last, so that a list is there whole or not at all."""
        depth_in_name(candidates.name)
        file = self.description_file(candidates.task, candidates.name)
        if file.is_file() and self._read_candidates(file).digest != candidates.digest:
            raise BadInput(
                "is already frozen with another digest, which results refer to; choose another --name",
                file=file,
            )
        write_run(run, self.candidates_file(candidates.task, candidates.name), candidates.name)
        if not file.is_file():  # results hold the description too: the first one stays, wherever the task is read next
            write(file, json_text(candidates.as_json()))
        return file

    def replace_description(self, candidates: Candidates) -> None:
        """Describe a frozen list again: with other judgements than those that it was frozen with, or another credit."""
        write(self.description_file(candidates.task, candidates.name), json_text(candidates.as_json()))

    def shown_file(self, task: str, name: str) -> Path:
        """Where what pages show of a list is kept (bench/excerpts writes and reads it); it need not be there."""
        return self.folder / "candidates" / task / f"{name}.shown.json.gz"

    def _read_candidates(self, file: Path) -> Candidates:
        values = read_json(file)
        candidates = read(Candidates, values, file=file)
        # A key too many, or too few: results hold the description, so it must mean the same to every reader.
        if candidates.as_json() != values:
            raise BadInput("does not have the fields of a candidate list", file=file)
        if (candidates.task, candidates.name) != (file.parent.name, file.stem):
            raise BadInput(
                f"describes {candidates.task}/{candidates.name}: its path and its content disagree", file=file
            )
        _check_numbers(candidates, file)
        return candidates

    # -- runs and results ----------------------------------------------------------------------------------

    def runs(self, slug: str) -> list[tuple[str, str]]:
        """The (task, candidates) pairs for which a run of `slug` is filed."""
        pairs = []
        for file in sorted(self.folder.glob(f"runs/{slug}/*.trec.gz")):
            task, dot, candidates = file.name.removesuffix(".trec.gz").partition(".")
            if not dot:
                raise BadInput("must be named <task>.<candidates>.trec.gz", file=file)
            pairs.append((task, candidates))
        return pairs

    def slugs_with_run(self, task: str, candidates: str) -> list[str]:
        """The submissions of which a run over this list is kept, sorted."""
        return sorted(file.parent.name for file in self.folder.glob(run_path("*", task, candidates)))

    def run_file(self, slug: str, task: str, candidates: str) -> Path:
        """Where a run is kept."""
        return self.folder / run_path(slug, task, candidates)

    def run(self, slug: str, task: str, candidates: str) -> Run:
        """The stored run of a submission.

        Raises BadInput for a file that carries another name as its tag: it is a copy of another submission's run, or
        was never checked.
        """
        file = self.run_file(slug, task, candidates)
        run = read_run(file, slug)
        words = read_bytes(file).split(maxsplit=6)  # six to a line, the tag is the last
        tag = b"".join(words[5:6]).decode(errors="replace")
        if tag != slug:
            raise BadInput(
                f"has the tag {printable(tag)!r}, so it is not a run of {slug}; use `exabench bench submit`",
                file=file,
            )
        return run

    def has_run(self, slug: str, task: str, candidates: str) -> bool:
        """Is a run kept there? A board of thousands asks this of each: paths as text cost a tenth."""
        return os.path.isfile(f"{self.folder}/{run_path(slug, task, candidates)}")

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
        return sorted(self.folder.glob(f"results/{slug}/*.json"))

    def slugs_with_results(self) -> list[str]:
        """The submissions that have a result, sorted."""
        return sorted({file.parent.name for file in self.result_files()})

    def results(self, slug: str = "*") -> Iterator[Result]:
        """Every result, in the order of the files."""
        for file in self.result_files(slug):
            yield read_result(file)

    def results_on(self, task: str, candidates: str) -> Iterator[Result]:
        """Every result over one list of a task, in the order of the submissions."""
        for file in sorted(self.folder.glob(f"results/*/{task}.{candidates}.json")):
            yield read_result(file)

    def add_result(self, result: Result) -> Path:
        """Keep a result."""
        file = self.result_file(result.submission, result.task, result.candidates.name)
        write(file, json_text(result_json(result)))
        return file

    # -- the change log ------------------------------------------------------------------------------------

    def changes(self) -> tuple[BoardChange, ...]:
        """Every change of a headline number, oldest first. Raises BadInput with the line that is not a BoardChange."""
        changes = []
        for number, line in enumerate(self._whole_lines().splitlines(), 1):
            try:
                values = from_json(line.decode())
                values.pop("digest", None)  # version 0.1 chained the lines by digests
                changes.append(read(BoardChange, values))
            except (ValueError, TypeError, AttributeError, RecursionError, BadInput) as error:
                raise BadInput(f"is not a line of a change log ({error})", file=self.change_log, line=number) from error
        return tuple(changes)

    def add_changes(self, changes: Sequence[BoardChange]) -> None:
        """Add lines to the change log; the caller holds the lock of the folder (files.only_writer).

        What a killed writer left of a line is removed first. Raises CannotWrite.
        """
        if not changes:
            return
        text = ""
        for change in changes:
            text += escape_unseen(json.dumps(asdict(change), ensure_ascii=False, allow_nan=False)) + "\n"
        end = len(self._whole_lines())
        with writing(self.change_log):
            self.folder.mkdir(parents=True, exist_ok=True)
            with open(self.change_log, "ab") as stream:
                stream.truncate(end)  # half a line is what a killed writer leaves
                stream.write(text.encode())
                stream.flush()
                os.fsync(stream.fileno())

    def _whole_lines(self) -> bytes:
        """The bytes of the change log up to the end of its last whole line."""
        data = read_bytes(self.change_log) if self.change_log.is_file() else b""
        return data[: data.rfind(b"\n") + 1]

    @property
    def change_log(self) -> Path:
        """Where the change log is kept."""
        return self.folder / "changes.jsonl"

    # -- the whole folder ----------------------------------------------------------------------------------

    @property
    def pending(self) -> Path:
        """Where submissions wait, one folder each."""
        return self.folder / "pending"

    def reported_files(self) -> list[Path]:
        """The tables of numbers printed elsewhere."""
        return sorted(self.folder.glob("reported/*.csv"))

    @property
    def reported_titles(self) -> Path:
        """Where the titles and sources of these tables stand."""
        return self.folder / "reported" / "tables.toml"

    def reported_sources(self) -> dict[str, ReportedSource]:
        """Title and source of each table of numbers printed elsewhere, by the name of its file. Raises BadInput."""
        if not self.reported_titles.is_file():
            return {}
        return read(dict[str, ReportedSource], read_toml(self.reported_titles), file=self.reported_titles)

    def study_report(self, name: str) -> Path:
        """Where the report of a study is kept."""
        return self.folder / "studies" / name / "report.json"

    def one_study(self, name: str) -> StudyReport:
        """The report of a study. Raises BadInput, also for that of another one in its folder."""
        file = self.study_report(name)
        report = read_study_report(file)
        if report.name != name:
            raise BadInput(f"is the report of {printable(report.name)}, in the folder of another study", file=file)
        return report

    def study_reports(self) -> list[StudyReport]:
        """The reports of all studies, in the order of their names. Raises BadInput."""
        return [self.one_study(file.parent.name) for file in sorted(self.folder.glob("studies/*/report.json"))]

    @property
    def datasets(self) -> Path:
        """Where published datasets lie, one folder each."""
        return self.folder / "datasets"

    def files(self) -> Iterator[tuple[str, Path]]:
        """Every file that belongs here, with its kind; it need not be in order, nor (board, lock) be there."""
        yield "board", self.settings_file
        yield "workflow", self.workflow_file
        for name in ("lock.json", "README.md", ".gitignore", "submissions/README.md"):
            yield "note", self.folder / name
        for kind, pattern in _FILES:
            for file in sorted(self.folder.glob(pattern)):
                yield kind, file
                if kind == "candidates":  # a ranking that no description belongs to is no one's
                    yield "note", self.candidates_file(file.parent.name, file.stem)
        for folder in (self.datasets, self.pending):  # what waits is looked at when it is taken
            for file in sorted(folder.rglob("*")):
                if file.is_file():
                    yield "note", file


# The kinds of files of a board, and where they lie.
_FILES = (
    ("task", "tasks/*.toml"),
    ("submission", "submissions/*.toml"),
    ("candidates", "candidates/*/*.json"),
    ("shown", "candidates/*/*.shown.json.gz"),
    ("run", "runs/*/*.trec.gz"),
    ("result", "results/*/*.json"),
    ("training", f"models/*/{TRAINING_FILES[0]}"),
    *(("note", f"models/*/{name}") for name in (*TRAINING_FILES[1:], DRAWING)),
    ("reported", "reported/*.csv"),
    ("titles", "reported/tables.toml"),
    ("study", "studies/*/report.json"),
    ("changes", "changes.jsonl"),
)

REPORTED_COLUMNS = tuple("system dataset first_stage topk metric value source".split())
"""The head of a table in reported/ whose values can be shown next to measured ones."""


def depth_in_name(name: str) -> int:
    """The depth that the name of a candidate list says: 100 of bm25-100. Raises BadInput for a name without one."""
    match = _CANDIDATES_NAME.fullmatch(name)
    if match is None:
        raise BadInput(
            f"candidates {printable(name)!r} must be named <retriever>-<depth>, in a-z, 0-9, + and -, as in bm25-100"
        )
    return int(match[1])


def _check_numbers(candidates: Candidates, file: Path) -> None:
    """Raise BadInput for a number that no list can have."""
    if not 1 <= candidates.depth < _MOST_CANDIDATES:
        raise BadInput(f"depth must be from 1 to {_MOST_CANDIDATES - 1:,}, not {candidates.depth}", file=file)
    counts = {"queries": candidates.queries}
    if candidates.coverage is not None:
        counts |= vars(candidates.coverage)
    for name, count in counts.items():
        if not 0 <= count <= _MOST_QUERIES:
            raise BadInput(f"{printable(name)} must be from 0 to {_MOST_QUERIES:,}, not {count}", file=file)
    if not 0 <= candidates.recall <= 1:
        raise BadInput(f"recall must be from 0 to 1, not {candidates.recall}", file=file)


def run_path(slug: str, task: str, candidates: str) -> str:
    """Where a run is kept in a leaderboard's folder."""
    return f"runs/{slug}/{task}.{candidates}.trec.gz"


def last_values(changes: Sequence[BoardChange]) -> dict[NumberKey, float | None]:
    """The value that the change log has now for each number; None: it went."""
    return {(c.submission, c.task, c.candidates, c.metric): c.after for c in changes}


def result_json(result: Result) -> dict[str, Any]:
    """A Result as its file holds it; `digest` covers every other byte of meaning in it."""
    body = _result_body(result)
    return {**body, "digest": digest_of(body)}


def _result_body(result: Result) -> dict[str, Any]:
    """The part that the digest covers."""
    body = {**as_builtins(result), "measurement": result.measurement.as_json()}
    body["candidates"] = result.candidates.as_json()
    if result.cost is not None:
        body["cost"].pop("passages", None)  # msgspec leaves out a default that was not given
        if result.format >= 5:
            body["cost"]["passages"] = result.cost.passages
    return body


def read_result(file: Path, *, of: str = "") -> Result:
    """Read one result and check its own digest, or the file against the digest `of` when it was last read.

    Raises BadInput for an edited byte, for content of another shape, and for a file under another name than its
    content says.
    """
    if of and file_digest(file) != of:
        raise BadInput("was changed while the board was read; build again", file=file)
    body = read_json(file)
    if not isinstance(body, dict):
        raise BadInput("does not contain a result", file=file)
    number = body.get("format", RESULT_FORMAT)
    if number not in _READABLE:
        raise BadInput(
            f"is not a result of format {RESULT_FORMAT} but of {printable(str(number))}; "
            "delete it and run `exabench bench run` again",
            file=file,
        )
    digest = body.pop("digest", "")
    if not of and digest_of(body) != digest:
        raise BadInput("was edited: its digest does not match its content; run `exabench bench run` again", file=file)
    result = read(Result, body, file=file, what="does not contain a result:")
    # A key too many, or a number that no model can have; the cost cannot be recomputed from the run.
    cost = body.get("cost")
    is_sound = cost is None or {*cost["rpp"]} == {*cost["qpp"]} == {"paper", "exact"} and not _has_negative(cost)
    if result.cost is not None and (result.cost.cut_share or 0) > 1:
        is_sound = False
    if not is_sound or _result_body(result) != body:
        raise BadInput("does not contain a result: `exabench bench run` writes other fields", file=file)
    if (file.parent.name, file.stem) != (result.submission, f"{result.task}.{result.candidates.name}"):
        raise BadInput("has a name that does not match its content", file=file)
    _check_numbers(result.candidates, file)
    gain_of(result, file)
    measured = result.measurement
    _check_metrics(result, file)
    measured = replace(
        measured,
        metrics=ByMetric(measured.metrics),
        intervals=ByMetric(measured.intervals),
        per_query=ByMetric(measured.per_query),
    )
    return replace(
        result, measurement=measured, first_stage=ByMetric(result.first_stage), ceiling=ByMetric(result.ceiling)
    )


def gain_of(result: Result, file: Path | None = None) -> PairedTest:
    """The paired test against the first stage that a result holds. Raises BadInput where it holds none."""
    stored = dict(result.gain)
    if result.format < 3:  # version 0.1 stored the p of two tests
        stored["p"] = stored.pop("t_test", None)
        stored.pop("randomisation", None)
    return read(PairedTest, stored, file=file, what="gain")


def _check_metrics(result: Result, file: Path) -> None:
    """Raise BadInput where a metric lacks a number that readers of results expect."""
    measured = result.measurement
    if measured.ties.keys() != {"rate", "worst", "best"}:
        raise BadInput("does not contain a result: ties have a rate, a worst and a best value", file=file)
    by_metric = (measured.metrics, measured.intervals, measured.per_query, result.first_stage, result.ceiling)
    for metric in (measured.headline, *measured.metrics):
        if not all(metric in values for values in by_metric):
            lacking = f"lacks a value of {printable(metric)}"
            raise BadInput(f"does not contain a result: it {lacking}; run `exabench bench verify`", file=file)


def _has_negative(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_has_negative, value.values()))
    return isinstance(value, int | float) and value < 0
