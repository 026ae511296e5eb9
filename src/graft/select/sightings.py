"""What a race has measured so far, as evidence for what is to be expected of candidates."""

from __future__ import annotations

import math

import numpy as np

from graft.evaluate.goal import goal_of
from graft.select.outlook import Sighting, unit_of
from graft.select.scoreboard import Scoreboard

__all__ = ["noise_of", "sightings_of"]

_NOISE, _LEAST_NOISE = 0.1, 0.02
"""Squared units by which one row more or less moves one candidate: where nothing tells, and at least."""


def sightings_of(board: Scoreboard, noise: float) -> list[Sighting]:
    """Every measurement, by the rows that the rungs below did not measure by; ``noise``: :func:`noise_of` them."""
    course, found = board.course, list[Sighting]()
    for (name, level), each in board.found.items():
        seen = course.measured(level - 1) if course.nested(level) else 0
        outputs, truth = each.outputs[seen:], course.truth(course.rungs[level])[seen:]
        score = course.signed(goal_of(course.reference).measure(outputs, truth)) if seen else each.score
        if math.isfinite(score):
            found.append(Sighting(name, level, score, noise / len(truth)))
    return found


def noise_of(board: Scoreboard) -> float:
    """The variance that one row more or less gives a score beside what it gives those of all candidates."""
    told = []
    for level in sorted({level for _, level in board.found}):
        leader = board.leader(level)
        gains = [board.gain(leader, name, level).spread for name in board.at(level) if name != leader]
        told += [board.course.measured(level) * each**2 / 2 for each in gains if math.isfinite(each)]
    unit = unit_of(np.array([each.score for each in board.found.values() if math.isfinite(each.score)]))
    return max(float(np.median(told)), _LEAST_NOISE * unit**2) if told else _NOISE * unit**2
