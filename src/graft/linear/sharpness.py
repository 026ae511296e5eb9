"""How surely a linear model should speak: one factor on its outputs, learnt from rows that it did not learn from."""

from __future__ import annotations

import math

import torch
from scipy.optimize import minimize_scalar
from torch import Tensor

from graft.contracts import Link
from graft.nn.glm import losses
from graft.nn.losses import weighted_mean

__all__ = ["sharpness"]

_WIDEST = math.log(100.0)


def sharpness(outputs: Tensor, wanted: Tensor, link: Link, weights: Tensor | None = None) -> float:
    """The factor on held-out outputs that makes their probabilities truest; 1 where there are none.

    The penalty is chosen for the decisions, and one that is good for them often leaves the
    probabilities timid.  A factor changes no decision of a softmax.  Targets are drawn in by one
    row's worth, so that a model without a mistake does not become certain.

    Parameters
    ----------
    outputs, wanted
        ``(n, c)`` held-out outputs, and the targets as probabilities.
    weights
        ``(n,)``: how much each row counts.

    References
    ----------
    Guo et al., On calibration of modern neural networks, ICML 2017 (temperature scaling);
    Platt, Probabilistic outputs for support vector machines, 1999 (targets drawn in).
    """
    if link == "identity" or len(outputs) == 0:
        return 1.0
    share = 1 / (len(outputs) + 2)
    even = 1 / outputs.shape[1] if link == "softmax" else 0.5
    drawn_in = wanted.double() * (1 - share) + even * share
    exact = outputs.double()

    def loss(log_factor: float) -> float:
        return float(weighted_mean(losses(exact * math.exp(log_factor), drawn_in, link), weights))

    with torch.inference_mode():
        found = minimize_scalar(loss, bounds=(-_WIDEST, _WIDEST), method="bounded", options={"xatol": 1e-4})
    return math.exp(float(found.x))
