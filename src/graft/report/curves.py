"""How training went, as a picture: loss and metric over the epochs, one self-contained SVG."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from graft.report.axes import COLOURS, HEIGHT, LEFT, LINE, PANEL, TOP, WIDTH, number, opening, ticks

__all__ = ["Curve", "curves"]

_SHORT, _LONG = 38, 90
"""Letters of a name that has half the width in the legend, and of one that has all of it."""


@dataclass(frozen=True)
class Curve:
    """One trial.

    Parameters
    ----------
    loss, metric
        A value an epoch; ``None`` or ``nan`` where there is none, and the line has a gap.
    kept
        Place of the epoch whose weights were kept, from 0; ``None`` where none was chosen.
    """

    name: str
    loss: Sequence[float | None]
    metric: Sequence[float | None]
    kept: int | None = None


def curves(shown: Sequence[Curve], metric: str) -> str:
    """Two panels side by side, the training loss and the validation metric, as the text of an SVG file.

    It has its own colours for light and for dark surroundings, and needs nothing from elsewhere.

    Parameters
    ----------
    metric
        Its name, as people write it.
    """
    legend = TOP + HEIGHT + 58
    beside = 2 if all(len(each.name) <= _SHORT for each in shown) else 1
    width, height = 2 * WIDTH + 10, legend + LINE * (math.ceil(len(shown) / beside) + 1) + 8
    parts = [
        *opening(width, height, f"Training loss and {metric} over the epochs"),
        *_panel(0, "training loss", [each.loss for each in shown], shown),
        *_panel(WIDTH, f"{metric} on validation rows", [each.metric for each in shown], shown),
    ]
    for place, each in enumerate(shown):
        x, y = LEFT + WIDTH * (place % beside), legend + LINE * (place // beside)
        parts += [
            f'<path class="line {_class(place)}" d="M{x} {y - 4}h26"{_dash(place)}/>',
            f'<text class="words" x="{x + 34}" y="{y}">{escape(_short(each.name))}</text>',
        ]
    if any(each.kept is not None for each in shown):
        parts += [
            f'<circle class="ring axis" cx="{LEFT + 13}" cy="{height - 16}" r="5.5"/>',
            f'<text class="dim" x="{LEFT + 34}" y="{height - 12}">the epoch whose weights were kept</text>',
        ]
    return "\n".join([*parts, "</svg>", ""])


def _class(place: int) -> str:
    return f"c{place % len(COLOURS)}"


def _dash(place: int) -> str:
    turn = place // len(COLOURS)
    return f' stroke-dasharray="{2 + 4 * (turn % 3)} 4"' if turn else ""


def _short(name: str) -> str:
    """What fits into a line; names of trials differ at their ends."""
    half = _LONG // 2
    return name if len(name) <= _LONG else f"{name[: half - 1]}…{name[-half:]}"


def _panel(x: int, title: str, lines: Sequence[Sequence[float | None]], shown: Sequence[Curve]) -> list[str]:
    """A frame with its axes, a line a curve, and a ring at the epoch that was kept."""
    left, top, bottom, right = x + LEFT, TOP, TOP + HEIGHT, x + LEFT + PANEL
    last = max((len(line) for line in lines), default=1)
    known = [value for line in lines for value in line if value is not None and math.isfinite(value)]
    parts = [f'<text class="words title" x="{left}" y="{top - 16}">{escape(title)}</text>']
    if not known:
        return [*parts, f'<text class="dim" x="{left + 12}" y="{top + 24}">not measured</text>']
    marks = ticks(min(known), max(known))
    low, high = marks[0], marks[-1]

    def across(epoch: int) -> float:
        return left + PANEL * (epoch - 0.5) / last

    def up(value: float) -> float:
        return bottom - HEIGHT * (value - low) / (high - low)

    for tick in marks:
        y = f"{up(tick):.1f}"
        parts += [
            f'<path class="grid" d="M{left} {y}H{right}"/>',
            f'<text class="dim" x="{left - 8}" y="{up(tick) + 4:.1f}" text-anchor="end">{number(tick, marks)}</text>',
        ]
    for epoch in _epochs(last):
        parts.append(f'<text class="dim" x="{across(epoch):.1f}" y="{bottom + 18}" text-anchor="middle">{epoch}</text>')
    parts.append(f'<path class="axis" fill="none" d="M{left} {top}V{bottom}H{right}"/>')
    parts.append(f'<text class="dim" x="{left + PANEL / 2}" y="{bottom + 36}" text-anchor="middle">epoch</text>')
    for place, (line, curve) in enumerate(zip(lines, shown, strict=True)):
        points = [
            (across(epoch), up(value)) if value is not None and math.isfinite(value) else None
            for epoch, value in enumerate(line, start=1)
        ]
        parts += _drawn(points, place)
        kept = points[curve.kept] if curve.kept is not None and curve.kept < len(points) else None
        if kept is not None:
            parts.append(f'<circle class="ring {_class(place)}" cx="{kept[0]:.1f}" cy="{kept[1]:.1f}" r="5.5"/>')
    return parts


def _drawn(points: Sequence[tuple[float, float] | None], place: int) -> list[str]:
    """A path with a gap where a value is missing; a dot where a value has no neighbour."""
    steps, dots = [], []
    for at, point in enumerate(points):
        if point is None:
            continue
        before = at > 0 and points[at - 1] is not None
        after = at + 1 < len(points) and points[at + 1] is not None
        steps.append(f"{'L' if before else 'M'}{point[0]:.1f} {point[1]:.1f}")
        if not before and not after:
            dots.append(f'<path class="dot {_class(place)}" d="M{point[0]:.1f} {point[1]:.1f}h0"/>')
    return [f'<path class="line {_class(place)}" d="{"".join(steps)}"{_dash(place)}/>', *dots]


def _epochs(last: int) -> list[int]:
    """Which epochs carry a number: not more than ten."""
    step = next(each for each in (1, 2, 5, 10, 20, 50, 100, 200, 500, last) if last / each <= 10)
    return [each for each in range(1, last + 1) if each == 1 or each % step == 0]
