"""Means of classes, and the linear layers that tell which of them is nearest."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from graft.nn.scaling import Scaling

__all__ = ["Metric", "NearestMean", "class_means", "membership", "prototype_head", "shrunken"]

Metric = Literal["cosine", "euclidean"]


def membership(targets: Tensor, n_outputs: int, weights: Tensor | None = None) -> Tensor:
    """``(n, c)`` float64: how much each row belongs to each class, times its weight.

    Parameters
    ----------
    targets
        ``(n,)`` int64 classes, or ``(n, c)`` shares.
    weights
        ``(n,)``: how much a row counts.
    """
    shares = nn.functional.one_hot(targets, n_outputs) if targets.ndim == 1 else targets
    return shares.double() if weights is None else shares.double() * weights.double()[:, None]


def class_means(features: Tensor, targets: Tensor, n_outputs: int, weights: Tensor | None = None) -> Tensor:
    """The mean features of every class ``(c, d)``; that of all rows for a class without any.

    Parameters
    ----------
    features
        ``(n, d)``.
    targets
        ``(n,)`` int64 classes, or ``(n, c)`` shares: soft labels, or any number of labels a row.
    weights
        ``(n,)``: how much a row counts.

    Examples
    --------
    >>> class_means(torch.tensor([[0.0], [2.0], [5.0]]), torch.tensor([0, 0, 1]), 2).tolist()
    [[1.0], [5.0]]
    """
    members = membership(targets, n_outputs, weights)
    every = membership(targets.new_zeros(len(targets), dtype=torch.int64), 1, weights)
    rows = features.double()
    return _means(members.T @ rows, members.sum(0), (every.T @ rows)[0] / every.sum()).to(features.dtype)


def _means(sums: Tensor, counts: Tensor, otherwise: Tensor) -> Tensor:
    return torch.where(counts[:, None] > 0, sums / counts[:, None].clamp(min=1e-30), otherwise)


def prototype_head(means: Tensor, temperature: float = 1.0) -> tuple[Tensor, Tensor]:
    """Weight ``(c, d)`` and bias ``(c,)`` of the linear layer that tells the nearest mean.

    Its outputs are ``-temperature |x - mean|²`` but for a number that all classes of a row share, so
    that a softmax of either is the same (Snell et al. 2017, equation 8).

    Examples
    --------
    >>> weight, bias = prototype_head(torch.tensor([[1.0], [5.0]]))
    >>> (torch.tensor([[2.0]]) @ weight.T + bias).argmax().item()
    0

    References
    ----------
    Snell, Swersky and Zemel, Prototypical networks for few-shot learning, NeurIPS 2017.
    """
    return 2 * temperature * means, -temperature * means.square().sum(1)


def shrunken(means: Tensor, counts: Tensor, overall: Tensor, spread: Tensor, shrink: float) -> Tensor:
    """Means drawn towards that of all rows, feature by feature, and onto it where they hardly differ.

    Parameters
    ----------
    means, counts
        ``(c, d)`` and ``(c,)``: of each class, its mean and how many rows it has.
    overall, spread
        ``(d,)``: of all rows the mean, and the deviation inside classes with its median added.
    shrink
        How many standard errors of a mean are taken off its distance.

    References
    ----------
    Tibshirani, Hastie, Narasimhan and Chu, Diagnosis of multiple cancer types by shrunken centroids of
    gene expression, PNAS 2002.
    """
    if not shrink:
        return means
    error = (1 / counts.clamp(min=1e-30) - 1 / counts.sum()).clamp(min=0).sqrt()[:, None] * spread
    away = (means - overall) / error.clamp(min=1e-30)
    kept = away.sign() * (away.abs() - shrink).clamp(min=0)
    return torch.where(counts[:, None] > 0, overall + error * kept, overall)


class NearestMean(nn.Module):
    """Features → how near each class's mean is, as a linear layer on scaled features.

    Parameters
    ----------
    dim, n_outputs
        ``d`` and ``c``.
    metric
        ``cosine`` (angles between a row and the means) or ``euclidean``.
    """

    towards: Tensor
    offset: Tensor

    def __init__(self, dim: int, n_outputs: int, metric: Metric = "cosine") -> None:
        super().__init__()
        self.scaling = Scaling(dim, normalise=metric == "cosine")
        self.register_buffer("towards", torch.zeros(n_outputs, dim))
        self.register_buffer("offset", torch.zeros(n_outputs))

    def forward(self, features: Tensor) -> Tensor:
        return nn.functional.linear(self.scaling(features), self.towards, self.offset)
