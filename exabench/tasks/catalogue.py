"""The table of tasks and suites, read from the TOML pages in tasks/, and the custom tasks next to it."""

from __future__ import annotations

import contextlib
import difflib
import functools
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from exabench.core.errors import BadInput, UnknownName, printable
from exabench.core.files import read_toml
from exabench.core.nouns import Task
from exabench.core.records import read
from exabench.hub.client import is_repo
from exabench.tasks.custom import (
    DESCRIPTION,
    TaskValues,
    file_task,
    folder_task,
    is_collection,
    make_task,
    place_of,
    plain_name,
    remote_task,
)

FOLDER = Path(__file__).parent


class _TableTask(TaskValues, frozen=True):
    """A task of a page of the table: also where it is read, and what was published of its judgements."""

    aliases: tuple[str, ...] = ()
    members: tuple[str, ...] = ()
    also_judgements: dict[str, str] = {}
    qrels_md5: str | None = None
    ir_datasets: str | None = None
    hub: dict[str, str] | None = None
    needs_licence: str | None = None
    subset_of: str = ""


# Keys of the table alone: a task.toml names its one place as `source`, and nothing was published of its judgements.
_OF_TABLE = [key for key in _TableTask.__struct_fields__ if key not in TaskValues.__struct_fields__]


@functools.cache
def tasks() -> dict[str, Task]:
    """Every task of the table by name, in the order of the pages."""
    found = {}
    for page in sorted(FOLDER.glob("*.toml")):
        if page.name == "suites.toml":  # it groups tasks, and describes none
            continue
        for name, values in read_toml(page).items():
            row = read(_TableTask, values, file=page, what=f"[{name}]")
            found[name] = make_task(name, row, page, **{key: getattr(row, key) for key in _OF_TABLE})
    return found


def suite_name(name: str) -> str:
    """The name of the suite that `name` stands for, in any case, with or without hyphens (NanoBEIR); "" for none."""
    for suite in suites():
        if suite.replace("-", "") == name.lower().replace("-", ""):
            return suite
    return ""


@functools.cache
def suites() -> dict[str, tuple[str, ...]]:
    """Every suite's tasks by the suite's name."""
    return {name: tuple(suite["tasks"]) for name, suite in read_toml(FOLDER / "suites.toml").items()}


def by_suite(listed: Iterable[Task]) -> dict[str, list[Task]]:
    """Tasks under the first suite that each is in, as "suite: title".

    The parts of a mean are behind it (CQADupStack's forums); tasks of no suite come last, under "in no suite".
    """
    left = {task.name: task for task in listed}
    groups: dict[str, list[Task]] = {}
    for suite, values in read_toml(FOLDER / "suites.toml").items():
        title = f"{suite}: {values['title']}"
        for member in values["tasks"]:
            for name in (member, *tasks()[member].members):
                if name in left:  # not where it is listed above: beir-15 is a part of beir-18
                    groups.setdefault(title, []).append(left.pop(name))
    if left:
        groups["in no suite"] = list(left.values())
    return groups


@functools.cache
def aliases() -> Mapping[str, str]:
    """The name of a task in the table by each name that it has (`names_of`), in lower case."""
    found: dict[str, str] = {}
    for name, task in tasks().items():
        for other in names_of(task):
            found.setdefault(other.lower(), name)
    return found


def names_of(task: Task) -> list[str]:
    """The names of a task, each once: its own, those of its page (BEIR, MTEB, Anserini), of ir_datasets and of the Hub.

    That of ir_datasets is also taken without the split behind it. A repository of the Hub that holds many tasks is the
    name of none.
    """
    names = [task.name, *task.aliases]
    if task.ir_datasets:
        names.append(task.ir_datasets)
        # beir/scifact/test and msmarco-passage/trec-dl-2019/judged are known without these endings.
        for split in ("test", "judged"):
            names.append(task.ir_datasets.removesuffix(f"/{split}"))
    if task.hub:
        repo = task.hub["repo"]
        if len(tasks_in_repository(repo)) < 2:
            names.append(repo)
    return list(dict.fromkeys(names))  # an id without a split is the same with and without one taken off


def tasks_in_repository(repo: str) -> list[Task]:
    """The tasks of the table that a repository of the Hub holds; some hold one for each language or domain."""
    found = []
    for one in tasks().values():
        if one.hub and one.hub["repo"] == repo:
            found.append(one)
    return found


def task(name: str | Path | Task, *, data: str | Path | None = None, board: str | Path | None = None) -> Task:
    """The task that `name` stands for.

    That is, in this order: a Task; a name of the table or another name of such a task, in any case; `irds:ID` or
    `hub:OWNER/NAME[@COMMIT]`; the path of a folder in BEIR layout or of a task.toml; a task that `board` describes
    in tasks/<name>.toml; a folder of `data`. Raises UnknownName with the nearest names, BadInput.
    """
    if isinstance(name, Task):
        return name
    if isinstance(name, Path):
        name = _as_path(name)
    if not isinstance(name, str):
        raise BadInput(f"a task is a name, a path or a Task, not {printable(repr(name))}")
    if not name.strip():
        raise BadInput("the task name is empty; exabench bench tasks lists them")
    is_path = _is_path(name)
    # The table comes before all folders, so that what is on a disk cannot change the meaning of a published name.
    if not is_path and name.lower() in aliases():
        return tasks()[aliases()[name.lower()]]
    if name.lower().startswith(("irds:", "hub:")):
        kind, _, id = name.partition(":")
        name = f"{kind.lower()}:{id}"
        found = remote_task(name)
        return _known_by_id(found) if found.ir_datasets else found
    if is_path:
        path = Path(name).expanduser()
        if not path.exists():
            # Names of ir_datasets hold a slash and look like paths; 0.8 lets a slip or two through, and no other path.
            near = difflib.get_close_matches(name.lower(), aliases(), n=1, cutoff=0.8)
            hint = ""
            if near:
                hint = f"; did you mean {near[0]}?"
            elif is_repo(name):
                hint = f"; for a Hub dataset write hub:{name}"
            raise BadInput(f"is neither a folder, a {DESCRIPTION} nor the name of a task{hint}", file=name)
        _check_is_described(path)
        return _known_by_name(file_task(path) if path.is_file() else folder_task(path), path)
    # Before the folders of `data`: the results of a board are measured as its own page says.
    if board is not None:
        file = Path(board) / "tasks" / f"{name}.toml"
        if file.is_file():
            return _on_board(file, data)
    if data is not None:
        folder = Path(data) / name
        if is_collection(folder):
            return _known_by_name(folder_task(folder), folder)
        if plain_name(name) == name:  # a task.toml may call its task otherwise than the folder is called
            for folder in _collections_in(data):
                with contextlib.suppress(BadInput):  # of a folder that no one asked for
                    found = folder_task(folder)
                    if found.name == name:
                        return _known_by_name(found, folder)
    # Last, so that a folder that happens to lie here takes no name away from `data`.
    if is_collection(Path(name)):
        return _known_by_name(folder_task(Path(name)), Path(name))
    # Nothing has that name: the rest says why in the words that help most.
    suite = suite_name(name)
    if suite:
        members = suites()[suite]
        raise BadInput(f"{name} is a suite of {len(members)} tasks; name one of them: {', '.join(members)}")
    if data is not None and is_collection(Path(data)):
        beside = Path(data).resolve().parent
        raise BadInput(f"is itself a collection; did you mean --data {beside}, or --task {data}?", file=data)
    if Path(name).exists():
        raise BadInput(
            "is not a collection: qrels/<split>.tsv (or .txt, .qrels) is missing, and there is no task.toml",
            file=name,
        )
    if ":" in name:
        repo = name.partition("/datasets/")[2].strip("/")
        if is_repo(repo):  # the address of its page
            raise BadInput(f"{printable(name)!r} is not a task; for a Hub dataset write hub:{repo}")
        raise BadInput(f"{printable(name)!r} is not a task; write irds:ID or hub:OWNER/NAME[@COMMIT]")
    choices = [*tasks(), *suites(), *_names_on(board), *_names_in(data)]
    # A hundred names would help no one.
    advice = "exabench bench tasks lists them; give your own collection by its path or put it into --data"
    raise UnknownName("task", name, choices, advice=advice)


def own_tasks(data: str | Path | None) -> dict[str, Task]:
    """The custom tasks in the folders of `data` by name. Raises BadInput for a task.toml that is wrong."""
    found: dict[str, Task] = {}
    for folder in _collections_in(data):
        task = folder_task(folder)
        if task.name in tasks() or folder.name.lower() in aliases():
            continue  # a copy of a task of the table is not a task of the user's
        if task.name in found:
            raise BadInput(
                f"has the same name, {task.name}, as {found[task.name].folder}; rename one of them", file=folder
            )
        found[task.name] = task
    return found


def board_tasks(board: str | Path | None, data: str | Path | None = None) -> dict[str, Task]:
    """The custom tasks that a board describes, by name. Raises BadInput."""
    return {name: task(name, data=data, board=board) for name in _names_on(board)}


def single_task(name: str | Task, *, data: str | Path | None = None, board: str | Path | None = None) -> Task:
    """The task that `name` stands for, which must have judgements (CQADupStack is scored by its forums)."""
    found = task(name, data=data, board=board)
    if found.members:
        raise BadInput(
            f"{found.name} is the mean of {len(found.members)} tasks; name one of them: {', '.join(found.members)}"
        )
    return found


def expand(
    names: str | Path | Task | Iterable[str | Path | Task],
    *,
    data: str | Path | None = None,
    board: str | Path | None = None,
) -> list[Task]:
    """The tasks that `names` stand for, with every suite replaced by its tasks, each once.

    Raises as `task` does, and BadInput for two tasks of one name.
    """
    if not isinstance(names, Iterable) or isinstance(names, str):
        names = [names]
    found: dict[str, Task] = {}
    for name in names:
        members: Iterable[str | Path | Task] = (name,)
        if isinstance(name, str):
            members = suites().get(suite_name(name), (name,))
        for member in members:
            one = task(member, data=data, board=board)
            before = found.setdefault(one.name, one)
            if _full_place(before) != _full_place(one):
                raise BadInput(f"{place_of(before)} and {place_of(one)} are both named {one.name}; rename one of them")
    return list(found.values())


def from_recipe(name: str, file: Path) -> str:
    """A task that the recipe in `file` names, as `task` takes it: a path that begins at the recipe begins here."""
    if _is_path(name) and (file.parent / name).exists():
        return str(file.parent / name)
    return name


def _is_path(name: str) -> bool:
    """Is `name` meant as a path? A bare name is one of the table or of a folder's, whatever lies here."""
    if name.startswith((".", "/", "~")) or name.endswith(".toml"):
        return True
    # irds:beir/scifact/test has a slash, too, and so have names of the table.
    return "/" in name and ":" not in name and name.lower() not in aliases()


def _collections_in(data: str | Path | None) -> list[Path]:
    if data is None or not Path(data).is_dir():
        return []
    return sorted(folder for folder in Path(data).iterdir() if is_collection(folder))


def _as_path(path: Path) -> str:
    """A path as text that is read as one, and not as a name."""
    text = str(path.expanduser())
    return text if path.is_absolute() else f"./{text}"


def _names_in(data: str | Path | None) -> list[str]:
    """The names of the custom tasks in `data`; a folder that cannot be read has none."""
    found = []
    for folder in _collections_in(data):
        with contextlib.suppress(BadInput):
            found.append(folder_task(folder).name)
    return found


def _full_place(task: Task) -> str:
    """Where a task is read; a folder is the same by any of its paths."""
    return str(task.folder.resolve()) if task.folder else place_of(task)


def _check_is_described(path: Path) -> None:
    """Raise BadInput for a file that is not a task.toml, and for a part of a collection; both name what is meant."""
    if path.is_file() and path.suffix != ".toml":
        for folder in path.parents:
            if is_collection(folder):
                raise BadInput(f"is a file of the collection {folder}; name the folder", file=path)
        raise BadInput(f"is neither a {DESCRIPTION} nor a folder in BEIR layout", file=path)
    if path.is_dir() and not is_collection(path) and is_collection(path.resolve().parent):
        raise BadInput(f"is part of the collection {path.parent}; name that folder", file=path)


def _names_on(board: str | Path | None) -> list[str]:
    if board is None:
        return []
    return sorted(file.stem for file in Path(board).glob("tasks/*.toml"))


def _on_board(file: Path, data: str | Path | None) -> Task:
    """The task of a board's file; where `data` holds a folder of that name, it is read there."""
    # A board in the making may be a link to the real one: a relative source begins where the file truly lies.
    found = file_task(file.resolve())
    if found.name != file.stem:
        raise BadInput(f"describes {found.name}, so it must be named {found.name}.toml", file=file)
    if found.name in tasks():
        raise BadInput(f"{found.name} is a built-in task; give this one another name", file=file)
    if data is not None:
        for folder in (Path(data) / found.name, *_collections_in(data)):
            with contextlib.suppress(BadInput):  # a folder that is not whole says so when it is asked for
                if folder_task(folder).name == found.name:
                    return replace(found, folder=folder)
    return found


def _known_by_id(task: Task) -> Task:
    """A task by its id of ir_datasets under its own name; what the table knows of that id holds for it, too."""
    for known in tasks().values():
        if known.ir_datasets == task.ir_datasets:
            # The place that was asked for is the only one: no other copy is read in its stead.
            return replace(known, name=task.name, hub=None, aliases=())
    return task


def _known_by_name(task: Task, path: Path) -> Task:
    """A task from a path; one that is called like a task of the table is that task, read there.

    It is then checked against the table's judgements. Raises BadInput where a task.toml describes it otherwise.
    """
    known = tasks().get(aliases().get(task.name, ""))
    if known is None:
        return task
    is_alike = task.folder is not None and not known.members  # a mean of tasks has no judgements in a folder
    if is_alike and path.is_dir() and not (path / DESCRIPTION).is_file():
        return replace(known, folder=task.folder)
    if is_alike and (task.convention, task.headline, task.split) == (known.convention, known.headline, known.split):
        return replace(known, folder=task.folder)
    raise BadInput(
        f"{task.name} is a built-in task with another description; give this one a name in {DESCRIPTION}, "
        'as in name = "my-task"',
        file=path,
    )
