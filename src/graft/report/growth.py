"""A learning curve as a picture: the metric over the training rows, each point, the law, and twice the rows."""

from __future__ import annotations

import math
from dataclasses import dataclass
from html import escape

from graft.evaluate.learning_curve import LearningCurve
from graft.report.axes import HEIGHT, LEFT, PANEL, TOP, number, opening, ticks

__all__ = ["growth"]

_BREADTH = 2 * PANEL
_BOTTOM, _RIGHT = TOP + HEIGHT, LEFT + _BREADTH
_STEPS = 60


@dataclass(frozen=True)
class _Frame:
    """The area that is drawn in: logarithms of the first and the last number of rows, lowest and highest value."""

    first: float
    last: float
    low: float
    high: float

    def at(self, rows: float, value: float) -> tuple[float, float]:
        across = 0.02 + 0.96 * (math.log(rows) - self.first) / (self.last - self.first)
        return LEFT + _BREADTH * across, _BOTTOM - HEIGHT * (value - self.low) / (self.high - self.low)

    def path(self, points: list[tuple[float, float]], dashes: str = "") -> str:
        steps = "L".join("{:.1f} {:.1f}".format(*self.at(*point)) for point in points)
        dashed = f' stroke-dasharray="{dashes}"' if dashes else ""
        return f'<path class="line c0" d="M{steps}"{dashed}/>'


def growth(shown: LearningCurve, metric: str) -> str:
    """The text of an SVG file; rows run on a logarithmic scale up to twice those that there are.

    Parameters
    ----------
    metric
        Its name, as people write it.
    """
    first, last = math.log(min(each.rows for each in shown.points)), math.log(2 * shown.rows)
    steps = [math.exp(first + (last - first) * step / _STEPS) for step in range(_STEPS + 1)]
    line = [] if shown.law is None else [(rows, float(shown.law(rows))) for rows in steps]
    reach = _reach(shown)
    values = [value for _, value in (*line, *reach)] + [each.value for each in shown.points]
    marks = ticks(min(values), max(values))
    frame = _Frame(first, last, marks[0], marks[-1])
    parts = [
        *opening(LEFT + _BREADTH + 30, TOP + HEIGHT + 74, f"{metric} over the training rows"),
        f'<text class="words title" x="{LEFT}" y="{TOP - 16}">{escape(f"{metric} of {shown.name}")}</text>',
        *_axes(frame, shown.rows, marks),
        f'<text class="words" x="{LEFT}" y="{_BOTTOM + 58}">{escape(str(shown))}</text>',
    ]
    if line:
        known = [point for point in line if point[0] <= shown.rows * 1.001]
        parts += [frame.path(known), frame.path([known[-1], *line[len(known) :]], "2 4")]
    if reach:
        parts.append(frame.path(reach))
    for each in shown.points:
        x, y = frame.at(each.rows, each.value)
        parts.append(f'<circle class="ring c0" cx="{x:.1f}" cy="{y:.1f}" r="3"/>')
    return "\n".join([*parts, "</svg>", ""])


def _reach(shown: LearningCurve) -> list[tuple[float, float]]:
    """The interval at twice the rows; nothing where that is not known."""
    if shown.law is None or shown.gain is None or shown.word == "unknown":
        return []
    now, then = float(shown.law(shown.rows)), 2.0 * shown.rows
    way = math.copysign(1.0, float(shown.law(then)) - now)
    return [(then, now + way * end) for end in (shown.gain.low, shown.gain.high)]


def _axes(frame: _Frame, most: int, marks: list[float]) -> list[str]:
    parts = []
    for mark in marks:
        y = frame.at(most, mark)[1]
        parts += [
            f'<path class="grid" d="M{LEFT} {y:.1f}H{_RIGHT}"/>',
            f'<text class="dim" x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{number(mark, marks)}</text>',
        ]
    for rows in (round(most * 2.0**-halved) for halved in range(-1, 4)):
        if math.log(max(rows, 1)) >= frame.first - 0.1:
            x = frame.at(rows, marks[0])[0]
            parts.append(f'<text class="dim" x="{x:.1f}" y="{_BOTTOM + 18}" text-anchor="middle">{rows}</text>')
    middle = LEFT + _BREADTH / 2
    return [
        *parts,
        f'<path class="axis" fill="none" d="M{LEFT} {TOP}V{_BOTTOM}H{_RIGHT}"/>',
        f'<text class="dim" x="{middle}" y="{_BOTTOM + 36}" text-anchor="middle">training rows</text>',
    ]
