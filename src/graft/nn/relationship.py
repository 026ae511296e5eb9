"""Which of a source's classes the classes of a task are seen as."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["source_classes"]


def source_classes(weight: Tensor, bias: Tensor, seen: Tensor) -> Tensor:
    """``p(y_s | y_t)``, ``(c, c_s)``, from a calibrated logistic regression on the source's probabilities.

    A row that the source is certain of has the probabilities ``e_j``, so the model's outputs for it,
    ``W e_j + b``, give ``p(y_t | y_s = j)``.  By Bayes, ``p(y_s | y_t) ∝ p(y_t | y_s) p(y_s)``, with
    ``p(y_s)`` the mean of the source's probabilities.

    Parameters
    ----------
    weight, bias
        ``(c, c_s)`` and ``(c,)`` of the regression.
    seen
        ``(n, c_s)`` the source's probabilities for the target rows.

    References
    ----------
    You, Kou, Long and Wang, Co-tuning for transfer learning, NeurIPS 2020, §3.2 and algorithm 1; as in
    their code, the rows of the result are normalised rather than divided by ``p(y_t)``.
    """
    forward = torch.log_softmax(weight + bias[:, None], 0)  # (c, c_s): log p(y_t | y_s), a column a source class
    # as logarithms: a class that hardly any row has is too unlikely everywhere to be a number
    return torch.softmax(forward + seen.mean(0).log(), 1)
