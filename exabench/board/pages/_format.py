"""Values as text for pages: numbers, p-values, training data, and texts of submissions made harmless."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

from markupsafe import Markup

from exabench.bench.excerpts import shorten
from exabench.bench.submissions import LINK, NAME
from exabench.board.summaries import first_stage
from exabench.core.files import toml_text
from exabench.core.nouns import Credit, Submission

MINUS = "\N{MINUS SIGN}"
NOTHING = "\N{EN DASH}"

# What HTML and XML forbid, and the marks that turn text around or hide in it: shown, but without their effect.
_ENDS_OF_PLANES = "".join(chr(end) + chr(end + 1) for end in range(0xFFFE, 0x110000, 0x10000))
_FORBIDDEN = re.compile(rf"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef{_ENDS_OF_PLANES}]")
_TURNING = re.compile(r"[\u061c\u200b\u200e\u200f\u202a-\u202e\u2028\u2029\u2060-\u2069\ufeff]")


def clean(text: str) -> str:
    """`text` without a character that a page cannot hold or that would turn the text around it."""
    if text.isascii() and text.isprintable():
        return text
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    text = _FORBIDDEN.sub("\N{REPLACEMENT CHARACTER}", text)
    return _TURNING.sub(lambda match: f"<U+{ord(match[0]):04X}>", text)


def clean_texts(value: Any) -> Any:
    """`value` with every text in it clean, tuples as lists."""
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, dict):
        return {clean(key): clean_texts(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [clean_texts(part) for part in value]
    return value


def harmless(value: Any) -> Any:
    """Clean a value of a template expression, before it is escaped."""
    return clean(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def score(value: float | None) -> str:
    """A fraction as points with one decimal: 0.5924 reads 59.2."""
    return NOTHING if value is None else f"{100 * value:.1f}".replace("-", MINUS)


def signed(value: float | None) -> str:
    """A difference of fractions as points with its sign; what rounds to nothing has none."""
    if value is None:
        return NOTHING
    text = f"{100 * value:+.1f}"
    return "0.0" if text in ("+0.0", "-0.0") else text.replace("-", MINUS)


def span(bounds: Iterable[float] | None) -> str:
    """An interval of scores."""
    return NOTHING if bounds is None else NOTHING.join(map(score, bounds))


def signed_span(bounds: Iterable[float], queries: int) -> str:
    """An interval of differences on that many queries; a single query has none."""
    if queries == 1:
        return "no interval: one query"
    return " to ".join(map(signed, bounds))


def p_value(value: float | None) -> str:
    """A p-value with three decimals, or the bound below which they say no more."""
    if value is None:
        return NOTHING
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def more_queries(value: float | None) -> str:
    """A number of queries to two digits, for it is a rough one; beyond 10,000 it says no more than that."""
    if value is None:
        return NOTHING
    if value > 10_000:
        return "more than 10,000"
    digits = len(str(math.ceil(value)))
    return f"{round(value, min(0, 2 - digits)) or 1:,.0f}"


def percent(value: float) -> str:
    """A share: 0.1234 reads 12.3%."""
    return f"{100 * value:.1f}%"


def share(value: float | None) -> str:
    """A share that may be small: 0.1234 reads 12%, 0.0004 < 0.1%, 0 reads 0%."""
    if value is None:
        return NOTHING
    if 0 < value < 0.001:
        return "< 0.1%"
    places = 1 if 0 < value < 0.0995 else 0
    return f"{100 * value:.{places}f}%"


def effect(value: float | None) -> str:
    """An effect size with its sign; None where the differences do not vary."""
    if value is None:
        return NOTHING
    text = f"{value:+.2f}".replace("-", MINUS)
    return "0.00" if text[1:] == "0.00" else text


def count(value: int | None) -> str:
    """A whole number with thousands apart."""
    return NOTHING if value is None else f"{value:,}"


def three_digits(value: float | None, unit: float = 1) -> str:
    """An amount in a unit with three digits that count, and thousands apart: 0.0312, 4.70, 1,250."""
    if value is None:
        return NOTHING
    amount = value / unit
    for _ in range(2):  # rounded twice, for 9.996 has two decimals and 10.0 has one
        places = max(0, 2 - math.floor(math.log10(abs(amount)))) if amount else 0
        amount = round(amount, places)
    return f"{amount:,.{places}f}".replace("-", MINUS)


def https(link: str) -> str:
    """`link` where it is a plain https address, otherwise nothing: no other scheme becomes a link."""
    return link if LINK.fullmatch(link) else ""


def address(contact: str) -> str:
    """What a contact links to: a page or a mail box; nothing for an @handle, of which no one knows where it is."""
    if "@" in contact[1:] and not contact.startswith("https:"):
        return f"mailto:{contact}"
    return https(contact)


def model_link(submission: Submission) -> str:
    """Where the model is: its page on the Hub, or the address that its sender gives."""
    if (
        submission.kind == "model"
        and not submission.revision.startswith("sha256:")
        and NAME.fullmatch(submission.model)
    ):
        return f"https://huggingface.co/{submission.model}"
    return https(submission.link)


def site(link: str) -> str:
    """What a link to a model is called: the Hub, or the host that it leads to."""
    if link.startswith("https://huggingface.co/"):
        return "Hub"
    return (urlsplit(link).hostname or "").removeprefix("www.")


def short_name(name: str) -> tuple[str, str]:
    """A system's name in two parts, of which the second is enough on a narrow screen: "owner/", "model"."""
    for sign in (": ", "/"):
        front, found, rest = name.partition(sign)
        if found:
            return front + sign, rest
    return "", name


def training(of: Submission | Credit, most: int = sys.maxsize) -> str:
    """The training data in one line: the first `most`, and how many more there are (never one)."""
    data = of.training_data
    if isinstance(data, str):
        return data
    if len(data) - 1 > most:
        return f"{', '.join(data[:most])} and {len(data) - most} more"
    return ", ".join(data) or "none"


def anchor(id: str) -> str:
    """An id as an address can hold it."""
    return re.sub(r"[^!-~]", "_", id)


FILTERS: Mapping[str, Callable[..., Any]] = {
    function.__name__: function
    for function in (
        score, signed, span, signed_span, p_value, percent, share, more_queries, effect, count, three_digits, https,
        address, model_link, site, short_name, training, first_stage, toml_text, anchor, shorten
    )
}  # fmt: skip
