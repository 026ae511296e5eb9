"""The body of fine-tuning: what trains, where its head starts, and the objective that it learns by."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, cast

from torch import Tensor, nn

from graft import train
from graft.contracts import Backbone, Batch, FittedTask, History, TransferData
from graft.evaluate.goal import goal_of
from graft.linear import zero_head
from graft.nn.grafted import Grafted
from graft.nn.groups import parameter_groups, train_last
from graft.nn.penalties import weight_penalty
from graft.tuning.frozen import frozen_once
from graft.tuning.losses import chances_of, check_suits, loss_of, weighed
from graft.tuning.mixing import forward, training_form
from graft.tuning.settings import Tuning
from graft.tuning.start import loudness, start_head

__all__ = ["Extra", "tunable", "tune"]

Extra = Callable[[train.Step, Tensor, Tensor], Tensor]
"""``(step, features (n, d), outputs (n, c))`` → a scalar that is added to the task's loss."""


def tunable(backbone: Backbone, task: FittedTask, tuning: Tuning) -> Grafted:
    """The network with a head, and its last stages set to train.

    Raises
    ------
    RequestError
        Where the settings do not suit the task.
    """
    check_suits(task, tuning)
    head: nn.Module = zero_head(backbone, task)
    if tuning.dropout:
        head = nn.Sequential(nn.Dropout(tuning.dropout), head)
    module = Grafted(backbone, head).requires_grad_(True)
    train_last(module.trunk, backbone.stages, tuning.last)
    return module


def tune(
    grafted: Grafted,
    task: FittedTask,
    data: TransferData,
    *,
    epochs: int,
    lr: float,
    tuning: Tuning,
    extra: Extra | None = None,
    beside: Sequence[nn.Module] = (),
    beside_lr: float | None = None,
    started: bool = False,
    head_rate: float | None = None,
    around: train.Around = contextlib.nullcontext,
) -> History:
    """Fine-tune in place.

    Parameters
    ----------
    grafted
        As :func:`tunable` gives it, or with parts of its own; what requires a gradient trains.
    epochs
        Passes over the training rows, at most.
    lr
        Highest learning rate of the network below the head.
    extra
        What is added to the loss of a step, such as a penalty.
    beside
        Modules that train along, and are no part of the model that is kept.
    beside_lr
        Their highest learning rate; ``None``: the head's.
    started
        Whether the head stands where it is to start already (:func:`start_head`).
    head_rate
        The head's highest learning rate as it is; ``None``: ``tuning.head_lr``, higher for faint features.
    around
        Opened for every batch, in every process (:func:`graft.train.fit`).

    Raises
    ------
    RequestError
        Where no row weighs anything.
    """
    rows = weighed(data.train, task, tuning)
    data = replace(data, train=rows)
    if not started:
        start_head(grafted, task, data, tuning)
    loss = loss_of(task, tuning, data.train)

    def objective(step: train.Step) -> Tensor:
        step, features, outputs = forward(grafted, step, tuning, task.n_outputs)
        value = loss(outputs, step.targets, step.weights)
        if tuning.l1 or tuning.l2:
            value = value + weight_penalty(grafted, tuning.l1, tuning.l2)
        return value if extra is None else value + extra(step, features, outputs)

    module = _Beside(grafted, beside)
    head_lr = tuning.head_lr / loudness(grafted, data) if head_rate is None else head_rate
    groups = _groups(module, lr, head_lr, head_lr if beside_lr is None else beside_lr, tuning)
    preprocess = training_form(grafted.backbone.preprocess, tuning)
    # What is added to the loss may look at the rows themselves; a single epoch computes all once anyway.
    once = frozen_once(grafted, data, preprocess, tuning) if extra is None and epochs > 1 else None
    with _opening(grafted, tuning) as before_epoch, once or contextlib.nullcontext((data, preprocess, "")) as given:
        outcome = train.fit(
            module,
            objective,
            given[0],
            preprocess=given[1],
            groups=groups,
            recipe=_recipe(epochs, tuning),
            goal=goal_of(task),
            before_epoch=before_epoch,
            chances=chances_of(rows, task, tuning),
            find_rate=tuning.find_lr,
            around=around,
        )
    grafted.eval()
    told = {"frozen_stages_computed": given[2]} if given[2] else {}
    return History(score=outcome.score, chosen={**outcome.chosen, **told}, epochs=outcome.epochs)


def _groups(module: _Beside, lr: float, head_lr: float, beside_lr: float, tuning: Tuning) -> list[dict[str, Any]]:
    """The parameters of the model, and of what trains beside it, with their rates."""
    stages, decay = module.grafted.backbone.stages, tuning.weight_decay
    model = parameter_groups(
        module.grafted, stages, rate=lr, head_rate=head_lr, weight_decay=decay, layer_decay=tuning.layer_decay
    )
    return model + parameter_groups(module.beside, rate=beside_lr, weight_decay=decay, trunk="")


def _recipe(epochs: int, tuning: Tuning) -> train.Recipe:
    return train.Recipe(
        epochs,
        tuning.batch_size,
        tuning.warmup,
        tuning.patience,
        tuning.clip,
        batch_statistics=tuning.batch_norm == "adapt",
        schedule=tuning.schedule,
        ema=tuning.ema,
        accumulate=tuning.accumulate,
    )


class _Beside(nn.Module):
    """The model, and what trains beside it: both must survive a kill."""

    def __init__(self, grafted: Grafted, beside: Sequence[nn.Module]) -> None:
        super().__init__()
        self.grafted = grafted
        self.beside = nn.ModuleList(beside)

    def forward(self, batch: Batch) -> Tensor:
        return cast("Tensor", self.grafted(batch))


@contextlib.contextmanager
def _opening(grafted: Grafted, tuning: Tuning) -> Iterator[Callable[[int], None] | None]:
    """What lets stage after stage join, an epoch after the other; afterwards what trained is marked so again.

    All that will train has a place in the optimiser from the start; without a gradient it stays.
    """
    trunk, stages = grafted.trunk, grafted.backbone.stages
    most = len(stages) if tuning.last is None else tuning.last
    marked = [(value, value.requires_grad) for value in trunk.parameters()]

    def before_epoch(epoch: int) -> None:
        train_last(trunk, stages, min(epoch // tuning.unfreeze, most))
        for value, learns in marked:
            value.requires_grad_(learns and value.requires_grad)

    try:
        yield before_epoch if tuning.unfreeze else None
    finally:
        for value, learns in marked:
            value.requires_grad_(learns)
