"""Publishing: a Release joins what a repository or a folder holds, in one commit, under a version that never moves.

What a place holds is read before and after: a commit counts as landed when the head's manifest says so, whatever the
reply to it was. So a lost reply makes no second commit, and a release that is there already makes none at all.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from exabench.cards import card, changelog, template_for
from exabench.errors import BadInput, CheckFailed, OutsideFailed
from exabench.files import file_digest, write
from exabench.nouns import Progress, silent
from exabench.publishing._models import publish_model as publish_model
from exabench.publishing._places import place
from exabench.publishing._sending import OVERTAKEN, PAUSE, RETRIES, Patience, Plan, Sending
from exabench.publishing._sending import Published as Published
from exabench.publishing._sites import publish_site as publish_site
from exabench.releases import MANIFEST, diff, manifest_text, next_version, patched, raised, read, save, verify
from exabench.rows import DataFile, Release

CARD, CHANGES = "README.md", "CHANGELOG.md"
CROISSANT = "croissant.json"  # version 0.1 wrote one; now the Hub does, and what the next commit left would be stale


def publish(
    folder: str | Path,
    to: str | Path,
    *,
    version: str = "",
    pull_request: bool = False,
    dry_run: bool = False,
    progress: Progress = silent,
) -> Published:
    """Put the Release in `folder` where `to` says: `owner/name` on the Hub, or the path of a folder.

    Its tables take the place of those of their names, all others stay; the version is computed (`version` may raise
    it) and tagged. `pull_request` opens one, without a tag. `dry_run` says what would be done. Raises BadInput for a
    release that is damaged or lacks a licence, a tag that is elsewhere, and what the Hub refuses; OutsideFailed after
    the last retry, when nothing of the release is visible, or all of it; CannotWrite.
    """
    there, folder = place(to, pull_request=pull_request), Path(folder)
    progress(0, 3, "checking the release")
    publication = _Publication(
        folder=folder,
        release=_checked(folder, to),
        version=version,
        place=there,
        progress=progress,
        patience=Patience(RETRIES, OVERTAKEN, PAUSE),
        writes=not dry_run,
    )
    return publication.run()


def _checked(folder: Path, to: str | Path) -> Release:
    release = read(folder)
    if problems := verify(folder):
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise BadInput(f"is not what its manifest says: {problems[0]}{more}; build it again", file=folder)
    if nameless := [name for name, table in release.tables.items() if not table.licence.strip()]:
        raise BadInput(f"table {nameless[0]} has no licence; give its recipe one and build again", file=folder)
    paths = [Path(to).expanduser().resolve(), folder.resolve()]
    if paths[0].is_relative_to(paths[1]) or paths[1].is_relative_to(paths[0]):
        raise BadInput("is the release itself, or inside it, or around it; publish to another folder", file=to)
    return release


@dataclass(kw_only=True)
class _Publication(Sending):
    """One release on its way to one place."""

    folder: Path
    release: Release
    version: str
    old: Release | None = None

    def looked(self) -> Published | None:
        """What the place holds now, if that is the release already; its tag is then seen to. Else None."""
        self.progress(1, 3, "reading what is published")
        self.head = self.place.head()
        data = self.place.read(MANIFEST, self.head) if self.head else None
        self.old = self._parsed(data, str(self.head))
        # The manifest of an older exabench has no digest of its own: a patch with it is due.
        whole = self.old is not None and data == manifest_text(self.old).encode()
        if self.old is not None and whole and self._merged().content == self.old.content:
            return self._landed(str(self.head), self.old)
        if self.sent and self.sent == self.head:
            raise CheckFailed(f"{self.place.name}: commit {self.head} holds something else than was sent; look at it")
        return self._requested()

    def _landed(self, head: str, old: Release) -> Published:
        tag, changed = f"v{old.version}", self.sent is not None
        if self.writes and not self.place.pull_request:
            there = self.place.tags().get(tag)
            if there is None:
                self.place.tag(tag, head)
            elif there != head:
                found = self._held(there)
                if found is None or (found.content, found.version) != (old.content, old.version):
                    raise self.misplaced(tag, there)
        return Published(self.place.name, old.version, head, self.place.url(tag), changed)

    def misplaced(self, tag: str, there: str) -> BadInput:
        found = self._held(there)
        what = f"version {found.version} with other content" if found else "no release"
        return BadInput(
            f"{self.place.name}: tag {tag} is at {there}, where the manifest holds {what}; tags never move: "
            "raise the version (--version)"
        )

    def _requested(self) -> Published | None:
        """The open pull request that holds the release already, if one is asked for."""
        if not self.place.pull_request or self.head is None:
            return None
        wanted = self._merged().content
        for url, revision in self.place.pull_requests().items():
            found = self._held(revision)
            if found is not None and found.content == wanted:
                return Published(self.place.name, found.version, revision, url, self.sent is not None)
        if self.sent:  # a second one would be worse than none
            raise OutsideFailed(f"{self.place.name}: {self.sent} was opened, and does not hold the release")
        return None

    def tagged_first(self, tags: Mapping[str, str]) -> None:
        """Tag the version of the head, where that was lost."""
        if self.old and self.head and f"v{self.old.version}" not in tags:
            self.place.tag(f"v{self.old.version}", self.head)

    def planned(self) -> Plan:
        """The files of the next commit: tables and replies as they were built, what people read made anew."""
        merged, lines = self._merged(), []
        with tempfile.TemporaryDirectory() as folder:
            changes = diff(self._former(Path(folder)), self.folder) if self.old else None
            computed = next_version(self.old, merged, changes)
            if self.old and computed == self.old.version:  # only the manifest's digest is new, and tags never move
                computed = patched(computed)
            merged = replace(merged, version=raised(computed, self.version) if self.version else computed)
            lines = changes.lines() if changes else []
            manifest = save(merged, Path(folder) / "new").read_bytes()
        texts = {
            CARD: card(merged, template_for(merged.name), existing=self._text(CARD, self.folder / CARD)),
            CHANGES: changelog(merged, lines, self._text(CHANGES)),
        }
        files: dict[str, Path | bytes] = {file.path: self.folder / file.path for file in self.release.all_files}
        files |= {path: text.encode() for path, text in texts.items()} | {MANIFEST: manifest}
        gone = {file.path for file in self.old.all_files} if self.old else set()
        if self.head and self.place.read(CROISSANT, self.head) is not None:
            gone.add(CROISSANT)
        return Plan(
            version=merged.version,
            tag=f"v{merged.version}",
            message=f"{self.release.name} {merged.version}: {', '.join(sorted(self.release.tables))}",
            files=files,
            delete=tuple(sorted(gone - {file.path for file in merged.all_files})),
        )

    def _merged(self) -> Release:
        """The tables of the place with those of the release in their place; a file of a table goes with it."""
        old, new = self.old, self.release
        if old is None:
            return replace(new, files=_sorted(new.files))
        if old.name != new.name:
            raise BadInput(
                f"{self.place.name} holds the dataset {old.name}, and this is {new.name}; publish it elsewhere"
            )
        kept = [file for file in old.files if not _parts(file.path) & new.tables.keys()]
        taken = {file.path for file in new.files}
        files = _sorted([*(file for file in kept if file.path not in taken), *new.files])
        return replace(new, version=old.version, tables={**old.tables, **new.tables}, files=files)

    def _former(self, folder: Path) -> Path:
        """A folder with the tables that the release replaces, as the place holds them; equal files are not fetched."""
        assert self.old is not None and self.head is not None
        both = {name: table for name, table in self.old.tables.items() if name in self.release.tables}
        save(replace(self.old, tables=both, files=()), folder)
        other = [table for name, table in both.items() if table.splits != self.release.tables[name].splits]
        files = [file for table in other for split in table.splits.values() for file in split]
        if files:
            self.place.fetch([file.path for file in files], self.head, folder)
        for file in files:
            place = folder / file.path
            if not place.is_file() or file_digest(place) != f"sha256:{file.sha256}":
                raise OutsideFailed(f"{self.place.name}@{self.head}: {file.path} is not the file of its manifest")
        return folder

    def _held(self, commit: str) -> Release | None:
        return self._parsed(self.place.read(MANIFEST, commit), commit)

    def _parsed(self, data: bytes | None, commit: str) -> Release | None:
        """The Release of a manifest's bytes."""
        if data is None:
            return None
        with tempfile.TemporaryDirectory() as folder:
            write(Path(folder) / MANIFEST, data)
            try:
                return read(folder)
            except BadInput as error:
                said = str(error).replace(f"{folder}/", "")
                raise BadInput(f"{self.place.name}@{commit} cannot be added to: {said}") from error

    def _text(self, path: str, otherwise: Path | None = None) -> str:
        """A text of the head, or else of a file."""
        data = self.place.read(path, self.head) if self.head else None
        if data is None and otherwise is not None and otherwise.is_file():
            data = otherwise.read_bytes()
        try:
            return (data or b"").decode()
        except UnicodeDecodeError as error:
            raise BadInput(f"{self.place.name}: {path} is not UTF-8 text") from error


def _sorted(files: list[DataFile] | tuple[DataFile, ...]) -> tuple[DataFile, ...]:
    return tuple(sorted(files, key=lambda file: file.path))


def _parts(path: str) -> set[str]:
    """The names in a path, the last without its suffix: a file that bears a table's name is that table's."""
    return set(PurePosixPath(path).with_suffix("").parts)
