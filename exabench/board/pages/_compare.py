"""Two systems against each other, and many: the pages that compare, and the data files that a browser does it with.

Per-query values are exact, because a rounded one moves a p-value.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

from exabench.board.pages._format import more_queries
from exabench.board.pages._page import Page, Values, queries_data, script
from exabench.board.pages.downloads import short
from exabench.board.ranking import Board, Row, group_by
from exabench.board.summaries import ResultSummary
from exabench.core.files import digest_of
from exabench.core.nouns import FIRST_STAGE

_DIGITS = 16  # of a digest: told apart, not proven


class NamedContest(NamedTuple):
    """A contest as the pages that compare offer it: of a view or a task, over one list or (best pipeline) over all.

    A view of one task is that task's own contest, which then is shown as the view's, `shown_as` its key.
    """

    key: str
    title: str
    tasks: Sequence[str]
    rows: Sequence[Row]
    shown_as: str = ""


def named_contests(board: Board) -> list[NamedContest]:
    """Every contest of the board: those of each view and its best pipelines, then those of each task."""
    found = []
    of_one_task = {}  # the keys of views of one task
    for ranking in board.rankings:
        over = [t.name for t in ranking.tasks]
        for contest in ranking.contests:
            key = f"view.{ranking.slug}.{contest.candidates}"
            found.append(NamedContest(key, f"{ranking.title} over {contest.candidates}", over, contest.rows))
            if len(over) == 1:
                of_one_task[over[0], contest.candidates] = key
        if ranking.rows and len(ranking.tables) > len(ranking.contests):
            title = f"{ranking.title}: best pipeline, over any list"
            found.append(NamedContest(f"view.{ranking.slug}", title, over, ranking.rows))
    for name, contests in board.contests.items():
        for contest in contests:
            key = f"task.{name}.{contest.candidates}"
            view = of_one_task.get((name, contest.candidates), "")
            found.append(NamedContest(key, f"{name} over {contest.candidates}", [name], contest.rows, view))
    return found


def pages(board: Board) -> Iterator[Page]:
    """Both pages, the lines of the board, its contests, and the queries of every list."""
    contests = named_contests(board)
    yield Page("compare.html", dict, "compare.html")
    yield Page("significance.html", partial(significance, contests), "significance.html")
    yield Page("data/lines.js", partial(lines_script, board, contests))
    for contest in contests:
        yield Page(f"data/groups/{contest.key}.js", partial(groups_script, contest))
    # The first result over a list stands for all of them.
    first: dict[str, ResultSummary] = {}
    for summary in board.shown_results:
        first.setdefault(queries_data(summary), summary)
    for path, summary in sorted(first.items()):
        queries = {"of": [summary.task, summary.candidates], "ids": summary.queries}
        texts = board.query_texts[summary.task]
        if texts:
            queries["words"] = [texts.get(query, "") for query in summary.queries]
        yield Page(path, partial(script, "queries", queries))


def significance(contests: Sequence[NamedContest]) -> Values:
    """The groups of each contest of a view as tables, for readers without scripts."""
    return {"contests": [contest for contest in contests if contest.key.startswith("view.")], "written": 20}


def lines_script(board: Board, contests: Sequence[NamedContest]) -> bytes:
    """Every line of the board: a submission over a candidate list, and the tasks that it was measured on.

    Lines name their tasks by a place in `sets`, for there are few different ones. `samples` are the submissions of
    each system that has several.
    """
    sets: dict[tuple[str, ...], int] = {}
    lines = []
    by_line = group_by(board.shown_results, lambda one: (one.submission, one.candidates))
    for (slug, candidates), summaries in by_line.items():
        tasks = tuple(summary.task for summary in summaries)
        place = sets.setdefault(tasks, len(sets))
        submission = board.submissions[slug]
        name = submission.name
        if slug == FIRST_STAGE:
            name = f"{name} (first stage)"
        elif submission.withdrawn:
            name = f"{name} (withdrawn)"
        lines.append([slug, name, candidates, place])
    samples: dict[str, list[str]] = {}
    for submission in sorted(board.submissions.values(), key=lambda one: one.sample or 0):
        if submission.sample:
            samples.setdefault(submission.system, []).append(submission.slug)
    told = [{"key": one.key, "title": one.title, "tasks": one.tasks, "as": one.shown_as} for one in contests]
    return script(
        "lines",
        {
            "tasks": [{"name": t.name, "members": t.members} for t in board.tasks],
            "singles": [t.name for t in board.single_tasks],
            "contests": told,
            "samples": [slugs for slugs in samples.values() if len(slugs) > 1],
            "sets": list(sets),
            "lines": lines,
        },
    )


def groups_script(contest: NamedContest) -> bytes:
    """The systems of a contest, best first, with what the tests among them say.

    For each: its slug (those of all samples of a system), candidates, name, score, rank group, the p under which a
    difference to a system below it is significant, and how many more queries would separate it from the next one.
    """
    rows = []
    for row in contest.rows:
        if row.group is not None:
            slugs = [sample.submission.slug for sample in row.samples] or [row.submission.slug]
            more = ""
            if row.more_queries is not None:
                more = more_queries(row.more_queries)
            rows.append((slugs, row.candidates, row.name, short(row.mean), row.group, short(row.limit), more))
    return script("groups", {"key": contest.key, "rows": rows})


def vector_script(summary: ResultSummary) -> bytes:
    """The headline values of a result, query by query, with what they must share with those they are compared to."""
    result = summary.result
    told: dict[str, Any] = {"of": [summary.submission, summary.task, summary.candidates], "metric": summary.headline}
    # The browser compares two results only where all of these are the same.
    shared = {
        "candidates": result.candidates.digest,
        "qrels": result.qrels_digest,
        "convention": result.measurement.convention.digest,
        "queries": digest_of(summary.queries),
    }
    for name, digest in shared.items():
        told[name] = digest.removeprefix("sha256:")[:_DIGITS]
    told["missing"] = summary.missing
    told["values"] = summary.values.tolist()
    return script("vector", told)
