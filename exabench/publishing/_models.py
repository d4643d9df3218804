"""Publishing a model: the folder that a training left behind, in one commit under a tag that never moves."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

import exabench.hub
from exabench.cards import model_card, model_template
from exabench.errors import BadInput, CheckFailed, OutsideFailed
from exabench.files import digest_of, file_digest, from_json, json_text, read_json, read_text
from exabench.nouns import Progress, silent
from exabench.publishing._places import Hub, place
from exabench.publishing._sending import Patience, Plan, Published, Sending
from exabench.submissions import LINK, read_submission, submission_text

CARD, MANIFEST, SUBMISSION, TRAINING = "README.md", "manifest.json", "submission.toml", "training.json"
FORMAT = 1
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
    patience: Patience | None = None,
) -> Published:
    """Put the model folder where `to` says: `owner/name` on the Hub, or the path of a folder.

    Its files take the place of those that an earlier model left there; others stay, and what people wrote into the card
    stays. On the Hub card and submission bear the repository's name, and `tag` (next: v1, v2, ...) is set.
    `pull_request` opens one, without a tag. What is there already makes no commit. Raises BadInput for a folder that is
    not what its manifest says or holds a pickle, a tag that is elsewhere, and what the Hub refuses; OutsideFailed after
    the last retry, when nothing of it is visible, or all of it; CannotWrite.
    """
    there, folder = place(to, pull_request=pull_request, kind="model"), Path(folder)
    if tag and not _TAG.fullmatch(tag):
        raise BadInput(f"tag {tag!r} must be of ASCII letters, digits and ._- (at most 64), as in v1")
    if tag and not isinstance(there, Hub):
        raise BadInput(f"{to} is a folder, and a folder has no tags; leave --tag out, or name a repository")
    progress(0, 3, "checking the model")
    _check(folder, to)
    if patience is None:
        patience = Patience()
    sending = _Model(folder=folder, tag=tag, place=there, progress=progress, patience=patience, writes=not dry_run)
    return sending.run()


def _check(folder: Path, to: str | Path) -> None:
    """Refuse what is not a model folder as the training left it."""
    if not (folder / MANIFEST).is_file() or not (folder / TRAINING).is_file():
        raise BadInput(f"is no model folder: {MANIFEST} or {TRAINING} is missing; train one", file=folder)
    if found := exabench.hub.pickles(folder):
        raise BadInput(
            f"holds a pickle ({found[0]}), which would run code where it is loaded; take it out", file=folder
        )
    listed = _listed(read_json(folder / MANIFEST), str(folder / MANIFEST))
    files = {file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()} - {CARD, MANIFEST}
    if odd := sorted(files ^ listed.keys()):
        how = "not listed in" if odd[0] in files else "missing, but listed in"
        raise BadInput(f"{odd[0]} is {how} {MANIFEST}; publish what the training wrote", file=folder)
    for path, digest in listed.items():
        if file_digest(folder / path) != digest:
            raise BadInput(f"is not what {MANIFEST} says; publish what the training wrote", file=folder / path)
    digest = exabench.hub.model_folder(str(folder)).revision
    if read_submission(folder / SUBMISSION).revision != digest:
        raise BadInput(f"names another revision than the folder's, {digest}", file=folder / SUBMISSION)
    paths = [Path(to).expanduser().resolve(), folder.resolve()]
    if paths[0].is_relative_to(paths[1]) or paths[1].is_relative_to(paths[0]):
        raise BadInput("is the model itself, or inside it, or around it; publish to another folder", file=to)


def _listed(manifest: Any, where: str) -> dict[str, str]:
    """The files of a model's manifest and their digests. Raises BadInput where it is none."""
    known = isinstance(manifest, dict) and manifest.get("kind") == "model" and manifest.get("format") == FORMAT
    files = manifest.get("files") if known else None
    if not isinstance(files, dict) or not all(isinstance(digest, str) and _is_inside(p) for p, digest in files.items()):
        raise BadInput(f"{where}: is no manifest of a model, of format {FORMAT}; publish elsewhere")
    return dict(files)


def _is_inside(path: str) -> bool:
    pure = PurePosixPath(path)
    return str(pure) == path and not pure.is_absolute() and ".." not in pure.parts and path != "."


@dataclass(kw_only=True)
class _Model(Sending):
    """One model on its way to one place. `tag` is empty where the next number is to be taken."""

    folder: Path
    tag: str
    what = "model"

    def looked(self) -> Published | None:
        self.progress(1, 3, "reading what is published")
        self.head = self.place.head()
        if self.head and self._holds(self.head):
            return self._landed(self.head)
        if self.sent and self.sent == self.head:
            raise CheckFailed(f"{self.place.name}: commit {self.head} holds something else than was sent; look at it")
        return self._requested()

    def _holds(self, commit: str) -> bool:
        """Whether a commit holds this model, its card as it would be written into the one that stands there."""
        if self.place.read(MANIFEST, commit) != self._files[MANIFEST]:
            return False
        return self.place.read(CARD, commit) == self._card(commit)

    def _landed(self, head: str) -> Published:
        changed = self.sent is not None
        if self.place.pull_request:
            return Published(self.place.name, self.tag, head, self.place.url(head), changed)
        tags = self.place.tags()
        name = self.tag or self._own_tag(tags, head)
        there = tags.get(name)
        if there not in (None, head) and not self._holds(str(there)):
            raise self.misplaced(name, str(there))
        if there is None and name and self.writes:
            self.place.tag(name, head)
        return Published(self.place.name, name, head, self.place.url(name), changed)

    def _own_tag(self, tags: Mapping[str, str], head: str) -> str:
        """The number under which this model stands there, or the next one; a folder has none."""
        if not isinstance(self.place, Hub):
            return ""
        last = max(tags, key=_number, default="")
        return last if _number(last) and (tags[last] == head or self._holds(tags[last])) else _next(tags)

    def misplaced(self, tag: str, there: str) -> BadInput:
        return BadInput(
            f"{self.place.name}: tag {tag} is at {there}, which is not this model; tags never move: give another one"
        )

    def tagged_first(self, tags: Mapping[str, str]) -> None:
        """Nothing: a model gets its number when it is seen there, and one that is replaced needs none any more."""

    def _requested(self) -> Published | None:
        """The open pull request that holds the model already, if one is asked for."""
        if not self.place.pull_request or self.head is None:
            return None
        for url, revision in self.place.pull_requests().items():
            if self._holds(revision):
                return Published(self.place.name, self.tag, revision, url, self.sent is not None)
        if self.sent:  # a second one would be worse than none
            raise OutsideFailed(f"{self.place.name}: {self.sent} was opened, and does not hold the model")
        return None

    def planned(self) -> Plan:
        """Every file of the folder; those of the model before it that it lacks go."""
        old: dict[str, str] = {}
        if self.head and (data := self.place.read(MANIFEST, self.head)) is not None:
            old = _listed(_json(data), f"{self.place.name}@{self.head}: {MANIFEST}")
        name = self.tag
        if not name and isinstance(self.place, Hub) and not self.place.pull_request:
            name = _next(self.place.tags() if self.head else {})
        return Plan(
            version=name,
            tag=name,
            message=" ".join(filter(None, [self._name, name])) + f": model at {self._revision}",
            files={**self._files, CARD: self._card(self.head)},
            delete=tuple(sorted(old.keys() - self._files.keys())),
        )

    @property
    def _name(self) -> str:
        """What the model is called there."""
        return self.place.name if isinstance(self.place, Hub) else str(self._training["name"])

    @cached_property
    def _training(self) -> dict[str, Any]:
        return dict(read_json(self.folder / TRAINING))

    @cached_property
    def _revision(self) -> str:
        return read_submission(self.folder / SUBMISSION).revision

    @cached_property
    def _files(self) -> dict[str, Path | bytes]:
        """All but the card: as they are, but for the submission, which on the Hub names the repository."""
        listed = _listed(read_json(self.folder / MANIFEST), MANIFEST)
        files: dict[str, Path | bytes] = {path: self.folder / path for path in listed}
        submission = read_submission(self.folder / SUBMISSION)
        if isinstance(self.place, Hub):
            page = exabench.hub.page(self.place.name, kind="model")
            link = page if LINK.fullmatch(page) else submission.link
            text = submission_text(replace(submission, name=self.place.name, model=self.place.name, link=link))
            files[SUBMISSION], listed[SUBMISSION] = text.encode(), digest_of(text)
        manifest = {**read_json(self.folder / MANIFEST), "files": listed}
        return {**files, MANIFEST: json_text(manifest).encode()}

    def _card(self, commit: str | None) -> bytes:
        """The card as it would stand there: ours written anew, the rest as the commit has it, or else the folder."""
        data = self.place.read(CARD, commit) if commit else None
        try:
            existing = data.decode() if data is not None else read_text(self.folder / CARD)
        except UnicodeDecodeError as error:
            raise BadInput(f"{self.place.name}: {CARD} is not UTF-8 text") from error
        return model_card(self._training, model_template(), name=self._name, existing=existing).encode()


def _json(data: bytes) -> Any:
    try:
        return from_json(data.decode())
    except ValueError:
        return None


def _number(tag: str) -> int:
    """1 of v1; 0 of any other tag."""
    found = _NUMBERED.fullmatch(tag)
    return int(found[1]) if found else 0


def _next(tags: Mapping[str, str]) -> str:
    return f"v{1 + max(map(_number, tags), default=0)}"
