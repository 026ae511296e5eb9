"""Platt scaling: the logistic curve that turns one machine's outputs into probabilities."""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit

from graft.contracts import Array

__all__ = ["platt"]


def platt(outputs: Array, truth: Array) -> tuple[float, float]:
    """``(scale, shift)``: ``sigmoid(scale * output + shift)`` is the probability of a label.

    Targets are drawn in by one row's worth, so that a machine without a mistake does not become certain.

    Parameters
    ----------
    outputs
        ``(n,)``: held-out outputs of the machine.
    truth
        ``(n,)``: which rows have the label.

    References
    ----------
    Platt, Probabilistic outputs for support vector machines, 1999; Lin, Lin and Weng, A note on
    Platt's probabilistic outputs for support vector machines, 2007 (the objective, kept from overflow).
    """
    has = truth > 0.5
    with_, without = float(has.sum()), float((~has).sum())
    wanted = np.where(has, (with_ + 1) / (with_ + 2), 1 / (without + 2))
    exact = np.asarray(outputs, np.float64)

    def loss(place: Array) -> tuple[float, Array]:
        z = place[0] * exact + place[1]
        away = expit(z) - wanted
        return float((np.logaddexp(0, z) - wanted * z).sum()), np.array([(away * exact).sum(), away.sum()])

    found = minimize(loss, np.array([1.0, 0.0]), jac=True, method="L-BFGS-B", options={"ftol": 1e-12, "gtol": 1e-8})
    return float(found.x[0]), float(found.x[1])
