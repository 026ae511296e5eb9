"""Where a new head starts, and how fast it may learn there."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from graft.contracts import FittedTask, Machine, TransferData
from graft.features import Extractor, extract
from graft.linear import fit_probe, zero_head
from graft.linear.sharpness import sharpness
from graft.nn.glm import one_hot
from graft.nn.grafted import Grafted
from graft.nn.prototypes import class_means, prototype_head
from graft.tuning.settings import Tuning

__all__ = ["loudness", "start_head"]

_LOOKED_AT = 64
_FAINTEST = 0.02


def loudness(grafted: Grafted, data: TransferData) -> float:
    """The root mean square of the features of a few training rows, from 0.02 to 1.

    An optimiser of Adam's kind moves each weight of the head by its rate, whatever the features are:
    for features as faint as those of unit length the outputs would hardly move.  The head's rate is
    divided by this.
    """
    n = len(data.train)
    rows = np.unique(np.linspace(0, n - 1, num=min(_LOOKED_AT, n)).astype(np.int64))
    reader = Extractor(grafted.trunk, grafted.backbone.preprocess, Machine(data.machine.device))
    features = reader.run(data.train.examples.take(rows))
    found = float(np.sqrt(np.square(features, dtype=np.float64).mean()))
    return min(max(found, _FAINTEST), 1.0) if found == found else 1.0


def start_head(grafted: Grafted, task: FittedTask, data: TransferData, tuning: Tuning) -> None:
    """Set the head to where training starts."""
    *_, head = (part for part in grafted.head.modules() if isinstance(part, nn.Linear))
    if tuning.head == "probe":
        start = zero_head(grafted.backbone, task)
        fit_probe(Grafted(grafted.backbone, start), task, data, None)
        weight, bias = start.weight.detach(), start.bias.detach()
    elif tuning.head == "prototypes":
        weight, bias = _nearest_means(grafted, task, data)
    else:
        weight, bias = torch.zeros_like(head.weight), task.prior(data.train.targets, data.train.weights)
    with torch.no_grad():
        head.weight.copy_(weight)
        head.bias.copy_(bias)


def _nearest_means(grafted: Grafted, task: FittedTask, data: TransferData) -> tuple[Tensor, Tensor]:
    """The linear layer of a nearest-mean classifier, speaking as surely as the training rows allow."""
    features = extract(
        grafted.backbone, data.train.examples, machine=data.machine, cache=data.cache, progress=data.progress
    )
    rows = torch.from_numpy(features)
    weight, bias = prototype_head(class_means(rows, data.train.targets, task.n_outputs, data.train.weights))
    said = rows @ weight.T + bias
    said = said - said.mean(1, keepdim=True)
    wanted = one_hot(data.train.targets, task.link, task.n_outputs)
    sure = sharpness(said, wanted, task.link, data.train.weights)
    return sure * weight, sure * bias
