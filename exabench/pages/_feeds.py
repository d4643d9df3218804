"""What is new, to subscribe to: an Atom feed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape, quoteattr

from exabench.files import digest_of
from exabench.nouns import Change
from exabench.pages._format import clean, count, score
from exabench.pages._page import Page
from exabench.pages._paths import submission_page
from exabench.pages._views import View

if TYPE_CHECKING:
    from exabench.board import Score

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
    yield Page("feed.atom", partial(atom, view))


def news(view: View) -> list[News]:
    """The newest entries, newest first; those of one day in the order of the slugs.

    A number that came is told with its submission's results; one that changed or went is news of its own.
    """
    board = view.board
    entries = [_results(view, slug) for slug, one in board.submissions.items() if not one.withdrawn]
    later: dict[tuple[str, str], list[Change]] = {}
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


def atom(view: View) -> bytes:
    """The news as an Atom feed (RFC 4287)."""
    board = view.board
    entries = news(view)
    updated = max([board.updated, *(entry.date for entry in entries)])
    lines = [
        '<?xml version="1.0" encoding="utf-8"?>',
        '<feed xmlns="http://www.w3.org/2005/Atom" xml:lang="en">',
        f"  <title>{_xml(board.title)}</title>",
        f"  <id>{_xml(_id(view, ''))}</id>",
        f"  <updated>{_time(updated)}</updated>",
        f"  <author><name>{_xml(board.title) or 'exabench'}</name></author>",
        f'  <link rel="alternate" type="text/html" href={_address(view, "index.html")}/>',
        f'  <link rel="self" type="application/atom+xml" href={_address(view, "feed.atom")}/>',
    ]
    for entry in entries:
        lines += [
            "  <entry>",
            f"    <title>{_xml(entry.title)}</title>",
            f"    <id>{_xml(_id(view, entry.key))}</id>",
            f"    <updated>{_time(entry.date)}</updated>",
            f'    <category term="{entry.kind}"/>',
            f'    <link rel="alternate" type="text/html" href={_address(view, entry.page)}/>',
            f'    <summary type="text">{_xml(entry.words)}</summary>',
            "  </entry>",
        ]
    return ("\n".join([*lines, "</feed>"]) + "\n").encode()


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


def _change_in_words(one: Change) -> str:
    after = "none" if one.after is None else score(one.after)
    return f"{one.task} over {one.candidates}: {one.metric} from {score(one.before)} to {after}, {one.reason}"


def _id(view: View, page: str) -> str:
    """An address below the board's own, or a tag URI (RFC 4151) made of its title."""
    if view.board.url.startswith("https://"):
        return f"{view.board.url.rstrip('/')}/{page}"
    return f"tag:exabench.github.io,2026:{digest_of(view.board.title)[7:23]}/{page}"


def _address(view: View, page: str) -> str:
    """A quoted link: a whole address where the board knows its own."""
    home = view.board.url.rstrip("/")
    return quoteattr(clean(f"{home}/{page}" if home.startswith("https://") else page))


def _time(date: str) -> str:
    return clean(f"{date}T00:00:00Z")


def _xml(text: str) -> str:
    return escape(clean(text))
