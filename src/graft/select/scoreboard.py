"""What a race knows so far: who was measured where, and who is beaten."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from graft.contracts import Array
from graft.evaluate.compare import compare
from graft.evaluate.intervals import Interval, affordable, resampled
from graft.select.course import Course, Measured
from graft.select.curve import hoped, reached

__all__ = ["Scoreboard"]

_RESAMPLES = 300

_USUAL_GAIN = 0.1
"""Part of the score by which one candidate that may win usually differs from another."""


class Scoreboard:
    """Measured candidates, by name and rung."""

    def __init__(self, course: Course) -> None:
        self.course = course
        self.found: dict[tuple[str, int], Measured] = {}
        self.once: set[str] = set()
        """Those for which there is no time to fit them once more, on all rows."""
        self._gains: dict[tuple[str, int, str, int], Interval] = {}

    def at(self, level: int) -> list[str]:
        """Names of what was measured on a rung, in order."""
        return [name for name, place in self.found if place == level]

    def highest(self) -> int:
        """The last rung that anything reached."""
        return max((level for _, level in self.found), default=0)

    def reach(self, name: str) -> float:
        """What a candidate would reach with all rows, higher is better."""
        mine = {level: each for (other, level), each in self.found.items() if other == name}
        whole = {level: each for level, each in mine.items() if self.course.rungs[level].scale == 1}
        return reached({each.rows: each.score for each in (whole or mine).values()}, self.course.rows)

    def winner(self) -> str:
        """Who is the best of all, also where the time ended before all had climbed as high.

        What stopped on a lower rung is compared with the leader of the highest on the rows of its own
        rung.  What it gains there is believed the less, the fewer rows it was seen on: the mean of a gain
        of which it is known before that it is small (:data:`_USUAL_GAIN`).
        """
        top = self.highest()
        best = self.leader(top)
        hopes = {name: self._hope(best, name, top) for name in self.eligible()}
        return max(hopes, key=lambda name: (hopes[name], name == best))

    def eligible(self) -> list[str]:
        """Of what was measured, in order, all that was seen as it would be handed over: not only on smaller images."""
        return list(dict.fromkeys(name for name, level in self.found if self.course.rungs[level].scale == 1))

    def _names(self) -> list[str]:
        """Of all that was measured, in order."""
        return list(dict.fromkeys(name for name, _ in self.found))

    def level(self, name: str) -> int:
        """The highest rung that a candidate reached."""
        return max(level for other, level in self.found if other == name)

    def _hope(self, best: str, name: str, top: int) -> float:
        """How much better than the leader of the highest rung a candidate is, as far as its rows tell."""
        level = self.level(name)
        if name == best:
            return -self._forgone(name)
        if level == top and name not in self.once:
            return -math.inf
        # what stays as it is has to be better than the leader as it is now; what grows, than the leader was there
        same = name in self.once and self.course.rungs[level].heats == self.course.rungs[top].heats
        lead = self._paired((name, level), (best, top if same else level))
        spread = lead.spread
        usual = _USUAL_GAIN * max(abs(self.found[best, level].score), _USUAL_GAIN)
        if not math.isfinite(spread):
            return -math.inf
        return lead.value * usual**2 / (usual**2 + spread**2) - self._forgone(name)

    def _forgone(self, name: str) -> float:
        """What a candidate gives away that cannot be fitted on all rows any more."""
        if name not in self.once:
            return 0.0
        return self.forgone(self.found[name, self.level(name)].score)

    def forgone(self, score: float) -> float:
        """What a score is lower by than it would be after a fit on all rows."""
        if not math.isfinite(score):
            return 0.0
        perfect = max(0.0, self.course.signed(1.0))
        return hoped(score, self.course.rows, len(self.course.pool), perfect) - score

    def leader(self, level: int) -> str:
        """The best of a rung by what it would reach with all rows; the first of equals."""
        return max(self.at(level), key=self.reach)

    def gain(self, leader: str, name: str, level: int) -> Interval:
        """How much better the leader is on the rows of a rung, paired."""
        return self._paired((leader, level), (name, level))

    def _paired(self, one: tuple[str, int], other: tuple[str, int]) -> Interval:
        """How much better one is on the rows that the other was measured by; each pair is compared once."""
        key = (*one, *other)
        if key not in self._gains:
            course, rung = self.course, self.course.rungs[other[1]]
            ours, theirs, truth = self.found[one].outputs, self.found[other].outputs, course.truth(rung)
            groups, seed = course.groups(rung), course.common.seed
            self._gains[key] = compare(course.reference, ours, theirs, truth, groups=groups, seed=seed).gain
        return self._gains[key]

    def all_beaten_but(self, name: str) -> bool:
        """Whether everybody else who was measured is beaten on the highest rung that it reached."""
        others = {other: self.level(other) for other in self._names() if other != name}
        beaten = {level: self.beaten(level) for level in set(others.values())}
        return all(other in beaten[level] for other, level in others.items())

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
