"""Submitting: a TOML file, its runs or its training's report -> checked, all problems at once -> filed or sent."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from exabench.bench.candidates import RerankEvaluator
from exabench.bench.contests import system_problem
from exabench.bench.evaluation import reranker_options
from exabench.bench.ledger import Ledger, run_path
from exabench.bench.notes import on_usages
from exabench.bench.result_notes import copies_of
from exabench.bench.sent_runs import read_sent_run
from exabench.bench.submissions import (
    COMMIT,
    EXTERNAL_RUN_KINDS,
    FIELDS,
    TRAINING_FILES,
    Training,
    is_of_its_model,
    not_theirs,
    read_submission,
    read_training,
    submission_text,
)
from exabench.core.api_keys import check_keys
from exabench.core.errors import BadInput, ExabenchError, MissingExtra, printable
from exabench.core.files import check_standard_input, digest_of, gzip_bytes, replacing_folder, write
from exabench.core.nouns import FIRST_STAGE, Progress, Run, Submission, silent
from exabench.core.options import NOT_OPTIONS, accepts
from exabench.hub.client import Repository, is_repo, snapshot, until_seen
from exabench.hub.pull_requests import Listed, account, has_bytes, list_files as files_of, open_requests
from exabench.hub.secrets import check_secrets
from exabench.measure.runs import run_digest, run_text
from exabench.parts.assembly import check_part, reranker as reranker_of
from exabench.parts.rerankers import RERANKERS
from exabench.tasks.catalogue import single_task

BASELINES = ("unchanged", "oracle", "reversed", "random", "constant")


# -- filing ------------------------------------------------------------------------------------------------------------


def submit(
    file: str | Path,
    runs: Sequence[str],
    board: str | Path,
    *,
    data: str | Path | None = None,
    dry_run: bool = False,
    progress: Progress = silent,
    note: Callable[[str], None] = lambda line: None,
) -> tuple[Submission, list[Path]]:
    """Check a submission and its runs (`TASK=RUN` or `TASK@CANDIDATES=RUN`) and file them under `board`.

    Where no candidates are named, the run must fit exactly one list of the board. The model "." is the folder that
    the file is in, and of a trained one the report next to it is filed too. For kind api without runs, the runs
    are made here. `note` is called with what is odd about the runs: what is ignored, and filed ones that rank alike.
    Raises BadInput that lists every problem; nothing is filed unless everything is in order, and with `dry_run`
    nothing at all. Returns the submission and the files.
    """
    ledger = Ledger(Path(board))
    ledger.settings()
    checked = check(file, runs, ledger)
    for line in checked.notes:
        note(line)
    if not dry_run:
        checked = with_api_runs(checked, ledger, data, progress)
        return checked.submission, file_on(checked, ledger)
    return checked.submission, [ledger.folder / path for path in checked.files()]


def file_on(checked: CheckedSubmission, ledger: Ledger) -> list[Path]:
    """File a checked submission on a board. Returns the files."""
    slug = checked.submission.slug
    files = [ledger.add_submission(checked.submission), *ledger.add_training(slug, checked.training)]
    return files + [ledger.add_run(slug, *pair, run) for pair, run in checked.runs.items()]


def withdraw(board: str | Path, slug: str, reason: str) -> Path:
    """Mark a filed submission as withdrawn: it stays listed, its results stay, and it ranks no more.

    Raises BadInput for one that is not filed, for a baseline, and for a reason that is empty or not one line.
    """
    ledger = Ledger(Path(board))
    filed, _ = ledger.readable_submissions()
    if slug not in filed or filed[slug].kind == "baseline":
        others = [name for name, one in filed.items() if one.kind != "baseline"]
        raise BadInput(
            f"no submission {printable(slug)!r} to withdraw; choose from: {', '.join(others) or 'none'}", file=board
        )
    reason = reason.strip()
    if not reason or len(reason) > 500 or not reason.isprintable():
        raise BadInput("--reason must say why, on one line of at most 500 characters")
    return ledger.add_submission(replace(filed[slug], withdrawn=reason))


def add_baselines(board: str | Path, names: Sequence[str] = ()) -> None:
    """File the rerankers that need no model: the scorer's self-test and the bounds of every task page.

    Without names all of them, until the first stage has a result: then the board has those that it was made with.
    """
    ledger = Ledger(Path(board))
    if not names and not ledger.result_files(FIRST_STAGE):
        names = BASELINES
    for reranker in names:
        ledger.add_submission(
            Submission(
                name=f"exabench/{reranker}",
                kind="baseline",
                licence="apache-2.0",
                training_data=(),
                reranker=reranker,
            )
        )


# -- checking: everything that is wrong with a submission, before a byte of it is written anywhere ---------------------


@dataclass(frozen=True)
class CheckedSubmission:
    """A submission in order: with the report of its training, where it has one, and its runs by task and candidates.

    `runs` are as they are stored (see bench.sent_runs); `notes` say what is odd about those that were given.
    """

    submission: Submission
    training: Training | None
    runs: Mapping[tuple[str, str], Run]
    notes: tuple[str, ...] = ()

    def files(self) -> dict[str, bytes]:
        """The bytes of each of its files on a board, by the path there."""
        slug = self.submission.slug
        files = {f"submissions/{slug}.toml": submission_text(self.submission).encode()}
        for (task, candidates), run in self.runs.items():
            files[run_path(slug, task, candidates)] = gzip_bytes(run_text(run, slug))
        if self.training:
            for name, data in self.training.files.items():
                files[f"models/{slug}/{name}"] = data
        return files


def check(
    file: str | Path, runs: Sequence[str], ledger: Ledger, *, public: bool = False, queued: bool = False
) -> CheckedSubmission:
    """Read a submission and its runs (`TASK=RUN` or `TASK@CANDIDATES=RUN`) and check them for a board.

    Where no candidates are named, the run must fit exactly one list. `public`: for a board elsewhere, where a model is
    a Hub id at a commit and nothing else. `queued`: taken from a queue, where a model is pinned and an API's runs are
    there. Raises BadInput that lists every problem.
    """
    check_standard_input(*(run.rpartition("=")[2] for run in runs))
    problems = []
    submission = None
    training = None
    folder = Path(file).parent
    try:
        given = read_submission(file)
        if given.kind == "model" and given.model == ".":
            # The path from where the board is used: without this machine's folders, if it can be.
            path = folder.resolve()
            if Path.cwd() in path.parents:
                path = path.relative_to(Path.cwd())
            given = replace(given, model=path.as_posix())
            if not given.model.isprintable():
                raise BadInput(
                    "cannot be shown on a page: its path contains a character that does not print; rename it",
                    file=folder,
                )
        submission = given
        if submission.kind == "model" and (folder / TRAINING_FILES[0]).exists():
            training = read_training(folder)
    except ExabenchError as error:
        problems.append(str(error))
    if submission:
        name = submission.name
        slug = submission.slug
        kind = submission.kind
        if kind in ("model", "api"):
            problems += _part_problems(submission)

        if submission.withdrawn:
            problems.append("withdrawn is set by `exabench bench withdraw`; remove it")
        if submission.sender:
            problems.append("sender is written by the queue, which knows who sent it; remove it")
        if kind == "baseline" or slug in {f"exabench--{baseline}" for baseline in BASELINES}:
            problems.append(f"{name}: baselines are reserved for exabench; submit a ranking as kind run")
        if kind == "run" and not runs:
            problems.append("a submission of kind run needs at least one --run TASK=RUN")
        if kind == "model" and runs:
            problems.append("a submission of kind model is run by exabench itself: leave --run out")

        # Whoever keeps a board files models of their own without; of one that was submitted, somebody can be asked.
        if kind == "model" and (public or queued):
            for field in FIELDS:
                if field.name in ("link", "contact") and not getattr(submission, field.name):
                    problems.append(field.missing)

        # Only the board of its owner takes a model that no one else has, or that may change.
        if public and kind == "model":
            if not is_repo(submission.model):
                problems.append("model must be a Hub id (owner/name) on a board that others run")
            if not COMMIT.fullmatch(submission.revision):
                problems.append("revision must be the model's commit (40 hex digits) on a board that others run")
        elif queued and kind == "model" and not submission.revision:
            problems.append("revision must pin the model: a commit of the Hub, or the digest of its folder")
        if queued and kind == "api" and not runs:
            problems.append("a submission of kind api comes with its runs: send it with `exabench bench submit`")

        # The name may be filed already: its owner replaces it, unless it was withdrawn.
        filed = ledger.submission_file(slug)
        withdrawn = ledger.submission(filed).withdrawn if filed.is_file() else ""
        if withdrawn:
            problems.append(
                f"{name} was withdrawn ({withdrawn}): it stays listed as withdrawn; submit it under another name"
            )
        else:
            for other in ledger.slugs_in_other_case(slug):
                problems.append(f"{name} differs from the existing {other} only in case; choose another name")
        others, _ = ledger.readable_submissions()
        problem = system_problem(submission, others.values())
        if problem:
            problems.append(problem)

    checked_runs: dict[tuple[str, str], Run] = {}
    remarks: list[str] = []
    for text in runs:
        try:
            sent = read_sent_run(ledger, text, queued=queued)
            key = (sent.task, sent.candidates)
            if key in checked_runs:
                raise BadInput(f"two runs are given for {sent.task} over {sent.candidates}; keep one")
            checked_runs[key] = sent.run
            remarks += [f"{text.partition('=')[0]}: {remark}" for remark in sent.notes]
            if submission:
                remarks.append(copies_of(sent.run, submission.slug, ledger, *key))
        except ExabenchError as error:
            problems.append(str(error))
    if problems or submission is None:
        raise BadInput("\n".join(problems))
    return CheckedSubmission(submission, training, checked_runs, tuple(filter(None, remarks)))


def _part_problems(submission: Submission) -> list[str]:
    """An unknown reranker, or an option that it does not have, lacks, or has with another type."""
    name = submission.reranker
    if name in BASELINES:
        return [f"reranker {name} needs no model: it is a baseline of every board"]
    for option in sorted(NOT_OPTIONS.intersection(submission.options)):
        return [f"reranker {name} has no option {printable(option)!r}: the board's own runner fills it in"]
    try:
        options = reranker_options(submission) if submission.kind == "model" else _api_options(submission)
        check_part(RERANKERS, name, options)
    except MissingExtra:
        return []  # this machine lacks a package: no fault of the submission, and said where it runs
    except BadInput as error:
        return [str(error)]
    return []


def with_api_runs(
    checked: CheckedSubmission, ledger: Ledger, data: str | Path | None, progress: Progress
) -> CheckedSubmission:
    """Of kind api without runs: its reranker called over every candidate list of the board; all others as they are.

    Texts are read from `data` or their public source. Raises BadInput where there is no list, OutsideFailed.
    """
    submission = checked.submission
    if submission.kind not in EXTERNAL_RUN_KINDS or checked.runs:
        return checked
    lists = ledger.candidates()
    if not lists:
        raise BadInput("has no candidates to rerank", file=ledger.folder)
    options = _api_options(submission)
    check_keys(options, f"{submission.slug}.toml")
    reranker = reranker_of(submission.reranker, **options)
    runs = {}
    notes = {}
    for done, candidates in enumerate(lists, 1):
        task = single_task(candidates.task, data=data, board=ledger.folder)
        evaluator = RerankEvaluator(task, candidates, ledger.candidates_run(candidates), data, None)
        run, usages = evaluator.rerank(reranker, submission.slug)
        runs[candidates.task, candidates.name] = run
        remarks = on_usages(usages.values(), getattr(reranker, "identity", {}))
        if remarks:
            notes[f"{candidates.task}.{candidates.name}"] = remarks
        progress(done, len(lists), f"{submission.slug} on {candidates.task} ({candidates.name})")
    return replace(checked, submission=replace(submission, notes=notes), runs=runs)


def _api_options(submission: Submission) -> dict[str, Any]:
    """The options of the part that calls a submission's endpoint: itself, or by a teacher that speaks chat."""
    options = {**submission.options, "model": submission.model}
    if "teacher" not in accepts(RERANKERS[submission.reranker]):
        return {**options, "endpoint": submission.endpoint}
    own = options.get("teacher", {})
    if not isinstance(own, Mapping):
        raise BadInput('options.teacher must be a table, as in { api_key_env = "MY_KEY" }')
    return {**options, "teacher": {"part": "openai", **own, "base_url": submission.endpoint}}


# -- sending -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Sent:
    """Where a submission went (repository or folder), its address, its files; `changed`: by this call."""

    to: str
    url: str
    changed: bool
    files: tuple[str, ...]


def send(
    file: str | Path,
    runs: Sequence[str],
    *,
    board: str | Path = "leaderboard",
    repo: str = "",
    to: str | Path = "",
    branch: str = "",
    data: str | Path | None = None,
    dry_run: bool = False,
    progress: Progress = silent,
    note: Callable[[str], None] = lambda line: None,
) -> tuple[Submission, Sent]:
    """Check a submission and send it: to a pull request on `repo`, or into the folder `to`.

    The verdict is that of the repository's own head, else that of `board`. What already exists is not sent again.
    Raises BadInput that lists every problem, OutsideFailed, CannotWrite.
    """
    if branch:
        raise BadInput(
            f"--branch was removed: write the files with --to FOLDER, and commit them to {branch!r} with git"
        )
    if bool(repo) == bool(to):
        raise BadInput("give one of --repo owner/board and --to FOLDER")
    if repo:
        owner = read_submission(file).owner
        if not is_repo(repo):
            raise BadInput(f"--repo {printable(repo)!r} must be a repository of the Hub (owner/name)")
        commit = Repository(repo).head() or ""
        if not commit:
            raise BadInput(f"Hub dataset {repo} does not exist, or this token cannot read it; check the name")
        listed = files_of(repo, commit)
        if "board.toml" not in listed:
            raise BadInput(f"Hub dataset {repo} is not a leaderboard: board.toml is missing")

        # What a verdict needs: settings, tasks, candidates, and what its owner, in any case, has filed.
        filed = f"submissions/{owner}--".lower()
        wanted = []
        for path in listed:
            is_list = path.startswith("candidates/") and not path.endswith(".shown.json.gz")
            if is_list or path.startswith("tasks/") or path == "board.toml" or path.lower().startswith(filed):
                wanted.append(path)
        folder = snapshot(repo, commit, wanted, kind="dataset")
    else:
        folder = Path(board)
    ledger = Ledger(folder)
    ledger.settings()
    checked = check(file, runs, ledger, public=True)
    for line in checked.notes:
        note(line)
    if repo and not (dry_run or is_of_its_model(checked.submission)):
        sender, organisations = account()
        owner = checked.submission.owner.lower()
        if owner not in {name.lower() for name in (sender, *organisations)}:
            raise BadInput(not_theirs(checked.submission, sender), file=file)
    if not dry_run:
        checked = with_api_runs(checked, ledger, data, progress)
    if repo:
        return checked.submission, _send_to_repo(checked, repo, commit, listed, dry_run)

    # Into an empty folder, as the files are on a board.
    files = checked.files()
    folder = Path(to)
    if folder.exists() and not folder.is_dir():
        raise BadInput("is a file; name a new folder", file=folder)
    there = {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.is_file()}
    if there and there != files:
        raise BadInput("is not empty; name a new folder", file=folder)
    if not there and not dry_run:
        with replacing_folder(folder) as fresh:
            for path, content in files.items():
                write(fresh / path, content)
    return checked.submission, Sent(str(folder), str(folder), not there, tuple(files))


def _send_to_repo(
    checked: CheckedSubmission, repo: str, commit: str, listed: Mapping[str, Listed], dry_run: bool
) -> Sent:
    """Open a pull request that adds the submission, in one commit; one that is open with these files is found instead.

    After an error it is opened again only if it is not there. Raises BadInput, OutsideFailed.
    """
    submission = checked.submission
    slug = submission.slug
    files = checked.files()
    report = [f"models/{slug}/{name}" for name in TRAINING_FILES]
    # A model that comes without a report takes the one of the model before it away.
    stale = [path for path in report if path in listed and path not in files]
    title = f"Submit {submission.name} ({submission.kind})"
    body = f"Opened by `exabench bench submit`.\n\n- slug: {slug}\n- kind: {submission.kind}"
    body += f"\n- submission: `{digest_of(files[f'submissions/{slug}.toml'])}`"
    for (task, candidates), run in checked.runs.items():
        body += f"\n- run {task} over {candidates}: `{run_digest(run, slug)}`"
    if checked.training:
        body += f"\n- training.json: `{digest_of(checked.training.files['training.json'])}`"
    repository = Repository(repo)
    tried = False
    opened = ""

    def has_all(listed: Mapping[str, Listed]) -> bool:
        has_stale = any(path in listed for path in stale)
        return not has_stale and all(has_bytes(listed.get(path), data) for path, data in files.items())

    def look() -> Sent | None:
        url = opened
        if not url:  # the reply may have been lost, or an earlier call opened it: title and bytes tell
            for request in open_requests(repo):
                if request.title == title and has_all(files_of(repo, request.revision)):
                    url = request.url
                    break
        if not url:
            return None
        return Sent(repo, url, tried, tuple(files))

    def send() -> None:
        nonlocal tried, opened
        tried = True
        opened = repository.commit(files, title, commit, delete=stale, pull_request=True, body=body)

    if has_all(listed):
        return Sent(repo, repository.url(), False, tuple(files))
    check_secrets(files)
    if dry_run:
        return look() or Sent(repo, repository.url(), True, tuple(files))
    return until_seen(look, send, f"{repo}: the pull request")
