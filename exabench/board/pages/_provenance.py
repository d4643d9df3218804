"""The pages that vouch for all others and explain them: verify, changes, submit, about, downloads; and static files."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from exabench.bench.ledger import Ledger, run_path
from exabench.bench.submissions import FIELDS, KINDS
from exabench.board.pages._format import clean
from exabench.board.pages._page import Page
from exabench.board.pages._views import STATES, WRITTEN, View
from exabench.core.files import digest_of, file_digest, json_text
from exabench.data.releases import MANIFEST
from exabench.measure.statistics import ALPHA, RESAMPLES
from exabench.models.screening import ERROR_CLASSES, SizeLimits

FORMAT = 1
_STATIC = Path(__file__).parent / "static"
BYTES, RANKING = "the file", "its ranking, unpacked"


def pages(view: View) -> Iterator[Page]:
    """The pages with the data behind them, and what lies in static/."""
    yield Page("verify.html", partial(verify, view), "verify.html")
    yield Page("data/files.json", partial(files_json, view))
    yield Page("changes.html", partial(changes, view), "changes.html")
    yield Page("data/changes.json", partial(changes_json, view))
    yield Page("submit.html", partial(submit, view), "submit.html")
    about = {"resamples": RESAMPLES, "alpha": ALPHA, "tasks": view.single_tasks, "states": STATES}
    yield Page("about.html", lambda: about, "about.html")
    yield Page("downloads.html", dict, "downloads.html")
    for file in sorted(_STATIC.iterdir()):
        if file.suffix in (".css", ".js", ".svg"):
            yield Page(f"static/{file.name}", partial(file.read_bytes))


class Input(NamedTuple):
    """A file that the board was made from: its path in the board's folder, and the digest `of` it or of its content.

    A ranking is known by the digest of its text, whatever packed it.
    """

    kind: str
    path: str
    digest: str
    of: str = BYTES


def inputs(view: View) -> Iterator[Input]:
    """Every file that the board was made from: what all results share first, then each submission with its own."""
    board = view.board
    ledger = Ledger(board.folder)
    shared = [("board", ledger.folder / "board.toml"), ("change log", ledger.change_log)]
    for one in board.candidates:
        ranking = ledger.candidates_file(one.task, one.name)
        yield Input("ranking of candidates", _inside(view, ranking), one.digest, RANKING)
        shared.append(("candidates", ranking.with_name(f"{one.name}.json")))
        shared.append(("texts of candidates", ledger.shown_file(one.task, one.name)))
    shared += [("dataset", ledger.datasets / release.name / MANIFEST) for release in board.datasets]
    shared += [("reported elsewhere", file) for file in ledger.reported_files()]
    for kind, file in shared:
        if file.is_file():
            yield Input(kind, _inside(view, file), file_digest(file))
    for slug, training in sorted(board.trainings.items()):
        folder = _inside(view, ledger.training_folder(slug))
        for name, data in sorted(training.files.items()):
            yield Input("training", f"{folder}/{name}", digest_of(data))
    for slug, scores in view.by_submission.items():
        yield Input("submission", f"submissions/{slug}.toml", board.digests[slug])
        for score in scores:
            yield Input("result", _inside(view, score.file), score.digest)
            if score in view.runs:
                run = run_path(score.submission, score.task, score.candidates)
                yield Input("run", run, score.result.run_digest, RANKING)


def _inside(view: View, file: Path) -> str:
    return file.relative_to(view.board.folder).as_posix()


def files_json(view: View) -> bytes:
    """Every input as a reader's program gets them, one a line, and the build that they make."""
    lines = ",\n".join(json.dumps(one._asdict(), sort_keys=True) for one in inputs(view))
    return f'{{"build": "{view.everything}", "format": {FORMAT}, "files": [\n{lines}\n]}}\n'.encode()


def verify(view: View) -> dict[str, Any]:
    """What `exabench bench verify` checks, and the digests that it checks against."""
    runs_alone = (r for r in view.results if view.board.submissions[r.submission].kind != "model")
    qrels = {(one.task, one.qrels_digest) for one in view.board.candidates}
    every = list(inputs(view))
    return {
        "build": view.everything,
        "files": every[:WRITTEN],
        "total": len(every),
        "tasks": [(t, sorted(digest for name, digest in qrels if name == t.name)) for t in view.single_tasks],
        "example": next(runs_alone, None),
    }


def changes(view: View) -> dict[str, Any]:
    """The newest changes, and what was withdrawn."""
    found = view.board.changes
    return {
        "newest": found[: -WRITTEN - 1 : -1],
        "total": len(found),
        "withdrawn": view.board.withdrawn,
    }


def changes_json(view: View) -> bytes:
    """All changes, newest first, and what was withdrawn."""
    every = []
    for one in reversed(view.board.changes):
        every.append({key: clean(value) if isinstance(value, str) else value for key, value in vars(one).items()})
    gone = [{"submission": one.slug, "name": one.name, "reason": clean(one.withdrawn)} for one in view.board.withdrawn]
    return json_text({"format": FORMAT, "changes": every, "withdrawn": gone}).encode("utf-8", "replace")


def submit(view: View) -> dict[str, Any]:
    """How to submit: the grammar as the check of a file knows it, what is taken, what is refused, and the states."""
    from exabench.bench.sandbox import JailLimits

    return {
        "fields": FIELDS,
        "kinds": KINDS,
        "examples": EXAMPLES,
        "taken": SizeLimits(),
        "given": JailLimits(),
        "classes": ERROR_CLASSES,
        "states": STATES,
        "tasks": view.single_tasks,
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
