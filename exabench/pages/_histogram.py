"""How many queries gain or lose how much: a figure as SVG text, same numbers in, same bytes out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from markupsafe import Markup

from exabench.pages._format import MINUS, count
from exabench.pages.figures import _line, _svg, _text

STEPS = 10  # bars on either side of nothing, each as wide as a tenth
_LEFT, _WIDE, _BOTTOM, _TALL, _BAR = 44, 33, 150, 110, 29


def step(difference: float) -> int:
    """The bar of a difference: 0 for none at all, 1 for more than 0 up to a tenth, 2 up to two tenths, and so on."""
    if difference == 0:
        return 0
    places = min(STEPS, int(abs(difference) * STEPS - 1e-9) + 1)
    return places if difference > 0 else -places


def histogram(key: str, differences: Sequence[float], title: str, about: str) -> Markup:
    """Differences to the first stage as bars with their counts, losses left, those that stay in the middle."""
    counts = Counter(map(step, differences))
    highest = max(counts.values(), default=1)
    parts = [_line("axis", f"M{_LEFT - 6} {_BOTTOM}H{_LEFT + _WIDE * (2 * STEPS + 1)}")]
    for place in range(-STEPS, STEPS + 1):
        x, number = _LEFT + _WIDE * (place + STEPS), counts.get(place, 0)
        if number:
            high = max(1.0, _TALL * number / highest)
            kind = "gain" if place > 0 else "loss" if place < 0 else "same"
            parts.append(_line(kind, f"M{x} {_BOTTOM}v{-high:.1f}h{_BAR}V{_BOTTOM}z"))
            parts.append(_text(x + _BAR / 2, _BOTTOM - high - 5, count(number), "num mid"))
        parts += [_text(x + _BAR / 2, _BOTTOM + 17, _label(place), "num mid")] if place % 2 == 0 else []
    middle = _LEFT + _WIDE * (STEPS + 0.5)
    parts.append(_text(middle, _BOTTOM + 38, "points lost or gained, up to", "small mid"))
    return _svg(key, _LEFT + _WIDE * (2 * STEPS + 1) + 10, _BOTTOM + 50, title, about, parts)


def _label(place: int) -> str:
    text = f"{100 * place // STEPS}"
    return text.replace("-", MINUS) if place <= 0 else f"+{text}"
