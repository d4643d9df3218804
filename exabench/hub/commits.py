"""Commits that publish: the files of one thing, in one commit under one tag, to the Hub or to a folder.

The place is read before and after: a commit counts as landed when the head shows it, whatever the reply to it was. So
a lost reply makes no second commit, and files that already exist make none at all.
"""

from __future__ import annotations

import os
import shutil
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

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
from exabench.hub.pull_requests import PullRequest, open_requests
from exabench.hub.secrets import check_secrets

CARD = "README.md"
MANIFEST = "manifest.json"
PAUSE = 1.0
"""Seconds before a commit is tried again for the first time."""


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
    """One commit: the version that it makes, its message, files in and files out."""

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
        """The path, as messages name it."""
        return str(self.path)

    def head(self) -> str | None:
        """The digest of the manifest, or None where nothing is there yet. Raises BadInput where other files are."""
        # A writer was killed between its two renames, or while it removed the old folder: that is brought to its end.
        if was_interrupted(self.path):
            with only_writer(self.path, sweep=False), writing(self.path):
                clear_leftovers(self.path)
        if (self.path / MANIFEST).is_file():
            return file_digest(self.path / MANIFEST)
        if self.path.exists() and (not self.path.is_dir() or any(self.path.iterdir())):
            raise BadInput(f"contains files but no {MANIFEST}: publish to a new or empty folder", file=self.path)
        return None

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
                raise OutsideFailed(f"{self.name}: someone else has published here in the meantime")
            with replacing_folder(self.path) as new:
                if self.path.exists():
                    shutil.copytree(self.path, new, symlinks=True, copy_function=_link, dirs_exist_ok=True)
                # Files of the copy are links to those of the old folder: writing into one would change both.
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


@dataclass
class Publication(ABC):
    """Publishes one folder to one place; a subclass for each kind of thing says what a commit holds."""

    kind = "dataset"  # of repository
    what = "release"
    advice = "raise the version (--version)"  # where a tag stands elsewhere
    tag_prefix = ""
    folder: Path
    to: str | Path
    pull_request: bool
    dry_run: bool
    progress: Progress

    def __post_init__(self) -> None:
        """The text `owner/name` names a repository, a Path and any other text a folder. Raises BadInput."""
        self.place: Repository | Folder
        if isinstance(self.to, str) and is_repo(self.to):
            if Path(self.to).exists():
                raise BadInput(
                    f"{self.to} could be a repository, but is also a folder here; write ./{self.to} for the folder"
                )
            self.place = Repository(self.to, self.kind)
        elif self.pull_request:
            raise BadInput(f"{self.to} is a folder, which has no pull requests; remove --pr, or name a repository")
        else:
            path = Path(self.to).expanduser().resolve()
            if not path.name:
                raise BadInput("is not a folder to publish to", file=path)
            # Publishing replaces the whole folder at `path`, so neither may hold the other.
            here = self.folder.resolve()
            if path.is_relative_to(here) or here.is_relative_to(path):
                raise BadInput(
                    f"is the {self.what} itself, or inside or above it; publish to another folder", file=self.to
                )
            self.place = Folder(path)
        self.head: str | None = None
        self.old_version = ""  # at the head; kinds that know it set it, and its tag is made where it is missing
        self._was_created = False  # the repository, by this call
        self._was_overtaken = False  # somebody else's commit came since the look before
        self._sent: str | None = None  # the commit that was sent, empty while its reply is unknown

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
        if not version:
            return ""
        return f"{self.tag_prefix}{version}"

    def run(self) -> Published:
        """Look and send until a look finds it there.

        Raises BadInput for what cannot be published, for a secret in a file, for a tag that stands elsewhere and for
        what the place refuses, OutsideFailed after the last retry (then all of it is there or nothing), CheckFailed,
        CannotWrite.
        """
        self.progress(0, 3, f"checking the {self.what}")
        self.check()
        if self.dry_run:
            there = self._look()
            if there is not None:
                return there
            change = self.change()
            check_secrets(change.files)
            version = change.version
            return Published(self.place.name, version, "", self.place.url(self.tag_name(version)), True)
        return until_seen(
            self._look,
            self._send,
            f"{self.place.name}: the {self.what}",
            advice=(
                "the commit is complete or absent, run it again (a token that may only open pull requests needs --pr)"
            ),
            pause=PAUSE,
            overtaken=lambda: self._was_overtaken,
        )

    def _look(self) -> Published | None:
        """Where the place holds it now, with its tag, or None."""
        self.progress(1, 3, "reading what is published")
        before = self.head
        self._was_overtaken = False
        self.head = self.place.head()
        # Nothing was seen before the first look, so no commit can have come since.
        self._was_overtaken = before is not None and before != self.head
        changed = self._sent is not None
        if self.head is not None:
            version = self.version_at(self.head)
            if version is not None:
                revision = self.head
                if not self.pull_request:  # a request is not tagged: the next call without --pr tags what was merged
                    revision = self._tag(self.head, version)
                return Published(self.place.name, version, self.head, self.place.url(revision), changed)
            # Our own commit is the head, so no one else can be the reason.
            if self._sent == self.head:
                raise CheckFailed(f"{self.place.name}: commit {self.head} does not contain what was sent; check it")
            if self.pull_request:
                for request in self.requests():
                    version = self.version_at(request.revision)
                    if version is not None:
                        return Published(self.place.name, version, request.revision, request.url, changed)
                if self._sent:  # a second one would be worse than none
                    raise OutsideFailed(
                        f"{self.place.name}: {self._sent} was opened but does not contain the {self.what}"
                    )
        return None

    def requests(self) -> list[PullRequest]:
        """The pull requests that may hold it already: the open ones."""
        return open_requests(self.place.name, kind=self.kind)

    def _tag(self, head: str, version: str) -> str:
        """Tag the head where the tag is missing, but not in a dry run; the tag. Raises BadInput if it is elsewhere."""
        tag = self.tag_name(version)
        if tag:
            tagged = self.place.tags().get(tag)
            if tagged and tagged != head and self.version_at(tagged) != version:
                raise self._tag_conflict(tag, tagged)
            if not tagged and not self.dry_run:
                self.place.tag(tag, head)
        return tag

    def _send(self) -> None:
        """One commit on the head that was looked at; a version whose tag is missing gets the tag first."""
        change = self.change()
        check_secrets(change.files)  # before a repository is made for them
        if self.head is None and isinstance(self.place, Repository):
            if self.pull_request:
                raise BadInput(
                    f"{self.place.name} does not exist, or this token cannot read it; a pull request needs it"
                )
            if self._was_created:
                raise OutsideFailed(f"{self.place.name}: was created but is not visible yet")
            self.place.create()
            self._was_created = True
            return  # somebody else may have made and filled it: look again
        if not self.pull_request:
            tags = self.place.tags()
            # Its publisher was killed between the commit and the tag.
            previous = self.tag_name(self.old_version)
            if previous and self.head and previous not in tags:
                self.place.tag(previous, self.head)
            tag = self.tag_name(change.version)
            if tag in tags:
                if self.place.head() != self.head:
                    return
                raise self._tag_conflict(tag, tags[tag])
        self.progress(2, 3, f"version {change.version}")
        # Known to be tried before the reply comes: a lost reply must not look like no commit.
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

    def old_files(self) -> dict[str, str]:
        """The files that the manifest at the head lists, and their digests. Raises BadInput for one of another kind."""
        manifest = self.read(MANIFEST, self.head)
        if manifest is None:
            return {}
        return files_in_manifest(manifest, self.what, f"{self.place.name}@{self.head}: {MANIFEST}")


def files_in_manifest(manifest: bytes, kind: str, where: str) -> dict[str, str]:
    """The files that a manifest of a model or a site lists, and their digests. Raises BadInput where it is none."""
    try:
        value = from_json(manifest.decode())
        files = dict(value["files"])
        # Paths are joined to folders, so one that leads out of them would write or delete anywhere.
        if (value["kind"], value["format"]) == (kind, 1) and all(map(is_inside, files)):
            return files
    except (ValueError, TypeError, KeyError):
        pass
    raise BadInput(f"{where}: is not a {kind} manifest of format 1; publish elsewhere")


def is_inside(path: str) -> bool:
    """Is this the plain path of a file below a folder?"""
    pure = PurePosixPath(path)
    return str(pure) == path and not pure.is_absolute() and ".." not in pure.parts and path != "."


def _link(source: str, target: str) -> None:
    """The same file under another name where the disk can do that: it is never written to, only removed."""
    try:
        os.link(source, target)
    except OSError:  # another disk, or one without links
        shutil.copyfile(source, target)


def _copy(source: Path, target: Path) -> None:
    """Copy the bytes of `source` to `target`, and make the folders above it. Raises OSError."""
    # No link, unlike `_link`: whoever owns `source` may write into it later.
    # The bytes alone, so the copy has the permissions of any new file here.
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
