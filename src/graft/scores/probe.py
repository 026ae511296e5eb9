"""How well a linear model on the frozen features does on rows that it did not learn from."""

from __future__ import annotations

from typing import ClassVar, Literal, get_args

import numpy as np
import torch

from graft.contracts import Array, Link, Score, Seen
from graft.errors import RequestError
from graft.linear.closed import closed_outputs
from graft.linear.crossed import crossed_outputs
from graft.seen import check, goodness, link_of

__all__ = ["Probe"]

Kind = Literal["ridge", "logistic"]


class Probe(Score):
    """How well a linear model on the frozen features does on rows left out: what a linear probe would bring.

    With features at hand the real thing costs no more than an estimate of it.  Accuracy, macro-F1
    over labels, or R²; ``graft rank`` measures the task's own metric on the same outputs.

    Parameters
    ----------
    model
        ``ridge``: each row, with its copies and its group, left out exactly, by a closed form.
        ``logistic``: a logistic regression, cross-validated; the strategy ``linear_probe`` itself,
        some ten times as slow.  Numbers are always told by ridge regression.
    seed
        Decides the folds of ``logistic``.

    References
    ----------
    Alain and Bengio, Understanding intermediate layers using linear classifier probes, 2016.

    Examples
    --------
    >>> from graft.contracts import Card
    >>> rows = np.repeat(np.eye(2, dtype=np.float32), 10, axis=0)
    >>> Probe().score(Seen(rows, None, Card("apart", "table")), np.repeat([0, 1], 10))
    1.0
    """

    kinds: ClassVar[tuple[Link, ...]] = ("softmax", "sigmoid", "identity")

    def __init__(self, model: Kind = "ridge", seed: int = 0) -> None:
        self.model = model
        self.seed = seed

    def score(self, seen: Seen, targets: Array) -> float:
        return goodness(self.outputs(seen, targets), targets)

    def outputs(self, seen: Seen, targets: Array) -> Array:
        if self.model not in get_args(Kind):
            raise RequestError(f"model is {self.model!r}; expected {' or '.join(get_args(Kind))}.")
        check(self, seen, targets)
        if seen.groups is not None and len(np.unique(seen.groups)) < 2:
            raise RequestError("all rows belong to one group, so none can be left out by itself; group by less.")
        link, told = link_of(targets), torch.from_numpy(np.asarray(targets))
        told = told if link == "softmax" else told.float()
        count = int(targets.max()) + 1 if link == "softmax" else targets.shape[1]
        if self.model == "ridge" or link == "identity":
            return closed_outputs(seen.features, told, link, n_outputs=count, groups=seen.groups)
        groups = None if seen.groups is None else np.array([f"{each}" for each in seen.groups], dtype=object)
        return crossed_outputs(seen.features, told, link, n_outputs=count, groups=groups, seed=self.seed)[0]
