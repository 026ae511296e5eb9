"""What pictures share: sizes, colours for light and for dark surroundings, round numbers along an axis."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from html import escape

__all__ = ["COLOURS", "HEIGHT", "LEFT", "LINE", "PANEL", "TOP", "WIDTH", "number", "opening", "stacked", "ticks"]

WIDTH = 380
PANEL = 290
HEIGHT = 200
"""Of a panel with its labels, and of the area that is drawn in."""
LEFT = 64
TOP = 34
LINE = 20
COLOURS = (
    ("#0b62a8", "#6cb6ff"), ("#b8500a", "#ffa657"), ("#0b7a5a", "#56d3a4"),
    ("#a3338f", "#f08bdc"), ("#7a6a00", "#e3cf4b"), ("#4b4f58", "#b6bcc8"),
)  # fmt: skip
"""Of each line, on white and on black; beyond them lines are dashed."""

_STYLE = """
.page { fill: #ffffff } .words { fill: #24292f } .dim { fill: #57606a }
.grid { stroke: #d8dee4 } .axis { stroke: #57606a }
text { font: 12px system-ui, sans-serif } .title { font-weight: 600 }
.line { fill: none; stroke-width: 2; stroke-linejoin: round } .ring { fill: none; stroke-width: 2 }
"""
_DARK = """
.page { fill: #0d1117 } .words { fill: #e6edf3 } .dim { fill: #9da7b3 }
.grid { stroke: #30363d } .axis { stroke: #9da7b3 }
"""


def opening(width: int, height: int, label: str) -> list[str]:
    """The start of a picture of this size; ``label`` says what it shows to those who do not see it."""
    return [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'role="img" aria-label="{escape(label)}">',
        f"<style>{_STYLE}{_strokes(0)}@media (prefers-color-scheme: dark) {{{_DARK}{_strokes(1)}}}</style>",
        f'<rect class="page" width="{width}" height="{height}"/>',
    ]


def stacked(pictures: Sequence[str]) -> str:
    """Pictures below each other, as one."""
    if len(pictures) == 1:
        return pictures[0]
    sizes = [re.search(r'width="(\d+)" height="(\d+)"', each) for each in pictures]
    widths, heights = ([int(each[place]) for each in sizes if each] for place in (1, 2))
    inner = [
        each.replace("<svg ", f'<svg y="{sum(heights[:place])}" ', 1).strip() for place, each in enumerate(pictures)
    ]
    width, height = max(widths), sum(heights)
    start = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}">'
    return "\n".join([start, *inner, "</svg>", ""])


def _strokes(surroundings: int) -> str:
    return " ".join(f".c{place} {{ stroke: {each[surroundings]} }}" for place, each in enumerate(COLOURS))


def ticks(low: float, high: float) -> list[float]:
    """Four to seven round numbers around ``low`` and ``high``."""
    if low == high:  # a flat line lies in the middle
        half = abs(high) / 10 or 1.0
        low, high = low - half, high + half
    spread = high - low
    rough = 10 ** math.floor(math.log10(spread / 4))
    step = next(rough * factor for factor in (1, 2, 2.5, 5, 10) if spread / (rough * factor) <= 5)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [place * step for place in range(first, max(last, first + 1) + 1)]


def number(value: float, marks: Sequence[float]) -> str:
    """A number beside an axis, with as many digits as its marks need."""
    step = marks[1] - marks[0]
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    digits += not math.isclose(round(step, digits), step, rel_tol=1e-6)
    small = 1e-4 <= max(abs(mark) for mark in marks) < 1e5
    return f"{value + 0.0:.{digits}f}" if small else f"{value:.1e}"
