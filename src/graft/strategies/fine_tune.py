"""All weights go on learning."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar, cast

from torch import nn

from graft.contracts import Backbone, Choice, FittedTask, History, Range, Start, Strategy, TransferData
from graft.errors import RequestError
from graft.nn.grafted import Grafted
from graft.tuning import SETTINGS, TRAINING, Tuning, tunable, tune

__all__ = ["FineTune"]

_OWN = ("head_lr", "weight_decay", "batch_size", "patience", "dropout")
"""Settings of tuning that are options of their own here."""

_LIMITS = {**TRAINING, **{name: SETTINGS[name] for name in _OWN}}


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
        Highest learning rates of the source's weights, and of the head on features of mean square 1:
        it learns faster on fainter ones, such as embeddings of length 1.
    weight_decay
        Share of a weight that a rate of 1 would take away.
    batch_size
        Rows a step.
    patience
        Epochs without a better validation metric after which it stops; ``None``: never.
    dropout
        Share of the features that a training step hides from the head.
    tuning
        The finer points, by name or as an object (:class:`~graft.tuning.Tuning`): which stages train
        and when, rates that fall towards the input, schedules, losses, mixing, averaging.

    Examples
    --------
    >>> FineTune(epochs=3, tuning={"unfreeze": 1, "layer_decay": 0.9}).epochs
    3

    References
    ----------
    Loshchilov and Hutter, Decoupled weight decay regularization, ICLR 2019.
    Mosbach, Andriushchenko and Klakow, On the stability of fine-tuning BERT, ICLR 2021.
    """

    family: ClassVar[str] = "parameter"
    starts_from: ClassVar[Start] = "pretrained"
    uses_validation: ClassVar[bool] = True

    space: ClassVar[Mapping[str, Range | Choice]] = {
        "lr": Range(1e-5, 1e-3, log=True),
        "head_lr": Range(5e-4, 2e-2, log=True),
        "epochs": Choice((3, 5, 10, 20)),
    }

    def __init__(
        self,
        epochs: int = 10,
        lr: float = 1e-4,
        head_lr: float = 2e-3,
        weight_decay: float = 0.01,
        batch_size: int = 32,
        patience: int | None = 3,
        dropout: float = 0.0,
        tuning: Tuning | Mapping[str, Any] | None = None,
    ) -> None:
        self.epochs = epochs
        self.lr = lr
        self.head_lr = head_lr
        self.weight_decay = weight_decay
        self.batch_size = batch_size
        self.patience = patience
        self.dropout = dropout
        self.tuning = tuning

    def build(self, backbone: Backbone, task: FittedTask) -> nn.Module:
        return tunable(backbone, task, self._settings())

    def fit(self, module: nn.Module, task: FittedTask, data: TransferData) -> History:
        grafted = cast("Grafted", module)
        return tune(grafted, task, data, epochs=self.epochs, lr=self.lr, tuning=self._settings())

    def _settings(self) -> Tuning:
        """The finer points, with those that are options of their own."""
        given = Tuning.checked(self, _LIMITS)
        twice = [name for name in _OWN if getattr(given, name) != getattr(Tuning(), name)]
        if twice:
            raise RequestError(
                f"{twice[0]} is an option of fine_tune itself; give {twice[0]}, and not tuning.{twice[0]}."
            )
        return dataclasses.replace(given, **{name: getattr(self, name) for name in _OWN})
