"""How many bits the features need, less what they need once the classes are known."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from graft.contracts import Array, Link, Score, Seen
from graft.errors import RequestError
from graft.seen import check, classes, exact, principal

__all__ = ["TransRate"]


class TransRate(Score):
    """How much of the features' coding rate the classes explain, in nats (TransRate).

    The rate at which features can be told up to ``eps``, less the mean rate of each class's own.

    Parameters
    ----------
    eps
        The distortion that is borne; small against the length of a row.
    normalise
        Whether each centred row is brought to length 1, as the authors' code does it: without that,
        a source of larger features has a larger score.

    References
    ----------
    Huang, Huang, Rong, Yang and Wei, Frustratingly easy transferability estimation, ICML 2022.

    Examples
    --------
    >>> from graft.contracts import Card
    >>> rows = np.repeat(np.eye(2), 10, axis=0)
    >>> TransRate().score(Seen(rows, None, Card("apart", "table")), np.tile([0, 1], 10))
    0.0
    """

    kinds: ClassVar[tuple[Link, ...]] = ("softmax",)

    def __init__(self, eps: float = 1e-4, normalise: bool = True) -> None:
        self.eps = eps
        self.normalise = normalise

    def score(self, seen: Seen, targets: Array) -> float:
        if not 0 < self.eps < float("inf"):
            raise RequestError(f"eps is {self.eps!r}; expected a number above 0.")
        check(self, seen, targets)
        places, count = classes(self, targets)
        x = exact(seen)
        x = x - x.mean(axis=0)
        if self.normalise:
            length = np.linalg.norm(x, axis=1, keepdims=True)
            x = np.divide(x, length, out=np.zeros_like(x), where=length > 0)
        parts = [x[places == place] for place in range(count)]
        inside = sum(len(part) * self._rate(part) for part in parts) / len(x)
        return self._rate(x) - inside

    def _rate(self, x: Array) -> float:
        """``½ log det(I + xᵀx / (n eps))``."""
        return float(np.log1p(principal(x)[1] / (len(x) * self.eps)).sum() / 2)
