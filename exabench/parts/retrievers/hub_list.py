"""Candidate lists published as a config of a Hub dataset, such as NanoBEIR's `bm25` and HAKARI-Bench's."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from exabench.core.errors import BadInput, UnknownName, printable
from exabench.core.nouns import Passage, Query, Run
from exabench.hub.client import configs, find_commit, is_repo, rows, splits
from exabench.measure.runs import rank_scores, run_of, top


class HubList:
    """The lists in the config `config` of the dataset `repo`: a row for each query, with its passages, best first.

    A row holds `query-id` and, in the column `column`, a list of passage ids; where it has `scores`, too, as many, they
    are the run's, so that a list of `exabench board publish-lists` is exactly the same again.

    `repo` is the task's own dataset unless given, `split` that of the task's name (or another of its `names`) unless
    given, or the only one, and `revision` a commit, a tag or a branch, today's head where none is given. The commit is
    recorded, so that the same lists can be read again. Beware of lists that were made with the judgements: some
    publishers put a relevant passage into every list that had none.
    """

    whole = False

    def __init__(
        self,
        passages: Iterable[Passage] = (),
        fields: tuple[str, ...] = (),
        *,
        repo: str = "",
        config: str = "bm25",
        split: str = "",
        column: str = "corpus-ids",
        revision: str = "",
        names: Sequence[str] = (),
    ) -> None:
        if not is_repo(repo):
            raise BadInput(
                f"hub_list needs the name of a dataset, not {printable(repo)!r}: "
                "--set repo=sentence-transformers/NanoBEIR-en"
            )
        commit = find_commit(repo, revision, None)
        known = configs(repo, commit)
        if config not in known:
            raise UnknownName(f"config of {repo}", config, known)
        there = splits(repo, config, commit)
        if not split:
            of_task = [name for name in names if name in there]
            split = (of_task or there)[0]
            if not of_task and len(there) > 1:
                raise BadInput(
                    f"config {config} of {repo} has several splits: choose one with --set split={'|'.join(there)}"
                )
        if split not in there:
            raise UnknownName(f"split of {repo}", split, there)
        self._column = column
        self.parameters: dict[str, Any] = {
            "repo": repo,
            "config": config,
            "split": split,
            "column": column,
            "revision": commit,
        }

    def search(self, queries: Sequence[Query], depth: int) -> Run:
        """The lists of these queries, cut at `depth`. Raises BadInput for rows of another shape, OutsideFailed."""
        wanted = {query.id for query in queries}
        rankings: dict[str, dict[str, float]] = {}
        place = self.parameters
        where = f"Hub dataset {place['repo']}@{place['revision']} config {place['config']}"
        for row in rows(place["repo"], place["config"], place["split"], place["revision"]):
            ids = row.get(self._column)
            if "query-id" not in row or not isinstance(ids, list):
                lists = [name for name, value in row.items() if isinstance(value, list)]
                hint = f"; lists are in {', '.join(lists)} (--set column=NAME)" if lists else ""
                raise BadInput(
                    f"{where} has {', '.join(row)} where a candidate list has query-id and {self._column}{hint}"
                )
            query_id = str(row["query-id"])
            if query_id not in wanted:
                continue
            if query_id in rankings:
                raise BadInput(f"{where} has two lists for a query", id=query_id)
            ranking = list(map(str, ids))  # ids of digits are numbers in some Parquet files
            if len(set(ranking)) < len(ranking):
                raise BadInput(f"{where} lists a passage twice for a query", id=query_id)
            scores = row.get("scores")
            if scores is None:
                rankings[query_id] = rank_scores(ranking)
                continue
            if not isinstance(scores, list) or len(scores) != len(ranking):
                raise BadInput(f"{where} does not have a score for each passage of a query", id=query_id)
            rankings[query_id] = dict(zip(ranking, scores, strict=True))
        return top(run_of("hub-list", rankings), depth)
