"""Biases train alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar, cast

from torch import nn

from graft.contracts import Backbone, Choice, FittedTask, History, Passes, Range, Start, Strategy, TransferData
from graft.errors import RequestError
from graft.limits import flag
from graft.nn.adapters import biases, norms, only
from graft.nn.freeze import trainable
from graft.nn.grafted import Grafted
from graft.tuning import TRAINING, Tuning, tunable, tune

__all__ = ["BitFit"]


class BitFit(Strategy):
    """Train the biases of the source and the new head; all weights stay.

    A thousandth of the parameters trains.  That is too little to learn what the source does not know, and
    hard to overfit: for few rows of a task near to the source's.

    Parameters
    ----------
    norms
        Whether the weights of norms train as well.
    epochs
        Passes over the training rows, at most.
    lr
        Highest learning rate of the biases.
    tuning
        The finer points of training.

    References
    ----------
    Ben Zaken, Goldberg and Ravfogel, BitFit: Simple parameter-efficient fine-tuning for transformer-based masked
    language-models, ACL 2022.
    """

    family: ClassVar[str] = "parameter"
    starts_from: ClassVar[Start] = "pretrained"
    uses_validation: ClassVar[bool] = True
    needs: ClassVar[str] = "a source with biases"

    space: ClassVar[Mapping[str, Range | Choice]] = {"lr": Range(1e-4, 1e-2, log=True), "epochs": Choice((5, 10, 20))}

    def __init__(
        self,
        norms: bool = False,
        epochs: int = 10,
        lr: float = 1e-3,
        tuning: Tuning | Mapping[str, Any] | None = None,
    ) -> None:
        self.norms = norms
        self.epochs = epochs
        self.lr = lr
        self.tuning = tuning

    def build(self, backbone: Backbone, task: FittedTask) -> nn.Module:
        grafted = tunable(backbone, task, Tuning.checked(self, {"norms": flag(), **TRAINING}))
        only(grafted.trunk, [*biases(grafted.trunk), *(norms(grafted.trunk) if self.norms else [])])
        if not any(value.requires_grad for value in biases(grafted.trunk)):
            raise RequestError(
                f"bitfit needs {self.needs} that train, and {backbone.card.name} has none; choose fine_tune."
            )
        return grafted

    def passes_over(self, rows: int) -> Passes:
        return replace(super().passes_over(rows), back=1.0, learns=0.01)

    def fit(self, module: nn.Module, task: FittedTask, data: TransferData) -> History:
        grafted = cast("Grafted", module)
        count = trainable(grafted)
        history = tune(grafted, task, data, epochs=self.epochs, lr=self.lr, tuning=Tuning.of(self.tuning))
        return replace(history, chosen={"trained_weights": count, **history.chosen})
