"""Recorded replies instead of a model: the answer to each prompt is read from a file, by the prompt's id."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from exabench.errors import BadInput, Refused, printable
from exabench.files import digest_of, file_digest, from_json, lines
from exabench.nouns import Prompt, Reply

EMBEDDED = Path(__file__).parents[1]
_FIELDS: Mapping[str, Any] = {"id": str, "text": str, "finish": str, "prompt_tokens": int, "output_tokens": int}
_ABSENT: Mapping[str, Any] = {"finish": "stop", "prompt_tokens": 0, "output_tokens": 0}


class Replay:
    """The replies of one or several JSONL files; `model` says whose they are.

    A line is an object with `id` (of a prompt) and `text`; `finish` ("stop" or "length"), `prompt_tokens` and
    `output_tokens` are "stop", 0 and 0 where it does not say. `file` is a path or a list of them; "mini/..." are the
    replies that come with the embedded collection. Raises BadInput for anything else in a file, and for an id that has
    two answers.
    """

    config: Mapping[str, Any] | None = None

    def __init__(self, file: str | Path | list[str], *, model: str = "recorded") -> None:
        files = [_there(one) for one in (file if isinstance(file, list) else [file])]
        if not files:
            raise BadInput("replay needs a file of recorded replies, as in file=replies.jsonl")
        self._replies: dict[str, Reply] = {}
        for path in files:
            for number, line in lines(path):
                reply = _read(line, path, number)
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
        """The recorded replies. Prompts that have none raise Refused once all others are answered."""
        nobody: dict[str, str] = {}
        for prompt in prompts:
            if prompt.id in self._replies:
                yield self._replies[prompt.id]
            else:
                nobody[prompt.id] = "no reply to it was recorded"
        if nobody:
            raise Refused(nobody)


def _there(file: str | Path) -> Path:
    own = EMBEDDED / file
    return own if str(file).startswith("mini/") and own.is_file() else Path(file)


def _read(line: str, file: Path, number: int) -> Reply:
    try:
        values = from_json(line)
    except (ValueError, RecursionError) as error:
        raise BadInput(f"is not JSON ({error})", file=file, line=number) from error
    if not isinstance(values, dict) or not {"id", "text"} <= values.keys() <= _FIELDS.keys():
        raise BadInput(f"a recorded reply has id and text, and may have {', '.join(_ABSENT)}", file=file, line=number)
    reply = Reply(**{**_ABSENT, **values})
    odd = [name for name, kind in _FIELDS.items() if type(getattr(reply, name)) is not kind]
    if odd or reply.finish not in ("stop", "length") or min(reply.prompt_tokens, reply.output_tokens) < 0:
        wrong = odd[0] if odd else "finish or a token count"
        raise BadInput(f"{wrong} is not what it must be", file=file, line=number, id=printable(str(reply.id)))
    return reply
