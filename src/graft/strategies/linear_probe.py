"""A linear model on frozen features."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from torch import nn

from graft.contracts import Backbone, FittedTask, History, Start, Strategy, TransferData
from graft.linear import fit_probe, frozen_trunk
from graft.nn.taps import tapped

__all__ = ["LinearProbe"]


class LinearProbe(Strategy):
    """A linear model on the source's frozen features: logistic regression, or ridge regression for numbers.

    Its penalty is chosen by cross-validation inside the training rows.

    Parameters
    ----------
    penalties
        Penalties on the squared weights to choose from; ``None``: a grid that suits all features.
    layers
        Features of these stages are put beside the final ones: their names, or how many before the last.

    References
    ----------
    Alain and Bengio, Understanding intermediate layers using linear classifier probes, 2016.
    """

    family: ClassVar[str] = "feature"
    starts_from: ClassVar[Start] = "pretrained"
    uses_validation: ClassVar[bool] = False

    def __init__(self, penalties: Sequence[float] | None = None, layers: int | tuple[str, ...] | None = None) -> None:
        self.penalties = penalties
        self.layers = layers

    def build(self, backbone: Backbone, task: FittedTask) -> nn.Module:
        return frozen_trunk(backbone if self.layers is None else tapped(backbone, self.layers), task)

    def fit(self, module: nn.Module, task: FittedTask, data: TransferData) -> History:
        return fit_probe(module, task, data, self.penalties)
