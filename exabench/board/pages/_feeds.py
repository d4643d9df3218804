"""What is new, to subscribe to: an Atom feed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from exabench.board.pages._format import count, score
from exabench.board.pages._page import Page
from exabench.board.pages._paths import submission_page
from exabench.board.pages._views import View
from exabench.core.files import digest_of
from exabench.core.nouns import BoardChange

if TYPE_CHECKING:
    from exabench.board.ranking import Score

NEWEST = 100  # entries
LISTED = 10  # results or changes in the words of an entry
NEVER = "1970-01-01"


@dataclass(frozen=True)
class News:
    """One entry: a submission's results, or what became of its numbers on a day. `key` is its id."""

    date: str
    key: str
    page: str
    title: str
    words: str
    kind: str


def pages(view: View) -> Iterator[Page]:
    """The feed."""
    yield Page("feed.atom", partial(atom, view), "feed.atom")


def news(view: View) -> list[News]:
    """The newest entries, newest first; those of one day in the order of the slugs.

    A number that came is told with its submission's results; one that changed or went is news of its own.
    """
    board = view.board
    entries = [_results(view, slug) for slug, one in board.submissions.items() if not one.withdrawn]
    later: dict[tuple[str, str], list[BoardChange]] = {}
    for change in board.changes:
        if change.before is not None and change.submission in board.submissions:
            later.setdefault((change.date, change.submission), []).append(change)
    for (date, slug), changes in later.items():
        page = submission_page(slug)
        number = "1 number" if len(changes) == 1 else f"{count(len(changes))} numbers"
        title = f"{board.submissions[slug].name}: {number} changed"
        words = _listed([_change_in_words(change) for change in changes])
        entries.append(News(date, f"{page}#changed-{date}", f"{page}#history", title, words, "change"))
    entries.sort(key=lambda entry: entry.key)
    return sorted(entries, key=lambda entry: entry.date, reverse=True)[:NEWEST]


def atom(view: View) -> dict[str, Any]:
    """The feed (Atom, RFC 4287). Its ids lie below the board's address, or are tag URIs (RFC 4151) of its title."""
    board = view.board
    home = f"{board.url.rstrip('/')}/" if board.url.startswith("https://") else ""
    entries = news(view)
    return {
        "home": home,
        "base": home or f"tag:exabench.github.io,2026:{digest_of(board.title)[7:23]}/",
        "updated": max([board.updated, *(entry.date for entry in entries)]),
        "entries": entries,
    }


def _results(view: View, slug: str) -> News:
    submission = view.board.submissions[slug]
    results = view.by_submission[slug]
    page = submission_page(slug)
    date = max((one.created for one in results), default="") or NEVER
    words = _listed([_in_words(one) for one in results], submission.description)
    return News(date, page, page, submission.name, words, "result")


def _listed(sentences: Sequence[str], before: str = "") -> str:
    shown = [before] if before else []
    shown += sentences[:LISTED]
    if len(sentences) > LISTED:
        shown.append(f"and {count(len(sentences) - LISTED)} more")
    return ". ".join(shown) + "."


def _in_words(one: Score) -> str:
    about = f"first stage {score(one.first_stage)}, {one.result.measurement.queries} queries, {one.state}"
    return f"{one.task} over {one.candidates}: {one.headline} {score(one.value)} ({about})"


def _change_in_words(one: BoardChange) -> str:
    after = "none" if one.after is None else score(one.after)
    return f"{one.task} over {one.candidates}: {one.metric} from {score(one.before)} to {after}, {one.reason}"
