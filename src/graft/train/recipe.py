"""How long and how carefully to train, and where the learning rate stands at each step."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from graft.evaluate.goal import Goal
from graft.limits import Limit, above, among, between, check, whole

__all__ = ["LIMITS", "SCHEDULES", "Recipe", "Schedule", "falls", "share"]

Schedule = Literal["cosine", "one_cycle", "plateau", "constant"]

SCHEDULES: tuple[Schedule, ...] = ("cosine", "one_cycle", "plateau", "constant")

LIMITS: Mapping[str, Limit] = {
    "batch_size": whole(),
    "accumulate": whole(),
    "warmup": between(0, 1, "a share from 0 to below 1", ends=(True, False)),
    "patience": whole().or_none(),
    "clip": above().or_none(),
    "ema": between(0, 1, "a share between 0 and 1", ends=(False, False)).or_none(),
    "schedule": among(SCHEDULES),
}
"""Of all but ``epochs``, for whoever takes these settings before there is a recipe."""

_FIRST, _LAST = 1 / 25, 1e-4 / 25
"""Where a one-cycle schedule begins and ends, as shares of its height."""

_FALL = 0.1
"""What is left of the rates after a plateau."""


@dataclass(frozen=True)
class Recipe:
    """How long and how carefully to train.

    Parameters
    ----------
    epochs
        Passes over the training rows, at most.
    batch_size
        Rows a step, at most.
    warmup
        Share of all steps in which the rates rise.
    patience
        Epochs without a better validation metric after which training ends; ``None``: never.
    clip
        Largest norm of the gradient of all parameters together; ``None``: any.
    batch_statistics
        Whether BatchNorm normalises by the batch, and averages what it sees; else it goes by the
        averages that it has.
    schedule
        What the rates do after they rose: ``cosine`` (a half cosine to 0), ``one_cycle`` (Smith's: a
        cosine up and a long one down to nearly nothing), ``plateau`` (a tenth whenever the validation
        metric has not become better for half the ``patience``), ``constant``.
    ema
        Share of the old value that a running average of the weights keeps at each step; the averages
        are then what is validated and kept.  ``None``: no average.
    accumulate
        Parts in which a step's batch is computed, one after the other, to take less memory.

    References
    ----------
    Smith and Topin, Super-convergence: very fast training of neural networks using large learning
    rates, 2017.  Polyak and Juditsky, Acceleration of stochastic approximation by averaging, 1992.
    """

    epochs: int
    batch_size: int = 32
    warmup: float = 0.1
    patience: int | None = 3
    clip: float | None = 1.0
    batch_statistics: bool = True
    schedule: Schedule = "cosine"
    ema: float | None = None
    accumulate: int = 1

    def __post_init__(self) -> None:
        check(self, {"epochs": whole(), **LIMITS})


def share(recipe: Recipe, now: int, every: int) -> float:
    """The rates' share of their full height at step ``now`` of ``every``; plateaus come on top (:func:`falls`).

    Examples
    --------
    >>> [round(share(Recipe(epochs=1, warmup=0.5), now, 4), 2) for now in range(4)]
    [0.33, 0.67, 1.0, 0.5]
    """
    if recipe.schedule == "one_cycle":
        return _cycle(recipe.warmup, now, every)
    rising = recipe.warmup * every
    if now < rising:
        return (now + 1) / (math.floor(rising) + 1)
    if recipe.schedule != "cosine":
        return 1.0
    return 0.5 * (1 + math.cos(math.pi * (now - rising) / max(every - rising, 1)))


def _cycle(warmup: float, now: int, every: int) -> float:
    """As ``torch.optim.lr_scheduler.OneCycleLR`` with its defaults, and ``warmup`` as its ``pct_start``."""
    top = warmup * every - 1
    if now <= top:
        return _between(_FIRST, 1.0, now / top if top > 0 else 1.0)
    return _between(1.0, _LAST, (now - top) / max(every - 1 - top, 1e-9))


def _between(start: float, end: float, at: float) -> float:
    return end + (start - end) / 2 * (1 + math.cos(math.pi * min(at, 1.0)))


def falls(recipe: Recipe, metrics: Sequence[float | None], goal: Goal) -> float:
    """The share that plateaus have left of the rates, after epochs with these validation metrics."""
    if recipe.schedule != "plateau":
        return 1.0
    wait = 2 if recipe.patience is None else max(1, recipe.patience // 2)
    left, since, best = 1.0, 0, None
    for metric in metrics:
        if metric is None:
            continue
        if goal.better(metric, best):
            best, since = metric, 0
            continue
        since += 1
        if since == wait:
            left, since = left * _FALL, 0
    return left
