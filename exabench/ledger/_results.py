"""Results on disk: a Result as JSON under its own digest, and back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from exabench.errors import BadInput, printable
from exabench.files import digest_of, file_digest, read_json
from exabench.nouns import Candidates, Convention, Cost, Measurement, Result, Timing

FORMAT = 2  # 2: results carry the model and what it cost


def result_json(result: Result) -> dict[str, Any]:
    """A Result as its file holds it; `digest` covers every other byte of meaning in it."""
    body = {
        "format": FORMAT,
        **{key: value for key, value in asdict(result).items() if key not in ("candidates", "measurement")},
        "candidates": result.candidates.as_json(),
        "measurement": result.measurement.as_json(),
    }
    return body | {"digest": digest_of(body)}


def read_result(file: Path, *, of: str = "") -> Result:
    """Read one result and hold it against its own digest, or the file against the digest `of` when it was last read.

    Raises BadInput for an edited byte.
    """
    if of and file_digest(file) != of:
        raise BadInput("was changed while the board was read; build again", file=file)
    values = read_json(file)
    found = values.get("format", FORMAT) if isinstance(values, dict) else FORMAT
    if found != FORMAT:
        raise BadInput(
            f"is not a result of format {FORMAT} but of {printable(str(found), 20)}; "
            "take it away and run `exabench bench run` again",
            file=file,
        )
    values = keyed(values, {field.name for field in fields(Result)} | {"format", "digest"}, file)
    digest = values.pop("digest")
    if not of and digest_of(values) != digest:
        raise BadInput("was edited: its digest does not fit its content; run `exabench bench run` again", file=file)
    del values["format"]
    try:
        result = _result(values)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise BadInput(f"does not hold what a result holds ({type(error).__name__}: {error})", file=file) from error
    if (file.parent.name, file.stem) != (result.submission, f"{result.task}.{result.candidates.name}"):
        raise BadInput("lies under another name than its content says", file=file)
    return result


def _result(values: dict[str, Any]) -> Result:
    measured = values.pop("measurement")
    convention = {key: value for key, value in measured.pop("convention").items() if key != "digest"}
    convention["text_fields"] = tuple(convention["text_fields"])
    for value in (*measured["metrics"].values(), *(v for row in measured["per_query"].values() for v in row.values())):
        if not isinstance(value, int | float):
            raise TypeError(f"{value!r} is not a number")
    measured["intervals"] = {name: (low, high) for name, (low, high) in measured["intervals"].items()}
    measurement = Measurement(convention=Convention(**convention), **measured | {"notes": tuple(measured["notes"])})
    if not isinstance(values["model"], dict):
        raise TypeError(f"model {values['model']!r} is not a table")
    cost = None if values["cost"] is None else _cost(values["cost"])
    rest = {"candidates": Candidates(**values.pop("candidates")), "cost": cost}
    return Result(measurement=measurement, **values | rest)


def _cost(values: dict[str, Any]) -> Cost:
    """A Cost from JSON, every value of its type: these numbers cannot be recomputed from the run."""
    timing = values["timing"]
    pairs = [(Cost, values), *([(Timing, timing)] if timing is not None else [])]
    for kind, given in pairs:
        for key, value in given.items():
            if key != "timing" and not _KINDS[key](value):
                raise TypeError(f"{kind.__name__.lower()}.{key} cannot be {value!r}")
    return Cost(**values | {"timing": None if timing is None else Timing(**timing)})


def _is_amount(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value >= 0


def _is_count(value: object) -> bool:
    return _is_amount(value) and isinstance(value, int)


def _is_maybe(value: object) -> bool:
    return value is None or _is_amount(value)


def _are_counts(value: object) -> bool:
    return isinstance(value, dict) and all(map(_is_count, value.values()))


def _are_quotients(value: object) -> bool:
    return isinstance(value, dict) and set(value) == {"paper", "exact"} and all(map(_is_maybe, value.values()))


def _is_text(value: object) -> bool:
    return isinstance(value, str)


_KINDS: Mapping[str, Callable[[object], bool]] = {
    **dict.fromkeys(("prompts", "input_tokens", "output_tokens", "p50", "p95"), _is_amount),
    **dict.fromkeys(("flops_paper", "flops_exact", "pairs_per_second"), _is_maybe),
    **dict.fromkeys(("cut_passages", "cut_queries", "sample"), _is_count),
    **dict.fromkeys(("rpp", "qpp"), _are_quotients),
    **dict.fromkeys(("precision", "hardware"), _is_text),
    "repairs": _are_counts,
    "parameters": lambda value: value is None or _is_count(value),
}


def keyed(values: Any, wanted: set[str], file: Path) -> dict[str, Any]:
    """A table that holds these keys and no others. Raises BadInput."""
    if not isinstance(values, dict) or set(values) != wanted:
        differing = sorted(set(values) ^ wanted) if isinstance(values, dict) else []
        raise BadInput(f"does not hold the fields that belong there ({', '.join(differing)[:200]})", file=file)
    return values
