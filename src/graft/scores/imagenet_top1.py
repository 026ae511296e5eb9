"""How good a source is at what most sources of images learnt."""

from __future__ import annotations

from typing import ClassVar

from graft.contracts import Array, Score, Seen
from graft.errors import RequestError

__all__ = ["ImageNetTop1"]


class ImageNetTop1(Score):
    """The share of ImageNet's validation images that the source gets right, as its author states it.

    It knows nothing of the task, and is hard to beat: what any other score has to be compared with.

    References
    ----------
    Kornblith, Shlens and Le, Do better ImageNet models transfer better?, CVPR 2019.

    Examples
    --------
    >>> import numpy as np
    >>> from graft.contracts import Card
    >>> ImageNetTop1().score(Seen(np.zeros((2, 1)), None, Card("a", "image", top1=0.75)), np.array([0, 1]))
    0.75
    """

    needs: ClassVar[str] = "a known top-1 on ImageNet"
    prior: ClassVar[bool] = True

    def score(self, seen: Seen, targets: Array) -> float:
        if seen.card.top1 is None:
            raise RequestError(f"imagenet_top1 needs {self.needs}, and that of {seen.card.name} is not known.")
        return float(seen.card.top1)
