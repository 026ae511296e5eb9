"""Two networks that choose each other's rows."""

from __future__ import annotations

from torch import Tensor

__all__ = ["small_loss"]


def small_loss(first: Tensor, second: Tensor, keep: float) -> tuple[Tensor, Tensor]:
    """Places of the rows that each of two networks learns from: those of the smallest loss to the other.

    Networks learn what labels have in common before they learn single wrong ones, so that a small
    loss is a sign of a right label; what one network has come to believe by mistake, the other has not.

    Parameters
    ----------
    first, second
        ``(n,)`` losses of the same rows by either network.
    keep
        Share of the rows to learn from, in (0, 1]; at least one is kept.

    Returns
    -------
    tuple of Tensor
        For the first network and for the second, ``(k,)`` int64, in the order of the loss.

    Examples
    --------
    >>> import torch
    >>> small_loss(torch.tensor([3.0, 1.0, 2.0, 4.0]), torch.tensor([1.0, 2.0, 3.0, 4.0]), 0.5)
    (tensor([0, 1]), tensor([1, 2]))

    References
    ----------
    Han, Yao, Yu, Niu, Xu, Hu, Tsang and Sugiyama, Co-teaching: robust training of deep neural
    networks with extremely noisy labels, NeurIPS 2018.
    """
    count = max(1, int(keep * len(first) + 1e-6))
    return second.detach().argsort(stable=True)[:count], first.detach().argsort(stable=True)[:count]
