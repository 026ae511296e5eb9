"""What a fit will cost in seconds: a forecast until something like it was seen."""

from __future__ import annotations

import statistics
from collections.abc import Hashable, Mapping

__all__ = ["Costs"]

_FIXED = 1.0
"""Seconds of a fit that do not grow with its rows, at most: loading, building, measuring precision."""


_WRONG = 3.0
"""How many times a forecast may be too low."""


class Costs:
    """Forecasts of seconds, corrected by every fit that ends.

    Parameters
    ----------
    forecasts
        Name → seconds of one fit on all rows of a heat.
    kinds
        Name → what kind of work it is: how wrong a forecast was tells only of work of the same kind.

    Examples
    --------
    >>> costs = Costs({"a": 10.0, "b": 20.0})
    >>> costs.saw("a", 0.5, 11.0)  # twice as slow as forecast, and one second of loading
    >>> costs.expected("a", 1.0), costs.expected("b", 1.0)
    (21.0, 40.0)
    """

    def __init__(self, forecasts: Mapping[str, float], kinds: Mapping[str, Hashable] | None = None) -> None:
        self._forecasts = dict(forecasts)
        self._kinds = dict(kinds or {})
        self._seen: dict[str, dict[float, float]] = {}

    def saw(self, name: str, work: float, seconds: float) -> None:
        """A fit of so much work (share of the rows times heats) took so long."""
        self._seen.setdefault(name, {})[work] = seconds

    def expected(self, name: str, work: float) -> float:
        """Seconds that so much work will take: as two fits tell, or one, or the forecast."""
        seen = self._seen.get(name, {})
        if not seen:
            return self._forecasts.get(name, 0.0) * work * self._slowness(name)
        done = max(seen)
        if work <= done:
            return seen[done] * work / done
        fixed, slope = _line(seen)
        told = fixed + slope * work
        if len(seen) > 1 or name not in self._forecasts:
            return told
        # what is done once, such as imports, makes the first fit slow: the rest is not that much slower than forecast
        return min(told, seen[done] + _WRONG * self._forecasts[name] * (work - done))

    def like(self, name: str, parent: str) -> None:
        """A variant costs what the candidate costs that it is made from."""
        self._kinds[name] = self._kinds.get(parent)
        if parent in self._forecasts:
            self._forecasts[name] = self._forecasts[parent]
        if parent in self._seen:
            self._seen[name] = dict(self._seen[parent])

    def _slowness(self, of: str) -> float:
        """How much longer than forecast such fits took, in the middle of those that took long enough to tell."""
        found = [
            _line(seen)[1] / self._forecasts[name]
            for name, seen in self._seen.items()
            if max(seen.values()) > 2 * _FIXED and self._forecasts.get(name) and self._alike(name, of)
        ]
        return statistics.median(found) if found else 1.0

    def _alike(self, name: str, other: str) -> bool:
        return self._kinds.get(name) == self._kinds.get(other)


def _line(seen: Mapping[float, float]) -> tuple[float, float]:
    """Seconds that do not grow with the work, and seconds a unit of work: through the last two fits, or from one."""
    *before, last = sorted(seen)
    if before:
        slope = max(0.0, (seen[last] - seen[before[-1]]) / (last - before[-1]))
        return seen[last] - slope * last, slope
    fixed = min(seen[last], _FIXED)
    return fixed, (seen[last] - fixed) / last
