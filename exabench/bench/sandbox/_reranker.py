"""A stranger's model as a reranker: screened, loaded and run in the jail, its answers checked out here."""

from __future__ import annotations

import contextlib
import json
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from exabench.bench.sandbox._answers import About, CountedScores, Scores, Speed, read_answer
from exabench.bench.sandbox._folders import stranger
from exabench.bench.sandbox._jail import JailLimits, check_jail
from exabench.bench.sandbox._process import Jailed
from exabench.core.nouns import ModelFolder, Passage, Query, Usage
from exabench.models.screening import SizeLimits, SubmissionRefused

WORKER = (sys.executable, "-I", "-B", "-m", "exabench.bench.sandbox._worker")
Job = tuple[Query, Sequence[Passage]]


class Sandboxed:
    """The reranker `part` on a stranger's model, in a jail; to be closed, or used as a context.

    It scores as the part itself does, bit for bit. `model` and `options` (of them `revision`) are those of a
    submission. The jail is told texts, and counts from 0 instead of ids. Any rule broken ends it: every call after
    that raises the same SubmissionRefused, whose `reason` is one of ERROR_CLASSES.
    """

    reads = "texts"

    def __init__(
        self,
        part: str,
        model: str | ModelFolder,
        options: Mapping[str, Any] | None = None,
        limits: JailLimits | None = None,
        *,
        lock: str | Path | None = None,
    ) -> None:
        own = dict(options or {})
        limits = limits or JailLimits()
        check_jail()
        revision = str(own.pop("revision", ""))
        if isinstance(model, ModelFolder):  # the client's cache is links, which lead out of any jail
            revision = model.revision
            model = model.name
        folder = stranger(model, revision, lock, SizeLimits(weights=limits.weights))
        self._talk = Conversation(WORKER, folder.path, limits, {"part": part, "options": own})
        about = self._talk.about
        self.precision = about.precision or ""
        self.parameters = about.parameters
        self.identity = {**about.identity, "model": folder.name, "revision": folder.revision}

    @property
    def pairs_per_second(self) -> float | None:
        """How fast `score_many` was, as the jail counts it."""
        return self._talk.speed

    def score(self, query: Query, passages: Sequence[Passage]) -> list[float]:
        """One score for each passage, in the order given. Raises SubmissionRefused."""
        return self._talk.score(query, passages)

    def score_many(self, jobs: Iterable[Job]) -> Iterator[tuple[list[float], Usage | None]]:
        """Scores and usage of each job, in order; jobs are read as the model asks for them.

        Raises SubmissionRefused.
        """
        return self._talk.score_many(jobs)

    def close(self) -> None:
        """End the jail."""
        self._talk.close()

    def __enter__(self) -> Sandboxed:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


class Conversation:
    """Questions to a program in the jail, and its answers, each of them checked. Nothing it says is believed."""

    def __init__(
        self, program: Sequence[str], model: Path | None, limits: JailLimits, setup: Mapping[str, Any]
    ) -> None:
        self._jailed = Jailed(program, model, limits)
        self._limits = limits
        self.speed: float | None = None
        self._jailed.send(_line(setup))
        with self._fatal():
            self.about = read_answer(self._jailed.exchange(lambda: limits.load), About)

    def score(self, query: Query, passages: Sequence[Passage]) -> list[float]:
        """One score for each passage of one query."""
        with self._fatal():
            self._jailed.send(_job(0, query, passages))
            line = self._jailed.exchange(lambda: self._limits.query)
            return read_answer(line, Scores).for_passages(len(passages))

    def score_many(self, jobs: Iterable[Job]) -> Iterator[tuple[list[float], Usage | None]]:
        """Scores and usage of each job. Whoever leaves before the end ends the jail."""
        questions = _Questions(jobs)
        with self._fatal():
            self._jailed.send(_line("many"))
            while True:
                line = self._jailed.exchange(lambda: self._limits.query * max(1, len(questions.sizes)), questions.feed)
                if not questions.sizes:
                    break
                answer = read_answer(line, CountedScores)
                yield answer.for_passages(questions.sizes.popleft()), answer.used()
            if not questions.ended:
                raise SubmissionRefused("crashed", "the model answered what it was not asked")
            self.speed = read_answer(line, Speed).pairs_per_second

    def close(self) -> None:
        """End the jail."""
        self._jailed.close()

    @contextlib.contextmanager
    def _fatal(self) -> Iterator[None]:
        """Whatever goes wrong in the block is the end of the jail."""
        try:
            yield
        except SubmissionRefused as error:
            raise self._jailed.stop(error) from error.__cause__
        except BaseException:
            self._jailed.stop(SubmissionRefused("crashed", "the model was stopped in the middle of an answer"))
            raise


class _Questions:
    """Jobs as lines, made when they can be sent; `sizes` are the passages of those that wait for an answer."""

    def __init__(self, jobs: Iterable[Job]) -> None:
        self._jobs = enumerate(jobs)
        self.sizes: deque[int] = deque()
        self.ended = False

    def feed(self) -> bytes:
        """The next line; nothing after the last."""
        if self.ended:
            return b""
        for place, job in self._jobs:
            self.sizes.append(len(job[1]))
            return _job(place, *job)
        self.ended = True
        return _line("end")


def _job(place: int, query: Query, passages: Sequence[Passage]) -> bytes:
    texts = [[passage.text, passage.title] for passage in passages]
    return _line({"place": place, "query": query.text, "passages": texts})


def _line(value: object) -> bytes:
    return json.dumps(value).encode() + b"\n"
