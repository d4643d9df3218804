"""Putting built files in place: staged first, then moved, all of them or none."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from exabench.errors import BadInput
from exabench.files import digest_of, json_text, only_writer, read_json, write, writing
from exabench.nouns import Progress, silent
from exabench.pages._index import Pages
from exabench.pages._making import made, processes_for
from exabench.pages._page import Page
from exabench.pages._paths import MANIFEST, is_safe

FORMAT = 1
FEW = 100  # files that are flushed to the disk one by one


@dataclass(frozen=True)
class Site:
    """All pages of a site, how the bytes of one are made, and the digest of what all of them depend on.

    `prepare` is called with the templates that are needed, before the first page is made.
    """

    pages: Sequence[Page]
    make: Callable[[Page], bytes]
    prepare: Callable[[Iterable[str]], None]
    settings: str
    progress: Progress = silent

    @cached_property
    def paths(self) -> frozenset[str]:
        """Where its files lie."""
        return frozenset(page.path for page in self.pages)


@dataclass(frozen=True)
class _Old:
    """The files that the last build wrote, by digest, and what it made them from."""

    digests: Mapping[str, str]
    pages: Pages


def publish(site: Site, to: Path, *, index: Path | None = None, processes: int = 0) -> list[Path]:
    """Make the pages and bring the folder `to` to them: only what differs is written, only own files go.

    With an `index` (a folder) only those pages are made whose inputs changed since the build that wrote it. All that
    differs is made and staged beside `to` before the first file there changes; if the disk fills up, the old site
    stays as it was. Raises BadInput for a folder of somebody else's, CannotWrite.
    """
    with only_writer(to):
        old = _own_files(to)
        known = Pages.read(index, site.settings, to / MANIFEST)
        staging = to.parent / f".{to.name}.staging"
        with writing(staging):
            shutil.rmtree(staging, ignore_errors=True)  # left by a process that was killed: we hold the lock
            staging.mkdir()
        try:
            changed = _stage(site, to, staging / "new", _Old(old, known), processes)
            stale = [path for path in sorted(old) if path not in site.paths and (to / path).is_file()]
            with writing(to):
                _move(changed, stale, to, staging)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
        if index:
            known.keep(index, site.pages, to, to / MANIFEST)
        return [to / path for path in (*changed, *stale)]


def differing(site: Site, to: Path) -> list[str]:
    """The files of the folder `to` that are not those of the site, every one made anew; nothing is written."""
    digests, found = {}, []
    for page in sorted(site.pages, key=lambda page: page.path):
        data = site.make(page)
        digests[page.path] = digest_of(data)
        found += [] if _is_same(to / page.path, data) else [page.path]
    found += [] if _is_same(to / MANIFEST, _manifest(digests)) else [MANIFEST]
    return found + [path for path in sorted(_own_files(to)) if path not in site.paths and (to / path).is_file()]


def _own_files(to: Path) -> dict[str, str]:
    """What the last build wrote there, with the digests of the bytes.

    Raises BadInput for a folder that holds something and no manifest.
    """
    if to.is_symlink() or (to.exists() and not to.is_dir()):
        raise BadInput("is not a folder; give a new or empty one, or one that exabench built before", file=to)
    if not to.is_dir() or not any(to.iterdir()):
        return {}
    if not (to / MANIFEST).is_file():
        raise BadInput(f"holds files but no {MANIFEST} of exabench; give a new or empty folder", file=to)
    listed: Any = read_json(to / MANIFEST)
    files = listed.get("files") if isinstance(listed, dict) and listed.get("format") == FORMAT else None
    if not isinstance(files, dict) or not all(map(is_safe, files)):
        raise BadInput("is not a list of files that exabench wrote; give a new or empty folder", file=to / MANIFEST)
    return files


def _stage(site: Site, to: Path, staging: Path, old: _Old, processes: int) -> list[str]:
    """Put the pages that differ from what is there into `staging`, the manifest last."""
    work = [page for page in site.pages if page.path not in old.digests or not old.pages.holds(page, to)]
    work.sort(key=lambda page: page.of[:1])  # pages of one submission are made one after the other: it is read once
    work_paths = {page.path for page in work}
    digests = {page.path: old.digests[page.path] for page in site.pages if page.path not in work_paths}
    at_once = len(work) > FEW  # then one flush of everything, not one for each file

    def stage(page: Page) -> tuple[str, str, bool]:
        data = site.make(page)
        return page.path, digest_of(data), _staged(page.path, data, to, staging, flush=not at_once)

    changed = []
    site.prepare({page.template for page in work})  # once, not in each process
    for path, digest, differs in made(stage, work, processes or processes_for(len(work))):
        digests[path] = digest
        changed += [path] if differs else []
        site.progress(len(digests), len(site.pages), path)
    if at_once:
        os.sync()
    differs = _staged(MANIFEST, _manifest(digests), to, staging, flush=True)
    return sorted(changed) + ([MANIFEST] if differs else [])


def _manifest(digests: Mapping[str, str]) -> bytes:
    return json_text({"format": FORMAT, "files": dict(digests)}).encode()


def _staged(path: str, data: bytes, to: Path, staging: Path, *, flush: bool) -> bool:
    there = to / path
    if any(parent.is_symlink() for parent in (there, *there.parents) if to in parent.parents):
        raise BadInput("is a link, which could lead out of the site; remove it", file=there)
    if _is_same(there, data):
        return False
    if flush:
        return write(staging / path, data)
    with writing(staging / path):
        (staging / path).parent.mkdir(parents=True, exist_ok=True)
        (staging / path).write_bytes(data)
    return True


def _is_same(file: Path, data: bytes) -> bool:
    return file.is_file() and file.stat().st_size == len(data) and file.read_bytes() == data


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
