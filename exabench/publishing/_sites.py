"""Publishing a site: the built pages of a leaderboard, to a static Space in one commit, or to a folder."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

from exabench.errors import BadInput, CheckFailed, OutsideFailed, plural
from exabench.files import digest_of, file_digest, from_json, json_text
from exabench.nouns import Progress, silent
from exabench.publishing._places import Folder, Hub, Place, place
from exabench.publishing._sending import Patience, Plan, Published, Sending

CARD, MANIFEST, START = "README.md", "manifest.json", "index.html"
FORMAT = 1
_NEEDED = re.compile(rf"---\n(?=(?:.*\n)*?sdk: static\n)(?=(?:.*\n)*?app_file: {re.escape(START)}\n)(?:.*\n)*?---\n")


def publish_site(
    folder: str | Path,
    to: str | Path,
    *,
    title: str,
    pull_request: bool = False,
    dry_run: bool = False,
    progress: Progress = silent,
    patience: Patience | None = None,
) -> Published:
    """Put the site in `folder` where `to` says: the Space `owner/name` on the Hub, or the path of a folder.

    One commit holds the files that differ, and takes out those of the site before that this one lacks; files of others
    stay, and so does a README.md that says the site is static. A site that is there already makes no commit.
    `pull_request` opens one. `dry_run` says what would be done. Raises BadInput for a folder that is no built site,
    and what the Hub refuses; OutsideFailed after the last retry, when none of it is visible, or all; CannotWrite.
    """
    there, folder = _placed(place(to, pull_request=pull_request, kind="space")), Path(folder)
    progress(0, 3, "reading the site")
    sending = _Site(
        folder=folder,
        title=title,
        files=_files(folder, to),
        place=there,
        progress=progress,
        patience=patience or Patience(),
        writes=not dry_run,
    )
    return sending.run()


class _Space(Hub):
    """A Space: its pages are those of its head, so there is nothing to tag."""

    def tags(self) -> Mapping[str, str]:
        return {}


class _Pages(Folder):
    """A folder that a server shows."""

    def tags(self) -> Mapping[str, str]:
        return {}


def _placed(found: Place) -> Place:
    return _Space(found.name, found.pull_request, "space") if isinstance(found, Hub) else _Pages(Path(found.name))


def _files(folder: Path, to: str | Path) -> dict[str, Path]:
    """The files of a built site by path. Raises BadInput for what is none, and for what could lead elsewhere."""
    if not (folder / START).is_file():
        raise BadInput(f"is no site: {START} is missing; build one (exabench board build)", file=folder)
    paths = [Path(to).expanduser().resolve(), folder.resolve()]
    if paths[0].is_relative_to(paths[1]) or paths[1].is_relative_to(paths[0]):
        raise BadInput("is the site itself, or inside it, or around it; publish to another folder", file=to)
    found = {}
    for file in sorted(folder.rglob("*")):
        path = file.relative_to(folder).as_posix()
        if file.is_symlink():
            raise BadInput("is a link; a site holds plain files only", file=file)
        if file.is_file() and not any(part.startswith(".") for part in PurePosixPath(path).parts):
            found[path] = file
    for path in (CARD, MANIFEST):
        if path in found:
            raise BadInput("is no page: publishing writes a file of that name", file=folder / path)
    return found


@dataclass(kw_only=True)
class _Site(Sending):
    """One site on its way to one place."""

    folder: Path
    title: str
    files: Mapping[str, Path]
    what = "site"

    def looked(self) -> Published | None:
        self.progress(1, 3, "reading what is published")
        self.head = self.place.head()
        if self.head and self._holds(self.head):
            where = self.place.url(self.head if self.place.pull_request else "")
            return Published(self.place.name, "", self.head, where, self.sent is not None)
        if self.sent and self.sent == self.head:
            raise CheckFailed(f"{self.place.name}: commit {self.head} holds something else than was sent; look at it")
        return self._requested()

    def misplaced(self, tag: str, there: str) -> BadInput:
        """Never: a site has no tags."""
        return BadInput(f"{self.place.name}: tag {tag} is at {there}")

    def tagged_first(self, tags: Mapping[str, str]) -> None:
        """Nothing: a site has no tags."""

    def planned(self) -> Plan:
        """What differs from the site before it, by the digests in its manifest."""
        old = self._listed(self.head)
        files: dict[str, Path | bytes] = {
            path: file for path, file in self.files.items() if old.get(path) != self._digests[path]
        }
        gone = tuple(sorted(old.keys() - self._digests.keys()))
        if self._card(self.head) is None:
            files[CARD] = self._new_card
        message = f"{self.title}: {plural(len(files), 'file')} changed, {len(gone)} gone"
        return Plan(version="", tag="", message=message, files={**files, MANIFEST: self._manifest}, delete=gone)

    def _requested(self) -> Published | None:
        """The open pull request that holds the site already, if one is asked for."""
        if not self.place.pull_request or self.head is None:
            return None
        for url, revision in self.place.pull_requests().items():
            if self._holds(revision):
                return Published(self.place.name, "", revision, url, self.sent is not None)
        if self.sent:  # a second one would be worse than none
            raise OutsideFailed(f"{self.place.name}: {self.sent} was opened, and does not hold the site")
        return None

    def _holds(self, commit: str) -> bool:
        return self.place.read(MANIFEST, commit) == self._manifest and self._card(commit) is not None

    def _card(self, commit: str | None) -> bytes | None:
        """The README of a commit, where it says what the Hub must know of a static site."""
        data = self.place.read(CARD, commit) if commit else None
        return data if data is not None and _NEEDED.match(data.decode(errors="replace")) else None

    def _listed(self, commit: str | None) -> dict[str, str]:
        """The files of the site that a commit holds, and their digests; none where it holds no site."""
        data = self.place.read(MANIFEST, commit) if commit else None
        if data is None:
            return {}
        values = _json(data)
        known = isinstance(values, dict) and values.get("kind") == "site" and values.get("format") == FORMAT
        files = values.get("files") if known else None
        if not isinstance(files, dict) or not all(map(_is_inside, files)):
            raise BadInput(f"{self.place.name}@{commit}: {MANIFEST} is not of a site; publish elsewhere")
        return {str(path): str(digest) for path, digest in files.items()}

    @cached_property
    def _digests(self) -> dict[str, str]:
        return {path: file_digest(file) for path, file in self.files.items()}

    @cached_property
    def _manifest(self) -> bytes:
        body = {"format": FORMAT, "kind": "site", "title": self.title, "files": self._digests}
        return json_text({**body, "digest": digest_of(body)}).encode()

    @property
    def _new_card(self) -> bytes:
        """The head that the Hub reads, and a line for who opens the repository."""
        head = f"title: {json.dumps(self.title)}\nsdk: static\napp_file: {START}\npinned: false\n"
        return (
            f"---\n{head}---\n\nThe built pages of a leaderboard. They are made from its files by exabench.\n".encode()
        )


def _json(data: bytes) -> Any:
    try:
        return from_json(data.decode())
    except ValueError:
        return None


def _is_inside(path: str) -> bool:
    pure = PurePosixPath(path)
    return str(pure) == path and not pure.is_absolute() and ".." not in pure.parts and path != "."
