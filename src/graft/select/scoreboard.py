"""What a race knows so far: who was measured where, and who is beaten."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from graft.contracts import Array
from graft.evaluate.compare import compare
from graft.evaluate.intervals import Interval, affordable, resampled
from graft.select.course import Course, Measured
from graft.select.curve import reached

__all__ = ["Scoreboard"]

_RESAMPLES = 300


class Scoreboard:
    """Measured candidates, by name and rung."""

    def __init__(self, course: Course) -> None:
        self.course = course
        self.found: dict[tuple[str, int], Measured] = {}
        self._gains: dict[tuple[str, str, int], Interval] = {}

    def at(self, level: int) -> list[str]:
        """Names of what was measured on a rung, in order."""
        return [name for name, place in self.found if place == level]

    def highest(self) -> int:
        """The last rung that anything reached."""
        return max((level for _, level in self.found), default=0)

    def reach(self, name: str) -> float:
        """What a candidate would reach with all rows, higher is better."""
        points = {each.rows: each.score for (other, _), each in self.found.items() if other == name}
        return reached(points, self.course.rows)

    def leader(self, level: int) -> str:
        """The best of a rung by what it would reach with all rows; the first of equals."""
        return max(self.at(level), key=self.reach)

    def gain(self, leader: str, name: str, level: int) -> Interval:
        """How much better the leader is on the rows of a rung, paired."""
        if (leader, name, level) not in self._gains:  # asked again and again while settings are searched
            course, rung = self.course, self.course.rungs[level]
            ours, theirs = self.found[leader, level].outputs, self.found[name, level].outputs
            truth, groups = course.truth(rung), course.groups(rung)
            found = compare(course.reference, ours, theirs, truth, groups=groups, seed=course.common.seed)
            self._gains[leader, name, level] = found.gain
        return self._gains[leader, name, level]

    def beaten(self, level: int) -> set[str]:
        """Names of those than which the leader is better beyond chance here, and would be with all rows as well."""
        leader = self.leader(level)
        bar = self.reach(leader)
        return {name for name in self.at(level) if self.reach(name) < bar and self.gain(leader, name, level).low > 0}

    def left(self, winner: str, tied: Sequence[str], level: int) -> float:
        """The mean, over resamples of a rung's rows, of the best score less the winner's."""
        course, rung = self.course, self.course.rungs[level]
        truth, groups = course.truth(rung), course.groups(rung)
        names = (winner, *tied)
        draws: dict[str, list[Array]] = {name: [] for name in names}
        count = affordable(_RESAMPLES, self.found[winner, level].outputs)
        for weights in resampled(len(truth), groups, count, course.common.seed):
            for name in names:
                value = next(iter(course.reference.metrics(self.found[name, level].outputs, truth, weights)))[1]
                draws[name].append(np.asarray(value))
        if not draws[winner] or not tied:
            return 0.0
        scores = course.signed(1.0) * np.array([np.concatenate(draws[name]) for name in names])
        return float(np.nanmean(scores.max(axis=0) - scores[0]))
