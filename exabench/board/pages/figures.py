"""The figures, as SVG text: same numbers in, same bytes out; colours and fonts come from style.css."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from html import escape
from typing import NamedTuple

from markupsafe import Markup

from exabench.board.pages._format import clean, score, signed

BARS = 720  # bars in a plot of differences; of more queries these many are drawn, evenly spaced
GROUP = 94  # units that a candidate list in a panel is wide, at least
SIGN = 6.7  # units for each sign of its name
LABEL = 24  # signs of its name that are shown
VALUE = "Mean nDCG@10 x 100"  # the vertical axis of a frontier


class ListScores(NamedTuple):
    """The column of a candidate list in a panel: its own score, its ceiling, and those who reranked it."""

    label: str
    detail: str
    first_stage: float | None
    ceiling: float | None
    values: Sequence[float]


class Span(NamedTuple):
    """One line of a ladder: from the first stage over the submission to the ceiling."""

    label: str
    detail: str
    first_stage: float
    own: float
    interval: tuple[float, float]
    ceiling: float


class CostPoint(NamedTuple):
    """One point of a frontier: what it cost (above 0) and what it got; `best` where nothing cheaper is as good.

    `short` is written beside the best, `label` is what the point says of itself.
    """

    label: str
    short: str
    cost: float
    value: float
    interval: tuple[float, float]
    best: bool


def panels(key: str, figures: Sequence[tuple[str, Sequence[ListScores]]], title: str, about: str) -> Markup:
    """Small multiples: for each task, scores over each candidate list between its own score and its ceiling."""
    longest = 0
    most = 1
    for _, lists in figures:
        most = max(most, len(lists))
        for one in lists:
            longest = max(longest, len(one.label))
    each = max(GROUP, round(SIGN * min(LABEL, longest)) + 8)
    wide = max(210 if len(figures) > 1 else 380, 60 + each * most)
    high = 214
    across = max(1, min(len(figures), 940 // wide))  # panels beside each other, within the width of a page
    parts = [
        _dot("own", 8, 10, 4) + _text(18, 14, "submission", "small"),
        _line("first", "M102 10h18") + _text(126, 14, "first stage, not reranked", "small"),
        _line("ceiling", "M284 10h18") + _text(308, 14, "ceiling: best possible order", "small"),
    ]
    left = 30
    right = wide - 14
    bottom = 164
    tall = 136  # of a score from 0 to 100
    for place, (name, lists) in enumerate(figures):
        parts.append(f'<g transform="translate({place % across * wide} {30 + place // across * high})">')
        parts.append(_text(left, 14, name, "head", limit=int(wide / 7.5)))
        parts += _levels([(bottom - tall * tick / 100, str(tick)) for tick in range(0, 101, 25)], left, right, 6)
        for number, one in enumerate(lists):
            x = left + (right - left) * (number + 0.5) / len(lists)
            for kind, value in (("ceiling", one.ceiling), ("first", one.first_stage)):
                if value is not None:
                    parts.append(_line(kind, f"M{x - 14:.1f} {bottom - tall * value:.1f}h28"))
            # From the lowest up, so that neighbours in the list are neighbours in the figure.
            for rank, value in enumerate(sorted(one.values)):
                aside = 6 * ((rank + 1) // 2 % 3)  # neighbours step aside so that none hides another
                if rank % 2:
                    aside = -aside
                parts.append(_dot("own", x + aside, bottom - tall * value, 4))
            parts.append(_text(x, bottom + 17, one.label, "lab mid", limit=LABEL))
            parts.append(_text(x, bottom + 32, one.detail, "small mid", limit=12))
        parts.append("</g>")
    rows = -(-len(figures) // across)
    return _svg(key, max(wide * across, 480), 30 + rows * high, title, about, parts)


def ladder(key: str, spans: Sequence[Span], about: str) -> Markup:
    """For each result a line from the first stage over the submission (with its interval) to the ceiling."""
    left = 20.0
    for one in spans:  # widths of a sign in either size of type
        left = max(left, 20 + len(one.label[:30]) * 7.4, 20 + len(one.detail[:34]) * 6.2)
    wide = 480
    high = 34
    top = 54
    bottom = top + high * len(spans)
    parts = [
        _dot("hollow", left + 5, 14, 4.5) + _text(left + 16, 18, "first stage", "small"),
        _dot("own", left + 106, 14, 5) + _text(left + 117, 18, "submission, with 95 % interval", "small"),
        _line("ceiling", f"M{left + 312:.1f} 6v16") + _text(left + 321, 18, "ceiling", "small"),
    ]
    for tick in range(0, 101, 20):
        x = left + wide * tick / 100
        parts.append(_line("grid", f"M{x:.1f} {top - 6}V{bottom}") + _text(x, bottom + 18, str(tick), "num mid"))
    for place, one in enumerate(spans):
        y = top + high * place + high / 2
        first = left + wide * one.first_stage
        own = left + wide * one.own
        end = left + wide * one.ceiling
        low, high_end = (left + wide * bound for bound in one.interval)
        parts += [
            _text(left - 14, y - 1, one.label, "lab end", limit=30),
            _text(left - 14, y + 12, one.detail, "small end", limit=34),
            _line("track", f"M{first:.1f} {y:.1f}H{end:.1f}"),
            _line("interval", f"M{low:.1f} {y:.1f}H{high_end:.1f}"),
            _line("ceiling", f"M{end:.1f} {y - 8:.1f}v16"),
            _dot("hollow", first, y, 4.5),
            _dot("own", own, y, 5),
            _text(own, y - 8, score(one.own), "num mid"),
        ]
    return _svg(key, left + wide + 40, bottom + 28, "First stage, submission and ceiling on every task", about, parts)


def bars(key: str, differences: Sequence[float], about: str) -> Markup:
    """Per-query differences, largest gain first, as two areas around a zero line."""
    left = 44
    wide = 720
    middle = 108
    tall = 90
    drawn = sorted(differences, reverse=True)
    if len(drawn) > BARS:
        drawn = [drawn[place * (len(drawn) - 1) // (BARS - 1)] for place in range(BARS)]
    width = wide / max(1, len(drawn))
    gap = min(1.0, width / 5)
    ticks = ((middle - tall * tick, signed(tick)[:-2]) for tick in (1.0, 0.5, 0.0, -0.5, -1.0))
    parts = [*_levels(ticks, left, left + wide), _line("axis", f"M{left} {middle}H{left + wide}")]
    shapes = {"gain": "", "loss": ""}
    for place, value in enumerate(drawn):
        if value:
            kind = "gain" if value > 0 else "loss"
            x = left + place * width
            shapes[kind] += f"M{x:.2f} {middle}v{-tall * value:.2f}h{width - gap:.2f}V{middle}z"
    parts += [_line(kind, shape) for kind, shape in shapes.items() if shape]
    return _svg(key, left + wide + 10, 2 * middle, "Difference to the first stage, query by query", about, parts)


def frontier(
    key: str, points: Sequence[CostPoint], levels: Sequence[tuple[str, float]], *, axis: str, title: str, about: str
) -> Markup:
    """Value against cost, the cost on a logarithmic axis, with the front of those that nothing cheaper beats.

    `levels` are named values that cost nothing, which a logarithmic axis has no place for: lines across.
    """
    left = 48
    right = 760
    top = 30
    bottom = 360
    cheap = min(point.cost for point in points) / 1.6  # a factor on both sides, so that nothing sits on the edge
    dear = max(point.cost for point in points) * 1.6
    # The vertical axis begins and ends at a multiple of five points around all that is drawn.
    values = [value for _, value in levels]
    for point in points:
        values += (point.value, *point.interval)
    low = max(0.0, math.floor(20 * min(values)) / 20)
    high = max(math.ceil(20 * max(values)) / 20, low + 0.05)

    def x_of(cost: float) -> float:
        across = math.log(cost / cheap) / math.log(dear / cheap)
        return left + (right - left) * across

    def y_of(value: float) -> float:
        return bottom - (bottom - top) * (value - low) / (high - low)

    # Both axes, with lines across.
    step = 20
    if high - low <= 0.8:
        step = 10
    if high - low <= 0.4:
        step = 5
    ticks = range(-(-round(100 * low) // step) * step, round(100 * high) + 1, step)
    parts = _levels([(y_of(tick / 100), str(tick)) for tick in ticks], left, right)
    for cost in _log_ticks(cheap, dear):
        x = x_of(cost)
        parts.append(_line("grid", f"M{x:.1f} {top}V{bottom}"))
        parts.append(_text(x, bottom + 18, f"{cost:,.12f}".rstrip("0").rstrip("."), "num mid"))
    parts.append(_text((left + right) / 2, bottom + 42, axis, "small mid"))
    parts.append(_text(left, top - 10, VALUE, "small"))

    taken: list[tuple[float, float, float, float]] = []  # by texts, of which none may hide another

    def put(text: str, kind: str, places: Sequence[tuple[float, float, str]]) -> None:
        """Write a text at the first place where it meets no other and stays inside; nowhere if there is none."""
        shown = _short(text, 36)
        wide = 6.6 * len(shown)
        for x, y, side in places:
            start = x - wide if side else x
            box = (start, y - 11, start + wide, y + 3)
            apart = all(box[2] < b[0] or b[2] < box[0] or box[3] < b[1] or b[3] < box[1] for b in taken)
            if apart and start > 2 and box[2] < 782:
                taken.append(box)
                parts.append(f'<rect class="ground" x="{start:.1f}" y="{y - 10:.1f}" width="{wide:.1f}" height="13"/>')
                parts.append(_text(x, y, shown, f"{kind} {side}".strip()))
                return

    for name, value in sorted(levels, key=lambda level: -level[1]):
        y = y_of(value)
        parts.append(_line("ceiling", f"M{left} {y:.1f}H{right}"))
        put(name, "small", [(right - 4, y - 5, "end"), (right - 4, y + 13, "end")])

    # The front as stairs, then every point with its interval, then the names of those on the front.
    ordered = sorted(points, key=lambda point: (point.best, point.cost, point.value, point.label))
    best = [point for point in ordered if point.best]
    if best:
        stairs = "".join(f"H{x_of(point.cost):.1f}V{y_of(point.value):.1f}" for point in best[1:])
        parts.append(_line("front", f"M{x_of(best[0].cost):.1f} {y_of(best[0].value):.1f}{stairs}"))
    there = Counter[tuple[int, int]]()  # those of one place step aside, so that none hides another
    for point in ordered:
        x = x_of(point.cost)
        y = y_of(point.value)
        place = (round(x), round(y))
        x += 9 * there[place]
        there[place] += 1
        below, above = (y_of(bound) for bound in point.interval)
        parts.append(_line("interval", f"M{x:.1f} {above:.1f}V{below:.1f}"))
        title_of_point = _safe(f"{point.label}: {score(point.value)}")
        circle = f'<circle class="{"own" if point.best else "hollow"}" cx="{x:.1f}" cy="{y:.1f}" r="5">'
        parts.append(f"{circle}<title>{title_of_point}</title></circle>")
    for point in reversed(best):
        x = x_of(point.cost)
        y = y_of(point.value)
        put(
            point.short,
            "lab",
            [(x - 9, y - 8, "end"), (x + 9, y + 17, ""), (x + 9, y - 8, ""), (x - 9, y + 17, "end")],
        )
    return _svg(key, right + 24, bottom + 52, title, about, parts, "fig walk")


def _log_ticks(low: float, high: float) -> list[float]:
    """Powers of ten between the two, with multiples of them where these are few, and not all where they are many."""
    # Three decades and more have enough with powers of ten.
    digits = [1]
    if high / low < 1000:
        digits = [1, 2, 5]
    if high / low < 5:
        digits = list(range(1, 10))
    ticks = []
    for power in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1):
        for digit in digits:
            tick = float(f"{digit}e{power}")
            if low <= tick <= high:
                ticks.append(tick)
    return ticks[:: -(-len(ticks) // 9)]


def _svg(key: str, wide: float, high: float, title: str, about: str, parts: Sequence[str], kind: str = "fig") -> Markup:
    names = f'<title id="{key}-title">{_safe(title)}</title><desc id="{key}-desc">{_safe(about)}</desc>'
    size = f'viewBox="0 0 {wide:.0f} {high:.0f}" width="{wide:.0f}" height="{high:.0f}"'
    head = f'<svg class="{kind}" {size} role="img" aria-labelledby="{key}-title {key}-desc">'
    return Markup(head + names + "".join(parts) + "</svg>")


def _safe(text: str) -> str:
    return escape(clean(text))


def _short(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "\N{HORIZONTAL ELLIPSIS}"


def _text(x: float, y: float, text: str, kind: str, limit: int = 200) -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}">{_safe(_short(text, limit))}</text>'


def _line(kind: str, path: str) -> str:
    return f'<path class="{kind}" d="{path}"/>'


def _dot(kind: str, x: float, y: float, radius: float) -> str:
    return f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="{radius}"/>'


def _levels(ticks: Iterable[tuple[float, str]], left: float, right: float, apart: float = 8) -> list[str]:
    """The ticks of a vertical axis, (y, label), each with a line across."""
    parts = []
    for y, label in ticks:
        parts.append(_line("grid", f"M{left} {y:.1f}H{right}") + _text(left - apart, y + 4, label, "num end"))
    return parts
