"""How often a row's nearest others are of its class."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch

from graft.contracts import Array, Link, Score, Seen
from graft.errors import RequestError
from graft.nn.glm import one_hot
from graft.nn.neighbours import nearest, votes
from graft.seen import check, exact, goodness, link_of

__all__ = ["KNN"]


class KNN(Score):
    """How often a row's nearest others tell its class, label or number (leave-one-out k-NN).

    The rows with the least angle to it vote, the nearer the more; a row's copies and group do not.
    Accuracy, macro-F1 over labels, or R².

    Parameters
    ----------
    k
        How many rows vote.

    References
    ----------
    Cover and Hart, Nearest neighbor pattern classification, 1967; Puigcerver et al., Scalable
    transfer learning with expert models, ICLR 2021 (to choose a source by).

    Examples
    --------
    >>> from graft.contracts import Card
    >>> rows = np.repeat(np.eye(2), 10, axis=0)
    >>> KNN().score(Seen(rows, None, Card("apart", "table")), np.repeat([0, 1], 10))
    1.0
    """

    kinds: ClassVar[tuple[Link, ...]] = ("softmax", "sigmoid", "identity")

    def __init__(self, k: int = 5) -> None:
        self.k = k

    def score(self, seen: Seen, targets: Array) -> float:
        return goodness(self.outputs(seen, targets), targets)

    def outputs(self, seen: Seen, targets: Array) -> Array:
        if isinstance(self.k, bool) or not isinstance(self.k, int) or self.k < 1:
            raise RequestError(f"k is {self.k!r}; expected a whole number from 1.")
        check(self, seen, targets)
        link, n = link_of(targets), len(targets)
        unit = torch.arange(n) if seen.groups is None else torch.from_numpy(np.asarray(seen.groups, np.int64))
        others = n - int(np.bincount(unit.numpy()).max())
        if not others:
            raise RequestError("all rows belong to one group, so none has another to be told by; group by less.")
        rows = torch.nn.functional.normalize(torch.from_numpy(exact(seen)), dim=1)
        told = torch.from_numpy(np.asarray(targets))
        said = one_hot(told, link, int(targets.max()) + 1 if link == "softmax" else targets.shape[1]).double()
        far, places = nearest(rows, rows, min(self.k, others), metric="cosine", apart=(unit, unit))
        return np.asarray(votes(far, said[places], link).numpy())
