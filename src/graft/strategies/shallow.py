"""The strong shallow model that transfer must beat."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from torch import nn

from graft.contracts import Backbone, FittedTask, History, Start, Strategy, TransferData
from graft.limits import check
from graft.linear import PENALTY, fit_probe, frozen_trunk

__all__ = ["Shallow"]


class Shallow(Strategy):
    """A control: a linear model on plain features that never learnt, such as counted words or pixels.

    Its penalty is chosen as that of a linear probe, so that the features alone make the difference.

    Parameters
    ----------
    penalties
        Penalties on the squared weights to choose from; ``None``: a grid that suits all features.
    """

    family: ClassVar[str] = "control"
    starts_from: ClassVar[Start] = "plain"
    uses_validation: ClassVar[bool] = False

    def __init__(self, penalties: Sequence[float] | None = None) -> None:
        self.penalties = penalties

    def build(self, backbone: Backbone, task: FittedTask) -> nn.Module:
        check(self, {"penalties": PENALTY.or_none()})
        return frozen_trunk(backbone, task)

    def fit(self, module: nn.Module, task: FittedTask, data: TransferData) -> History:
        return fit_probe(module, task, data, self.penalties)
