"""The source's own answers, kept where it is sure of them."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn

from graft.contracts import Backbone, FittedTask, History, Start, Strategy, TransferData
from graft.errors import RequestError
from graft.features import extract
from graft.limits import above, at_least
from graft.nn.confidence import confidence, divergence_from, sureness
from graft.nn.grafted import Grafted
from graft.nn.losses import weighted_mean
from graft.nn.outputs import own_outputs
from graft.train import Step
from graft.tuning import TRAINING, Tuning, tunable, tune

__all__ = ["KLAnchor"]


class KLAnchor(Strategy):
    """Train all weights, and hold the source's own predictions for the rows that it is sure of.

    With ``p`` the source's prediction for a row, in its own classes, ``q`` what its output layer now
    makes of the row, and ``o`` the outputs for the task, the loss of the row has added::

        weight w T² KL(p_T ‖ q_T)  +  entropy (1 - w) (1 - H(o) / log c)        w = 1 - H(p) / log c_s

    It comes of a bound on forgetting, ``E[w KL(p ‖ q)] ≤ ε``, whose multiplier is ``weight``: where
    the source is certain, w is 1, and its answer is to stay; where it only guesses, w is 0, there is
    nothing to forget, and the trunk is free.  There, however, nothing but the few labels holds the
    outputs either, so they are kept from becoming certain, by as much as the source is not.
    The source's output layer stays as it is; predictions before training are computed once a row.

    Parameters
    ----------
    weight
        Of the divergence.
    entropy
        Of the penalty on certain outputs; for several labels a row it is their mean, for numbers 0.
    temperature
        T, which softens both predictions: above 1 it tells more of the source's second thoughts.
    epochs
        Passes over the training rows, at most.
    lr
        Highest learning rate of the source's weights.
    tuning
        Finer points of fine-tuning; not ``mixup`` and ``cutmix``, whose rows the source has not seen.

    References
    ----------
    Li and Hoiem, Learning without forgetting, ECCV 2016 (the divergence, T = 2; there for all rows alike).
    Pereyra, Tucker, Chorowski, Kaiser and Hinton, Regularizing neural networks by penalizing confident
    output distributions, 2017 (the entropy, 0.1).

    Examples
    --------
    >>> KLAnchor().get_params()["temperature"]
    2.0
    """

    family: ClassVar[str] = "parameter"
    starts_from: ClassVar[Start] = "pretrained"
    uses_validation: ClassVar[bool] = True
    needs: ClassVar[str] = "a source with outputs of its own"

    def __init__(
        self,
        weight: float = 1.0,
        entropy: float = 0.1,
        temperature: float = 2.0,
        epochs: int = 10,
        lr: float = 1e-4,
        tuning: Tuning | Mapping[str, Any] | None = None,
    ) -> None:
        self.weight = weight
        self.entropy = entropy
        self.temperature = temperature
        self.epochs = epochs
        self.lr = lr
        self.tuning = tuning

    def build(self, backbone: Backbone, task: FittedTask) -> nn.Module:
        limits = {"weight": at_least(), "entropy": at_least(), "temperature": above(), **TRAINING}
        tuning = Tuning.checked(self, limits)
        if tuning.mixup or tuning.cutmix:
            raise RequestError("kl_anchor holds what the source said of whole rows; leave out mixup and cutmix.")
        own = own_outputs(backbone)
        if own is None or own.dim < 2:
            raise RequestError(
                f"kl_anchor needs {self.needs}, and {backbone.card.name} has no classes; choose l2_sp or delta instead."
            )
        return tunable(backbone, task, tuning)

    def fit(self, module: nn.Module, task: FittedTask, data: TransferData) -> History:
        grafted, device = cast("Grafted", module), data.machine.device
        before = _said(grafted.backbone, data)
        sure = confidence(before)
        says = _speaker(grafted.backbone, device)

        def kept(step: Step, features: Tensor, outputs: Tensor) -> Tensor:
            w = sure[step.rows].to(device)
            forgotten = divergence_from(before[step.rows].to(device), says(step, features), self.temperature)
            added = self.weight * w * forgotten + self.entropy * (1 - w) * sureness(outputs, task.link)
            return weighted_mean(added, step.weights)

        tuning = Tuning.of(self.tuning)
        return tune(grafted, task, data, epochs=self.epochs, lr=self.lr, tuning=tuning, extra=kept)


def _said(backbone: Backbone, data: TransferData) -> Tensor:
    """``(n, c_s)``: the source's outputs for the training rows."""
    own = own_outputs(backbone)
    assert own is not None
    found = extract(own, data.train.examples, machine=data.machine, cache=data.cache, progress=data.progress)
    return torch.from_numpy(found)


def _speaker(backbone: Backbone, device: torch.device) -> Callable[[Step, Tensor], Tensor]:
    """From a step and its features to what the source's output layer makes of them now."""
    if backbone.outputs is None:
        head = copy.deepcopy(cast("nn.Module", backbone.head)).eval().requires_grad_(False).float().to(device)
        return lambda step, features: cast("Tensor", head(features))
    # No layer on the features: the whole network runs once more, with the trunk that trains inside.
    network, trunk = backbone.outputs.eval().to(device), {id(value) for value in backbone.module.parameters()}
    for value in network.parameters():
        if id(value) not in trunk:
            value.requires_grad_(False)
    return lambda step, features: cast("Tensor", step.run(network))
