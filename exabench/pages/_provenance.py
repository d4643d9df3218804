"""The pages that vouch for all others: what is verified and from which files, what changed and why, how to submit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import islice
from json.encoder import encode_basestring_ascii as quoted
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from exabench.files import digest_of, file_digest, json_text
from exabench.ledger import Ledger, run_path
from exabench.pages._format import clean
from exabench.pages._kept import rows, texts
from exabench.pages._page import Group, Page
from exabench.pages._views import STATES, View
from exabench.releases import MANIFEST
from exabench.screening import ERROR_CLASSES
from exabench.screening import Limits as Taken
from exabench.submissions import FIELDS, KINDS

FORMAT = 1
LISTED = 100  # lines of a table; data/files.json and data/changes.json hold all
BYTES, RANKING = "the file", "its ranking, unpacked"
_LINES = pa.schema([("lines", pa.large_string()), ("count", pa.int64())])


def pages(view: View) -> Iterator[Page | Group]:
    """verify, changes and submit with the data behind them."""
    everything = (view.everything,)
    yield Group("verify", everything, partial(_verify_pages, view))
    yield Page("changes.html", partial(changes, view), "changes.html", everything)
    yield Page("data/changes.json", partial(changes_json, view), of=everything)
    yield Page("submit.html", partial(submit, view), "submit.html", (view.version,))


def _verify_pages(view: View) -> Iterator[Page]:
    files = Files(view)
    yield Page("verify.html", partial(verify, view, files), "verify.html")
    yield Page("data/files.json", files.json)


class Input(NamedTuple):
    """A file that the board was made from: its path in the board's folder, and the digest `of` it or of what it holds.

    A ranking is known by the digest of its text, whatever packed it.
    """

    kind: str
    path: str
    digest: str
    of: str = BYTES


def inputs(view: View) -> Iterator[Input]:
    """Every file that the board was made from: what all results share first, then each submission with its own."""
    yield from _shared(view)
    for slug in view.board.submissions:
        yield from _sent(view, slug)


def _shared(view: View) -> Iterator[Input]:
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


def _sent(view: View, slug: str) -> Iterator[Input]:
    """The file of a submission, its results, and those of their runs that the folder holds."""
    yield Input("submission", f"submissions/{slug}.toml", view.board.digests[slug])
    for score in view.by_submission[slug]:
        folder, name = score.file.split("/")[-2:]
        yield Input("result", f"results/{folder}/{name}", score.digest)
        if score.file in view.runs:
            run = run_path(score.submission, score.task, score.candidates)
            yield Input("run", run, score.run_digest, RANKING)


def _inside(view: View, file: Path) -> str:
    return file.relative_to(view.board.folder).as_posix()


@dataclass(frozen=True)
class Files:
    """The inputs of a board as a reader's program gets them: one a line."""

    view: View

    def __len__(self) -> int:
        return len(self._shared) + sum(self._sent["count"].to_pylist())

    def json(self) -> bytes:
        """Every input, and the build that they make."""
        lines = [*map(str.encode, map(_line, self._shared)), *texts(self._sent, "lines")]
        head = f'{{"build": "{self.view.everything}", "format": {FORMAT}, "files": [\n'
        return head.encode() + b",\n".join(lines) + b"\n]}\n"

    @cached_property
    def _shared(self) -> list[Input]:
        return list(_shared(self.view))

    @cached_property
    def _sent(self) -> pa.Table:
        """For each submission the lines of its inputs, and how many they are."""
        view, slugs = self.view, list(self.view.board.submissions)

        def told(place: int) -> Iterator[dict[str, str | int]]:
            lines = [*map(_line, _sent(view, slugs[place]))]
            yield {"lines": ",\n".join(lines), "count": len(lines)}

        has_run = {slug: [score.file in view.runs for score in view.by_submission[slug]] for slug in slugs}
        keys = [f"{view.keys[slug]} {has_run[slug]}" for slug in slugs]
        return rows(view.kept("inputs.arrow"), _LINES, view.board.package, keys, told)


def _line(one: Input) -> str:
    told = (f'"{name}": {quoted(value)}' for name, value in sorted(one._asdict().items()))
    return f"{{{', '.join(told)}}}"


def verify(view: View, files: Files) -> dict[str, Any]:
    """What `exabench bench verify` checks, and the digests that it checks against."""
    runs_alone = (r for r in view.results if view.board.submissions[r.submission].kind != "model")
    qrels = {(one.task, one.qrels_digest) for one in view.board.candidates}
    return {
        "build": view.everything,
        "files": list(islice(inputs(view), LISTED)),
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
