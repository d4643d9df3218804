"""Putting built files in place: staged first, then moved, all of them or none."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from exabench.errors import BadInput
from exabench.files import digest_of, json_text, only_writer, read_json, write, writing
from exabench.nouns import Progress
from exabench.pages._paths import MANIFEST, is_safe

FORMAT = 1


def publish(pages: Mapping[str, Callable[[], bytes]], to: Path, progress: Progress) -> list[Path]:
    """Make every page and bring the folder `to` to them: only what differs is written, only own files go.

    Everything is made and staged beside `to` before the first file there changes; if the disk fills up, the
    old site stays as it was. Raises BadInput for a folder of somebody else's, CannotWrite.
    """
    with only_writer(to):
        old = _own_files(to)
        staging = to.parent / f".{to.name}.staging"
        with writing(staging):
            shutil.rmtree(staging, ignore_errors=True)  # left by a process that was killed: we hold the lock
            staging.mkdir()
        try:
            changed = _stage(pages, to, staging / "new", progress)
            stale = [path for path in old if path not in pages and (to / path).is_file()]
            with writing(to):
                _move(changed, stale, to, staging)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
        return [to / path for path in (*changed, *stale)]


def _own_files(to: Path) -> list[str]:
    """What the last build wrote there. Raises BadInput for a folder that holds something and no manifest."""
    if to.is_symlink() or (to.exists() and not to.is_dir()):
        raise BadInput("is not a folder; give a new or empty one, or one that exabench built before", file=to)
    if not to.is_dir() or not any(to.iterdir()):
        return []
    if not (to / MANIFEST).is_file():
        raise BadInput(f"holds files but no {MANIFEST} of exabench; give a new or empty folder", file=to)
    listed: Any = read_json(to / MANIFEST)
    files = listed.get("files") if isinstance(listed, dict) and listed.get("format") == FORMAT else None
    if not isinstance(files, dict) or not all(map(is_safe, files)):
        raise BadInput("is not a list of files that exabench wrote; give a new or empty folder", file=to / MANIFEST)
    return sorted(files)


def _stage(pages: Mapping[str, Callable[[], bytes]], to: Path, staging: Path, progress: Progress) -> list[str]:
    """Make every page; put those that differ from what is there into `staging`, the manifest last."""
    digests, changed = {}, []
    for done, (path, make) in enumerate(sorted(pages.items()), 1):
        data = make()
        digests[path] = digest_of(data)
        changed += _staged(path, data, to, staging)
        progress(done, len(pages), path)
    manifest = json_text({"format": FORMAT, "files": digests}).encode()
    return changed + _staged(MANIFEST, manifest, to, staging)


def _staged(path: str, data: bytes, to: Path, staging: Path) -> list[str]:
    there = to / path
    if any(parent.is_symlink() for parent in (there, *there.parents) if to in parent.parents):
        raise BadInput("is a link, which could lead out of the site; remove it", file=there)
    if there.is_file() and there.stat().st_size == len(data) and there.read_bytes() == data:
        return []
    write(staging / path, data)
    return [path]


def _move(changed: list[str], stale: list[str], to: Path, staging: Path) -> None:
    """Rename the staged files into place and remove stale ones; on any failure put back what was there."""
    folders: list[Path] = []
    added: list[Path] = []
    try:
        for path in changed:
            is_new = not _keep(to / path, staging / "old" / path)
            folders += _make_folders((to / path).parent)
            os.replace(staging / "new" / path, to / path)
            added += [to / path] if is_new else []
        for path in stale:
            _keep(to / path, staging / "old" / path)
            os.unlink(to / path)
    except BaseException:
        _put_back(staging / "old", to, added, folders)
        raise
    for path in stale:
        _remove_empty((to / path).parent, to)


def _keep(file: Path, copy: Path) -> bool:
    """Give a file that is about to go a second name; False where there is none."""
    if not file.is_file():
        return False
    copy.parent.mkdir(parents=True, exist_ok=True)
    os.link(file, copy)
    return True


def _make_folders(folder: Path) -> list[Path]:
    """The folders that had to be made, outermost first."""
    missing = [parent for parent in (folder, *folder.parents) if not parent.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    return missing[::-1]


def _put_back(old: Path, to: Path, added: list[Path], folders: list[Path]) -> None:
    """Undo a move: old files by renaming, which needs no room on a full disk, then new files and new folders."""
    for copy in [path for path in old.rglob("*") if path.is_file()]:
        os.rename(copy, to / copy.relative_to(old))
    for file in added:
        os.remove(file)
    for folder in reversed(folders):
        folder.rmdir()


def _remove_empty(folder: Path, to: Path) -> None:
    while folder != to and folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
        folder = folder.parent
