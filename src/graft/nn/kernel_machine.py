"""Support vector machines as a head: a linear part, and a kernel over the rows that it keeps."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from graft.nn.kept_rows import KeptRows
from graft.nn.scaling import Scaling

__all__ = ["KernelMachine", "rbf"]

_NUMBERS = 1 << 24
"""Numbers of the kernel that are held at once (64 MB of float32)."""


def rbf(rows: Tensor, others: Tensor, gamma: float | Tensor) -> Tensor:
    """``exp(-gamma |x - y|²)`` of rows ``(n, d)`` and others ``(m, d)``: ``(n, m)``."""
    squares = rows.square().sum(1)[:, None] + others.square().sum(1) - 2 * rows @ others.T
    return (-gamma * squares.clamp(min=0)).exp()


class KernelMachine(KeptRows):
    """Features → ``scale (x planeᵀ + k(x, support) coef + offset) + shift``, on scaled features ``x``.

    A linear machine has no support rows; one with a kernel has ``plane = 0``.

    Parameters
    ----------
    dim, n_outputs
        ``d`` and ``c``.
    """

    plane: Tensor
    offset: Tensor
    support: Tensor
    coef: Tensor
    gamma: Tensor
    scale: Tensor
    shift: Tensor

    def __init__(self, dim: int, n_outputs: int) -> None:
        super().__init__()
        self.scaling = Scaling(dim)
        self.rows_of("support", dim)
        self.rows_of("coef", n_outputs)
        self.register_buffer("plane", torch.zeros(n_outputs, dim))
        for name in ("offset", "shift"):
            self.register_buffer(name, torch.zeros(n_outputs))
        self.register_buffer("scale", torch.ones(n_outputs))
        self.register_buffer("gamma", torch.ones(()))

    def decision(self, features: Tensor) -> Tensor:
        """``(n, c)``: the machines' own outputs, before ``scale`` and ``shift``."""
        rows = self.scaling(features)
        outputs = nn.functional.linear(rows, self.plane, self.offset)
        if not len(self.support):
            return outputs
        block = max(1, _NUMBERS // len(self.support))
        parts = [rbf(part, self.support, self.gamma) @ self.coef for part in rows.split(block)]
        return outputs + torch.cat(parts)

    def forward(self, features: Tensor) -> Tensor:
        return self.decision(features) * self.scale + self.shift
