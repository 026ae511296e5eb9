"""How surely a model may speak, and how good it is so, by its outputs for rows that it did not learn from."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from graft.contracts import FittedTask
from graft.evaluate.goal import goal_of
from graft.linear.folds import hard
from graft.linear.sharpness import sharpness
from graft.nn.glm import one_hot

__all__ = ["Speech", "speech_of"]


@dataclass(frozen=True)
class Speech:
    """What held-out rows tell of a model.

    Parameters
    ----------
    sure
        The factor on its outputs (:func:`~graft.linear.sharpness.sharpness`).
    choice
        The task's metric of the outputs so spoken, on the rows that count at all: to choose by.
    score
        The same on all rows, so that models which count rows otherwise can be compared.
    """

    sure: float
    choice: float
    score: float


def speech_of(outputs: Tensor, targets: Tensor, task: FittedTask, weights: Tensor | None = None) -> Speech:
    """Judge the outputs ``(n, c)`` of held-out rows, one or more.

    Parameters
    ----------
    targets
        Of these rows, as the task's loss takes them.
    weights
        ``(n,)``: how much each row counts.
    """
    wanted, truth = one_hot(targets, task.link, task.n_outputs), hard(targets, task.link)
    counted = None if weights is None or not weights.any() else weights
    sure, goal = sharpness(outputs, wanted, task.link, counted), goal_of(task)
    spoken = (sure * outputs).float()
    score = goal.measure(spoken.numpy(), truth.numpy())
    if counted is None or bool((counted > 0).all()):
        return Speech(sure, score, score)
    heard = torch.nonzero(counted > 0)[:, 0]
    return Speech(sure, goal.measure(spoken[heard].numpy(), truth[heard].numpy()), score)
