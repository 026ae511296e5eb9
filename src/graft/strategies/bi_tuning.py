"""Two heads, both of which contrast a row with what is kept of others."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from graft import processes
from graft.contracts import Backbone, FittedTask, History, Passes, Start, Strategy, TransferData
from graft.errors import RequestError
from graft.limits import above, at_least, between, whole
from graft.nn.grafted import Grafted
from graft.nn.initialise import seeded
from graft.nn.keys import KeyQueue, MovingCopy, contrast, with_one
from graft.nn.losses import weighted_mean
from graft.train import Step
from graft.tuning import TRAINING, Tuning, tunable, tune

__all__ = ["BiTuning"]

_LIMITS = {
    "weight": at_least(),
    "keys": whole(),
    "momentum": between(0, 1, "a share from 0 to 1"),
    "temperature": above(),
    "width": whole(),
    **TRAINING,
}


class BiTuning(Strategy):
    """Train all weights, and bring rows of a class together, near its weights in the head and near each other.

    ``weight (L_CCL + L_CAT)`` is added to the loss.  Both are ``-1/|P| Σ_P log softmax(s / T)`` over keys,
    with ``P`` those of the row's own class.  For ``L_CCL``, ``s`` compares the weights of the class in
    the head, which get no gradient by it, with features; for ``L_CAT`` a projection of the row with
    projections.  Keys are what a copy of the network that follows it slowly made of this row, and of
    the last ``keys`` rows of each class.

    As in the authors' code, but for three things: both copies see a row under the same augmentation,
    as a step has one; the kept keys start out empty, not random; and the head starts as a linear
    probe, not random, as rows are drawn to its weights from the first step.

    Parameters
    ----------
    weight
        Of both losses.
    keys
        How many are kept of every class.
    momentum
        Share of itself that the slow copy keeps in a step.
    temperature
        T.
    width
        Of the projection.
    epochs
        Passes over the training rows, at most.
    lr
        Highest learning rate of the source's weights.
    tuning
        Finer points of fine-tuning, but for its ``head``; the projection learns at its ``head_lr``.

    References
    ----------
    Zhong, Ma, Wang, Kou and Long, Bi-tuning of pre-trained representations, 2020.

    Examples
    --------
    >>> BiTuning().keys
    40
    """

    family: ClassVar[str] = "parameter"
    starts_from: ClassVar[Start] = "pretrained"
    uses_validation: ClassVar[bool] = True
    needs: ClassVar[str] = "one class a row"

    def __init__(
        self,
        weight: float = 1.0,
        keys: int = 40,
        momentum: float = 0.999,
        temperature: float = 0.07,
        width: int = 128,
        epochs: int = 10,
        lr: float = 1e-4,
        tuning: Tuning | Mapping[str, Any] | None = None,
    ) -> None:
        self.weight = weight
        self.keys = keys
        self.momentum = momentum
        self.temperature = temperature
        self.width = width
        self.epochs = epochs
        self.lr = lr
        self.tuning = tuning

    def build(self, backbone: Backbone, task: FittedTask) -> nn.Module:
        if task.link != "softmax":
            raise RequestError(f"bi_tuning needs {self.needs}, and this task is {task.kind}; choose fine_tune.")
        return tunable(backbone, task, replace(Tuning.checked(self, _LIMITS), head="probe"))

    def passes_over(self, rows: int) -> Passes:
        return replace(super().passes_over(rows), forward=1.0 + self.epochs)  # the slow copy looks at every batch too

    def fit(self, module: nn.Module, task: FittedTask, data: TransferData) -> History:
        grafted = cast("Grafted", module)
        *_, layer = (part for part in grafted.head.modules() if isinstance(part, nn.Linear))
        dim = grafted.backbone.dim
        with seeded(data.seed):
            projector = nn.Linear(dim, self.width)
        slow = nn.ModuleList([MovingCopy(grafted.trunk), MovingCopy(projector)])
        queue = KeyQueue(task.n_outputs, self.keys, (dim + 1, self.width))
        batch = list[tuple[Tensor, Tensor, Tensor]]()

        @contextlib.contextmanager
        def keeping() -> Iterator[None]:
            """Once a batch, in however many parts and processes it is computed: all keep the same keys."""
            for copied, original in zip(slow, (grafted.trunk, projector), strict=True):
                cast("MovingCopy", copied).follow(original, self.momentum)
            empty = queue.first.new_zeros(0, dim + 1), queue.second.new_zeros(0, self.width), queue.count[:0]
            batch[:] = [empty]
            yield
            queue.add(*(processes.gathered(torch.cat(each)) for each in zip(*batch, strict=True)))

        def contrasted(step: Step, features: Tensor, outputs: Tensor) -> Tensor:
            with torch.no_grad():
                key = step.run(slow[0])
                projected_key = normalize(slow[1](key), dim=1)
                own_class = normalize(torch.cat([layer.weight, layer.bias[:, None]], 1), dim=1)[_classes(step)]
            whole, projected = with_one(features), normalize(projector(features), dim=1)
            of_class = contrast(
                (whole * own_class).sum(1),
                torch.einsum("ckd,bd->bck", queue.first, own_class),
                queue.filled,
                _classes(step),
                self.temperature,
            )
            of_rows = contrast(
                (projected * projected_key).sum(1),
                torch.einsum("ckd,bd->bck", queue.second, projected),
                queue.filled,
                _classes(step),
                self.temperature,
            )
            batch.append((with_one(key), projected_key, _classes(step)))
            return self.weight * weighted_mean(of_class + of_rows, step.weights)

        tuning, beside = replace(Tuning.of(self.tuning), head="probe"), (projector, slow, queue)
        return tune(
            grafted,
            task,
            data,
            epochs=self.epochs,
            lr=self.lr,
            tuning=tuning,
            extra=contrasted,
            beside=beside,
            around=keeping,
        )


def _classes(step: Step) -> Tensor:
    """``(b,)`` classes; the likeliest, where they are soft."""
    return step.targets if step.targets.ndim == 1 else step.targets.argmax(1)
