"""Recorded replies instead of a model: the answer to each prompt is read from a file, by the prompt's id."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from msgspec import Meta

from exabench.core import records
from exabench.core.errors import BadInput, PromptsRefused
from exabench.core.files import PACKAGE, digest_of, file_digest, from_json, lines
from exabench.core.nouns import Prompt, Reply


class _Recorded(records.Record, frozen=True):
    """A line of a file of replies."""

    id: str
    text: str
    finish: Literal["stop", "length"] = "stop"
    prompt_tokens: Annotated[int, Meta(ge=0)] = 0
    output_tokens: Annotated[int, Meta(ge=0)] = 0


class Replay:
    """The replies of one or several JSONL files; `model` says whose they are.

    A line is an object with `id` (of a prompt) and `text`; `finish` ("stop" or "length"), `prompt_tokens` and
    `output_tokens` are "stop", 0 and 0 where it does not say. `file` is a path or a list of them; "mini/..." are the
    replies that come with the embedded collection. Raises BadInput for anything else in a file, and for an id that has
    two answers.
    """

    config: Mapping[str, Any] | None = None

    def __init__(self, file: str | Path | list[str], *, model: str = "recorded") -> None:
        files = [_embedded_or_own(one) for one in (file if isinstance(file, list) else [file])]
        if not files:
            raise BadInput("replay needs a file of recorded replies, as in file=replies.jsonl")
        self._replies: dict[str, Reply] = {}
        for path in files:
            for number, line in lines(path):
                reply = _read(line, f"{path}:{number}")
                if self._replies.setdefault(reply.id, reply) != reply:
                    raise BadInput("a second, other answer to this prompt", file=path, line=number, id=reply.id)
        digests = [file_digest(path) for path in files]
        self.identity: Mapping[str, Any] = {
            "engine": "replay",
            "model": model,
            "revision": digests[0] if len(digests) == 1 else digest_of(digests),
            "recorded": True,
        }

    def complete(self, prompts: Iterable[Prompt]) -> Iterator[Reply]:
        """The recorded replies. Prompts that have none raise PromptsRefused once all others are answered."""
        unknown: dict[str, str] = {}
        for prompt in prompts:
            if prompt.id in self._replies:
                yield self._replies[prompt.id]
            else:
                unknown[prompt.id] = "no reply to it was recorded"
        if unknown:
            raise PromptsRefused(unknown)


def _embedded_or_own(file: str | Path) -> Path:
    embedded = PACKAGE / file
    return embedded if str(file).startswith("mini/") and embedded.is_file() else Path(file)


def _read(line: str, place: str) -> Reply:
    try:
        value = from_json(line)
    except (ValueError, RecursionError) as error:
        raise BadInput(f"is not JSON ({error})", file=place) from error
    recorded = records.read(_Recorded, value, file=place, what="a recorded reply")
    return Reply(recorded.id, recorded.text, recorded.finish, recorded.prompt_tokens, recorded.output_tokens)
