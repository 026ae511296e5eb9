"""How much of a budget of time is left, and what ends when none is."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterator

from graft.progress import Advance, Progress

__all__ = ["Clock", "Limited", "OutOfTimeError"]


class OutOfTimeError(Exception):
    """A piece of work was stopped because its time was up."""


class Clock:
    """Counts the seconds of a budget down.

    It asks the monotonic clock alone: setting the machine's date changes nothing, and time never runs
    back.  Where the system's clock counts the time that a machine sleeps, or a process is stopped, that
    time is used up like any other.

    Parameters
    ----------
    budget
        Seconds; ``None`` is without end.
    spent
        Seconds that an earlier run of the same request used up.

    Examples
    --------
    >>> Clock(60.0, spent=20.0).left() <= 40.0
    True
    """

    def __init__(self, budget: float | None, spent: float = 0.0) -> None:
        self.budget = math.inf if budget is None else budget
        self._started = time.monotonic() - spent
        self._latest = spent

    def spent(self) -> float:
        """Seconds used up so far, those of earlier runs among them."""
        self._latest = max(self._latest, time.monotonic() - self._started)
        return self._latest

    def left(self) -> float:
        """Seconds that remain; below 0 where the budget is overrun."""
        return self.budget - self.spent()


class Limited:
    """A display that ends the work which it shows when its time is up.

    Whatever takes over a second shows its progress batch by batch, so that nothing outlives its time
    by more than a batch.

    Parameters
    ----------
    shown
        The display to pass everything on to.
    seconds
        From now on.

    Raises
    ------
    OutOfTimeError
        From the first batch that ends after that, and before a step that would begin after it.
    """

    def __init__(self, shown: Progress, seconds: float) -> None:
        self.shown = shown
        self.ends = time.monotonic() + seconds

    @contextlib.contextmanager
    def step(self, label: str, total: int) -> Iterator[Advance]:
        """As :meth:`~graft.progress.Progress.step`."""
        self._check(label)
        with self.shown.step(label, total) as advance:

            def checked(done: int = 1, /) -> None:
                advance(done)
                self._check(label)

            yield checked

    def _check(self, label: str) -> None:
        if time.monotonic() > self.ends:
            raise OutOfTimeError(label)
