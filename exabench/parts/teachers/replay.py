"""Recorded replies instead of a model: the answer to each prompt is read from a file, by the prompt's id."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated

from msgspec import Meta

from exabench.core import records
from exabench.core.errors import BadInput, PromptsRefused
from exabench.core.files import PACKAGE, digest_of, file_digest
from exabench.core.nouns import Prompt, Reply


class _Recorded(records.Record, frozen=True):
    """A line of a file of replies."""

    id: str
    text: str
    finish: str = "stop"
    prompt_tokens: Annotated[int, Meta(ge=0)] = 0
    output_tokens: Annotated[int, Meta(ge=0)] = 0


class Replay:
    """The replies of one or several JSONL files; `model` says whose they are.

    A line is an object with `id` (of a prompt) and `text`; `finish` (why the reply ended), `prompt_tokens` and
    `output_tokens` are "stop", 0 and 0 where it does not say. `file` is a path or a list of them; "mini/..." are the
    replies that come with the embedded collection. Raises BadInput for anything else in a file, and for an id that has
    two answers.
    """

    config = None

    def __init__(self, file: str | Path | list[str], *, model: str = "recorded") -> None:
        files = file if isinstance(file, list) else [file]
        if not files:
            raise BadInput("replay needs a file of recorded replies, as in file=replies.jsonl")
        self._replies: dict[str, Reply] = {}
        digests = []
        for name in files:
            path = Path(name)
            if str(name).startswith("mini/") and (PACKAGE / name).is_file():
                path = PACKAGE / name
            for number, one in records.read_lines(_Recorded, path):
                reply = Reply(one.id, one.text, one.finish, one.prompt_tokens, one.output_tokens)
                if self._replies.setdefault(one.id, reply) != reply:
                    raise BadInput("a second, different answer to this prompt", file=path, line=number, id=one.id)
            digests.append(file_digest(path))
        revision = digests[0] if len(digests) == 1 else digest_of(digests)
        self.identity = {
            "engine": "replay",
            "model": model,
            "revision": revision,
            "recorded": True,
        }

    def complete(self, prompts: Iterable[Prompt]) -> Iterator[Reply]:
        """The recorded replies. Prompts that have none raise PromptsRefused once all others are answered."""
        unknown = {}
        for prompt in prompts:
            if prompt.id in self._replies:
                yield self._replies[prompt.id]
            else:
                unknown[prompt.id] = "no reply to it was recorded"
        if unknown:
            raise PromptsRefused(unknown)
