"""Results of models on their own pages of the Hub: a pull request each, which links every value to its cell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from exabench.bench.publishing import config_of, published_lists
from exabench.bench.verification import verify
from exabench.board.pages import result_page
from exabench.board.ranking import Board
from exabench.board.summaries import ResultSummary, first_stage
from exabench.core.errors import BadInput, CheckFailed, nearest, plural
from exabench.core.nouns import Progress, Submission, silent
from exabench.hub.client import is_repo
from exabench.hub.commits import Commit, Publication
from exabench.hub.eval_results import FOLDER, EvalEntry, read_results, results_yaml
from exabench.hub.pull_requests import PullRequest, list_requests

DECIMALS = 4  # of a value: more would say more than the queries of a task can


@dataclass(frozen=True)
class PushedResults:
    """What a model's repository says of it now: values by the task of the benchmark dataset, and where they stand.

    `changed`: by this call. `problem` says why nothing is there, where the Hub refused this model.
    """

    submission: str
    model: str
    values: Mapping[str, float]
    url: str = ""
    changed: bool = False
    problem: str = ""


@dataclass(frozen=True)
class ComparedValue:
    """A value of the board next to that in the model's repository, or None where that says nothing."""

    submission: str
    model: str
    task: str
    value: float
    there: float | None

    @property
    def holds(self) -> bool:
        """Are the two the same to four decimals?"""
        return self.there is not None and abs(self.there - self.value) < 0.5 * 10**-DECIMALS


def push_results(
    folder: str | Path,
    benchmark: str,
    slugs: Sequence[str] = (),
    *,
    check: bool = True,
    data: str | Path | None = None,
    dry_run: bool = False,
    progress: Progress = silent,
) -> list[PushedResults]:
    """Open a pull request on each model of the board that is on the Hub (of some `slugs`), with its results.

    `benchmark` is the dataset that holds the board's lists (bench.publishing): a result over a list that it does not
    hold is left out. A request that says the same is opened once, even if it was merged or closed since. With `check`
    the results of a model are recomputed first. Raises BadInput for a board without an address or with other lists than
    those published, CheckFailed for a number that does not hold, OutsideFailed; nothing is lost then: the same call
    continues.
    """
    board = Board.read(folder)
    if not board.url:
        raise BadInput(
            'has no url, which results link to; add the address of the published pages, as in url = "https://..."',
            file=board.folder / "board.toml",
        )
    entries = _entries(board, benchmark, slugs)
    pushed = []
    for done, (slug, listed) in enumerate(entries.items()):
        submission = board.submissions[slug]
        progress(done, len(entries), submission.model)
        if check:
            wrong = [cell for cell in verify(board.folder, slug, data) if not cell.holds]
            if wrong:
                raise CheckFailed(
                    f"{slug} {wrong[0].task} {wrong[0].metric} {wrong[0].verdict}; nothing is pushed of it"
                )
        values = {entry.task: entry.value for entry in listed}
        publication = _ResultsPublication(
            board.folder, submission.model, True, dry_run, silent, benchmark, tuple(listed)
        )
        try:
            found = publication.run()
        except BadInput as error:  # of one model: the others are pushed all the same
            pushed.append(PushedResults(slug, submission.model, values, problem=str(error)))
            continue
        pushed.append(PushedResults(slug, submission.model, values, found.url, found.changed))
    progress(len(entries), len(entries), plural(len(entries), "model"))
    return pushed


def compare_results(folder: str | Path, benchmark: str, slugs: Sequence[str] = ()) -> list[ComparedValue]:
    """Read back what the repositories of the models say, and check it against the board.

    That is the file on the main branch, or else the newest request of ours. Raises as `push_results` does.
    """
    board = Board.read(folder)
    compared = []
    for slug, listed in _entries(board, benchmark, slugs).items():
        model = board.submissions[slug].model
        publication = _ResultsPublication(board.folder, model, True, True, silent, benchmark, tuple(listed))
        there = {entry.task: entry.value for entry in publication.published()}
        for entry in listed:
            compared.append(ComparedValue(slug, model, entry.task, entry.value, there.get(entry.task)))
    return compared


def _entries(board: Board, benchmark: str, slugs: Sequence[str]) -> dict[str, list[EvalEntry]]:
    """What is to be said of each model: its results over the lists that the benchmark dataset holds."""
    models = {slug: one for slug, one in board.submissions.items() if _is_on_the_hub(one)}
    for slug in slugs:
        if slug not in models:
            raise BadInput(f"{slug} is not a model of this board with a Hub id; {nearest(slug, models)}")
    commit, lists = published_lists(benchmark)
    entries: dict[str, list[EvalEntry]] = {}
    for slug in slugs or models:
        for summary in board.by_submission[slug]:
            # As on the board: a result that was measured otherwise, or leaves queries out, is ranked with no other.
            if summary.digest in board.unlike or summary.missing:
                continue
            config = config_of(summary.task, summary.candidates)
            if config not in lists:
                continue
            if lists[config]["digest"] != summary.result.candidates.digest:
                raise BadInput(
                    f"dataset {benchmark} has another list {config}; publish this board's lists: "
                    f"exabench board publish-lists --repo {benchmark}"
                )
            entries.setdefault(slug, []).append(_entry(board, summary, benchmark, commit, config))
    return entries


def _entry(board: Board, summary: ResultSummary, benchmark: str, commit: str, config: str) -> EvalEntry:
    return EvalEntry(
        dataset=benchmark,
        task=config,
        value=round(summary.value, DECIMALS),
        revision=commit,
        date=summary.result.created,
        url=f"{board.url.rstrip('/')}/{result_page(summary)}",
        name=board.title,
        notes=f"{summary.headline}, top {summary.depth} of {first_stage(summary.candidates)} reranked, "
        f"{summary.result.state} by exabench",
    )


def _is_on_the_hub(submission: Submission) -> bool:
    # A run has no page of its own on the Hub, and what was withdrawn is no claim any more.
    is_model = submission.kind == "model" and not submission.withdrawn
    # A number that the first stage has a share in is the system's, and not the model's.
    return is_model and submission.interpolate is None and is_repo(submission.model)


@dataclass
class _ResultsPublication(Publication):
    """The results of a model on their way to its repository, as a pull request."""

    kind = "model"
    what = "results"
    benchmark: str
    entries: tuple[EvalEntry, ...]

    def check(self) -> None:
        """Nothing: the numbers were checked against their runs before."""

    def version_at(self, commit: str) -> str | None:
        found = self._entries_at(commit)
        if found is None:
            return None
        return "" if self._values(found) == self._values(self.entries) else None

    def change(self) -> Commit:
        """The one file."""
        return Commit(
            version="", message=self._title, files={self._path: results_yaml(self.entries).encode()}, delete=[]
        )

    def requests(self) -> list[PullRequest]:
        """Ours, whatever became of them: what a model's owner closed is not opened again."""
        return [one for one in list_requests(self.place.name, "all", kind=self.kind) if one.title == self._title]

    def published(self) -> list[EvalEntry]:
        """The entries on the main branch, or else of the newest request of ours; none where there are none."""
        head = self.place.head()
        revisions = []
        if head is not None:
            revisions = [head, *(one.revision for one in reversed(self.requests()))]
        for revision in revisions:
            found = self._entries_at(revision)
            if found is not None:
                return found
        return []

    def _entries_at(self, revision: str) -> list[EvalEntry] | None:
        """The entries of the file; None where there is none, and for another's file that the Hub would not read."""
        data = self.read(self._path, revision)
        if data is None:
            return None
        try:
            return read_results(data.decode(), f"{self.place.name}@{revision}: {self._path}")
        except (BadInput, UnicodeDecodeError):
            return None

    @cached_property
    def _title(self) -> str:
        return f"Evaluation results on {self.benchmark}"

    @cached_property
    def _path(self) -> str:
        name = self.benchmark.replace("/", "--")  # with its owner: another benchmark's file may have the same name
        return f"{FOLDER}/{name}.yaml"

    def _values(self, entries: Sequence[EvalEntry]) -> dict[tuple[str, str], tuple[float, str]]:
        # Neither day nor commit: a list that is added to the dataset is no news about the model.
        return {(one.dataset, one.task): (round(one.value, DECIMALS), one.url) for one in entries}
