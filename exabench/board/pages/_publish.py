"""Putting a site in place: what differs is staged beside it first, and moved when all of it is there."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from exabench.board.pages._page import Page
from exabench.board.pages._paths import MANIFEST, is_safe
from exabench.core.errors import BadInput
from exabench.core.files import digest_of, json_text, only_writer, read_json, writing
from exabench.core.nouns import Progress, silent
from exabench.core.parallel import map_unordered, worker_count

FORMAT = 1
_FEWEST = 30  # batches for which a second process is worth its start


@dataclass(frozen=True)
class Site:
    """All files of a site in batches, each the work of one process, and how the bytes of a file are made."""

    batches: Sequence[Sequence[Page]]
    make: Callable[[Page], bytes]
    progress: Progress = silent
    processes: int = 0

    def publish(self, to: Path) -> list[Path]:
        """Bring the folder `to` to the site; returns the files that were written or removed.

        Files that stay the same are not touched, nor are those that no build wrote. Everything is made before the first
        file changes, and each changes at once: what was there can be read until then, whatever ends the build. Raises
        BadInput for a folder of somebody else's, CannotWrite.
        """
        with only_writer(to, sweep=False):  # no file of a site is written in its place
            staging = to.parent / f".{to.name}.staging"
            with writing(staging):
                shutil.rmtree(staging, ignore_errors=True)  # of a build that was killed
                staging.mkdir()
            try:
                changed, gone = self._held_against(to, staging)
                with writing(to):
                    os.sync()  # once for all files, before the first takes its place
                    _move(staging, to, changed, gone)
            finally:
                shutil.rmtree(staging, ignore_errors=True)
        return [to / path for path in (*changed, *gone)]

    def differing(self, to: Path) -> list[str]:
        """The files of the folder `to` that a build would write or remove; nothing is written."""
        changed, gone = self._held_against(to)
        return changed + gone

    def _held_against(self, to: Path, staging: Path | None = None) -> tuple[list[str], list[str]]:
        """The files that differ from what stands in `to`, which are written into `staging`, and those to be removed."""

        def keep(path: str, data: bytes) -> tuple[str, str, bool]:
            differs = not _holds(to / path, data)
            if differs and staging:
                file = staging / path
                with writing(file):
                    file.parent.mkdir(parents=True, exist_ok=True)
                    file.write_bytes(data)
            return path, digest_of(data), differs

        old = _own_files(to)
        _refuse_links(to, {page.path.rpartition("/")[0] for batch in self.batches for page in batch})
        total = sum(len(batch) for batch in self.batches)
        processes = self.processes or worker_count(len(self.batches), _FEWEST)
        digests: dict[str, str] = {}
        changed: list[str] = []
        for batch in map_unordered(lambda b: [keep(page.path, self.make(page)) for page in b], self.batches, processes):
            for path, digest, differs in batch:
                digests[path] = digest
                changed += [path] if differs else []
                self.progress(len(digests), total, path)
        path, _, differs = keep(MANIFEST, json_text({"files": digests, "format": FORMAT}).encode())
        changed += [path] if differs else []
        return sorted(changed), sorted(path for path in old.keys() - digests.keys() if (to / path).is_file())


def _own_files(to: Path) -> Mapping[str, str]:
    """The files that the last build wrote there. Raises BadInput for a folder that holds something and no manifest."""
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


def _holds(file: Path, data: bytes) -> bool:
    return file.is_file() and not file.is_symlink() and file.stat().st_size == len(data) and file.read_bytes() == data


def _refuse_links(to: Path, folders: Iterable[str]) -> None:
    for folder in sorted(folders):
        for one in (to / folder, *(to / folder).parents):
            if one == to:
                break
            if one.is_symlink():
                raise BadInput("is a link, which could lead out of the site; remove it", file=one)


def _move(staging: Path, to: Path, changed: Sequence[str], gone: Sequence[str]) -> None:
    """Rename staged files into place and remove those that no page is made for any more."""
    if not to.is_dir() or not any(to.iterdir()):
        os.replace(staging, to)
        return
    for path in changed:
        (to / path).parent.mkdir(parents=True, exist_ok=True)
        os.replace(staging / path, to / path)
    for path in gone:
        (to / path).unlink()
        for folder in (to / path).parents:
            if folder == to or any(folder.iterdir()):
                break
            folder.rmdir()
