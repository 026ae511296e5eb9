"""The nearest training rows."""

from __future__ import annotations

from typing import ClassVar, cast, get_args

import numpy as np
import torch
from torch import Tensor, nn

from graft.contracts import Backbone, FittedTask, History, Start, Strategy, TransferData
from graft.evaluate.goal import goal_of
from graft.features import extract
from graft.limits import among, check, whole
from graft.linear.folds import units
from graft.linear.scaling import scaled
from graft.linear.speech import Speech, speech_of
from graft.nn.freeze import freeze
from graft.nn.grafted import Grafted
from graft.nn.neighbours import Metric, Neighbours, nearest, votes
from graft.nn.prototypes import membership
from graft.nn.taps import tapped
from graft.nn.weighing import even_weights

__all__ = ["KNN"]

_KS = (1, 2, 3, 5, 8, 13, 21, 34, 55, 89)
_MEASURED = 5000
"""Rows that k is chosen by, at most; all others can be their neighbours."""


class KNN(Strategy):
    """The nearest training rows in the source's frozen features vote, the nearer the more.

    Features are centred and scaled as for a linear probe.  Every training row is kept, with its
    label, in the saved model.  Each training row is also asked without itself, its group and its
    copies: that chooses k, and how surely the votes are taken for probabilities.  Numbers are the
    weighted mean of the neighbours'.

    Parameters
    ----------
    k
        How many rows vote; ``None`` chooses among 1, 2, 3, 5, 8, … 89.
    metric
        ``cosine`` or ``euclidean``.
    layers
        Features of these stages are put beside the final ones: their names, or how many of the stages
        before the last one, whose features the final ones are made of; norms on their own do not count.

    References
    ----------
    Cover and Hart, Nearest neighbor pattern classification, 1967.
    Dudani, The distance-weighted k-nearest-neighbor rule, 1976.
    """

    family: ClassVar[str] = "feature"
    starts_from: ClassVar[Start] = "pretrained"
    uses_validation: ClassVar[bool] = False

    def __init__(
        self, k: int | None = None, metric: Metric = "cosine", layers: int | tuple[str, ...] | None = None
    ) -> None:
        self.k = k
        self.metric = metric
        self.layers = layers

    def build(self, backbone: Backbone, task: FittedTask) -> nn.Module:
        check(self, {"k": whole().or_none(), "metric": among(get_args(Metric))})
        backbone = backbone if self.layers is None else tapped(backbone, self.layers)
        module = Grafted(backbone, Neighbours(backbone.dim, task.n_outputs, task.link, self.metric))
        freeze(module.trunk)
        return module.eval()

    def fit(self, module: nn.Module, task: FittedTask, data: TransferData) -> History:
        grafted = cast("Grafted", module)
        head = cast("Neighbours", grafted.head)
        features = extract(
            grafted.backbone, data.train.examples, machine=data.machine, cache=data.cache, progress=data.progress
        )
        _, scale = scaled(features)
        head.scaling.set(scale.centre, scale.factor)
        rows = head.scaling(torch.from_numpy(features))
        said = membership(data.train.targets, task.n_outputs).float()
        counts = even_weights(data.train.weights)
        counts = torch.ones(len(rows)) if counts is None else counts
        k, score, sure = self._chosen(rows, said, counts, task, data)
        heard = counts > 0
        head.keep(rows[heard], said[heard], counts[heard], k, sure)
        return History(score=score, chosen={"k": k})

    def _chosen(
        self, rows: Tensor, said: Tensor, counts: Tensor, task: FittedTask, data: TransferData
    ) -> tuple[int, float | None, float]:
        """k, its score on rows left out, and how surely it may speak."""
        heard, unit = torch.nonzero(counts > 0)[:, 0], units(data.groups, data.train.examples.keys())
        n, goal, numbers = len(heard), goal_of(task), torch.from_numpy(unit)
        largest = int(np.bincount(unit[heard.numpy()]).max(initial=0))
        most = max(1, min(n - largest, max(_KS) if self.k is None else self.k))
        if largest >= n:
            return min(self.k or 1, n), None, 1.0
        asked = torch.from_numpy(np.sort(np.random.default_rng(data.seed).permutation(len(rows))[:_MEASURED]))
        apart = (numbers[asked], numbers[heard])
        distances, found = nearest(rows[asked], rows[heard], most, metric=self.metric, apart=apart)
        places = heard[found]
        best: tuple[int, Speech] | None = None
        for k in [each for each in _KS if each <= most] if self.k is None else [most]:
            parts = [slice(at, at + 256) for at in range(0, len(asked), 256)]
            near = [(distances[part, :k], places[part, :k]) for part in parts]
            outputs = torch.cat([votes(far, said[at], task.link, counts[at]) for far, at in near])
            speech = speech_of(outputs, data.train.targets[asked], task, counts[asked])
            if best is None or goal.better(speech.choice, best[1].choice):
                best = k, speech
        assert best is not None
        return best[0] if self.k is None else min(self.k, n), best[1].score, best[1].sure
