"""The starting point as what the weights are drawn to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar, cast

from torch import Tensor, nn

from graft.contracts import Backbone, FittedTask, History, Range, Start, Strategy, TransferData
from graft.limits import at_least
from graft.nn.anchors import distance_from, snapshot
from graft.nn.grafted import Grafted
from graft.nn.penalties import weight_penalty
from graft.train import Step
from graft.tuning import TRAINING, Tuning, tunable, tune

__all__ = ["L2SP"]


class L2SP(Strategy):
    """Train all weights, and draw those of the source back to where they started.

    The loss has ``alpha / 2 |w - w₀|² + beta / 2 |v|²`` added, over the source's weights ``w``, which
    began at ``w₀``, and the weights ``v`` of the new head.  It takes the place of weight decay, which
    would draw to zero what the source has learnt.

    Parameters
    ----------
    alpha
        How strongly the source's weights are held; 0 lets them go.
    beta
        The same for the head's, towards 0; its biases are free.
    epochs
        Passes over the training rows, at most.
    lr
        Highest learning rate of the source's weights.
    tuning
        Finer points of fine-tuning; its ``weight_decay`` is not used.

    References
    ----------
    Li, Grandvalet and Davoine, Explicit inductive bias for transfer learning with convolutional
    networks, ICML 2018.

    Examples
    --------
    >>> L2SP(alpha=0.01).get_params()["beta"]
    0.01
    """

    family: ClassVar[str] = "parameter"
    starts_from: ClassVar[Start] = "pretrained"
    uses_validation: ClassVar[bool] = True

    space: ClassVar[Mapping[str, Range]] = {"alpha": Range(1e-3, 1.0, log=True), "lr": Range(1e-5, 1e-3, log=True)}

    def __init__(
        self,
        alpha: float = 0.1,
        beta: float = 0.01,
        epochs: int = 10,
        lr: float = 1e-4,
        tuning: Tuning | Mapping[str, Any] | None = None,
    ) -> None:
        self.alpha = alpha
        self.beta = beta
        self.epochs = epochs
        self.lr = lr
        self.tuning = tuning

    def build(self, backbone: Backbone, task: FittedTask) -> nn.Module:
        return tunable(backbone, task, Tuning.checked(self, {"alpha": at_least(), "beta": at_least(), **TRAINING}))

    def fit(self, module: nn.Module, task: FittedTask, data: TransferData) -> History:
        grafted = cast("Grafted", module)
        start = snapshot(grafted.trunk, data.machine.device)

        def towards_the_start(step: Step, features: Tensor, outputs: Tensor) -> Tensor:
            held = self.alpha / 2 * distance_from(grafted.trunk, start)
            return held + weight_penalty(grafted.head, l1=0.0, l2=self.beta / 2)

        tuning = replace(Tuning.of(self.tuning), weight_decay=0.0)
        return tune(grafted, task, data, epochs=self.epochs, lr=self.lr, tuning=tuning, extra=towards_the_start)
