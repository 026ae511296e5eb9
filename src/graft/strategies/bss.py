"""Small singular values of the features, pressed down."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, cast

from torch import Tensor, nn

from graft.contracts import Backbone, FittedTask, History, Start, Strategy, TransferData
from graft.limits import at_least, whole
from graft.nn.grafted import Grafted
from graft.nn.spectral import spectral_shrinkage
from graft.train import Step
from graft.tuning import TRAINING, Tuning, tunable, tune

__all__ = ["BSS"]


class BSS(Strategy):
    """Train all weights, and shrink the directions of the features that a batch hardly has.

    The loss has ``eta Σ σ²`` added, over the ``k`` smallest singular values ``σ`` of the batch's
    features ``(b, d)``.  Directions of small singular values are those that transfer least: with few
    rows they are where a source does harm.

    Parameters
    ----------
    eta
        Weight of the penalty.
    k
        How many singular values; batches that have no more than that are left alone.
    epochs
        Passes over the training rows, at most.
    lr
        Highest learning rate of the source's weights.
    tuning
        Finer points of fine-tuning.

    References
    ----------
    Chen, Wang, Fu, Long and Wang, Catastrophic forgetting meets negative transfer: batch spectral
    shrinkage for safe transfer learning, NeurIPS 2019.

    Examples
    --------
    >>> BSS(k=2).get_params()["eta"]
    0.001
    """

    family: ClassVar[str] = "parameter"
    starts_from: ClassVar[Start] = "pretrained"
    uses_validation: ClassVar[bool] = True

    def __init__(
        self,
        eta: float = 1e-3,
        k: int = 1,
        epochs: int = 10,
        lr: float = 1e-4,
        tuning: Tuning | Mapping[str, Any] | None = None,
    ) -> None:
        self.eta = eta
        self.k = k
        self.epochs = epochs
        self.lr = lr
        self.tuning = tuning

    def build(self, backbone: Backbone, task: FittedTask) -> nn.Module:
        return tunable(backbone, task, Tuning.checked(self, {"eta": at_least(), "k": whole(), **TRAINING}))

    def fit(self, module: nn.Module, task: FittedTask, data: TransferData) -> History:
        def shrink(step: Step, features: Tensor, outputs: Tensor) -> Tensor:
            return self.eta * spectral_shrinkage(features, self.k)

        tuning, grafted = Tuning.of(self.tuning), cast("Grafted", module)
        return tune(grafted, task, data, epochs=self.epochs, lr=self.lr, tuning=tuning, extra=shrink)
