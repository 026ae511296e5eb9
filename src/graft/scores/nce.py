"""How much is left to know of our classes once the source has named its own."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from graft.contracts import Array, Link, Score, Seen
from graft.seen import OUTPUTS, chances, check, classes

__all__ = ["NCE"]


class NCE(Score):
    """How surely the class that the source names tells ours: negative conditional entropy, in nats (NCE).

    References
    ----------
    Tran, Nguyen and Hassner, Transferability and hardness of supervised classification tasks, ICCV 2019.

    Examples
    --------
    >>> from graft.contracts import Card
    >>> sure = np.repeat([[9.0, -9.0], [-9.0, 9.0]], 5, axis=0)
    >>> NCE().score(Seen(np.zeros((10, 1)), sure, Card("a", "image")), np.repeat([0, 1], 5))
    0.0
    """

    needs: ClassVar[str] = OUTPUTS
    kinds: ClassVar[tuple[Link, ...]] = ("softmax",)

    def score(self, seen: Seen, targets: Array) -> float:
        check(self, seen, targets)
        places, count = classes(self, targets)
        own = chances(self, seen)
        named = own.argmax(axis=1)
        together = np.bincount(places * own.shape[1] + named, minlength=count * own.shape[1])
        together = together.reshape(count, own.shape[1])[:, np.bincount(named, minlength=own.shape[1]) > 0]
        given = together / together.sum(axis=0)
        logs = np.log(given, out=np.zeros_like(given), where=given > 0)
        return float((together * logs).sum() / len(places)) + 0.0
