"""What the last build made, kept beside the site: a page is made again only where what it depends on has changed.

The index is JSON that any build can do without: one that is missing, damaged, of another exabench or of another site
than the one that stands there is ignored.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from exabench.files import digest_of, write
from exabench.pages._page import Page

if TYPE_CHECKING:
    from exabench.board import Board

FILE = "pages.json"
_LIBRARIES = ("jinja2", "markupsafe", "numpy", "pyarrow", "scipy")

Kept = tuple[str, int, int]
"""The key of a page, and bytes and nanoseconds of its file."""


def settings_of(board: Board, entrances: Iterable[str]) -> str:
    """The digest of what every page depends on: this exabench, its libraries, the board's settings, the navigation."""
    tasks = [(ranking.title, ranking.slug, [task.name for task in ranking.tasks]) for ranking in board.rankings]
    made_by = [board.package, sys.version, *(f"{name} {version(name)}" for name in _LIBRARIES)]
    return digest_of(repr((made_by, board.title, board.url, board.tasks, tasks, list(entrances))))


@dataclass(frozen=True)
class Pages:
    """The keys of a site's pages, and which of its files still are what was made from them."""

    settings: str
    kept: Mapping[str, Kept] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: Path | None, settings: str, manifest: Path) -> Pages:
        """The index in `folder`, of use for the site with this `manifest` alone."""
        try:
            told = json.loads((folder / FILE).read_text(encoding="utf-8")) if folder else {}
            if told.get("settings") == settings and told.get("manifest") == digest_of(manifest.read_bytes()):
                return cls(settings, {path: (str(k), int(s), int(t)) for path, (k, s, t) in told["pages"].items()})
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            pass
        return cls(settings)

    def key(self, page: Page) -> str:
        """The digest of all that the bytes of a page come from."""
        told = "\0".join((self.settings, page.path, page.template, *page.of))
        return hashlib.sha256(told.encode("utf-8", "surrogatepass")).hexdigest()[:32]

    def holds(self, page: Page, to: Path) -> bool:
        """Does the file of a page stand in the site `to` as it was made, and from the same?"""
        kept = self.kept.get(page.path)
        if kept is None or kept[0] != self.key(page):
            return False
        try:
            found = os.lstat(to / page.path)
        except OSError:
            return False
        return (found.st_size, found.st_mtime_ns) == kept[1:]

    def keep(self, folder: Path, pages: Iterable[Page], to: Path, manifest: Path) -> None:
        """Write the index of the site as it stands now."""
        made: dict[str, Kept] = {}
        for page in pages:
            found = os.lstat(to / page.path)
            made[page.path] = self.key(page), found.st_size, found.st_mtime_ns
        told = {"settings": self.settings, "manifest": digest_of(manifest.read_bytes()), "pages": made}
        write(folder / FILE, json.dumps(told, separators=(",", ":")))
