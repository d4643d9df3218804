"""What is new, to subscribe to: an Atom feed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from exabench.board.pages._format import count, score
from exabench.board.pages._page import Page, submission_page
from exabench.board.ranking import Board, group_by, newest_day
from exabench.core.files import digest_of

NEWEST = 100  # entries
LISTED = 10  # results or changes in the words of an entry


@dataclass(frozen=True)
class News:
    """One entry: a submission's results, or what became of its numbers on a day. `key` is its id."""

    date: str
    key: str
    page: str
    title: str
    words: str
    kind: str


def pages(board: Board) -> Iterator[Page]:
    """The feed."""
    yield Page("feed.atom", partial(atom, board), "feed.atom")


def atom(board: Board) -> dict[str, Any]:
    """The feed (Atom, RFC 4287). Its ids lie below the board's address, or are tag URIs (RFC 4151) of its title."""
    home = f"{board.url.rstrip('/')}/" if board.url.startswith("https://") else ""
    entries = list_news(board)
    return {
        "home": home,
        "base": home or f"tag:exabench.github.io,2026:{digest_of(board.title)[7:23]}/",
        "updated": max([board.updated, *(entry.date for entry in entries)]),
        "entries": entries,
    }


def list_news(board: Board) -> list[News]:
    """The newest entries, newest first; those of one day in the order of the slugs.

    A number that came is told with its submission's results; one that changed or went is news of its own.
    """
    entries = []
    for slug, submission in board.submissions.items():
        if submission.withdrawn:
            continue
        sentences = []
        for one in board.by_submission[slug]:
            queries = one.result.measurement.queries
            about = f"first stage {score(one.first_stage)}, {queries} queries, {one.result.state}"
            sentences.append(f"{one.task} over {one.candidates}: {one.headline} {score(one.value)} ({about})")
        before = [submission.description] if submission.description else []
        date = newest_day(board.by_submission[slug]) or "1970-01-01"
        page = submission_page(slug)
        entries.append(News(date, page, page, submission.name, _words(before, sentences), "result"))

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
        entries.append(News(date, key, f"{page}#history", title, _words([], sentences), "change"))
    entries.sort(key=lambda entry: entry.key)
    return sorted(entries, key=lambda entry: entry.date, reverse=True)[:NEWEST]


def _words(before: Sequence[str], sentences: Sequence[str]) -> str:
    shown = [*before, *sentences[:LISTED]]
    if len(sentences) > LISTED:
        shown.append(f"and {count(len(sentences) - LISTED)} more")
    return ". ".join(shown) + "."
