"""Answer words: which ones a checkpoint was trained to say, and their ids in its own tokenizer."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from exabench.core.errors import BadInput, plural
from exabench.core.files import read_toml
from exabench.models.heads import Loaded
from exabench.models.strategies import STRATEGIES
from exabench.models.templates import ids_of

REGISTRY = Path(__file__).with_name("answers.toml")


def answer_words(reranker: str, model: str, answers: Sequence[str] = ()) -> tuple[str, ...]:
    """The words, positive first: `answers` (a list, or one text with commas), else by the longest matching pattern.

    A local folder has no Hub id and so gets the reranker's own words ("*"): give `answers` for another family.
    """
    if isinstance(answers, str):
        answers = [word.strip() for word in answers.split(",")]
    families = read_toml(REGISTRY)[reranker]
    matching = [pattern for pattern in families if fnmatch.fnmatchcase(model, pattern)]
    return tuple(answers or families[max(matching, key=len)])


def answer_ids(tokenizer: Any, words: Sequence[str], after: str = "") -> tuple[int, ...]:
    """The one token that each word is when it follows the text `after`. Raises BadInput where it is more or unknown."""
    before = ids_of(tokenizer, after)
    answers = []
    for word in words:
        if word.startswith("▁"):  # a token of the vocabulary itself
            ids = [tokenizer.convert_tokens_to_ids(word)]
        else:
            # with the text before it, as some tokens exist only behind a space or a line's end
            ids = ids_of(tokenizer, after + word)
            if ids[: len(before)] == before:
                ids = ids[len(before) :]
        if len(ids) != 1 or ids[0] is None or ids[0] == tokenizer.unk_token_id:
            wrong = f"answer {word!r} is not one token of this model's tokenizer but {len(ids)}"
            raise BadInput(f"{wrong}; give other answers")
        answers.append(ids[0])
    return tuple(answers)


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
