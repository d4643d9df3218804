"""What query sources need of the parts they are given, which this floor does not know by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from exabench.errors import OutsideFailed, Refused, printable
from exabench.nouns import Prompt, Reply

if TYPE_CHECKING:
    from exabench.teachers import Teacher


def replies_of(teacher: Teacher, prompts: list[Prompt]) -> dict[str, Reply]:
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
