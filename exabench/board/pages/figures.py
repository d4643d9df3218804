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
NAMED = 12  # points of a frontier that all have their names next to them; of more, those on the front


class ScorePoint(NamedTuple):
    """One system in a figure of scores: its name, the address of its page, its value; hollow for a first stage."""

    label: str
    page: str
    value: float
    interval: tuple[float, float]
    hollow: bool


class ListScores(NamedTuple):
    """The systems over a candidate list, best first; `detail` is next to the list's name."""

    label: str
    detail: str
    points: Sequence[ScorePoint]


class Span(NamedTuple):
    """One line of a ladder: from the first stage over the submission to the ceiling."""

    label: str
    detail: str
    first_stage: float
    own: float
    interval: tuple[float, float]
    ceiling: float


class CostPoint(NamedTuple):
    """One point of a frontier: what it cost (0: a first stage), what it got, and whether nothing cheaper is as good.

    `short` is written next to it, `label` is what it says of itself, and `page` is the address that it leads to.
    """

    label: str
    short: str
    page: str
    cost: float
    value: float
    interval: tuple[float, float]
    best: bool


def scores(key: str, lists: Sequence[ListScores], title: str, about: str) -> Markup:
    """A line for each system, named and linked, with its 95% interval, under the name of its candidate list."""
    row = 20
    left = 120.0
    bounds: list[float] = []
    for one in lists:
        for point in one.points:
            left = max(left, 24 + 7.0 * len(point.label[:40]))
            bounds += point.interval
    right = left + 460
    top = 8
    ticks = _ticks(min(bounds), max(bounds))
    low = ticks[0]
    high = ticks[-1]
    bottom = top + row * sum(len(one.points) + 1 for one in lists) + 8 * (len(lists) - 1)

    def x_of(value: float) -> float:
        return left + (right - left) * (value - low) / (high - low)

    parts = []
    for tick in ticks:
        x = x_of(tick)
        parts.append(_line("grid", f"M{x:.1f} {top}V{bottom}") + _text(x, bottom + 16, f"{100 * tick:g}", "num mid"))
    y = float(top)
    for one in lists:
        parts.append(_text(4, y + 14, f"{one.label}, {one.detail}", "head", limit=80))
        for point in one.points:
            y += row
            middle = y + row / 2
            start, end = (x_of(bound) for bound in point.interval)
            kind = "hollow" if point.hollow else "own"
            shown = _short(point.label, 40)
            drawn = _text(left - 12, middle + 4, shown, "lab end")
            drawn += _line("interval", f"M{start:.1f} {middle:.1f}H{end:.1f}") + _dot(
                kind, x_of(point.value), middle, 4.5
            )
            name = point.label
            if shown != name:  # who speaks to a page says what it shows, and must be understood
                name = f"{shown} ({name})"
            said = f"{name} over {one.label}: {score(point.value)}"
            parts.append(_link(point.page, said, drawn))
        y += row + 8
    return _svg(key, right + 24, bottom + 26, title, about, parts, role="group")


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
        _dot("own", left + 106, 14, 5) + _text(left + 117, 18, "submission, with 95% interval", "small"),
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


def frontier(key: str, points: Sequence[CostPoint], *, axis: str, value: str, title: str, about: str) -> Markup:
    """Value against cost, the cost on a logarithmic axis, with the front of those that nothing cheaper beats.

    `axis` names that of the cost, `value` the other. What costs nothing has a separate place at the left edge, for a
    logarithmic axis has none for it. At least one point has a cost above 0.
    """
    left = 48
    right = 620  # two figures stand side by side on a wide screen
    top = 30
    bottom = 360
    free = [point for point in points if not point.cost]
    start = left + 20  # of the logarithmic axis
    if free:
        start = left + 70
    costs = [point.cost for point in points if point.cost]
    cheap = min(costs) / 1.6  # a factor on both sides, so that nothing sits on the edge
    dear = max(costs) * 1.6
    values: list[float] = []
    for point in points:
        values += (point.value, *point.interval)
    ticks = _ticks(min(values), max(values))

    def x_of(cost: float) -> float:
        if not cost:
            return left + 24
        across = math.log(cost / cheap) / math.log(dear / cheap)
        return start + (right - start) * across

    def y_of(value: float) -> float:
        return bottom - (bottom - top) * (value - ticks[0]) / (ticks[-1] - ticks[0])

    # Both axes, with lines across.
    parts = _levels([(y_of(tick), f"{100 * tick:g}") for tick in ticks], left, right)
    marks = [(x_of(cost), f"{cost:,.12f}".rstrip("0").rstrip(".")) for cost in _log_ticks(cheap, dear)]
    if free:
        marks.append((x_of(0), "0"))
    for x, label in marks:
        parts.append(_line("grid", f"M{x:.1f} {top}V{bottom}") + _text(x, bottom + 18, label, "num mid"))
    parts.append(_text((left + right) / 2, bottom + 42, axis, "small mid"))
    parts.append(_text(left, top - 10, value, "small"))

    # The front as stairs, then every point; those of one place step aside, so that none hides another.
    ordered = sorted(points, key=lambda point: (point.best, point.cost, point.value, point.label))
    best = [point for point in ordered if point.best]
    if best:
        stairs = "".join(f"H{x_of(point.cost):.1f}V{y_of(point.value):.1f}" for point in best[1:])
        parts.append(_line("front", f"M{x_of(best[0].cost):.1f} {y_of(best[0].value):.1f}{stairs}"))
    there = Counter[tuple[int, int]]()
    places = []
    for point in ordered:
        x = x_of(point.cost)
        y = y_of(point.value)
        place = (round(x), round(y))
        x += 9 * there[place]
        there[place] += 1
        places.append((x, y))
        below, above = (y_of(bound) for bound in point.interval)
        parts.append(_line("interval", f"M{x:.1f} {above:.1f}V{below:.1f}"))
        kind = "own" if point.best else "hollow"
        said = f"{point.label}: {score(point.value)}"
        parts.append(_link(point.page, said, f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="5"/>'))

    # Names, where they meet neither another name nor the point of another: else a name would seem to be that one's.
    taken = [(x - 6, y - 6, x + 6, y + 6) for x, y in places]
    for point, (x, y), own in reversed(list(zip(ordered, places, list(taken), strict=True))):
        if not point.best and len(points) > NAMED:
            continue
        shown = _short(point.short, 36)
        wide = 6.6 * len(shown)
        for begin, base in ((x + 9, y - 8), (x - 9 - wide, y - 8), (x + 9, y + 17), (x - 9 - wide, y + 17)):
            box = (begin, base - 11, begin + wide, base + 3)
            others = [other for other in taken if other is not own]
            apart = all(box[2] < b[0] or b[2] < box[0] or box[3] < b[1] or b[3] < box[1] for b in others)
            if apart and begin > left and box[2] < right + 20:
                taken.append(box)
                ground = f'<rect class="ground" x="{begin:.1f}" y="{base - 10:.1f}" width="{wide:.1f}" height="13"/>'
                parts.append(ground + _text(begin, base, shown, "lab"))
                break
    return _svg(key, right + 24, bottom + 52, title, about, parts, "fig walk", role="group")


def _ticks(low: float, high: float) -> list[float]:
    """At most seven values at a round step, the first at or below `low`, the last at or above `high`: at least two."""
    for step in (0.01, 0.02, 0.05, 0.1, 0.2):
        first = math.floor(low / step + 1e-9)
        last = max(math.ceil(high / step - 1e-9), first + 1)
        if last - first < 7:
            break
    return [round(place * step, 2) for place in range(first, last + 1)]


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


def _svg(
    key: str,
    wide: float,
    high: float,
    title: str,
    about: str,
    parts: Sequence[str],
    kind: str = "fig",
    *,
    role: str = "img",
) -> Markup:
    """The whole figure; one with links in it has the role "group", for nothing in an image can be reached."""
    names = f'<title id="{key}-title">{_safe(title)}</title><desc id="{key}-desc">{_safe(about)}</desc>'
    size = f'viewBox="0 0 {wide:.0f} {high:.0f}" width="{wide:.0f}" height="{high:.0f}"'
    head = f'<svg class="{kind}" {size} role="{role}" aria-labelledby="{key}-title {key}-desc">'
    return Markup(head + names + "".join(parts) + "</svg>")


def _link(page: str, said: str, drawn: str) -> str:
    """What is drawn, as a link that says what it is."""
    return f'<a href="{_safe(page)}" aria-label="{_safe(said)}"><title>{_safe(said)}</title>{drawn}</a>'


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
