"""Learn from rows without labels first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar, cast

import torch
from torch import nn

from graft import registry, train
from graft.contracts import Backbone, FittedTask, History, Passes, Rows, Start, Strategy, TransferData
from graft.data.examples import join
from graft.errors import RequestError
from graft.evaluate.goal import Goal
from graft.limits import above, at_least, check, whole
from graft.nn.grafted import Grafted
from graft.nn.groups import parameter_groups
from graft.nn.initialise import seeded
from graft.nn.masking import LIMITS, Objective, restoring

__all__ = ["Pretrain"]

_LIMITS = {
    **LIMITS,
    "epochs": whole(),
    "lr": above(),
    "weight_decay": at_least(),
    "batch_size": whole(),
}


class Pretrain(Strategy):
    """Train the network without labels first, on all rows that may be learnt from, then transfer it to the task.

    At first it learns to give rows back: whole (``autoencoder``), from corrupted ones (``denoise``), or
    what is hidden in them (``masked``).  That stage sees the training rows and the rows without a
    label, and no label.

    Parameters
    ----------
    objective
        ``autoencoder``, ``denoise`` or ``masked``; ``None``: ``masked`` for texts, else ``denoise``.
    then
        The strategy that follows, or its name.
    options
        Options of that strategy, where it is named.
    epochs
        Passes over all rows in the first stage.
    lr
        Its highest learning rate.
    corrupt
        The share of a row that is corrupted or hidden.
    weight_decay
        Share of a weight that a rate of 1 would take away.
    batch_size
        Rows a step.

    Examples
    --------
    >>> Pretrain("masked", then="linear_probe", epochs=5).get_params()["corrupt"]
    0.3

    References
    ----------
    Vincent, Larochelle, Bengio and Manzagol, Extracting and composing robust features with denoising
    autoencoders, ICML 2008.
    """

    family: ClassVar[str] = "parameter"
    starts_from: ClassVar[Start] = "pretrained"
    uses_validation: ClassVar[bool] = True
    uses_unlabelled: ClassVar[bool] = True
    pretrains: ClassVar[bool] = True
    """Whether it brings knowledge of its own, so that even a source without any has an untrained twin."""

    def __init__(
        self,
        objective: Objective | None = None,
        then: Strategy | str = "fine_tune",
        options: Mapping[str, Any] | None = None,
        epochs: int = 30,
        lr: float = 1e-3,
        corrupt: float = 0.3,
        weight_decay: float = 1e-5,
        batch_size: int = 64,
    ) -> None:
        self.objective = objective
        self.then = then
        self.options = options
        self.epochs = epochs
        self.lr = lr
        self.corrupt = corrupt
        self.weight_decay = weight_decay
        self.batch_size = batch_size

    def build(self, backbone: Backbone, task: FittedTask) -> nn.Module:
        check(self, _LIMITS)
        if not any(True for _ in backbone.module.parameters()):
            raise RequestError(
                f"pretrain needs a network to train, and {backbone.card.name} has no weights; "
                "choose a source with a network, such as table/mlp."
            )
        return self._following().build(backbone, task).requires_grad_(True)

    def passes_over(self, rows: int) -> Passes:
        following = self._following().passes_over(rows)
        return Passes(following.forward, self.epochs + following.training)

    def fit(self, module: nn.Module, task: FittedTask, data: TransferData) -> History:
        grafted, following = cast("Grafted", module), self._following()
        first, second = (None if data.checkpoint is None else data.checkpoint / name for name in ("first", "second"))
        learnt = self._without_labels(grafted, replace(data, checkpoint=first))
        # The trunk is no longer what the source's fingerprint names, and cached features are not its own.
        backbone = replace(grafted.backbone, fingerprint=None)
        whole = following.build(backbone, task)
        if not isinstance(whole, Grafted) or whole.trunk is not grafted.trunk:
            raise RequestError(
                f"{registry.title(following)} changes the network itself and cannot follow pretrain; "
                "choose another strategy after it, such as fine_tune or linear_probe."
            )
        history = following.fit(whole, task, replace(data, checkpoint=second))
        grafted.head = whole.head  # it may have kept rows, and then has another shape than before
        grafted.requires_grad_(True).eval()
        return replace(history, chosen={"pretraining_loss": learnt.epochs[-1].loss, **history.chosen})

    def _following(self) -> Strategy:
        return registry.following(self.then, self.options, "pretrain")

    def _without_labels(self, grafted: Grafted, data: TransferData) -> train.Outcome:
        backbone, machine = grafted.backbone, data.machine
        rows = data.train.examples if data.unlabelled is None else join([data.train.examples, data.unlabelled])
        batch = backbone.preprocess.collate(backbone.preprocess.items([rows[0]]))
        grafted.trunk.to(machine.device).requires_grad_(True)
        with seeded(data.seed):
            module = restoring(grafted.trunk, backbone.dim, batch, self.objective, self.corrupt)
        return train.fit(
            module,
            lambda step: step.run(step.module).mean(),  # the module itself gives the losses
            replace(data, train=Rows(rows, torch.zeros(len(rows))), valid=None),
            preprocess=backbone.preprocess,
            groups=parameter_groups(module, backbone.stages, rate=self.lr, weight_decay=self.weight_decay),
            recipe=train.Recipe(self.epochs, self.batch_size, patience=None),
            goal=Goal(lambda outputs, targets: float(outputs.mean()), higher_is_better=False),
        )
