"""The head first, then everything."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar, cast

from torch import nn

from graft.contracts import Backbone, Choice, FittedTask, History, Range, Start, Strategy, TransferData
from graft.nn.grafted import Grafted
from graft.tuning import TRAINING, Tuning, tunable, tune

__all__ = ["LPFT"]


class LPFT(Strategy):
    """Fit a linear head on the frozen features first, then train all weights from there.

    A head that knows nothing sends large gradients into the source in the first steps, and distorts
    features that were good; one that fits already leaves them where they are, which tells most on
    rows unlike those of training.  The head is the linear probe, fitted in closed form; it goes on at the
    rate of all other weights.

    Parameters
    ----------
    epochs
        Passes over the training rows, at most.
    lr
        Highest learning rate of all weights.
    tuning
        Finer points of fine-tuning; its ``head`` and ``head_lr`` are not used.

    References
    ----------
    Kumar, Raghunathan, Jones, Ma and Liang, Fine-tuning can distort pretrained features and
    underperform out-of-distribution, ICLR 2022.

    Examples
    --------
    >>> LPFT(epochs=3).get_params()["lr"]
    0.0001
    """

    family: ClassVar[str] = "parameter"
    starts_from: ClassVar[Start] = "pretrained"
    uses_validation: ClassVar[bool] = True

    space: ClassVar[Mapping[str, Range | Choice]] = {
        "lr": Range(1e-5, 1e-3, log=True),
        "epochs": Choice((3, 5, 10, 20)),
    }

    def __init__(self, epochs: int = 10, lr: float = 1e-4, tuning: Tuning | Mapping[str, Any] | None = None) -> None:
        self.epochs = epochs
        self.lr = lr
        self.tuning = tuning

    def build(self, backbone: Backbone, task: FittedTask) -> nn.Module:
        return tunable(backbone, task, replace(Tuning.checked(self, TRAINING), head="probe"))

    def fit(self, module: nn.Module, task: FittedTask, data: TransferData) -> History:
        tuning = replace(Tuning.of(self.tuning), head="probe")
        grafted = cast("Grafted", module)
        return tune(grafted, task, data, epochs=self.epochs, lr=self.lr, tuning=tuning, head_rate=self.lr)
