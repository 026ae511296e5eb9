"""What to expect of candidates: what was seen of one says something about others of its source, or of its strategy.

A score is taken for a sum: what all share that were measured by the same rows, what the source gives,
what training its weights brings on these rows, what the strategy and what training just this source
bring beside that, and a remainder.  All parts are Gaussian, so that beliefs follow in closed form.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import norm

from graft.contracts import Array

__all__ = ["Nature", "Outlook", "Sighting", "unit_of"]

_SOURCE, _TRAINING, _STRATEGY, _TRAINED_SOURCE, _REMAINDER = 0.07, 0.055, 0.025, 0.05, 0.045
"""Standard deviations of the parts, in units: most likely over the table of benchmarks/choosing."""

_SHARED = 3.0
"""The same of what measuring by some rows adds to every score: nothing is known of it."""

_LEAST = 0.1
"""The unit of scores that are better the higher they are, where the best is smaller."""


@dataclass(frozen=True)
class Nature:
    """What a candidate is made of.

    Parameters
    ----------
    trains
        Whether a network learns, in passes over the rows.
    """

    source: str
    strategy: str
    trains: bool


@dataclass(frozen=True)
class Sighting:
    """What was measured once.

    Parameters
    ----------
    name
        Of the candidate.
    rows
        A name of the rows that it was measured by: scores by the same rows share what these add.
    score
        Higher is better.
    noise
        The variance of what chance adds beside that.
    """

    name: str
    rows: int
    score: float
    noise: float


class Outlook:
    """Beliefs about the scores of candidates, up to what all of them share.

    Parameters
    ----------
    natures
        Name → what the candidate is made of; seen or not.
    eligible
        Among which the choice is, as things are: what was measured as it would be handed over.

    References
    ----------
    Frazier, Powell and Dayanik, The knowledge-gradient policy for correlated normal beliefs, INFORMS Journal on
    Computing 21, 2009.
    """

    def __init__(self, natures: Mapping[str, Nature], sightings: Sequence[Sighting], eligible: Collection[str]) -> None:
        self._place = {name: place for place, name in enumerate(natures)}
        self.eligible = frozenset(eligible)
        scores = np.array([each.score for each in sightings])
        self.unit = unit_of(scores)
        scores = np.maximum(scores, scores.max(initial=-np.inf) - self.unit)  # what diverged says nothing of others
        before = _before(list(natures.values())) * self.unit**2
        at = [self._place[each.name] for each in sightings]
        rows = np.array([each.rows for each in sightings])
        noise = np.diag([each.noise for each in sightings])
        told = before[np.ix_(at, at)] + noise + (_SHARED * self.unit) ** 2 * (rows[:, None] == rows)
        weights = np.linalg.solve(told, before[at]).T if at else np.zeros((len(before), 0))
        self._means: Array = weights @ (scores - scores.mean()) if at else np.zeros(len(before))
        self._spreads: Array = np.sqrt(np.maximum(np.diag(before - weights @ before[at]), 0.0))

    def mean(self, name: str) -> float:
        """What a candidate is expected to score, less what all share."""
        return float(self._means[self._place[name]])

    def spread(self, name: str) -> float:
        """The standard deviation of that."""
        return float(self._spreads[self._place[name]])

    def worth(self, name: str, noise: float, forgone: float = 0.0) -> float:
        """How much better the choice is expected to be after measuring a candidate, or measuring it once more.

        Parameters
        ----------
        noise
            The variance of what chance will add to that score.
        forgone
            What the candidate gives away if it is chosen.
        """
        others = [self.mean(other) for other in self.eligible - {name}]
        if not others:
            return 0.0 if name in self.eligible else float("inf")
        moves = self.spread(name) ** 2 / float(np.sqrt(self.spread(name) ** 2 + noise))
        ahead = self.mean(name) - forgone - max(others)
        if name in self.eligible:  # the better of the two is chosen as it is
            ahead = -abs(ahead)
        return float(moves * (norm.pdf(ahead / moves) + ahead / moves * norm.cdf(ahead / moves)))


def unit_of(scores: Array) -> float:
    """By what differences of scores are measured: the size of the best, which for errors is the smallest."""
    best = float(scores.max(initial=-np.inf))
    return max(best, _LEAST) if best > 0 else -best if -np.inf < best < 0 else _LEAST


def _before(natures: Sequence[Nature]) -> Array:
    """Covariance ``(n, n)`` of scores before any is seen, in squared shares."""
    sources, strategies = np.array([each.source for each in natures]), np.array([each.strategy for each in natures])
    trains = np.array([each.trains for each in natures])
    source, both = sources[:, None] == sources, trains[:, None] & trains
    found: Array = (
        _SOURCE**2 * source
        + _TRAINING**2 * both
        + _STRATEGY**2 * (strategies[:, None] == strategies)
        + _TRAINED_SOURCE**2 * (both & source)
        + _REMAINDER**2 * np.eye(len(natures))
    )
    return found
