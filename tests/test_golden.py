"""What a change of the code must not change: results, releases, JSON of commands, page texts and help, as files.

    EXABENCH_GOLDEN=write python -m pytest tests/test_golden.py

writes tests/golden/{results,releases,json,pages,help} anew. A commit that changes them says why. Dates, versions,
times and hardware are left out, numbers are rounded, and long lists stand as their digests.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import shutil
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import click
import pytest
from toys import toml

GOLDEN = Path(__file__).with_name("golden")
LEFT_OUT = {"created", "date", "versions", "timing", "hardware", "latency", "size", "bytes", "made", "exabench"}
LONG = 400  # characters of a list or table that is kept as it is
DIGITS = 4


def command(*arguments: str) -> str:
    """What a command prints on standard output."""
    from exabench.cli import main

    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
        main(list(arguments))
    return printed.getvalue()


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with the demo's board and releases (no model is trained), and two runs, as the current folder."""
    folder = tmp_path_factory.mktemp("golden")
    before = Path.cwd()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOURCE_DATE_EPOCH", "1700000000")
        patch.delenv("EXABENCH_DATA", raising=False)
        os.chdir(folder)
        (folder / "recipe.toml").write_text(
            toml({"title": "Golden", "tasks": ["mini"], "datasets": ["mini-explanations", "mini-listwise"]})
            + '[first_stages.bm25-100]\nretriever = "bm25"\ndepth = 100\n'
            + '[first_stages.titles-20]\nretriever = "bm25"\ndepth = 20\nfields = ["title"]\n'
        )
        command("demo", "--to", "board", "--recipe", "recipe.toml")
        for name in ("bm25-100", "titles-20"):
            shutil.copy(folder / "board" / "candidates" / "mini" / f"{name}.trec.gz", folder / f"{name}.trec.gz")
        yield folder
        os.chdir(before)


def held(kind: str, name: str, text: str) -> None:
    """`text` against the golden file, which is written where EXABENCH_GOLDEN says so."""
    file = GOLDEN / kind / name
    if os.environ.get("EXABENCH_GOLDEN") == "write":
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    assert file.is_file(), f"{file} is not there: EXABENCH_GOLDEN=write python -m pytest tests/test_golden.py writes it"
    assert text == file.read_text(encoding="utf-8"), f"differs from {file}; a wanted change is written as above"


def plain(value: Any) -> Any:
    """A JSON value without what differs from day to day, its numbers rounded and long lists as digests."""
    from exabench.files import digest_of

    if isinstance(value, dict):
        value = {key: plain(item) for key, item in value.items() if key not in LEFT_OUT}
    elif isinstance(value, list):
        value = [plain(item) for item in value]
    elif isinstance(value, float):
        return round(value, DIGITS)
    elif isinstance(value, str):
        return re.sub(r"/\S*/", "", value)  # a folder of this machine
    else:
        return value
    text = json.dumps(value)
    if isinstance(value, list) and len(text) > LONG:
        return [f"{len(value)} items", digest_of(text)]
    return value


def pretty(value: Any) -> str:
    return json.dumps(plain(value), indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def test_results_of_the_demo(work: Path) -> None:
    for file in sorted((work / "board" / "results").rglob("*.json")):
        values = json.loads(file.read_text(encoding="utf-8"))
        for key in ("gain", "digest", "format"):
            values.pop(key)  # which test stands behind the gain is no property of the run
        values["measurement"].pop("per_query")
        held("results", f"{file.parent.name}.{file.name}", pretty(values))


def test_releases_of_the_demo(work: Path) -> None:
    from exabench.releases import rows

    for name in ("mini-explanations", "mini-listwise"):
        folder = work / "board-builds" / name / "release"
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        for table in manifest["tables"]:
            manifest[f"rows of {table}"] = [list(map(dict, rows(folder, table, split))) for split in ("train",)]
        held("releases", f"{name}.json", pretty(manifest))
        held("releases", f"{name}.md", without_days((folder / "README.md").read_text(encoding="utf-8")))


def without_days(text: str) -> str:
    """A text without dates, versions, sizes and digests of files that hold them."""
    text = re.sub(r"\d{4}-\d\d-\d\d", "DATE", text)
    text = re.sub(r"sha256:[0-9a-f]{6,}|\b[0-9a-f]{12,}\b", "DIGEST", text)
    return re.sub(r"\b\d+\.\d+\.\d+(\.\d+)?\b|\b[\d.,]+ (kB|KB|MB|bytes|ms|s|pairs/s)\b", "NUMBER", text)


JSON_COMMANDS = {
    "bench-tasks": ["bench", "tasks"],
    "bench-score": ["bench", "score", "bm25-100.trec.gz", "--task", "mini"],
    "bench-score-metrics": [
        "bench",
        "score",
        "titles-20.trec.gz",
        "--task",
        "mini",
        "--metric",
        "AP",
        "--metric",
        "P@5",
    ],
    "bench-verify": ["bench", "verify", "--board", "board"],
    "board-check": ["board", "check", "--board", "board"],
    "data-list": ["data", "list"],
    "data-audit": ["data", "audit", "board-builds/mini-listwise/release"],
    "data-diff": ["data", "diff", "board-builds/mini-listwise/release", "board-builds/mini-explanations/release"],
    "data-verify": ["data", "verify", "board-builds/mini-listwise/release"],
    "train-list": ["train", "list"],
}


@pytest.mark.parametrize("name", JSON_COMMANDS)
def test_what_a_command_prints_as_json_or_text(work: Path, name: str) -> None:
    printed = command(*JSON_COMMANDS[name], "--json")
    if not printed.startswith(("{", "[")):
        printed = json.dumps(command(*JSON_COMMANDS[name]).splitlines())  # it has no --json
    held("json", f"{name}.json", pretty(json.loads(printed)))


class _Text(HTMLParser):
    """The words of a page, a block a line; scripts, styles and drawings are left out."""

    HIDDEN = {"script", "style", "svg", "noscript"}
    INLINE = {"a", "abbr", "b", "code", "em", "i", "small", "span", "strong", "sub", "sup", "time", "label"}

    def __init__(self) -> None:
        super().__init__()
        self.words: list[str] = []
        self.hidden = 0

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.hidden += tag in self.HIDDEN
        if tag not in self.INLINE:
            self.words.append("\n")

    def handle_endtag(self, tag: str) -> None:
        self.hidden -= tag in self.HIDDEN
        if tag not in self.INLINE:
            self.words.append("\n")

    def handle_data(self, data: str) -> None:
        if not self.hidden:
            self.words.append(data)


def page_text(file: Path) -> str:
    reader = _Text()
    reader.feed(file.read_text(encoding="utf-8"))
    lines = (" ".join(line.split()) for line in "".join(reader.words).splitlines())
    return without_days("\n".join(line for line in lines if line) + "\n")


PAGES = {
    "index.html": "index",
    "about.html": "about",
    "tasks/mini.html": "task",
    "submissions/exabench--oracle.html": "submission",
    "results/exabench--oracle/mini.titles-20.html": "result",
    "datasets/exabench-mini.html": "dataset",
    "owners/exabench.html": "owner",
    "downloads.html": "downloads",
    "submit.html": "submit",
    "verify.html": "verify",
    "changes.html": "changes",
}


def test_page_texts(work: Path) -> None:
    site = work / "board" / "site"
    found = {str(file.relative_to(site)) for file in site.rglob("*.html")}
    held("pages", "files.txt", "\n".join(sorted(found)) + "\n")
    for path in sorted(found & PAGES.keys()):
        held("pages", f"{PAGES[path]}.txt", page_text(site / path))


def help_texts(group: click.Command, path: str, context: click.Context | None) -> Iterator[tuple[str, str]]:
    own = click.Context(
        group, info_name=path.rpartition(" ")[2], parent=context, terminal_width=100, max_content_width=100
    )
    yield path, group.get_help(own)
    if isinstance(group, click.Group):
        for name in group.list_commands(own):
            yield from help_texts(group.get_command(own, name), f"{path} {name}", own)


def test_help_of_every_command() -> None:
    from exabench import cli

    root = cli.exabench
    for path, text in help_texts(root, "exabench", None):
        held("help", f"{path.replace(' ', '-')}.txt", text + "\n")
