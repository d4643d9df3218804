"""Systems: a run on a task or on any judgements, or a run for each task of a suite; all are found first."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from exabench.bench.suite_means import Suite
from exabench.core.errors import BadInput, printable
from exabench.core.nouns import Run
from exabench.measure.runs import run_from
from exabench.tasks.catalogue import aliases


@dataclass(frozen=True)
class System:
    """What is scored under one name: its run for each task, by the task's name ("" for judgements without a task)."""

    name: str
    runs: Mapping[str, Run]


def read_systems(given: Sequence[Any], suite: Suite | None, task: str = "") -> list[System]:
    """Read systems on a `suite`, or on one `task` ("": any judgements).

    A run is given as `measure.runs.run_from` takes it; on a suite a system is a folder of runs, or a run for each task
    by its name. Names are those of the runs; of a suite those of the folders. Where two are called alike, paths are
    taken. Raises BadInput for a run that is not there, before one is read, for one run on a suite, and for a suite of
    which tasks have no run.
    """
    if not given:
        raise BadInput("no run is given")
    found = []
    for system in given:
        if suite:
            found.append(_runs_of_suite(system, suite))
        else:
            found.append({task: _single_run(system)})
    # All are looked for before one is read: a large run takes seconds, and a name may be misspelt.
    systems = []
    for system, runs in zip(given, found, strict=True):
        read = {name: run_from(run) for name, run in runs.items()}
        systems.append(System(_name_of(system, read), read))
    # Runs of two folders are often called alike (run.trec), or carry the tag of one program: then their paths tell.
    paths: dict[str, set[str]] = {}
    for system, one in zip(given, systems, strict=True):
        if isinstance(system, str | Path):
            paths.setdefault(one.name, set()).add(str(system))
    for place, system in enumerate(given):
        one = systems[place]
        if isinstance(system, str | Path) and len(paths[one.name]) > 1:
            systems[place] = System(str(system), one.runs)
    return systems


def _name_of(given: Any, runs: Mapping[str, Run]) -> str:
    if isinstance(given, str | Path) and Path(given).is_dir():
        return Path(given).resolve().name
    names = {run.name for run in runs.values()}
    return names.pop() if len(names) == 1 else "runs"


def _single_run(given: Any) -> Any:
    if isinstance(given, str | Path):
        if Path(given).is_dir():
            raise BadInput("is a folder; name a run file, or give a suite with --task", file=given)
        check_run(given)
    elif _is_by_task(given):
        named = ", ".join(printable(str(name)) for name in given)
        raise BadInput(f"runs are given by task ({named}), which only a suite takes: name one with --task")
    return given


def _is_by_task(given: Any) -> bool:
    """Is it a mapping of runs, and not one run as `{query: {passage: score}}`?"""
    if not isinstance(given, Mapping) or isinstance(given, Run) or not given:
        return False
    # The values of one run are mappings of scores; runs by task are files or Runs.
    return all(isinstance(run, str | Path | Run) for run in given.values())


def check_run(path: str | Path) -> None:
    """Raise BadInput where there is no such file, with those of like names next to it."""
    path = Path(path)
    if path.exists() or str(path) == "-":
        return
    near = near_files(path)
    hint = f"; did you mean {' or '.join(near)}?" if near else ""
    raise BadInput(f"cannot be read: there is no such run{hint}", file=path)


def near_files(path: Path) -> list[str]:
    """The paths of files next to `path` whose names are like its own, the nearest first."""
    if not path.parent.is_dir():
        return []
    names = [file.name for file in path.parent.iterdir() if file.is_file()]
    return [str(path.parent / name) for name in difflib.get_close_matches(path.name, sorted(names), n=3)]


def _runs_of_suite(given: Any, suite: Suite) -> dict[str, Any]:
    first = suite.tasks[0].name
    how = f"give a folder with a run for each, as in {first}.trec, or {first}=RUN and so on for each"
    if isinstance(given, Mapping) and not isinstance(given, Run):
        # By the names of other tools, too: SciFact and beir-v1.0.0-scifact are scifact.
        runs = {aliases().get(str(name).lower(), str(name)): run for name, run in given.items()}
        where = "no run is given"
    elif not isinstance(given, str | Path) or Path(given).is_file():
        named = given
        if not isinstance(given, str | Path):
            named = getattr(given, "name", "what is given")
        raise BadInput(f"{suite.name} stands for {len(suite.tasks)} tasks, and {named} is one run; {how}")
    elif not Path(given).is_dir():
        raise BadInput(f"there is no such folder of runs on {suite.name}; {how}", file=given)
    else:
        runs = _runs_in(Path(given), suite)
        where = f"{given} contains no run"
    names = [task.name for task in suite.tasks]
    for name in runs:
        if name not in names:
            raise BadInput(f"{printable(name)} is not a task of {suite.name}; choose from: {', '.join(names)}")
    missing = [name for name in names if name not in runs]
    if missing:
        listed = ", ".join(missing)
        raise BadInput(f"{where} for {listed}, and {suite.name} is the mean of all its tasks; {how}")
    for run in runs.values():
        if isinstance(run, str | Path):
            check_run(run)
    return {name: runs[name] for name in names}


def _runs_in(folder: Path, suite: Suite) -> dict[str, Path]:
    """The run of each task in a folder: the file that is called as the task is, among other words between points."""
    found: dict[str, Path] = {}
    files = sorted(file for file in folder.iterdir() if file.is_file() and not file.name.startswith("."))
    for task in suite.tasks:
        names = {task.name, *(other.lower() for other in task.aliases)}
        # Whole words between points: scifact must not be found in nano-scifact.trec.
        of_task = [file for file in files if names & set(file.name.lower().split("."))]
        if len(of_task) > 1:
            listed = " and ".join(file.name for file in of_task)
            raise BadInput(f"has {listed} for {task.name}: keep one, or give {task.name}=RUN", file=folder)
        for file in of_task:
            found[task.name] = file
    return found
