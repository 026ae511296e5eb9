"""What the source's own classes say of ours."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from graft.contracts import Array, Link, Score, Seen
from graft.seen import OUTPUTS, chances, check, classes, expected_chances

__all__ = ["LEEP"]


class LEEP(Score):
    """How well the source's own classes tell the task's (log expected empirical prediction, LEEP).

    The mean log of each row's chance of its class, by which of our classes occur with which of the
    source's.

    References
    ----------
    Nguyen, Hassner, Seeger and Archambeau, LEEP: a new measure to evaluate transferability of learned
    representations, ICML 2020.

    Examples
    --------
    >>> from graft.contracts import Card
    >>> sure = np.repeat([[9.0, -9.0], [-9.0, 9.0]], 5, axis=0)
    >>> LEEP().score(Seen(np.zeros((10, 1)), sure, Card("a", "image")), np.repeat([0, 1], 5)) > -1e-3
    True
    """

    needs: ClassVar[str] = OUTPUTS
    kinds: ClassVar[tuple[Link, ...]] = ("softmax",)

    def score(self, seen: Seen, targets: Array) -> float:
        check(self, seen, targets)
        places, count = classes(self, targets)
        expected = expected_chances(chances(self, seen), places, count)
        return float(np.log(np.maximum(expected, np.finfo(np.float64).tiny)).mean())
