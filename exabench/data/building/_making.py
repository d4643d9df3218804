"""Rows of shards: prompts to the teacher, replies back to their items, and every item to a row or a reason."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from exabench.core.errors import BadInput, PromptsRefused
from exabench.core.files import digest_of
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


class Making:
    """A recipe with its parts made: the builder, and the teacher behind the reply store.

    The teacher's engine itself is made only when something must be asked that nobody has asked before. `about` says
    what is being built: the resolved recipe, the prompt, and every teacher and source as they were at the start.
    """

    def __init__(self, page: Recipe, to: str | Path, sources: Sources) -> None:
        values = page.values
        for name in ("builder", "dataset", "table", "licence"):
            if not values.get(name):
                raise BadInput(f"does not say its {name}", file=page.file)
        self.page = page
        self.sources = sources
        self.work = WorkFolder(to)
        self.quality = read(Quality, values.get("quality", {}), file=page.file, what="quality")
        self.store = Replies(sources.replies)
        self._teachers: dict[str, CachedTeacher] = {}
        parts = RecipeParts(sources.data, self.work.lock, self._cached_teacher)
        self.teacher = self._cached_teacher(values["teacher"]) if values.get("teacher") else None
        self.builder = parts.builder(values["builder"], values.get("options", {}), self.teacher)
        self.builder_identity: Mapping[str, Any] = getattr(self.builder, "identity", {})
        about: dict[str, Any] = {
            "recipe": dict(values),
            "prompt": self.builder.prompt,
            "teachers": {name: without_server(made.identity) for name, made in self._teachers.items()},
            "sources": dict(parts.sources),
        }
        self.about = about | {"fingerprint": digest_of(about)}

    def _cached_teacher(self, table: Mapping[str, Any]) -> CachedTeacher:
        """The teacher of a table behind the reply store; one and the same for equal tables."""
        name = digest_of(dict(table))
        if name not in self._teachers:
            self._teachers[name] = CachedTeacher(
                lambda: teacher(table, lock=self.work.lock),
                self.store,
                identity=self.work.description.get("teachers", {}).get(name),
                budget=self.sources.budget,
            )
        return self._teachers[name]

    def finish(self, numbers: Sequence[int], progress: Callable[[int], None] = lambda done: None) -> None:
        """Make these shards. All their prompts are one stream to the teacher, so that it never runs dry between them.

        Prompts that the teacher refuses are their items' reason to be rejected. Raises what else the teacher raises,
        once every shard that is complete by then is kept.
        """
        stream = _ShardStream(self, numbers, progress)
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
            unanswered = stream.shard_of.keys() - error.reasons.keys()
            if unanswered:
                raise BadInput(f"{error}; prompt {min(unanswered)!r} was not answered either") from error
            for shard in dict.fromkeys(stream.shard_of.values()):
                stream.finish(shard, error.reasons)
        if stream.done < len(numbers):
            raise BadInput("the teacher stopped before every shard was asked for; run the same build again")

    def lines(self, shard: _Shard, refused: Mapping[str, str]) -> Iterator[dict[str, Any]]:
        """A row or a rejection for each item of a shard, with the keys of the replies behind it."""
        for item in shard.items:
            answered = [prompt for prompt in item.prompts if prompt.id in shard.replies]
            replies = [shard.replies[prompt.id] for prompt in answered]
            keys = list(item.data.get("replies", ()))
            identity = self.builder_identity
            if self.teacher is not None and item.prompts:
                identity = self.teacher.identity
                keys += map(self.teacher.key, answered)
            try:
                for prompt in item.prompts:
                    if prompt.id in refused:
                        raise Rejected(f"the teacher refuses the prompt: {refused[prompt.id]}")
                provenance = {
                    "teacher": str(identity.get("model", "human")),
                    "teacher_revision": str(identity.get("revision", "")),
                    "prompt": self.builder.prompt if item.prompts else "",
                    "replies": keys,
                }
                row = provenance | self.builder.row(item, replies)
            except Rejected as error:
                said = [{"id": reply.id, "text": reply.text, "finish": reply.finish} for reply in replies]
                yield {"rejected": {"id": item.id, "reason": error.reason, "replies": said}, "keys": keys}
            else:
                yield {"row": checked_row(self.builder.family, row), "keys": keys}


@dataclass(eq=False)
class _Shard:
    """A shard in the making: its items, the replies to their prompts so far, and how many more are awaited."""

    number: int
    items: list[Item]
    awaited: int
    replies: dict[str, Reply] = field(default_factory=dict)


@dataclass
class _ShardStream:
    """Shards that are made together: their prompts, one after the other, and the replies in any order.

    A shard is finished as soon as its last reply is there; `progress` is told how many are.
    """

    making: Making
    numbers: Sequence[int]
    progress: Callable[[int], None]
    shard_of: dict[str, _Shard] = field(default_factory=dict)  # by the id of a prompt that is not answered yet
    done: int = 0

    def prompts(self) -> Iterator[Prompt]:
        """Every prompt of every shard."""
        for number in self.numbers:
            items = self.making.work.items(number)
            prompts = [prompt for item in items for prompt in item.prompts]
            shard = _Shard(number, items, len(prompts))
            for prompt in prompts:
                self.shard_of[prompt.id] = shard
            if not prompts:
                self.finish(shard, {})
            yield from prompts

    def take(self, reply: Reply) -> None:
        """Give a reply to its shard."""
        shard = self.shard_of.pop(reply.id)
        shard.replies[reply.id] = reply
        shard.awaited -= 1
        if not shard.awaited:
            self.finish(shard, {})

    def finish(self, shard: _Shard, refused: Mapping[str, str]) -> None:
        """Write a shard, in which prompts may have no reply for the reasons `refused` by prompt id."""
        self.making.work.write_shard(shard.number, self.making.lines(shard, refused))
        self.done += 1
        self.progress(self.done)
