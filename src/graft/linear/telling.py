"""Which of several settings to take: few rows cannot tell by a goal such as accuracy what they can tell by the loss."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from graft.contracts import Array

__all__ = ["Told", "told_best"]

_ERRORS = 2.0
"""Standard errors by which one setting has to be ahead of another to be told from it."""


@dataclass(frozen=True)
class Told:
    """What held-out rows say of a setting.

    Parameters
    ----------
    goal
        On all of them, turned so that higher is better; ``nan`` where it is not defined there.
    parts
        ``(f,)``: the same on the rows of each fold.
    loss
        Their mean loss.
    """

    goal: float
    parts: Array
    loss: float


def told_best(settings: Sequence[Told]) -> int:
    """The place of the one of least loss among those that the goal cannot tell from the best; of equals the first.

    It cannot tell where the best is ahead by less than twice the standard error over the folds, paired.  One fold
    tells no error, nor does a goal that is undefined on one of them: then the goal decides, and the loss among
    equals.  Where the goal is defined for no setting, the loss alone.

    References
    ----------
    Breiman, Friedman, Olshen and Stone, Classification and Regression Trees, 1984, section 3.4.3: there one standard
    error, and the simplest of such settings; here what says least that is untrue.

    Examples
    --------
    >>> import numpy as np
    >>> accurate = Told(0.82, np.array([0.9, 0.75, 0.8]), loss=1.3)
    >>> told_best([accurate, Told(0.81, np.array([0.8, 0.8, 0.83]), loss=0.6)])
    1
    """
    losses = [math.inf if math.isnan(each.loss) else each.loss for each in settings]
    defined = [place for place, each in enumerate(settings) if not math.isnan(each.goal)]
    if not defined:
        return min(range(len(settings)), key=losses.__getitem__)
    best = settings[max(defined, key=lambda place: (settings[place].goal, -losses[place]))]
    alike = [place for place in defined if _alike(best, settings[place])]
    return min(alike, key=losses.__getitem__)


def _alike(best: Told, other: Told) -> bool:
    if other.goal == best.goal:
        return True
    gaps = best.parts - other.parts
    if len(gaps) < 2 or not np.isfinite(gaps).all():
        return False
    return bool(best.goal - other.goal < _ERRORS * gaps.std(ddof=1) / math.sqrt(len(gaps)))
