"""Publishing a site: the built pages of a leaderboard, to a static Space or to a folder."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from exabench.bench.ledger import Ledger
from exabench.bench.verification import check as list_problems, verify
from exabench.board.pages import render
from exabench.board.ranking import Board
from exabench.core.errors import BadInput, CheckFailed, plural
from exabench.core.files import digest_of, file_digest, json_text
from exabench.core.nouns import Progress, silent
from exabench.hub.cards.space import SpaceFacts, space_card
from exabench.hub.client import is_repo
from exabench.hub.commits import CARD, MANIFEST, Commit, Publication, Published

START = "index.html"
_STATIC = re.compile(rf"---\n(?=(?:.*\n)*?sdk: static\n)(?=(?:.*\n)*?app_file: {re.escape(START)}\n)(?:.*\n)*?---\n")


def publish_board(
    folder: Path,
    to: str | Path,
    *,
    check: bool = True,
    data: Path | None = None,
    pull_request: bool = False,
    dry_run: bool = False,
    progress: Progress = silent,
) -> Published:
    """Build the pages of the leaderboard in `folder` into its site/, and publish them as `publish_site` does.

    With `check` only a board whose files are in order and whose numbers can be recomputed (from the collections in
    `data`) is published: raises CheckFailed with the first problem.
    """
    Ledger(folder).check_exists()
    if check:
        problems = list_problems(folder)
        if problems:
            raise CheckFailed(f"{problems[0]} ({len(problems)} in all: exabench board check); --no-check publishes it")
        wrong = [cell for cell in verify(folder, data=data) if not cell.holds]
        if wrong:
            first = wrong[0]
            number = f"{first.submission} {first.task} {first.candidates} {first.metric} {first.verdict}"
            raise CheckFailed(f"{number} ({len(wrong)} in all: exabench bench verify); --no-check publishes it")
    site = folder / "site"
    board = Board.read(folder)
    render(board, site, progress=progress)
    return publish_site(site, to, space_facts(board), pull_request=pull_request, dry_run=dry_run, progress=progress)


def space_facts(board: Board) -> SpaceFacts:
    """What the card of a Space says of a board: its models on the Hub, and the datasets of its tasks and trainings."""
    models = set()
    for submission in board.submissions.values():
        if submission.kind == "model" and not submission.withdrawn and is_repo(submission.model):
            models.add(submission.model)
    datasets = set()
    for task in board.single_tasks:
        if task.hub:
            datasets.add(task.hub["repo"])
    for training in board.trainings.values():
        for part in training.values["data"]:
            if is_repo(part["repository"]):
                datasets.add(part["repository"])
    return SpaceFacts(
        title=board.title,
        description=board.description,
        licence=board.licence,
        models=tuple(sorted(models)),
        datasets=tuple(sorted(datasets)),
    )


def publish_site(
    folder: str | Path,
    to: str | Path,
    facts: SpaceFacts,
    *,
    pull_request: bool = False,
    dry_run: bool = False,
    progress: Progress = silent,
) -> Published:
    """Put the site in `folder` where `to` says: the Space `owner/name` on the Hub, or the path of a folder.

    One commit holds the files that differ, and takes out those of the site before that this one lacks; files of others
    stay, and so does what people wrote into a README.md that says the site is static. A site that already exists
    makes no commit. `pull_request` opens one. `dry_run` says what would be done. Raises BadInput for a folder that is
    not a built site, and what the Hub refuses; OutsideFailed after the last retry, when none of it is visible, or all;
    CannotWrite.
    """
    return _SitePublication(Path(folder), to, pull_request, dry_run, progress, facts).run()


@dataclass
class _SitePublication(Publication):
    """A site on its way. It has neither versions nor tags: what is shown is the head."""

    kind = "space"
    what = "site"
    facts: SpaceFacts

    def check(self) -> None:
        """Read the site. Raises BadInput for a link, and for a file that publishing writes itself."""
        if not (self.folder / START).is_file():
            raise BadInput(f"is not a site: {START} is missing; build one (exabench board build)", file=self.folder)
        self._digests = {}
        for file in sorted(self.folder.rglob("*")):
            path = file.relative_to(self.folder).as_posix()
            if file.is_symlink():
                raise BadInput("is a link; a site contains regular files only", file=file)
            if path in (CARD, MANIFEST):
                raise BadInput("is not a page: publishing writes a file of that name", file=file)
            if file.is_file() and "/." not in f"/{path}":  # hidden files are not pages
                self._digests[path] = file_digest(file)
        body = {"format": 1, "kind": "site", "title": self.facts.title, "files": self._digests}
        self._manifest = json_text({**body, "digest": digest_of(body)}).encode()

    def version_at(self, commit: str) -> str | None:
        # A site is there or it is not: it has no version to tell.
        is_there = self.read(MANIFEST, commit) == self._manifest and self.read(CARD, commit) == self._card(commit)
        return "" if is_there else None

    def change(self) -> Commit:
        """The files that differ from the published site, by the digests in its manifest."""
        old = self.old_files()
        files: dict[str, Path | bytes] = {}
        for path, digest in self._digests.items():
            if old.get(path) != digest:
                files[path] = self.folder / path
        gone = sorted(old.keys() - self._digests.keys())
        card = self._card(self.head)
        if self.read(CARD, self.head) != card:
            files[CARD] = card
        message = f"{self.facts.title}: {plural(len(files), 'file')} changed, {len(gone)} gone"
        return Commit(version="", message=message, files={**files, MANIFEST: self._manifest}, delete=gone)

    def _card(self, commit: str | None) -> bytes:
        """The card as it would be there. One that does not tell the Hub that the site is static is the Hub's own."""
        existing = self.read_text(CARD, commit)
        if not _STATIC.match(existing):
            existing = ""
        return space_card(self.facts, START, existing=existing).encode()
