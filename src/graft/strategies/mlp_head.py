"""A small network on frozen features."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar, cast

import numpy as np
import torch
from torch import Tensor, nn

from graft import train
from graft.contracts import Backbone, Choice, FittedTask, History, Range, Rows, Start, Strategy, TransferData
from graft.data.examples import TableExamples
from graft.data.preprocess.columns import ColumnPreprocess
from graft.evaluate.goal import goal_of
from graft.features import extract
from graft.limits import above, at_least, between, check, whole
from graft.linear.scaling import check_finite
from graft.nn.freeze import freeze
from graft.nn.grafted import Grafted
from graft.nn.groups import parameter_groups
from graft.nn.initialise import fresh, seeded
from graft.nn.penalties import weight_penalty
from graft.nn.taps import tapped

__all__ = ["MLPHead"]

_LIMITS = {
    "hidden": whole(0),
    "dropout": between(0, 1, "a share from 0 to below 1", ends=(True, False)),
    "l1": at_least(),
    "l2": at_least(),
    "lr": above(),
    "epochs": whole(),
    **{name: train.LIMITS[name] for name in ("batch_size", "patience")},
}


class MLPHead(Strategy):
    """A dense layer with dropout, and an output layer, on the source's frozen features.

    The features are read once.  Adam, with early stopping on the validation metric; the best epoch's
    weights are kept.  The loss has ``l1 Σ|w| + l2 Σw²`` added over the weights of both layers, on
    features of mean 0 and deviation 1.

    Parameters
    ----------
    hidden
        Width of the dense layer; 0 for the output layer alone.
    dropout
        Share of the dense layer's outputs that training leaves out.
    l1, l2
        Penalties on the weights' sizes and on their squares.
    lr
        Highest learning rate.
    epochs
        Passes over the training rows, at most.
    patience
        Epochs without a better validation metric after which it stops; ``None``: never.
    batch_size
        Rows a step.
    layers
        Features of these stages are put beside the final ones: their names, or how many of the stages
        before the last one, whose features the final ones are made of; norms on their own do not count.

    Examples
    --------
    >>> MLPHead(hidden=0).get_params()["l2"]
    0.0001
    """

    family: ClassVar[str] = "feature"
    starts_from: ClassVar[Start] = "pretrained"
    uses_validation: ClassVar[bool] = True

    space: ClassVar[Mapping[str, Range | Choice]] = {
        "hidden": Choice((64, 256, 1024)),
        "dropout": Range(0.0, 0.8),
        "lr": Range(1e-4, 1e-2, log=True),
    }

    def __init__(
        self,
        hidden: int = 256,
        dropout: float = 0.5,
        l1: float = 0.0,
        l2: float = 1e-4,
        lr: float = 1e-3,
        epochs: int = 100,
        patience: int | None = 10,
        batch_size: int = 32,
        layers: int | tuple[str, ...] | None = None,
    ) -> None:
        self.hidden = hidden
        self.dropout = dropout
        self.l1 = l1
        self.l2 = l2
        self.lr = lr
        self.epochs = epochs
        self.patience = patience
        self.batch_size = batch_size
        self.layers = layers

    def build(self, backbone: Backbone, task: FittedTask) -> nn.Module:
        check(self, _LIMITS)
        backbone = backbone if self.layers is None else tapped(backbone, self.layers)
        widths = [backbone.dim, *([self.hidden] if self.hidden else []), task.n_outputs]
        layers: list[nn.Module] = []
        with seeded(0):
            for before, after in itertools.pairwise(widths):
                layers += [nn.ReLU(), nn.Dropout(self.dropout)] if layers else []
                layers.append(nn.Linear(before, after))
        module = Grafted(backbone, nn.Sequential(nn.Flatten(), *layers))
        freeze(module.trunk)
        return module.eval()

    def fit(self, module: nn.Module, task: FittedTask, data: TransferData) -> History:
        grafted = cast("Grafted", module)
        head = cast("nn.Sequential", grafted.head)
        rows = _read(grafted.backbone, data.train, data)
        valid = None if data.valid is None else _read(grafted.backbone, data.valid, data)
        scales, moves = _scales(rows)
        _start(head, moves, task.prior(data.train.targets, data.train.weights), data.seed)

        def loss(outputs: Tensor, targets: Tensor, weights: Tensor | None) -> Tensor:
            return task.loss(outputs, targets, weights) + weight_penalty(head, self.l1, self.l2)

        outcome = train.fit(
            head,
            train.supervised(loss),
            replace(data, train=rows, valid=valid),
            preprocess=scales,
            groups=parameter_groups(head, rate=self.lr, trunk=""),
            recipe=train.Recipe(self.epochs, self.batch_size, warmup=0.0, patience=self.patience),
            goal=goal_of(task),
        )
        _take_in(next(part for part in head if isinstance(part, nn.Linear)), scales)
        return History(score=outcome.score, chosen=outcome.chosen, epochs=outcome.epochs)


def _read(backbone: Backbone, rows: Rows, data: TransferData) -> Rows:
    """The rows' frozen features in their place.

    Raises
    ------
    DivergedError
        Where one is not finite.
    """
    features = extract(backbone, rows.examples, machine=data.machine, cache=data.cache, progress=data.progress)
    return replace(rows, examples=TableExamples(check_finite(features)))


def _scales(rows: Rows) -> tuple[ColumnPreprocess, Tensor]:
    """Mean and deviation of the features, and ``(d,)`` which of them move at all."""
    features = np.stack([rows.examples[row] for row in range(len(rows))])
    scales = ColumnPreprocess.learn(features)
    scaled = (features - scales.mean) / scales.scale
    return scales, torch.from_numpy((np.abs(scaled).max(axis=0, initial=0) > 1e-2).astype(np.float32))


def _start(head: nn.Sequential, moves: Tensor, prior: Tensor, seed: int) -> None:
    """Weights of the seed; outputs begin at the prior, and a feature that never moves is never looked at."""
    fresh(head, seed)
    layers = [part for part in head if isinstance(part, nn.Linear)]
    with torch.no_grad():
        layers[0].weight *= moves
        layers[-1].weight *= len(layers) > 1
        layers[-1].bias.copy_(prior)


def _take_in(layer: nn.Linear, scales: ColumnPreprocess) -> None:
    """Let the first layer take features as they come, instead of scaled ones."""
    mean, scale = (torch.from_numpy(each).double() for each in (scales.mean, scales.scale))
    with torch.no_grad():
        weight = layer.weight.cpu().double() / scale
        layer.bias.copy_((layer.bias.cpu().double() - weight @ mean).float())
        layer.weight.copy_(weight.float())
