"""Like rows are brought together before a linear model learns from them."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from numbers import Integral
from typing import ClassVar, Literal, cast, get_args

import numpy as np
import torch
from torch import Tensor, nn

from graft import train
from graft.contracts import (
    Array,
    Backbone,
    Choice,
    Epoch,
    FittedTask,
    History,
    Passes,
    Range,
    Rows,
    Start,
    Strategy,
    TransferData,
)
from graft.data.cells import KIND_OF_LINK
from graft.data.pairs import PairPreprocess, Pairs, draw_pairs
from graft.data.split import kfold
from graft.errors import RequestError
from graft.evaluate.goal import goal_of
from graft.features import extract
from graft.limits import Limit, above, among, check, whole
from graft.linear import fit_linear, zero_head
from graft.linear.models import DEFAULT_PENALTY
from graft.linear.speech import speech_of
from graft.nn.contrast import cosine_loss, likeness, supcon_loss
from graft.nn.grafted import Grafted
from graft.nn.groups import parameter_groups
from graft.nn.weighing import even_weights

__all__ = ["Contrastive"]

Loss = Literal["cosine", "supcon"]

_LIMITS = {
    **dict.fromkeys(("passes", "lr", "temperature", "penalty"), above()),
    "max_steps": whole(),
    "batch_size": whole(4),  # rows are compared within a batch
    "folds": Limit("at least 2, or 0 for no measurement", lambda folds: folds == 0 or folds >= 2, Integral),
    "loss": among(get_args(Loss)),
}


class Contrastive(Strategy):
    """For few labels: bring the features of rows of one class together, then fit a linear model on them.

    SetFit's recipe.  Batches are drawn in pairs of one class, the classes evenly, and each row is
    compared with all others of its batch: one pass through the network for what drawing pairs one by
    one takes many for.  How long it trains is fixed beforehand, as few labels leave none to stop by.

    Parameters
    ----------
    loss
        ``cosine``: the cosine of two rows is to be 1 for one class, else 0.  ``supcon``: a row's own
        class is to be told from the rest of the batch.
    passes
        How often a row is looked at, on average.
    max_steps
        Steps at most, whatever ``passes`` asks for.
    lr
        Highest learning rate.
    batch_size
        Rows a step.
    temperature
        Of ``supcon``.
    folds
        In how many parts the rows are held out in turn, to measure the whole recipe on rows that it did
        not see; each part is one more fit.  0 measures nothing, and takes the least time.
    penalty
        Penalty on the squared weights of the linear model.  Features that have seen all labels are no
        ground to choose it by.

    References
    ----------
    Tunstall, Reimers, Jo, Bates, Korat, Wasserblat and Pereg, Efficient few-shot learning without
    prompts, 2022.
    Khosla, Teterwak, Wang, Sarna, Tian, Isola, Maschinot, Liu and Krishnan, Supervised contrastive
    learning, NeurIPS 2020.
    """

    family: ClassVar[str] = "scarce"
    starts_from: ClassVar[Start] = "pretrained"
    uses_validation: ClassVar[bool] = False
    needs: ClassVar[str] = "a task with classes"

    space: ClassVar[Mapping[str, Range | Choice]] = {
        "lr": Range(2e-5, 1e-3, log=True),
        "max_steps": Choice((48, 96, 192)),
    }

    def __init__(
        self,
        loss: Loss = "cosine",
        passes: float = 8.0,
        max_steps: int = 48,
        lr: float = 2e-4,
        batch_size: int = 16,
        temperature: float = 0.1,
        folds: int = 3,
        penalty: float = DEFAULT_PENALTY,
    ) -> None:
        self.loss = loss
        self.passes = passes
        self.max_steps = max_steps
        self.lr = lr
        self.batch_size = batch_size
        self.temperature = temperature
        self.folds = folds
        self.penalty = penalty

    def build(self, backbone: Backbone, task: FittedTask) -> nn.Module:
        self._check(backbone, task)
        return Grafted(backbone, zero_head(backbone, task)).requires_grad_(True)

    def passes_over(self, rows: int) -> Passes:
        runs, n = 1 + self.folds, max(rows, 1)
        return Passes(forward=2.0, training=runs * self._steps(n) * self.batch_size / n)

    def fit(self, module: nn.Module, task: FittedTask, data: TransferData) -> History:
        grafted = cast("Grafted", module)
        head = cast("nn.Linear", grafted.head)
        folds = self._folds(task, data)
        score, sure = (None, 1.0) if folds is None else self._held_out(grafted, task, data, folds)
        epochs = self._learn(grafted, task, data, "whole")
        with torch.no_grad():
            head.weight.mul_(sure)
            head.bias.mul_(sure)
        grafted.eval()
        return History(score=score, chosen={"steps": self._steps(len(data.train))}, epochs=epochs)

    def _check(self, backbone: Backbone, task: FittedTask) -> None:
        check(self, _LIMITS)
        if task.link == "identity":
            raise RequestError(
                f"contrastive needs {self.needs}, since it brings rows of one class together, and this task "
                "predicts numbers; choose fine_tune or linear_probe."
            )
        if not any(True for _ in backbone.module.parameters()):
            raise RequestError(
                f"contrastive needs a network to train, and {backbone.card.name} has no weights; "
                "choose a source with a network, such as minilm."
            )

    def _steps(self, n: int) -> int:
        return min(self.max_steps, math.ceil(self.passes * n / self.batch_size))

    def _learn(self, grafted: Grafted, task: FittedTask, data: TransferData, name: str) -> tuple[Epoch, ...]:
        """The whole recipe, in place."""
        backbone = grafted.backbone
        steps, size = self._steps(len(data.train)), self.batch_size // 2
        weights = even_weights(data.train.weights)
        heard = np.arange(len(data.train)) if weights is None else np.flatnonzero(weights.numpy())
        pairs = heard[draw_pairs(data.train.targets[torch.from_numpy(heard)], steps * size, data.seed)]
        rows = Rows(Pairs(data.train.examples, pairs), torch.from_numpy(pairs))
        checkpoint = None if data.checkpoint is None else data.checkpoint / name
        outcome = train.fit(
            grafted.trunk,
            self._objective(data),
            replace(data, train=rows, valid=None, checkpoint=checkpoint),
            preprocess=PairPreprocess(backbone.preprocess),
            groups=parameter_groups(grafted.trunk, backbone.stages, rate=self.lr, weight_decay=0.01, trunk=""),
            recipe=train.Recipe(1, size, patience=None, batch_statistics=False),
            goal=goal_of(task),
        )
        self._fit_head(grafted, task, data)
        return outcome.epochs

    def _objective(self, data: TransferData) -> Callable[[train.Step], Tensor]:
        """A step's targets are the places of its rows."""
        device = data.machine.device
        targets = data.train.targets.to(device)
        weights = None if data.train.weights is None else data.train.weights.to(device)

        def objective(step: train.Step) -> Tensor:
            features, rows = step.run(step.module), step.targets.flatten()
            alike = likeness(targets[rows])
            counts = None if weights is None else weights[rows]
            if self.loss == "cosine":
                return cosine_loss(features, alike, counts)
            return supcon_loss(features, alike, self.temperature, counts)

        return objective

    def _fit_head(self, grafted: Grafted, task: FittedTask, data: TransferData) -> None:
        found = fit_linear(
            _features(grafted, data.train, data),
            data.train.targets,
            task.link,
            n_outputs=task.n_outputs,
            weights=data.train.weights,
            penalties=[self.penalty],
            groups=data.groups,
            keys=data.train.examples.keys(),
            seed=data.seed,
        )
        head = cast("nn.Linear", grafted.head)
        with torch.no_grad():  # how surely it spoke on features that had seen its answers tells nothing
            head.weight.copy_(found.weight / found.sharpness)
            head.bias.copy_(found.bias / found.sharpness)

    def _folds(self, task: FittedTask, data: TransferData) -> Array | None:
        """``(n,)`` the part of each row; ``None`` where nothing is measured, or rows are too few."""
        if not self.folds:
            return None
        targets = data.train.targets.numpy()
        labels = np.empty(len(targets), dtype=object)
        kind = KIND_OF_LINK[task.link]
        if kind == "sets":
            labels[:] = [tuple(np.flatnonzero(row)) for row in targets]
        else:
            labels[:] = (targets if targets.ndim == 1 else targets.argmax(1)).tolist()
        try:
            return kfold(data.train.examples.keys(), labels, data.groups, self.folds, data.seed, kind)
        except RequestError:  # fewer units of rows than folds
            return None

    def _held_out(
        self, grafted: Grafted, task: FittedTask, data: TransferData, folds: Array
    ) -> tuple[float | None, float]:
        """The metric of the recipe on rows that it did not see, and how surely it may speak."""
        targets = data.train.targets
        outputs = torch.zeros(len(targets), task.n_outputs)
        for fold in range(self.folds):
            learnt, held = (np.flatnonzero(each) for each in (folds != fold, folds == fold))
            twin = copy.deepcopy(grafted)
            self._learn(twin, task, _part(data, learnt), f"without-{fold}")
            features = torch.from_numpy(_features(twin, _part(data, held).train, data))
            with torch.no_grad():
                outputs[torch.from_numpy(held)] = cast("nn.Linear", twin.head).cpu()(features)
        speech = speech_of(outputs, targets, task, data.train.weights)
        return speech.score, speech.sure


def _part(data: TransferData, rows: Array) -> TransferData:
    train_rows, places = data.train, torch.from_numpy(rows)
    weights = None if train_rows.weights is None else train_rows.weights[places]
    part = Rows(train_rows.examples.take(rows), train_rows.targets[places], weights)
    return replace(data, train=part, groups=None if data.groups is None else data.groups[rows])


def _features(grafted: Grafted, rows: Rows, data: TransferData) -> Array:
    """Of the trunk as it is now, which is no longer what the source's fingerprint names."""
    backbone = replace(grafted.backbone, fingerprint=None)
    return extract(backbone, rows.examples, machine=data.machine, cache=data.cache, progress=data.progress)
