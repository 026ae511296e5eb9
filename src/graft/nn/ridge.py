"""Ridge regression for every penalty from one decomposition, with exact leave-one-out outputs."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["Ridge"]


class Ridge:
    """Least squares with ``penalty |W|²`` and a free bias, as scikit-learn's ``Ridge(alpha=penalty)``.

    Parameters
    ----------
    x
        ``(n, d)``.
    y
        ``(n, c)``.

    References
    ----------
    Golub, Heath and Wahba, Generalized cross-validation as a method for choosing a good ridge
    parameter, Technometrics 21, 1979.
    """

    def __init__(self, x: Tensor, y: Tensor) -> None:
        x, self.y = x.double(), y.double()
        self.x_mean, self.y_mean = x.mean(0), self.y.mean(0)
        centred = x - self.x_mean
        if len(x) >= x.shape[1]:
            self.energy, self.axes = torch.linalg.eigh(centred.T @ centred)
            self.energy = self.energy.clamp_min(0)
            self.along = centred @ self.axes
        else:  # the solution lies in the span of the rows
            energy, rows = torch.linalg.eigh(centred @ centred.T)
            kept = energy > 1e-12 * energy[-1]
            self.energy, rows = energy[kept], rows[:, kept]
            self.along = rows * self.energy.sqrt()
            self.axes = centred.T @ rows / self.energy.sqrt()
        self.pulled = self.along.T @ (self.y - self.y_mean)

    def fit(self, penalty: float) -> tuple[Tensor, Tensor]:
        """Weight ``(c, d)`` and bias ``(c,)``, float64."""
        weight = (self.axes @ (self.pulled / (self.energy + penalty)[:, None])).T
        return weight, self.y_mean - weight @ self.x_mean

    def left_out(self, penalty: float) -> Tensor:
        """``(n, c)``: each row's outputs by the model that all other rows give.

        A row moves its own fitted value by its leverage ``h``, so the residual without the row is
        the residual divided by ``1 - h``; the bias adds ``1 / n`` to ``h``.
        """
        shrunk = 1 / (self.energy + penalty)
        leverage = 1 / len(self.y) + self.along.square() @ shrunk
        residual = self.y - self.y_mean - self.along @ (shrunk[:, None] * self.pulled)
        outputs: Tensor = self.y - residual / (1 - leverage).clamp_min(1e-9)[:, None]
        return outputs
