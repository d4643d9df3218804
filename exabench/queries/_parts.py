"""What query sources need of the parts they are given, which this floor does not know by name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Protocol

from exabench.errors import OutsideFailed, Refused, printable
from exabench.nouns import Passage, Prompt, Query, Reply


class Collection(Protocol):
    """A collection of exabench.collections."""

    @property
    def source(self) -> str:
        """The place that it is read from."""

    @property
    def revision(self) -> str:
        """What pins its texts."""

    def passages(self) -> Iterator[Passage]:
        """Every passage, one at a time."""

    def queries(self) -> Iterator[Query]:
        """Every query, judged or not."""

    def qrels(self, split: str) -> dict[str, dict[str, int]]:
        """The judgements of a split."""


class Answerer(Protocol):
    """A teacher; where its replies are kept, it also has `key(prompt)`, the name that one is kept under."""

    identity: Mapping[str, Any]

    def complete(self, prompts: Iterable[Prompt]) -> Iterator[Reply]:
        """One reply for each prompt, matched by id, in any order."""


def replies_of(teacher: Answerer, prompts: list[Prompt]) -> dict[str, Reply]:
    """The replies by prompt id; a prompt that the teacher refuses has none.

    Raises OutsideFailed for a reply that is missing, that nobody asked for, or that comes twice.
    """
    missing, replies, refused = {prompt.id for prompt in prompts}, dict[str, Reply](), set[str]()
    try:
        for reply in teacher.complete(prompts):
            if reply.id not in missing:
                wrong = "twice" if reply.id in replies else "though nobody asked it"
                raise OutsideFailed(f"the teacher answered prompt {printable(reply.id)} {wrong}; ask again")
            missing.remove(reply.id)
            replies[reply.id] = reply
    except Refused as error:
        refused = set(error.reasons)
    if missing - refused:
        raise OutsideFailed(f"the teacher gave no answer to prompt {printable(min(missing - refused))}; ask again")
    return replies
