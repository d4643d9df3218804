"""What is new, to subscribe to: an Atom feed and a JSON Feed with the same entries."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from operator import itemgetter
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape, quoteattr

from exabench.files import digest_of, json_text
from exabench.nouns import Change
from exabench.pages._format import clean, count, score
from exabench.pages._page import Group, Page
from exabench.pages._paths import submission_page
from exabench.pages._views import View

if TYPE_CHECKING:
    from exabench.board import Score

NEWEST = 100  # entries
TOLD = 10  # results or changes in the words of an entry
NEVER = "1970-01-01"


@dataclass(frozen=True)
class Entry:
    """One piece of news: a submission's results, or what became of its numbers on a day. `key` is its id."""

    date: str
    key: str
    page: str
    title: str
    words: str
    kind: str


def pages(view: View) -> Iterator[Group]:
    """The two feeds."""
    yield Group("feeds", (view.everything,), partial(_pages, view))


def _pages(view: View) -> Iterator[Page]:
    news = cache(partial(entries, view))
    yield Page("feed.atom", lambda: atom(view, news()))
    yield Page("feed.json", lambda: json_feed(view, news()))


def entries(view: View) -> list[Entry]:
    """The newest pieces of news, newest first; those of one day in the order of the slugs.

    A number that came is told with its submission's results; one that changed or went is news of its own.
    """
    board = view.board
    there = [(slug, _day(view, slug)) for slug, one in board.submissions.items() if not one.withdrawn]
    found = [_results(view, slug, day) for slug, day in sorted(there, key=itemgetter(1), reverse=True)[:NEWEST]]
    later: dict[tuple[str, str], list[Change]] = {}
    for change in board.changes:
        if change.before is not None and change.submission in board.submissions:
            later.setdefault((change.date, change.submission), []).append(change)
    found += [_changed(view, date, slug, changes) for (date, slug), changes in later.items()]
    found.sort(key=lambda entry: entry.key)
    return sorted(found, key=lambda entry: entry.date, reverse=True)[:NEWEST]


def atom(view: View, news: Sequence[Entry]) -> bytes:
    """The news as an Atom feed (RFC 4287)."""
    board, home = view.board, view.board.url.rstrip("/")
    updated = max([board.updated, *(entry.date for entry in news)])
    lines = [
        '<?xml version="1.0" encoding="utf-8"?>',
        '<feed xmlns="http://www.w3.org/2005/Atom" xml:lang="en">',
        f"  <title>{_xml(board.title)}</title>",
        f"  <id>{_xml(_id(view, ''))}</id>",
        f"  <updated>{_time(updated)}</updated>",
        f"  <author><name>{_xml(board.title) or 'exabench'}</name></author>",
        f'  <link rel="alternate" type="text/html" href={quoteattr(_address(home, "index.html"))}/>',
        f'  <link rel="self" type="application/atom+xml" href={quoteattr(_address(home, "feed.atom"))}/>',
    ]
    for entry in news:
        lines += [
            "  <entry>",
            f"    <title>{_xml(entry.title)}</title>",
            f"    <id>{_xml(_id(view, entry.key))}</id>",
            f"    <updated>{_time(entry.date)}</updated>",
            f'    <category term="{entry.kind}"/>',
            f'    <link rel="alternate" type="text/html" href={quoteattr(_address(home, entry.page))}/>',
            f'    <summary type="text">{_xml(entry.words)}</summary>',
            "  </entry>",
        ]
    return ("\n".join([*lines, "</feed>"]) + "\n").encode()


def json_feed(view: View, news: Sequence[Entry]) -> bytes:
    """The news as a JSON Feed (version 1.1); addresses are there where the board knows its own."""
    home = view.board.url.rstrip("/")
    known = home.startswith("https://")
    items = [
        {
            "id": clean(_id(view, entry.key)),
            **({"url": clean(_address(home, entry.page))} if known else {}),
            "title": clean(entry.title),
            "content_text": clean(entry.words),
            "date_published": _time(entry.date),
            "tags": [entry.kind],
        }
        for entry in news
    ]
    addresses = {"home_page_url": clean(f"{home}/index.html"), "feed_url": clean(f"{home}/feed.json")} if known else {}
    head = {"version": "https://jsonfeed.org/version/1.1", "title": clean(view.board.title), "language": "en"}
    return json_text({**head, **addresses, "items": items}).encode("utf-8", "replace")


def _day(view: View, slug: str) -> str:
    """When the newest result of a submission was made."""
    return max((one.created for one in view.by_submission[slug]), default="") or NEVER


def _results(view: View, slug: str, day: str) -> Entry:
    submission, results = view.board.submissions[slug], view.by_submission[slug]
    page = submission_page(slug)
    words = _joined([submission.description] if submission.description else [], [_in_words(one) for one in results])
    return Entry(day, page, page, submission.name, words, "result")


def _changed(view: View, date: str, slug: str, changes: Sequence[Change]) -> Entry:
    page, name = submission_page(slug), view.board.submissions[slug].name
    title = f"{name}: {count(len(changes))} number{'' if len(changes) == 1 else 's'} changed"
    words = _joined([], list(map(_change_in_words, changes)))
    return Entry(date, f"{page}#changed-{date}", f"{page}#history", title, words, "change")


def _joined(before: list[str], told: list[str]) -> str:
    more = [f"and {count(len(told) - TOLD)} more"] if len(told) > TOLD else []
    return ". ".join([*before, *told[:TOLD], *more]) + "."


def _in_words(one: Score) -> str:
    before = f"first stage {score(one.first_stage)}, {one.queries} queries, {one.state}"
    return f"{one.task} over {one.candidates}: {one.headline} {score(one.value)} ({before})"


def _change_in_words(one: Change) -> str:
    after = "none" if one.after is None else score(one.after)
    return f"{one.task} over {one.candidates}: {one.metric} from {score(one.before)} to {after}, {one.reason}"


def _id(view: View, page: str) -> str:
    """An address below the board's own, or a tag URI (RFC 4151) made of its title."""
    if view.board.url.startswith("https://"):
        return f"{view.board.url.rstrip('/')}/{page}"
    return f"tag:exabench.github.io,2026:{digest_of(view.board.title)[7:23]}/{page}"


def _address(home: str, page: str) -> str:
    return clean(f"{home}/{page}" if home.startswith("https://") else page)


def _time(date: str) -> str:
    return clean(f"{date}T00:00:00Z")


def _xml(text: str) -> str:
    return escape(clean(text))
