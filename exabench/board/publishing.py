"""Publishing a site: the built pages of a leaderboard, to a static Space or to a folder."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from exabench.core.errors import BadInput, plural
from exabench.core.files import digest_of, file_digest, json_text
from exabench.core.nouns import Progress, silent
from exabench.hub.commits import CARD, MANIFEST, Commit, Publication, Published

START = "index.html"
_STATIC = re.compile(rf"---\n(?=(?:.*\n)*?sdk: static\n)(?=(?:.*\n)*?app_file: {re.escape(START)}\n)(?:.*\n)*?---\n")


def publish_site(
    folder: str | Path,
    to: str | Path,
    *,
    title: str,
    pull_request: bool = False,
    dry_run: bool = False,
    progress: Progress = silent,
) -> Published:
    """Put the site in `folder` where `to` says: the Space `owner/name` on the Hub, or the path of a folder.

    One commit holds the files that differ, and takes out those of the site before that this one lacks; files of others
    stay, and so does a README.md that says the site is static. A site that is there already makes no commit.
    `pull_request` opens one. `dry_run` says what would be done. Raises BadInput for a folder that is no built site,
    and what the Hub refuses; OutsideFailed after the last retry, when none of it is visible, or all; CannotWrite.
    """
    return _SitePublication(Path(folder), to, pull_request, dry_run, progress, title).run()


@dataclass
class _SitePublication(Publication):
    """A site on its way. It has neither versions nor tags: what is shown is the head."""

    kind = "space"
    what = "site"
    title: str

    def check(self) -> None:
        if not (self.folder / START).is_file():
            raise BadInput(f"is no site: {START} is missing; build one (exabench board build)", file=self.folder)

    @cached_property
    def _pages(self) -> dict[str, Path]:
        """The files of the site by path. Raises BadInput for a link, and for a file that publishing writes itself."""
        pages = {}
        for file in sorted(self.folder.rglob("*")):
            path = file.relative_to(self.folder)
            if file.is_symlink():
                raise BadInput("is a link; a site holds plain files only", file=file)
            if file.is_file() and not any(part.startswith(".") for part in path.parts):
                pages[path.as_posix()] = file
        for name in (CARD, MANIFEST):
            if name in pages:
                raise BadInput("is no page: publishing writes a file of that name", file=self.folder / name)
        return pages

    def version_at(self, commit: str) -> str | None:
        return "" if self.read(MANIFEST, commit) == self._manifest and self._has_card(commit) else None

    def change(self) -> Commit:
        """What differs from the site before it, by the digests in its manifest."""
        old = self.old_files()
        files: dict[str, Path | bytes] = {}
        for path, page in self._pages.items():
            if old.get(path) != self._digests[path]:
                files[path] = page
        gone = sorted(old.keys() - self._digests.keys())
        if not self._has_card(self.head):
            files[CARD] = self._new_card
        message = f"{self.title}: {plural(len(files), 'file')} changed, {len(gone)} gone"
        return Commit(version="", message=message, files={**files, MANIFEST: self._manifest}, delete=gone)

    def _has_card(self, commit: str | None) -> bool:
        """Does the README of a commit tell the Hub that the site is static?"""
        data = self.read(CARD, commit)
        return data is not None and _STATIC.match(data.decode(errors="replace")) is not None

    @cached_property
    def _digests(self) -> dict[str, str]:
        return {path: file_digest(page) for path, page in self._pages.items()}

    @cached_property
    def _manifest(self) -> bytes:
        body = {"format": 1, "kind": "site", "title": self.title, "files": self._digests}
        return json_text({**body, "digest": digest_of(body)}).encode()

    @property
    def _new_card(self) -> bytes:
        """The head that the Hub reads, and a line for who opens the repository."""
        head = f"title: {json.dumps(self.title)}\nsdk: static\napp_file: {START}\npinned: false\n"
        return (
            f"---\n{head}---\n\nThe built pages of a leaderboard. They are made from its files by exabench.\n".encode()
        )
