"""Publishing a release: its tables join those of the place, under a version that never moves."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path, PurePosixPath

from exabench.core.errors import BadInput, CheckFailed, OutsideFailed, plural
from exabench.core.files import file_digest, write
from exabench.core.nouns import Progress, silent
from exabench.core.rows import DataFile, Release
from exabench.data.card import release_card
from exabench.data.rejections import check_counts, most_rejected
from exabench.data.releases import Diff, diff, next_version, raise_version, read, row_ids, save, verify
from exabench.hub.cards import changelog
from exabench.hub.client import Repository
from exabench.hub.commits import CARD, MANIFEST, Commit, Publication, Published

CHANGES = "CHANGELOG.md"
CROISSANT = "croissant.json"  # of version 0.1; the Hub makes one, and what the next commit left would be stale


def publish(
    folder: str | Path,
    to: str | Path,
    *,
    version: str = "",
    pull_request: bool = False,
    allow_shrink: bool = False,
    dry_run: bool = False,
    progress: Progress = silent,
) -> Published:
    """Put the Release in `folder` where `to` says: `owner/name` on the Hub, or the path of a folder.

    Its tables replace those of the same names, all others stay; the version is computed (`version` may raise
    it) and tagged. `pull_request` opens one, without a tag. `dry_run` says what would be done. Raises BadInput for a
    release that is damaged or lacks a licence, for rows that were withdrawn there, for a tag that is elsewhere, and for
    what the Hub refuses; CheckFailed for a table without rows, with more rejections than its recipe allows, or (unless
    `allow_shrink`) with less than half of the rows it had; OutsideFailed after the last retry, when nothing of the
    release is visible, or all of it; CannotWrite.
    """
    return _ReleasePublication(Path(folder), to, pull_request, dry_run, progress, version, allow_shrink).run()


@dataclass
class _ReleasePublication(Publication):
    """Publishes a release; `old` is the one at the head."""

    tag_prefix = "v"
    wanted_version: str
    allow_shrink: bool
    old: Release | None = None

    def check(self) -> None:
        tables = self.release.tables
        # All bytes are read before the first request: a damaged release reaches no place.
        problems = verify(self.folder)
        if problems:
            more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
            raise BadInput(f"is not what its manifest says: {problems[0]}{more}; build it again", file=self.folder)
        for name, table in tables.items():
            if not table.licence.strip():
                raise BadInput(f"table {name} has no licence; add one to its recipe and build again", file=self.folder)
            check_counts(name, table.counts, table.counts.get("reasons", {}), most_rejected(table.recipe))

    @cached_property
    def release(self) -> Release:
        """The Release to publish."""
        return read(self.folder)

    def version_at(self, commit: str) -> str | None:
        manifest = self.read(MANIFEST, commit)
        published = None
        if manifest is not None:
            with tempfile.TemporaryDirectory() as scratch:
                write(Path(scratch) / MANIFEST, manifest)
                try:
                    published = read(scratch)
                except BadInput as error:
                    problem = str(error).replace(f"{scratch}/", "")
                    raise BadInput(f"{self.place.name}@{commit} cannot be added to: {problem}") from error
        if commit == self.head:
            self.old = published
            self.old_version = published.version if published else ""
        if published is None or published.content != self._merge().content:
            return None
        return published.version

    def change(self) -> Commit:
        """Tables and replies as they were built; card and changelog are updated from those at the head."""
        old = self.old
        self._check_against_old()
        merged = self._merge()
        changes = Diff({})
        gone = set()
        with tempfile.TemporaryDirectory() as scratch:
            if old and self.head:
                # The old tables that the release replaces are compared with it; files that are equal are not fetched.
                tables = {}
                fetched: list[DataFile] = []
                for name, table in old.tables.items():
                    if name in self.release.tables:
                        tables[name] = table
                        if table.splits != self.release.tables[name].splits:
                            fetched += table.files
                save(replace(old, tables=tables, files=()), scratch)
                self.place.fetch([file.path for file in fetched], self.head, Path(scratch))
                for file in fetched:
                    copy = Path(scratch, file.path)
                    if not copy.is_file() or file_digest(copy) != f"sha256:{file.sha256}":
                        raise OutsideFailed(f"{self.place.name}@{self.head}: {file.path} does not match its manifest")
                changes = diff(scratch, self.folder)
                gone = {file.path for file in old.all_files}
            version = next_version(old, merged, changes)
            if self.wanted_version:
                version = raise_version(version, self.wanted_version)
            merged = replace(merged, version=version)
            manifest = save(merged, Path(scratch, "new")).read_bytes()
        repository = ""
        if isinstance(self.place, Repository):
            repository = self.place.name
        existing = self.read_text(CARD, self.head, self.folder / CARD)
        page = release_card(self.folder, merged, repository=repository, existing=existing)
        lines = [*changes.lines(), *self._withdrawals()]
        history = changelog(merged, lines, self.read_text(CHANGES, self.head))
        files: dict[str, Path | bytes] = {file.path: self.folder / file.path for file in self.release.all_files}
        files |= {CARD: page.encode(), CHANGES: history.encode(), MANIFEST: manifest}
        if self.read(CROISSANT, self.head) is not None:
            gone.add(CROISSANT)
        return Commit(
            version=version,
            message=f"{self.release.name} {version}: {', '.join(sorted(self.release.tables))}",
            files=files,
            delete=sorted(gone - {file.path for file in merged.all_files}),
        )

    def _check_against_old(self) -> None:
        """Refuse a table that shrinks by more than half, or that brings withdrawn rows back."""
        if self.old is None:
            return
        for name, table in self.release.tables.items():
            before = self.old.tables.get(name)
            if before is None:
                continue
            if not self.allow_shrink and table.rows * 2 < before.rows:
                raise CheckFailed(
                    f"{self.place.name}: table {name} would shrink from {plural(before.rows, 'row')} to {table.rows}; "
                    "if that is meant, publish with --allow-shrink"
                )
            if not before.withdrawn:
                continue
            back = before.withdrawn.keys() & row_ids(self.folder, table)
            if back:
                first = min(back)
                raise BadInput(
                    f"table {name} has {plural(len(back), 'row')} that {self.place.name} withdrew "
                    f"({before.withdrawn[first]}): take out the same here (exabench data withdraw)",
                    id=first,
                )

    def _withdrawals(self) -> Iterator[str]:
        """The rows that this release withdraws, by their reasons, a line each."""
        for name, table in self.release.tables.items():
            before: Mapping[str, str] = {}
            if self.old and name in self.old.tables:
                before = self.old.tables[name].withdrawn
            new = Counter(reason for id, reason in table.withdrawn.items() if id not in before)
            for reason, times in new.items():
                yield f"table {name}: {plural(times, 'row')} withdrawn: {reason}"

    def _merge(self) -> Release:
        """The tables of the head with those of the release in their place; a file of a table goes with it.

        What was withdrawn stays so.
        """
        new = self.release
        files = {file.path: file for file in new.files}
        tables = dict(new.tables)
        if self.old is not None:
            if self.old.name != new.name:
                raise BadInput(
                    f"{self.place.name} contains the dataset {self.old.name}, not {new.name}; publish it elsewhere"
                )
            for name, table in self.old.tables.items():
                if name not in tables:
                    tables[name] = table
                elif table.withdrawn:
                    tables[name] = replace(tables[name], withdrawn={**table.withdrawn, **tables[name].withdrawn})
            for file in self.old.files:
                # A file is a table's where the table's name is a part of its path (replies/<table>.parquet).
                names = PurePosixPath(file.path).with_suffix("").parts
                if not new.tables.keys() & names:
                    files.setdefault(file.path, file)
        return replace(new, tables=tables, files=tuple(files[path] for path in sorted(files)))
