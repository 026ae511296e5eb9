"""The body of the strategies that change weights by products of low rank."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from graft.contracts import Backbone, FittedTask, History, TransferData
from graft.limits import Limit
from graft.nn.adapters import only
from graft.nn.freeze import trainable
from graft.nn.grafted import Grafted
from graft.nn.low_rank import LIMITS, low_rank, low_rank_layers
from graft.tuning.body import tunable, tune
from graft.tuning.settings import TRAINING, Tuning

__all__ = ["LOW_RANK", "LowRank"]

LOW_RANK: Mapping[str, Limit] = {**LIMITS, **TRAINING}
"""Of the arguments of strategies that change weights so."""


@dataclass(frozen=True)
class LowRank:
    """How weights change: see :func:`graft.nn.low_rank.low_rank`.

    Parameters
    ----------
    targets
        Which layers; see :func:`graft.nn.low_rank.low_rank_layers`.
    dora
        Whether the lengths of the weights' rows train apart.
    """

    rank: int
    alpha: float
    dropout: float
    targets: str | Sequence[str]
    dora: bool

    def tunable(self, backbone: Backbone, task: FittedTask, tuning: Tuning) -> Grafted:
        """The plain network with a head; of its trunk the weights that will change are set to train."""
        grafted = tunable(backbone, task, tuning)
        layers = low_rank_layers(grafted.trunk, self.targets)
        only(grafted.trunk, [grafted.trunk.get_parameter(f"{name}.weight") for name in layers])
        return grafted

    def tune(
        self, grafted: Grafted, task: FittedTask, data: TransferData, *, epochs: int, lr: float, tuning: Tuning
    ) -> History:
        """Fine-tune in place; the products are in the weights afterwards."""
        trains = [name for name, value in grafted.trunk.named_parameters() if value.requires_grad]
        layers = [name.removesuffix(".weight") for name in trains]
        with low_rank(
            grafted.trunk,
            layers,
            rank=self.rank,
            alpha=self.alpha,
            dropout=self.dropout,
            dora=self.dora,
            seed=data.seed,
        ):
            count = trainable(grafted)
            history = tune(grafted, task, data, epochs=epochs, lr=lr, tuning=tuning)
        return replace(history, chosen={"rank": self.rank, "trained_weights": count, **history.chosen})
