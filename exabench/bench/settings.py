"""board.toml: the keys of a leaderboard's settings, their check, and the text of a new file."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from exabench.bench.submissions import FIELDS, PLACE
from exabench.core.errors import BadInput, printable
from exabench.core.files import read_toml, toml_key, toml_text
from exabench.core.licences import as_licence
from exabench.core.records import Record, read

LONGEST_TITLE = 200  # of the board or a view: a title is a line of a page
MOST_TASKS = 1000  # of the board or a view: three times what exabench knows
MOST_VIEWS = 100
ALL = "All tasks"
"""The title of the overview that every board has, over all of its tasks."""


class BoardSettings(Record, frozen=True):
    """What board.toml holds; a text that is empty is not given, and has no place on the pages."""

    title: str
    tasks: list[str]
    description: str = ""
    source: str = ""
    contact: str = ""
    citation: str = ""
    licence: str = ""
    url: str = ""
    views: dict[str, list[str]] = {}


@dataclass(frozen=True)
class Key:
    """A key with a text: its meaning, an example as TOML, and the field whose grammar it shares."""

    name: str
    meaning: str
    example: str
    like: str


KEYS = (
    Key(
        "description",
        "A sentence about the board, for the start page and link previews.",
        '"Rerankers for questions about our products, over one frozen BM25 list."',
        "description",
    ),
    Key(
        "source",
        "The address of the board's folder (a repository), so that anyone can copy it and verify the numbers.",
        '"https://github.com/our-group/board"',
        "link",
    ),
    Key("contact", "Whom to contact: an e-mail address, an @handle or an https:// address.", '"@our-group"', "contact"),
    Key(
        "citation",
        "How to cite the board: one BibTeX entry.",
        '"@misc{our-board, title = {Our rerankers}, url = {https://our-group.example.org/board}}"',
        "bibtex",
    ),
    Key("licence", "The licence of the results and pages, as an SPDX identifier.", '"cc-by-4.0"', "licence"),
    Key(
        "url",
        "The address of the published pages, for the feed and shared links.",
        '"https://our-group.example.org/board"',
        "place",
    ),
)
"""The optional keys, in the order of a new file."""


def read_settings(file: str | Path) -> BoardSettings:
    """Read and check a board.toml; `license` is taken for `licence`.

    Raises BadInput that lists every value that does not fit; for an unknown key it says the nearest.
    """
    file = Path(file)
    settings = read(BoardSettings, as_licence(read_toml(file), file), file=file)
    check_settings(settings, file)
    return settings


def check_settings(settings: BoardSettings, file: str | Path | None = None) -> None:
    """Raise BadInput that lists every value that does not fit."""
    grammars = {field.name: field for field in (*FIELDS, PLACE)}
    problems = []
    for key in KEYS:
        value = getattr(settings, key.name)
        grammar = grammars[key.like]
        if value and not grammar.fits(value):
            problems.append(f"{key.name} must {grammar.grammar}, not {printable(value)!r}")
    for title, tasks in ((settings.title, settings.tasks), *settings.views.items()):
        if not title.strip() or not title.isprintable():
            problems.append(f"title {printable(title)!r} must be text on one line and not blank")
        if len(title) > LONGEST_TITLE:
            problems.append(f"title {printable(title)!r} must have at most {LONGEST_TITLE} characters")
        if len(tasks) > MOST_TASKS:
            problems.append(f"{printable(title)!r} must name at most {MOST_TASKS} tasks, not {len(tasks)}")
    for title, tasks in settings.views.items():
        if not tasks:
            problems.append(f"view {printable(title)!r} must name a task")
    if len(settings.views) > MOST_VIEWS:
        problems.append(f"views must be at most {MOST_VIEWS}, not {len(settings.views)}")
    if problems:
        raise BadInput("; ".join(problems), file=file)
    view_slugs(settings.views, file)


def view_slugs(titles: Iterable[str], file: str | Path | None = None) -> dict[str, str]:
    """The names of the pages of all overviews by title: of a board's views in their order, then that of ALL.

    A title without a letter from a to z or a digit is called by its place. Raises BadInput for two of one name.
    """
    slugs: dict[str, str] = {}
    for place, title in enumerate((*titles, ALL), 1):
        slug = re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-") or f"view-{place}"
        if slug in slugs.values():
            raise BadInput(f"two views of the board would be named {slug}; give them other titles", file=file)
        slugs[title] = slug
    return slugs


def settings_text(settings: BoardSettings) -> str:
    """The settings as a board.toml in which a comment explains each key; what is not given is a comment, too."""
    text = "# The title of the pages.\n"
    text += f"title = {toml_text(settings.title)}\n\n"
    text += "# The tasks and suites whose results the pages show; `exabench bench tasks` lists them.\n"
    text += f"tasks = {toml_text(settings.tasks)}\n\n"
    for key in KEYS:
        value = getattr(settings, key.name)
        text += f"# {key.meaning}\n"
        if value:
            text += f"{key.name} = {toml_text(value)}\n\n"
        else:
            text += f"# {key.name} = {key.example}\n\n"
    text += "# Further overviews, each over some of the tasks, by title; the first is the start page.\n"
    if not settings.views:
        return text + f'# [views]\n# "Science" = {toml_text(settings.tasks[:1])}\n'
    text += "[views]\n"
    for title, tasks in settings.views.items():
        text += f"{toml_key(title)} = {toml_text(tasks)}\n"
    return text
