"""Rows of shards: prompts to the teacher, replies back to their items, and every item to a row or a reason."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from exabench.core.errors import BadInput, PromptsRefused
from exabench.core.files import digest_of, read_json
from exabench.core.nouns import Prompt, Reply
from exabench.core.recipe import Recipe
from exabench.core.records import Record, read
from exabench.core.rows import Item, Rejected, checked_row
from exabench.data.build_folder import WorkFolder
from exabench.data.building._recipe_parts import RecipeParts
from exabench.parts.assembly import teacher
from exabench.parts.replies import CachedTeacher, Replies, without_server


@dataclass(frozen=True)
class Sources:
    """Where a build finds what it needs: test collections, the reply store (None: the user's), and how much to spend.

    `budget` is a hard stop in teacher tokens, prompts and answers together (0: none); each process counts its own.
    """

    data: Path | None = None
    replies: Path | None = None
    budget: int = 0


class Quality(Record, frozen=True):
    """The table `quality` of a recipe.

    `near`: from which Jaccard similarity on two rows are one (0: only exact doubles); `leaks`: rows that leak a
    benchmark are counted, or left out, too.
    """

    near: float = 0.9
    leaks: Literal["report", "drop"] = "report"


@dataclass
class _Shard:
    """A shard in the making: its items, and the replies to their prompts so far."""

    number: int
    items: list[Item]
    replies: dict[str, Reply] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.prompts = [prompt for item in self.items for prompt in item.prompts]

    @property
    def is_complete(self) -> bool:
        """True where every prompt has its reply."""
        return len(self.replies) == len(self.prompts)


class _ShardStream:
    """Shards that are made together: their prompts, one after the other, and the replies in any order.

    A shard is finished, with what `lines` makes of it, as soon as its last reply is there; `told` hears how many are.
    """

    def __init__(
        self,
        work: WorkFolder,
        numbers: Sequence[int],
        lines: Callable[[_Shard, Mapping[str, str]], Iterator[dict[str, Any]]],
        told: Callable[[int], None],
    ) -> None:
        self._work = work
        self._numbers = numbers
        self._lines = lines
        self._told = told
        self._open: dict[int, _Shard] = {}
        self._shard_of: dict[str, _Shard] = {}  # by the id of a prompt that is not answered yet
        self.done = 0

    def prompts(self) -> Iterator[Prompt]:
        """Every prompt of every shard."""
        for number in self._numbers:
            shard = _Shard(number, self._work.items(number))
            self._open[number] = shard
            for prompt in shard.prompts:
                self._shard_of[prompt.id] = shard
            if shard.is_complete:  # it asks nothing
                self._finish(shard, {})
            yield from shard.prompts

    def take(self, reply: Reply) -> None:
        """Give a reply to its shard."""
        shard = self._shard_of.pop(reply.id)
        shard.replies[reply.id] = reply
        if shard.is_complete:
            self._finish(shard, {})

    def unanswered(self) -> list[str]:
        """The ids of the prompts that were asked and have no reply."""
        return list(self._shard_of)

    def finish_open(self, refused: Mapping[str, str]) -> None:
        """Finish the shards some of whose prompts have no reply, for the reasons `refused` by prompt id."""
        for number in sorted(self._open):
            self._finish(self._open[number], refused)

    def _finish(self, shard: _Shard, refused: Mapping[str, str]) -> None:
        del self._open[shard.number]
        self._work.finish(shard.number, self._lines(shard, refused))
        self.done += 1
        self._told(self.done)


class Making:
    """A recipe with its parts made: the builder, and the teacher behind the reply store.

    The teacher's engine itself is made only when something must be asked that nobody has asked before.
    """

    def __init__(self, page: Recipe, to: str | Path, sources: Sources) -> None:
        for name in ("builder", "dataset", "table", "licence"):
            if not page.values.get(name):
                raise BadInput(f"does not say its {name}", file=page.file)
        self.page = page
        self.sources = sources
        self.work = WorkFolder(to)
        self.quality = read(Quality, page.values.get("quality", {}), file=page.file, what="quality")
        self.store = Replies(sources.replies)
        self.teachers: dict[str, CachedTeacher] = {}
        agreed = read_json(self.work.agreed) if self.work.agreed.is_file() else {}
        self._identities: Mapping[str, Any] = agreed.get("teachers", {})
        self._parts = RecipeParts(sources.data, self.work.lock, self._cached_teacher)
        self.teacher = self._cached_teacher(page.values["teacher"]) if page.values.get("teacher") else None
        self.builder = self._parts.builder(page.values["builder"], page.values.get("options", {}), self.teacher)

    @cached_property
    def about(self) -> dict[str, Any]:
        """What is being built: the resolved recipe, the prompt, every teacher and every source as they were found."""
        about = {
            "recipe": dict(self.page.values),
            "prompt": self.builder.prompt,
            "teachers": {name: without_server(made.identity) for name, made in self.teachers.items()},
            "sources": dict(self._parts.sources),
        }
        return about | {"fingerprint": digest_of(about)}

    def _cached_teacher(self, table: Mapping[str, Any]) -> CachedTeacher:
        """The teacher of a table behind the reply store; one and the same for equal tables."""
        name = digest_of(dict(table))
        if name not in self.teachers:
            self.teachers[name] = CachedTeacher(
                lambda: teacher(table, lock=self.work.lock),
                self.store,
                identity=self._identities.get(name),
                budget=self.sources.budget,
            )
        return self.teachers[name]

    @property
    def identity(self) -> Mapping[str, Any]:
        """Who the release names as its teacher: who was asked, else who the builder says it is; empty for people."""
        return without_server(self.teacher.identity) if self.teacher is not None else self._own_identity

    @property
    def _own_identity(self) -> Mapping[str, Any]:
        return getattr(self.builder, "identity", {})

    # -- shards --------------------------------------------------------------------------------------------

    def finish(self, numbers: Sequence[int], told: Callable[[int], None] = lambda done: None) -> None:
        """Make these shards. All their prompts are one stream to the teacher, so that it never runs dry between them.

        Prompts that the teacher refuses are their items' reason to be rejected. Raises what else the teacher raises,
        once every shard that is complete by then is kept.
        """
        stream = _ShardStream(self.work, numbers, self._lines, told)
        refused: Mapping[str, str] = {}
        if self.teacher is None:
            for prompt in stream.prompts():
                raise BadInput(
                    "this builder asks a teacher, and the recipe names none", file=self.page.file, id=prompt.id
                )
            return
        try:
            for reply in self.teacher.complete(stream.prompts()):
                stream.take(reply)
        except PromptsRefused as error:
            refused = error.reasons
            for prompt_id in stream.unanswered():
                if prompt_id not in refused:
                    raise BadInput(f"{error}; prompt {prompt_id!r} was not answered either") from error
        stream.finish_open(refused)
        if stream.done < len(numbers):
            raise BadInput("the teacher stopped before every shard was asked for; run the same build again")

    def _lines(self, shard: _Shard, refused: Mapping[str, str]) -> Iterator[dict[str, Any]]:
        """What became of each item of a shard: a row or a rejection, and the keys of the replies behind it."""
        for item in shard.items:
            answered = [prompt for prompt in item.prompts if prompt.id in shard.replies]
            replies = [shard.replies[prompt.id] for prompt in answered]
            keys = [*item.data.get("replies", ()), *map(self._key, answered)]
            try:
                for prompt in item.prompts:
                    if prompt.id in refused:
                        raise Rejected(f"the teacher refuses the prompt: {refused[prompt.id]}")
                row = self._provenance(item, keys) | self.builder.row(item, replies)
            except Rejected as error:
                said = [{"id": reply.id, "text": reply.text, "finish": reply.finish} for reply in replies]
                yield {"rejected": {"id": item.id, "reason": error.reason, "replies": said}, "keys": keys}
            else:
                yield {"row": checked_row(self.builder.family, row), "keys": keys}

    def _key(self, prompt: Prompt) -> str:
        assert self.teacher is not None
        return self.teacher.key(prompt)

    def _provenance(self, item: Item, keys: Sequence[str]) -> dict[str, Any]:
        identity = self.teacher.identity if self.teacher is not None and item.prompts else self._own_identity
        return {
            "teacher": str(identity.get("model", "human")),
            "teacher_revision": str(identity.get("revision", "")),
            "prompt": self.builder.prompt if item.prompts else "",
            "replies": list(keys),
        }
