"""How fast a network reads rows here, measured while it does."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

from graft.progress import Advance, Progress

__all__ = ["Pace"]

_FEWEST = 16
"""Rows below which the time of the first batch says little."""


class Pace:
    """A display that measures how long the rows take that it is told of.

    A pass that keeps its features tells first, at once, how many rows it found in the cache.

    Parameters
    ----------
    shown
        The display to pass everything on to.
    """

    def __init__(self, shown: Progress) -> None:
        self.shown = shown
        self.rows = 0
        self.spent = 0.0

    @property
    def seconds(self) -> float | None:
        """That a row took; ``None`` where too few were computed."""
        return self.spent / self.rows if self.rows >= _FEWEST else None

    @contextlib.contextmanager
    def step(self, label: str, total: int) -> Iterator[Advance]:
        """As :meth:`~graft.progress.Progress.step`."""
        with self.shown.step(label, total) as advance:
            told: list[tuple[float, int]] = []

            def timed(done: int = 1, /) -> None:
                told.append((time.monotonic(), done))
                advance(done)

            yield timed
            if len(told) > 1:
                self.spent += told[-1][0] - told[0][0]
                self.rows += sum(done for _, done in told[1:])
