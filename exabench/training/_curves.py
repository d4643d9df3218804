"""Curves: what a training run was like, step by step, as curves.csv and as one figure."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import astuple, dataclass, fields
from html import escape
from pathlib import Path

from exabench.errors import BadInput
from exabench.files import lines, replacing, writing

DRAWN = 600  # points of a line in the figure; of more steps neighbours are drawn as their mean
DOTS = 80  # measurements that are marked one by one
_SMOOTH = 0.05  # the share of the steps that a smoothed value is the mean of
_LEFT, _RIGHT, _HIGH, _GAP, _TOP = 76.0, 756.0, 150.0, 50.0, 36.0
_COLOURS = "--ink: {}; --soft: {}; --line: {}; --ground: {}; --accent: {}; --faint: {}"
_LIGHT = _COLOURS.format("#1b1f24", "#57606a", "#dfe3e7", "#fcfcfb", "#0b5cad", "#9cc5ea")
_DARK = _COLOURS.format("#e4e8ec", "#a3adb8", "#2b333b", "#14181d", "#7db7f2", "#2c5f8f")
_STYLE = (
    f".curves {{ {_LIGHT} }} @media (prefers-color-scheme: dark) {{ .curves {{ {_DARK} }} }} "
    ".curves text { fill: var(--ink); font: 12px system-ui, sans-serif } .curves .soft { fill: var(--soft) } "
    ".curves .end { text-anchor: end } .curves .mid { text-anchor: middle } .curves path { fill: none } "
    ".curves .ground { fill: var(--ground) } .curves .grid { stroke: var(--line) } "
    ".curves .each { stroke: var(--faint) } .curves .line { stroke: var(--accent); stroke-width: 2 } "
    ".curves .dot { fill: var(--ground); stroke: var(--accent); stroke-width: 1.5 } "
    ".curves .best { fill: var(--accent) }"
)


@dataclass(frozen=True)
class Point:
    """One optimiser step: how many were done, epochs and groups seen by then, the step's mean loss, its learning rate,
    the gradient's norm before it was clipped, and the dev metric where it was measured behind this step."""

    step: int
    epoch: float
    groups: int
    loss: float
    rate: float
    gradient_norm: float
    dev: float | None = None


COLUMNS = tuple(field.name for field in fields(Point))


class Curves:
    """curves.csv, a line for each step in order. It holds no time, so that a resumed run writes the same bytes.

    A line is written whole by one call; `resume` comes first, and cuts off what came after the checkpoint.
    `sync` before a checkpoint, so that no machine that loses its power loses the lines before it.
    """

    def __init__(self, file: str | Path) -> None:
        self.file = Path(file)

    def resume(self, step: int = 0) -> None:
        """Keep the steps up to `step` (0: begin anew) and no byte behind them.

        Raises BadInput where the file is none, or ends before that step; CannotWrite.
        """
        kept = [point for point in self if point.step <= step] if step else []
        last = kept[-1].step if kept else 0
        if last != step:
            raise BadInput(f"ends at step {last}, before step {step}; resume from an older checkpoint", file=self.file)
        with replacing(self.file) as file:
            file.write("".join(f"{line}\n" for line in [",".join(COLUMNS), *map(_line, kept)]).encode())

    def sync(self) -> None:
        """Have every line on the disk itself. Raises CannotWrite."""
        with writing(self.file), open(self.file, "ab") as file:
            os.fsync(file.fileno())

    def add(self, point: Point) -> None:
        """One more step. Raises BadInput for a value that is no finite number, CannotWrite."""
        for name, value in zip(COLUMNS, astuple(point), strict=True):
            if value is not None and not math.isfinite(value):
                raise BadInput(f"{name} of step {point.step} is {value}, which no curve can hold", file=self.file)
        with writing(self.file), open(self.file, "ab", buffering=0) as file:
            file.write(f"{_line(point)}\n".encode())

    def __iter__(self) -> Iterator[Point]:
        """The steps. A last line that was cut is passed over. Raises BadInput with the line for anything else odd."""
        whole = _whole(self.file)
        last = 0
        for number, text in lines(self.file):
            if number > whole:
                return
            if number == 1:
                if text != ",".join(COLUMNS):
                    raise BadInput(f"must begin with {','.join(COLUMNS)}", file=self.file, line=1)
                continue
            point = _point(text, self.file, number)
            if point.step <= last:
                raise BadInput(f"step {point.step} stands behind step {last}", file=self.file, line=number)
            last = point.step
            yield point


def _whole(file: Path) -> int:
    """The lines that have their end."""
    try:
        with open(file, "rb") as stream:
            return sum(line.endswith(b"\n") for line in stream)
    except OSError as error:
        raise BadInput(f"cannot be read ({error.strerror})", file=file) from error


def _line(point: Point) -> str:
    """The same text for the same values, whether they were counted here or read back."""
    step, epoch, groups, *rest = astuple(point)
    cells = [int(step), float(epoch), int(groups), *(None if value is None else float(value) for value in rest)]
    return ",".join("" if cell is None else repr(cell) for cell in cells)


def _point(text: str, file: Path, line: int) -> Point:
    try:
        step, epoch, groups, *rest, dev = text.split(",")
        loss, rate, norm = map(float, rest)
        return Point(int(step), float(epoch), int(groups), loss, rate, norm, float(dev) if dev else None)
    except ValueError as error:
        raise BadInput(f"is no step of {', '.join(COLUMNS)}; resume from a checkpoint", file=file, line=line) from error


# -- the figure --------------------------------------------------------------------------------------------------------


def svg(curves: Iterable[Point], metric: str = "dev metric") -> str:
    """Loss (each step and smoothed), learning rate and, where it was measured, `metric` over the steps, one below the
    other. It stands alone: colours for light and dark inside, no script; show it as an image. Same points, same bytes.
    Raises BadInput where there is no step."""
    points = list(curves)
    if not points:
        raise BadInput("there is no step to draw; train at least one")
    measured = [(point.step, point.dev) for point in points if point.dev is not None]
    across = (0, points[-1].step)
    losses = [(point.step, point.loss) for point in points]
    panels = [
        _panel(
            "Loss by step, and smoothed", across, [("each", _thinned(losses)), ("line", _thinned(_smoothed(losses)))]
        ),
        _panel("Learning rate by step", across, [("line", _thinned([(point.step, point.rate) for point in points]))]),
    ]
    if measured:
        panels.append(_panel(f"{metric} by step", across, [("line", _thinned(measured))], measured))
    high = _TOP + (_HIGH + _GAP) * len(panels)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="curves" viewBox="0 0 780 {high:.0f}" width="780" '
        f'height="{high:.0f}" role="img" aria-labelledby="curves-title curves-desc">',
        '<title id="curves-title">Training curves</title>',
        f'<desc id="curves-desc">{escape(_said(points, measured, metric))}</desc><style>{_STYLE}</style>',
        '<rect class="ground" width="100%" height="100%"/>',
        *(f'<g transform="translate(0 {_TOP + i * (_HIGH + _GAP):.0f})">{panel}</g>' for i, panel in enumerate(panels)),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


_Line = Sequence[tuple[float, float]]


def _said(points: Sequence[Point], measured: _Line, metric: str) -> str:
    """The figure in words."""
    smooth = _smoothed([(point.step, point.loss) for point in points])
    text = f"Over {points[-1].step} steps the smoothed loss goes from {smooth[0][1]:.4g} to {smooth[-1][1]:.4g}"
    text += f"; the learning rate is at most {max(point.rate for point in points):.4g}"
    if measured:
        step, best = max(measured, key=lambda pair: pair[1])
        text += f"; {metric} is best at step {step:.0f} with {best:.4f}, of {len(measured)} measurements"
    return text + "."


def _smoothed(line: _Line) -> _Line:
    """Each value as the mean of those around it, a twentieth of the steps together; at the ends of fewer."""
    side = max(1, round(_SMOOTH * len(line) / 2))
    sums = [0.0]
    for _, value in line:
        sums.append(sums[-1] + value)
    found = []
    for i, (step, _) in enumerate(line):
        first, last = max(0, i - side), min(len(line), i + side + 1)
        found.append((step, (sums[last] - sums[first]) / (last - first)))
    return found


def _thinned(line: _Line) -> _Line:
    """At most DRAWN points: neighbours as their mean."""
    size = -(-len(line) // DRAWN)
    groups = [line[start : start + size] for start in range(0, len(line), size)]
    return [(group[-1][0], math.fsum(value for _, value in group) / len(group)) for group in groups]


def _panel(name: str, across: tuple[float, float], drawn: Sequence[tuple[str, _Line]], dots: _Line = ()) -> str:
    """One axis with its lines, each of a class; of the `dots` the best is a full one, and alone where they are many."""
    values = [value for line in (dots, *(line for _, line in drawn)) for _, value in line]
    ticks = _ticks(min(values), max(values))
    low, high = min(ticks[0], *values), max(ticks[-1], *values)

    def place(step: float, value: float) -> str:
        x = _LEFT + (_RIGHT - _LEFT) * (step - across[0]) / (across[1] - across[0])
        return f"{x:.1f} {_HIGH - _HIGH * (value - low) / (high - low):.1f}"

    parts = [f'<text x="{_LEFT:.0f}" y="-10">{escape(name)}</text>']
    for tick in ticks:
        y = place(0, tick).split()[1]
        parts.append(f'<path class="grid" d="M{_LEFT:.0f} {y}H{_RIGHT:.0f}"/>')
        parts.append(f'<text class="soft end" x="{_LEFT - 8:.0f}" y="{float(y) + 4:.1f}">{tick:.6g}</text>')
    for step in (tick for tick in _ticks(*across) if tick <= across[1]):
        x = place(step, low).split()[0]
        parts.append(f'<text class="soft mid" x="{x}" y="{_HIGH + 18:.0f}">{step:,.6g}</text>')
    for kind, line in drawn:
        parts.append(f'<path class="{kind}" d="M{"L".join(place(*point) for point in line)}"/>')
    best = max(dots, key=lambda point: point[1], default=None)
    for point in dots if len(dots) <= DOTS else [best] if best else []:
        x, y = place(*point).split()
        kind = "dot best" if point == best else "dot"
        said = f"<title>step {point[0]:.0f}: {point[1]:.4f}</title>"
        parts.append(f'<circle class="{kind}" cx="{x}" cy="{y}" r="4">{said}</circle>')
    return "".join(parts)


def _ticks(low: float, high: float) -> list[float]:
    """Three to seven round numbers from at or below `low` to at or above `high`."""
    if high <= low:
        low, high = (0.0, 2 * high) if high > 0 else (2 * low, 0.0) if low < 0 else (0.0, 1.0)
    power = 10.0 ** math.floor(math.log10((high - low) / 4))
    step = next(size * power for size in (1, 2, 5, 10) if size * power >= (high - low) / 5)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [number * step for number in range(first, last + 1)]
