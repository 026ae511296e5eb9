"""The nearest class mean."""

from __future__ import annotations

from typing import ClassVar, cast, get_args

import numpy as np
import torch
from torch import Tensor, nn

from graft.contracts import Array, Backbone, FittedTask, History, Rows, Start, Strategy, TransferData
from graft.errors import RequestError
from graft.features import extract
from graft.limits import among, at_least, check
from graft.linear.folds import units
from graft.linear.scaling import scaled
from graft.linear.speech import speech_of
from graft.nn.freeze import freeze
from graft.nn.grafted import Grafted
from graft.nn.prototypes import Metric, NearestMean, membership, prototype_head, shrunken
from graft.nn.taps import tapped
from graft.nn.weighing import even_weights

__all__ = ["Prototypes"]

_WORK = 4e9
"""Numbers that may be gone through to measure by leaving rows out; a sample of the rows is, beyond that."""


_AWAY = 1.0
"""How much farther than the others are on average a class is that no row has: rows are about as long."""


class Prototypes(Strategy):
    """The nearest class mean on the source's frozen features: nothing to train, and a few rows a class do.

    Features are centred and scaled as for a linear probe; by ``cosine``, each row then has length 1.
    How surely it speaks (one temperature) is set on rows left out of the means, each with its
    group and its copies.  Where a row may have several labels, each label has two means, of the rows
    with it and of those without, and applies where the first is nearer.

    Parameters
    ----------
    metric
        ``cosine`` or ``euclidean``.
    shrink
        Draw the means towards that of all rows by so many standard errors, feature by feature.
    layers
        Features of these stages are put beside the final ones: their names, or how many of the stages
        before the last one, whose features the final ones are made of; norms on their own do not count.

    References
    ----------
    Snell, Swersky and Zemel, Prototypical networks for few-shot learning, NeurIPS 2017.
    Wang, Chao, Weinberger and van der Maaten, SimpleShot: revisiting nearest-neighbor classification
    for few-shot learning, 2019.
    """

    family: ClassVar[str] = "feature"
    starts_from: ClassVar[Start] = "pretrained"
    uses_validation: ClassVar[bool] = False
    needs: ClassVar[str] = "a task with classes"

    def __init__(
        self, metric: Metric = "cosine", shrink: float = 0.0, layers: int | tuple[str, ...] | None = None
    ) -> None:
        self.metric = metric
        self.shrink = shrink
        self.layers = layers

    def build(self, backbone: Backbone, task: FittedTask) -> nn.Module:
        if task.link == "identity":
            raise RequestError(
                "prototypes needs a task with classes, and numbers have none to take the mean of; "
                "choose another strategy, such as knn or linear_probe."
            )
        check(self, {"metric": among(get_args(Metric)), "shrink": at_least()})
        backbone = backbone if self.layers is None else tapped(backbone, self.layers)
        module = Grafted(backbone, NearestMean(backbone.dim, task.n_outputs, self.metric))
        freeze(module.trunk)
        return module.eval()

    def fit(self, module: nn.Module, task: FittedTask, data: TransferData) -> History:
        grafted = cast("Grafted", module)
        head = cast("NearestMean", grafted.head)
        features = extract(
            grafted.backbone, data.train.examples, machine=data.machine, cache=data.cache, progress=data.progress
        )
        _, scale = scaled(features)
        head.scaling.set(scale.centre, scale.factor)
        rows = head.scaling(torch.from_numpy(features)).double()
        means = _Means(rows, data.train, task, self.metric, self.shrink)
        places, outputs = means.left_out(units(data.groups, data.train.examples.keys()), data.seed)
        score, sure = None, 1.0
        if len(places):
            counts = None if data.train.weights is None else data.train.weights[places]
            speech = speech_of(outputs, data.train.targets[places], task, counts)
            score, sure = speech.score, speech.sure
        weight, bias = means.layer(means.sums, means.counts)
        head.towards.copy_(sure * weight)
        head.offset.copy_(sure * bias)
        return History(score=score, chosen={"temperature": sure})


class _Means:
    """The sums that means are made of, so that rows can be left out of them.

    For labels of which a row may have several, the sums of the rows without each follow those with it.
    """

    def __init__(self, rows: Tensor, train: Rows, task: FittedTask, metric: Metric, shrink: float) -> None:
        self.rows, self.metric, self.shrink = rows, metric, shrink
        self.pairs = task.link == "sigmoid"
        weights = even_weights(train.weights)
        self.members = membership(train.targets, task.n_outputs, weights)
        if self.pairs:
            every = torch.ones_like(train.targets)
            self.members = torch.cat([self.members, membership(every - train.targets, 0, weights)], 1)
        self.sums, self.counts = self.members.T @ rows, self.members.sum(0)
        self.overall = rows.mean(0)
        means = self.sums / self.counts[:, None].clamp(min=1e-30)
        squares = (self.members.T @ rows.square() - self.counts[:, None] * means.square()).clamp(min=0).sum(0)
        spread = (squares / max(float(self.counts.sum()) - len(self.counts), 1.0)).sqrt()
        # Of an even number of features, the mean of the middle two, as numpy has it.
        self.spread = spread + spread.quantile(0.5)

    def layer(self, sums: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
        """Weight and bias that tell the nearest of the means that are made of these sums."""
        means = torch.where(counts[:, None] > 1e-9, sums / counts[:, None].clamp(min=1e-9), self.overall)
        means = shrunken(means, counts, self.overall, self.spread, self.shrink)
        if self.metric == "cosine":
            weight, bias = nn.functional.normalize(means, dim=1), torch.zeros(len(means), dtype=means.dtype)
        else:
            weight, bias = prototype_head(means)
        absent = counts <= 1e-9
        if self.pairs:
            weight, bias = (each[: len(each) // 2] - each[len(each) // 2 :] for each in (weight, bias))
            lacks, has = absent.chunk(2)
            weight[lacks | has], bias[lacks], bias[has] = 0.0, -_AWAY, _AWAY
        elif absent.any() and not absent.all():
            # never nearer than the nearest of the others
            weight[absent], bias[absent] = weight[~absent].mean(0), bias[~absent].mean() - _AWAY
        return weight, bias

    def left_out(self, unit: Array, seed: int) -> tuple[Tensor, Tensor]:
        """Places of rows, and the outputs for each without itself and what belongs to it.

        Rows are passed over where nothing is left of their class without them.
        """
        order = np.random.default_rng(seed).permutation(int(unit.max(initial=-1)) + 1)
        most = max(500, int(_WORK / max(1, self.sums.numel())))
        sort = np.argsort(unit, kind="stable")
        parts = np.split(sort, np.flatnonzero(np.diff(unit[sort])) + 1)
        places, outputs = list[Tensor](), list[Tensor]()
        for number in order[:most]:
            held = torch.from_numpy(parts[number])
            members = self.members[held]
            counts = self.counts - members.sum(0)
            known = ((counts > 1e-9) | (members <= 0)).all(1)
            if known.any():
                weight, bias = self.layer(self.sums - members.T @ self.rows[held], counts)
                places.append(held[known])
                outputs.append(self.rows[held[known]] @ weight.T + bias)
        if not places:
            return torch.zeros(0, dtype=torch.int64), torch.zeros(0, len(self.counts))
        return torch.cat(places), torch.cat(outputs)
