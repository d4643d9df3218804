"""Publishing a model: the folder that a training left behind, under a tag that never moves."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from exabench.bench.submissions import LINK, read_submission, submission_text
from exabench.core.errors import BadInput
from exabench.core.files import digest_of, file_digest, json_text, read_json
from exabench.core.nouns import Progress, Submission, silent
from exabench.hub.client import Repository, model_folder, pickles
from exabench.hub.commits import CARD, MANIFEST, Commit, Publication, Published, files_in_manifest
from exabench.training.model_folder import card_text

SUBMISSION = "submission.toml"
TRAINING = "training.json"
_TAG = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_NUMBERED = re.compile(r"v(\d{1,9})")


def publish_model(
    folder: str | Path,
    to: str | Path,
    *,
    tag: str = "",
    pull_request: bool = False,
    dry_run: bool = False,
    progress: Progress = silent,
) -> Published:
    """Put the model folder where `to` says: `owner/name` on the Hub, or the path of a folder.

    Its files take the place of those that an earlier model left there; others stay, and what people wrote into the card
    stays. On the Hub card and submission bear the repository's name, and `tag` (next: v1, v2, ...) is set.
    `pull_request` opens one, without a tag. What already exists makes no commit. Raises BadInput for a folder that is
    not what its manifest says or holds a pickle, a tag that is elsewhere, and what the Hub refuses; OutsideFailed after
    the last retry, when nothing of it is visible, or all of it; CannotWrite.
    """
    return _ModelPublication(Path(folder), to, pull_request, dry_run, progress, tag).run()


@dataclass
class _ModelPublication(Publication):
    """A model on its way. `tag` is empty where the next number is taken; a folder and a pull request have no tags."""

    kind = "model"
    what = "model"
    advice = "give another one"
    tag: str

    def check(self) -> None:
        folder = self.folder
        if self.tag and not _TAG.fullmatch(self.tag):
            raise BadInput(f"tag {self.tag!r} must be of ASCII letters, digits and ._- (at most 64), as in v1")
        if self.tag and not isinstance(self.place, Repository):
            raise BadInput(f"{self.to} is a folder, which has no tags; remove --tag, or name a repository")
        if not (folder / MANIFEST).is_file() or not (folder / TRAINING).is_file():
            raise BadInput(f"is not a model folder: {MANIFEST} or {TRAINING} is missing; train one", file=folder)
        found = pickles(folder)
        if found:
            raise BadInput(
                f"contains a pickle ({found[0]}), which can run code when it is loaded; remove it", file=folder
            )
        listed = files_in_manifest((folder / MANIFEST).read_bytes(), "model", str(folder / MANIFEST))
        files = {file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()}
        odd = sorted((files - {CARD, MANIFEST}) ^ listed.keys())
        if odd:
            how = "missing, but listed in"
            if odd[0] in files:
                how = "not listed in"
            raise BadInput(f"{odd[0]} is {how} {MANIFEST}; publish what the training wrote", file=folder)
        for path, digest in listed.items():
            if file_digest(folder / path) != digest:
                raise BadInput(f"does not match {MANIFEST}; publish what the training wrote", file=folder / path)
        digest = model_folder(str(folder)).revision
        if read_submission(folder / SUBMISSION).revision != digest:
            raise BadInput(f"names another revision than the folder's, {digest}", file=folder / SUBMISSION)

    def version_at(self, commit: str) -> str | None:
        if not self._is_at(commit):
            return None
        if self.tag or not self._has_numbers:
            return self.tag
        tags = self.place.tags()
        last = max(tags, key=_number, default="")
        # The number under which this model is there, or the next one.
        if _number(last) and (tags[last] == commit or self._is_at(tags[last])):
            return last
        return _next_number(tags)

    def change(self) -> Commit:
        """Every file of the folder; those of the model before it that it lacks go."""
        version = self.tag
        if not version and self._has_numbers:
            version = _next_number(self.place.tags() if self.head else {})
        name = f"{self._name} {version}".rstrip()
        return Commit(
            version=version,
            message=f"{name}: model at {self._submission.revision}",
            files={**self._files, CARD: self._card(self.head)},
            delete=sorted(self.old_files().keys() - self._files.keys()),
        )

    def _is_at(self, commit: str) -> bool:
        """Does a commit hold this model, its card as it would be written into the one that exists?"""
        if self.read(MANIFEST, commit) != self._files[MANIFEST]:
            return False
        return self.read(CARD, commit) == self._card(commit)

    @property
    def _has_numbers(self) -> bool:
        return isinstance(self.place, Repository) and not self.pull_request

    @property
    def _name(self) -> str:
        """The name of the model in that place."""
        if isinstance(self.place, Repository):
            return self.place.name
        return self._training["name"]

    @cached_property
    def _training(self) -> dict[str, Any]:
        return read_json(self.folder / TRAINING)

    @cached_property
    def _submission(self) -> Submission:
        return read_submission(self.folder / SUBMISSION)

    @cached_property
    def _files(self) -> dict[str, Path | bytes]:
        """All but the card: as they are, but for the submission, which on the Hub names the repository."""
        manifest = read_json(self.folder / MANIFEST)
        files = {path: self.folder / path for path in manifest["files"]}
        if isinstance(self.place, Repository):
            there = replace(self._submission, name=self.place.name, model=self.place.name)
            page = self.place.url()
            if LINK.fullmatch(page):  # the repository describes the model, and takes questions
                there = replace(there, link=page, contact=there.contact or page)
            text = submission_text(there)
            files[SUBMISSION] = text.encode()
            manifest["files"][SUBMISSION] = digest_of(text)
        files[MANIFEST] = json_text(manifest).encode()
        return files

    def _card(self, commit: str | None) -> bytes:
        """The card as it would be there: ours written again, the rest as the commit has it, or else the folder."""
        existing = self.read_text(CARD, commit, self.folder / CARD)
        return card_text(self._training, name=self._name, existing=existing).encode()


def _number(tag: str) -> int:
    """1 of v1; 0 of any other tag."""
    found = _NUMBERED.fullmatch(tag)
    return int(found[1]) if found else 0


def _next_number(tags: Mapping[str, str]) -> str:
    return f"v{1 + max(map(_number, tags), default=0)}"
