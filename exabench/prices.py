"""What a teacher's tokens cost: a dated price table that its user writes, and exact sums over it.

A model is a table of the TOML file, its figures texts so that they stay what was typed, in money per million tokens:

    ["owner/model"]
    date = "..."     # the day on which the source said so
    source = "..."   # where
    prompt = "..."
    output = "..."

The table that comes with exabench is empty: prices change, and no figure is given here that nobody looked up.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal, InvalidOperation, localcontext
from pathlib import Path
from typing import Any

from exabench.errors import BadInput
from exabench.files import read_toml

TABLE = Path(__file__).parent / "prices.toml"
UNPRICED = "unpriced"


@dataclass(frozen=True)
class Price:
    """What a million tokens of a model cost, read and written, on the day that `source` said so."""

    date: date
    source: str
    prompt: Decimal
    output: Decimal


def prices(file: str | Path = TABLE) -> dict[str, Price]:
    """The price table in a TOML file, by model. Raises BadInput for what is no price with its day and source."""
    return {model: _price(model, values, file) for model, values in read_toml(file).items()}


def money(tokens: Mapping[str, tuple[int, int]], table: Mapping[str, Price]) -> Decimal | None:
    """The exact price of tokens (read, written) by model; None as soon as one model that took any is unpriced."""
    total = Decimal(0)
    with localcontext(prec=60):
        for model, (read, written) in tokens.items():
            if not (read or written):
                continue
            if model not in table:
                return None
            total += (read * table[model].prompt + written * table[model].output) / 1_000_000
    return total


def price_text(amount: Decimal | None) -> str:
    """An amount as people read it, never rounded; "unpriced" for None."""
    if amount is None:
        return UNPRICED
    text = f"{amount:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _price(model: str, values: Any, file: str | Path) -> Price:
    if not isinstance(values, dict) or values.keys() != {"date", "source", "prompt", "output"}:
        raise BadInput("a price has date, source, prompt and output", file=file, id=model)
    if not all(isinstance(value, str) and value for value in values.values()):
        raise BadInput('a price is given as texts, as in prompt = "0.25"', file=file, id=model)
    try:
        read, written = Decimal(values["prompt"]), Decimal(values["output"])
        day = date.fromisoformat(values["date"])
    except (InvalidOperation, ValueError) as error:
        raise BadInput("a price has decimal figures and a date like 2026-01-31", file=file, id=model) from error
    if not all(figure.is_finite() and 0 <= figure < 10**9 for figure in (read, written)):
        raise BadInput("a price is no negative or endless number", file=file, id=model)
    return Price(day, values["source"], read, written)
