"""Rows mixed with other rows of their batch, and their targets with them: mixup and CutMix.

Each row has one partner, and the whole batch one share.  Draws come from torch's global generator.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from graft.errors import RequestError

__all__ = ["blend", "cutmix", "mixed_pairs", "mixup", "paste", "soft_targets"]


def mixed_pairs(n: int, alpha: float) -> tuple[Tensor, float]:
    """Who is mixed with whom: each row's partner ``(n,)``, and the share that a row keeps of itself.

    The partner is the row before, which in a shuffled batch is any other.

    Parameters
    ----------
    alpha
        The share is drawn from Beta(alpha, alpha): near 0 or 1 for a small one, evenly for 1.

    Raises
    ------
    RequestError
        For an ``alpha`` that is not above 0.

    Examples
    --------
    >>> mixed_pairs(3, 1.0)[0].tolist()
    [2, 0, 1]
    """
    if not 0 < alpha < math.inf:
        raise RequestError(f"alpha of mixup and CutMix is {alpha}; expected a number above 0.")
    share = float(torch.distributions.Beta(alpha, alpha, validate_args=False).sample())
    return torch.arange(n).roll(1), share


def blend(values: Tensor, partner: Tensor, share: float) -> Tensor:
    """``share`` of each row and the rest of its partner, for rows ``(n, …)``: features, targets, weights, pixels.

    Bytes come back as float32 on the same scale.

    Examples
    --------
    >>> blend(torch.tensor([0.0, 1.0]), torch.tensor([1, 0]), 0.75).tolist()
    [0.25, 0.75]
    """
    values = values if values.is_floating_point() else values.float()
    return torch.lerp(values[partner.to(values.device)], values, share)


def soft_targets(targets: Tensor, classes: int) -> Tensor:
    """Targets that can be blended: classes ``(n,)`` become ``(n, c)`` shares; what is no class number stays.

    Raises
    ------
    RequestError
        For a class that is not among ``classes``.
    """
    if targets.is_floating_point():
        return targets
    if targets.numel() and int(targets.max()) >= classes:
        raise RequestError(
            f"a target is class {int(targets.max())} of {classes}; expected one from 0 to {classes - 1}."
        )
    return torch.nn.functional.one_hot(targets, classes).float()


def mixup(batch: Tensor, targets: Tensor, alpha: float, classes: int = 0) -> tuple[Tensor, Tensor]:
    """Mix a batch of rows ``(n, …)``, and its targets, each with one other row of it.

    Parameters
    ----------
    batch
        Images or features; bytes come back as float32 on the same scale.
    targets
        ``(n,)`` int64, or ``(n, c)`` float32: soft labels, label sets or numbers.
    classes
        ``c``, where targets are class numbers.

    Returns
    -------
    tuple
        The mixed rows, and their targets ``(n, c)`` float32.

    References
    ----------
    Zhang, Cisse, Dauphin and Lopez-Paz, mixup: beyond empirical risk minimization, ICLR 2018.
    """
    partner, share = mixed_pairs(len(batch), alpha)
    return blend(batch, partner, share), blend(soft_targets(targets, classes), partner, share)


def cutmix(images: Tensor, targets: Tensor, alpha: float, classes: int = 0) -> tuple[Tensor, Tensor]:
    """Paste a box of another image of the batch into each image ``(n, k, h, w)``, and mix targets by its area.

    Parameters
    ----------
    images
        Of any type, which they keep.
    targets, classes
        As for :func:`mixup`.

    References
    ----------
    Yun, Han, Oh, Chun, Choe and Yoo, CutMix: regularization strategy to train strong classifiers with
    localizable features, ICCV 2019.
    """
    partner, share = mixed_pairs(len(images), alpha)
    pasted, share = paste(images, partner, share)
    return pasted, blend(soft_targets(targets, classes), partner, share)


def paste(images: Tensor, partner: Tensor, share: float) -> tuple[Tensor, float]:
    """A box of each image's partner at one random place of all images, and the share of the area that is left.

    The box has ``1 - share`` of the image's area and its aspect; what would stick out is cut off, and
    the share is that of what remains.
    """
    h, w = images.shape[-2:]
    x, y = int(torch.randint(w, (1,))), int(torch.randint(h, (1,)))
    edge = 0.5 * math.sqrt(max(1.0 - share, 0.0))
    half_w, half_h = int(edge * w), int(edge * h)
    rows = slice(max(y - half_h, 0), min(y + half_h, h))
    columns = slice(max(x - half_w, 0), min(x + half_w, w))
    pasted = images.clone()
    pasted[..., rows, columns] = images[partner.to(images.device)][..., rows, columns]
    area = (rows.stop - rows.start) * (columns.stop - columns.start)
    return pasted, 1.0 - area / (h * w)
