"""What ridge regressions say of rows that they did not learn from, in closed form, for classes too."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from graft.contracts import Array, Link
from graft.linear.condensed import condensed
from graft.linear.models import PENALTIES
from graft.linear.scaling import scaled
from graft.linear.sharpness import sharpness
from graft.nn.glm import one_hot
from graft.nn.ridge import Ridge

__all__ = ["closed_outputs"]


def closed_outputs(
    x: Array | Any,
    targets: Tensor,
    link: Link,
    *,
    n_outputs: int,
    groups: npt.NDArray[np.int64] | None = None,
    penalties: Sequence[float] = PENALTIES,
) -> Array:
    """Each row's outputs ``(n, c)`` by the ridge regression of all others, exactly.

    Classes and labels are regressed on as zeros and ones; their outputs are then as sure as
    left-out rows let them be.  The penalty is the one of least squared error on rows left out.

    Parameters
    ----------
    x
        ``(n, d)`` float32, or ``scipy.sparse``; scaled as :func:`~graft.linear.fit_linear` does it.
        Of many sparse rows :func:`~graft.linear.condensed.condensed` keeps the axes that tell most.
    targets
        ``(n,)`` int64 (softmax), ``(n, c)`` float32 (sigmoid, identity).
    groups
        ``(n,)`` from 0: rows of one number are left out together; two numbers at least.

    References
    ----------
    Allen, The relationship between variable selection and data augmentation and a method for
    prediction, Technometrics 16, 1974 (PRESS).
    """
    rows, _ = scaled(x)
    wanted = one_hot(targets, link, n_outputs)
    ridge = Ridge(rows if isinstance(rows, Tensor) else torch.from_numpy(condensed(rows)), wanted)
    units = _units(groups)
    best: Tensor | None = None
    least = float("inf")
    for penalty in sorted(penalties, reverse=True):
        outputs = ridge.left_out(penalty, units)
        error = float((outputs - wanted).square().mean())
        if best is None or error < least:
            best, least = outputs, error
    assert best is not None, "one penalty at least"
    if link == "sigmoid":
        best = 2 * best - 1
    return np.asarray((best * sharpness(best, wanted, link)).float().numpy())


def _units(groups: npt.NDArray[np.int64] | None) -> list[Tensor]:
    """Rows ``(m, g)`` of units that hold several, those of one size together."""
    if groups is None:
        return []
    order = np.argsort(groups, kind="stable")
    parts = np.split(order, np.flatnonzero(np.diff(groups[order])) + 1)
    sizes = sorted({len(part) for part in parts} - {1})
    return [torch.from_numpy(np.stack([part for part in parts if len(part) == size])) for size in sizes]
