"""Weights change by products of low rank."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, cast

from torch import nn

from graft.contracts import Backbone, Choice, FittedTask, History, Passes, Range, Start, Strategy, TransferData
from graft.errors import RequestError
from graft.nn.freeze import trainable
from graft.nn.grafted import Grafted
from graft.nn.low_rank import ALL_LINEAR
from graft.tuning import LOW_RANK, LowRank, Tuning

__all__ = ["LoRA"]


class LoRA(Strategy):
    """Change the source's weights by products of two thin matrices, which train while the weights stay.

    The products are then added to the weights: the saved model is as large and as fast as the source,
    and needs no further package.  What is saved is memory for gradients and for AdamW's averages, which
    pays from about a billion weights on; networks as small as most that run on a CPU are trained
    whole in the same time, and better.  What is also gained is a tight rein where rows are few.

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
        Highest learning rate of the products.
    tuning
        The finer points of training.

    References
    ----------
    Hu et al., LoRA: Low-rank adaptation of large language models, ICLR 2022.
    """

    family: ClassVar[str] = "parameter"
    starts_from: ClassVar[Start] = "pretrained"
    uses_validation: ClassVar[bool] = True
    needs: ClassVar[str] = "a source with linear layers or convolutions"
    packages: ClassVar[tuple[str, ...]] = ("peft",)

    space: ClassVar[Mapping[str, Range | Choice]] = {"lr": Range(1e-4, 1e-2, log=True), "rank": Choice((4, 8, 16))}

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
                f"lora needs {self.needs} that train, and {backbone.card.name} has none; choose fine_tune."
            )
        return grafted

    def passes_over(self, rows: int) -> Passes:
        # the products are layers of their own: on MiniLM a step takes 1.5 to 2.3 times one that trains all weights
        return replace(super().passes_over(rows), back=4.0, learns=0.05)

    def fit(self, module: nn.Module, task: FittedTask, data: TransferData) -> History:
        grafted, tuning = cast("Grafted", module), Tuning.of(self.tuning)
        return self._change().tune(grafted, task, data, epochs=self.epochs, lr=self.lr, tuning=tuning)

    def _change(self) -> LowRank:
        return LowRank(self.rank, self.alpha, self.dropout, self.targets, dora=False)
