"""Building: from a recipe over its plan, a teacher's replies and rows to a Release. Stopped anywhere, it continues."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Literal

from msgspec import Meta

from exabench.core.errors import BadInput, PromptsRefused
from exabench.core.files import digest_of, file_below, file_digest, only_writer, read_text, replacing, write
from exabench.core.licences import check_inherited
from exabench.core.nouns import Progress, Prompt, Query, Reply, Run, Task, silent
from exabench.core.options import accepts, make
from exabench.core.parallel import run_items
from exabench.core.recipe import Recipe, read_recipe
from exabench.core.records import Record, read
from exabench.core.rows import FAMILIES, DataFile, Item, Rejected, Release, Row, Table, check_row
from exabench.core.shelf import Shelf
from exabench.data.build_folder import WorkFolder
from exabench.data.builders import BUILDERS, Builder
from exabench.data.card import release_card
from exabench.data.licences import inherited_licences
from exabench.data.pairs import PAIRS
from exabench.data.quality import Duplicates, Leaks, Report, check_texts
from exabench.data.queries import QUERIES
from exabench.data.rejections import MOST_REJECTED, FirstAnswers, check_counts
from exabench.data.releases import FIRST_VERSION, save, write_table
from exabench.data.sampling import Sample, interleave
from exabench.hub.cards import changelog
from exabench.models.costs import tokens_to_read
from exabench.parts.assembly import SLOTS, check_part, name_and_options, reranker, retriever, teacher
from exabench.parts.replies import CachedTeacher, Replies, WithoutEngine, without_server
from exabench.parts.retrievers import Retriever
from exabench.parts.teachers import Teacher
from exabench.tasks.catalogue import from_recipe, single_task
from exabench.tasks.collections import Collection, Passages, benchmarks, lock_collection, open_collection

KEYS = {
    "builder": str,
    "dataset": str,
    "table": str,
    "title": str,
    "licence": str,
    "note": str,
    "seed": int,
    "shard": int,
    "validation": int,
    "teacher": dict,
    "options": dict,
    "quality": dict,
}

SHARD = 500
"""Items that are planned, written and lost together, where a recipe does not say."""

_SOURCES = {"pairs": PAIRS, "queries": QUERIES}

_TRAIN = 0
_VALIDATION = 1
_LEFT_OUT = 2


@dataclass(frozen=True)
class Sources:
    """Where a build finds what it needs: test collections, the reply store (None: the user's), and how much to spend.

    `budget` is a hard stop in teacher tokens, prompts and answers together (0: none); each process counts its own.
    `go_on` builds on though the first answers were all rejected.
    """

    data: Path | None = None
    replies: Path | None = None
    budget: int = 0
    go_on: bool = False


USUAL_SOURCES = Sources()


class Quality(Record, frozen=True):
    """The table `quality` of a recipe.

    `near`: from which Jaccard similarity on two rows are one (0: only exact doubles); `leaks`: rows that leak a
    benchmark are counted, or left out, too. A build is given up when the first `give_up_after` answers are all rejected
    (0: never), and makes no release where more than the share `most_rejected` of its items is.
    """

    near: Annotated[float, Meta(ge=0, le=1)] = 0.9
    leaks: Literal["report", "drop"] = "report"
    give_up_after: Annotated[int, Meta(ge=0)] = 50
    most_rejected: Annotated[float, Meta(ge=0, le=1)] = MOST_REJECTED


def data_recipe(name: str | Path, overrides: Iterable[str] = ()) -> Recipe:
    """The recipe of a table, by name or path. Raises UnknownName, BadInput."""
    return read_recipe("data", name, KEYS, overrides)


def build(
    recipe: Recipe | str | Path,
    to: str | Path,
    *,
    sources: Sources = USUAL_SOURCES,
    limit: int = 0,
    workers: int = 1,
    engine: str = "local",
    progress: Progress = silent,
) -> Release:
    """Build the table that `recipe` describes in the work folder `to`; `to`/release is the result.

    `limit` builds only the first `limit` items; `workers` share the shards: processes here, or with the `engine` "ray"
    actors on the cluster that RAY_ADDRESS names. Run again after any stop it continues, and what a teacher answered is
    never asked again. The bytes depend only on recipe and replies. Raises BadInput where the folder holds another
    build, CannotWrite where somebody else builds there, CheckFailed where too many answers are rejected (Quality) or
    no row is made, and what the teacher raises.
    """
    page = recipe if isinstance(recipe, Recipe) else data_recipe(recipe)
    _check_recipe(page)
    with only_writer(to):
        making = Making(page, to, sources)
        shards = making.plan(limit, progress)
        todo = [number for number in range(shards) if making.work.shard_file(number) is None]
        # Each process gets one part, and so one stream of prompts; actors take shard after shard.
        count = len(todo) if engine == "ray" else min(workers, len(todo))
        if engine == "ray" or count > 1:
            parts = [_Shards(todo[first::count]) for first in range(count)]
            begin = partial(_worker, page, to, sources)
            nodes = set()
            for _, outcome in run_items(parts, begin, engine=engine, workers=workers):
                outcome.get()
                nodes.add(outcome.node)
            if engine == "ray":
                progress(shards, shards, f"shards, made on {len(nodes)} nodes")
        else:
            before = shards - len(todo)
            making.finish(todo, lambda done: progress(before + done, shards, "shards"))
        return _write_release(making, progress)


def plan_build(
    recipe: Recipe, to: str | Path, *, sources: Sources = USUAL_SOURCES, limit: int = 0, progress: Progress = silent
) -> dict[str, int]:
    """The items and prompts of a build that is not begun, and how many of the prompts were answered before.

    Of the others also about how many tokens a teacher would read (costs.tokens_to_read), and how many it may write: all
    that their answers are allowed, so at most. The plan itself is written, so that the build continues from it. (A
    builder whose queries a teacher writes asks for these: its later prompts cannot be known before.)
    """
    _check_recipe(recipe)
    with only_writer(to):
        making = Making(recipe, to, sources)
        counts = {"items": 0, "prompts": 0, "answered before": 0, "tokens to read": 0, "tokens to write": 0}
        for number in range(making.plan(limit, progress)):
            items = making.work.items(number)
            prompts = [prompt for item in items for prompt in item.prompts]
            counts["items"] += len(items)
            counts["prompts"] += len(prompts)
            unanswered = prompts
            if making.teacher is not None:
                # By key, as equal prompts under several ids are one call.
                calls = {making.teacher.key(prompt): prompt for prompt in prompts}
                known = making.store.look_up(calls)
                counts["answered before"] += len(known)
                unanswered = [prompt for key, prompt in calls.items() if key not in known]
            counts["tokens to read"] += tokens_to_read(unanswered)
            counts["tokens to write"] += sum(prompt.max_tokens for prompt in unanswered)
        return counts


class _Shards(tuple[int, ...]):
    """The numbers of the shards that one worker makes as one stream; no row goes to a worker."""

    def __str__(self) -> str:
        return f"shards {', '.join(map(str, self))}"


def _worker(page: Recipe, to: str | Path, sources: Sources) -> Callable[[_Shards], None]:
    """The function of a worker, which has its own teacher. The reply store is one for all."""
    return Making(page, to, sources).finish


# -- parts of a recipe ---------------------------------------------------------------------------------------------


@dataclass
class RecipeParts:
    """A builder's parts, made from tables: collections, pairs, query sources, first stages, teachers, rerankers.

    A table names its part as `part` next to its options; `task` stands for the collection that a part reads. What a
    table does not say of task and teacher is said by the table around it. First stages are made when they are first
    asked for. `file` is the recipe's, where the path of a task begins, if not here. `sources` collects the revision of
    everything that was read, `licences` those of the collections. `give_up_after` is that of Quality.
    """

    data: str | Path | None
    lock: str | Path | None
    cached_teacher: Callable[[Mapping[str, Any]], Teacher | None]
    file: Path = Path()
    sources: dict[str, str] = field(default_factory=dict)
    licences: dict[str, str] = field(default_factory=dict)
    give_up_after: int = 0

    def builder(self, name: str, options: Mapping[str, Any], teacher: Teacher | None = None) -> Builder:
        """The builder called `name`. Raises UnknownName, BadInput for options that it or a part does not take."""
        check_part(BUILDERS, name, options, {**SLOTS, **_SOURCES})
        return self._make(BUILDERS, name, options, "", teacher)

    def _make(self, shelf: Shelf, name: str, options: Mapping[str, Any], task: str, teacher: Teacher | None) -> Any:
        """A part with its options, in which every table of a part has become that part."""
        what = f"{shelf.kind} {name}"
        part = shelf[name]
        options = dict(options)
        task = options.pop("task", task)  # said for the collections of this part and of those inside it
        if "teacher" in options:
            engine, own = name_and_options(options.pop("teacher"), "teacher")
            teacher = self.cached_teacher({"part": engine, **own})
        for slot in _SOURCES:
            if slot in options:
                options[slot] = self._source(slot, options[slot], task, teacher)
        if "retrievers" in options:
            tables = options["retrievers"]
            if not isinstance(tables, Mapping) or "part" in tables:
                raise BadInput('retrievers must be a table of first stages, as in { bm25 = "bm25" }')
            stages = {}
            for stage, table in tables.items():
                make_once = cache(partial(self._retriever, table, task))
                stages[stage] = _LazyRetriever(make_once)
            options["retrievers"] = stages
        if "reranker" in options:
            stage, own = name_and_options(options["reranker"], "reranker")
            options["reranker"] = reranker(stage, lock=self.lock, cached_teacher=self.teacher_of, **own)
        given: dict[str, Any] = {
            "data": self.data,
            "lock": self.lock,
            "teacher": teacher,
            "give_up_after": self.give_up_after,
        }
        if "collection" in accepts(part):
            given["collection"] = self._collection(task, what)
        return make(what, part, given, options)

    def teacher_of(self, table: Mapping[str, Any]) -> Teacher | None:
        """The teacher of a reranker that asks; its engine is made when there is something to ask."""
        made = self.cached_teacher(table)
        return WithoutEngine(made) if isinstance(made, CachedTeacher) else made

    def _source(self, slot: str, table: Any, task: str, teacher: Teacher | None) -> Any:
        """A source of pairs or queries, or several by names of the recipe's choice."""
        if isinstance(table, Mapping) and "part" not in table:
            return {name: self._source(slot, one, task, teacher) for name, one in table.items()}
        name, own = name_and_options(table, slot)
        made = self._make(_SOURCES[slot], name, own, task, teacher)
        self.sources[made.source] = made.source_revision
        return made

    def _retriever(self, table: Any, task: str) -> Retriever:
        name, own = name_and_options(table, "retrievers")
        if "file" in own:  # a published run may be below --data, where the collections are
            own["file"] = str(file_below(self.data, own["file"]))
        passages = Passages(self._collection(task, f"retriever {name}"))
        found = self._task(task)
        return retriever(name, passages, fields=found.convention.text_fields, lock=self.lock, task=found, **own)

    def _collection(self, task: str, what: str) -> Collection:
        if not task or not isinstance(task, str):
            raise BadInput(f'{what} reads a collection: name it in the recipe\'s options, as in task = "mini"')
        about = self._task(task)
        if about.licence:
            self.licences[about.title] = about.licence
        found = open_collection(about, self.data, self.lock)
        self.sources[found.source] = found.revision
        if self.lock is not None:
            lock_collection(self.lock, self._task(task), found)
        return found

    def _task(self, name: str) -> Task:
        return single_task(from_recipe(name, self.file), data=self.data)


@dataclass
class _LazyRetriever:
    """A first stage that is made when it is first asked: a build that resumes may need no index."""

    make: Callable[[], Retriever]

    def search(self, queries: Sequence[Query], depth: int) -> Run:
        """The run of the first stage."""
        return self.make().search(queries, depth)


# -- rows of shards ----------------------------------------------------------------------------------------------


@dataclass(eq=False)
class _Shard:
    """A shard in the making: its items, how many replies are awaited, and what came: replies, or reasons to refuse."""

    number: int
    items: list[Item]
    awaited: int
    replies: dict[str, Reply] = field(default_factory=dict)
    refused: Mapping[str, str] = field(default_factory=dict)


@dataclass
class _Stream:
    """Shards whose prompts are one stream to the teacher, so that it never runs dry between them.

    A shard is written as soon as its last reply is there; `progress` is told how many are.
    """

    making: Making
    numbers: Sequence[int]
    progress: Callable[[int], None]
    first_answers: FirstAnswers
    written: int = 0
    unanswered: dict[str, tuple[_Shard, Item]] = field(default_factory=dict)  # by the id of the prompt

    def prompts(self) -> Iterator[Prompt]:
        """The prompts of every shard; a shard is read when its first prompt is wanted."""
        for number in self.numbers:
            items = self.making.work.items(number)
            asked = [prompt for item in items for prompt in item.prompts]
            shard = _Shard(number, items, len(asked))
            for item in items:
                for prompt in item.prompts:
                    self.unanswered[prompt.id] = (shard, item)
            if not asked:  # no reply will come that would complete it
                self.write(shard)
            yield from asked

    def take(self, reply: Reply) -> None:
        """Give a reply to the shard that waits for it. Raises CheckFailed where the first answers are all rejected."""
        shard, item = self.unanswered.pop(reply.id)
        shard.replies[reply.id] = reply
        shard.awaited -= 1
        if not self.first_answers.over and all(prompt.id in shard.replies for prompt in item.prompts):
            line = next(self.making.lines([item], shard.replies, {}))
            self.first_answers.add(reason_of(line))
        if not shard.awaited:
            self.write(shard)

    def write(self, shard: _Shard) -> None:
        """Write a shard to which no more replies will come."""
        lines = self.making.lines(shard.items, shard.replies, shard.refused)
        self.making.work.write_shard(shard.number, lines)
        self.written += 1
        self.progress(self.written)


def _check_recipe(page: Recipe) -> None:
    """Refuse what can be told from a recipe alone, before a file is written, or a teacher is asked and paid."""
    values = page.values
    for name in ("builder", "dataset", "table", "licence"):
        if not values.get(name):
            raise BadInput(f"does not say its {name}", file=page.file)
    for name, least in (("shard", 1), ("validation", 0)):
        if values.get(name, least) < least:
            raise BadInput(f"{name} must be at least {least}, not {values[name]}", file=page.file)
    _quality_of(page)
    check_part(BUILDERS, values["builder"], values.get("options", {}), {**SLOTS, **_SOURCES})


def _quality_of(page: Recipe) -> Quality:
    return read(Quality, page.values.get("quality", {}), file=page.file, what="quality")


class Making:
    """A recipe with its parts made: the builder, and the teacher behind the reply store.

    The teacher's engine itself is made only when something must be asked that no one has asked before. `about` says
    what is being built: the resolved recipe, the prompt, and every teacher and source as they were at the start.
    """

    def __init__(self, page: Recipe, to: str | Path, sources: Sources) -> None:
        values = page.values
        self.page = page
        self.sources = sources
        self.work = WorkFolder(to)
        self.quality = _quality_of(page)
        self.store = Replies(sources.replies)
        self._teachers: dict[str, CachedTeacher] = {}
        self.give_up_after = self.quality.give_up_after
        if sources.go_on:
            self.give_up_after = 0
        parts = RecipeParts(
            sources.data, self.work.lock, self._cached_teacher, page.file, give_up_after=self.give_up_after
        )
        self.teacher: CachedTeacher | WithoutEngine | None = None
        if values.get("teacher"):
            self.teacher = self._cached_teacher(values["teacher"])
        self.builder = parts.builder(values["builder"], values.get("options", {}), self.teacher)
        # A builder whose reranker asks has its questions answered by that one's teacher.
        self.teacher = getattr(self.builder, "teacher", None) or self.teacher
        sources_read = [*parts.sources, getattr(getattr(self.builder, "pairs", None), "source", "")]
        licences = {**inherited_licences(values, sources_read), **parts.licences}
        check_inherited(values["licence"], licences, page.file)
        self.builder_identity = getattr(self.builder, "identity", {})
        about: dict[str, Any] = {
            "recipe": values,
            "prompt": self.builder.prompt,
            "teachers": {name: without_server(made.identity) for name, made in self._teachers.items()},
            "sources": dict(parts.sources),
        }
        self.about = about | {"fingerprint": digest_of(about)}

    def _cached_teacher(self, table: Mapping[str, Any]) -> CachedTeacher:
        """The teacher of a table behind the reply store; one and the same for equal tables."""
        name = digest_of(table)
        if name not in self._teachers:
            self._teachers[name] = CachedTeacher(
                lambda: teacher(table, lock=self.work.lock),
                self.store,
                # As the build began with it: a model that changed its revision since would be another teacher.
                identity=self.work.description.get("teachers", {}).get(name),
                budget=self.sources.budget,
            )
        return self._teachers[name]

    def plan(self, limit: int, progress: Progress) -> int:
        """Have the plan on disk, of the first `limit` items (0: of all); in how many shards.

        Raises BadInput where the folder holds another build.
        """
        # Before the first item is planned, so that no folder ever mixes two builds.
        self.work.agree(self.about | {"limit": limit})
        if self.work.has_plan():
            return self.work.shard_count()
        progress(0, 1, "the plan")
        items = islice(self.builder.items(), limit or None)
        return self.work.plan(items, self.page.values.get("shard", SHARD))

    def finish(self, numbers: Sequence[int], progress: Callable[[int], None] = lambda done: None) -> None:
        """Make these shards; `progress` gets the number written.

        Prompts that the teacher refuses are their items' reason to be rejected. Raises what else the teacher raises,
        once every shard that is complete by then is kept.
        """
        stream = _Stream(self, numbers, progress, self._first_answers())
        if self.teacher is None:  # shards that ask nothing are written as their prompts are read
            prompt = next(stream.prompts(), None)
            if prompt is not None:
                raise BadInput(
                    "this builder needs a teacher, and the recipe names none", file=self.page.file, id=prompt.id
                )
            return
        try:
            for reply in self.teacher.complete(stream.prompts()):
                stream.take(reply)
        except PromptsRefused as error:
            # The other prompts are answered by then, so that nothing else may be left.
            unknown = stream.unanswered.keys() - error.reasons.keys()
            if unknown:
                raise BadInput(f"{error}; prompt {min(unknown)!r} was not answered either") from error
            for shard in dict.fromkeys(shard for shard, _ in stream.unanswered.values()):
                shard.refused = error.reasons
                stream.write(shard)
        if stream.written < len(numbers):
            raise BadInput("the teacher stopped before all shards were done; run the same build again")

    def _first_answers(self) -> FirstAnswers:
        """The first answers as they are known from the shards that are done."""
        first_answers = FirstAnswers(self.give_up_after)
        for number in range(self.work.shard_count()):
            if first_answers.over:
                break
            for line in self.work.lines_of(number):
                if line["keys"]:  # an item that asked nothing says nothing of the answers
                    first_answers.add(reason_of(line))
        return first_answers

    def lines(
        self, items: Iterable[Item], all_replies: Mapping[str, Reply], refused: Mapping[str, str]
    ) -> Iterator[Row]:
        """A row or a rejection for each item, with the keys of the replies behind it.

        `all_replies` are by prompt id, and so are the reasons why the teacher `refused` a prompt.
        """
        for item in items:
            answered = [prompt for prompt in item.prompts if prompt.id in all_replies]
            replies = [all_replies[prompt.id] for prompt in answered]
            keys = list(item.data.get("replies", ()))  # those that the item's query was made with
            identity = self.builder_identity
            if self.teacher is not None and item.prompts:
                identity = self.teacher.identity
                keys += map(self.teacher.key, answered)
            try:
                if item.rejected:
                    raise Rejected(item.rejected)
                for prompt in item.prompts:
                    if prompt.id in refused:
                        raise Rejected(f"the teacher refuses the prompt: {refused[prompt.id]}")
                # The row may say otherwise: a file of others names its own teacher.
                provenance = {
                    "teacher": identity.get("model", "human"),
                    "teacher_revision": identity.get("revision", ""),
                    "prompt": self.builder.prompt if item.prompts else "",
                    "replies": keys,
                }
                try:
                    rows = self.builder.rows(item, replies)
                except PromptsRefused as error:  # of a reranker that asks as the row is made
                    raise Rejected(f"the teacher refuses the prompt: {min(error.reasons.values())}") from error
                for row in rows:
                    check_texts(row)
            except Rejected as error:
                said = list(item.data.get("said", ()))
                for reply in replies:
                    said.append({"id": reply.id, "text": reply.text, "finish": reply.finish})
                yield {"rejected": {"id": item.id, "reason": error.reason, "replies": said}, "keys": keys}
            else:
                for row in rows:
                    checked = check_row(self.builder.family, provenance | row)
                    # A reranker that asks in several rounds names more than the replies that were planned.
                    yield {"row": checked, "keys": checked["replies"]}


def reason_of(line: Row) -> str:
    """The reason why a line of a shard is a rejection; empty for a row."""
    if "rejected" not in line:
        return ""
    return str(line["rejected"]["reason"])


# -- the last step --------------------------------------------------------------------------------------------


def _write_release(making: Making, progress: Progress) -> Release:
    """Write the Release of a work folder whose shards are all done, again from them.

    Rejected items are written to quarantine.jsonl with their reason and the raw replies.
    """
    values = making.page.values
    work = making.work

    # One pass over the shards in order; a byte for each row is all that is held of it.
    progress(0, 3, "doubles, leaks and figures")
    doubles = Duplicates(making.quality.near)
    leaks = Leaks()
    for benchmark in benchmarks(making.sources.data):
        leaks.add(*benchmark)
    report = Report()
    reasons = Counter[str]()
    most = values.get("validation", 0)
    samples: dict[Any, Sample[int]] = {}  # by source of queries, or by label
    splits = bytearray()  # of every row, in order
    with replacing(work.quarantine) as quarantine:
        for line in work.lines():
            if "rejected" in line:
                rejected = line["rejected"]
                quarantine.write((json.dumps(rejected, sort_keys=True) + "\n").encode())
                reasons[f"rejected: {rejected['reason']}"] += 1
                continue
            row = line["row"]
            double = doubles.find_earlier(row)
            if double:  # counted under this reason alone, whether it leaks or not
                reasons[f"skipped: {double.kind} duplicate"] += 1
                splits.append(_LEFT_OUT)
                continue
            marks = leaks.marks(row)
            if marks and making.quality.leaks == "drop":
                reasons["skipped: leak"] += 1
                splits.append(_LEFT_OUT)
                continue
            report.add(row, marks)
            kind = row.get("query_source", row.get("relevant"))
            # Releases were split with 15 digits; another number would choose other rows.
            samples.setdefault(kind, Sample(most, digits=15)).offer(len(splits), row["id"])
            splits.append(_TRAIN)
    skipped = splits.count(_LEFT_OUT)
    quarantined = reasons.total() - skipped
    counts = {
        "input": len(splits) + quarantined,
        "good": len(splits) - skipped,
        "quarantined": quarantined,
        "skipped": skipped,
    }
    name = values["table"]
    check_counts(name, counts, reasons, making.quality.most_rejected)

    # Ids alone decide which rows are for validation: those of the lowest digests, as many of each label or source of
    # queries.
    validation = interleave(samples[kind].lowest() for kind in sorted(samples))[:most]
    for place in validation:
        splits[place] = _VALIDATION

    progress(1, 3, "tables and replies")
    family = making.builder.family
    rows = {"train": _rows(work, splits, _TRAIN)}
    if validation:
        rows["validation"] = _rows(work, splits, _VALIDATION)
    files = write_table(work.release, name, family, rows)
    replies = work.release / "replies" / f"{name}.parquet"
    extra = []
    if making.store.export(_keys(work), replies):
        digest = file_digest(replies).removeprefix("sha256:")
        extra.append(DataFile(f"replies/{name}.parquet", digest, replies.stat().st_size))
    answered_by = making.builder_identity
    if making.teacher is not None:
        answered_by = without_server(making.teacher.identity)
    table = Table(
        family=family,
        licence=values["licence"],
        recipe=values,
        fingerprint=making.about["fingerprint"],
        counts={**counts, "reasons": dict(reasons)},
        teacher=answered_by,
        prompt=making.builder.prompt,
        tokens=making.store.tokens(_keys(work)),
        replayable=True,
        report={**report.figures(), **making.builder.report(work.good_items())},
        splits=files,
        fields=FAMILIES[family],
    )

    progress(2, 3, "the card")
    release = Release(values["dataset"], FIRST_VERSION, {name: table}, tuple(extra))
    page = work.release / "README.md"
    # A person may have written into the card between two builds.
    existing = read_text(page) if page.is_file() else ""
    write(page, release_card(work.release, release, existing=existing))
    write(work.release / "CHANGELOG.md", changelog(release, [], ""))
    save(release, work.release)  # last: a folder without a manifest is not a release
    progress(3, 3, "the release")
    return release


def _rows(work: WorkFolder, splits: Iterable[int], split: int) -> Iterator[Row]:
    """The rows of a split, in order."""
    split_of_row = iter(splits)
    for line in work.lines():
        if "row" not in line:
            continue  # a rejected item, of no split
        if next(split_of_row) == split:
            yield line["row"]


def _keys(work: WorkFolder) -> Iterator[str]:
    """The replies that anything here was made of, rejected items and skipped rows included."""
    for line in work.lines():
        yield from line["keys"]
