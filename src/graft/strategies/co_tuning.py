"""The source's whole head trains along, on what the task's classes are in its own."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn

from graft.contracts import Backbone, FittedTask, History, Start, Strategy, TransferData
from graft.errors import RequestError
from graft.features import extract
from graft.linear import fit_linear
from graft.nn.grafted import Grafted
from graft.nn.losses import soft, weighted_mean
from graft.nn.outputs import own_outputs
from graft.nn.relationship import source_classes
from graft.train import Step
from graft.tuning import Tuning, tunable, tune

__all__ = ["CoTuning"]


class CoTuning(Strategy):
    """Train all weights, and the source's own output layer too, on the classes that it sees the rows as.

    Which classes of the source stand for a class of the task, ``p(y_s | y)``, is learnt from the
    source's predictions for the training rows: a logistic regression from them to the labels, and
    Bayes' rule.  The loss of a row has ``weight H(p(y_s | y), q)`` added, with ``q`` what the source's
    output layer, which trains along, predicts.  So that layer, which plain fine-tuning throws away,
    teaches too.  In the paper the regression is chosen by the validation rows; here it is by
    cross-validation inside the training rows, which also sets its probabilities true.

    Parameters
    ----------
    weight
        Of the source's classes against the task's own.
    epochs
        Passes over the training rows, at most.
    lr
        Highest learning rate of the source's weights, its output layer's among them.
    tuning
        Finer points of fine-tuning.

    References
    ----------
    You, Kou, Long and Wang, Co-tuning for transfer learning, NeurIPS 2020.

    Examples
    --------
    >>> CoTuning().weight
    2.3
    """

    family: ClassVar[str] = "parameter"
    starts_from: ClassVar[Start] = "pretrained"
    uses_validation: ClassVar[bool] = True
    needs: ClassVar[str] = "an output layer of the source, and one class a row"

    def __init__(
        self,
        weight: float = 2.3,
        epochs: int = 10,
        lr: float = 1e-4,
        tuning: Tuning | Mapping[str, Any] | None = None,
    ) -> None:
        self.weight = weight
        self.epochs = epochs
        self.lr = lr
        self.tuning = tuning

    def build(self, backbone: Backbone, task: FittedTask) -> nn.Module:
        if not self.weight >= 0:
            raise RequestError(f"weight is {self.weight}, expected 0 or more.")
        own = None if backbone.head is None or backbone.outputs is not None else own_outputs(backbone)
        if own is None or own.dim < 2 or task.link != "softmax":
            raise RequestError(
                f"co_tuning needs {self.needs}; {backbone.card.name} has {own.dim if own else 'no'} outputs, "
                f"and this task is {task.kind}. Choose l2_sp or delta instead."
            )
        return tunable(backbone, task, Tuning.of(self.tuning))

    def fit(self, module: nn.Module, task: FittedTask, data: TransferData) -> History:
        grafted = cast("Grafted", module)
        own_classes = _relationship(grafted.backbone, task, data).to(data.machine.device)
        layer = copy.deepcopy(cast("nn.Module", grafted.backbone.head)).float().requires_grad_(True)

        def along(step: Step, features: Tensor, outputs: Tensor) -> Tensor:
            wanted = soft(step.targets, task.n_outputs) @ own_classes
            losses = -(wanted * torch.log_softmax(layer(features), 1)).sum(1)
            return self.weight * weighted_mean(losses, step.weights)

        tuning = Tuning.of(self.tuning)
        return tune(
            grafted,
            task,
            data,
            epochs=self.epochs,
            lr=self.lr,
            tuning=tuning,
            extra=along,
            beside=(layer,),
            beside_lr=self.lr,
        )


def _relationship(backbone: Backbone, task: FittedTask, data: TransferData) -> Tensor:
    """``(c, c_s)``: ``p(y_s | y)``."""
    own = own_outputs(backbone)
    assert own is not None
    outputs = extract(own, data.train.examples, machine=data.machine, cache=data.cache, progress=data.progress)
    seen = torch.softmax(torch.from_numpy(outputs), 1)
    found = fit_linear(
        seen.numpy(),
        data.train.targets,
        task.link,
        n_outputs=task.n_outputs,
        weights=data.train.weights,
        groups=data.groups,
        keys=data.train.examples.keys(),
        seed=data.seed,
        progress=data.progress,
    )
    return source_classes(found.weight, found.bias, seen)
