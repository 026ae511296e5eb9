"""The same network, untrained."""

from __future__ import annotations

from typing import ClassVar, cast

import torch
from torch import nn

from graft import train
from graft.contracts import Backbone, FittedTask, History, Start, Strategy, TransferData
from graft.evaluate.goal import goal_of
from graft.limits import above, at_least, check, whole
from graft.linear import zero_head
from graft.nn.grafted import Grafted
from graft.nn.groups import parameter_groups
from graft.nn.initialise import fresh

__all__ = ["Scratch"]

_LIMITS = {
    "epochs": whole(),
    "lr": above(),
    "weight_decay": at_least(),
    **{name: train.LIMITS[name] for name in ("batch_size", "warmup", "patience")},
}


class Scratch(Strategy):
    """A control: the same network without what the source learnt, trained on the target rows alone.

    One rate for all weights, and more epochs than fine-tuning has, as it has further to go.

    Parameters
    ----------
    epochs
        Passes over the training rows, at most.
    lr
        Highest learning rate.
    weight_decay
        Share of a weight that a rate of 1 would take away.
    batch_size
        Rows a step.
    warmup
        Share of all steps in which the rate rises.
    patience
        Epochs without a better validation metric after which it stops; ``None``: never.

    References
    ----------
    He, Girshick and Dollár, Rethinking ImageNet pre-training, ICCV 2019.
    """

    family: ClassVar[str] = "control"
    starts_from: ClassVar[Start] = "untrained"
    uses_validation: ClassVar[bool] = True

    def __init__(
        self,
        epochs: int = 30,
        lr: float = 1e-3,
        weight_decay: float = 0.05,
        batch_size: int = 32,
        warmup: float = 0.1,
        patience: int | None = 6,
    ) -> None:
        self.epochs = epochs
        self.lr = lr
        self.weight_decay = weight_decay
        self.batch_size = batch_size
        self.warmup = warmup
        self.patience = patience

    def build(self, backbone: Backbone, task: FittedTask) -> nn.Module:
        check(self, _LIMITS)
        return Grafted(backbone, zero_head(backbone, task)).requires_grad_(True)

    def fit(self, module: nn.Module, task: FittedTask, data: TransferData) -> History:
        grafted = cast("Grafted", module)
        head = cast("nn.Linear", grafted.head)
        fresh(grafted.trunk, data.seed)
        with torch.no_grad():
            head.bias.copy_(task.prior(data.train.targets, data.train.weights))
        outcome = train.fit(
            grafted,
            train.supervised(task.loss),
            data,
            preprocess=grafted.backbone.preprocess,
            groups=parameter_groups(grafted, rate=self.lr, weight_decay=self.weight_decay),
            recipe=train.Recipe(self.epochs, self.batch_size, self.warmup, self.patience),
            goal=goal_of(task),
        )
        return History(score=outcome.score, chosen=outcome.chosen, epochs=outcome.epochs)
