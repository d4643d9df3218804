"""Recorded replies instead of a model: the answer to each prompt is read from a file, by the prompt's id."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated

from msgspec import Meta

from exabench.core import records
from exabench.core.errors import BadInput, PromptsRefused
from exabench.core.files import PACKAGE, digest_of, file_digest
from exabench.core.nouns import MOST_TOKENS, Prompt, Reply
from exabench.parts.permutation import fits


class _Recorded(records.Record, frozen=True):
    """A line of a file of replies."""

    id: str
    text: str
    finish: str = "stop"
    prompt_tokens: Annotated[int, Meta(ge=0, lt=MOST_TOKENS)] = 0
    output_tokens: Annotated[int, Meta(ge=0, lt=MOST_TOKENS)] = 0
    turns: str = ""
    log_prob: float | None = None


class Replay:
    """The replies of one or several JSONL files; `model` says whose they are.

    A line is an object with `id` (of a prompt) and `text`; `finish` (why the reply ended), `prompt_tokens` and
    `output_tokens` are "stop", 0 and 0 where it does not say. Where they are there, `turns` is the digest of the turns
    that were answered, and `log_prob` the mean log-probability of the tokens. `file` is a path or a list of them;
    "mini/..." are the replies that come with the embedded collection. Raises BadInput for anything else in a file, and
    for an id that has two answers.
    """

    config = None

    def __init__(self, file: str | Path | list[str], *, model: str = "recorded") -> None:
        files = file if isinstance(file, list) else [file]
        if not files:
            raise BadInput("replay needs a file of recorded replies, as in file=replies.jsonl")
        self._replies: dict[str, Reply] = {}
        self._turns: dict[str, str] = {}  # digests, by the prompt's id
        digests = []
        for name in files:
            path = Path(name)
            if str(name).startswith("mini/") and (PACKAGE / name).is_file():
                path = PACKAGE / name
            for number, one in records.read_lines(_Recorded, path):
                reply = Reply(one.id, one.text, one.finish, one.prompt_tokens, one.output_tokens, one.log_prob)
                if self._replies.setdefault(one.id, reply) != reply:
                    raise BadInput("a second, different answer to this prompt", file=path, line=number, id=one.id)
                if one.turns:
                    self._turns[one.id] = one.turns
            digests.append(file_digest(path))
        revision = digests[0] if len(digests) == 1 else digest_of(digests)
        self.identity = {
            "engine": "replay",
            "model": model,
            "revision": revision,
            "recorded": True,
        }

    def complete(self, prompts: Iterable[Prompt]) -> Iterator[Reply]:
        """The recorded replies. Prompts without one that fits raise PromptsRefused once all others are answered."""
        unanswered = {}
        for prompt in prompts:
            reason = self._reason_against(prompt)
            if reason:
                unanswered[prompt.id] = reason
            else:
                yield self._replies[prompt.id]
        if unanswered:
            raise PromptsRefused(unanswered)

    def _reason_against(self, prompt: Prompt) -> str:
        """Why the reply of this id is none to the prompt; empty where it may be."""
        reply = self._replies.get(prompt.id)
        if reply is None:
            return "no reply to it was recorded"
        if self._turns.get(prompt.id, digest_of(prompt.turns)) != digest_of(prompt.turns):
            return "the reply that was recorded answers other turns"
        if prompt.passages and not fits(reply.text, prompt.passages):
            return f"the reply that was recorded orders another number of passages than {prompt.passages}"
        return ""
