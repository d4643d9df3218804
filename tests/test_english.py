"""What people read is plain English: pages, documents, help, messages, cards and docstrings avoid these mannerisms."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click
import pytest

from exabench.cli import exabench

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "exabench"


@dataclass(frozen=True)
class Mannerism:
    """A turn of phrase that reads as translated, an example of it, and the better wording."""

    pattern: str
    example: str
    better: str

    def finds(self, text: str) -> Iterator[re.Match[str]]:
        """Its places in a text; a phrase may be broken over two lines."""
        return re.finditer(self.pattern.replace(" ", r"\s+"), text, re.IGNORECASE)


MANNERISMS = [
    Mannerism(
        r"\b(?<!there\s)(is|are|was|were) no (?!longer|more|less|fewer|better|worse|larger|smaller|such|one\b)\w",
        "a.trec is no run",
        "is not a run",
    ),
    Mannerism(r"\bof (its|their|his|your|one's) own\b", "a page of its own", "its own page"),
    Mannerism(r"\b(is|are|was|were) to (be|do|say|have|go|reproduce)\b", "the number that it is to reproduce", "must"),
    Mannerism(r"\bwhat (it|they|that|this) (takes?|took)\b", "what it took", "its cost, its arguments"),
    Mannerism(r"\b(is|are|was|were|be) told\b", "what is odd is told", "is reported"),
    Mannerism(r"\b(stands?|stood) (beside|in|at|on|below|above|there|behind|between)\b", "stands beside it", "is in"),
    Mannerism(r"\bnobody\b", "nobody knows", "is not known; no one"),
    Mannerism(r"\bat hand\b", "a benchmark at hand", "available"),
    Mannerism(r"\bbesides?\b", "beside the table", "next to; and"),
    Mannerism(r"\b(lies?|lying) (in|at|on|under|beside|as|there|behind|with)\b", "it lies in a folder", "is in"),
    Mannerism(r"\b(go|goes|going|went|gone) on\b", "it goes on where it was", "resumes; continues"),
    Mannerism(r"\b(comes?|came|coming) along\b", "the recipes that come along", "included; comes with"),
    Mannerism(r"\bwithout a word\b|\bin silence\b", "dropped without a word", "silently"),
    Mannerism(r"\bpass(ed|es) over\b", "the line is passed over", "skipped; ignored"),
    Mannerism(r"\b(left|leaves?|leaving) (aside|away)\b", "left aside", "ignored; omitted"),
    Mannerism(r"\b(the|only|after) (first )?so many\b|\bso many (tokens|items)\b", "the first so many", "the first N"),
    Mannerism(r"\bmend(s|ed)?\b", "mend it", "fix"),
    Mannerism(r"\b(held|holds?|holding) [^.;:]{0,60}\bagainst\b", "held against the table", "checked against"),
    Mannerism(r"\bcalled (so|like|as)\b", "called as the folder is", "named after"),
    Mannerism(r"\b(that|which) (is|are) there\b|\b(is|are) there already\b", "a file that is there", "existing"),
    Mannerism(r"\b(take|takes|taken) (it|them) (away|out)\b|\btaken (away|out)\b", "take it away", "remove"),
    Mannerism(r"\bsay (which|whose|where|who)\b", "say which", "name it; choose one"),
    Mannerism(r"\bblanks\b|\ba blank\b(?! (line|page))", "blanks and tabs", "spaces; whitespace"),
    Mannerism(r"\basked of\b|\bis asked as\b", "asked of a teacher", "sent to"),
    Mannerism(r"\bwhoever\b", "whoever uses it", "anyone who; users"),
    Mannerism(r"\beach two\b", "each two of them", "each pair"),
    Mannerism(r"\banew\b", "computed anew", "again; recomputed"),
    Mannerism(r"\bthe very\b", "the very same list", "an identical list"),
    Mannerism(r"\b(sent|sends?|sending) in\b", "runs that were sent in", "submitted"),
    Mannerism(
        r"(?<!\b(?:let|one)\s)(?<!\bleft\s)(?<!\beach\s)(?<!\bleave\s)(?<!ed\s)\balone\b",
        "English alone",
        "only English",
    ),
]

EXEMPT = {"exabench/bench/notes.py"}
"""Its texts are stored in results, whose digests are on committed boards."""

STORED = {"goes on with the prompt's examples"}
"""Reasons that manifests of published releases count."""


def blank(pattern: str, text: str) -> str:
    """`text` with what matches `pattern` replaced by a neutral character, so that places stay as they are."""
    return re.sub(pattern, lambda found: re.sub(r"[^\n]", "\x1a", found[0]), text, flags=re.DOTALL)


def of_markdown(file: Path) -> Iterator[tuple[int, str]]:
    """The prose of a page or card, without code, addresses and template statements."""
    yield 1, blank(r"```.*?```|`[^`]*`|\]\([^)]*\)|https?://\S+|\{%.*?%\}|\{\{.*?\}\}", file.read_text())


def of_template(file: Path) -> Iterator[tuple[int, str]]:
    """The words of a template, without tags and statements; of `{{ ... }}` the strings."""
    text = blank(r"<style.*?</style>|<[^>]*>|\{#.*?#\}|\{%.*?%\}", file.read_text())
    yield 1, re.sub(r"\{\{.*?\}\}", lambda found: blank(r'(^|")[^"]*("|$)', found[0]), text, flags=re.DOTALL)


def of_script(file: Path) -> Iterator[tuple[int, str]]:
    """The strings of a script that hold more than one word."""
    for number, line in enumerate(file.read_text().splitlines(), 1):
        for text in re.findall(r'"[^"]* [^"]*"|`[^`]* [^`]*`', re.sub(r"(^|\s)//.*", "", line)):
            yield number, text


def of_python(file: Path) -> Iterator[tuple[int, str]]:
    """The docstrings of what is public, and every string of more than one word: help, messages, words of pages."""
    tree = ast.parse(file.read_text())
    private = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            name = getattr(node, "name", file.stem)
            first = node.body[0] if node.body else None
            if name.startswith("_") and isinstance(first, ast.Expr):
                private.add(id(first.value))
    for node in ast.walk(tree):
        if not isinstance(node, ast.Constant) or not isinstance(node.value, str) or id(node) in private:
            continue
        if " " in node.value and node.value not in STORED:
            yield node.lineno, blank(r"`[^`]*`", node.value)


READERS = {
    "README.md": of_markdown,
    "CONTRIBUTING.md": of_markdown,
    "docs/**/*.md": of_markdown,
    "dataset_cards/*.md": of_markdown,
    "exabench/hub/cards/*.md": of_markdown,
    "exabench/bench/new_board/*.md": of_markdown,
    "exabench/bench/new_board/*.yml": of_markdown,
    "exabench/board/pages/templates/*.html": of_template,
    "exabench/board/pages/static/*.js": of_script,
    "exabench/**/*.py": of_python,
}


def offences(place: str, first: int, text: str) -> Iterator[str]:
    """A line for each mannerism in a text that begins on line `first` of `place`."""
    for mannerism in MANNERISMS:
        for found in mannerism.finds(text):
            line = first + text[: found.start()].count("\n")
            phrase = " ".join(found[0].split())
            yield f'{place}:{line}: "{phrase}"; write: {mannerism.better}'


@pytest.mark.parametrize("pattern", READERS)
def test_no_text_that_people_read_has_a_mannerism(pattern: str) -> None:
    found = []
    files = sorted(ROOT.glob(pattern))
    assert files
    for file in files:
        place = file.relative_to(ROOT).as_posix()
        if place not in EXEMPT:
            for line, text in READERS[pattern](file):
                found += offences(place, line, text)
    assert not found, "\n".join(found)


def commands(command: click.Command, path: str = "exabench") -> Iterator[tuple[str, click.Command]]:
    """A command and all below it, with their paths."""
    yield path, command
    if isinstance(command, click.Group):
        for name, inner in command.commands.items():
            yield from commands(inner, f"{path} {name}")


def test_no_help_text_has_a_mannerism() -> None:
    found = []
    for path, command in commands(exabench):
        # As the program makes it: a command keeps the option for help that it is first asked with.
        context = click.Context(command, info_name=path, help_option_names=["-h", "--help"])
        text = command.get_help(context)
        found += offences(f"{path} --help", 1, text)
    assert not found, "\n".join(found)


def test_each_mannerism_is_found_in_its_example_and_named_with_the_better_wording() -> None:
    for mannerism in MANNERISMS:
        broken = f"A first line.\nIt says: {mannerism.example.replace(' ', chr(10))}, here."
        assert any(mannerism.better in line for line in offences("page.md", 1, broken)), mannerism.example


@pytest.mark.parametrize(
    ("name", "content", "line"),
    [
        ("page.md", "# Title\n\n`nobody` is code, but nobody knows.\n", 3),
        ("page.html", "<p class='alone'>Fine.</p>\n<p>It lies in a folder.</p>", 2),
        ("page.js", "// nobody reads comments\nshow(`Sent in by hand`);", 2),
        ("part.py", 'def _hidden():\n    """Nobody."""\n\n\ndef shown():\n    """It goes on."""\n', 6),
        ("part.py", "x = 1\nraise BadInput(f'{x} is no run')", 2),
    ],
)
def test_an_offence_is_found_where_it_is(tmp_path: Path, name: str, content: str, line: int) -> None:
    file = tmp_path / name
    file.write_text(content)
    reader = {".md": of_markdown, ".html": of_template, ".js": of_script, ".py": of_python}[file.suffix]
    found = [one for first, text in reader(file) for one in offences(name, first, text)]
    assert len(found) == 1
    assert found[0].startswith(f"{name}:{line}: ")
