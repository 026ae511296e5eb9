"""What a step of training is made of: rows on their way through a module, and an objective that judges them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from graft.contracts import Batch, Epoch

__all__ = ["Around", "Loss", "Objective", "Outcome", "Step", "supervised"]

Loss = Callable[[Tensor, Tensor, Tensor | None], Tensor]
"""``(outputs, targets, weights)`` → the mean loss, as ``FittedTask.loss``."""


@dataclass(frozen=True)
class Step:
    """What an objective sees.

    Parameters
    ----------
    module
        What is being fitted.
    batch
        The rows, on the device.
    targets, weights
        ``(n, …)`` and ``(n,)`` of these rows, on the device; ``None`` where all count alike.
    rows
        ``(n,)`` int64 on the CPU: their places among the training rows.
    epoch
        From 0.
    progress
        Share of all steps that are done, in [0, 1).
    halves
        Whether the forward pass runs in bfloat16.
    """

    module: nn.Module
    batch: Batch
    targets: Tensor
    weights: Tensor | None
    rows: Tensor
    epoch: int
    progress: float
    halves: bool = False

    def run(self, module: nn.Module, batch: Any = None) -> Any:
        """What ``module`` makes of the batch, in the precision of the fit; floating-point results are float32.

        Parameters
        ----------
        batch
            What to give it instead of the step's own.
        """
        device = self.targets.device.type
        with torch.autocast(device, torch.bfloat16) if self.halves else contextlib.nullcontext():
            return _single(module(self.batch if batch is None else batch))


def _single(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.float() if value.is_floating_point() else value
    if isinstance(value, dict):
        return {name: _single(each) for name, each in value.items()}
    return type(value)(map(_single, value)) if isinstance(value, list | tuple) else value


Objective = Callable[[Step], Tensor]
"""A step → the mean loss of its rows, a scalar; it may draw from torch's global generator."""


Around = Callable[[], contextlib.AbstractContextManager[Any]]
"""What an objective keeps of rows for later steps, it may keep at the end of this block, once for a whole batch.

The objective itself may see a batch in several parts, in several processes.
"""


def supervised(loss: Loss) -> Objective:
    """The objective of learning targets from rows: ``loss`` of the module's outputs."""

    def objective(step: Step) -> Tensor:
        return loss(step.run(step.module), step.targets, step.weights)

    return objective


@dataclass(frozen=True)
class Outcome:
    """How training went.

    Parameters
    ----------
    epochs
        One entry an epoch.
    best
        Place of the epoch whose weights the module has now; ``None`` without validation rows.
    factor
        What the rates were multiplied by, where a range test was asked for.
    """

    epochs: tuple[Epoch, ...]
    best: int | None
    factor: float = 1.0

    @property
    def score(self) -> float | None:
        """The validation metric of the weights that were kept."""
        return None if self.best is None else self.epochs[self.best].metric

    @property
    def chosen(self) -> dict[str, float | int | str]:
        """What was decided while training: how many epochs are in the weights, and the factor on the rates."""
        found: dict[str, float | int | str] = {} if self.best is None else {"epochs": self.best + 1}
        return found if self.factor == 1.0 else {**found, "rate_factor": self.factor}
