"""Sending: one commit to one place, tried until a look at the place finds it there, whatever the replies were."""

from __future__ import annotations

import random
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from exabench.errors import BadInput, OutsideFailed
from exabench.nouns import Progress
from exabench.publishing._places import Place

RETRIES = 5
"""How often a commit is tried again while the head stands still."""
OVERTAKEN = 40
"""How often it is tried again because somebody else's commit came first."""
PAUSE = 1.0
"""Seconds before the first of them, doubled each time up to eightfold, give or take a half."""


@dataclass(frozen=True)
class Published:
    """Where it is: repository or folder, version, commit (or pull request), address; `changed`: by this call."""

    to: str
    version: str
    commit: str
    url: str
    changed: bool


@dataclass(frozen=True)
class Patience:
    """How often a commit is tried again, and the pause before it."""

    retries: int = RETRIES
    overtaken: int = OVERTAKEN
    pause: float = PAUSE


@dataclass(frozen=True)
class Plan:
    """What one commit would do: files in, files out, under which tag, and what it says."""

    version: str
    tag: str
    message: str
    files: Mapping[str, Path | bytes]
    delete: tuple[str, ...]


@dataclass(kw_only=True)
class Sending(ABC):
    """Something on its way to one place: what was seen there last, and how often it went wrong."""

    place: Place
    progress: Progress
    patience: Patience
    writes: bool = True
    head: str | None = None
    made: bool = False
    sent: str | None = None  # a commit was tried; its name, where the reply told
    failures: int = 0
    overtaken: int = 0
    what = "release"

    @abstractmethod
    def looked(self) -> Published | None:
        """What the place holds now, if that is what is sent; its tag is then seen to. Else None."""

    @abstractmethod
    def planned(self) -> Plan:
        """The next commit, on the head that was looked at."""

    @abstractmethod
    def misplaced(self, tag: str, there: str) -> BadInput:
        """Why the tag that stands at the commit `there` cannot be the one."""

    @abstractmethod
    def tagged_first(self, tags: Mapping[str, str]) -> None:
        """See to a tag that an earlier commit still lacks."""

    def run(self) -> Published:
        """Look and send until a look finds it there. Raises OutsideFailed after the last retry."""
        error: OutsideFailed | None = None
        while self.failures <= self.patience.retries + 1 and self.overtaken <= self.patience.overtaken:
            before = self.head
            try:
                if (done := self.looked()) is not None:
                    return done
                if self.failures > self.patience.retries:
                    break
                plan = self.planned()
                if not self.writes:
                    return Published(self.place.name, plan.version, "", self.place.url(plan.tag), True)
                self._send(plan)
            except OutsideFailed as trouble:
                error = trouble
                self._wait(moved=before != self.head and before is not None)
        tries = self.failures + self.overtaken
        raise OutsideFailed(
            f"{self.place.name}: the {self.what} was not seen there after {tries} tries; all of it is there or "
            f"nothing, so run it again (a token that may only open pull requests needs --pr): {error}"
        ) from error

    def _wait(self, moved: bool) -> None:
        """Before the next try. One that somebody else's commit foiled is not counted with those that nobody did."""
        self.failures, self.overtaken = (0, self.overtaken + 1) if moved else (self.failures + 1, self.overtaken)
        longer = min(2 ** (self.failures + self.overtaken - 1), 8)
        time.sleep(self.patience.pause * longer * random.uniform(0.5, 1.5))

    def _send(self, plan: Plan) -> None:
        """One commit on the head that was looked at; a version that landed without its tag gets it first."""
        if self.head is None and not self.made:
            if self.place.pull_request:
                raise BadInput(f"{self.place.name} is not there, or not for this token; nothing to open a request on")
            self.place.create()
            self.made = True
            return  # somebody else may have made and filled it: look again
        if not self.place.pull_request:
            tags = self.place.tags()
            self.tagged_first(tags)
            if plan.tag in tags:
                if self.place.head() != self.head:
                    return
                raise self.misplaced(plan.tag, tags[plan.tag])
        self.progress(2, 3, f"version {plan.version}")
        self.sent = ""
        self.sent = self.place.commit(plan.files, plan.message, self.head, plan.delete)
