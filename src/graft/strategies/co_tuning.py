"""The source's whole head trains along, on what the task's classes are in its own."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn

from graft.contracts import Backbone, FittedTask, History, Start, Strategy, TransferData
from graft.errors import RequestError
from graft.features import extract
from graft.limits import above, at_least
from graft.linear import fit_linear
from graft.linear.sharpness import sharpness
from graft.nn.grafted import Grafted
from graft.nn.losses import soft, weighted_mean
from graft.nn.outputs import own_outputs
from graft.nn.relationship import source_classes
from graft.train import Step
from graft.tuning import TRAINING, Tuning, tunable, tune

__all__ = ["CoTuning"]


class CoTuning(Strategy):
    """Train all weights, and the source's own output layer too, on the classes that it sees the rows as.

    Which classes of the source stand for a class of the task, ``p(y_s | y)``, is learnt from the
    source's predictions for the training rows: a logistic regression from them to the labels, and
    Bayes' rule.  The loss of a row has ``weight H(p(y_s | y), q)`` added, with ``q`` what the source's
    output layer, which trains along, predicts.  So that layer, which plain fine-tuning throws away,
    teaches too.  In the paper the regression is chosen by the validation rows; here it is by
    cross-validation inside the training rows, which also sets its probabilities true.

    The paper sets the source's own probabilities true first, on rows that it learnt from.  Those are
    not here, so that ``q`` is taken at the temperature at which the source as it came fits
    ``p(y_s | y)`` best.  At 1, a source that is too sure of itself on rows unlike its own (pictures of
    another size, drawings) has so high a loss that becoming less sure is most of what it learns.

    Parameters
    ----------
    weight
        Of the source's classes against the task's own.  The paper has 2.3, for thousands of steps on
        classes that are kinds of the source's own (birds, cars); with fewer it comes before the task.
    epochs
        Passes over the training rows, at most.
    lr
        Highest learning rate of the source's weights, its output layer's among them.
    temperature
        Divides the outputs of the source's layer; ``None``: fitted to the training rows.
    tuning
        Finer points of fine-tuning.

    References
    ----------
    You, Kou, Long and Wang, Co-tuning for transfer learning, NeurIPS 2020.

    Examples
    --------
    >>> CoTuning().weight
    0.1
    """

    family: ClassVar[str] = "parameter"
    starts_from: ClassVar[Start] = "pretrained"
    uses_validation: ClassVar[bool] = True
    needs: ClassVar[str] = "an output layer of the source, and one class a row"

    def __init__(
        self,
        weight: float = 0.1,
        epochs: int = 10,
        lr: float = 1e-4,
        temperature: float | None = None,
        tuning: Tuning | Mapping[str, Any] | None = None,
    ) -> None:
        self.weight = weight
        self.epochs = epochs
        self.lr = lr
        self.temperature = temperature
        self.tuning = tuning

    def build(self, backbone: Backbone, task: FittedTask) -> nn.Module:
        tuning = Tuning.checked(self, {"weight": at_least(), "temperature": above().or_none(), **TRAINING})
        own = None if backbone.head is None or backbone.outputs is not None else own_outputs(backbone)
        lacking = [] if own is not None and own.dim > 1 else [_lacking(backbone, own)]
        lacking += [f"this task is {task.kind}"] if task.link != "softmax" else []
        if lacking:
            raise RequestError(
                f"co_tuning needs {self.needs}; {', and '.join(lacking)}. Choose l2_sp or delta instead."
            )
        return tunable(backbone, task, tuning)

    def fit(self, module: nn.Module, task: FittedTask, data: TransferData) -> History:
        grafted = cast("Grafted", module)
        own_classes, sure = _relationship(grafted.backbone, task, data)
        own_classes = own_classes.to(data.machine.device)
        temperature = 1 / sure if self.temperature is None else self.temperature
        layer = copy.deepcopy(cast("nn.Module", grafted.backbone.head)).float().requires_grad_(True)

        def along(step: Step, features: Tensor, outputs: Tensor) -> Tensor:
            wanted = soft(step.targets, task.n_outputs) @ own_classes
            losses = -(wanted * torch.log_softmax(layer(features) / temperature, 1)).sum(1)
            return self.weight * weighted_mean(losses, step.weights)

        history = tune(
            grafted,
            task,
            data,
            epochs=self.epochs,
            lr=self.lr,
            tuning=Tuning.of(self.tuning),
            extra=along,
            beside=(layer,),
            beside_lr=self.lr,
        )
        return replace(history, chosen={**history.chosen, "temperature": round(temperature, 3)})


def _lacking(backbone: Backbone, own: Backbone | None) -> str:
    """What a source has instead of an output layer of several classes."""
    name = backbone.card.name
    if backbone.outputs is not None:
        return f"the outputs of {name} are no layer on its features"
    return f"{name} has {own.dim if own else 'no'} outputs"


def _relationship(backbone: Backbone, task: FittedTask, data: TransferData) -> tuple[Tensor, float]:
    """``p(y_s | y)``, ``(c, c_s)``, and what the source's outputs are multiplied by to fit it on the rows."""
    own = own_outputs(backbone)
    assert own is not None
    outputs = torch.from_numpy(
        extract(own, data.train.examples, machine=data.machine, cache=data.cache, progress=data.progress)
    )
    seen = torch.softmax(outputs, 1)
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
    classes = source_classes(found.weight, found.bias, seen)
    wanted = soft(data.train.targets, task.n_outputs) @ classes
    return classes, sharpness(outputs, wanted, "softmax", data.train.weights)
