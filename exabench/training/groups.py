"""Groups: what rows of every family become before a loss sees them, a query with passages and their labels.

The groups of a step become token ids in threads, while the step before is computed.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from exabench.core.errors import BadInput
from exabench.core.licences import check_inherited
from exabench.core.nouns import Passage, Query
from exabench.core.rows import Release, Row
from exabench.data.licences import licences_behind
from exabench.data.releases import MANIFEST, load
from exabench.models.templates import ModelInput
from exabench.training.order import Order
from exabench.training.recipe import Data, Plan

if TYPE_CHECKING:  # both load torch
    from exabench.models.learner import Learner
    from exabench.training.distributed import Ranks

FAMILIES_FOR = {
    "targets": ("explanations", "contrastive"),
    "binary": ("explanations", "contrastive"),
    "positive": ("contrastive", "explanations"),
    "order": ("listwise", "contrastive", "scored", "explanations"),
    "scores": ("scored",),
}
"""The families of rows that have what a loss `needs`; for an order, the explanations of one query are a list."""

WORDS = ("true", "false")
"""The target of a passage that has a label and no text to write: monoT5's two words."""

_CHECKED_COLUMNS = "id target positive positive_title negative_ids passage_ids scores".split()
"""All that shows whether a row can be learnt from; the columns of texts are long, and not read for it."""


@dataclass(frozen=True)
class Group:
    """A query with passages, a label for each (higher is better) and the texts to write, for a loss that needs them."""

    id: str
    query: Query
    passages: tuple[Passage, ...]
    labels: tuple[float, ...]
    targets: tuple[str, ...] = ()


@dataclass(frozen=True)
class EncodedGroup:
    """A group as token ids: the items of Learner.items, a label for each passage, and the ids of the texts to write."""

    id: str
    items: Sequence[ModelInput]
    labels: tuple[float, ...]
    targets: Sequence[np.ndarray]

    @property
    def lengths(self) -> list[int]:
        """Tokens of each item, read and written, without padding."""
        lengths = [len(item.ids) for item in self.items]
        for place, target in enumerate(self.targets):  # none where nothing is written
            lengths[place] += len(target)
        return lengths


@dataclass(frozen=True)
class _Table:
    """Rows of one split of a release's table, as a `datasets.Dataset`.

    Each is a group, or where there are `lists`, the rows of each list together are one.
    """

    release: Release
    data: Data
    rows: Any
    lists: Sequence[Sequence[int]] | None = None

    def __len__(self) -> int:
        if self.lists is None:
            return len(self.rows)
        return len(self.lists)

    @cached_property
    def positives(self) -> dict[str, set[str]]:
        """Of a contrastive table the ids of all positives of each query id."""
        found: dict[str, set[str]] = {}
        for query_id, positive in zip(self.rows["query_id"], self.rows["positive_id"], strict=True):
            found.setdefault(query_id, set()).add(positive)
        return found

    def read(self, number: int, epoch: int, chosen: Sequence[int] | None = None) -> Group:
        """Group `number` as it is learnt in an epoch, with the `chosen` ones of its negatives where these are given."""
        if self.lists is None:
            return _group(self.rows[number], self.data, epoch, chosen)
        return _judged_list([self.rows[place] for place in self.lists[number]])


@dataclass(frozen=True)
class Groups:
    """The rows of some tables as groups, one table after the other; a row is read from disk when it is asked for."""

    tables: Sequence[_Table]

    def __len__(self) -> int:
        return sum(map(len, self.tables))

    def __getitem__(self, number: int) -> Group:
        return self.read(number, 0)

    @property
    def query_texts(self) -> set[str]:
        """The texts of all queries."""
        texts: set[str] = set()
        for table in self.tables:
            texts.update(query.strip() for query in table.rows["query"])
        return texts

    def read(self, number: int, epoch: int, chosen: Sequence[int] | None = None) -> Group:
        """Group `number` as it is learnt in an epoch: where a table says so, each draws its own passages of a list.

        `chosen` are the places of the negatives of a contrastive row, where others have chosen them.
        """
        table, place = self._place_of(number)
        return table.read(place, epoch, chosen)

    def whole(self, number: int) -> Group:
        """Group `number` with all of its passages."""
        table, place = self._place_of(number)
        return replace(table, data=msgspec.structs.replace(table.data, passages=0)).read(place, 0)

    def data_of(self, number: int) -> Data:
        """What the recipe says of the table of group `number`."""
        return self._place_of(number)[0].data

    def positives_of(self, number: int) -> set[str]:
        """The ids of the positives that the table has for the query of contrastive group `number`."""
        table, place = self._place_of(number)
        return table.positives[table.rows[place]["query_id"]]

    def _place_of(self, number: int) -> tuple[_Table, int]:
        for table in self.tables:
            if 0 <= number < len(table):
                return table, number
            number -= len(table)
        raise IndexError("there is no group with this number")  # also for negative ones; it ends a loop over all groups


def groups_of(plan: Plan, needs: str, lock: Path | None = None) -> tuple[Groups, Groups, list[dict[str, Any]]]:
    """The groups to fit, those held out, and the tables of the first ones as training.json names them.

    Raises BadInput for a family that lacks what the loss `needs`, for a table without rows and for a row that the loss
    cannot be fitted to (one passage where the loss needs an order), UnknownName, OutsideFailed.
    """
    fitted = []
    held_out = []
    from_rows = plan.dev.every > 0 and not plan.dev.task  # else no row is evaluated on, and none is held out
    for data in plan.data:
        place = data.release
        inside = Path(place) / "release"  # where the work folder of a build holds its release
        if not (Path(place) / MANIFEST).is_file() and (inside / MANIFEST).is_file():
            place = str(inside)
        given: dict[str, Any] = {"version": data.version, "lock": None if Path(place).is_dir() else lock}
        rows = load(place, data.table, data.split, **given)
        release = rows.release
        table = release.tables[data.table]
        check_inherited(plan.licence, licences_behind(table), plan.recipe.file)
        if table.family not in FAMILIES_FOR[needs]:
            families = " or ".join(FAMILIES_FOR[needs])
            raise BadInput(
                f"table {data.table} has the family {table.family}, but loss {plan.loss['part']} needs {families}",
                file=plan.recipe.file,
            )
        if plan.negatives.every and (table.family != "contrastive" or data.passages < 2):
            wrong = f"table {data.table} is of the family {table.family}"
            if table.family == "contrastive":
                wrong = f"data.passages of table {data.table} is {data.passages}, so nothing is chosen"
            raise BadInput(
                f"negatives.every chooses among the negatives of contrastive rows, down to data.passages, and {wrong}",
                file=plan.recipe.file,
            )
        if plan.steps.in_batch and table.family == "scored":
            wrong = "other groups' passages have no teacher score; remove steps.in_batch"
            raise BadInput(f"table {data.table} has scores, but {wrong}", file=plan.recipe.file)
        rows = _matching(rows, data)
        count = len(rows)
        if not count:
            such = ""
            if data.only:
                such = f" with {', '.join(map(str, data.only.items()))}"
            raise BadInput(f"table {data.table} of {data.release} has no rows in split {data.split}{such}")
        if data.limit:
            rows = rows.select(range(min(data.limit, count)))
        fitted.append(_Table(release, data, rows))
        if from_rows and data.held_out in table.splits and data.held_out != data.split:
            rows = load(place, data.table, data.held_out, **given)
            held_out.append(_Table(release, data, _matching(rows, data)))

    # The first row that cannot be learnt from is named before anything is computed.
    for part in fitted + held_out:
        columns = [column for column in _CHECKED_COLUMNS if column in part.rows.column_names]
        for row in part.rows.select_columns(columns):
            problem = _problem(row, part.data, needs)
            if problem:
                raise BadInput(f"table {part.data.table}: {problem}; remove this row", id=row["id"])

    if from_rows and plan.dev.groups and not any(len(part.rows) for part in held_out):
        held_out = []
        for number, part in enumerate(fitted):
            fitted[number], last = _without_last(part, plan.dev.groups)
            held_out.append(last)
    if needs in ("positive", "order"):
        fitted = [_with_lists(part) for part in fitted]
        held_out = [_with_lists(part) for part in held_out]
        for part in fitted:
            if not len(part):
                wrong = "no query with a relevant passage and one that is not, so there is no order to learn"
                raise BadInput(f"table {part.data.table} of {part.data.release} has {wrong}")
    sources = [source_of(part.release, part.data, len(part.rows)) for part in fitted]
    return Groups(fitted), Groups(held_out), sources


def _with_lists(table: _Table) -> _Table:
    """A table of explanations with its rows by query, those of a query whose labels are all equal left out."""
    if "target" not in table.rows.column_names:
        return table
    places: dict[str, list[int]] = {}
    for place, query_id in enumerate(table.rows["query_id"]):
        places.setdefault(query_id, []).append(place)
    relevant = list(table.rows["relevant"])
    lists = []
    for some in places.values():
        if len({relevant[place] for place in some}) == 2:
            lists.append(some)
    return replace(table, lists=lists)


def _without_last(table: _Table, most: int) -> tuple[_Table, _Table]:
    """A table without its last rows (at most half, rounded up), and those; no query of theirs is in the first one."""
    count = len(table.rows)
    start = max(count // 2, count - most)
    queries = list(table.rows["query_id"])
    held_out = set(queries[start:])
    rest = [place for place in range(start) if queries[place] not in held_out]
    fitted = replace(table, rows=table.rows.select(rest))
    return fitted, replace(table, rows=table.rows.select(range(start, count)))


def source_of(release: Release, data: Data, rows: int) -> dict[str, Any]:
    """A table that a model was trained on, for training.json and the card, with the release's report of leaks.

    `repository` is empty where the release is a folder of this machine.
    """
    table = release.tables[data.table]
    repository = data.release
    if Path(repository).is_dir():
        repository = ""
    teacher = {key: value for key, value in table.teacher.items() if key != "server"}
    source = {
        "name": release.name,
        "version": release.version,
        "content": release.content,
        "table": data.table,
        "family": table.family,
        "rows": rows,
        "licence": table.licence,
        "repository": repository,
        "teacher": teacher,
        "leaks": table.report.get("leaks", {}),
    }
    if table.withdrawn:
        source["withdrawn"] = len(table.withdrawn)
    return source


def _matching(rows: Any, data: Data) -> Any:
    """The rows that `data.only` lets through."""
    for column, values in data.only.items():
        if column not in rows.column_names:
            names = ", ".join(rows.column_names)
            raise BadInput(f"table {data.table} has no column {column}; data.only may name {names}")
        matching = [number for number, value in enumerate(rows[column]) if value in values]
        rows = rows.select(matching)
    return rows


def _problem(row: Row, data: Data, needs: str) -> str:
    """Why a loss with these `needs` cannot learn from a row, of which `_CHECKED_COLUMNS` are there; empty if it can."""
    if "target" in row:  # explanations
        if needs == "targets" and data.explanations and not row["target"]:
            return "there is no text to write"
    elif "positive" in row:  # contrastive
        if not row["positive"].strip() and not row["positive_title"].strip():
            return "there is no positive passage"
        if needs in ("positive", "order") and (not row["negative_ids"] or data.passages == 1):
            return "there is no negative passage, so no order to learn"
    else:  # listwise, scored
        values = row["scores" if "scores" in row else "passage_ids"][: data.passages or None]
        if len(values) < 2:
            return "fewer than two passages have no order to learn"
        if "scores" in row and needs == "order" and len(set(values)) == 1:
            return "all of its scores are equal, so there is no order to learn"
    return ""


def _group(row: Row, data: Data, epoch: int, chosen: Sequence[int] | None = None) -> Group:
    query = Query(row["query_id"], row["query"])
    if "target" in row:  # explanations
        passage = Passage(row["passage_id"], row["passage"], row["title"])
        target = row["target"]
        if not data.explanations:
            target = WORDS[0] if row["relevant"] else WORDS[1]
        return Group(row["id"], query, (passage,), (float(row["relevant"]),), (target,))

    if "positive" in row:  # contrastive
        negatives = list(zip(row["negative_ids"], row["negatives"], row["negative_titles"], strict=True))
        passages = [Passage(row["positive_id"], row["positive"], row["positive_title"])]
        labels = [1.0]
        targets = [WORDS[0]]
        if chosen is None:
            chosen = _places(row, len(negatives), data.passages - 1, data, epoch)  # the positive is one of `passages`
        for place in chosen:
            passages.append(Passage(*negatives[place]))
            labels.append(0.0)
            targets.append(WORDS[1])
        return Group(row["id"], query, tuple(passages), tuple(labels), tuple(targets))

    # Listwise and scored: the teacher's scores; of an order without scores, n passages have the labels n, n - 1, ... 1.
    listed = list(zip(row["passage_ids"], row["passages"], row["titles"], strict=True))
    places = _places(row, len(listed), data.passages, data, epoch)
    passages = []
    labels = []
    for before, place in enumerate(places):
        passages.append(Passage(*listed[place]))
        label = len(places) - before
        if "scores" in row:
            label = row["scores"][place]
        labels.append(float(label))
    return Group(row["id"], query, tuple(passages), tuple(labels))


def _judged_list(rows: Sequence[Row]) -> Group:
    """The labelled passages of one query as a group."""
    first = rows[0]
    passages = []
    labels = []
    for row in rows:
        passages.append(Passage(row["passage_id"], row["passage"], row["title"]))
        labels.append(float(row["relevant"]))
    return Group(first["id"], Query(first["query_id"], first["query"]), tuple(passages), tuple(labels))


def _places(row: Row, count: int, most: int, data: Data, epoch: int) -> Sequence[int]:
    """Which of a list's `count` places are learnt: the first `most`, or as many of them all, drawn by row and epoch."""
    if not data.passages or count <= most:
        return range(count)
    if not data.draw:
        return range(most)

    def key(place: int) -> bytes:
        return hashlib.blake2b(f"{row['id']} {epoch} {place}".encode(), digest_size=8).digest()

    drawn = sorted(range(count), key=key)[:most]
    return sorted(drawn)  # passages stay in the order of their list, which is the teacher's


@dataclass(frozen=True)
class GroupLoader:
    """The groups of each step as token ids, in the order of an Order.

    `loaders` threads encode steps ahead (0: none ahead), which moves nothing but time.
    `written`: the texts to write are encoded, too. `chosen` are the places of the negatives that were mined, by group.
    """

    learner: Learner
    groups: Groups
    order: Order
    written: bool
    loaders: int
    chosen: Mapping[int, Sequence[int]] = field(default_factory=dict)

    def encode(self, group: Group) -> EncodedGroup:
        """One group as token ids."""
        items = self.learner.items(group.query, group.passages)
        targets = self.learner.target_ids(group.targets) if self.written else ()
        return EncodedGroup(group.id, items, group.labels, targets)

    def ids(self, step: int) -> list[str]:
        """The ids of all groups of a step, whichever rank has them."""
        return [self.groups[number].id for number in self.order.groups(step)]

    def steps(self, begin: int, end: int, ranks: Ranks) -> Iterator[list[EncodedGroup]]:
        """This rank's groups of each step from `begin` up to `end` (from 0, without `end`)."""

        def encode_step(step: int) -> list[EncodedGroup]:
            epoch = step // self.order.steps_per_epoch
            numbers = self.order.rank_share(step, ranks.rank, ranks.count)
            groups = []
            for number in numbers:
                groups.append(self.encode(self.groups.read(number, epoch, self.chosen.get(number))))
            return groups

        pool = ThreadPoolExecutor(max(1, self.loaders), thread_name_prefix="loader")
        coming = deque[Future[list[EncodedGroup]]]()
        try:
            for step in range(begin, end):
                coming.append(pool.submit(encode_step, step))
                if len(coming) > 2 * self.loaders:  # two steps ahead for each thread; with none, this step alone
                    yield coming.popleft().result()
            while coming:
                yield coming.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)
