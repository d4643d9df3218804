"""Rows of shards: prompts to the teacher, replies back to their items, and every item to a row or a reason."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from exabench.errors import BadInput, Refused
from exabench.files import digest_of, read_json
from exabench.nouns import Prompt, Reply
from exabench.recipe import Recipe
from exabench.replies import CachedTeacher, Replies, without_server
from exabench.rows import Item, Rejected, checked_row
from exabench.shards import WorkFolder
from exabench.systems import Parts, teacher


@dataclass
class _Open:
    """A shard in the making: its items, the replies so far, and how many prompts still wait."""

    items: list[Item]
    waiting: int
    replies: dict[str, Reply] = field(default_factory=dict)


class Making:
    """A recipe with its parts made: the builder, and the teacher behind the reply store.

    The teacher's engine itself is made only when something must be asked that nobody has asked before.
    """

    def __init__(
        self, page: Recipe, work: WorkFolder, *, data: Path | None, replies: Path | None, budget: int = 0
    ) -> None:
        self._page, self._work, self._budget = page, work, budget
        self.store = Replies(replies)
        known = read_json(work.agreed) if work.agreed.is_file() else {}
        self._known: Mapping[str, Any] = known.get("teachers", {})
        self._parts = Parts(data, work.lock, self._remembered)
        self.teachers: dict[str, CachedTeacher] = {}
        for name in ("builder", "dataset", "table", "licence"):
            if not page.values.get(name):
                raise BadInput(f"does not say its {name}", file=page.file)
        self.teacher = self._remembered(page.values["teacher"]) if page.values.get("teacher") else None
        self.builder = self._parts.builder(page.values["builder"], page.values.get("options", {}), self.teacher)

    @cached_property
    def about(self) -> dict[str, Any]:
        """What is being built: the resolved recipe, the prompt, every teacher and every source as they were found."""
        about = {
            "recipe": dict(self._page.values),
            "prompt": self.builder.prompt,
            "teachers": {name: without_server(made.identity) for name, made in self.teachers.items()},
            "sources": dict(self._parts.sources),
        }
        return about | {"fingerprint": digest_of(about)}

    def _remembered(self, table: Mapping[str, Any]) -> CachedTeacher:
        """The teacher of a table behind the reply store; one and the same for equal tables."""
        name = digest_of(dict(table))
        if name not in self.teachers:
            identity = self._known.get(name)
            lock = self._work.lock
            self.teachers[name] = CachedTeacher(
                lambda: teacher(table, lock=lock), self.store, identity=identity, budget=self._budget
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

    def finish(self, numbers: Iterable[int], told: Callable[[int], None] = lambda done: None) -> None:
        """Make these shards. All their prompts are one stream to the teacher, so that it never runs dry between them.

        Prompts that the teacher refuses are their items' reason to be rejected. Raises what else the teacher raises,
        once every shard that is complete by then is kept.
        """
        numbers, open_, owner = list(numbers), dict[int, _Open](), dict[str, int]()
        done = 0

        def finished(number: int, refused: Mapping[str, str]) -> None:
            nonlocal done
            self._work.finish(number, self._lines(open_.pop(number), refused))
            done += 1
            told(done)

        def prompts() -> Iterator[Prompt]:
            for number in numbers:
                items = self._work.items(number)
                asked = [prompt for item in items for prompt in item.prompts]
                open_[number] = _Open(items, len(asked))
                owner.update((prompt.id, number) for prompt in asked)
                if not asked:
                    finished(number, {})
                yield from asked

        refused: Mapping[str, str] = {}
        if self.teacher is None:
            self._without_teacher(prompts())
            return
        try:
            for reply in self.teacher.complete(prompts()):
                number = owner.pop(reply.id)
                shard = open_[number]
                shard.replies[reply.id] = reply
                shard.waiting -= 1
                if not shard.waiting:
                    finished(number, {})
        except Refused as error:
            refused = error.reasons
            if unheard := [id for id in owner if id not in refused]:
                raise BadInput(f"{error}; prompt {unheard[0]!r} was not answered either") from error
        for number in sorted(open_):
            finished(number, refused)
        if done < len(numbers):
            raise BadInput("the teacher stopped before every shard was asked for; run the same build again")

    def _without_teacher(self, prompts: Iterator[Prompt]) -> None:
        for prompt in prompts:
            raise BadInput("this builder asks a teacher, and the recipe names none", file=self._page.file, id=prompt.id)

    def _lines(self, shard: _Open, refused: Mapping[str, str]) -> Iterator[dict[str, Any]]:
        for item in shard.items:
            answered = [prompt for prompt in item.prompts if prompt.id in shard.replies]
            replies = [shard.replies[prompt.id] for prompt in answered]
            keys = [*item.data.get("replies", ()), *map(self._key, answered)]
            try:
                if reasons := [refused[prompt.id] for prompt in item.prompts if prompt.id in refused]:
                    raise Rejected(f"the teacher refuses the prompt: {reasons[0]}")
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
