"""Two networks that teach each other where labels are wrong."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import ClassVar, cast

import torch
from torch import Tensor, nn

from graft import train
from graft.contracts import Backbone, Batch, FittedTask, History, Passes, Start, Strategy, TransferData
from graft.errors import RequestError
from graft.evaluate.goal import goal_of
from graft.evaluate.noise import noise_share
from graft.limits import above, at_least, between, check, whole
from graft.linear import judged, zero_head
from graft.linear.folds import hard
from graft.nn.co_teaching import small_loss
from graft.nn.glm import losses, one_hot
from graft.nn.grafted import Grafted
from graft.nn.groups import parameter_groups
from graft.nn.initialise import fresh

__all__ = ["CoTeaching"]

_LIMITS = {
    "forget": between(0, 1, "a share from 0 to below 1", ends=(True, False)).or_none(),
    "ramp": between(0, 1, "a share from 0 to 1"),
    "epochs": whole(),
    "lr": above(),
    "head_lr": above(),
    "weight_decay": at_least(),
    **{name: train.LIMITS[name] for name in ("batch_size", "patience")},
}

_MOST = 0.8
"""The largest share of a batch that is left out, whatever was estimated."""


class CoTeaching(Strategy):
    """Fine-tune two networks, each on the rows that the other finds easiest, so that wrong labels are left out.

    Both start from the source, with heads drawn anew.  In every batch each network learns from all
    but the rows of the largest loss to the other; that share grows from none to ``forget``.  The
    first network is what is kept.  It takes twice the time of fine-tuning.

    Parameters
    ----------
    forget
        Share of the rows to leave out in the end, as many as have wrong labels; ``None``: estimated by
        confident learning on frozen features.
    ramp
        Share of all steps in which it grows.
    epochs
        Passes over the training rows, at most.
    lr, head_lr
        Highest learning rates of the source's weights and of the heads.
    weight_decay
        Share of a weight that a rate of 1 would take away.
    batch_size
        Rows a step.
    patience
        Epochs without a better validation metric after which it stops; ``None``: never.

    References
    ----------
    Han, Yao, Yu, Niu, Xu, Hu, Tsang and Sugiyama, Co-teaching: robust training of deep neural
    networks with extremely noisy labels, NeurIPS 2018.
    """

    family: ClassVar[str] = "scarce"
    starts_from: ClassVar[Start] = "pretrained"
    uses_validation: ClassVar[bool] = True
    needs: ClassVar[str] = "one class a row"

    def __init__(
        self,
        forget: float | None = None,
        ramp: float = 0.3,
        epochs: int = 10,
        lr: float = 1e-4,
        head_lr: float = 2e-3,
        weight_decay: float = 0.01,
        batch_size: int = 32,
        patience: int | None = 3,
    ) -> None:
        self.forget = forget
        self.ramp = ramp
        self.epochs = epochs
        self.lr = lr
        self.head_lr = head_lr
        self.weight_decay = weight_decay
        self.batch_size = batch_size
        self.patience = patience

    def build(self, backbone: Backbone, task: FittedTask) -> nn.Module:
        check(self, _LIMITS)
        if self.forget is None and task.link != "softmax":
            raise RequestError(
                f"co_teaching needs {self.needs} to estimate how many labels are wrong, and this task is {task.kind}; "
                "say how many rows to leave out, such as forget=0.2."
            )
        return Grafted(backbone, zero_head(backbone, task)).requires_grad_(True)

    def passes_over(self, rows: int) -> Passes:
        return replace(super().passes_over(rows), training=2.0 * self.epochs, learns=2.0)  # of two networks

    def fit(self, module: nn.Module, task: FittedTask, data: TransferData) -> History:
        grafted = cast("Grafted", module)
        forget = _estimated(grafted.backbone, task, data) if self.forget is None else self.forget
        twins = _Twins(
            grafted,
            Grafted(replace(grafted.backbone, module=copy.deepcopy(grafted.trunk)), copy.deepcopy(grafted.head)),
        )
        for place, each in enumerate(twins.both()):
            # heads alike would agree for ever, and choose what each would have chosen alone
            fresh(each.head, data.seed + place)
            with torch.no_grad():
                cast("nn.Linear", each.head).bias.copy_(task.prior(data.train.targets, data.train.weights))

        def objective(step: train.Step) -> Tensor:
            outputs = [step.run(each) for each in twins.both()]
            wanted = one_hot(step.targets, task.link, task.n_outputs)
            left = forget * min(1.0, step.progress / self.ramp if self.ramp else 1.0)
            first, second = (losses(each, wanted, task.link) for each in outputs)
            chosen = small_loss(first, second, keep=1 - left)
            return torch.stack(
                [_mean(task, step, each, rows) for each, rows in zip(outputs, chosen, strict=True)]
            ).sum()

        outcome = train.fit(
            twins,
            objective,
            data,
            preprocess=grafted.backbone.preprocess,
            groups=[group for each in twins.both() for group in self._groups(each)],
            recipe=train.Recipe(self.epochs, self.batch_size, patience=self.patience, batch_statistics=False),
            goal=goal_of(task),
        )
        chosen = {"forget": round(forget, 4), **outcome.chosen}
        return History(score=outcome.score, chosen=chosen, epochs=outcome.epochs)

    def _groups(self, grafted: Grafted) -> list[dict[str, object]]:
        return parameter_groups(
            grafted, grafted.backbone.stages, rate=self.lr, head_rate=self.head_lr, weight_decay=self.weight_decay
        )


class _Twins(nn.Module):
    """Two networks, of which the first speaks."""

    def __init__(self, first: Grafted, second: Grafted) -> None:
        super().__init__()
        self.first, self.second = first, second

    def both(self) -> tuple[Grafted, Grafted]:
        return self.first, self.second

    def forward(self, batch: Batch) -> Tensor:
        return cast("Tensor", self.first(batch))


def _mean(task: FittedTask, step: train.Step, outputs: Tensor, rows: Tensor) -> Tensor:
    """The mean loss of these rows."""
    return task.loss(outputs[rows], step.targets[rows], None if step.weights is None else step.weights[rows])


def _estimated(backbone: Backbone, task: FittedTask, data: TransferData) -> float:
    """How many training labels are wrong, as linear models of other rows see it."""
    outputs, told = judged(backbone, task, data)
    chances = task.probabilities(outputs[told])
    if chances is None or not told.any():
        return 0.0
    return min(_MOST, noise_share(hard(data.train.targets, task.link).numpy()[told], chances))
