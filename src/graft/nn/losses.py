"""Losses a row, for labels that may be wrong, soft, rare or counted unevenly.

Every loss takes outputs ``(n, c)`` before the link and gives ``(n,)``.  Targets of a softmax are
``(n,)`` int64, or ``(n, c)`` probabilities: a loss of soft targets is the mean of the losses of the
classes, by their probabilities.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

__all__ = [
    "class_weights",
    "cross_entropy_rows",
    "focal",
    "gce",
    "label_weights",
    "row_weights",
    "sce",
    "sigmoid_focal",
    "smoothed",
    "soft",
    "weighted_mean",
]


def weighted_mean(losses: Tensor, weights: Tensor | None = None) -> Tensor:
    """``Σ w_i l_i / Σ w_i`` of losses ``(…, n)``, the plain mean without weights; 0 where no row counts.

    Examples
    --------
    >>> weighted_mean(torch.tensor([1.0, 5.0]), torch.tensor([3.0, 1.0])).item()
    2.0
    """
    if weights is None:
        return losses.mean(-1)
    weights = weights.to(losses.dtype)
    # a batch of rows that were set aside has nothing to teach, and no gradient
    return (weights * losses).sum(-1) / weights.sum().clamp_min(torch.finfo(losses.dtype).tiny)


def soft(targets: Tensor, n_outputs: int) -> Tensor:
    """Targets as probabilities ``(n, c)``: classes ``(n,)`` become rows of 0 and 1."""
    return targets if targets.ndim == 2 else functional.one_hot(targets, n_outputs).to(torch.get_default_dtype())


def smoothed(targets: Tensor, n_outputs: int, share: float) -> Tensor:
    """Targets as probabilities ``(n, c)``, of which ``share`` is spread over all classes alike.

    Examples
    --------
    >>> smoothed(torch.tensor([1]), 2, 0.5)
    tensor([[0.2500, 0.7500]])

    References
    ----------
    Szegedy, Vanhoucke, Ioffe, Shlens and Wojna, Rethinking the Inception architecture, CVPR 2016.
    """
    return soft(targets, n_outputs) * (1 - share) + share / n_outputs


def _expected(values: Tensor, targets: Tensor) -> Tensor:
    """``(n,)``: of values ``(n, c)`` that of the class, or their mean by the classes' probabilities."""
    if targets.ndim == 1:
        return values.gather(1, targets[:, None])[:, 0]
    return (values * targets.to(values.dtype)).sum(1)


def cross_entropy_rows(outputs: Tensor, targets: Tensor) -> Tensor:
    """``-log p`` of the target, in nats."""
    return _expected(-functional.log_softmax(outputs, 1), targets)


def gce(outputs: Tensor, targets: Tensor, q: float = 0.7) -> Tensor:
    """Generalised cross-entropy ``(1 - p^q) / q``: a row that the model finds absurd pulls less.

    ``q = 1`` is the mean absolute error, which withstands symmetric noise, and ``q → 0`` the
    cross-entropy, which learns faster.

    References
    ----------
    Zhang and Sabuncu, Generalized cross entropy loss for training deep neural networks with noisy
    labels, NeurIPS 2018.
    """
    if q == 0:
        return cross_entropy_rows(outputs, targets)
    # expm1: p^q is near 1 where q is small, and the difference is all that counts
    return _expected(-torch.expm1(q * functional.log_softmax(outputs, 1)) / q, targets)


def sce(outputs: Tensor, targets: Tensor, alpha: float = 0.1, beta: float = 1.0, clip: float = -4.0) -> Tensor:
    """Symmetric cross-entropy ``α H(t, p) + β H(p, t)``: the reverse part withstands wrong labels.

    Parameters
    ----------
    clip
        What the logarithm of a target of 0 counts as, below 0.

    References
    ----------
    Wang, Ma, Chen, Luo, Yi and Bailey, Symmetric cross entropy for robust learning with noisy
    labels, ICCV 2019.
    """
    logs = functional.log_softmax(outputs, 1)
    # bounded before the logarithm, which would be infinite
    targets_logs = soft(targets, outputs.shape[1]).to(logs.dtype).clamp_min(math.exp(clip)).log()
    return alpha * _expected(-logs, targets) - beta * (logs.exp() * targets_logs).sum(1)


def focal(outputs: Tensor, targets: Tensor, gamma: float = 2.0) -> Tensor:
    """``(1 - p)^γ (-log p)`` over a softmax: rows that are told well already pull less.

    References
    ----------
    Lin, Goyal, Girshick, He and Dollár, Focal loss for dense object detection, ICCV 2017.
    """
    logs = functional.log_softmax(outputs, 1)
    return _expected(-(_doubt(logs) ** gamma) * logs, targets)


def sigmoid_focal(outputs: Tensor, targets: Tensor, gamma: float = 2.0) -> Tensor:
    """:func:`focal` for labels that each apply or not, the mean over a row's labels; ``targets`` are ``(n, c)``."""
    applies, lacks = functional.logsigmoid(outputs), functional.logsigmoid(-outputs)
    targets = targets.to(outputs.dtype)
    hit, miss = _doubt(applies) ** gamma * applies, _doubt(lacks) ** gamma * lacks
    return -(targets * hit + (1 - targets) * miss).mean(1)


def _doubt(logs: Tensor) -> Tensor:
    """``1 - p`` from ``log p``; not quite 0, where the slope of a power below 1 has no value."""
    return (-torch.expm1(logs)).clamp_min(1e-12)


def class_weights(targets: Tensor, n_outputs: int, weights: Tensor | None = None) -> Tensor:
    """``(c,)`` balanced weights ``n / (k · count)``, k being how many classes occur; 0 for one that does not.

    Every class then weighs alike in all, and a row weighs 1 on average; soft targets count by their
    probabilities.  ``weights`` ``(n,)`` are what rows weigh already, on top of which these come: they
    count in ``n`` and in ``count``.

    Examples
    --------
    >>> class_weights(torch.tensor([0, 0, 0, 1]), 2)
    tensor([0.6667, 2.0000])

    References
    ----------
    King and Zeng, Logistic regression in rare events data, Political Analysis 9, 2001.
    """
    said = soft(targets, n_outputs)
    counts = said.sum(0) if weights is None else weights.to(said.dtype) @ said
    present = counts > 0
    balanced = counts.sum() / (present.sum() * counts.clamp_min(torch.finfo(counts.dtype).tiny))
    return torch.where(present, balanced, 0.0)


def label_weights(targets: Tensor, weights: Tensor | None = None) -> Tensor:
    """``(c,)`` for labels that each apply or not: how many rows lack one for each row that has it.

    What ``binary_cross_entropy_with_logits`` calls ``pos_weight``.  A label that no row has counts as
    if one had it, and one that all have weighs 1.

    Parameters
    ----------
    targets
        ``(n, c)``.
    weights
        ``(n,)``: how many rows each counts as, in units of the mean of those that count.
    """
    has = targets.float()
    if weights is None:
        weights = has.new_ones(len(has))
    weights = weights / weights[weights > 0].mean()
    counts, lacking = weights @ has, weights @ (1 - has)
    return torch.where(lacking > 0, lacking / torch.where(counts > 0, counts, 1.0), 1.0)


def row_weights(targets: Tensor, weights: Tensor) -> Tensor:
    """``(n,)``: each row by the ``weights`` ``(c,)`` of its class, or their mean by its probabilities."""
    return weights[targets] if targets.ndim == 1 else targets.to(weights.dtype) @ weights
