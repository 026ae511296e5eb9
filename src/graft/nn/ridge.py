"""Ridge regression for every penalty from one decomposition, with exact leave-one-out outputs."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["Ridge"]

_AT_ONCE = 1 << 22
"""Numbers of the units that are solved for together: 32 MB."""


class Ridge:
    """Least squares with ``penalty |W|²`` and a free bias, as scikit-learn's ``Ridge(alpha=penalty)``.

    Parameters
    ----------
    x
        ``(n, d)``.
    y
        ``(n, c)``.
    weights
        ``(n,)``, 0 or more: a row's squared error counts that often; ``None``: once.

    References
    ----------
    Golub, Heath and Wahba, Generalized cross-validation as a method for choosing a good ridge
    parameter, Technometrics 21, 1979.
    """

    def __init__(self, x: Tensor, y: Tensor, weights: Tensor | None = None) -> None:
        x, self.y = x.double(), y.double()
        self.weights = torch.ones(len(x), dtype=torch.float64) if weights is None else weights.double()
        self.shares = self.weights / self.weights.sum()
        self.x_mean, self.y_mean = self.shares @ x, self.shares @ self.y
        centred = x - self.x_mean
        scaled = centred * self.weights.sqrt()[:, None]
        if len(x) >= x.shape[1]:
            self.energy, self.axes = torch.linalg.eigh(scaled.T @ scaled)
            self.energy = self.energy.clamp_min(0)
        else:  # the solution lies in the span of the rows
            energy, rows = torch.linalg.eigh(scaled @ scaled.T)
            kept = energy > 1e-12 * energy[-1]
            self.energy = energy[kept]
            self.axes = scaled.T @ rows[:, kept] / self.energy.sqrt()
        self.along = centred @ self.axes
        self.pulled = self.along.T @ (self.weights[:, None] * (self.y - self.y_mean))

    def fit(self, penalty: float) -> tuple[Tensor, Tensor]:
        """Weight ``(c, d)`` and bias ``(c,)``, float64."""
        weight = (self.axes @ (self.pulled / (self.energy + penalty)[:, None])).T
        return weight, self.y_mean - weight @ self.x_mean

    def left_out(self, penalty: float, units: Sequence[Tensor] = ()) -> Tensor:
        """``(n, c)``: each row's outputs by the model that all other rows give.

        A row moves its own fitted value by its leverage ``h``, so the residual without the row is
        the residual divided by ``1 - h``; the bias adds the row's share of all weights to ``h``.

        Parameters
        ----------
        units
            Rows ``(m, g)`` of m units of g rows each, whose rows are left out together: ``1 - h`` is
            then a matrix of ``g`` by ``g``, or of as many as there are axes, whichever is smaller.
        """
        shrunk = 1 / (self.energy + penalty)
        leverage = self.shares + self.weights * (self.along.square() @ shrunk)
        residual = self.y - self.y_mean - self.along @ (shrunk[:, None] * self.pulled)
        outputs: Tensor = self.y - residual / (1 - leverage).clamp_min(1e-9)[:, None]
        if units:
            pull = torch.cat([self.along * shrunk.sqrt(), self.weights.sum().rsqrt().expand(len(self.along), 1)], 1)
        for rows in units:
            block = max(1, _AT_ONCE // max(1, rows.shape[1] * pull.shape[1]))
            for start in range(0, len(rows), block):
                part = rows[start : start + block]
                outputs[part] = self.y[part] - _without(pull[part], self.weights[part], residual[part])
        return outputs


def _without(pull: Tensor, weights: Tensor, residual: Tensor) -> Tensor:
    """``(1 - B Bᵀ W)⁻¹ r`` for units ``(m, g, …)``; by Woodbury's formula it is ``r + B (1 - Bᵀ W B)⁻¹ Bᵀ W r``."""
    weighed = weights[..., None] * pull
    if pull.shape[1] <= pull.shape[2]:
        inverse = torch.eye(pull.shape[1], dtype=pull.dtype) - pull @ weighed.transpose(1, 2)
        alone: Tensor = torch.linalg.solve(inverse, residual)
        return alone
    inverse = torch.eye(pull.shape[2], dtype=pull.dtype) - weighed.transpose(1, 2) @ pull
    without: Tensor = residual + pull @ torch.linalg.solve(inverse, weighed.transpose(1, 2) @ residual)
    return without
