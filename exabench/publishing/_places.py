"""Where something is published, the Hub or a folder: one head, read at a commit, moved by one commit at a time."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import exabench.hub
from exabench.errors import BadInput, OutsideFailed
from exabench.files import file_digest, only_writer, write, writing
from exabench.releases import MANIFEST, read


class Place(Protocol):
    """What publishing asks of a place. `commit` may fail and have happened: only reading the head again tells."""

    @property
    def name(self) -> str:
        """As a person names it."""

    @property
    def pull_request(self) -> bool:
        """Whether `commit` opens a pull request, and leaves the head alone."""

    def head(self) -> str | None:
        """The commit that readers get, or None where nothing is there yet."""

    def create(self) -> None:
        """Make the place, if it is not there."""

    def read(self, path: str, commit: str) -> bytes | None:
        """A small file of a commit, or None where the commit has no such file."""

    def fetch(self, paths: Sequence[str], commit: str, to: Path) -> None:
        """Put copies of some files of a commit into a folder."""

    def commit(self, files: Mapping[str, Path | bytes], message: str, parent: str | None, delete: Sequence[str]) -> str:
        """Put files in and take others out, all at once, if the head is `parent`. Returns the new head."""

    def tags(self) -> Mapping[str, str]:
        """The tags and the commits they are at."""

    def tag(self, name: str, commit: str) -> None:
        """Tag a commit; a tag never moves."""

    def url(self, revision: str) -> str:
        """Where a person finds a commit or a tag."""

    def pull_requests(self) -> Mapping[str, str]:
        """The open pull requests: address, and the revision to read each at."""


@dataclass(frozen=True)
class Hub:
    """A repository on the Hub: of kind "dataset" or "model"."""

    name: str
    pull_request: bool = False
    kind: str = "dataset"

    def head(self) -> str | None:
        return exabench.hub.head(self.name, kind=self.kind)

    def create(self) -> None:
        exabench.hub.create(self.name, kind=self.kind)

    def read(self, path: str, commit: str) -> bytes | None:
        return exabench.hub.read_file(self.name, path, commit, kind=self.kind)

    def fetch(self, paths: Sequence[str], commit: str, to: Path) -> None:
        exabench.hub.dataset_snapshot(self.name, commit, only=paths, to=to)

    def commit(self, files: Mapping[str, Path | bytes], message: str, parent: str | None, delete: Sequence[str]) -> str:
        if parent is None:
            raise OutsideFailed(f"Hub {self.kind} {self.name}: was made, and is not there yet")
        options: Any = {"delete": delete, "pull_request": self.pull_request, "kind": self.kind}
        return exabench.hub.commit(self.name, files, message, parent, **options)

    def tags(self) -> Mapping[str, str]:
        return exabench.hub.tags(self.name, kind=self.kind)

    def tag(self, name: str, commit: str) -> None:
        exabench.hub.tag(self.name, name, commit, kind=self.kind)

    def url(self, revision: str) -> str:
        return exabench.hub.page(self.name, revision, kind=self.kind)

    def pull_requests(self) -> Mapping[str, str]:
        return exabench.hub.pull_requests(self.name, kind=self.kind)


@dataclass(frozen=True)
class Folder:
    """A folder that `load_dataset` reads as it reads a repository. It holds one version; its commit is its manifest's.
    One of kind "model" has no versions.

    A new version is a new tree, put in place of the old one by two renames: a process killed between them leaves the
    old tree beside the place, and the next look puts it back.
    """

    path: Path
    pull_request: bool = False
    kind: str = "dataset"

    @property
    def name(self) -> str:
        return str(self.path)

    def head(self) -> str | None:
        if self._old.is_dir() and not self.path.exists():
            with only_writer(self.path), writing(self.path):
                if not self.path.exists():
                    os.rename(self._old, self.path)
        if (self.path / MANIFEST).is_file():
            return file_digest(self.path / MANIFEST)
        if self.path.exists() and (not self.path.is_dir() or any(self.path.iterdir())):
            raise BadInput(f"holds files and no {MANIFEST}: publish to a new or empty folder", file=self.path)
        return None

    def create(self) -> None:
        """Nothing to do: the first commit makes the folder."""

    def read(self, path: str, commit: str) -> bytes | None:
        try:
            return (self.path / path).read_bytes()
        except FileNotFoundError:
            return None

    def fetch(self, paths: Sequence[str], commit: str, to: Path) -> None:
        for path in paths:
            with writing(to / path):
                _copy(self.path / path, to / path)

    def commit(self, files: Mapping[str, Path | bytes], message: str, parent: str | None, delete: Sequence[str]) -> str:
        with only_writer(self.path):
            if self.head() != parent:
                raise OutsideFailed(f"{self.name}: somebody else has published here in the meantime")
            with writing(self.path):
                self._put(files, delete)
        return file_digest(self.path / MANIFEST)

    def _put(self, files: Mapping[str, Path | bytes], delete: Sequence[str]) -> None:
        new = self.path.with_name(f".{self.path.name}.new")
        shutil.rmtree(new, ignore_errors=True)
        shutil.rmtree(self._old, ignore_errors=True)
        try:
            if self.path.exists():
                shutil.copytree(self.path, new, symlinks=True, copy_function=_link)
            new.mkdir(parents=True, exist_ok=True)
            for path in [*delete, *files]:
                (new / path).unlink(missing_ok=True)
            for path, file in files.items():
                _copy(file, new / path) if isinstance(file, Path) else write(new / path, file)
            if self.path.exists():
                os.rename(self.path, self._old)
            os.rename(new, self.path)
        finally:
            shutil.rmtree(new, ignore_errors=True)
        shutil.rmtree(self._old, ignore_errors=True)

    def tags(self) -> Mapping[str, str]:
        head = self.head()
        return {} if head is None or self.kind == "model" else {f"v{read(self.path).version}": head}

    def tag(self, name: str, commit: str) -> None:
        """Nothing to do: the manifest holds the version."""

    def url(self, revision: str) -> str:
        return self.name

    def pull_requests(self) -> Mapping[str, str]:
        """A folder has none."""
        return {}

    @property
    def _old(self) -> Path:
        return self.path.with_name(f".{self.path.name}.old")


def place(to: str | Path, *, pull_request: bool = False, kind: str = "dataset") -> Place:
    """What `to` names: the text `owner/name` a repository, a Path and any other text a folder. Raises BadInput."""
    repo = isinstance(to, str) and exabench.hub.is_repo(to)
    if repo and Path(to).exists():
        raise BadInput(f"{to} may be a repository, and is a folder here; write ./{to} for the folder")
    if repo:
        return Hub(str(to), pull_request, kind)
    if pull_request:
        raise BadInput(f"{to} is a folder, and a folder has no pull requests; leave that out, or name a repository")
    path = Path(to).expanduser().resolve()
    if not path.name:
        raise BadInput("is no folder to publish to", file=path)
    return Folder(path, kind=kind)


def _link(source: str, target: str) -> None:
    """The same file under another name where the disk can do that: it is never written to, only taken away."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    with open(target, "rb") as stream:
        os.fsync(stream.fileno())
