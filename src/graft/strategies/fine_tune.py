"""All weights go on learning."""

from __future__ import annotations

from typing import ClassVar, cast

import torch
from torch import nn

from graft import train
from graft.contracts import Backbone, FittedTask, History, Start, Strategy, TransferData
from graft.errors import RequestError
from graft.evaluate.goal import goal_of
from graft.linear import zero_head
from graft.nn.grafted import Grafted
from graft.nn.groups import parameter_groups

__all__ = ["FineTune"]


class FineTune(Strategy):
    """Train all weights, starting from the source's, at a low rate; the new head learns at a higher one.

    AdamW, with a warm-up and a cosine; stops when the validation metric no longer gets better, and
    keeps the best epoch's weights.  BatchNorm keeps the averages of the source: those of a few small
    batches are worse, and may undo what the weights have learnt.

    Parameters
    ----------
    epochs
        Passes over the training rows, at most.
    lr, head_lr
        Highest learning rates of the source's weights and of the head.
    weight_decay
        Share of a weight that a rate of 1 would take away.
    batch_size
        Rows a step.
    warmup
        Share of all steps in which the rates rise.
    patience
        Epochs without a better validation metric after which it stops; ``None``: never.
    dropout
        Share of the features that a training step hides from the head.

    References
    ----------
    Loshchilov and Hutter, Decoupled weight decay regularization, ICLR 2019.
    Mosbach, Andriushchenko and Klakow, On the stability of fine-tuning BERT, ICLR 2021.
    """

    family: ClassVar[str] = "parameter"
    starts_from: ClassVar[Start] = "pretrained"
    uses_validation: ClassVar[bool] = True

    def __init__(
        self,
        epochs: int = 10,
        lr: float = 1e-4,
        head_lr: float = 2e-3,
        weight_decay: float = 0.01,
        batch_size: int = 32,
        warmup: float = 0.1,
        patience: int | None = 3,
        dropout: float = 0.0,
    ) -> None:
        self.epochs = epochs
        self.lr = lr
        self.head_lr = head_lr
        self.weight_decay = weight_decay
        self.batch_size = batch_size
        self.warmup = warmup
        self.patience = patience
        self.dropout = dropout

    def build(self, backbone: Backbone, task: FittedTask) -> nn.Module:
        if not 0 <= self.dropout < 1:
            raise RequestError(f"dropout is {self.dropout}, expected a share from 0 to below 1.")
        head: nn.Module = zero_head(backbone, task)
        if self.dropout:
            head = nn.Sequential(nn.Dropout(self.dropout), head)
        return Grafted(backbone, head).requires_grad_(True)

    def fit(self, module: nn.Module, task: FittedTask, data: TransferData) -> History:
        grafted = cast("Grafted", module)
        *_, head = (part for part in grafted.head.modules() if isinstance(part, nn.Linear))
        with torch.no_grad():
            head.bias.copy_(task.prior(data.train.targets))
        outcome = train.fit(
            grafted,
            train.supervised(task.loss),
            data,
            preprocess=grafted.backbone.preprocess,
            groups=parameter_groups(
                grafted,
                grafted.backbone.stages,
                rate=self.lr,
                head_rate=self.head_lr,
                weight_decay=self.weight_decay,
            ),
            recipe=train.Recipe(self.epochs, self.batch_size, self.warmup, self.patience, batch_statistics=False),
            goal=goal_of(task),
        )
        return History(score=outcome.score, chosen=outcome.chosen, epochs=outcome.epochs)
