"""Candidate lists that somebody published as a config of a Hub dataset, as NanoBEIR's `bm25` and HAKARI-Bench's."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from exabench.core.errors import BadInput
from exabench.core.nouns import Passage, Query, Run
from exabench.hub.client import is_repo, pin_commit, rows
from exabench.measure.runs import run_in_order, top


class HubList:
    """The lists in the config `config` of the dataset `repo`: a row for each query, with its passages, best first.

    A row holds `query-id` and, in the column `column`, a list of passage ids. `repo` is the task's own dataset unless
    given, `split` the task's name in it, and `revision` a commit, a tag or a branch, today's head where none is given.
    The commit is recorded, so that the same lists can be read again. Beware of lists that were made with the
    judgements at hand: some publishers put a relevant passage into every list that had none.
    """

    whole = False

    def __init__(
        self,
        passages: Iterable[Passage] = (),
        fields: tuple[str, ...] = (),
        *,
        repo: str = "",
        config: str = "bm25",
        split: str = "train",
        column: str = "corpus-ids",
        revision: str = "",
    ) -> None:
        if not is_repo(repo):
            raise BadInput(
                f"hub_list needs the name of a dataset, not {repo!r}: --set repo=sentence-transformers/NanoBEIR-en"
            )
        self._column = column
        self.parameters: dict[str, Any] = {
            "repo": repo,
            "config": config,
            "split": split,
            "column": column,
            "revision": pin_commit(repo, revision, None),
        }

    def search(self, queries: Sequence[Query], depth: int) -> Run:
        """The lists of these queries, cut at `depth`. Raises BadInput for rows of another shape, OutsideFailed."""
        wanted = {query.id for query in queries}
        rankings: dict[str, list[str]] = {}
        place = self.parameters
        where = f"Hub dataset {place['repo']}@{place['revision']} config {place['config']}"
        for row in rows(place["repo"], place["config"], place["split"], place["revision"]):
            ids = row.get(self._column)
            if "query-id" not in row or not isinstance(ids, list):
                lists = [name for name, value in row.items() if isinstance(value, list)]
                hint = f"; lists are in {', '.join(lists)} (--set column=NAME)" if lists else ""
                raise BadInput(
                    f"{where} holds {', '.join(row)} where a list of candidates has query-id and {self._column}{hint}"
                )
            query_id = str(row["query-id"])
            if query_id not in wanted:
                continue
            if query_id in rankings:
                raise BadInput(f"{where} holds two lists for a query", id=query_id)
            ranking = list(map(str, ids))
            if len(set(ranking)) < len(ranking):
                raise BadInput(f"{where} lists a passage twice for a query", id=query_id)
            rankings[query_id] = ranking
        return top(run_in_order("hub-list", rankings), depth)
