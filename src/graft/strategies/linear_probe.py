"""A linear model on frozen features."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from torch import nn

from graft.contracts import Backbone, FittedTask, History, Start, Strategy, TransferData
from graft.linear import fit_probe, frozen_trunk

__all__ = ["LinearProbe"]


class LinearProbe(Strategy):
    """A linear model on the source's frozen features: logistic regression, or ridge regression for numbers.

    Its penalty is chosen by cross-validation inside the training rows.

    Parameters
    ----------
    penalties
        Penalties on the squared weights to choose from; ``None``: a grid that suits all features.

    References
    ----------
    Alain and Bengio, Understanding intermediate layers using linear classifier probes, 2016.
    """

    family: ClassVar[str] = "feature"
    starts_from: ClassVar[Start] = "pretrained"
    uses_validation: ClassVar[bool] = False

    def __init__(self, penalties: Sequence[float] | None = None) -> None:
        self.penalties = penalties

    def build(self, backbone: Backbone, task: FittedTask) -> nn.Module:
        return frozen_trunk(backbone, task)

    def fit(self, module: nn.Module, task: FittedTask, data: TransferData) -> History:
        return fit_probe(module, task, data, self.penalties)
