"""BatchNorm that does not trust small batches alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar, cast

from torch import nn

from graft.contracts import Backbone, FittedTask, History, Start, Strategy, TransferData
from graft.errors import RequestError
from graft.limits import between
from graft.nn.grafted import Grafted
from graft.nn.stochastic_norm import has_batch_norm, stochastic_norm
from graft.tuning import TRAINING, Tuning, tunable, tune

__all__ = ["StochNorm"]


class StochNorm(Strategy):
    """Train all weights, while BatchNorm goes at random by the batch or by its averages, channel by channel.

    A channel of a training step is normalised by the mean and variance of the batch with probability
    ``p``, else by the averages, which began as the source's and go on as always.  That keeps what the
    source knows of its features, and disturbs them as dropout does.  The model that comes out has
    ordinary BatchNorm.

    Parameters
    ----------
    p
        Probability of the batch's own statistics, in [0, 1].
    epochs
        Passes over the training rows, at most.
    lr
        Highest learning rate of the source's weights.
    tuning
        Finer points of fine-tuning; its ``batch_norm`` is not used.

    References
    ----------
    Kou, You, Long and Wang, Stochastic normalization, NeurIPS 2020.

    Examples
    --------
    >>> StochNorm().p
    0.5
    """

    family: ClassVar[str] = "parameter"
    starts_from: ClassVar[Start] = "pretrained"
    uses_validation: ClassVar[bool] = True
    needs: ClassVar[str] = "a source with batch normalisation"

    def __init__(
        self,
        p: float = 0.5,
        epochs: int = 10,
        lr: float = 1e-4,
        tuning: Tuning | Mapping[str, Any] | None = None,
    ) -> None:
        self.p = p
        self.epochs = epochs
        self.lr = lr
        self.tuning = tuning

    def build(self, backbone: Backbone, task: FittedTask) -> nn.Module:
        tuning = Tuning.checked(self, {"p": between(0, 1, "a probability"), **TRAINING})
        if not has_batch_norm(backbone.module):
            raise RequestError(
                f"stoch_norm needs {self.needs}, and {backbone.card.name} has none; take fine_tune or another source."
            )
        return tunable(backbone, task, tuning)

    def fit(self, module: nn.Module, task: FittedTask, data: TransferData) -> History:
        grafted, tuning = cast("Grafted", module), replace(Tuning.of(self.tuning), batch_norm="adapt")
        with stochastic_norm(grafted.trunk, self.p):
            return tune(grafted, task, data, epochs=self.epochs, lr=self.lr, tuning=tuning)
