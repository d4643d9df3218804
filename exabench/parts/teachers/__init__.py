"""Teachers: language models that complete prompts.

A teacher is one file that holds one class of the file's name with one verb, `complete(prompts)`. To add one, add
its file; its options are its keyword arguments. Replies carry the prompt's id and may come in any order.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Protocol

from exabench.core.nouns import Prompt, Reply
from exabench.core.shelf import Shelf


class Teacher(Protocol):
    """An engine with a model in it; `identity` (engine, model, revision, sampling) is what a reply is filed under.

    `config` is the model's config.json where it is known (FLOPs need it), else None.
    """

    identity: Mapping[str, Any]
    config: Mapping[str, Any] | None

    def complete(self, prompts: Iterable[Prompt]) -> Iterator[Reply]:
        """One reply for each prompt, matched by id. Raises OutsideFailed where the engine stops answering."""


TEACHERS = Shelf("teacher", __name__, __file__)
