"""Collections: where a task's queries, passages and judgements are read.

A collection is one file that holds one class of the file's name, built from `(task, data, lock)`; `is_available()` says
at no cost whether it could serve the task. To add a source, add its file and its name to ORDER.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Container, Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import msgspec

from exabench.core.errors import BadInput, ExabenchError, MissingExtra, OutsideFailed
from exabench.core.files import TemporaryRows
from exabench.core.nouns import Convention, Passage, Qrels, Query, Task
from exabench.core.shelf import Shelf
from exabench.hub.client import NotOnHub
from exabench.measure.qrels import count, qrels_of, read_qrels
from exabench.tasks.catalogue import own_tasks, single_task, tasks
from exabench.tasks.custom import splits_in
from exabench.tasks.locks import lock_judgements, locked_judgements, summarise

COLLECTIONS = Shelf("collection", "exabench.tasks.collections", __file__)

# What the user put into a folder comes first. ir_datasets comes before the Hub, because it checks its downloads against
# checksums. BRIGHT's reader comes before that of all repositories, which would take BRIGHT's without excluded ids.
ORDER = ("medquad", "noveleval", "ir_datasets", "bright", "hub")
"""The places in which a task is looked for, one after the other, if no folder in BEIR layout holds it."""


class Collection(Protocol):
    """A task's queries, passages and judgements from one place; `source` names that place on the page."""

    source: str

    @property
    def revision(self) -> str:
        """What pins the texts: a commit, a digest of files, or the version of the package that keeps them."""

    def is_available(self) -> bool:
        """Could this place serve the task?"""

    def queries(self) -> Iterator[Query]:
        """Every query of the collection, judged or not."""

    def passages(self) -> Iterator[Passage]:
        """Every passage, one at a time."""

    def qrels(self, split: str) -> Qrels:
        """The judgements of a split."""


@dataclass
class FromCollection:
    """A source of queries or pairs that reads one collection, and is named and pinned as the collection is."""

    collection: Collection

    @property
    def source(self) -> str:
        """The collection's own name for itself."""
        return self.collection.source

    @property
    def source_revision(self) -> str:
        """What pins the collection."""
        return self.collection.revision


def query_of(id: str, text: Any, source: str) -> Query:
    """A query as a collection holds it, without a carriage return at the end. Raises BadInput for one without text."""
    if not isinstance(text, str):
        raise BadInput(f"{source}: a query has no text", id=id)
    return Query(id, text.rstrip("\r"))


def passage_of(id: str, text: Any, title: Any, source: str) -> Passage:
    """A passage as a collection holds it, without carriage returns at the ends. Raises BadInput as `query_of` does."""
    if not isinstance(text, str):
        raise BadInput(f"{source}: a passage has no text", id=id)
    return Passage(id, text.rstrip("\r"), str(title or "").rstrip("\r"))


class TextLine(msgspec.Struct):
    """A line of a JSONL file of queries or passages in BEIR layout; what else it holds is not read."""

    text: str
    id: str = msgspec.field(name="_id")
    title: Any = None


def check_data(data: str | Path | None) -> None:
    """Raise BadInput where a folder of collections is given that is not there."""
    if data is not None and not Path(data).is_dir():
        raise BadInput("is not a folder; give the folder that contains DATA/<task>/ as --data", file=data)


def open_collection(
    task: Task, data: str | Path | None = None, lock: str | Path | None = None, *, needs: str = "texts"
) -> Collection:
    """The first place of ORDER that can serve the task; a local folder is taken without asking the network.

    `needs` is "judgements" where no text will be read: then a folder without a corpus serves, too. Raises BadInput
    where no place is known and for a folder that is not whole, OutsideFailed where every known place failed, with all
    reasons, and NotOnHub where only the Hub was asked and knows none of them.
    """
    check_data(data)
    local = COLLECTIONS["beir_folder"](task, data, lock)
    if local.is_available() or (needs == "judgements" and local.holds(task.split)):
        return local
    local.check_whole(needs)
    failures: list[ExabenchError] = []
    for name in ORDER:
        try:
            place: Collection = COLLECTIONS[name](task, data, lock)
            if not place.is_available():
                continue
            next(iter(place.queries()))  # a place that fails does so at its first query, and not later
            return place
        except (OutsideFailed, MissingExtra, NotOnHub) as error:
            failures.append(error)
    if failures:
        reasons = " | ".join(map(str, failures))
        kind: type[ExabenchError] = OutsideFailed
        if all(isinstance(error, NotOnHub) for error in failures):
            kind = NotOnHub
        if data is not None:
            raise kind(f"{data} has no {task.name}/, and no other source can be read: {reasons}")
        advice = "or give --data DIR"
        if Path(task.name, "qrels").is_dir():
            advice = f"or give --data . to read the folder {task.name} that is here"
        raise kind(f"task {task.name} cannot be read: {reasons}; {advice}")
    licence = f" It needs {task.needs_licence}." if task.needs_licence else ""
    raise BadInput(
        f"task {task.name} is not in a folder given by --data or EXABENCH_DATA, and no public source is known."
        f"{licence} Put it at DIR/{task.name}/ in BEIR layout"
    )


def source_note(task: Task, data: str | Path | None, collection: Collection) -> str:
    """A note on where a task was read, if `data` was given and does not hold it; else nothing."""
    # Collections that are read from a disk have a folder or a file (MedQuAD).
    if data is None or getattr(collection, "folder", None) is not None or hasattr(collection, "file"):
        return ""
    return f"{task.name} is not in {data}; it was read from {collection.source}"


@dataclass(frozen=True)
class Judgements:
    """Judgements and how runs are measured on them; `task` is None for a file or a mapping.

    `excluded` are passages that are left out of each query's ranking, by query; `note` says where a task was read that
    is not where it was looked for.
    """

    qrels: Qrels
    convention: Convention
    name: str
    source: str
    excluded: Mapping[str, Set[str]] = field(default_factory=dict)
    task: Task | None = None
    note: str = ""


def judgements_of(
    task: str | Task | None,
    qrels: str | Path | Qrels | None,
    data: str | Path | None,
    threshold: int | None,
    lock: str | Path | None,
    board: str | Path | None = None,
) -> Judgements:
    """The judgements of a task, or any qrels; `threshold` is the lowest relevant grade, by default the task's or 1.

    Those of a task are checked against the `lock` file, by default that of the `board`. Raises BadInput for a
    threshold below 1, and as `open_collection` does.
    """
    if threshold is not None and threshold < 1:
        raise BadInput(f"threshold {threshold} would count passages judged not relevant; it must be at least 1")
    if task is not None and qrels is None:
        if lock is None and board is not None:
            lock = Path(board) / "lock.json"
        found = single_task(task, data=data, board=board)
        convention = found.convention
        if threshold is not None:
            convention = replace(convention, relevance_threshold=threshold)
        place = open_collection(found, data, lock, needs="judgements")
        checked = read_checked_qrels(found, place, lock)
        excluded = excluded_of(found, place)
        note = source_note(found, data, place)
        return Judgements(checked, convention, found.name, place.source, excluded, found, note)
    if task is not None or qrels is None:
        raise BadInput("give either a task (--task) or judgements (--qrels)")
    convention = Convention(relevance_threshold=threshold or 1)
    name = "qrels"
    source = "qrels"
    if isinstance(qrels, str | Path):
        name = Path(qrels).name
        source = str(qrels)
    return Judgements(qrels_of(qrels), convention, name, source)


def excluded_of(task: Task, collection: Collection) -> Mapping[str, Set[str]]:
    """The passages that are left out of each query's ranking, where the task's convention says so (BRIGHT)."""
    if task.convention.excluded_ids == "keep":
        return {}
    if not hasattr(collection, "excluded"):
        raise BadInput(f"{collection.source} has no excluded ids for {task.name}; read it from another source")
    found: Mapping[str, Set[str]] = collection.excluded()
    return found


def read_checked_qrels(task: Task, collection: Collection, lock: str | Path | None = None) -> Qrels:
    """The judgements of the task's split, checked against the table's counts and digest.

    Where the table has no digest, they are checked against those in the lock file, if it has any (tasks/locks.py).
    Raises BadInput for any difference: other judgements would give other numbers, and no one would notice.
    """
    qrels = collection.qrels(task.split)
    found = summarise(qrels)
    queries = [task.queries]
    judgements = [task.judgements, *map(int, task.also_judgements)]
    digest = task.qrels_digest
    says = "the table says"
    advice = "published numbers were made with other judgements"
    if task.folder is not None:
        advice = 'give a collection with other judgements another name, as in name = "my-task" in its task.toml'
        if task.name not in tasks():
            says = "its description says"
            advice = "correct task.toml or the judgements"
    locked = None
    if not digest:  # a published digest says more than what somebody once read
        locked = locked_judgements(lock, task.name)
    if locked is not None:
        queries = [locked.queries or None]
        judgements = [locked.judgements]
        digest = locked.digest
        says = f"{lock} says"
        advice = f"`{judgements_command(task, lock)}` shows what differs and accepts corrected judgements"
    found_digest = found.digest
    if found.judgements != judgements[0]:  # another honest copy, by its count
        found_digest = summarise(_without_extra(qrels, judgements[0])).digest
    comparisons: list[tuple[str, int, list[int | None]]] = [
        ("queries", found.queries, queries),
        ("judgements", found.judgements, judgements),
    ]
    for what, value, expected in comparisons:
        known = [one for one in expected if one is not None]
        if known and value not in known:
            allowed = " or ".join(map(str, known))
            raise BadInput(
                f"task {task.name} from {collection.source} has {value} {what} where {says} {allowed}; {advice}"
            )
    if digest is not None and found_digest != digest:
        # 12 hex digits tell two digests apart, and a line can still be read.
        shown = [f"{one.removeprefix('sha256:')[:12]}..." for one in (found_digest, digest)]
        raise BadInput(
            f"task {task.name} from {collection.source} has other judgements than {says}: "
            f"their digest is sha256:{shown[0]}, not sha256:{shown[1]}; {advice}"
        )
    return qrels


def judgements_command(task: Task, lock: str | Path | None) -> str:
    """The command that shows how the judgements of a task differ from those in the `lock` file of a board."""
    command = f"exabench bench judgements {task.name}"
    if lock is not None and Path(lock).name == "lock.json":
        command += f" --board {shlex.quote(str(Path(lock).parent))}"
    return command


def _without_extra(qrels: Qrels, judgements: int | None) -> Qrels:
    """Another honest copy without what it has more: judgements of grade -1, or all those that are not relevant."""
    # First without grade -1, which marks what was pooled and not judged: that takes less away than every 0 does.
    for lowest in (0, 1):
        kept = {}
        for query_id, row in qrels.items():
            kept[query_id] = {passage_id: grade for passage_id, grade in row.items() if grade >= lowest}
        if count(kept) == judgements:
            return kept
    return qrels


def lock_collection(
    lock: str | Path, task: Task, collection: Collection, qrels: Qrels | None = None, passages: int = 0
) -> None:
    """Write to the lock file what the collection was read at, and the `qrels` of a task whose table has no digest.

    `passages` is their number, where somebody counted them.
    """
    if hasattr(collection, "write_lock"):  # of the Hub: no other place moves
        collection.write_lock(lock)
    if qrels is not None and not task.qrels_digest and locked_judgements(lock, task.name) is None:
        lock_judgements(lock, task.name, qrels, passages=passages)


def local_collections(data: str | Path | None) -> dict[str, Collection]:
    """The tasks that are in a folder here, by name: what can be read without asking the network.

    The custom tasks of `data` are among them. Raises BadInput for a task.toml that is wrong.
    """
    found = {}
    for task in [*tasks().values(), *own_tasks(data).values()]:
        if task.members:  # a mean is in the folders of its parts
            continue
        place = COLLECTIONS["beir_folder"](task, data)
        if place.is_available() and task.split in splits_in(place.folder):
            found[task.name] = place
    return found


def benchmarks(data: str | Path | None) -> Iterator[tuple[Task, list[Query], Iterator[Passage]]]:
    """The available benchmarks, with the judged queries and passages of their split: what training data must not know.

    A judged passage whose text is not there (a pool holds some of them) has an empty one.
    """
    known = {**tasks(), **own_tasks(data)}
    for name, place in local_collections(data).items():
        task = known[name]
        if task.benchmark:
            qrels = place.qrels(task.split)
            # A folder has the queries of every split, and those of its training split are there to be trained on.
            queries = [query for query in place.queries() if query.id in qrels]
            yield task, queries, _judged_passages(place, set().union(*qrels.values()))


def _judged_passages(place: Collection, wanted: set[str]) -> Iterator[Passage]:
    for passage in passages_of(place, frozenset(wanted)):
        wanted.remove(passage.id)
        yield passage
    # A row may still share the id of one whose text is not there.
    for id in sorted(wanted):
        yield Passage(id, "")


def all_judgements(task: Task, place: Collection) -> Qrels:
    """The grades of the task's split, checked against the table, and of every other split that is in its folder."""
    found = {query_id: dict(row) for query_id, row in read_checked_qrels(task, place).items()}
    folder = getattr(place, "folder", None)
    if folder is None:
        return found
    for split, file in splits_in(folder).items():
        if split == task.split:
            continue
        # Where two splits judge the same passage, the grade that was checked against the table counts.
        for query_id, row in read_qrels(file).items():
            found[query_id] = {**row, **found.get(query_id, {})}
    return found


# -- texts by id ----------------------------------------------------------------------------------------------------


class SelectedTexts(Mapping[str, Passage]):
    """Those of `passages` whose ids are `wanted`, by id, with the named fields; read once, never held in memory."""

    def __init__(
        self, passages: Iterable[Passage], wanted: Container[str], fields: Container[str] = ("title", "text")
    ) -> None:
        self._places: dict[str, int] = {}
        self._rows = TemporaryRows()

        def rows() -> Iterator[bytes]:
            for passage in passages:
                if passage.id in wanted:
                    text = passage.text if "text" in fields else ""
                    title = passage.title if "title" in fields else ""
                    self._places[passage.id] = len(self._rows)
                    yield json.dumps([text, title]).encode()

        self._rows.extend(rows())

    def __getitem__(self, passage_id: str) -> Passage:
        text, title = json.loads(self._rows[self._places[passage_id]])
        return Passage(passage_id, text, title)

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


def passages_of(collection: Collection, wanted: Set[str]) -> Iterator[Passage]:
    """Those passages of a collection whose ids are `wanted`: looked up where it can do that, else in one reading."""
    if hasattr(collection, "passages_of"):
        yield from collection.passages_of(wanted)
        return
    for passage in collection.passages():
        if passage.id in wanted:
            yield passage


def count_passages(collection: Collection) -> int:
    """The number of passages: as the collection's source says, else counted."""
    if hasattr(collection, "count_passages"):
        return int(collection.count_passages())
    return sum(1 for _ in collection.passages())


def texts_of(collection: Collection, ids: Iterable[str]) -> SelectedTexts:
    """The passages of these ids (`passages_of`). Raises BadInput for one that the collection does not hold."""
    wanted = set(ids)
    texts = SelectedTexts(passages_of(collection, wanted), wanted)
    if len(texts) < len(wanted):
        lost = min(wanted - texts.keys())
        raise BadInput(f"{collection.source} has no passage of this id; queries and first stages must read it", id=lost)
    return texts


def queries_of(collection: Collection, ids: Iterable[str]) -> dict[str, Query]:
    """The queries of these ids, by id. Raises BadInput for one that the collection does not hold."""
    wanted = set(ids)
    queries = {query.id: query for query in collection.queries() if query.id in wanted}
    if len(queries) < len(wanted):
        raise BadInput(f"{collection.source} has no query of this id", id=min(wanted - queries.keys()))
    return queries


def triples_of(collection: Collection) -> Iterator[tuple[str, str, str]]:
    """Training triples by id: query, relevant passage, other passage. Raises BadInput for a collection without any."""
    if not hasattr(collection, "triples"):
        raise BadInput(f"{collection.source} has no triples; use a task with triples in ir_datasets")
    return collection.triples()


class Passages:
    """A collection's passages, as often as they are wanted and never all at once."""

    def __init__(self, collection: Collection) -> None:
        self._collection = collection

    def __iter__(self) -> Iterator[Passage]:
        return self._collection.passages()
