"""Stops a fit that can no longer lead, or whose time does not hold another epoch."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field

from graft.contracts import Epoch
from graft.progress import Enough
from graft.select.course import Course
from graft.select.curve import reached

__all__ = ["HopelessError", "Watch"]

_EPOCHS = 3
"""Before so many epochs, or half of all, nothing is stopped."""


_LONGER = 1.3
"""How many times longer than the last epoch the next one may take, with the measuring after it."""


class HopelessError(Exception):
    """A fit was stopped because it could no longer lead."""


@dataclass
class Watch:
    """Stops a fit whose curve of validation scores, drawn on, ends below what another had reached.

    Both validate by the same rows, so the two compare; two standard errors are given to chance.  A fit
    whose time does not hold another epoch ends as it is: that is a model, and one that is broken off is none.

    Parameters
    ----------
    bar
        The score that another reached; ``None``: none yet.
    heats
        How many fits share the time, one after the other.
    ends
        When their time is up, by the monotonic clock.
    """

    course: Course
    bar: float | None
    epochs: int
    heats: int = 1
    ends: float = math.inf
    points: dict[int, float] = field(default_factory=dict)
    until: float = math.inf
    """When the time of the heat under way is up."""

    def __call__(self, epoch: int, report: Epoch) -> None:
        if epoch == 0:  # another heat begins
            self.points.clear()
            self.until = time.monotonic() - report.seconds
            self.until += (self.ends - self.until) / max(self.heats, 1)
            self.heats -= 1
        self._hopeless(epoch, report)
        if epoch + 1 < self.epochs and time.monotonic() + _LONGER * report.seconds > self.until:
            raise Enough

    def _hopeless(self, epoch: int, report: Epoch) -> None:
        if self.bar is None or report.metric is None:
            return
        best = max([self.course.signed(report.metric), *self.points.values()])
        self.points[epoch + 1] = best
        if epoch + 1 < max(3, self.epochs // 2):
            return
        ends = reached(self.points, self.epochs)
        rows = 0.1 * self.course.rows
        if ends + 2 * math.hypot(_spread(ends, rows), _spread(self.bar, rows)) < self.bar:
            raise HopelessError(
                f"its validation score would end at {abs(ends):.3f}, and another reached {abs(self.bar):.3f}"
            )


def _spread(score: float, rows: float) -> float:
    """Standard error of a share of rows; a tenth of the value for what is no share."""
    if 0 <= score <= 1:
        return math.sqrt(max(score * (1 - score), 0.01) / max(rows, 1.0))
    return 0.1 * abs(score)
