"""Putting built files in place: staged first, then moved, all of them or none."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

from exabench.collecting import frozen
from exabench.errors import BadInput
from exabench.files import digest_of, only_writer, read_json, writing
from exabench.forking import made, processes_for
from exabench.nouns import Progress, silent
from exabench.pages._index import Files, Index
from exabench.pages._page import Group, Page
from exabench.pages._paths import MANIFEST, is_safe

FORMAT = 1
ALONE = 150  # groups of files for which no second process is worth its start
FEW = 100  # files that are flushed to the disk one by one
TOGETHER = 100  # small groups that a process takes at a time

Digests = dict[str, str]


@dataclass(frozen=True)
class Site:
    """All files of a site, how the bytes of one are made, and the digest of what all of them depend on.

    `single` are the groups that take long (they show the whole board), `many` those that are small and of one kind.
    `prepare` is called with the templates that are needed where all pages are made.
    """

    single: Sequence[Page | Group]
    many: Sequence[Page | Group]
    make: Callable[[Page], bytes]
    prepare: Callable[[Iterable[str]], None]
    settings: str
    progress: Progress = silent


@dataclass
class _Built:
    """What the site is made of: the files of each group as its index has them, all digests, and what differs."""

    groups: dict[str, Files]
    digests: Digests
    changed: list[str]

    @classmethod
    def of(cls, known: Index, old: Digests, names: Iterable[str], made: Mapping[str, _Made]) -> _Built:
        """What stays of the last build, and what was made now in the place of the rest."""
        stay = {name: known.kept[name] for name in names if name in known.kept and name not in made}
        digests = dict(old) if known.kept else {}
        for name in known.kept.keys() - stay.keys():
            for path, *_ in known.kept[name][1]:
                digests.pop(path, None)
        for group in made.values():  # only now: a file may have gone from one group to another
            digests.update((path, digest) for path, digest, *_ in group.files)
            stay[group.name] = group.key, [[path, size, changed] for path, _, size, changed in group.files]
        return cls(stay, digests, sorted(path for group in made.values() for path in group.differ))


def publish(site: Site, to: Path, *, index: Path | None = None, processes: int = 0) -> list[Path]:
    """Make the pages and bring the folder `to` to them: only what differs is written, only own files go.

    With an `index` (a folder) only those pages are made whose inputs changed since the build that wrote it. All that
    differs is made and staged beside `to` before the first file there changes; if the disk fills up, the old site
    stays as it was. Raises BadInput for a folder of somebody else's, CannotWrite.
    """
    with only_writer(to, sweep=False), frozen():  # no file of a site is written in its place
        known = Index.read(index, site.settings, to / MANIFEST)
        old = _own_files(to, known.manifest)
        staging = to.parent / f".{to.name}.staging"
        with writing(staging):
            shutil.rmtree(staging, ignore_errors=True)  # left by a process that was killed: we hold the lock
            staging.mkdir()
        try:
            place = _Staging(site.make, known, os.fspath(to), os.fspath(staging / "new"), compare=bool(old))
            built = _built(site, known, old, place, processes)
            gone = [path for path in sorted(old.keys() - built.digests.keys()) if (to / path).is_file()]
            with writing(to):
                if old:
                    _move(built.changed, gone, to, staging)
                else:
                    os.replace(staging / "new", to)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
        if index:
            known.keep(index, built.groups, to / MANIFEST)
        return [to / path for path in (*built.changed, *gone)]


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


def _built(site: Site, known: Index, old: Digests, staging: _Staging, processes: int) -> _Built:
    """Put the files that differ from what is there into the staging folder, the manifest last."""
    if not known.kept:  # once, not in each process
        site.prepare({page.template for group in site.single for page in group.pages()})
        site.prepare({page.template for group in (*site.many[:1], *site.many[-1:]) for page in group.pages()})
    names = [group.name for group in chain(site.single, site.many)]
    done, groups = 0, dict[str, _Made]()
    parts: list[Sequence[Page | Group]] = [[group] for group in site.single]  # long ones first: what ends is short
    parts += [site.many[start : start + TOGETHER] for start in range(0, len(site.many), TOGETHER)]
    for part in made(staging.all, parts, processes or processes_for(len(names), ALONE)):
        for name, group in part:
            done += 1
            if group:
                groups[name] = group
                site.progress(done, len(names), name)
    built = _Built.of(known, old, names, groups)
    manifest = _manifest(built.digests)
    if not _is_same(Path(staging.to) / MANIFEST, manifest):
        staging.write(MANIFEST, manifest)
        built.changed.append(MANIFEST)
    staging.flush(built.changed)
    return built


class _Made(NamedTuple):
    """A group's name and key, its files (path, digest, bytes, nanoseconds), and the paths of those that differ."""

    name: str
    key: str
    files: list[tuple[str, str, int, int]]
    differ: list[str]


@dataclass
class _Staging:
    """Writes what differs from the site `to` into the folder `new`."""

    make: Callable[[Page], bytes]
    known: Index
    to: str
    new: str
    compare: bool
    folders: set[str] = field(default_factory=set)

    def all(self, groups: Sequence[Page | Group]) -> list[tuple[str, _Made | None]]:
        """Each of some groups by its name: None where its files stand as they were made, and from the same."""
        keys = [self.known.key(group) for group in groups]
        return [
            (group.name, None if self.known.holds(group.name, key, self.to) else self._one(group, key))
            for group, key in zip(groups, keys, strict=True)
        ]

    def _one(self, group: Page | Group, key: str) -> _Made:
        files, differ = [], []
        for page in group.pages():
            data = self.make(page)
            same = self.compare and self._stands(page.path, data)
            if not same:
                self.write(page.path, data)
                differ.append(page.path)
            found = os.lstat(f"{self.to if same else self.new}/{page.path}")
            files.append((page.path, digest_of(data), found.st_size, found.st_mtime_ns))
        return _Made(group.name, key, files, differ)

    def write(self, path: str, data: bytes) -> None:
        """Stage one file."""
        file = f"{self.new}/{path}"
        with writing(file):
            folder = file.rpartition("/")[0]
            if folder not in self.folders:
                os.makedirs(folder, exist_ok=True)
                self.folders.add(folder)
            with open(file, "wb") as stream:
                stream.write(data)

    def flush(self, paths: Sequence[str]) -> None:
        """Have the disk hold these staged files before the first of them is moved."""
        with writing(self.new):
            if len(paths) > FEW:
                os.sync()
                return
            for path in paths:
                file = os.open(f"{self.new}/{path}", os.O_RDONLY)
                try:
                    os.fsync(file)
                finally:
                    os.close(file)

    def _stands(self, path: str, data: bytes) -> bool:
        folder = f"{self.to}/{path}".rpartition("/")[0]
        if folder not in self.folders:
            _refuse_links(Path(self.to), Path(folder))
            self.folders.add(folder)
        there = Path(f"{self.to}/{path}")
        if there.is_symlink():
            raise BadInput("is a link, which could lead out of the site; remove it", file=there)
        return _is_same(there, data)


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
