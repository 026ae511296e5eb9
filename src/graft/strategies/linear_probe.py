"""A linear model on frozen features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

from torch import nn

from graft.contracts import Backbone, FittedTask, History, Start, Strategy, TransferData
from graft.errors import RequestError
from graft.limits import check, flag
from graft.linear import PENALTY, fit_probe, frozen_trunk
from graft.nn.losses import class_weights, row_weights
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
        Features of these stages are put beside the final ones: their names, or how many of the stages
        before the last one, whose features the final ones are made of; norms on their own do not count.
    class_weights
        Whether all classes weigh alike, however many rows they have; for one class a row.

    References
    ----------
    Alain and Bengio, Understanding intermediate layers using linear classifier probes, 2016.
    """

    family: ClassVar[str] = "feature"
    starts_from: ClassVar[Start] = "pretrained"
    uses_validation: ClassVar[bool] = False

    def __init__(
        self,
        penalties: Sequence[float] | None = None,
        layers: int | tuple[str, ...] | None = None,
        class_weights: bool = False,
    ) -> None:
        self.penalties = penalties
        self.layers = layers
        self.class_weights = class_weights

    def build(self, backbone: Backbone, task: FittedTask) -> nn.Module:
        check(self, {"penalties": PENALTY.or_none(), "class_weights": flag()})
        if self.class_weights and task.link != "softmax":
            raise RequestError(f"class_weights are for one class a row, and this task is {task.kind}; leave them away.")
        return frozen_trunk(backbone if self.layers is None else tapped(backbone, self.layers), task)

    def fit(self, module: nn.Module, task: FittedTask, data: TransferData) -> History:
        if self.class_weights:
            targets, given = data.train.targets, data.train.weights
            even = row_weights(targets, class_weights(targets, task.n_outputs, given))
            data = replace(data, train=replace(data.train, weights=even if given is None else even * given))
        return fit_probe(module, task, data, self.penalties)
