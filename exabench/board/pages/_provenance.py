"""Pages on where the numbers come from: verify, changes and their feed, submit, about; and static files."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from exabench.bench.submissions import FIELDS, KINDS
from exabench.board.pages._format import clean_texts, count, score
from exabench.board.pages._page import WRITTEN, Page, Values, submission_page
from exabench.board.ranking import Board, group_by
from exabench.board.summaries import NEVER, newest_day
from exabench.core.files import digest_of, file_digest, json_text
from exabench.data.releases import MANIFEST
from exabench.measure.statistics import ALPHA, RESAMPLES
from exabench.models.screening import ERROR_CLASSES, SizeLimits

FORMAT = 1
NEWEST = 100  # entries of the feed
LISTED = 10  # results or changes in the words of an entry
_STATIC = Path(__file__).parent / "static"
BYTES = "the file"
RANKING = "its ranking, unpacked"


def pages(board: Board) -> Iterator[Page]:
    """The pages with the data behind them, and what is in static/."""
    yield Page("verify.html", partial(verify, board), "verify.html")
    yield Page("data/files.json", partial(files_json, board))
    yield Page("changes.html", lambda: {"newest": board.changes[: -WRITTEN - 1 : -1]}, "changes.html")
    yield Page("data/changes.json", partial(changes_json, board))
    yield Page("feed.atom", partial(atom, board), "feed.atom")
    yield Page("submit.html", submit, "submit.html")
    yield Page("about.html", lambda: {"resamples": RESAMPLES, "alpha": ALPHA}, "about.html")
    yield Page("downloads.html", dict, "downloads.html")
    for file in sorted(_STATIC.iterdir()):
        if file.suffix in (".css", ".js", ".svg"):
            yield Page(f"static/{file.name}", file.read_bytes)


class Input(NamedTuple):
    """A file that the board was made from: its path in the board's folder, and the digest `of` it or of its content.

    A ranking is known by the digest of its text, whatever packed it.
    """

    kind: str
    path: str
    digest: str
    of: str


def list_inputs(board: Board) -> list[Input]:
    """Every file that the board was made from: what all results share first, then each submission with its own."""
    ledger = board.ledger
    inputs = []

    def add(kind: str, file: Path, digest: str, of: str = BYTES) -> None:
        inputs.append(Input(kind, file.relative_to(board.folder).as_posix(), digest, of))

    shared = [("board", ledger.settings_file), ("change log", ledger.change_log)]
    for one in board.candidates:
        ranking = ledger.candidates_file(one.task, one.name)
        add("ranking of candidates", ranking, one.digest, RANKING)
        shared.append(("candidates", ranking.with_name(f"{one.name}.json")))
        shared.append(("texts of candidates", ledger.shown_file(one.task, one.name)))
    shared += [("dataset", ledger.datasets / release.name / MANIFEST) for release in board.datasets]
    shared += [("reported elsewhere", file) for file in (*ledger.reported_files(), ledger.reported_titles)]
    # Tables and logs are optional.
    for kind, file in shared:
        if file.is_file():
            add(kind, file, file_digest(file))
    for slug, training in board.trainings.items():
        for name, data in sorted(training.files.items()):
            add("training", ledger.training_folder(slug) / name, digest_of(data))
    for slug, summaries in board.by_submission.items():
        add("submission", ledger.submission_file(slug), board.digests[slug])
        for summary in summaries:
            add("result", summary.file, summary.digest)
            if board.has_run(summary):
                run = ledger.run_file(slug, summary.task, summary.candidates)
                add("run", run, summary.result.run_digest, RANKING)
    return inputs


def files_json(board: Board) -> bytes:
    """Every input as a reader's program gets them, one a line, and the build that they make."""
    lines = ",\n".join(json.dumps(one._asdict(), sort_keys=True) for one in list_inputs(board))
    return f'{{"build": "{board.build_digest}", "format": {FORMAT}, "files": [\n{lines}\n]}}\n'.encode()


def verify(board: Board) -> Values:
    """The files that `exabench bench verify` checks, with their digests."""
    inputs = list_inputs(board)
    return {
        "files": inputs[:WRITTEN],
        "total": len(inputs),
        "example": next(
            (one for one in board.shown_results if board.submissions[one.submission].kind != "model"), None
        ),
    }


def changes_json(board: Board) -> bytes:
    """All changes, newest first, and what was withdrawn."""
    withdrawn = [{"submission": one.slug, "name": one.name, "reason": one.withdrawn} for one in board.withdrawn]
    changes = [vars(one) for one in reversed(board.changes)]
    values = {"format": FORMAT, "changes": changes, "withdrawn": withdrawn}
    return json_text(clean_texts(values)).encode("utf-8", "replace")


class News(NamedTuple):
    """One entry: a submission's results, or what became of its numbers on a day. `key` is its id."""

    date: str
    key: str
    page: str
    title: str
    words: str
    kind: str


def atom(board: Board) -> Values:
    """The feed (Atom, RFC 4287): the newest entries, newest first, those of one day in the order of the slugs.

    Its ids lie below the board's address, or are UUIDs of its title where it has none. A number that came is in the
    entry of its submission; what changed or went has a second entry.
    """
    entries = []
    for slug, submission in board.submissions.items():
        if submission.withdrawn:
            continue
        sentences = []
        summaries = board.by_submission[slug]
        for one in summaries:
            queries = one.result.measurement.queries
            about = f"first stage {score(one.first_stage)}, {queries} queries, {one.result.state}"
            sentences.append(f"{one.task} over {one.candidates}: {one.headline} {score(one.value)} ({about})")
        date = newest_day(summaries) or NEVER
        page = submission_page(slug)
        entries.append(News(date, page, page, submission.name, _words(submission.description, sentences), "result"))

    # A number without a value before came with its submission, which has an entry already.
    later = [one for one in board.changes if one.before is not None and one.submission in board.submissions]
    for (date, slug), changes in group_by(later, lambda one: (one.date, one.submission)).items():
        sentences = []
        for change in changes:
            after = "none" if change.after is None else score(change.after)
            moved = f"{change.metric} from {score(change.before)} to {after}"
            sentences.append(f"{change.task} over {change.candidates}: {moved}, {change.reason}")
        page = submission_page(slug)
        number = "1 number" if len(changes) == 1 else f"{count(len(changes))} numbers"
        title = f"{board.submissions[slug].name}: {number} changed"
        key = f"{page}#changed-{date}"
        entries.append(News(date, key, f"{page}#history", title, _words("", sentences), "change"))
    # Two sorts, for sorting is stable: by day, and within a day by key.
    entries.sort(key=lambda entry: entry.key)
    entries.sort(key=lambda entry: entry.date, reverse=True)
    entries = entries[:NEWEST]
    return {
        "id_of": partial(_feed_id, board),
        "updated": max([board.updated, *(entry.date for entry in entries)]),
        "entries": entries,
    }


def _feed_id(board: Board, key: str) -> str:
    """The id of an entry of the feed ("": the feed itself), which stays the same from build to build."""
    if board.home:
        return board.home + key
    return uuid.uuid5(uuid.NAMESPACE_OID, f"{board.title}/{key}").urn


def _words(before: str, sentences: Sequence[str]) -> str:
    shown = [before, *sentences[:LISTED]]
    if len(sentences) > LISTED:
        shown.append(f"and {count(len(sentences) - LISTED)} more")
    return ". ".join(filter(None, shown)) + "."


def submit() -> Values:
    """How to submit: the grammar as the check of a file knows it, what is taken, what is refused, and the states."""
    from exabench.bench.sandbox import JailLimits

    return {
        "fields": FIELDS,
        "kinds": KINDS,
        "examples": EXAMPLES,
        "taken": SizeLimits(),
        "given": JailLimits(),
        "classes": ERROR_CLASSES,
    }


_COMMON = """name = "acme/reranker"
kind = "{kind}"
licence = "apache-2.0"
link = "https://example.org/reranker"
contact = "@acme"
training_data = ["msmarco"]
"""
EXAMPLES = {
    "model": _COMMON.format(kind="model")
    + """reranker = "cross_encoder"
model = "acme/reranker"
revision = "0123456789abcdef0123456789abcdef01234567"
family = "cross-encoder"
precision = "float32"
""",
    "run": _COMMON.format(kind="run") + 'description = "How the runs were made, in a sentence"\n',
    "api": _COMMON.format(kind="api")
    + """reranker = "listwise"
model = "acme-large"
endpoint = "https://api.example.org/v1"
""",
}
"""A file of each kind of submission, as the page shows it; a test runs the check of `submit` on them."""
