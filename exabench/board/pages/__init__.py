"""The pages of a leaderboard: a Board becomes a folder of HTML and data files that needs no server."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from exabench.board.pages import (
    _compare,
    _costs,
    _dataset_views,
    _overview,
    _provenance,
    _reported,
    _results,
    _study_views,
    _task_views,
    _training_views,
    downloads,
)
from exabench.board.pages._format import FILTERS, harmless
from exabench.board.pages._page import MANIFEST, PLACES, STATES, Page, is_safe, result_page as result_page, stamp
from exabench.board.ranking import Board
from exabench.core.errors import BadInput
from exabench.core.files import digest_of, json_text, only_writer, read_json, writing
from exabench.core.nouns import FIRST_STAGE, Progress, silent
from exabench.core.parallel import map_unordered

FORMAT = 1
# Modules whose pages show the whole board come first: each is long work for one process.
_WHOLE = (
    downloads,
    _overview,
    _costs,
    _provenance,
    _compare,
    _task_views,
    _training_views,
    _dataset_views,
    _study_views,
    _reported,
)
_TOGETHER = 60  # small pages that a process makes at a time: those of ten results
_FEWEST = 30  # batches for which a second process is worth its start


def render(board: Board, to: str | Path, *, progress: Progress = silent, processes: int = 0) -> list[Path]:
    """Build the site of a board in the folder `to`; returns the files that were written or removed.

    The same board gives the same bytes, however many `processes` make them (0: as many as are worth it). Files that
    stay the same are not touched, nor are those that no build wrote. Everything is made before the first file changes,
    and each changes at once: what was there can be read until then, whatever ends the build. Raises BadInput,
    also for a folder that another program fills, and CannotWrite.
    """
    to = Path(to)
    with only_writer(to, sweep=False):  # no file of a site is written in its place
        staging = to.parent / f".{to.name}.staging"
        with writing(staging):
            shutil.rmtree(staging, ignore_errors=True)  # of a build that was killed
            staging.mkdir()
        try:
            changed, gone = _compare_site(board, to, staging, progress, processes)
            with writing(to):
                os.sync()  # once for all files, before the first takes its place
                _put_in_place(staging, to, changed, gone)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    return [to / path for path in (*changed, *gone)]


def differences(board: Board, to: str | Path) -> list[str]:
    """Compare every byte of a built site with the board: the files that a build would write or remove."""
    changed, gone = _compare_site(board, Path(to))
    return changed + gone


def _compare_site(
    board: Board, to: Path, staging: Path | None = None, progress: Progress = silent, processes: int = 0
) -> tuple[list[str], list[str]]:
    """Make every file of the site: those that differ from what is in `to`, and those to be removed there.

    Files that differ are written into `staging`.
    """
    # Long pages first, so that no process begins one when the others are done.
    whole = [page for module in _WHOLE for page in module.pages(board)]
    small = list(_results.pages(board))
    pages = whole + small
    batches = [[page] for page in whole]
    batches += [small[start : start + _TOGETHER] for start in range(0, len(small), _TOGETHER)]

    # Before any page is made: another program's folder, or a link out of this one, ends the build.
    old = _files_of_last_build(to)
    for parent in sorted({page.path.rpartition("/")[0] for page in pages}):
        for folder in (to / parent, *(to / parent).parents):
            if folder == to:
                break
            if folder.is_symlink():
                raise BadInput("is a link, which could lead out of the site; remove it", file=folder)

    # Submissions are not trusted: every value that a template shows is cleaned and then escaped.
    templates = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=harmless,
    )
    templates.filters.update(FILTERS)
    templates.globals.update(
        PLACES,
        board=board,
        FIRST_STAGE=FIRST_STAGE,
        states=STATES,
        paths={page.path for page in pages},  # templates link to an optional page only where it is here
        # Of a page that shows no result; the others have their own.
        stamp=("", stamp(board.shown_results)[1]),
    )
    for name in sorted({page.template for page in pages} - {""}):
        templates.get_template(name)  # compiled here once, for all processes

    def stage(path: str, data: bytes) -> tuple[str, str, bool]:
        file = to / path
        same = file.is_file() and not file.is_symlink() and file.read_bytes() == data
        if staging and not same:
            file = staging / path
            with writing(file):
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(data)
        return path, digest_of(data), same

    def make(batch: Sequence[Page]) -> list[tuple[str, str, bool]]:
        staged = []
        for page in batch:
            made = page.make()
            if not isinstance(made, bytes):
                root = "../" * page.path.count("/")
                made = templates.get_template(page.template).render(path=page.path, root=root, **made).encode()
            staged.append(stage(page.path, made))
        return staged

    digests = {}
    changed = []
    for staged in map_unordered(make, batches, processes, at_least=_FEWEST):
        for path, digest, same in staged:
            digests[path] = digest
            if not same:
                changed.append(path)
            progress(len(digests), len(pages), path)
    _, _, same = stage(MANIFEST, json_text({"files": digests, "format": FORMAT}).encode())
    if not same:
        changed.append(MANIFEST)
    # Files that no build wrote are not in the old list, and stay.
    gone = [path for path in old.keys() - digests.keys() if (to / path).is_file()]
    return sorted(changed), sorted(gone)


def _files_of_last_build(to: Path) -> Mapping[str, str]:
    """The files by path. Raises BadInput for a folder that holds something and no manifest."""
    if to.is_symlink() or (to.exists() and not to.is_dir()):
        raise BadInput("is not a folder; give a new or empty one, or one that exabench built before", file=to)
    if not to.is_dir() or not any(to.iterdir()):
        return {}
    if not (to / MANIFEST).is_file():
        raise BadInput(f"contains files but no {MANIFEST} of exabench; give a new or empty folder", file=to)
    listed = read_json(to / MANIFEST)
    files = listed.get("files") if isinstance(listed, dict) and listed.get("format") == FORMAT else None
    if not isinstance(files, dict) or not all(map(is_safe, files)):
        raise BadInput("is not a list of files that exabench wrote; give a new or empty folder", file=to / MANIFEST)
    return files


def _put_in_place(staging: Path, to: Path, changed: Sequence[str], gone: Sequence[str]) -> None:
    """Rename staged files into place and remove those that no page is made for any more."""
    if not to.is_dir() or not any(to.iterdir()):
        os.replace(staging, to)  # a whole folder may take the place of an empty one
        return
    # The site already exists: each file changes at once.
    for path in changed:
        (to / path).parent.mkdir(parents=True, exist_ok=True)
        os.replace(staging / path, to / path)
    for path in gone:
        (to / path).unlink()
        for folder in (to / path).parents:
            if folder == to or any(folder.iterdir()):
                break
            folder.rmdir()
