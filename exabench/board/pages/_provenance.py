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
from exabench.board.pages._page import STATES, WRITTEN, Page
from exabench.board.ranking import Board
from exabench.core.files import digest_of, file_digest, json_text
from exabench.data.releases import MANIFEST
from exabench.measure.statistics import ALPHA, RESAMPLES
from exabench.models.screening import ERROR_CLASSES, SizeLimits

FORMAT = 1
_STATIC = Path(__file__).parent / "static"
BYTES, RANKING = "the file", "its ranking, unpacked"


def pages(board: Board) -> Iterator[Page]:
    """The pages with the data behind them, and what lies in static/."""
    yield Page("verify.html", partial(verify, board), "verify.html")
    yield Page("data/files.json", partial(files_json, board))
    withdrawn = board.withdrawn
    changes = board.changes[::-1]
    shown = {"newest": changes[:WRITTEN], "total": len(changes), "withdrawn": withdrawn}
    yield Page("changes.html", lambda: shown, "changes.html")
    yield Page("data/changes.json", partial(changes_json, board))
    yield Page("submit.html", partial(submit, board), "submit.html")
    about = {"resamples": RESAMPLES, "alpha": ALPHA, "tasks": board.single_tasks, "states": STATES}
    yield Page("about.html", lambda: about, "about.html")
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
    of: str = BYTES


def list_inputs(board: Board) -> list[Input]:
    """Every file that the board was made from: what all results share first, then each submission with its own."""
    ledger = Ledger(board.folder)

    def path_of(file: Path) -> str:
        return file.relative_to(board.folder).as_posix()

    inputs = []
    shared = [("board", ledger.folder / "board.toml"), ("change log", ledger.change_log)]
    for one in board.candidates:
        ranking = ledger.candidates_file(one.task, one.name)
        inputs.append(Input("ranking of candidates", path_of(ranking), one.digest, RANKING))
        shared.append(("candidates", ranking.with_name(f"{one.name}.json")))
        shared.append(("texts of candidates", ledger.shown_file(one.task, one.name)))
    shared += [("dataset", ledger.datasets / release.name / MANIFEST) for release in board.datasets]
    shared += [("reported elsewhere", file) for file in ledger.reported_files()]
    for kind, file in shared:
        if file.is_file():
            inputs.append(Input(kind, path_of(file), file_digest(file)))
    for slug, training in sorted(board.trainings.items()):
        folder = ledger.training_folder(slug)
        for name, data in sorted(training.files.items()):
            inputs.append(Input("training", path_of(folder / name), digest_of(data)))
    for slug, summaries in board.by_submission.items():
        inputs.append(Input("submission", path_of(ledger.submission_file(slug)), board.digests[slug]))
        for summary in summaries:
            inputs.append(Input("result", path_of(summary.file), summary.digest))
            if board.has_run(summary):
                run = run_path(slug, summary.task, summary.candidates)
                inputs.append(Input("run", run, summary.result.run_digest, RANKING))
    return inputs


def files_json(board: Board) -> bytes:
    """Every input as a reader's program gets them, one a line, and the build that they make."""
    lines = ",\n".join(json.dumps(one._asdict(), sort_keys=True) for one in list_inputs(board))
    return f'{{"build": "{board.build_digest}", "format": {FORMAT}, "files": [\n{lines}\n]}}\n'.encode()


def verify(board: Board) -> dict[str, Any]:
    """What `exabench bench verify` checks, and the digests that it checks against."""
    qrels: dict[str, set[str]] = {}
    for one in board.candidates:
        qrels.setdefault(one.task, set()).add(one.qrels_digest)
    inputs = list_inputs(board)
    return {
        "build": board.build_digest,
        "files": inputs[:WRITTEN],
        "total": len(inputs),
        "tasks": [(t, sorted(qrels.get(t.name, ()))) for t in board.single_tasks],
        "example": next((one for one in board.shown if board.submissions[one.submission].kind != "model"), None),
    }


def changes_json(board: Board) -> bytes:
    """All changes, newest first, and what was withdrawn."""
    changes = []
    for one in reversed(board.changes):
        changes.append({key: clean(value) if isinstance(value, str) else value for key, value in vars(one).items()})
    withdrawn = []
    for sent in board.withdrawn:
        withdrawn.append({"submission": sent.slug, "name": sent.name, "reason": clean(sent.withdrawn)})
    return json_text({"format": FORMAT, "changes": changes, "withdrawn": withdrawn}).encode("utf-8", "replace")


def submit(board: Board) -> dict[str, Any]:
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
        "tasks": board.single_tasks,
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
