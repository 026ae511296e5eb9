"""Stops a fit that can no longer lead."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from graft.contracts import Epoch
from graft.select.course import Course
from graft.select.curve import reached

__all__ = ["HopelessError", "Watch"]

_EPOCHS = 3
"""Before so many epochs, or half of all, nothing is stopped."""


class HopelessError(Exception):
    """A fit was stopped because it could no longer lead."""


@dataclass
class Watch:
    """Stops a fit whose curve of validation scores, drawn on, ends below what another had reached.

    Both validate by the same rows, so the two compare; two standard errors are given to chance.
    """

    course: Course
    bar: float | None
    epochs: int
    points: dict[int, float] = field(default_factory=dict)

    def __call__(self, epoch: int, report: Epoch) -> None:
        if epoch == 0:
            self.points.clear()  # another heat begins
        if self.bar is None or report.metric is None:
            return
        best = max([self.course.signed(report.metric), *self.points.values()])
        self.points[epoch + 1] = best
        if epoch + 1 < max(3, self.epochs // 2):
            return
        ends = reached(self.points, self.epochs)
        spread = _spread(self.bar, 0.1 * self.course.rows)
        if ends + 2 * spread < self.bar:
            raise HopelessError(
                f"its validation score would end at {abs(ends):.3f}, and another reached {abs(self.bar):.3f}"
            )


def _spread(score: float, rows: float) -> float:
    """Standard error of a share of rows; a tenth of the value for what is no share."""
    if 0 <= score <= 1:
        return math.sqrt(max(score * (1 - score), 0.01) / max(rows, 1.0))
    return 0.1 * abs(score)
