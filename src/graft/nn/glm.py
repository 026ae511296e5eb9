"""Generalised linear models with an L2 penalty, several at once on the same rows.

The objective of one model is that of scikit-learn's ``LogisticRegression`` with ``C = 1 / penalty``
and of ``Ridge`` with ``alpha = penalty``::

    sum_i weight_i loss(W x_i + b, y_i) + penalty / 2 |W|²

with cross-entropy (softmax), the sum of binary cross-entropies (sigmoid) or half the squared error
(identity); the bias is not penalised.
"""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse
import torch
from torch import Tensor
from torch.nn import functional

from graft.contracts import Link

__all__ = ["Design", "Solution", "losses", "one_hot", "solve"]

_MEMORY = 8
"""Pairs of steps that L-BFGS remembers; half as many where one is large."""

_LARGE = 500_000

_ROTATED = 2048
"""The largest side of a Gram matrix whose eigenvectors are worth their time."""

_NOISE = 1e-7
"""Relative rise of an objective that is rounding, not a rise."""

Pairs = deque[tuple[Tensor, Tensor, Tensor]]


class Design:
    """Rows as the solver wants them: with a column of ones, dense ones along their principal axes.

    The penalty does not see a rotation, and along the axes the Hessian is close to diagonal, so
    that a diagonal preconditioner saves most of the iterations.  With fewer rows than features the
    solution lies in the span of the rows, so that as many axes as rows suffice.

    Parameters
    ----------
    x
        ``(n, d)``: float32 tensor, or ``scipy.sparse`` matrix.
    """

    def __init__(self, x: Tensor | Any) -> None:
        self.axes: Tensor | None = None
        self.rows: Any
        self._transposed: Any = None
        if isinstance(x, Tensor):
            self.axes = _principal_axes(x) if 1 <= min(x.shape) <= _ROTATED else None
            rotated = x if self.axes is None else x @ self.axes
            self.rows = torch.cat([rotated, torch.ones(len(x), 1)], 1)
            self.energy = self.rows.square().sum(0)
        else:
            ones = scipy.sparse.csr_array(np.ones((x.shape[0], 1), dtype=np.float32))
            rows: Any = scipy.sparse.hstack([x, ones], format="csr", dtype=np.float32)
            self.rows, self._transposed = _threaded(rows), _threaded(rows.T.tocsr())
            self.energy = torch.from_numpy(rows.power(2).sum(axis=0).astype(np.float32).ravel())

    @property
    def size(self) -> int:
        """Parameters of one output, the bias among them."""
        return int(self.rows.shape[1])

    def outputs(self, theta: Tensor) -> Tensor:
        """Parameters ``(k, c, size)`` → ``(k, n, c)``."""
        if self._transposed is None:
            return torch.matmul(self.rows, theta.mT)
        return torch.stack([self.rows @ each.T.contiguous() for each in theta])

    def pull(self, residual: Tensor) -> Tensor:
        """``(k, n, c)`` → ``(k, c, size)``: the transposed product, for the gradient."""
        if self._transposed is None:
            return torch.matmul(residual.mT, self.rows)
        return torch.stack([self._transposed @ each.contiguous() for each in residual]).mT.contiguous()

    def weight(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        """Parameters ``(c, size)`` → weight ``(c, d)`` of the features as they were given, and bias ``(c,)``."""
        turned = theta[:, :-1]
        return (turned if self.axes is None else turned @ self.axes.T), theta[:, -1]


def _threaded(rows: Any) -> Tensor:
    """A scipy matrix for torch, whose products use all threads; those of scipy use one."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sparse CSR tensor support is in beta")
        return torch.sparse_csr_tensor(
            torch.from_numpy(rows.indptr.astype(np.int32)),
            torch.from_numpy(rows.indices.astype(np.int32)),
            torch.from_numpy(rows.data),
            rows.shape,
            check_invariants=False,
        )


def _principal_axes(x: Tensor) -> Tensor:
    """``(d, r)`` with orthonormal columns that span the rows of ``x``."""
    axes: Tensor
    if x.shape[0] >= x.shape[1]:
        axes = torch.linalg.eigh((x.T @ x).double())[1]
    else:
        wide = x.double()
        values, vectors = torch.linalg.eigh(wide @ wide.T)
        kept = values > 1e-10 * values[-1]
        axes = (wide.T @ vectors[:, kept]) / values[kept].sqrt()
    return axes.float()


@dataclass(frozen=True)
class Solution:
    """``k`` models at their optimum.

    Parameters
    ----------
    theta
        ``(k, c, size)``; see :meth:`Design.weight`.
    outputs
        ``(k, n, c)`` of all rows, also of those that weighed nothing.
    iterations
        How many the slowest of the models took.
    """

    theta: Tensor
    outputs: Tensor
    iterations: int


def one_hot(targets: Tensor, link: Link, n_outputs: int) -> Tensor:
    """Targets of a task → ``(n, c)`` float32; soft targets of a softmax are that already."""
    return (
        functional.one_hot(targets, n_outputs).float() if targets.ndim == 1 and link == "softmax" else targets.float()
    )


def losses(outputs: Tensor, wanted: Tensor, link: Link) -> Tensor:
    """``(…, n)`` losses of outputs ``(…, n, c)``, for ``wanted`` ``(n, c)``."""
    return _judge(outputs, wanted, link)[0]


def _judge(outputs: Tensor, wanted: Tensor, link: Link) -> tuple[Tensor, Tensor]:
    """Losses ``(…, n)`` and their gradients ``(…, n, c)``."""
    if link == "softmax":
        shares = outputs.softmax(-1)
        # the largest share is at least 1 / c, so its logarithm gives the log-sum without another exponential
        total = outputs.amax(-1) - shares.amax(-1).log()
        return total - torch.einsum("...nc,nc->...n", outputs, wanted), shares.sub_(wanted)
    if link == "sigmoid":
        return (functional.softplus(outputs) - outputs * wanted).sum(-1), outputs.sigmoid().sub_(wanted)
    residual = outputs - wanted
    return 0.5 * residual.square().sum(-1), residual


def _spread(outputs: Tensor, link: Link) -> Tensor:
    """The diagonal of the link's Hessian, ``(…, n, c)``."""
    if link == "identity":
        return torch.ones_like(outputs)
    shares = outputs.softmax(-1) if link == "softmax" else outputs.sigmoid()
    return shares * (1 - shares)


def solve(
    design: Design,
    wanted: Tensor,
    link: Link,
    penalty: float,
    *,
    weights: Tensor | None = None,
    start: Tensor | None = None,
    tolerance: float = 1e-6,
    limit: int = 500,
    between: Callable[[], None] | None = None,
) -> Solution:
    """Fit ``k`` models, each with its own weights of the rows, by preconditioned L-BFGS (Nocedal 1980).

    All models advance together, so that one matrix product serves them all.  Outputs are linear in
    the parameters: along a search direction they cost no further product, only the link.

    Parameters
    ----------
    wanted
        ``(n, c)`` float32, see :func:`one_hot`.
    weights
        ``(k, n)``; a fold's held-out rows weigh nothing.  ``None`` is one model on all rows.
    start
        Parameters ``(k, c, size)`` near by, such as those of a stronger penalty.
    tolerance
        Stops when the next step promises to lower the objective by no more than this share of it.
    between
        Called before every iteration; what it raises ends the fit.
    """
    weights = torch.ones(1, len(wanted)) if weights is None else weights
    problem = _Problem(design, wanted, link, penalty, weights)
    point = problem.begin(start)
    pairs: Pairs = deque(maxlen=_MEMORY if point.theta.numel() < _LARGE else _MEMORY // 2)
    count = 0
    while count < limit:
        if between is not None:
            between()
        direction = problem.direction(point, pairs)
        slope = _dot(point.gradient, direction)
        promising = -slope / 2 > tolerance * point.value
        if not bool(promising.any()):
            break
        previous = point
        point = problem.search(previous, direction * promising[:, None, None], slope * promising)
        if not bool((point.value < previous.value * (1 - _NOISE)).any()):
            break
        step, change = point.theta - previous.theta, point.gradient - previous.gradient
        bend = _dot(step, change)
        pairs.append((step, change, torch.where(bend > 1e-20, 1 / bend.clamp_min(1e-20), 0.0)))
        count += 1
    return Solution(point.theta, point.outputs, count)


def _dot(a: Tensor, b: Tensor) -> Tensor:
    """``(k,)`` inner products of ``(k, …)``."""
    return torch.stack([torch.dot(x, y) for x, y in zip(a.flatten(1), b.flatten(1), strict=True)])


@dataclass(frozen=True)
class _Point:
    """Parameters, and what is known of the objective there: value ``(k,)`` float64, gradient like the parameters."""

    theta: Tensor
    outputs: Tensor
    value: Tensor
    gradient: Tensor


class _Problem:
    """What :func:`solve` minimises: the objective, its preconditioner, and steps along a direction."""

    def __init__(self, design: Design, wanted: Tensor, link: Link, penalty: float, weights: Tensor) -> None:
        self.design, self.wanted, self.link, self.weights = design, wanted, link, weights
        self.penalty = torch.full((design.size,), penalty)
        self.penalty[-1] = 0.0
        self.inverse = torch.ones(())

    def begin(self, start: Tensor | None) -> _Point:
        """The first point; the curvature there, averaged over rows, is the preconditioner from then on."""
        if start is None:
            start = torch.zeros(len(self.weights), self.wanted.shape[1], self.design.size)
            start[..., -1] = self._prior()
        outputs = self.design.outputs(start)
        value, residual = self._objective(start, outputs)
        spread = torch.einsum("kn,knc->kc", self.weights, _spread(outputs, self.link))
        spread = (spread / self.weights.sum(1, keepdim=True)).clamp_min(1e-4)
        self.inverse = 1 / (spread[..., None] * self.design.energy + self.penalty).clamp_min(1e-12)
        return _Point(start, outputs, value, self._gradient(start, residual))

    def _prior(self) -> Tensor:
        """``(k, c)``: the constant outputs of each model's own rows, finite also for a class that they lack."""
        total = self.weights.sum(1, keepdim=True)
        mean = self.weights @ self.wanted / total
        if self.link == "identity":
            return mean
        safe = mean.maximum(0.1 / total).minimum(1 - 0.1 / total)
        return safe.log() if self.link == "softmax" else safe.logit()

    def _objective(self, theta: Tensor, outputs: Tensor) -> tuple[Tensor, Tensor]:
        each, residual = _judge(outputs, self.wanted, self.link)
        held = 0.5 * (self.penalty * theta.square()).sum((1, 2), dtype=torch.float64)
        value = (each * self.weights).sum(1, dtype=torch.float64) + held
        return value, residual.mul_(self.weights[..., None])

    def _gradient(self, theta: Tensor, residual: Tensor) -> Tensor:
        return self.design.pull(residual) + self.penalty * theta

    def direction(self, point: _Point, pairs: Pairs) -> Tensor:
        """The two-loop recursion around the diagonal preconditioner."""
        q, shares = point.gradient, []
        for step, change, rho in reversed(pairs):
            share = rho * _dot(step, q)
            q = q - share[:, None, None] * change
            shares.append(share)
        q = q * self.inverse
        for (step, change, rho), share in zip(pairs, reversed(shares), strict=True):
            q = q + (share - rho * _dot(change, q))[:, None, None] * step
        return -q

    def search(self, point: _Point, direction: Tensor, slope: Tensor) -> _Point:
        """Go along ``direction`` until the slope is less than half of what it was and the objective no higher.

        The objective is convex: the sign of the slope tells on which side of the minimum a step ends.
        """
        moved = self.design.outputs(direction)
        length = torch.ones_like(slope)
        low, low_slope = torch.zeros_like(slope), slope
        high, high_slope = torch.full_like(slope, torch.inf), torch.zeros_like(slope)
        ceiling = point.value * (1 + _NOISE)
        for _ in range(20):
            stretch = length[:, None, None]
            theta = point.theta + stretch * direction
            outputs = torch.addcmul(point.outputs, stretch, moved)
            value, residual = self._objective(theta, outputs)
            there = _dot(residual, moved) + _dot(self.penalty * theta, direction)
            good = (there.abs() <= 0.5 * slope.abs()) & (value <= ceiling) | (slope == 0)
            if bool(good.all()):
                break
            beyond = (there > 0) | (value > ceiling)
            high, high_slope = torch.where(beyond, length, high), torch.where(beyond, there, high_slope)
            low, low_slope = torch.where(beyond, low, length), torch.where(beyond, low_slope, there)
            length = torch.where(good, length, _between(low, high, low_slope, high_slope))
        return _Point(theta, outputs, value, self._gradient(theta, residual))


def _between(low: Tensor, high: Tensor, low_slope: Tensor, high_slope: Tensor) -> Tensor:
    """Where a straight slope would be zero, kept off both ends; four times as far where no end is known."""
    bounded = torch.isfinite(high)
    share = (-low_slope / (high_slope - low_slope).clamp_min(1e-30)).clamp(0.1, 0.9)
    return torch.where(bounded, low + share * torch.where(bounded, high - low, 1.0), 4 * low)
