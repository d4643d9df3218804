"""Results on disk: a Result as JSON under the digest of its content, and back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from exabench.core.errors import BadInput, printable
from exabench.core.files import digest_of, file_digest, read_json
from exabench.core.nouns import Cost, Result
from exabench.core.records import read

FORMAT = 3  # 2: results carry the model and what it cost; 3: the gain is one paired test
READABLE = (2, 3)


def result_json(result: Result) -> dict[str, Any]:
    """A Result as its file holds it; `digest` covers every other byte of meaning in it."""
    body = _body(result)
    return {**body, "digest": digest_of(body)}


def _body(result: Result) -> dict[str, Any]:
    """What the digest covers; a result of format 2, whose gain holds another test, keeps its number."""
    number = 2 if "randomisation" in result.gain else FORMAT
    return {"format": number, **msgspec.to_builtins(result), "measurement": result.measurement.as_json()}


def read_result(file: Path, *, of: str = "") -> Result:
    """Read one result and hold it against its own digest, or the file against the digest `of` when it was last read.

    Raises BadInput for an edited byte, for content of another shape, and for a file under another name than its
    content says.
    """
    if of and file_digest(file) != of:
        raise BadInput("was changed while the board was read; build again", file=file)
    body = read_json(file)
    if not isinstance(body, dict):
        raise BadInput("does not hold a result", file=file)
    if body.get("format", FORMAT) not in READABLE:
        raise BadInput(
            f"is not a result of format {FORMAT} but of {printable(str(body['format']), 20)}; "
            "take it away and run `exabench bench run` again",
            file=file,
        )
    digest = body.pop("digest", "")
    if not of and digest_of(body) != digest:
        raise BadInput("was edited: its digest does not fit its content; run `exabench bench run` again", file=file)
    result = read(Result, body, file=file, what="does not hold a result:")
    if _body(result) != body or not _is_sound(result.cost):  # a key too many, or a number that no model can have
        raise BadInput("does not hold a result: `exabench bench run` writes other fields", file=file)
    if (file.parent.name, file.stem) != (result.submission, f"{result.task}.{result.candidates.name}"):
        raise BadInput("lies under another name than its content says", file=file)
    return result


def _is_sound(cost: Cost | None) -> bool:
    """No amount is below zero: these numbers cannot be recomputed from the run."""
    if cost is None:
        return True
    amounts: list[float] = [*cost.repairs.values()]
    for part in (cost, cost.timing):
        if part is not None:
            amounts += [value for value in vars(part).values() if isinstance(value, int | float)]
    for quotients in (cost.rpp, cost.qpp):
        if set(quotients) != {"paper", "exact"}:
            return False
        amounts += [value for value in quotients.values() if value is not None]
    return min(amounts) >= 0
