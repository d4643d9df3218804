"""Commits that publish: the files of one thing, in one commit under one tag, to the Hub or to a folder.

What a place holds is read before and after: a commit counts as landed when the head shows it, whatever the reply to it
was. So a lost reply makes no second commit, and what is there already makes none at all.
"""

from __future__ import annotations

import os
import shutil
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TypeAlias

from exabench.core.errors import BadInput, CheckFailed, OutsideFailed
from exabench.core.files import (
    clear_leftovers,
    file_digest,
    from_json,
    only_writer,
    replacing_folder,
    was_interrupted,
    write,
    writing,
)
from exabench.core.nouns import Progress
from exabench.hub.client import Repository, is_repo, until_seen
from exabench.hub.pull_requests import open_requests

CARD = "README.md"
MANIFEST = "manifest.json"
RETRIES = 5
"""How often a commit is tried again while the head stands still."""
OVERTAKEN = 40
"""How often it is tried again because somebody else's commit came first."""
PAUSE = 1.0
"""Seconds before the first of them."""


@dataclass(frozen=True)
class Published:
    """Where it is: repository or folder, version, commit (or pull request), address; `changed`: by this call."""

    to: str
    version: str
    commit: str
    url: str
    changed: bool


@dataclass(frozen=True)
class Commit:
    """One commit: files in, files out, its message, and the version that it makes."""

    version: str
    message: str
    files: Mapping[str, Path | bytes]
    delete: Sequence[str]


@dataclass(frozen=True)
class Folder:
    """A folder with the verbs of a Repository. It has no history and no tags; its commit is its manifest's digest."""

    path: Path

    @property
    def name(self) -> str:
        """As a person names it."""
        return str(self.path)

    def head(self) -> str | None:
        """The digest of the manifest, or None where nothing is there yet. Raises BadInput where other files are."""
        if was_interrupted(self.path):
            with only_writer(self.path, sweep=False), writing(self.path):
                clear_leftovers(self.path)
        if (self.path / MANIFEST).is_file():
            return file_digest(self.path / MANIFEST)
        if self.path.exists() and (not self.path.is_dir() or any(self.path.iterdir())):
            raise BadInput(f"holds files and no {MANIFEST}: publish to a new or empty folder", file=self.path)
        return None

    def create(self) -> None:
        """Nothing: the first commit makes the folder."""

    def read(self, path: str, commit: str) -> bytes | None:
        """The bytes of a file, or None."""
        try:
            return (self.path / path).read_bytes()
        except FileNotFoundError:
            return None

    def fetch(self, paths: Sequence[str], commit: str, to: Path) -> None:
        """Put copies of some files into a folder."""
        for path in paths:
            with writing(to / path):
                _copy(self.path / path, to / path)

    def commit(
        self,
        files: Mapping[str, Path | bytes],
        message: str,
        parent: str | None,
        *,
        delete: Sequence[str] = (),
        pull_request: bool = False,
    ) -> str:
        """Put files in and take others out, all at once, if the head is `parent`; the new head."""
        with only_writer(self.path):
            if self.head() != parent:
                raise OutsideFailed(f"{self.name}: somebody else has published here in the meantime")
            with replacing_folder(self.path) as new:
                if self.path.exists():
                    shutil.copytree(self.path, new, symlinks=True, copy_function=_link, dirs_exist_ok=True)
                for path in [*delete, *files]:
                    (new / path).unlink(missing_ok=True)
                for path, content in files.items():
                    if isinstance(content, Path):
                        _copy(content, new / path)
                    else:
                        write(new / path, content)
        return file_digest(self.path / MANIFEST)

    def tags(self) -> dict[str, str]:
        """A folder has none."""
        return {}

    def tag(self, name: str, commit: str) -> None:
        """Nothing: a folder has no tags."""

    def url(self, revision: str = "") -> str:
        """The path."""
        return self.name


Place: TypeAlias = Repository | Folder


@dataclass(kw_only=True)
class Publication(ABC):
    """One thing on its way to one place. Kinds of things say what a commit holds, and what the next one would be."""

    kind = "dataset"  # of repository
    what = "release"
    advice = "raise the version (--version)"  # where a tag stands elsewhere
    folder: Path
    to: str | Path
    pull_request: bool
    dry_run: bool
    progress: Progress
    head: str | None = None
    _made: bool = False  # the repository was made by this call
    _moved: bool = False  # somebody else's commit came since the look before
    _sent: str | None = None  # a commit was tried; its name, where the reply told

    def __post_init__(self) -> None:
        self.place = _place_of(self.to, self.kind, self.pull_request)

    @abstractmethod
    def check(self) -> None:
        """Raise BadInput where the folder does not hold what it should."""

    @abstractmethod
    def version_at(self, commit: str) -> str | None:
        """The version under which a commit holds just this ("" for a thing without versions), or None."""

    @abstractmethod
    def change(self) -> Commit:
        """The next commit, on the head that was looked at."""

    def tag_name(self, version: str) -> str:
        """The tag of a version; none where it is empty."""
        return version

    def tag_previous(self, tags: Mapping[str, str]) -> None:  # noqa: B027 - most kinds have nothing to do
        """See to a tag that an earlier commit still lacks."""

    def run(self) -> Published:
        """Look and send until a look finds it there.

        Raises BadInput for what cannot be published, for a tag that stands elsewhere and for what the place refuses,
        OutsideFailed after the last retry (then all of it is there or nothing), CheckFailed, CannotWrite.
        """
        self.progress(0, 3, f"checking the {self.what}")
        self.check()
        there = Path(self.to).expanduser().resolve()
        here = self.folder.resolve()
        if there.is_relative_to(here) or here.is_relative_to(there):
            raise BadInput(
                f"is the {self.what} itself, or inside it, or around it; publish to another folder", file=self.to
            )
        return until_seen(
            self._look_or_plan,
            self._send,
            f"{self.place.name}: the {self.what}",
            advice=(
                "all of it is there or nothing, so run it again (a token that may only open pull requests needs --pr)"
            ),
            retries=RETRIES,
            pause=PAUSE,
            overtaken=lambda: self._moved,
            most_overtaken=OVERTAKEN,
        )

    def _look_or_plan(self) -> Published | None:
        found = self._look()
        if found is not None or not self.dry_run:
            return found
        change = self.change()
        return Published(self.place.name, change.version, "", self.place.url(self.tag_name(change.version)), True)

    def _look(self) -> Published | None:
        """Where the place holds it now, its tag seen to; None where it does not."""
        self.progress(1, 3, "reading what is published")
        before = self.head
        self._moved = False
        self.head = self.place.head()
        self._moved = before is not None and before != self.head
        if self.head is None:
            return None
        version = self.version_at(self.head)
        if version is not None:
            return self._landed(self.head, version)
        if self._sent == self.head:
            raise CheckFailed(f"{self.place.name}: commit {self.head} holds something else than was sent; look at it")
        return self._requested() if self.pull_request else None

    def _landed(self, head: str, version: str) -> Published:
        changed = self._sent is not None
        if self.pull_request:
            return Published(self.place.name, version, head, self.place.url(head), changed)
        tag = self.tag_name(version)
        there = self.place.tags().get(tag, "") if tag else ""
        if there and there != head and self.version_at(there) != version:
            raise self._tag_conflict(tag, there)
        if tag and not there and not self.dry_run:
            self.place.tag(tag, head)
        return Published(self.place.name, version, head, self.place.url(tag), changed)

    def _requested(self) -> Published | None:
        """The open pull request that holds it already."""
        assert isinstance(self.place, Repository)
        for request in open_requests(self.place.name, kind=self.place.kind):
            version = self.version_at(request.revision)
            if version is not None:
                return Published(self.place.name, version, request.revision, request.url, self._sent is not None)
        if self._sent:  # a second one would be worse than none
            raise OutsideFailed(f"{self.place.name}: {self._sent} was opened, and does not hold the {self.what}")
        return None

    def _send(self) -> None:
        """One commit on the head that was looked at; a version that landed without its tag gets it first."""
        if self.head is None and isinstance(self.place, Repository):
            if self.pull_request:
                raise BadInput(f"{self.place.name} is not there, or not for this token; nothing to open a request on")
            if self._made:
                raise OutsideFailed(f"{self.place.name}: was made, and is not there yet")
            self.place.create()
            self._made = True
            return  # somebody else may have made and filled it: look again
        change = self.change()
        if not self.pull_request:
            tags = self.place.tags()
            self.tag_previous(tags)
            tag = self.tag_name(change.version)
            if tag in tags:
                if self.place.head() != self.head:
                    return
                raise self._tag_conflict(tag, tags[tag])
        self.progress(2, 3, f"version {change.version}")
        self._sent = ""
        self._sent = self.place.commit(
            change.files, change.message, self.head, delete=change.delete, pull_request=self.pull_request
        )

    def _tag_conflict(self, tag: str, there: str) -> BadInput:
        return BadInput(
            f"{self.place.name}: tag {tag} is at {there}, which is not this {self.what}; tags never move: {self.advice}"
        )

    def read(self, path: str, commit: str | None) -> bytes | None:
        """A file of a commit, or None; of no commit, None."""
        return self.place.read(path, commit) if commit else None

    def read_text(self, path: str, commit: str | None, otherwise: Path | None = None) -> str:
        """A text of a commit, or else of a file; empty where there is neither. Raises BadInput."""
        data = self.read(path, commit)
        if data is None and otherwise is not None and otherwise.is_file():
            data = otherwise.read_bytes()
        try:
            return (data or b"").decode()
        except UnicodeDecodeError as error:
            raise BadInput(f"{self.place.name}: {path} is not UTF-8 text") from error


def _place_of(to: str | Path, kind: str, pull_request: bool) -> Place:
    """What `to` names: the text `owner/name` a repository, a Path and any other text a folder. Raises BadInput."""
    if isinstance(to, str) and is_repo(to):
        if Path(to).exists():
            raise BadInput(f"{to} may be a repository, and is a folder here; write ./{to} for the folder")
        return Repository(to, kind)
    if pull_request:
        raise BadInput(f"{to} is a folder, and a folder has no pull requests; leave that out, or name a repository")
    path = Path(to).expanduser().resolve()
    if not path.name:
        raise BadInput("is no folder to publish to", file=path)
    return Folder(path)


def listed_files(manifest: bytes, kind: str, where: str) -> dict[str, str]:
    """The files that a manifest of a model or a site lists, and their digests. Raises BadInput where it is none."""
    try:
        value = from_json(manifest.decode())
        files = dict(value["files"])
        if (value["kind"], value["format"]) == (kind, 1) and all(map(_is_inside, files)):
            return files
    except (ValueError, TypeError, KeyError):
        pass
    raise BadInput(f"{where}: is no manifest of a {kind}, of format 1; publish elsewhere")


def _is_inside(path: str) -> bool:
    pure = PurePosixPath(path)
    return str(pure) == path and not pure.is_absolute() and ".." not in pure.parts and path != "."


def _link(source: str, target: str) -> None:
    """The same file under another name where the disk can do that: it is never written to, only taken away."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
