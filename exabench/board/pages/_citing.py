"""How a submission, a result and a table of the board are cited, as BibTeX."""

from __future__ import annotations

import re

from exabench.board.pages._format import score, span
from exabench.board.pages._page import overview_page, result_page, submission_page
from exabench.board.ranking import Board, Contest, Ranking
from exabench.board.summaries import ResultSummary, newest_day

_SPECIAL = re.compile(r"([&%$#_{}])")


def cite_submission(board: Board, slug: str) -> str:
    """The entry that a submission gives itself, or one for its page on this board."""
    one = board.submissions[slug]
    if one.bibtex:
        return one.bibtex
    day = newest_day(board.by_submission[slug]) or one.date
    return _entry(board, slug, one.name, one.owner, day, submission_page(slug), "")


def cite_result(board: Board, summary: ResultSummary) -> str:
    """An entry for one number of the board: what it is, where it stands, and the digest of its run."""
    one = board.submissions[summary.submission]
    title = f"{one.name} on {summary.task} over {summary.candidates}"
    key = f"{summary.submission}-{summary.task}-{summary.candidates}"
    number = f"{summary.headline} {score(summary.value)} ({span(summary.result.interval)})"
    note = f"{number}, run {summary.result.run_digest}"
    return _entry(board, key, title, one.owner, summary.result.created, result_page(summary), note)


def cite_table(board: Board, ranking: Ranking, contest: Contest, day: str) -> str:
    """An entry for one table of the board, a mean over samples or tasks say, with the build that it belongs to."""
    title = f"{ranking.title} over {contest.title}"
    key = f"{ranking.slug}-{contest.candidates or 'best-pipeline'}"
    page = overview_page(board, ranking, contest)
    return _entry(board, key, title, board.title, day, page, f"build {board.build_digest}")


def _entry(board: Board, key: str, title: str, author: str, day: str, page: str, note: str) -> str:
    fields = {
        "title": f"{{{_plain(title)}}}",
        "author": f"{{{_plain(author)}}}",
        "year": day[:4],
        "howpublished": _plain(board.title),
        "url": f"{board.url.rstrip('/')}/{page}" if board.url.startswith("https://") else "",
        "note": _plain(note),
    }
    lines = [f"  {name} = {{{value}}}," for name, value in fields.items() if value]
    return "\n".join((f"@misc{{{re.sub(r'[^A-Za-z0-9.:-]+', '-', key)},", *lines, "}"))


def _plain(text: str) -> str:
    """A text that BibTeX sets as it is."""
    return _SPECIAL.sub(r"\\\1", text.replace("\\", "/").replace("\n", " "))
