"""What the last build made, kept beside the site: pages are made again only where what they depend on has changed.

The index is JSON that any build can do without: one that is missing, damaged, of another exabench or of another site
than the one that stands there is ignored.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from exabench.files import digest_of, write
from exabench.pages._page import Group, Page

if TYPE_CHECKING:
    from exabench.board import Board

FILE = "pages.json"
_LIBRARIES = ("jinja2", "markupsafe", "numpy", "pyarrow", "scipy")

Files = tuple[str, Sequence[list[Any]]]
"""The key of a group, and its files: path, bytes and nanoseconds of each."""


def settings_of(board: Board, entrances: Iterable[str]) -> str:
    """The digest of what every page depends on: this exabench, its libraries, the board's settings, the navigation."""
    tasks = [(ranking.title, ranking.slug, [task.name for task in ranking.tasks]) for ranking in board.rankings]
    made_by = [board.package, sys.version, *(f"{name} {version(name)}" for name in _LIBRARIES)]
    return digest_of(repr((made_by, board.title, board.url, board.tasks, tasks, list(entrances))))


@dataclass(frozen=True)
class Index:
    """The key of each group of pages, and its files as they were made. `manifest` is the digest of the site's own."""

    settings: str
    manifest: str = ""
    kept: Mapping[str, Files] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: Path | None, settings: str, manifest: Path) -> Index:
        """The index in `folder`, of use for the site with this `manifest` alone."""
        try:
            told = json.loads((folder / FILE).read_bytes()) if folder else {}
            digest = digest_of(manifest.read_bytes()) if told else ""
            if told.get("settings") == settings and told.get("manifest") == digest:
                return cls(settings, digest, {name: (key, files) for name, (key, files) in told["groups"].items()})
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            pass
        return cls(settings)

    def key(self, group: Page | Group) -> str:
        """The digest of all that the bytes of a group's pages come from."""
        of = group.of() if callable(group.of) else group.of
        told = "\0".join((self.settings, group.name, *of))
        return hashlib.sha256(told.encode("utf-8", "surrogatepass")).hexdigest()[:32]

    def holds(self, name: str, key: str, to: str) -> bool:
        """Do the files of a group stand in the site `to` as they were made, and from the same?"""
        found, files = self.kept.get(name, ("", ()))
        try:
            for path, size, changed in files if found == key else ():
                there = os.lstat(f"{to}/{path}")
                if there.st_mtime_ns != changed or there.st_size != size:
                    return False
            return bool(files) and found == key
        except (OSError, TypeError, ValueError):
            return False

    def keep(self, folder: Path, groups: Mapping[str, Files], manifest: Path) -> None:
        """Write the index of the site as it stands now."""
        digest = digest_of(manifest.read_bytes())
        if digest == self.manifest and groups == self.kept:
            return
        told = {"settings": self.settings, "manifest": digest, "groups": groups}
        write(folder / FILE, json.dumps(told, separators=(",", ":")))
