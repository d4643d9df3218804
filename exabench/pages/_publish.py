"""Putting built files in place: staged first, then moved, all of them or none."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

from exabench.collecting import frozen
from exabench.errors import BadInput
from exabench.files import digest_of, only_writer, read_json, write, writing
from exabench.forking import made, processes_for
from exabench.nouns import Progress, silent
from exabench.pages._index import File, Index
from exabench.pages._page import Group, Page
from exabench.pages._paths import MANIFEST, is_safe

FORMAT = 1
ALONE = 150  # groups of files for which no second process is worth its start
FEW = 100  # files that are flushed to the disk one by one
TOGETHER = 20  # groups that a process takes at a time

Digests = dict[str, str]


@dataclass(frozen=True)
class Site:
    """All files of a site, how the bytes of one are made, and the digest of what all of them depend on.

    `single` are the groups that take long (they show the whole board), `many` those that are small and of one kind.
    `prepare` is called with the templates that are needed, before the first page is made.
    """

    single: Sequence[Page | Group]
    many: Sequence[Page | Group]
    make: Callable[[Page], bytes]
    prepare: Callable[[Iterable[str]], None]
    settings: str
    progress: Progress = silent


@dataclass
class _Plan:
    """What a build has to do: the groups to make, and the files of those that stay."""

    to: Path
    old: Digests
    index: Index
    single: list[tuple[Page | Group, str]] = field(default_factory=list)
    many: list[tuple[Page | Group, str]] = field(default_factory=list)
    files: dict[str, tuple[str, Sequence[File]]] = field(default_factory=dict)
    digests: Digests = field(default_factory=dict)
    changed: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, site: Site, to: Path, index: Path | None) -> _Plan:
        known = Index.read(index, site.settings, to / MANIFEST)
        plan, place = cls(to, _own_files(to, known.manifest), known), os.fspath(to)
        for groups, work in ((site.single, plan.single), (site.many, plan.many)):
            for group in groups:
                key = known.key(group)
                files = known.holds(group, key, place)
                if files and all(path in plan.old for path, *_ in files):
                    plan.files[group.name] = key, files
                    plan.digests.update((path, plan.old[path]) for path, *_ in files)
                else:
                    work.append((group, key))
        return plan

    @cached_property
    def stale(self) -> list[str]:
        """The files of the last build that are no longer of the site."""
        return [path for path in sorted(self.old.keys() - self.digests.keys()) if (self.to / path).is_file()]


def publish(site: Site, to: Path, *, index: Path | None = None, processes: int = 0) -> list[Path]:
    """Make the pages and bring the folder `to` to them: only what differs is written, only own files go.

    With an `index` (a folder) only those pages are made whose inputs changed since the build that wrote it. All that
    differs is made and staged beside `to` before the first file there changes; if the disk fills up, the old site
    stays as it was. Raises BadInput for a folder of somebody else's, CannotWrite.
    """
    with only_writer(to, sweep=False), frozen():  # no file of a site is written in its place
        plan = _Plan.of(site, to, index)
        staging = to.parent / f".{to.name}.staging"
        with writing(staging):
            shutil.rmtree(staging, ignore_errors=True)  # left by a process that was killed: we hold the lock
            staging.mkdir()
        try:
            _stage(site, plan, staging / "new", processes)
            with writing(to):
                if plan.old:
                    _move(plan.changed, plan.stale, to, staging)
                else:
                    os.replace(staging / "new", to)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
        if index:
            plan.index.keep(index, plan.files, to / MANIFEST)
        return [to / path for path in (*plan.changed, *plan.stale)]


def differing(site: Site, to: Path) -> list[str]:
    """The files of the folder `to` that are not those of the site, every one made anew; nothing is written."""
    digests, found = Digests(), []
    for page in (page for group in chain(site.single, site.many) for page in group.pages()):
        data = site.make(page)
        digests[page.path] = digest_of(data)
        found += [] if _is_same(to / page.path, data) else [page.path]
    found += [] if _is_same(to / MANIFEST, _manifest(digests)) else [MANIFEST]
    return sorted(found) + [path for path in sorted(_own_files(to)) if path not in digests and (to / path).is_file()]


def _own_files(to: Path, known: str = "") -> Digests:
    """What the last build wrote there, with the digests of the bytes; `known` is that of a manifest of our own.

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
    if not isinstance(files, dict) or not (known or all(map(is_safe, files))):
        raise BadInput("is not a list of files that exabench wrote; give a new or empty folder", file=to / MANIFEST)
    return files


def _stage(site: Site, plan: _Plan, new: Path, processes: int) -> None:
    """Put the files that differ from what is there into the folder `new`, the manifest last."""
    work = len(plan.single) + len(plan.many)
    place = _Staging(site.make, os.fspath(plan.to), os.fspath(new), flush=work <= FEW, compare=bool(plan.old))
    if work:  # once, not in each process
        site.prepare({page.template for group, _ in plan.single for page in group.pages()})
        site.prepare({page.template for group, _ in plan.many[:1] + plan.many[-1:] for page in group.pages()})
    total = len(site.single) + len(site.many)
    keys = {group.name: key for group, key in (*plan.single, *plan.many)}
    weight = len(plan.many) + len(plan.single) * len(site.many) // 100  # a single one shows all of them
    groups = _made(place, plan, processes or processes_for(weight, ALONE))
    for done, (name, files, differ) in enumerate(groups, total - work + 1):
        plan.files[name] = keys[name], [[path, size, changed] for path, _, size, changed in files]
        plan.digests.update((path, digest) for path, digest, *_ in files)
        plan.changed += differ
        site.progress(done, total, name)
    if not place.flush:
        os.sync()
    plan.changed.sort()
    manifest = _manifest(plan.digests)
    if not _is_same(plan.to / MANIFEST, manifest):
        write(new / MANIFEST, manifest)
        plan.changed.append(MANIFEST)


def _made(place: _Staging, plan: _Plan, processes: int) -> Iterator[_Staged]:
    """Every group that is to be made, those that take long first: what is left at the end is short."""
    whole = [[group] for group, _ in plan.single]
    small = [group for group, _ in plan.many]
    whole += [small[start : start + TOGETHER] for start in range(0, len(small), TOGETHER)]
    for staged in made(place.all, whole, processes):
        yield from staged


_Staged = tuple[str, list[tuple[str, str, int, int]], list[str]]
"""A group's name, its files (path, digest, bytes, nanoseconds), and the paths of those that differ."""


@dataclass
class _Staging:
    """Writes what differs from the site `to` into the folder `new`."""

    make: Callable[[Page], bytes]
    to: str
    new: str
    flush: bool
    compare: bool
    folders: set[str] = field(default_factory=set)

    def all(self, groups: Sequence[Page | Group]) -> list[_Staged]:
        """The files of some groups."""
        return [self.one(group) for group in groups]

    def one(self, group: Page | Group) -> _Staged:
        """The files of a group."""
        files, differ = [], []
        for page in group.pages():
            data = self.make(page)
            same = self.compare and self._stands(page.path, data)
            if not same:
                self._write(page.path, data)
                differ.append(page.path)
            found = os.lstat(f"{self.to if same else self.new}/{page.path}")
            files.append((page.path, digest_of(data), found.st_size, found.st_mtime_ns))
        return group.name, files, differ

    def _stands(self, path: str, data: bytes) -> bool:
        folder = f"{self.to}/{path}".rpartition("/")[0]
        if folder not in self.folders:
            _refuse_links(Path(self.to), Path(folder))
            self.folders.add(folder)
        there = Path(f"{self.to}/{path}")
        if there.is_symlink():
            raise BadInput("is a link, which could lead out of the site; remove it", file=there)
        return _is_same(there, data)

    def _write(self, path: str, data: bytes) -> None:
        file = f"{self.new}/{path}"
        if self.flush:
            write(file, data)
            return
        with writing(file):
            folder = file.rpartition("/")[0]
            if folder not in self.folders:
                os.makedirs(folder, exist_ok=True)
                self.folders.add(folder)
            with open(file, "wb") as stream:
                stream.write(data)


def _refuse_links(to: Path, folder: Path) -> None:
    for one in (folder, *folder.parents):
        if to in one.parents and one.is_symlink():
            raise BadInput("is a link, which could lead out of the site; remove it", file=one)


def _manifest(digests: Mapping[str, str]) -> bytes:
    """The list of a site's files as files.json_text would write it, which takes a second for tens of thousands."""
    rows = ",\n".join(f'    "{path}": "{digest}"' for path, digest in sorted(digests.items()))
    return f'{{\n  "files": {{\n{rows}\n  }},\n  "format": {FORMAT}\n}}\n'.encode()


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
