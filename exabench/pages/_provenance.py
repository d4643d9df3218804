"""The pages that vouch for all others: what is verified and from which files, what changed and why, how to submit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache, partial
from json.encoder import encode_basestring_ascii as quoted
from pathlib import Path
from typing import Any, NamedTuple

from exabench.files import digest_of, file_digest, json_text
from exabench.ledger import Ledger, run_path
from exabench.pages._format import clean
from exabench.pages._page import Group, Page
from exabench.pages._views import STATES, View
from exabench.releases import MANIFEST
from exabench.screening import ERROR_CLASSES
from exabench.screening import Limits as Taken
from exabench.submissions import FIELDS, KINDS

FORMAT = 1
LISTED = 100  # lines of a table; data/files.json and data/changes.json hold all
BYTES, RANKING = "the file", "its ranking, unpacked"


def pages(view: View) -> Iterator[Page | Group]:
    """verify, changes and submit with the data behind them."""
    everything = (view.everything,)
    yield Group("verify", everything, partial(_verify_pages, view))
    yield Page("changes.html", partial(changes, view), "changes.html", everything)
    yield Page("data/changes.json", partial(changes_json, view), of=everything)
    yield Page("submit.html", partial(submit, view), "submit.html", (view.version,))


def _verify_pages(view: View) -> Iterator[Page]:
    files = cache(lambda: list(inputs(view)))
    yield Page("verify.html", lambda: verify(view, files()), "verify.html")
    yield Page("data/files.json", lambda: files_json(view, files()))


class Input(NamedTuple):
    """A file that the board was made from: its path in the board's folder, and the digest `of` it or of what it holds.

    A ranking is known by the digest of its text, whatever packed it.
    """

    kind: str
    path: str
    digest: str
    of: str = BYTES


def inputs(view: View) -> Iterator[Input]:
    """Every file that the board was made from: what all results share first, then what each was sent with."""
    board, ledger = view.board, Ledger(view.board.folder)
    shared = [("board", ledger.folder / "board.toml"), ("change log", ledger.change_log)]
    for one in board.candidates:
        ranking = ledger.candidates_file(one.task, one.name)
        yield Input("ranking of candidates", _inside(view, ranking), one.digest, RANKING)
        shared.append(("candidates", ranking.with_name(f"{one.name}.json")))
        shared.append(("texts of candidates", ledger.shown_file(one.task, one.name)))
    shared += [("dataset", ledger.datasets / release.name / MANIFEST) for release in board.datasets]
    shared += [("reported elsewhere", file) for file in ledger.reported_files()]
    yield from (Input(kind, _inside(view, file), file_digest(file)) for kind, file in shared if file.is_file())
    for slug, training in sorted(board.trainings.items()):
        folder = _inside(view, ledger.training_folder(slug))
        yield from (Input("training", f"{folder}/{name}", digest_of(d)) for name, d in sorted(training.files.items()))
    yield from (
        Input("submission", f"submissions/{slug}.toml", board.digests[slug]) for slug in sorted(board.submissions)
    )
    for score in view.results:
        folder, name = score.file.split("/")[-2:]
        yield Input("result", f"results/{folder}/{name}", score.digest)
        if ledger.has_run(score.submission, score.task, score.candidates):
            run = run_path(score.submission, score.task, score.candidates)
            yield Input("run", run, score.run_digest, RANKING)


def _inside(view: View, file: Path) -> str:
    return str(file)[len(str(view.board.folder / "-")) - 1 :]  # all are made of it; relative_to would take seconds


def files_json(view: View, files: Sequence[Input]) -> bytes:
    """Every input for programs, one a line, and the build that they make."""
    row = '{{"digest": {}, "kind": {}, "of": {}, "path": {}}}'.format
    rows = ",\n".join(row(quoted(f.digest), quoted(f.kind), quoted(f.of), quoted(f.path)) for f in files)
    return f'{{"build": "{view.everything}", "format": {FORMAT}, "files": [\n{rows}\n]}}\n'.encode()


def verify(view: View, files: Sequence[Input]) -> dict[str, Any]:
    """What `exabench bench verify` checks, and the digests that it checks against."""
    runs_alone = (r for r in view.results if view.board.submissions[r.submission].kind != "model")
    qrels = {(one.task, one.qrels_digest) for one in view.board.candidates}
    return {
        "build": view.everything,
        "files": files[:LISTED],
        "total": len(files),
        "tasks": [(t, sorted(digest for name, digest in qrels if name == t.name)) for t in view.single_tasks],
        "example": next(runs_alone, None),
        "stamp": ("", view.version),
    }


def changes(view: View) -> dict[str, Any]:
    """The newest changes, and what was withdrawn."""
    found = view.board.changes
    return {
        "newest": found[: -LISTED - 1 : -1],
        "total": len(found),
        "withdrawn": view.board.withdrawn,
        "stamp": ("", view.version),
    }


def changes_json(view: View) -> bytes:
    """All changes, newest first, and what was withdrawn."""
    told = [{key: clean(v) if isinstance(v, str) else v for key, v in vars(one).items()} for one in view.board.changes]
    gone = [{"submission": one.slug, "name": one.name, "reason": clean(one.withdrawn)} for one in view.board.withdrawn]
    return json_text({"format": FORMAT, "changes": told[::-1], "withdrawn": gone}).encode("utf-8", "replace")


def submit(view: View) -> dict[str, Any]:
    """How to submit: the grammar as the check of a file knows it, what is taken, what is refused, and the states."""
    from exabench.sandbox import Limits as Given

    return {
        "fields": FIELDS,
        "kinds": KINDS,
        "examples": EXAMPLES,
        "taken": Taken(),
        "given": Given(),
        "classes": ERROR_CLASSES,
        "states": STATES,
        "tasks": view.single_tasks,
        "stamp": ("", view.version),
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
"""A file of each kind that somebody may send: what the page shows, and a test holds against the check itself."""
