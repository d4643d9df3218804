"""A new leaderboard: its settings with every key explained, and the files that help to keep it.

The files next to this one are copied: README.md into submissions/, and rebuild.yml, the workflow that checks, rebuilds
and publishes the board, in which what only its keeper knows is left as PLACEHOLDER.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

from exabench.bench.ledger import Ledger
from exabench.bench.submissions import NAME as NAME_ON_BOARD
from exabench.core.errors import BadInput, printable
from exabench.core.files import only_writer, read_text, write
from exabench.core.packages import NAME, pinned_source
from exabench.tasks.catalogue import expand, tasks as table
from exabench.tasks.custom import pin_task

SOURCE = "git+https://...@COMMIT (40 hex digits), or the https:// address of a wheel"

_FILES = Path(__file__).parent
# Of git a commit, and not a branch: what that names could be anything tomorrow, and the workflow holds a token.
_SOURCE = re.compile(r"git\+https://[A-Za-z0-9._~/:+-]+@[0-9a-f]{40}|https://[A-Za-z0-9._~/:+%-]+\.whl")
_INSTALL = re.compile(r"\bpip3? install (?P<wanted>.+)")
_ACTION = re.compile(r"\buses:\s*['\"]?(?P<action>[\w.-]+/[\w./-]+)@(?P<commit>[^\s'\"#]+)")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_BY_NAME = re.compile(rf"{NAME}(\[[^\]]*\])?\s*([=<>!~].*)?", re.IGNORECASE)


def make_board(
    folder: str | Path,
    title: str,
    tasks: Sequence[str],
    *,
    data: str | Path | None = None,
    install: str = "",
    space: str = "",
    **others: str,
) -> list[Path]:
    """Make a new leaderboard over `tasks` (tasks or suites) and return its files, board.toml first.

    `others` are texts by the names of settings.KEYS. Custom tasks are described, `data` holds some. `install` is where
    the workflow gets exabench from (SOURCE; else the commit that this one came from, where pip noted one), `space` the
    static Space that it publishes to. Raises BadInput for a task that is not known, for a value that does not fit, and
    where one of the files is already.
    """
    ledger = Ledger(Path(folder))
    readme = ledger.folder / "submissions" / "README.md"
    if readme.parent.exists() and not readme.parent.is_dir():
        raise BadInput("must be a folder; name another one with --board", file=readme.parent)
    install = install or pinned_source()
    if install and not _SOURCE.fullmatch(install):
        raise BadInput(f"exabench must be installed from {SOURCE}, not {printable(install)!r}")
    if space and not NAME_ON_BOARD.fullmatch(space):
        raise BadInput(f"a Space is named owner/name, not {printable(space)!r}")
    names = []
    custom = []
    for name in tasks:
        found = expand(name, data=data)
        if len(found) == 1:  # a suite stays a suite
            name = found[0].name
            custom += [one for one in found if one.name not in table()]
        names.append(name)

    settings = ledger.new_settings(title, names, None, **others)
    workflow = read_text(_FILES / "rebuild.yml")
    if install:
        workflow = workflow.replace("PLACEHOLDER_SOURCE", install)
    if space:
        workflow = workflow.replace("PLACEHOLDER_SPACE", space)
    texts = {readme: read_text(_FILES / "README.md"), ledger.workflow_file: workflow}
    for file in (ledger.settings_file, *texts):
        # The same text may be that of a call that was stopped.
        is_other = file.is_symlink() or file.is_dir() or (file.exists() and read_text(file) != texts.get(file))
        if is_other:
            raise BadInput("already exists; edit it, or give another folder with --board", file=file)

    with only_writer(ledger.folder):
        for task in custom:
            ledger.add_task(pin_task(task, ledger.lock))
        for file, text in texts.items():
            write(file, text)
        ledger.write_settings(settings)  # last: what has it is a whole board
    return [ledger.settings_file, *texts]


def check_workflow(file: Path) -> None:
    """Check where a rebuild.yml gets exabench from, and that nothing is left to fill in.

    Raises BadInput with every line that still has a placeholder, or takes what anybody can change: exabench by its
    name, which this project does not own on PyPI, the branch of a repository, or an action by a tag.
    """
    problems = []
    for number, line in enumerate(read_text(file).splitlines(), 1):
        if line.lstrip().startswith("#"):
            continue
        if "PLACEHOLDER_SOURCE" in line:
            problems.append(f"line {number}: write where exabench comes from in place of PLACEHOLDER_SOURCE: {SOURCE}")
        elif "PLACEHOLDER" in line:
            problems.append(f"line {number}: write the owner/name of a static Space in place of PLACEHOLDER_SPACE")
        action = _ACTION.search(line)
        if action and not _COMMIT.fullmatch(action["commit"]):
            name = f"{action['action']}@{action['commit']}"
            problems.append(f"line {number}: {name} can change; name the action by a commit of 40 hex digits")
        for wanted in _wanted(line):
            if _BY_NAME.fullmatch(wanted):
                problems.append(f"line {number}: {wanted} is not this project on PyPI; install it from {SOURCE}")
            elif wanted.startswith("git+") and not _SOURCE.fullmatch(wanted):
                problems.append(f"line {number}: {wanted} is not pinned; install it from {SOURCE}")
    if problems:
        raise BadInput(f"{'; '.join(problems)}; or remove the file", file=file)


def _wanted(line: str) -> Iterator[str]:
    """What a line installs with pip, without the names that stand before an address."""
    found = _INSTALL.search(line)
    if found is None:
        return
    try:
        words = shlex.split(found["wanted"], comments=True)
    except ValueError:  # a quote that a later line closes
        words = found["wanted"].split()
    for word in words:
        yield re.sub(r"^[\w.-]+(\[[^\]]*\])?\s*@\s*(?=git\+|https?:)", "", word)
