"""What is worth having: no other is at once better, smaller and faster."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from graft.errors import UnknownNameError

__all__ = ["Point", "Prefer", "checked_preference", "frontier", "preferred"]

Prefer = Literal["accurate", "small", "fast"]


def checked_preference(asked: str) -> Prefer:
    """One of the three.

    Raises
    ------
    UnknownNameError
        For another word.
    """
    for each in get_args(Prefer):
        if each == asked:
            found: Prefer = each
            return found
    raise UnknownNameError("preference", asked, get_args(Prefer))


@dataclass(frozen=True)
class Point:
    """A candidate, by what it gives and what it takes.

    Parameters
    ----------
    score
        The task's metric, turned so that higher is better.
    parameters
        Of the whole model.
    row_seconds
        That one row takes to compute, by forecast.
    fit_seconds
        That it took to fit.
    """

    name: str
    score: float
    parameters: int
    row_seconds: float
    fit_seconds: float

    def dominates(self, other: Point) -> bool:
        """Whether it is no worse in anything, and better in something, the time of the fit aside."""
        mine = (self.score, -self.parameters, -self.row_seconds)
        theirs = (other.score, -other.parameters, -other.row_seconds)
        return mine != theirs and all(one >= two for one, two in zip(mine, theirs, strict=True))


def frontier(points: Sequence[Point]) -> tuple[Point, ...]:
    """The Pareto set, the best score first; of equal points the first.

    Examples
    --------
    >>> points = [Point("big", 0.9, 90, 2.0, 1.0), Point("small", 0.8, 9, 1.0, 1.0), Point("poor", 0.7, 90, 3.0, 1.0)]
    >>> [each.name for each in frontier(points)]
    ['big', 'small']
    """
    kept = [each for each in points if not any(other.dominates(each) for other in points)]
    kept.sort(key=lambda each: -each.score)
    seen: set[tuple[float, int, float]] = set()
    found = []
    for each in kept:
        place = (each.score, each.parameters, each.row_seconds)
        if place not in seen:
            seen.add(place)
            found.append(each)
    return tuple(found)


def preferred(points: Sequence[Point], prefer: Prefer, best: str) -> Point:
    """Of candidates between which the rows cannot tell: the best, the smallest or the fastest; of equals the best.

    Parameters
    ----------
    best
        Its name: other rows may speak for it than those by which the points are scored.
    """
    size = {
        "accurate": [0.0] * len(points),
        "small": [float(each.parameters) for each in points],
        "fast": [each.row_seconds for each in points],
    }[prefer]
    return min(zip(size, points, strict=True), key=lambda pair: (pair[0], pair[1].name != best, -pair[1].score))[1]
