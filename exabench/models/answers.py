"""Answers: the ids of the words that a model says in its own tokenizer, and the logits that are computed for them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from exabench.core.errors import BadInput, plural, printable
from exabench.models.heads import Loaded
from exabench.models.strategies import STRATEGIES
from exabench.models.templates import ids_of


def answer_ids(tokenizer: Any, words: Sequence[str], after: str = "") -> tuple[int, ...]:
    """The one token that each word is when it follows the text `after`. Raises BadInput where it is more or unknown.

    A word is read as it is written, right behind that text. Only where the text ends in a letter, a digit or a colon,
    a word without a space before it is read with one, if the tokenizer has that as one token.
    """
    answers = []
    for word in words:
        spellings = [word]
        if not word[:1].isspace() and (after[-1:].isalnum() or after.endswith(":")):
            spellings = [f" {word}", word]
        for spelling in spellings:
            ids = _ids_behind(tokenizer, spelling, after)
            if len(ids) == 1:
                break
        if len(ids) != 1:
            wrong = f"answer {printable(word)!r} is not one token of this model's tokenizer but {len(ids)}"
            raise BadInput(f"{wrong}; give other answers")
        answers.append(ids[0])
    return tuple(answers)


def _ids_behind(tokenizer: Any, word: str, after: str) -> list[int]:
    """The ids of a word when it follows a text; none for an unknown token."""
    if word.startswith("▁"):  # a token of the vocabulary itself
        ids = [tokenizer.convert_tokens_to_ids(word)]
    else:
        # with the text before it, as some tokens exist only behind a space or a line's end
        before = ids_of(tokenizer, after)
        ids = ids_of(tokenizer, after + word)
        if ids[: len(before)] == before:
            ids = ids[len(before) :]
    return [] if ids == [tokenizer.unk_token_id] or ids == [None] else ids


def narrow_to_answers(loaded: Loaded, strategy: str, ids: tuple[int, ...]) -> tuple[Loaded, tuple[int, ...]]:
    """The model computing no more rows of its vocabulary than the strategy reads, and the answers' columns among them.

    `ids` are the answers' token ids, positive first. Raises BadInput where the strategy needs more answers.
    """
    part = STRATEGIES[strategy]
    check_strategy(strategy, len(ids))
    if part.rows == "vocabulary":  # every token has a column, and a token's id is its place
        return loaded, ids
    # With 2 of T5's 32,128 rows the last product is next to free; those rows are the first columns of the logits.
    return loaded.only(ids[: part.needs]), tuple(range(part.needs))


def check_strategy(strategy: str, answers: int, rows: Sequence[str] = ("answers", "vocabulary")) -> None:
    """Raises BadInput where a strategy needs more answers than there are, or rows that the model does not have."""
    part = STRATEGIES[strategy]
    if part.needs > answers or part.rows not in rows:
        fitting = [name for name, other in STRATEGIES.items() if other.needs <= answers and other.rows in rows]
        has = plural(answers, "answer")
        if "vocabulary" not in rows:
            has += " and no vocabulary"
        raise BadInput(f"strategy {strategy} does not fit a model with {has}; use {' or '.join(fitting)}")


def spellings(tokenizer: Any, id: int) -> tuple[int, ...]:
    """Every token that reads as `id` does but for case and the space before it, `id` first."""
    word = _read(tokenizer, id)
    found = [id]
    for other in range(len(tokenizer)):
        if other != id and _read(tokenizer, other) == word:
            found.append(other)
    return tuple(found)


def _read(tokenizer: Any, id: int) -> str:
    return str(tokenizer.convert_ids_to_tokens(id)).lstrip("▁Ġ").upper()
