"""The only training loop: AdamW along a schedule, early stopping, and a fit that survives a kill.

Everything random is a pure function of the seed and the place (epoch, step, row), so that a fit
that was killed and started again ends with the same bits as one that was not.
"""

from __future__ import annotations

from graft.train.loop import fit
from graft.train.recipe import LIMITS, SCHEDULES, Recipe, Schedule
from graft.train.step import Around, Loss, Objective, Outcome, Step, supervised

__all__ = [
    "LIMITS",
    "SCHEDULES",
    "Around",
    "Loss",
    "Objective",
    "Outcome",
    "Recipe",
    "Schedule",
    "Step",
    "fit",
    "supervised",
]
