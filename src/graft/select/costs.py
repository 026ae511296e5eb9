"""What a fit will cost in seconds: a forecast until something like it was seen."""

from __future__ import annotations

import statistics
from collections.abc import Mapping

__all__ = ["Costs"]

_FIXED = 1.0
"""Seconds of a fit that do not grow with its rows, at most: loading, building, measuring precision."""


class Costs:
    """Forecasts of seconds, corrected by every fit that ends.

    Parameters
    ----------
    forecasts
        Name → seconds of one fit on all rows of a heat.

    Examples
    --------
    >>> costs = Costs({"a": 10.0, "b": 20.0})
    >>> costs.saw("a", 0.1, 4.0)  # three times slower than forecast, and one second of loading
    >>> costs.expected("a", 1.0), costs.expected("b", 1.0)
    (31.0, 60.0)
    """

    def __init__(self, forecasts: Mapping[str, float]) -> None:
        self._forecasts = dict(forecasts)
        self._seen: dict[str, tuple[float, float]] = {}

    def saw(self, name: str, work: float, seconds: float) -> None:
        """A fit of so much work (share of the rows times heats) took so long."""
        self._seen[name] = (work, seconds)

    def expected(self, name: str, work: float) -> float:
        """Seconds that so much work will take, in proportion to what was seen last."""
        if name in self._seen:
            done, seconds = self._seen[name]
            fixed = min(seconds, _FIXED)
            return fixed + (seconds - fixed) * work / done
        return self._forecasts.get(name, 0.0) * work * self._slowness()

    def like(self, name: str, parent: str) -> None:
        """A variant costs what the candidate costs that it is made from."""
        if parent in self._forecasts:
            self._forecasts[name] = self._forecasts[parent]
        if parent in self._seen:
            self._seen[name] = self._seen[parent]

    def _slowness(self) -> float:
        """How much longer than forecast fits took, in the middle of those that took long enough to tell."""
        found = [
            (seconds - _FIXED) / (work * self._forecasts[name])
            for name, (work, seconds) in self._seen.items()
            if seconds > 2 * _FIXED and self._forecasts.get(name)
        ]
        return statistics.median(found) if found else 1.0
