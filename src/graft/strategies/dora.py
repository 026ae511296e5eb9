"""Weights change by products of low rank, and in length."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, cast

from torch import nn

from graft.contracts import Backbone, FittedTask, History, Passes, Start, Strategy, TransferData
from graft.errors import RequestError
from graft.nn.freeze import trainable
from graft.nn.grafted import Grafted
from graft.nn.low_rank import ALL_LINEAR
from graft.tuning import LOW_RANK, LowRank, Tuning

__all__ = ["DoRA"]


class DoRA(Strategy):
    """Train the lengths of the weights' rows, and change their directions by products of two thin matrices.

    Like ``lora``, it leaves a plain network.  It comes closer to what training all weights does, at the
    same rank, and takes longer: every step computes the lengths of all rows.

    Parameters
    ----------
    rank
        Inner width of a product.
    alpha
        A product counts ``alpha / rank``.
    dropout
        Share of a layer's inputs that the product does not see while training.
    targets
        Layers that change: ``all-linear``, which takes the convolutions too where they hold most of the
        weights, or patterns of names such as ``["qkv", "blocks.1*.mlp.fc?"]``.
    epochs
        Passes over the training rows, at most.
    lr
        Highest learning rate of the products and of the lengths.
    tuning
        The finer points of training.

    References
    ----------
    Liu et al., DoRA: Weight-decomposed low-rank adaptation, ICML 2024.
    """

    family: ClassVar[str] = "parameter"
    starts_from: ClassVar[Start] = "pretrained"
    uses_validation: ClassVar[bool] = True
    needs: ClassVar[str] = "a source with linear layers or convolutions"
    packages: ClassVar[tuple[str, ...]] = ("peft",)

    def __init__(
        self,
        rank: int = 8,
        alpha: float = 16.0,
        dropout: float = 0.0,
        targets: str | Sequence[str] = ALL_LINEAR,
        epochs: int = 10,
        lr: float = 1e-3,
        tuning: Tuning | Mapping[str, Any] | None = None,
    ) -> None:
        self.rank = rank
        self.alpha = alpha
        self.dropout = dropout
        self.targets = targets
        self.epochs = epochs
        self.lr = lr
        self.tuning = tuning

    def build(self, backbone: Backbone, task: FittedTask) -> nn.Module:
        grafted = self._change().tunable(backbone, task, Tuning.checked(self, LOW_RANK))
        if not trainable(grafted.trunk):
            raise RequestError(
                f"dora needs {self.needs} that train, and {backbone.card.name} has none; choose fine_tune."
            )
        return grafted

    def passes_over(self, rows: int) -> Passes:
        # taken as lora, of which steps were timed; its own take somewhat longer
        return replace(super().passes_over(rows), back=4.0, learns=0.05)

    def fit(self, module: nn.Module, task: FittedTask, data: TransferData) -> History:
        grafted, tuning = cast("Grafted", module), Tuning.of(self.tuning)
        return self._change().tune(grafted, task, data, epochs=self.epochs, lr=self.lr, tuning=tuning)

    def _change(self) -> LowRank:
        return LowRank(self.rank, self.alpha, self.dropout, self.targets, dora=True)
