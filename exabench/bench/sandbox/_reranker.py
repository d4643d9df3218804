"""A model that was submitted as a reranker: screened, loaded and run in the jail, its answers checked out here."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta

from exabench.bench.sandbox._jail import LIMITS, PYTHON, JailedProcess, JailLimits, check_jail
from exabench.core.errors import REASON, printable
from exabench.core.files import cache_folder, replacing_folder
from exabench.core.nouns import ModelFolder, Passage, Query, Usage
from exabench.core.records import Record, as_builtins
from exabench.hub import client
from exabench.hub.client import ADAPTER
from exabench.models.screening import (
    SizeLimits,
    SubmissionRefused,
    check_libraries,
    pinned_base,
    screen_folder,
    screen_repo,
)
from exabench.parts.recognition import with_family

WORKER = (PYTHON, "-I", "-B", "-m", "exabench.bench.sandbox._worker")


def fetch_screened(
    model: str, revision: str, lock: Path | None = None, limits: SizeLimits | None = None
) -> ModelFolder:
    """The model of a folder, a package or the Hub (see hub.model_folder), of which nothing has been loaded.

    Of a repository only what a model is loaded from is fetched, once, and not before its names, sizes, settings and
    headers were looked at there. Raises SubmissionRefused, BadInput, OutsideFailed.
    """
    check_libraries()
    here = Path(model).is_dir()
    if here or not client.is_repo(model):
        if here:
            screen_folder(model, limits)  # before anything reads it whole
        found = client.model_folder(model, revision, lock)
        screen_folder(found.path, limits)
        return found
    if revision.startswith("sha256:"):
        raise SubmissionRefused(
            "invalid-submission", f"the revision of {model} must be a commit of the Hub, not a digest"
        )
    commit = client.pin_commit(model, revision or None, lock, kind="model")
    folder = cache_folder("strangers") / model.replace("/", "--") / commit
    if not folder.is_dir():
        # Where each file is: an adapter has its base model at a commit that its own commit pins.
        sizes = client.file_sizes(model, commit)
        places = dict.fromkeys(sizes, (model, commit))
        if ADAPTER in sizes and "config.json" not in sizes:
            base = pinned_base(_read_part(model, commit, ADAPTER, 0, sizes[ADAPTER]), model)
            base_sizes = client.file_sizes(base.model, base.revision)
            if ADAPTER in base_sizes:
                raise SubmissionRefused("unsupported-model", f"its base model {base.model} has an adapter itself")
            places = dict.fromkeys(base_sizes, (base.model, base.revision)) | places
            sizes = {**base_sizes, **sizes}

        def read(file: str, start: int, end: int) -> bytes:
            return _read_part(*places[file], file, start, min(end, sizes[file]))

        wanted = sorted(screen_repo(sizes, read, limits).files)
        with replacing_folder(folder) as fresh:
            for repo, at in sorted(set(places.values())):
                client.snapshot(repo, at, [name for name in wanted if places[name] == (repo, at)], fresh)
            shutil.rmtree(fresh / ".cache", ignore_errors=True)  # the client's notes
    screen_folder(folder, limits)
    return ModelFolder(model, folder, commit)


def _read_part(repo: str, commit: str, file: str, start: int, end: int) -> bytes:
    return client.read_part(repo, file, commit, start, end) if start < end else b""


# -- answers: typed, bounded, and checked before a value is used -------------------------------------------------------

_Count = Annotated[int, Meta(ge=0, lt=1 << 53)]  # what every reader of JSON takes for a whole number
_Flops = Annotated[float, Meta(ge=0, lt=1e30)]
_Score = Annotated[float, Meta(gt=-3e38, lt=3e38)]  # what single precision holds; NaN is not between the two
_Plain = str | int | float | bool | list[str | int] | None
_IDENTITY = 1 << 16  # bytes


class About(Record, frozen=True):
    """A reranker's answer to the setup: the identity of its scores, its number format, how many weights it has."""

    identity: dict[str, _Plain]
    precision: Annotated[str, Meta(pattern=r"\A[a-z0-9]{0,20}\Z")] | None
    parameters: _Count | None


class _Usage(Record, frozen=True):
    """The fields of nouns.Usage, with bounds."""

    prompts: _Count
    input_tokens: _Count | None
    output_tokens: _Count | None
    flops_paper: _Flops | None
    flops_exact: _Flops | None
    cut_passages: _Count
    cut_queries: _Count
    repairs: Annotated[dict[str, _Count], Meta(max_length=20)]
    passages: _Count | None

    def __post_init__(self) -> None:
        if self.passages is not None and self.cut_passages > self.passages:
            raise ValueError(f"{self.cut_passages} of {self.passages} passages were cut")


class Scores(Record, frozen=True):
    """The answer to one query; `usage` is None where the part does not count it, or was asked for only one query."""

    scores: list[_Score]
    usage: _Usage | None = None

    def for_passages(self, count: int) -> list[float]:
        """One score for each passage. Raises SubmissionRefused."""
        if len(self.scores) != count:
            raise SubmissionRefused("bad-scores", f"{len(self.scores)} scores for {count} passages")
        return self.scores


class Speed(Record, frozen=True):
    """The answer after the last of many queries."""

    pairs_per_second: Annotated[float, Meta(ge=0, lt=1e12)] | None


class _Refusal(Record, frozen=True):
    """The answer of a worker that gives up. What would leave the submission waiting is not for it to say."""

    refused: Literal["invalid-submission", "load-failed", "out-of-memory", "crashed", "bad-scores"]
    message: str


_T = TypeVar("_T", bound=Record)


def read_answer(line: bytes, kind: type[_T]) -> _T:
    """One line as the answer that was asked for. Raises SubmissionRefused, also where the answer is a refusal."""
    try:
        value = json.loads(line.decode())  # of bytes json would let halves of a surrogate pair through
        if b"\\u" in line:
            json.dumps(value, ensure_ascii=False).encode()  # half of a surrogate pair could never be written again
    except (ValueError, RecursionError) as error:
        raise SubmissionRefused("crashed", "an answer is not JSON") from error
    try:
        if isinstance(value, dict) and "refused" in value:
            refusal = msgspec.convert(value, _Refusal, strict=True)
            raise SubmissionRefused(refusal.refused, printable(refusal.message, REASON))
        answer = msgspec.convert(value, kind, strict=True)
    except msgspec.ValidationError as error:
        reason = "bad-scores" if "$.scores" in str(error) else "crashed"
        problem = printable(str(error), REASON)
        raise SubmissionRefused(reason, f"an answer is not {kind.__name__}: {problem}") from error
    if isinstance(answer, About) and len(line) > _IDENTITY:
        raise SubmissionRefused("crashed", f"the model says more than {_IDENTITY} bytes of itself")
    return answer


# -- questions ---------------------------------------------------------------------------------------------------------


class Conversation:
    """Questions to a program in the jail, and its answers, each of them checked. Nothing it says is believed.

    `pairs_per_second` is how fast `score_many` was, as the jail counts it.
    """

    def __init__(
        self, program: Sequence[str], model: Path | None, limits: JailLimits, setup: Mapping[str, Any]
    ) -> None:
        self._jailed = JailedProcess(program, model, limits)
        self._limits = limits
        self.pairs_per_second: float | None = None
        self._jailed.send(_line(setup))
        with self._ending_on_error():
            self._about = read_answer(self._jailed.exchange(lambda: limits.load), About)

    def score(self, query: Query, passages: Sequence[Passage]) -> list[float]:
        """One score for each passage, in the order given. Raises SubmissionRefused."""
        with self._ending_on_error():
            self._jailed.send(_question(0, query, passages))
            line = self._jailed.exchange(lambda: self._limits.query)
            return read_answer(line, Scores).for_passages(len(passages))

    def score_many(self, jobs: Iterable[tuple[Query, Sequence[Passage]]]) -> Iterator[tuple[list[float], Usage | None]]:
        """Scores and usage of each job, in order; jobs are read as the model asks for them.

        A caller that leaves before the end ends the jail. Raises SubmissionRefused.
        """
        sizes = deque[int]()  # of the questions that wait for an answer
        asked_all = False

        def questions() -> Iterator[bytes]:
            nonlocal asked_all
            for place, (query, passages) in enumerate(jobs):
                sizes.append(len(passages))
                yield _question(place, query, passages)
            asked_all = True
            yield _line("end")

        lines = questions()
        with self._ending_on_error():
            self._jailed.send(_line("many"))
            while True:
                line = self._jailed.exchange(lambda: self._limits.query * max(1, len(sizes)), lambda: next(lines, b""))
                if not sizes:
                    break
                answer = read_answer(line, Scores)
                usage = None
                if answer.usage is not None:
                    usage = Usage(**as_builtins(answer.usage))
                yield answer.for_passages(sizes.popleft()), usage
            if not asked_all:
                raise SubmissionRefused("crashed", "the model sent an answer to no request")
            self.pairs_per_second = read_answer(line, Speed).pairs_per_second

    def close(self) -> None:
        """End the jail."""
        self._jailed.close()

    @contextlib.contextmanager
    def _ending_on_error(self) -> Iterator[None]:
        """Whatever goes wrong in the block is the end of the jail."""
        try:
            yield
        except SubmissionRefused as error:
            raise self._jailed.stop(error) from error.__cause__
        except BaseException:
            self._jailed.stop(SubmissionRefused("crashed", "the model was stopped in the middle of an answer"))
            raise


class SandboxedReranker(Conversation):
    """The reranker `part` on a model that was submitted, in a jail, which `close` ends.

    It scores as the part itself does, bit for bit. `model` and `options` (of them `revision`) are those of a
    submission. The jail is given texts, and counts from 0 instead of ids. Any rule broken ends it: every call after
    that raises the same SubmissionRefused, whose `reason` is one of ERROR_CLASSES.
    """

    reads = "texts"

    def __init__(
        self,
        part: str,
        model: str,
        options: Mapping[str, Any] | None = None,
        limits: JailLimits = LIMITS,
        *,
        lock: Path | None = None,
    ) -> None:
        check_jail(limits)
        own = dict(options or {})
        revision = str(own.pop("revision", ""))
        folder = fetch_screened(model, revision, lock, SizeLimits(weights=limits.weights))
        own = with_family(part, model, own, folder.path)
        super().__init__(WORKER, folder.path, limits, {"part": part, "options": own})
        self.precision = self._about.precision or ""
        self.parameters = self._about.parameters
        self.identity = {**self._about.identity, "model": folder.name, "revision": folder.revision}


def _question(place: int, query: Query, passages: Sequence[Passage]) -> bytes:
    texts = [[passage.text, passage.title] for passage in passages]
    return _line({"place": place, "query": query.text, "passages": texts})


def _line(value: object) -> bytes:
    return json.dumps(value).encode() + b"\n"
